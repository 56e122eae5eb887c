//! How one user stands with many applications: what each was told last, and what came of it.
//!
//! A page about a user names all applications, so what is told here is read with as many statements for many of them as
//! for one. The change before last, requests that were made again and synchronizations are what [`why`](super::why)
//! tells of a single one.

use std::collections::HashMap;

use rollcall_db::{DbError, Tx};
use rollcall_protocol::EventType;

use super::CHANGES;
use super::fate::{Fate, answer, assumed, ended};
use crate::application::Entitlements;
use crate::change::{self, Change};
use crate::clock::Millis;
use crate::delivery::ledger::{attempts, overview, parked};
use crate::delivery::model::{Attempt, Parked, ParkedState};
use crate::delivery::plan::lanes::lane_of;

/// How a user stands with an application.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// What the application was told last, or is to be told next; `None` if no change of the user that the log still
    /// knows was for it.
    pub last: Option<Last>,
    /// How many events of the user are set aside.
    pub set_aside: usize,
    /// When everything in scope was last pushed to the application.
    pub synchronized_at: Option<Millis>,
}

/// The newest change of a user that was for an application.
#[derive(Clone, Debug)]
pub struct Last {
    /// The event.
    pub event: EventType,
    /// When the change was made.
    pub time: Millis,
    /// What became of it.
    pub fate: Fate,
    /// What the application said when it did not take the event at first, although it does not wait any more.
    pub first_answer: Option<String>,
}

/// How a user stands with each of some applications, by the application's id.
///
/// # Errors
/// What the database reports.
pub fn standings(
    tx: &mut Tx<'_>,
    user_id: &str,
    applications: &[String],
) -> Result<HashMap<String, Standing>, DbError> {
    let changes = change::newest_of_subject(tx, user_id, CHANGES)?;
    let entitlements = Entitlements::of_each(tx, applications)?;
    let positions = overview::positions(tx, applications)?;
    let parked = parked::of_subject(tx, applications, user_id)?;
    let newest: HashMap<&String, (&Change, EventType)> = applications
        .iter()
        .filter_map(|id| Some((id, newest_for(entitlements.get(id)?, &changes)?)))
        .collect();
    let parked_of = |id: &str| parked.get(id).map_or(&[][..], Vec::as_slice);
    let is_parked = |id: &str, change: &Change| {
        let mut of_it = parked_of(id).iter();
        of_it.find(|parked| parked.event_id == change.event_id)
    };
    let position = |id: &str| positions.get(id).map_or(0, |(position, _)| *position);
    let told: Vec<(&str, change::Seq, Millis)> = newest
        .iter()
        .filter(|(id, (change, _))| change.seq <= position(id) && is_parked(id, change).is_none())
        .map(|(id, (change, _))| (id.as_str(), change.seq, change.time))
        .collect();
    let received = attempts::first_of_each(tx, &told, |_, attempt| {
        let lanes = attempt.lanes as usize;
        attempt.was_received() && (lanes <= 1 || lane_of(user_id, lanes) == attempt.lane as usize)
    })?;
    let last = |id: &String| {
        let (change, event) = newest.get(id)?;
        let (fate, first_answer) = match (is_parked(id, change), received.get(&(id.clone(), change.seq))) {
            (Some(parked), _) => (of_parked(parked), None),
            (None, _) if change.seq > position(id) => (Fate::Waiting, None),
            (None, Some(attempt)) => of_attempt(attempt, &change.event_id),
            (None, None) => (Fate::Settled, None),
        };
        Some(Last {
            event: *event,
            time: change.time,
            fate,
            first_answer,
        })
    };
    Ok(applications
        .iter()
        .map(|id| {
            let standing = Standing {
                last: last(id),
                set_aside: parked_of(id)
                    .iter()
                    .filter(|parked| parked.state == ParkedState::Failed)
                    .count(),
                synchronized_at: positions.get(id).and_then(|(_, at)| *at),
            };
            (id.clone(), standing)
        })
        .collect())
}

/// The newest of some changes, the newest first, that is for an application.
fn newest_for<'a>(entitlements: &Entitlements, changes: &'a [Change]) -> Option<(&'a Change, EventType)> {
    let mut since = changes
        .iter()
        .take_while(|change| change.seq > entitlements.begins());
    since.find_map(|change| Some((change, entitlements.at(change.seq).event_for(change)?)))
}

pub(super) fn of_parked(parked: &Parked) -> Fate {
    Fate::Parked {
        state: parked.state,
        attempts: parked.attempts,
        answer: answer(
            parked.code.as_deref().unwrap_or_default(),
            parked.message.as_deref(),
        ),
    }
}

/// What became of an event by the request that the application received, and what it said if that was not the end.
pub(super) fn of_attempt(attempt: &Attempt, event_id: &str) -> (Fate, Option<String>) {
    let at = ended(attempt);
    let exception = attempt.exceptions.iter().find(|it| it.event_id == event_id);
    let said = exception.map(|it| answer(&it.code, it.message.as_deref()));
    match attempt.result_of(event_id) {
        "accepted" => {
            let try_number = attempt.try_number;
            (Fate::Delivered { at, try_number }, None)
        }
        "assumed" => (assumed(attempt, exception.is_some()), None),
        "skipped" => {
            let answer = said.unwrap_or_default();
            (Fate::Skipped { at, answer }, None)
        }
        _ => (Fate::Settled, said),
    }
}
