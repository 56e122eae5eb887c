//! Changes that the application which wrote them is not told of; `developer::echo` says when that may be.

use rollcall_db::{DbError, Tx, Value, params};

use super::{Seq, listed};

/// Sees to it that an application which wrote a change itself is not told of it.
///
/// # Errors
/// What the database reports.
pub fn withhold(tx: &mut Tx<'_>, seq: Seq, application_id: &str) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE changes SET withheld_from = $2 WHERE seq = $1",
        params![seq, application_id],
    )
}

/// Whether there is a change of one of these subjects between two positions, the second one included, that is not
/// withheld from an application.
///
/// # Errors
/// What the database reports.
pub fn concerns(
    tx: &mut Tx<'_>,
    application_id: &str,
    subject_ids: &[String],
    (after, to): (Seq, Seq),
) -> Result<bool, DbError> {
    let sql = format!(
        "SELECT 1 FROM changes WHERE seq > $1 AND seq <= $2 AND (withheld_from IS NULL OR withheld_from <> $3)
         AND subject_id IN {} LIMIT 1",
        listed(4, subject_ids.len())
    );
    let mut values = params![after, to, application_id].to_vec();
    values.extend(subject_ids.iter().map(Value::from));
    Ok(tx.query_opt(&sql, &values)?.is_some())
}
