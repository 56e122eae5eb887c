//! What retention removes, portion by portion: changes that nobody needs any more, old attempts, jobs that ended.
//!
//! A change stays as long as an event is parked that stands for it or for an earlier change of its subject: only so
//! can it be told whether sending one again would turn its subject back.

use rollcall_db::{DbError, Tx, params};

use crate::change::Seq;
use crate::clock::Millis;

/// No event is parked of a change or of what its subject went through before.
const NOT_PARKED: &str = "NOT EXISTS (SELECT 1 FROM parked_events p
                      WHERE p.subject_id = changes.subject_id AND p.seq <= changes.seq)";

/// Nobody leaves anything by a change, so that a push makes up for it.
const PUSHED_ANYWAY: &str = "placed_after IS NOT NULL AND (placed_before IS NULL OR placed_before = '=')
     AND kind <> 'ud:group:remove_user'";

/// Removes changes up to a position that every application has got. Returns how many.
///
/// # Errors
/// What the database reports.
pub fn delivered(tx: &mut Tx<'_>, up_to: Seq, portion: i64) -> Result<u64, DbError> {
    let slowest: Option<Seq> = tx
        .query_one("SELECT MIN(position) FROM deliveries", params![])?
        .get(0)?;
    let up_to = slowest.map_or(up_to, |slowest| slowest.min(up_to));
    tx.execute(
        &format!(
            "DELETE FROM changes WHERE seq IN
                 (SELECT seq FROM changes WHERE seq <= $1 AND {NOT_PARKED} ORDER BY seq LIMIT $2)"
        ),
        params![up_to, portion],
    )
}

/// Whether there are changes up to a position that a push makes up for.
///
/// # Errors
/// What the database reports.
pub fn is_anything_dispensable(tx: &mut Tx<'_>, up_to: Seq) -> Result<bool, DbError> {
    let found = tx.query_opt(
        &format!("SELECT seq FROM changes WHERE seq <= $1 AND {PUSHED_ANYWAY} AND {NOT_PARKED} LIMIT 1"),
        params![up_to],
    )?;
    Ok(found.is_some())
}

/// Removes changes up to a position that a push makes up for. Returns how many.
///
/// # Errors
/// What the database reports.
pub fn dispensable(tx: &mut Tx<'_>, up_to: Seq, portion: i64) -> Result<u64, DbError> {
    tx.execute(
        &format!(
            "DELETE FROM changes WHERE seq IN
                 (SELECT seq FROM changes WHERE seq <= $1 AND {PUSHED_ANYWAY} AND {NOT_PARKED}
                  ORDER BY seq LIMIT $2)"
        ),
        params![up_to, portion],
    )
}

/// Removes attempts older than a time. Returns how many.
///
/// # Errors
/// What the database reports.
pub fn attempts(tx: &mut Tx<'_>, oldest: Millis, portion: i64) -> Result<u64, DbError> {
    // Attempts are numbered in about the order of their times, so the old ones stand in front.
    let rows = tx.query(
        "SELECT id, started_at FROM attempts ORDER BY id LIMIT $1",
        params![portion],
    )?;
    let mut last = None;
    for row in &rows {
        if row.get::<Millis>(1)? >= oldest {
            break;
        }
        last = Some(row.get::<i64>(0)?);
    }
    match last {
        Some(last) => tx.execute("DELETE FROM attempts WHERE id <= $1", params![last]),
        None => Ok(0),
    }
}

/// Removes jobs that ended before a time, but for the newest by which an application was synchronized in full: whether
/// it ever was has to be told for as long as it is there. Returns how many.
///
/// # Errors
/// What the database reports.
pub fn ended_jobs(tx: &mut Tx<'_>, oldest: Millis, portion: i64) -> Result<u64, DbError> {
    tx.execute(
        "DELETE FROM jobs WHERE id IN (
             SELECT id FROM jobs j WHERE ended_at < $1 AND (
                 kind <> 'full' OR status NOT IN ('success', 'partial_success') OR EXISTS (
                     SELECT 1 FROM jobs later
                     WHERE later.application_id = j.application_id AND later.kind = 'full'
                           AND later.status IN ('success', 'partial_success') AND later.ended_at > j.ended_at))
             LIMIT $2)",
        params![oldest, portion],
    )
}
