//! Answers and errors as SCIM has them.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rollcall_scim::{Error, Object};
use serde_json::Value;

use crate::api::ApiError;
use crate::scim::{ScimError, version};

/// The type of all bodies.
const SCIM: HeaderValue = HeaderValue::from_static("application/scim+json");

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Option<Value>,
}

impl Answer {
    /// What is no resource that changes.
    pub(super) fn of(body: Value) -> Result<Self, Refused> {
        Ok(Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Some(body),
        })
    }

    /// Nothing to be said: it is done.
    pub(super) fn nothing() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            headers: HeaderMap::new(),
            body: None,
        }
    }

    /// The client has what it asks for.
    pub(super) fn unchanged(tag: String) -> Self {
        let mut headers = HeaderMap::new();
        headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
        Self {
            status: StatusCode::NOT_MODIFIED,
            headers,
            body: None,
        }
    }

    /// A resource, and what of it is shown.
    pub(super) fn resource(status: u16, resource: &Object, shown: Object, is_new: bool) -> Self {
        let mut headers = HeaderMap::new();
        let tag = HeaderValue::from_str(version(resource)).ok();
        headers.extend(tag.filter(|tag| !tag.is_empty()).map(|tag| (header::ETAG, tag)));
        let meta = resource.get("meta").and_then(|meta| meta.get("location"));
        if let Some(location) = meta
            .and_then(Value::as_str)
            .and_then(|location| HeaderValue::from_str(location).ok())
        {
            let name = if is_new {
                header::LOCATION
            } else {
                header::CONTENT_LOCATION
            };
            headers.insert(name, location);
        }
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::OK),
            headers,
            body: Some(Value::Object(shown)),
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            None => Response::new(Body::empty()),
            Some(body) => {
                let mut response = Response::new(Body::from(body.to_string()));
                response.headers_mut().insert(header::CONTENT_TYPE, SCIM);
                response
            }
        };
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response
    }
}

/// A request that is not carried out.
#[derive(Debug)]
pub(super) struct Refused {
    error: Error,
    /// In how many seconds it is worth another try.
    retry_after: Option<u16>,
}

impl Refused {
    /// No connection that is known.
    pub(super) fn unauthorized() -> Self {
        let detail =
            "send the header Authorization: Bearer TOKEN, with a token of this connection that is good";
        Error::status(401, detail).into()
    }

    /// More requests than the connection may send.
    pub(super) fn too_many(retry_after: u16) -> Self {
        let detail = "these are more requests than this connection may send; Retry-After says when another one is \
                      worth a try";
        Self {
            error: Error::status(429, detail),
            retry_after: Some(retry_after),
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self {
            error,
            retry_after: None,
        }
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self {
            error: Error::status(error.status().as_u16(), error.message()),
            retry_after: error.retry_after(),
        }
    }
}

impl From<ScimError> for Refused {
    fn from(error: ScimError) -> Self {
        match error {
            ScimError::Said(error) => error.into(),
            ScimError::Database(error) => error.into(),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let answer = Answer {
            status,
            headers: HeaderMap::new(),
            body: Some(self.error.to_json()),
        };
        let mut response = answer.into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"rollcall\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
