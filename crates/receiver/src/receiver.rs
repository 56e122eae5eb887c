//! From the body of a request to the reply.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rollcall_protocol::{
    Answer, EncryptionKey, ErrorAnswer, Event, EventResult, KeyError, OpenError, Opened, Opener,
    REQUEST_LIMIT,
};

use crate::handler::Outcome;
use crate::keys::{KeyCache, KeySource, REFETCH_AFTER};

/// Tells the time: milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The system's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place that reads the clock for everyone"
)]
pub(crate) fn system_clock() -> Clock {
    Arc::new(|| {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}

/// Why no event of a request could be processed. The hub will send them again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProcessError(pub String);

/// Does something with events, exactly once for each id.
pub trait Process: Send + Sync {
    /// Takes the events of one request, in order, and says for each what became of it.
    fn process(
        &self,
        events: Vec<Event>,
        now: i64,
    ) -> impl Future<Output = Result<Vec<Outcome>, ProcessError>> + Send;
}

/// What to reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body: JSON.
    pub body: String,
}

/// Why a receiver cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The JWKS document cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Encryption is required, but no key is given.
    #[error("encryption is required, but the receiver has no encryption key")]
    NoEncryptionKey,
}

/// Collects what a receiver needs.
#[derive(Clone)]
pub struct Builder {
    keys: KeySource,
    application_id: String,
    instance_id: Option<String>,
    key: Option<EncryptionKey>,
    require_encryption: bool,
    allow: Vec<IpNet>,
    refetch_after: i64,
    limit_bytes: usize,
    budget_bytes: usize,
    clock: Clock,
}

impl Builder {
    /// Accepts only envelopes of this instance.
    #[must_use]
    pub fn instance_id(mut self, id: impl Into<String>) -> Self {
        self.instance_id = Some(id.into());
        self
    }

    /// Decrypts with this key. Events that are not encrypted are refused from then on.
    #[must_use]
    pub fn encryption_key(mut self, key: EncryptionKey) -> Self {
        self.key = Some(key);
        self.require_encryption = true;
        self
    }

    /// Whether events that are not encrypted are refused.
    #[must_use]
    pub fn require_encryption(mut self, require: bool) -> Self {
        self.require_encryption = require;
        self
    }

    /// Accepts requests only from these networks. Without any, from everywhere: the signature decides.
    #[must_use]
    pub fn allow(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.allow.extend(networks);
        self
    }

    /// The least time between two fetches of the JWKS document; thirty seconds if not set. A shorter one lets
    /// strangers, who may name any key, have the document fetched more often.
    #[must_use]
    pub fn refetch_keys_after(mut self, pause: Duration) -> Self {
        self.refetch_after = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        self
    }

    /// The largest body, in bytes; 8 MiB if not set.
    #[must_use]
    pub fn limit_bytes(mut self, limit: usize) -> Self {
        self.limit_bytes = limit;
        self
    }

    /// How many bytes the bodies of all requests that are being received and processed may have together; 64
    /// MiB if not set, and never less than one body may have. The axum router asks whoever sends beyond it to
    /// come again.
    #[must_use]
    pub fn budget_bytes(mut self, budget: usize) -> Self {
        self.budget_bytes = budget;
        self
    }

    /// Tells the time from here instead of from the system.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the receiver.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build<P: Process>(self, processor: P) -> Result<Receiver<P>, BuildError> {
        if self.require_encryption && self.key.is_none() {
            return Err(BuildError::NoEncryptionKey);
        }
        Ok(Receiver {
            keys: KeyCache::new(self.keys.clone(), self.refetch_after)?,
            settings: self,
            processor,
        })
    }
}

/// Receives the events of one application.
pub struct Receiver<P> {
    settings: Builder,
    keys: KeyCache,
    processor: P,
}

impl<P> std::fmt::Debug for Receiver<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("application_id", &self.settings.application_id)
            .finish_non_exhaustive()
    }
}

impl Receiver<()> {
    /// Begins a receiver for the application of this id.
    pub fn builder(keys: KeySource, application_id: impl Into<String>) -> Builder {
        Builder {
            keys,
            application_id: application_id.into(),
            instance_id: None,
            key: None,
            require_encryption: false,
            allow: Vec::new(),
            refetch_after: REFETCH_AFTER,
            limit_bytes: REQUEST_LIMIT,
            budget_bytes: 64 << 20,
            clock: system_clock(),
        }
    }
}

