//! The receiver's tables, as migrations for both databases: one set for the inbox and the mirror, so that
//! a database that has both has one history. And the memory for event ids that both use.

use rollcall_db::{Db, DbError, Migrations, Options, Tx, params};

use crate::handler::Outcome;

/// How long event ids are remembered, in milliseconds: a week. An envelope is valid for half an hour.
const REMEMBERED: i64 = 7 * 24 * 3_600_000;

mod sqlite {
    refinery::embed_migrations!("migrations/sqlite");
}

mod postgres {
    refinery::embed_migrations!("migrations/postgres");
}

/// Opens a database (`sqlite:PATH` or `postgres://…`) with the receiver's tables in it.
pub(crate) async fn open(url: &str) -> Result<Db, DbError> {
    let url = url.to_owned();
    let migrations = Migrations {
        sqlite: sqlite::migrations::runner(),
        postgres: postgres::migrations::runner(),
    };
    tokio::task::spawn_blocking(move || Db::open(&url, migrations, Options::default()))
        .await
        .map_err(|error| DbError::Other(error.to_string()))?
}

/// What was answered for an event, if it was taken before.
pub(crate) fn remembered(
    tx: &mut Tx<'_>,
    taken_by: &str,
    event_id: &str,
) -> Result<Option<Outcome>, DbError> {
    let row = tx.query_opt(
        "SELECT verdict, code, message FROM received_events WHERE taken_by = $1 AND event_id = $2",
        params![taken_by, event_id],
    )?;
    let Some(row) = row else { return Ok(None) };
    let (code, message) = (row.get(1)?, row.get(2)?);
    Ok(Some(match row.get::<String>(0)?.as_str() {
        "skipped" => Outcome::Skipped(message),
        "failed" => Outcome::Failed { code, message },
        _ => Outcome::Success(message),
    }))
}

/// Remembers an event and its answer, which is final.
pub(crate) fn remember(
    tx: &mut Tx<'_>,
    taken_by: &str,
    event_id: &str,
    outcome: &Outcome,
    now: i64,
) -> Result<(), DbError> {
    let (verdict, code, message) = match outcome {
        Outcome::Success(message) => ("success", "", message),
        Outcome::Skipped(message) => ("skipped", "", message),
        Outcome::Failed { code, message } => ("failed", code.as_str(), message),
        Outcome::Retry { .. } => return Ok(()),
    };
    tx.execute(
        "INSERT INTO received_events (taken_by, event_id, received_at, verdict, code, message)
         VALUES ($1, $2, $3, $4, $5, $6)",
        params![taken_by, event_id, now, verdict, code, message],
    )?;
    Ok(())
}

/// Forgets events that were taken long ago.
pub(crate) fn forget(tx: &mut Tx<'_>, now: i64) -> Result<(), DbError> {
    let before = now - REMEMBERED;
    tx.execute(
        "DELETE FROM received_events WHERE received_at < $1",
        params![before],
    )?;
    tx.execute(
        "DELETE FROM inbox_events WHERE state = 'done' AND received_at < $1",
        params![before],
    )?;
    Ok(())
}
