//! Writing the list of a change of scope, which may be long: thousands leave and enter by one change.
//!
//! Nobody should have to wait for all of it at the one writer. So the list belongs at first to a job that is
//! *preparing*: no delivery looks at it, and it grows portion by portion, each in a transaction of its own,
//! between the writes of others. Only when it is whole does one short transaction begin the job. A list that
//! comes to nothing is removed in portions too; what a process left that died in between, retention removes.
//!
//! The order of a list is that in which it is sent: groups, users and units that leave (children first), then
//! units (parents first), users and groups that enter. Behind each part that may still grow while the list is
//! written there is room: its numbers have gaps.

use rollcall_db::{DbError, Tx, Value, params};

use super::store::{Progress, check_free, insert, to_json};
use super::{JobError, JobKind, JobStatus, Phase, Statistics, Trigger};
use crate::application::{ApplicationError, store as applications};
use crate::change;
use crate::clock::Millis;
use crate::hub::Hub;

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

/// Entries that one transaction writes or removes.
const PORTION: usize = 500;
/// Entries that one statement writes.
const AT_ONCE: usize = 100;
/// How old what a process left behind must be before it is removed, in milliseconds.
const LEFT_BEHIND: Millis = 6 * 3_600_000;

/// Writes entries at these places of a job's list, many with each statement.
///
/// # Errors
/// What the database reports.
pub(super) fn write_items<'a>(
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
            Value::from(item.action),
            Value::from(item.subject_kind),
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
pub(super) fn append_items(tx: &mut Tx<'_>, job_id: &str, items: &[Item]) -> Result<(), DbError> {
    let last: i64 = tx
        .query_one(
            "SELECT COALESCE(MAX(ordinal), 0) FROM job_items WHERE job_id = $1",
            params![job_id],
        )?
        .get(0)?;
    write_items(tx, job_id, (last + 1..).zip(items))
}

/// Makes a job whose list is still to be written.
///
/// # Errors
/// [`JobError`].
pub(super) fn prepare(
    tx: &mut Tx<'_>,
    application_id: &str,
    job_id: &str,
    now: Millis,
) -> Result<(), JobError> {
    check_free(tx, application_id)?;
    insert(
        tx,
        application_id,
        job_id,
        (JobKind::ChangeOfScope, Trigger::Manual, JobStatus::Preparing),
        Phase::Items {
            done: 0,
            within: None,
        },
        Statistics::default(),
        now,
    )?;
    Ok(())
}

/// Writes a list, portion by portion.
///
/// # Errors
/// [`JobError`]; also if the application was deleted meanwhile. What was written by then stays.
pub(super) async fn write(
    hub: &Hub,
    application_id: &str,
    job_id: &str,
    items: Vec<(i64, Item)>,
) -> Result<(), JobError> {
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        let portion: Vec<(i64, Item)> = items.by_ref().take(PORTION).collect();
        let (application_id, job_id) = (application_id.to_owned(), job_id.to_owned());
        hub.db
            .write(move |tx| {
                if !is_preparing(tx, &job_id)? {
                    return Err(gone(&application_id));
                }
                let items = portion.iter().map(|(ordinal, item)| (*ordinal, item));
                Ok(write_items(tx, &job_id, items)?)
            })
            .await?;
    }
    Ok(())
}

/// Nothing but the deletion of its application takes a job away that is preparing.
fn gone(application_id: &str) -> JobError {
    ApplicationError::NotFound(application_id.to_owned()).into()
}

fn is_preparing(tx: &mut Tx<'_>, job_id: &str) -> Result<bool, DbError> {
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
pub(super) fn remove_item(tx: &mut Tx<'_>, job_id: &str, ordinal: i64) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM job_items WHERE job_id = $1 AND ordinal = $2",
        params![job_id, ordinal],
    )?;
    Ok(())
}

/// Begins a job whose list is whole, pinned to the log's present end.
///
/// # Errors
/// [`JobError`].
pub(super) fn begin(
    tx: &mut Tx<'_>,
    application_id: &str,
    job_id: &str,
    statistics: Statistics,
) -> Result<(), JobError> {
    check_free(tx, application_id)?;
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
            to_json(&statistics)?,
            JobStatus::Preparing.as_str()
        ],
    )?;
    if begun == 0 {
        return Err(gone(application_id));
    }
    Ok(applications::touch(tx, application_id)?)
}

/// Removes the job of a list that comes to nothing, with what was written of it.
///
/// # Errors
/// What the database reports.
pub(super) async fn discard(hub: &Hub, job_id: &str) -> Result<(), DbError> {
    loop {
        let job_id = job_id.to_owned();
        if hub.db.write(move |tx| discard_portion(tx, &job_id)).await? {
            return Ok(());
        }
    }
}

/// Removes a portion of a list that comes to nothing, and the job with the last of them. Returns whether all
/// is gone.
fn discard_portion(tx: &mut Tx<'_>, job_id: &str) -> Result<bool, DbError> {
    if !is_preparing(tx, job_id)? {
        return Ok(true);
    }
    let removed = tx.execute(
        "DELETE FROM job_items WHERE job_id = $1 AND ordinal IN
             (SELECT ordinal FROM job_items WHERE job_id = $1 ORDER BY ordinal LIMIT $2)",
        params![job_id, i64::try_from(PORTION).unwrap_or(i64::MAX)],
    )?;
    if removed > 0 {
        return Ok(false);
    }
    tx.execute("DELETE FROM jobs WHERE id = $1", params![job_id])?;
    Ok(true)
}

/// Removes the lists that processes left behind which died while they wrote them.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) async fn discard_left_behind(hub: &Hub, now: Millis) -> Result<(), DbError> {
    let left = hub
        .db
        .read(move |tx| {
            tx.query(
                "SELECT id FROM jobs WHERE status = $1 AND created_at < $2",
                params![JobStatus::Preparing.as_str(), now - LEFT_BEHIND],
            )?
            .iter()
            .map(|row| row.get(0))
            .collect::<Result<Vec<String>, DbError>>()
        })
        .await?;
    for job_id in left {
        discard(hub, &job_id).await?;
    }
    Ok(())
}
