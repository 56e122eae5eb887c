//! Why a command to an application is refused.

use rollcall_db::DbError;

use super::keys::rotation::RotationError;
use super::scim::ScimError;
use super::settings::SettingsError;
use crate::access::Version;

/// Why an application cannot be made, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationError {
    /// No such application.
    #[error("there is no application {0:?}; `rollcall app list` shows those there are")]
    NotFound(String),
    /// It is the id of one application and the name of another.
    #[error("{0:?} is the id of one application and the name of another; write id:{0} or name:{0}")]
    Ambiguous(String),
    /// The name is taken.
    #[error("an application named {0:?} exists already; choose another name")]
    NameTaken(String),
    /// No usable name.
    #[error("the application's {0}")]
    Name(String),
    /// The scope names something that does not exist.
    #[error("the synchronization scope names {0:?}, which is neither an organizational unit nor a group")]
    UnknownInScope(String),
    /// The push parameters do not hold together.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// It is not what the caller has read.
    #[error("{name} has changed since you read it (version {expected}, now {found}); read it again")]
    Changed {
        /// The application's id.
        id: String,
        /// Its name.
        name: String,
        /// The version that the caller named.
        expected: Version,
        /// The version that there is.
        found: Version,
    },
    /// The caller's authority ends before it.
    #[error("the synchronization scope of {0} would reach beyond what you may change")]
    OutsideScope(String),
    /// What was confirmed is not what would be done now.
    #[error("the plan has changed since it was shown; look at it again and confirm the new one")]
    PlanChanged,
    /// A change of scope without the job that tells of who enters and who leaves.
    #[error("the scope of {0} cannot change without the job that runs the change")]
    NoJob(String),
    /// It has as many client secrets as it may have.
    #[error("the application {0} has two client secrets already; revoke one of them first")]
    TooManySecrets(String),
    /// No such client secret.
    #[error("the application {application} has no client secret {id:?}")]
    NoSecret {
        /// The application's name.
        application: String,
        /// The id that was given.
        id: String,
    },
    /// The signing key cannot be rotated so.
    #[error(transparent)]
    Rotation(RotationError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl ApplicationError {
    /// A short name for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) | Self::NoSecret { .. } => "not_found",
            Self::TooManySecrets(_) => "too_many_secrets",
            Self::Changed { .. } => "changed",
            Self::OutsideScope(_) => "outside_scope",
            Self::Ambiguous(_) => "ambiguous",
            Self::PlanChanged => "plan_changed",
            Self::NoJob(_) => "no_job",
            Self::Rotation(_) => "key_rotation",
            Self::NameTaken(_) => "name_taken",
            Self::Settings(SettingsError::Scim(ScimError::NoSecret | ScimError::SecretForAnother)) => {
                "secret_needed"
            }
            Self::Name(_) | Self::UnknownInScope(_) | Self::Settings(_) => "invalid_field",
            Self::Database(error) => error.class().code(),
        }
    }
}

impl From<RotationError> for ApplicationError {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Database(error) => Self::Database(error),
            other => Self::Rotation(other),
        }
    }
}
