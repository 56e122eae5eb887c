//! Reading the users that the commands of one commit are about, all of them at once.
//!
//! A command that changes a user begins by reading the user and where it stands. Where many share a commit, that
//! is read for all of them with four statements. A command takes its user out, so a second one of the same user
//! reads again; and whatever else is written to the tables that this was read from, all of it is forgotten.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rollcall_db::{DbError, Gathered, Tx};

use super::User;
use super::rows::{self, UPDATE};
use crate::change::Placement;
use crate::directory::placement::Tree;

/// The tables that a user and its placement are read from.
const TABLES: [&str; 4] = ["users", "unit_members", "group_members", "organizational_units"];

/// Users, and where they stand, until their commands take them.
#[derive(Default)]
struct Ahead(HashMap<String, (User, Arc<Placement>)>);

impl Gathered for Ahead {
    fn concerns(&self, sql: &str) -> bool {
        let begins = |word: &str| sql.trim_start().starts_with(word);
        let reads = begins("SELECT") || begins("WITH");
        // An update of fields changes the row of its own user, who was taken out before.
        !reads && sql != UPDATE && TABLES.iter().any(|table| sql.contains(table))
    }

    fn write(self: Box<Self>, _: &mut Tx<'_>) -> Result<(), DbError> {
        Ok(())
    }
}

/// Reads users for [`take`].
pub(in crate::directory) fn read(tx: &mut Tx<'_>, ids: &[&str]) -> Result<(), DbError> {
    let ids: BTreeSet<&str> = ids.iter().copied().collect();
    let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
    let users = rows::load_many(tx, &padded(ids))?;
    let units: BTreeSet<String> = users.iter().flat_map(User::unit_ids).collect();
    let tree = Tree::above(tx, &padded(units.into_iter().collect()))?;
    let known: &mut Ahead = tx.gather()?;
    known.0.extend(users.into_iter().map(|user| {
        let placement = tree.placement(&user.unit_ids(), user.groups.clone());
        (user.id.clone(), (user, placement))
    }));
    Ok(())
}

/// As many ids as a power of two, the last one repeated, so that there are few texts of statements to prepare.
fn padded(mut ids: Vec<String>) -> Vec<String> {
    if let Some(last) = ids.last().cloned() {
        ids.resize(ids.len().next_power_of_two(), last);
    }
    ids
}

/// A user that was read ahead, once.
pub(super) fn take(tx: &mut Tx<'_>, id: &str) -> Option<(User, Arc<Placement>)> {
    tx.gathered_mut::<Ahead>()?.0.remove(id)
}
