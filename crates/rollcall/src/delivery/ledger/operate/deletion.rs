//! Deleting an application: what goes with it is shown before somebody confirms it.
//!
//! Delivery goes on while somebody reads the plan, so its token is made of the application itself, as it was shown,
//! and not of what waits.

use rollcall_db::Tx;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{OperateError, parked, store};
use crate::access::Context;
use crate::application::{self, Application, ApplicationError, Command, command::open, keys};
use crate::change;
use crate::delivery::ledger::jobs;
use crate::id;

/// What the deletion of an application takes along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationDeletion {
    /// The application's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Changes that it has not been told of.
    pub behind: u64,
    /// Events that are to be sent again, or wait behind those.
    pub waiting: u64,
    /// Events that are set aside as failed.
    pub set_aside: u64,
    /// The synchronization that is under way.
    pub synchronization: Option<String>,
    /// Signing keys that are published no more.
    pub keys: u64,
    /// What confirms just this plan.
    pub token: String,
}

/// Says what the deletion of an application would take along.
///
/// # Errors
/// [`OperateError`].
pub fn plan_deletion(tx: &mut Tx<'_>, application_id: &str) -> Result<ApplicationDeletion, OperateError> {
    let Application {
        id,
        name,
        position,
        update_time,
        ..
    } = store::load(tx, application_id)?;
    let [retrying, held, set_aside] = parked::counts_of(tx, &id)?;
    let head = change::head(tx)?;
    Ok(ApplicationDeletion {
        behind: (head.seq - position).max(0).unsigned_abs(),
        waiting: retrying + held,
        set_aside,
        synchronization: jobs::open_job(tx, &id)?.map(|job| job.id),
        keys: keys::list(tx, &id, head.time)?.len() as u64,
        token: id::plan_token(&json!(["delete", id, name, update_time]).to_string()),
        id,
        name,
    })
}

/// Deletes an application with everything that belongs to it, if the plan still has the token that was confirmed.
///
/// # Errors
/// [`OperateError`].
pub fn delete(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    application_id: &str,
    confirmed: &str,
) -> Result<Application, OperateError> {
    open(tx, ctx, application_id)?;
    if plan_deletion(tx, application_id)?.token != confirmed {
        return Err(ApplicationError::PlanChanged.into());
    }
    let id = application_id.to_owned();
    Ok(application::apply(tx, ctx, &Command::Delete { id })?.application)
}
