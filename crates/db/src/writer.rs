//! The writer: group commit.
//!
//! A durable commit costs a disk write, which takes longer than most closures. So the writer takes
//! all closures that have queued up while it was busy, up to [`GROUP`], runs them one after the other
//! in one transaction, commits once, and only then answers every caller. The busier the system, the
//! larger the groups.
//!
//! The closures do not notice each other's failures. A closure that fails before it has written leaves nothing
//! behind. If one fails later, the transaction is given up and the group is run again **carefully**: each
//! closure in a savepoint, to be undone alone, and each statement waited for, so that an error is known to be
//! this closure's. Failures after writing are rare enough that running a group twice costs less than a
//! savepoint for every closure. If the group as a whole cannot be committed even so (say, because a deferred
//! constraint of one closure fails at the commit), its members are run again one by one, so that only the
//! culprit fails. A full disk or a damaged file is nobody's fault: then the whole group fails.
//!
//! If the connection is lost, the group is run again on a new one. Hence a closure may run more than once,
//! and must have no effect outside of its transaction.
//!
//! Readers are simpler: one closure, one read-only transaction, again if the connection was lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::job::{Job, Ran};
use crate::patience::{Patience, monotonic};
use crate::tx::{Begun, Connection, Gatherings, Scrub, Work};
use crate::{DbError, ErrorClass, ReadAhead, Tx};

/// How many closures one commit takes at most: enough to make the commit's cost vanish, few enough
/// that the first of them is answered soon.
pub(crate) const GROUP: usize = 256;

/// Counts of what writers and readers have done.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) reads: AtomicU64,
    pub(crate) work: Work,
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

/// Why a writer's last commit failed, if it did and it was no closure's fault; or what damage was met last.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<Option<DbError>>);

impl Trouble {
    pub(crate) fn get(&self) -> Option<DbError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, trouble: Option<DbError>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// What a writer shares with the [`Db`](crate::Db).
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) announcements: watch::Sender<u64>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) trouble: Arc<Trouble>,
    /// What statements, and checks, have found wrong with the files.
    pub(crate) damage: Arc<Trouble>,
}

impl Shared {
    /// A transaction whose statements are counted.
    fn tx<'c>(&'c self, connection: &'c mut dyn Connection, gathered: Option<&'c mut Gatherings>) -> Tx<'c> {
        Tx::new(connection, gathered, &self.counters.work)
    }
}

/// The only one who writes in its lane, on the one thread that does.
pub(crate) struct Writer {
    connection: Box<dyn Connection>,
    patience: Patience,
    shared: Shared,
    /// How many closures one commit takes at most.
    pub(crate) group: usize,
    read_ahead: Option<ReadAhead>,
}

/// How an attempt ended that did not fail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// Everything that wanted to be is committed.
    Done,
    /// A closure has to be undone alone.
    NeedsCare,
}

impl Writer {
    pub(crate) fn new(
        connection: Box<dyn Connection>,
        unavailable_after: Duration,
        group: usize,
        read_ahead: Option<ReadAhead>,
        shared: Shared,
    ) -> Self {
        Self {
            connection,
            patience: Patience::new(unavailable_after),
            shared,
            group: group.clamp(1, GROUP),
            read_ahead,
        }
    }

    /// Runs the jobs, commits them and answers their callers.
    pub(crate) fn commit(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let begun = monotonic();
        let fate = self.persevere(&mut jobs);
        if let Err(error) = &fate
            && jobs.len() > 1
            && has_a_culprit(error)
        {
            tracing::warn!(%error, "a group failed; running its members one by one");
            return jobs.into_iter().for_each(|job| self.commit(vec![job]));
        }
        let counters = &self.shared.counters;
        counters.count(jobs.len(), monotonic().duration_since(begun));
        match &fate {
            Ok(()) => self.shared.trouble.set(None),
            Err(error) if !has_a_culprit(error) => self.shared.trouble.set(Some(error.clone())),
            Err(_) => {}
        }
        jobs.into_iter().for_each(|job| job.answer(fate.clone()));
    }

    /// Tries until the group is committed, or refused, or the database has been away for too long.
    fn persevere(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), DbError> {
        let mut announce = false;
        let mut careful = false;
        loop {
            let fate = match self.attempt(jobs, careful, &mut announce) {
                Ok(Attempt::NeedsCare) => {
                    self.connection.abandon();
                    careful = true;
                    continue;
                }
                Err(error) if jobs.len() > 1 && !careful && has_a_culprit(&error) => {
                    self.connection.abandon();
                    careful = true;
                    continue;
                }
                Err(error) if error.is_transient() => match self.patience.wait(error) {
                    Ok(()) => continue,
                    given_up => given_up,
                },
                fate => {
                    self.patience.recovered();
                    fate.map(drop)
                }
            };
            match fate {
                Ok(()) if announce && self.connection.announces() => {
                    self.shared.announcements.send_modify(|count| *count += 1)
                }
                Ok(()) => {}
                Err(_) => self.connection.abandon(),
            }
            return fate;
        }
    }

