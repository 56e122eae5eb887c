//! The hub's public keys: a cache over the JWKS endpoint.
//!
//! Strangers can make a receiver look for keys, so everything that they cause is bounded. An unknown key id
//! makes the cache look again, because keys rotate, but at most once in thirty seconds, or what the receiver
//! was told: what a set that is younger does not have counts as missing, without a memory for each id. A fetch
//! runs on a task of its own, one at a time. Who has keys that are merely old goes on with them while it runs;
//! who needs the answer waits for a few seconds at most, and only so many wait at once. So an endpoint that
//! hangs does not hold up requests whose key is known. If it does not answer, the keys known so far stay in use.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rollcall_protocol::{KeyError, KeySet};
use tokio::sync::{Semaphore, watch};

/// The least time between two fetches, in milliseconds, unless the receiver is told another.
pub(crate) const REFETCH_AFTER: i64 = 30_000;
/// The least time between two fetches as long as there are no keys, in milliseconds; never more than otherwise.
const FIRST_REFETCH_AFTER: i64 = 2_000;
/// How long a fetch may take.
const FETCH_WITHIN: Duration = Duration::from_secs(10);
/// How long a request waits for a fetch. Hubs wait for ten seconds in all.
const WAIT_FOR: Duration = Duration::from_secs(3);
/// How many requests wait for a fetch at once. Nobody knows yet who sent them, and each holds its body.
const WAITING: usize = 64;
/// After this time the keys are fetched again even if none is missing, in milliseconds.
const MAX_AGE: i64 = 3_600_000;

/// Fetches a JWKS document.
pub trait FetchJwks: Send + Sync {
    /// The document's text, or why it cannot be had.
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>>;
}

/// Where the public keys come from.
#[derive(Clone)]
pub enum KeySource {
    /// A document that does not change.
    Document(String),
    /// An endpoint.
    Endpoint(Arc<dyn FetchJwks>),
}

impl std::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Document(_) => "KeySource::Document",
            Self::Endpoint(_) => "KeySource::Endpoint",
        })
    }
}

pub(crate) struct KeyCache {
    endpoint: Option<Arc<dyn FetchJwks>>,
    state: Arc<Mutex<State>>,
    waiting: Semaphore,
}

struct State {
    keys: Arc<KeySet>,
    fetched_at: Option<i64>,
    asked_at: Option<i64>,
    /// Whether the last fetch has brought nothing, or nothing yet.
    failing: bool,
    /// The least time between two fetches, in milliseconds.
    refetch_after: i64,
    /// The fetch under way; its sender goes when it ends, however it ends.
    fetch: watch::Receiver<()>,
}

impl State {
    fn is_fetching(&self) -> bool {
        self.fetch.has_changed().is_ok()
    }

    /// Whether it is too early for another fetch. A clock that was set back does not forbid it for long.
    fn is_early(&self, now: i64) -> bool {
        let pause = if self.keys.is_empty() {
            self.refetch_after.min(FIRST_REFETCH_AFTER)
        } else {
            self.refetch_after
        };
        self.asked_at.is_some_and(|asked_at| within(asked_at, now, pause))
    }
}

fn within(since: i64, now: i64, span: i64) -> bool {
    (0..span).contains(&now.saturating_sub(since))
}

impl std::fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyCache").finish_non_exhaustive()
    }
}

impl KeyCache {
    pub(crate) fn new(source: KeySource, refetch_after: i64) -> Result<Self, KeyError> {
        let (keys, endpoint) = match source {
            KeySource::Document(text) => (KeySet::from_json(&text)?, None),
            KeySource::Endpoint(endpoint) => (KeySet::default(), Some(endpoint)),
        };
        let state = State {
            keys: Arc::new(keys),
            fetched_at: None,
            asked_at: None,
            failing: false,
            refetch_after,
            fetch: watch::channel(()).1,
        };
        Ok(Self {
            endpoint,
            state: Arc::new(Mutex::new(state)),
            waiting: Semaphore::new(WAITING),
        })
    }

