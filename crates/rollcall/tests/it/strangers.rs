//! Callers who send nothing, half of something, or nonsense; and a hub that is asked to end meanwhile.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command as Process;

use rollcall::application::Scope;
use rollcall::id::ROOT_UNIT;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::operate::{Served, done, rollcall};
use crate::world::{World, on_both};

const CROWD: usize = 1_100;

/// A folder with the master key of the tests' hubs and a configuration.
pub(crate) fn folder(server: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let key = data.join("master.key");
    std::fs::write(&key, "07".repeat(32)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!("[egress]\nallow = [\"127.0.0.0/8\"]\n[server]\n{server}\n");
    std::fs::write(folder.path().join("rollcall.toml"), text).unwrap();
    folder
}

/// A hub as a process that may have 1,024 descriptors.
pub(crate) fn serve(folder: &Path, database: &str) -> Served {
    let mut process = Process::new("bash");
    process
        .args([
            "-c",
            "ulimit -n 1024; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_rollcall"),
        ])
        .args(["--config", "rollcall.toml", "--database", database, "serve"])
        .args(["--listen", "127.0.0.1:0", "--log-format", "json"])
        .current_dir(folder)
        .env("ROLLCALL_DATA_DIR", folder.join("data"))
        .env_remove("ROLLCALL_LOG");
    Served::run(process)
}

pub(crate) fn token(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("data/admin.token"))
        .unwrap()
        .trim()
        .to_owned()
}

impl Served {
    pub(crate) fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    /// Begins to create a user, and does not finish.
    fn send_half(&self, token: &str) -> TcpStream {
        self.send(&format!("{}\r\n{{\"username\":", creation(token)))
    }

    /// Does that once the hub has the head of the request and asks for its body.
    fn send_half_when_asked(&self, token: &str) -> TcpStream {
        const ASKED: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut stream = self.send(&format!("{}expect: 100-continue\r\n\r\n", creation(token)));
        let mut answer = [0; ASKED.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, ASKED);
        stream.write_all(b"{\"username\":").unwrap();
        stream
    }
}

/// The head of a request that creates a user, but for its end.
fn creation(token: &str) -> String {
    format!(
        "POST /api/v1/users HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {token}\r\ncontent-type: \
         application/json\r\ncontent-length: 100\r\n"
    )
}

/// Reads to the end; a connection that is reset has ended too.
pub(crate) fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn a_crowd_of_silent_connections_stops_neither_the_api_nor_delivery() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    on_both("crowd", |hub, mirror| async move {
        let folder = folder("");
        let world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        let served = serve(folder.path(), &hub);
        let crowd: Vec<_> = (0..CROWD).map(|_| served.send("")).collect();
        let bearer = format!("authorization: Bearer {}\r\n", token(folder.path()));
        let ada = world.user("ada", ROOT_UNIT).await;
        world.synchronize().await;
        assert!(served.get_with("/api/v1/users", &bearer).contains(&ada));
        world.converged().await;
        drop(crowd);
    });
}

#[test]
fn half_of_a_request_is_not_waited_for() {
    let folder = folder("header_timeout = 1\nbody_timeout = 1");
    let database = format!("sqlite:{}", folder.path().join("data/rollcall.db").display());
    let served = serve(folder.path(), &database);
    let token = token(folder.path());
    let nothing = served.send("");
    let head = served.send("GET /healthz HTTP/1.1\r\nhost:");
    let body = served.send_half(&token);
    for stream in [nothing, head, body] {
        assert_eq!(rest(stream), "");
    }
    // Whoever shows no token is answered before its body is read.
    assert!(rest(served.send_half("wrong")).starts_with("HTTP/1.1 401"));
}

#[test]
fn the_end_stops_delivery_at_once_and_waits_for_no_half_request() {
    on_both("half_at_end", |hub, mirror| async move {
        let folder = folder("header_timeout = 3600\nbody_timeout = 3600\nstop_timeout = 3600");
        let world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        let mut served = serve(folder.path(), &hub);
        let (head, body) = (
            served.send("GET /healthz HTTP/1.1\r\nhost:"),
            served.send_half_when_asked(&token(folder.path())),
        );
        assert!(served.get("/healthz").starts_with("HTTP/1.1 200"));
        world.user("before", ROOT_UNIT).await;
        world.synchronize().await;
        world.converged().await;
        served.signal("-TERM");
        // A head that is not whole is no request, and the body is the only thing that is waited for.
        assert_eq!(rest(head), "");
        served.log_until("delivery has ended");
        let after = world.user("after", ROOT_UNIT).await;
        assert!(served.child.try_wait().unwrap().is_none());
        // A second signal does not wait for it either.
        served.signal("-INT");
        assert_eq!(served.child.wait().unwrap().code(), Some(130));
        drop(body);
        assert!(world.endpoint.story_of(&after).is_empty());

        let folder = self::folder("body_timeout = 3600\nstop_timeout = 1");
        let mut served = serve(folder.path(), &hub);
        let body = served.send_half_when_asked(&token(folder.path()));
        world.converged().await;
        let log = served.stop();
        assert!(log.contains("requests were cut off"), "{log}");
        assert_eq!(rest(body), "");
    });
}

#[test]
fn the_audit_log_has_the_client_behind_a_trusted_proxy_and_nobodys_claim() {
    let create = |settings: &str| {
        let folder = folder(settings);
        let database = format!("sqlite:{}", folder.path().join("data/rollcall.db").display());
        let served = serve(folder.path(), &database);
        let headers = format!(
            "authorization: Bearer {}\r\nx-request-id: r1\r\nx-forwarded-for: 203.0.113.1, 198.51.100.7\r\n\
             forwarded: for=203.0.113.2\r\n",
            token(folder.path())
        );
        let body = format!(
            "{{\"username\": \"ada\", \"displayName\": \"Ada\", \"primaryOrganizationalUnitId\": \"{ROOT_UNIT}\"}}"
        );
        let answer = served.ask("POST", "/api/v1/users", &headers, &body);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let mut audit = rollcall(folder.path(), &["--database", &database, "audit"]);
        done(&audit.output().unwrap())
    };
    let direct = create("");
    assert!(direct.contains("from api r1 127.0.0.1"), "{direct}");
    let proxied = create("trusted_proxies = [\"127.0.0.0/8\"]");
    assert!(proxied.contains("from api r1 198.51.100.7"), "{proxied}");
    let forwarded = "trusted_proxies = [\"127.0.0.1\"]\nforwarded_by = \"forwarded\"";
    let proxied = create(forwarded);
    assert!(proxied.contains("from api r1 203.0.113.2"), "{proxied}");
}

#[test]
fn what_strangers_send_is_cut_in_the_log() {
    let folder = folder("");
    let database = format!("sqlite:{}", folder.path().join("data/rollcall.db").display());
    let mut served = serve(folder.path(), &database);
    let long = "x".repeat(20_000);
    for _ in 0..10 {
        for request in [
            format!("GET /{long} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n"),
            format!("{long} / HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n"),
            format!(
                "GET /nothing HTTP/1.1\r\nhost: hub\r\nx-request-id: {long}\r\nconnection: close\r\n\r\n"
            ),
            format!("GET /v2/{long}/y/provisioning/jwks HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n"),
        ] {
            assert!(rest(served.send(&request)).starts_with("HTTP/1.1 4"));
        }
    }
    let log = served.stop();
    assert!(log.lines().count() > 40, "{log}");
    assert!(log.len() < 40 * 500, "{} bytes", log.len());
}
