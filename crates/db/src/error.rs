//! What can go wrong, in terms that a caller can act on.

/// Why the database did not do what was asked.
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
    #[error("the database refuses the values: {message}")]
    Refused {
        /// The database's own code: the SQLSTATE, or SQLite's extended result code.
        code: Option<String>,
        /// The database's sentence.
        message: String,
    },
    /// The database could not be reached, or stayed locked, for longer than
    /// [`Options::unavailable_after`](crate::Options::unavailable_after).
    ///
    /// If the connection was lost while a commit was under way and did not come back in time, it is
    /// not known whether the write was applied; the message says so.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The [`Db`](crate::Db) was closed.
    #[error("the database was closed")]
    Closed,
    /// Anything else: wrong SQL, a wrong type, a full disk, a panic in a closure.
    #[error("database: {0}")]
    Other(String),
}

/// What a caller may do about a [`DbError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Try again: the database is away or busy, or this process is ending.
    Transient,
    /// These values are refused, whenever they are tried.
    Refused,
    /// A mistake in this program, in its configuration or in what is stored.
    Bug,
}

impl DbError {
    /// What may be done about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unavailable(_) | Self::Closed => ErrorClass::Transient,
            Self::Unique { .. } | Self::ForeignKey(_) | Self::Refused { .. } => ErrorClass::Refused,
            Self::Other(_) => ErrorClass::Bug,
        }
    }

    /// Wraps anything that has something to say, with its causes.
    pub(crate) fn other(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Other(with_causes(error))
    }
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
