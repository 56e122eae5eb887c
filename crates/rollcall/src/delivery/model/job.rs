//! Synchronization jobs: what they do, and how far they are.

use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

use super::skips::Skips;
use crate::change::Seq;
use crate::clock::Millis;

/// What a job does.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum JobKind {
    /// Pushes everything in scope.
    Full,
    /// Deletes who left the scope, creates who entered it.
    ChangeOfScope,
    /// Tells anew of those of whom an application has something else than it should have.
    Repair,
    /// Tells anew of the users of organizational units that have other names, where those are a part of what the
    /// application has of users.
    UnitNames,
}

impl JobKind {
    /// The name under which it is stored and shown.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why a job was made.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Trigger {
    /// Somebody asked for it.
    Manual,
    /// The application fell behind the log's retention.
    Retention,
    /// The hub was restored from a backup.
    Restore,
    /// An organizational unit got another name.
    UnitRenamed,
}

impl Trigger {
    /// The name under which it is stored and shown.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How far a job is (wire contract, section 7).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum JobStatus {
    /// Its list is being written. It has not begun, and may never begin.
    Preparing,
    /// Waits for delivery to reach its position.
    Pending,
    /// Sends.
    Running,
    /// Everything was sent and accepted or skipped.
    Success,
    /// Everything was sent; the application refused some of it, or could not take the closing inventory.
    PartialSuccess,
    /// Broken off by an error.
    Failed,
    /// Broken off by hand.
    Cancelled,
}

impl JobStatus {
    /// The name under which it is stored and shown.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether the job has come to its end.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Preparing | Self::Pending | Self::Running)
    }
}

/// Where in its work a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// The units are still to be listed, which is done when the job begins.
    Units,
    /// Users.
    Users {
        /// The last one sent.
        after: Option<String>,
    },
    /// Groups, each with its members.
    Groups {
        /// The last one that is complete.
        after: Option<String>,
    },
    /// The members of a group whose record was sent.
    Members {
        /// The group.
        group: String,
        /// The last member sent.
        after: Option<String>,
    },
    /// What was listed beforehand: who leaves and enters by a change of scope, and the units of a full
    /// synchronization, parents first.
    Items {
        /// The last one of the list that is complete.
        done: i64,
        /// If the next one is a group whose record was sent: the last of its members that was sent, empty at
        /// first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within: Option<String>,
    },
    /// The closing inventory: what the application should have, so that it can remove what it has besides.
    Closing {
        /// What is listed.
        of: Listed,
        /// The group whose members are listed, or the last one whose members were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// The last id that was listed.
        after: String,
    },
    /// Everything was sent.
    Done,
}

/// What is listed, in this order: members before groups, and users before the units that hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ListedKind")]
#[serde(rename_all = "snake_case")]
pub enum Listed {
    /// The members of each group.
    Members,
    /// The groups.
    Groups,
    /// The users.
    Users,
    /// The organizational units.
    Units,
}

/// How many objects of a kind there are, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Tally {
    /// In scope when the job began.
    pub total: u64,
    /// Accepted.
    pub success: u64,
    /// Sent, and answered by a 200 that does not speak of it.
    #[serde(default)]
    pub assumed: u64,
    /// Refused, or wanted again.
    pub failed: u64,
    /// Passed over by the application.
    pub skipped: u64,
}

impl Tally {
    /// Whether something was not simply accepted.
    pub fn has_exceptions(&self) -> bool {
        self.failed + self.skipped > 0
    }
}

/// What became of the objects of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    /// Organizational units.
    pub organizational_units: Tally,
    /// Users.
    pub users: Tally,
    /// Groups and memberships: events, not objects.
    pub groups: Tally,
    /// The events that the application passed over, by type.
    #[serde(default)]
    pub skips: Skips,
    /// What the application made of the closing inventory.
    #[serde(default)]
    pub inventory: Inventory,
}

/// What the application made of the closing inventory of a full synchronization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Inventory {
    /// It was not sent.
    #[default]
    NotSent,
    /// It was accepted: whatever the hub does not know is gone there as well.
    Accepted,
    /// All of it was sent, and some answers did not say what became of it.
    Assumed,
    /// The application does not understand it; what it has besides what it was pushed is its own matter.
    NotUnderstood,
    /// The application could not take it, however often it was told: it failed, or wanted it again. What it has besides
    /// may still be there; another full synchronization tells it again.
    Failed,
}

impl Statistics {
    pub(in crate::delivery) fn of(&mut self, kind: SubjectKind) -> &mut Tally {
        match kind {
            SubjectKind::Unit => &mut self.organizational_units,
            SubjectKind::User => &mut self.users,
            SubjectKind::Group => &mut self.groups,
        }
    }

