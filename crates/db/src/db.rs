//! The handle that callers hold.

mod care;
mod versions;

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{oneshot, watch};

use crate::engine::{self, Message, Queue, Urgency};
use crate::inline::Inline;
use crate::job::{Job, Kind, Task, in_closure};
use crate::lookout::Lookout;
use crate::patience::Patience;
use crate::place::{Opened, Place};
use crate::sqlite::Identity;
use crate::tx::Connection;
use crate::writer::{Counters, Shared, Trouble, Writer};
use crate::{DbError, Dialect, Lane, Migrations, Options, Stats, Tx};

/// An open database. Clones share it. It is closed by [`Db::close`], or when the last clone is
/// dropped; what was queued by then is still done.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    place: Place,
    identity: Option<Identity>,
    announcements: watch::Sender<u64>,
    counters: Arc<Counters>,
    /// Of each writer.
    troubles: Vec<Arc<Trouble>>,
    damage: Arc<Trouble>,
    engine: Engine,
    /// Ends the listener, also by being dropped.
    closed: watch::Sender<bool>,
}

enum Engine {
    Threads {
        log: Queue,
        /// The same queue where there is one writer.
        settlements: Queue,
        reads: Queue,
        feed: Queue,
        /// Where versions are told, and the queue of who reads there.
        versions: Option<(Lookout, Queue)>,
    },
    Inline(Inline),
}

/// A closure that was submitted.
enum Submitted {
    /// It is queued, or was run.
    Queued,
    /// It waits for room in its queue.
    Waiting(Queue, Message),
    /// It was run, and is to be answered then; or it is run then.
    Late(tokio::time::Instant),
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db")
            .field("dialect", &self.dialect())
            .finish_non_exhaustive()
    }
}

impl Db {
    /// Opens the database at `sqlite:PATH` or `postgres://…` and migrates it. Waits for a PostgreSQL
    /// server that does not answer yet, up to [`Options::unavailable_after`].
    ///
    /// # Errors
    /// [`DbError::Unavailable`] if the server did not answer in time; [`DbError::Missing`] if there is no
    /// database and [`Options::create`] does not allow to make one; [`DbError::Damaged`] if the file is empty or
    /// something else, or cannot be opened; [`DbError::Other`] if the URL is wrong or a migration fails.
    pub fn open(url: &str, migrations: Migrations, options: Options) -> Result<Self, DbError> {
        let place = Place::parse(url, options.unavailable_after)?;
        place.must_be_shareable()?;
        // A connection of PostgreSQL is used on threads of ours only.
        let (opened, is_open) = mpsc::channel();
        let opening = place.clone();
        engine::spawn("db opener", move || {
            drop(opened.send(opening.open(options.create, &migrations)));
        })?;
        let Opened {
            writer,
            settler,
            name,
            identity,
        } = is_open
            .recv()
            .map_err(|_| DbError::Other("opening the database panicked".into()))??;

        let shared = Shared {
            announcements: watch::Sender::new(0),
            counters: Arc::default(),
            trouble: Arc::default(),
            damage: Arc::default(),
        };
        let mut troubles = vec![Arc::clone(&shared.trouble)];
        let patience = || Patience::new(options.unavailable_after);
        let log = make_writer(Lane::Log, writer, &options, shared.clone());
        let log = engine::write("db writer", log, &options)?;
        let settlements = match settler {
            Some(settler) => {
                let shared = Shared {
                    trouble: Arc::default(),
                    ..shared.clone()
                };
                troubles.push(Arc::clone(&shared.trouble));
                let writer = make_writer(Lane::Settlement, settler, &options, shared);
                engine::write("db settler", writer, &options)?
            }
            None => log.clone(),
        };
        let readers = (0..options.readers.max(1))
            .map(|_| Ok((place.reader()?, patience())))
            .collect::<Result<_, DbError>>()?;
        let reads = engine::read("db reader", readers, &shared, &options)?;
        let feed = vec![(place.reader()?, patience())];
        // It looks all the time, which tells nothing of what anybody asked for.
        let uncounted = Shared {
            counters: Arc::default(),
            ..shared.clone()
        };
        let feed = engine::read("db feed reader", feed, &uncounted, &options)?;

        let versions = match place.lookout()? {
            None => None,
            Some(lookout) => {
                let reader: Box<dyn Connection> = Box::new(lookout.reader());
                let reader = vec![(reader, patience())];
                let queue = engine::read("db version reader", reader, &shared, &options)?;
                Some((lookout, queue))
            }
        };

        let closed = watch::Sender::new(false);
        if let Some(name) = name {
            let (place, announcements) = (place.clone(), shared.announcements.clone());
            let closed = closed.subscribe();
            engine::spawn("db listener", move || place.listen(&name, &announcements, closed))?;
        }
        let engine = Engine::Threads {
            log,
            settlements,
            reads,
            feed,
            versions,
        };
        Ok(Self::new(place, identity, shared, troubles, engine, closed))
    }

