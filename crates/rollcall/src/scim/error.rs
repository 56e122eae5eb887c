//! Why a request of a connection is not carried out.

use rollcall_db::DbError;
use rollcall_scim::mapping::MappingError;
use rollcall_scim::{Error, ScimType};

use crate::connection::ConnectionError;
use crate::directory::DirectoryError;

/// Why a request is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ScimError {
    /// SCIM has an answer to it.
    #[error(transparent)]
    Said(#[from] Error),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<DirectoryError> for ScimError {
    fn from(error: DirectoryError) -> Self {
        let said = error.to_string();
        Self::Said(match error {
            DirectoryError::Database(error) => return Self::Database(error),
            DirectoryError::NotFound { .. } => Error::status(404, said),
            DirectoryError::InvalidField { .. } => Error::of(ScimType::InvalidValue, said),
            DirectoryError::Taken { .. } => Error::of(ScimType::Uniqueness, said),
            DirectoryError::Changed { .. } => Error::status(412, said),
            DirectoryError::OutsideScope { .. } => Error::status(403, said),
            DirectoryError::Cycle { .. }
            | DirectoryError::Root
            | DirectoryError::UnitNotEmpty { .. }
            | DirectoryError::PlanChanged
            | DirectoryError::Ambiguous { .. } => Error::status(409, said),
        })
    }
}

impl From<MappingError> for ScimError {
    fn from(error: MappingError) -> Self {
        let detail = format!("the mapping of this connection: {error}");
        Self::Said(Error::of(ScimType::InvalidValue, detail))
    }
}

impl From<ConnectionError> for ScimError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Database(error) => Self::Database(error),
            // The connection was looked at when it was made: what is wrong now was written by another version.
            error => Self::Database(DbError::Other(error.to_string())),
        }
    }
}
