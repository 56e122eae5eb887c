//! What an envelope says of itself, verified or not: for people who want to know why it is refused.
//!
//! Everything here was written by a stranger. Texts are cut and made visible ([`shown`]) before they go anywhere.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_protocol::shown;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Millis;

/// The body of a request.
#[derive(Deserialize)]
pub(super) struct Body {
    pub(super) event: String,
}

/// What stands in the header and the claims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Facts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) algorithm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instance_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) application_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) envelope_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issued_at: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) encrypted: Option<bool>,
}

impl Facts {
    /// Reads what can be read of a body.
    pub(super) fn of(body: &[u8]) -> Self {
        let Ok(Body { event }) = serde_json::from_slice(body) else {
            return Self::default();
        };
        let mut parts = event.split('.').map(decoded);
        let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let text = |part: &Value, name: &str| match &part[name] {
            Value::Null => None,
            Value::String(text) => Some(shown(text)),
            other => Some(shown(&other.to_string())),
        };
        let time = |name: &str| claims[name].as_i64().map(|seconds| seconds.saturating_mul(1_000));
        Self {
            kid: text(&header, "kid"),
            algorithm: text(&header, "alg"),
            issuer: text(&claims, "iss"),
            instance_id: text(&claims, "sub"),
            application_id: text(&claims, "aud"),
            envelope_id: text(&claims, "jti"),
            issued_at: time("iat"),
            expires_at: time("exp"),
            encrypted: claims["dataEncrypted"].as_bool(),
        }
    }
}

/// A part of a JWT; null if it cannot be read.
pub(super) fn decoded(part: &str) -> Value {
    URL_SAFE_NO_PAD
        .decode(part)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}
