//! Test Connectivity against endpoints that are wrong in every way that one meets: each is told by a code that
//! does not change, in plain words, with what to do next.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedKey, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rollcall::application::Scope;
use rollcall::clock::Clock;
use rollcall::config::{Config, Overrides};
use rollcall::delivery::connectivity::{Report, StepResult};
use rollcall::delivery::egress::Egress;
use rollcall::delivery::{Shared, connectivity};
use rollcall::hub::Hub;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::operate::{done, rollcall};
use crate::strangers;
use crate::world::{add_application, on_both, open_hub};

/// What an endpoint does once it has read a request.
#[derive(Clone)]
enum Then {
    /// Answers with this status and body; `EVENT` in it becomes the id of the event that was sent.
    Answer(&'static str, &'static str),
    /// Answers so many bytes of what it promises.
    Break,
    /// Nothing.
    Silence,
}

const TAKEN: &str = r#"{"successEvents":[{"eventId":"EVENT","eventCode":"SUCCESS"}]}"#;

/// Listens, and does the same whoever comes.
async fn endpoint(tls: Option<Arc<ServerConfig>>, then: Then) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (tls, then) = (tls.clone(), then.clone());
            tokio::spawn(async move {
                match tls {
                    None => handle(stream, then).await,
                    Some(tls) => match TlsAcceptor::from(tls).accept(stream).await {
                        Ok(stream) => handle(stream, then).await,
                        // The alert is on its way; what the other side has sent is not read.
                        Err(_) => Some(()),
                    },
                }
            });
        }
    });
    address
}

async fn handle(mut stream: impl AsyncRead + AsyncWrite + Unpin, then: Then) -> Option<()> {
    let mut request = Vec::new();
    let body = loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
        request.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.to_ascii_lowercase();
        let length = length
            .split("content-length: ")
            .nth(1)?
            .lines()
            .next()?
            .parse()
            .ok()?;
        if body.len() >= length {
            break body.to_owned();
        }
    };
    let answer = match then {
        Then::Silence => pending().await,
        Then::Break => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"succ".to_owned(),
        Then::Answer(status, body_of) => {
            let body_of = body_of.replace("EVENT", &event_id(&body)?);
            let length = body_of.len();
            format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body_of}")
        }
    };
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

/// The id of the one event in a request that is not encrypted.
fn event_id(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let claims = body["event"].as_str()?.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let events: Value = serde_json::from_str(claims["plainData"]["eventData"].as_str()?).ok()?;
    Some(events[0]["eventId"].as_str()?.to_owned())
}

/// A certificate for `localhost`, or what a test makes of it.
fn certificate(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "The endpoint");
    change(&mut params);
    params
}

pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
        server(self.pair(change))
    }

    pub(crate) fn pair(&self, change: impl FnOnce(&mut CertificateParams)) -> CertifiedKey<KeyPair> {
        let signing_key = KeyPair::generate().unwrap();
        let cert = certificate(change).signed_by(&signing_key, &self.issuer).unwrap();
        CertifiedKey { cert, signing_key }
    }
}

fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> (Arc<ServerConfig>, String) {
    let key = KeyPair::generate().unwrap();
    let cert = certificate(change).self_signed(&key).unwrap();
    let pem = cert.pem();
    (
        server(CertifiedKey {
            cert,
            signing_key: key,
        }),
        pem,
    )
}

fn server(certified: CertifiedKey<KeyPair>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    Arc::new(config)
}

/// An address that lets nobody in: as many connections wait there as may, and none is taken.
async fn full() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    let connect = || TcpStream::connect(listener.local_addr().unwrap());
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), connect()).await {
        waiting.push(stream);
    }
    (listener, waiting)
}

/// What the configuration trusts, with a file of authorities.
fn trusting(pem: &str) -> Egress {
    let folder = tempfile::tempdir().unwrap();
    let (authorities, file) = (folder.path().join("ca.pem"), folder.path().join("rollcall.toml"));
    std::fs::write(&authorities, pem).unwrap();
    let text = format!(
        "[egress]\nallow = ['127.0.0.0/8']\nca_file = '{}'\n",
        authorities.display()
    );
    std::fs::write(&file, text).unwrap();
    let config = Config::read(Some(&file), Overrides::default()).unwrap();
    Egress::new(&config.egress().unwrap(), Clock::system()).unwrap()
}

