//! Whether anything was committed: asked where the question arises, on any thread, without waiting.
//!
//! SQLite tells a connection by `PRAGMA data_version` in which version it finds the database. The number has a meaning
//! for this one connection only: it is another one as soon as *another* connection has committed anything, of this
//! process or not, and may also be another one when nothing has changed. (<https://sqlite.org/pragma.html>; the
//! connection compares the head of the write-ahead log's index, which is in memory that all processes share.) So there
//! is one connection for it, which never writes, and which nobody else uses. Asking it costs two calls of the
//! operating system, and neither reads the disk nor waits for anybody who writes.
//!
//! That is still much beside an answer from memory, so those who ask at the same time share a question
//! ([`crate::sharing`]).
//!
//! What is to be compared with a version later has to be read in a transaction of that same connection, because only
//! there it is known to which version it belongs. The connection leaves its place for that, and whoever asks meanwhile
//! is told so instead of waiting.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sharing::Sharing;
use crate::sqlite::Sqlite;
use crate::tx::{Begun, Connection};
use crate::{DbError, Dialect, Row, Value};

/// A version of the database: two that are equal, of the same [`Db`](crate::Db), have nothing between them that was
/// committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(i64);

/// Why it cannot be told at once in which version the database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoVersion {
    /// Somebody reads with the connection that could tell, or it could not tell just now: a closure of
    /// [`Db::read_versioned`](crate::Db::read_versioned) learns it.
    Away,
    /// This database has no versions: PostgreSQL, or one without threads.
    Never,
}

/// Where the connection stands that tells versions.
#[derive(Clone)]
pub(crate) struct Lookout(Arc<Standing>);

struct Standing {
    asking: Sharing<Result<Version, NoVersion>>,
    /// The connection; away while somebody reads with it.
    place: Mutex<Option<Sqlite>>,
}

impl Lookout {
    pub(crate) fn new(connection: Sqlite) -> Self {
        Self(Arc::new(Standing {
            asking: Sharing::default(),
            place: Mutex::new(Some(connection)),
        }))
    }

    /// Nobody holds it for longer than it takes to ask one version, or to take or to bring the connection.
    fn place(&self) -> MutexGuard<'_, Option<Sqlite>> {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn version(&self) -> Result<Version, NoVersion> {
        let ask = || {
            let place = self.place();
            let connection = place.as_ref().ok_or(NoVersion::Away)?;
            // Whatever is wrong, whoever reads next is told of it.
            connection
                .data_version()
                .map(Version)
                .map_err(|_| NoVersion::Away)
        };
        self.0.asking.ask(ask).await
    }

    /// What its thread reads with.
    pub(crate) fn reader(&self) -> Reader {
        Reader {
            lookout: self.clone(),
            taken: None,
        }
    }
}

/// Reads with the connection of a lookout, which is not in its place meanwhile.
pub(crate) struct Reader {
    lookout: Lookout,
    taken: Option<Sqlite>,
}

impl Reader {
    fn taken(&mut self) -> Result<&mut Sqlite, DbError> {
        let none = || DbError::Other("no transaction was begun".into());
        self.taken.as_mut().ok_or_else(none)
    }

    fn refused<T>() -> Result<T, DbError> {
        Err(DbError::Other("who tells versions only reads".into()))
    }
}

/// The thread that reads there has ended, so the database is closed, also for those who still hold it.
impl Drop for Reader {
    fn drop(&mut self) {
        self.lookout.place().take();
    }
}

impl Connection for Reader {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn begin_write(&mut self) -> Result<Begun, DbError> {
        Self::refused()
    }

    fn begin_read(&mut self) -> Result<(), DbError> {
        if self.taken.is_none() {
            self.taken = self.lookout.place().take();
        }
        self.taken()?.begin_read()
    }

    fn savepoint(&mut self) -> Result<(), DbError> {
        Self::refused()
    }

    fn release(&mut self) -> Result<(), DbError> {
        Self::refused()
    }

    fn undo(&mut self) -> Result<(), DbError> {
        Self::refused()
    }

    fn commit(&mut self, _: bool) -> Result<(), DbError> {
        Self::refused()
    }

    fn abandon(&mut self) {
        if let Some(mut connection) = self.taken.take() {
            connection.abandon();
            *self.lookout.place() = Some(connection);
        }
    }

    fn failure(&self) -> Option<DbError> {
        self.taken.as_ref().and_then(Connection::failure)
    }

    fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64, DbError> {
        self.taken()?.execute(sql, params)
    }

    fn query(&mut self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, DbError> {
        self.taken()?.query(sql, params)
    }

    fn steps(&mut self) -> u64 {
        self.taken.as_mut().map_or(0, Connection::steps)
    }

    fn version(&mut self) -> Result<Option<Version>, DbError> {
        self.taken()?.data_version().map(|version| Some(Version(version)))
    }
}
