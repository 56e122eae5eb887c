//! Where signatures are made. An RSA signature takes about a millisecond of pure computation; on threads of its
//! own it does not hold up every other task of the asynchronous runtime, and more than one thread per core
//! gains nothing. A simulation signs in place, so that nothing depends on the order in which threads end.

use std::thread;

use crossbeam_channel::{Sender, unbounded};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Where signatures are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// On one thread per core.
    #[default]
    Threads,
    /// In the task that asks.
    Inline,
}

/// What computes signatures.
#[derive(Clone, Debug)]
pub struct Signing(Workers);

#[derive(Clone, Debug)]
enum Workers {
    Inline,
    /// A fixed number of threads. They end when the last handle is dropped.
    Threads {
        jobs: Sender<Job>,
        threads: usize,
    },
}

impl Signing {
    /// Starts what the place needs.
    ///
    /// # Errors
    /// What the system says if a thread cannot be started.
    pub fn start(place: Place) -> std::io::Result<Self> {
        if place == Place::Inline {
            return Ok(Self(Workers::Inline));
        }
        let (sender, receiver) = unbounded::<Job>();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        for number in 0..cores {
            let receiver = receiver.clone();
            thread::Builder::new()
                .name(format!("signing-{number}"))
                .spawn(move || {
                    for job in receiver {
                        job();
                    }
                })?;
        }
        Ok(Self(Workers::Threads {
            jobs: sender,
            threads: cores,
        }))
    }

    /// Computes something; `None` if it panicked.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let Workers::Threads { jobs, .. } = &self.0 else {
            return std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).ok();
        };
        let (answer, result) = oneshot::channel();
        let job = Box::new(move || {
            if let Ok(value) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)) {
                // Whoever asked may have gone; then nobody needs the value.
                let _ = answer.send(value);
            }
        });
        jobs.send(job).ok()?;
        result.await.ok()
    }

    /// How many signatures are made at once.
    pub fn threads(&self) -> usize {
        match &self.0 {
            Workers::Inline => 1,
            Workers::Threads { threads, .. } => *threads,
        }
    }

    /// Jobs that wait for a thread.
    pub fn queued(&self) -> usize {
        match &self.0 {
            Workers::Inline => 0,
            Workers::Threads { jobs, .. } => jobs.len(),
        }
    }
}
