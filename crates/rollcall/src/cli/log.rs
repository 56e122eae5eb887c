//! `rollcall log`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use rollcall_db::Tx;

use super::args;
use super::output::{Output, counted, line, time};
use crate::application::store;
use crate::change::{self, Change, Seq};
use crate::delivery::ledger::attempts;
use crate::delivery::model::Attempt;
use crate::directory::earlier::{self, Whom};
use crate::hub::Hub;
use crate::why::WhyError;

/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

pub(super) async fn run(hub: &Hub, out: &Output, log: args::Log) -> Result<ExitCode> {
    if let Some(app) = log.app.clone() {
        attempts(hub, out, &log, app).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let subject = match log.subject.clone() {
        Some(written) => Some(hub.db.read(move |tx| subject_id(tx, &written)).await?),
        None => None,
    };
    changes(hub, out, &log, &Filter::of(&log, subject)).await?;
    Ok(ExitCode::SUCCESS)
}

/// The id of a user, also of one who was deleted; of another subject, the id as it was written.
fn subject_id(tx: &mut Tx<'_>, text: &str) -> Result<String, WhyError> {
    match earlier::whom(tx, text)? {
        Whom::Here(user) => Ok(user.id),
        Whom::Gone(id) => Ok(id),
        Whom::Several(others) => Err(WhyError::several(text, &others)),
        Whom::Unknown => Err(WhyError::UnknownUser(text.to_owned())),
    }
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

/// How many of the newest changes are shown, if nothing is said.
const LAST: usize = 20;
/// How many changes are read at once.
const PAGE: usize = 500;

/// The newest changes that pass, oldest first, and the position after which others may come.
async fn newest(hub: &Hub, log: &args::Log, filter: &Filter) -> Result<(Vec<Change>, Seq)> {
    let head = hub.db.read(change::head).await?.seq;
    if let Some(id) = filter.subject.clone() {
        let all = hub.db.read(move |tx| change::of_subject(tx, &id)).await?;
        let passed: Vec<Change> = all
            .into_iter()
            .filter(|change| change.seq <= head && filter.passes(change))
            .collect();
        let left_out = passed.len().saturating_sub(log.last.unwrap_or(usize::MAX));
        return Ok((passed.into_iter().skip(left_out).collect(), head));
    }
    let wanted = log.last.unwrap_or(LAST);
    let (mut found, mut before) = (Vec::new(), head + 1);
    while found.len() < wanted {
        let page = hub
            .db
            .read(move |tx| change::read_before(tx, before, PAGE))
            .await?;
        let Some(oldest) = page.last() else { break };
        before = oldest.seq;
        found.extend(page.into_iter().filter(|change| filter.passes(change)));
    }
    found.truncate(wanted);
    found.reverse();
    Ok((found, head))
}

async fn changes(hub: &Hub, out: &Output, log: &args::Log, filter: &Filter) -> Result<()> {
    let (shown, mut position) = newest(hub, log, filter).await?;
    for change in &shown {
        show_change(out, change);
    }
    if !log.follow {
        return Ok(());
    }
    loop {
        let changes = hub
            .db
            .read(move |tx| change::read_after(tx, position, PAGE))
            .await?;
        for change in &changes {
            if filter.passes(change) {
                show_change(out, change);
            }
            position = change.seq;
        }
        if changes.is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

async fn attempts(hub: &Hub, out: &Output, log: &args::Log, app: String) -> Result<()> {
    let id = hub.db.read(move |tx| store::find(tx, &app)).await?.id;
    let mut position = 0;
    let mut limit = log.last.unwrap_or(LAST);
    let failed = log.failed;
    loop {
        let application_id = id.clone();
        let mut attempts = hub
            .db
            .read(move |tx| match failed {
                true => attempts::newest_failed(tx, &application_id, position, limit),
                false => attempts::newest(tx, &application_id, position, limit),
            })
            .await?;
        attempts.reverse();
        for (number, attempt) in &attempts {
            show_attempt(out, attempt);
            position = *number;
        }
        if !log.follow {
            return Ok(());
        }
        limit = 500;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The name that the subject has in the record of a change, or had before it.
fn name_of(change: &Change) -> Option<String> {
    [Some(change.record.as_str()), change.previous.as_deref()]
        .into_iter()
        .flatten()
        .find_map(|record| {
            let record = serde_json::from_str(record).ok()?;
            change::name_in(&record).map(str::to_owned)
        })
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
        "{:>8}  {}  {:<40} {}{}  by {}{previous}",
        change.seq,
        time(change.time),
        change.kind.as_str(),
        change.subject_id,
        name_of(change)
            .map(|name| format!(" ({name})"))
            .unwrap_or_default(),
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
        "{}  {:<12} {:>10} in {latency:>8.1} ms  try {}  {range}{}{}",
        time(attempt.started_at),
        attempt.outcome,
        counted(attempt.events.into(), "event"),
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
