//! Looking for attempts by other things than their number.
//!
//! There is no index for that: every request of every application would have to write it. Attempts are numbered in
//! about the order of their times, so what is looked for is looked for in portions of numbers, from where it can
//! be. A hub may keep millions of them, so a question looks at so many at most, and whoever asks says if that was
//! not all.

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::EventType;

use super::{COLUMNS, from_row};
use crate::change::Seq;
use crate::clock::Millis;
use crate::delivery::model::{Attempt, Exception};

/// How many attempts a question looks at, of all applications together.
pub const LOOKED_AT: i64 = 200_000;

/// How many one statement looks at.
const PORTION: i64 = 2_000;

/// For clocks of several nodes.
pub(super) const SKEW: Millis = 60_000;

/// A question, which may have several parts, and how much it may still look at.
#[derive(Debug)]
pub struct Search {
    left: i64,
    cut_short: bool,
}

impl Default for Search {
    fn default() -> Self {
        Self::of(LOOKED_AT)
    }
}

impl Search {
    /// One that looks at so many attempts at most.
    pub fn of(attempts: i64) -> Self {
        Self {
            left: attempts,
            cut_short: false,
        }
    }

    /// Whether there was more to look at.
    pub fn was_cut_short(&self) -> bool {
        self.cut_short
    }

    /// How many of so many attempts are looked at next; none once it is enough.
    pub(super) fn next(&mut self, there: i64) -> Option<i64> {
        if there <= 0 {
            return None;
        }
        let portion = there.min(PORTION).min(self.left);
        self.left -= portion;
        self.cut_short |= portion == 0;
        (portion > 0).then_some(portion)
    }
}

/// The attempts of an application that cover a position of the log, oldest first, up to the first that
/// was received by each lane. The change was made at `time`.
///
/// # Errors
/// What the database reports.
pub fn covering(
    tx: &mut Tx<'_>,
    search: &mut Search,
    application_id: &str,
    (seq, time): (Seq, Millis),
) -> Result<Vec<Attempt>, DbError> {
    let mut from = first_since(tx, time - SKEW)?;
    let end = end(tx)?;
    let mut found = Vec::new();
    while let Some(portion) = search.next(end - from) {
        let rows = tx.query(
            &format!(
                "SELECT {COLUMNS} FROM attempts
                 WHERE application_id = $1 AND id >= $2 AND id < $3 ORDER BY id"
            ),
            params![application_id, from, from + portion],
        )?;
        for row in &rows {
            let (_, attempt) = from_row(row)?;
            match (attempt.from_seq, attempt.to_seq) {
                (Some(first), Some(last)) if first <= seq && seq <= last => found.push(attempt),
                // The application's position has passed the change.
                (Some(first), _) if first > seq && !found.is_empty() => return Ok(found),
                _ => {}
            }
        }
        from += portion;
    }
    Ok(found)
}

/// What the application said of a subject's event of a job, if it did not take it: the newest of the
/// attempts that were begun between two times.
///
/// # Errors
/// What the database reports.
pub fn exception(
    tx: &mut Tx<'_>,
    search: &mut Search,
    application_id: &str,
    (subject_id, event_type): (&str, EventType),
    (since, until): (Millis, Millis),
) -> Result<Option<Exception>, DbError> {
    let from = first_since(tx, since - SKEW)?;
    let mut to = first_since(tx, until.saturating_add(SKEW))?;
    while let Some(portion) = search.next(to - from) {
        let rows = tx.query(
            &format!(
                "SELECT {COLUMNS} FROM attempts
                 WHERE application_id = $1 AND id >= $2 AND id < $3 AND started_at BETWEEN $4 AND $5
                       AND source = 'job' AND exceptions LIKE $6
                 ORDER BY id DESC"
            ),
            params![
                application_id,
                to - portion,
                to,
                since,
                until,
                format!("%{subject_id}%")
            ],
        )?;
        let wanted = |it: &Exception| {
            it.subject_id == subject_id && it.event_type == event_type.short() && it.result != "assumed"
        };
        for row in &rows {
            let (_, attempt) = from_row(row)?;
            let found = attempt.exceptions.into_iter().find(wanted);
            if found.is_some() {
                return Ok(found);
            }
        }
        to -= portion;
    }
    Ok(None)
}

/// The requests that carried parked events of a subject, oldest first: those that were begun at a time or later.
///
/// # Errors
/// What the database reports.
pub fn sent_again(
    tx: &mut Tx<'_>,
    search: &mut Search,
    application_id: &str,
    (subject_id, since): (&str, Millis),
) -> Result<Vec<Attempt>, DbError> {
    let (from, mut to) = (first_since(tx, since - SKEW)?, end(tx)?);
    let mut found = Vec::new();
    while let Some(portion) = search.next(to - from) {
        let rows = tx.query(
            &format!(
                "SELECT {COLUMNS} FROM attempts
                 WHERE application_id = $1 AND id >= $2 AND id < $3 AND source = 'parked' AND carried LIKE $4
                 ORDER BY id DESC"
            ),
            params![application_id, to - portion, to, format!("%{subject_id}%")],
        )?;
        for row in &rows {
            found.push(from_row(row)?.1);
        }
        to -= portion;
    }
    found.reverse();
    Ok(found)
}

/// As [`newest`](super::newest), but only those that did not simply succeed.
///
/// # Errors
/// What the database reports.
pub fn newest_failed(
    tx: &mut Tx<'_>,
    search: &mut Search,
    application_id: &str,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, Attempt)>, DbError> {
    let (begin, mut to) = (begin(tx)?.max(after + 1), end(tx)?);
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(portion) = search.next(to - begin)
    {
        let rows = tx.query(
            &format!(
                "SELECT {COLUMNS} FROM attempts
                 WHERE application_id = $1 AND id >= $2 AND id < $3
                       AND (outcome <> 'delivered' OR exceptions IS NOT NULL)
                 ORDER BY id DESC LIMIT $4"
            ),
            params![
                application_id,
                to - portion,
                to,
                i64::try_from(limit - found.len()).unwrap_or(i64::MAX)
            ],
        )?;
        for row in &rows {
            found.push(from_row(row)?);
        }
        to -= portion;
    }
    Ok(found)
}

/// The number of the first attempt that is kept.
pub(super) fn begin(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    tx.query_one("SELECT COALESCE(MIN(id), 1) FROM attempts", params![])?
        .get(0)
}

/// The number after that of the last attempt.
pub(super) fn end(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    tx.query_one("SELECT COALESCE(MAX(id), 0) + 1 FROM attempts", params![])?
        .get(0)
}

/// The number of the first attempt that was begun at a time or later.
pub(super) fn first_since(tx: &mut Tx<'_>, time: Millis) -> Result<i64, DbError> {
    let (mut low, mut high) = (begin(tx)?, end(tx)?);
    while low < high {
        let middle = low + (high - low) / 2;
        let there = tx.query_opt(
            "SELECT started_at FROM attempts WHERE id >= $1 ORDER BY id LIMIT 1",
            params![middle],
        )?;
        match there {
            Some(row) if row.get::<Millis>(0)? < time => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}
