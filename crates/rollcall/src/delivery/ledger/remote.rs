//! What is remembered of users and groups at applications that give them ids of their own. It is written by the
//! settlement of the request that learned it.

use std::collections::HashMap;

use rollcall_db::{DbError, Row, Tx, Value, params};
use rollcall_protocol::SubjectKind;

use crate::change::listed;
use crate::delivery::model::{Digest, Remembered, Remote};

/// How many objects one statement asks for.
const AT_ONCE: usize = 500;

/// Stores what is remembered from now on. Whoever calls it holds the application's row in the ledger.
///
/// # Errors
/// What the database reports.
pub(super) fn store(tx: &mut Tx<'_>, application_id: &str, remembered: &Remembered) -> Result<(), DbError> {
    let subject = remembered.subject_id.as_str();
    let Some(remote) = &remembered.remote else {
        return tx.execute_later(
            "DELETE FROM remote_objects WHERE application_id = $1 AND subject_id = $2",
            params![application_id, subject],
        );
    };
    tx.execute_later(
        "INSERT INTO remote_objects (application_id, subject_id, subject_kind, remote_id, told, etag, has_left,
                                     members_in_doubt)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (application_id, subject_id) DO UPDATE
         SET remote_id = excluded.remote_id, told = excluded.told, etag = excluded.etag,
             has_left = excluded.has_left, members_in_doubt = excluded.members_in_doubt",
        params![
            application_id,
            subject,
            remembered.kind.as_str(),
            remote.id.as_str(),
            remote.told.as_ref().map(Digest::as_slice),
            remote.etag.as_deref(),
            remote.left,
            remote.members_in_doubt
        ],
    )
}

/// What is remembered of these objects at an application; those of which nothing is are left out.
///
/// # Errors
/// What the database reports.
pub fn of(
    tx: &mut Tx<'_>,
    application_id: &str,
    subjects: &[String],
) -> Result<HashMap<String, Remote>, DbError> {
    let mut found = HashMap::with_capacity(subjects.len());
    for part in subjects.chunks(AT_ONCE) {
        let sql = format!(
            "SELECT subject_id, remote_id, told, etag, has_left, members_in_doubt FROM remote_objects
             WHERE application_id = $1 AND subject_id IN {}",
            listed(2, part.len())
        );
        let mut values: Vec<Value<'_>> = vec![application_id.into()];
        values.extend(part.iter().map(Value::from));
        for row in &tx.query(&sql, &values)? {
            found.insert(row.get(0)?, remote(row)?);
        }
    }
    Ok(found)
}

fn remote(row: &Row) -> Result<Remote, DbError> {
    let told = row.get::<Option<Vec<u8>>>(2)?;
    let told = told.map(|bytes| {
        Digest::try_from(bytes).map_err(|_| DbError::Other("a stored digest has another length".to_owned()))
    });
    Ok(Remote {
        id: row.get(1)?,
        told: told.transpose()?,
        etag: row.get(3)?,
        left: row.get(4)?,
        members_in_doubt: row.get(5)?,
    })
}

/// Who is remembered under these ids of the application's, by the id.
///
/// # Errors
/// What the database reports.
pub fn holders(
    tx: &mut Tx<'_>,
    application_id: &str,
    kind: SubjectKind,
    remote_ids: &[String],
) -> Result<HashMap<String, String>, DbError> {
    let mut found = HashMap::with_capacity(remote_ids.len());
    for part in remote_ids.chunks(AT_ONCE) {
        let sql = format!(
            "SELECT remote_id, subject_id FROM remote_objects
             WHERE application_id = $1 AND subject_kind = $2 AND remote_id IN {} ORDER BY subject_id DESC",
            listed(3, part.len())
        );
        let mut values: Vec<Value<'_>> = vec![application_id.into(), kind.as_str().into()];
        values.extend(part.iter().map(Value::from));
        for row in &tx.query(&sql, &values)? {
            found.insert(row.get(0)?, row.get(1)?);
        }
    }
    Ok(found)
}

/// Forgets what was told of all that a job is to repair, so that each is read there and set right: also whoever was
/// disabled already, and the members of groups. Groups that were found are remembered, so that their members are
/// compared. Whoever calls it has fenced off what is in flight.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn doubt_all_of_job(
    tx: &mut Tx<'_>,
    application_id: &str,
    job_id: &str,
    comparison_id: &str,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO remote_objects (application_id, subject_id, subject_kind, remote_id, has_left, members_in_doubt)
         SELECT $1, d.subject_id, d.subject_kind, d.remote_id, FALSE, TRUE
         FROM comparison_differences d JOIN job_items i ON i.job_id = $2 AND i.subject_id = d.subject_id
         WHERE d.comparison_id = $3 AND d.kind = 'update' AND d.subject_kind = 'group' AND d.remote_id IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM remote_objects r
                               WHERE r.application_id = $1 AND r.subject_kind = d.subject_kind
                                     AND r.remote_id = d.remote_id)
         ON CONFLICT (application_id, subject_id) DO NOTHING",
        params![application_id, job_id, comparison_id],
    )?;
    tx.execute(
        "UPDATE remote_objects SET told = NULL, etag = NULL, has_left = FALSE, members_in_doubt = subject_kind = 'group'
         WHERE application_id = $1 AND subject_id IN (SELECT subject_id FROM job_items WHERE job_id = $2)",
        params![application_id, job_id],
    )?;
    Ok(())
}

/// Who is remembered under an id of the application's.
///
/// # Errors
/// What the database reports.
pub fn holder(
    tx: &mut Tx<'_>,
    application_id: &str,
    kind: SubjectKind,
    remote_id: &str,
) -> Result<Option<String>, DbError> {
    tx.query_opt(
        "SELECT subject_id FROM remote_objects
         WHERE application_id = $1 AND subject_kind = $2 AND remote_id = $3 ORDER BY subject_id LIMIT 1",
        params![application_id, kind.as_str(), remote_id],
    )?
    .map(|row| row.get(0))
    .transpose()
}

/// Forgets what was told, at all applications: after a restore it is not known, since the application may have been told
/// more since the backup was made.
///
/// # Errors
/// What the database reports.
pub fn forget_what_was_told(tx: &mut Tx<'_>) -> Result<(), DbError> {
    tx.execute("UPDATE remote_objects SET told = NULL, etag = NULL", params![])?;
    Ok(())
}