    /// Opens a database whose closures, reading and writing, run on the thread that calls, one at a
    /// time, each committed at once: for tests and simulations. `sqlite::memory:` works here, and only
    /// here. On PostgreSQL the calling thread must not run async code.
    ///
    /// # Errors
    /// Those of [`Db::open`].
    pub fn open_inline(url: &str, migrations: Migrations, options: Options) -> Result<Self, DbError> {
        #[cfg(feature = "testing")]
        let options = Options {
            faults: options.faults.inline(),
            ..options
        };
        let place = Place::parse(url, options.unavailable_after)?;
        refuse_async(place.dialect())?;
        let opened = place.open(options.create, &migrations)?;
        let shared = Shared {
            announcements: watch::Sender::new(0),
            counters: Arc::default(),
            trouble: Arc::default(),
            damage: Arc::default(),
        };
        let writer = make_writer(Lane::Log, opened.writer, &options, shared.clone());
        let engine = Engine::Inline(Inline::new(writer, &options));
        let troubles = vec![Arc::clone(&shared.trouble)];
        let closed = watch::Sender::new(false);
        Ok(Self::new(
            place,
            opened.identity,
            shared,
            troubles,
            engine,
            closed,
        ))
    }

    fn new(
        place: Place,
        identity: Option<Identity>,
        shared: Shared,
        troubles: Vec<Arc<Trouble>>,
        engine: Engine,
        closed: watch::Sender<bool>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                place,
                identity,
                announcements: shared.announcements,
                counters: shared.counters,
                troubles,
                damage: shared.damage,
                engine,
                closed,
            }),
        }
    }

    /// Runs a closure in a writing transaction of the [log lane](Lane::Log); returns its result once its work is
    /// durable, or undone if it is an error. The closure is queued by the call itself, in the order of the
    /// calls, and is run also if the caller does not wait for it. Only if [`Options::queue`] closures wait
    /// already, it is queued when the caller waits for it and there is room, for [`Options::busy_after`] at most.
    ///
    /// # Errors
    /// The closure's, and those of [`DbError`] that prevented it.
    pub fn write<T, E, F>(&self, closure: F) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.run(None, Kind::Write(Lane::Log), closure)
    }

    /// Does what [`Db::write`] does, for a closure that is about something. If others share its commit,
    /// [`Options::read_ahead`] reads for all of them what they are about, before they run.
    ///
    /// # Errors
    /// Those of [`Db::write`].
    pub fn write_about<T, E, F>(
        &self,
        about: Option<String>,
        closure: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.run(about, Kind::Write(Lane::Log), closure)
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
        self.run_blocking(Kind::Write(Lane::Log), closure)
    }

    /// Runs a closure as [`Db::write`] does, in the [settlement lane](Lane::Settlement). Its commit waits for more
    /// of its kind, for [`Options::linger`] at most.
    ///
    /// On PostgreSQL that lane has a connection and commits of its own and does not wait for the writers of the
    /// log. Its transactions run beside those, and beside those of other processes, at READ COMMITTED. A
    /// closure must therefore say in its statements what it relies on, by comparing and setting (`UPDATE …
    /// WHERE version = $1`, and looking at the number of rows); a deadlock is resolved by running the closure
    /// again.
    ///
    /// # Errors
    /// The closure's, and those of [`DbError`] that prevented it.
    pub fn settle<T, E, F>(&self, closure: F) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.run(None, Kind::Write(Lane::Settlement), closure)
    }

    /// Does what [`Db::settle`] does, blocking this thread, which must not run async code.
    ///
    /// # Errors
    /// Those of [`Db::settle`].
    pub fn settle_blocking<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.run_blocking(Kind::Write(Lane::Settlement), closure)
    }

    /// Runs a closure in a read-only transaction that sees one state of the database. It is queued as that of
    /// [`Db::write`] is, for whichever of [`Options::readers`] threads is free first.
    ///
    /// # Errors
    /// The closure's, and those of [`DbError`] that prevented it.
    pub fn read<T, E, F>(&self, closure: F) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.run(None, Kind::Read, closure)
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
        self.run_blocking(Kind::Read, closure)
    }

    /// Runs a closure as [`Db::read`] does, on a thread that runs nothing else: for short reads on which
    /// everything depends, and which slow ones must not hold up.
    ///
    /// # Errors
    /// The closure's, and those of [`DbError`] that prevented it.
    pub fn read_feed<T, E, F>(&self, closure: F) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.run(None, Kind::Feed, closure)
    }

    /// A number that grows after each durable commit in which some closure called [`Tx::announce`]: one of this
    /// process, or on PostgreSQL of the log lane of another one. Notice of another process can be lost with a
    /// connection, and on SQLite there is none, so who waits has to look now and then all the same.
    pub fn announcements(&self) -> watch::Receiver<u64> {
        self.inner.announcements.subscribe()
    }

    /// Which database this is.
    pub fn dialect(&self) -> Dialect {
        self.inner.place.dialect()
    }

    /// What writers and readers have done so far.
    pub fn stats(&self) -> Stats {
        let counters = &self.inner.counters;
        Stats {
            reads: counters.reads.load(Ordering::Relaxed),
            statements: counters.work.statements.load(Ordering::Relaxed),
            steps: counters.work.steps.load(Ordering::Relaxed),
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
        for (queue, message) in self.end(closed) {
            queue.end(message).await;
        }
        // The answer is that every thread has dropped its share of the channel.
        drop(all_closed.await);
    }

    /// Does what [`Db::close`] does, blocking this thread, which must not run async code.
    pub fn close_blocking(self) {
        let (closed, all_closed) = mpsc::channel::<()>();
        for (queue, message) in self.end(closed) {
            queue.end_blocking(message);
        }
        let _ = all_closed.recv();
    }

    /// The messages that end the threads.
    fn end(&self, closed: impl Send + Sync + 'static) -> Vec<(&Queue, Message)> {
        self.inner.closed.send_replace(true);
        let closed: Arc<dyn Send + Sync> = Arc::new(closed);
        match &self.inner.engine {
            Engine::Threads {
                log,
                settlements,
                reads,
                feed,
                versions,
            } => [log, settlements, reads, feed]
                .into_iter()
                .chain(versions.as_ref().map(|(_, queue)| queue))
                .flat_map(|queue| (0..queue.threads()).map(move |_| queue))
                .map(|queue| (queue, Message::Close(Arc::clone(&closed))))
                .collect(),
            Engine::Inline(inline) => {
                inline.close();
                Vec::new()
            }
        }
    }

    fn run<T, E, F>(
        &self,
        about: Option<String>,
        kind: Kind,
        closure: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Task::new(about, closure, move |result| drop(reply.send(result)));
        let submitted = self.submit(kind, task);
        let inner = Arc::clone(&self.inner);
        async move {
            match submitted? {
                Submitted::Queued => {}
                Submitted::Waiting(queue, message) => queue.send(message).await?,
                Submitted::Late(due) => {
                    tokio::time::sleep_until(due).await;
                    inner.catch_up();
                }
            }
            answer
                .await
                .unwrap_or_else(|_| Err(inner.unanswered(kind).into()))
        }
    }

    fn run_blocking<T, E, F>(&self, kind: Kind, closure: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (reply, answer) = mpsc::channel();
        let submitted = self.submit(
            kind,
            Task::new(None, closure, move |result| drop(reply.send(result))),
        );
        match submitted? {
            Submitted::Queued => {}
            Submitted::Waiting(queue, message) => queue.send_blocking(message)?,
            Submitted::Late(due) => {
                std::thread::sleep(due.saturating_duration_since(tokio::time::Instant::now()));
                self.inner.catch_up();
            }
        }
        answer
            .recv()
            .unwrap_or_else(|_| Err(self.inner.unanswered(kind).into()))
    }

    fn submit(&self, kind: Kind, job: impl Job + 'static) -> Result<Submitted, DbError> {
        if in_closure() {
            return Err(DbError::Other(
                "a closure cannot wait for another: pass it the Tx instead".into(),
            ));
        }
        let job: Box<dyn Job> = Box::new(job);
        if matches!(kind, Kind::Read | Kind::Feed | Kind::Versioned) {
            self.inner.counters.reads.fetch_add(1, Ordering::Relaxed);
        }
        let Some(queue) = self.inner.queue(kind) else {
            let late = self.inner.run_here(kind, job)?;
            // Time passes from now on, not from when somebody waits.
            let due = |late| Submitted::Late(tokio::time::Instant::now() + late);
            return Ok(late.map_or(Submitted::Queued, due));
        };
        let urgency = match kind {
            Kind::Write(Lane::Settlement) => Urgency::Later,
            Kind::Write(Lane::Log) | Kind::Read | Kind::Feed | Kind::Versioned => Urgency::Now,
        };
        match queue.try_send(Message::Job(job, urgency)) {
            Ok(()) => Ok(Submitted::Queued),
            Err(TrySendError::Full(message)) => Ok(Submitted::Waiting(queue.clone(), message)),
            Err(TrySendError::Closed(_)) => Err(DbError::Closed),
        }
    }
}

