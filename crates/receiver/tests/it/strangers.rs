//! The program `rollcall-mirror` against callers who send nothing, half of something, or too much.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use rollcall_receiver::{Direct, Handler, parse_network};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use super::*;

struct Nothing;
impl Handler for Nothing {}

/// The mirror as a process that may have 1,024 descriptors.
struct Program {
    child: Child,
    address: String,
    log: BufReader<ChildStderr>,
    _folder: TempDir,
}

impl Program {
    fn start(settings: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings)
    }

    /// Starts it in a folder with files that the settings name.
    fn start_in(folder: TempDir, settings: &str) -> Self {
        std::fs::write(folder.path().join("jwks.json"), jwks(&["KEY1"])).unwrap();
        let text = format!(
            "listen = \"127.0.0.1:0\"\njwks_file = \"jwks.json\"\napplication_id = \"app_1\"\n{settings}\n"
        );
        std::fs::write(folder.path().join("rollcall-mirror.toml"), text).unwrap();
        let mut child = Command::new("bash")
            .args([
                "-c",
                "ulimit -n 1024; exec \"$0\"",
                env!("CARGO_BIN_EXE_rollcall-mirror"),
            ])
            .current_dir(folder.path())
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let address = line
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'))
            .unwrap_or_else(|| panic!("{line}"))
            .0
            .to_owned();
        Self {
            child,
            address,
            log,
            _folder: folder,
        }
    }

    fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    fn post(&self, length: usize, body: &str) -> TcpStream {
        self.send(&format!(
            "POST /events HTTP/1.1\r\nhost: mirror\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    /// Whether a request with one event is taken.
    fn takes_an_event(&self, id: &str) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let now = i64::try_from(now).unwrap();
        let body = Envelope {
            now,
            ..Envelope::default()
        }
        .seal(&[user_event(id, EventType::UserCreate, now, "ann")]);
        let answer = rest(self.post(body.len(), &body));
        answer.starts_with("HTTP/1.1 200") && answer.contains("SUCCESS")
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// The most memory that it has had, in MiB.
    fn peak(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() >> 10
    }

    /// Waits for its end, and returns the exit code and the rest of the log.
    fn ended(&mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end; a connection that is reset has ended too.
fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn a_crowd_of_silent_connections_does_not_stop_the_mirror() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let program = Program::start("");
    let crowd: Vec<_> = (0..1_100).map(|_| program.send("")).collect();
    assert!(program.takes_an_event("1"));
    drop(crowd);
}

#[test]
fn half_of_a_request_is_not_waited_for() {
    let program = Program::start("[server]\nheader_timeout = 1\nbody_timeout = 1");
    let nothing = program.send("");
    let head = program.send("POST /events HTTP/1.1\r\nhost:");
    let body = program.post(100, "{");
    for stream in [nothing, head, body] {
        assert_eq!(rest(stream), "");
    }
    assert!(program.takes_an_event("1"));
}

#[test]
fn the_end_waits_for_no_half_request() {
    let mut program = Program::start("[server]\nbody_timeout = 3600\nstop_timeout = 1");
    let head = program.send("POST /events HTTP/1.1\r\nhost:");
    let body = program.post(100, "{");
    assert!(program.takes_an_event("1"));
    program.signal("-TERM");
    let (code, log) = program.ended();
    assert_eq!(code, Some(0));
    assert!(log.contains("finishing the requests in flight"), "{log}");
    for stream in [head, body] {
        assert_eq!(rest(stream), "");
    }
}

#[test]
fn a_second_signal_is_obeyed_at_once() {
    let mut program = Program::start("[server]\nbody_timeout = 3600\nstop_timeout = 3600");
    let _body = program.post(100, "{");
    assert!(program.takes_an_event("1"));
    program.signal("-INT");
    let mut line = String::new();
    while !line.contains("finishing the requests in flight") {
        line.clear();
        program.log.read_line(&mut line).unwrap();
    }
    program.signal("-INT");
    let (code, log) = program.ended();
    assert_eq!(code, Some(130));
    assert!(log.contains("ending at once"), "{log}");
}

#[test]
fn the_bodies_of_strangers_share_one_budget() {
    const SIZE: usize = (8 << 20) - (100 << 10);
    let program = Program::start("[server]\nbody_timeout = 3600");
    let before = program.peak();
    let refused = Mutex::new(Vec::new());
    // Each sends almost all of a body without a signature, and then waits.
    let body = "x".repeat(SIZE - 1);
    let streams: Vec<_> = std::thread::scope(|scope| {
        let send = || {
            let mut stream = program.post(SIZE, "");
            let _ = stream.write_all(body.as_bytes());
            stream
        };
        let senders: Vec<_> = (0..80).map(|_| scope.spawn(send)).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    // Meanwhile small requests find room beside them, and the large ones hold no more than they may.
    assert!(program.takes_an_event("1"));
    std::thread::scope(|scope| {
        for stream in streams {
            scope.spawn(|| {
                // Those that were not refused break off here.
                let _ = stream.shutdown(std::net::Shutdown::Write);
                refused.lock().unwrap().push(rest(stream));
            });
        }
    });
    let refused = refused.into_inner().unwrap();
    let busy = refused
        .iter()
        .filter(|answer| answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"));
    assert!(busy.count() >= 60, "{refused:?}");
    let grown = program.peak() - before;
    assert!(grown < 200, "{grown} MiB for bodies of which 64 MiB are allowed");
    assert!(program.takes_an_event("2"));
}

#[tokio::test]
async fn a_body_that_says_to_be_too_long_is_refused_before_it_comes() {
    let _ = rollcall_receiver::HttpJwks::new("http://127.0.0.1/");
    let build = || {
        Receiver::builder(document(), "app_1")
            .clock(still())
            .limit_bytes(1_000)
    };
    let ask = |url: String, length: usize| {
        tokio::task::spawn_blocking(move || {
            let address = url.trim_start_matches("http://").trim_end_matches("/events");
            let mut stream = TcpStream::connect(address).unwrap();
            write!(
                stream,
                "POST /events HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
            )
            .unwrap();
            // No byte of the body follows.
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        })
    };
    let url = serve(build().build(Direct::new(Nothing)).unwrap()).await;
    let answer = ask(url, 1_001).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("too_large"),
        "{answer}"
    );
    // Nor is anything read from whoever may not send.
    let listed = build().allow([parse_network("192.0.2.0/24").unwrap()]);
    let url = serve(listed.build(Direct::new(Nothing)).unwrap()).await;
    assert!(ask(url, 900).await.unwrap().starts_with("HTTP/1.1 403"));
}

#[test]
fn the_allow_list_of_the_mirror_is_held_against_the_client_of_a_trusted_proxy() {
    let allow = "allow = [\"198.51.100.7\"]\n[server]\n";
    for (proxies, sender, expected) in [
        ("trusted_proxies = [\"127.0.0.1\"]", "198.51.100.7", "400"),
        ("trusted_proxies = [\"127.0.0.1\"]", "198.51.100.8", "403"),
        ("", "198.51.100.7", "403"),
    ] {
        let program = Program::start(&format!("{allow}{proxies}"));
        let answer = rest(program.send(&format!(
            "POST /events HTTP/1.1\r\nhost: mirror\r\nconnection: close\r\nx-forwarded-for: {sender}\r\n\
             content-length: 2\r\n\r\n{{}}"
        )));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected}")),
            "{sender} {answer}"
        );
    }
}

#[test]
fn the_mirror_encrypts_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["mirror.test".to_owned()]).unwrap();
    std::fs::write(
        folder.path().join("mirror.pem"),
        params.self_signed(&key).unwrap().pem(),
    )
    .unwrap();
    let key_file = folder.path().join("mirror.key");
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let settings = "[server.tls]\ncertificate = \"mirror.pem\"\nkey = \"mirror.key\"";
    let program = Program::start_in(folder, settings);
    let answer = rest(program.post(2, "{}"));
    assert!(answer.contains("ask with https://"), "{answer}");
}

#[test]
fn what_strangers_send_is_cut_in_the_log_and_cannot_colour_it() {
    let mut program = Program::start("");
    let kid = "\u{1b}[31m\\n".repeat(30);
    for kid in [kid.clone(), "x".repeat(250), "y".repeat(100_000)] {
        let header = serde_json::json!({ "alg": "RS256", "kid": kid }).to_string();
        let encoded = base64url(header.as_bytes());
        let body = format!("{{\"event\":\"{encoded}.e30.AAAA\"}}");
        for _ in 0..10 {
            let answer = rest(program.post(body.len(), &body));
            assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
            assert!(answer.len() < 1_000, "{answer}");
        }
    }
    program.signal("-TERM");
    let (_, log) = program.ended();
    assert!(log.lines().count() > 30, "{log}");
    assert!(log.len() < 30 * 400, "{} bytes", log.len());
    assert!(!log.contains('\u{1b}'), "{log}");
}

/// base64url without padding.
fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        for place in 0..=chunk.len() {
            text.push(char::from(LETTERS[bits >> (18 - 6 * place) & 63]));
        }
    }
    text
}

#[test]
fn a_log_level_that_there_is_not_is_refused() {
    let said = |level: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_rollcall-mirror"))
            .env("RUST_LOG", level)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for level in ["loud", "info,rollcall_receiver", "info,x=loud", ""] {
        let said = said(level);
        assert!(
            said.contains("RUST_LOG") && said.contains("error, warn, info, debug"),
            "{said}"
        );
    }
    assert!(
        said("info,rollcall_receiver=debug").contains("does not exist"),
        "the missing file"
    );
}

#[test]
fn a_setting_that_there_is_not_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mirror.toml");
    std::fs::write(&file, "application_id = \"app\"\n\n[server]\nconections = 3\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rollcall-mirror"))
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let told = "line 4: there is no setting \"server.conections\"; there are listen, path, database";
    assert!(!output.status.success() && said.contains(told), "{said}");
}
