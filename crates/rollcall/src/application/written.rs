//! Scopes as people write and read them: units by id or path, groups by id or name.

use std::collections::BTreeSet;

use rollcall_db::{DbError, Tx};
use rollcall_protocol::SubjectKind;

use super::entitlement::Scope;
use crate::directory::{self, DirectoryError, query, view};
use crate::id::ROOT_UNIT;

/// The ids of units that are written as ids or paths.
///
/// # Errors
/// [`DirectoryError`]; also if one of them does not exist.
pub fn units<'a>(
    tx: &mut Tx<'_>,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<BTreeSet<String>, DirectoryError> {
    let mut ids = BTreeSet::new();
    for name in names {
        let unit =
            query::find_unit(tx, name)?.ok_or_else(|| directory::not_found(SubjectKind::Unit, name))?;
        ids.insert(unit.id);
    }
    Ok(ids)
}

/// The ids of groups that are written as ids or names.
///
/// # Errors
/// [`DirectoryError`]; also if one of them does not exist.
pub fn groups<'a>(
    tx: &mut Tx<'_>,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<BTreeSet<String>, DirectoryError> {
    let mut ids = BTreeSet::new();
    for name in names {
        let group =
            query::find_group(tx, name)?.ok_or_else(|| directory::not_found(SubjectKind::Group, name))?;
        ids.insert(group.id);
    }
    Ok(ids)
}

/// A scope in names: paths of units, names of groups.
///
/// # Errors
/// What the database reports.
pub fn names(tx: &mut Tx<'_>, scope: &Scope) -> Result<Vec<String>, DbError> {
    let units: Vec<String> = scope.organizational_unit_ids.iter().cloned().collect();
    let groups: Vec<String> = scope.group_ids.iter().cloned().collect();
    let (paths, names) = (view::unit_paths(tx, &units)?, view::names(tx, &groups)?);
    let units = units.iter().map(|id| match id.as_str() {
        ROOT_UNIT => "everything".to_owned(),
        id => format!("/{}", paths.get(id).map_or("", String::as_str)),
    });
    let groups = groups
        .iter()
        .map(|id| format!("group {}", names.get(id).unwrap_or(id)));
    Ok(units.chain(groups).collect())
}
