//! Opening: everything that must hold before an event is believed.
//!
//! The order matters: size, form, algorithm, key, signature; only then are the claims looked at, and
//! only then the payload. Nothing that is not signed is interpreted beyond what finding the key takes,
//! and an error quotes only the beginning of what a stranger sent ([`shown`]), since errors are logged and
//! answered.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::envelope::ISSUER;
use crate::jwe::JweError;
use crate::{EncryptionKey, EventBatch, KeySet, shown};

/// The longest time between `iat` and `exp`, in seconds: a day. Receivers remember the ids of events for
/// longer, so that a captured envelope expires before it is forgotten. (Hubs sign for half an hour.)
const LONGEST_LIFETIME_S: i64 = 86_400;

/// The longest header of a JWT, in characters, and the longest id of a key, in bytes.
const LONGEST_HEADER: usize = 4_096;
const LONGEST_KID: usize = 256;

/// The longest id of an event, in bytes: receivers store it and repeat it in their answers.
const LONGEST_EVENT_ID: usize = 256;

/// The largest request that a receiver looks at unless it is told otherwise, in bytes. A hub must stay below it.
pub const REQUEST_LIMIT: usize = 8 << 20;

/// Opens envelopes for one application.
#[derive(Clone, Copy, Debug)]
pub struct Opener<'a> {
    /// The public keys of the hub.
    pub keys: &'a KeySet,
    /// The application's own id.
    pub application_id: &'a str,
    /// The instance that it expects, if it expects a certain one.
    pub instance_id: Option<&'a str>,
    /// The key that decrypts.
    pub decryption: Option<&'a EncryptionKey>,
    /// Whether events that are not encrypted are refused.
    pub require_encryption: bool,
    /// The largest body that is looked at, in bytes.
    pub limit_bytes: usize,
    /// How far the clocks may differ, in seconds.
    pub leeway_s: i64,
}

/// What was in an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The envelope's id.
    pub jti: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub issued_at_ms: i64,
    /// When it expires.
    pub expires_at_ms: i64,
    /// Whose it is.
    pub instance_id: String,
    /// The key that signed it.
    pub kid: String,
    /// Whether it was encrypted.
    pub encrypted: bool,
    /// The events.
    pub batch: EventBatch,
}

/// Why an envelope is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Larger than the limit.
    #[error("the request has {size} bytes; at most {limit} are accepted")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Not `{"event":"…"}`.
    #[error("the body is not {{\"event\":\"…\"}}: {0}")]
    NotAnEnvelope(String),
    /// Not three parts of base64url.
    #[error("the event is not a JWT: {0}")]
    NotAJwt(&'static str),
    /// A header that cannot be read.
    #[error("the JWT's header cannot be read: {0}")]
    MalformedHeader(String),
    /// Another algorithm than RS256.
    #[error("the JWT is signed with {0:?}; only RS256 is accepted")]
    WrongAlgorithm(String),
    /// A key that is not published.
    #[error(
        "the JWT is signed with the key {:?}, which the JWKS document does not have",
        quoted(kid)
    )]
    UnknownKey {
        /// The id of the key.
        kid: String,
    },
    /// A signature that does not fit.
    #[error("the JWT's signature does not fit its content")]
    BadSignature,
    /// Claims that cannot be read.
    #[error("the JWT's claims cannot be read: {0}")]
    MalformedClaims(String),
    /// From somebody else.
    #[error("the JWT's issuer is {0:?}, not {ISSUER:?}")]
    WrongIssuer(String),
    /// For somebody else.
    #[error("the JWT is meant for {0:?}")]
    WrongAudience(String),
    /// From another instance.
    #[error("the JWT comes from the instance {0:?}")]
    WrongInstance(String),
    /// Too old.
    #[error("the JWT expired at {expired_at_s} s; it is {now_s} s now")]
    Expired {
        /// Its expiry, in seconds since the Unix epoch.
        expired_at_s: i64,
        /// Now.
        now_s: i64,
    },
    /// From the future.
    #[error("the JWT is not valid before {valid_from_s} s; it is {now_s} s now")]
    NotYetValid {
        /// When it becomes valid, in seconds since the Unix epoch.
        valid_from_s: i64,
        /// Now.
        now_s: i64,
    },
    /// Valid for ever, for much too long, or never.
    #[error(
        "the JWT says that it is valid from {issued_at_s} s to {expires_at_s} s; at most {LONGEST_LIFETIME_S} s are accepted"
    )]
    UnreasonableLifetime {
        /// When it was made, in seconds since the Unix epoch.
        issued_at_s: i64,
        /// Its expiry.
        expires_at_s: i64,
    },
    /// Readable by everybody.
    #[error("the events are not encrypted, but this application requires it")]
    NotEncrypted,
    /// Encrypted, and there is no key.
    #[error("the events are encrypted, but this application has no key")]
    NoDecryptionKey,
    /// Not a JWE that can be opened.
    #[error("the JWE cannot be read: {0}")]
    MalformedJwe(&'static str),
    /// Encrypted with another key, or altered.
    #[error("the events cannot be decrypted: the keys differ, or the data was altered")]
    Undecryptable,
    /// A payload that cannot be read.
    #[error("the payload cannot be read: {0}")]
    MalformedPayload(String),
}

