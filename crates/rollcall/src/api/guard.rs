//! Who asks, and whether he may: the one check before every route of the administrator's API.
//!
//! A request shows a bearer token (that of the file in the data folder, or one that was made) or the cookie of a session.
//! What the route asks for is declared with it (`routes.rs`).

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::Response;

use super::routes::Route;
use super::{Api, ApiError, browser};
use crate::access::Permission;
use crate::signin::Access;

/// What each route asks for, by its path and method.
pub(super) struct Guard(HashMap<(String, Method), Permission>);

impl Guard {
    pub(super) fn of(routes: &[Route]) -> Self {
        let asked = routes.iter().filter_map(|route| {
            let method = route.method().parse().ok()?;
            Some(((route.path().to_owned(), method), route.permission()))
        });
        Self(asked.collect())
    }

    fn asks_for(&self, request: &Request) -> Option<Permission> {
        let path = request.extensions().get::<MatchedPath>()?.as_str().to_owned();
        // Whoever answers GET answers HEAD.
        let method = match request.method() {
            &Method::HEAD => Method::GET,
            method => method.clone(),
        };
        self.0.get(&(path, method)).copied()
    }
}

/// Lets a request through to its route, with the [`Access`] of whoever asks.
pub(super) async fn authorize(
    State((api, guard)): State<(Arc<Api>, Arc<Guard>)>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let permission = guard
        .asks_for(&request)
        .ok_or_else(|| ApiError::internal("the route asks for no permission"))?;
    if permission == Permission::Anybody {
        return Ok(next.run(request).await);
    }
    let (mut parts, body) = request.into_parts();
    let access = match parts.headers.get(header::AUTHORIZATION) {
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
        None => match browser::session_token(&parts) {
            Some(shown) => api.sign_in.session(shown).await?,
            None => None,
        },
    };
    let access = access.ok_or_else(ApiError::unauthorized)?;
    let token = parts
        .headers
        .get(browser::CSRF)
        .and_then(|token| token.to_str().ok());
    browser::check_change(&parts, &access, token)?;
    access.allows(permission)?;
    parts.extensions.insert(Arc::new(access));
    Ok(next.run(Request::from_parts(parts, body)).await)
}
