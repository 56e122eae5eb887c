//! TLS: what is agreed on, certificates that are renewed, and callers who shake no hands.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rollcall_server::health::State;
use rollcall_server::tls::{Look, Tls, TlsError, TlsFiles};
use rollcall_server::{Limits, Options};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{Running, SHORT, rest, start, wide};

/// An authority, and a folder with what it has issued last.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    own: CertificateDer<'static>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap().der().clone();
        let authority = Self {
            issuer: Issuer::new(params, key),
            own,
            folder: tempfile::tempdir().unwrap(),
        };
        authority.renew();
        authority
    }

    fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.folder.path().join("hub.pem"),
            key: self.folder.path().join("hub.key"),
        }
    }

    fn tls(&self) -> Arc<Tls> {
        Arc::new(Tls::open(self.files()).unwrap())
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> (CertificateDer<'static>, [String; 2]) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["hub.test".to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let texts = [certificate.pem(), key.serialize_pem()];
        (certificate.into(), texts)
    }

    /// Issues another pair and writes it.
    fn renew(&self) -> CertificateDer<'static> {
        let (certificate, texts) = self.issue(|_| {});
        self.write(&texts);
        certificate
    }

    fn write(&self, [certificate, key]: &[String; 2]) {
        std::fs::write(self.files().certificate, certificate).unwrap();
        std::fs::write(self.files().key, key).unwrap();
        mode(&self.files().key, 0o600);
    }

    /// Connects with these versions.
    async fn try_connect(
        &self,
        running: &Running,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.own.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("hub.test").unwrap();
        let socket = TcpStream::connect(running.address).await?;
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }

    async fn connect(&self, running: &Running) -> TlsStream<TcpStream> {
        self.try_connect(running, &[&TLS13]).await.unwrap()
    }
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn with(tls: &Arc<Tls>, limits: Limits) -> Options {
    Options {
        tls: Some(Arc::clone(tls)),
        ..Options::from(limits)
    }
}

fn presented(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let (_, session) = stream.get_ref();
    session.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Asks and leaves the connection open.
async fn ask(stream: &mut TlsStream<TcpStream>) {
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: hub.test\r\n\r\n")
        .await
        .unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"here") {
        assert!(stream.read_buf(&mut text).await.unwrap() > 0);
    }
}

/// Reads to an end that TLS tells of.
async fn to_the_end(mut stream: TlsStream<TcpStream>) -> String {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn both_versions_are_spoken_and_the_handler_knows() {
    let authority = Authority::new();
    let running = start(with(&authority.tls(), wide())).await;
    for (version, expected) in [
        (&TLS13, ProtocolVersion::TLSv1_3),
        (&TLS12, ProtocolVersion::TLSv1_2),
    ] {
        let mut stream = authority.try_connect(&running, &[version]).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.protocol_version(), Some(expected));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        let request = "GET /client HTTP/1.1\r\nhost: hub.test:8443\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = to_the_end(stream).await;
        let client = r#"Client { address: 127.0.0.1, secure: true, host: Some("hub.test:8443") }"#;
        assert!(answer.ends_with(client), "{answer}");
        assert!(answer.contains("strict-transport-security: max-age=31536000\r\n"));
    }
}

