//! Looking synchronization jobs up by what they are like, across applications.

use rollcall_db::{DbError, Tx, Value};

use super::{COLUMN_COUNT, COLUMNS, from_row};
use crate::change::listed;
use crate::clock::Millis;
use crate::delivery::model::job::{JobPosition, JobStatus};

/// Which jobs are wanted.
#[derive(Clone, Debug, Default)]
pub struct JobsWanted {
    /// Only those of these applications.
    pub applications: Option<Vec<String>>,
    /// Only those that stand so.
    pub statuses: Option<Vec<JobStatus>>,
    /// Only those that began at this time or later. Until it begins, a job counts from when it was made.
    pub from: Option<Millis>,
    /// Only those that began at this time or before.
    pub until: Option<Millis>,
}

/// The ids of all jobs that are wanted, the newest first.
///
/// # Errors
/// What the database reports.
pub fn ids_of(tx: &mut Tx<'_>, wanted: &JobsWanted) -> Result<Vec<String>, DbError> {
    let mut sql = "SELECT id FROM jobs WHERE 1 = 1".to_owned();
    let mut values = Vec::new();
    if let Some(applications) = &wanted.applications {
        if applications.is_empty() {
            return Ok(Vec::new());
        }
        let among = listed(values.len() + 1, applications.len());
        sql.push_str(&format!(" AND application_id IN {among}"));
        values.extend(applications.iter().map(|id| Value::from(id.as_str())));
    }
    if let Some(statuses) = &wanted.statuses {
        if statuses.is_empty() {
            return Ok(Vec::new());
        }
        let among = listed(values.len() + 1, statuses.len());
        sql.push_str(&format!(" AND status IN {among}"));
        values.extend(statuses.iter().map(|status| Value::from(status.as_str())));
    }
    for (sign, time) in [(">=", wanted.from), ("<=", wanted.until)] {
        if let Some(time) = time {
            values.push(Value::from(time));
            sql.push_str(&format!(
                " AND COALESCE(started_at, created_at) {sign} ${}",
                values.len()
            ));
        }
    }
    sql.push_str(" ORDER BY id DESC");
    tx.query(&sql, &values)?.iter().map(|row| row.get(0)).collect()
}

/// Jobs by id, the newest first, each with its application; those that are gone are left out.
///
/// # Errors
/// What the database reports.
pub fn load_many(tx: &mut Tx<'_>, ids: &[String]) -> Result<Vec<(String, JobPosition)>, DbError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {COLUMNS}, application_id FROM jobs WHERE id IN {} ORDER BY id DESC",
        listed(1, ids.len())
    );
    let values: Vec<Value<'_>> = ids.iter().map(|id| Value::from(id.as_str())).collect();
    let rows = tx.query(&sql, &values)?;
    rows.iter()
        .map(|row| Ok((row.get(COLUMN_COUNT)?, from_row(row)?)))
        .collect()
}
