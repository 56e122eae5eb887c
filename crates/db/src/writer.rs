//! The writer: group commit.
//!
//! A durable commit costs a disk write, which takes longer than most closures. So the writer takes
//! all closures that have queued up while it was busy, up to [`GROUP`], runs them one after the other
//! in one transaction, commits once, and only then answers every caller. The busier the system, the
//! larger the groups.
//!
//! The closures do not notice each other's failures: each runs in a savepoint and is undone alone. If
//! the group as a whole cannot be committed (say, because a deferred constraint of one closure fails at
//! the commit), its members are run again one by one, so that only the culprit fails. If the
//! connection is lost, the group is run again on a new one. Hence a closure may run more than once,
//! and must have no effect outside of its transaction.
//!
//! Readers are simpler: one closure, one read-only transaction, again if the connection was lost.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::patience::{Patience, monotonic};
use crate::tx::{Begun, Connection};
use crate::{DbError, Tx};

/// How many closures one commit takes at most: enough to make the commit's cost vanish, few enough
/// that the first of them is answered soon.
pub(crate) const GROUP: usize = 256;

thread_local! {
    static IN_CLOSURE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs a closure just now. Waiting for another one here would wait for ever.
pub(crate) fn in_closure() -> bool {
    IN_CLOSURE.get()
}

/// What became of a closure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ran {
    /// It wants its work committed.
    Keep { announce: bool },
    /// It wants its work undone.
    Undo,
}

/// A closure with its caller, whatever their types.
pub(crate) trait Job: Send {
    /// Runs the closure and keeps its result.
    fn run(&mut self, tx: &mut Tx<'_>) -> Ran;
    /// Gives the caller the result, or the error that came in between.
    fn answer(self: Box<Self>, fate: Result<(), DbError>);
}

/// The one [`Job`]: a closure, its last result, and the way back to the caller.
pub(crate) struct Task<F, R, T, E> {
    closure: F,
    reply: R,
    result: Option<Result<T, E>>,
    panicked: bool,
}

impl<F, R, T, E> Task<F, R, T, E> {
    pub(crate) fn new(closure: F, reply: R) -> Self {
        Self {
            closure,
            reply,
            result: None,
            panicked: false,
        }
    }
}

impl<F, R, T, E> Job for Task<F, R, T, E>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send,
    R: FnOnce(Result<T, E>) + Send,
    T: Send,
    E: From<DbError> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Ran {
        if self.panicked {
            // What a panic left of the closure's state is not fit for another run; the answer stands.
            return Ran::Undo;
        }
        IN_CLOSURE.set(true);
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.closure)(tx)));
        IN_CLOSURE.set(false);
        let result = match outcome {
            Ok(Ok(value)) => tx
                .failure()
                .cloned()
                .map_or(Ok(value), |failure| Err(failure.into())),
            Ok(Err(error)) => Err(error),
            Err(panic) => {
                self.panicked = true;
                Err(DbError::Other(format!("a closure panicked: {}", message(&*panic))).into())
            }
        };
        let ran = if result.is_ok() {
            Ran::Keep {
                announce: tx.announced(),
            }
        } else {
            Ran::Undo
        };
        self.result = Some(result);
        ran
    }

    fn answer(self: Box<Self>, fate: Result<(), DbError>) {
        let missing = || Err(DbError::Other("a closure was not run".into()).into());
        (self.reply)(match fate {
            Ok(()) => self.result.unwrap_or_else(missing),
            Err(error) => Err(error.into()),
        });
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Counts of what the writer has done.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) groups: AtomicU64,
    pub(crate) closures: AtomicU64,
    pub(crate) micros: AtomicU64,
    pub(crate) durations: [AtomicU64; DURATIONS],
}

/// How many classes of durations are counted: up to 100 µs, 200 µs, … 1.6 s, and longer.
pub(crate) const DURATIONS: usize = 16;

