//! The administrator's API, one file for each kind of resource.

mod accounts;
mod applications;
mod comparisons;
mod connections;
mod deliveries;
mod developer;
mod groups;
mod health;
mod importing;
mod keys;
mod logs;
mod scopes;
mod session;
mod standing;
mod synchronizations;
mod tokens;
mod transfer;
mod units;
mod users;

use std::sync::Arc;

use axum::Json;

use super::door::Door;
use super::routes::Routes;
use super::{Api, ApiError, PREFIX, Shown};
use crate::accounts::tokens::{DAYS, Term};
use crate::directory::{Applied, Command};
pub(crate) use accounts::{Ended, ShownFresh as FreshAccount};
pub(crate) use applications::{Changed as ChangedApplication, Previews};
pub(crate) use comparisons::{Named as ComparisonId, Repairing};
pub(crate) use connections::{Addressed as AddressedConnection, ShownNew as FreshConnectionToken};
pub(crate) use deliveries::{
    Dismissed as DismissedEvents, Numbered as NumberedAttempt, Pushed as PushedEvents,
    Skipped as SkippedEvent,
};
pub(crate) use developer::{Access as DeveloperAccess, ShownNew as FreshClientSecret};
pub(crate) use importing::ImportStep;
pub(super) use importing::Imported;
pub(crate) use keys::Keys as SigningKeys;
pub(crate) use logs::ShownChange;
pub(crate) use scopes::{ScopeChanged, Shown as NamedScope};
pub(crate) use standing::{Detailed as DetailedApplication, LATELY, Listed as ListedApplication};
pub(crate) use synchronizations::Named as SynchronizationId;
pub(crate) use tokens::ShownNew as FreshToken;
pub(crate) use transfer::{EXPORTED, LARGEST, portions};

pub(super) fn routes() -> Routes<Arc<Api>> {
    let resources = [
        users::add,
        units::add,
        groups::add,
        applications::add,
        scopes::add,
        keys::add,
        developer::add,
        deliveries::add,
        synchronizations::add,
        logs::add,
        session::add,
        accounts::add,
        tokens::add,
        transfer::add,
        health::add,
        connections::add,
        comparisons::add,
    ];
    resources
        .iter()
        .fold(Routes::below(PREFIX), |routes, add| add(routes))
}

/// How long a token is to be good for, as a body says it.
fn term(days: Option<u32>, never: bool) -> Result<Term, ApiError> {
    match (days, never) {
        (Some(_), true) => {
            let message = "the body: expiresInDays and neverExpires: give one of them";
            Err(ApiError::bad_request(message))
        }
        (None, true) => Ok(Term::Never),
        (days, false) => Ok(Term::Days(days.unwrap_or(DAYS))),
    }
}

async fn apply(door: &Door, command: Command) -> Shown<Applied> {
    Ok(Json(
        door.api.shared.hub.apply(door.caller.clone(), command).await?,
    ))
}
