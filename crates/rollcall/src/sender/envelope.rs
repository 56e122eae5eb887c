//! An envelope whose every part can be set, for what must be refused. What is in order is sealed by
//! `rollcall_protocol::seal` instead; a test holds that both write the same.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_protocol::{ISSUER, SigningKey, VALID_FOR_S};
use serde_json::Value;

use super::{Sender, Unsealed};

/// What an envelope carries.
#[derive(Clone, Debug)]
pub enum Cipher {
    /// The payload as it is: JSON text.
    Plain(String),
    /// A compact JWE.
    Encrypted(String),
}

/// The header and the claims of a JWT before they are signed (wire contract, section 2).
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The id of the key that (says that it) signs.
    pub kid: Option<String>,
    /// The algorithm.
    pub algorithm: String,
    /// More members of the header: JSON text that begins with a comma, or nothing.
    pub more_header: String,
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `aud`.
    pub audience: String,
    /// `iat`, in seconds since the Unix epoch.
    pub issued_s: i64,
    /// `exp`.
    pub expires_s: i64,
    /// `jti`.
    pub jti: String,
    /// The events.
    pub content: Cipher,
    /// More claims: JSON text that begins with a comma, or nothing.
    pub more_claims: String,
}

impl Envelope {
    pub(super) fn new(sender: &Sender, content: Cipher) -> Self {
        let mut jti = [0; 16];
        sender.random.fill(&mut jti);
        let issued_s = sender.clock.now().div_euclid(1_000);
        Self {
            kid: Some(sender.signing.kid().to_owned()),
            algorithm: "RS256".to_owned(),
            more_header: String::new(),
            issuer: ISSUER.to_owned(),
            subject: sender.instance_id.clone(),
            audience: sender.application_id.clone(),
            issued_s,
            expires_s: issued_s + VALID_FOR_S,
            jti: URL_SAFE_NO_PAD.encode(jti),
            content,
            more_claims: String::new(),
        }
    }

    /// The first two parts of the JWT, with the point between them: what is signed.
    pub fn unsigned(&self) -> String {
        let kid = match &self.kid {
            Some(kid) => format!("\"kid\":{},", quoted(kid)),
            None => String::new(),
        };
        let header = format!(
            "{{{kid}\"typ\":\"JWT\",\"alg\":{}{}}}",
            quoted(&self.algorithm),
            self.more_header
        );
        let content = match &self.content {
            Cipher::Plain(payload) => {
                format!("\"dataEncrypted\":false,\"cipherData\":\"\",\"plainData\":{payload}")
            }
            Cipher::Encrypted(jwe) => {
                format!(
                    "\"dataEncrypted\":true,\"cipherData\":{},\"plainData\":\"\"",
                    quoted(jwe)
                )
            }
        };
        let claims = format!(
            "{{\"iss\":{},\"sub\":{},\"aud\":{},\"exp\":{},\"iat\":{},\"jti\":{},{content}{}}}",
            quoted(&self.issuer),
            quoted(&self.subject),
            quoted(&self.audience),
            self.expires_s,
            self.issued_s,
            quoted(&self.jti),
            self.more_claims
        );
        format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        )
    }

    /// The JWT with this signature.
    pub fn with_signature(&self, signature: &[u8]) -> String {
        format!("{}.{}", self.unsigned(), URL_SAFE_NO_PAD.encode(signature))
    }

    /// The JWT, signed with RS256 by this key, whatever its header says.
    ///
    /// # Errors
    /// [`Unsealed`].
    pub fn signed(&self, key: &SigningKey) -> Result<String, Unsealed> {
        let signature = key
            .sign(self.unsigned().as_bytes())
            .ok_or_else(|| Unsealed("the request cannot be signed".to_owned()))?;
        Ok(self.with_signature(&signature))
    }
}

/// The body of a request with this JWT.
pub fn body(jwt: &str) -> String {
    format!("{{\"event\":{}}}", quoted(jwt))
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rollcall_protocol::{EventType, Random, SigningKey, VALID_FOR_S};

    use super::*;
    use crate::clock::Clock;

    /// The same bytes each time, so that both envelopes have the same id.
    struct Fixed;

    impl Random for Fixed {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_envelope_that_nobody_changes_is_what_the_hub_sends() {
        let mut sender = Sender {
            instance_id: "idaas_1".to_owned(),
            application_id: "app_1".to_owned(),
            signing: Arc::new(SigningKey::generate("KEY\"1").unwrap()),
            encryption: None,
            clock: Clock::of_runtime(1_800_000_000_500),
            random: Arc::new(Fixed),
        };
        let events = [sender.event(EventType::UserCreate, 5, "user_1", "{\"userId\":\"user_1\"}")];
        for encryption in [None, Some(rollcall_protocol::EncryptionKey::generate(&Fixed))] {
            sender.encryption = encryption;
            let envelope = sender.envelope(&sender.batch(&events).to_json()).unwrap();
            assert_eq!(envelope.expires_s, 1_800_000_000 + VALID_FOR_S);
            let written = body(&envelope.signed(&sender.signing).unwrap());
            assert_eq!(written, sender.seal(&events).unwrap());
        }
    }
}
