//! Which connection asks.

use rollcall_db::DbError;

use crate::connection::{Connection, tokens};
use crate::hub::Hub;
use crate::secret::hash_token;

/// The connection with this id, if its token is the one that is shown and both are good. That it was used is noted, to
/// the minute.
///
/// # Errors
/// What the database reports.
pub async fn authenticate(
    hub: &Hub,
    connection_id: &str,
    shown: &str,
) -> Result<Option<Connection>, DbError> {
    if !shown.starts_with(tokens::PREFIX) {
        return Ok(None);
    }
    let (hash, now) = (hash_token(shown), hub.clock.now());
    let found = hub
        .db
        .read(move |tx| tokens::with_hash(tx, &hash, now))
        .await?
        .filter(|(connection, _)| connection.id == connection_id);
    let Some((connection, token)) = found else {
        return Ok(None);
    };
    if token.is_unnoted(now) {
        let noted = hub.db.write(move |tx| tokens::note_use(tx, &token.id, now));
        // Whoever may ask is answered, noted or not.
        if let Err(error) = noted.await {
            tracing::warn!(%error, "the use of a connection's token is not noted");
        }
    }
    Ok(Some(connection))
}
