//! The hub over HTTP: the public-key endpoint for applications, and the administrator's API.
//!
//! Every change comes in as the body of a command and goes through the directory's one door. The
//! administrator's API asks for a bearer token; the public-key endpoint and the health check do not.

mod admin;
mod error;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};

use crate::application::keys;
use crate::delivery::Shared;
use crate::secret::SecretString;
pub(crate) use admin::ShownChange;
pub use error::ApiError;

/// What the handlers share.
pub struct Api {
    /// The hub and its delivery.
    pub shared: Arc<Shared>,
    /// What an administrator must show.
    pub token: SecretString,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

type Shown<T> = Result<Json<T>, ApiError>;

/// All routes.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/v2/{instance_id}/{application_id}/provisioning/jwks", get(jwks))
        .nest("/api/v1", admin::router(&api))
        .with_state(api)
}

/// The public keys of an application (wire contract, section 2).
async fn jwks(
    State(api): State<Arc<Api>>,
    Path((instance_id, application_id)): Path<(String, String)>,
) -> Result<impl IntoResponse, ApiError> {
    let hub = &api.shared.hub;
    if instance_id != hub.instance.id {
        return Err(ApiError::not_found("there is no such instance"));
    }
    let now = hub.clock.now();
    let set = hub
        .db
        .read(move |tx| keys::jwks(tx, &application_id, now))
        .await?;
    if set.keys.is_empty() {
        return Err(ApiError::not_found("there is no such application"));
    }
    // Caches may keep it, but shorter than a new key waits before it signs.
    Ok(([(header::CACHE_CONTROL, "public, max-age=300")], Json(set)))
}
