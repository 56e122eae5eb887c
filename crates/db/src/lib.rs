//! One way to use a database, whichever of two it is: SQLite in a file, or PostgreSQL.
//!
//! Code that works with data is plain and synchronous: a function that takes a [`Tx`] and runs SQL.
//! A [`Db`] runs such functions, as closures:
//!
//! - [`Db::write`] queues a closure for **one writer thread**, which commits many of them at once and
//!   answers each when its work is durable. The module `writer` tells how.
//! - [`Db::read`] runs a closure on one of a few **reader threads**, in a read-only transaction that
//!   sees one state of the database from its first statement to its last.
//!
//! That is all there is to concurrency: writers are serial, on both databases, also those of several
//! processes; readers never wait for them. A closure may run more than once, because its group failed
//! or the connection was lost, so it must have no effect outside of its transaction. It must not wait
//! for another closure either; that is refused with an error.
//!
//! [`Db::announcements`] tells this process's tasks that something was committed that they wait for.
//!
//! [`Db::open_inline`] does without threads: closures run where they are called, one after the other.
//!
//! The two databases are `sqlite` and `postgres`, each a `Connection`; nothing else knows which of
//! them it is.

mod error;
mod patience;
mod postgres;
mod sqlite;
#[cfg(feature = "testing")]
pub mod testing;
mod tx;
mod value;
mod writer;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
pub use refinery;
use tokio::sync::{oneshot, watch};

pub use crate::error::{DbError, ErrorClass};
use crate::patience::Patience;
use crate::postgres::{Postgres, Server};
use crate::sqlite::Sqlite;
use crate::tx::Connection;
pub use crate::tx::Tx;
pub use crate::value::{FromColumn, Row, Value};
use crate::writer::{Counters, DURATIONS, GROUP, Job, Task, Writer};

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// SQLite 3.
    Sqlite,
    /// PostgreSQL 13 or newer.
    Postgres,
}

/// The migrations of each database, as `refinery::embed_migrations!` makes them. Both must lead to the
/// same tables.
pub struct Migrations {
    /// For SQLite.
    pub sqlite: refinery::Runner,
    /// For PostgreSQL.
    pub postgres: refinery::Runner,
}

/// How to run a database.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Reader threads, each with its own connection.
    pub readers: usize,
    /// How long an unreachable database is waited for before callers get [`DbError::Unavailable`].
    pub unavailable_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            readers: 2,
            unavailable_after: Duration::from_secs(30),
        }
    }
}

/// What the writer has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Commits, or groups that failed as a whole.
    pub groups: u64,
    /// Closures in them.
    pub closures: u64,
    /// The time that all of them took, in microseconds.
    pub micros: u64,
    /// How many groups took up to 100 µs, how many up to 200 µs, and so on, doubling; the last number is of
    /// those that took longer.
    pub durations: [u64; DURATIONS],
}

/// An open database. Clones share it. It is closed by [`Db::close`], or when the last clone is
/// dropped; what was queued by then is still done.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    dialect: Dialect,
    announcements: watch::Sender<u64>,
    counters: Arc<Counters>,
    engine: Engine,
}

enum Engine {
    Threads {
        writes: Sender<Message>,
        reads: Sender<Message>,
        readers: usize,
    },
    Inline(Mutex<Option<Writer>>),
}

enum Message {
    Job(Box<dyn Job>),
    /// The thread that gets it ends; the sender sees that by its other half being dropped.
    Close(Box<dyn FnOnce() + Send>),
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db")
            .field("dialect", &self.inner.dialect)
            .finish_non_exhaustive()
    }
}

