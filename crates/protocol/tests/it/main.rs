//! The wire, held against two independent libraries, and pinned.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod answers;
mod oracles;
mod properties;
mod refusals;
mod shape;
mod vectors;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollcall_protocol::{
    EncryptionKey, Event, EventBatch, EventType, JwkSet, KeySet, Random, SealParams, SigningKey, UserPayload,
    seal,
};

pub(crate) const PEM: &str = include_str!("../../../../docs/vectors/signing-key.pem");
pub(crate) const APP: &str = "app_test";
pub(crate) const INSTANCE: &str = "idaas_test";
pub(crate) const NOW: i64 = 1_700_000_000_500;
pub(crate) const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Randomness that is always the same.
pub(crate) struct Counting;

impl Random for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for (byte, value) in buffer.iter_mut().zip(1..) {
            *byte = value;
        }
    }
}

pub(crate) fn key() -> SigningKey {
    let text: String = PEM.lines().filter(|line| !line.starts_with("-----")).collect();
    SigningKey::from_pkcs8("KEYtest", &STANDARD.decode(text).unwrap()).unwrap()
}

pub(crate) fn keys() -> KeySet {
    JwkSet {
        keys: vec![key().public_jwk()],
    }
    .verifier()
}

pub(crate) fn encryption_key() -> EncryptionKey {
    EncryptionKey::from_hex(KEY).unwrap()
}

pub(crate) fn batch() -> EventBatch {
    let user = UserPayload {
        user_id: "user_1".into(),
        username: Some("ada".into()),
        display_name: Some("Ada \"Countess\" Lovelace ☃".into()),
        ..UserPayload::default()
    };
    EventBatch {
        instance_id: INSTANCE.into(),
        event_version: "V1.0".into(),
        ali_uid: "1021000000000000".into(),
        events: vec![Event {
            event_id: "evnt_1".into(),
            event_type: EventType::UserCreate.urn().into(),
            event_time: 1_700_000_000_123,
            biz_id: "user_1".into(),
            biz_data: user.to_json(),
        }],
    }
}

pub(crate) fn sealed(encryption: Option<&EncryptionKey>) -> String {
    let key = key();
    let params = SealParams {
        key: &key,
        instance_id: INSTANCE,
        application_id: APP,
        encryption,
        now_ms: NOW,
        random: &Counting,
    };
    seal(&batch(), &params).unwrap().body
}

/// The compact JWS in a body.
pub(crate) fn jwt_of(body: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["event"].as_str().unwrap().to_owned()
}
