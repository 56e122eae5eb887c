//! `rollcall open`: what a captured request holds, layer by layer, as it stands on the wire. Keys keep their
//! order and numbers their spelling, since that is what one looks for in a capture.

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_protocol::{EncryptionKey, KeySet, OpenError, Opened, Opener};
use rollcall_receiver::{FetchJwks as _, HttpJwks};
use serde_json::Value;
use zeroize::Zeroizing;

use super::args;
use super::ordered::Ordered;
use super::output::Output;
use crate::clock::Clock;

pub(super) async fn run(out: &Output, arguments: &args::Open) -> Result<ExitCode> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("the event cannot be read from the standard input")?;
    let document = document(&arguments.jwks).await?;
    let keys = KeySet::from_json(&document).context("--jwks")?;
    let key = key(arguments, &mut text)?;
    let now = arguments
        .at
        .map_or_else(|| Clock::system().now(), jiff::Timestamp::as_millisecond);
    let opener = Opener {
        decryption: key.as_ref(),
        ..Opener::new(&keys, &arguments.application_id)
    };
    let text = text.trim();
    let jwt = if text.starts_with('{') {
        let body = serde_json::from_str::<Value>(text).ok();
        body.and_then(|body| body["event"].as_str().map(str::to_owned))
    } else {
        Some(text.to_owned())
    };
    let opened = match &jwt {
        Some(jwt) => opener.open_jwt_with_payload(jwt, now),
        // This says what is wrong with it.
        None => opener
            .open(text.as_bytes(), now)
            .map(|opened| (opened, String::new())),
    };
    // What was not verified is shown as well, so that a refusal can be understood; it is marked as such.
    let mut parts = jwt.as_deref().unwrap_or_default().split('.');
    let mut part = || decode(parts.next().unwrap_or_default());
    let (header, claims) = (part(), without_cipher(part()));
    let code = if opened.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    let shown = page(header, claims, opened);
    out.show(&shown, || {
        serde_json::to_string_pretty(&shown).unwrap_or_default()
    });
    Ok(code)
}

/// The key is never an argument, where other users of the machine would see it.
fn key(arguments: &args::Open, input: &mut String) -> Result<Option<EncryptionKey>> {
    const VARIABLE: &str = "ROLLCALL_OPEN_KEY";
    let (text, from) = match &arguments.encryption_key_file {
        Some(file) if file.as_os_str() == "-" => {
            let (first, rest) = input.split_once('\n').context(
                "--encryption-key-file -: the first line of the standard input must be the key, and the event must follow",
            )?;
            let first = Zeroizing::new(first.to_owned());
            *input = rest.to_owned();
            (first, "--encryption-key-file -".to_owned())
        }
        Some(file) => {
            let from = format!("--encryption-key-file {}", file.display());
            let text = std::fs::read_to_string(file).with_context(|| from.clone())?;
            (Zeroizing::new(text), from)
        }
        None => match std::env::var(VARIABLE) {
            Ok(text) => (Zeroizing::new(text), VARIABLE.to_owned()),
            Err(_) => return Ok(None),
        },
    };
    EncryptionKey::from_hex(&text).map(Some).context(from)
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

fn decode(part: &str) -> Ordered {
    URL_SAFE_NO_PAD
        .decode(part)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or(Ordered::Null)
}

/// The claims with what is known of the JWE instead of the JWE itself.
fn without_cipher(claims: Ordered) -> Ordered {
    claims.with("cipherData", |cipher| match cipher {
        Ordered::Text(text) if !text.is_empty() => {
            let header = decode(text.split('.').next().unwrap_or_default());
            let characters = Ordered::Number(text.len().into());
            Ordered::object([(
                "jwe",
                Ordered::object([("header", header), ("characters", characters)]),
            )])
        }
        other => other,
    })
}

fn page(header: Ordered, claims: Ordered, opened: Result<(Opened, String), OpenError>) -> Ordered {
    match opened {
        Err(error) => Ordered::object([
            ("verified", Ordered::Bool(false)),
            (
                "refused",
                Ordered::object([
                    ("error", error.code().into()),
                    ("reason", error.to_string().as_str().into()),
                ]),
            ),
            (
                "unverified",
                Ordered::object([("header", header), ("claims", claims)]),
            ),
        ]),
        Ok((opened, payload)) => Ordered::object([
            ("verified", Ordered::Bool(true)),
            ("header", header),
            ("claims", claims),
            ("encrypted", Ordered::Bool(opened.encrypted)),
            ("payload", unfolded(&payload)),
        ]),
    }
}

/// The payload with the strings that hold JSON as what they hold; nothing else is touched.
fn unfolded(payload: &str) -> Ordered {
    Ordered::from(payload)
        .inside()
        .with("eventData", |data| match data.inside() {
            Ordered::List(events) => Ordered::List(
                events
                    .into_iter()
                    .map(|event| event.with("bizData", Ordered::inside))
                    .collect(),
            ),
            other => other,
        })
}
