//! Answers and refusals as the official clients of the developer API read them.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::developer::Refusal;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What a call comes to.
pub(super) type Answered = Result<Answer, Refused>;

/// An answer: a body, or none.
#[derive(Debug)]
pub(super) struct Answer(Option<Bytes>);

impl Answer {
    /// With this body.
    pub(super) fn of(body: &impl Serialize) -> Answered {
        let body = serde_json::to_vec(body).map_err(|error| Refusal::internal(error.to_string()))?;
        Self::json(body.into())
    }

    /// With this body, which is JSON.
    pub(super) fn json(body: Bytes) -> Answered {
        Ok(Self(Some(body)))
    }

    /// It is done, and there is nothing to say.
    pub(super) fn done() -> Answered {
        Ok(Self(None))
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.0.map_or_else(Body::empty, Body::from));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// A refusal on its way: the id of the request is put into its body where that is known ([`name_request`]).
#[derive(Clone, Debug)]
pub(super) struct Refused(pub(super) Refusal);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = StatusCode::from_u16(self.0.status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of a refusal: `code`, `message` and `requestId`, and what OAuth calls them (RFC 6749, section 5.2).
pub(super) fn name_request(mut response: Response, request_id: &str) -> Response {
    let Some(Refused(refusal)) = response.extensions_mut().remove() else {
        return response;
    };
    let error = match refusal.code.as_ref() {
        "InvalidClient" => Some("invalid_client"),
        "UnsupportedGrantType" => Some("unsupported_grant_type"),
        _ => None,
    };
    let mut body = json!({
        "code": refusal.code,
        "message": refusal.message,
        "requestId": request_id,
    });
    if let Some(error) = error {
        body["error"] = error.into();
        body["error_description"] = refusal.message.into();
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if refusal.status == 401 {
        let scheme = HeaderValue::from_static("Bearer realm=\"rollcall\"");
        headers.insert(header::WWW_AUTHENTICATE, scheme);
    }
    if let Some(seconds) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    *response.body_mut() = Body::from(body.to_string());
    response
}
