//! Restoring a backup, so that the applications converge on it.
//!
//! What the hub did after the backup was taken is unknown to it now, but the applications have it: users that
//! were made since, names that were changed. They tell news from what is stale by the time of events, and would
//! take everything that the restored hub says for stale. So the log's time is raised to that of the restore,
//! and every application is due a full synchronization from there. Its pushes are newer than all that was sent
//! before, and its closing inventory names what there is, so that the rest is removed.

use std::io::BufRead as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollcall_db::{Db, Dialect, Tx, Value, params};
use rollcall_protocol::Random;
use serde_json::Value as Json;

use super::tables::{Kind, NUMBERED, Table, tables};
use super::{BackupError, FORMAT, Footer, Header, PORTION};
use crate::clock::Millis;
use crate::{change, delivery};
use Kind::{Blob, Bool, Int, Text};

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Rows of the file.
    pub rows: u64,
    /// Applications that are synchronized in full when the hub starts.
    pub due: u64,
}

/// Restores a backup into a database that has just been made. Either all of it is restored, or nothing.
/// Whatever the hub says afterwards is later than `now`, and than all that the backup knows of.
///
/// # Errors
/// [`BackupError`].
pub async fn restore(
    db: &Db,
    file: &Path,
    now: Millis,
    random: std::sync::Arc<dyn Random>,
) -> Result<Restored, BackupError> {
    let path = file.to_owned();
    let rows = tokio::task::spawn_blocking(move || check(&path))
        .await
        .map_err(|error| BackupError::File(error.to_string()))??;
    let file = file.to_owned();
    db.write(move |tx| {
        if tx.query_opt("SELECT 1 FROM instance", params![])?.is_some() {
            return Err(BackupError::NotEmpty);
        }
        load(tx, &file)?;
        if tx.dialect() == Dialect::Postgres {
            for table in NUMBERED {
                tx.query(
                    &format!(
                        "SELECT setval(pg_get_serial_sequence('{table}', 'id'),
                                       COALESCE((SELECT MAX(id) FROM {table}), 0) + 1, false)"
                    ),
                    params![],
                )?;
            }
        }
        change::advance(tx, now)?;
        let due = delivery::job::after_restore(tx, now, &*random)?;
        Ok(Restored { rows, due })
    })
    .await
}

fn malformed(number: usize, reason: impl std::fmt::Display) -> BackupError {
    BackupError::Malformed(format!("line {number}: {reason}"))
}

/// Reads the file once, to see that it is whole.
fn check(file: &Path) -> Result<u64, BackupError> {
    let mut lines = 0_u64;
    let mut last = String::new();
    for (number, line) in (1..).zip(open(file)?.lines()) {
        let line = line?;
        if number == 1 {
            let header: Header = serde_json::from_str(&line).map_err(|error| malformed(1, error))?;
            if header.format != FORMAT {
                return Err(malformed(
                    1,
                    format!("its format is {:?}, not {FORMAT:?}", header.format),
                ));
            }
        }
        lines += 1;
        last = line;
    }
    let footer: Footer = serde_json::from_str(&last).map_err(|_| {
        BackupError::Malformed("it is cut off: the last line does not count the rows".to_owned())
    })?;
    if footer.rows + 2 != lines {
        return Err(BackupError::Malformed(format!(
            "it has {} rows and should have {}",
            lines.saturating_sub(2),
            footer.rows
        )));
    }
    Ok(footer.rows)
}

fn open(file: &Path) -> Result<std::io::BufReader<std::fs::File>, BackupError> {
    Ok(std::io::BufReader::with_capacity(
        1 << 18,
        std::fs::File::open(file)?,
    ))
}

fn load(tx: &mut Tx<'_>, file: &Path) -> Result<(), BackupError> {
    let mut pending: Option<(&'static Table, Vec<Vec<Json>>)> = None;
    let mut parents: Vec<(String, String)> = Vec::new();
    tx.execute("DELETE FROM change_head", params![])?;
    for (number, line) in (1..).zip(open(file)?.lines()).skip(1) {
        let line = line?;
        if !line.starts_with('[') {
            break;
        }
        let mut cells: Vec<Json> = serde_json::from_str(&line).map_err(|error| malformed(number, error))?;
        if cells.is_empty() {
            return Err(malformed(number, "an empty row"));
        }
        let name = cells.remove(0);
        let table = tables()
            .find(|table| name == table.name)
            .ok_or_else(|| malformed(number, format!("there is no table {name}")))?;
        if cells.len() != table.columns.len() {
            return Err(malformed(number, "another number of columns"));
        }
        if table.name == "organizational_units" {
            // A unit may stand before the one above it, so they are hung up afterwards.
            if let (Some(id), Some(parent)) = (cells[0].as_str(), cells[1].as_str()) {
                parents.push((id.to_owned(), parent.to_owned()));
            }
            cells[1] = Json::Null;
        }
        match &mut pending {
            Some((same, rows)) if same.name == table.name && rows.len() < PORTION => rows.push(cells),
            _ => {
                if let Some((before, rows)) = pending.replace((table, vec![cells])) {
                    insert(tx, before, &rows)?;
                }
            }
        }
    }
    if let Some((last, rows)) = pending {
        insert(tx, last, &rows)?;
    }
    for (id, parent) in parents {
        tx.execute(
            "UPDATE organizational_units SET parent_id = $2 WHERE id = $1",
            params![id, parent],
        )?;
    }
    Ok(())
}

fn insert(tx: &mut Tx<'_>, table: &Table, rows: &[Vec<Json>]) -> Result<(), BackupError> {
    // Few enough for the parameters of one statement on either database.
    for rows in rows.chunks(50) {
        let mut values: Vec<Value<'_>> = Vec::with_capacity(rows.len() * table.columns.len());
        for cells in rows {
            for (cell, (column, kind)) in cells.iter().zip(table.columns) {
                let wrong = || BackupError::Malformed(format!("{}.{column} holds {cell}", table.name));
                values.push(match (cell, kind) {
                    (Json::Null, _) => Value::Null,
                    (Json::String(text), Text) => Value::from(text.as_str()),
                    (Json::Bool(value), Bool) => Value::from(*value),
                    (Json::Number(number), Int) => Value::from(number.as_i64().ok_or_else(wrong)?),
                    (Json::String(text), Blob) => {
                        Value::Blob(STANDARD.decode(text).map_err(|_| wrong())?.into())
                    }
                    _ => return Err(wrong()),
                });
            }
        }
        let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        // PostgreSQL numbers these rows itself unless it is told that they have their numbers.
        let numbered = tx.dialect() == Dialect::Postgres && NUMBERED.contains(&table.name);
        let sql = format!(
            "INSERT INTO {} ({}) {} VALUES {}",
            table.name,
            columns.join(", "),
            if numbered { "OVERRIDING SYSTEM VALUE" } else { "" },
            crate::change::placeholders(rows.len(), columns.len())
        );
        tx.execute(&sql, &values)?;
    }
    Ok(())
}
