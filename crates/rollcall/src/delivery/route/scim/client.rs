//! The way to a SCIM application: over the egress, at its pace, with a token that is got anew where that helps.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use reqwest::{Method as HttpMethod, Url};
use rollcall_protocol::Foreign;
use rollcall_scim::client::{Call, Method, Profile, Reply};

use super::token::Tokens;
use crate::clock::Clock;
use crate::delivery::egress::failure::{Failure, Form};
use crate::delivery::egress::{self, ANSWER_LIMIT, Egress, Question};
use crate::delivery::model::shorten;
use crate::pace::Pace;

/// The kind of all bodies (RFC 7644, section 8.1).
const KIND: &str = "application/scim+json";

/// How many bytes a page of a list may have, or a group with its members: more is not kept in memory at once.
pub const LARGE: usize = 16 << 20;

/// How much time lies between two requests to a service provider.
pub fn between(profile: &Profile) -> Option<Duration> {
    let rate = profile.rate?;
    Some(Duration::from_secs(u64::from(rate.seconds)) / rate.requests.max(1))
}

/// Sends requests to one application.
#[derive(Debug)]
pub struct Client {
    base_url: Url,
    tokens: Tokens,
    pace: Arc<Pace>,
}

/// An answer, and what it is as a failure if it says nothing of the object that it is about.
#[derive(Debug)]
pub struct Answer {
    /// As the client of SCIM reads it.
    pub reply: Reply,
    /// Whether all of it was read; it may be too large.
    pub complete: bool,
    /// As delivery tells of it.
    pub failure: Option<Failure>,
}

impl Client {
    /// Requests go below the base URL, whose path ends with a slash.
    pub fn new(base_url: Url, tokens: Tokens, pace: Arc<Pace>) -> Self {
        Self {
            base_url,
            tokens,
            pace,
        }
    }

    /// Sends a request. If its token is refused, a new one is tried once.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn send(&self, egress: &Egress, clock: &Clock, call: &Call) -> Result<Answer, Failure> {
        let always = || Ok::<_, Failure>(());
        self.send_while(egress, clock, call, ANSWER_LIMIT, always).await
    }

    /// Sends a request unless a check forbids it, which is made until the moment at which it goes: for its turn, and for
    /// a token, it may have to wait for long. No more than so many bytes of the answer are read.
    ///
    /// # Errors
    /// What the check says, or why there is no answer.
    pub async fn send_while<E: From<Failure>>(
        &self,
        egress: &Egress,
        clock: &Clock,
        call: &Call,
        at_most: usize,
        check: impl Fn() -> Result<(), E>,
    ) -> Result<Answer, E> {
        let url = self.url(call)?;
        let body = match &call.body {
            Some(body) => Bytes::from(body.to_string()),
            None => Bytes::new(),
        };
        let mut renewed = false;
        loop {
            self.pace.wait_while(&check).await?;
            let header = self.tokens.header(egress, clock.now()).await?;
            check()?;
            let question = Question {
                method: method(call.method),
                url: &url,
                body: call.body.is_some().then(|| (KIND, body.clone())),
                authorization: Some(header.clone()),
                if_match: call.if_match.as_deref(),
                accept: KIND,
                at_most,
            };
            let reply = egress.ask(question).await?;
            if reply.status == 401 && !renewed && self.tokens.forget(&header).await {
                renewed = true;
                continue;
            }
            return Ok(answer(reply));
        }
    }

    fn url(&self, call: &Call) -> Result<Url, Failure> {
        let mut url = self.base_url.clone();
        {
            let path = url.path_segments_mut();
            let mut path = path.map_err(|()| Failure::Unsealed("the base URL has no path".to_owned()))?;
            path.pop_if_empty().push(&call.endpoint);
            if let Some(id) = &call.id {
                path.push(id);
            }
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        Ok(url)
    }
}

fn method(method: Method) -> HttpMethod {
    match method {
        Method::Get => HttpMethod::GET,
        Method::Post => HttpMethod::POST,
        Method::Put => HttpMethod::PUT,
        Method::Patch => HttpMethod::PATCH,
        Method::Delete => HttpMethod::DELETE,
    }
}

fn answer(reply: egress::Reply) -> Answer {
    let body: Option<serde_json::Value> = match reply.complete {
        true => serde_json::from_slice(&reply.body).ok(),
        false => None,
    };
    let failure = (!matches!(reply.status, 200..300)).then(|| {
        let detail = body
            .as_ref()
            .and_then(|body| body.get("detail")?.as_str().map(str::to_owned));
        let text = || String::from_utf8_lossy(&reply.body).trim().to_owned();
        let said = match reply.status {
            300..400 => reply.location.as_ref().map(|location| format!("to {location}")),
            _ => Some(detail.clone().unwrap_or_else(text)),
        };
        Failure::Status {
            status: reply.status,
            said: said.filter(|said| !said.is_empty()).map(|said| shorten(&said)),
            form: match detail {
                Some(error) => Form::Protocol {
                    error: shorten(&error),
                },
                None => Form::Foreign(Foreign::of(&reply.body)),
            },
            retry_after: reply.retry_after,
        }
    });
    Answer {
        reply: Reply {
            status: reply.status,
            body,
            etag: reply.etag,
            location: reply.location,
        },
        complete: reply.complete,
        failure,
    }
}
