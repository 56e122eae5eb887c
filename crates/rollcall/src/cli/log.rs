//! `rollcall log`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use rollcall_db::Tx;

use super::args;
use super::output::{Output, line, time};
use crate::application::store;
use crate::change::{self, Change};
use crate::delivery::ledger::attempts::{self, Attempt};
use crate::directory::{DirectoryError, Written, query};
use crate::hub::Hub;

/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

pub(super) async fn run(hub: &Hub, out: &Output, log: args::Log) -> Result<ExitCode> {
    match (log.app.clone(), log.subject.clone()) {
        (Some(app), _) => attempts(hub, out, &log, app).await?,
        (None, Some(subject)) if !log.follow => {
            let changes = hub
                .db
                .read(move |tx| {
                    let id = subject_id(tx, &subject)?;
                    Ok::<_, DirectoryError>(change::of_subject(tx, &id)?)
                })
                .await?;
            let filter = Filter::of(&log, None);
            let shown = changes.iter().filter(|change| filter.passes(change));
            shown.for_each(|change| show_change(out, change));
        }
        (None, Some(subject)) => {
            let subject = hub.db.read(move |tx| subject_id(tx, &subject)).await?;
            changes(hub, out, &log, &Filter::of(&log, Some(subject))).await?;
        }
        (None, None) => changes(hub, out, &log, &Filter::of(&log, None)).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The id of a user; of another subject, or of somebody who was deleted, the id as it was written.
fn subject_id(tx: &mut Tx<'_>, text: &str) -> Result<String, DirectoryError> {
    let user = query::find_user(tx, text)?;
    Ok(user.map_or_else(|| Written::of(text).bare().to_owned(), |user| user.id))
}

/// Which changes are shown.
struct Filter {
    subject: Option<String>,
    kinds: Vec<String>,
    actor: Option<String>,
}

impl Filter {
    fn of(log: &args::Log, subject: Option<String>) -> Self {
        Self {
            subject,
            kinds: log.kind.clone(),
            actor: log.actor.clone(),
        }
    }

    fn passes(&self, change: &Change) -> bool {
        let kind = change.kind.as_str();
        self.subject.as_ref().is_none_or(|id| *id == change.subject_id)
            && (self.kinds.is_empty() || self.kinds.iter().any(|part| kind.contains(part.as_str())))
            && self
                .actor
                .as_ref()
                .is_none_or(|part| change.actor.contains(part.as_str()))
    }
}

async fn changes(hub: &Hub, out: &Output, log: &args::Log, filter: &Filter) -> Result<()> {
    let head = hub.db.read(change::head).await?.seq;
    let mut position = (head - i64::try_from(log.last).unwrap_or(0)).max(0);
    loop {
        let changes = hub
            .db
            .read(move |tx| change::read_after(tx, position, 500))
            .await?;
        for change in &changes {
            if filter.passes(change) {
                show_change(out, change);
            }
            position = change.seq;
        }
        if changes.is_empty() {
            if !log.follow {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

async fn attempts(hub: &Hub, out: &Output, log: &args::Log, app: String) -> Result<()> {
    let id = hub.db.read(move |tx| store::find(tx, &app)).await?.id;
    let mut position = 0;
    let mut limit = log.last;
    loop {
        let application_id = id.clone();
        let mut attempts = hub
            .db
            .read(move |tx| attempts::newest(tx, &application_id, position, limit))
            .await?;
        attempts.reverse();
        for (number, attempt) in &attempts {
            let simple = attempt.outcome == "delivered" && attempt.exceptions.is_empty();
            if !(log.failed && simple) {
                show_attempt(out, attempt);
            }
            position = *number;
        }
        if !log.follow {
            return Ok(());
        }
        limit = 500;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn show_change(out: &Output, change: &Change) {
    if out.json {
        let shown = crate::api::ShownChange::from(change.clone());
        line(&serde_json::to_string(&shown).unwrap_or_default());
        return;
    }
    let previous = change
        .previous
        .as_deref()
        .map(|text| format!("  was {text}"))
        .unwrap_or_default();
    line(&format!(
        "{:>8}  {}  {:<40} {}  by {}{previous}",
        change.seq,
        time(change.time),
        change.kind.as_str(),
        change.subject_id,
        change.actor
    ));
}

/// How many events of a request were not simply accepted.
fn exceptions_of(attempt: &Attempt) -> String {
    let counts = [
        (attempt.skipped, "skipped by the endpoint"),
        (attempt.failed, "refused"),
        (attempt.retried, "wanted again"),
    ];
    let told: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    match told.is_empty() {
        true => String::new(),
        false => format!("  ({})", told.join(", ")),
    }
}

fn show_attempt(out: &Output, attempt: &Attempt) {
    if out.json {
        line(&serde_json::to_string(attempt).unwrap_or_default());
        return;
    }
    let range = match (attempt.from_seq, attempt.to_seq) {
        (Some(from), Some(to)) => format!("changes {from} to {to}"),
        _ => attempt.source.clone(),
    };
    let latency = f64::from(u32::try_from(attempt.latency_us).unwrap_or(u32::MAX)) / 1_000.0;
    line(&format!(
        "{}  {:<12} {:>4} events in {latency:>8.1} ms  try {}  {range}{}{}",
        time(attempt.started_at),
        attempt.outcome,
        attempt.events,
        attempt.try_number,
        exceptions_of(attempt),
        attempt
            .in_full()
            .map(|detail| format!("  {detail}"))
            .unwrap_or_default()
    ));
    for exception in &attempt.exceptions {
        line(&format!(
            "          {} {} {}: {} {}",
            exception.event_id,
            exception.event_type,
            exception.result,
            exception.code,
            exception.message.as_deref().unwrap_or_default()
        ));
    }
}
