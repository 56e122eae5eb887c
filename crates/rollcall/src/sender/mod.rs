//! A sender of events that needs no hub and no directory: for the commands with which a developer tries an endpoint.
//!
//! [`Sender`] is who sends: an instance, an application, keys. It seals batches as the hub does, with the hub's own
//! sealing, and also gives the [`Envelope`] before it is sealed, so that a test can put something wrong into it.
//! [`Samples`] and [`Cast`] make plausible records, [`names`] leaves one generation of names of them, [`jwks`] serves the public
//! keys, [`Post`] sends to the one address that was typed, and [`answer`] reads what came back as the hub reads it.

pub mod answer;
mod cast;
mod envelope;
pub mod jwks;
pub mod keys;
pub mod names;
mod post;
mod sample;

use std::sync::Arc;
use std::time::Duration;

use rollcall_protocol::{EncryptionKey, Event, EventBatch, EventType, Random, SealParams, SigningKey, seal};

use crate::clock::Clock;
use crate::id;

pub use cast::{Cast, before};
pub use envelope::{Cipher, Envelope, body};
pub use post::{CONTENT_TYPE, Post, Received, Unanswered, excerpt};
pub use sample::{Samples, membership};

/// How long an endpoint may take to look for a key that it does not know: not more than once in half a minute
/// (RECEIVING.md), and a little more.
pub const REFETCHED_WITHIN: Duration = Duration::from_secs(45);

/// The account that events name: a string of digits (wire contract, section 4).
const ALI_UID: &str = "1000000000000000";

/// The library refused to sign or to encrypt, or a key cannot be made.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the request cannot be sealed: {0}")]
pub struct Unsealed(pub String);

/// Who sends.
#[derive(Clone)]
pub struct Sender {
    /// `sub` of what is sent.
    pub instance_id: String,
    /// `aud` of what is sent.
    pub application_id: String,
    /// The key that signs.
    pub signing: Arc<SigningKey>,
    /// The key that encrypts, if events are encrypted.
    pub encryption: Option<EncryptionKey>,
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub random: Arc<dyn Random>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("application_id", &self.application_id)
            .finish_non_exhaustive()
    }
}

impl Sender {
    /// The application's id if nobody names one. It is the same each time, so that an endpoint that was configured
    /// with it once stays configured.
    pub fn usual_application() -> String {
        id::derive("app", "the application that tries an endpoint")
    }

    /// The same of the instance's id.
    pub fn usual_instance() -> String {
        id::derive("idaas", "the instance that tries an endpoint")
    }

    /// An event with a new id.
    pub fn event(&self, kind: EventType, time: i64, biz_id: &str, record: impl Into<String>) -> Event {
        Event {
            event_id: id::make("evnt", self.clock.now(), self.random.as_ref()),
            event_type: kind.urn().to_owned(),
            event_time: time,
            biz_id: biz_id.to_owned(),
            biz_data: record.into(),
        }
    }

    /// The events as one batch.
    pub fn batch(&self, events: &[Event]) -> EventBatch {
        EventBatch {
            instance_id: self.instance_id.clone(),
            event_version: "V1.0".to_owned(),
            ali_uid: ALI_UID.to_owned(),
            events: events.to_vec(),
        }
    }

    /// Seals events exactly as the hub does.
    ///
    /// # Errors
    /// [`Unsealed`].
    pub fn seal(&self, events: &[Event]) -> Result<String, Unsealed> {
        let params = SealParams {
            key: &self.signing,
            instance_id: &self.instance_id,
            application_id: &self.application_id,
            encryption: self.encryption.as_ref(),
            now_ms: self.clock.now(),
            random: self.random.as_ref(),
        };
        seal(&self.batch(events), &params)
            .map(|sealed| sealed.body)
            .map_err(|error| Unsealed(error.to_string()))
    }

    /// What [`Sender::seal`] would sign, of a payload that is JSON text, for somebody who wants to change it first.
    ///
    /// # Errors
    /// [`Unsealed`].
    pub fn envelope(&self, payload: &str) -> Result<Envelope, Unsealed> {
        let content = match &self.encryption {
            None => Cipher::Plain(payload.to_owned()),
            Some(key) => Cipher::Encrypted(
                key.seal(payload, self.random.as_ref())
                    .ok_or_else(|| Unsealed("the payload cannot be encrypted".to_owned()))?,
            ),
        };
        Ok(Envelope::new(self, content))
    }
}
