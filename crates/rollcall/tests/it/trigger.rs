//! `rollcall trigger`: events by wish, at the mirror and at nobody.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use rollcall::sender::{Sender, keys};
use rollcall_db::testing::databases;
use rollcall_protocol::{EncryptionKey, EventType, JwkSet, SystemRandom};
use rollcall_receiver::{KeySource, Mirror, Receiver, router};
use serde_json::Value;

use crate::operate::{done, rollcall};

async fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut process = rollcall(folder, arguments);
    tokio::task::spawn_blocking(move || process.output().unwrap())
        .await
        .unwrap()
}

/// The mirror, with the key that the command keeps in its data folder, and what is typed to send to it.
struct Place {
    folder: tempfile::TempDir,
    mirror: Mirror,
    url: String,
}

impl Place {
    async fn new(database: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = EncryptionKey::generate(&SystemRandom);
        std::fs::write(folder.path().join("key.hex"), &*key.to_hex()).unwrap();
        let signing = keys::read_or_make_signing(&folder.path().join("data/trigger.pem"), None).unwrap();
        let jwks = JwkSet {
            keys: vec![signing.public_jwk()],
        };
        let mirror = Mirror::open(database).await.unwrap();
        let keys = KeySource::Document(serde_json::to_string(&jwks).unwrap());
        let receiver = Receiver::builder(keys, Sender::usual_application())
            .encryption_key(key)
            .build(mirror.clone())
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let app = router(Arc::new(receiver), "/events");
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { folder, mirror, url }
    }

    async fn trigger(&self, more: &[&str]) -> Output {
        let fixed = [
            "trigger",
            "--url",
            &self.url,
            "--encryption-key",
            "key.hex",
            "--jwks-listen",
            "none",
        ];
        run(self.folder.path(), &[&fixed[..], more].concat()).await
    }

    async fn json(&self, more: &[&str]) -> Value {
        let told = self.trigger(&[more, &["--json"]].concat()).await;
        serde_json::from_str(&done(&told)).unwrap()
    }
}

