//! A transaction as a closure sees it, and the connection underneath.

use crate::{DbError, Dialect, Row, Value};

/// What `commit` of a lost connection left open, answered when the next transaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// A transaction is open, with its first savepoint.
    Open,
    /// No transaction is open: the last one, of whose commit nothing was heard, was committed.
    AlreadyCommitted,
}

/// A connection to either database, with at most one transaction at a time.
///
/// A method that reports [`DbError::Unavailable`] has given the transaction up; `begin_…` connects
/// anew if it has to.
pub(crate) trait Connection: Send {
    fn dialect(&self) -> Dialect;
    /// Begins the one writing transaction of this database and sets its first savepoint.
    fn begin_write(&mut self) -> Result<Begun, DbError>;
    /// Begins a read-only transaction that sees one state of the database.
    fn begin_read(&mut self) -> Result<(), DbError>;
    /// Keeps what was done since the last savepoint, and sets the next.
    fn savepoint(&mut self) -> Result<(), DbError>;
    /// Undoes what was done since the last savepoint, which stays.
    fn undo(&mut self) -> Result<(), DbError>;
    /// Commits durably.
    fn commit(&mut self) -> Result<(), DbError>;
    /// Rolls back whatever is open, and forgets a commit of which nothing was heard.
    fn abandon(&mut self);
    /// Whether the transaction that was begun is still open: some errors end it.
    fn is_intact(&self) -> bool;
    fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64, DbError>;
    fn query(&mut self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, DbError>;
    /// Ends an orderly life.
    fn close(self: Box<Self>) {}
}

/// A transaction, as the closures of [`Db::write`](crate::Db::write) and
/// [`Db::read`](crate::Db::read) see it.
///
/// SQL is written once, in what both databases understand, with the parameters `$1`, `$2` …
/// Statements are prepared once per connection, so their text should not vary without need.
///
/// A statement that fails ends the closure's work on both databases, as PostgreSQL has it: what
/// follows fails with the same error, and so does the closure, even if it returns `Ok`. (Where a
/// conflict is expected, use `ON CONFLICT`.)
pub struct Tx<'c> {
    connection: &'c mut dyn Connection,
    failure: Option<DbError>,
    announced: bool,
}

impl<'c> Tx<'c> {
    pub(crate) fn new(connection: &'c mut dyn Connection) -> Self {
        Self {
            connection,
            failure: None,
            announced: false,
        }
    }

    /// Runs a statement and returns how many rows it changed.
    ///
    /// # Errors
    /// What the database reports.
    pub fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64, DbError> {
        self.attempt(|connection| connection.execute(sql, params))
    }

    /// Runs a statement and returns its rows.
    ///
    /// # Errors
    /// What the database reports.
    pub fn query(&mut self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, DbError> {
        self.attempt(|connection| connection.query(sql, params))
    }

    /// Runs a statement and returns its first row, if it has any.
    ///
    /// # Errors
    /// What the database reports.
    pub fn query_opt(&mut self, sql: &str, params: &[Value<'_>]) -> Result<Option<Row>, DbError> {
        Ok(self.query(sql, params)?.into_iter().next())
    }

    /// Runs a statement and returns its first row.
    ///
    /// # Errors
    /// What the database reports, and [`DbError::Other`] if there is no row.
    pub fn query_one(&mut self, sql: &str, params: &[Value<'_>]) -> Result<Row, DbError> {
        self.query_opt(sql, params)?
            .ok_or_else(|| DbError::Other(format!("there is no row for: {sql}")))
    }

    /// Wakes those who wait on [`Db::announcements`](crate::Db::announcements) once this closure's
    /// work is committed, and only then.
    pub fn announce(&mut self) {
        self.announced = true;
    }

    /// Which database this is, for the rare statement that has to differ.
    pub fn dialect(&self) -> Dialect {
        self.connection.dialect()
    }

    fn attempt<T>(
        &mut self,
        statement: impl FnOnce(&mut dyn Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let result = statement(self.connection);
        self.failure = result.as_ref().err().cloned();
        result
    }

    /// The first statement's error, if one failed.
    pub(crate) fn failure(&self) -> Option<&DbError> {
        self.failure.as_ref()
    }

    /// Whether the closure asked for an announcement.
    pub(crate) fn announced(&self) -> bool {
        self.announced
    }
}
