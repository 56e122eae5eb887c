//! The engine of tests and simulations: closures run on the thread that calls, one at a time, each committed at once.
//!
//! Settlements can be made to wait ([`Fault::Queued`](crate::testing::Fault::Queued)): on PostgreSQL they have a lane of
//! their own, whose queue may be long while the log's is empty, so that what was asked for later is done before. Those
//! that wait keep their order, and are done before anybody looks at the database after their time has come.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::job::{Job, Kind};
use crate::tx::Scrub;
use crate::writer::Writer;
use crate::{DbError, Lane, Options};

pub(crate) struct Inline {
    state: Mutex<State>,
    #[cfg(feature = "testing")]
    faults: crate::testing::Faults,
}

struct State {
    /// `None` once it is closed.
    writer: Option<Writer>,
    /// Settlements that wait, in their order.
    waiting: Vec<Box<dyn Job>>,
    /// Until when they do.
    until: Option<tokio::time::Instant>,
}

impl State {
    /// Does what has waited long enough.
    fn catch_up(&mut self) {
        if self
            .until
            .is_some_and(|until| until <= tokio::time::Instant::now())
        {
            self.do_waiting();
        }
    }

    fn do_waiting(&mut self) {
        self.until = None;
        if let Some(writer) = &mut self.writer {
            for job in self.waiting.drain(..) {
                writer.commit(vec![job]);
            }
            // Those who wait for these have waited.
            let _ = writer.late();
        }
    }
}

impl Inline {
    pub(crate) fn new(writer: Writer, options: &Options) -> Self {
        #[cfg(not(feature = "testing"))]
        let _ = options;
        Self {
            state: Mutex::new(State {
                writer: Some(writer),
                waiting: Vec::new(),
                until: None,
            }),
            #[cfg(feature = "testing")]
            faults: options.faults.clone(),
        }
    }

    /// Runs a closure. Says how much later its answer is due, or when it is to be run, if either is so.
    pub(crate) fn submit(&self, kind: Kind, job: Box<dyn Job>) -> Result<Option<Duration>, DbError> {
        let mut state = self.state();
        state.catch_up();
        if matches!(kind, Kind::Write(Lane::Settlement)) && state.writer.is_some() {
            let now = tokio::time::Instant::now();
            let until = state.until.or_else(|| self.queued().map(|queued| now + queued));
            if let Some(until) = until {
                state.until = Some(until);
                state.waiting.push(job);
                return Ok(Some(until - now));
            }
        }
        let writer = state.writer.as_mut().ok_or(DbError::Closed)?;
        match kind {
            Kind::Write(_) => writer.commit(vec![job]),
            Kind::Read | Kind::Feed | Kind::Versioned => writer.read(job),
        }
        Ok(writer.late())
    }

    /// Does what has waited long enough.
    pub(crate) fn catch_up(&self) {
        self.state().catch_up();
    }

    /// See [`Connection::scrub`](crate::tx::Connection::scrub).
    pub(crate) fn scrub(&self, what: Scrub) -> Result<(), DbError> {
        let mut state = self.state();
        state.catch_up();
        state.writer.as_mut().ok_or(DbError::Closed)?.scrub(what)
    }

    /// Does what waits, and closes the database.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.do_waiting();
        if let Some(writer) = state.writer.take() {
            writer.close();
        }
    }

    #[cfg(feature = "testing")]
    fn queued(&self) -> Option<Duration> {
        self.faults.queued()
    }

    #[cfg(not(feature = "testing"))]
    #[expect(clippy::unused_self, reason = "with faults it depends on those")]
    fn queued(&self) -> Option<Duration> {
        None
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
