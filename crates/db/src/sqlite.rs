//! SQLite: one file, write-ahead log, every commit on disk before it is reported.
//!
//! Several processes may share the file: `BEGIN IMMEDIATE` makes their writers wait for each other,
//! and readers see the last committed state without waiting at all.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ErrorCode, ffi};

use crate::tx::{Begun, Connection};
use crate::{DbError, Dialect, Row, Value};

/// How long one statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Prepared statements per connection. Multi-row inserts come in many lengths.
const STATEMENTS: usize = 256;

/// The pages that a connection keeps in memory, in KiB. SQLite's own 2 MiB do not hold the inner pages of
/// the indexes of a large directory.
const CACHE_KIB: i64 = 8_192;

/// How often migrating is tried: another process may migrate the same file just now, and the one that
/// comes second fails, without an effect, on what the first has made.
const MIGRATION_ATTEMPTS: u32 = 10;

/// A connection to a file, or to a private database in memory.
pub(crate) struct Sqlite {
    connection: rusqlite::Connection,
    reading: bool,
}

impl Sqlite {
    /// Opens the file, creating it if need be, and migrates it.
    pub(crate) fn create(path: &Path, migrations: &refinery::Runner) -> Result<Self, DbError> {
        let mut attempt = 1;
        loop {
            match Self::try_create(path, migrations) {
                Err(error) if attempt < MIGRATION_ATTEMPTS => {
                    tracing::debug!(%error, "migrating again");
                    attempt += 1;
                    std::thread::sleep(Duration::from_millis(20));
                }
                result => return result,
            }
        }
    }

    fn try_create(path: &Path, migrations: &refinery::Runner) -> Result<Self, DbError> {
        let mut connection = connect(path)?;
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(typed)?;
        // Foreign keys are not enforced meanwhile: a migration may have to build a table anew.
        connection
            .pragma_update(None, "foreign_keys", false)
            .map_err(typed)?;
        connection.set_transaction_behavior(rusqlite::TransactionBehavior::Immediate);
        migrations
            .run(&mut connection)
            .map_err(|error| DbError::other(&error))?;
        connection
            .pragma_update(None, "foreign_keys", true)
            .map_err(typed)?;
        Ok(Self {
            connection,
            reading: false,
        })
    }

    /// Opens a further connection to a file that exists.
    pub(crate) fn reader(path: &Path) -> Result<Self, DbError> {
        Ok(Self {
            connection: connect(path)?,
            reading: false,
        })
    }

    fn run(&self, sql: &str) -> Result<(), DbError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut it| it.execute([]))
            .map(drop)
            .map_err(typed)
    }

    fn reading(&mut self, reading: bool) -> Result<(), DbError> {
        if self.reading != reading {
            self.connection
                .pragma_update(None, "query_only", reading)
                .map_err(typed)?;
            self.reading = reading;
        }
        Ok(())
    }

    fn roll_back(&self) -> Result<(), DbError> {
        if self.connection.is_autocommit() {
            Ok(())
        } else {
            self.run("ROLLBACK")
        }
    }

    fn prepare(&self, sql: &str) -> Result<rusqlite::CachedStatement<'_>, DbError> {
        self.connection.prepare_cached(&numbered(sql)).map_err(typed)
    }
}

fn connect(path: &Path) -> Result<rusqlite::Connection, DbError> {
    let open = || {
        let connection = rusqlite::Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    };
    open().map_err(|error| in_file(path, error))
}

fn in_file(path: &Path, error: rusqlite::Error) -> DbError {
    match typed(error) {
        DbError::Other(message) => DbError::Other(format!("{}: {message}", path.display())),
        error => error,
    }
}

/// Whether a file exists, is a database, and has this table with a row in it.
pub(crate) fn has_rows(path: &Path, table: &str) -> Result<bool, DbError> {
    if !path.exists() {
        return Ok(false);
    }
    let look = || {
        let flags = rusqlite::OpenFlags::default().difference(rusqlite::OpenFlags::SQLITE_OPEN_CREATE);
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let has_table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
        Ok(connection.prepare(has_table)?.exists([table])?
            && connection
                .prepare(&format!("SELECT 1 FROM {table}"))?
                .exists([])?)
    };
    look().map_err(|error| in_file(path, error))
}

/// The file that a URL names: `sqlite:PATH` or `sqlite://PATH`.
pub(crate) fn path(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?;
    Some(PathBuf::from(path.strip_prefix("//").unwrap_or(path)))
}

