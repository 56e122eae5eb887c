//! How one user stands with many applications: what each was told last, and what came of it.
//!
//! A page about a user names all applications, so what is told here is read with as many statements for many of them as
//! for one. The change before last and synchronizations are what [`why`](super::why) tells of a single one.

use std::collections::HashMap;

use rollcall_db::{DbError, Tx};
use rollcall_protocol::EventType;

use super::CHANGES;
use super::fate::{Fate, answer, assumed, ended, exception, said, sent_again};
use crate::application::Entitlements;
use crate::change::{self, Change};
use crate::clock::Millis;
use crate::delivery::ledger::attempts::{self, ParkedAfter};
use crate::delivery::ledger::overview;
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
    let present = overview::of_subject(tx, applications, user_id)?;
    let newest: HashMap<&String, (&Change, EventType)> = applications
        .iter()
        .filter_map(|id| Some((id, newest_for(entitlements.get(id)?, &changes)?)))
        .collect();
    let parked_of = |id: &str| present.get(id).map_or(&[][..], |of_it| of_it.parked.as_slice());
    let is_parked = |id: &str, change: &Change| {
        let mut of_it = parked_of(id).iter();
        of_it.find(|parked| parked.event_id == change.event_id)
    };
    let position = |id: &str| present.get(id).map_or(0, |of_it| of_it.position);
    let told: Vec<(&str, change::Seq, Millis)> = newest
        .iter()
        .filter(|(id, (change, _))| change.seq <= position(id) && is_parked(id, change).is_none())
        .map(|(id, (change, _))| (id.as_str(), change.seq, change.time))
        .collect();
    let received = attempts::first_of_each(tx, &told, |_, attempt| {
        let lanes = attempt.lanes as usize;
        attempt.was_received() && (lanes <= 1 || lane_of(user_id, lanes) == attempt.lane as usize)
    })?;
    let after = received.parked_after(tx, |seq, attempt| {
        let mut of_it = changes.iter().filter(|change| change.seq == seq);
        of_it.any(|change| of_attempt(attempt, &change.event_id).is_none())
    })?;
    let last = |id: &String| {
        let (change, event) = newest.get(id)?;
        let fate = match (is_parked(id, change), received.of(id, change.seq)) {
            (Some(parked), _) => of_parked(parked),
            (None, _) if change.seq > position(id) => Fate::Waiting,
            (None, first) => settled(first, &after, id, change),
        };
        Some(Last {
            event: *event,
            time: change.time,
            fate,
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
                synchronized_at: present.get(id).and_then(|of_it| of_it.synchronized_at),
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
    since.find_map(|change| Some((change, entitlements.event_for(change)?)))
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

/// What became of an event by the request that the application received; `None` if that was not the end.
pub(super) fn of_attempt(attempt: &Attempt, event_id: &str) -> Option<Fate> {
    let at = ended(attempt);
    match attempt.result_of(event_id) {
        "accepted" => {
            let try_number = attempt.try_number;
            Some(Fate::Delivered { at, try_number })
        }
        "assumed" => Some(assumed(attempt, exception(attempt, event_id).is_some())),
        "skipped" => {
            let answer = said(attempt, event_id);
            Some(Fate::Skipped { at, answer })
        }
        _ => None,
    }
}

/// What became of a change that is not parked, by the request that the application received first, if there is one, and
/// by those with parked events that came later. Not all changes of the subject are known here, so of no event it can be
/// said that it comes from none, and was told anew.
pub(super) fn settled(
    first: Option<&Attempt>,
    after: &ParkedAfter,
    application: &str,
    change: &Change,
) -> Fate {
    if let Some(fate) = first.and_then(|first| of_attempt(first, &change.event_id)) {
        return fate;
    }
    let since = first.map_or(change.time, |first| first.started_at);
    let of_it = after.requests.iter().filter(|(of, _)| of == application);
    let requests = of_it
        .map(|(_, attempt)| attempt)
        .filter(|attempt| attempt.started_at >= since);
    let answer = first.map_or_else(String::new, |first| said(first, &change.event_id));
    if let Some(fate) = sent_again(requests.clone(), change, &|_| true, &answer) {
        return fate;
    }
    let names_subject = |attempt: &Attempt| {
        let mut carried = attempt.carried.iter();
        carried.any(|it| it.subject_id == change.subject_id)
    };
    let refused = first.filter(|first| first.result_of(&change.event_id) == "failed");
    // If nothing was sent of it since, it was dismissed.
    match refused.filter(|_| !after.is_cut && !requests.clone().any(names_subject)) {
        Some(refused) => Fate::Dismissed {
            at: ended(refused),
            answer,
        },
        None => Fate::Settled,
    }
}
