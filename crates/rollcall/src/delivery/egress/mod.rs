//! The way out: the only HTTP client of the hub. ([`Direct`] is that of the command line, which leads to a hub.)
//!
//! Administrators type in the addresses that the hub then calls from inside the network, so a
//! receiving URL must not become a way to reach what only the hub can reach. Addresses in private,
//! loopback, link-local and other special ranges are refused, unless the configuration allows the
//! network. DNS answers are checked in the resolver, so that the address checked is the address
//! connected to; hosts written as addresses never reach a resolver and are checked before the request.
//! Redirects are not followed and no proxy is taken from the environment.

mod address;
mod direct;
pub mod failure;
mod form;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH, LOCATION,
};
use reqwest::{Method, Url};
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpSocket, TcpStream};

use crate::clock::{Clock, Millis};
pub use address::AddressPolicy;
pub use direct::Direct;
use failure::{Failure, TlsFault, classify};
pub use form::{basic, form};
use tls::{Secured, Trust};

/// How long an application has to answer (wire contract, section 1).
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long a connection may take to come about.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The kind of most answers.
const JSON: &str = "application/json";

/// Usually an answer is read no further than this.
pub const ANSWER_LIMIT: usize = 1 << 20;

/// How the client is built.
#[derive(Clone, Debug, Default)]
pub struct EgressOptions {
    /// Which addresses may be called.
    pub policy: AddressPolicy,
    /// The address from which requests leave.
    pub source_address: Option<IpAddr>,
    /// Certificate authorities trusted besides the system's.
    pub extra_authorities: Vec<CertificateDer<'static>>,
}

/// Why the client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The system has no certificate authorities, and no others are given.
    #[error(
        "this machine trusts no certificate authority, so nobody can be reached over HTTPS: install the system's \
         (Debian, Ubuntu and Alpine call them ca-certificates), or name a file of certificates (egress.ca_file, --ca-file)"
    )]
    NoAuthorities,
    /// Anything else.
    #[error("the HTTP client cannot be built: {0}")]
    Other(String),
}

/// The way to the applications.
#[derive(Clone, Debug)]
pub struct Egress {
    way: Way,
    policy: Arc<AddressPolicy>,
    clock: Clock,
}

#[derive(Clone)]
enum Way {
    Http(Arc<Http>),
    Within(Arc<dyn Peer>),
}

/// The network.
struct Http {
    client: reqwest::Client,
    trust: Trust,
    source_address: Option<IpAddr>,
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

    /// Takes a request of any kind and answers it, or says what became of it on the way.
    fn ask<'a>(
        &'a self,
        question: Question<'a>,
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
    /// Where it redirects to, or where what was made is, from `Location`.
    pub location: Option<String>,
    /// The version of what it is about, from `ETag`.
    pub etag: Option<String>,
}

