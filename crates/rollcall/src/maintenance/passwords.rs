//! Sealed passwords stay in the change log only as long as somebody still has to get them.

use std::time::Duration;

use rollcall_db::{DbError, Tx};

use crate::application::store;
use crate::change::{self, Seq};
use crate::clock::{Millis, millis};
use crate::delivery::ledger::parked;

/// Erases the passwords that every application that wants them has got, and those that have waited for longer than
/// they may.
///
/// # Errors
/// What the database reports.
pub fn erase(tx: &mut Tx<'_>, waits_at_most: Duration, now: Millis) -> Result<(), DbError> {
    if !change::has_secrets(tx)? {
        return Ok(());
    }
    let acknowledged = acknowledged(tx)?;
    change::erase_secrets(tx, acknowledged, now - millis(waits_at_most))?;
    Ok(())
}

/// The position up to which every application that wants passwords has got them.
fn acknowledged(tx: &mut Tx<'_>) -> Result<Seq, DbError> {
    let mut position = change::head(tx)?.seq;
    for application in store::list(tx)? {
        if !application.settings.password_synchronization {
            continue;
        }
        position = position.min(application.position);
        let waiting = parked::first_that_waits(tx, &application.id)?;
        position = position.min(waiting.map_or(position, |seq| seq - 1));
    }
    Ok(position)
}
