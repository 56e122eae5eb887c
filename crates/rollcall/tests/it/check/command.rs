//! The command: what it prints, writes and ends with.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Output;

use rollcall::sender::{Sender, keys};
use rollcall_protocol::JwkSet;
use serde_json::Value;

use super::weak::{Endpoint, Weak, Weakness};
use crate::operate::{done, rollcall};

async fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut process = rollcall(folder, arguments);
    tokio::task::spawn_blocking(move || process.output().unwrap())
        .await
        .unwrap()
}

/// An endpoint that has the public half of `signing.pem`.
async fn endpoint(folder: &Path, weakness: Weakness) -> Endpoint {
    let key = keys::read_or_make_signing(&folder.join("signing.pem"), Some("K1")).unwrap();
    let document = JwkSet {
        keys: vec![key.public_jwk()],
    };
    Weak::start(weakness, &Sender::usual_application(), None, move || {
        document.clone()
    })
    .await
}

const KEY: [&str; 6] = [
    "--signing-key",
    "signing.pem",
    "--kid",
    "K1",
    "--listen",
    "127.0.0.1:0",
];

#[test]
fn the_list_of_cases_is_this() {
    let folder = tempfile::tempdir().unwrap();
    let list = done(&rollcall(folder.path(), &["check", "--list"]).output().unwrap());
    insta::assert_snapshot!("check_list", list);
    let json = done(
        &rollcall(folder.path(), &["check", "--list", "--json"])
            .output()
            .unwrap(),
    );
    let json: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json.len(),
        list.lines().filter(|line| line.starts_with("  ")).count()
    );
    assert!(json.iter().all(|case| case["advice"].is_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_endpoint_is_told_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = endpoint(folder.path(), Weakness::None).await;
    let check = [
        "check",
        &endpoint.url,
        "--wait=5",
        "--html",
        "r.html",
        "--junit",
        "r.xml",
    ];
    let told = run(folder.path(), &[&check[..], &KEY].concat()).await;
    let text = done(&told);
    for part in [
        "configure the endpoint with",
        "/provisioning/jwks",
        "application id   app_",
        "Connection test and answers",
        "  ok   connection-test ",
        "not checked: what is stored was not looked at",
        "0 failed that must pass, 0 failed that should pass",
        "were made are deleted again",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let html = std::fs::read_to_string(folder.path().join("r.html")).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains("refuse-alg-none"));
    assert!(html.contains("prefers-color-scheme: dark"));
    let junit = std::fs::read_to_string(folder.path().join("r.xml")).unwrap();
    assert!(junit.contains("failures=\"0\"") && junit.contains("name=\"batch-500\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_endpoint_is_told_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = endpoint(folder.path(), Weakness::FailsUnknownTypes).await;
    let only = [
        "check",
        &endpoint.url,
        "--only",
        "connection-test",
        "unknown-type",
        "unknown-type-skipped",
    ];
    let forms = [
        "--skip",
        "unknown-namespace",
        "--html",
        "r.html",
        "--junit",
        "r.xml",
    ];
    let told = run(folder.path(), &[&only[..], &forms, &KEY].concat()).await;
    let text = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told.status.code(), Some(1), "{text}");
    for part in [
        "  FAIL unknown-type ",
        "found:    an event stands in failedEvents (CODE <script>alert(1)</script>)",
        "to do:    Answer every type that has no handler",
        "3 cases: 1 passed, 1 failed that must pass, 1 failed that should pass, 0 not checked",
        "again: --only unknown-type unknown-type-skipped",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let html = std::fs::read_to_string(folder.path().join("r.html")).unwrap();
    assert!(
        !html.contains("<script") && html.contains("&#60;script&#62;alert"),
        "{html}"
    );
    let junit = std::fs::read_to_string(folder.path().join("r.xml")).unwrap();
    assert!(
        junit.contains("failures=\"1\"") && junit.contains("<failure message="),
        "{junit}"
    );
    assert!(!junit.contains("<script"), "{junit}");

    let told = run(folder.path(), &[&["--json"], &only[..], &KEY].concat()).await;
    assert_eq!(told.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(report["counts"]["mustFailed"], 1);
    assert_eq!(report["cases"][1]["id"], "unknown-type");
    assert_eq!(report["cases"][1]["result"], "failed");
    assert_eq!(report["cases"][1]["exchanges"][0]["status"], 200);
    // What should pass does not change the exit code.
    let only = ["check", &endpoint.url, "--only", "unknown-type-skipped"];
    let told = run(folder.path(), &[&only[..], &KEY].concat()).await;
    assert_eq!(told.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_checked_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nobody = format!("http://{}/events", free.local_addr().unwrap());
    drop(free);
    let listen = ["--listen", "127.0.0.1:0"];
    for (code, name, arguments) in [
        (2, "wrong_use", &["check"] as &[&str]),
        (2, "wrong_use", &["check", "nonsense"]),
        (2, "wrong_use", &["check", "ftp://127.0.0.1/x"]),
        (2, "wrong_use", &["check", &nobody, "--only", "no-such-case"]),
        (
            2,
            "wrong_use",
            &["check", &nobody, "--read-back", "http://127.0.0.1/users"],
        ),
        (
            2,
            "wrong_use",
            &["check", &nobody, "--read-back-sql", "sqlite:x.db", "nonsense"],
        ),
        (2, "wrong_use", &["check", &nobody, "--kid", "K1"]),
        (1, "no_endpoint", &["check", &nobody]),
        (1, "not_ready", &["check", &nobody, "--wait=1"]),
    ] {
        let all = [&["--json"], arguments, &listen].concat();
        let told = run(folder.path(), &all).await;
        let said = String::from_utf8(told.stderr).unwrap();
        assert_eq!(told.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(
            said.contains(&format!("\"code\":\"{name}\"")),
            "{arguments:?}: {said}"
        );
    }
}
