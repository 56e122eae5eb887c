//! Import: making the directory what a file says.
//!
//! A file is CSV, LDIF or JSON lines; whatever it is, it is read as [`entry::Entry`]s, in up to three
//! passes (units, users, groups), so that a file of any order and size needs little memory. Each pass
//! compares what the file says with what is there, portion by portion, and only differences become
//! commands; importing the same file again changes nothing. While one portion is written, the next one
//! is read.
//!
//! Entries are found again by their external id within the owner (`sourceType` and `sourceId`), if they
//! have one, so that they may be renamed; otherwise users by username, groups by name and units by path.
//! An import with an owner touches only what belongs to that owner, unless it is told to adopt, and only
//! such an import can delete what the file no longer names, up to a limit.
//!
//! An entry that is refused is reported with its line and leaves nothing behind; the rest is imported.

mod csv;
pub mod dn;
pub mod entry;
mod fields;
mod groups;
mod jsonl;
mod ldap;
pub mod ldif;
mod mapping;
mod missing;
mod reader;
mod units;
mod users;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::pin::Pin;

use rollcall_db::DbError;
use serde::Serialize;

use crate::directory::{Command, DirectoryError, Source};
use crate::hub::Hub;
pub use dn::{Dn, DnError};
pub use ldif::Writer as LdifWriter;
pub use mapping::{FIELDS, Mapping};
pub use reader::Format;
use units::Units;

/// How many errors, notes and samples a report holds; the rest is only counted.
const SHOWN: usize = 1_000;
/// How many samples of each kind a dry run shows.
const SAMPLES: usize = 5;

/// Why a file cannot be imported at all.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A column that nobody knows.
    #[error(
        "unknown column {0:?}; the columns are {columns} and custom.NAME. Name others with --mapping FIELD=COLUMN, \
         which also lets the rest be passed over",
        columns = FIELDS.join(", ")
    )]
    UnknownColumn(String),
    /// A column that must be there.
    #[error("the column {0:?} is missing; if it has another name, say so with --mapping {0}=COLUMN")]
    MissingColumn(&'static str),
    /// A mapping that cannot be used.
    #[error("the mapping {text:?} cannot be used: {reason}")]
    Mapping {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The format is not known.
    #[error("the format of {0} cannot be told from its name; say --format csv, ldif or jsonl")]
    Format(String),
    /// Deleting needs an owner.
    #[error("only an import with an owner can delete what is missing: name one with --owner TYPE:ID")]
    NoOwner,
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Csv(#[from] ::csv::Error),
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    File(#[from] std::io::Error),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// What to import, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file.
    pub file: PathBuf,
    /// Its format.
    pub format: Format,
    /// Other names of columns or attributes.
    pub mapping: Mapping,
    /// Where in an LDIF file the directory begins; what is elsewhere is passed over.
    pub base: Option<Dn>,
    /// To whom everything belongs that is imported.
    pub owner: Option<Source>,
    /// Take over what belongs to somebody else.
    pub adopt: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Delete what belongs to the owner and is not in the file, up to this limit.
    pub delete_missing: Option<DeletionLimit>,
}

impl Options {
    /// Imports a file in its format, with nothing special.
    pub fn of(file: impl Into<PathBuf>, format: Format) -> Self {
        Self {
            file: file.into(),
            format,
            mapping: Mapping::default(),
            base: None,
            owner: None,
            adopt: false,
            dry_run: false,
            delete_missing: None,
        }
    }
}

/// How much an import may delete. Beyond it, nothing is deleted: a truncated file must not empty the
/// directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionLimit {
    /// So many subjects.
    Count(u64),
    /// So many of a hundred that the owner has.
    Percent(u64),
}

impl DeletionLimit {
    fn allows(self, deletions: u64, owned: u64) -> bool {
        match self {
            Self::Count(limit) => deletions <= limit,
            Self::Percent(limit) => deletions * 100 <= owned * limit,
        }
    }
}

impl std::str::FromStr for DeletionLimit {
    type Err = String;

    /// Reads `100` or `10%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = |_| format!("{text:?} is neither a number nor a percentage such as 10%");
        match text.strip_suffix('%') {
            Some(percent) => match percent.trim().parse().map_err(refuse)? {
                percent @ 0..=100 => Ok(Self::Percent(percent)),
                _ => Err(format!("{text:?} is more than everything")),
            },
            None => text.parse().map(Self::Count).map_err(refuse),
        }
    }
}

impl std::fmt::Display for DeletionLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// Something about one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowError {
    /// The line in the file; the first is 1.
    pub line: u64,
    /// What, and what to do.
    pub message: String,
}

/// What comes of reading an entry, if not the entry.
#[derive(Debug)]
enum Trouble {
    /// The entry is refused.
    Entry(RowError),
    /// Something in the entry is passed over; the entry follows.
    Note(RowError),
    /// The file cannot be read any further.
    File(ImportError),
}

/// What was done to one kind of subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Withheld {
    /// How many there would have been.
    pub deletions: u64,
    /// Of how many that the owner has.
    pub owned: u64,
    /// How many were allowed.
    pub limit: String,
}

