//! What the deletion of a unit takes along: the plan that is shown before somebody confirms it.
//!
//! The plan has a token, made of everybody who is in it. Whoever confirms it names the token, and
//! [`super::apply`] makes the plan once more in the writing transaction: what is deleted is what was shown,
//! or nothing.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_db::Tx;
use rollcall_protocol::SubjectKind;
use serde::Serialize;

use super::placement::Tree;
use super::{DirectoryError, query, unit, user, view};
use crate::id::{self, ROOT_UNIT};

/// How many names a plan shows of each kind.
const NAMED: usize = 10;

/// How many, and the names of the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
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

/// Says what the deletion of a unit with everything below it would take along.
///
/// # Errors
/// [`DirectoryError`]; also of the root unit, which cannot be deleted.
pub fn plan_deletion(tx: &mut Tx<'_>, id: &str) -> Result<DeletionPlan, DirectoryError> {
    if id == ROOT_UNIT {
        return Err(DirectoryError::Root);
    }
    let units: BTreeMap<String, unit::Unit> = unit::all(tx)?
        .into_iter()
        .map(|unit| (unit.id.clone(), unit))
        .collect();
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
    let subtree = Tree::load(tx)?.subtree(id);
    let inside: BTreeSet<&str> = subtree.iter().map(String::as_str).collect();
    let subtree_has = |id: &str| inside.contains(id);
    let (mut deleted, mut staying, mut memberships) = (Vec::new(), Vec::new(), 0);
    let mut losing: BTreeSet<String> = BTreeSet::new();
    // Everybody in the plan, in an order that does not depend on names.
    let mut everybody: Vec<String> = subtree.clone();
    everybody.sort_unstable();
    let ids = user::in_units(tx, &subtree)?;
    for portion in ids.chunks(query::AT_ONCE) {
        for user in user::load_many(tx, portion)? {
            if subtree_has(&user.primary_unit_id()) {
                memberships += user.groups.len() as u64;
                losing.extend(user.groups.iter().cloned());
                everybody.push(format!("{} {}", user.id, user.groups.join(" ")));
                deleted.push(user.username);
            } else {
                everybody.push(format!("{} stays", user.id));
                staying.push(user.username);
            }
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