impl Connection for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn begin_write(&mut self) -> Result<Begun, DbError> {
        self.roll_back()?;
        self.reading(false)?;
        self.run("BEGIN IMMEDIATE")?;
        self.run("SAVEPOINT closure")?;
        Ok(Begun::Open)
    }

    fn begin_read(&mut self) -> Result<(), DbError> {
        self.roll_back()?;
        self.reading(true)?;
        self.run("BEGIN DEFERRED")
    }

    fn savepoint(&mut self) -> Result<(), DbError> {
        self.run("RELEASE closure")?;
        self.run("SAVEPOINT closure")
    }

    fn undo(&mut self) -> Result<(), DbError> {
        self.run("ROLLBACK TO closure")
    }

    fn commit(&mut self) -> Result<(), DbError> {
        self.run("COMMIT")
    }

    fn abandon(&mut self) {
        if let Err(error) = self.roll_back() {
            tracing::warn!(%error, "a transaction could not be rolled back");
        }
    }

    fn is_intact(&self) -> bool {
        !self.connection.is_autocommit()
    }

    fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64, DbError> {
        let changed = self.prepare(sql)?.execute(bound(params)).map_err(typed)?;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    fn query(&mut self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, DbError> {
        let mut statement = self.prepare(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(bound(params)).map_err(typed)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(typed)? {
            let value = |index| owned(row.get_ref(index).map_err(typed)?);
            found.push(Row::new((0..columns).map(value).collect::<Result<_, DbError>>()?));
        }
        Ok(found)
    }
}

struct Parameter<'p>(&'p Value<'p>);

impl rusqlite::ToSql for Parameter<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Int(value) => ValueRef::Integer(*value),
            Value::Bool(value) => ValueRef::Integer((*value).into()),
            Value::Text(value) => ValueRef::Text(value.as_bytes()),
            Value::Blob(value) => ValueRef::Blob(value),
        }))
    }
}

fn bound<'p>(params: &'p [Value<'p>]) -> impl rusqlite::Params + use<'p> {
    rusqlite::params_from_iter(params.iter().map(Parameter))
}

fn owned(value: ValueRef<'_>) -> Result<Value<'static>, DbError> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Real(_) => return Err(DbError::Other("a column holds a floating-point number".into())),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(|error| DbError::other(&error))?;
            Value::Text(text.to_owned().into())
        }
        ValueRef::Blob(blob) => Value::Blob(blob.to_vec().into()),
    })
}

/// Writes `$1` as `?1`. SQLite takes `$1` for a name, and numbers names as they come.
fn numbered(sql: &str) -> String {
    let mut quote = None;
    let mut numbered = String::with_capacity(sql.len());
    let bytes = sql.as_bytes();
    let mut copied = 0;
    for (index, byte) in bytes.iter().enumerate() {
        match (quote, byte) {
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            (None, b'$') if bytes.get(index + 1).is_some_and(u8::is_ascii_digit) => {
                numbered.push_str(&sql[copied..index]);
                numbered.push('?');
                copied = index + 1;
            }
            _ => {}
        }
    }
    numbered.push_str(&sql[copied..]);
    numbered
}

fn typed(error: rusqlite::Error) -> DbError {
    let Some(code) = error.sqlite_error() else {
        return DbError::other(&error);
    };
    let message = error.to_string();
    match (code.code, code.extended_code) {
        (
            _,
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID,
        ) => DbError::Unique {
            constraint: message
                .strip_prefix("UNIQUE constraint failed: ")
                .map(str::to_owned),
            message,
        },
        (_, ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => DbError::ForeignKey(message),
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => DbError::Unavailable(message),
        (ErrorCode::ConstraintViolation | ErrorCode::TooBig, extended) => DbError::Refused {
            code: Some(extended.to_string()),
            message,
        },
        _ => DbError::other(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parameters_are_rewritten() {
        assert_eq!(
            numbered(r#"SELECT '$1 it''s $2', "$3", $4 FROM t WHERE a = $12 AND b = '$'"#),
            r#"SELECT '$1 it''s $2', "$3", ?4 FROM t WHERE a = ?12 AND b = '$'"#
        );
    }

    #[test]
    fn both_forms_of_the_url_name_a_file() {
        assert_eq!(path("sqlite:a/b.db"), Some(PathBuf::from("a/b.db")));
        assert_eq!(path("sqlite:///a/b.db"), Some(PathBuf::from("/a/b.db")));
        assert_eq!(path("postgres://localhost/a"), None);
    }
}
