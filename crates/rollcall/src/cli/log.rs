//! `rollcall log`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize as _;

use super::args;
use super::backend::{Attempts, Backend};
use super::list::older;
use super::output::{Output, counted, first_of, line, note, time};
use crate::api::{NumberedAttempt, ShownChange};
use crate::change::Seq;
use crate::delivery::ledger::attempts::LOOKED_AT;
use crate::delivery::model::Attempt;

/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// More requests than any hub stores from one look to the next.
const SINCE_LAST_LOOK: i64 = 20_000;

pub(super) async fn run(backend: &Backend, out: &Output, log: args::Log) -> Result<ExitCode> {
    if let Some(app) = &log.app {
        attempts(backend, out, &log, app).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let subject = match &log.subject {
        Some(written) => Some(backend.subject_id(written).await?),
        None => None,
    };
    changes(backend, out, &log, &Filter::of(&log, subject)).await?;
    Ok(ExitCode::SUCCESS)
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

    fn passes(&self, change: &ShownChange) -> bool {
        let kind = change.kind.as_ref();
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

impl args::Log {
    /// How many of the newest are wanted.
    fn wanted(&self) -> usize {
        let default = if self.all || self.subject.is_some() {
            usize::MAX
        } else {
            LAST
        };
        self.last.unwrap_or(default)
    }
}

/// The newest changes that pass, oldest first, and the position after which others may come. One more than is
/// wanted, if there is one.
async fn newest(backend: &Backend, log: &args::Log, filter: &Filter) -> Result<(Vec<ShownChange>, Seq)> {
    let head = backend.head().await?;
    let wanted = log.wanted().saturating_add(1);
    let mut pages = backend.newest_changes(head, filter.subject.as_deref());
    let mut found = Vec::new();
    while found.len() < wanted
        && let Some(page) = pages.next(PAGE).await?
    {
        let passed = page
            .into_iter()
            .filter(|change| change.seq <= head && filter.passes(change));
        found.extend(passed);
    }
    found.truncate(wanted);
    found.reverse();
    Ok((found, head))
}

async fn changes(backend: &Backend, out: &Output, log: &args::Log, filter: &Filter) -> Result<()> {
    let (mut shown, mut position) = newest(backend, log, filter).await?;
    let more = cut(&mut shown, log.wanted());
    if shown.is_empty() && !log.follow && !out.json {
        note("no change");
    }
    for change in shown {
        show_change(backend, out, change).await?;
    }
    if !log.follow {
        if more && !out.json {
            note(&older(log.wanted()));
        }
        return Ok(());
    }
    loop {
        let changes = backend.changes_after(position, PAGE).await?;
        let waits = changes.is_empty();
        for change in changes {
            position = change.seq;
            if filter.passes(&change) {
                show_change(backend, out, change).await?;
            }
        }
        if waits {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Leaves the newest, which stand last. Says whether others went.
fn cut<T>(found: &mut Vec<T>, wanted: usize) -> bool {
    let left_out = found.len().saturating_sub(wanted);
    found.drain(..left_out);
    left_out > 0
}

async fn attempts(backend: &Backend, out: &Output, log: &args::Log, app: &str) -> Result<()> {
    let id = backend.application(app).await?.id;
    let mut position = 0;
    let wanted = log.wanted();
    let mut limit = wanted.saturating_add(1);
    let mut looked_at = LOOKED_AT;
    loop {
        let Attempts {
            found: mut attempts,
            cut_short,
        } = backend
            .attempts(&id, (position, limit), (log.failed, looked_at))
            .await?;
        let is_first = looked_at == LOOKED_AT;
        if cut_short && is_first {
            note(&format!(
                "only the newest {LOOKED_AT} requests were looked at, those to all applications together"
            ));
        }
        attempts.reverse();
        let more = is_first && cut(&mut attempts, wanted);
        if attempts.is_empty() && !log.follow && !out.json {
            note("no request");
        }
        for NumberedAttempt { number, attempt } in attempts {
            position = number;
            show_attempt(backend, out, attempt).await?;
        }
        if !log.follow {
            if more && !out.json {
                note(&older(wanted));
            }
            return Ok(());
        }
        limit = PAGE;
        // What was looked at without a find is not looked at again.
        looked_at = SINCE_LAST_LOOK;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How many names of members a line has.
const MEMBERS: usize = 10;

/// The users that a change of a group's members names.
fn members_of(change: &ShownChange) -> Vec<String> {
    #[derive(Default, serde::Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Members {
        user_ids: Vec<String>,
    }
    Members::deserialize(&change.record).unwrap_or_default().user_ids
}

async fn show_change(backend: &Backend, out: &Output, change: ShownChange) -> Result<()> {
    if out.json {
        line(&serde_json::to_string(&change).unwrap_or_default());
        return Ok(());
    }
    let mut members = members_of(&change);
    let count = members.len() as u64;
    members.truncate(MEMBERS);
    let members = match members.is_empty() {
        true => String::new(),
        false => first_of(&backend.names(members).await?, count),
    };
    let previous = change
        .previous
        .as_ref()
        .map(|fields| format!("  was {fields}"))
        .unwrap_or_default();
    line(&format!(
        "{:>8}  {}  {:<24} {}{}{members}  by {}{previous}",
        change.seq,
        time(change.time),
        change.kind,
        change.subject_id,
        change.name().map(|name| format!(" ({name})")).unwrap_or_default(),
        change.actor
    ));
    Ok(())
}

/// How many events of a request were not simply accepted.
fn exceptions_of(attempt: &Attempt) -> String {
    // Of a request that is assumed as a whole, its outcome says so.
    let unnamed = match attempt.outcome.as_str() {
        "delivered" => attempt.assumed,
        _ => 0,
    };
    let counts = [
        (attempt.skipped, "skipped by the endpoint"),
        (attempt.failed, "refused"),
        (attempt.retried, "wanted again"),
        (unnamed, "not named by the answer"),
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

async fn show_attempt(backend: &Backend, out: &Output, attempt: Attempt) -> Result<()> {
    if out.json {
        line(&serde_json::to_string(&attempt).unwrap_or_default());
        return Ok(());
    }
    let range = match (attempt.from_seq, attempt.to_seq) {
        (Some(from), Some(to)) => format!("changes {from} to {to}"),
        _ => attempt.source.clone(),
    };
    let latency = f64::from(u32::try_from(attempt.latency_us).unwrap_or(u32::MAX)) / 1_000.0;
    line(&format!(
        "{}  {:<12} {:>10} in {latency:>8.1} ms  try {}  {range}{}{}{}",
        time(attempt.started_at),
        attempt.outcome,
        counted(attempt.events.into(), "event"),
        attempt.try_number,
        exceptions_of(&attempt),
        attempt
            .in_full()
            .map(|detail| format!("  {detail}"))
            .unwrap_or_default(),
        attempt
            .next_try
            .map(|at| format!("  (next try {})", time(at)))
            .unwrap_or_default()
    ));
    let ids = attempt.exceptions.iter().map(|it| it.subject_id.clone());
    let names = backend.names(ids.collect()).await?;
    for (exception, name) in attempt.exceptions.iter().zip(names) {
        let said = exception.message.as_deref().unwrap_or_default();
        let text = format!(
            "          {}  {name} ({})  {} {}: {} {said}",
            exception.event_id, exception.subject_id, exception.event_type, exception.result, exception.code
        );
        line(text.trim_end());
    }
    Ok(())
}
