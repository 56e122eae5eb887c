//! Versions of records: the header `ETag` of what is shown, which `If-Match` holds a change to.

use axum::Json;
use axum::http::HeaderValue;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::ApiError;
use crate::access::Version;
use crate::accounts::Account;
use crate::accounts::tokens::ApiToken;
use crate::application::Application;
use crate::connection::Connection;
use crate::delivery::job::JobPosition;
use crate::directory::query::UnitAt;
use crate::directory::{Group, Unit, User};
use crate::id;

/// A record that has a version.
pub(super) trait Versioned: Serialize {
    /// Its version, without quotes: what `If-Match` may name. What never changes by a command has the hash of what is
    /// shown.
    fn version(&self) -> String {
        id::plan_token(&serde_json::to_string(self).unwrap_or_default())
    }
}

macro_rules! versioned {
    ($($record:ty: $field:ident)*) => {
        $(impl Versioned for $record {
            fn version(&self) -> String {
                self.$field.to_string()
            }
        })*
    };
}

versioned! {
    User: update_time
    Unit: update_time
    Group: update_time
    Account: update_time
    Application: update_time
    Connection: update_time
    ApiToken: create_time
}

impl Versioned for UnitAt {
    fn version(&self) -> String {
        self.unit.version()
    }
}

impl Versioned for JobPosition {}

/// A record that is shown with its version.
#[derive(Debug)]
pub(super) struct Record<T>(pub(super) T);

/// What handlers of single records answer.
pub(super) type Single<T> = Result<Record<T>, ApiError>;

impl<T: Versioned> IntoResponse for Record<T> {
    fn into_response(self) -> Response {
        let version = HeaderValue::from_str(&format!("\"{}\"", self.0.version()));
        let mut response = Json(self.0).into_response();
        if let Ok(version) = version {
            response.headers_mut().insert(ETAG, version);
        }
        response
    }
}

/// Reads what `If-Match` names: a version in quotes or without, or `*` for any.
pub(super) fn expected(given: &HeaderValue) -> Result<Option<Version>, ApiError> {
    let text = given.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let refuse = || {
        ApiError::bad_request(
            "If-Match must hold the ETag of the record that you have read, or its updateTime",
        )
    };
    text.trim_matches('"').parse().map(Some).map_err(|_| refuse())
}
