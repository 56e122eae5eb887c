//! Attempts: one row for each request, with what came of it.
//!
//! An attempt names the range of the log that it covers. An event of the application's scope inside
//! the range of a delivered attempt (of its lane), and not among the attempt's exceptions, was
//! delivered: there is no row for each event.
//!
//! Attempts are appended and never changed, and have no index but their number. Those of one application are
//! a chain: its row in `deliveries` names the newest, and each names the one before it. Where the chain leads to an
//! attempt that retention has removed, it ends.

mod filter;
mod many;
mod search;

use rollcall_db::{DbError, Dialect, Row, Tx, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::delivery::model::skips::Skips;
use crate::delivery::model::{Attempt, Remark};

pub use filter::{Filter, Outcome, Page, load, page};
pub use many::{Firsts, ParkedAfter, first_of_each};
pub use search::{LOOKED_AT, Located, Search, Span, about, covering, newest_failed, since};

/// Stores an attempt as the application's last one. The caller holds the application's row in the ledger.
///
/// # Errors
/// What the database reports.
pub fn store(tx: &mut Tx<'_>, application_id: &str, attempt: &Attempt) -> Result<(), DbError> {
    let exceptions = as_json(&attempt.exceptions);
    let carried = as_json(&attempt.carried);
    tx.execute_later(
        "INSERT INTO attempts (application_id, source, from_seq, to_seq, lane, lanes, try_number,
                               started_at, latency_us, outcome, http_status, events, succeeded,
                               skipped, failed, retried, exceptions, detail, assumed, said, carried, next_try,
                               previous)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                 $22, (SELECT last_attempt FROM deliveries WHERE application_id = $1))",
        params![
            application_id,
            attempt.source.as_str(),
            attempt.from_seq,
            attempt.to_seq,
            i64::from(attempt.lane),
            i64::from(attempt.lanes),
            i64::from(attempt.try_number),
            attempt.started_at,
            attempt.latency_us,
            attempt.outcome.as_str(),
            attempt.http_status.map(i64::from),
            i64::from(attempt.events),
            i64::from(attempt.succeeded),
            i64::from(attempt.skipped),
            i64::from(attempt.failed),
            i64::from(attempt.retried),
            exceptions.as_deref(),
            attempt.detail.as_deref(),
            i64::from(attempt.assumed),
            attempt.said.as_deref(),
            carried.as_deref(),
            attempt.next_try
        ],
    )?;
    let its_id = match tx.dialect() {
        Dialect::Sqlite => "last_insert_rowid()",
        Dialect::Postgres => "lastval()",
    };
    tx.execute_later(
        &format!("UPDATE deliveries SET last_attempt = {its_id} WHERE application_id = $1"),
        params![application_id],
    )
}

/// A list as it is stored; an empty one is not.
fn as_json<T: Serialize>(list: &[T]) -> Option<String> {
    let text = (!list.is_empty()).then(|| serde_json::to_string(list));
    text.transpose().unwrap_or_default()
}

/// The numbers of an application's ($1) attempts, newest first: those after one ($2), so many at most ($3).
const CHAIN: &str = "WITH RECURSIVE chain (id, place) AS (
         SELECT last_attempt, CAST(1 AS BIGINT) FROM deliveries WHERE application_id = $1 AND last_attempt > $2
         UNION ALL
         SELECT a.previous, place + 1 FROM chain JOIN attempts a ON a.id = chain.id
         WHERE a.previous > $2 AND place < $3)";

/// What the application passed over in requests as [`newest`] has them.
pub fn skipped(newest: Vec<(i64, Attempt)>) -> Skips {
    let mut skips = Skips::default();
    for (_, attempt) in newest.into_iter().rev() {
        for exception in attempt.exceptions.into_iter().filter(|it| it.result == "skipped") {
            let remark = Remark {
                code: exception.code,
                message: exception.message,
            };
            skips.note(&exception.event_type, &remark);
        }
    }
    skips
}

const COLUMNS: &str = "id, source, from_seq, to_seq, lane, lanes, try_number, started_at, latency_us, \
     outcome, http_status, events, succeeded, skipped, failed, retried, exceptions, detail, assumed, said, \
     carried, next_try";

/// How many columns those are.
const COLUMN_COUNT: usize = 22;

/// The newest attempts of an application, newest first, each with its number; only those after
/// `after`, if given.
///
/// # Errors
/// What the database reports.
pub fn newest(
    tx: &mut Tx<'_>,
    application_id: &str,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, Attempt)>, DbError> {
    tx.query(
        &format!(
            "{CHAIN} SELECT {COLUMNS} FROM attempts WHERE id IN (SELECT id FROM chain) ORDER BY id DESC"
        ),
        params![application_id, after, i64::try_from(limit).unwrap_or(i64::MAX)],
    )?
    .iter()
    .map(from_row)
    .collect()
}

/// A list as [`as_json`] stored it.
fn list<T: DeserializeOwned>(row: &Row, index: usize) -> Result<Vec<T>, DbError> {
    row.get::<Option<String>>(index)?.map_or_else(
        || Ok(Vec::new()),
        |text| serde_json::from_str(&text).map_err(|error| DbError::Other(format!("an attempt: {error}"))),
    )
}

fn from_row(row: &Row) -> Result<(i64, Attempt), DbError> {
    let count = |index| Ok::<_, DbError>(u32::try_from(row.get::<i64>(index)?).unwrap_or(u32::MAX));
    let attempt = Attempt {
        source: row.get(1)?,
        from_seq: row.get(2)?,
        to_seq: row.get(3)?,
        lane: count(4)?,
        lanes: count(5)?,
        try_number: count(6)?,
        started_at: row.get(7)?,
        latency_us: row.get(8)?,
        outcome: row.get(9)?,
        http_status: row
            .get::<Option<i64>>(10)?
            .and_then(|status| u16::try_from(status).ok()),
        events: count(11)?,
        succeeded: count(12)?,
        skipped: count(13)?,
        failed: count(14)?,
        retried: count(15)?,
        exceptions: list(row, 16)?,
        detail: row.get(17)?,
        said: row.get(19)?,
        assumed: count(18)?,
        carried: list(row, 20)?,
        next_try: row.get(21)?,
    };
    Ok((row.get(0)?, attempt))
}