impl<P> Receiver<P> {
    /// The largest body, in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.settings.limit_bytes
    }

    /// How many bytes the bodies of all requests may have together.
    pub fn budget_bytes(&self) -> usize {
        self.settings.budget_bytes.max(self.settings.limit_bytes)
    }

    /// What processes the events.
    pub fn processor(&self) -> &P {
        &self.processor
    }

    /// Opens a request without processing it.
    ///
    /// # Errors
    /// [`OpenError`], one for each cause.
    pub async fn open(&self, body: &[u8]) -> Result<Opened, OpenError> {
        let now = (self.settings.clock)();
        let keys = self.keys.keys(now).await;
        match self.opener(&keys).open(body, now) {
            Err(OpenError::UnknownKey { kid }) => {
                let keys = self.keys.refetch(&keys, now).await;
                if keys.contains(&kid) {
                    self.opener(&keys).open(body, now)
                } else {
                    Err(OpenError::UnknownKey { kid })
                }
            }
            result => result,
        }
    }

    fn opener<'a>(&'a self, keys: &'a rollcall_protocol::KeySet) -> Opener<'a> {
        Opener {
            instance_id: self.settings.instance_id.as_deref(),
            decryption: self.settings.key.as_ref(),
            require_encryption: self.settings.require_encryption,
            limit_bytes: self.settings.limit_bytes,
            ..Opener::new(keys, &self.settings.application_id)
        }
    }
}

impl<P: Process> Receiver<P> {
    /// Takes the body of a request and gives the reply. `remote` is the sender's address, if known;
    /// with an allow-list it must be.
    pub async fn receive(&self, remote: Option<IpAddr>, body: &[u8]) -> Reply {
        if let Some(refusal) = self.turned_away(remote) {
            return refusal;
        }
        match self.open(body).await {
            Ok(opened) => self.take(opened).await,
            Err(error) => self.refuse(&error),
        }
    }

    /// Has the events of a request processed that was opened, and gives the reply: for whoever wants to
    /// know what came before it is processed. [`Receiver::receive`] is all steps in one.
    pub async fn take(&self, opened: Opened) -> Reply {
        let ids: Vec<String> = opened
            .batch
            .events
            .iter()
            .map(|event| event.event_id.clone())
            .collect();
        match self
            .processor
            .process(opened.batch.events, (self.settings.clock)())
            .await
        {
            Ok(outcomes) => reply(&ids, outcomes),
            Err(error) => {
                tracing::error!(%error, "a request could not be processed");
                refusal(
                    503,
                    "internal_error",
                    "the events cannot be processed now; send them again".to_owned(),
                )
            }
        }
    }
}

impl<P> Receiver<P> {
    /// The reply to a request that cannot be opened.
    pub fn refuse(&self, error: &OpenError) -> Reply {
        if matches!(error, OpenError::UnknownKey { .. }) && self.keys.is_failing() {
            tracing::error!(%error, "a request cannot be verified without the hub's public keys");
            return refusal(
                503,
                "internal_error",
                "the public keys cannot be fetched now; send the events again".to_owned(),
            );
        }
        tracing::warn!(code = error.code(), %error, "a request was refused");
        let status = if matches!(error, OpenError::TooLarge { .. }) {
            413
        } else {
            400
        };
        refusal(status, error.code(), error.to_string())
    }

    /// The refusal for a sender who is not on the allow-list, whatever it sends.
    pub(crate) fn turned_away(&self, remote: Option<IpAddr>) -> Option<Reply> {
        let allow = &self.settings.allow;
        let listed = |remote: IpAddr| {
            allow
                .iter()
                .any(|network| network.contains(&remote.to_canonical()))
        };
        if allow.is_empty() || remote.is_some_and(listed) {
            return None;
        }
        let sender = remote.map_or_else(|| "an unknown address".to_owned(), |remote| remote.to_string());
        Some(refusal(
            403,
            "forbidden",
            format!("{sender} is not on the allow-list"),
        ))
    }
}

/// The longest code or message in an answer, in bytes: an answer to a thousand events stays below 1 MiB,
/// which is what hubs read.
const LONGEST_MESSAGE: usize = 400;

fn cut(mut text: String) -> String {
    if text.len() > LONGEST_MESSAGE {
        let end = text.floor_char_boundary(LONGEST_MESSAGE);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn reply(ids: &[String], outcomes: Vec<Outcome>) -> Reply {
    let mut answer = Answer::default();
    // What a processor says nothing about was perhaps not done.
    let silence = || Outcome::exception("nothing is known of this event");
    let outcomes = outcomes.into_iter().chain(std::iter::repeat_with(silence));
    for (event_id, outcome) in ids.iter().zip(outcomes) {
        let (list, code, message) = match outcome {
            Outcome::Success(message) => (&mut answer.success, "SUCCESS".to_owned(), message),
            Outcome::Skipped(message) => (&mut answer.skipped, "auto_skipped".to_owned(), message),
            Outcome::Failed { code, message } => (&mut answer.failed, code, message),
            Outcome::Retry { code, message } => (&mut answer.retried, code, message),
        };
        list.push(EventResult {
            event_id: event_id.clone(),
            event_code: cut(code),
            event_message: cut(message),
        });
    }
    Reply {
        status: 200,
        body: serde_json::to_string(&answer).unwrap_or_default(),
    }
}

pub(crate) fn refusal(status: u16, error: &str, description: String) -> Reply {
    let answer = ErrorAnswer {
        error: error.to_owned(),
        error_description: Some(description),
    };
    Reply {
        status,
        body: serde_json::to_string(&answer).unwrap_or_default(),
    }
}
