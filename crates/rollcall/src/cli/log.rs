//! `rollcall log`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use rollcall_db::{DbError, Tx};

use super::args;
use super::list::older;
use super::output::{Output, counted, first_of, line, note, time};
use crate::application::store;
use crate::change::{self, Change, Seq};
use crate::delivery::ledger::attempts::{self, LOOKED_AT, Search};
use crate::delivery::model::Attempt;
use crate::directory::earlier::{self, Whom};
use crate::hub::Hub;
use crate::why::WhyError;

/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// More requests than any hub stores from one look to the next.
const SINCE_LAST_LOOK: i64 = 20_000;

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
        Whom::Here(found) => Ok(found.0.id),
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
async fn newest(hub: &Hub, log: &args::Log, filter: &Filter) -> Result<(Vec<Change>, Seq)> {
    let head = hub.db.read(change::head).await?.seq;
    let wanted = log.wanted().saturating_add(1);
    if let Some(id) = filter.subject.clone() {
        let all = hub.db.read(move |tx| change::of_subject(tx, &id)).await?;
        let passed: Vec<Change> = all
            .into_iter()
            .filter(|change| change.seq <= head && filter.passes(change))
            .collect();
        let left_out = passed.len().saturating_sub(wanted);
        return Ok((passed.into_iter().skip(left_out).collect(), head));
    }
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
    let (mut shown, mut position) = newest(hub, log, filter).await?;
    let more = cut(&mut shown, log.wanted());
    if shown.is_empty() && !log.follow && !out.json {
        note("no change");
    }
    for change in shown {
        show_change(hub, out, change).await?;
    }
    if !log.follow {
        if more && !out.json {
            note(&older(log.wanted()));
        }
        return Ok(());
    }
    loop {
        let changes = hub
            .db
            .read(move |tx| change::read_after(tx, position, PAGE))
            .await?;
        let waits = changes.is_empty();
        for change in changes {
            position = change.seq;
            if filter.passes(&change) {
                show_change(hub, out, change).await?;
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

async fn attempts(hub: &Hub, out: &Output, log: &args::Log, app: String) -> Result<()> {
    let id = hub.db.read(move |tx| store::find(tx, &app)).await?.id;
    let mut position = 0;
    let wanted = log.wanted();
    let mut limit = wanted.saturating_add(1);
    let failed = log.failed;
    let mut looked_at = LOOKED_AT;
    loop {
        let application_id = id.clone();
        let (mut attempts, cut_short) = hub
            .db
            .read(move |tx| {
                let mut search = Search::of(looked_at);
                let found = match failed {
                    true => attempts::newest_failed(tx, &mut search, &application_id, position, limit)?,
                    false => attempts::newest(tx, &application_id, position, limit)?,
                };
                Ok::<_, DbError>((found, search.was_cut_short()))
            })
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
        for (number, attempt) in attempts {
            position = number;
            show_attempt(hub, out, attempt).await?;
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

/// How many names of members a line has.
const MEMBERS: usize = 10;

/// The users that a change of a group's members names.
fn members_of(change: &Change) -> Vec<String> {
    #[derive(Default, serde::Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Members {
        user_ids: Vec<String>,
    }
    serde_json::from_str::<Members>(&change.record)
        .unwrap_or_default()
        .user_ids
}

/// The names of subjects, also of those that are gone; an id that nobody knows stands for itself.
async fn names(hub: &Hub, ids: Vec<String>) -> Result<Vec<String>> {
    Ok(hub
        .db
        .read(move |tx| {
            let names = ids
                .iter()
                .map(|id| Ok(earlier::name_of(tx, id)?.unwrap_or_else(|| id.clone())));
            names.collect::<Result<_, rollcall_db::DbError>>()
        })
        .await?)
}

async fn show_change(hub: &Hub, out: &Output, change: Change) -> Result<()> {
    if out.json {
        let shown = crate::api::ShownChange::from(change);
        line(&serde_json::to_string(&shown).unwrap_or_default());
        return Ok(());
    }
    let mut members = members_of(&change);
    let count = members.len() as u64;
    members.truncate(MEMBERS);
    let members = match members.is_empty() {
        true => String::new(),
        false => first_of(&names(hub, members).await?, count),
    };
    let previous = change
        .previous
        .as_deref()
        .map(|text| format!("  was {text}"))
        .unwrap_or_default();
    line(&format!(
        "{:>8}  {}  {:<24} {}{}{members}  by {}{previous}",
        change.seq,
        time(change.time),
        change.kind.as_str(),
        change.subject_id,
        name_of(&change)
            .map(|name| format!(" ({name})"))
            .unwrap_or_default(),
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

async fn show_attempt(hub: &Hub, out: &Output, attempt: Attempt) -> Result<()> {
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
    let names = names(hub, ids.collect()).await?;
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
