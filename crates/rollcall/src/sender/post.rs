//! Requests to the one address that somebody typed, as the hub sends them. No address is refused, because whoever
//! types it is on the same side of the network; redirects are not followed.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE as CONTENT_TYPE_HEADER;
use reqwest::{Method, Url};
use rustls::pki_types::CertificateDer;

use crate::clock::Clock;
use crate::delivery::egress::failure::Failure;
use crate::delivery::egress::{ANSWER_LIMIT, ANSWER_WITHIN, Direct, EgressError};

/// The type of every request's content (wire contract, section 1).
pub const CONTENT_TYPE: &str = "application/json;charset=utf-8";

/// Sends requests.
#[derive(Clone, Debug)]
pub struct Post {
    direct: Direct,
    url: Url,
    clock: Clock,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Received {
    /// The HTTP status.
    pub status: u16,
    /// The header `Content-Type`.
    pub content_type: Option<String>,
    /// The body, as far as it was read.
    pub body: Vec<u8>,
    /// Whether that is all of it.
    pub complete: bool,
    /// How long it took.
    pub took: Duration,
}

/// Why nothing came back.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unanswered {
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The connection did not come about, or broke off.
    #[error("{0}")]
    Failed(Failure),
}

impl Unanswered {
    /// Whether nobody listens there.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Failed(Failure::Connect(_) | Failure::Resolve(_) | Failure::Tls(_))
        )
    }
}

impl Post {
    /// A sender to this address. These authorities are trusted besides the system's.
    ///
    /// # Errors
    /// [`EgressError`] if TLS cannot be set up.
    pub fn new(url: Url, authorities: &[CertificateDer<'static>], clock: Clock) -> Result<Self, EgressError> {
        Ok(Self {
            direct: Direct::new(authorities)?,
            url,
            clock,
        })
    }

    /// The address.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Sends a body as the hub does.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn post(&self, body: impl Into<Bytes>) -> Result<Received, Unanswered> {
        self.send(Method::POST, CONTENT_TYPE, body.into(), ANSWER_WITHIN)
            .await
    }

    /// Sends a request with another method, type or patience.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn send(
        &self,
        method: Method,
        content_type: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<Received, Unanswered> {
        let mut request = self.direct.request(method.clone(), self.url.clone());
        if method != Method::GET {
            request = request.header(CONTENT_TYPE_HEADER, content_type).body(body);
        }
        let stopwatch = self.clock.stopwatch();
        let answered = tokio::time::timeout(within, async {
            let mut response = self.direct.send(request).await?;
            let status = response.status().as_u16();
            let content_type = response.headers().get(CONTENT_TYPE_HEADER);
            let content_type = content_type.and_then(|value| value.to_str().ok().map(str::to_owned));
            let mut body = Vec::new();
            let mut complete = true;
            while let Some(portion) = Direct::portion(&mut response).await? {
                let room = ANSWER_LIMIT - body.len();
                complete = portion.len() <= room;
                body.extend_from_slice(&portion[..portion.len().min(room)]);
                if !complete {
                    break;
                }
            }
            Ok(Received {
                status,
                content_type,
                body,
                complete,
                took: stopwatch.elapsed(),
            })
        });
        match answered.await {
            Err(_) => Err(Unanswered::TimedOut(within)),
            Ok(Err(failure)) => Err(Unanswered::Failed(failure)),
            Ok(Ok(received)) => Ok(received),
        }
    }
}

/// The beginning of what somebody else wrote, in one line.
pub fn excerpt(body: &[u8]) -> String {
    const SHOWN: usize = 240;
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * SHOWN)]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(SHOWN)
        .collect();
    if text.chars().count() > SHOWN || body.len() > 4 * SHOWN {
        shown.push('…');
    }
    shown
}
