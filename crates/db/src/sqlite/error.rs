//! What SQLite's result codes mean to a caller.

use rusqlite::{ErrorCode, ffi};

use crate::DbError;

/// `reading` tells whether the connection was told to change nothing: then a refusal to write is the
/// closure's mistake, and otherwise the file's.
pub(super) fn typed(error: &rusqlite::Error, reading: bool) -> DbError {
    let Some(known) = error.sqlite_error() else {
        return DbError::other(error);
    };
    let message = error.to_string();
    let code = Some(known.extended_code.to_string());
    match (known.code, known.extended_code) {
        (
            _,
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID,
        ) => DbError::Unique {
            constraint: message
                .strip_prefix("UNIQUE constraint failed: ")
                .map(str::to_owned),
            message,
        },
        (_, ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => DbError::ForeignKey(message),
        (ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch, _) => {
            DbError::Refused { code, message }
        }
        (
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OperationInterrupted
            | ErrorCode::OutOfMemory,
            _,
        ) => DbError::Unavailable { code, message },
        // The index of the write-ahead log cannot grow on a full disk, which SQLite reports as an error of
        // input or output.
        (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => DbError::Full { code, message },
        (ErrorCode::ReadOnly, ffi::SQLITE_READONLY) if reading => DbError::Statement { code, message },
        (
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly,
            _,
        ) => DbError::Damaged { code, message },
        _ => DbError::Statement { code, message },
    }
}
