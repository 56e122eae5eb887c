//! What somebody looks at who chooses units and groups: parts of the tree, and how many users they hold. One statement
//! for each question, however much there is.

use std::collections::{BTreeSet, HashMap};

use rollcall_db::{DbError, Tx, Value, params};

use super::fields::fold;
use super::inside::Inside;
use super::query::AT_ONCE;
use super::{Unit, unit};
use crate::change::placeholders;
use crate::id::ROOT_UNIT;

fn values(ids: &[String]) -> Vec<Value<'_>> {
    ids.iter().map(|id| Value::from(id.as_str())).collect()
}

/// What stands directly below some units, by name: at most `limit` in all, and whether there is more.
///
/// # Errors
/// What the database reports.
pub fn below(
    tx: &mut Tx<'_>,
    ids: &[String],
    limit: usize,
) -> Result<(HashMap<String, Vec<Unit>>, bool), DbError> {
    let mut below: HashMap<String, Vec<Unit>> = HashMap::new();
    let mut count = 0;
    for portion in ids.chunks(AT_ONCE) {
        let sql = format!(
            "SELECT {} FROM organizational_units WHERE parent_id IN {} ORDER BY name_folded LIMIT {}",
            unit::columns("organizational_units"),
            placeholders(1, portion.len()),
            limit + 1
        );
        for row in tx.query(&sql, &values(portion))? {
            let unit = unit::from_row(&row)?;
            count += 1;
            if let Some(parent) = unit.parent_id.clone().filter(|_| count <= limit) {
                below.entry(parent).or_default().push(unit);
            }
        }
    }
    Ok((below, count > limit))
}

/// Those of some units that have others below them.
///
/// # Errors
/// What the database reports.
pub fn parents(tx: &mut Tx<'_>, ids: &[String]) -> Result<BTreeSet<String>, DbError> {
    let mut found = BTreeSet::new();
    for portion in ids.chunks(AT_ONCE) {
        let sql = format!(
            "SELECT DISTINCT parent_id FROM organizational_units WHERE parent_id IN {}",
            placeholders(1, portion.len())
        );
        for row in tx.query(&sql, &values(portion))? {
            found.insert(row.get(0)?);
        }
    }
    Ok(found)
}

/// All units above some.
///
/// # Errors
/// What the database reports.
pub fn above(tx: &mut Tx<'_>, ids: &[String]) -> Result<BTreeSet<String>, DbError> {
    let mut found = BTreeSet::new();
    for portion in ids.chunks(AT_ONCE) {
        let sql = format!(
            "WITH RECURSIVE above (id) AS (
                 SELECT parent_id FROM organizational_units WHERE id IN {}
                 UNION
                 SELECT u.parent_id FROM organizational_units u JOIN above a ON u.id = a.id)
             SELECT id FROM above WHERE id IS NOT NULL",
            placeholders(1, portion.len())
        );
        for row in tx.query(&sql, &values(portion))? {
            found.insert(row.get(0)?);
        }
    }
    Ok(found)
}

/// The ids of units in whose names a text stands, whatever its case, by name: at most so many.
///
/// # Errors
/// What the database reports.
pub fn named(tx: &mut Tx<'_>, text: &str, limit: usize) -> Result<Vec<String>, DbError> {
    let mut pattern = String::from("%");
    for c in fold(text).chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    let rows = tx.query(
        "SELECT id FROM organizational_units WHERE name_folded LIKE $1 ESCAPE '!' ORDER BY name_folded, id LIMIT $2",
        params![pattern, i64::try_from(limit).unwrap_or(i64::MAX)],
    )?;
    rows.iter().map(|row| row.get(0)).collect()
}

/// How many users stand in some units, at any depth, or in some groups.
///
/// # Errors
/// What the database reports.
pub fn users_within(
    tx: &mut Tx<'_>,
    units: &BTreeSet<String>,
    groups: &BTreeSet<String>,
) -> Result<u64, DbError> {
    if units.contains(ROOT_UNIT) {
        let count: i64 = tx.query_one("SELECT COUNT(*) FROM users", &[])?.get(0)?;
        return Ok(u64::try_from(count).unwrap_or_default());
    }
    let inside = Inside::new(units, groups);
    let count: i64 = tx.query_one(&inside.count(), &inside.values())?.get(0)?;
    Ok(u64::try_from(count).unwrap_or_default())
}