    fn attempt(
        &mut self,
        jobs: &mut [Box<dyn Job>],
        careful: bool,
        announce: &mut bool,
    ) -> Result<Attempt, DbError> {
        let connection = &mut *self.connection;
        let shared = &self.shared;
        if connection.begin_write()? == Begun::AlreadyCommitted {
            // The attempt before went through; its results and its announcement stand.
            return Ok(Attempt::Done);
        }
        *announce = false;
        let mut something = false;
        let mut gathered = Gatherings::default();
        let alone = jobs.len() == 1;
        if let (Some(read_ahead), false, false) = (self.read_ahead, careful, alone) {
            let about: Vec<&str> = jobs.iter().filter_map(|job| job.about()).collect();
            if about.len() > 1 {
                read_ahead(&mut shared.tx(connection, Some(&mut gathered)), &about)?;
            }
        }
        for job in jobs {
            let ran = if careful {
                run_in_savepoint(connection, &mut gathered, job.as_mut(), shared)?
            } else {
                run(connection, Some(&mut gathered), job.as_mut(), shared)?
            };
            match ran {
                Ran::Keep {
                    announce: wanted,
                    wrote,
                } => {
                    *announce |= wanted;
                    something |= wrote || wanted;
                }
                Ran::Undo if !careful && !alone => return Ok(Attempt::NeedsCare),
                Ran::Undo | Ran::Nothing => {}
            }
        }
        if something {
            shared.tx(connection, Some(&mut gathered)).write_gathered(None)?;
            connection.commit(*announce)?;
        } else {
            connection.abandon();
        }
        Ok(Attempt::Done)
    }

    pub(crate) fn read(&mut self, job: Box<dyn Job>) {
        read(&mut *self.connection, &mut self.patience, &self.shared, job);
    }

    /// How much later than it was done the last commit is to be answered.
    pub(crate) fn late(&mut self) -> Option<Duration> {
        self.connection.late()
    }

    pub(crate) fn scrub(&mut self, what: Scrub) -> Result<(), DbError> {
        self.connection.scrub(what)
    }

    /// Gives up what a panic has left half done.
    pub(crate) fn abandon(&mut self) {
        self.connection.abandon();
    }

    pub(crate) fn close(self) {
        self.connection.close();
    }
}

/// Whether an error is the doing of a closure, and not of the database's surroundings.
fn has_a_culprit(error: &DbError) -> bool {
    matches!(error.class(), ErrorClass::Refused | ErrorClass::Bug)
}

/// Runs a job in the open transaction so that it can be undone alone, and waits for all of its statements.
fn run_in_savepoint(
    connection: &mut dyn Connection,
    gathered: &mut Gatherings,
    job: &mut dyn Job,
    shared: &Shared,
) -> Result<Ran, DbError> {
    connection.savepoint()?;
    let ran = match run(connection, Some(gathered), job, shared) {
        Ok(ran @ Ran::Keep { .. }) => shared
            .tx(connection, Some(gathered))
            .write_gathered(None)
            .and_then(|()| connection.release())
            .map(|()| ran),
        ran => ran,
    };
    match ran {
        Ok(Ran::Undo) => {}
        Err(error) if has_a_culprit(&error) => job.fail(error),
        // There is nothing to undo, or no transaction to undo it in.
        Ok(Ran::Nothing) => return connection.release().map(|()| Ran::Nothing),
        ran => return ran,
    }
    gathered.clear();
    connection.undo()?;
    Ok(Ran::Undo)
}

/// Runs a job in a read-only transaction and answers its caller.
pub(crate) fn read(
    connection: &mut dyn Connection,
    patience: &mut Patience,
    shared: &Shared,
    mut job: Box<dyn Job>,
) {
    let fate = loop {
        let ran = connection.begin_read();
        match ran.and_then(|()| run(connection, None, job.as_mut(), shared)) {
            Err(error) if error.is_transient() => {
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
fn run(
    connection: &mut dyn Connection,
    gathered: Option<&mut Gatherings>,
    job: &mut dyn Job,
    shared: &Shared,
) -> Result<Ran, DbError> {
    let mut tx = shared.tx(connection, gathered);
    let ran = job.run(&mut tx);
    let failure = tx.failure().cloned();
    if let Some(error) = &failure
        && error.class() == ErrorClass::Damaged
    {
        shared.damage.set(Some(error.clone()));
    }
    match (failure, connection.failure()) {
        (Some(error), _) if error.is_transient() => Err(error),
        (Some(error), Some(_)) | (None, Some(error)) => Err(error),
        (_, None) => Ok(ran),
    }
}