async fn test(hub: &Hub, egress: Egress, url: &str) -> Report {
    let name = format!("{url} {}", rollcall::id::make("t", 0, &*hub.random));
    let application = add_application(hub, &name, url, None, Scope::everything()).await;
    let shared = Shared::for_one(hub.clone(), egress).await.unwrap();
    connectivity::test(&shared, &application.id).await.unwrap()
}

/// A case: the URL, whether the test passes, the step and the code that it ends with, and parts of what is said
/// and of the advice.
struct Case {
    url: String,
    passes: bool,
    ends: (&'static str, &'static str),
    parts: &'static [&'static str],
}

fn fails(url: String, ends: (&'static str, &'static str), parts: &'static [&'static str]) -> Case {
    Case {
        url,
        passes: false,
        ends,
        parts,
    }
}

fn check(case: &Case, report: &Report) {
    let shown = serde_json::to_value(report).unwrap();
    let last = report.steps.last().unwrap();
    assert_eq!(report.passed, case.passes, "{shown:#}");
    assert_eq!(
        (last.name.as_ref(), shown["code"].as_str().unwrap()),
        case.ends,
        "{shown:#}"
    );
    let step = &shown["steps"][report.steps.len() - 1];
    assert_eq!(step["code"], shown["code"], "{shown:#}");
    let (StepResult::Failed(finding) | StepResult::Assumed(finding)) = &last.result else {
        panic!("{shown:#}");
    };
    let said = format!("{}\n{}", finding.detail, finding.advice);
    for part in case.parts {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
}

#[test]
fn a_certificate_that_is_not_accepted_is_told_from_every_other() {
    on_both("certificates", |database, _| async move {
        let hub = open_hub(&database).await;
        let (ours, theirs) = (Authority::new("Our Company"), Authority::new("Their Company"));
        let at = async |config| {
            let address = endpoint(Some(config), Then::Answer("200 OK", TAKEN)).await;
            format!("https://localhost:{}/events", address.port())
        };
        let (plain, plain_pem) = self_signed(|_| {});
        let (authority, _) = self_signed(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        let plain = at(plain).await;
        let cases = [
            fails(
                plain.clone(),
                ("tls", "certificate_self_signed"),
                &["self-signed: CN=The endpoint", "egress.ca_file"],
            ),
            fails(
                at(authority).await,
                ("tls", "certificate_of_authority"),
                &[
                    "CA:TRUE",
                    "subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE",
                ],
            ),
            fails(
                at(theirs.issue(|_| {})).await,
                ("tls", "certificate_unknown_authority"),
                &["CN=Their Company", "egress.ca_file", "intermediate"],
            ),
            fails(
                at(ours.issue(|params| {
                    params.subject_alt_names = certificate_names(&["wiki.example", "10.1.2.3"]);
                }))
                .await,
                ("tls", "certificate_other_host"),
                &["for wiki.example, 10.1.2.3", "certificate for localhost"],
            ),
            fails(
                at(ours.issue(|params| params.not_after = date_time_ymd(2020, 2, 3))).await,
                ("tls", "certificate_expired"),
                &["valid until 2020-02-03 00:00:00Z", "renew"],
            ),
            fails(
                at(ours.issue(|params| params.not_before = date_time_ymd(4000, 2, 3))).await,
                ("tls", "certificate_not_yet_valid"),
                &["only from 4000-02-03 00:00:00Z", "clock"],
            ),
        ];
        for case in &cases {
            check(case, &test(&hub, trusting(&ours.pem), &case.url).await);
        }
        // What the advice leads to: a company's authority and a self-signed certificate may be trusted.
        for (url, pem) in [
            (at(ours.issue(|_| {})).await, ours.pem.clone()),
            (plain, format!("{}{plain_pem}", ours.pem)),
        ] {
            let report = test(&hub, trusting(&pem), &url).await;
            let shown = serde_json::to_string_pretty(&report).unwrap();
            assert!(report.passed && report.code.is_none(), "{shown}");
            let steps: Vec<&str> = report.steps.iter().map(|step| step.name.as_ref()).collect();
            assert_eq!(
                steps,
                ["resolve", "connect", "tls", "sign", "status", "answer", "event"]
            );
            assert!(
                shown.contains("TLS 1.3, the certificate is trusted, and valid until"),
                "{shown}"
            );
        }
    });
}

fn certificate_names(names: &[&str]) -> Vec<rcgen::SanType> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).unwrap().subject_alt_names
}

