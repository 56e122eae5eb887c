//! What is taken out of the log: passwords that have been told or are too old, and the records of somebody who is erased.

use rollcall_db::{DbError, Tx, params};

use super::Seq;
use crate::clock::Millis;

/// Whether some change holds a sealed password.
///
/// # Errors
/// What the database reports.
pub fn has_secrets(tx: &mut Tx<'_>) -> Result<bool, DbError> {
    let some = tx.query_opt(
        "SELECT 1 FROM changes WHERE secret IS NOT NULL LIMIT 1",
        params![],
    )?;
    Ok(some.is_some())
}

/// Erases the sealed passwords of all changes up to a position, and of those older than a time.
///
/// # Errors
/// What the database reports.
pub fn erase_secrets(tx: &mut Tx<'_>, up_to: Seq, older_than: Millis) -> Result<u64, DbError> {
    tx.execute(
        "UPDATE changes SET secret = NULL WHERE secret IS NOT NULL AND (seq <= $1 OR time < $2)",
        params![up_to, older_than],
    )
}

/// Takes the records out of all changes of a subject. Returns of how many.
///
/// # Errors
/// What the database reports.
pub fn erase_records(tx: &mut Tx<'_>, subject_id: &str) -> Result<u64, DbError> {
    tx.execute(
        "UPDATE changes SET record = '', previous = NULL, secret = NULL WHERE subject_id = $1",
        params![subject_id],
    )
}

/// Whether the log still has a record of a subject. It has none of whoever was erased.
///
/// # Errors
/// What the database reports.
pub fn has_record(tx: &mut Tx<'_>, subject_id: &str) -> Result<bool, DbError> {
    let found = tx.query_opt(
        "SELECT 1 FROM changes WHERE subject_id = $1 AND record <> '' LIMIT 1",
        params![subject_id],
    )?;
    Ok(found.is_some())
}
