//! What the entries of a file have laid claim to so far.
//!
//! A plan is made while earlier parts of it may be carried out already, or, in a dry run, never are. It must
//! come out the same, so no decision may depend on how far the directory has got. What is looked up in the
//! directory is therefore read together with this: a value that the plan has given to somebody is taken
//! whoever has it in the directory, and one that the plan has taken from its holder is free.
//!
//! Texts are held as 64 bits of their hash, because a file may have millions of entries. Were two texts ever to
//! share them, an entry would be refused that need not be.

use std::collections::{HashMap, HashSet};

use super::entry::fingerprint;
use crate::directory::UniqueValue;
use crate::directory::fields::fold;

#[expect(clippy::cast_possible_truncation, reason = "these are the bits that are kept")]
fn print(text: &str) -> u64 {
    fingerprint(text) as u64
}

/// A line, in few bytes.
fn short(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The username, and the external id, of each entry, with its line.
    named: HashMap<u64, u32>,
    /// Other unique values that users get, with the line.
    values: HashMap<u64, u32>,
    /// Unique values that users of the directory no longer have.
    freed: HashSet<u64>,
    /// Users of the directory that entries mean, by id, with the line.
    meant: HashMap<u64, u32>,
    /// The ids of users by the username that they get.
    renamed: HashMap<u64, String>,
    /// The usernames of users that are made.
    made: HashSet<u64>,
    /// Users that are deleted, by id.
    deleted: HashSet<u64>,
    /// Users that get another owner, by id.
    adopted: HashSet<u64>,
    /// Whether a value was freed since somebody last asked.
    freed_lately: bool,
}

impl Claims {
    /// Claims for an entry what it is called by; fails with the line of the entry that has it.
    pub(super) fn name(&mut self, value: &UniqueValue, line: u64) -> Result<(), u64> {
        let owner = *self.named.entry(print(&value.identity)).or_insert(short(line));
        if owner == short(line) {
            Ok(())
        } else {
            Err(owner.into())
        }
    }

    /// Says that an entry means this user; fails with the line of another entry that does.
    pub(super) fn means(&mut self, id: &str, line: u64) -> Result<(), u64> {
        let owner = *self.meant.entry(print(id)).or_insert(short(line));
        if owner == short(line) {
            Ok(())
        } else {
            Err(owner.into())
        }
    }

    /// The line of the entry that means this user.
    pub(super) fn meant_by(&self, id: &str) -> Option<u64> {
        self.meant.get(&print(id)).copied().map(u64::from)
    }

    /// The line of another entry whose user gets this value.
    pub(super) fn taken_by(&self, value: &UniqueValue, line: u64) -> Option<u64> {
        let taken = self.of(value.what).get(&print(&value.identity)).copied();
        taken.filter(|owner| *owner != short(line)).map(u64::from)
    }

    /// Gives a value to the user of an entry.
    pub(super) fn take(&mut self, value: &UniqueValue, line: u64) {
        let print = print(&value.identity);
        match value.what {
            "username" | "external id" => self.named.entry(print).or_insert(short(line)),
            _ => self.values.entry(print).or_insert(short(line)),
        };
    }

    /// Where values of a kind are noted: what entries are called by, they claim whether they are planned or not.
    fn of(&self, what: &str) -> &HashMap<u64, u32> {
        match what {
            "username" | "external id" => &self.named,
            _ => &self.values,
        }
    }

    /// Takes a value from its holder.
    pub(super) fn free(&mut self, identity: &str) {
        self.freed.insert(print(identity));
        self.freed_lately = true;
    }

    /// Whether its holder in the directory no longer has this value.
    pub(super) fn is_freed(&self, identity: &str) -> bool {
        // Most files free nothing.
        !self.freed.is_empty() && self.freed.contains(&print(identity))
    }

    /// Whether a value was freed since this was asked the last time.
    pub(super) fn freed_lately(&mut self) -> bool {
        std::mem::take(&mut self.freed_lately)
    }

    pub(super) fn rename(&mut self, id: &str, username: &str) {
        self.renamed.insert(print(&fold(username)), id.to_owned());
    }

    /// The id of the user that gets this username.
    pub(super) fn renamed_to(&self, username: &str) -> Option<&str> {
        self.renamed.get(&print(&fold(username))).map(String::as_str)
    }

    pub(super) fn make(&mut self, username: &str) {
        self.made.insert(print(&fold(username)));
    }

    /// Whether a user of this name is made.
    pub(super) fn is_made(&self, username: &str) -> bool {
        self.made.contains(&print(&fold(username)))
    }

    pub(super) fn delete(&mut self, id: &str) {
        self.deleted.insert(print(id));
    }

    pub(super) fn is_deleted(&self, id: &str) -> bool {
        !self.deleted.is_empty() && self.deleted.contains(&print(id))
    }

    pub(super) fn adopt(&mut self, id: &str) {
        self.adopted.insert(print(id));
    }

    pub(super) fn adoptions(&self) -> u64 {
        self.adopted.len() as u64
    }

    pub(super) fn is_adopted(&self, id: &str) -> bool {
        self.adopted.contains(&print(id))
    }
}
