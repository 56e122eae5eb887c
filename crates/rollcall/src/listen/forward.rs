//! Handing a request on to the program under development, and its answer back.
//!
//! The body goes on byte for byte, and so do the headers, but for those that belong to one connection. There is one
//! address, the one that was typed; a redirect is an answer like others, and is not followed.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, Method};
use reqwest::Url;
use rollcall_protocol::ErrorAnswer;

use crate::clock::Clock;
use crate::delivery::egress::{ANSWER_LIMIT, ANSWER_WITHIN, Direct, EgressError};

/// Headers about one connection, or that the client sets by itself.
const OF_A_CONNECTION: [HeaderName; 10] = [
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Why requests cannot be handed on to an address.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// It is none.
    #[error("{0:?} is not an address to hand requests on to: {1}")]
    Address(String, String),
    /// The client cannot be made.
    #[error(transparent)]
    Client(#[from] EgressError),
}

/// The program under development.
#[derive(Clone, Debug)]
pub struct Forward {
    direct: Direct,
    url: Url,
    clock: Clock,
}

/// What the program has answered, or what is answered in its place.
#[derive(Clone, Debug)]
pub(super) struct Forwarded {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) took: Duration,
    /// Why there is no answer of the program.
    pub(super) failure: Option<String>,
}

impl Forward {
    /// Hands requests on to this address.
    ///
    /// # Errors
    /// [`ForwardError`].
    pub fn to(url: &str, clock: Clock) -> Result<Self, ForwardError> {
        let refused = |why: &dyn std::fmt::Display| ForwardError::Address(url.to_owned(), why.to_string());
        let parsed = Url::parse(url).map_err(|error| refused(&error))?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
            return Err(refused(&"it must begin with http:// or https://"));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(ForwardError::Address(
                "(with a password)".to_owned(),
                "others on this machine can see a password that is typed; leave it out".to_owned(),
            ));
        }
        Ok(Self {
            direct: Direct::new(&[])?,
            url: parsed,
            clock,
        })
    }

    /// The address.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Hands a request on, and waits for the answer as long as a hub would.
    pub(super) async fn send(&self, headers: &HeaderMap, body: Bytes) -> Forwarded {
        let watch = self.clock.stopwatch();
        let request = self
            .direct
            .request(Method::POST, self.url.clone())
            .headers(passed_on(headers))
            .body(body);
        let answer = async {
            let mut response = self.direct.send(request).await.map_err(|error| error.in_full())?;
            let mut body = Vec::new();
            while let Some(portion) = Direct::portion(&mut response)
                .await
                .map_err(|error| error.in_full())?
            {
                body.extend_from_slice(&portion);
                if body.len() > ANSWER_LIMIT {
                    return Err(format!(
                        "its answer is longer than {ANSWER_LIMIT} bytes, which hubs do not read"
                    ));
                }
            }
            Ok((response.status().as_u16(), passed_on(response.headers()), body))
        };
        let answered = tokio::time::timeout(ANSWER_WITHIN, answer).await;
        let took = watch.elapsed();
        let (status, failure) = match answered {
            Ok(Ok((status, headers, body))) => {
                return Forwarded {
                    status,
                    headers,
                    body: body.into(),
                    took,
                    failure: None,
                };
            }
            Ok(Err(failure)) => (502, failure),
            Err(_) => {
                let within = ANSWER_WITHIN.as_secs();
                (
                    504,
                    format!("no answer within {within} s, which is as long as a hub waits"),
                )
            }
        };
        let refusal = ErrorAnswer {
            error: "internal_error".to_owned(),
            error_description: Some(format!("the program under development: {failure}")),
        };
        Forwarded {
            status,
            headers: HeaderMap::new(),
            body: serde_json::to_vec(&refusal).unwrap_or_default().into(),
            took,
            failure: Some(failure),
        }
    }
}

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    for name in OF_A_CONNECTION {
        passed.remove(name);
    }
    passed.remove("keep-alive");
    passed
}