impl OpenError {
    /// A short name of the cause, for the `error` field of a refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::NotAnEnvelope(_) => "bad_request",
            Self::NotAJwt(_) => "not_a_jwt",
            Self::MalformedHeader(_) => "malformed_header",
            Self::WrongAlgorithm(_) => "wrong_algorithm",
            Self::UnknownKey { .. } => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::MalformedClaims(_) => "malformed_claims",
            Self::WrongIssuer(_) => "wrong_issuer",
            Self::WrongAudience(_) => "wrong_audience",
            Self::WrongInstance(_) => "wrong_instance",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::UnreasonableLifetime { .. } => "unreasonable_lifetime",
            Self::NotEncrypted => "not_encrypted",
            Self::NoDecryptionKey => "no_decryption_key",
            Self::MalformedJwe(_) => "malformed_jwe",
            Self::Undecryptable => "undecryptable",
            Self::MalformedPayload(_) => "malformed_payload",
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: Option<String>,
    kid: Option<String>,
    /// Whether it is there, whatever it holds: also `null` is a wish that nobody here understands.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// The beginning of what somebody else wrote, for an error.
fn quoted(text: impl ToString) -> String {
    shown(&text.to_string())
}

/// Reads JSON, all of which has to be UTF-8. serde_json alone looks at the bytes of a member only if somebody wants
/// that member.
pub(crate) fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(quoted)?;
    serde_json::from_str(text).map_err(quoted)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims<'a> {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    jti: String,
    #[serde(default)]
    data_encrypted: bool,
    cipher_data: Option<String>,
    #[serde(borrow)]
    plain_data: Option<&'a RawValue>,
}

