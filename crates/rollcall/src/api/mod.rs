//! The hub over HTTP: the public-key endpoint and the developer API for applications, the administrator's API, and SCIM
//! for connections.
//!
//! Every change comes in as the body of a command and goes through one of the doors. The administrator's API asks who
//! is there (`guard.rs`); the public-key endpoint and the health check do not.

mod admin;
pub mod bodies;
pub mod browser;
mod describe;
mod developer;
mod document;
mod door;
mod error;
mod extract;
mod guard;
mod idempotency;
mod limit;
mod management;
mod metrics;
mod paging;
mod routes;
mod scim;
mod shape;
mod stale;
mod traced;
mod versions;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use rollcall_server::Tls;
use rollcall_server::health::{Part, Readiness};
use rollcall_server::kept::Kept;
use serde_json::json;

use crate::access::RateLimit;
use crate::application::keys;
use crate::delivery::Shared;
use crate::developer::Hall;
use crate::health;
use crate::maintenance::Upkeep;
use crate::secret::AdminToken;
use crate::signin::SignIn;
use crate::signin::oidc::Provider;
pub(crate) use admin::{
    AddressedConnection, ChangedApplication, ComparisonId, DetailedApplication, DeveloperAccess,
    DismissedEvents, EXPORTED, Ended, FreshAccount, FreshClientSecret, FreshConnectionToken, FreshToken,
    ImportStep, LARGEST, LATELY, ListedApplication, NamedScope, NumberedAttempt, Previews, PushedEvents,
    Repairing, ScopeChanged, ShownChange, SigningKeys, SkippedEvent, SynchronizationId, portions,
};
pub use developer::declared as developer_calls;
use document::Described;
pub use error::ApiError;
use extract::Path;
use guard::Guard;
pub(crate) use idempotency::KEY as IDEMPOTENCY_KEY;
use limit::Limiter;
pub(crate) use paging::{MOST, Page, encoded};
use routes::Route;
pub use scim::declared as scim_routes;

/// What the handlers share.
pub struct Api {
    /// The hub and its delivery.
    pub shared: Arc<Shared>,
    /// Where the calls of applications come in.
    pub hall: Arc<Hall>,
    /// Its maintenance.
    pub upkeep: Arc<Upkeep>,
    /// What the machine's own administrator shows.
    pub token: AdminToken,
    /// Who signs in, and who has.
    pub sign_in: SignIn,
    /// The certificate, if the hub encrypts by itself.
    tls: Option<Arc<Tls>>,
    limiter: Limiter,
    request_ids: traced::Ids,
    readiness: Readiness,
    metrics: Kept<String>,
}

impl Api {
    /// Of a hub with its delivery and its maintenance.
    pub fn new(shared: Arc<Shared>, upkeep: Arc<Upkeep>, token: AdminToken) -> Self {
        Self {
            sign_in: SignIn::new(shared.hub.clone(), upkeep.sessions()),
            hall: Arc::new(Hall::new(shared.hub.clone())),
            shared,
            upkeep,
            token,
            tls: None,
            limiter: Limiter::new(None),
            request_ids: traced::Ids::default(),
            readiness: Readiness::default(),
            metrics: Kept::default(),
        }
    }

    /// The same, where people may sign in at a provider too.
    #[must_use]
    pub fn with_provider(self, provider: Option<Provider>) -> Self {
        Self {
            sign_in: self.sign_in.with_provider(provider),
            ..self
        }
    }

    /// The same, over this certificate.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// The same, with a limit on what each caller may ask for.
    #[must_use]
    pub fn with_rate_limit(self, limit: Option<RateLimit>) -> Self {
        Self {
            limiter: Limiter::new(limit),
            ..self
        }
    }
}

impl Api {
    /// The parts of this process, and how each is.
    async fn parts(&self) -> Vec<Part> {
        let mut parts = health::look(&self.shared, &self.upkeep).await;
        let now = self.shared.hub.clock.now() / 1_000;
        parts.extend(self.tls.as_ref().map(|tls| tls.part(now)));
        parts
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

type Shown<T> = Result<Json<T>, ApiError>;

/// Where the administrator's API begins.
pub(crate) const PREFIX: &str = "/api/v1";

/// All routes.
pub fn router(api: Arc<Api>) -> Router {
    router_with(api, Router::new())
}

/// All routes, with pages beside them: those of the console, which stands above this module. They are logged and
/// measured like everything else, and see to it themselves who may ask for them.
pub fn router_with(api: Arc<Api>, pages: Router) -> Router {
    let (admin, described) = admin::routes().done();
    let described: Arc<[Route]> = described.into();
    let guard = Arc::new(Guard::of(&described));
    let index = Arc::clone(&described);
    let description = Arc::new(Described::of(&described));
    let page = Arc::clone(&description);
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/", post(management::answer))
        .route("/v2/{instance_id}/{application_id}/provisioning/jwks", get(jwks))
        .nest(
            PREFIX,
            admin.route_layer(middleware::from_fn_with_state(
                (Arc::clone(&api), guard),
                guard::authorize,
            )),
        )
        .nest(scim::PREFIX, scim::router(Arc::clone(&api)))
        .nest(developer::PREFIX, developer::nothing())
        .route(PREFIX, get(async move || describe(&index)))
        .route(
            &format!("{PREFIX}{}", document::DOCUMENT),
            get(async move || description.document()),
        )
        .route(
            &format!("{PREFIX}{}", document::PAGE),
            get(async move || page.page()),
        )
        .route(
            &format!("{PREFIX}{}", document::STYLE),
            get(async || Described::style()),
        )
        .merge(pages.with_state(()))
        .fallback(async move |request: Request| unknown(&described, request.uri().path()))
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&api), traced::layer))
        // They are traced too, but not by a layer.
        .merge(developer::router())
        .with_state(api)
}

/// What the administrator's API has. It is no secret, so no token is asked for.
fn describe(routes: &[Route]) -> Response {
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "authorization": "Bearer, with a token that an administrator has made or that of admin.token in the hub's data folder; or the cookie that POST /api/v1/session gives",
        "openapi": format!("{PREFIX}{}", document::DOCUMENT),
        "docs": format!("{PREFIX}{}", document::PAGE),
        "routes": routes,
    }))
    .into_response()
}

/// There is nothing at a path: says what there is near it.
fn unknown(routes: &[Route], path: &str) -> Response {
    let mut parts = path.strip_prefix(PREFIX).unwrap_or_default().split('/').skip(1);
    let collection = format!("{PREFIX}/{}", parts.next().unwrap_or_default());
    let is_near = |route: &&Route| {
        let rest = route.path().strip_prefix(collection.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let near: BTreeSet<&str> = routes.iter().filter(is_near).map(Route::path).collect();
    let description = if near.is_empty() {
        format!("there is nothing at this path; GET {PREFIX} lists what the administrator's API has")
    } else {
        let near = Vec::from_iter(near).join(", ");
        format!("there is nothing at this path; there are {near}")
    };
    ApiError::not_found(description).into_response()
}

async fn wrong_method() -> ApiError {
    ApiError::method_not_allowed(format!(
        "this path does not have this method; the header Allow names those that it has, and GET {PREFIX} what they do"
    ))
}

/// Whether the hub can do its work, and what to do if it cannot. `/healthz` says only that the process lives.
async fn readyz(State(api): State<Arc<Api>>) -> Response {
    let report = api.readiness.report(api.parts()).await;
    report.as_ref().into_response()
}

/// The header that names a request in the log, also if the caller or a proxy has named it already.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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