/// What an import did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportReport {
    /// Whether nothing was done in truth.
    pub dry_run: bool,
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
    /// Some of what a dry run would do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<String>,
    /// Deletions that were not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
    /// How many things were passed over in entries that were imported otherwise.
    pub notes_total: u64,
    /// The first of them.
    pub notes: Vec<RowError>,
    /// How many entries were refused.
    pub errors_total: u64,
    /// The first of them.
    pub errors: Vec<RowError>,
}

impl ImportReport {
    /// Whether everything was done.
    pub fn is_complete(&self) -> bool {
        self.errors_total == 0 && self.withheld.is_none()
    }
}

/// An import under way.
struct Import<'a, P> {
    hub: &'a Hub,
    options: &'a Options,
    actor: String,
    units: Units,
    /// Fingerprints of the ids of everything that the file names.
    seen: HashSet<u128>,
    /// Fingerprints of the usernames that a dry run would make.
    planned: HashSet<u128>,
    report: ImportReport,
    samples: HashMap<(Deed, &'static str), usize>,
    progress: P,
}

/// Imports a file. `progress` is called with what is being imported and how many entries are done.
///
/// # Errors
/// [`ImportError`] if the file is not such a file; entries that are refused are in the report.
pub async fn import(
    hub: &Hub,
    options: &Options,
    progress: impl FnMut(&'static str, u64) + Send,
) -> Result<ImportReport, ImportError> {
    if options.delete_missing.is_some() && options.owner.is_none() {
        return Err(ImportError::NoOwner);
    }
    let name = options.file.file_name().map_or_else(
        || options.file.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    );
    let mut import = Import {
        hub,
        options,
        actor: format!("import:{name}"),
        units: Units::load(hub).await?,
        seen: HashSet::new(),
        planned: HashSet::new(),
        report: ImportReport {
            dry_run: options.dry_run,
            ..ImportReport::default()
        },
        samples: HashMap::new(),
        progress,
    };
    let file = reader::File::of(options)?;
    import.report.passed_over = file.passed_over();
    import.import_units(&file).await?;
    let known = import.import_users(&file).await?;
    import.import_groups(&file, &known).await?;
    if let Some(limit) = options.delete_missing {
        import.delete_missing(limit).await?;
    }
    Ok(import.report)
}

/// What kind of thing is done, for samples.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Deed {
    Create,
    Update,
    Delete,
}

impl<P: FnMut(&'static str, u64)> Import<'_, P> {
    /// To whom an entry belongs that says this of itself.
    fn source_of(&self, said: Option<&Source>) -> Source {
        self.options
            .owner
            .clone()
            .or_else(|| said.cloned())
            .unwrap_or_default()
    }

    /// Whether the import may touch what belongs to somebody; if it takes it over, from now on it belongs to
    /// the one returned.
    fn may_touch(&self, owner: &Source) -> Result<Option<Source>, String> {
        match &self.options.owner {
            Some(own) if own != owner && !self.options.adopt => {
                Err(format!("belongs to {owner}, not to {own}; --adopt takes it over"))
            }
            Some(own) if own != owner => Ok(Some(own.clone())),
            _ => Ok(None),
        }
    }

    fn refuse(&mut self, line: u64, message: impl Into<String>) {
        self.report.errors_total += 1;
        if self.report.errors.len() < SHOWN {
            let message = message.into();
            self.report.errors.push(RowError { line, message });
        }
    }

    fn note(&mut self, line: u64, message: impl Into<String>) {
        self.report.notes_total += 1;
        if self.report.notes.len() < SHOWN {
            let message = message.into();
            self.report.notes.push(RowError { line, message });
        }
    }

    /// Sorts out what reading an entry brought.
    fn take<T>(&mut self, read: Result<T, Trouble>) -> Result<Option<T>, ImportError> {
        match read {
            Ok(entry) => Ok(Some(entry)),
            Err(Trouble::Entry(RowError { line, message })) => {
                self.refuse(line, message);
                Ok(None)
            }
            Err(Trouble::Note(RowError { line, message })) => {
                self.note(line, message);
                Ok(None)
            }
            Err(Trouble::File(error)) => Err(error),
        }
    }

    /// Shows what a dry run would do, if not enough of it is shown yet.
    fn sample(&mut self, deed: Deed, kind: &'static str, text: impl FnOnce() -> String) {
        let count = self.samples.entry((deed, kind)).or_default();
        if self.options.dry_run && *count < SAMPLES {
            *count += 1;
            let verb = match deed {
                Deed::Create => "create",
                Deed::Update => "update",
                Deed::Delete => "delete",
            };
            self.report.samples.push(format!("{verb} {kind} {}", text()));
        }
    }

    /// Queues commands as one transaction.
    fn queue(&self, commands: Vec<Command>) -> Later<Result<Applied, DirectoryError>> {
        let (hub, actor) = (self.hub.clone(), self.actor.clone());
        Box::pin(self.hub.db.write(move |tx| {
            let mut applied = Applied::default();
            for command in &commands {
                let one = hub.apply_in(tx, &actor, command)?;
                applied.changes += one.changes;
                applied.id = one.id;
            }
            Ok(applied)
        }))
    }
}

/// A result that is waited for later.
type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What some commands did.
#[derive(Debug, Default)]
struct Applied {
    /// The subject of the last one.
    id: String,
    changes: usize,
}
