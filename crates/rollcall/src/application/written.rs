//! Scopes as people write and read them: units by id or path, groups by id or name.

use std::collections::{BTreeSet, HashMap};

use rollcall_db::{DbError, Tx};
use rollcall_protocol::SubjectKind;
use serde::Deserialize;

use super::entitlement::Scope;
use super::{Edit, ScopeEdit};
use crate::directory::{self, DirectoryError, Sight, query, view};
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

/// A scope as people write it.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ScopeNames {
    /// Organizational units with all below them: ids or paths.
    pub organizational_units: Vec<String>,
    /// Groups with their members: ids or names.
    pub groups: Vec<String>,
}

impl ScopeNames {
    /// The scope that it names.
    ///
    /// # Errors
    /// [`DirectoryError`]; also if something of it does not exist.
    pub fn read(&self, tx: &mut Tx<'_>) -> Result<Scope, DirectoryError> {
        Ok(Scope {
            organizational_unit_ids: units(tx, &self.organizational_units)?,
            group_ids: groups(tx, &self.groups)?,
        })
    }
}

/// A change of a set: what it becomes, or what comes in and goes out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SetChange {
    /// It becomes this.
    pub set: Option<Vec<String>>,
    /// These come in.
    pub add: Vec<String>,
    /// Those go out.
    pub remove: Vec<String>,
}

impl SetChange {
    /// What `each` makes of the names.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn read<T: Ord, E>(
        &self,
        mut each: impl FnMut(&[String]) -> Result<BTreeSet<T>, E>,
    ) -> Result<Edit<T>, E> {
        Ok(match &self.set {
            Some(set) => Edit::Set(each(set)?),
            None => Edit::Change {
                add: each(&self.add)?,
                remove: each(&self.remove)?,
            },
        })
    }
}

/// A change of a scope; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ScopeChange {
    /// Of its organizational units: ids or paths. `/` is everything.
    pub organizational_units: SetChange,
    /// Of its groups: ids or names.
    pub groups: SetChange,
}

impl ScopeChange {
    /// The change that it names.
    ///
    /// # Errors
    /// [`DirectoryError`]; also if something of it does not exist.
    pub fn read(&self, tx: &mut Tx<'_>) -> Result<ScopeEdit, DirectoryError> {
        Ok(ScopeEdit {
            units: self.organizational_units.read(|names| units(tx, names))?,
            groups: self.groups.read(|names| groups(tx, names))?,
        })
    }
}

/// The names of what some scopes hold.
pub struct Names {
    paths: HashMap<String, String>,
    groups: HashMap<String, String>,
}

impl Names {
    /// Reads them for somebody who sees this much of the directory: paths begin at the topmost unit that is seen.
    ///
    /// # Errors
    /// What the database reports.
    pub fn seen<'a>(
        tx: &mut Tx<'_>,
        sight: &Sight,
        scopes: impl IntoIterator<Item = &'a Scope>,
    ) -> Result<Self, DbError> {
        let (mut units, mut groups) = (BTreeSet::new(), BTreeSet::new());
        for scope in scopes {
            units.extend(scope.organizational_unit_ids.iter().cloned());
            groups.extend(scope.group_ids.iter().cloned());
        }
        let (units, groups) = (Vec::from_iter(units), Vec::from_iter(groups));
        Ok(Self {
            paths: sight.paths(tx, &units)?,
            groups: view::names(tx, &groups)?,
        })
    }

    /// One of the scopes in names: paths of units, names of groups; `everything` for the root unit.
    pub fn of(&self, scope: &Scope) -> Vec<String> {
        let units = scope.organizational_unit_ids.iter().map(|id| match id.as_str() {
            ROOT_UNIT => "everything".to_owned(),
            id => format!("/{}", self.paths.get(id).map_or("", String::as_str)),
        });
        let groups = scope.group_ids.iter();
        let groups = groups.map(|id| format!("group {}", self.groups.get(id).unwrap_or(id)));
        units.chain(groups).collect()
    }
}
