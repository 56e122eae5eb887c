//! Whether delivery is alive: what its tasks leave behind as they go round, for readiness.
//!
//! A task that hangs leaves no sign any more; one that ends, by a panic too, drops its [`Life`], which says so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The tasks of a running delivery.
#[derive(Debug, Default)]
pub struct Vitals {
    /// Follows the change log.
    pub feed: Arc<Pulse>,
    /// Holds the leases and keeps the workers.
    pub supervisor: Arc<Pulse>,
    failure: Mutex<Option<(Instant, WorkerFailure)>>,
}

/// The worker of an application that failed, by a mistake of ours, and is started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerFailure {
    /// The id of the last application to which it happened.
    pub application_id: String,
    /// How long ago.
    pub ago: Duration,
    /// How long it takes from the failure until it is started again.
    pub pause: Duration,
    /// How often it happened, to whatever application, since the start.
    pub times: u64,
}

/// Whether a task goes round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It has not begun.
    None,
    /// It went round last, with success, so long ago.
    Alive(Duration),
    /// It has ended.
    Ended,
}

/// The signs of one task.
#[derive(Debug, Default)]
pub struct Pulse(Mutex<Beat>);

#[derive(Clone, Copy, Debug, Default)]
enum Beat {
    #[default]
    None,
    At(Instant),
    Ended,
}

/// Held by a task for as long as it runs.
#[derive(Debug)]
pub struct Life(Arc<Pulse>);

impl Life {
    /// It went round with success.
    pub fn beat(&self) {
        *self.0.lock() = Beat::At(Instant::now());
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        *self.0.lock() = Beat::Ended;
    }
}

impl Pulse {
    fn lock(&self) -> MutexGuard<'_, Beat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task begins.
    pub fn begin(self: &Arc<Self>) -> Life {
        let life = Life(Arc::clone(self));
        life.beat();
        life
    }

    /// Whether it goes round.
    pub fn sign(&self) -> Sign {
        match *self.lock() {
            Beat::None => Sign::None,
            Beat::At(last) => Sign::Alive(last.elapsed()),
            Beat::Ended => Sign::Ended,
        }
    }
}

impl Vitals {
    /// Notes that the worker of an application failed, and is started again after a pause.
    pub fn worker_failed(&self, application_id: &str, pause: Duration) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let times = failure.as_ref().map_or(0, |(_, before)| before.times) + 1;
        *failure = Some((
            Instant::now(),
            WorkerFailure {
                application_id: application_id.to_owned(),
                ago: Duration::ZERO,
                pause,
                times,
            },
        ));
    }

    /// The last failure of a worker.
    pub fn last_worker_failure(&self) -> Option<WorkerFailure> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.as_ref().map(|(at, failure)| WorkerFailure {
            ago: at.elapsed(),
            ..failure.clone()
        })
    }
}
