//! A database that belongs to somebody else: one row of it can be looked at, and nothing is made, migrated or changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection as File, OpenFlags};

use crate::place::Place;
use crate::postgres::{Postgres, Server};
use crate::tx::Connection as _;
use crate::{DbError, Value};

/// How long a server that does not answer, or a file that is locked, is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A row: the names of its columns, with what they hold as text.
pub type Columns = Vec<(String, Option<String>)>;

/// Somebody else's database.
pub struct Foreign(Where);

enum Where {
    Sqlite(PathBuf),
    Postgres(Server),
}

impl std::fmt::Debug for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Foreign").finish_non_exhaustive()
    }
}

impl Foreign {
    /// The database at `sqlite:PATH` or `postgres://…`. It is not opened yet.
    ///
    /// # Errors
    /// [`DbError::Other`] if the URL is wrong.
    pub fn at(url: &str) -> Result<Self, DbError> {
        Ok(Self(match Place::parse(url, PATIENCE)? {
            Place::Sqlite(path) => Where::Sqlite(path),
            Place::Postgres(server) => Where::Postgres(server),
        }))
    }

    /// The row that a query finds, with this text as `$1`; `None` if there is none. Blocks this thread, which must not
    /// run async code.
    ///
    /// # Errors
    /// What the database reports; [`DbError::Other`] if there are several rows.
    pub fn row(&self, query: &str, parameter: &str) -> Result<Option<Columns>, DbError> {
        match &self.0 {
            Where::Sqlite(path) => row_of_file(path, query, parameter)
                .map_err(|error| DbError::Other(format!("{}: {error}", path.display())))?,
            Where::Postgres(server) => row_of_server(server, query, parameter),
        }
    }
}

fn several() -> DbError {
    DbError::Other("the query finds several rows; it has to find one at most".into())
}

fn row_of_file(
    path: &Path,
    query: &str,
    parameter: &str,
) -> Result<Result<Option<Columns>, DbError>, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let file = File::open_with_flags(path, flags)?;
    file.busy_timeout(PATIENCE)?;
    let mut statement = file.prepare(query)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query([parameter])?;
    let Some(row) = rows.next()? else {
        return Ok(Ok(None));
    };
    let mut columns = Columns::new();
    for (index, name) in names.into_iter().enumerate() {
        let value = match row.get_ref(index)? {
            ValueRef::Null => None,
            ValueRef::Integer(number) => Some(number.to_string()),
            ValueRef::Real(number) => Some(number.to_string()),
            ValueRef::Text(text) | ValueRef::Blob(text) => Some(String::from_utf8_lossy(text).into_owned()),
        };
        columns.push((name, value));
    }
    if rows.next()?.is_some() {
        return Ok(Err(several()));
    }
    Ok(Ok(Some(columns)))
}

/// Columns may have types that nobody knows here, so the server itself makes text of them.
fn row_of_server(server: &Server, query: &str, parameter: &str) -> Result<Option<Columns>, DbError> {
    let mut connection = Postgres::reader(server.clone());
    connection.begin_read()?;
    let query = query.trim().trim_end_matches(';');
    let sql = format!(
        "SELECT found.number, field.key, field.value \
         FROM (SELECT row_number() OVER () AS number, to_jsonb(asked) AS record FROM ({query}) asked) found, \
         jsonb_each_text(found.record) field"
    );
    let rows = connection.query(&sql, &[Value::from(parameter)]);
    connection.abandon();
    let mut columns = Columns::new();
    for row in rows? {
        if row.get::<i64>(0)? > 1 {
            return Err(several());
        }
        columns.push((row.get(1)?, row.get(2)?));
    }
    Ok((!columns.is_empty()).then_some(columns))
}
