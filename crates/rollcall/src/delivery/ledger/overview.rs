//! What is told of all applications at once, each by one statement however many there are.

use std::collections::HashMap;

use rollcall_db::{DbError, Tx, Value, params};

use super::{jobs, parked};
use crate::change::{Seq, placeholders};
use crate::clock::Millis;
use crate::delivery::model::Parked;
use crate::delivery::model::job::JobPosition;

/// The time of the first change that is not settled, of each application whose position is before the log's end.
///
/// # Errors
/// What the database reports.
pub fn oldest_waiting(tx: &mut Tx<'_>, head: Seq) -> Result<HashMap<String, Millis>, DbError> {
    let rows = tx.query(
        "SELECT application_id,
                (SELECT c.time FROM changes c WHERE c.seq > d.position ORDER BY c.seq LIMIT 1)
         FROM deliveries d WHERE d.position < $1",
        params![head],
    )?;
    let mut oldest = HashMap::with_capacity(rows.len());
    for row in rows {
        if let Some(time) = row.get(1)? {
            oldest.insert(row.get(0)?, time);
        }
    }
    Ok(oldest)
}

/// How far an application is, as one statement tells.
pub struct Standing {
    /// The log's end.
    pub head: Seq,
    /// The time of the first change that is not settled.
    pub oldest: Option<Millis>,
    /// When the application was last synchronized in full.
    pub synchronized_at: Option<Millis>,
    /// Whether there was ever a synchronization, or a change of scope was told, however that ended.
    pub ever_synchronized: bool,
}

/// Reads how far an application is that stands at this position.
///
/// # Errors
/// What the database reports.
pub fn standing(tx: &mut Tx<'_>, application_id: &str, position: Seq) -> Result<Standing, DbError> {
    let row = tx.query_one(
        "SELECT (SELECT seq FROM change_head WHERE id = 1),
                (SELECT time FROM changes WHERE seq > $2 ORDER BY seq LIMIT 1),
                (SELECT MAX(ended_at) FROM jobs
                 WHERE application_id = $1 AND kind = 'full' AND status IN ('success', 'partial_success')),
                (SELECT MAX(created_at) FROM jobs WHERE application_id = $1)",
        params![application_id, position],
    )?;
    Ok(Standing {
        head: row.get(0)?,
        oldest: row.get(1)?,
        synchronized_at: row.get(2)?,
        ever_synchronized: row.get::<Option<Millis>>(3)?.is_some(),
    })
}

/// The unfinished jobs, by application.
///
/// # Errors
/// What the database reports.
pub fn open_jobs(tx: &mut Tx<'_>) -> Result<HashMap<String, JobPosition>, DbError> {
    let sql = format!(
        "SELECT {}, application_id FROM jobs WHERE status IN ('pending', 'running')",
        jobs::COLUMNS
    );
    tx.query(&sql, params![])?
        .iter()
        .map(|row| Ok((row.get(jobs::COLUMN_COUNT)?, jobs::from_row(row)?)))
        .collect()
}

/// Up to which position of the log each of some applications is settled, and when it was last synchronized in full.
///
/// # Errors
/// What the database reports.
pub fn positions(
    tx: &mut Tx<'_>,
    applications: &[String],
) -> Result<HashMap<String, (Seq, Option<Millis>)>, DbError> {
    if applications.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT d.application_id, d.position,
                (SELECT MAX(j.ended_at) FROM jobs j
                 WHERE j.application_id = d.application_id AND j.kind = 'full'
                       AND j.status IN ('success', 'partial_success'))
         FROM deliveries d WHERE d.application_id IN {}",
        placeholders(1, applications.len())
    );
    let values: Vec<Value<'_>> = applications.iter().map(Value::from).collect();
    tx.query(&sql, &values)?
        .iter()
        .map(|row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))
        .collect()
}

/// What waits of a subject at an application, and how far that is.
#[derive(Clone, Debug, Default)]
pub struct OfSubject {
    /// The position up to which the application was told everything.
    pub position: Seq,
    /// When it was last synchronized in full.
    pub synchronized_at: Option<Millis>,
    /// The parked events of the subject, in the order in which they were parked.
    pub parked: Vec<Parked>,
}

/// What waits of a subject at each of some applications, by the application's id.
///
/// # Errors
/// What the database reports.
pub fn of_subject(
    tx: &mut Tx<'_>,
    applications: &[String],
    subject_id: &str,
) -> Result<HashMap<String, OfSubject>, DbError> {
    let mut found = HashMap::<String, OfSubject>::with_capacity(applications.len());
    if applications.is_empty() {
        return Ok(found);
    }
    let sql = format!(
        "SELECT d.application_id, d.position,
                (SELECT MAX(j.ended_at) FROM jobs j
                 WHERE j.application_id = d.application_id AND j.kind = 'full'
                       AND j.status IN ('success', 'partial_success')),
                p.*
         FROM deliveries d
         LEFT JOIN (SELECT {}, application_id AS of_application, id AS place
                    FROM parked_events WHERE subject_id = ${}) p ON p.of_application = d.application_id
         WHERE d.application_id IN {} ORDER BY p.place",
        parked::COLUMNS,
        applications.len() + 1,
        placeholders(1, applications.len())
    );
    let mut values: Vec<Value<'_>> = applications.iter().map(Value::from).collect();
    values.push(Value::from(subject_id));
    for row in &tx.query(&sql, &values)? {
        let of_it = found.entry(row.get(0)?).or_default();
        (of_it.position, of_it.synchronized_at) = (row.get(1)?, row.get(2)?);
        if row.get::<Option<String>>(3)?.is_some() {
            of_it.parked.push(parked::from_row(row, 3)?);
        }
    }
    Ok(found)
}

/// The applications that were ever synchronized, or told of a change of scope, however that ended; and when each was
/// last synchronized in full, which retention keeps the job to tell.
///
/// # Errors
/// What the database reports.
pub fn synchronized(tx: &mut Tx<'_>) -> Result<HashMap<String, Option<Millis>>, DbError> {
    tx.query(
        "SELECT application_id,
                MAX(CASE WHEN kind = 'full' AND status IN ('success', 'partial_success') THEN ended_at END)
         FROM jobs GROUP BY application_id",
        params![],
    )?
    .iter()
    .map(|row| Ok((row.get(0)?, row.get(1)?)))
    .collect()
}
