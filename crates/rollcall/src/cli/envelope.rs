//! `rollcall open`.

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_protocol::{EncryptionKey, Event, KeySet, OpenError, Opener};
use rollcall_receiver::{FetchJwks as _, HttpJwks};
use serde_json::{Value, json};

use super::args;
use super::output::Output;
use crate::clock::Clock;

pub(super) async fn run(out: &Output, arguments: &args::Open) -> Result<ExitCode> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("the event cannot be read from the standard input")?;
    let document = document(&arguments.jwks).await?;
    let keys = KeySet::from_json(&document).context("--jwks")?;
    let key = match (&arguments.key, &arguments.key_file) {
        (Some(hex), _) => Some(EncryptionKey::from_hex(hex).context("--key")?),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            Some(EncryptionKey::from_hex(&text).context("--key-file")?)
        }
        (None, None) => None,
    };
    let now = match &arguments.at {
        Some(time) => time
            .parse::<jiff::Timestamp>()
            .with_context(|| format!("--at: {time:?} is not a time such as 2027-01-31T12:00:00Z"))?
            .as_millisecond(),
        None => Clock::system().now(),
    };
    let opener = Opener {
        decryption: key.as_ref(),
        ..Opener::new(&keys, &arguments.app_id)
    };
    let text = text.trim();
    let (jwt, opened) = if text.starts_with('{') {
        let jwt = serde_json::from_str::<Value>(text)
            .ok()
            .and_then(|body| body["event"].as_str().map(str::to_owned));
        (jwt, opener.open(text.as_bytes(), now))
    } else {
        (Some(text.to_owned()), opener.open_jwt(text, now))
    };
    // What was not verified is shown as well, so that a refusal can be understood; it is marked as such.
    let mut parts = jwt.as_deref().unwrap_or_default().split('.');
    let mut part = || decode(parts.next().unwrap_or_default());
    let (header, mut claims) = (part(), part());
    let jwe = claims["cipherData"]
        .as_str()
        .filter(|text| !text.is_empty())
        .map(|cipher| {
            let header = decode(cipher.split('.').next().unwrap_or_default());
            json!({ "header": header, "characters": cipher.len() })
        });
    if let (Some(claims), Some(jwe)) = (claims.as_object_mut(), jwe) {
        claims.insert("cipherData".to_owned(), json!({ "jwe": jwe }));
    }
    let code = if opened.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    let shown = page(&header, &claims, opened);
    out.show(&shown, || {
        serde_json::to_string_pretty(&shown).unwrap_or_default()
    });
    Ok(code)
}

async fn document(place: &str) -> Result<String> {
    if place.starts_with("http://") || place.starts_with("https://") {
        let source = HttpJwks::new(place).map_err(anyhow::Error::msg)?;
        return source
            .fetch()
            .await
            .map_err(|error| anyhow::anyhow!("--jwks {place}: {error}"));
    }
    std::fs::read_to_string(place).with_context(|| format!("--jwks {place}"))
}

fn decode(part: &str) -> Value {
    URL_SAFE_NO_PAD
        .decode(part)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or(Value::Null)
}

fn page(header: &Value, claims: &Value, opened: Result<rollcall_protocol::Opened, OpenError>) -> Value {
    match opened {
        Err(error) => json!({
            "verified": false,
            "refused": { "error": error.code(), "reason": error.to_string() },
            "unverified": { "header": header, "claims": claims },
        }),
        Ok(opened) => json!({
            "verified": true,
            "header": header,
            "claims": claims,
            "encrypted": opened.encrypted,
            "payload": {
                "instanceId": opened.batch.instance_id,
                "eventVersion": opened.batch.event_version,
                "aliUid": opened.batch.ali_uid,
                "eventData": opened.batch.events.iter().map(shown).collect::<Vec<_>>(),
            },
        }),
    }
}

fn shown(event: &Event) -> Value {
    let record =
        serde_json::from_str(&event.biz_data).unwrap_or_else(|_| Value::from(event.biz_data.as_str()));
    json!({
        "eventId": event.event_id,
        "eventType": event.event_type,
        "eventTime": event.event_time,
        "bizId": event.biz_id,
        "bizData": record,
    })
}
