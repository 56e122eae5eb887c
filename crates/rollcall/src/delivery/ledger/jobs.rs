//! Synchronization jobs as they are stored, with the lists from which some of them work.

use rollcall_db::{DbError, Row, Tx, Value, params};
use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

use crate::change;
use crate::clock::Millis;
use crate::delivery::model::job::{JobKind, JobPosition, JobStatus, Phase, Statistics, Trigger};

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
pub(in crate::delivery) fn items_left(tx: &mut Tx<'_>, job_id: &str) -> Result<i64, DbError> {
    tx.query_one(
        "SELECT COALESCE(MIN(ordinal) - 1, 0) FROM job_items WHERE job_id = $1",
        params![job_id],
    )?
    .get(0)
}

/// Whether something is left of a change of scope after a position of a job's list.
fn has_scope_items(tx: &mut Tx<'_>, job_id: &str, done: i64) -> Result<bool, DbError> {
    let found = tx.query_opt(
        "SELECT 1 FROM job_items WHERE job_id = $1 AND ordinal > $2 AND action <> $3 LIMIT 1",
        params![job_id, done, Action::Push.as_str()],
    )?;
    Ok(found.is_some())
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

/// What a job does with an entry of its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(in crate::delivery) enum Action {
    /// A unit of a full synchronization is pushed.
    Push,
    /// Somebody enters the scope.
    Enter,
    /// Somebody leaves it.
    Leave,
    /// What is true of somebody is told anew, whatever that is by then.
    Repair,
}

impl Action {
    /// The name under which it is stored and shown.
    pub(in crate::delivery) fn as_str(self) -> &'static str {
        self.into()
    }
}

/// An entry of a job's list.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct Item {
    /// What is done.
    pub(in crate::delivery) action: Action,
    /// Whether it is a user, a unit or a group.
    pub(in crate::delivery) kind: SubjectKind,
    /// Whose.
    pub(in crate::delivery) subject_id: String,
    /// The record to send, if it is fixed.
    pub(in crate::delivery) record: Option<String>,
}

/// Entries that one statement writes.
const AT_ONCE: usize = 100;
/// Writes entries at these places of a job's list, many with each statement.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn write_items<'a>(
    tx: &mut Tx<'_>,
    job_id: &str,
    items: impl IntoIterator<Item = (i64, &'a Item)>,
) -> Result<(), DbError> {
    let mut values: Vec<Value<'_>> = Vec::with_capacity(AT_ONCE * 6);
    let mut flush = |values: &mut Vec<Value<'_>>| {
        if values.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "INSERT INTO job_items (job_id, ordinal, action, subject_kind, subject_id, record) VALUES {}",
            change::placeholders(values.len() / 6, 6)
        );
        tx.execute(&sql, values)?;
        values.clear();
        Ok::<_, DbError>(())
    };
    for (ordinal, item) in items {
        values.extend([
            Value::from(job_id),
            Value::from(ordinal),
            Value::from(item.action.as_str()),
            Value::from(item.kind.as_str()),
            Value::from(item.subject_id.as_str()),
            Value::from(item.record.as_deref()),
        ]);
        if values.len() == AT_ONCE * 6 {
            flush(&mut values)?;
        }
    }
    flush(&mut values)
}

/// Appends to a job's list.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn append_items(
    tx: &mut Tx<'_>,
    job_id: &str,
    items: &[Item],
) -> Result<(), DbError> {
    let last: i64 = tx
        .query_one(
            "SELECT COALESCE(MAX(ordinal), 0) FROM job_items WHERE job_id = $1",
            params![job_id],
        )?
        .get(0)?;
    write_items(tx, job_id, (last + 1..).zip(items))
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

/// Takes an entry out of a list.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn remove_item(tx: &mut Tx<'_>, job_id: &str, ordinal: i64) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM job_items WHERE job_id = $1 AND ordinal = $2",
        params![job_id, ordinal],
    )?;
    Ok(())
}

/// The entries of a job's list that come after one of them.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn items_after(
    tx: &mut Tx<'_>,
    job_id: &str,
    done: i64,
    limit: usize,
) -> Result<Vec<(i64, Item)>, DbError> {
    let unreadable =
        |what: &str| DbError::Other(format!("an entry of a job's list has an unreadable {what}"));
    tx.query(
        "SELECT ordinal, action, subject_kind, subject_id, record FROM job_items
         WHERE job_id = $1 AND ordinal > $2 ORDER BY ordinal LIMIT $3",
        params![job_id, done, i64::try_from(limit).unwrap_or(i64::MAX)],
    )?
    .iter()
    .map(|row| {
        let item = Item {
            action: row.get::<String>(1)?.parse().map_err(|_| unreadable("action"))?,
            kind: SubjectKind::parse(&row.get::<String>(2)?).ok_or_else(|| unreadable("kind"))?,
            subject_id: row.get(3)?,
            record: row.get(4)?,
        };
        Ok((row.get(0)?, item))
    })
    .collect()
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

/// Puts another record into the place of those that lists hold of a subject.
///
/// # Errors
/// What the database reports.
pub(super) fn replace_records(tx: &mut Tx<'_>, subject_id: &str, record: &str) -> Result<(), DbError> {
    tx.execute(
        "UPDATE job_items SET record = $2 WHERE subject_id = $1 AND record IS NOT NULL",
        params![subject_id, record],
    )?;
    Ok(())
}
