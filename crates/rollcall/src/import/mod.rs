//! Import: making the directory what a file says.
//!
//! A file is CSV, LDIF or JSON lines; whatever it is, it is read as [`entry::Entry`]s, in passes (units, groups,
//! users, members), so that a file of any order and size needs little memory. An import *plans*: it compares what
//! the file says with what is there and finds the steps that make one into the other. A dry run reports the plan;
//! an import carries each step out while the next ones are planned. Both make the same plan, because planning
//! never looks at what was carried out: see [`claims`].
//!
//! Entries are found again by their external id within their owner (`sourceType` and `sourceId`), if they have
//! one, so that they may be renamed; otherwise users by username, groups by name and units by path. Of entries
//! that stand for the same subject the first one counts, and the others are refused; external ids of one owner
//! that differ are different subjects. An entry that wants what somebody else has waits: if the file takes it
//! from its holder (renames or deletes it), the entry is planned after that, otherwise it is refused. So the order
//! of a file decides nothing, and importing it again changes nothing.
//!
//! An import with an owner touches only what belongs to that owner, unless it is told to adopt, and only such an
//! import can delete what the file no longer names, up to a limit.
//!
//! An entry that is refused is reported with its line and leaves nothing behind; the rest is imported.

mod claims;
mod contents;
mod csv;
pub mod dn;
pub mod entry;
mod execute;
mod fields;
mod groups;
mod jsonl;
mod ldap;
pub mod ldif;
mod mapping;
mod missing;
mod reader;
mod report;
mod step;
mod text;
mod tree;
mod units;
mod users;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest;
use rollcall_db::DbError;

use crate::access::Principal;
use crate::clock::Millis;
use crate::directory::Source;
use crate::hub::Hub;
use claims::Claims;
use execute::Executor;
use groups::Groups;
use report::{Remark, Writer};
use step::Step;
use tree::Units;

pub use contents::{Contents, contents};
pub use dn::{Dn, DnError};
pub use ldif::Writer as LdifWriter;
pub use mapping::{FIELDS, Mapping};
pub use reader::Format;
pub use report::{Counts, ImportReport, Place, Problem, Withheld, note};
pub use text::Delimiter;

/// Users that are compared, and made in one transaction.
const PORTION: usize = 500;

/// Why a file cannot be imported at all.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A column that nobody knows.
    #[error(
        "unknown column {name:?}; the columns are {columns} and custom.NAME. Name others with --mapping FIELD=COLUMN, \
         which also lets the rest be passed over. The columns were taken to be separated by {delimiter}; if that is \
         wrong, say --delimiter",
        columns = FIELDS.join(", ")
    )]
    UnknownColumn {
        /// As the header has it.
        name: String,
        /// What was taken to separate columns.
        delimiter: Delimiter,
    },
    /// A column that must be there.
    #[error(
        "the column {name:?} is missing; if it has another name, say so with --mapping {name}=COLUMN. The columns \
         were taken to be separated by {delimiter}; if that is wrong, say --delimiter"
    )]
    MissingColumn {
        /// The field.
        name: &'static str,
        /// What was taken to separate columns.
        delimiter: Delimiter,
    },
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
    /// The file is UTF-16.
    #[error(
        "the file is UTF-16 (\"Unicode text\"); save it as UTF-8 (\"CSV UTF-8\" in Excel), or convert it: \
         iconv -f UTF-16 -t UTF-8 FILE > FILE.utf8"
    )]
    Utf16,
    /// The file is not UTF-8.
    #[error(
        "line {line} is not UTF-8; the file is probably Windows-1252, as Excel writes \"CSV\": save it as \"CSV \
         UTF-8\", or convert it: iconv -f WINDOWS-1252 -t UTF-8 FILE > FILE.utf8"
    )]
    NotUtf8 {
        /// The first line that is not.
        line: u64,
    },
    /// Nothing in the file is below the base.
    #[error("nothing in the file is below --base {base}; its entries are below {}", found.join("; "))]
    Base {
        /// As it was given.
        base: String,
        /// Under what the entries are, with their numbers.
        found: Vec<String>,
    },
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

impl ImportError {
    /// Whether the import was asked for in a way that cannot work, rather than that something failed.
    pub fn is_wrong_use(&self) -> bool {
        !matches!(self, Self::Csv(_) | Self::File(_) | Self::Database(_))
    }
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
    /// What separates the columns of a CSV file; `None` finds out from its header.
    pub delimiter: Option<Delimiter>,
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
    /// How many users are compared, and made in one transaction, at once.
    pub portion: usize,
    /// Once true, the import stops after the portion that it is writing.
    pub stop: Arc<AtomicBool>,
}

