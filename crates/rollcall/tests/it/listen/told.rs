//! What it prints: for scripts, without verifying, and about itself.

use rollcall_protocol::EventType;
use serde_json::{Value, json};

use super::{Listening, Sender, event};
use crate::operate::{done, rollcall};

/// A line of JSON without what differs from run to run.
fn settled(line: &str) -> Value {
    let mut value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    for (object, names) in [
        ("", &["receivedAt"][..]),
        ("/request", &["envelopeId", "issuedAt", "expiresAt"]),
        ("/answer", &["milliseconds"][..]),
        ("/says", &["envelopeId", "issuedAt", "expiresAt"]),
    ] {
        let Some(Value::Object(members)) = value.pointer_mut(object) else {
            continue;
        };
        for name in names {
            if let Some(value) = members.get_mut(*name) {
                assert!(!value.is_null(), "{line}");
                *value = json!("…");
            }
        }
    }
    value
}

#[test]
fn lines_of_json_hold_everything_but_passwords() {
    let sender = Sender::new();
    let mut listening = sender.listen(&["--json"]);
    let data = r#"{"userId":"user_1","username":"ada","password":"s3cret-word","passwordSet":"true"}"#;
    listening.post(&sender.seal(vec![event("evnt_1", EventType::UserUpdatePassword, data)]));
    assert_eq!(
        settled(&listening.line()),
        json!({
            "kind": "event",
            "receivedAt": "…",
            "request": {
                "number": 1, "events": 1, "verified": true, "encrypted": false, "kid": "KEY1",
                "envelopeId": "…", "instanceId": "idaas_1", "issuedAt": "…", "expiresAt": "…",
            },
            "eventId": "evnt_1",
            "eventType": "urn:alibaba:idaas:app:event:ud:user:update_password",
            "eventTime": 1_800_000_000_000_i64,
            "bizId": "user_1",
            "record": {
                "userId": "user_1", "username": "ada", "password": "(a password)", "passwordSet": "true",
            },
            "answer": {
                "by": "listener", "status": 200, "milliseconds": "…",
                "result": "success", "code": "SUCCESS", "message": "", "failure": null,
            },
        })
    );
    listening.post(&sender.one("evnt_2").replace("\"}", "AA\"}"));
    let refused = settled(&listening.line());
    assert!(refused["advice"].as_str().unwrap().contains("forged"));
    assert_eq!(
        refused,
        json!({
            "kind": "refused",
            "receivedAt": "…",
            "request": { "number": 2 },
            "error": "bad_signature",
            "reason": "the JWT's signature does not fit its content",
            "advice": refused["advice"],
            "says": {
                "algorithm": "RS256", "kid": "KEY1", "issuer": "urn:alibaba:idaas:app:event",
                "instanceId": "idaas_1", "applicationId": "app_1", "envelopeId": "…", "issuedAt": "…",
                "expiresAt": "…", "encrypted": false,
            },
            "answer": { "by": "listener", "status": 400 },
        })
    );
    listening.post_to("/event", "{}");
    assert_eq!(
        settled(&listening.line()),
        json!({
            "kind": "ignored", "receivedAt": "…", "method": "POST", "path": "/event",
            "answer": { "by": "listener", "status": 404 },
        })
    );
    let (_, printed, _) = listening.stop("-TERM");
    let last: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(
        last,
        json!({
            "kind": "summary", "requests": 2, "events": 1, "types": { "ud:user:update_password": 1 },
            "results": { "success": 1 }, "refused": { "bad_signature": 1 }, "unanswered": 0,
        })
    );
    assert!(!printed.contains("s3cret-word"), "{printed}");
}