    /// Whether the last fetch brought nothing, so that a key may exist although it is not known.
    pub(crate) fn is_failing(&self) -> bool {
        lock(&self.state).failing
    }

    /// The keys known; fetched first if there are none yet, and anew meanwhile if they are old.
    pub(crate) async fn keys(&self, now: i64) -> Arc<KeySet> {
        let known = {
            let state = lock(&self.state);
            let fresh = state
                .fetched_at
                .is_some_and(|fetched_at| within(fetched_at, now, MAX_AGE));
            if self.endpoint.is_none() || fresh {
                return Arc::clone(&state.keys);
            }
            Arc::clone(&state.keys)
        };
        if known.is_empty() {
            return self.refetch(&known, now).await;
        }
        self.begin(&mut lock(&self.state), now);
        known
    }

    /// The keys after looking again, because one is missing among those that the caller has.
    pub(crate) async fn refetch(&self, known: &Arc<KeySet>, now: i64) -> Arc<KeySet> {
        let fetch = {
            let mut state = lock(&self.state);
            // Somebody else has fetched meanwhile.
            if !Arc::ptr_eq(&state.keys, known) {
                return Arc::clone(&state.keys);
            }
            self.begin(&mut state, now);
            state.is_fetching().then(|| state.fetch.clone())
        };
        if let (Some(mut fetch), Ok(_place)) = (fetch, self.waiting.try_acquire()) {
            // Nothing is ever sent: it ends when the sender goes.
            let ended = async move { while fetch.changed().await.is_ok() {} };
            let _ = tokio::time::timeout(WAIT_FOR, ended).await;
        }
        Arc::clone(&lock(&self.state).keys)
    }

    /// Begins a fetch, unless one is under way or it is too early for another.
    fn begin(&self, state: &mut State, now: i64) {
        let Some(endpoint) = &self.endpoint else { return };
        if state.is_fetching() || state.is_early(now) {
            return;
        }
        let (ended, fetch) = watch::channel(());
        state.fetch = fetch;
        state.asked_at = Some(now);
        state.failing = true;
        let (endpoint, shared) = (Arc::clone(endpoint), Arc::clone(&self.state));
        tokio::spawn(async move {
            let fetched = tokio::time::timeout(FETCH_WITHIN, endpoint.fetch())
                .await
                .unwrap_or_else(|_| Err("no answer in time".to_owned()))
                .and_then(|text| KeySet::from_json(&text).map_err(|error| error.to_string()))
                .and_then(|keys| match keys.is_empty() {
                    true => Err("the document has no key for signatures".to_owned()),
                    false => Ok(keys),
                });
            match fetched {
                Ok(keys) => {
                    let mut state = lock(&shared);
                    state.keys = Arc::new(keys);
                    state.fetched_at = Some(now);
                    state.failing = false;
                }
                Err(error) => tracing::warn!(
                    error,
                    "the JWKS document cannot be fetched; the keys known stay in use"
                ),
            }
            drop(ended);
        });
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fetches the JWKS document over HTTP or HTTPS.
#[cfg(feature = "client")]
#[derive(Clone, Debug)]
pub struct HttpJwks {
    client: reqwest::Client,
    url: String,
}

#[cfg(feature = "client")]
impl HttpJwks {
    /// A fetcher for this address.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(url: impl Into<String>) -> Result<Self, String> {
        // Another part of the process may have chosen the provider already; it is the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(std::time::Duration::from_secs(8))
            .connect_timeout(std::time::Duration::from_secs(2))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            client,
            url: url.into(),
        })
    }
}

#[cfg(feature = "client")]
impl FetchJwks for HttpJwks {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that fetches")]
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>> {
        Box::pin(async move {
            let failed = |error: reqwest::Error| error.to_string();
            let response = self.client.get(&self.url).send().await.map_err(failed)?;
            let mut response = response.error_for_status().map_err(failed)?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(failed)? {
                body.extend_from_slice(&chunk);
                if body.len() > 1 << 20 {
                    return Err("the JWKS document is larger than 1 MiB".to_owned());
                }
            }
            String::from_utf8(body).map_err(|error| error.to_string())
        })
    }
}
