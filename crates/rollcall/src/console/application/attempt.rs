//! One request: what it carried, as the log tells it, what came of each event, and how long it took.

use std::collections::HashMap;

use askama::Template;
use axum::extract::Path;
use rollcall_db::DbError;
use serde_json::Value;

use super::deliveries::ShownAttempt;
use super::{Head, Tab};
use crate::access::Permission;
use crate::application::{Encryption, Entitlements};
use crate::audit;
use crate::change::{self, Seq};
use crate::clock::Millis;
use crate::console::error::Failure;
use crate::console::health::without_query;
use crate::console::page::{Answer, Page, Section, View, pretty, show};
use crate::delivery::ledger::attempts;
use crate::delivery::model::{Attempt, Exception};
use crate::delivery::plan::lanes::lane_of;
use crate::delivery::status;
use crate::directory::view;

/// How many changes of a request's range are looked at.
const CHANGES: usize = 500;
/// How many events are shown.
const EVENTS: usize = 100;

/// An event of a request.
struct ShownEvent {
    id: String,
    event: String,
    subject_id: String,
    subject: String,
    time: Option<Millis>,
    seq: Option<Seq>,
    /// The record, without secrets; `None` where it is not kept.
    record: Option<String>,
    tone: &'static str,
    key: &'static str,
    answer: Option<String>,
}

impl ShownEvent {
    /// What came of an event.
    fn result(attempt: &Attempt, event_id: &str) -> (&'static str, &'static str, Option<String>) {
        if !attempt.was_received() {
            return ("bad", "event-not-taken", None);
        }
        let exception = attempt.exceptions.iter().find(|it| it.event_id == event_id);
        let answer = exception.map(words);
        match attempt.result_of(event_id) {
            "skipped" => ("warn", "event-skipped", answer),
            "failed" => ("bad", "event-refused", answer),
            "retried" => ("warn", "event-retried", answer),
            "assumed" => ("warn", "event-assumed", answer),
            _ => ("good", "event-accepted", None),
        }
    }
}

fn words(exception: &Exception) -> String {
    let message = exception.message.as_deref().unwrap_or_default();
    format!("{} {message}", exception.code).trim().to_owned()
}

#[derive(Template)]
#[template(path = "attempt.html")]
struct AttemptPage {
    page: Page,
    head: Head,
    shown: ShownAttempt,
    url: String,
    is_encrypted: bool,
    /// The claims by which the application knows the sender.
    issuer: String,
    events: Vec<ShownEvent>,
    is_cut: bool,
    /// Whether what it carried can be told by the log, or by the attempt itself.
    is_known: bool,
}

pub(in crate::console) async fn attempt(view: View, Path((id, number)): Path<(String, i64)>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ReadDeliveries)?;
    let application = view.application(id).await?;
    let callback = application.settings.callback().clone();
    let (status, found) = view
        .console
        .db()
        .read(move |tx| {
            let status = status::of(tx, application.clone())?;
            let Some(attempt) = attempts::load(tx, &application.id, number)? else {
                return Ok((status, None));
            };
            let (mut events, is_cut) = match (attempt.from_seq, attempt.to_seq) {
                (Some(from), Some(to)) => {
                    let entitlements = Entitlements::load(tx, &application.id)?;
                    of_the_log(tx, &entitlements, &attempt, (from, to))?
                }
                _ => (of_the_attempt(&attempt), false),
            };
            let subjects: Vec<String> = events.iter().map(|event| event.subject_id.clone()).collect();
            let names: HashMap<String, String> = view::names(tx, &subjects)?;
            for event in &mut events {
                if let Some(name) = names.get(&event.subject_id) {
                    event.subject.clone_from(name);
                }
            }
            Ok::<_, DbError>((status, Some((attempt, events, is_cut))))
        })
        .await?;
    let (attempt, events, is_cut) = found.ok_or(Failure::NotFound)?;
    show(&AttemptPage {
        head: Head::of(&status, Tab::Deliveries, &view.page),
        is_known: attempt.from_seq.is_some() || !attempt.carried.is_empty(),
        shown: ShownAttempt::of(number, attempt),
        url: without_query(&callback.url),
        is_encrypted: callback.encryption == Encryption::Required,
        issuer: rollcall_protocol::ISSUER.to_owned(),
        events,
        is_cut,
        page: view.page,
    })
}

/// What a request from the log carried: the changes of its range that concerned the application, those of its lane.
fn of_the_log(
    tx: &mut rollcall_db::Tx<'_>,
    entitlements: &Entitlements,
    attempt: &Attempt,
    (from, to): (Seq, Seq),
) -> Result<(Vec<ShownEvent>, bool), DbError> {
    let changes = change::read_after(tx, from - 1, CHANGES)?;
    let mut is_cut = changes.last().is_some_and(|last| last.seq < to) && changes.len() == CHANGES;
    let lanes = usize::try_from(attempt.lanes).unwrap_or(1);
    let is_users_lane = |subject: &str| lane_of(subject, lanes) == usize::try_from(attempt.lane).unwrap_or(0);
    let mut events = Vec::new();
    for change in changes.into_iter().take_while(|change| change.seq <= to) {
        let Some(event) = entitlements.at(change.seq).event_for(&change) else {
            continue;
        };
        if lanes > 1 && attempt.events > 1 && !is_users_lane(&change.subject_id) {
            continue;
        }
        if events.len() == EVENTS {
            is_cut = true;
            break;
        }
        let (tone, key, answer) = ShownEvent::result(attempt, &change.event_id);
        events.push(ShownEvent {
            tone,
            key,
            answer,
            event: event.short().to_owned(),
            subject: change.subject_id.clone(),
            time: Some(change.time),
            seq: Some(change.seq),
            record: serde_json::from_str::<Value>(&change.record)
                .ok()
                .map(|record| pretty(&audit::masked(&record))),
            id: change.event_id,
            subject_id: change.subject_id,
        });
    }
    Ok((events, is_cut))
}

/// What is kept of a request that no range of the log tells of.
fn of_the_attempt(attempt: &Attempt) -> Vec<ShownEvent> {
    let carried = attempt
        .carried
        .iter()
        .map(|it| (&it.event_id, &it.event_type, &it.subject_id));
    let others = attempt
        .exceptions
        .iter()
        .filter(|exception| attempt.carried.iter().all(|it| it.event_id != exception.event_id))
        .map(|it| (&it.event_id, &it.event_type, &it.subject_id));
    carried
        .chain(others)
        .take(EVENTS)
        .map(|(id, event, subject)| {
            let (tone, key, answer) = ShownEvent::result(attempt, id);
            ShownEvent {
                id: id.clone(),
                event: event.clone(),
                subject_id: subject.clone(),
                subject: subject.clone(),
                time: None,
                seq: None,
                record: None,
                tone,
                key,
                answer,
            }
        })
        .collect()
}
