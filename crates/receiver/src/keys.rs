//! The hub's public keys: a cache over the JWKS endpoint.
//!
//! An unknown key id makes the cache look again, because keys rotate; but at most once in thirty
//! seconds, and one request does it for all that wait, so that a flood of forged ids does not become a
//! flood of requests. If the endpoint does not answer, the keys known so far stay in use.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rollcall_protocol::{KeyError, KeySet};
use tokio::sync::Mutex;

/// The least time between two fetches, in milliseconds.
const REFETCH_AFTER: i64 = 30_000;
/// The least time between two fetches as long as there are no keys, in milliseconds.
const FIRST_REFETCH_AFTER: i64 = 2_000;
/// How long a fetch may take.
const FETCH_WITHIN: Duration = Duration::from_secs(10);
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
    current: RwLock<Current>,
    fetching: Mutex<Option<i64>>,
    /// Whether the last fetch brought nothing.
    failing: AtomicBool,
}

#[derive(Clone)]
struct Current {
    keys: Arc<KeySet>,
    fetched_at: Option<i64>,
}

impl std::fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyCache").finish_non_exhaustive()
    }
}

impl KeyCache {
    pub(crate) fn new(source: KeySource) -> Result<Self, KeyError> {
        let (keys, endpoint) = match source {
            KeySource::Document(text) => (KeySet::from_json(&text)?, None),
            KeySource::Endpoint(endpoint) => (KeySet::default(), Some(endpoint)),
        };
        let current = Current {
            keys: Arc::new(keys),
            fetched_at: None,
        };
        Ok(Self {
            endpoint,
            current: RwLock::new(current),
            fetching: Mutex::new(None),
            failing: AtomicBool::new(false),
        })
    }

    fn current(&self) -> Current {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the last fetch brought nothing, so that a key may exist although it is not known.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// The keys known, fetched first if there are none yet or they are old.
    pub(crate) async fn keys(&self, now: i64) -> Arc<KeySet> {
        let current = self.current();
        let fresh = current
            .fetched_at
            .is_some_and(|fetched_at| now - fetched_at < MAX_AGE);
        if self.endpoint.is_none() || fresh {
            return current.keys;
        }
        self.refetch(&current.keys, now).await
    }

    /// The keys after looking again, because one is missing among those that the caller has.
    pub(crate) async fn refetch(&self, known: &Arc<KeySet>, now: i64) -> Arc<KeySet> {
        let Some(endpoint) = &self.endpoint else {
            return Arc::clone(known);
        };
        let mut last = self.fetching.lock().await;
        let current = self.current();
        // Somebody else has fetched while this call waited, or it is too early to ask again.
        let pause = if current.keys.is_empty() {
            FIRST_REFETCH_AFTER
        } else {
            REFETCH_AFTER
        };
        // A clock that was set back does not forbid it for long.
        let early = last.is_some_and(|last| (0..pause).contains(&(now - last)));
        if !Arc::ptr_eq(&current.keys, known) || early {
            return current.keys;
        }
        *last = Some(now);
        self.failing.store(true, Ordering::Relaxed);
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
                let keys = Arc::new(keys);
                self.failing.store(false, Ordering::Relaxed);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Current {
                    keys: Arc::clone(&keys),
                    fetched_at: Some(now),
                };
                keys
            }
            Err(error) => {
                tracing::warn!(
                    error,
                    "the JWKS document cannot be fetched; the keys known stay in use"
                );
                current.keys
            }
        }
    }
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
            .timeout(std::time::Duration::from_secs(10))
            .connect_timeout(std::time::Duration::from_secs(5))
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
