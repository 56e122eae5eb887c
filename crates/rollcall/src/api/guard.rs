//! Who asks, and whether he may: the one check before every route of the administrator's API.
//!
//! A request shows a bearer token (that of the file in the data folder, or one that was made) or the cookie of a session.
//! What the route asks for is declared with it (`routes.rs`).

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::routes::Route;
use super::{Api, ApiError, browser, idempotency, stale};
use crate::access::Permission;
use crate::signin::Access;

/// The routes, by their paths and methods.
pub(super) struct Guard(HashMap<(String, Method), Route>);

impl Guard {
    pub(super) fn of(routes: &[Route]) -> Self {
        let known = routes.iter().filter_map(|route| {
            let method = route.method().parse().ok()?;
            Some(((route.path().to_owned(), method), route.clone()))
        });
        Self(known.collect())
    }

    fn route(&self, request: &Request) -> Option<&Route> {
        let path = request.extensions().get::<MatchedPath>()?.as_str().to_owned();
        // Whoever answers GET answers HEAD.
        let method = match request.method() {
            &Method::HEAD => Method::GET,
            method => method.clone(),
        };
        self.0.get(&(path, method))
    }
}

/// Who asks.
async fn who(api: &Api, parts: &Parts) -> Result<Option<Access>, ApiError> {
    Ok(match parts.headers.get(header::AUTHORIZATION) {
        Some(shown) => {
            let shown = shown
                .to_str()
                .ok()
                .and_then(|shown| shown.strip_prefix("Bearer "));
            match shown {
                Some(shown) if api.token.is(shown) => Some(Access::machine()),
                Some(shown) => api.sign_in.token(shown).await?,
                None => None,
            }
        }
        None => match browser::session_token(parts) {
            Some(shown) => api.sign_in.session(shown).await?,
            None => None,
        },
    })
}

/// Lets a request through to its route, with the [`Access`] of whoever asks.
pub(super) async fn authorize(
    State((api, guard)): State<(Arc<Api>, Arc<Guard>)>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let route = guard
        .route(&request)
        .ok_or_else(|| ApiError::internal("the route asks for no permission"))?;
    let (parts, body) = request.into_parts();
    if route.permission() == Permission::Anybody {
        route.check(&parts)?;
        return Ok(next.run(Request::from_parts(parts, body)).await);
    }
    let access = who(&api, &parts).await?.ok_or_else(ApiError::unauthorized)?;
    let left = api
        .limiter
        .take(&access.principal.to_string(), tokio::time::Instant::now());
    let admitted = match left {
        Some(left) if !left.is_granted => Err(ApiError::too_many(left.retry_after())),
        _ => {
            admit(
                &api,
                route,
                Arc::new(access),
                Request::from_parts(parts, body),
                next,
            )
            .await
        }
    };
    let mut response = admitted.unwrap_or_else(ApiError::into_response);
    if let Some(left) = left {
        left.tell(response.headers_mut());
    }
    Ok(response)
}

/// Lets a request of somebody who is known through, if it may be made.
async fn admit(
    api: &Api,
    route: &Route,
    access: Arc<Access>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let token = parts
        .headers
        .get(browser::CSRF)
        .and_then(|token| token.to_str().ok());
    browser::check_change(&parts, &access, token)?;
    access.allows(route.permission())?;
    route.check(&parts)?;
    parts.extensions.insert(Arc::clone(&access));
    let request = Request::from_parts(parts, body);
    let response = match route.creates() {
        true => idempotency::carry_out(api, &access, request, next).await?,
        false => next.run(request).await,
    };
    stale::tell(api, &access, response).await
}
