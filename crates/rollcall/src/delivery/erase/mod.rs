//! Erasing a user: not only from the directory, but also from everything that remembers.
//!
//! The user's changes stay in the log as positions, without their records. Whoever has not got them yet gets
//! only what still has to be said: that the user is gone. Records of the user in parked events and in
//! jobs go as well, and so does what applications said: about the user's events, about requests that may
//! have carried them, and as the reason of a suspension. Requests in flight are fenced off, so that nothing that
//! was prepared before is stored afterwards; a request that is under way at that moment does arrive.
//!
//! Rows that are overwritten could stay readable in the database's files. SQLite overwrites what it frees, and its
//! write-ahead log is emptied here. PostgreSQL gives old versions of rows up when it vacuums, which is the
//! server's matter, like its write-ahead log.
//!
//! The same person may have been deleted and made again under another id. Whoever shares a name, an address
//! or an external id with the erased user in what the log still holds is found and named ([`earlier`]);
//! whether that is the same person is for people to judge.

pub mod earlier;

use std::time::Duration;

use rollcall_db::{DbError, Dialect, Tx, params};
use rollcall_protocol::{EventType, SubjectKind};
use serde::Serialize;
use serde_json::json;

use super::ledger::attempts::Exception;
use super::ledger::operate;
use super::model::{Suspension, bare_record};
use crate::access::Caller;
use crate::audit::{self, Target};
use crate::change;
use crate::directory::{self, Command, DirectoryError, query};
use crate::hub::Hub;
use earlier::Incarnation;

/// How often emptying the write-ahead log is tried.
const SCRUBS: u32 = 30;
/// And how long after each try.
const SCRUB_PAUSE: Duration = Duration::from_millis(100);

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
    /// Whether the database's files are known to hold nothing of it any more. Always false on PostgreSQL, where that
    /// is the server's matter.
    pub files_clean: bool,
    /// Users under other ids who may be the same person; they are not erased.
    pub others: Vec<Incarnation>,
}

/// Whether the directory or the change log knows a user of this id.
///
/// # Errors
/// What the database reports.
pub async fn is_known(hub: &Hub, user_id: &str) -> Result<bool, DbError> {
    let id = user_id.to_owned();
    hub.db
        .read(move |tx| {
            let logged = change::kind_of(tx, &id)? == Some(SubjectKind::User);
            Ok(logged || query::record_of(tx, SubjectKind::User, &id)?.is_some())
        })
        .await
}

/// Erases a user, by the id also if the user is in the directory no more.
///
/// # Errors
/// [`DirectoryError::NotFound`] if nothing knows the id; what the database reports.
pub async fn erase_user(hub: &Hub, caller: &Caller, user_id: &str) -> Result<Erased, DirectoryError> {
    let id = user_id.to_owned();
    // Who else that may be is told to nobody who may not know of everybody.
    let others = if caller.authority.is_everything() {
        hub.db.read(move |tx| earlier::of_user(tx, &id)).await?
    } else {
        Vec::new()
    };
    let (too, caller, id) = (hub.clone(), caller.clone(), user_id.to_owned());
    let erased = hub.db.write(move |tx| erase(&too, tx, &caller, &id)).await?;
    Ok(Erased {
        others,
        files_clean: clean_files(hub).await,
        ..erased
    })
}

/// Empties the write-ahead log. Whoever still reads an old state, such as a backup, is waited for a while.
async fn clean_files(hub: &Hub) -> bool {
    if hub.db.dialect() != Dialect::Sqlite {
        return false;
    }
    for _ in 0..SCRUBS {
        match hub.db.scrub().await {
            Ok(()) => return true,
            Err(DbError::Unavailable { .. }) => tokio::time::sleep(SCRUB_PAUSE).await,
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log cannot be emptied after somebody was erased");
                return false;
            }
        }
    }
    false
}

fn erase(hub: &Hub, tx: &mut Tx<'_>, caller: &Caller, user_id: &str) -> Result<Erased, DirectoryError> {
    // First, so that no settlement comes in between: what is in flight is not stored, and what is in memory is read
    // again.
    operate::interfere_all(tx)?;
    let mut erased = Erased {
        id: user_id.to_owned(),
        ..Erased::default()
    };
    if query::record_of(tx, SubjectKind::User, user_id)?.is_some() {
        let id = user_id.to_owned();
        hub.apply_in(tx, caller, &Command::DeleteUser { id })?;
        erased.deleted = true;
    } else if !caller.authority.is_everything() {
        // Where somebody stood who is gone, nobody knows any more.
        return Err(directory::not_found(SubjectKind::User, user_id));
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
    erased.attempts = forget_messages(tx, user_id)? + forget_what_was_said(tx, user_id)?;
    forget_reasons(tx)?;
    audit::erase(tx, user_id)?;
    let left = json!({ "changes": erased.changes, "attempts": erased.attempts });
    let context = hub.context(caller);
    audit::record(tx, &context, "erase", &Target::user(user_id), None, Some(&left))?;
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
