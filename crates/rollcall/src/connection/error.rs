//! Why a connection or a token of one cannot be made, found or changed.

use rollcall_db::DbError;

use super::tokens::AT_ONCE;
use crate::access::Version;
use crate::accounts::AccountError;
use crate::directory::DirectoryError;

/// Why a connection or a token of one cannot be made, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// No such connection.
    #[error("there is no connection {0:?}")]
    NotFound(String),
    /// The connection has no such token.
    #[error("the connection {connection} has no token {id:?}")]
    NoToken {
        /// The connection's name.
        connection: String,
        /// What was asked for.
        id: String,
    },
    /// Another one is called so.
    #[error("a connection named {0:?} exists already; choose another name")]
    NameTaken(String),
    /// A field that breaks its limits.
    #[error("{field}: {reason}")]
    InvalidField {
        /// The field, as it is named in the API.
        field: &'static str,
        /// Which limit it breaks.
        reason: String,
    },
    /// It has as many tokens as it may have.
    #[error(
        "the connection {0} has {AT_ONCE} tokens that are good; revoke the one that is not used any more"
    )]
    TooManyTokens(String),
    /// It is not what the caller has read.
    #[error("{name} has changed since you read it (version {expected}, now {found}); read it again")]
    Changed {
        /// The connection's id.
        id: String,
        /// Its name.
        name: String,
        /// The version that the caller named.
        expected: Version,
        /// The version that there is.
        found: Version,
    },
    /// The caller does not reach the whole hub.
    #[error("connections are for those who reach the whole hub")]
    OutOfReach,
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl ConnectionError {
    /// A short name for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) | Self::NoToken { .. } => "not_found",
            Self::NameTaken(_) => "name_taken",
            Self::InvalidField { .. } => "invalid_field",
            Self::TooManyTokens(_) => "too_many_tokens",
            Self::Changed { .. } => "changed",
            Self::OutOfReach => "forbidden",
            Self::Database(error) => error.class().code(),
        }
    }

    pub(super) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::InvalidField { field, reason }
    }
}

/// The limits of names are those of the directory.
impl From<DirectoryError> for ConnectionError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::InvalidField { field, reason } => Self::InvalidField { field, reason },
            DirectoryError::Database(error) => Self::Database(error),
            other => Self::Database(DbError::Other(other.to_string())),
        }
    }
}

/// The terms of tokens are those of all tokens.
impl From<AccountError> for ConnectionError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::InvalidField { field, reason } => Self::InvalidField { field, reason },
            AccountError::Database(error) => Self::Database(error),
            other => Self::Database(DbError::Other(other.to_string())),
        }
    }
}
