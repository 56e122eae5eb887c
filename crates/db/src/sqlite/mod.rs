//! SQLite: one file, write-ahead log, every commit on disk before it is reported.
//!
//! Several processes may share the file: `BEGIN IMMEDIATE` makes their writers wait for each other,
//! and readers see the last committed state without waiting at all.
//!
//! What is deleted is overwritten (`secure_delete`), so that an erased person is not found in free pages. Two copies may
//! be left, which [`Connection::scrub`] takes away: rows that have moved to another page when a tree was balanced stay
//! behind in the unused part of the one before, where nothing overwrites them when they are deleted; and the
//! write-ahead log holds old pages until it is truncated.

mod error;
mod file;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{OpenFlags, StatementStatus};

pub(crate) use self::file::{Identity, check_room, identity};
use crate::tx::{Begun, Connection, Scrub};
use crate::{Create, DbError, Dialect, Row, Value};

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
    /// The steps that closures' statements have taken since somebody asked.
    steps: u64,
}

impl Sqlite {
    /// Opens the file, making it if it is missing and that is wanted, and migrates it.
    pub(crate) fn create(
        path: &Path,
        create: Create,
        migrations: &refinery::Runner,
    ) -> Result<Self, DbError> {
        if is_private(path) {
            return Self::migrated(path, migrations);
        }
        if !file::exists(path, create)? {
            static DRAFTS: AtomicU64 = AtomicU64::new(0);
            let draft = file::Draft::new(path, DRAFTS.fetch_add(1, Ordering::Relaxed))?;
            drop(Self::migrated(draft.path(), migrations)?.into_whole_file()?);
            draft.publish(path)?;
        }
        let mut attempt = 1;
        loop {
            match Self::existing(path, migrations) {
                Err(error @ DbError::Other(_)) if attempt < MIGRATION_ATTEMPTS => {
                    tracing::debug!(%error, "migrating again");
                    attempt += 1;
                    std::thread::sleep(Duration::from_millis(20));
                }
                result => return result,
            }
        }
    }

    /// Opens a file that exists, if it was made by migrations, and brings it up to date.
    fn existing(path: &Path, migrations: &refinery::Runner) -> Result<Self, DbError> {
        let sql = "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'refinery_schema_history'";
        let known: i64 = connect(path)?
            .query_row(sql, [], |row| row.get(0))
            .map_err(|error| named(path, error::typed(&error, false)))?;
        if known == 0 {
            return Err(file::damaged(
                path,
                "the file is a SQLite database of something else: name another file",
            ));
        }
        Self::migrated(path, migrations)
    }

    fn migrated(path: &Path, migrations: &refinery::Runner) -> Result<Self, DbError> {
        let mut sqlite = Self {
            connection: connect(path)?,
            reading: false,
            steps: 0,
        };
        sqlite.pragma("journal_mode", "WAL")?;
        // Foreign keys are not enforced meanwhile: a migration may have to build a table anew.
        sqlite.pragma("foreign_keys", false)?;
        let connection = &mut sqlite.connection;
        connection.set_transaction_behavior(rusqlite::TransactionBehavior::Immediate);
        migrations.run(connection).map_err(|error| migrating(&error))?;
        sqlite.pragma("foreign_keys", true)?;
        Ok(sqlite)
    }

    /// Brings everything into the one file, without a write-ahead log.
    fn into_whole_file(self) -> Result<Self, DbError> {
        self.pragma("journal_mode", "DELETE")?;
        Ok(self)
    }

    /// Opens a further connection to a file that exists.
    pub(crate) fn reader(path: &Path) -> Result<Self, DbError> {
        Ok(Self {
            connection: connect(path)?,
            reading: false,
            steps: 0,
        })
    }

    /// Opens a further connection that waits for nobody, and changes nothing.
    pub(crate) fn lookout(path: &Path) -> Result<Self, DbError> {
        let mut sqlite = Self::reader(path)?;
        let set = sqlite.connection.busy_timeout(Duration::ZERO);
        set.map_err(|error| sqlite.typed(&error))?;
        sqlite.reading(true)?;
        Ok(sqlite)
    }

    /// In which version this connection finds the database. Outside of a transaction, that is the last one that was
    /// committed.
    pub(crate) fn data_version(&self) -> Result<i64, DbError> {
        self.connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut it| it.query_row([], |row| row.get(0)))
            .map_err(|error| self.typed(&error))
    }

    fn pragma(&self, name: &str, value: impl rusqlite::ToSql) -> Result<(), DbError> {
        let set = self.connection.pragma_update(None, name, value);
        set.map_err(|error| self.typed(&error))
    }

    fn typed(&self, error: &rusqlite::Error) -> DbError {
        error::typed(error, self.reading)
    }

    fn run(&self, sql: &str) -> Result<(), DbError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut it| it.execute([]))
            .map(drop)
            .map_err(|error| self.typed(&error))
    }

    fn reading(&mut self, reading: bool) -> Result<(), DbError> {
        if self.reading != reading {
            self.pragma("query_only", reading)?;
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
        let statement = self.connection.prepare_cached(&numbered(sql));
        statement.map_err(|error| self.typed(&error))
    }
}

/// The steps that a statement has taken since it was last asked.
fn steps(statement: &rusqlite::Statement<'_>) -> u64 {
    let steps = statement.reset_status(StatementStatus::VmStep);
    u64::try_from(steps).unwrap_or(0)
}

