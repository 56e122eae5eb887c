//! What a caller sees of the directory: all of it, or what is within some units and groups.
//!
//! The doors judge a write by placements, inside of its transaction. Whoever only reads gets a [`Sight`], which is
//! loaded once for a request. What is outside answers as if it did not exist, and what is inside is shown without the
//! names and ids of what is outside: the further units and groups of a user, the unit above the topmost ones.

use std::collections::{BTreeSet, HashMap};

use rollcall_db::{DbError, Tx};

use super::fields::fold;
use super::placement::Tree;
use super::query::UnitAt;
use super::{DirectoryError, Group, Unit, User, Written, path, query, unit};
use crate::access::Authority;
use crate::id::ROOT_UNIT;

/// What a caller sees.
#[derive(Clone, Debug)]
pub struct Sight(Option<Part>);

/// A part of the directory.
#[derive(Clone, Debug)]
struct Part {
    /// The units that are seen, parents first, each with its path from the topmost one. Those have no parent here.
    units: Vec<(Unit, Vec<String>)>,
    ids: BTreeSet<String>,
    groups: BTreeSet<String>,
}

impl Part {
    fn load(tx: &mut Tx<'_>, tops: &BTreeSet<String>, groups: &BTreeSet<String>) -> Result<Self, DbError> {
        let mut all: HashMap<String, Unit> = unit::all(tx)?
            .into_iter()
            .map(|unit| (unit.id.clone(), unit))
            .collect();
        let tree = Tree::load(tx)?;
        let mut tops: Vec<&String> = tops.iter().collect();
        // So that of two that contain each other the upper one comes first.
        tops.sort_by_key(|id| tree.depth(id));
        let mut paths: HashMap<String, Vec<String>> = HashMap::new();
        let mut units = Vec::new();
        for id in tops.into_iter().flat_map(|top| tree.subtree(top)) {
            let Some(mut unit) = all.remove(&id) else { continue };
            unit.parent_id = unit.parent_id.filter(|parent| paths.contains_key(parent));
            let above = unit.parent_id.as_ref().and_then(|parent| paths.get(parent));
            let mut path = above.cloned().unwrap_or_default();
            // The root has no name in a path.
            if id != ROOT_UNIT {
                path.push(unit.name.clone());
            }
            paths.insert(id, path.clone());
            units.push((unit, path));
        }
        Ok(Self {
            units,
            ids: paths.into_keys().collect(),
            groups: groups.clone(),
        })
    }

    fn sees_group(&self, id: &str) -> bool {
        self.groups.contains(id) || self.ids.contains(ROOT_UNIT)
    }

    fn sees_user(&self, user: &User) -> bool {
        user.units.iter().any(|unit| self.ids.contains(&unit.id))
            || user.groups.iter().any(|group| self.groups.contains(group))
    }

    fn cut_user(&self, user: &mut User) {
        user.units.retain(|unit| self.ids.contains(&unit.id));
        user.groups.retain(|group| self.sees_group(group));
    }
}

impl Sight {
    /// The whole directory.
    pub const EVERYTHING: Self = Self(None);

    /// What this authority covers.
    ///
    /// # Errors
    /// What the database reports.
    pub fn of(tx: &mut Tx<'_>, authority: &Authority) -> Result<Self, DbError> {
        Ok(Self(match authority {
            Authority::Everything => None,
            Authority::Scope { units, groups } => Some(Part::load(tx, units, groups)?),
        }))
    }

    /// Finds a user as [`query::find_user`] does.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] also of somebody who is outside; or what the database reports.
    pub fn user(&self, tx: &mut Tx<'_>, text: &str) -> Result<Option<User>, DirectoryError> {
        let found = query::find_user(tx, text);
        let Some(part) = &self.0 else { return found };
        let mut user = hidden(found)?.filter(|user| part.sees_user(user));
        if let Some(user) = &mut user {
            part.cut_user(user);
        }
        Ok(user)
    }

