//! From a request to who gives the command: what the handlers that write hand to the doors.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::IF_MATCH;
use axum::http::request::Parts;
use rollcall_server::Client;

use super::{Api, ApiError, REQUEST_ID};
use crate::access::{Caller, Origin, Principal, Version};

/// The API, and who calls it. Only behind the check of the administrator's token.
pub(super) struct Door {
    pub(super) api: Arc<Api>,
    pub(super) caller: Caller,
}

impl Deref for Door {
    type Target = Arc<Api>;

    fn deref(&self) -> &Arc<Api> {
        &self.api
    }
}

impl FromRequestParts<Arc<Api>> for Door {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let request_id = parts.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let origin = Origin::Api {
            request_id: request_id.unwrap_or_default().to_owned(),
            address: Client::of(&parts.extensions).map(|client| client.address),
        };
        let principal = Principal::Token {
            id: "admin".to_owned(),
        };
        let caller = Caller {
            expected: expected(parts)?,
            ..Caller::from(principal).from_there(origin)
        };
        let api = Arc::clone(api);
        Ok(Self { api, caller })
    }
}

/// The version that the header `If-Match` names: the record's `updateTime`, in quotes or without.
fn expected(parts: &Parts) -> Result<Option<Version>, ApiError> {
    let Some(given) = parts.headers.get(IF_MATCH) else {
        return Ok(None);
    };
    let version = given
        .to_str()
        .ok()
        .and_then(|text| text.trim_matches('"').parse().ok());
    let refuse =
        || ApiError::bad_request("If-Match must hold the updateTime of the record that you have read");
    version.map(Some).ok_or_else(refuse)
}
