//! What this process did in the last hour, minute by minute: read off the meters, kept in memory, and shown as charts.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::change::Seq;
use crate::clock::Millis;
use crate::meter::{Meters, Totals};

/// How many minutes are shown.
const MINUTES: usize = 60;

/// What there was at a time, counted from the start.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Millis,
    head: Seq,
    totals: Totals,
}

/// What happened in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Minute {
    /// When it ended.
    pub(super) at: Millis,
    /// Changes of the log.
    pub(super) changes: u64,
    /// Events that applications took.
    pub(super) delivered: u64,
    /// Requests that failed.
    pub(super) failed: u64,
}

/// The samples, oldest first.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<VecDeque<Sample>>);

impl History {
    /// Takes a sample. Whoever calls it does so every minute.
    pub(super) fn sample(&self, at: Millis, head: Seq, meters: &Meters) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let totals = meters.totals();
        samples.push_back(Sample { at, head, totals });
        while samples.len() > MINUTES + 1 {
            samples.pop_front();
        }
    }

    /// The minutes between the samples, oldest first.
    pub(super) fn minutes(&self) -> Vec<Minute> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = samples.iter().zip(samples.iter().skip(1));
        pairs
            .map(|(before, after)| Minute {
                at: after.at,
                changes: (after.head - before.head).max(0).unsigned_abs(),
                delivered: after.totals.delivered.saturating_sub(before.totals.delivered),
                failed: after.totals.failed.saturating_sub(before.totals.failed),
            })
            .collect()
    }
}
