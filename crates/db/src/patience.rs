//! How long an unreachable database is waited for.

use std::time::{Duration, Instant};

use crate::DbError;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Waits between tries, longer each time, until a limit. An outage that has outlasted the limit gets
/// one try per job, so that a queue that grew meanwhile is answered at once and not job by job.
pub(crate) struct Patience {
    limit: Duration,
    outage: Option<Outage>,
}

struct Outage {
    since: Instant,
    pause: Duration,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, outage: None }
    }

    /// Sleeps before the next try, or gives the error back if there should be none.
    pub(crate) fn wait(&mut self, error: DbError) -> Result<(), DbError> {
        let now = monotonic();
        let outage = self.outage.get_or_insert_with(|| {
            tracing::warn!(%error, "trying again");
            Outage {
                since: now,
                pause: FIRST_PAUSE,
            }
        });
        let left = self.limit.saturating_sub(now.duration_since(outage.since));
        if left.is_zero() {
            return Err(error);
        }
        std::thread::sleep(outage.pause.min(left));
        outage.pause = (outage.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// The database answered.
    pub(crate) fn recovered(&mut self) {
        if self.outage.take().is_some() {
            tracing::info!("the database is back");
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "how long a real server is waited for is real time"
)]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}