/// RFC 7519, section 4.1.3: one or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl<'a> Opener<'a> {
    /// An opener with the usual limits: [`REQUEST_LIMIT`], 60 s between the clocks, encryption as it comes.
    pub fn new(keys: &'a KeySet, application_id: &'a str) -> Self {
        Self {
            keys,
            application_id,
            instance_id: None,
            decryption: None,
            require_encryption: false,
            limit_bytes: REQUEST_LIMIT,
            leeway_s: 60,
        }
    }

    /// Opens the body of a request.
    ///
    /// # Errors
    /// [`OpenError`], one for each cause.
    pub fn open(&self, body: &[u8], now_ms: i64) -> Result<Opened, OpenError> {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            event: std::borrow::Cow<'a, str>,
        }
        if body.len() > self.limit_bytes {
            return Err(OpenError::TooLarge {
                size: body.len(),
                limit: self.limit_bytes,
            });
        }
        let body: Body<'_> =
            serde_json::from_slice(body).map_err(|error| OpenError::NotAnEnvelope(quoted(error)))?;
        self.open_jwt(&body.event, now_ms)
    }

    /// Opens a compact JWS.
    ///
    /// # Errors
    /// [`OpenError`], one for each cause.
    pub fn open_jwt(&self, jwt: &str, now_ms: i64) -> Result<Opened, OpenError> {
        self.open_jwt_with_payload(jwt, now_ms).map(|(opened, _)| opened)
    }

    /// Opens a compact JWS, and gives the inner payload besides, as it was written: JSON text in the
    /// sender's own order.
    ///
    /// # Errors
    /// [`OpenError`], one for each cause.
    pub fn open_jwt_with_payload(&self, jwt: &str, now_ms: i64) -> Result<(Opened, String), OpenError> {
        let (signed, signature) = jwt
            .rsplit_once('.')
            .ok_or(OpenError::NotAJwt("it has not three parts"))?;
        let (header, claims) = signed
            .split_once('.')
            .ok_or(OpenError::NotAJwt("it has not three parts"))?;
        if claims.contains('.') {
            return Err(OpenError::NotAJwt("it has not three parts"));
        }
        let decode = |text: &str| {
            URL_SAFE_NO_PAD
                .decode(text)
                .map_err(|_| OpenError::NotAJwt("a part is not base64url"))
        };
        if header.len() > LONGEST_HEADER {
            return Err(OpenError::NotAJwt("its header is too long"));
        }
        let header: Header = json(&decode(header)?).map_err(OpenError::MalformedHeader)?;
        let algorithm = header.alg.unwrap_or_default();
        if algorithm != "RS256" {
            return Err(OpenError::WrongAlgorithm(quoted(algorithm)));
        }
        if header.crit {
            return Err(OpenError::MalformedHeader("it uses extensions (crit)".to_owned()));
        }
        let kid = header.kid.unwrap_or_default();
        if kid.len() > LONGEST_KID {
            return Err(OpenError::MalformedHeader("its kid is too long".to_owned()));
        }
        match self.keys.verify(&kid, signed.as_bytes(), &decode(signature)?) {
            None => return Err(OpenError::UnknownKey { kid }),
            Some(false) => return Err(OpenError::BadSignature),
            Some(true) => {}
        }
        self.open_signed(kid, &decode(claims)?, now_ms)
    }

    /// Opens claims as if their signature had been verified, because a fuzzer tries more in a second than can be
    /// signed in one. This exists only where the compiler is told `--cfg fuzzing`: no feature of any crate turns it
    /// on, so no program that is shipped has it.
    ///
    /// # Errors
    /// [`OpenError`], one for each cause that lies behind the signature.
    #[cfg(fuzzing)]
    pub fn open_unverified(&self, claims: &[u8], now_ms: i64) -> Result<(Opened, String), OpenError> {
        self.open_signed(String::new(), claims, now_ms)
    }

    /// What follows once the signature is right.
    fn open_signed(&self, kid: String, claims: &[u8], now_ms: i64) -> Result<(Opened, String), OpenError> {
        let claims: Claims<'_> = json(claims).map_err(OpenError::MalformedClaims)?;
        self.check(&claims, now_ms)?;
        let payload = self.payload(&claims)?;
        let batch =
            EventBatch::from_json(&payload).map_err(|error| OpenError::MalformedPayload(quoted(error)))?;
        // The answer names events by their ids: one that cannot be named cannot be answered.
        if let Some(event) = batch
            .events
            .iter()
            .find(|event| event.event_id.is_empty() || event.event_id.len() > LONGEST_EVENT_ID)
        {
            return Err(OpenError::MalformedPayload(format!(
                "an event's id has {} bytes; it must have between 1 and {LONGEST_EVENT_ID}",
                event.event_id.len()
            )));
        }
        let opened = Opened {
            jti: claims.jti,
            issued_at_ms: claims.iat.saturating_mul(1_000),
            expires_at_ms: claims.exp.saturating_mul(1_000),
            instance_id: claims.sub,
            kid,
            encrypted: claims.data_encrypted,
            batch,
        };
        Ok((opened, payload))
    }

    fn check(&self, claims: &Claims<'_>, now_ms: i64) -> Result<(), OpenError> {
        if claims.iss != ISSUER {
            return Err(OpenError::WrongIssuer(quoted(&claims.iss)));
        }
        let audience = match &claims.aud {
            Audience::One(audience) => std::slice::from_ref(audience),
            Audience::Several(audiences) => audiences.as_slice(),
        };
        if !audience.iter().any(|audience| audience == self.application_id) {
            return Err(OpenError::WrongAudience(quoted(audience.join(", "))));
        }
        if self.instance_id.is_some_and(|expected| expected != claims.sub) {
            return Err(OpenError::WrongInstance(quoted(&claims.sub)));
        }
        let now_s = now_ms.div_euclid(1_000);
        if claims.exp.saturating_add(self.leeway_s) < now_s {
            return Err(OpenError::Expired {
                expired_at_s: claims.exp,
                now_s,
            });
        }
        let valid_from_s = claims.nbf.map_or(claims.iat, |nbf| nbf.max(claims.iat));
        if valid_from_s.saturating_sub(self.leeway_s) > now_s {
            return Err(OpenError::NotYetValid { valid_from_s, now_s });
        }
        // With `iat` not in the future, this bounds `exp` too.
        let lifetime = claims.exp.saturating_sub(claims.iat);
        if !(0..=LONGEST_LIFETIME_S).contains(&lifetime) {
            return Err(OpenError::UnreasonableLifetime {
                issued_at_s: claims.iat,
                expires_at_s: claims.exp,
            });
        }
        Ok(())
    }

    fn payload(&self, claims: &Claims<'_>) -> Result<String, OpenError> {
        if claims.data_encrypted {
            let key = self.decryption.ok_or(OpenError::NoDecryptionKey)?;
            let cipher = claims.cipher_data.as_deref().unwrap_or_default();
            let plain = key.open(cipher).map_err(|error| match error {
                JweError::Malformed(what) => OpenError::MalformedJwe(what),
                JweError::Undecryptable => OpenError::Undecryptable,
            })?;
            return String::from_utf8(plain).map_err(|error| OpenError::MalformedPayload(quoted(error)));
        }
        if self.require_encryption {
            return Err(OpenError::NotEncrypted);
        }
        let plain = claims.plain_data.map_or("", RawValue::get);
        // Some senders put the object into a string, as everywhere else in this protocol.
        Ok(serde_json::from_str(plain).unwrap_or_else(|_| plain.to_owned()))
    }
}
