//! One request: what it carried, as the log tells it, what came of each event, and how long it took.

use askama::Template;
use axum::extract::Path;
use rollcall_db::DbError;

use super::deliveries::ShownAttempt;
use super::{Head, Tab};
use crate::access::Permission;
use crate::application::Encryption;
use crate::change::Seq;
use crate::clock::Millis;
use crate::console::error::Failure;
use crate::console::health::without_query;
use crate::console::page::{Answer, Page, Section, View, pretty, show};
use crate::delivery::contents::{CarriedEvent, Contents};
use crate::delivery::ledger::attempts;
use crate::delivery::status;

/// An event of a request.
struct ShownEvent {
    id: String,
    event: String,
    subject: String,
    time: Option<Millis>,
    seq: Option<Seq>,
    /// The record, without secrets; `None` where it is not kept.
    record: Option<String>,
    tone: &'static str,
    key: &'static str,
    answer: Option<String>,
}

impl From<CarriedEvent> for ShownEvent {
    fn from(event: CarriedEvent) -> Self {
        let (tone, key) = match event.result.as_str() {
            "not_taken" => ("bad", "event-not-taken"),
            "skipped" => ("warn", "event-skipped"),
            "failed" => ("bad", "event-refused"),
            "retried" => ("warn", "event-retried"),
            "assumed" => ("warn", "event-assumed"),
            _ => ("good", "event-accepted"),
        };
        Self {
            id: event.event_id,
            event: event.event_type,
            subject: event.subject,
            time: event.time,
            seq: event.seq,
            record: event.record.as_ref().map(pretty),
            tone,
            key,
            answer: event.answer,
        }
    }
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

pub(super) async fn attempt(view: View, Path((id, number)): Path<(String, i64)>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ReadDeliveries)?;
    let application = view.application(id).await?;
    let settings = application.settings.clone();
    let (status, found) = view
        .console
        .db()
        .read(move |tx| {
            let status = status::of(tx, application.clone())?;
            let Some(attempt) = attempts::load(tx, &application.id, number)? else {
                return Ok((status, None));
            };
            let contents = Contents::of(tx, &application.id, &attempt)?;
            Ok::<_, DbError>((status, Some((attempt, contents))))
        })
        .await?;
    let (attempt, contents) = found.ok_or(Failure::NotFound)?;
    show(&AttemptPage {
        head: Head::of(&status, Tab::Deliveries, &view.page),
        is_known: contents.is_known,
        is_cut: contents.is_cut,
        shown: ShownAttempt::of(number, attempt),
        url: without_query(settings.url()),
        is_encrypted: settings.encryption() == Encryption::Required,
        issuer: rollcall_protocol::ISSUER.to_owned(),
        events: contents.events.into_iter().map(ShownEvent::from).collect(),
        page: view.page,
    })
}
