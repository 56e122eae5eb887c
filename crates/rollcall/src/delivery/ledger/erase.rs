//! What the ledger forgets of a user who is erased.

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::{EventType, SubjectKind};

use super::jobs;
use crate::change;
use crate::delivery::model::{Exception, Suspension, bare_record};

/// Erases a user from the state of delivery: from parked events and the lists of jobs, so that only what tells that
/// the user is gone is still sent, and from what applications said. Returns from how many attempts something was
/// taken. The caller holds the rows of all applications ([`super::operate::interfere_all`]).
///
/// # Errors
/// What the database reports.
pub fn user(tx: &mut Tx<'_>, user_id: &str) -> Result<u64, DbError> {
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
    jobs::replace_records(tx, user_id, &record)?;
    let attempts = forget_messages(tx, user_id)? + forget_what_was_said(tx, user_id)?;
    forget_reasons(tx)?;
    Ok(attempts)
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

/// Forgets what applications said about requests as a whole, if these may have carried the user: those that cover
/// one of the user's changes, those whose changes the log has forgotten, and all that do not come from the log.
fn forget_what_was_said(tx: &mut Tx<'_>, user_id: &str) -> Result<u64, DbError> {
    let oldest = change::oldest(tx)?.unwrap_or(i64::MAX);
    tx.execute(
        "UPDATE attempts SET said = NULL WHERE said IS NOT NULL
         AND (from_seq IS NULL OR from_seq < $2
              OR EXISTS (SELECT 1 FROM changes c WHERE c.subject_id = $1
                         AND c.seq BETWEEN attempts.from_seq AND attempts.to_seq))",
        params![user_id, oldest],
    )
}

/// Forgets what applications said when they were suspended.
fn forget_reasons(tx: &mut Tx<'_>) -> Result<(), DbError> {
    for row in tx.query(
        "SELECT application_id, suspended FROM deliveries WHERE suspended IS NOT NULL",
        params![],
    )? {
        let id: String = row.get(0)?;
        let mut suspension: Suspension = serde_json::from_str(&row.get::<String>(1)?)
            .map_err(|error| DbError::Other(format!("the suspension of an application: {error}")))?;
        if suspension.said.take().is_some() {
            let text =
                serde_json::to_string(&suspension).map_err(|error| DbError::Other(error.to_string()))?;
            tx.execute(
                "UPDATE deliveries SET suspended = $2 WHERE application_id = $1",
                params![id, text],
            )?;
        }
    }
    Ok(())
}