impl Options {
    /// Imports a file in its format, with nothing special.
    pub fn of(file: impl Into<PathBuf>, format: Format) -> Self {
        Self {
            file: file.into(),
            format,
            mapping: Mapping::default(),
            delimiter: None,
            base: None,
            owner: None,
            adopt: false,
            dry_run: false,
            delete_missing: None,
            portion: PORTION,
            stop: Arc::default(),
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

/// What comes of reading an entry, if not the entry.
#[derive(Debug)]
enum Trouble {
    /// The entry is refused.
    Entry(Remark),
    /// Something in the entry is passed over; the entry follows.
    Note(Remark),
    /// The file cannot be read any further.
    File(ImportError),
}

/// An import under way: the plan as far as it is made, and who carries it out.
struct Import<'a, P> {
    hub: &'a Hub,
    options: &'a Options,
    now: Millis,
    units: Units,
    groups: Groups,
    claims: Claims,
    /// Which users the file's references mean, for members of groups.
    known: users::Known,
    /// Entries that want what somebody else has, by line.
    waiting: BTreeMap<u64, Remark>,
    report: Writer,
    /// Nobody in a dry run.
    executor: Option<Executor>,
    /// What tells the plan of a dry run from others.
    fingerprint: digest::Context,
    progress: P,
}

/// Why planning ends early.
enum Stop {
    /// Somebody asked for it.
    Asked,
    /// It cannot go on.
    Failed(ImportError),
}

impl From<ImportError> for Stop {
    fn from(error: ImportError) -> Self {
        Self::Failed(error)
    }
}

impl From<DbError> for Stop {
    fn from(error: DbError) -> Self {
        Self::Failed(error.into())
    }
}

/// Says what an import would do, and what tells its plan from others: every step of it counts, and so does everything
/// that is refused. The plan of the same file is the same as long as nobody changes what it is about.
///
/// # Errors
/// [`ImportError`] if the file is not such a file.
pub async fn plan(hub: &Hub, options: &Options) -> Result<(ImportReport, String), ImportError> {
    let options = Options {
        dry_run: true,
        ..options.clone()
    };
    let (report, mut fingerprint) = run(hub, &options, |_, _| {}).await?;
    fingerprint.update(format!("{report:?}").as_bytes());
    let fingerprint = fingerprint.finish();
    Ok((
        report,
        base16ct::lower::encode_string(&fingerprint.as_ref()[..16]),
    ))
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
    Ok(run(hub, options, progress).await?.0)
}

async fn run(
    hub: &Hub,
    options: &Options,
    progress: impl FnMut(&'static str, u64) + Send,
) -> Result<(ImportReport, digest::Context), ImportError> {
    if options.delete_missing.is_some() && options.owner.is_none() {
        return Err(ImportError::NoOwner);
    }
    let name = options.file.file_name().map_or_else(
        || options.file.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    );
    let file = reader::File::of(options)?;
    let units = Units::load(hub, options.delete_missing.is_some()).await?;
    let groups = Groups::load(hub).await?;
    let executor = (!options.dry_run).then(|| {
        let caller = Principal::Import { source: name }.into();
        Executor::new(hub, caller, units.ids(), groups.ids())
    });
    let mut import = Import {
        hub,
        options,
        now: hub.clock.now(),
        units,
        groups,
        claims: Claims::default(),
        known: users::Known::new(),
        waiting: BTreeMap::new(),
        report: Writer::default(),
        executor,
        fingerprint: digest::Context::new(&digest::SHA256),
        progress,
    };
    import.report.report.dry_run = options.dry_run;
    import.report.report.passed_over = file.passed_over();
    if let Some(note) = file.note() {
        import.report.note(Remark::new(0, "", note));
    }
    let planned = import.plan(&file).await;
    if let Some(executor) = &mut import.executor {
        executor.finish(&mut import.report).await?;
    }
    match planned {
        Ok(()) => {}
        Err(Stop::Asked) => import.report.report.interrupted = true,
        Err(Stop::Failed(error)) => return Err(error),
    }
    Ok((import.report.report, import.fingerprint))
}

impl<P: FnMut(&'static str, u64)> Import<'_, P> {
    async fn plan(&mut self, file: &reader::File<'_>) -> Result<(), Stop> {
        self.plan_units(file).await?;
        self.read_groups(file)?;
        self.plan_groups().await?;
        self.plan_users(file).await?;
        // What is deleted frees names and addresses, so it comes before those who wait for them.
        let units = match self.options.delete_missing {
            Some(limit) => self.plan_deletions(limit).await?,
            None => false,
        };
        self.plan_waiting_users(file).await?;
        self.refuse_waiting_users();
        self.plan_groups().await?;
        self.refuse_waiting_groups();
        self.plan_members(file).await?;
        if units {
            self.plan_unit_deletions().await?;
        }
        Ok(())
    }

    /// Takes a step into the plan: in a dry run there is nothing more to it.
    async fn step(&mut self, step: Step) -> Result<(), Stop> {
        match &mut self.executor {
            Some(executor) => Ok(executor.run(step, &mut self.report).await?),
            None => {
                self.fingerprint.update(format!("{step:?}").as_bytes());
                Ok(())
            }
        }
    }

    /// Fails if somebody asked to stop.
    fn go_on(&self) -> Result<(), Stop> {
        match self.options.stop.load(Ordering::Relaxed) {
            true => Err(Stop::Asked),
            false => Ok(()),
        }
    }

    /// To whom an entry belongs that says this of itself.
    fn source_of(&self, said: Option<&Source>) -> Source {
        self.options.owner.as_ref().or(said).cloned().unwrap_or_default()
    }

    /// Whether an entry that says this of its owner may touch what belongs to somebody; if it takes it over, from
    /// now on it belongs to the one returned.
    fn may_touch(&self, owner: &Source, said: Option<&Source>) -> Result<Option<Source>, String> {
        match self.options.owner.as_ref().or(said) {
            Some(own) if own != owner && !self.options.adopt => {
                Err(format!("belongs to {owner}, not to {own}; --adopt takes it over"))
            }
            Some(own) if own != owner => Ok(Some(own.clone())),
            _ => Ok(None),
        }
    }

    /// Sorts out what reading an entry brought.
    fn take<T>(&mut self, read: Result<T, Trouble>) -> Result<Option<T>, ImportError> {
        match read {
            Ok(entry) => Ok(Some(entry)),
            Err(Trouble::Entry(remark)) => {
                self.report.refuse(remark);
                Ok(None)
            }
            Err(Trouble::Note(remark)) => {
                self.report.note(remark);
                Ok(None)
            }
            Err(Trouble::File(error)) => Err(error),
        }
    }
}
