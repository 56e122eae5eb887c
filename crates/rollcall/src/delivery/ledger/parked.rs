//! Parked events as they are stored: the few that stand outside the position. `plan::parked` tells how
//! they are served.

use std::collections::HashMap;

use rollcall_db::{DbError, Row, Tx, Value, params};
use rollcall_protocol::EventType;
use strum::VariantArray as _;

use crate::change::{self, Change, Seq, columns_of};
use crate::delivery::model::added_members;
pub use crate::delivery::model::{Parked, ParkedState};

pub(super) const COLUMNS: &str = "event_id, event_type, subject_id, seq, event_time, record, state, attempts, next_try, \
                       code, message, strikes";

/// How many columns those are.
const COLUMN_COUNT: usize = 12;

/// Stores a parked event, or what has become of it.
///
/// # Errors
/// What the database reports.
pub fn store(tx: &mut Tx<'_>, application_id: &str, parked: &Parked) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO parked_events (application_id, subject_id, event_id, event_type, seq, event_time,
                                    record, state, attempts, next_try, code, message, strikes)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (application_id, event_id) DO UPDATE
         SET state = excluded.state, attempts = excluded.attempts, next_try = excluded.next_try,
             code = excluded.code, message = excluded.message, strikes = excluded.strikes",
        params![
            application_id,
            parked.subject_id.as_str(),
            parked.event_id.as_str(),
            parked.event_type.short(),
            parked.seq,
            parked.event_time,
            parked.record.as_deref(),
            parked.state.as_str(),
            i64::from(parked.attempts),
            parked.next_try,
            parked.code.as_deref(),
            parked.message.as_deref(),
            i64::from(parked.strikes)
        ],
    )
}

/// Forgets a parked event.
///
/// # Errors
/// What the database reports.
pub fn remove(tx: &mut Tx<'_>, application_id: &str, event_id: &str) -> Result<(), DbError> {
    tx.execute_later(
        "DELETE FROM parked_events WHERE application_id = $1 AND event_id = $2",
        params![application_id, event_id],
    )
}

/// All parked events of an application, in the order in which they were parked.
///
/// # Errors
/// What the database reports.
pub fn list(tx: &mut Tx<'_>, application_id: &str) -> Result<Vec<Parked>, DbError> {
    tx.query(
        &format!("SELECT {COLUMNS} FROM parked_events WHERE application_id = $1 ORDER BY id"),
        params![application_id],
    )?
    .iter()
    .map(|row| from_row(row, 0))
    .collect()
}

/// All parked events of an application, in the order in which they were parked, each with those whom it adds to a
/// group.
///
/// # Errors
/// What the database reports.
pub fn list_with_members(
    tx: &mut Tx<'_>,
    application_id: &str,
) -> Result<Vec<(Parked, Vec<String>)>, DbError> {
    let rows = tx.query(
        &format!(
            "SELECT {}, COALESCE(p.record, c.record)
             FROM parked_events p LEFT JOIN changes c ON c.seq = p.seq AND p.event_type = $2
             WHERE p.application_id = $1 ORDER BY p.id",
            columns_of("p", COLUMNS)
        ),
        params![application_id, EventType::GroupAddUser.short()],
    )?;
    rows.iter()
        .map(|row| {
            let parked = from_row(row, 0)?;
            let record: Option<String> = row.get(COLUMN_COUNT)?;
            let members = record.map(|record| added_members(parked.event_type, &record));
            Ok((parked, members.unwrap_or_default()))
        })
        .collect()
}

/// The changes of a subject, newest first, each with the event of it that is parked for an application.
///
/// # Errors
/// What the database reports.
pub fn changes_of(
    tx: &mut Tx<'_>,
    application_id: &str,
    subject_id: &str,
) -> Result<Vec<(Change, Option<Parked>)>, DbError> {
    let sql = format!(
        "SELECT {}, {} FROM changes c
         LEFT JOIN parked_events p ON p.application_id = $1 AND p.event_id = c.event_id
         WHERE c.subject_id = $2 ORDER BY c.seq DESC",
        columns_of("c", change::COLUMNS),
        columns_of("p", COLUMNS)
    );
    tx.query(&sql, params![application_id, subject_id])?
        .iter()
        .map(|row| {
            let is_parked = row.get::<Option<String>>(change::COLUMN_COUNT)?.is_some();
            let parked = is_parked
                .then(|| from_row(row, change::COLUMN_COUNT))
                .transpose()?;
            Ok((change::from_row(row)?, parked))
        })
        .collect()
}

/// What a parked event tells: its own record, or that of the change that it comes from, unless that is no longer in
/// the log.
///
/// # Errors
/// What the database reports.
pub fn record(tx: &mut Tx<'_>, parked: &Parked) -> Result<Option<String>, DbError> {
    match (&parked.record, parked.seq) {
        (Some(record), _) => Ok(Some(record.clone())),
        (None, Some(seq)) => Ok(change::read(tx, seq)?.map(|change| change.record)),
        (None, None) => Ok(None),
    }
}

/// Parked events of an application after one of them, in the order in which they were parked, each with its number; of
/// one state only, if given.
///
/// # Errors
/// What the database reports.
pub fn page(
    tx: &mut Tx<'_>,
    application_id: &str,
    state: Option<ParkedState>,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, Parked)>, DbError> {
    let rows = tx.query(
        &format!(
            "SELECT {COLUMNS}, id FROM parked_events
             WHERE application_id = $1 AND id > $2 AND state = COALESCE($3, state) ORDER BY id LIMIT $4"
        ),
        params![
            application_id,
            after,
            state.map(ParkedState::as_str),
            i64::try_from(limit).unwrap_or(i64::MAX)
        ],
    )?;
    rows.iter()
        .map(|row| Ok((row.get(COLUMN_COUNT)?, from_row(row, 0)?)))
        .collect()
}

