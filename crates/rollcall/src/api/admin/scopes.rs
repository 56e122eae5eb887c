//! What an application is told of: its scope and its subscription. A change shows a plan first, whose token confirms it.

use std::sync::Arc;

use axum::Json;
use rollcall_db::{DbError, Tx};
use rollcall_protocol::EventType;
use serde::{Deserialize, Serialize};

use crate::access::Permission;
use crate::api::door::Door;
use crate::api::error::ApiError;
use crate::api::extract::{Body, Path, Query};
use crate::api::routes::Routes;
use crate::api::{self, Api};
use crate::application::command::{SubscriptionPlan, plan_subscription};
use crate::application::entitlement::subscribable;
use crate::application::written::{Names, ScopeChange, ScopeNames, SetChange};
use crate::application::{Command, Edit, Entitlements, Scope, Subscription};
use crate::delivery::job;
use crate::directory::Sight;

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/applications/{id}/scope",
            Permission::ReadApplications,
            "Shows the synchronization scope of an application, and the events that it wants.",
            show,
        )
        .patch(
            "/applications/{id}/scope",
            Permission::ConfigureApplications,
            "Changes the scope: without confirm it answers who would enter and who would leave (428), with the token of \
             that plan it is done.",
            change_scope,
        )
        .versioned()
        .patch(
            "/applications/{id}/subscription",
            Permission::ConfigureApplications,
            "Changes which events are wanted: without confirm it answers the plan (428), with its token it is done.",
            change_subscription,
        )
        .versioned()
}

/// A scope, with the names of what it holds.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "NamedScope")]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) scope: Scope,
    /// Paths of units, names of groups; `everything` for the root unit.
    pub(crate) names: Vec<String>,
}

impl Shown {
    pub(super) fn of(tx: &mut Tx<'_>, sight: &Sight, scope: Scope) -> Result<Self, DbError> {
        let names = Names::seen(tx, sight, [&scope])?;
        Ok(Self::named(&names, scope))
    }

    pub(super) fn named(names: &Names, scope: Scope) -> Self {
        let names = names.of(&scope);
        Self { scope, names }
    }
}

/// What an application is told of.
#[derive(Serialize, schemars::JsonSchema)]
struct Entitled {
    scope: Shown,
    subscription: Subscription,
}

async fn show(api: Door, Path(id): Path<String>) -> api::Shown<Entitled> {
    let id = api.application(id).await?.id;
    let entitled = api.look(move |tx, sight| {
        let current = Entitlements::load(tx, &id)?.current().clone();
        Ok(Entitled {
            scope: Shown::of(tx, sight, current.scope)?,
            subscription: current.subscription,
        })
    });
    Ok(Json(entitled.await?))
}

/// What is written, or else the whole directory.
pub(super) fn or_everything(written: Option<ScopeNames>) -> ScopeNames {
    written.unwrap_or_else(|| ScopeNames {
        organizational_units: Scope::everything().organizational_unit_ids.into_iter().collect(),
        groups: Vec::new(),
    })
}

/// Refuses a change that says two things of a set.
fn check(change: &SetChange, name: &str) -> Result<(), ApiError> {
    if change.set.is_some() && !(change.add.is_empty() && change.remove.is_empty()) {
        let message = format!("the body: {name}: give set, or add and remove");
        return Err(ApiError::bad_request(message));
    }
    Ok(())
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Confirmed {
    /// The token of the plan.
    confirm: Option<String>,
}

/// A change of scope that is under way.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScopeChanged {
    pub(crate) plan: job::Plan,
    /// The synchronization that tells who leaves and who enters; `None` if the scope was so already.
    pub(crate) synchronization: Option<String>,
}

async fn change_scope(
    api: Door,
    Path(id): Path<String>,
    Query(how): Query<Confirmed>,
    Body(change): Body<ScopeChange>,
) -> api::Shown<ScopeChanged> {
    let id = api.held_application(id).await?.id;
    check(&change.organizational_units, "organizationalUnits")?;
    check(&change.groups, "groups")?;
    let hub = &api.shared.hub;
    let edit = hub.db.read(move |tx| change.read(tx)).await?;
    let (of, wanted) = (id.clone(), edit.clone());
    let plan = async || {
        let (id, edit) = (of.clone(), wanted.clone());
        hub.db.read(move |tx| job::plan(tx, &id, &edit)).await
    };
    let Some(token) = how.confirm else {
        let plan = plan().await?;
        if plan.is_empty() {
            return Ok(Json(ScopeChanged {
                plan,
                synchronization: None,
            }));
        }
        return Err(ApiError::unconfirmed(&plan));
    };
    let changed = job::change_scope(hub, api.caller.clone(), &id, edit, Some(token)).await;
    match changed.map_err(ApiError::from) {
        Ok((done, job_id)) => Ok(Json(ScopeChanged {
            synchronization: Some(job_id).filter(|_| !done.is_empty()),
            plan: done,
        })),
        Err(error) if error.is_changed_plan() => Err(error.with_plan(&plan().await?)),
        Err(error) => Err(error),
    }
}

async fn change_subscription(
    api: Door,
    Path(id): Path<String>,
    Query(how): Query<Confirmed>,
    Body(change): Body<SetChange>,
) -> api::Shown<SubscriptionPlan> {
    let id = api.held_application(id).await?.id;
    check(&change, "events")?;
    let edit: Edit<EventType> = change
        .read(|names| names.iter().map(|name| subscribable(name)).collect())
        .map_err(|error: String| ApiError::bad_request(format!("the body: {error}")))?;
    let hub = &api.shared.hub;
    let (of, wanted) = (id.clone(), edit.clone());
    let plan = async || {
        let (id, edit) = (of.clone(), wanted.clone());
        hub.db.read(move |tx| plan_subscription(tx, &id, &edit)).await
    };
    let before = plan().await?;
    let Some(token) = how.confirm else {
        return match before.before == before.after {
            true => Ok(Json(before)),
            false => Err(ApiError::unconfirmed(&before)),
        };
    };
    let command = Command::SetSubscription {
        id,
        events: edit,
        confirmed: Some(token),
    };
    let changed = hub.apply_application(api.caller.clone(), command).await;
    match changed.map_err(ApiError::from) {
        Ok(_) => Ok(Json(before)),
        Err(error) if error.is_changed_plan() => Err(error.with_plan(&plan().await?)),
        Err(error) => Err(error),
    }
}
