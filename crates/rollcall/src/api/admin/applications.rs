//! Applications. `{id}` is an id or a name.

use std::sync::Arc;

use axum::Json;
use serde_json::{Value, json};

use crate::access::Permission;
use crate::api::door::Door;
use crate::api::extract::Path;
use crate::api::routes::Routes;
use crate::api::{Api, Shown};
use crate::application::{Application, store};
use crate::delivery::ledger::attempts;
use crate::delivery::model::Attempt;
use crate::delivery::{connectivity, job};
use crate::why::{Why, why, why_seen};

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/applications",
            Permission::ReadApplications,
            "Lists applications.",
            list_applications,
        )
        .get(
            "/applications/{id}",
            Permission::ReadApplications,
            "Shows an application, by id or name.",
            show_application,
        )
        .post(
            "/applications/{id}/test",
            Permission::OperateApplications,
            "Tests the connection to an application.",
            test_application,
        )
        .get(
            "/applications/{id}/attempts",
            Permission::ReadDeliveries,
            "Lists the newest requests to an application.",
            list_attempts,
        )
        .get(
            "/applications/{id}/why/{user}",
            Permission::ReadDeliveries,
            "Says why a user did or did not arrive.",
            explain,
        )
        .get(
            "/applications/{id}/synchronizations",
            Permission::ReadDeliveries,
            "Lists the newest synchronizations.",
            list_jobs,
        )
        .post(
            "/applications/{id}/synchronizations",
            Permission::OperateApplications,
            "Pushes everything.",
            synchronize,
        )
}

async fn list_applications(api: Door) -> Shown<Vec<Application>> {
    let mut applications = api.shared.hub.db.read(store::list).await?;
    applications.retain(|application| api.access.role.reaches(&application.id));
    Ok(Json(applications))
}

async fn show_application(api: Door, Path(id): Path<String>) -> Shown<Application> {
    Ok(Json(api.application(id).await?))
}

async fn test_application(api: Door, Path(id): Path<String>) -> Shown<connectivity::Report> {
    let id = api.application(id).await?.id;
    Ok(Json(connectivity::test(&api.shared, &id).await?))
}

async fn list_attempts(api: Door, Path(id): Path<String>) -> Shown<Vec<Attempt>> {
    let id = api.application(id).await?.id;
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
    let id = api.application(id).await?.id;
    let job_id = hub
        .write_as(api.caller.clone(), move |tx, ctx| job::request_full(tx, ctx, &id))
        .await?;
    Ok(Json(json!({ "id": job_id })))
}

async fn list_jobs(api: Door, Path(id): Path<String>) -> Shown<Vec<job::JobPosition>> {
    let id = api.application(id).await?.id;
    Ok(Json(
        api.shared.hub.db.read(move |tx| job::newest(tx, &id, 20)).await?,
    ))
}

/// Why a user did or did not arrive.
async fn explain(api: Door, Path((id, user)): Path<(String, String)>) -> Shown<Why> {
    let (hub, now) = (&api.shared.hub, api.shared.hub.clock.now());
    let id = api.application(id).await?.id;
    let page = match api.sight().await? {
        None => hub.db.read(move |tx| why(tx, &user, &id, now)).await?,
        Some(sight) => {
            hub.db
                .read(move |tx| why_seen(tx, &sight, &user, &id, now))
                .await?
        }
    };
    Ok(Json(page))
}
