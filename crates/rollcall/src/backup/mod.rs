//! Backup and restore: the whole database as lines of JSON, from one snapshot.
//!
//! The same file fits either database, so it is also the way from SQLite to PostgreSQL and back. It is
//! taken while the hub runs: a reader sees one state from its first statement to its last. Secrets stay
//! sealed in it under the master key, which is not part of it; without that key the file's keys and
//! passwords are of no use.
//!
//! The first line names the format, the version of the tables and their columns, each further one is a row, and the
//! last one counts them: a file that was cut off is noticed before anything is restored. A backup of an earlier
//! version is brought up to date first: it is restored into a database of that version for the time being, the
//! migrations make of that what they make of any, and a backup of it is what is restored.

mod restore;
mod tables;
mod upgrade;

use std::io::{BufWriter, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollcall_db::{Db, DbError, Row, Tx, Value, params};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use tables::Kind::{Blob, Bool, Int, Text};
use tables::{Kind, Table, tables};

use crate::{private, schema};

pub use restore::{Restored, restore};

/// The name of the format.
const FORMAT: &str = "rollcall-backup-2";
/// The format before, whose rows nobody can tell the columns of.
const WITHOUT_NAMES: &str = "rollcall-backup-1";
/// Rows that one statement reads or writes.
const PORTION: usize = 500;

/// All tables that a backup holds, each with its columns.
pub fn columns() -> Vec<(&'static str, Vec<&'static str>)> {
    let names = |table: &Table| table.columns.iter().map(|(name, _)| *name).collect();
    tables().map(|table| (table.name, names(table))).collect()
}

/// Why a backup or a restore fails.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackupError {
    /// The file.
    #[error("the file: {0}")]
    File(String),
    /// Not a backup.
    #[error("this is not a whole backup of Rollcall: {0}")]
    Malformed(String),
    /// It does not say what its rows hold.
    #[error(
        "this backup is from an earlier version of Rollcall, which did not note the columns of its rows: restore it with the version that wrote it, and start this version on that database then"
    )]
    WithoutNames,
    /// It is from the future.
    #[error(
        "this backup is from a newer version of Rollcall: its tables are of version {found}, and this one knows them up to {known}. Restore it with that version, or a newer one"
    )]
    Newer {
        /// The version of the tables in the file.
        found: i32,
        /// The version of ours.
        known: i32,
    },
    /// There is something already.
    #[error("the database is not empty; restore into a new one")]
    NotEmpty,
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<std::io::Error> for BackupError {
    fn from(error: std::io::Error) -> Self {
        Self::File(error.to_string())
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    /// The number of the newest migration.
    schema: i32,
    created_at: i64,
    log_head: i64,
    tables: Vec<Columns>,
}

/// A table of a file, with its columns in the order in which the rows have them.
#[derive(Serialize, Deserialize)]
struct Columns {
    name: String,
    columns: Vec<(String, Kind)>,
}

impl Columns {
    fn of(table: &Table) -> Self {
        let columns = table.columns.iter();
        Self {
            name: table.name.to_owned(),
            columns: columns.map(|(name, kind)| ((*name).to_owned(), *kind)).collect(),
        }
    }

    /// Where a column stands.
    fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|(name, _)| name == column)
    }
}

#[derive(Serialize, Deserialize)]
struct Footer {
    rows: u64,
}

/// Writes a backup to a file that only its owner can read. Returns the number of rows.
///
/// # Errors
/// [`BackupError`].
pub async fn write(db: &Db, file: &Path, now: i64) -> Result<u64, BackupError> {
    let file = file.to_owned();
    let rows = db
        .read(move |tx| {
            // A closure may run again; it then writes the file anew.
            let sink = private::create(&file).map_err(BackupError::from)?;
            let mut sink = BufWriter::with_capacity(1 << 18, sink);
            let rows = dump(tx, &mut sink, now)?;
            sink.flush()?;
            sink.get_ref().sync_all()?;
            Ok::<_, BackupError>(rows)
        })
        .await?;
    Ok(rows)
}

fn dump(tx: &mut Tx<'_>, sink: &mut impl Write, now: i64) -> Result<u64, BackupError> {
    let header = Header {
        format: FORMAT.to_owned(),
        schema: schema::version(),
        created_at: now,
        log_head: crate::change::head(tx)?.seq,
        tables: tables().map(Columns::of).collect(),
    };
    line(sink, &header)?;
    let mut rows = 0;
    for table in tables() {
        let mut last: Option<Row> = None;
        loop {
            let page = read_page(tx, table, last.as_ref())?;
            let ended = page.len() < PORTION;
            for row in &page {
                let mut cells = vec![Json::from(table.name)];
                for (index, (_, kind)) in table.columns.iter().enumerate() {
                    cells.push(to_json(row, index, *kind)?);
                }
                line(sink, &cells)?;
                rows += 1;
            }
            if ended {
                break;
            }
            last = page.into_iter().next_back();
        }
    }
    line(sink, &Footer { rows })?;
    Ok(rows)
}

fn line(sink: &mut impl Write, value: &impl Serialize) -> Result<(), BackupError> {
    serde_json::to_writer(&mut *sink, value).map_err(|error| BackupError::File(error.to_string()))?;
    sink.write_all(b"\n")?;
    Ok(())
}

fn read_page(tx: &mut Tx<'_>, table: &Table, last: Option<&Row>) -> Result<Vec<Row>, DbError> {
    let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let key = table.key.join(", ");
    let limit = i64::try_from(PORTION).unwrap_or(i64::MAX);
    let Some(last) = last else {
        let sql = format!(
            "SELECT {} FROM {} ORDER BY {key} LIMIT $1",
            columns.join(", "),
            table.name
        );
        return tx.query(&sql, params![limit]);
    };
    let mut values: Vec<Value<'_>> = vec![Value::from(limit)];
    for name in table.key {
        let index = columns.iter().position(|column| column == name).unwrap_or(0);
        values.push(match table.columns[index].1 {
            Int => Value::from(last.get::<i64>(index)?),
            _ => Value::from(last.get::<String>(index)?),
        });
    }
    let places: Vec<String> = (2..2 + table.key.len())
        .map(|place| format!("${place}"))
        .collect();
    let sql = format!(
        "SELECT {} FROM {} WHERE ({key}) > ({}) ORDER BY {key} LIMIT $1",
        columns.join(", "),
        table.name,
        places.join(", ")
    );
    tx.query(&sql, &values)
}

fn to_json(row: &Row, index: usize, kind: Kind) -> Result<Json, DbError> {
    Ok(match kind {
        Text => row.get::<Option<String>>(index)?.map_or(Json::Null, Json::from),
        Int => row.get::<Option<i64>>(index)?.map_or(Json::Null, Json::from),
        Bool => Json::from(row.get::<bool>(index)?),
        Blob => row
            .get::<Option<Vec<u8>>>(index)?
            .map_or(Json::Null, |bytes| Json::from(STANDARD.encode(bytes))),
    })
}
