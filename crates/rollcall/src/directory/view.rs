//! What a page about the directory shows besides its subject, with one statement for each question however much there
//! is: where a unit stands in the tree, and the names of groups and units.

use std::collections::HashMap;

use rollcall_db::{DbError, Tx, Value, params};

use super::fields::fold;
use super::query::AT_ONCE;
use super::{Unit, path, unit};
use crate::change::placeholders;

/// How many units below those of a branch are shown.
pub(super) const BELOW: usize = 1_000;

/// A unit in the tree: those above it, and what stands directly below each of them.
#[derive(Clone, Debug)]
pub struct Branch {
    /// From the topmost unit to the unit itself.
    pub above: Vec<Unit>,
    /// The topmost units, by name: the root, or those that are seen.
    pub tops: Vec<Unit>,
    /// What stands directly below each of these, by name.
    pub below: HashMap<String, Vec<Unit>>,
    /// Whether there is more than is shown.
    pub is_cut: bool,
}

/// Reads the branch of a unit; one that does not exist has nothing above.
///
/// # Errors
/// What the database reports.
pub fn branch(tx: &mut Tx<'_>, id: &str) -> Result<Branch, DbError> {
    let mut above: Vec<Unit> = Vec::new();
    for row in tx.query(
        &format!(
            "WITH RECURSIVE above (id, parent_id, depth) AS (
                 SELECT id, parent_id, 0 FROM organizational_units WHERE id = $1
                 UNION ALL
                 SELECT u.id, u.parent_id, depth + 1
                 FROM organizational_units u JOIN above a ON u.id = a.parent_id)
             SELECT {} FROM organizational_units JOIN above USING (id) ORDER BY depth DESC",
            unit::columns("organizational_units")
        ),
        params![id],
    )? {
        above.push(unit::from_row(&row)?);
    }
    let ids: Vec<Value<'_>> = above.iter().map(|unit| Value::from(unit.id.as_str())).collect();
    let mut below: HashMap<String, Vec<Unit>> = HashMap::new();
    let mut count = 0;
    if !ids.is_empty() {
        let sql = format!(
            "SELECT {} FROM organizational_units WHERE parent_id IN {} ORDER BY name_folded LIMIT {}",
            unit::columns("organizational_units"),
            placeholders(1, ids.len()),
            BELOW + 1
        );
        for row in tx.query(&sql, &ids)? {
            let unit = unit::from_row(&row)?;
            count += 1;
            if let Some(parent) = unit.parent_id.clone().filter(|_| count <= BELOW) {
                below.entry(parent).or_default().push(unit);
            }
        }
    }
    Ok(Branch {
        tops: above.first().cloned().into_iter().collect(),
        above,
        below,
        is_cut: count > BELOW,
    })
}

/// The paths of units from below the root, by id; empty for the root.
///
/// # Errors
/// What the database reports.
pub fn unit_paths(tx: &mut Tx<'_>, ids: &[String]) -> Result<HashMap<String, String>, DbError> {
    let mut names: HashMap<String, Vec<String>> = HashMap::new();
    for portion in ids.chunks(AT_ONCE) {
        let values: Vec<Value<'_>> = portion.iter().map(|id| Value::from(id.as_str())).collect();
        let sql = format!(
            "WITH RECURSIVE above (unit_id, name, parent_id, depth) AS (
                 SELECT id, name, parent_id, 0 FROM organizational_units WHERE id IN {}
                 UNION ALL
                 SELECT a.unit_id, u.name, u.parent_id, depth + 1
                 FROM organizational_units u JOIN above a ON u.id = a.parent_id)
             SELECT unit_id, name, parent_id FROM above ORDER BY unit_id, depth DESC",
            placeholders(1, values.len())
        );
        for row in tx.query(&sql, &values)? {
            let names = names.entry(row.get(0)?).or_default();
            // The root has no place in a path.
            if row.get::<Option<String>>(2)?.is_some() {
                names.push(row.get(1)?);
            }
        }
    }
    let paths = names.into_iter().map(|(id, names)| (id, path::join(&names)));
    Ok(paths.collect())
}

/// The paths of all units below the root, in their order; none if there are more than so many.
///
/// # Errors
/// What the database reports.
pub fn all_paths(tx: &mut Tx<'_>, most: usize) -> Result<Vec<String>, DbError> {
    let sql = format!(
        "SELECT id, parent_id, name FROM organizational_units LIMIT {}",
        most + 2
    );
    let rows = tx.query(&sql, &[])?;
    // The root is none of them.
    if rows.len() > most + 1 {
        return Ok(Vec::new());
    }
    let mut units: HashMap<String, (Option<String>, String)> = HashMap::with_capacity(rows.len());
    for row in &rows {
        units.insert(row.get(0)?, (row.get(1)?, row.get(2)?));
    }
    let path_of = |id: &str| {
        let mut names = Vec::new();
        let mut next = units.get(id);
        while let Some((Some(parent), name)) = next {
            names.push(name.as_str());
            next = units.get(parent);
        }
        names.reverse();
        path::join(&names)
    };
    let mut paths: Vec<String> = units
        .keys()
        .map(|id| path_of(id))
        .filter(|path| !path.is_empty())
        .collect();
    paths.sort_by_cached_key(|path| fold(path));
    Ok(paths)
}

/// The names of users, units and groups, by id; who is gone is left out.
///
/// # Errors
/// What the database reports.
pub fn names(tx: &mut Tx<'_>, ids: &[String]) -> Result<HashMap<String, String>, DbError> {
    let mut names = HashMap::with_capacity(ids.len());
    for portion in ids.chunks(AT_ONCE) {
        let values: Vec<Value<'_>> = portion.iter().map(|id| Value::from(id.as_str())).collect();
        let among = placeholders(1, values.len());
        let sql = format!(
            "SELECT id, username FROM users WHERE id IN {among}
             UNION ALL SELECT id, name FROM organizational_units WHERE id IN {among}
             UNION ALL SELECT id, name FROM groups WHERE id IN {among}"
        );
        for row in tx.query(&sql, &values)? {
            names.insert(row.get(0)?, row.get(1)?);
        }
    }
    Ok(names)
}
