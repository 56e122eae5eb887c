//! One way to use a database, whichever of two it is: SQLite in a file, or PostgreSQL.
//!
//! Code that works with data is plain and synchronous: a function that takes a [`Tx`] and runs SQL.
//! A [`Db`] runs such functions, as closures:
//!
//! - [`Db::write`] queues a closure for **one writer thread**, which commits many of them at once and
//!   answers each when its work is durable. The module `writer` tells how.
//! - [`Db::settle`] does the same in a [lane](Lane) beside it, which on PostgreSQL waits neither for the log's
//!   writers nor for its lock. Settlements are what nobody waits for, so they wait a little for company.
//! - [`Db::read`] runs a closure on one of a few **reader threads**, in a read-only transaction that
//!   sees one state of the database from its first statement to its last. [`Db::read_feed`] has a thread that
//!   is kept free for it.
//!
//! That is all there is to concurrency: the log's writers are serial, on both databases, also those of several
//! processes; readers never wait for them. A closure may run more than once, because its group failed
//! or the connection was lost, so it must have no effect outside of its transaction. It must not wait
//! for another closure either; that is refused with an error.
//!
//! [`Db::version`] tells on the spot, on SQLite, whether anything was committed since something was read with
//! [`Db::read_versioned`]: whoever keeps in memory what it has read knows by that whether it still is so.
//!
//! [`Db::announcements`] tells this process's tasks that something was committed that they wait for, on
//! PostgreSQL also by another process.
//!
//! [`Db::open_inline`] does without threads: closures run where they are called, one after the other.
//!
//! The two databases are `sqlite` and `postgres`, each a `Connection`; nothing else knows which of
//! them it is.

mod db;
mod engine;
mod error;
pub mod foreign;
mod inline;
mod job;
mod lookout;
mod patience;
mod place;
mod postgres;
mod sharing;
mod sqlite;
#[cfg(feature = "testing")]
pub mod testing;
mod tx;
mod value;
mod writer;

use std::time::Duration;

pub use refinery;

pub use crate::db::Db;
pub use crate::error::{DbError, ErrorClass};
pub use crate::lookout::{NoVersion, Version};
pub use crate::place::{has_rows, sqlite_file};
pub use crate::tx::{Gathered, Tx};
pub use crate::value::{FromColumn, Row, Value};
use crate::writer::DURATIONS;

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// SQLite 3.
    Sqlite,
    /// PostgreSQL 13 or newer.
    Postgres,
}

/// Where a closure is queued that writes.
///
/// Within a lane closures run in the order in which they were queued. On SQLite, whose file has one writer, both
/// lanes are one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// What needs one order over all processes: the log, and everything that belongs to it.
    Log,
    /// What does not, and should not wait for it: the settlement of deliveries.
    Settlement,
}

/// Whether opening may make a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Create {
    /// Makes it where there is none.
    #[default]
    IfMissing,
    /// Fails with [`DbError::Missing`] where there is none.
    Never,
}

/// The migrations of each database, as `refinery::embed_migrations!` makes them. Both must lead to the
/// same tables.
pub struct Migrations {
    /// For SQLite.
    pub sqlite: refinery::Runner,
    /// For PostgreSQL.
    pub postgres: refinery::Runner,
}

/// Reads what the closures of one commit will read, with few statements for all of them, and keeps it as something
/// [`Gathered`], for each closure to take its part. It is given what the closures are about.
pub type ReadAhead = fn(&mut Tx<'_>, &[&str]) -> Result<(), DbError>;

/// How to run a database.
#[derive(Clone, Debug)]
pub struct Options {
    /// General reader threads, each with its own connection. One more is kept for [`Db::read_feed`].
    pub readers: usize,
    /// How long an unreachable database is waited for before callers get [`DbError::Unavailable`].
    pub unavailable_after: Duration,
    /// Whether opening may make a database.
    pub create: Create,
    /// How long settlements wait for others that share their commit, unless something is queued that somebody
    /// waits for.
    pub linger: Duration,
    /// What is read for the closures of [`Db::write_about`] before they run.
    pub read_ahead: Option<ReadAhead>,
    /// How many closures wait in one queue at most. Who finds it full waits for room.
    pub queue: usize,
    /// How long who finds a queue full waits for room before it gets [`DbError::Busy`].
    pub busy_after: Duration,
    /// What goes wrong, and when.
    #[cfg(feature = "testing")]
    pub faults: testing::Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            readers: 4,
            unavailable_after: Duration::from_secs(30),
            create: Create::IfMissing,
            linger: Duration::from_millis(10),
            read_ahead: None,
            queue: 4_096,
            busy_after: Duration::from_secs(10),
            #[cfg(feature = "testing")]
            faults: testing::Faults::default(),
        }
    }
}

/// What writers and readers have done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Closures that were given to readers.
    pub reads: u64,
    /// Statements that closures have run, whether they read or write, but for those of [`Db::read_feed`].
    pub statements: u64,
    /// Steps of SQLite's virtual machine that these statements took: what shows that a statement goes through a whole
    /// table or index, on a machine of any speed. Always 0 on PostgreSQL.
    pub steps: u64,
    /// Commits, or groups that failed as a whole.
    pub groups: u64,
    /// Closures in them.
    pub closures: u64,
    /// The time that all commits took, in microseconds.
    pub micros: u64,
    /// How many groups took up to 100 µs, how many up to 200 µs, and so on, doubling; the last number is of
    /// those that took longer.
    pub durations: [u64; DURATIONS],
}
