//! The hub over HTTP: the public-key endpoint for applications, and the administrator's API.
//!
//! Every change comes in as the body of a command and goes through the directory's one door. The
//! administrator's API asks for a bearer token; the public-key endpoint and the health check do not.

mod admin;
mod door;
mod error;
mod metrics;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tracing::Instrument as _;

use crate::application::keys;
use crate::delivery::Shared;
use crate::meter::RouteLabels;
use crate::secret::AdminToken;
pub(crate) use admin::ShownChange;
pub use error::ApiError;

/// What the handlers share.
pub struct Api {
    /// The hub and its delivery.
    pub shared: Arc<Shared>,
    /// What an administrator must show.
    pub token: AdminToken,
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
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/v2/{instance_id}/{application_id}/provisioning/jwks", get(jwks))
        .nest("/api/v1", admin::router(&api))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), trace))
        .with_state(api)
}

/// How long the database has to answer for the hub to be ready.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// Whether the hub can do its work: the database answers. `/healthz` says only that the process lives.
async fn readyz(State(api): State<Arc<Api>>) -> Result<&'static str, ApiError> {
    let reading = api.shared.hub.db.read(crate::change::head);
    match tokio::time::timeout(READY_WITHIN, reading).await {
        Ok(Ok(_)) => Ok("ready\n"),
        Ok(Err(error)) => Err(ApiError::unavailable(format!(
            "the database does not answer: {error}"
        ))),
        Err(_) => Err(ApiError::unavailable("the database does not answer within 2 s")),
    }
}

/// The header that names a request in the log, also if the caller or a proxy has named it already.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Logs and measures every request. The route is logged, not the path, which may hold ids.
async fn trace(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let hub = &api.shared.hub;
    let given = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()))
        .map(str::to_owned);
    let id = given.unwrap_or_else(|| crate::id::make("req", hub.clock.now(), &*hub.random));
    let header = HeaderValue::from_str(&id).ok();
    if let Some(header) = &header {
        request.headers_mut().insert(REQUEST_ID, header.clone());
    }
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let watch = hub.clock.stopwatch();
    let span = tracing::info_span!("request", id);
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status().as_u16(), watch.elapsed());
    span.in_scope(|| {
        tracing::info!(%method, route, status, ms = took.as_secs_f64() * 1e3, "answered");
    });
    hub.meters
        .http
        .get_or_create(&RouteLabels { route, status })
        .observe(took.as_secs_f64());
    if let Some(header) = header {
        response.headers_mut().insert(REQUEST_ID, header);
    }
    response
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
