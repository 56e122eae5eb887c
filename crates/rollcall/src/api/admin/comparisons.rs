//! Comparisons: what an application that takes SCIM has, against what it should have; and the repair of what differs.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};

use crate::access::Permission;
use crate::api::door::Door;
use crate::api::extract::{Body, Path, Query};
use crate::api::paging::{Pages, Paging};
use crate::api::routes::Routes;
use crate::api::versions::{Record, Single, Versioned};
use crate::api::{Api, ApiError, Shown};
use crate::delivery::comparison::{
    self, Comparison, ComparisonError, Difference, Kind, RepairPlan, Selection,
};

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/applications/{id}/comparison",
            Permission::ReadDeliveries,
            "Shows the newest comparison of an application: how far it is, and how much differs.",
            show,
        )
        .post(
            "/applications/{id}/comparison",
            Permission::OperateApplications,
            "Compares what an application that takes SCIM has with what it should have. Nothing is changed there.",
            start,
        )
        .creating()
        .post(
            "/applications/{id}/comparison/cancel",
            Permission::OperateApplications,
            "Breaks off the comparison that is under way.",
            cancel,
        )
        .get(
            "/applications/{id}/comparison/differences",
            Permission::ReadDeliveries,
            "Lists what differs, and what is foreign, of the newest comparison.",
            list,
        )
        .post(
            "/applications/{id}/comparison/repair",
            Permission::OperateApplications,
            "Repairs what is selected, by a synchronization that tells anew of it. What takes away more than the \
             thresholds allow is answered with its plan (428), and done with confirm and the token of the plan.",
            repair,
        )
}

impl Versioned for Comparison {}

async fn newest(api: &Door, id: String) -> Result<Comparison, ApiError> {
    let hub = &api.shared.hub;
    let now = hub.clock.now();
    let found = hub.db.read(move |tx| comparison::newest(tx, &id, now)).await?;
    found.ok_or_else(|| ApiError::not_found("this application was not compared yet"))
}

async fn show(api: Door, Path(id): Path<String>) -> Single<Comparison> {
    let id = api.application(id).await?.id;
    Ok(Record(newest(&api, id).await?))
}

/// The comparison that was begun or broken off.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ComparisonId")]
pub(crate) struct Named {
    pub(crate) id: String,
}

async fn start(api: Door, Path(id): Path<String>) -> Shown<Named> {
    let application = api.application(id).await?.id;
    let of = application.clone();
    let hub = &api.shared.hub;
    let begun = hub.write_as(api.caller.clone(), move |tx, ctx| comparison::begin(tx, ctx, &of));
    let id = begun.await?;
    tokio::spawn(comparison::run(Arc::clone(&api.shared), application, id.clone()));
    Ok(Json(Named { id }))
}

async fn cancel(api: Door, Path(id): Path<String>) -> Shown<Named> {
    let id = api.application(id).await?.id;
    let hub = &api.shared.hub;
    let cancelled = hub.write_as(api.caller.clone(), move |tx, ctx| {
        comparison::cancel(tx, ctx, &id)
    });
    Ok(Json(Named { id: cancelled.await? }))
}

/// Which differences are wanted.
#[derive(Deserialize, schemars::JsonSchema)]
struct OfKind {
    /// Only those of this kind.
    kind: Option<Kind>,
    /// Whether what is foreign is listed too.
    #[serde(default = "yes")]
    foreign: bool,
}

fn yes() -> bool {
    true
}

async fn list(
    api: Door,
    Path(id): Path<String>,
    paging: Paging<i64>,
    Query(wanted): Query<OfKind>,
) -> Pages<Difference> {
    let id = api.application(id).await?.id;
    let comparison = newest(&api, id).await?.id;
    let kinds = match (wanted.kind, wanted.foreign) {
        (Some(kind), _) => vec![kind],
        (None, true) => Vec::new(),
        (None, false) => Kind::DIFFERING.to_vec(),
    };
    let (after, limit) = (paging.after.unwrap_or_default(), paging.limit + 1);
    let found = api
        .shared
        .hub
        .db
        .read(move |tx| comparison::differences(tx, &comparison, &kinds, after, limit));
    Ok(paging.page_of_more(found.await?, |difference| difference.number))
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Confirmed {
    /// The token of the plan.
    confirm: Option<String>,
}

/// A repair that is under way.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Repair")]
#[serde(rename_all = "camelCase")]
pub(crate) struct Repairing {
    pub(crate) plan: RepairPlan,
    /// The synchronization that tells anew of those who are selected.
    pub(crate) synchronization: String,
}

async fn repair(
    api: Door,
    Path(id): Path<String>,
    Query(how): Query<Confirmed>,
    Body(selection): Body<Selection>,
) -> Shown<Repairing> {
    let id = api.application(id).await?.id;
    let hub = &api.shared.hub;
    let (of, wanted, now) = (id.clone(), selection.clone(), hub.clock.now());
    let plan = async || {
        let (id, wanted) = (of.clone(), wanted.clone());
        hub.db
            .read(move |tx| comparison::plan(tx, &id, &wanted, now))
            .await
    };
    match comparison::repair(hub, api.caller.clone(), &id, selection, how.confirm).await {
        Ok((plan, synchronization)) => Ok(Json(Repairing {
            plan,
            synchronization,
        })),
        Err(ComparisonError::Unconfirmed) => Err(ApiError::unconfirmed(&plan().await?)),
        Err(error) => match ApiError::from(error) {
            error if error.is_changed_plan() => Err(error.with_plan(&plan().await?)),
            error => Err(error),
        },
    }
}
