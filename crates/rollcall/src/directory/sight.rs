//! What a caller sees of the directory: all of it, or what is within some units and groups.
//!
//! The doors judge a write by placements, inside of its transaction. Whoever only reads gets a [`Sight`], which is
//! loaded once for a request. What is outside answers as if it did not exist, and what is inside is shown without the
//! names and ids of what is outside: the further units and groups of a user, the unit above the topmost ones.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use rollcall_db::{DbError, Tx, Value};

use super::fields::fold;
use super::inside::Inside;
use super::placement::Tree;
use super::query::UnitAt;
use super::view::{self, BELOW, Branch};
use super::{DirectoryError, Group, Unit, User, Written, path, query, unit};
use crate::access::Authority;
use crate::change::{Placement, placeholders};
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
    /// The names of those groups, by id.
    group_names: HashMap<String, String>,
    /// Where its users are looked for; `None` if everybody is inside.
    inside: Option<Inside>,
    /// Whether so few are inside that all of them are read, rather than looked for among everybody; known once
    /// somebody lists them.
    is_small: OnceLock<bool>,
}

impl Part {
    fn load(tx: &mut Tx<'_>, tops: &BTreeSet<String>, groups: &BTreeSet<String>) -> Result<Self, DbError> {
        let inside = (!tops.contains(ROOT_UNIT)).then(|| Inside::new(tops, groups));
        let (all, group_names) = units_and_groups(tx, groups)?;
        let tree = Tree::of(&all);
        let mut all: HashMap<String, Unit> = all.into_iter().map(|unit| (unit.id.clone(), unit)).collect();
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
            group_names,
            inside,
            is_small: OnceLock::new(),
        })
    }

    fn unit(&self, id: &str) -> Option<&Unit> {
        let mut units = self.units.iter().map(|(unit, _)| unit);
        units.find(|unit| unit.id == id)
    }

    /// The units from the topmost one that is seen to this one.
    fn above(&self, id: &str) -> Vec<Unit> {
        let mut above = Vec::new();
        let mut next = self.unit(id);
        while let Some(unit) = next {
            above.push(unit.clone());
            next = unit.parent_id.as_deref().and_then(|parent| self.unit(parent));
        }
        above.reverse();
        above
    }

    fn branch(&self, id: Option<&str>) -> Branch {
        let mut above = id.map(|id| self.above(id)).unwrap_or_default();
        let mut tops: Vec<Unit> = Vec::new();
        let mut below: HashMap<String, Vec<Unit>> = HashMap::new();
        let mut count = 0;
        // The root is shown open, as it is to somebody who sees everything.
        if above.is_empty() && id.is_none() {
            above.extend(self.unit(ROOT_UNIT).cloned());
        }
        for (unit, _) in &self.units {
            let siblings = match &unit.parent_id {
                None => &mut tops,
                Some(parent) if above.iter().any(|above| above.id == *parent) => {
                    below.entry(parent.clone()).or_default()
                }
                Some(_) => continue,
            };
            count += 1;
            if count <= BELOW {
                siblings.push(unit.clone());
            }
        }
        for siblings in below.values_mut().chain([&mut tops]) {
            siblings.sort_by_cached_key(|unit| fold(&unit.name));
        }
        Branch {
            above,
            tops,
            below,
            is_cut: count > BELOW,
        }
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

/// Among whom the users are looked for whom somebody sees.
#[derive(Clone, Copy, Debug)]
pub(super) enum Among<'a> {
    /// All users, who are all seen.
    Everybody,
    /// Those who stand there, who are few enough to be read one and all.
    Few(&'a Inside),
    /// All users, of whom those who stand there are seen.
    Many(&'a Inside),
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
            // Who owns something reads it as its owner, and sees nothing of the tree.
            Authority::Owned { .. } => Some(Part::load(tx, &BTreeSet::new(), &BTreeSet::new())?),
        }))
    }

    /// Whether it is the whole directory.
    pub fn is_everything(&self) -> bool {
        self.0.is_none()
    }

    /// Where the users are who are seen; `None` if all are.
    pub(super) fn inside(&self) -> Option<&Inside> {
        self.0.as_ref().and_then(|part| part.inside.as_ref())
    }

    /// The units that are seen, and the one above the topmost ones, if that is seen too; `None` if all are.
    pub(super) fn some_units(&self) -> Option<(impl Iterator<Item = &Unit>, Option<&'static str>)> {
        let part = self.0.as_ref()?;
        let top = part.ids.contains(ROOT_UNIT).then_some(ROOT_UNIT);
        Some((part.units.iter().map(|(unit, _)| unit), top))
    }

    /// Where users are looked for.
    ///
    /// # Errors
    /// What the database reports.
    pub(super) fn among(&self, tx: &mut Tx<'_>) -> Result<Among<'_>, DbError> {
        let part = self.0.as_ref();
        let Some((part, inside)) = part.and_then(|part| Some((part, part.inside.as_ref()?))) else {
            return Ok(Among::Everybody);
        };
        let is_small = match part.is_small.get() {
            Some(is_small) => *is_small,
            None => {
                let is_small = inside.is_small(tx)?;
                *part.is_small.get_or_init(|| is_small)
            }
        };
        Ok(match is_small {
            true => Among::Few(inside),
            false => Among::Many(inside),
        })
    }

    /// The branch of a unit, or else the topmost units. One that is not seen has nothing above.
    ///
    /// # Errors
    /// What the database reports.
    pub fn branch(&self, tx: &mut Tx<'_>, id: Option<&str>) -> Result<Branch, DbError> {
        match &self.0 {
            None => view::branch(tx, id.unwrap_or(ROOT_UNIT)),
            Some(part) => Ok(part.branch(id)),
        }
    }

    /// The paths of units that are seen, by id, from the topmost one that is.
    ///
    /// # Errors
    /// What the database reports.
    pub fn paths(&self, tx: &mut Tx<'_>, ids: &[String]) -> Result<HashMap<String, String>, DbError> {
        let Some(part) = &self.0 else {
            return view::unit_paths(tx, ids);
        };
        let wanted = part.units.iter().filter(|(unit, _)| ids.contains(&unit.id));
        Ok(wanted
            .map(|(unit, names)| (unit.id.clone(), path::join(names)))
            .collect())
    }

    /// The names of groups that are seen, by id.
    ///
    /// # Errors
    /// What the database reports.
    pub fn group_names(&self, tx: &mut Tx<'_>, ids: &[String]) -> Result<HashMap<String, String>, DbError> {
        let Some(part) = self.0.as_ref().filter(|part| !part.ids.contains(ROOT_UNIT)) else {
            return view::names(tx, ids);
        };
        let seen = ids.iter().filter_map(|id| part.group_names.get_key_value(id));
        Ok(seen.map(|(id, name)| (id.clone(), name.clone())).collect())
    }

    /// Finds a user as [`query::find_user`] does.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] also of somebody who is outside; or what the database reports.
    pub fn user(&self, tx: &mut Tx<'_>, text: &str) -> Result<Option<User>, DirectoryError> {
        Ok(self.standing(tx, text)?.map(|(user, _)| user))
    }

    /// Finds a user as [`query::find_standing`] does. Where it stands is told in full, for comparing it with scopes.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] also of somebody who is outside; or what the database reports.
    pub fn standing(
        &self,
        tx: &mut Tx<'_>,
        text: &str,
    ) -> Result<Option<(User, Arc<Placement>)>, DirectoryError> {
        let found = query::find_standing(tx, text);
        let Some(part) = &self.0 else { return found };
        let mut found = hidden(found)?.filter(|(user, _)| part.sees_user(user));
        if let Some((user, _)) = &mut found {
            part.cut_user(user);
        }
        Ok(found)
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

    /// The groups that are seen; `None` for all.
    pub fn group_ids(&self) -> Option<&BTreeSet<String>> {
        let part = self.0.as_ref().filter(|part| !part.ids.contains(ROOT_UNIT));
        part.map(|part| &part.groups)
    }

    /// The units from the topmost one that is seen to this one, which is the last; none if it is not seen.
    ///
    /// # Errors
    /// What the database reports.
    pub fn path_to(&self, tx: &mut Tx<'_>, id: &str) -> Result<Vec<Unit>, DbError> {
        Ok(self.branch(tx, Some(id))?.above)
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

/// All units, and the names of some groups: with one statement, because every request of an application owner asks for
/// both.
fn units_and_groups(
    tx: &mut Tx<'_>,
    groups: &BTreeSet<String>,
) -> Result<(Vec<Unit>, HashMap<String, String>), DbError> {
    let values: Vec<Value<'_>> = groups.iter().map(|id| Value::from(id.as_str())).collect();
    let of_groups = match values.len() {
        0 => String::new(),
        count => format!(
            "UNION ALL SELECT id, NULL, name, description, source_type, source_id, external_id, create_time, update_time, 1
             FROM groups WHERE id IN {}",
            placeholders(1, count)
        ),
    };
    let sql = format!(
        "SELECT {}, 0 FROM organizational_units {of_groups}",
        unit::columns("organizational_units")
    );
    let (mut units, mut names) = (Vec::new(), HashMap::new());
    for row in tx.query(&sql, &values)? {
        match row.get::<i64>(unit::COLUMN_COUNT)? {
            0 => units.push(unit::from_row(&row)?),
            _ => {
                names.insert(row.get(0)?, row.get(2)?);
            }
        }
    }
    Ok((units, names))
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
