//! Brings what names are compared by up to the present rule ([`fold`]), once after an upgrade.
//!
//! Names that were stored as different ones may be one by the present rule. The one with the lower id then gets the new
//! form and the others keep their old one: they stay as they are, are found by their id, and can be changed. Only a
//! name that is chosen anew has to be free by the present rule.

use rollcall_db::{DbError, Tx, params};
use serde_json::Value;

use super::fields::fold;

/// The version of [`fold`]; what is stored was folded by this one or an earlier one.
const FOLDING: i64 = 1;
/// Rows that one read takes.
const PAGE: i64 = 1_000;

/// What is folded: table, column, its folded form, and the column within whose value that is unique.
const FOLDED: [(&str, &str, &str, Option<&str>); 7] = [
    ("users", "username", "username_folded", None),
    ("users", "email", "email_folded", None),
    ("organizational_units", "name", "name_folded", Some("parent_id")),
    ("groups", "name", "name_folded", None),
    ("applications", "name", "name_folded", None),
    ("accounts", "name", "name_folded", None),
    ("connections", "name", "name_folded", None),
];

/// Folds what was folded by an earlier rule.
///
/// # Errors
/// What the database reports.
pub(crate) fn refold(tx: &mut Tx<'_>) -> Result<(), DbError> {
    let behind = tx.query_opt("SELECT 1 FROM instance WHERE folding < $1", params![FOLDING])?;
    if behind.is_none() {
        return Ok(());
    }
    for (table, column, folded, within) in FOLDED {
        let mut after = String::new();
        loop {
            let rows = tx.query(
                &format!(
                    "SELECT id, {column}, {folded} FROM {table} WHERE {column} IS NOT NULL AND id > $1
                     ORDER BY id LIMIT $2"
                ),
                params![after.as_str(), PAGE],
            )?;
            let Some(last) = rows.last() else { break };
            after = last.get(0)?;
            for row in &rows {
                let (id, name, stored): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let new = fold(&name);
                if new != stored {
                    put(tx, (table, folded, within), &id, &new)?;
                }
            }
        }
    }
    refold_said(tx)?;
    tx.execute("UPDATE instance SET folding = $1", params![FOLDING])?;
    Ok(())
}

/// Folds the names that connections have for their users, which stand in what they have said. Several may be the same.
fn refold_said(tx: &mut Tx<'_>) -> Result<(), DbError> {
    let mut after = String::new();
    loop {
        let rows = tx.query(
            "SELECT user_id, resource, user_name FROM connection_users WHERE user_id > $1 ORDER BY user_id LIMIT $2",
            params![after.as_str(), PAGE],
        )?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.get(0)?;
        for row in &rows {
            let (id, resource, stored): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let said: Option<Value> = serde_json::from_str(&resource).ok();
            let name = said.as_ref().and_then(|said| said.get("userName")?.as_str());
            if let Some(new) = name.map(fold).filter(|new| *new != stored) {
                tx.execute(
                    "UPDATE connection_users SET user_name = $2 WHERE user_id = $1",
                    params![id, new],
                )?;
            }
        }
    }
}

/// Stores a folded form, unless somebody else has it.
fn put(
    tx: &mut Tx<'_>,
    (table, folded, within): (&str, &str, Option<&str>),
    id: &str,
    new: &str,
) -> Result<(), DbError> {
    let same_realm = within.map_or_else(String::new, |within| {
        format!(" AND other.{within} = {table}.{within}")
    });
    tx.execute(
        &format!(
            "UPDATE {table} SET {folded} = $2 WHERE id = $1 AND NOT EXISTS (
                 SELECT 1 FROM {table} AS other WHERE other.{folded} = $2 AND other.id <> $1{same_realm})"
        ),
        params![id, new],
    )?;
    Ok(())
}