    pub(in crate::delivery) fn all(&self) -> [&Tally; 3] {
        [&self.organizational_units, &self.users, &self.groups]
    }

    /// How far the job is and what became of it, for people: `13 of 13 sent, 10 of them skipped by the endpoint:
    /// it does not handle ud:group:create`.
    pub fn words(&self) -> String {
        let Tally {
            skipped,
            failed,
            assumed,
            ..
        } = self.sum();
        let mut text = format!("{} of {} sent", self.done(), self.total());
        if failed > 0 {
            text.push_str(&format!(", {failed} of them refused or wanted again"));
        }
        if assumed > 0 {
            text.push_str(&format!(", {assumed} of them not confirmed by the answer"));
        }
        if skipped > 0 {
            let reason = self.skips.reason().map(|reason| format!(": {reason}"));
            text.push_str(&format!(
                ", {skipped} of them skipped by the endpoint{}",
                reason.unwrap_or_default()
            ));
        }
        if self.inventory == Inventory::Failed {
            text.push_str(
                "; it could not take the closing inventory, so what it has besides may still be there",
            );
        }
        text
    }

    /// Of all kinds together.
    pub fn sum(&self) -> Tally {
        let sum = |part: fn(&Tally) -> u64| self.all().iter().map(|tally| part(tally)).sum();
        Tally {
            total: sum(|tally| tally.total),
            success: sum(|tally| tally.success),
            assumed: sum(|tally| tally.assumed),
            failed: sum(|tally| tally.failed),
            skipped: sum(|tally| tally.skipped),
        }
    }

    /// How many objects there are to send.
    pub fn total(&self) -> u64 {
        self.all().iter().map(|tally| tally.total).sum()
    }

    /// How many were sent.
    pub fn done(&self) -> u64 {
        self.all()
            .iter()
            .map(|tally| tally.success + tally.assumed + tally.failed + tally.skipped)
            .sum()
    }
}

/// A job, and how far it is.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobPosition {
    /// `job_…`.
    pub id: String,
    /// What it does.
    pub kind: JobKind,
    /// Why it was made.
    pub trigger: Trigger,
    /// Where it is in its life.
    pub status: JobStatus,
    /// The position of the log to which it is pinned.
    pub position: Seq,
    /// The log's time there.
    pub position_time: Millis,
    /// Where in its work it stands.
    #[serde(flatten)]
    pub phase: Phase,
    /// What became of its objects.
    pub statistics: Statistics,
    /// When it was asked for.
    pub created_at: Millis,
    /// When it began to send.
    pub started_at: Option<Millis>,
    /// When it ended.
    pub ended_at: Option<Millis>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Organizational units that got other names, with which their users have to be told anew.
#[derive(Clone, Debug)]
pub struct Renamed {
    /// The job that does it, if no other one is there to do it.
    pub job_id: String,
    /// The units.
    pub units: Vec<String>,
    /// How many users of theirs are in scope.
    pub users: u64,
    /// The position at which they have the names.
    pub position: Seq,
    /// When it was reached.
    pub time: Millis,
}

impl Renamed {
    /// The job that does it: the unfinished one, or one of its own; `None` if the unfinished one tells everything anyway.
    pub(in crate::delivery) fn taken_by(&self, open: Option<JobPosition>) -> Option<JobPosition> {
        let mut job = match open {
            Some(open) if open.kind == JobKind::Full => return None,
            Some(open) => open,
            None => JobPosition {
                id: self.job_id.clone(),
                kind: JobKind::UnitNames,
                trigger: Trigger::UnitRenamed,
                status: JobStatus::Pending,
                position: self.position,
                position_time: self.time,
                phase: Phase::Items {
                    done: 0,
                    within: None,
                },
                statistics: Statistics::default(),
                created_at: self.time,
                started_at: None,
                ended_at: None,
                error: None,
            },
        };
        job.statistics.users.total += self.users;
        Some(job)
    }
}

impl JobPosition {
    /// The last entry of its list that is complete.
    pub(in crate::delivery) fn items_done(&self) -> i64 {
        match self.phase {
            Phase::Items { done, .. } => done,
            _ => 0,
        }
    }

    /// Names this run of the job. A job that begins anew, because its position was given up or the hub was
    /// restored, sends other records than before under the same job's id: were their events named by the job
    /// alone, a receiver would take them for those that it has.
    pub(in crate::delivery) fn run(&self) -> String {
        format!("{}@{}.{}", self.id, self.position, self.position_time)
    }

    /// Whether delivery has not reached its position yet.
    pub fn is_pending(&self) -> bool {
        self.status == JobStatus::Pending
    }

    /// Whether it has come to its end.
    pub fn is_finished(&self) -> bool {
        self.status.is_final()
    }
}
