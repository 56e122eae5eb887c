//! A hub that encrypts by itself, as a process: what it shows, certificates that are renewed, and its end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::connectivity::Authority;
use crate::operate::{Served, done, rollcall};
use crate::strangers;

type Connection = StreamOwned<ClientConnection, TcpStream>;

pub(crate) const SETTINGS: &str = "tls.certificate = \"hub.pem\"\ntls.key = \"hub.key\"";

/// Writes a certificate with its key into the folder.
pub(crate) fn renew(folder: &Path, authority: &Authority, days: i64) -> CertificateDer<'static> {
    let pair = authority.pair(|params| {
        params.not_after =
            (std::time::SystemTime::now() + Duration::from_secs(days as u64 * 86_400 + 60)).into();
    });
    std::fs::write(folder.join("hub.pem"), pair.cert.pem()).unwrap();
    write_key(folder, &pair.signing_key.serialize_pem());
    pair.cert.into()
}

fn write_key(folder: &Path, text: &str) {
    let key = folder.join("hub.key");
    std::fs::write(&key, text).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn connect(served: &Served, authority: &Authority) -> Connection {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(session, TcpStream::connect(&served.address).unwrap());
    stream.conn.complete_io(&mut stream.sock).unwrap();
    stream
}

fn presented(connection: &Connection) -> CertificateDer<'static> {
    connection.conn.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

/// Asks on a connection that stays open, and returns the body.
fn ask(connection: &mut Connection, path: &str) -> String {
    write!(connection, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut text = Vec::new();
    loop {
        let mut part = [0; 4_096];
        let count = connection.read(&mut part).unwrap();
        assert!(count > 0, "the connection was closed");
        text.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&text);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.split("content-length: ").nth(1).unwrap();
        if body.len() == length.lines().next().unwrap().parse::<usize>().unwrap() {
            assert!(head.starts_with("HTTP/1.1 200"), "{text}");
            assert!(head.contains("strict-transport-security: max-age="), "{head}");
            return body.to_owned();
        }
    }
}

/// What `/readyz` says of the certificate.
fn part(connection: &mut Connection) -> Value {
    // It is kept for a second.
    std::thread::sleep(Duration::from_millis(1_100));
    let report: Value = serde_json::from_str(&ask(connection, "/readyz")).unwrap();
    let parts = report["parts"].as_array().unwrap();
    let found = parts.iter().find(|part| part["name"] == "certificate");
    found.unwrap().clone()
}

#[test]
fn a_hub_encrypts_by_itself_and_renews_its_certificate_while_it_runs() {
    let authority = Authority::new("Our Company");
    let folder = strangers::folder(SETTINGS);
    let folder = folder.path();
    let database = format!("sqlite:{}", folder.join("data/rollcall.db").display());
    let run = |arguments: &[&str]| {
        let arguments = [&["--config", "rollcall.toml", "--database", &database], arguments].concat();
        rollcall(folder, &arguments)
            .env("ROLLCALL_DATA_DIR", folder.join("data"))
            .output()
            .unwrap()
    };
    let doctor = || {
        let output = run(&["--json", "doctor"]);
        let checks: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = checks.as_array().unwrap();
        let found = checks.iter().find(|check| check["what"] == "certificate");
        found.unwrap().clone()
    };
    let first = renew(folder, &authority, 30);
    let mut served = strangers::serve(folder, &database);
    let mut kept = connect(&served, &authority);
    assert_eq!(presented(&kept), first);

    // What applications are told leads there.
    let create = [
        "--json",
        "app",
        "create",
        "Wiki",
        "--url",
        "https://203.0.114.1/x",
    ];
    let created: Value = serde_json::from_str(&done(&run(&create))).unwrap();
    let jwks = created["jwksUrl"].as_str().unwrap();
    let path = jwks.strip_prefix(&format!("https://{}", served.address)).unwrap();
    assert!(ask(&mut kept, path).contains("\"keys\""));
    assert!(
        served.get("/healthz").contains("ask with https://"),
        "plain HTTP is told"
    );

    assert_eq!(part(&mut kept)["state"], "ok");
    assert_eq!(doctor()["health"], "good");
    let metrics = ask(&mut kept, "/metrics");
    let gauge = metrics
        .lines()
        .find(|line| line.starts_with("rollcall_certificate_seconds_left"))
        .unwrap();
    let left: f64 = gauge.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((29.9 * 86_400.0..30.1 * 86_400.0).contains(&left), "{left}");

    // A new one is found without being asked for; a connection that is open goes on.
    let second = renew(folder, &authority, 3);
    let begun = Instant::now();
    while presented(&connect(&served, &authority)) != second {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(100));
    }
    served.log_until("a new certificate is in use");
    let near = part(&mut kept);
    assert!(
        near["state"] == "warning" && near["message"].to_string().contains("in 3 days"),
        "{near}"
    );
    assert_eq!(doctor()["health"], "doubtful");
    assert_eq!(presented(&kept), first);

    // At once on a signal; and a broken one changes nothing.
    write_key(folder, "nothing\n");
    served.signal("-HUP");
    let line = served.log_until("the new certificate cannot be used");
    assert!(line.contains("hub.key holds no private key"), "{line}");
    served.log_until("because of SIGHUP");
    assert_eq!(presented(&connect(&served, &authority)), second);
    let broken = part(&mut kept);
    assert!(
        broken["state"] == "warning" && broken["message"].to_string().contains("hub.key"),
        "{broken}"
    );
    let found = doctor();
    assert!(
        found["health"] == "bad" && found["advice"].to_string().contains("goes on with"),
        "{found}"
    );

    let third = renew(folder, &authority, 60);
    served.signal("-HUP");
    served.log_until("a new certificate is in use");
    assert_eq!(presented(&connect(&served, &authority)), third);
    assert_eq!(part(&mut kept)["state"], "ok");
    served.stop();
    assert_eq!(kept.read(&mut [0; 16]).unwrap(), 0, "the end is told in TLS");
}

