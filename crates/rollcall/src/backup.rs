//! Backup and restore: the whole database as lines of JSON, from one snapshot.
//!
//! The same file fits either database, so it is also the way from SQLite to PostgreSQL and back. It is
//! taken while the hub runs: a reader sees one state from its first statement to its last. Secrets stay
//! sealed in it under the master key, which is not part of it; without that key the file's keys and
//! passwords are of no use.
//!
//! The first line names the format, each further one a row, and the last one counts them: a file that was
//! cut off is noticed before anything is restored.

use std::io::{BufRead, BufWriter, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollcall_db::{Db, DbError, Dialect, Row, Tx, Value, params};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::private;

/// The name of the format.
const FORMAT: &str = "rollcall-backup-1";
/// Rows that one statement reads or writes.
const PORTION: usize = 500;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Int,
    Bool,
    Blob,
}

/// A table: its columns, and those that order its rows and tell them apart.
struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
    key: &'static [&'static str],
}

use Kind::{Blob, Bool, Int, Text};

/// All tables, those before that others refer to.
const TABLES: [Table; 17] = [
    Table {
        name: "instance",
        columns: &[
            ("id", Text),
            ("ali_uid", Text),
            ("applications_version", Int),
            ("created_at", Int),
        ],
        key: &["id"],
    },
    Table {
        name: "master_key_check",
        columns: &[("id", Int), ("sealed", Blob)],
        key: &["id"],
    },
    Table {
        name: "change_head",
        columns: &[("id", Int), ("seq", Int), ("time", Int)],
        key: &["id"],
    },
    Table {
        name: "organizational_units",
        columns: &[
            ("id", Text),
            ("parent_id", Text),
            ("name", Text),
            ("name_folded", Text),
            ("description", Text),
            ("source_type", Text),
            ("source_id", Text),
            ("external_id", Text),
            ("create_time", Int),
            ("update_time", Int),
        ],
        key: &["id"],
    },
    Table {
        name: "users",
        columns: &[
            ("id", Text),
            ("username", Text),
            ("username_folded", Text),
            ("display_name", Text),
            ("email", Text),
            ("email_folded", Text),
            ("email_verified", Bool),
            ("phone_region", Text),
            ("phone_number", Text),
            ("phone_verified", Bool),
            ("password_hash", Text),
            ("status", Text),
            ("account_expire_time", Int),
            ("lock_expire_time", Int),
            ("register_time", Int),
            ("description", Text),
            ("custom_fields", Text),
            ("source_type", Text),
            ("source_id", Text),
            ("external_id", Text),
            ("create_time", Int),
            ("update_time", Int),
        ],
        key: &["id"],
    },
    Table {
        name: "unit_members",
        columns: &[("user_id", Text), ("unit_id", Text), ("is_primary", Bool)],
        key: &["user_id", "unit_id"],
    },
    Table {
        name: "groups",
        columns: &[
            ("id", Text),
            ("name", Text),
            ("name_folded", Text),
            ("description", Text),
            ("source_type", Text),
            ("source_id", Text),
            ("external_id", Text),
            ("create_time", Int),
            ("update_time", Int),
        ],
        key: &["id"],
    },
    Table {
        name: "group_members",
        columns: &[("group_id", Text), ("user_id", Text)],
        key: &["group_id", "user_id"],
    },
    Table {
        name: "changes",
        columns: &[
            ("seq", Int),
            ("event_id", Text),
            ("kind", Text),
            ("subject_kind", Text),
            ("subject_id", Text),
            ("time", Int),
            ("actor", Text),
            ("record", Text),
            ("previous", Text),
            ("placed_before", Text),
            ("placed_after", Text),
            ("secret", Blob),
            ("origin", Text),
        ],
        key: &["seq"],
    },
    Table {
        name: "applications",
        columns: &[
            ("id", Text),
            ("name", Text),
            ("name_folded", Text),
            ("synchronize", Bool),
            ("settings", Text),
            ("encryption_key", Blob),
            ("version", Int),
            ("create_time", Int),
            ("update_time", Int),
        ],
        key: &["id"],
    },
    Table {
        name: "deliveries",
        columns: &[
            ("application_id", Text),
            ("position", Int),
            ("revision", Int),
            ("epoch", Int),
            ("suspended", Text),
        ],
        key: &["application_id"],
    },
    Table {
        name: "entitlements",
        columns: &[
            ("application_id", Text),
            ("from_seq", Int),
            ("scope", Text),
            ("subscription", Text),
        ],
        key: &["application_id", "from_seq"],
    },
    Table {
        name: "signing_keys",
        columns: &[
            ("kid", Text),
            ("application_id", Text),
            ("private_key", Blob),
            ("public_jwk", Text),
            ("created_at", Int),
            ("signs_from", Int),
            ("retires_at", Int),
        ],
        key: &["kid"],
    },
    Table {
        name: "attempts",
        columns: &[
            ("id", Int),
            ("application_id", Text),
            ("source", Text),
            ("from_seq", Int),
            ("to_seq", Int),
            ("lane", Int),
            ("lanes", Int),
            ("try_number", Int),
            ("started_at", Int),
            ("latency_us", Int),
            ("outcome", Text),
            ("http_status", Int),
            ("events", Int),
            ("succeeded", Int),
            ("assumed", Int),
            ("skipped", Int),
            ("failed", Int),
            ("retried", Int),
            ("exceptions", Text),
            ("detail", Text),
        ],
        key: &["id"],
    },
    Table {
        name: "parked_events",
        columns: &[
            ("id", Int),
            ("application_id", Text),
            ("subject_id", Text),
            ("event_id", Text),
            ("event_type", Text),
            ("seq", Int),
            ("event_time", Int),
            ("record", Text),
            ("state", Text),
            ("attempts", Int),
            ("strikes", Int),
            ("next_try", Int),
            ("code", Text),
            ("message", Text),
        ],
        key: &["id"],
    },
    Table {
        name: "jobs",
        columns: &[
            ("id", Text),
            ("application_id", Text),
            ("kind", Text),
            ("trigger", Text),
            ("status", Text),
            ("position_seq", Int),
            ("progress", Text),
            ("statistics", Text),
            ("error", Text),
            ("created_at", Int),
            ("started_at", Int),
            ("ended_at", Int),
        ],
        key: &["id"],
    },
    Table {
        name: "audit_entries",
        columns: &[
            ("id", Int),
            ("time", Int),
            ("actor", Text),
            ("origin", Text),
            ("action", Text),
            ("target_kind", Text),
            ("target_id", Text),
            ("target_name", Text),
            ("before", Text),
            ("after", Text),
        ],
        key: &["id"],
    },
];

/// The tables whose rows the database numbers.
const NUMBERED: [&str; 3] = ["attempts", "parked_events", "audit_entries"];

/// Refers to a job, so it comes after all of them.
const JOB_ITEMS: Table = Table {
    name: "job_items",
    columns: &[
        ("job_id", Text),
        ("ordinal", Int),
        ("action", Text),
        ("subject_kind", Text),
        ("subject_id", Text),
        ("record", Text),
    ],
    key: &["job_id", "ordinal"],
};

fn tables() -> impl Iterator<Item = &'static Table> {
    TABLES.iter().chain(std::iter::once(&JOB_ITEMS))
}

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
    created_at: i64,
    log_head: i64,
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
        created_at: now,
        log_head: crate::change::head(tx)?.seq,
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

/// Restores a backup into a database that has just been made. Either all of it is restored, or nothing.
/// Returns the number of rows.
///
/// # Errors
/// [`BackupError`].
pub async fn restore(db: &Db, file: &Path) -> Result<u64, BackupError> {
    let path = file.to_owned();
    let expected = tokio::task::spawn_blocking(move || check(&path))
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
        Ok(())
    })
    .await?;
    Ok(expected)
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
