//! What the deletion of a unit takes along: the plan that is shown before somebody confirms it.
//!
//! The plan has a token, made of everybody who is in it. Whoever confirms it names the token, and
//! [`super::apply`] makes the plan once more in the writing transaction: what is deleted is what was shown,
//! or nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};

use super::inside::Inside;
use super::placement::Tree;
use super::{DirectoryError, unit, view};
use crate::id::{self, ROOT_UNIT};

/// How many names a plan shows of each kind.
const NAMED: usize = 10;

/// How many, and the names of the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "FirstNames")]
pub struct Named {
    /// How many.
    pub count: u64,
    /// The first names: paths of units, usernames, names of groups.
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

/// Somebody who stands in the unit or below it.
struct Member {
    id: String,
    username: String,
    primary_unit_id: String,
    groups: Vec<String>,
}

/// Reads everybody who stands in a unit or below it, by id: with two statements, however many they are.
fn members(tx: &mut Tx<'_>, id: &str) -> Result<Vec<Member>, DbError> {
    let unit = BTreeSet::from([id.to_owned()]);
    let inside = Inside::new(&unit, &BTreeSet::new()).units();
    let standing = "(SELECT m.user_id FROM unit_members m JOIN inside i ON i.id = m.unit_id)";
    let mut groups: HashMap<String, Vec<String>> = HashMap::new();
    for row in tx.query(
        &format!(
            "{inside} SELECT user_id, group_id FROM group_members WHERE user_id IN {standing}
             ORDER BY user_id, group_id"
        ),
        params![id],
    )? {
        groups.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    let rows = tx.query(
        &format!(
            "{inside} SELECT u.id, u.username, p.unit_id
             FROM users u JOIN unit_members p ON p.user_id = u.id AND p.is_primary
             WHERE u.id IN {standing} ORDER BY u.id"
        ),
        params![id],
    )?;
    rows.iter()
        .map(|row| {
            let id: String = row.get(0)?;
            Ok(Member {
                groups: groups.remove(&id).unwrap_or_default(),
                username: row.get(1)?,
                primary_unit_id: row.get(2)?,
                id,
            })
        })
        .collect()
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
    let inside: BTreeSet<&str> = subtree.iter().map(String::as_str).collect();
    let (mut deleted, mut staying, mut memberships) = (Vec::new(), Vec::new(), 0);
    let mut losing: BTreeSet<String> = BTreeSet::new();
    // Everybody in the plan, in an order that does not depend on names.
    let mut everybody: Vec<String> = subtree.clone();
    everybody.sort_unstable();
    for member in members(tx, id)? {
        if inside.contains(member.primary_unit_id.as_str()) {
            memberships += member.groups.len() as u64;
            everybody.push(format!("{} {}", member.id, member.groups.join(" ")));
            losing.extend(member.groups);
            deleted.push(member.username);
        } else {
            everybody.push(format!("{} stays", member.id));
            staying.push(member.username);
        }
    }
    let losing: Vec<String> = losing.into_iter().collect();
    let mut groups: Vec<String> = view::names(tx, &losing)?.into_values().collect();
    for names in [&mut deleted, &mut staying, &mut groups] {
        names.sort_unstable();
    }
    Ok(DeletionPlan {
        id: id.to_owned(),
        path: path_of(id),
        organizational_units: Named::of(subtree.iter().map(|id| path_of(id))),
        deleted_users: Named::of(deleted.into_iter()),
        users_that_stay: Named::of(staying.into_iter()),
        memberships,
        groups: Named::of(groups.into_iter()),
        token: id::plan_token(&everybody.join("\n")),
    })
}
