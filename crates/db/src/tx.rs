//! A transaction as a closure sees it, and the connection underneath.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::{DbError, Dialect, Row, Value, Version};

/// What `commit` of a lost connection left open, answered when the next transaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// A transaction is open.
    Open,
    /// No transaction is open: the last one, of whose commit nothing was heard, was committed.
    AlreadyCommitted,
}

/// A connection to either database, with at most one transaction at a time.
///
/// A method that reports [`DbError::Unavailable`] has given the transaction up; `begin_…` connects
/// anew if it has to. Whatever returns no rows may be sent to the database later, with what follows.
pub(crate) trait Connection: Send {
    fn dialect(&self) -> Dialect;
    /// Begins a writing transaction.
    fn begin_write(&mut self) -> Result<Begun, DbError>;
    /// Begins a read-only transaction that sees one state of the database.
    fn begin_read(&mut self) -> Result<(), DbError>;
    /// Sets the savepoint to which [`Connection::undo`] goes back.
    fn savepoint(&mut self) -> Result<(), DbError>;
    /// Keeps what was done since the savepoint, all of which has succeeded then.
    fn release(&mut self) -> Result<(), DbError>;
    /// Undoes what was done since the savepoint.
    fn undo(&mut self) -> Result<(), DbError>;
    /// Commits durably, and tells other processes if there is something to tell.
    fn commit(&mut self, announce: bool) -> Result<(), DbError>;
    /// Whether those who wait for news are told of the last commit.
    fn announces(&self) -> bool {
        true
    }
    /// How much later than it was done the last commit is to be answered, where its writer does not wait itself.
    fn late(&mut self) -> Option<Duration> {
        None
    }
    /// Rolls back whatever is open, and forgets a commit of which nothing was heard.
    fn abandon(&mut self);
    /// Makes sure that everything was sent, and has succeeded.
    fn flush(&mut self) -> Result<(), DbError> {
        Ok(())
    }
    /// Why the open transaction cannot go on, apart from what statements have reported themselves.
    fn failure(&self) -> Option<DbError>;
    fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64, DbError>;
    fn execute_later(&mut self, sql: &str, params: &[Value<'_>]) -> Result<(), DbError> {
        self.execute(sql, params).map(drop)
    }
    fn query(&mut self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, DbError>;
    /// The steps that statements have taken since this was last asked, where the database tells.
    fn steps(&mut self) -> u64 {
        0
    }
    /// In which version of the database the open transaction reads, where this connection tells versions.
    fn version(&mut self) -> Result<Option<Version>, DbError> {
        Ok(None)
    }
    /// Writes something of no meaning within the open transaction, if its commit would not write anyway.
    fn touch(&mut self) -> Result<(), DbError> {
        Ok(())
    }
    /// Looks whether the files are whole, within an open transaction.
    fn verify(&mut self) -> Result<(), DbError> {
        Ok(())
    }
    /// Takes out of the files what was deleted or overwritten. There is no transaction meanwhile.
    fn scrub(&mut self, _: Scrub) -> Result<(), DbError> {
        Ok(())
    }
    /// Ends an orderly life.
    fn close(self: Box<Self>) {}
}

/// What is cleaned of what was deleted or overwritten.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scrub {
    /// The pages: all of them are written anew.
    Pages,
    /// The write-ahead log, which still has earlier pages: it is emptied.
    Log,
}

/// What the closures of one commit have in common and keep in memory until it is written: the rows of a log, say,
/// that all of them append to. It begins empty with each transaction, and is written before the commit, or
/// before a statement that it concerns; after that it begins empty again.
pub trait Gathered: Any + Send {
    /// Whether a statement reads or writes what this stands for.
    fn concerns(&self, sql: &str) -> bool;

    /// Writes what was gathered.
    ///
    /// # Errors
    /// What the database reports.
    fn write(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), DbError>;
}

/// What the closures of the open transaction have gathered.
#[derive(Default)]
pub(crate) struct Gatherings(Vec<Box<dyn Gathered>>);

impl Gatherings {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
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
    gathered: Option<&'c mut Gatherings>,
    work: &'c Work,
    failure: Option<DbError>,
    announced: bool,
    wrote: bool,
}

/// What the statements of all transactions have cost.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) statements: AtomicU64,
    pub(crate) steps: AtomicU64,
}

impl<'c> Tx<'c> {
    /// A transaction that may write if it may gather.
    pub(crate) fn new(
        connection: &'c mut dyn Connection,
        gathered: Option<&'c mut Gatherings>,
        work: &'c Work,
    ) -> Self {
        Self {
            connection,
            gathered,
            work,
            failure: None,
            announced: false,
            wrote: false,
        }
    }

    /// Runs a statement and returns how many rows it changed.
    ///
    /// # Errors
    /// What the database reports.
    pub fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64, DbError> {
        self.wrote = true;
        self.attempt(sql, |connection| connection.execute(sql, params))
    }