#[test]
fn a_hub_does_not_start_with_a_certificate_that_it_cannot_use() {
    let authority = Authority::new("Our Company");
    let folder = strangers::folder(SETTINGS);
    let folder = folder.path();
    let database = format!("sqlite:{}", folder.join("data/rollcall.db").display());
    let refused = |said: &str| {
        let arguments = ["--config", "rollcall.toml", "--database", &database, "serve"];
        let output = rollcall(folder, &[&arguments[..], &["--listen", "127.0.0.1:0"]].concat())
            .env("ROLLCALL_DATA_DIR", folder.join("data"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(said), "{text}");
    };
    refused("hub.pem does not exist");
    renew(folder, &authority, 30);
    let other = authority.pair(|_| {}).signing_key;
    write_key(folder, &other.serialize_pem());
    refused("the key in hub.key is not that of the first certificate in hub.pem");
    std::fs::write(folder.join("rollcall.toml"), "[server.tls]\nkey = \"hub.key\"\n").unwrap();
    refused("server.tls.certificate and server.tls.key: set both");
}

#[test]
fn whoever_listens_for_others_without_encryption_is_warned() {
    let authority = Authority::new("Our Company");
    for (settings, warned) in [
        ("", true),
        ("trusted_proxies = [\"10.0.0.0/8\"]", false),
        (SETTINGS, false),
    ] {
        let folder = strangers::folder(settings);
        renew(folder.path(), &authority, 30);
        let mut serve = rollcall(folder.path(), &["--config", "rollcall.toml", "serve"]);
        serve
            .args(["--listen", "0.0.0.0:0", "--log-format", "json"])
            .env("ROLLCALL_DATA_DIR", folder.path().join("data"));
        let mut served = Served::run(serve);
        let port = served.address.rsplit_once(':').unwrap().1;
        drop(TcpStream::connect(format!("127.0.0.1:{port}")).unwrap());
        let log = served.stop();
        let times = log.matches("connections are not encrypted").count();
        assert_eq!(times, usize::from(warned), "{settings}: {log}");
    }
}
