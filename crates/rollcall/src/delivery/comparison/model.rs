//! What a comparison says.

use rollcall_db::DbError;
use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use strum::{EnumString, IntoStaticStr};

use crate::application::ApplicationError;
use crate::clock::Millis;
use crate::delivery::job::JobError;

/// Why something cannot be compared or repaired.
#[derive(Debug, thiserror::Error)]
pub enum ComparisonError {
    /// Only what takes SCIM can be asked what it has.
    #[error("{0} takes events; only applications in the SCIM mode can be compared")]
    NotScim(String),
    /// One is under way.
    #[error("the comparison {0} is under way; wait for it or cancel it")]
    Running(String),
    /// There is nothing to cancel.
    #[error("no comparison is under way")]
    NothingToCancel,
    /// There is none that has come to its end.
    #[error("there is no comparison to repair by; `rollcall app compare` makes one")]
    NotCompared,
    /// Another one was made since.
    #[error("the comparison {0} is not the newest one any more; look at the newest one first")]
    Outdated(String),
    /// Nothing is selected.
    #[error("nothing that could be repaired is selected")]
    NothingSelected,
    /// There is no such difference.
    #[error("the comparison has no difference {0} that could be repaired")]
    NoSuchDifference(i64),
    /// More would be disabled, deleted or removed than may be without a confirmation.
    #[error("the repair takes away more than the thresholds allow without a confirmation")]
    Unconfirmed,
    /// The job.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<ApplicationError> for ComparisonError {
    fn from(error: ApplicationError) -> Self {
        Self::Job(error.into())
    }
}

impl ComparisonError {
    /// A short name for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotScim(_) => "not_scim",
            Self::Running(_) | Self::NothingToCancel => "comparison",
            Self::NotCompared | Self::Outdated(_) => "not_compared",
            Self::NothingSelected => "nothing_selected",
            Self::NoSuchDifference(_) => "not_found",
            Self::Unconfirmed => "unconfirmed",
            Self::Job(error) => error.code(),
            Self::Database(error) => error.class().code(),
        }
    }
}

/// How far a comparison is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[schemars(rename = "ComparisonStatus")]
pub enum Status {
    /// The application is being asked.
    Running,
    /// Everything was compared.
    Done,
    /// The application could not be asked.
    Failed,
    /// Broken off by hand.
    Cancelled,
    /// Whoever compared is gone; compare again.
    Interrupted,
}

impl Status {
    /// The name under which it is stored and shown.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A user or a group.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[schemars(rename = "ComparedSubject")]
pub enum Subject {
    /// A user.
    User,
    /// A group.
    Group,
}

impl Subject {
    /// The name under which it is stored and shown.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The kind of subject.
    pub fn kind(self) -> SubjectKind {
        match self {
            Self::User => SubjectKind::User,
            Self::Group => SubjectKind::Group,
        }
    }
}

/// What a difference is, and so what a repair does.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[value(rename_all = "snake_case")]
#[schemars(rename = "DifferenceKind")]
pub enum Kind {
    /// It is missing there: it is made.
    Create,
    /// It is there, and differs: it is changed.
    Update,
    /// It is there, and should not be active: it is disabled.
    Disable,
    /// It is there, and should not be: it is deleted.
    Delete,
    /// It should be there, and cannot: the mapping makes a value of it that the attribute cannot have.
    Unmapped,
    /// It is there, and is nobody of the hub's: it is left alone.
    Foreign,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Create,
        Self::Update,
        Self::Disable,
        Self::Delete,
        Self::Unmapped,
        Self::Foreign,
    ];

    /// Those that are differences: all but what is foreign.
    pub const DIFFERING: [Self; 5] = [
        Self::Create,
        Self::Update,
        Self::Disable,
        Self::Delete,
        Self::Unmapped,
    ];

    /// The name under which it is stored and shown.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How many users, or groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ComparedTally")]
#[serde(rename_all = "camelCase", default)]
pub struct Tally {
    /// The application has them.
    pub there: u64,
    /// The application should have them.
    pub here: u64,
    /// Both are the same.
    pub same: u64,
    /// They are to be made.
    pub create: u64,
    /// They are to be changed.
    pub update: u64,
    /// They are to be disabled.
    pub disable: u64,
    /// They are to be deleted.
    pub delete: u64,
    /// They cannot be what the mapping makes of them.
    pub unmapped: u64,
    /// They differ, or their members may, and an event about them is under way.
    pub under_way: u64,
    /// They are nobody of the hub's.
    pub foreign: u64,
}

impl Tally {
    pub(super) fn of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Create => &mut self.create,
            Kind::Update => &mut self.update,
            Kind::Disable => &mut self.disable,
            Kind::Delete => &mut self.delete,
            Kind::Unmapped => &mut self.unmapped,
            Kind::Foreign => &mut self.foreign,
        }
    }

    /// How many differ.
    pub fn differing(&self) -> u64 {
        self.create + self.update + self.disable + self.delete + self.unmapped
    }
}

/// How many memberships.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ComparedMemberships")]
#[serde(rename_all = "camelCase", default)]
pub struct Memberships {
    /// Groups lack them there.
    pub missing: u64,
    /// Groups have them there besides.
    pub surplus: u64,
    /// Groups that would be empty after the repair.
    pub emptied: u64,
    /// Groups whose members could not be read.
    pub unread: u64,
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ComparisonCounts")]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    /// Users.
    pub users: Tally,
    /// Groups.
    pub groups: Tally,
    /// Memberships of groups that both have.
    pub members: Memberships,
}

impl Counts {
    pub(super) fn of(&mut self, subject: Subject) -> &mut Tally {
        match subject {
            Subject::User => &mut self.users,
            Subject::Group => &mut self.groups,
        }
    }

    /// How many users and groups differ.
    pub fn differing(&self) -> u64 {
        self.users.differing() + self.groups.differing()
    }

    /// How many users and groups differ in this way.
    pub fn of_kind(mut self, kind: Kind) -> u64 {
        *self.users.of(kind) + *self.groups.of(kind)
    }
}

/// A comparison, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// `cmp_…`.
    pub id: String,
    /// How far it is.
    pub status: Status,
    /// When it began.
    pub created_at: Millis,
    /// When it ended.
    pub ended_at: Option<Millis>,
    /// How many of each, as far as they are counted.
    pub counts: Counts,
    /// Why it failed.
    pub error: Option<String>,
}

/// An attribute that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "DifferingAttribute")]
pub struct Differs {
    /// Its name.
    pub attribute: String,
    /// What the application has; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub there: Option<Json>,
    /// What it should have; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub here: Option<Json>,
}

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "DifferenceDetails")]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// The attributes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Differs>,
    /// The first of those whom a group lacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub first_missing: Vec<String>,
    /// The first of those whom it has besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub first_surplus: Vec<String>,
    /// What is to be said besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Something that differs, or something foreign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Its number in the comparison.
    pub number: i64,
    /// What it is.
    pub kind: Kind,
    /// Whether it is a user or a group.
    pub subject: Subject,
    /// Whose: the id here; `None` if it is foreign.
    pub subject_id: Option<String>,
    /// The application's id; `None` if it is not there.
    pub remote_id: Option<String>,
    /// The username, or the group's name.
    pub name: String,
    /// Whether a repair would do something: what the application's settings leave undone is only named.
    pub repairable: bool,
    /// How many members a group lacks.
    pub missing: u64,
    /// How many it has besides.
    pub surplus: u64,
    /// Whether nobody would be left in it.
    pub emptied: bool,
    /// What differs.
    pub details: Details,
}