    /// Of these users those who are seen.
    pub fn users(&self, mut users: Vec<User>) -> Vec<User> {
        if let Some(part) = &self.0 {
            users.retain(|user| part.sees_user(user));
            users.iter_mut().for_each(|user| part.cut_user(user));
        }
        users
    }

    /// Finds a group as [`query::find_group`] does.
    ///
    /// # Errors
    /// What the database reports.
    pub fn group(&self, tx: &mut Tx<'_>, text: &str) -> Result<Option<Group>, DirectoryError> {
        let found = query::find_group(tx, text);
        match &self.0 {
            None => found,
            Some(part) => Ok(hidden(found)?.filter(|group| part.sees_group(&group.id))),
        }
    }

    /// Whether a group is seen.
    pub fn sees_group(&self, id: &str) -> bool {
        self.0.as_ref().is_none_or(|part| part.sees_group(id))
    }

    /// Finds a unit as [`query::find_unit`] does; its path begins at the topmost unit that is seen.
    ///
    /// # Errors
    /// What the database reports.
    pub fn unit(&self, tx: &mut Tx<'_>, text: &str) -> Result<Option<Unit>, DirectoryError> {
        let Some(part) = &self.0 else {
            return query::find_unit(tx, text);
        };
        let written = Written::of(text);
        let wanted = written.name().map(|text| folded(&path::split(text)));
        let fits = |(unit, path): &&(Unit, Vec<String>)| {
            written.id() == Some(unit.id.as_str()) || wanted.as_ref() == Some(&folded(path))
        };
        Ok(part.units.iter().find(fits).map(|(unit, _)| unit.clone()))
    }

    /// The path of a unit that is seen, from the topmost one that is.
    ///
    /// # Errors
    /// What the database reports.
    pub fn path(&self, tx: &mut Tx<'_>, unit_id: &str) -> Result<String, DbError> {
        let Some(part) = &self.0 else {
            return query::unit_path(tx, unit_id);
        };
        let found = part.units.iter().find(|(unit, _)| unit.id == unit_id);
        Ok(found.map_or_else(String::new, |(_, path)| path::join(path)))
    }

    /// The units directly below one, or else the topmost ones; or those at any depth in whose names a text stands, as
    /// [`query::list_units`] has them.
    ///
    /// # Errors
    /// What the database reports.
    pub fn units(
        &self,
        tx: &mut Tx<'_>,
        below: Option<&str>,
        search: Option<&str>,
    ) -> Result<Vec<UnitAt>, DbError> {
        let Some(part) = &self.0 else {
            return query::list_units(tx, below.unwrap_or(ROOT_UNIT), search);
        };
        let below = below.or_else(|| part.ids.contains(ROOT_UNIT).then_some(ROOT_UNIT));
        let search = search.map(fold);
        let mut inside = BTreeSet::new();
        let mut found = Vec::new();
        for (unit, path) in &part.units {
            let parent = unit.parent_id.as_deref();
            let is_direct = parent == below;
            if is_direct || below.is_none() || parent.is_some_and(|parent| inside.contains(parent)) {
                inside.insert(unit.id.as_str());
            }
            let fits = match &search {
                Some(text) => inside.contains(unit.id.as_str()) && fold(&unit.name).contains(text),
                None => is_direct,
            };
            if fits {
                let (unit, path) = (unit.clone(), path::join(path));
                found.push(UnitAt { unit, path });
            }
        }
        found.sort_by_cached_key(|at| fold(&at.path));
        Ok(found)
    }
}

fn folded(path: &[String]) -> Vec<String> {
    path.iter().map(|name| fold(name)).collect()
}

/// What fits several may be outside, and the ways to write them would tell.
fn hidden<T>(found: Result<Option<T>, DirectoryError>) -> Result<Option<T>, DirectoryError> {
    match found {
        Err(DirectoryError::Ambiguous { .. }) => Ok(None),
        found => found,
    }
}
