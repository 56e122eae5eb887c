//! Every request is logged and measured, and has an id.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument as _, Span};

use super::{Api, REQUEST_ID, error};
use crate::clock::Stopwatch;
use crate::hub::Hub;
use crate::meter::RouteLabels;

/// What monitoring asks for.
const WATCHED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// How many bytes of randomness are drawn at once.
const DRAWN: usize = 1_024;

/// The ids of requests. Randomness is drawn for many of them at once, because that costs hardly more than for one.
#[derive(Debug, Default)]
pub(super) struct Ids(Mutex<Vec<u8>>);

impl Ids {
    fn next(&self, hub: &Hub) -> String {
        let mut bytes = [0; 16];
        {
            let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if drawn.len() < bytes.len() {
                drawn.resize(DRAWN, 0);
                hub.random.fill(&mut drawn);
            }
            let left = drawn.len() - bytes.len();
            bytes.copy_from_slice(&drawn[left..]);
            drawn.truncate(left);
        }
        crate::id::made_of("req", hub.clock.now(), bytes)
    }
}

/// A request that is being answered.
pub(super) struct Traced {
    /// Its id.
    pub(super) id: String,
    /// What is logged meanwhile belongs to it.
    pub(super) span: Span,
    header: Option<HeaderValue>,
    method: Method,
    route: Cow<'static, str>,
    watch: Stopwatch,
}

impl Traced {
    /// Begins with a request to a route.
    pub(super) fn begin(api: &Api, request: &Request, route: impl Into<Cow<'static, str>>) -> Self {
        let hub = &api.shared.hub;
        let given = request
            .headers()
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()))
            .map(str::to_owned);
        let id = given.unwrap_or_else(|| api.request_ids.next(hub));
        Self {
            span: tracing::info_span!("request", id = id.as_str()),
            header: HeaderValue::from_str(&id).ok(),
            id,
            method: request.method().clone(),
            route: route.into(),
            watch: hub.clock.stopwatch(),
        }
    }

    /// Ends with its answer. The route is logged, not the path, which may hold ids.
    pub(super) fn end(self, hub: &Hub, mut response: Response) -> Response {
        let Self {
            id,
            span,
            header,
            method,
            route,
            watch,
        } = self;
        let (status, took) = (response.status().as_u16(), watch.elapsed());
        let ms = took.as_secs_f64() * 1e3;
        // A stranger may send any word as the method. It is made fit to be shown only where it is.
        let shown = || rollcall_protocol::shown(method.as_str());
        span.in_scope(|| {
            // Whoever watches the hub asks every few seconds: that is worth a line only if it fails.
            if WATCHED.contains(&&*route) && status < 400 {
                tracing::debug!(method = shown(), route = &*route, status, ms, "answered");
            } else {
                tracing::info!(method = shown(), route = &*route, status, ms, "answered");
            }
        });
        hub.meters
            .http
            .get_or_create(&RouteLabels { route, status })
            .observe(took.as_secs_f64());
        error::name_request(&mut response, &id);
        if let Some(header) = header {
            response.headers_mut().insert(REQUEST_ID, header);
        }
        response
    }
}

/// Traces what has no other way to that. Those below find the id among the headers of the request.
pub(super) async fn layer(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let hub = &api.shared.hub;
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or(Cow::Borrowed("none"), |path| path.as_str().to_owned().into());
    let traced = Traced::begin(&api, &request, route);
    if let Some(header) = &traced.header {
        request.headers_mut().insert(REQUEST_ID, header.clone());
    }
    let response = next.run(request).instrument(traced.span.clone()).await;
    traced.end(hub, response)
}