fn connect(path: &Path) -> Result<rusqlite::Connection, DbError> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // A file that somebody removed is missed, and not made again by the next reader.
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, is_private(path));
    let open = || {
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // Otherwise a statement whose plan may depend on a value is compiled anew for each value: with a partial
        // index such as `WHERE is_primary = 1` that is every statement that compares a column with a parameter.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "secure_delete", true)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    };
    open().map_err(|error: rusqlite::Error| named(path, error::typed(&error, false)))
}

/// Whether a file exists, is a database, and has this table with a row in it.
pub(crate) fn has_rows(path: &Path, table: &str) -> Result<bool, DbError> {
    match file::exists(path, Create::Never) {
        Ok(_) => {}
        Err(DbError::Missing(_)) => return Ok(false),
        Err(error) => return Err(error),
    }
    let mut sqlite = Sqlite::reader(path)?;
    sqlite.reading(true)?;
    let has_table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = $1";
    let row = format!("SELECT 1 FROM {table} LIMIT 1");
    Ok(!sqlite.query(has_table, &[Value::from(table)])?.is_empty() && !sqlite.query(&row, &[])?.is_empty())
}

/// What a failed migration means: what the database said beneath it, if that is not a mistake in the SQL.
fn migrating(error: &refinery::Error) -> DbError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(sqlite) = inner.downcast_ref::<rusqlite::Error>() {
            match error::typed(sqlite, false) {
                DbError::Statement { .. } => {}
                known => return known,
            }
        }
        cause = inner.source();
    }
    DbError::other(error)
}

/// Says of which file an error speaks.
fn named(path: &Path, error: DbError) -> DbError {
    match error {
        DbError::Damaged { code, message } => DbError::Damaged {
            code,
            message: format!("{}: {message}", path.display()),
        },
        error => error,
    }
}

/// The file that a URL names: `sqlite:PATH` or `sqlite://PATH`.
pub(crate) fn path(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?;
    Some(PathBuf::from(path.strip_prefix("//").unwrap_or(path)))
}

/// Whether each connection to it has a database of its own.
pub(crate) fn is_private(path: &Path) -> bool {
    path.as_os_str() == ":memory:" || path.as_os_str().is_empty()
}

impl Connection for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn begin_write(&mut self) -> Result<Begun, DbError> {
        self.roll_back()?;
        self.reading(false)?;
        self.run("BEGIN IMMEDIATE")?;
        Ok(Begun::Open)
    }

    fn begin_read(&mut self) -> Result<(), DbError> {
        self.roll_back()?;
        self.reading(true)?;
        self.run("BEGIN DEFERRED")
    }

    fn savepoint(&mut self) -> Result<(), DbError> {
        self.run("SAVEPOINT closure")
    }

    fn release(&mut self) -> Result<(), DbError> {
        self.run("RELEASE closure")
    }

    fn undo(&mut self) -> Result<(), DbError> {
        self.run("ROLLBACK TO closure")?;
        self.run("RELEASE closure")
    }

    fn commit(&mut self, _: bool) -> Result<(), DbError> {
        self.run("COMMIT")
    }

    fn abandon(&mut self) {
        if let Err(error) = self.roll_back() {
            tracing::warn!(%error, "a transaction could not be rolled back");
        }
    }

    fn failure(&self) -> Option<DbError> {
        let ended = self.connection.is_autocommit();
        ended.then(|| DbError::Other("the transaction was ended".into()))
    }

    fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64, DbError> {
        let mut statement = self.prepare(sql)?;
        let changed = statement.execute(bound(params));
        let changed = changed.map_err(|error| self.typed(&error))?;
        let steps = steps(&statement);
        drop(statement);
        self.steps += steps;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    fn query(&mut self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, DbError> {
        let typed = |error: rusqlite::Error| self.typed(&error);
        let mut statement = self.prepare(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(bound(params)).map_err(typed)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(typed)? {
            let value = |index| owned(row.get_ref(index).map_err(typed)?);
            found.push(Row::new((0..columns).map(value).collect::<Result<_, DbError>>()?));
        }
        drop(rows);
        let steps = steps(&statement);
        drop(statement);
        self.steps += steps;
        Ok(found)
    }

    fn steps(&mut self) -> u64 {
        std::mem::take(&mut self.steps)
    }

    fn touch(&mut self) -> Result<(), DbError> {
        // A number in the first page that SQLite keeps for its user; nothing else uses it.
        let get = |row: &rusqlite::Row<'_>| row.get::<_, i32>(0);
        let found = self.connection.query_row("PRAGMA user_version", [], get);
        let next = found
            .map_err(|error| self.typed(&error))?
            .checked_add(1)
            .unwrap_or(0);
        self.pragma("user_version", next)
    }

    fn verify(&mut self) -> Result<(), DbError> {
        let get = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        let found = self.connection.query_row("PRAGMA quick_check(1)", [], get);
        match found.map_err(|error| self.typed(&error))?.as_str() {
            "ok" => Ok(()),
            wrong => Err(DbError::Damaged {
                code: None,
                message: wrong.to_owned(),
            }),
        }
    }

    fn scrub(&mut self, what: Scrub) -> Result<(), DbError> {
        self.roll_back()?;
        if let Scrub::Pages = what {
            return self.run("VACUUM");
        }
        let done = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let busy = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], done);
        match busy.map_err(|error| self.typed(&error))? {
            0 => Ok(()),
            _ => Err(DbError::away(
                "somebody still reads what the write-ahead log holds",
            )),
        }
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