    /// Runs a statement of which nobody needs to know how many rows it changes. On PostgreSQL it is sent with
    /// the next statement that has an answer, which saves waiting for it; what follows sees its effect all
    /// the same. If it fails, the closure fails, though a later statement or the commit may be what reports
    /// it.
    ///
    /// # Errors
    /// What the database reports, if it has been asked by then.
    pub fn execute_later(&mut self, sql: &str, params: &[Value<'_>]) -> Result<(), DbError> {
        self.wrote = true;
        self.attempt(sql, |connection| connection.execute_later(sql, params))
    }

    /// Runs a statement and returns its rows.
    ///
    /// # Errors
    /// What the database reports.
    pub fn query(&mut self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, DbError> {
        self.wrote |= may_write(sql);
        self.attempt(sql, |connection| connection.query(sql, params))
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

    /// What the closures of this commit have gathered of this kind, and may add to. Whatever else happens to
    /// this closure, it counts as having written.
    ///
    /// # Errors
    /// [`DbError::Other`] in a read-only transaction.
    pub fn gather<T: Gathered + Default>(&mut self) -> Result<&mut T, DbError> {
        self.wrote = true;
        self.find_or_make()
            .ok_or_else(|| DbError::Other("nothing can be gathered in a read-only transaction".into()))
    }

    /// What has been gathered of this kind, if anything has.
    pub fn gathered<T: Gathered>(&self) -> Option<&T> {
        let gathered = self.gathered.as_ref()?;
        gathered.0.iter().find_map(|it| {
            let it: &dyn Any = &**it;
            it.downcast_ref()
        })
    }

    /// What has been gathered of this kind, if anything has, to take something out of it.
    pub fn gathered_mut<T: Gathered>(&mut self) -> Option<&mut T> {
        let gathered = self.gathered.as_mut()?;
        gathered.0.iter_mut().find_map(|it| {
            let it: &mut dyn Any = &mut **it;
            it.downcast_mut()
        })
    }

    fn find_or_make<T: Gathered + Default>(&mut self) -> Option<&mut T> {
        let gathered = &mut self.gathered.as_mut()?.0;
        let found = gathered.iter().position(|it| {
            let it: &dyn Any = &**it;
            it.is::<T>()
        });
        let index = found.unwrap_or_else(|| {
            gathered.push(Box::<T>::default());
            gathered.len() - 1
        });
        let it: &mut dyn Any = &mut *gathered[index];
        it.downcast_mut()
    }

    /// Writes what was gathered, all of it or what a statement concerns.
    pub(crate) fn write_gathered(&mut self, concerned: Option<&str>) -> Result<(), DbError> {
        let Some(gathered) = &mut self.gathered else {
            return Ok(());
        };
        let due = |it: &mut Box<dyn Gathered>| concerned.is_none_or(|sql| it.concerns(sql));
        let due: Vec<_> = gathered.0.extract_if(.., due).collect();
        due.into_iter().try_for_each(|it| it.write(self))
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

    /// In which version of the database this reads; `None` but for closures of
    /// [`Db::read_versioned`](crate::Db::read_versioned) on a database that has versions.
    ///
    /// # Errors
    /// What the database reports.
    pub fn version(&mut self) -> Result<Option<Version>, DbError> {
        self.attempt("", |connection| connection.version())
    }

    /// Makes sure that there is something to commit.
    pub(crate) fn touch(&mut self) -> Result<(), DbError> {
        self.wrote = true;
        self.attempt("", |connection| connection.touch())
    }

    /// Looks whether the files are whole.
    pub(crate) fn verify(&mut self) -> Result<(), DbError> {
        self.attempt("", |connection| connection.verify())
    }

    fn attempt<T>(
        &mut self,
        sql: &str,
        statement: impl FnOnce(&mut dyn Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.write_gathered(Some(sql))?;
        let result = statement(self.connection);
        self.work.statements.fetch_add(1, Ordering::Relaxed);
        self.work
            .steps
            .fetch_add(self.connection.steps(), Ordering::Relaxed);
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

    /// Whether the closure may have changed something.
    pub(crate) fn wrote(&self) -> bool {
        self.wrote
    }
}

/// Whether a statement that returns rows may change some as well. It says so rather once too often.
fn may_write(sql: &str) -> bool {
    let sql = sql.trim_start();
    let begins = |word: &str| {
        sql.get(..word.len())
            .is_some_and(|it| it.eq_ignore_ascii_case(word))
    };
    if begins("SELECT") {
        return false;
    }
    let writes = |word: &str| {
        ["INSERT", "UPDATE", "DELETE", "MERGE"]
            .iter()
            .any(|it| word.eq_ignore_ascii_case(it))
    };
    !begins("WITH")
        || sql
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .any(writes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_reads_is_told_from_what_may_write() {
        assert!(!may_write("SELECT update_time FROM users"));
        assert!(!may_write("\n  select 1"));
        assert!(!may_write(
            "WITH RECURSIVE up (id) AS (SELECT 1) SELECT id, update_time FROM up"
        ));
        assert!(may_write(
            "WITH gone AS (DELETE FROM a RETURNING b) SELECT b FROM gone"
        ));
        assert!(may_write("INSERT INTO a VALUES (1) RETURNING b"));
        assert!(may_write("PRAGMA user_version = 1"));
    }
}
