//! Synchronizations: everything is pushed to an application, or a change of scope is told.

use std::sync::Arc;

use axum::Json;
use serde::Serialize;

use crate::access::Permission;
use crate::api::door::Door;
use crate::api::extract::Path;
use crate::api::routes::Routes;
use crate::api::{Api, ApiError, Shown};
use crate::delivery::job::{self, JobPosition};

/// How many are listed.
const NEWEST: usize = 20;

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/applications/{id}/synchronizations",
            Permission::ReadDeliveries,
            "Lists the newest synchronizations.",
            list,
        )
        .post(
            "/applications/{id}/synchronizations",
            Permission::OperateApplications,
            "Pushes everything.",
            start,
        )
        .get(
            "/applications/{id}/synchronizations/{job}",
            Permission::ReadDeliveries,
            "Shows a synchronization: how far it is, and what came of it.",
            show,
        )
        .post(
            "/applications/{id}/synchronizations/cancel",
            Permission::OperateApplications,
            "Cancels the synchronization that is under way. What was sent stays sent.",
            cancel,
        )
}

async fn list(api: Door, Path(id): Path<String>) -> Shown<Vec<JobPosition>> {
    let id = api.application(id).await?.id;
    let db = &api.shared.hub.db;
    Ok(Json(db.read(move |tx| job::newest(tx, &id, NEWEST)).await?))
}

/// The synchronization that was begun or cancelled.
#[derive(Serialize)]
struct Named {
    id: String,
}

async fn start(api: Door, Path(id): Path<String>) -> Shown<Named> {
    let id = api.application(id).await?.id;
    let hub = &api.shared.hub;
    let id = hub
        .write_as(api.caller.clone(), move |tx, ctx| job::request_full(tx, ctx, &id))
        .await?;
    Ok(Json(Named { id }))
}

async fn show(api: Door, Path((id, job)): Path<(String, String)>) -> Shown<JobPosition> {
    let id = api.application(id).await?.id;
    let wanted = job.clone();
    let found = api
        .shared
        .hub
        .db
        .read(move |tx| job::of_application(tx, &id, &wanted));
    let found = found.await?;
    let missing = || ApiError::not_found(format!("this application has no synchronization {job:?}"));
    Ok(Json(found.ok_or_else(missing)?))
}

async fn cancel(api: Door, Path(id): Path<String>) -> Shown<Named> {
    let id = api.application(id).await?.id;
    let hub = &api.shared.hub;
    let id = hub
        .write_as(api.caller.clone(), move |tx, ctx| job::cancel(tx, ctx, &id))
        .await?;
    Ok(Json(Named { id }))
}
