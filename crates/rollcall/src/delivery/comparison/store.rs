//! Comparisons as they are stored.

use std::collections::HashMap;

use rollcall_db::{DbError, Row, Tx, Value, params};
use serde::Serialize;

use super::model::{Comparison, Counts, Difference, Kind, Status, Subject};
use super::repair::Selection;
use crate::change::{listed, placeholders};
use crate::clock::Millis;

/// After how long without a sign of life a run counts as interrupted, in milliseconds.
const SILENT_FOR: Millis = 90_000;

/// How many rows one statement asks for or writes.
const AT_ONCE: usize = 100;

/// Somebody for whom an object of the application stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) subject_id: String,
    pub(super) remote_id: String,
    /// How sure that is: the less, the surer.
    pub(super) doubt: i64,
    pub(super) name: String,
}

fn unreadable(what: &str) -> DbError {
    DbError::Other(format!("a comparison has an unreadable {what}"))
}

fn to_json<T: Serialize>(value: &T) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(|error| DbError::Other(error.to_string()))
}

/// The newest comparison of an application, as it stands at a time.
///
/// # Errors
/// What the database reports.
pub fn newest(tx: &mut Tx<'_>, application_id: &str, now: Millis) -> Result<Option<Comparison>, DbError> {
    let row = tx.query_opt(
        "SELECT id, status, created_at, ended_at, counts, error, seen_at FROM comparisons
         WHERE application_id = $1 ORDER BY created_at DESC, id DESC LIMIT 1",
        params![application_id],
    )?;
    row.map(|row| of_row(&row, now)).transpose()
}

fn of_row(row: &Row, now: Millis) -> Result<Comparison, DbError> {
    let status: Status = row.get::<String>(1)?.parse().map_err(|_| unreadable("status"))?;
    let silent = row.get::<Millis>(6)? < now - SILENT_FOR;
    Ok(Comparison {
        id: row.get(0)?,
        status: match status {
            Status::Running if silent => Status::Interrupted,
            status => status,
        },
        created_at: row.get(2)?,
        ended_at: row.get(3)?,
        counts: serde_json::from_str(&row.get::<String>(4)?).map_err(|_| unreadable("count"))?,
        error: row.get(5)?,
    })
}

/// Begins a comparison. Whatever ran before does not any more.
pub(super) fn insert(tx: &mut Tx<'_>, application_id: &str, id: &str, now: Millis) -> Result<(), DbError> {
    tx.execute(
        "UPDATE comparisons SET status = 'interrupted' WHERE application_id = $1 AND status = 'running'",
        params![application_id],
    )?;
    tx.execute(
        "INSERT INTO comparisons (id, application_id, status, created_at, seen_at, counts)
         VALUES ($1, $2, 'running', $3, $3, $4)",
        params![id, application_id, now, to_json(&Counts::default())?],
    )?;
    Ok(())
}

/// Gives a sign of life. Returns whether the comparison is still wanted.
pub(super) fn is_alive(tx: &mut Tx<'_>, id: &str, now: Millis) -> Result<bool, DbError> {
    let alive = tx.execute(
        "UPDATE comparisons SET seen_at = $2 WHERE id = $1 AND status = 'running'",
        params![id, now],
    )?;
    Ok(alive > 0)
}

/// Says how far it is.
pub(super) fn count(tx: &mut Tx<'_>, id: &str, counts: &Counts) -> Result<(), DbError> {
    tx.execute(
        "UPDATE comparisons SET counts = $2 WHERE id = $1",
        params![id, to_json(counts)?],
    )?;
    Ok(())
}

/// Ends it, unless it has ended.
pub(super) fn end(
    tx: &mut Tx<'_>,
    id: &str,
    status: Status,
    error: Option<&str>,
    now: Millis,
) -> Result<bool, DbError> {
    let ended = tx.execute(
        "UPDATE comparisons SET status = $2, error = $3, ended_at = $4 WHERE id = $1 AND status = 'running'",
        params![id, status.as_str(), error, now],
    )?;
    Ok(ended > 0)
}

