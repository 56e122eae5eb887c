//! Saying what is wrong, but not so often that strangers can fill the log.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often at most something is said.
const EVERY: Duration = Duration::from_secs(60);

/// What was said last, and how often nothing was said since.
#[derive(Debug, Default)]
pub struct Complaints(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    at: Option<Instant>,
    kept_back: u64,
}

impl Complaints {
    /// Logs it, with the number of times since the last that it was not logged; at most once a minute.
    pub fn about(&self, what: impl Display) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.at.is_some_and(|at| at.elapsed() < EVERY) {
            last.kept_back += 1;
            return;
        }
        tracing::warn!(kept_back = last.kept_back, "{what}");
        *last = Last {
            at: Some(Instant::now()),
            kept_back: 0,
        };
    }
}
