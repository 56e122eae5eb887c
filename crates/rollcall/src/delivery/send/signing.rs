//! Threads for signing. An RSA signature takes about a millisecond of pure computation; it would hold
//! up every other task of the asynchronous runtime, and more than one thread per core gains nothing.

use std::thread;

use crossbeam_channel::{Sender, unbounded};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads that compute.
#[derive(Clone, Debug)]
pub struct SigningThreads {
    jobs: Sender<Job>,
    threads: usize,
}

impl SigningThreads {
    /// Starts one thread per core. They end when the last handle is dropped.
    ///
    /// # Errors
    /// What the system says if a thread cannot be started.
    pub fn start() -> std::io::Result<Self> {
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
        Ok(Self {
            jobs: sender,
            threads: cores,
        })
    }

    /// Computes something on one of the threads; `None` if it panicked.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (answer, result) = oneshot::channel();
        let job = Box::new(move || {
            if let Ok(value) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)) {
                // Whoever asked may have gone; then nobody needs the value.
                let _ = answer.send(value);
            }
        });
        self.jobs.send(job).ok()?;
        result.await.ok()
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Jobs that wait for a thread.
    pub fn queued(&self) -> usize {
        self.jobs.len()
    }
}