/// Removes a portion of what earlier comparisons of an application have left. Returns how much that was.
pub(super) fn remove_earlier(
    tx: &mut Tx<'_>,
    application_id: &str,
    newest: &str,
    portion: i64,
) -> Result<u64, DbError> {
    let row = tx.query_opt(
        "SELECT id FROM comparisons WHERE application_id = $1 AND id <> $2 LIMIT 1",
        params![application_id, newest],
    )?;
    match row {
        Some(row) => remove(tx, &row.get::<String>(0)?, portion),
        None => Ok(0),
    }
}

/// Removes a portion of a comparison, and with the last one the comparison itself. Returns how many rows that were.
fn remove(tx: &mut Tx<'_>, id: &str, portion: i64) -> Result<u64, DbError> {
    let removed = remove_matches(tx, id, portion)?
        + tx.execute(
            "DELETE FROM comparison_differences WHERE comparison_id = $1 AND number IN
                 (SELECT number FROM comparison_differences WHERE comparison_id = $1 ORDER BY number LIMIT $2)",
            params![id, portion],
        )?;
    if removed > 0 {
        return Ok(removed);
    }
    tx.execute("DELETE FROM comparisons WHERE id = $1", params![id])
}

/// Removes a portion of the matches of a comparison. Returns how many that were.
pub(super) fn remove_matches(tx: &mut Tx<'_>, id: &str, portion: i64) -> Result<u64, DbError> {
    tx.execute(
        "DELETE FROM comparison_matches WHERE comparison_id = $1 AND subject_id IN
             (SELECT subject_id FROM comparison_matches WHERE comparison_id = $1 ORDER BY subject_id LIMIT $2)",
        params![id, portion],
    )
}

/// Removes a portion of the comparisons that were begun before a time. Returns how much that was.
///
/// # Errors
/// What the database reports.
pub fn trim(tx: &mut Tx<'_>, oldest: Millis, portion: i64) -> Result<u64, DbError> {
    let row = tx.query_opt(
        "SELECT id FROM comparisons WHERE created_at < $1 AND status <> 'running' LIMIT 1",
        params![oldest],
    )?;
    match row {
        Some(row) => remove(tx, &row.get::<String>(0)?, portion),
        None => Ok(0),
    }
}

/// Forgets all comparisons: they name people, one of whom is erased. They can be made again at any time.
///
/// # Errors
/// What the database reports.
pub fn forget_all(tx: &mut Tx<'_>) -> Result<(), DbError> {
    for table in ["comparison_matches", "comparison_differences", "comparisons"] {
        tx.execute(&format!("DELETE FROM {table}"), params![])?;
    }
    Ok(())
}

/// For whom objects stand, of these subjects.
pub(super) fn matches(
    tx: &mut Tx<'_>,
    id: &str,
    subjects: &[String],
) -> Result<HashMap<String, Match>, DbError> {
    let mut found = HashMap::with_capacity(subjects.len());
    for part in subjects.chunks(AT_ONCE) {
        let sql = format!(
            "SELECT subject_id, remote_id, doubt, name FROM comparison_matches
             WHERE comparison_id = $1 AND subject_id IN {}",
            listed(2, part.len())
        );
        let mut values: Vec<Value<'_>> = vec![id.into()];
        values.extend(part.iter().map(Value::from));
        for row in &tx.query(&sql, &values)? {
            let of: String = row.get(0)?;
            let is = Match {
                subject_id: of.clone(),
                remote_id: row.get(1)?,
                doubt: row.get(2)?,
                name: row.get(3)?,
            };
            found.insert(of, is);
        }
    }
    Ok(found)
}

/// Stores for whom objects stand; who is there already gets another one.
pub(super) fn write_matches(tx: &mut Tx<'_>, id: &str, matches: &[&Match]) -> Result<(), DbError> {
    for part in matches.chunks(AT_ONCE) {
        let sql = format!(
            "INSERT INTO comparison_matches (comparison_id, subject_id, remote_id, doubt, name) VALUES {}
             ON CONFLICT (comparison_id, subject_id) DO UPDATE
             SET remote_id = excluded.remote_id, doubt = excluded.doubt",
            placeholders(part.len(), 5)
        );
        let mut values: Vec<Value<'_>> = Vec::with_capacity(part.len() * 5);
        for it in part {
            values.extend([
                Value::from(id),
                Value::from(it.subject_id.as_str()),
                Value::from(it.remote_id.as_str()),
                Value::from(it.doubt),
                Value::from(it.name.as_str()),
            ]);
        }
        tx.execute(&sql, &values)?;
    }
    Ok(())
}

