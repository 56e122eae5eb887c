//! `Idempotency-Key`: a request that makes something is carried out once, however often it is sent.
//!
//! Whoever got no answer sends the same request again under the same key, within a day, and gets the answer that was
//! given. What holds then, also if the process died in between, says `once.rs`. An answer by which nothing was done is
//! not kept: the same request is judged anew.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Api, ApiError};
use crate::once::{self, Begun, Kept, Once};
use crate::signin::Access;

/// The header that bears the key.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says of an answer that it was given before.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// How long a body may be.
const LARGEST: usize = 2 << 20;

/// The key that a request bears, without the quotes that the draft of the standard wants around it.
fn key_of(request: &Request) -> Result<Option<String>, ApiError> {
    let Some(given) = request.headers().get(KEY) else {
        return Ok(None);
    };
    let text = given.to_str().unwrap_or_default();
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits {
        let message = "Idempotency-Key must hold 1 to 255 letters, digits and signs, without spaces";
        return Err(ApiError::bad_request(message));
    }
    Ok(Some(text.to_owned()))
}

/// Carries a request out, or gives the answer that it got before.
pub(super) async fn carry_out(
    api: &Api,
    access: &Access,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Some(key) = key_of(&request)? else {
        return Ok(next.run(request).await);
    };
    let hub = &api.shared.hub;
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST)
        .await
        .map_err(|_| ApiError::too_large("the body is larger than 2 MiB, or ended early"))?;
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let fingerprint = once::fingerprint(&[parts.method.as_str().as_bytes(), target.as_bytes(), &body]);
    let principal = access.principal.to_string();
    let once = match hub.begin_once(principal, key, fingerprint).await? {
        Begun::Now(once) => once,
        Begun::Answered(kept) => return Ok(again(kept)),
        Begun::Unanswered => {
            return Err(ApiError::conflict(
                "already_done",
                "this was done by an earlier request with this Idempotency-Key, whose answer is lost: look at what \
                 there is",
            ));
        }
        Begun::UnderWay => return Err(ApiError::under_way()),
        Begun::Other => {
            return Err(ApiError::other_request(
                "another request was sent with this Idempotency-Key; every request needs a key of its own",
            ));
        }
    };
    parts.extensions.insert(once.clone());
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    keep(api, once, response).await
}

fn again(kept: Kept) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (REPLAYED, HeaderValue::from_static("true")),
    ];
    (status, headers, kept.body).into_response()
}

/// Keeps an answer by which something was done.
async fn keep(api: &Api, once: Once, response: Response) -> Result<Response, ApiError> {
    let hub = &api.shared.hub;
    let status = response.status();
    if !status.is_success() {
        settle(hub.answer_once(once, None).await);
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX)
        .await
        .map_err(|error| ApiError::internal(error.to_string()))?;
    let kept = Kept {
        status: status.as_u16(),
        body: body.to_vec(),
    };
    settle(hub.answer_once(once, Some(kept)).await);
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// What was done stays done, whether or not its answer can be kept.
fn settle(kept: Result<(), rollcall_db::DbError>) {
    if let Err(error) = kept {
        tracing::warn!(%error, "what was answered under an idempotency key is not kept");
    }
}
