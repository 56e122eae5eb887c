//! What happened in a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

/// Where the simulated time begins.
pub(super) const START: i64 = 1_800_000_000_000;

/// What happened, when, and how often.
pub(super) struct History {
    now: AtomicI64,
    lines: Mutex<String>,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl History {
    pub(super) fn new() -> Self {
        Self {
            now: AtomicI64::new(START),
            lines: Mutex::default(),
            counts: Mutex::default(),
        }
    }

    /// The latest time that anybody's clock has shown.
    pub(super) fn now(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    pub(super) fn passed(&self, now: i64) {
        self.now.fetch_max(now, Ordering::Relaxed);
    }

    pub(super) fn note(&self, line: std::fmt::Arguments<'_>) {
        let at = self.now() - START;
        writeln!(self.lines.lock().unwrap(), "{at:>9} {line}").unwrap();
    }

    pub(super) fn count(&self, what: impl std::fmt::Debug) {
        *self
            .counts
            .lock()
            .unwrap()
            .entry(format!("{what:?}"))
            .or_default() += 1;
    }

    pub(super) fn lines(&self) -> String {
        self.lines.lock().unwrap().clone()
    }

    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.lock().unwrap().clone()
    }
}
