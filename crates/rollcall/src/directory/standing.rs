//! Who stands in a unit as in the primary one.

use rollcall_db::{DbError, Tx, params};

use super::query::{SyncRow, sync_rows};
use super::user;

/// The users whose primary unit this is, after an id, by id. Where nobody asks for their placements, those stay empty.
///
/// # Errors
/// What the database reports.
pub fn users_of_unit(
    tx: &mut Tx<'_>,
    unit_id: &str,
    after: Option<&str>,
    limit: usize,
    placed: bool,
) -> Result<Vec<SyncRow>, DbError> {
    let ids: Vec<String> = tx
        .query(
            "SELECT user_id FROM unit_members WHERE unit_id = $1 AND user_id > $2 AND is_primary
             ORDER BY user_id LIMIT $3",
            params![
                unit_id,
                after.unwrap_or(""),
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
        )?
        .iter()
        .map(|row| row.get(0))
        .collect::<Result<_, _>>()?;
    let users = user::load_many(tx, &ids)?;
    sync_rows(tx, users, placed)
}

/// How many they are.
///
/// # Errors
/// What the database reports.
pub fn count_of_unit(tx: &mut Tx<'_>, unit_id: &str) -> Result<u64, DbError> {
    let count: i64 = tx
        .query_one(
            "SELECT COUNT(*) FROM unit_members WHERE unit_id = $1 AND is_primary",
            params![unit_id],
        )?
        .get(0)?;
    Ok(u64::try_from(count).unwrap_or_default())
}
