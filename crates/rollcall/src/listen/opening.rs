//! From the body of a request to its events.
//!
//! Usually that is what every receiver does. Without anybody to believe, a request is opened all the same if the
//! developer has asked for it: its claims are signed with a key that is made for that and thrown away, as if they
//! were right. So there is one reader for what is verified and for what is not, and no function anywhere that opens
//! an envelope without a signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_protocol::{
    EncryptionKey, ISSUER, JwkSet, KeyError, KeySet, OpenError, Opened, Opener, SigningKey, VALID_FOR_S,
    shown,
};
use rollcall_receiver::{BuildError, KeySource, Receiver};
use serde_json::{Value, json};

use super::envelope::{Body, Facts, decoded};
use super::processor::Processor;
use crate::clock::{Clock, Millis};

/// The name of the key that is thrown away, and of whom its envelopes are for.
const STAND_IN: &str = "unverified";

/// Whom to believe.
#[derive(Debug)]
pub enum Trust {
    /// Who signs with one of these keys for this application.
    Verified(Verified),
    /// Everybody, with this key for what is encrypted.
    Unverified(Option<EncryptionKey>),
}

/// What proves that a request is meant.
#[derive(Debug)]
pub struct Verified {
    /// The public keys.
    pub keys: KeySource,
    /// The application's id.
    pub application_id: String,
    /// The instance, if it is known.
    pub instance_id: Option<String>,
    /// The encryption key; with it, events that are not encrypted are refused.
    pub encryption_key: Option<EncryptionKey>,
}

/// What opens requests.
pub(super) struct Opening {
    pub(super) receiver: Receiver<Processor>,
    stand_in: Option<StandIn>,
    clock: Clock,
}

impl Opening {
    pub(super) fn new(trust: Trust, processor: Processor, clock: Clock) -> Result<Self, BuildError> {
        let (verified, stand_in) = match trust {
            Trust::Verified(verified) => (verified, None),
            Trust::Unverified(key) => {
                let nobody = Verified {
                    keys: KeySource::Document(r#"{"keys":[]}"#.to_owned()),
                    application_id: STAND_IN.to_owned(),
                    instance_id: None,
                    encryption_key: None,
                };
                (nobody, Some(StandIn::new(key)?))
            }
        };
        let now = clock.clone();
        let mut builder = Receiver::builder(verified.keys, verified.application_id)
            .clock(std::sync::Arc::new(move || now.now()));
        if let Some(instance_id) = verified.instance_id {
            builder = builder.instance_id(instance_id);
        }
        if let Some(key) = verified.encryption_key {
            builder = builder.encryption_key(key);
        }
        Ok(Self {
            receiver: builder.build(processor)?,
            stand_in,
            clock,
        })
    }

    /// Whether what is opened is verified.
    pub(super) fn verifies(&self) -> bool {
        self.stand_in.is_none()
    }

    pub(super) async fn open(&self, body: &[u8]) -> Result<Opened, OpenError> {
        match &self.stand_in {
            None => self.receiver.open(body).await,
            Some(stand_in) => stand_in.open(body, self.clock.now()),
        }
    }
}

/// The key that is thrown away.
struct StandIn {
    signing: SigningKey,
    keys: KeySet,
    decryption: Option<EncryptionKey>,
}

impl StandIn {
    fn new(decryption: Option<EncryptionKey>) -> Result<Self, KeyError> {
        let signing = SigningKey::generate(STAND_IN)?;
        let keys = JwkSet {
            keys: vec![signing.public_jwk()],
        };
        Ok(Self {
            keys: keys.verifier(),
            signing,
            decryption,
        })
    }

    fn open(&self, body: &[u8], now: Millis) -> Result<Opened, OpenError> {
        let opener = Opener {
            decryption: self.decryption.as_ref(),
            ..Opener::new(&self.keys, STAND_IN)
        };
        let Body { event } = serde_json::from_slice(body)
            .map_err(|error| OpenError::NotAnEnvelope(shown(&error.to_string())))?;
        let [_, claims, _] = event.split('.').collect::<Vec<_>>()[..] else {
            return Err(OpenError::NotAJwt("it has not three parts"));
        };
        let Value::Object(mut claims) = decoded(claims) else {
            return Err(OpenError::MalformedClaims("they are no JSON object".to_owned()));
        };
        // Whatever these say, nobody has verified it; the rest has to be readable.
        let issued_at_s = now.div_euclid(1_000);
        claims.insert("iss".to_owned(), ISSUER.into());
        claims.insert("aud".to_owned(), STAND_IN.into());
        claims.insert("iat".to_owned(), issued_at_s.into());
        claims.insert("exp".to_owned(), (issued_at_s + VALID_FOR_S).into());
        claims.remove("nbf");
        for name in ["sub", "jti"] {
            if !claims.get(name).is_some_and(Value::is_string) {
                claims.insert(name.to_owned(), "".into());
            }
        }
        let header = json!({ "alg": "RS256", "kid": STAND_IN }).to_string();
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!(
            "{}.{}",
            encode(&header),
            encode(&Value::Object(claims).to_string())
        );
        let signature = self
            .signing
            .sign(signed.as_bytes())
            .ok_or(OpenError::BadSignature)?;
        let jwt = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        let mut opened = opener.open_jwt(&jwt, now)?;
        let facts = Facts::of(body);
        opened.kid = facts.kid.unwrap_or_default();
        opened.issued_at_ms = facts.issued_at.unwrap_or_default();
        opened.expires_at_ms = facts.expires_at.unwrap_or_default();
        Ok(opened)
    }
}
