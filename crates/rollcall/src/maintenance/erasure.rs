//! Erasing a user: not only from the directory, but also from everything that remembers.
//!
//! The user's changes stay in the log as positions, without their records. Whoever has not got them yet gets
//! only what still has to be said: that the user is gone. Records of the user in parked events and in
//! jobs go as well, and so does what applications said: about the user's events, about requests that may
//! have carried them, and as the reason of a suspension. Requests in flight are fenced off, so that nothing that
//! was prepared before is stored afterwards; a request that is under way at that moment does arrive.
//!
//! Rows that are overwritten could stay readable in the database's files. SQLite's file is written anew here, and its
//! write-ahead log emptied. PostgreSQL gives old versions of rows up when it vacuums, which is the
//! server's matter, like its write-ahead log.
//!
//! The same person may have been deleted and made again under another id. Whoever shares a name, an address
//! or an external id with the erased user in what the log still holds is found and named ([`crate::directory::earlier`]);
//! whether that is the same person is for people to judge.

use std::time::Duration;

use rollcall_db::{DbError, Dialect, Tx};
use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::access::Caller;
use crate::audit::{self, Target};
use crate::change;
use crate::delivery::comparison;
use crate::delivery::ledger::{self, operate};
use crate::directory::earlier::{self, Incarnation};
use crate::directory::{self, Command, DirectoryError, query};
use crate::hub::Hub;

/// How often emptying the write-ahead log is tried.
const SCRUBS: u32 = 30;
/// And how long after each try.
const SCRUB_PAUSE: Duration = Duration::from_millis(100);

/// What was erased.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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

/// Takes out of the files what was overwritten. Whoever still reads an old state, such as a backup, is waited for a
/// while.
async fn clean_files(hub: &Hub) -> bool {
    if hub.db.dialect() != Dialect::Sqlite {
        return false;
    }
    if let Err(error) = hub.db.rebuild().await {
        tracing::warn!(%error, "the database's file cannot be written anew after somebody was erased");
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
    erased.attempts = ledger::erase::user(tx, user_id)?;
    comparison::forget_all(tx)?;
    audit::erase(tx, user_id)?;
    let left = json!({ "changes": erased.changes, "attempts": erased.attempts });
    let context = hub.context(caller);
    audit::record(tx, &context, "erase", &Target::user(user_id), None, Some(&left))?;
    Ok(erased)
}
