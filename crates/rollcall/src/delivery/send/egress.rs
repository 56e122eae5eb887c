//! The way out: the only HTTP client of the hub.
//!
//! Administrators type in the addresses that the hub then calls from inside the network, so a
//! receiving URL must not become a way to reach what only the hub can reach. Addresses in private,
//! loopback, link-local and other special ranges are refused, unless the configuration allows the
//! network. DNS answers are checked in the resolver, so that the address checked is the address
//! connected to; hosts written as addresses never reach a resolver and are checked before the request.
//! Redirects are not followed and no proxy is taken from the environment.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

pub use super::address::AddressPolicy;
use crate::clock::{Clock, Millis};

/// How long an application has to answer (wire contract, section 1).
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// An answer is read no further than this.
const ANSWER_LIMIT: usize = 1 << 20;

/// Why a request did not bring an answer.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Failure {
    /// The request cannot be sealed.
    #[error("{0}")]
    Unsealed(String),
    /// The address is in a range that the hub does not call.
    #[error("{0} is a private or special address, which egress.allow does not list")]
    Forbidden(String),
    /// The host's name has no address.
    #[error("the host name cannot be resolved: {0}")]
    Resolve(String),
    /// Nobody listens there, or the way is blocked.
    #[error("no connection: {0}")]
    Connect(String),
    /// The TLS handshake failed.
    #[error("no TLS: {0}")]
    Tls(String),
    /// No answer in time.
    #[error("no answer within {} s", ANSWER_WITHIN.as_secs())]
    TimedOut,
    /// The answer broke off.
    #[error("the answer broke off: {0}")]
    Broken(String),
    /// A 200 whose body may have refused something, but cannot be read.
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
    /// An answer with another status than 200.
    #[error("HTTP {status}{}", if matches!(status, 300..400) { " (redirects are not followed)" } else { "" })]
    Status {
        /// The HTTP status.
        status: u16,
        /// What the answer says: its `error` and `errorDescription` if it has them, or else its text.
        said: Option<String>,
        /// How long the application asks to wait, from `Retry-After`.
        retry_after: Option<Duration>,
    },
}

impl Failure {
    /// A short name for counting and for filters.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsealed(_) => "unsealed",
            Self::Forbidden(_) => "forbidden_address",
            Self::Resolve(_) => "unresolved",
            Self::Connect(_) => "unconnected",
            Self::Tls(_) => "tls",
            Self::TimedOut => "timed_out",
            Self::Broken(_) => "broken",
            Self::Unreadable(_) => "unreadable_answer",
            Self::Status { .. } => "refused",
        }
    }

    /// What the application said: its words, which may name people. They are in no other text of a failure.
    pub fn said(&self) -> Option<&str> {
        match self {
            Self::Status { said, .. } => said.as_deref(),
            _ => None,
        }
    }

    /// The failure with what the application said about it, for people who may see both.
    pub fn in_full(&self) -> String {
        match self.said() {
            Some(said) => format!("{self}: {said}"),
            None => self.to_string(),
        }
    }

    /// Whether the application may have seen the request and refused it for what it carries, so that
    /// another one could fare better.
    pub fn may_be_poison(&self) -> bool {
        match self {
            Self::TimedOut | Self::Broken(_) | Self::Unreadable(_) => true,
            Self::Status { status, .. } => *status >= 400 && *status != 429,
            Self::Unsealed(_) | Self::Forbidden(_) | Self::Resolve(_) | Self::Connect(_) | Self::Tls(_) => {
                false
            }
        }
    }

    /// Whether the request was too large.
    pub fn is_too_large(&self) -> bool {
        self.status() == Some(413)
    }

    /// The HTTP status, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Unreadable(_) => Some(200),
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// How the client is built.
#[derive(Clone, Debug, Default)]
pub struct EgressOptions {
    /// Which addresses may be called.
    pub policy: AddressPolicy,
    /// The address from which requests leave.
    pub source_address: Option<IpAddr>,
    /// Certificate authorities (PEM) trusted besides the system's.
    pub extra_authorities: Vec<Vec<u8>>,
}

/// Why the client cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be built: {0}")]
pub struct EgressError(String);

/// The way to the applications.
#[derive(Clone, Debug)]
pub struct Egress {
    way: Way,
    policy: Arc<AddressPolicy>,
    clock: Clock,
}

#[derive(Clone)]
enum Way {
    Http(reqwest::Client),
    Within(Arc<dyn Peer>),
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http(_) => "Http",
            Self::Within(_) => "Within",
        })
    }
}

/// Whoever answers requests in the same process, instead of an application at the other end of the network: for
/// simulations.
pub trait Peer: Send + Sync {
    /// Takes a request and answers it, or says what became of it on the way.
    fn post<'a>(
        &'a self,
        url: &'a Url,
        body: Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>>;
}

/// A response, whatever it says.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, as far as it was read.
    pub body: Vec<u8>,
    /// Whether that is all of it.
    pub complete: bool,
    /// How long the application asks to wait, from `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// What a request brought, and how long it took.
#[derive(Debug)]
pub struct Exchange {
    /// The response, or why there is none.
    pub result: Result<Reply, Failure>,
    /// From the start of the request to the end of the answer.
    pub latency: Duration,
}

