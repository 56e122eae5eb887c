//! Applications. `{id}` is an id or a name.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Hub;
use crate::api::door::Door;
use crate::api::extract::Path;
use crate::api::routes::Routes;
use crate::api::{Api, ApiError, Shown};
use crate::application::{Application, store};
use crate::delivery::ledger::attempts;
use crate::delivery::model::Attempt;
use crate::delivery::{connectivity, job};
use crate::why::{Why, why};

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get("/applications", "Lists applications.", list_applications)
        .get(
            "/applications/{id}",
            "Shows an application, by id or name.",
            show_application,
        )
        .post(
            "/applications/{id}/test",
            "Tests the connection to an application.",
            test_application,
        )
        .get(
            "/applications/{id}/attempts",
            "Lists the newest requests to an application.",
            list_attempts,
        )
        .get(
            "/applications/{id}/why/{user}",
            "Says why a user did or did not arrive.",
            explain,
        )
        .get(
            "/applications/{id}/synchronizations",
            "Lists the newest synchronizations.",
            list_jobs,
        )
        .post(
            "/applications/{id}/synchronizations",
            "Pushes everything.",
            synchronize,
        )
}

pub(super) async fn application(api: &Api, name: String) -> Result<Application, ApiError> {
    Ok(api.shared.hub.db.read(move |tx| store::find(tx, &name)).await?)
}

async fn list_applications(State(api): Hub) -> Shown<Vec<Application>> {
    Ok(Json(api.shared.hub.db.read(store::list).await?))
}

async fn show_application(State(api): Hub, Path(id): Path<String>) -> Shown<Application> {
    Ok(Json(application(&api, id).await?))
}

async fn test_application(State(api): Hub, Path(id): Path<String>) -> Shown<connectivity::Report> {
    let id = application(&api, id).await?.id;
    Ok(Json(connectivity::test(&api.shared, &id).await?))
}

async fn list_attempts(State(api): Hub, Path(id): Path<String>) -> Shown<Vec<Attempt>> {
    let id = application(&api, id).await?.id;
    let attempts = api
        .shared
        .hub
        .db
        .read(move |tx| attempts::newest(tx, &id, 0, 100))
        .await?;
    Ok(Json(attempts.into_iter().map(|(_, attempt)| attempt).collect()))
}

async fn synchronize(api: Door, Path(id): Path<String>) -> Shown<Value> {
    let hub = &api.shared.hub;
    let id = application(&api, id).await?.id;
    let job_id = hub
        .write_as(api.caller.clone(), move |tx, ctx| job::request_full(tx, ctx, &id))
        .await?;
    Ok(Json(json!({ "id": job_id })))
}

async fn list_jobs(State(api): Hub, Path(id): Path<String>) -> Shown<Vec<job::JobPosition>> {
    let id = application(&api, id).await?.id;
    Ok(Json(
        api.shared.hub.db.read(move |tx| job::newest(tx, &id, 20)).await?,
    ))
}

/// Why a user did or did not arrive.
async fn explain(State(api): Hub, Path((id, user)): Path<(String, String)>) -> Shown<Why> {
    let (hub, now) = (&api.shared.hub, api.shared.hub.clock.now());
    let page = hub.db.read(move |tx| why(tx, &user, &id, now)).await?;
    Ok(Json(page))
}