#[test]
fn every_way_in_which_an_endpoint_can_be_wrong_is_told_from_the_others() {
    on_both("endpoints", |database, _| async move {
        let hub = open_hub(&database).await;
        let plain = async |status, body| {
            let address = endpoint(None, Then::Answer(status, body)).await;
            format!("http://127.0.0.1:{}/events", address.port())
        };
        let with = async |then| format!("http://{}/events", endpoint(None, then).await);
        let (tls, pem) = self_signed(|_| {});
        let tls = endpoint(Some(tls), Then::Answer("200 OK", TAKEN)).await;
        let (full, _waiting) = full().await;
        let page = "<html>\n<head><title>Sign in</title></head></html>";
        let mut cases = vec![
            fails("http://no-such-host.invalid/".into(), ("resolve", "host_not_found"), &[
                "no-such-host.invalid",
                "spelling",
            ]),
            fails("http://10.1.2.3/".into(), ("resolve", "address_not_allowed"), &[
                "10.1.2.3",
                "egress.allow",
            ]),
            fails("http://127.0.0.1:1/x".into(), ("connect", "connection_refused"), &[
                "port 1",
                "runs",
            ]),
            fails(
                format!("http://{}/", full.local_addr().unwrap()),
                ("connect", "connection_timed_out"),
                &["within 5 s", "firewall"],
            ),
            fails(
                with(Then::Answer("200 OK", TAKEN)).await.replace("http:", "https:"),
                ("tls", "tls_failed"),
                &["no TLS handshake within 5 s", "https on this port"],
            ),
            fails(format!("http://localhost:{}/x", tls.port()), ("status", "tls_expected"), &[
                "speaks TLS",
                "--url https://localhost:",
            ]),
            fails(with(Then::Silence).await, ("status", "timed_out"), &[
                "within 10 s",
                "afterwards",
            ]),
            fails(with(Then::Break).await, ("status", "connection_lost"), &[
                "broke off",
                "log",
            ]),
            fails(
                plain("302 Found\r\nlocation: https://login.example/?next=1", "").await,
                ("status", "redirected"),
                &["HTTP 302, to https://login.example/?next=1", "final address"],
            ),
            fails(
                plain("403 Forbidden", r#"{"error":"forbidden","errorDescription":"not listed"}"#).await,
                ("status", "refused_by_application"),
                &["the application says: forbidden: not listed", "allow-list"],
            ),
            fails(
                plain("401 Unauthorized", r#"{"error":"unknown_key"}"#).await,
                ("status", "refused_by_application"),
                &["unknown_key", "restart it or update its pinned keys"],
            ),
            fails(
                plain("500 Internal Server Error", r#"{"error":"bad_request"}"#).await,
                ("status", "refused_by_application"),
                &["compare its application id"],
            ),
            fails(plain("403 Forbidden", page).await, ("status", "refused_in_between"), &[
                "HTTP 403 with an HTML page: \"<html> <head><title>Sign in",
                "a firewall, a proxy or a login",
            ]),
            fails(plain("404 Not Found", page).await, ("status", "not_found"), &["path"]),
            fails(plain("405 Method Not Allowed", "").await, ("status", "not_found"), &[
                "takes POST",
            ]),
            fails(plain("429 Too Many Requests", "").await, ("status", "busy"), &["patience"]),
            fails(plain("502 Bad Gateway", page).await, ("status", "gateway_failed"), &[
                "does not reach it",
            ]),
            fails(
                plain(
                    "500 Internal Server Error",
                    "Traceback (most recent call last):\n  File \"app.py\", line 7, in events\n    \
                     raise ValueError(\"this value is not one that there may be, and here is more of it to be cut off\")",
                )
                .await,
                ("status", "application_failed"),
                &[
                    "HTTP 500 with plain text: \"Traceback (most recent call last): File \"app.py\"",
                    "…\"",
                    "its log says why",
                ],
            ),
            fails(plain("204 No Content", "").await, ("status", "other_status"), &[
                "HTTP 204",
                "answer with the status 200",
            ]),
            fails(
                plain("200 OK", "{\"failedEvents\":[{\"eventId\":").await,
                ("answer", "answer_unreadable"),
                &["names each event once"],
            ),
            fails(
                plain("200 OK", r#"{"failedEvents":[{"eventId":"EVENT","eventCode":"no","eventMessage":"why"}]}"#)
                    .await,
                ("event", "event_refused"),
                &["refuses it: no why"],
            ),
            fails(
                plain("200 OK", r#"{"retriedEvents":[{"eventId":"EVENT","eventCode":"later"}]}"#).await,
                ("event", "event_wanted_again"),
                &["wants it again: later"],
            ),
        ];
        for (body, ends, parts) in [
            (
                "",
                ("answer", "answer_empty"),
                &["an empty body", "successEvents"][..],
            ),
            (page, ("answer", "answer_html"), &["an HTML page", "login page"]),
            ("fine", ("answer", "answer_foreign"), &["plain text"]),
            (
                r#"{"successEvents":[]}"#,
                ("event", "event_not_named"),
                &["eventId"],
            ),
            (
                r#"{"successEvents":[{"eventId":"app_1"}]}"#,
                ("event", "event_misnamed"),
                &["app_1 instead of evnt_", "not its bizId"],
            ),
        ] {
            cases.push(Case {
                url: plain("200 OK", body).await,
                passes: true,
                ends,
                parts,
            });
        }
        // All at once, since some of them take ten seconds.
        let mut tests = JoinSet::new();
        for case in cases {
            let (hub, egress) = (hub.clone(), trusting(&pem));
            tests.spawn(async move {
                let report = test(&hub, egress, &case.url).await;
                check(&case, &report);
            });
        }
        while let Some(tested) = tests.join_next().await {
            tested.unwrap();
        }
        // A server that speaks plain http answers a handshake in its own language.
        let answers = axum::Router::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, answers).await.unwrap() });
        let report = test(&hub, trusting(&pem), &url).await;
        let shown = serde_json::to_value(&report).unwrap();
        assert!(shown["code"] == "not_tls", "{shown:#}");
    });
}

#[test]
fn the_command_and_the_api_tell_the_same_code() {
    let ours = Authority::new("Our Company");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = strangers::folder("");
    let file = folder.path().join("rollcall.toml");
    std::fs::write(folder.path().join("ca.pem"), &ours.pem).unwrap();
    let text = "[egress]\nallow = [\"127.0.0.0/8\"]\nca_file = \"ca.pem\"\n";
    std::fs::write(&file, text).unwrap();
    let database = format!("sqlite:{}", folder.path().join("data/rollcall.db").display());
    let served = strangers::serve(folder.path(), &database);
    let token = strangers::token(folder.path());
    let run = |arguments: &[&str]| {
        let mut all = vec!["--config", "rollcall.toml", "--database", &database, "--json"];
        all.extend(arguments);
        rollcall(folder.path(), &all).output().unwrap()
    };
    let trusted = runtime.block_on(endpoint(Some(ours.issue(|_| {})), Then::Answer("200 OK", TAKEN)));
    let (unknown, _) = self_signed(|_| {});
    let unknown = runtime.block_on(endpoint(Some(unknown), Then::Answer("200 OK", TAKEN)));
    for (name, address, code) in [
        ("Wiki", trusted, Value::Null),
        ("Shop", unknown, "certificate_self_signed".into()),
    ] {
        let url = format!("https://localhost:{}/events", address.port());
        done(&run(&["app", "create", name, "--url", &url]));
        let output = run(&["app", "test", name]);
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(shown["code"], code, "{shown:#}");
        assert_eq!(output.status.code(), Some(if code.is_null() { 0 } else { 3 }));
        let path = format!("/api/v1/applications/{name}/test");
        let answer = served.ask("POST", &path, &format!("authorization: Bearer {token}\r\n"), "");
        let told: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(
            (&told["code"], &told["passed"]),
            (&code, &shown["passed"]),
            "{told:#}"
        );
        let lines = rollcall(
            folder.path(),
            &["--config", "rollcall.toml", "--database", &database],
        )
        .args(["app", "test", name])
        .output()
        .unwrap();
        let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
        assert!(
            lines.contains("ok   tls") || lines.contains("FAIL tls"),
            "{lines}"
        );
    }
}