impl Egress {
    /// Builds the client.
    ///
    /// # Errors
    /// [`EgressError`] if a certificate cannot be read or TLS cannot be set up.
    pub fn new(options: &EgressOptions, clock: Clock) -> Result<Self, EgressError> {
        let failed = |error: &dyn std::fmt::Display| EgressError(error.to_string());
        // Another part of the process may have chosen the provider already; it is the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let policy = Arc::new(options.policy.clone());
        let mut builder = reqwest::Client::builder()
            .dns_resolver(Arc::new(GuardedResolver(Arc::clone(&policy))))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .local_address(options.source_address)
            .connect_timeout(Duration::from_secs(5))
            .timeout(ANSWER_WITHIN)
            .tcp_nodelay(true)
            .user_agent(concat!("rollcall/", env!("CARGO_PKG_VERSION")));
        let mut authorities = Vec::new();
        for pem in &options.extra_authorities {
            authorities.extend(reqwest::Certificate::from_pem_bundle(pem).map_err(|e| failed(&e))?);
        }
        if !authorities.is_empty() {
            builder = builder.tls_certs_merge(authorities);
        }
        Ok(Self {
            way: Way::Http(builder.build().map_err(|e| failed(&e))?),
            policy,
            clock,
        })
    }

    /// A way that leads to nobody but `peer`, and calls no address.
    pub fn within(peer: Arc<dyn Peer>, clock: Clock) -> Self {
        Self {
            way: Way::Within(peer),
            policy: Arc::default(),
            clock,
        }
    }

    /// The rules for addresses.
    pub fn policy(&self) -> &AddressPolicy {
        &self.policy
    }

    /// Sends a body and reads the response.
    pub async fn post(&self, url: &Url, body: Bytes) -> Exchange {
        let watch = self.clock.stopwatch();
        let result = match &self.way {
            Way::Http(client) => self.send(client, url, body).await,
            Way::Within(peer) => tokio::time::timeout(ANSWER_WITHIN, peer.post(url, body))
                .await
                .unwrap_or(Err(Failure::TimedOut)),
        };
        Exchange {
            result,
            latency: watch.elapsed(),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that sends")]
    async fn send(&self, client: &reqwest::Client, url: &Url, body: Bytes) -> Result<Reply, Failure> {
        self.check_literal(url)?;
        let request = client
            .post(url.clone())
            .header(reqwest::header::CONTENT_TYPE, "application/json;charset=utf-8")
            .body(body);
        match request.send().await {
            Ok(response) => read(response, self.clock.now()).await,
            Err(error) => Err(classify(&error)),
        }
    }

    fn check_literal(&self, url: &Url) -> Result<(), Failure> {
        match literal_address(url) {
            Some(address) if !self.policy.permits(address) => Err(Failure::Forbidden(address.to_string())),
            _ => Ok(()),
        }
    }

    /// The addresses that a URL's host leads to and that may be called.
    ///
    /// # Errors
    /// [`Failure::Resolve`] or [`Failure::Forbidden`].
    pub async fn resolve(&self, url: &Url) -> Result<Vec<SocketAddr>, Failure> {
        let port = url.port_or_known_default().unwrap_or(443);
        if let Some(address) = literal_address(url) {
            self.check_literal(url)?;
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        look_up(&self.policy, &host, port).await
    }
}

fn literal_address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

async fn look_up(policy: &AddressPolicy, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let found: Vec<_> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| Failure::Resolve(format!("{host}: {error}")))?
        .collect();
    let permitted: Vec<_> = found
        .iter()
        .copied()
        .filter(|address| policy.permits(address.ip()))
        .collect();
    match (found.first(), permitted.is_empty()) {
        (None, _) => Err(Failure::Resolve(format!("{host} has no address"))),
        (Some(first), true) => Err(Failure::Forbidden(format!("{host} ({})", first.ip()))),
        (Some(_), false) => Ok(permitted),
    }
}

struct GuardedResolver(Arc<AddressPolicy>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.0);
        Box::pin(async move {
            // The client replaces port 0 by the URL's.
            let addresses = look_up(&policy, name.as_str(), 0).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

async fn read(mut response: reqwest::Response, now: Millis) -> Result<Reply, Failure> {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(reqwest::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| wait_of(value.trim(), now));
    let mut body = Vec::new();
    let mut complete = true;
    while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error))? {
        let room = ANSWER_LIMIT.saturating_sub(body.len());
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if room < chunk.len() {
            complete = false;
            break;
        }
    }
    Ok(Reply {
        status,
        body,
        complete,
        retry_after,
    })
}

/// The wait that a `Retry-After` header asks for: a number of seconds, or a date (RFC 9110, section 10.2.3).
fn wait_of(value: &str, now: Millis) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let until = date.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis();
    let left = i64::try_from(until).ok()?.saturating_sub(now);
    Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
}

/// The TLS error in an error, if there is one. I/O errors hide what they wrap from `source`, and the
/// client's layers wrap them in one another.
fn tls_error(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls.to_string());
    }
    let io = error.downcast_ref::<std::io::Error>()?;
    match io.get_ref() {
        Some(wrapped) => tls_error(wrapped).or_else(|| {
            let text = wrapped.to_string();
            text.contains("tls handshake").then_some(text)
        }),
        None => None,
    }
}

fn classify(error: &reqwest::Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut last = error.to_string();
    while let Some(inner) = cause {
        if let Some(failure) = inner.downcast_ref::<Failure>() {
            return failure.clone();
        }
        if let Some(tls) = tls_error(inner) {
            return Failure::Tls(tls);
        }
        last = inner.to_string();
        cause = inner.source();
    }
    if error.is_timeout() {
        Failure::TimedOut
    } else if error.is_connect() {
        Failure::Connect(last)
    } else {
        Failure::Broken(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_number_or_a_date() {
        assert_eq!(wait_of("120", 0), Some(Duration::from_secs(120)));
        let date = "Thu, 01 Jan 1970 00:01:00 GMT";
        assert_eq!(wait_of(date, 20_000), Some(Duration::from_secs(40)));
        assert_eq!(wait_of(date, 90_000), Some(Duration::ZERO));
        assert_eq!(wait_of("soon", 0), None);
    }
}
