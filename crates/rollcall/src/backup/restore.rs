//! Restoring a backup, so that the applications converge on it.
//!
//! What the hub did after the backup was taken is unknown to it now, but the applications have it: users that
//! were made since, names that were changed. They tell news from what is stale by the time of events, and would
//! take everything that the restored hub says for stale. So the log's time is raised to that of the restore,
//! and every application is due a full synchronization from there. Its pushes are newer than all that was sent
//! before, and its closing inventory names what there is, so that the rest is removed.

use std::cmp::Ordering;
use std::io::BufRead as _;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollcall_db::{Db, Dialect, Tx, Value, params};
use rollcall_protocol::Random;
use serde::Deserialize;
use serde_json::Value as Json;

use super::tables::{Kind, NUMBERED, tables};
use super::upgrade::Workbench;
use super::{BackupError, Columns, FORMAT, Footer, Header, PORTION, WITHOUT_NAMES};
use crate::clock::Millis;
use crate::{change, delivery, instance, schema};
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
/// Whatever the hub says afterwards is later than `now`, and than all that the backup knows of. A backup of an earlier
/// version is brought up to date in a folder inside `workshop`, which is removed again.
///
/// # Errors
/// [`BackupError`].
pub async fn restore(
    db: &Db,
    file: &Path,
    workshop: &Path,
    now: Millis,
    random: Arc<dyn Random>,
) -> Result<Restored, BackupError> {
    let (header, rows) = checked(file).await?;
    let known = schema::version();
    match header.schema.cmp(&known) {
        Ordering::Greater => Err(BackupError::Newer {
            found: header.schema,
            known,
        }),
        Ordering::Equal => into(db, header, file, rows, (now, random)).await,
        Ordering::Less => {
            let bench = Workbench::make(workshop, now, &*random)?;
            let upgraded = bench.upgrade(header, file).await?;
            let (header, _) = checked(&upgraded).await?;
            into(db, header, &upgraded, rows, (now, random)).await
        }
    }
}

async fn checked(file: &Path) -> Result<(Header, u64), BackupError> {
    let path = file.to_owned();
    tokio::task::spawn_blocking(move || check(&path))
        .await
        .map_err(|error| BackupError::File(error.to_string()))?
}

/// Restores a backup of this version.
async fn into(
    db: &Db,
    header: Header,
    file: &Path,
    rows: u64,
    (now, random): (Millis, Arc<dyn Random>),
) -> Result<Restored, BackupError> {
    for table in tables() {
        let mut ours = Columns::of(table).columns;
        let theirs = header.tables.iter().find(|theirs| theirs.name == table.name);
        let mut theirs = theirs.map_or_else(Vec::new, |theirs| theirs.columns.clone());
        ours.sort_unstable();
        theirs.sort_unstable();
        if ours != theirs {
            return Err(malformed(1, format!("the columns of {} are others", table.name)));
        }
    }
    let file = file.to_owned();
    db.write(move |tx| {
        if tx.query_opt("SELECT 1 FROM instance", params![])?.is_some() {
            return Err(BackupError::NotEmpty);
        }
        load(tx, &header, &file)?;
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
        // Where the hub of the backup was reached is not where this one will be.
        instance::set_serving(tx, None)?;
        delivery::ledger::remote::forget_what_was_told(tx)?;
        let due = delivery::job::after_restore(tx, now, &*random)?;
        Ok(Restored { rows, due })
    })
    .await
}

fn malformed(number: usize, reason: impl std::fmt::Display) -> BackupError {
    BackupError::Malformed(format!("line {number}: {reason}"))
}

/// Reads the file once, to see that it is whole. Returns how many rows it has.
fn check(file: &Path) -> Result<(Header, u64), BackupError> {
    let mut lines = 0_u64;
    let mut header = None;
    let mut last = String::new();
    for line in open(file)?.lines() {
        let line = line?;
        if header.is_none() {
            header = Some(header_of(&line)?);
        }
        lines += 1;
        last = line;
    }
    let header = header.ok_or_else(|| BackupError::Malformed("it is empty".to_owned()))?;
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
    Ok((header, footer.rows))
}

/// Reads the first line.
fn header_of(line: &str) -> Result<Header, BackupError> {
    #[derive(Deserialize)]
    struct Format {
        format: String,
    }
    let Format { format } = serde_json::from_str(line).map_err(|error| malformed(1, error))?;
    match format.as_str() {
        FORMAT => {}
        WITHOUT_NAMES => return Err(BackupError::WithoutNames),
        other => return Err(malformed(1, format!("its format is {other:?}, not {FORMAT:?}"))),
    }
    let header: Header = serde_json::from_str(line).map_err(|error| malformed(1, error))?;
    // The names become part of statements.
    let is_name = |name: &str| {
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        !name.is_empty() && name.chars().all(letter)
    };
    for table in &header.tables {
        let names = table.columns.iter().map(|(name, _)| name);
        if let Some(name) = std::iter::once(&table.name)
            .chain(names)
            .find(|name| !is_name(name))
        {
            return Err(malformed(
                1,
                format!("{name:?} cannot be the name of a table or column"),
            ));
        }
    }
    Ok(header)
}

fn open(file: &Path) -> Result<std::io::BufReader<std::fs::File>, BackupError> {
    Ok(std::io::BufReader::with_capacity(
        1 << 18,
        std::fs::File::open(file)?,
    ))
}

/// Writes the rows of a file into tables that have the columns that its first line names.
pub(super) fn load(tx: &mut Tx<'_>, header: &Header, file: &Path) -> Result<(), BackupError> {
    let mut pending: Option<(&Columns, Vec<Vec<Json>>)> = None;
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
        let table = header
            .tables
            .iter()
            .find(|table| name == table.name.as_str())
            .ok_or_else(|| malformed(number, format!("there is no table {name}")))?;
        if cells.len() != table.columns.len() {
            return Err(malformed(number, "another number of columns"));
        }
        if table.name == "organizational_units"
            && let (Some(id), Some(parent)) = (table.place("id"), table.place("parent_id"))
        {
            // A unit may stand before the one above it, so they are hung up afterwards.
            if let (Some(id), Some(parent)) = (cells[id].as_str(), cells[parent].as_str()) {
                parents.push((id.to_owned(), parent.to_owned()));
            }
            cells[parent] = Json::Null;
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

fn insert(tx: &mut Tx<'_>, table: &Columns, rows: &[Vec<Json>]) -> Result<(), BackupError> {
    // Few enough for the parameters of one statement on either database.
    for rows in rows.chunks(50) {
        let mut values: Vec<Value<'_>> = Vec::with_capacity(rows.len() * table.columns.len());
        for cells in rows {
            for (cell, (column, kind)) in cells.iter().zip(&table.columns) {
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
        let columns: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
        // PostgreSQL numbers these rows itself unless it is told that they have their numbers.
        let numbered = tx.dialect() == Dialect::Postgres && NUMBERED.contains(&table.name.as_str());
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
