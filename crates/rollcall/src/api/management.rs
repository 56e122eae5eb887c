//! The management API over HTTP: signed requests to `/`.
//!
//! A request is looked at in this order: whether it is signed with an access key that is good, whether it is of now,
//! whether it comes for the first time; then what it wants. What was signed is remembered in the database until no request
//! of that time is taken any more, so that neither another node nor a restart takes one again.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::{Api, REQUEST_ID, browser};
use crate::access::RateLimit;
use crate::accounts::tokens;
use crate::clock::Millis;
use crate::developer::{Desk, Refusal};
use crate::management::signature::{CONTENT_TYPE, Credential, SIGNED, Signed};
use crate::management::{self, VERSION, parameters};

/// How long a body may be.
const LARGEST: usize = 1 << 20;

/// How much a request's time may differ from ours.
const SKEW: Millis = 15 * 60 * 1_000;

/// How often one access key may call.
const LIMIT: RateLimit = RateLimit {
    per_second: 100,
    burst: 200,
};

/// Answers a call.
pub(super) async fn answer(State(api): State<Arc<Api>>, request: Request) -> Response {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let id = id.unwrap_or_default().to_owned();
    match call(&api, request).await {
        Ok(answer) => told(StatusCode::OK, &management::told(answer, &id), None),
        Err(refusal) => {
            let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let body = json!({ "Code": refusal.code, "Message": refusal.message, "RequestId": id });
            told(status, &body, refusal.retry_after)
        }
    }
}

fn told(status: StatusCode, body: &Value, retry_after: Option<u16>) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The value of a header; empty if there is none.
fn text(parts: &Parts, name: &str) -> String {
    let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn incomplete(message: impl Into<String>) -> Refusal {
    Refusal::other(400, "IncompleteSignature", message)
}

async fn call(api: &Api, request: Request) -> Result<Value, Refusal> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST).await;
    let body = body.map_err(|_| Refusal::body("the body is too large, or ended early"))?;
    let credential = Credential::read(&text(&parts, "authorization"))
        .ok_or_else(|| incomplete("sign the request with ACS3-HMAC-SHA256 and an access key of this hub"))?;
    if !credential.is_complete(!body.is_empty()) {
        return Err(incomplete(format!(
            "these headers have to be signed: {}; and {CONTENT_TYPE} if there is a body",
            SIGNED.join(", ")
        )));
    }
    let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map_err(|_| Refusal::body("the query cannot be read"))?
        .0;
    let (hub, now) = (&api.shared.hub, api.shared.hub.clock.now());
    let id = credential.key_id.clone();
    let key = hub.db.read(move |tx| tokens::access_key(tx, &id, now)).await?;
    let key = key.ok_or_else(Refusal::access_key)?;
    let secret = key
        .secret(&hub.master)
        .map_err(|error| Refusal::internal(error.to_string()))?;
    if !is_signed(&parts, &query, &credential, &secret, &body) {
        let message = "the signature is not that of this request under this access key's secret";
        return Err(Refusal::other(400, "SignatureDoesNotMatch", message));
    }
    drop(secret);
    check_time(&text(&parts, "x-acs-date"), now)?;
    let who = format!("token:{}", key.token.id);
    let left = api.limiter.take_within(LIMIT, &who, tokio::time::Instant::now());
    if !left.is_granted {
        return Err(Refusal::throttled(left.retry_after()));
    }
    let nonce = text(&parts, "x-acs-signature-nonce");
    management::take_once(hub, &key.token, nonce, now + 2 * SKEW).await?;
    if text(&parts, "x-acs-version") != VERSION {
        let message = format!("x-acs-version must be {VERSION}");
        return Err(Refusal::other(400, "InvalidVersion", message));
    }
    let mut pairs = query;
    if text(&parts, "content-type").starts_with("application/x-www-form-urlencoded") {
        pairs.extend(form_urlencoded::parse(&body).into_owned());
    }
    let given = parameters::read(&pairs)?;
    if given
        .some("instanceId")?
        .is_some_and(|instance| instance != hub.instance.id)
    {
        return Err(Refusal::instance());
    }
    let key = Arc::new(key);
    let desk = Desk::of_access_key(Arc::clone(&api.hall), Arc::clone(&key), browser::origin(&parts));
    management::call(&desk, &key, &text(&parts, "x-acs-action"), given).await
}

fn is_signed(
    parts: &Parts,
    query: &[(String, String)],
    credential: &Credential,
    secret: &[u8],
    body: &[u8],
) -> bool {
    let header = |name: &str| -> Vec<String> {
        let values = parts.headers.get_all(name).iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    };
    let signed = Signed {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query,
        header: &header,
    };
    signed.is_signed(credential, secret, body)
}

fn check_time(said: &str, now: Millis) -> Result<(), Refusal> {
    let at = said.parse::<jiff::Timestamp>().map_err(|_| {
        Refusal::other(
            400,
            "InvalidTimeStamp.Format",
            "x-acs-date must be such as 2026-11-29T17:00:00Z",
        )
    })?;
    match (at.as_millisecond() - now).abs() <= SKEW {
        true => Ok(()),
        false => Err(Refusal::other(
            400,
            "InvalidTimeStamp.Expired",
            "x-acs-date is more than 15 minutes from the hub's time: look at the clock of this machine",
        )),
    }
}
