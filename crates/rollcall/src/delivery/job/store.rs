//! Synchronization jobs as they are stored.

use rollcall_db::{DbError, Row, Tx, params};
use rollcall_protocol::Random;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{JobError, JobKind, JobPosition, JobStatus, Phase, Statistics, Trigger};
use crate::access::Context;
use crate::application::{command::open, store as applications};
use crate::change;
use crate::clock::Millis;
use crate::delivery::ledger::operate;
use crate::id;

/// How far a job is, as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Progress {
    /// The log's time at the job's position.
    pub(super) position_time: Millis,
    /// Where in its work it stands.
    #[serde(flatten)]
    pub(super) phase: Phase,
}

/// Asks for a full synchronization, pinned to the log's present end. Returns the job's id.
///
/// # Errors
/// [`JobError`].
pub fn request_full(tx: &mut Tx<'_>, ctx: &Context<'_>, application_id: &str) -> Result<String, JobError> {
    let application = open(tx, ctx, application_id)?;
    let job_id = id::make("job", ctx.now, ctx.random);
    check_free(tx, application_id)?;
    insert(
        tx,
        application_id,
        &job_id,
        (JobKind::Full, Trigger::Manual, JobStatus::Pending),
        Phase::Units,
        Statistics::default(),
        ctx.now,
    )?;
    applications::touch(tx, application_id)?;
    operate::note(tx, ctx, &application, "synchronize", &json!({ "job": job_id }))?;
    Ok(job_id)
}

/// Has everything pushed to every application that is kept in step, from the log's present end on: a backup was
/// restored, and nobody knows what they have got since it was taken. Returns how many they are.
///
/// # Errors
/// What the database reports.
pub fn after_restore(tx: &mut Tx<'_>, now: Millis, random: &dyn Random) -> Result<u64, DbError> {
    let mut due = 0;
    for application in applications::list(tx)? {
        if application.synchronize {
            let new_id = id::make("job", now, random);
            repin(tx, &application.id, &new_id, Trigger::Restore, now)?;
            due += 1;
        }
    }
    Ok(due)
}

/// Has everything pushed to an application that would not converge otherwise, from the log's present end on. An
/// unfinished job of the application takes that upon itself: what it has still to send (who leaves a scope is
/// told by nobody else) goes first.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn repin(
    tx: &mut Tx<'_>,
    application_id: &str,
    new_id: &str,
    trigger: Trigger,
    now: Millis,
) -> Result<String, DbError> {
    operate::interfere(tx, application_id)?;
    let Some(open) = open_job(tx, application_id)? else {
        insert(
            tx,
            application_id,
            new_id,
            (JobKind::Full, trigger, JobStatus::Pending),
            Phase::Units,
            Statistics::default(),
            now,
        )?;
        return Ok(new_id.to_owned());
    };
    let head = change::head(tx)?;
    let progress = Progress {
        position_time: head.time,
        phase: match open.phase {
            Phase::Items { .. } if open.kind == JobKind::ChangeOfScope => open.phase,
            _ => {
                tx.execute(
                    "DELETE FROM job_items WHERE job_id = $1",
                    params![open.id.as_str()],
                )?;
                Phase::Units
            }
        },
    };
    tx.execute(
        "UPDATE jobs SET kind = $2, trigger = $3, status = 'pending', position_seq = $4, progress = $5,
                statistics = $6 WHERE id = $1",
        params![
            open.id.as_str(),
            JobKind::Full.as_str(),
            trigger.as_str(),
            head.seq,
            to_json(&progress)?,
            to_json(&Statistics::default())?
        ],
    )?;
    Ok(open.id)
}

/// Refuses a job where none may be made.
///
/// # Errors
/// [`JobError`].
pub(super) fn check_free(tx: &mut Tx<'_>, application_id: &str) -> Result<(), JobError> {
    let application = applications::load(tx, application_id)?;
    if !application.synchronize {
        return Err(JobError::SwitchedOff(application.name));
    }
    match open_job(tx, application_id)? {
        Some(open) => Err(JobError::Busy(open.id)),
        None => Ok(()),
    }
}

pub(super) fn insert(
    tx: &mut Tx<'_>,
    application_id: &str,
    job_id: &str,
    (kind, trigger, status): (JobKind, Trigger, JobStatus),
    phase: Phase,
    statistics: Statistics,
    now: Millis,
) -> Result<(), DbError> {
    let head = change::head(tx)?;
    let progress = Progress {
        position_time: head.time,
        phase,
    };
    tx.execute(
        "INSERT INTO jobs (id, application_id, kind, trigger, status, position_seq, progress, statistics,
                           created_at)
         VALUES ($1, $2, $3, $8, $9, $4, $5, $6, $7)",
        params![
            job_id,
            application_id,
            kind.as_str(),
            head.seq,
            to_json(&progress)?,
            to_json(&statistics)?,
            now,
            trigger.as_str(),
            status.as_str()
        ],
    )?;
    Ok(())
}

