//! The members of a group that both have: who is missing there, and who is there besides.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_db::{DbError, Tx};
use rollcall_protocol::SubjectKind;
use rollcall_scim::client::Call;

use super::listing::Asker;
use super::model::{Details, Difference};
use super::run::Trouble;
use super::store;
use crate::delivery::ledger::remote;
use crate::delivery::route::scim::users_in;
use crate::directory::{query, view};

/// How many members are named.
const NAMED: usize = 20;

/// What the application answers of a group's members.
pub(super) enum Asked {
    /// These users, by its ids. How it calls them is not looked at: one of them may have been erased here.
    Members(BTreeSet<String>),
    /// The group is gone.
    Gone,
    /// It does not tell, or too much of it.
    Unread,
}

/// Asks for the members of a group.
pub(super) async fn ask(asker: Asker<'_>, group: &str) -> Result<Asked, Trouble> {
    let answer = asker.ask(&Call::get("Groups", Vec::new()).of(group)).await?;
    if answer.reply.status == 404 {
        return Ok(Asked::Gone);
    }
    let body = answer.reply.body.filter(|body| body.is_object());
    let (None, Some(body)) = (answer.failure, body) else {
        return Ok(Asked::Unread);
    };
    Ok(Asked::Members(users_in(Some(&body))))
}

/// What becomes of a group's members.
#[derive(Debug, Default)]
pub(super) struct Compared {
    missing: u64,
    surplus: u64,
    emptied: bool,
    first_missing: Vec<String>,
    first_surplus: Vec<String>,
}

impl Compared {
    pub(super) fn is_same(&self) -> bool {
        self.missing + self.surplus == 0
    }

    /// Adds it to what differs of the group.
    pub(super) fn add_to(self, difference: Difference) -> Difference {
        Difference {
            missing: self.missing,
            surplus: self.surplus,
            emptied: self.emptied,
            details: Details {
                first_missing: self.first_missing,
                first_surplus: self.first_surplus,
                ..difference.details
            },
            ..difference
        }
    }
}

/// Compares the members of a group with those whom the application has in it. Somebody is missing whom the application
/// has, or who is to be made there; whoever it cannot have is nowhere.
pub(super) fn compare(
    tx: &mut Tx<'_>,
    comparison_id: &str,
    application_id: &str,
    group_id: &str,
    there: &BTreeSet<String>,
) -> Result<Compared, DbError> {
    let members = query::group_members(tx, group_id)?;
    let matches = store::matches(tx, comparison_id, &members)?;
    let unmatched: Vec<String> = members
        .into_iter()
        .filter(|id| !matches.contains_key(id))
        .collect();
    let coming = store::to_be_made(tx, comparison_id, &unmatched)?;
    let wanted: BTreeMap<&str, &str> = matches
        .values()
        .map(|it| (it.remote_id.as_str(), it.name.as_str()))
        .collect();
    let absent = wanted.iter().filter(|(id, _)| !there.contains::<str>(id));
    let mut missing: Vec<String> = absent.map(|(_, name)| (*name).to_owned()).collect();
    missing.extend(coming.into_values());
    missing.sort_unstable();
    let surplus: Vec<&String> = there
        .iter()
        .filter(|id| !wanted.contains_key(id.as_str()))
        .collect();
    let first: Vec<String> = surplus.iter().take(NAMED).map(|id| (*id).clone()).collect();
    let written = store::called(tx, comparison_id, &first)?;
    let holders = remote::holders(tx, application_id, SubjectKind::User, &first)?;
    let ids: Vec<String> = holders.values().cloned().collect();
    let names = view::names(tx, &ids)?;
    let called = |id: &String| {
        let known = holders.get(id).and_then(|subject| names.get(subject));
        known.or_else(|| written.get(id)).unwrap_or(id).clone()
    };
    Ok(Compared {
        missing: missing.len() as u64,
        surplus: surplus.len() as u64,
        emptied: !surplus.is_empty() && surplus.len() == there.len() && missing.is_empty(),
        first_missing: missing.into_iter().take(NAMED).collect(),
        first_surplus: first.iter().map(called).collect(),
    })
}
