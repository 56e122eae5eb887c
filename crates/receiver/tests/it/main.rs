//! The receiver as a hub meets it: real envelopes, over real HTTP where HTTP matters, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise, and sends requests itself"
)]

mod converge;
mod failures;
mod forgetful;
mod http;
mod inbox;
mod inventory;
mod keys;
mod mirror;
mod schema;
mod strangers;
mod vectors;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use rollcall_receiver::protocol::{
    Answer, EncryptionKey, Event, EventBatch, EventType, JwkSet, SealParams, SigningKey, SystemRandom,
    UnitMembership, UserPayload, UserStatus, seal,
};
use rollcall_receiver::{Clock, KeySource, Process, Receiver, Reply, router};

/// 2026-01-01, when all tests happen.
const NOW: i64 = 1_767_225_600_000;
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Making keys takes a while, so all tests share two.
fn signing_key(kid: &'static str) -> &'static SigningKey {
    static KEYS: [OnceLock<SigningKey>; 2] = [OnceLock::new(), OnceLock::new()];
    KEYS[usize::from(kid != "KEY1")].get_or_init(|| SigningKey::generate(kid).unwrap())
}

fn jwks(kids: &[&'static str]) -> String {
    let keys = kids.iter().map(|kid| signing_key(kid).public_jwk()).collect();
    serde_json::to_string(&JwkSet { keys }).unwrap()
}

fn document() -> KeySource {
    KeySource::Document(jwks(&["KEY1"]))
}

/// A clock that is moved by hand.
fn clock() -> (Arc<AtomicI64>, Clock) {
    let now = Arc::new(AtomicI64::new(NOW));
    let shared = Arc::clone(&now);
    (now, Arc::new(move || shared.load(Ordering::SeqCst)))
}

fn still() -> Clock {
    Arc::new(|| NOW)
}

/// What a hub puts into an envelope; the tests alter one thing at a time.
struct Envelope {
    kid: &'static str,
    instance: &'static str,
    application: &'static str,
    encryption: Option<EncryptionKey>,
    now: i64,
}

impl Default for Envelope {
    fn default() -> Self {
        Self {
            kid: "KEY1",
            instance: "idaas_1",
            application: "app_1",
            encryption: None,
            now: NOW,
        }
    }
}

impl Envelope {
    fn seal(&self, events: &[Event]) -> String {
        let batch = EventBatch {
            instance_id: self.instance.to_owned(),
            event_version: "V1.0".to_owned(),
            ali_uid: "1000".to_owned(),
            events: events.to_vec(),
        };
        let params = SealParams {
            key: signing_key(self.kid),
            instance_id: self.instance,
            application_id: self.application,
            encryption: self.encryption.as_ref(),
            now_ms: self.now,
            random: &SystemRandom,
        };
        seal(&batch, &params).unwrap().body
    }
}

fn event(id: &str, kind: EventType, time: i64, subject: &str, data: impl Into<String>) -> Event {
    Event {
        event_id: format!("evnt_{id}"),
        event_type: kind.urn().to_owned(),
        event_time: time,
        biz_id: subject.to_owned(),
        biz_data: data.into(),
    }
}

/// A complete user record.
fn user(id: &str, name: &str) -> UserPayload {
    UserPayload {
        user_id: id.to_owned(),
        username: Some(name.to_owned()),
        display_name: Some(name.to_uppercase()),
        status: Some(UserStatus::Enabled),
        units: vec![UnitMembership {
            id: "ou_1".to_owned(),
            name: Some("One".to_owned()),
            primary: true,
        }],
        primary_unit_id: Some("ou_1".to_owned()),
        ..UserPayload::default()
    }
}

fn user_event(id: &str, kind: EventType, time: i64, name: &str) -> Event {
    event(id, kind, time, "user_1", user("user_1", name).to_json())
}

fn answer(reply: &Reply) -> Answer {
    assert_eq!(reply.status, 200, "{reply:?}");
    serde_json::from_str(&reply.body).unwrap()
}

/// The lists of an answer as `list/event/code/message`.
fn told(answer: &Answer) -> Vec<String> {
    let lists = [
        ("success", &answer.success),
        ("skipped", &answer.skipped),
        ("failed", &answer.failed),
        ("retried", &answer.retried),
    ];
    let mut lines = Vec::new();
    for (name, list) in lists {
        for result in list {
            let id = result.event_id.trim_start_matches("evnt_");
            lines.push(format!(
                "{name}/{id}/{}/{}",
                result.event_code, result.event_message
            ));
        }
    }
    lines
}

/// Serves a receiver on the loopback, until the test ends.
async fn serve<P: Process + 'static>(receiver: Receiver<P>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    let app = router(Arc::new(receiver), "/events").into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

async fn post(url: &str, body: impl Into<reqwest::Body>) -> Reply {
    let response = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(url)
        .header("content-type", "application/json;charset=utf-8")
        .body(body)
        .send()
        .await
        .unwrap();
    Reply {
        status: response.status().as_u16(),
        body: response.text().await.unwrap(),
    }
}
