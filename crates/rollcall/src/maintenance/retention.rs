//! Retention: the log and the attempts do not grow for ever.
//!
//! A change goes once it is older than [`Retention::changes`] *and* behind the cursor of every application.
//! An application that is switched off or does not answer would thereby keep the log for ever, so changes
//! older than [`Retention::laggards`] go although some application has not got them. That application is
//! then pushed everything again, by a synchronization job of its own, which says why it is there.
//!
//! A push tells what is there, but not what is no longer there. Therefore the changes by which somebody
//! leaves a scope or the directory (deletions, moves, departures, members removed) are kept for those
//! who lag, and are delivered from what is left of the log before the push begins. Without that, an
//! application could keep somebody for ever who was deleted while it was away.
//!
//! Changes that parked events stand for are kept as long as those, with what happened to their subjects
//! later: only so can it be told whether sending one again would turn its subject back. Everything is done in portions, so that
//! writers wait for no more than one.

use std::time::Duration;

use rollcall_db::{DbError, Tx};

use crate::application::store;
use crate::audit;
use crate::change::{self, Seq};
use crate::clock::{Millis, millis};
use crate::delivery::comparison;
use crate::delivery::job::{self, JobKind};
use crate::delivery::ledger::trim;
use crate::hub::Hub;
use crate::id;
use crate::once;

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Changes that every application has got.
    pub changes: Duration,
    /// Changes that some application has not got.
    pub laggards: Duration,
    /// Attempts, and synchronization jobs that have ended.
    pub attempts: Duration,
    /// Entries of the audit log. What the change log tells is kept as long as the changes.
    pub audit: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

impl Default for Retention {
    fn default() -> Self {
        Self {
            changes: DAY * 14,
            laggards: DAY * 90,
            attempts: DAY * 30,
            audit: DAY * 365,
        }
    }
}

/// Rows that one transaction removes.
const PORTION: i64 = 2_000;

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Changes.
    pub changes: u64,
    /// Attempts.
    pub attempts: u64,
    /// Applications that are pushed everything again.
    pub fallen_behind: u64,
}

/// Removes what is old enough.
///
/// # Errors
/// What the database reports; what was removed by then stays removed.
pub async fn trim(hub: &Hub, retention: Retention) -> Result<Trimmed, DbError> {
    let now = hub.clock.now();
    let mut trimmed = Trimmed::default();
    let oldest = now - millis(retention.changes);
    trimmed.changes += in_portions(hub, move |tx| trim_delivered(tx, oldest)).await?;
    let oldest = now - millis(retention.laggards);
    let too = hub.clone();
    let cut = hub
        .db
        .write(move |tx| give_up_laggards(&too, tx, oldest, now))
        .await?;
    if let Some(cut) = cut {
        trimmed.fallen_behind = cut.fallen_behind;
        trimmed.changes += in_portions(hub, move |tx| trim::dispensable(tx, cut.up_to, PORTION)).await?;
    }
    let oldest = now - millis(retention.attempts);
    trimmed.attempts += in_portions(hub, move |tx| trim::attempts(tx, oldest, PORTION)).await?;
    in_portions(hub, move |tx| trim::ended_jobs(tx, oldest, PORTION)).await?;
    in_portions(hub, move |tx| comparison::trim(tx, oldest, PORTION)).await?;
    job::discard_left_behind(hub, now).await?;
    let oldest = now - millis(retention.audit);
    in_portions(hub, move |tx| audit::trim(tx, oldest, PORTION)).await?;
    let oldest = now - once::KNOWN_FOR;
    in_portions(hub, move |tx| once::trim(tx, oldest, PORTION)).await?;
    hub.meters.trimmed_changes.inc_by(trimmed.changes);
    hub.meters.trimmed_attempts.inc_by(trimmed.attempts);
    if trimmed != Trimmed::default() {
        tracing::info!(
            changes = trimmed.changes,
            attempts = trimmed.attempts,
            fallen_behind = trimmed.fallen_behind,
            "retention removed what is old"
        );
    }
    Ok(trimmed)
}

/// Removes portion after portion until nothing is left to remove, each in a transaction of its own. Returns
/// how much that was.
async fn in_portions(
    hub: &Hub,
    remove: impl Fn(&mut Tx<'_>) -> Result<u64, DbError> + Clone + Send + 'static,
) -> Result<u64, DbError> {
    let mut all = 0;
    loop {
        let remove = remove.clone();
        match hub.db.write(move |tx| remove(tx)).await? {
            0 => return Ok(all),
            removed => all += removed,
        }
    }
}

/// The last position whose change is older than a time. Times never run backwards along the log, so it is
/// found by halving: the log may hold millions of changes for somebody who is away.
fn last_before(tx: &mut Tx<'_>, time: Millis) -> Result<Seq, DbError> {
    let mut older = change::oldest(tx)?.unwrap_or(0) - 1;
    let mut newer = change::head(tx)?.seq + 1;
    // What stands at `older` and before is older, what stands at `newer` and after is not.
    while newer - older > 1 {
        let middle = older + (newer - older) / 2;
        match change::time_after(tx, middle - 1)? {
            Some(there) if there < time => older = middle,
            _ => newer = middle,
        }
    }
    Ok(older)
}

fn trim_delivered(tx: &mut Tx<'_>, oldest: Millis) -> Result<u64, DbError> {
    let up_to = last_before(tx, oldest)?;
    trim::delivered(tx, up_to, PORTION)
}

#[derive(Clone, Copy)]
struct Cut {
    up_to: Seq,
    fallen_behind: u64,
}

/// Sees to it that everybody who has not got what is about to go is pushed everything; `None` if nothing
/// goes, or not yet.
fn give_up_laggards(hub: &Hub, tx: &mut Tx<'_>, oldest: Millis, now: Millis) -> Result<Option<Cut>, DbError> {
    let up_to = last_before(tx, oldest)?;
    if !trim::is_anything_dispensable(tx, up_to)? {
        return Ok(None);
    }
    let mut fallen_behind = 0;
    for application in store::list(tx)? {
        if application.position >= up_to {
            continue;
        }
        let open = job::open_job(tx, &application.id)?;
        if open.is_some_and(|job| job.kind == JobKind::Full && job.is_pending() && job.position >= up_to) {
            continue;
        }
        let job_id = id::make("job", now, &*hub.random);
        let job_id = job::repin(tx, &application.id, &job_id, job::Trigger::Retention, now)?;
        fallen_behind += 1;
        tracing::warn!(
            application = application.id,
            job = job_id,
            "the application has fallen behind the log's retention and is pushed everything"
        );
    }
    Ok(Some(Cut { up_to, fallen_behind }))
}
