//! What was sent to an application and what became of it, and what can be done about it.

use std::sync::Arc;

use axum::Json;
use rollcall_db::DbError;
use serde::{Deserialize, Serialize};

use crate::access::Permission;
use crate::api::door::Door;
use crate::api::extract::{Body, Path, Query};
use crate::api::paging::{Pages, Paging};
use crate::api::routes::Routes;
use crate::api::versions::{Record, Single, Versioned};
use crate::api::{Api, ApiError, Shown};
use crate::application::ApplicationError;
use crate::clock::Millis;
use crate::delivery::connectivity::{self, Depth};
use crate::delivery::contents::Contents;
use crate::delivery::ledger::attempts::{self, Filter, Outcome, Search};
use crate::delivery::ledger::operate::{self, Chosen, Resent};
use crate::delivery::ledger::parked::{self, ParkedState};
use crate::delivery::model::{Attempt, Parked};
use crate::why::{Why, WhyError, why, why_seen};

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .post(
            "/applications/{id}/test",
            Permission::OperateApplications,
            "Tests the connection to an application. With probe=true, one that takes SCIM is tried out: a test user and a \
             test group are created there and removed.",
            test_application,
        )
        .get(
            "/applications/{id}/attempts",
            Permission::ReadDeliveries,
            "Lists the requests to an application, the newest first: by outcome (accepted, troubled, or a code), by \
             type of event, by subject, by time.",
            list_attempts,
        )
        .get(
            "/applications/{id}/attempts/{number}",
            Permission::ReadDeliveries,
            "Shows one request with the events that it carried, without secrets, and what came of each.",
            show_attempt,
        )
        .get(
            "/applications/{id}/events",
            Permission::ReadDeliveries,
            "Lists the events that are to be sent again (retrying), wait behind those (held) or are set aside (failed).",
            list_events,
        )
        .post(
            "/applications/{id}/events/resend",
            Permission::OperateApplications,
            "Sends events again that are set aside: those that are named, those since a time, or all.",
            resend,
        )
        .post(
            "/applications/{id}/events/dismiss",
            Permission::OperateApplications,
            "Forgets events that are set aside: those that are named, those since a time, or all.",
            dismiss,
        )
        .post(
            "/applications/{id}/events/skip",
            Permission::OperateApplications,
            "Sets an event aside, so that delivery goes on without it: the one that is named, or the next one.",
            skip,
        )
        .get(
            "/applications/{id}/why/{user}",
            Permission::ReadDeliveries,
            "Says why a user did or did not arrive.",
            explain,
        )
        .post(
            "/applications/{id}/users/{user}/push",
            Permission::OperateApplications,
            "Sends what is true of one user now, ahead of everything else.",
            push,
        )
}

#[derive(Deserialize, schemars::JsonSchema)]
struct HowFar {
    /// Whether a test user and a test group are created and removed, to find out how the application wants to be spoken
    /// to.
    #[serde(default)]
    probe: bool,
}

async fn test_application(
    api: Door,
    Path(id): Path<String>,
    Query(how): Query<HowFar>,
) -> Shown<connectivity::Report> {
    let id = api.application(id).await?.id;
    let depth = match how.probe {
        true => Depth::TryingOut,
        false => Depth::Asking,
    };
    Ok(Json(connectivity::test_with(&api.shared, &id, depth).await?))
}

/// Which requests are wanted.
#[derive(Deserialize, schemars::JsonSchema)]
struct Wanted {
    /// `accepted`, `troubled`, or an outcome such as `timed_out`.
    outcome: Option<String>,
    /// Only those that carried an event of this type, such as `ud:user:create`.
    event: Option<String>,
    /// Only those that carried an event of the subject with this id.
    subject: Option<String>,
    /// Only those that began at this time or later.
    since: Option<Millis>,
    /// Only those that began before this time.
    until: Option<Millis>,
}

/// A request with its number.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "NumberedAttempt")]
pub(crate) struct Numbered {
    pub(crate) number: i64,
    #[serde(flatten)]
    pub(crate) attempt: Attempt,
}

async fn list_attempts(
    api: Door,
    Path(id): Path<String>,
    paging: Paging<i64>,
    Query(wanted): Query<Wanted>,
) -> Pages<Numbered> {
    let id = api.application(id).await?.id;
    let filter = Filter {
        outcome: match wanted.outcome.as_deref() {
            None => Outcome::Any,
            Some("accepted") => Outcome::Accepted,
            Some("troubled") => Outcome::Troubled,
            Some(code) => Outcome::Code(code.to_owned()),
        },
        event_type: wanted.event,
        subject: wanted.subject,
        since: wanted.since,
        until: wanted.until,
    };
    let (before, limit) = (paging.after, paging.limit);
    let page = api.shared.hub.db.read(move |tx| {
        let mut search = Search::default();
        attempts::page(tx, &mut search, &id, &filter, before, limit)
    });
    let attempts::Page { found, before } = page.await?;
    let numbered = found
        .into_iter()
        .map(|(number, attempt)| Numbered { number, attempt });
    Ok(paging.page(numbered.collect(), before))
}

/// A request with what it carried.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "DecodedAttempt")]
struct Decoded {
    #[serde(flatten)]
    numbered: Numbered,
    contents: Contents,
}

impl Versioned for Decoded {}

