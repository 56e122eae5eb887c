//! Synchronization jobs as they are stored, with the lists from which some of them work.

mod items;
mod wanted;

use std::collections::HashSet;

use rollcall_db::{DbError, Row, Tx, params};
use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};

use self::items::has_scope_items;
pub(super) use self::items::replace_records;
pub(in crate::delivery) use self::items::{
    Action, Item, append_items, items_after, items_left, remove_item, write_items,
};
pub use self::wanted::{JobsWanted, ids_of, load_many};
use crate::change;
use crate::clock::Millis;
use crate::delivery::model::job::{JobKind, JobPosition, JobStatus, Phase, Renamed, Statistics, Trigger};

/// How far a job is, as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    /// The log's time at the job's position.
    position_time: Millis,
    /// Where in its work it stands.
    #[serde(flatten)]
    phase: Phase,
}

/// Stores a new job, pinned to the log's present end.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn insert(
    tx: &mut Tx<'_>,
    application_id: &str,
    job_id: &str,
    (kind, trigger, status): (JobKind, Trigger, JobStatus),
    phase: Phase,
    statistics: Statistics,
    now: Millis,
) -> Result<(), DbError> {
    let head = change::head(tx)?;
    let job = JobPosition {
        id: job_id.to_owned(),
        kind,
        trigger,
        status,
        position: head.seq,
        position_time: head.time,
        phase,
        statistics,
        created_at: now,
        started_at: None,
        ended_at: None,
        error: None,
    };
    insert_at(tx, application_id, &job)
}

/// Stores a new job where it is pinned.
fn insert_at(tx: &mut Tx<'_>, application_id: &str, job: &JobPosition) -> Result<(), DbError> {
    let progress = Progress {
        position_time: job.position_time,
        phase: job.phase.clone(),
    };
    tx.execute(
        "INSERT INTO jobs (id, application_id, kind, trigger, status, position_seq, progress, statistics,
                           created_at)
         VALUES ($1, $2, $3, $8, $9, $4, $5, $6, $7)",
        params![
            job.id.as_str(),
            application_id,
            job.kind.as_str(),
            job.position,
            to_json(&progress)?,
            to_json(&job.statistics)?,
            job.created_at,
            job.trigger.as_str(),
            job.status.as_str()
        ],
    )?;
    Ok(())
}

/// Makes an unfinished job a full synchronization from the log's present end on. It first sends what is left of a
/// change of scope, which nobody else tells, however often it has begun anew.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn restart(
    tx: &mut Tx<'_>,
    job: JobPosition,
    trigger: Trigger,
) -> Result<(), DbError> {
    let head = change::head(tx)?;
    let progress = Progress {
        position_time: head.time,
        phase: match job.phase {
            Phase::Items { done, .. } if has_scope_items(tx, &job.id, done)? => {
                // The units that a full synchronization pushes are listed when it begins.
                tx.execute(
                    "DELETE FROM job_items WHERE job_id = $1 AND action = $2",
                    params![job.id.as_str(), Action::Push.as_str()],
                )?;
                job.phase
            }
            _ => {
                tx.execute(
                    "DELETE FROM job_items WHERE job_id = $1",
                    params![job.id.as_str()],
                )?;
                Phase::Units
            }
        },
    };
    tx.execute(
        "UPDATE jobs SET kind = $2, trigger = $3, status = 'pending', position_seq = $4, progress = $5,
                statistics = $6 WHERE id = $1",
        params![
            job.id.as_str(),
            JobKind::Full.as_str(),
            trigger.as_str(),
            head.seq,
            to_json(&progress)?,
            to_json(&Statistics::default())?
        ],
    )?;
    Ok(())
}

/// Begins a job whose list is whole, pinned to the log's present end. Returns whether the job is there.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn begin(
    tx: &mut Tx<'_>,
    job_id: &str,
    statistics: &Statistics,
) -> Result<bool, DbError> {
    let head = change::head(tx)?;
    let progress = Progress {
        position_time: head.time,
        phase: Phase::Items {
            done: 0,
            within: None,
        },
    };
    let begun = tx.execute(
        "UPDATE jobs SET status = $2, position_seq = $3, progress = $4, statistics = $5
         WHERE id = $1 AND status = $6",
        params![
            job_id,
            JobStatus::Pending.as_str(),
            head.seq,
            to_json(&progress)?,
            to_json(statistics)?,
            JobStatus::Preparing.as_str()
        ],
    )?;
    Ok(begun > 0)
}

pub(super) const COLUMNS: &str = "id, kind, status, position_seq, progress, statistics, created_at, started_at, \
                       ended_at, error, trigger";
/// How many they are.
pub(super) const COLUMN_COUNT: usize = 11;

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

/// Jobs of an application before one of them, by id, newest first.
///
/// # Errors
/// What the database reports.
pub fn page(
    tx: &mut Tx<'_>,
    application_id: &str,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<JobPosition>, DbError> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM jobs WHERE application_id = $1 AND id < COALESCE($2, 'k')
             ORDER BY id DESC LIMIT $3"
        ),
        params![application_id, before, i64::try_from(limit).unwrap_or(i64::MAX)],
    )?
    .iter()
    .map(from_row)
    .collect()
}

