//! Opening envelopes, behind each of its checks; batches and keys.

use arbitrary::Unstructured;
use rollcall_protocol::{
    Event, EventBatch, GroupPayload, InventoryPayload, KeySet, OpenError, Opener, UnitPayload, UserPayload,
};
use serde_json::{Value, json};

use crate::fixtures::{APP, INSTANCE, NOW, encrypt, wire};
use crate::{edited, split};

/// What an error may have in bytes, however long the request was: it is logged and answered.
const LONGEST_ERROR: usize = 2_000;

fn is_short(error: &OpenError) {
    let text = error.to_string();
    assert!(text.len() < LONGEST_ERROR, "an error of {} bytes", text.len());
}

/// A body is opened or refused: any bytes, or a body that was signed, changed in up to two places. What is opened means
/// what was signed, and nothing else, however it is written; and what was signed is opened.
pub fn envelope(data: &[u8]) {
    let (how, rest) = split(data);
    let wire = wire();
    let signed = match how % 3 {
        0 => None,
        which => Some(&wire.sealed[usize::from(which) - 1]),
    };
    let body = match signed {
        None => rest.to_vec(),
        Some((body, _)) => match edited(body, rest) {
            Some(body) => body.into_bytes(),
            None => return,
        },
    };
    match wire.opener().open(&body, NOW) {
        Ok(opened) => assert!(
            wire.sealed.iter().any(|(_, known)| *known == opened),
            "something was opened that nobody signed: {opened:?}"
        ),
        Err(error) => {
            is_short(&error);
            assert!(
                signed.is_none_or(|(whole, _)| whole.as_bytes() != body),
                "refused: {error}"
            );
        }
    }
}

/// What lies behind the signature, which a fuzzer would never get past: bytes as the claims, as the payload in the
/// claims, or encrypted in them. Accepted claims say what they must; what comes out is in proportion to what went in.
pub fn claims(data: &[u8]) {
    let (how, rest) = split(data);
    let claims = match how % 4 {
        0 => rest.to_vec(),
        1 => {
            let mut claims = head(false).into_bytes();
            claims.extend_from_slice(b",\"plainData\":");
            claims.extend_from_slice(rest);
            claims.push(b'}');
            claims
        }
        2 => {
            let text = String::from_utf8_lossy(rest);
            format!("{},\"plainData\":{}}}", head(false), Value::from(text)).into_bytes()
        }
        _ => {
            let jwe = encrypt(b"{\"alg\":\"dir\",\"enc\":\"A256GCM\"}", rest);
            format!("{},\"cipherData\":\"{jwe}\"}}", head(true)).into_bytes()
        }
    };
    let opened = match wire().open_claims(&claims) {
        Ok((opened, payload)) => {
            assert!(
                payload.len() <= claims.len(),
                "the payload is longer than the claims"
            );
            opened
        }
        Err(error) => return is_short(&error),
    };
    let events = &opened.batch.events;
    let size: usize = events
        .iter()
        .map(|event| event.event_id.len() + event.biz_data.len())
        .sum();
    // A number of few digits may be written with many zeros.
    assert!(
        size <= 32 * claims.len(),
        "{size} bytes of events from {} bytes of claims",
        claims.len()
    );
    assert!(
        events
            .iter()
            .all(|event| (1..=256).contains(&event.event_id.len()))
    );
    // Read once more, by other means. They read also what the claims hold besides, and may stumble there.
    let Ok(said) = serde_json::from_slice::<Value>(&claims) else {
        return;
    };
    assert_eq!(said["iss"], "urn:alibaba:idaas:app:event");
    let to_us = match &said["aud"] {
        Value::Array(several) => several.iter().any(|one| one == APP),
        one => one == APP,
    };
    assert!(to_us, "accepted for {}", said["aud"]);
    let at = |name: &str| said[name].as_i64().unwrap();
    assert!(at("exp") >= NOW / 1_000 - 60 && at("iat") <= NOW / 1_000 + 60);
    assert!((0..=86_400).contains(&(at("exp") - at("iat"))));
}

/// Claims that are right, as far as the payload.
fn head(encrypted: bool) -> String {
    let claims = json!({
        "iss": "urn:alibaba:idaas:app:event", "sub": INSTANCE, "aud": APP, "exp": NOW / 1_000 + 1_800,
        "iat": NOW / 1_000, "jti": "j", "dataEncrypted": encrypted,
    });
    let mut text = claims.to_string();
    text.pop();
    text
}

/// A batch of any texts comes back as it was: from its JSON, and (signing being slow, for some inputs only) from its
/// envelope, plain and encrypted. Records that can be read come back as they were too.
pub fn batch(data: &[u8]) {
    let made = invent(&mut Unstructured::new(data)).unwrap_or_else(|_| crate::fixtures::sample());
    assert_eq!(EventBatch::from_json(&made.to_json()).as_ref(), Ok(&made));
    let sum: u32 = data.iter().map(|byte| u32::from(*byte)).sum();
    if sum.is_multiple_of(512) {
        let wire = wire();
        for encryption in [None, Some(&wire.secret)] {
            let body = wire.seal(&made, encryption);
            assert_eq!(wire.opener().open(body.as_bytes(), NOW).unwrap().batch, made);
        }
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(read) = EventBatch::from_json(text) {
        assert_eq!(EventBatch::from_json(&read.to_json()), Ok(read));
    }
    if let Ok(read) = UserPayload::from_json(text) {
        assert_eq!(UserPayload::from_json(&read.to_json()).ok(), Some(read));
    }
    if let Ok(read) = UnitPayload::from_json(text) {
        assert_eq!(UnitPayload::from_json(&read.to_json()).ok(), Some(read));
    }
    if let Ok(read) = GroupPayload::from_json(text) {
        assert_eq!(GroupPayload::from_json(&read.to_json()).ok(), Some(read));
    }
    if let Ok(read) = InventoryPayload::from_json(text) {
        assert_eq!(InventoryPayload::from_json(&read.to_json()).ok(), Some(read));
    }
}

fn invent(bytes: &mut Unstructured<'_>) -> arbitrary::Result<EventBatch> {
    let mut events = Vec::new();
    for _ in 0..bytes.int_in_range(0..=3)? {
        // An event without an id, or with a very long one, is refused by whoever opens it.
        let id: String = bytes.arbitrary::<&str>()?.chars().take(60).collect();
        events.push(Event {
            event_id: format!("e{id}"),
            event_type: bytes.arbitrary()?,
            event_time: bytes.arbitrary()?,
            biz_id: bytes.arbitrary()?,
            biz_data: bytes.arbitrary()?,
        });
    }
    Ok(EventBatch {
        instance_id: bytes.arbitrary()?,
        event_version: bytes.arbitrary()?,
        ali_uid: bytes.arbitrary()?,
        events,
    })
}

/// A JWKS document is read or refused, and keys of others never let an envelope of ours through.
pub fn jwks(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(keys) = KeySet::from_json(text) else { return };
    let wire = wire();
    let opener = Opener {
        decryption: Some(&wire.secret),
        ..Opener::new(&keys, APP)
    };
    let (body, known) = &wire.sealed[0];
    match opener.open(body.as_bytes(), NOW) {
        Ok(opened) => {
            assert_eq!(opened, *known);
            assert!(keys.contains("KEYtest"));
        }
        Err(OpenError::UnknownKey { kid }) => assert!(!keys.contains(&kid)),
        Err(OpenError::BadSignature) => assert!(keys.contains("KEYtest")),
        Err(error) => panic!("{error}"),
    }
}
