//! Sealing: a batch of events in a compact JWS (wire contract, section 2; RFC 7515).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::event::quote;
use crate::{EncryptionKey, EventBatch, Random, SigningKey};

/// The issuer of every envelope.
pub const ISSUER: &str = "urn:alibaba:idaas:app:event";

/// How long an envelope is valid, in seconds.
pub const VALID_FOR_S: i64 = 1_800;

/// What sealing needs besides the events.
#[derive(Clone, Copy)]
pub struct SealParams<'a> {
    /// The key that signs.
    pub key: &'a SigningKey,
    /// The instance (`sub`).
    pub instance_id: &'a str,
    /// The application (`aud`).
    pub application_id: &'a str,
    /// The key that encrypts, if the events are to be encrypted.
    pub encryption: Option<&'a EncryptionKey>,
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// For the envelope's id and the initialization vector.
    pub random: &'a dyn Random,
}

/// A sealed batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The body of the request: `{"event":"…"}`.
    pub body: String,
    /// The envelope's id.
    pub jti: String,
    /// When it expires, in milliseconds since the Unix epoch.
    pub expires_at_ms: i64,
}

/// The cryptographic library refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// At signing.
    #[error("the batch cannot be signed")]
    Sign,
    /// At encrypting.
    #[error("the batch cannot be encrypted")]
    Encrypt,
}

/// Seals a batch: encrypts it, if a key is given, and signs it.
///
/// # Errors
/// [`SealError`]; with keys that were parsed neither occurs.
pub fn seal(batch: &EventBatch, params: &SealParams<'_>) -> Result<Sealed, SealError> {
    let mut jti = [0; 16];
    params.random.fill(&mut jti);
    let jti = URL_SAFE_NO_PAD.encode(jti);
    let issued = params.now_ms.div_euclid(1_000);
    let expires = issued + VALID_FOR_S;
    let payload = batch.to_json();

    let mut claims = String::with_capacity(payload.len() * 3 / 2 + 320);
    claims.push_str("{\"iss\":\"");
    claims.push_str(ISSUER);
    claims.push_str("\",\"sub\":");
    quote(&mut claims, params.instance_id);
    claims.push_str(",\"aud\":");
    quote(&mut claims, params.application_id);
    claims.push_str(&format!(
        ",\"exp\":{expires},\"iat\":{issued},\"jti\":\"{jti}\",\"dataEncrypted\":"
    ));
    match params.encryption {
        None => {
            claims.push_str("false,\"cipherData\":\"\",\"plainData\":");
            claims.push_str(&payload);
        }
        Some(key) => {
            let cipher = key.seal(&payload, params.random).ok_or(SealError::Encrypt)?;
            claims.push_str("true,\"cipherData\":\"");
            claims.push_str(&cipher);
            claims.push_str("\",\"plainData\":\"\"");
        }
    }
    claims.push('}');

    let mut header = String::from("{\"kid\":");
    quote(&mut header, params.key.kid());
    header.push_str(",\"typ\":\"JWT\",\"alg\":\"RS256\"}");

    let mut body = String::with_capacity(claims.len() * 4 / 3 + header.len() * 2 + 400);
    body.push_str("{\"event\":\"");
    let start = body.len();
    URL_SAFE_NO_PAD.encode_string(&header, &mut body);
    body.push('.');
    URL_SAFE_NO_PAD.encode_string(&claims, &mut body);
    let signature = params
        .key
        .sign(&body.as_bytes()[start..])
        .ok_or(SealError::Sign)?;
    body.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut body);
    body.push_str("\"}");
    Ok(Sealed {
        body,
        jti,
        expires_at_ms: expires * 1_000,
    })
}