/// A job of an application, by its id; `None` also if it is another application's.
///
/// # Errors
/// What the database reports.
pub fn of_application(
    tx: &mut Tx<'_>,
    application_id: &str,
    job_id: &str,
) -> Result<Option<JobPosition>, DbError> {
    let belongs = tx.query_opt(
        "SELECT 1 FROM jobs WHERE id = $1 AND application_id = $2",
        params![job_id, application_id],
    )?;
    match belongs {
        Some(_) => load(tx, job_id),
        None => Ok(None),
    }
}

/// The application whose job this is.
///
/// # Errors
/// What the database reports.
pub fn application_of(tx: &mut Tx<'_>, job_id: &str) -> Result<Option<String>, DbError> {
    tx.query_opt("SELECT application_id FROM jobs WHERE id = $1", params![job_id])?
        .map(|row| row.get(0))
        .transpose()
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

pub(super) fn from_row(row: &Row) -> Result<JobPosition, DbError> {
    let unreadable = |what: &str| DbError::Other(format!("a synchronization job has an unreadable {what}"));
    let progress: Progress =
        serde_json::from_str(&row.get::<String>(4)?).map_err(|_| unreadable("progress"))?;
    Ok(JobPosition {
        id: row.get(0)?,
        kind: row.get::<String>(1)?.parse().map_err(|_| unreadable("kind"))?,
        status: row.get::<String>(2)?.parse().map_err(|_| unreadable("status"))?,
        position: row.get(3)?,
        position_time: progress.position_time,
        phase: progress.phase,
        statistics: serde_json::from_str(&row.get::<String>(5)?).map_err(|_| unreadable("statistics"))?,
        created_at: row.get(6)?,
        started_at: row.get(7)?,
        ended_at: row.get(8)?,
        error: row.get(9)?,
        trigger: row.get::<String>(10)?.parse().unwrap_or(Trigger::Manual),
    })
}

fn to_json<T: Serialize>(value: &T) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(|error| DbError::Other(error.to_string()))
}

/// Has the users of renamed units told anew, by the unfinished job of the application or one of its own. A full
/// synchronization that has not begun tells of them anyway.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn tell_again(
    tx: &mut Tx<'_>,
    application_id: &str,
    renamed: &Renamed,
    now: Millis,
) -> Result<(), DbError> {
    let open = open_job(tx, application_id)?;
    let Some(job) = renamed.taken_by(open.clone()) else {
        return Ok(());
    };
    match open {
        None => insert_at(tx, application_id, &job)?,
        Some(_) => store(tx, &job, now)?,
    }
    let listed: HashSet<String> = tx
        .query(
            "SELECT subject_id FROM job_items WHERE job_id = $1 AND action = $2",
            params![job.id.as_str(), Action::UnitNames.as_str()],
        )?
        .iter()
        .map(|row| row.get(0))
        .collect::<Result<_, _>>()?;
    let units = renamed.units.iter().filter(|unit| !listed.contains(*unit));
    let items: Vec<Item> = units
        .map(|unit| Item {
            action: Action::UnitNames,
            kind: SubjectKind::Unit,
            subject_id: unit.clone(),
            record: None,
        })
        .collect();
    append_items(tx, &job.id, &items)
}

/// Puts what an unfinished job has still to tell because of the names of units into the list of another one, and ends
/// it.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn take_over(
    tx: &mut Tx<'_>,
    mut open: JobPosition,
    job_id: &str,
    now: Millis,
) -> Result<(), DbError> {
    let left: Vec<Item> = items_after(tx, &open.id, open.items_done(), usize::MAX)?
        .into_iter()
        .map(|(_, item)| item)
        .collect();
    append_items(tx, job_id, &left)?;
    open.status = JobStatus::Cancelled;
    open.error = Some(format!("{job_id} does what was left of it"));
    store(tx, &open, now)
}

/// Whether the list of a job is still being written.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn is_preparing(tx: &mut Tx<'_>, job_id: &str) -> Result<bool, DbError> {
    let found = tx.query_opt(
        "SELECT 1 FROM jobs WHERE id = $1 AND status = $2",
        params![job_id, JobStatus::Preparing.as_str()],
    )?;
    Ok(found.is_some())
}

/// Removes a portion of a list that comes to nothing, and the job with the last of them. Returns whether all
/// is gone.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn discard(tx: &mut Tx<'_>, job_id: &str, portion: usize) -> Result<bool, DbError> {
    if !is_preparing(tx, job_id)? {
        return Ok(true);
    }
    let removed = tx.execute(
        "DELETE FROM job_items WHERE job_id = $1 AND ordinal IN
             (SELECT ordinal FROM job_items WHERE job_id = $1 ORDER BY ordinal LIMIT $2)",
        params![job_id, i64::try_from(portion).unwrap_or(i64::MAX)],
    )?;
    if removed > 0 {
        return Ok(false);
    }
    tx.execute("DELETE FROM jobs WHERE id = $1", params![job_id])?;
    Ok(true)
}

/// The jobs whose lists were begun before a time and are not whole.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn preparing_since(tx: &mut Tx<'_>, before: Millis) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT id FROM jobs WHERE status = $1 AND created_at < $2",
        params![JobStatus::Preparing.as_str(), before],
    )?
    .iter()
    .map(|row| row.get(0))
    .collect()
}