#[tokio::test]
async fn much_goes_either_way_and_an_answer_reaches_whoever_still_writes() {
    let authority = Authority::new();
    let running = start(with(&authority.tls(), wide())).await;
    let mut large = authority.connect(&running).await;
    large
        .write_all(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let answer = to_the_end(large).await;
    assert!(answer.len() > 64 << 20 && answer.ends_with('x'));
    for (path, expected) in [("/length", "2000000"), ("/refused", "not read")] {
        let mut stream = authority.connect(&running).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2000000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; 2_000_000]).await.unwrap();
        assert!(to_the_end(stream).await.ends_with(expected));
    }
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_a_broken_one_for_none() {
    let authority = Authority::new();
    let tls = authority.tls();
    let running = start(with(&tls, wide())).await;
    let mut old = authority.connect(&running).await;
    let first = presented(&old);
    assert_eq!(tls.look(), Look::Unchanged);

    let second = authority.renew();
    assert_eq!(tls.look(), Look::Renewed);
    assert_eq!(presented(&authority.connect(&running).await), second);
    assert_ne!(first, second);
    ask(&mut old).await;
    assert_eq!(presented(&old), first);

    let TlsFiles { certificate, key } = authority.files();
    let (_, [other, other_key]) = authority.issue(|_| {});
    let good = std::fs::read_to_string(&certificate).unwrap();
    let good_key = std::fs::read_to_string(&key).unwrap();
    type Breaks<'a> = &'a dyn Fn();
    let cases: [(Breaks<'_>, &str); 8] = [
        (
            &|| std::fs::write(&certificate, &other).unwrap(),
            "not that of the first certificate",
        ),
        (
            &|| std::fs::write(&key, &other_key).unwrap(),
            "not that of the first certificate",
        ),
        (
            &|| std::fs::write(&certificate, "").unwrap(),
            "no certificate in PEM",
        ),
        (&|| std::fs::write(&key, &good).unwrap(), "no private key in PEM"),
        (&|| std::fs::remove_file(&key).unwrap(), "hub.key does not exist"),
        (&|| mode(&key, 0o644), "chmod 6"),
        (
            &|| std::fs::write(&certificate, good.replace("MII", "MIJ")).unwrap(),
            "cannot be read",
        ),
        (
            &|| {
                std::fs::remove_file(&certificate).unwrap();
                std::fs::create_dir(&certificate).unwrap();
            },
            "not a regular file",
        ),
    ];
    for (breaks, said) in cases {
        breaks();
        assert_eq!(tls.look(), Look::Refused, "{said}");
        let part = tls.part(0);
        assert_eq!(part.state, State::Warning);
        assert!(part.message.contains(said), "{said:?} is not in {}", part.message);
        assert_eq!(presented(&authority.connect(&running).await), second, "{said}");
        // The program would not start with it, and says the same.
        let error = Tls::open(authority.files()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        if certificate.is_dir() {
            std::fs::remove_dir(&certificate).unwrap();
        }
        authority.write(&[good.clone(), good_key.clone()]);
        assert_eq!(tls.look(), Look::Unchanged, "{said}");
        assert_eq!(tls.part(0).state, State::Ok);
    }
    let third = authority.renew();
    assert_eq!(tls.look(), Look::Renewed);
    assert_eq!(presented(&authority.connect(&running).await), third);
    ask(&mut old).await;
}

#[test]
fn a_key_that_others_can_read_is_refused_but_that_of_roots_group_is_not() {
    let authority = Authority::new();
    let files = authority.files();
    mode(&files.key, 0o604);
    assert!(matches!(Tls::open(files.clone()), Err(TlsError::File(_))));
    mode(&files.key, 0o640);
    let is_roots = rustix::process::geteuid().is_root();
    assert_eq!(Tls::open(files.clone()).is_ok(), is_roots);
    // Everybody may read a certificate.
    mode(&files.key, 0o400);
    mode(&files.certificate, 0o644);
    assert!(Tls::open(files).is_ok());
}

#[test]
fn the_end_of_a_certificate_is_told_of_two_weeks_before() {
    let authority = Authority::new();
    let (_, texts) = authority.issue(|params| params.not_after = date_time_ymd(2030, 3, 1));
    authority.write(&texts);
    let tls = authority.tls();
    let (day, end) = (86_400, 1_898_553_600);
    assert_eq!(tls.ends(), end);
    for (now, state, said) in [
        (end - 14 * day, State::Ok, "good until 2030-03-01T00:00:00Z"),
        (
            end - 14 * day + 1,
            State::Warning,
            "ends on 2030-03-01T00:00:00Z, in 13 days",
        ),
        (end - 1, State::Warning, "in 0 days"),
        (end, State::Failed, "has ended on 2030-03-01T00:00:00Z"),
        (end + day, State::Failed, "clients refuse it"),
    ] {
        let part = tls.part(now);
        assert_eq!(part.state, state, "{now}");
        assert!(part.message.contains(said), "{}", part.message);
    }
    // What stands in the way of the next one is told with it.
    std::fs::remove_file(authority.files().key).unwrap();
    assert_eq!(tls.look(), Look::Refused);
    let part = tls.part(end);
    assert!(part.state == State::Failed && part.message.contains("does not exist"));
}

#[tokio::test]
async fn whoever_shakes_no_hands_is_closed_and_gives_way() {
    let authority = Authority::new();
    let short = start(with(
        &authority.tls(),
        Limits {
            header: SHORT,
            ..wide()
        },
    ))
    .await;
    // Nothing; the beginning of a record; a handshake and then nothing.
    assert_eq!(rest(short.send("").await).await, "");
    assert_eq!(rest(short.send("\u{16}\u{3}\u{1}").await).await, "");
    assert_eq!(to_the_end(authority.connect(&short).await).await, "");

    let few = start(with(
        &authority.tls(),
        Limits {
            connections: 4,
            per_address: 4,
            ..wide()
        },
    ))
    .await;
    let mut silent = Vec::new();
    for text in ["", "\u{16}\u{3}\u{1}"].into_iter().cycle().take(20) {
        silent.push(few.send(text).await);
        ask(&mut authority.connect(&few).await).await;
    }
    let last = silent.split_off(16);
    for stream in silent {
        assert_eq!(rest(stream).await, "");
    }
    drop(last);
}

#[tokio::test]
async fn plain_http_is_told_that_tls_is_spoken_here() {
    let authority = Authority::new();
    let running = start(with(&authority.tls(), wide())).await;
    let answer = running.ask("/").await;
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && answer.contains("ask with https://"),
        "{answer}"
    );
    let length = 2_000_000;
    let mut stream = running
        .send(&format!(
            "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await;
    stream.write_all(&vec![b'x'; length]).await.unwrap();
    assert!(rest(stream).await.contains("ask with https://"));
    // What is neither gets the alert of TLS.
    let noise = running.send("\u{1}\u{2}\u{3}\u{4}\u{5}").await;
    assert!(!rest(noise).await.contains("HTTP"));
    ask(&mut authority.connect(&running).await).await;
}

#[tokio::test]
async fn the_end_waits_for_answers_over_tls_and_for_no_handshake() {
    let authority = Authority::new();
    let mut running = start(with(&authority.tls(), wide())).await;
    let mut kept = authority.connect(&running).await;
    ask(&mut kept).await;
    let silent = running.send("").await;
    let half = running.send("\u{16}\u{3}\u{1}").await;
    let mut asked = authority.connect(&running).await;
    asked
        .write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let end = running.slow.recv().await.unwrap();
    running.stop.send(()).unwrap();
    assert_eq!(to_the_end(kept).await, "");
    for stream in [silent, half] {
        assert_eq!(rest(stream).await, "");
    }
    end.send(()).unwrap();
    assert!(to_the_end(asked).await.ends_with("at last"));
    assert_eq!(running.server.await.unwrap(), 0);
}

#[tokio::test]
async fn an_idle_connection_over_tls_is_closed_in_order() {
    let authority = Authority::new();
    let idle = Limits {
        idle: Duration::from_millis(100),
        ..wide()
    };
    let running = start(with(&authority.tls(), idle)).await;
    let mut kept = authority.connect(&running).await;
    ask(&mut kept).await;
    assert_eq!(to_the_end(kept).await, "");
}