fn lists(told: &Value) -> Vec<(String, String)> {
    let requests = told["requests"].as_array().unwrap().iter();
    let events = requests.flat_map(|request| request["events"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    events
        .map(|event| (text(&event["eventType"]), text(&event["list"])))
        .collect()
}

#[test]
fn what_is_wished_for_arrives() {
    for database in databases("trigger") {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(arrives(&database.url));
    }
}

async fn arrives(database: &str) {
    let place = Place::new(database).await;
    // Every type, short, in one request.
    let all: Vec<&str> = EventType::ALL
        .iter()
        .map(|kind| kind.short().trim_start_matches("ud:"))
        .collect();
    let told = place.json(&[&all[..], &["--batch"]].concat()).await;
    assert_eq!(told["requests"].as_array().unwrap().len(), 1);
    assert_eq!(lists(&told).len(), EventType::ALL.len());
    for (kind, list) in lists(&told) {
        let is_skipped = kind.ends_with("organizational_unit:add_user")
            || kind.ends_with("organizational_unit:remove_user");
        let expected = if is_skipped {
            "skippedEvents"
        } else {
            "successEvents"
        };
        assert_eq!(list, expected, "{kind}");
    }
    // One each, several times, with what is set; the same people each time.
    for _ in 0..2 {
        let told = place
            .json(&[
                "joiner",
                "--count",
                "3",
                "--set",
                "displayName=Ada",
                "--names",
                "older",
            ])
            .await;
        assert_eq!(told["requests"].as_array().unwrap().len(), 12);
    }
    let copy = place.mirror.snapshot().await.unwrap();
    assert_eq!(copy.users.len(), 3, "{:?}", copy.users.keys());
    assert!(copy.users.keys().all(|id| id.starts_with("user_trigger_")));
    assert!(
        copy.users
            .values()
            .all(|user| user.display_name.as_deref() == Some("Ada"))
    );
    assert_eq!(copy.groups.len(), 3);
    // What was recorded is sent again as it was, and known by its ids.
    let told = place
        .json(&[
            "mover",
            "leaver",
            "user:update_password",
            "--count",
            "3",
            "--record",
            "sent.jsonl",
        ])
        .await;
    let recorded = std::fs::read_to_string(place.folder.path().join("sent.jsonl")).unwrap();
    assert!(!recorded.contains("correct horse"), "{recorded}");
    assert_eq!(recorded.lines().count(), lists(&told).len());
    let again = place.json(&["--replay", "sent.jsonl", "--batch"]).await;
    let ids = |told: &Value| -> Vec<String> {
        let requests = told["requests"].as_array().unwrap().iter();
        let events = requests.flat_map(|request| request["events"].as_array().unwrap());
        events
            .map(|event| event["eventId"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&again), ids(&told));
    // For people.
    let text = done(&place.trigger(&["test"]).await);
    assert!(
        text.contains("common:test") && text.contains("successEvents"),
        "{text}"
    );
    assert!(text.contains("1 event sent: 1 success"), "{text}");
    place.mirror.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_served_meanwhile_and_rotated() {
    use rollcall_receiver::HttpJwks;
    // The address has to be known before: the endpoint is configured with it.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let (instance, application) = (Sender::usual_instance(), Sender::usual_application());
    let jwks = format!("http://{address}/v2/{instance}/{application}/provisioning/jwks");
    let keys = KeySource::Endpoint(Arc::new(HttpJwks::new(&jwks).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("mirror.db").display());
    let mirror = Mirror::open(&database).await.unwrap();
    // Its clock jumps by half a minute each time, so that it looks for a key as often as it is asked for one.
    let jumps = std::sync::atomic::AtomicI64::new(0);
    let clock = Arc::new(move || {
        let jump = jumps.fetch_xor(31_000, std::sync::atomic::Ordering::SeqCst);
        rollcall::clock::Clock::system().now() + jump
    });
    let receiver = Receiver::builder(keys, application).clock(clock);
    let receiver = receiver.build(mirror.clone()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    let app = router(Arc::new(receiver), "/events");
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let listen = address.to_string();
    let arguments = [
        "--json",
        "trigger",
        "rotation",
        "--url",
        &url,
        "--jwks-listen",
        &listen,
    ];
    let told = run(folder.path(), &arguments).await;
    let told: Value = serde_json::from_str(&done(&told)).unwrap();
    let requests = told["requests"].as_array().unwrap();
    let kids: Vec<&str> = requests
        .iter()
        .map(|request| request["kid"].as_str().unwrap())
        .collect();
    assert_eq!(kids.len(), 3);
    assert!(kids[0] != kids[1] && kids[1] == kids[2], "{kids:?}");
    mirror.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_is_told_by_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    for (status, body, code) in [
        (400, "no", 1),
        (200, "", 1),
        (200, "retried", 3),
        (200, "success", 0),
    ] {
        let app = axum::Router::new().fallback(move |text: String| async move {
            let sent: Value = serde_json::from_str(&text).unwrap();
            let claims = sent["event"]
                .as_str()
                .unwrap()
                .split('.')
                .nth(1)
                .unwrap()
                .to_owned();
            let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims);
            let claims: Value = serde_json::from_slice(&claims.unwrap()).unwrap();
            let events = claims["plainData"]["eventData"].as_str().unwrap();
            let events: Value = serde_json::from_str(events).unwrap();
            let id = events[0]["eventId"].clone();
            let body = match body {
                "retried" | "success" => {
                    let list = format!("{body}Events");
                    serde_json::json!({ list: [{ "eventId": id }] }).to_string()
                }
                other => other.to_owned(),
            };
            (axum::http::StatusCode::from_u16(status).unwrap(), body)
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let arguments = [
            "trigger",
            "user:create",
            "--url",
            &url,
            "--jwks-listen",
            "127.0.0.1:0",
        ];
        let told = run(folder.path(), &arguments).await;
        assert_eq!(told.status.code(), Some(code), "{status} {body}: {told:?}");
    }
    for arguments in [
        &["trigger"] as &[&str],
        &["trigger", "user:fly", "--url", "http://127.0.0.1:1/"],
        &["trigger", "user:create"],
        &["trigger", "user:create", "--url", "nonsense"],
        &[
            "trigger",
            "user:create",
            "--url",
            "http://127.0.0.1:1/",
            "--set",
            "nonsense",
        ],
    ] {
        let told = run(folder.path(), arguments).await;
        assert_eq!(told.status.code(), Some(2), "{arguments:?}: {told:?}");
    }
    let list = done(&run(folder.path(), &["trigger", "--list"]).await);
    for name in ["ud:user:create", "inventory", "reorganization"] {
        assert!(list.contains(name), "{list}");
    }
}