#[test]
fn without_verifying_everything_is_shown_and_marked() {
    let mut sender = Sender::new();
    sender.application = "app_of_somebody";
    sender.ahead_ms = -86_400_000;
    let folder = sender.folder.path();
    let mut listening = Listening::start(folder, &["listen", "--unverified"]);
    assert!(listening.line().contains("NOTHING"));
    let forged = sender.one("evnt_1").replace("\"}", "AA\"}");
    assert!(listening.post(&forged).starts_with("HTTP/1.1 200"));
    listening.until("NOT VERIFIED, key KEY1");
    listening.until("Ada Lovelace (ada)");
    sender.encrypts = true;
    assert!(listening.post(&sender.one("evnt_2")).starts_with("HTTP/1.1 400"));
    listening.until("REFUSED (no_decryption_key)");
    listening.until("begin again with --encryption-key-file");
    assert_eq!(listening.stop("-TERM").0, 0);

    let options = [
        "listen",
        "--unverified",
        "--encryption-key-file",
        "key.hex",
        "--once",
    ];
    let mut listening = Listening::start(sender.folder.path(), &options);
    listening.post(&sender.one("evnt_3"));
    listening.until("NOT VERIFIED, encrypted, key KEY1");
    listening.until("Ada Lovelace (ada)");
    assert_eq!(listening.end().0, 0);
}

#[test]
fn it_says_what_it_needs_and_what_there_is() {
    let sender = Sender::new();
    let run = |arguments: &[&str]| {
        let output = rollcall(sender.folder.path(), arguments).output().unwrap();
        let told = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(told).unwrap())
    };
    let (code, told) = run(&["listen"]);
    assert_eq!(code, 2, "{told}");
    for way in ["--app", "--jwks", "--unverified"] {
        assert!(told.contains(way), "{told}");
    }
    for wrong in [
        &["listen", "--jwks", "jwks.json"] as &[&str],
        &["listen", "--unverified", "--keep", "sqlite:x.db"],
        &["listen", "--unverified", "--answer-for", "ud:user:create"],
        &[
            "listen",
            "--unverified",
            "--answer",
            "retry",
            "--answer-for",
            "ud:robot:create",
        ],
        &["listen", "--unverified", "--path", "events"],
        &["listen", "--unverified", "--count", "0"],
        &[
            "listen",
            "--unverified",
            "--forward-to",
            "http://127.0.0.1:1/",
            "--answer",
            "500",
        ],
        &["listen", "--unverified", "--encryption-key-file", "jwks.json"],
    ] {
        let (code, told) = run(wrong);
        assert_eq!(code, 2, "{wrong:?}: {told}");
    }
    std::fs::write(sender.folder.path().join("empty.json"), "{\"keys\":[]}").unwrap();
    let (code, told) = run(&["listen", "--jwks", "empty.json", "--application-id", "app_1"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("no key for signatures"), "{told}");
    let (code, help) = run(&["listen", "--help"]);
    assert_eq!(code, 0);
    for taught in [
        "Examples:",
        "--forward-to http://127.0.0.1:3000/events",
        "Exit codes:",
    ] {
        assert!(help.contains(taught), "{help}");
    }
    // The usual port, or a free one if another program has it.
    let first = Listening::run(rollcall(sender.folder.path(), &["listen", "--unverified"]));
    let second = Listening::run(rollcall(sender.folder.path(), &["listen", "--unverified"]));
    assert_ne!(first.url, second.url);
    let taken = first.address();
    let (code, told) = run(&["listen", "--unverified", "--listen", &taken]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("cannot listen on"), "{told}");
}

/// A sender that serves its own keys comes after whoever listens.
#[test]
fn keys_that_are_not_there_yet_are_fetched_when_something_comes() {
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let keys_at = free.local_addr().unwrap().to_string();
    drop(free);
    let (application, instance) = (
        rollcall::sender::Sender::usual_application(),
        rollcall::sender::Sender::usual_instance(),
    );
    let jwks = format!("http://{keys_at}/v2/{instance}/{application}/provisioning/jwks");
    let mut listening = Listening::start(
        folder.path(),
        &[
            "listen",
            "--jwks",
            &jwks,
            "--application-id",
            &application,
            "--once",
        ],
    );
    listening.until("not there yet");
    let url = listening.url.clone();
    let mut sent = rollcall(
        folder.path(),
        &["trigger", "user:create", "--url", &url, "--jwks-listen", &keys_at],
    );
    done(&sent.output().unwrap());
    let (code, printed, _) = listening.end();
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("ud:user:create") && printed.contains("verified"),
        "{printed}"
    );
}