/// Takes back what was said of a subject.
pub(super) fn take_back(tx: &mut Tx<'_>, id: &str, subject_id: &str) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM comparison_differences WHERE comparison_id = $1 AND subject_id = $2",
        params![id, subject_id],
    )?;
    Ok(())
}

/// What users are called whom the application has under these ids, of those who are written down.
pub(super) fn called(
    tx: &mut Tx<'_>,
    id: &str,
    remote_ids: &[String],
) -> Result<HashMap<String, String>, DbError> {
    names_by(tx, id, "remote_id", "subject_kind = 'user'", remote_ids)
}

/// Which of these subjects are to be made, with what they are called.
pub(super) fn to_be_made(
    tx: &mut Tx<'_>,
    id: &str,
    subjects: &[String],
) -> Result<HashMap<String, String>, DbError> {
    names_by(tx, id, "subject_id", "kind = 'create'", subjects)
}

/// What those are called who are written down, by one of their ids.
fn names_by(
    tx: &mut Tx<'_>,
    id: &str,
    column: &'static str,
    condition: &'static str,
    ids: &[String],
) -> Result<HashMap<String, String>, DbError> {
    let mut found = HashMap::new();
    for part in ids.chunks(AT_ONCE) {
        let sql = format!(
            "SELECT {column}, name FROM comparison_differences
             WHERE comparison_id = $1 AND {condition} AND {column} IN {}",
            listed(2, part.len())
        );
        let mut values: Vec<Value<'_>> = vec![id.into()];
        values.extend(part.iter().map(Value::from));
        for row in &tx.query(&sql, &values)? {
            found.insert(row.get(0)?, row.get(1)?);
        }
    }
    Ok(found)
}

/// Writes down differences, which get the numbers that come next.
pub(super) fn write(tx: &mut Tx<'_>, id: &str, differences: &[Difference]) -> Result<(), DbError> {
    const COLUMNS: usize = 12;
    let last: i64 = tx
        .query_one(
            "SELECT COALESCE(MAX(number), 0) FROM comparison_differences WHERE comparison_id = $1",
            params![id],
        )?
        .get(0)?;
    let numbered: Vec<(i64, &Difference)> = (last + 1..).zip(differences).collect();
    for part in numbered.chunks(AT_ONCE) {
        let details: Result<Vec<String>, DbError> = part.iter().map(|(_, it)| to_json(&it.details)).collect();
        let details = details?;
        let sql = format!(
            "INSERT INTO comparison_differences (comparison_id, number, kind, subject_kind, subject_id, remote_id, name,
                                                 repairable, missing, surplus, emptied, details) VALUES {}",
            placeholders(part.len(), COLUMNS)
        );
        let mut values: Vec<Value<'_>> = Vec::with_capacity(part.len() * COLUMNS);
        for ((number, it), details) in part.iter().zip(&details) {
            let count = |many: u64| i64::try_from(many).unwrap_or(i64::MAX);
            values.extend([
                Value::from(id),
                Value::from(*number),
                Value::from(it.kind.as_str()),
                Value::from(it.subject.as_str()),
                Value::from(it.subject_id.as_deref()),
                Value::from(it.remote_id.as_deref()),
                Value::from(it.name.as_str()),
                Value::from(it.repairable),
                Value::from(count(it.missing)),
                Value::from(count(it.surplus)),
                Value::from(it.emptied),
                Value::from(details.as_str()),
            ]);
        }
        tx.execute(&sql, &values)?;
    }
    Ok(())
}

/// The differences of a comparison after one of them, by number; of some kinds, if any are named.
///
/// # Errors
/// What the database reports.
pub fn differences(
    tx: &mut Tx<'_>,
    id: &str,
    kinds: &[Kind],
    after: i64,
    limit: usize,
) -> Result<Vec<Difference>, DbError> {
    let selection = match kinds {
        [] => Selection::everything(id),
        kinds => Selection::of_kinds(id, kinds.iter().copied()),
    };
    select(tx, &selection, false, after, limit)
}

