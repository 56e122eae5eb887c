//! The steps of a plan: what the planning makes, and the carrying out takes.

use std::collections::BTreeMap;

use super::report::Kind;
use crate::directory::{GroupChanges, NewGroup, NewUnit, NewUser, UnitChanges, UserChanges};

/// A unit or group of the plan: a place in its list, because what is still to be made has no id.
pub(super) type Index = usize;

/// A user of the plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum UserRef {
    /// One that is there, by id.
    Id(String),
    /// One that the plan makes, by folded username.
    Made(String),
}

/// One step of a plan.
#[derive(Debug)]
pub(super) enum Step {
    /// Makes a unit below another.
    MakeUnit {
        unit: Index,
        parent: Index,
        line: u64,
        path: String,
        new: NewUnit,
    },
    /// Changes a unit.
    ChangeUnit {
        unit: Index,
        line: u64,
        path: String,
        edits: Vec<UnitEdit>,
    },
    /// Makes a group.
    MakeGroup { group: Index, line: u64, new: NewGroup },
    /// Changes a group's fields.
    ChangeGroup {
        group: Index,
        line: u64,
        name: String,
        changes: GroupChanges,
    },
    /// Makes and changes users.
    Users(Users),
    /// Lets users join and leave a group.
    Members {
        group: Index,
        line: u64,
        name: String,
        joining: Vec<UserRef>,
        leaving: Vec<String>,
    },
    /// Deletes subjects: ids with names for people.
    Delete {
        kind: Kind,
        subjects: Vec<(String, String)>,
    },
}

/// What changes of a unit.
#[derive(Debug)]
pub(super) enum UnitEdit {
    Fields(UnitChanges),
    Move(Index),
}

/// A portion of users. Those that are made are written before those that change.
#[derive(Debug, Default)]
pub(super) struct Users {
    pub(super) made: Vec<Made>,
    pub(super) changed: Vec<Changed>,
    /// Who joins which group, in the order in which groups were named.
    pub(super) joining: BTreeMap<Index, Joining>,
}

/// Who joins a group.
#[derive(Debug, Default)]
pub(super) struct Joining {
    pub(super) name: String,
    /// Ids of users that are there.
    pub(super) ids: Vec<String>,
    /// Places in [`Users::made`].
    pub(super) made: Vec<usize>,
}

/// A user that is made; its units are filled in when it is written.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) line: u64,
    pub(super) new: NewUser,
    pub(super) primary: Index,
    pub(super) further: Vec<Index>,
}

/// A user that changes.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) line: u64,
    pub(super) id: String,
    pub(super) username: String,
    pub(super) edits: Vec<UserEdit>,
}

#[derive(Debug)]
pub(super) enum UserEdit {
    Fields(Box<UserChanges>),
    Units { primary: Index, further: Vec<Index> },
    Enabled(bool),
}
