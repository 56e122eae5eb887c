//! The receiver's tables, as migrations for both databases: one set for the inbox and the mirror, so that
//! a database that has both has one history. And the memory for event ids that both use.

use std::sync::Arc;

use rollcall_db::{Db, DbError, Dialect, ErrorClass, Migrations, Options, Tx, params};

use crate::handler::Outcome;
use crate::receiver::ProcessError;

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
    tokio::task::spawn_blocking(move || Db::open(&url, migrations(), Options::default()))
        .await
        .map_err(|error| DbError::Other(error.to_string()))?
}

/// The same without threads, for simulations.
pub(crate) fn open_inline(url: &str, options: Options) -> Result<Db, DbError> {
    Db::open_inline(url, migrations(), options)
}

fn migrations() -> Migrations {
    Migrations {
        sqlite: sqlite::migrations::runner(),
        postgres: postgres::migrations::runner(),
    }
}

/// What was answered for an event, if it was taken before.
pub(crate) fn remembered(
    tx: &mut Tx<'_>,
    taken_by: &str,
    event_id: &str,
) -> Result<Option<Outcome>, DbError> {
    let row = tx.query_opt(
        "SELECT verdict, message FROM received_events WHERE taken_by = $1 AND event_id = $2",
        params![taken_by, event_id],
    )?;
    let Some(row) = row else { return Ok(None) };
    let message = row.get(1)?;
    Ok(Some(match row.get::<String>(0)?.as_str() {
        "skipped" => Outcome::Skipped(message),
        _ => Outcome::Success(message),
    }))
}

/// Remembers an event and its answer, if that is final and good. A failure is not remembered: the hub
/// sends an event again on somebody's wish only, and then the record or this receiver may have been
/// mended.
pub(crate) fn remember(
    tx: &mut Tx<'_>,
    taken_by: &str,
    event_id: &str,
    outcome: &Outcome,
    now: i64,
) -> Result<(), DbError> {
    let (verdict, message) = match outcome {
        Outcome::Success(message) => ("success", message),
        Outcome::Skipped(message) => ("skipped", message),
        Outcome::Failed { .. } | Outcome::Retry { .. } => return Ok(()),
    };
    tx.execute(
        "INSERT INTO received_events (taken_by, event_id, received_at, verdict, message)
         VALUES ($1, $2, $3, $4, $5)",
        params![taken_by, event_id, now, verdict, message],
    )?;
    Ok(())
}

/// Writes the events of a request, each with `take`, and says what became of them.
///
/// All are written in one transaction. If the database refuses the values of one of them for good, the
/// transaction is undone and each is written on its own (the writer thread commits such writes together,
/// each in a savepoint), so that it fails alone. Everything else that goes wrong concerns the whole
/// request, which the hub sends again: what had been written by then is remembered by the events' ids.
pub(crate) async fn write_each<I, F>(
    db: &Db,
    items: Vec<I>,
    now: i64,
    take: F,
) -> Result<Vec<Outcome>, ProcessError>
where
    I: Send + Sync + 'static,
    F: Fn(&mut Tx<'_>, &I) -> Result<Outcome, DbError> + Clone + Send + Sync + 'static,
{
    let items = Arc::new(items);
    let together = {
        let (items, take) = (Arc::clone(&items), take.clone());
        db.write(move |tx| {
            forget(tx, now)?;
            items.iter().map(|item| take(tx, item)).collect()
        })
        .await
    };
    match together {
        Ok(outcomes) => return Ok(outcomes),
        Err(error) if error.class() == ErrorClass::Refused => {
            tracing::warn!(%error, "the database refuses an event; writing each on its own");
        }
        Err(error) => return Err(ProcessError(error.to_string())),
    }
    // Queued at once, in order; awaited afterwards.
    let writes: Vec<_> = (0..items.len())
        .map(|index| {
            let (items, take) = (Arc::clone(&items), take.clone());
            db.write(move |tx| take(tx, &items[index]))
        })
        .collect();
    let mut outcomes = Vec::with_capacity(writes.len());
    for write in writes {
        outcomes.push(match write.await {
            Ok(outcome) => outcome,
            Err(error) if error.class() == ErrorClass::Refused => Outcome::Failed {
                code: "refused_by_database".to_owned(),
                message: error.to_string(),
            },
            Err(error) => return Err(ProcessError(error.to_string())),
        });
    }
    Ok(outcomes)
}

/// A list of ids as the JSON text of an array: one parameter of a statement, however many there are.
pub(crate) fn id_list<S: AsRef<str>>(ids: &[S]) -> String {
    let ids: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
    serde_json::Value::from(ids).to_string()
}

/// A row source `ids` with the column `value`, from the list in parameter $1.
pub(crate) fn ids(tx: &Tx<'_>) -> &'static str {
    match tx.dialect() {
        Dialect::Sqlite => "json_each($1) AS ids",
        Dialect::Postgres => "json_array_elements_text(CAST(CAST($1 AS TEXT) AS JSON)) AS ids(value)",
    }
}

/// Forgets events and inventories that were taken long ago.
fn forget(tx: &mut Tx<'_>, now: i64) -> Result<(), DbError> {
    let before = now.saturating_sub(REMEMBERED);
    tx.execute(
        "DELETE FROM received_events WHERE received_at < $1",
        params![before],
    )?;
    tx.execute(
        "DELETE FROM received_inventories WHERE received_at < $1",
        params![before],
    )?;
    tx.execute(
        "DELETE FROM inbox_inventories WHERE received_at < $1",
        params![before],
    )?;
    tx.execute(
        "DELETE FROM inbox_events WHERE state = 'done' AND received_at < $1",
        params![before],
    )?;
    Ok(())
}
