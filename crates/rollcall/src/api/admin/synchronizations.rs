//! Synchronizations: everything is pushed to an application, or a change of scope is told.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};

use crate::access::Permission;
use crate::api::door::Door;
use crate::api::extract::Path;
use crate::api::paging::{Pages, Paging};
use crate::api::routes::Routes;
use crate::api::versions::{Record, Single};
use crate::api::{Api, ApiError, Shown};
use crate::delivery::job::{self, JobPosition};

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/applications/{id}/synchronizations",
            Permission::ReadDeliveries,
            "Lists the synchronizations of an application, the newest first.",
            list,
        )
        .post(
            "/applications/{id}/synchronizations",
            Permission::OperateApplications,
            "Pushes everything.",
            start,
        )
        .creating()
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

async fn list(api: Door, Path(id): Path<String>, paging: Paging<String>) -> Pages<JobPosition> {
    let id = api.application(id).await?.id;
    let (before, limit) = (paging.after.clone(), paging.limit + 1);
    let db = &api.shared.hub.db;
    let jobs = db.read(move |tx| job::page(tx, &id, before.as_deref(), limit));
    Ok(paging.page_of_more(jobs.await?, |job| job.id.clone()))
}

/// The synchronization that was begun or cancelled.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "SynchronizationId")]
pub(crate) struct Named {
    pub(crate) id: String,
}

async fn start(api: Door, Path(id): Path<String>) -> Shown<Named> {
    let id = api.application(id).await?.id;
    let hub = &api.shared.hub;
    let id = hub
        .write_as(api.caller.clone(), move |tx, ctx| job::request_full(tx, ctx, &id))
        .await?;
    Ok(Json(Named { id }))
}

async fn show(api: Door, Path((id, job)): Path<(String, String)>) -> Single<JobPosition> {
    let id = api.application(id).await?.id;
    let wanted = job.clone();
    let found = api
        .shared
        .hub
        .db
        .read(move |tx| job::of_application(tx, &id, &wanted));
    let found = found.await?;
    let missing = || ApiError::not_found(format!("this application has no synchronization {job:?}"));
    Ok(Record(found.ok_or_else(missing)?))
}

async fn cancel(api: Door, Path(id): Path<String>) -> Shown<Named> {
    let id = api.application(id).await?.id;
    let hub = &api.shared.hub;
    let id = hub
        .write_as(api.caller.clone(), move |tx, ctx| job::cancel(tx, ctx, &id))
        .await?;
    Ok(Json(Named { id }))
}
