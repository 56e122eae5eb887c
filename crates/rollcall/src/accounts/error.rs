//! Why an account, a session or a token cannot be made, found or changed.

use rollcall_db::DbError;

use crate::access::Version;
use crate::application::ApplicationError;
use crate::directory::DirectoryError;
use crate::secret::Unhashable;

/// Why an account, a session or a token cannot be made, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// No such thing.
    #[error("there is no {what} {text:?}")]
    NotFound {
        /// `account`, `session` or `token`.
        what: &'static str,
        /// What was asked for.
        text: String,
    },
    /// Several are called so.
    #[error("several {what}s are named {text:?}; write the id of one")]
    Ambiguous {
        /// `token`.
        what: &'static str,
        /// What was asked for.
        text: String,
    },
    /// Somebody else signs in under this name.
    #[error("an account named {0:?} exists already; choose another name")]
    NameTaken(String),
    /// A field that breaks its limits.
    #[error("{field}: {reason}")]
    InvalidField {
        /// The field, as it is named in the API.
        field: &'static str,
        /// Which limit it breaks.
        reason: String,
    },
    /// Nobody could manage the hub any more.
    #[error("{0} is the only administrator who is not disabled; make somebody else administrator first")]
    LastAdministrator(String),
    /// It is not what the caller has read.
    #[error("{name} has changed since you read it (version {expected}, now {found}); read it again")]
    Changed {
        /// The account's id.
        id: String,
        /// Its name.
        name: String,
        /// The version that the caller named.
        expected: Version,
        /// The version that there is.
        found: Version,
    },
    /// The password is not the one that was shown, or the account may not sign in; also if that has changed meanwhile.
    #[error("the name or the password is wrong, or the account is disabled")]
    SignIn,
    /// The account has no password, because its owner signs in at the provider.
    #[error("{0} signs in at the provider and has no password here")]
    SignsInElsewhere(String),
    /// About somebody else.
    #[error("this is about another account than your own")]
    NotYours,
    /// An application that an owner is to have.
    #[error(transparent)]
    Application(#[from] ApplicationError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl AccountError {
    /// A short name for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Ambiguous { .. } => "ambiguous",
            Self::NameTaken(_) => "name_taken",
            Self::InvalidField { .. } => "invalid_field",
            Self::LastAdministrator(_) => "last_administrator",
            Self::Changed { .. } => "changed",
            Self::SignIn => "sign_in",
            Self::SignsInElsewhere(_) => "signs_in_elsewhere",
            Self::NotYours => "forbidden",
            Self::Application(error) => error.code(),
            Self::Database(error) => error.class().code(),
        }
    }

    pub(super) fn not_found(what: &'static str, text: &str) -> Self {
        let text = text.to_owned();
        Self::NotFound { what, text }
    }

    pub(crate) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::InvalidField { field, reason }
    }
}

/// The limits of names and addresses are those of the directory.
impl From<DirectoryError> for AccountError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::InvalidField { field, reason } => Self::InvalidField { field, reason },
            DirectoryError::Database(error) => Self::Database(error),
            other => Self::Database(DbError::Other(other.to_string())),
        }
    }
}

impl From<Unhashable> for AccountError {
    fn from(error: Unhashable) -> Self {
        Self::invalid("password", error.to_string())
    }
}
