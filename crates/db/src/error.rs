//! What can go wrong, in terms that a caller can act on.

use std::borrow::Cow;

/// Why the database did not do what was asked. [`DbError::class`] says what a caller may do about it.
///
/// `code` is the database's own: the SQLSTATE of PostgreSQL (`22021`), or the extended result code of
/// SQLite (`787`). It is `None` where the error did not come from the database itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    /// A row with these values exists already.
    #[error("{message}")]
    Unique {
        /// What has to be unique, as `table.column, table.column`, on both databases. For an index on
        /// expressions it is what the database calls it.
        constraint: Option<String>,
        /// The database's own sentence. It does not contain the values.
        message: String,
    },
    /// A row refers to one that does not exist, or is referred to and cannot go.
    #[error("foreign key: {0}")]
    ForeignKey(String),
    /// The database refuses these values, and will refuse them again: a check or NOT NULL constraint, a
    /// text that it cannot store (one with a NUL on PostgreSQL), a number out of range, a key that is too
    /// long for its index.
    #[error("the database refuses the values{}: {message}", shown(code))]
    Refused {
        /// The database's code.
        code: Option<String>,
        /// The database's sentence.
        message: String,
    },
    /// The database could not be reached, or stayed locked, for longer than
    /// [`Options::unavailable_after`](crate::Options::unavailable_after).
    ///
    /// If the connection was lost while a commit was under way and did not come back in time, it is
    /// not known whether the write was applied; the message says so.
    #[error("the database is unavailable{}: {message}", shown(code))]
    Unavailable {
        /// The database's code.
        code: Option<String>,
        /// What happened.
        message: String,
    },
    /// So many closures wait already that there was no room for one more within
    /// [`Options::busy_after`](crate::Options::busy_after). Nothing was done.
    #[error("the database is busy: {0} closures wait already")]
    Busy(usize),
    /// There is no room for what was to be written; reading goes on.
    #[error("the database has no space left{}: {message}", shown(code))]
    Full {
        /// The database's code.
        code: Option<String>,
        /// The database's sentence.
        message: String,
    },
    /// The files of the database cannot be used: corrupt pages, an input or output error, a file that was
    /// replaced, emptied, made read-only, or is not this database.
    #[error("the database is damaged{}: {message}", shown(code))]
    Damaged {
        /// The database's code.
        code: Option<String>,
        /// What is wrong.
        message: String,
    },
    /// There is no database yet, and it was not to be made; see [`Create`](crate::Create).
    #[error("{0}")]
    Missing(String),
    /// The [`Db`](crate::Db) was closed.
    #[error("the database was closed")]
    Closed,
    /// The statement cannot be run: its syntax, a table or column that does not exist, a parameter of
    /// the wrong type.
    #[error("database{}: {message}", shown(code))]
    Statement {
        /// The database's code.
        code: Option<String>,
        /// The database's sentence.
        message: String,
    },
    /// Anything else: a panic in a closure, a row that cannot be read, a wrong URL or password.
    #[error("database: {0}")]
    Other(String),
}

/// What a caller may do about a [`DbError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Try again: the database is away or busy, or this process is ending.
    Transient,
    /// Nothing can be written until somebody makes room.
    Full,
    /// Somebody has to look after the database's files.
    Damaged,
    /// These values are refused, whenever they are tried.
    Refused,
    /// A mistake in this program, in its configuration or in what is stored: trying again does not help.
    Bug,
}

impl ErrorClass {
    /// A short name for scripts.
    pub fn code(self) -> &'static str {
        match self {
            Self::Transient => "unavailable",
            Self::Full => "disk_full",
            Self::Damaged => "database_damaged",
            Self::Refused => "refused",
            Self::Bug => "internal",
        }
    }

    /// What people can do about it: `program` says whose database it is, `recovery` what helps if it is damaged.
    pub fn advice(self, program: &str, recovery: &str) -> String {
        match self {
            Self::Transient => "see that it runs, and that this machine reaches it".to_owned(),
            Self::Full => "make room on its disk".to_owned(),
            Self::Damaged => format!("stop {program}, keep a copy of the files, and {recovery}"),
            Self::Refused | Self::Bug => format!("that is a mistake of {program}: report it"),
        }
    }
}

impl DbError {
    /// What may be done about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unavailable { .. } | Self::Busy(_) | Self::Closed => ErrorClass::Transient,
            Self::Full { .. } => ErrorClass::Full,
            Self::Damaged { .. } | Self::Missing(_) => ErrorClass::Damaged,
            Self::Unique { .. } | Self::ForeignKey(_) | Self::Refused { .. } => ErrorClass::Refused,
            Self::Statement { .. } | Self::Other(_) => ErrorClass::Bug,
        }
    }

    /// The database's own code: the SQLSTATE, or SQLite's extended result code.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. }
            | Self::Unavailable { code, .. }
            | Self::Full { code, .. }
            | Self::Damaged { code, .. }
            | Self::Statement { code, .. } => code.as_deref(),
            Self::Unique { .. }
            | Self::ForeignKey(_)
            | Self::Busy(_)
            | Self::Missing(_)
            | Self::Closed
            | Self::Other(_) => None,
        }
    }

    /// Wraps anything that has something to say, with its causes.
    pub(crate) fn other(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Other(with_causes(error))
    }

    /// Something that may go away by itself, of which the database itself has not spoken.
    pub(crate) fn away(message: impl Into<String>) -> Self {
        Self::Unavailable {
            code: None,
            message: message.into(),
        }
    }

    /// Whether it may go away by itself, on a new connection.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

fn shown(code: &Option<String>) -> Cow<'static, str> {
    code.as_ref()
        .map_or(Cow::Borrowed(""), |code| format!(" ({code})").into())
}

/// An error's sentence and those of its causes, as `this: because of that`. A cause that its parent
/// has already quoted is left out.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let sentence = error.to_string();
        if !text.contains(&sentence) {
            text = format!("{text}: {sentence}");
        }
        cause = error.source();
    }
    text
}