impl Counters {
    fn count(&self, closures: usize, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = (micros.div_ceil(100).max(1)).next_power_of_two().trailing_zeros() as usize;
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.closures
            .fetch_add(closures.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        self.durations[class.min(DURATIONS - 1)].fetch_add(1, Ordering::Relaxed);
    }
}

/// The only one who writes, on the one thread that does.
pub(crate) struct Writer {
    connection: Box<dyn Connection>,
    patience: Patience,
    announcements: watch::Sender<u64>,
    counters: Arc<Counters>,
}

impl Writer {
    pub(crate) fn new(
        connection: Box<dyn Connection>,
        unavailable_after: Duration,
        announcements: watch::Sender<u64>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            connection,
            patience: Patience::new(unavailable_after),
            announcements,
            counters,
        }
    }

    /// Runs the jobs, commits them and answers their callers.
    pub(crate) fn commit(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let begun = monotonic();
        let fate = self.persevere(&mut jobs);
        match fate {
            Err(DbError::Unavailable(_)) | Ok(()) => {}
            Err(ref error) if jobs.len() > 1 => {
                tracing::warn!(%error, "a group failed; running its members one by one");
                return jobs.into_iter().for_each(|job| self.commit(vec![job]));
            }
            Err(_) => {}
        }
        self.counters.count(jobs.len(), monotonic().duration_since(begun));
        jobs.into_iter().for_each(|job| job.answer(fate.clone()));
    }

    /// Tries until the group is committed, or refused, or the database has been away for too long.
    fn persevere(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), DbError> {
        let mut announce = false;
        loop {
            let fate = match self.attempt(jobs, &mut announce) {
                Err(error @ DbError::Unavailable(_)) => match self.patience.wait(error) {
                    Ok(()) => continue,
                    given_up => given_up,
                },
                fate => {
                    self.patience.recovered();
                    fate
                }
            };
            match fate {
                Ok(()) if announce => self.announcements.send_modify(|count| *count += 1),
                Ok(()) => {}
                Err(_) => self.connection.abandon(),
            }
            return fate;
        }
    }

    fn attempt(&mut self, jobs: &mut [Box<dyn Job>], announce: &mut bool) -> Result<(), DbError> {
        if self.connection.begin_write()? == Begun::AlreadyCommitted {
            // The attempt before went through; its results and its announcement stand.
            return Ok(());
        }
        *announce = false;
        let mut kept = false;
        let mut at_savepoint = true;
        for job in jobs {
            if !at_savepoint {
                self.connection.savepoint()?;
            }
            match run(&mut *self.connection, job.as_mut())? {
                Ran::Keep { announce: wanted } => {
                    *announce |= wanted;
                    kept = true;
                    at_savepoint = false;
                }
                Ran::Undo => {
                    self.connection.undo()?;
                    at_savepoint = true;
                }
            }
        }
        if kept {
            self.connection.commit()
        } else {
            self.connection.abandon();
            Ok(())
        }
    }

    pub(crate) fn read(&mut self, job: Box<dyn Job>) {
        read(&mut *self.connection, &mut self.patience, job);
    }

    pub(crate) fn close(self) {
        self.connection.close();
    }
}

/// Runs a job in a read-only transaction and answers its caller.
pub(crate) fn read(connection: &mut dyn Connection, patience: &mut Patience, mut job: Box<dyn Job>) {
    let fate = loop {
        match connection
            .begin_read()
            .and_then(|()| run(connection, job.as_mut()))
        {
            Err(error @ DbError::Unavailable(_)) => {
                if let Err(error) = patience.wait(error) {
                    break Err(error);
                }
            }
            fate => {
                patience.recovered();
                break fate.map(drop);
            }
        }
    };
    connection.abandon();
    job.answer(fate);
}

/// Runs a job in the open transaction. Reports an error if that did not survive, whatever the closure
/// made of it.
fn run(connection: &mut dyn Connection, job: &mut dyn Job) -> Result<Ran, DbError> {
    let mut tx = Tx::new(connection);
    let ran = job.run(&mut tx);
    match tx.failure().cloned() {
        Some(error @ DbError::Unavailable(_)) => Err(error),
        failure if !connection.is_intact() => {
            Err(failure.unwrap_or_else(|| DbError::Other("the transaction was ended".into())))
        }
        _ => Ok(ran),
    }
}