/// The differences that are selected, after one of them, by number.
pub(super) fn select(
    tx: &mut Tx<'_>,
    selection: &Selection,
    repairable: bool,
    after: i64,
    limit: usize,
) -> Result<Vec<Difference>, DbError> {
    let mut values: Vec<Value<'_>> = vec![
        selection.comparison.as_str().into(),
        after.into(),
        i64::try_from(limit).unwrap_or(i64::MAX).into(),
    ];
    let mut which = String::new();
    if repairable {
        which.push_str(" AND repairable");
    }
    if !selection.all {
        let kinds: Vec<&str> = selection.kinds.iter().map(|kind| kind.as_str()).collect();
        let mut parts = Vec::new();
        if !kinds.is_empty() {
            parts.push(format!("kind IN {}", listed(values.len() + 1, kinds.len())));
            values.extend(kinds.into_iter().map(Value::from));
        }
        if !selection.differences.is_empty() {
            let numbers = &selection.differences;
            parts.push(format!("number IN {}", listed(values.len() + 1, numbers.len())));
            values.extend(numbers.iter().map(|number| Value::from(*number)));
        }
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        which.push_str(&format!(" AND ({})", parts.join(" OR ")));
    }
    let sql = format!(
        "SELECT number, kind, subject_kind, subject_id, remote_id, name, repairable, missing, surplus, emptied, details
         FROM comparison_differences WHERE comparison_id = $1 AND number > $2{which} ORDER BY number LIMIT $3"
    );
    tx.query(&sql, &values)?.iter().map(difference).collect()
}

fn difference(row: &Row) -> Result<Difference, DbError> {
    let count = |place: usize| Ok::<_, DbError>(row.get::<i64>(place)?.max(0).unsigned_abs());
    Ok(Difference {
        number: row.get(0)?,
        kind: row.get::<String>(1)?.parse().map_err(|_| unreadable("kind"))?,
        subject: row.get::<String>(2)?.parse().map_err(|_| unreadable("subject"))?,
        subject_id: row.get(3)?,
        remote_id: row.get(4)?,
        name: row.get(5)?,
        repairable: row.get(6)?,
        missing: count(7)?,
        surplus: count(8)?,
        emptied: row.get(9)?,
        details: serde_json::from_str(&row.get::<String>(10)?).map_err(|_| unreadable("detail"))?,
    })
}

/// Counts what is written down: by user or group and kind; and the members of groups that both have.
pub(super) fn tally(tx: &mut Tx<'_>, id: &str, counts: &mut Counts) -> Result<(), DbError> {
    let rows = tx.query(
        "SELECT subject_kind, kind, COUNT(*) FROM comparison_differences
         WHERE comparison_id = $1 AND kind <> 'foreign' GROUP BY subject_kind, kind",
        params![id],
    )?;
    for row in &rows {
        let subject: Subject = row.get::<String>(0)?.parse().map_err(|_| unreadable("subject"))?;
        let kind: Kind = row.get::<String>(1)?.parse().map_err(|_| unreadable("kind"))?;
        *counts.of(subject).of(kind) = row.get::<i64>(2)?.unsigned_abs();
    }
    let row = tx.query_one(
        "SELECT CAST(COALESCE(SUM(missing), 0) AS BIGINT), CAST(COALESCE(SUM(surplus), 0) AS BIGINT),
                COALESCE(SUM(CASE WHEN emptied THEN 1 ELSE 0 END), 0)
         FROM comparison_differences WHERE comparison_id = $1 AND kind = 'update'",
        params![id],
    )?;
    counts.members.missing = row.get::<i64>(0)?.unsigned_abs();
    counts.members.surplus = row.get::<i64>(1)?.unsigned_abs();
    counts.members.emptied = row.get::<i64>(2)?.unsigned_abs();
    Ok(())
}

/// For how many subjects an object stands.
pub(super) fn matched(tx: &mut Tx<'_>, id: &str) -> Result<u64, DbError> {
    let row = tx.query_one(
        "SELECT COUNT(*) FROM comparison_matches WHERE comparison_id = $1",
        params![id],
    )?;
    Ok(row.get::<i64>(0)?.unsigned_abs())
}
