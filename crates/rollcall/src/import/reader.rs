//! The file, read in passes as entries, whatever its format.

use std::fs;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use super::dn::Dn;
use super::entry::{Entry, GroupEntry, UnitEntry, UserEntry};
use super::jsonl::Lines;
use super::ldap::{Ldap, Survey};
use super::text::{self, Text};
use super::{Delimiter, ImportError, Options, Trouble, csv};

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line for each user, under a header.
    Csv,
    /// What LDAP servers export (RFC 2849).
    Ldif,
    /// A JSON object for each unit, user and group.
    Jsonl,
}

impl Format {
    /// Tells the format from a file's name.
    ///
    /// # Errors
    /// [`ImportError::Format`] if that does not tell it.
    pub fn of(file: &Path) -> Result<Self, ImportError> {
        let extension = file.extension().map(|it| it.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("csv") => Ok(Self::Csv),
            Some("ldif" | "ldf") => Ok(Self::Ldif),
            Some("jsonl" | "ndjson") => Ok(Self::Jsonl),
            _ => Err(ImportError::Format(file.display().to_string())),
        }
    }
}

/// The entries of one pass.
pub(super) type Entries<T> = Box<dyn Iterator<Item = Result<T, Trouble>> + Send>;

/// Where the bytes of a file are.
pub(super) enum Source<'a> {
    Disk(&'a Path),
    Memory(Arc<[u8]>),
}

impl Source<'_> {
    fn open(&self) -> Result<Box<dyn Read + Send>, ImportError> {
        Ok(match self {
            Self::Disk(path) => Box::new(fs::File::open(path)?),
            Self::Memory(bytes) => Box::new(Cursor::new(Arc::clone(bytes))),
        })
    }
}

/// A file that can be read again from its start.
pub(super) struct File<'a> {
    source: Source<'a>,
    options: &'a Options,
    survey: Survey,
    delimiter: Delimiter,
}

impl<'a> File<'a> {
    /// Opens it; of an LDIF file, takes a first look at everything.
    pub(super) fn of(options: &'a Options) -> Result<Self, ImportError> {
        Self::from(Source::Disk(&options.file), options)
    }

    /// Reads from a source, whatever file the options name.
    pub(super) fn from(source: Source<'a>, options: &'a Options) -> Result<Self, ImportError> {
        let file = Self {
            source,
            options,
            survey: Survey::default(),
            delimiter: Delimiter::default(),
        };
        text::refuse_utf16(file.source.open()?)?;
        Ok(match options.format {
            Format::Ldif => Self {
                survey: file.ldap(None)?.survey()?,
                ..file
            },
            Format::Csv => {
                text::check_utf8(file.source.open()?)?;
                let delimiter = match options.delimiter {
                    Some(delimiter) => delimiter,
                    None => Delimiter::of_header(file.open()?)?,
                };
                Self { delimiter, ..file }
            }
            Format::Jsonl => file,
        })
    }

    fn open(&self) -> Result<Box<dyn Read + Send>, ImportError> {
        Ok(Box::new(Text::new(self.source.open()?)))
    }

    fn lines(&self) -> Result<Lines, ImportError> {
        Ok(Lines::new(self.open()?))
    }

    /// `base` is where the directory begins if the options do not say so.
    fn ldap(&self, base: Option<&Dn>) -> Result<Ldap, ImportError> {
        let source = BufReader::with_capacity(1 << 16, self.open()?);
        Ok(Ldap::new(source, self.options, base))
    }

    /// The units that the file lists, in its order. CSV lists none: its units are those of its users.
    pub(super) fn units(&self) -> Result<Entries<UnitEntry>, ImportError> {
        Ok(match self.options.format {
            Format::Csv => Box::new(std::iter::empty()),
            Format::Ldif => Box::new(self.survey.units.clone().into_iter().map(Ok)),
            Format::Jsonl => Box::new(self.lines()?.filter_map(|line| match line {
                Ok(Entry::OrganizationalUnit(unit)) => Some(Ok(unit)),
                Ok(_) => None,
                // Lines that cannot be read are the users' pass to report, once.
                Err(Trouble::File(error)) => Some(Err(Trouble::File(error))),
                Err(_) => None,
            })),
        })
    }

    /// The users.
    pub(super) fn users(&self) -> Result<Entries<UserEntry>, ImportError> {
        Ok(match self.options.format {
            Format::Csv => Box::new(csv::Users::open(
                self.open()?,
                &self.options.mapping,
                self.delimiter,
            )?),
            Format::Ldif => Box::new(self.ldap(Some(&self.survey.base))?.users(&self.survey)),
            Format::Jsonl => Box::new(self.lines()?.filter_map(|line| match line {
                Ok(Entry::User(user)) => Some(Ok(*user)),
                Ok(_) => None,
                Err(trouble) => Some(Err(trouble)),
            })),
        })
    }

    /// The groups, each with all its members. CSV lists none: users name their groups.
    pub(super) fn groups(&self) -> Result<Entries<GroupEntry>, ImportError> {
        Ok(match self.options.format {
            Format::Csv => Box::new(std::iter::empty()),
            Format::Ldif => Box::new(self.ldap(Some(&self.survey.base))?.groups()?),
            Format::Jsonl => Box::new(self.lines()?.filter_map(|line| match line {
                Ok(Entry::Group(group)) => Some(Ok(group)),
                Ok(_) => None,
                Err(Trouble::File(error)) => Some(Err(Trouble::File(error))),
                Err(_) => None,
            })),
        })
    }

    /// How many entries are neither units nor users nor groups.
    pub(super) fn passed_over(&self) -> u64 {
        self.survey.passed_over
    }

    /// What is to be said of the file as a whole.
    pub(super) fn note(&self) -> Option<String> {
        self.survey.note.clone()
    }
}