impl Db {
    /// Opens the database at `sqlite:PATH` or `postgres://…` and migrates it. Waits for a PostgreSQL
    /// server that does not answer yet, up to [`Options::unavailable_after`].
    ///
    /// # Errors
    /// [`DbError::Unavailable`] if the server did not answer in time; [`DbError::Other`] if the URL is
    /// wrong, the file cannot be opened or a migration fails.
    pub fn open(url: &str, migrations: Migrations, options: Options) -> Result<Self, DbError> {
        let place = Place::parse(url, options.unavailable_after)?;
        place.must_be_shareable()?;
        let dialect = place.dialect();
        let announcements = watch::Sender::new(0);
        let counters = Arc::new(Counters::default());

        let (writes, write_jobs) = unbounded();
        let (opened, is_open) = mpsc::channel();
        let writer = (place.clone(), announcements.clone(), Arc::clone(&counters));
        spawn("db writer", move || {
            let (place, announcements, counters) = writer;
            match place.create(&migrations) {
                Err(error) => drop(opened.send(Err(error))),
                Ok(connection) => {
                    drop(opened.send(Ok(())));
                    let writer = Writer::new(connection, options.unavailable_after, announcements, counters);
                    write_all(writer, &write_jobs);
                }
            }
        })?;
        is_open
            .recv()
            .map_err(|_| DbError::Other("opening the database panicked".into()))??;

        let (reads, read_jobs) = unbounded();
        let readers = options.readers.max(1);
        for number in 1..=readers {
            let (connection, jobs) = (place.reader()?, read_jobs.clone());
            let patience = Patience::new(options.unavailable_after);
            spawn(&format!("db reader {number}"), move || {
                read_all(connection, patience, &jobs)
            })?;
        }
        let engine = Engine::Threads {
            writes,
            reads,
            readers,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                dialect,
                announcements,
                counters,
                engine,
            }),
        })
    }

    /// Opens a database whose closures, reading and writing, run on the thread that calls, one at a
    /// time, each committed at once: for tests and simulations. `sqlite::memory:` works here, and only
    /// here. On PostgreSQL the calling thread must not run async code.
    ///
    /// # Errors
    /// Those of [`Db::open`].
    pub fn open_inline(url: &str, migrations: Migrations) -> Result<Self, DbError> {
        let options = Options::default();
        let place = Place::parse(url, options.unavailable_after)?;
        let dialect = place.dialect();
        refuse_async(dialect)?;
        let announcements = watch::Sender::new(0);
        let counters = Arc::new(Counters::default());
        let connection = place.create(&migrations)?;
        let writer = Writer::new(
            connection,
            options.unavailable_after,
            announcements.clone(),
            Arc::clone(&counters),
        );
        let engine = Engine::Inline(Mutex::new(Some(writer)));
        Ok(Self {
            inner: Arc::new(Inner {
                dialect,
                announcements,
                counters,
                engine,
            }),
        })
    }

    /// Runs a closure in the writing transaction; returns its result once its work is durable, or
    /// undone if it is an error. The closure is queued by the call itself, in the order of the calls,
    /// and is run also if the caller does not wait for it.
    ///
    /// # Errors
    /// The closure's, and those of [`DbError`] that prevented it.
    pub fn write<T, E, F>(&self, closure: F) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let queued = self.submit(
            Kind::Write,
            Task::new(closure, move |result| drop(reply.send(result))),
        );
        async move {
            queued?;
            answer.await.unwrap_or_else(|_| Err(DbError::Closed.into()))
        }
    }

    /// Does what [`Db::write`] does, blocking this thread, which must not run async code.
    ///
    /// # Errors
    /// Those of [`Db::write`].
    pub fn write_blocking<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (reply, answer) = mpsc::channel();
        self.submit(
            Kind::Write,
            Task::new(closure, move |result| drop(reply.send(result))),
        )?;
        answer.recv().unwrap_or_else(|_| Err(DbError::Closed.into()))
    }

    /// Runs a closure in a read-only transaction that sees one state of the database.
    ///
    /// # Errors
    /// The closure's, and those of [`DbError`] that prevented it.
    pub async fn read<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.submit(
            Kind::Read,
            Task::new(closure, move |result| drop(reply.send(result))),
        )?;
        answer.await.unwrap_or_else(|_| Err(DbError::Closed.into()))
    }

    /// Does what [`Db::read`] does, blocking this thread, which must not run async code.
    ///
    /// # Errors
    /// Those of [`Db::read`].
    pub fn read_blocking<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (reply, answer) = mpsc::channel();
        self.submit(
            Kind::Read,
            Task::new(closure, move |result| drop(reply.send(result))),
        )?;
        answer.recv().unwrap_or_else(|_| Err(DbError::Closed.into()))
    }

    /// A number that grows after each durable commit in which some closure called [`Tx::announce`].
    /// Commits of other processes are not noticed.
    pub fn announcements(&self) -> watch::Receiver<u64> {
        self.inner.announcements.subscribe()
    }

    /// Which database this is.
    pub fn dialect(&self) -> Dialect {
        self.inner.dialect
    }

    /// What the writer has done so far.
    pub fn stats(&self) -> Stats {
        let counters = &self.inner.counters;
        Stats {
            groups: counters.groups.load(Ordering::Relaxed),
            closures: counters.closures.load(Ordering::Relaxed),
            micros: counters.micros.load(Ordering::Relaxed),
            durations: std::array::from_fn(|class| counters.durations[class].load(Ordering::Relaxed)),
        }
    }

    /// Does what is queued, then closes the database, for all clones: later calls get
    /// [`DbError::Closed`].
    pub async fn close(self) {
        let (closed, all_closed) = oneshot::channel::<()>();
        self.end(closed);
        // The answer is that every thread has dropped its share of the channel.
        drop(all_closed.await);
    }

    /// Does what [`Db::close`] does, blocking this thread, which must not run async code.
    pub fn close_blocking(self) {
        let (closed, all_closed) = mpsc::channel::<()>();
        self.end(closed);
        let _ = all_closed.recv();
    }

    fn end(&self, closed: impl Send + Sync + 'static) {
        let closed = Arc::new(closed);
        let message = || {
            let closed = Arc::clone(&closed);
            Message::Close(Box::new(move || drop(closed)))
        };
        match &self.inner.engine {
            // A channel whose other end is gone has been closed before.
            Engine::Threads {
                writes,
                reads,
                readers,
            } => {
                drop(writes.send(message()));
                (0..*readers).for_each(|_| drop(reads.send(message())));
            }
            Engine::Inline(writer) => {
                if let Some(writer) = writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    writer.close();
                }
            }
        }
    }

    fn submit(&self, kind: Kind, job: impl Job + 'static) -> Result<(), DbError> {
        if writer::in_closure() {
            return Err(DbError::Other(
                "a closure cannot wait for another: pass it the Tx instead".into(),
            ));
        }
        match (&self.inner.engine, kind) {
            (Engine::Threads { writes, .. }, Kind::Write) => send(writes, Box::new(job)),
            (Engine::Threads { reads, .. }, Kind::Read) => send(reads, Box::new(job)),
            (Engine::Inline(writer), kind) => {
                refuse_async(self.inner.dialect)?;
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                let writer = writer.as_mut().ok_or(DbError::Closed)?;
                match kind {
                    Kind::Write => writer.commit(vec![Box::new(job)]),
                    Kind::Read => writer.read(Box::new(job)),
                }
                Ok(())
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Read,
    Write,
}

fn send(queue: &Sender<Message>, job: Box<dyn Job>) -> Result<(), DbError> {
    queue.send(Message::Job(job)).map_err(|_| DbError::Closed)
}

/// The file of an SQLite database, if the URL names one.
pub fn sqlite_file(url: &str) -> Option<std::path::PathBuf> {
    sqlite::path(url)
}

/// Whether a database has this table, with a row in it. Neither the database nor a table is made. Blocks this
/// thread, which must not run async code; a PostgreSQL server that does not answer is waited for as by
/// [`Db::open`].
///
/// # Errors
/// Those of [`Db::open`].
pub fn has_rows(url: &str, table: &str, options: Options) -> Result<bool, DbError> {
    match Place::parse(url, options.unavailable_after)? {
        Place::Sqlite(path) => sqlite::has_rows(&path, table),
        Place::Postgres(server) => Postgres::has_rows(server, table),
    }
}

/// The writer thread's life.
fn write_all(mut writer: Writer, queue: &Receiver<Message>) {
    while let Ok(first) = queue.recv() {
        let mut jobs = Vec::new();
        let mut closing = None;
        for message in std::iter::once(first).chain(queue.try_iter()) {
            match message {
                Message::Job(job) => jobs.push(job),
                Message::Close(closed) => closing = Some(closed),
            }
            if jobs.len() == GROUP || closing.is_some() {
                break;
            }
        }
        if !jobs.is_empty() {
            writer.commit(jobs);
        }
        if let Some(closed) = closing {
            writer.close();
            return closed();
        }
    }
    writer.close();
}

/// A reader thread's life.
fn read_all(mut connection: Box<dyn Connection>, mut patience: Patience, queue: &Receiver<Message>) {
    while let Ok(message) = queue.recv() {
        match message {
            Message::Job(job) => writer::read(&mut *connection, &mut patience, job),
            Message::Close(closed) => {
                drop(connection);
                return closed();
            }
        }
    }
}

fn spawn(name: &str, life: impl FnOnce() + Send + 'static) -> Result<(), DbError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(life);
    thread.map(drop).map_err(|error| DbError::other(&error))
}

/// The `postgres` crate panics there, so it is better not to begin.
fn refuse_async(dialect: Dialect) -> Result<(), DbError> {
    if dialect == Dialect::Postgres && tokio::runtime::Handle::try_current().is_ok() {
        return Err(DbError::Other(
            "PostgreSQL cannot be used inline by async code".into(),
        ));
    }
    Ok(())
}

/// Where a database is.
#[derive(Clone)]
enum Place {
    Sqlite(std::path::PathBuf),
    Postgres(Server),
}

impl Place {
    fn parse(url: &str, unavailable_after: Duration) -> Result<Self, DbError> {
        if let Some(path) = sqlite::path(url) {
            Ok(Self::Sqlite(path))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Server::new(url, unavailable_after).map(Self::Postgres)
        } else {
            // The URL is not repeated: it may hold a password.
            Err(DbError::Other(
                "a database URL begins with sqlite: or postgres://".into(),
            ))
        }
    }

    fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    fn must_be_shareable(&self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(path) if path.as_os_str() == ":memory:" || path.as_os_str().is_empty() => Err(
                DbError::Other("readers cannot share a database in memory: name a file".into()),
            ),
            _ => Ok(()),
        }
    }

    fn create(self, migrations: &Migrations) -> Result<Box<dyn Connection>, DbError> {
        Ok(match self {
            Self::Sqlite(path) => Box::new(Sqlite::create(&path, &migrations.sqlite)?),
            Self::Postgres(server) => Box::new(Postgres::create(server, &migrations.postgres)?),
        })
    }

    fn reader(&self) -> Result<Box<dyn Connection>, DbError> {
        Ok(match self {
            Self::Sqlite(path) => Box::new(Sqlite::reader(path)?),
            Self::Postgres(server) => Box::new(Postgres::reader(server.clone())),
        })
    }
}
