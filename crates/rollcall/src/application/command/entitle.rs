//! Changing what an application is entitled to: its scope and its subscription.

use rollcall_db::{Tx, params};
use rollcall_protocol::EventType;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Applied, close, is_within, open};
use crate::access::Context;
use crate::application::edit::{Edit, ScopeEdit};
use crate::application::entitlement::{Entitlement, Entitlements, Subscription};
use crate::application::store::{self, ApplicationError};
use crate::change;
use crate::id;

/// Changes the scope; the job that tells of who enters and who leaves is there already.
pub(super) fn set_scope(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    edit: &ScopeEdit,
    job: &str,
) -> Result<Applied, ApplicationError> {
    let before = open(tx, ctx, id)?;
    let current = Entitlements::load(tx, id)?.current().clone();
    let scope = edit.applied_to(&current.scope);
    if scope == current.scope {
        return Ok(Applied::of(before, false));
    }
    store::check_scope(tx, &scope)?;
    if !is_within(tx, ctx, &scope)? {
        return Err(ApplicationError::OutsideScope(before.name));
    }
    let position = change::head(tx)?.seq;
    // Without its job, whoever enters or leaves by the change would never be told of.
    let runs = tx.query_opt(
        "SELECT 1 FROM jobs WHERE id = $1 AND application_id = $2 AND position_seq = $3 AND status = 'pending'",
        params![job, id, position],
    )?;
    if runs.is_none() {
        return Err(ApplicationError::NoJob(before.name));
    }
    let (was, is) = (
        json!({"scope": current.scope}),
        json!({"scope": scope, "job": job}),
    );
    let entitlement = Entitlement {
        from_seq: position,
        scope,
        subscription: current.subscription,
    };
    Entitlements::store(tx, id, &entitlement)?;
    close(tx, ctx, &before, "set_scope", Some(was), Some(is))
}

/// What a change of a subscription would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionPlan {
    /// The events that are wanted.
    pub before: Subscription,
    /// The events that would be wanted.
    pub after: Subscription,
    /// What confirms just this plan.
    pub token: String,
}

/// Says what a change of a subscription would do.
///
/// # Errors
/// What the database reports.
pub fn plan_subscription(
    tx: &mut Tx<'_>,
    id: &str,
    edit: &Edit<EventType>,
) -> Result<SubscriptionPlan, ApplicationError> {
    let current = Entitlements::load(tx, id)?.current().clone();
    Ok(SubscriptionPlan::of(id, current.subscription, edit))
}

impl SubscriptionPlan {
    fn of(id: &str, before: Subscription, edit: &Edit<EventType>) -> Self {
        let after = Subscription::of(edit.applied_to(&before.events().collect()));
        let token = id::plan_token(&json!([id, before, after]).to_string());
        Self { before, after, token }
    }
}

/// Changes the subscription.
pub(super) fn set_subscription(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    edit: &Edit<EventType>,
    confirmed: Option<&str>,
) -> Result<Applied, ApplicationError> {
    let before = open(tx, ctx, id)?;
    let current = Entitlements::load(tx, id)?.current().clone();
    let plan = SubscriptionPlan::of(id, current.subscription, edit);
    if confirmed.is_some_and(|token| token != plan.token) {
        return Err(ApplicationError::PlanChanged);
    }
    if plan.after == plan.before {
        return Ok(Applied::of(before, false));
    }
    let (was, is) = (
        json!({"subscription": plan.before}),
        json!({"subscription": plan.after}),
    );
    let entitlement = Entitlement {
        from_seq: change::head(tx)?.seq,
        scope: current.scope,
        subscription: plan.after,
    };
    Entitlements::store(tx, id, &entitlement)?;
    close(tx, ctx, &before, "set_subscription", Some(was), Some(is))
}
