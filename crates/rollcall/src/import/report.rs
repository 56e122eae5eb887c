//! What an import did, or would do.

use std::collections::HashMap;

use rollcall_db::{DbError, Tx};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::access::Context;
use crate::audit::{self, Target};

/// How many kinds of messages a report holds; the rest is only counted.
const MESSAGES: usize = 1_000;
/// Of how many entries each kind names the lines.
const PLACES: usize = 20;
/// How many samples of each kind a dry run shows.
const SAMPLES: usize = 5;

/// Something about one entry of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remark {
    /// The line on which the entry begins; 0 if it is about no entry of the file.
    pub(super) line: u64,
    /// The entry, as people know it.
    pub(super) subject: String,
    /// What, and what to do. Messages of one kind are counted together ([`kind_of`]): it does not name the entry, and
    /// quotes what else is different from entry to entry.
    pub(super) message: String,
}

impl Remark {
    pub(super) fn new(line: u64, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            line,
            subject: subject.into(),
            message: message.into(),
        }
    }
}

/// An entry of the file that a message is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ImportPlace")]
pub struct Place {
    /// The line on which it begins, the first is 1; 0 if it is not in the file.
    pub line: u64,
    /// What people call it; may be empty.
    pub subject: String,
    /// The message of this entry, where it is not word for word that of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Messages that differ only in what they quote, and the entries that they are about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ImportProblem")]
pub struct Problem {
    /// What, and what to do: the message of the first entry.
    pub message: String,
    /// About how many entries.
    pub count: u64,
    /// The first of them.
    pub entries: Vec<Place>,
}

/// What was done to one kind of subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ImportCounts")]
pub struct Counts {
    /// Made.
    pub created: u64,
    /// Changed.
    pub updated: u64,
    /// So already.
    pub unchanged: u64,
    /// Deleted.
    pub deleted: u64,
}

/// Deletions that were not done because there were too many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Withheld {
    /// How many there would have been.
    pub deletions: u64,
    /// Of how many that the owner has.
    pub owned: u64,
    /// How many were allowed.
    pub limit: String,
}

/// What an import did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportReport {
    /// Whether nothing was done in truth.
    pub dry_run: bool,
    /// Whether it was stopped before its end. What it did until then stays.
    pub interrupted: bool,
    /// Organizational units.
    pub organizational_units: Counts,
    /// Users.
    pub users: Counts,
    /// Groups.
    pub groups: Counts,
    /// Users that joined a group.
    pub members_added: u64,
    /// Users that left a group.
    pub members_removed: u64,
    /// Entries that are neither units nor users nor groups.
    pub passed_over: u64,
    /// Some of what is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<String>,
    /// Deletions that were not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
    /// How many things were passed over in entries that were imported otherwise.
    pub notes_total: u64,
    /// What was passed over.
    pub notes: Vec<Problem>,
    /// How many entries were refused.
    pub errors_total: u64,
    /// Why they were refused.
    pub errors: Vec<Problem>,
}

impl ImportReport {
    /// Whether everything was done.
    pub fn is_complete(&self) -> bool {
        self.errors_total == 0 && self.withheld.is_none() && !self.interrupted
    }

    /// The counts of one kind.
    pub(super) fn counts(&mut self, kind: Kind) -> &mut Counts {
        match kind {
            Kind::Unit => &mut self.organizational_units,
            Kind::User => &mut self.users,
            Kind::Group => &mut self.groups,
        }
    }
}

/// What an import makes, changes and deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Unit,
    User,
    Group,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Unit => "organizational unit",
            Self::User => "user",
            Self::Group => "group",
        }
    }
}

/// What is done to a subject, for samples.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Deed {
    Create,
    Update,
    Delete,
}

/// A report that is being written.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) report: ImportReport,
    errors: HashMap<String, usize>,
    notes: HashMap<String, usize>,
    samples: HashMap<(Deed, Kind), usize>,
}

impl Writer {
    pub(super) fn refuse(&mut self, remark: Remark) {
        self.report.errors_total += 1;
        add(&mut self.report.errors, &mut self.errors, remark);
    }

    pub(super) fn note(&mut self, remark: Remark) {
        self.report.notes_total += 1;
        add(&mut self.report.notes, &mut self.notes, remark);
    }

    /// Shows what is done, if not enough of it is shown yet.
    pub(super) fn sample(&mut self, deed: Deed, kind: Kind, text: impl FnOnce() -> String) {
        let count = self.samples.entry((deed, kind)).or_default();
        if *count < SAMPLES {
            *count += 1;
            let verb = match deed {
                Deed::Create => "create",
                Deed::Update => "update",
                Deed::Delete => "delete",
            };
            let sample = format!("{verb} {} {}", kind.word(), text());
            self.report.samples.push(sample);
        }
    }
}

fn add(problems: &mut Vec<Problem>, known: &mut HashMap<String, usize>, remark: Remark) {
    let Remark {
        line,
        subject,
        message,
    } = remark;
    let kind = kind_of(&message);
    let index = match known.get(&kind) {
        Some(index) => *index,
        None if problems.len() < MESSAGES => {
            known.insert(kind, problems.len());
            problems.push(Problem {
                message: message.clone(),
                count: 0,
                entries: Vec::new(),
            });
            problems.len() - 1
        }
        None => return,
    };
    if let Some(problem) = problems.get_mut(index) {
        problem.count += 1;
        if problem.entries.len() < PLACES {
            let message = Some(message).filter(|message| *message != problem.message);
            problem.entries.push(Place {
                line,
                subject,
                message,
            });
        }
    }
}

/// A message without its numbers and without what stands in quotation marks.
fn kind_of(message: &str) -> String {
    let mut kind = String::with_capacity(message.len());
    let mut characters = message.chars();
    let mut is_quoted = false;
    while let Some(c) = characters.next() {
        match c {
            // As `{:?}` writes them: what follows belongs to the text.
            '\\' if is_quoted => {
                characters.next();
            }
            '"' => is_quoted = !is_quoted,
            c if is_quoted || c.is_ascii_digit() => {}
            c => kind.push(c),
        }
    }
    kind
}

/// Tells the audit log who imported what: the changes by themselves stand in the change log.
///
/// # Errors
/// What the database reports.
pub fn note(tx: &mut Tx<'_>, ctx: &Context<'_>, name: &str, report: &ImportReport) -> Result<(), DbError> {
    let counts = json!({
        "organizationalUnits": report.organizational_units, "users": report.users, "groups": report.groups,
        "membersAdded": report.members_added, "membersRemoved": report.members_removed,
        "refused": report.errors_total,
    });
    audit::record(tx, ctx, "import", &Target::import(name), None, Some(&counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_differ_in_what_they_quote_are_of_one_kind() {
        let kind = kind_of(r#"email "a@b" is taken by the user of line 17"#);
        assert_eq!(
            kind,
            kind_of(r#"email "c \" d@e" is taken by the user of line 4"#)
        );
        assert_ne!(kind, kind_of(r#"username "a@b" is taken by the user of line 17"#));
    }
}