async fn show_attempt(api: Door, Path((id, number)): Path<(String, i64)>) -> Single<Decoded> {
    let id = api.application(id).await?.id;
    let found = api.shared.hub.db.read(move |tx| {
        let Some(attempt) = attempts::load(tx, &id, number)? else {
            return Ok(None);
        };
        let contents = Contents::of(tx, &id, &attempt)?;
        Ok::<_, DbError>(Some((attempt, contents)))
    });
    let (attempt, contents) = found.await?.ok_or_else(|| {
        let message = format!("there is no request {number} to this application, or none any more");
        ApiError::not_found(message)
    })?;
    Ok(Record(Decoded {
        numbered: Numbered { number, attempt },
        contents,
    }))
}

/// Which parked events are wanted.
#[derive(Deserialize, schemars::JsonSchema)]
struct InState {
    /// Only those in this state.
    state: Option<ParkedState>,
}

async fn list_events(
    api: Door,
    Path(id): Path<String>,
    paging: Paging<i64>,
    Query(wanted): Query<InState>,
) -> Pages<Parked> {
    let id = api.application(id).await?.id;
    let (after, limit) = (paging.after.unwrap_or_default(), paging.limit + 1);
    let db = &api.shared.hub.db;
    let mut events = db
        .read(move |tx| parked::page(tx, &id, wanted.state, after, limit))
        .await?;
    let is_last = events.len() <= paging.limit;
    events.truncate(paging.limit);
    let next = events.last().map(|(number, _)| *number).filter(|_| !is_last);
    let events = events.into_iter().map(|(_, event)| event).collect();
    Ok(paging.page(events, next))
}

/// Which of the events that are set aside are meant: one of these is given.
#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Which {
    /// The events with these ids.
    event_ids: Option<Vec<String>>,
    /// Those that were set aside at this time or later.
    since: Option<Millis>,
    /// All of them.
    all: bool,
}

impl Which {
    fn read(self) -> Result<Chosen, ApiError> {
        match (self.event_ids, self.since, self.all) {
            (Some(ids), None, false) if !ids.is_empty() => Ok(Chosen::Events(ids.into_iter().collect())),
            (None, Some(time), false) => Ok(Chosen::Since(time)),
            (None, None, true) => Ok(Chosen::All),
            _ => Err(ApiError::bad_request(
                "the body: name the events with eventIds, with since, or with all",
            )),
        }
    }
}

async fn resend(api: Door, Path(id): Path<String>, Body(which): Body<Which>) -> Shown<Resent> {
    let id = api.application(id).await?.id;
    let chosen = which.read()?;
    let hub = &api.shared.hub;
    let resent = hub
        .write_as(api.caller.clone(), move |tx, ctx| {
            operate::resend(tx, ctx, &id, chosen.clone())
        })
        .await?;
    Ok(Json(resent))
}

/// How many events were forgotten.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub(crate) struct Dismissed {
    pub(crate) dismissed: u32,
}

async fn dismiss(api: Door, Path(id): Path<String>, Body(which): Body<Which>) -> Shown<Dismissed> {
    let id = api.application(id).await?.id;
    let chosen = which.read()?;
    let hub = &api.shared.hub;
    let dismissed = hub
        .write_as(api.caller.clone(), move |tx, ctx| {
            operate::dismiss(tx, ctx, &id, chosen.clone())
        })
        .await?;
    Ok(Json(Dismissed { dismissed }))
}

/// Which event is skipped.
#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Skip {
    /// An event that waits or is still to be sent; left out: the next one.
    event_id: Option<String>,
}

/// The event that was skipped.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "SkippedEvent")]
pub(crate) struct Skipped {
    pub(crate) skipped: String,
}

async fn skip(api: Door, Path(id): Path<String>, Body(which): Body<Skip>) -> Shown<Skipped> {
    let id = api.application(id).await?.id;
    let hub = &api.shared.hub;
    let skipped = hub
        .write_as(api.caller.clone(), move |tx, ctx| {
            operate::skip(tx, ctx, &id, which.event_id.as_deref())
        })
        .await?;
    Ok(Json(Skipped { skipped }))
}

async fn page_of(api: &Door, id: String, user: String) -> Result<Why, ApiError> {
    let (hub, now) = (&api.shared.hub, api.shared.hub.clock.now());
    let Some(sight) = api.sight().await? else {
        return Ok(hub.db.read(move |tx| why(tx, &user, &id, now)).await?);
    };
    let wanted = id.clone();
    let found = hub
        .db
        .read(move |tx| why_seen(tx, &sight, &user, &wanted, now))
        .await;
    match found {
        Ok(page) if api.access.role.reaches(&page.application_id) => Ok(page),
        // What fits several may be out of reach, and the ways to write them would tell.
        Ok(_) | Err(WhyError::Application(ApplicationError::Ambiguous(_))) => {
            Err(ApplicationError::NotFound(id).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Why a user did or did not arrive.
async fn explain(api: Door, Path((id, user)): Path<(String, String)>) -> Shown<Why> {
    Ok(Json(page_of(&api, id, user).await?))
}

/// The events that are sent.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "PushedEvents")]
pub(crate) struct Pushed {
    pub(crate) events: Vec<String>,
}

async fn push(api: Door, Path((id, user)): Path<(String, String)>) -> Shown<Pushed> {
    // So somebody who was deleted is found too, and nobody whom the caller does not see.
    let Why {
        user_id,
        application_id,
        ..
    } = page_of(&api, id, user).await?;
    let hub = &api.shared.hub;
    let events = hub
        .write_as(api.caller.clone(), move |tx, ctx| {
            operate::push(tx, ctx, &application_id, &user_id)
        })
        .await?;
    Ok(Json(Pushed { events }))
}