/// Whether an event of one of these subjects is parked, in whatever state.
///
/// # Errors
/// What the database reports.
pub fn any_of(tx: &mut Tx<'_>, application_id: &str, subject_ids: &[String]) -> Result<bool, DbError> {
    let sql = format!(
        "SELECT 1 FROM parked_events WHERE application_id = $1 AND subject_id IN {} LIMIT 1",
        change::listed(2, subject_ids.len())
    );
    let mut values = vec![Value::from(application_id)];
    values.extend(subject_ids.iter().map(Value::from));
    Ok(tx.query_opt(&sql, &values)?.is_some())
}

/// The parked events of some changes, by application and event id.
///
/// # Errors
/// What the database reports.
pub fn of_changes(
    tx: &mut Tx<'_>,
    applications: &[String],
    event_ids: &[&str],
) -> Result<HashMap<(String, String), Parked>, DbError> {
    if applications.is_empty() || event_ids.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT {COLUMNS}, application_id FROM parked_events WHERE application_id IN {} AND event_id IN {}",
        change::placeholders(1, applications.len()),
        change::listed(applications.len() + 1, event_ids.len())
    );
    let of_all = applications.iter().map(Value::from);
    let values: Vec<Value<'_>> = of_all
        .chain(event_ids.iter().map(|id| Value::from(*id)))
        .collect();
    let rows = tx.query(&sql, &values)?;
    rows.iter()
        .map(|row| {
            let parked = from_row(row, 0)?;
            Ok(((row.get(COLUMN_COUNT)?, parked.event_id.clone()), parked))
        })
        .collect()
}

/// How many events of each application are parked, in the order of [`ParkedState::VARIANTS`]; applications without any
/// are not named.
///
/// # Errors
/// What the database reports.
pub fn counts(tx: &mut Tx<'_>) -> Result<HashMap<String, [u64; 3]>, DbError> {
    let mut counts = HashMap::<String, [u64; 3]>::new();
    for row in tx.query(
        "SELECT application_id, state, COUNT(*) FROM parked_events GROUP BY application_id, state",
        params![],
    )? {
        let state: String = row.get(1)?;
        if let Some(index) = ParkedState::VARIANTS
            .iter()
            .position(|known| known.as_str() == state)
        {
            counts.entry(row.get(0)?).or_default()[index] = u64::try_from(row.get::<i64>(2)?).unwrap_or(0);
        }
    }
    Ok(counts)
}

/// How many events of one application are parked, in the order of [`ParkedState::VARIANTS`].
///
/// # Errors
/// What the database reports.
pub fn counts_of(tx: &mut Tx<'_>, application_id: &str) -> Result<[u64; 3], DbError> {
    let mut counts = [0; 3];
    for row in tx.query(
        "SELECT state, COUNT(*) FROM parked_events WHERE application_id = $1 GROUP BY state",
        params![application_id],
    )? {
        let state: String = row.get(0)?;
        let index = ParkedState::VARIANTS
            .iter()
            .position(|known| known.as_str() == state);
        if let Some(index) = index {
            counts[index] = row.get::<i64>(1)?.unsigned_abs();
        }
    }
    Ok(counts)
}

/// The events that are set aside for an application, in the order in which they were parked.
///
/// # Errors
/// What the database reports.
pub fn set_aside(tx: &mut Tx<'_>, application_id: &str, limit: usize) -> Result<Vec<Parked>, DbError> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM parked_events
             WHERE application_id = $1 AND state = 'failed' ORDER BY id LIMIT $2"
        ),
        params![application_id, i64::try_from(limit).unwrap_or(i64::MAX)],
    )?
    .iter()
    .map(|row| from_row(row, 0))
    .collect()
}

/// The position of the first change of which an event waits to be sent; what is set aside does not wait.
///
/// # Errors
/// What the database reports.
pub fn first_that_waits(tx: &mut Tx<'_>, application_id: &str) -> Result<Option<Seq>, DbError> {
    tx.query_one(
        "SELECT MIN(seq) FROM parked_events WHERE application_id = $1 AND state <> 'failed'",
        params![application_id],
    )?
    .get(0)
}

/// Reads a parked event whose columns begin with this one.
pub(super) fn from_row(row: &Row, first: usize) -> Result<Parked, DbError> {
    let unreadable = |what: &str| DbError::Other(format!("a parked event has an unreadable {what}"));
    Ok(Parked {
        event_id: row.get(first)?,
        event_type: EventType::parse(&row.get::<String>(first + 1)?).ok_or_else(|| unreadable("type"))?,
        subject_id: row.get(first + 2)?,
        seq: row.get(first + 3)?,
        event_time: row.get(first + 4)?,
        record: row.get(first + 5)?,
        state: row
            .get::<String>(first + 6)?
            .parse()
            .map_err(|_| unreadable("state"))?,
        attempts: u32::try_from(row.get::<i64>(first + 7)?).unwrap_or(u32::MAX),
        next_try: row.get(first + 8)?,
        code: row.get(first + 9)?,
        message: row.get(first + 10)?,
        strikes: u32::try_from(row.get::<i64>(first + 11)?).unwrap_or(u32::MAX),
    })
}
