//! What the deletion of a unit takes along: the plan that is shown before somebody confirms it.
//!
//! The plan has a token, made of everybody who is in it. Whoever confirms it names the token, and
//! [`super::apply`] makes the plan once more in the writing transaction: what is deleted is what was shown,
//! or nothing.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_db::{DbError, Tx, Value, params};
use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};

use super::inside::Inside;
use super::placement::Tree;
use super::{DirectoryError, unit, view};
use crate::change::placeholders;
use crate::id::{self, ROOT_UNIT};

/// How many names a plan shows of each kind.
const NAMED: usize = 10;

/// How many, and the names of the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "FirstNames")]
pub struct Named {
    /// How many.
    pub count: u64,
    /// The first of them: paths of units, usernames in the order of ids, names of groups.
    pub first: Vec<String>,
}

impl Named {
    fn of(names: impl Iterator<Item = String>) -> Self {
        let mut named = Self::default();
        for name in names {
            named.count += 1;
            if named.first.len() < NAMED {
                named.first.push(name);
            }
        }
        named
    }
}

/// What the deletion of a unit takes along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletionPlan {
    /// The unit's id.
    pub id: String,
    /// Its path.
    pub path: String,
    /// The units that are deleted, with the unit itself, parents first.
    pub organizational_units: Named,
    /// The users that are deleted, since their primary unit is.
    pub deleted_users: Named,
    /// The users that stay, since their primary unit does, and lose a further one.
    pub users_that_stay: Named,
    /// Memberships in groups that end with the users that are deleted.
    pub memberships: u64,
    /// The groups that lose members by that.
    pub groups: Named,
    /// What confirms just this plan.
    pub token: String,
}

/// Who stands in the unit or below it, and so is in the plan.
struct Standing {
    /// Those whose primary unit is deleted, by id, each with the groups that they are members of.
    deleted: BTreeMap<String, Vec<String>>,
    /// The others, by id.
    staying: BTreeSet<String>,
}

impl Standing {
    /// Reads them with two statements, however many they are.
    fn read(tx: &mut Tx<'_>, unit_id: &str) -> Result<Self, DbError> {
        let unit = BTreeSet::from([unit_id.to_owned()]);
        let inside = Inside::new(&unit, &BTreeSet::new()).units();
        let mut standing = Self {
            deleted: BTreeMap::new(),
            staying: BTreeSet::new(),
        };
        for row in tx.query(
            &format!(
                "{inside} SELECT m.user_id, m.is_primary FROM inside i CROSS JOIN unit_members m
                 WHERE m.unit_id = i.id"
            ),
            params![unit_id],
        )? {
            let id = row.get(0)?;
            if row.get(1)? {
                standing.deleted.insert(id, Vec::new());
            } else {
                standing.staying.insert(id);
            }
        }
        let Self { deleted, staying } = &mut standing;
        staying.retain(|id| !deleted.contains_key(id));
        for row in tx.query(
            &format!(
                "{inside} SELECT g.user_id, g.group_id FROM inside i CROSS JOIN unit_members m
                 CROSS JOIN group_members g
                 WHERE m.unit_id = i.id AND m.is_primary AND g.user_id = m.user_id
                 ORDER BY g.group_id"
            ),
            params![unit_id],
        )? {
            if let Some(groups) = deleted.get_mut(&row.get::<String>(0)?) {
                groups.push(row.get(1)?);
            }
        }
        Ok(standing)
    }
}

/// The usernames of the first of these users, in the order of their ids.
fn first_named(tx: &mut Tx<'_>, ids: impl ExactSizeIterator<Item = String>) -> Result<Named, DbError> {
    let count = ids.len() as u64;
    let first: Vec<String> = ids.take(NAMED).collect();
    if first.is_empty() {
        return Ok(Named::default());
    }
    let values: Vec<Value<'_>> = first.iter().map(|id| Value::from(id.as_str())).collect();
    let rows = tx.query(
        &format!(
            "SELECT username FROM users WHERE id IN {} ORDER BY id",
            placeholders(1, first.len())
        ),
        &values,
    )?;
    Ok(Named {
        count,
        first: rows.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?,
    })
}

/// Says what the deletion of a unit with everything below it would take along.
///
/// # Errors
/// [`DirectoryError`]; also of the root unit, which cannot be deleted.
pub fn plan_deletion(tx: &mut Tx<'_>, id: &str) -> Result<DeletionPlan, DirectoryError> {
    if id == ROOT_UNIT {
        return Err(DirectoryError::Root);
    }
    let units = unit::all(tx)?;
    let tree = Tree::of(&units);
    let units: BTreeMap<String, unit::Unit> = units.into_iter().map(|unit| (unit.id.clone(), unit)).collect();
    if !units.contains_key(id) {
        return Err(super::not_found(SubjectKind::Unit, id));
    }
    let path_of = |id: &str| {
        let mut names = Vec::new();
        let mut next = units.get(id);
        while let Some(unit) = next {
            let Some(parent) = &unit.parent_id else { break };
            names.push(unit.name.clone());
            next = units.get(parent);
        }
        names.reverse();
        super::path::join(&names)
    };
    let subtree = tree.subtree(id);
    let Standing { deleted, staying } = Standing::read(tx, id)?;
    // Everybody in the plan, in an order that does not depend on names.
    let mut everybody: Vec<String> = subtree.clone();
    everybody.sort_unstable();
    let of_deleted = deleted
        .iter()
        .map(|(id, groups)| format!("{id} {}", groups.join(" ")));
    everybody.extend(of_deleted);
    everybody.extend(staying.iter().map(|id| format!("{id} stays")));
    let losing: BTreeSet<&String> = deleted.values().flatten().collect();
    let losing: Vec<String> = losing.into_iter().cloned().collect();
    let mut groups: Vec<String> = view::names(tx, &losing)?.into_values().collect();
    groups.sort_unstable();
    Ok(DeletionPlan {
        id: id.to_owned(),
        path: path_of(id),
        organizational_units: Named::of(subtree.iter().map(|id| path_of(id))),
        memberships: deleted.values().map(|groups| groups.len() as u64).sum(),
        deleted_users: first_named(tx, deleted.into_keys())?,
        users_that_stay: first_named(tx, staying.into_iter())?,
        groups: Named::of(groups.into_iter()),
        token: id::plan_token(&everybody.join("\n")),
    })
}
