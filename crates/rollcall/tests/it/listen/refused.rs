//! What is refused, and what is said about it.

use rollcall_protocol::{EventType, SigningKey};
use rollcall_receiver::Mirror;
use serde_json::Value;

use super::{ADA, Listening, Sender, body, event};

/// Posts what must be refused: the code of the answer, which the line that is printed has too.
fn refused(listening: &mut Listening, request: &str, code: &str) -> String {
    let answer = listening.post(request);
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(body(&answer)["error"], code, "{answer}");
    let line = listening.until("REFUSED");
    assert!(line.contains(&format!("REFUSED ({code})")), "{line}");
    let mut told = line;
    while !told.contains("→ answered 4") {
        told.push('\n');
        told.push_str(&listening.line());
    }
    assert!(told.contains("to do: "), "{told}");
    told
}

#[test]
fn a_forged_or_foreign_request_is_refused_and_said_why_and_is_not_kept() {
    let mut sender = Sender::new();
    sender.encrypts = true;
    let kept = format!("sqlite:{}", sender.folder.path().join("kept.db").display());
    let mut listening = sender.listen(&["--encryption-key-file", "key.hex", "--keep", &kept]);
    let good = sender.one("evnt_1");
    let told = refused(&mut listening, &good.replace("\"}", "AA\"}"), "bad_signature");
    assert!(told.contains("key KEY1") && told.contains("for app_1"), "{told}");

    let with = |change: &dyn Fn(&mut Sender)| {
        let mut other = Sender::new();
        other.key = SigningKey::from_pkcs8("KEY1", &sender.key.pkcs8_der().unwrap()).unwrap();
        other.secret = sender.secret.clone();
        other.encrypts = true;
        change(&mut other);
        other.one("evnt_1")
    };
    let told = refused(
        &mut listening,
        &with(&|it| it.key = SigningKey::generate("KEY2").unwrap()),
        "unknown_key",
    );
    assert!(told.contains("key KEY2") && told.contains("JWKS"), "{told}");
    refused(
        &mut listening,
        &with(&|it| it.key = SigningKey::generate("KEY1").unwrap()),
        "bad_signature",
    );
    let told = refused(
        &mut listening,
        &with(&|it| it.application = "app_2"),
        "wrong_audience",
    );
    assert!(
        told.contains("for app_2") && told.contains("--application-id"),
        "{told}"
    );
    let told = refused(&mut listening, &with(&|it| it.ahead_ms = -7_200_000), "expired");
    assert!(told.contains("expires 2") && told.contains("clock"), "{told}");
    refused(
        &mut listening,
        &with(&|it| it.ahead_ms = 600_000),
        "not_yet_valid",
    );
    refused(&mut listening, &with(&|it| it.encrypts = false), "not_encrypted");
    let other_secret = Sender::new().secret;
    refused(
        &mut listening,
        &with(&|it| it.secret = other_secret.clone()),
        "undecryptable",
    );
    refused(&mut listening, "{\"hello\":1}", "bad_request");
    refused(&mut listening, &format!("\u{1b}[2J{good}"), "bad_request");
    let (code, printed, beside) = listening.stop("-TERM");
    assert_eq!(code, 0, "{beside}");
    assert!(
        !printed.contains("Ada") && !printed.contains('\u{1b}'),
        "{printed}"
    );
    assert!(
        printed.contains("refused: 2 requests (bad_signature)"),
        "{printed}"
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mirror = Mirror::open(&kept).await.unwrap();
        assert_eq!(mirror.counts().await.unwrap().users, 0);
        mirror.close().await;
    });
}

#[test]
fn scripts_learn_whether_all_events_came_and_nothing_was_refused() {
    let sender = Sender::new();
    let listening = sender.listen(&["--once"]);
    listening.post(&sender.one("evnt_1"));
    assert_eq!(listening.end().0, 0);

    let listening = sender.listen(&["--count", "3", "--json"]);
    listening.post("{}");
    for id in ["evnt_1", "evnt_2"] {
        listening.post(&sender.one(id));
    }
    let two = vec![
        event("evnt_3", EventType::UserCreate, ADA),
        event("evnt_4", EventType::UserDelete, ADA),
    ];
    assert!(listening.post(&sender.seal(two)).starts_with("HTTP/1.1 200"));
    let (code, printed, _) = listening.end();
    assert_eq!(code, 3, "{printed}");
    let last: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!((&last["kind"], &last["events"]), (&"summary".into(), &4.into()));

    let listening = sender.listen(&["--once", "--within", "0.3", "--json"]);
    let (code, _, beside) = listening.end();
    assert_eq!(code, 1, "{beside}");
    assert!(beside.contains("\"incomplete\""), "{beside}");

    let listening = sender.listen(&["--within", "0.1"]);
    assert_eq!(listening.end().0, 0);
}
