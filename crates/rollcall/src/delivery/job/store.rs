//! Synchronization jobs as they are stored.

use rollcall_db::{DbError, Row, Tx, Value, params};
use rollcall_protocol::Random;
use serde::{Deserialize, Serialize};

use super::{JobError, JobKind, JobPosition, JobStatus, Phase, Statistics, Trigger};
use crate::application::store as applications;
use crate::change;
use crate::clock::Millis;
use crate::delivery::ledger::operate;
use crate::id;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    position_time: Millis,
    #[serde(flatten)]
    phase: Phase,
}

/// Asks for a full synchronization, pinned to the log's present end.
///
/// # Errors
/// [`JobError`].
pub fn request_full(
    tx: &mut Tx<'_>,
    application_id: &str,
    job_id: &str,
    now: Millis,
) -> Result<(), JobError> {
    create(
        tx,
        application_id,
        job_id,
        JobKind::Full,
        Phase::Units,
        Statistics::default(),
        now,
    )
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
    let Some(open) = open_job(tx, application_id)? else {
        insert(
            tx,
            application_id,
            new_id,
            (JobKind::Full, trigger),
            Phase::Units,
            Statistics::default(),
            now,
        )?;
        operate::interfere(tx, application_id)?;
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
    operate::interfere(tx, application_id)?;
    Ok(open.id)
}

pub(super) fn create(
    tx: &mut Tx<'_>,
    application_id: &str,
    job_id: &str,
    kind: JobKind,
    phase: Phase,
    statistics: Statistics,
    now: Millis,
) -> Result<(), JobError> {
    let application = applications::load(tx, application_id)?;
    if !application.synchronize {
        return Err(JobError::SwitchedOff(application.name));
    }
    if let Some(open) = open_job(tx, application_id)? {
        return Err(JobError::Busy(open.id));
    }
    insert(
        tx,
        application_id,
        job_id,
        (kind, Trigger::Manual),
        phase,
        statistics,
        now,
    )?;
    applications::touch(tx, application_id)?;
    Ok(())
}

fn insert(
    tx: &mut Tx<'_>,
    application_id: &str,
    job_id: &str,
    (kind, trigger): (JobKind, Trigger),
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
         VALUES ($1, $2, $3, $8, 'pending', $4, $5, $6, $7)",
        params![
            job_id,
            application_id,
            kind.as_str(),
            head.seq,
            to_json(&progress)?,
            to_json(&statistics)?,
            now,
            trigger.as_str()
        ],
    )?;
    Ok(())
}

/// An entry of a job's list.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// What is done: `push`, `enter` or `leave`.
    pub(super) action: &'static str,
    /// `user`, `organizational_unit` or `group`.
    pub(super) subject_kind: &'static str,
    /// Whose.
    pub(super) subject_id: String,
    /// The record to send, if it is fixed.
    pub(super) record: Option<String>,
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

/// Appends to a job's list, many entries with each statement.
///
/// # Errors
/// What the database reports.
pub(super) fn append_items(tx: &mut Tx<'_>, job_id: &str, items: &[Item]) -> Result<(), DbError> {
    const AT_ONCE: usize = 100;
    let last: i64 = tx
        .query_one(
            "SELECT COALESCE(MAX(ordinal), 0) FROM job_items WHERE job_id = $1",
            params![job_id],
        )?
        .get(0)?;
    let mut ordinal = last;
    for portion in items.chunks(AT_ONCE) {
        let mut values: Vec<Value<'_>> = Vec::with_capacity(portion.len() * 6);
        for item in portion {
            ordinal += 1;
            values.extend([
                Value::from(job_id),
                Value::from(ordinal),
                Value::from(item.action),
                Value::from(item.subject_kind),
                Value::from(item.subject_id.as_str()),
                Value::from(item.record.as_deref()),
            ]);
        }
        let sql = format!(
            "INSERT INTO job_items (job_id, ordinal, action, subject_kind, subject_id, record) VALUES {}",
            change::placeholders(portion.len(), 6)
        );
        tx.execute(&sql, &values)?;
    }
    Ok(())
}

/// Cancels the unfinished job of an application. What was sent stays sent.
///
/// # Errors
/// [`JobError::NothingToCancel`], or what the database reports.
pub fn cancel(tx: &mut Tx<'_>, application_id: &str, now: Millis) -> Result<String, JobError> {
    let mut job = open_job(tx, application_id)?.ok_or(JobError::NothingToCancel)?;
    job.status = JobStatus::Cancelled;
    store(tx, &job, now)?;
    applications::touch(tx, application_id)?;
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
    tx.execute(
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
        tx.execute(
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

fn to_json<T: Serialize>(value: &T) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(|error| DbError::Other(error.to_string()))
}