/// The position in a job's list before what is left of it: its entries stay until the job ends, so that is the
/// end of the list for a job that has none.
///
/// # Errors
/// What the database reports.
pub(super) fn items_left(tx: &mut Tx<'_>, job_id: &str) -> Result<i64, DbError> {
    tx.query_one(
        "SELECT COALESCE(MIN(ordinal) - 1, 0) FROM job_items WHERE job_id = $1",
        params![job_id],
    )?
    .get(0)
}

/// Cancels the unfinished job of an application. What was sent stays sent.
///
/// # Errors
/// [`JobError::NothingToCancel`], or what the database reports.
pub fn cancel(tx: &mut Tx<'_>, ctx: &Context<'_>, application_id: &str) -> Result<String, JobError> {
    let application = open(tx, ctx, application_id)?;
    let mut job = open_job(tx, application_id)?.ok_or(JobError::NothingToCancel)?;
    job.status = JobStatus::Cancelled;
    store(tx, &job, ctx.now)?;
    applications::touch(tx, application_id)?;
    operate::note(tx, ctx, &application, "cancel", &json!({ "job": job.id }))?;
    Ok(job.id)
}

const COLUMNS: &str = "id, kind, status, position_seq, progress, statistics, created_at, started_at, \
                       ended_at, error, trigger";

/// The unfinished job of an application.
///
/// # Errors
/// What the database reports.
pub fn open_job(tx: &mut Tx<'_>, application_id: &str) -> Result<Option<JobPosition>, DbError> {
    tx.query_opt(
        &format!("SELECT {COLUMNS} FROM jobs WHERE application_id = $1 AND status IN ('pending', 'running')"),
        params![application_id],
    )?
    .map(|row| from_row(&row))
    .transpose()
}

/// The newest jobs of an application, newest first.
///
/// # Errors
/// What the database reports.
pub fn newest(tx: &mut Tx<'_>, application_id: &str, limit: usize) -> Result<Vec<JobPosition>, DbError> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM jobs WHERE application_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2"
        ),
        params![application_id, i64::try_from(limit).unwrap_or(i64::MAX)],
    )?
    .iter()
    .map(from_row)
    .collect()
}

/// Reads one job.
///
/// # Errors
/// What the database reports.
pub fn load(tx: &mut Tx<'_>, job_id: &str) -> Result<Option<JobPosition>, DbError> {
    tx.query_opt(
        &format!("SELECT {COLUMNS} FROM jobs WHERE id = $1"),
        params![job_id],
    )?
    .map(|row| from_row(&row))
    .transpose()
}

/// Stores how far a job is, unless somebody has ended it meanwhile.
///
/// # Errors
/// What the database reports.
pub fn store(tx: &mut Tx<'_>, job: &JobPosition, now: Millis) -> Result<(), DbError> {
    let progress = Progress {
        position_time: job.position_time,
        phase: job.phase.clone(),
    };
    tx.execute_later(
        "UPDATE jobs SET status = $2, progress = $3, statistics = $4, error = $5, started_at = $6, ended_at = $7
         WHERE id = $1 AND status IN ('pending', 'running')",
        params![
            job.id.as_str(),
            job.status.as_str(),
            to_json(&progress)?,
            to_json(&job.statistics)?,
            job.error.as_deref(),
            job.started_at,
            job.is_finished().then_some(now)
        ],
    )?;
    if job.is_finished() {
        tx.execute_later(
            "DELETE FROM job_items WHERE job_id = $1",
            params![job.id.as_str()],
        )?;
    }
    Ok(())
}

fn from_row(row: &Row) -> Result<JobPosition, DbError> {
    let unreadable = |what: &str| DbError::Other(format!("a synchronization job has an unreadable {what}"));
    let progress: Progress =
        serde_json::from_str(&row.get::<String>(4)?).map_err(|_| unreadable("progress"))?;
    Ok(JobPosition {
        id: row.get(0)?,
        kind: JobKind::parse(&row.get::<String>(1)?).ok_or_else(|| unreadable("kind"))?,
        status: JobStatus::parse(&row.get::<String>(2)?).ok_or_else(|| unreadable("status"))?,
        position: row.get(3)?,
        position_time: progress.position_time,
        phase: progress.phase,
        statistics: serde_json::from_str(&row.get::<String>(5)?).map_err(|_| unreadable("statistics"))?,
        created_at: row.get(6)?,
        started_at: row.get(7)?,
        ended_at: row.get(8)?,
        error: row.get(9)?,
        trigger: match row.get::<String>(10)?.as_str() {
            "retention" => Trigger::Retention,
            "restore" => Trigger::Restore,
            _ => Trigger::Manual,
        },
    })
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(|error| DbError::Other(error.to_string()))
}