impl Inner {
    /// Where closures of a kind wait; nowhere if they run inline.
    fn queue(&self, kind: Kind) -> Option<&Queue> {
        let Engine::Threads {
            log,
            settlements,
            reads,
            feed,
            versions,
        } = &self.engine
        else {
            return None;
        };
        Some(match kind {
            Kind::Write(Lane::Log) => log,
            Kind::Write(Lane::Settlement) => settlements,
            Kind::Read => reads,
            Kind::Feed => feed,
            Kind::Versioned => versions.as_ref().map_or(reads, |(_, queue)| queue),
        })
    }

    /// Runs a closure here. Says how much later its answer is due, if that is so.
    fn run_here(&self, kind: Kind, job: Box<dyn Job>) -> Result<Option<Duration>, DbError> {
        let Engine::Inline(inline) = &self.engine else {
            return Ok(None);
        };
        refuse_async(self.place.dialect())?;
        inline.submit(kind, job)
    }

    /// Does what has waited long enough, where nobody else does.
    fn catch_up(&self) {
        if let Engine::Inline(inline) = &self.engine {
            inline.catch_up();
        }
    }

    fn unanswered(&self, kind: Kind) -> DbError {
        self.queue(kind).map_or(DbError::Closed, Queue::unanswered)
    }
}

fn make_writer(lane: Lane, connection: Box<dyn Connection>, options: &Options, shared: Shared) -> Writer {
    #[cfg(feature = "testing")]
    let (connection, group) = (options.faults.around(lane, connection), options.faults.group());
    #[cfg(not(feature = "testing"))]
    let group = {
        let _ = lane;
        crate::writer::GROUP
    };
    Writer::new(
        connection,
        options.unavailable_after,
        group,
        options.read_ahead,
        shared,
    )
}

/// PostgreSQL's connections block, and refuse to where async code runs.
fn refuse_async(dialect: Dialect) -> Result<(), DbError> {
    if dialect == Dialect::Postgres && tokio::runtime::Handle::try_current().is_ok() {
        return Err(DbError::Other(
            "PostgreSQL cannot be used inline by async code".into(),
        ));
    }
    Ok(())
}
