//! What the provider publishes about itself: its endpoints (OpenID Connect Discovery 1.0) and its keys. Both are fetched
//! when they are needed, by one at a time for all who need them, and kept for a while.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use tokio::sync::Mutex;

use super::id_token::Keys;
use super::is_private;
use crate::clock::{Clock, Millis};
use crate::delivery::egress::failure::Failure;
use crate::delivery::egress::{Egress, Reply};

/// How long a document is kept.
const KEPT: Millis = 3_600_000;

/// How long it is remembered that the provider could not be asked, so that a crowd does not wait in turns.
const FAILED: Millis = 5_000;

/// How old keys have to be before they are fetched again for a token that none of them has signed: anybody who may sign
/// in there could make the hub do it.
const RENEWED: Millis = 10_000;

/// The provider cannot be asked, or its answer cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the provider cannot be used: {0}")]
pub struct Unavailable(String);

impl From<Failure> for Unavailable {
    fn from(failure: Failure) -> Self {
        Self(failure.to_string())
    }
}

impl Unavailable {
    pub(super) fn malformed(what: &str) -> Self {
        Self(what.to_owned())
    }

    pub(super) fn too_long() -> Self {
        Self::malformed("its answer is too long")
    }

    pub(super) fn status(status: u16) -> Self {
        Self(format!("it answers HTTP {status}"))
    }
}

/// What a request brings within this time.
pub(super) async fn in_time(
    patience: Duration,
    request: impl Future<Output = Result<Reply, Failure>>,
) -> Result<Reply, Unavailable> {
    match tokio::time::timeout(patience, request).await {
        Ok(reply) => Ok(reply?),
        Err(_) => Err(Unavailable::malformed("it does not answer in time")),
    }
}

/// What a provider says of itself, as far as it is used.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    #[serde(deserialize_with = "address")]
    pub(super) authorization_endpoint: Url,
    #[serde(deserialize_with = "address")]
    pub(super) token_endpoint: Url,
    #[serde(deserialize_with = "address")]
    jwks_uri: Url,
    #[serde(default, deserialize_with = "address_if_any")]
    pub(super) end_session_endpoint: Option<Url>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether it names itself in its answers to browsers (RFC 9207).
    #[serde(default, rename = "authorization_response_iss_parameter_supported")]
    pub(super) names_itself: bool,
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    Url::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn address_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.map(|text| Url::parse(&text).map_err(D::Error::custom))
        .transpose()
}

impl Metadata {
    /// Whether a client shows its secret in a header; the other way is the form.
    pub(super) fn takes_basic(&self) -> bool {
        // What a provider takes that names nothing (Discovery, section 3).
        let methods = self.token_endpoint_auth_methods_supported.as_ref();
        methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
    }

    fn check(&self, issuer: &str) -> Result<(), Unavailable> {
        if self.issuer != issuer {
            return Err(Unavailable::malformed(
                "its document names another issuer than access.oidc.issuer",
            ));
        }
        let Self {
            authorization_endpoint,
            token_endpoint,
            jwks_uri,
            end_session_endpoint,
            ..
        } = self;
        let endpoints = [authorization_endpoint, token_endpoint, jwks_uri];
        match endpoints.into_iter().chain(end_session_endpoint).all(is_private) {
            true => Ok(()),
            false => Err(Unavailable::malformed(
                "its document names an address that does not begin with https://",
            )),
        }
    }
}

/// A document, and when it was fetched.
type Kept<T> = Option<(Millis, Result<Arc<T>, Unavailable>)>;

/// The documents of one provider.
#[derive(Debug)]
pub(super) struct Documents {
    issuer: String,
    egress: Egress,
    clock: Clock,
    patience: Duration,
    metadata: Mutex<Kept<Metadata>>,
    keys: Mutex<Kept<Keys>>,
}

impl Documents {
    pub(super) fn new(issuer: &str, egress: Egress, clock: Clock, patience: Duration) -> Self {
        Self {
            issuer: issuer.to_owned(),
            egress,
            clock,
            patience,
            metadata: Mutex::default(),
            keys: Mutex::default(),
        }
    }

    pub(super) async fn metadata(&self) -> Result<Arc<Metadata>, Unavailable> {
        let mut kept = self.metadata.lock().await;
        if let Some(known) = self.still_good(&kept) {
            return known;
        }
        let fetched = self.fetch_metadata().await.map(Arc::new);
        *kept = Some((self.clock.now(), fetched.clone()));
        fetched
    }

    /// The provider's keys; others than those that are of no use, if there are any by now.
    pub(super) async fn keys(
        &self,
        metadata: &Metadata,
        useless: Option<&Arc<Keys>>,
    ) -> Result<Arc<Keys>, Unavailable> {
        let mut kept = self.keys.lock().await;
        if let Some(known) = self.still_good(&kept) {
            let fetched_at = kept.as_ref().map_or(0, |(at, _)| *at);
            let are_useless = match (&known, useless) {
                (Ok(known), Some(useless)) => Arc::ptr_eq(known, useless),
                _ => false,
            };
            if !are_useless || (0..RENEWED).contains(&(self.clock.now() - fetched_at)) {
                return known;
            }
        }
        let fetched = self.fetch(&metadata.jwks_uri).await.map(Arc::new);
        *kept = Some((self.clock.now(), fetched.clone()));
        fetched
    }

    fn still_good<T>(&self, kept: &Kept<T>) -> Option<Result<Arc<T>, Unavailable>> {
        let (at, document) = kept.as_ref()?;
        let lasts = if document.is_ok() { KEPT } else { FAILED };
        // A clock that was set back must not keep anything for longer.
        (0..lasts)
            .contains(&(self.clock.now() - at))
            .then(|| document.clone())
    }

    async fn fetch_metadata(&self) -> Result<Metadata, Unavailable> {
        let place = format!(
            "{}/.well-known/openid-configuration",
            self.issuer.trim_end_matches('/')
        );
        let url = Url::parse(&place).map_err(|error| Unavailable(error.to_string()))?;
        let metadata: Metadata = self.fetch(&url).await?;
        metadata.check(&self.issuer)?;
        Ok(metadata)
    }

    async fn fetch<T: DeserializeOwned>(&self, url: &Url) -> Result<T, Unavailable> {
        let reply = in_time(self.patience, self.egress.get(url)).await?;
        if reply.status != 200 {
            return Err(Unavailable(format!("{url} answers HTTP {}", reply.status)));
        }
        if !reply.complete {
            return Err(Unavailable::too_long());
        }
        serde_json::from_slice(&reply.body)
            .map_err(|error| Unavailable(format!("the document at {url} cannot be read: {error}")))
    }
}
