//! The administrator's API, one file for each kind of resource.

mod applications;
mod groups;
mod keys;
mod logs;
mod units;
mod users;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::door::Door;
use super::routes::Routes;
use super::{Api, ApiError, PREFIX, Shown};
use crate::directory::{Applied, Command};
pub(crate) use logs::{Audited, ShownChange};

type Hub = State<Arc<Api>>;

pub(super) fn routes() -> Routes<Arc<Api>> {
    let resources = [
        users::add,
        units::add,
        groups::add,
        applications::add,
        keys::add,
        logs::add,
    ];
    resources
        .iter()
        .fold(Routes::below(PREFIX), |routes, add| add(routes))
}

pub(super) async fn authorize(State(api): Hub, request: Request, next: Next) -> Result<Response, ApiError> {
    let shown = request
        .headers()
        .get(axum::http::header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    match shown {
        Some(shown) if api.token.is(shown) => Ok(next.run(request).await),
        _ => Err(ApiError::unauthorized()),
    }
}

/// How many entries a page has if nobody says.
fn page_size() -> usize {
    100
}

async fn apply(door: &Door, command: Command) -> Shown<Applied> {
    Ok(Json(
        door.api.shared.hub.apply(door.caller.clone(), command).await?,
    ))
}
