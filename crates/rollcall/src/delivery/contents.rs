//! What one request carried, as the log tells it or the request itself, and what came of each event.

use std::collections::HashMap;

use rollcall_db::{DbError, Tx};
use serde::Serialize;
use serde_json::Value;

use super::model::Attempt;
use super::plan::lanes::lane_of;
use crate::application::Entitlements;
use crate::audit;
use crate::change::{self, Seq};
use crate::clock::Millis;
use crate::directory::view;

/// How many changes of a request's range are looked at.
const CHANGES: usize = 500;
/// How many events are shown.
const EVENTS: usize = 100;

/// An event of a request.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CarriedEvent {
    /// The event's id.
    pub event_id: String,
    /// Its short type, such as `ud:user:create`.
    pub event_type: String,
    /// Whom it is about.
    pub subject_id: String,
    /// What they are called now; the id if they are gone.
    pub subject: String,
    /// The change that it comes from, if it comes from the log.
    pub seq: Option<Seq>,
    /// The time of that change.
    pub time: Option<Millis>,
    /// The record that it bore, without secrets; `None` where it is not kept.
    pub record: Option<Value>,
    /// `accepted`, `assumed`, `skipped`, `failed`, `retried`, or `not_taken`: the application took nothing of the
    /// request.
    pub result: String,
    /// What the application said of it.
    pub answer: Option<String>,
}

/// What a request carried.
#[derive(Clone, Debug, Default, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    /// The events, in the order in which they were sent.
    pub events: Vec<CarriedEvent>,
    /// Whether there were more than are shown.
    pub is_cut: bool,
    /// Whether what it carried is kept; otherwise only what did not simply succeed is known.
    pub is_known: bool,
}

impl Contents {
    /// Reads what a request to an application carried.
    ///
    /// # Errors
    /// What the database reports.
    pub fn of(tx: &mut Tx<'_>, application_id: &str, attempt: &Attempt) -> Result<Self, DbError> {
        let mut contents = match (attempt.from_seq, attempt.to_seq) {
            (Some(from), Some(to)) => {
                let entitlements = Entitlements::load(tx, application_id)?;
                of_the_log(tx, &entitlements, attempt, (from, to))?
            }
            _ => of_the_attempt(attempt),
        };
        let subjects: Vec<String> = contents
            .events
            .iter()
            .map(|event| event.subject_id.clone())
            .collect();
        let names: HashMap<String, String> = view::names(tx, &subjects)?;
        for event in &mut contents.events {
            if let Some(name) = names.get(&event.subject_id) {
                event.subject.clone_from(name);
            }
        }
        Ok(contents)
    }
}

/// What came of an event, and what the application said of it.
fn result(attempt: &Attempt, event_id: &str) -> (String, Option<String>) {
    if !attempt.was_received() {
        return ("not_taken".to_owned(), None);
    }
    let exception = attempt.exceptions.iter().find(|it| it.event_id == event_id);
    let answer = exception.map(|exception| {
        let message = exception.message.as_deref().unwrap_or_default();
        format!("{} {message}", exception.code).trim().to_owned()
    });
    (attempt.result_of(event_id).to_owned(), answer)
}

/// What a request from the log carried: the changes of its range that concerned the application, those of its lane.
fn of_the_log(
    tx: &mut Tx<'_>,
    entitlements: &Entitlements,
    attempt: &Attempt,
    (from, to): (Seq, Seq),
) -> Result<Contents, DbError> {
    let changes = change::read_after(tx, from - 1, CHANGES)?;
    let mut is_cut = changes.last().is_some_and(|last| last.seq < to) && changes.len() == CHANGES;
    let lanes = usize::try_from(attempt.lanes).unwrap_or(1);
    let is_users_lane = |subject: &str| lane_of(subject, lanes) == usize::try_from(attempt.lane).unwrap_or(0);
    let mut events = Vec::new();
    for change in changes.into_iter().take_while(|change| change.seq <= to) {
        let Some(event) = entitlements.event_for(&change) else {
            continue;
        };
        if lanes > 1 && attempt.events > 1 && !is_users_lane(&change.subject_id) {
            continue;
        }
        if events.len() == EVENTS {
            is_cut = true;
            break;
        }
        let (result, answer) = result(attempt, &change.event_id);
        events.push(CarriedEvent {
            event_type: event.short().to_owned(),
            subject: change.subject_id.clone(),
            seq: Some(change.seq),
            time: Some(change.time),
            record: serde_json::from_str::<Value>(&change.record)
                .ok()
                .map(|record| audit::masked(&record)),
            event_id: change.event_id,
            subject_id: change.subject_id,
            result,
            answer,
        });
    }
    Ok(Contents {
        events,
        is_cut,
        is_known: true,
    })
}

/// What is kept of a request that no range of the log tells of.
fn of_the_attempt(attempt: &Attempt) -> Contents {
    let carried = attempt
        .carried
        .iter()
        .map(|it| (&it.event_id, &it.event_type, &it.subject_id));
    let others = attempt
        .exceptions
        .iter()
        .filter(|exception| attempt.carried.iter().all(|it| it.event_id != exception.event_id))
        .map(|it| (&it.event_id, &it.event_type, &it.subject_id));
    let all: Vec<_> = carried.chain(others).collect();
    let shown = all.iter().take(EVENTS).map(|(id, event, subject)| {
        let (result, answer) = result(attempt, id);
        CarriedEvent {
            event_id: (*id).clone(),
            event_type: (*event).clone(),
            subject_id: (*subject).clone(),
            subject: (*subject).clone(),
            seq: None,
            time: None,
            record: None,
            result,
            answer,
        }
    });
    Contents {
        events: shown.collect(),
        is_cut: all.len() > EVENTS,
        is_known: !attempt.carried.is_empty(),
    }
}
