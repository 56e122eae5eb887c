//! What a request brings, with faults told in the API's own form: what is wrong, and where.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ApiError, shape};

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + JsonSchema, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let whole = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await;
        let whole = whole.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(TOO_LARGE),
            _ => ApiError::bad_request(rejection.body_text()),
        })?;
        // The reader passes over what nobody asks for, without a look at its bytes (RFC 8259, section 8.1).
        if std::str::from_utf8(&whole).is_err() {
            return Err(ApiError::bad_request("the body is not JSON: it is not UTF-8"));
        }
        let first = whole.iter().find(|byte| !byte.is_ascii_whitespace()).copied();
        let request = Request::from_parts(parts, whole.clone().into());
        match Json::from_request(request, state).await {
            Ok(Json(_)) if first != Some(b'{') => {
                Err(ApiError::bad_request("the body: it must be an object"))
            }
            Ok(Json(body)) => {
                // Most bodies have no list at all.
                if whole.contains(&b'[') {
                    let value = serde_json::from_slice(&whole)
                        .map_err(|error| ApiError::bad_request(format!("the body is not JSON: {error}")))?;
                    held::<T>(&value)?;
                }
                Ok(Self(body))
            }
            Err(rejection) => Err(refuse(&rejection)),
        }
    }
}

/// Refuses a list in whose place an object is documented.
fn held<T: JsonSchema>(body: &Value) -> Result<(), ApiError> {
    match shape::misplaced_list::<T>(body) {
        Some(at) => Err(ApiError::bad_request(format!(
            "the body: {at}: it must be an object"
        ))),
        None => Ok(()),
    }
}

/// What is said of a body that nobody reads.
const TOO_LARGE: &str = "the body is larger than 2 MiB";

/// A body that is read field by field.
pub(super) trait FromFields: JsonSchema + Sized {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong, and where.
    fn from_fields(fields: Map<String, Value>) -> Result<Self, ApiError>;
}

/// What is read from some fields of a body.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn from_some<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(Value::Object(fields))
        .map_err(|error| ApiError::bad_request(format!("the body: {error}")))
}

/// A JSON body whose fields are read one by one.
pub(super) struct Fields<T>(pub(super) T);

impl<T: FromFields, S: Send + Sync> FromRequest<S> for Fields<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let Body(fields) = Body::from_request(request, state).await?;
        let whole = Value::Object(fields);
        held::<T>(&whole)?;
        let Value::Object(fields) = whole else {
            return Err(ApiError::bad_request("the body: it must be an object"));
        };
        T::from_fields(fields).map(Self)
    }
}

/// Reads a body as a handler that takes it would.
///
/// # Errors
/// What the handler's caller would be told.
pub(super) fn read<E: FromRequest<(), Rejection = ApiError>>(body: Bytes) -> Result<(), ApiError> {
    let mut request = Request::new(body.into());
    let kind = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, kind);
    let reading = pin!(E::from_request(request, &()));
    // The whole body is there, so that there is nothing to wait for.
    match reading.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read.map(drop),
        Poll::Pending => Err(ApiError::internal("a body that is there was waited for")),
    }
}

fn refuse(rejection: &JsonRejection) -> ApiError {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => {
            ApiError::unsupported("send a JSON body with the header Content-Type: application/json")
        }
        JsonRejection::JsonDataError(error) => ApiError::bad_request(format!("the body: {}", cause(error))),
        JsonRejection::JsonSyntaxError(error) => {
            ApiError::bad_request(format!("the body is not JSON: {}", cause(error)))
        }
        other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(TOO_LARGE),
        other => ApiError::bad_request(other.body_text()),
    }
}

/// What lies under an error: the library's own sentence around it tells nobody anything.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    let mut sentence = None;
    while let Some(source) = innermost.source() {
        innermost = source;
        // The one with the path of the field is above the one that it quotes.
        let text = source.to_string();
        if sentence
            .as_ref()
            .is_none_or(|known: &String| text.ends_with(known.as_str()))
        {
            sentence = Some(text);
        }
    }
    sentence.unwrap_or_else(|| error.to_string())
}

/// What stands behind the question mark.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query: Result<_, QueryRejection> =
            axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|rejection| ApiError::bad_request(format!("the query: {}", cause(&rejection))))
    }
}

/// The parts of the path.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path: Result<_, PathRejection> = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(path)| Self(path))
            .map_err(|rejection| ApiError::bad_request(format!("the path: {}", cause(&rejection))))
    }
}
