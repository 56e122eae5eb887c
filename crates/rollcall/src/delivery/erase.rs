//! Erasing a user: not only from the directory, but also from everything that remembers.
//!
//! The user's changes stay in the log as positions, without their records. Whoever has not got them yet gets
//! only what still has to be said: that the user is gone. Records of the user in parked events and in
//! jobs go as well, and what applications said about the user's events.

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::{EventType, SubjectKind};
use serde::Serialize;
use serde_json::json;

use super::ledger::attempts::Exception;
use super::model::bare_record;
use crate::access::Caller;
use crate::application::store;
use crate::audit::{self, Target};
use crate::change;
use crate::directory::{self, Command, DirectoryError, query};
use crate::hub::Hub;

/// What was erased.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Erased {
    /// The user's id, which stays in the log.
    pub id: String,
    /// Whether the user was still in the directory.
    pub deleted: bool,
    /// Changes whose records are gone.
    pub changes: u64,
    /// Attempts from which something was taken.
    pub attempts: u64,
}

/// Erases a user, by the id also if the user is in the directory no more.
///
/// # Errors
/// [`DirectoryError::NotFound`] if nothing knows the id; what the database reports.
pub fn erase_user(
    hub: &Hub,
    tx: &mut Tx<'_>,
    caller: &Caller,
    user_id: &str,
) -> Result<Erased, DirectoryError> {
    let mut erased = Erased {
        id: user_id.to_owned(),
        ..Erased::default()
    };
    if query::record_of(tx, SubjectKind::User, user_id)?.is_some() {
        let id = user_id.to_owned();
        hub.apply_in(tx, caller, &Command::DeleteUser { id })?;
        erased.deleted = true;
    }
    erased.changes = change::erase_records(tx, user_id)?;
    if erased.changes == 0 && !erased.deleted {
        return Err(directory::not_found(SubjectKind::User, user_id));
    }
    tx.execute(
        "DELETE FROM parked_events WHERE subject_id = $1 AND event_type <> $2",
        params![user_id, EventType::UserDelete.short()],
    )?;
    let record = bare_record(SubjectKind::User, user_id);
    tx.execute(
        "UPDATE parked_events SET record = CASE WHEN record IS NULL THEN NULL ELSE $2 END, message = NULL
         WHERE subject_id = $1",
        params![user_id, record.as_str()],
    )?;
    tx.execute(
        "UPDATE job_items SET record = $2 WHERE subject_id = $1 AND record IS NOT NULL",
        params![user_id, record.as_str()],
    )?;
    erased.attempts = forget_messages(tx, user_id)?;
    audit::erase(tx, user_id)?;
    let left = json!({ "changes": erased.changes, "attempts": erased.attempts });
    let context = hub.context(caller);
    audit::record(tx, &context, "erase", &Target::user(user_id), None, Some(&left))?;
    // What is in memory is read again.
    store::touch_all(tx)?;
    Ok(erased)
}

/// Forgets what applications said about the user's events, and about events of which nobody knows whose they are.
fn forget_messages(tx: &mut Tx<'_>, user_id: &str) -> Result<u64, DbError> {
    let mut changed = 0;
    for row in tx.query(
        "SELECT id, exceptions FROM attempts WHERE exceptions IS NOT NULL",
        params![],
    )? {
        let id: i64 = row.get(0)?;
        let text: String = row.get(1)?;
        let mut exceptions: Vec<Exception> = serde_json::from_str(&text)
            .map_err(|error| DbError::Other(format!("the exceptions of an attempt: {error}")))?;
        let mut touched = false;
        for exception in &mut exceptions {
            let theirs = exception.subject_id == user_id || exception.subject_id.is_empty();
            if theirs && exception.message.is_some() {
                exception.message = None;
                touched = true;
            }
        }
        if touched {
            let text =
                serde_json::to_string(&exceptions).map_err(|error| DbError::Other(error.to_string()))?;
            tx.execute(
                "UPDATE attempts SET exceptions = $2 WHERE id = $1",
                params![id, text],
            )?;
            changed += 1;
        }
    }
    Ok(changed)
}
