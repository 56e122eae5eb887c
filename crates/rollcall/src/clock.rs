//! The one place that reads the wall clock and waits, and that says times to people.
//!
//! Everything else is handed a [`Clock`] (or a `now` in milliseconds). Whatever waits does so on the clock of
//! the asynchronous runtime, which a test can pause; [`Clock::of_runtime`] follows that one, so that a
//! simulation has one time for everything and can repeat itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A point in time: milliseconds since the Unix epoch.
pub type Millis = i64;

/// A duration in milliseconds.
pub fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX / 4)
}

/// A time for people, in UTC: `2027-01-31 12:00:00Z`, or `never`.
pub fn shown(time: Millis) -> String {
    if time < 0 {
        return "never".to_owned();
    }
    jiff::Timestamp::from_millisecond(time).map_or_else(
        |_| time.to_string(),
        |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

/// A time as programs write it (RFC 3339), in UTC: `2027-01-31T12:00:00.5Z`.
pub fn written(time: Millis) -> String {
    jiff::Timestamp::from_millisecond(time).map_or_else(|_| time.to_string(), |time| time.to_string())
}

/// A source of time.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Runtime {
        start: Millis,
        started: Instant,
        ahead: Arc<AtomicI64>,
    },
    Adjustable(Arc<AtomicI64>),
}

/// What sets an adjustable clock, while others read it.
#[derive(Clone, Debug)]
pub struct Adjustment(Arc<AtomicI64>);

impl Adjustment {
    /// From now on the clock is so far ahead of the one that it follows, or behind it if that is negative.
    pub fn set(&self, ahead: Millis) {
        self.0.store(ahead, Ordering::SeqCst);
    }
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that shows `start` now and goes on with the runtime's time, also when that is paused.
    pub fn of_runtime(start: Millis) -> Self {
        Self::adjustable_of_runtime(start).0
    }

    /// The same, until it is set ahead or back, as [`Clock::adjustable`] is.
    pub fn adjustable_of_runtime(start: Millis) -> (Self, Adjustment) {
        let ahead = Arc::default();
        let clock = Self(Source::Runtime {
            start,
            started: Instant::now(),
            ahead: Arc::clone(&ahead),
        });
        (clock, Adjustment(ahead))
    }

    /// A clock for tests that shows the machine's time until it is set ahead or back, as an administrator or a time
    /// server may do beneath a running hub.
    pub fn adjustable() -> (Self, Adjustment) {
        let ahead = Arc::default();
        (Self(Source::Adjustable(Arc::clone(&ahead))), Adjustment(ahead))
    }

    /// Now, in milliseconds since the Unix epoch.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the place that reads the clock for everyone"
    )]
    pub fn now(&self) -> Millis {
        match &self.0 {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            Source::Adjustable(ahead) => Self::system().now().saturating_add(ahead.load(Ordering::SeqCst)),
            Source::Runtime {
                start,
                started,
                ahead,
            } => start
                .saturating_add(millis(started.elapsed()))
                .saturating_add(ahead.load(Ordering::SeqCst)),
        }
    }

    /// Starts measuring a duration.
    pub fn stopwatch(&self) -> Stopwatch {
        Stopwatch(Instant::now())
    }
}

/// A running measurement, taken with the runtime's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