/// A request of any kind.
#[derive(Debug)]
pub struct Question<'a> {
    /// What is done.
    pub method: Method,
    /// To what.
    pub url: &'a Url,
    /// The body and its kind.
    pub body: Option<(&'static str, Bytes)>,
    /// What kind of answer is wanted.
    pub accept: &'static str,
    /// Who asks.
    pub authorization: Option<HeaderValue>,
    /// The version that is changed.
    pub if_match: Option<&'a str>,
    /// How many bytes of the answer are read.
    pub at_most: usize,
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
        let failed = |error: &dyn std::fmt::Display| EgressError::Other(error.to_string());
        let trust = Trust::new(&options.extra_authorities)?;
        let policy = Arc::new(options.policy.clone());
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(trust.config())
            .dns_resolver(Arc::new(GuardedResolver(Arc::clone(&policy))))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .local_address(options.source_address)
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .tcp_nodelay(true)
            .user_agent(concat!("rollcall/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| failed(&e))?;
        Ok(Self {
            way: Way::Http(Arc::new(Http {
                client,
                trust,
                source_address: options.source_address,
            })),
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
            Way::Http(http) => {
                let request = http.client.post(url.clone()).body(body);
                let kind = "application/json;charset=utf-8";
                self.send(url, request.header(CONTENT_TYPE, kind), ANSWER_LIMIT)
                    .await
            }
            Way::Within(peer) => tokio::time::timeout(ANSWER_WITHIN, peer.post(url, body))
                .await
                .unwrap_or(Err(Failure::TimedOut)),
        };
        Exchange {
            result,
            latency: watch.elapsed(),
        }
    }

    /// Sends a request of any kind and reads the response.
    ///
    /// # Errors
    /// What became of it on the way.
    pub async fn ask(&self, question: Question<'_>) -> Result<Reply, Failure> {
        let http = match &self.way {
            Way::Http(http) => http,
            Way::Within(peer) => {
                let answer = tokio::time::timeout(ANSWER_WITHIN, peer.ask(question));
                return answer.await.unwrap_or(Err(Failure::TimedOut));
            }
        };
        let Question {
            method,
            url,
            body,
            accept,
            authorization,
            if_match,
            at_most,
        } = question;
        let mut request = http.client.request(method, url.clone()).header(ACCEPT, accept);
        if let Some(mut authorization) = authorization {
            authorization.set_sensitive(true);
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(version) = if_match {
            request = request.header(IF_MATCH, version);
        }
        if let Some((kind, body)) = body {
            request = request.header(CONTENT_TYPE, kind).body(body);
        }
        self.send(url, request, at_most).await
    }

    /// Fetches a document.
    ///
    /// # Errors
    /// What became of it on the way.
    pub async fn get(&self, url: &Url) -> Result<Reply, Failure> {
        self.ask(Question {
            method: Method::GET,
            url,
            body: None,
            accept: JSON,
            authorization: None,
            if_match: None,
            at_most: ANSWER_LIMIT,
        })
        .await
    }

    /// Sends a form, with the header `Authorization` if there is one, and reads the response.
    ///
    /// # Errors
    /// What became of it on the way.
    pub async fn post_form(
        &self,
        url: &Url,
        form: String,
        authorization: Option<HeaderValue>,
    ) -> Result<Reply, Failure> {
        self.ask(Question {
            method: Method::POST,
            url,
            body: Some(("application/x-www-form-urlencoded", form.into())),
            accept: JSON,
            authorization,
            if_match: None,
            at_most: ANSWER_LIMIT,
        })
        .await
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that sends")]
    async fn send(
        &self,
        url: &Url,
        request: reqwest::RequestBuilder,
        at_most: usize,
    ) -> Result<Reply, Failure> {
        self.policy.check_literal(url)?;
        match request.send().await {
            Ok(response) => read(response, at_most, self.clock.now()).await,
            Err(error) => Err(classify(&error)),
        }
    }

    /// The addresses that a URL's host leads to and that may be called.
    ///
    /// # Errors
    /// [`Failure::Resolve`] or [`Failure::Forbidden`].
    pub async fn resolve(&self, url: &Url) -> Result<Vec<SocketAddr>, Failure> {
        self.policy.resolve(url).await
    }

    /// Connects to the first of these addresses that lets it, from where requests leave.
    ///
    /// # Errors
    /// What the last of them said, which is [`io::ErrorKind::TimedOut`] if it said nothing in time.
    pub async fn connect(&self, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
        let Way::Http(http) = &self.way else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match tokio::time::timeout(CONNECT_WITHIN, http.connect(*address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    /// Shakes hands with whoever is at the other end of a connection, as a request would, and hangs up.
    ///
    /// # Errors
    /// Why there is no TLS.
    pub async fn shake_hands(&self, stream: TcpStream, url: &Url) -> Result<Secured, TlsFault> {
        let Way::Http(http) = &self.way else {
            return Err(TlsFault::Closed);
        };
        let shaking = http.trust.shake_hands(stream, url.host_str().unwrap_or_default());
        tokio::time::timeout(CONNECT_WITHIN, shaking)
            .await
            .unwrap_or(Err(TlsFault::TimedOut))
    }
}

impl Http {
    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        match self.source_address {
            Some(source) if source.is_ipv4() == address.is_ipv4() => {
                socket.bind(SocketAddr::new(source, 0))?
            }
            _ => {}
        }
        socket.connect(address).await
    }
}

struct GuardedResolver(Arc<AddressPolicy>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.0);
        Box::pin(async move {
            // The client replaces port 0 by the URL's.
            let addresses = policy.look_up(name.as_str(), 0).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

async fn read(mut response: reqwest::Response, at_most: usize, now: Millis) -> Result<Reply, Failure> {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(reqwest::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| wait_of(value.trim(), now));
    let text = |name: HeaderName| {
        let value: Option<&HeaderValue> = response.headers().get(name);
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let (location, etag) = (text(LOCATION), text(ETAG));
    let mut body = Vec::new();
    let mut complete = true;
    while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error))? {
        let room = at_most.saturating_sub(body.len());
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
        location,
        etag,
    })
}

/// The wait that a `Retry-After` header asks for: a number of seconds, or a date (RFC 9110, section 10.2.3).
pub fn wait_of(value: &str, now: Millis) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let until = date.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis();
    let left = i64::try_from(until).ok()?.saturating_sub(now);
    Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
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
