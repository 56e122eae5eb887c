//! How often somebody may ask for something.

use std::time::Duration;

/// How much somebody may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests a second in the long run.
    pub per_second: u32,
    /// Requests at once.
    pub burst: u32,
}

impl RateLimit {
    /// After how long another request may be sent.
    pub fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }

    /// How long it takes until a bucket is full again.
    pub fn window(self) -> Duration {
        self.interval() * self.burst.max(1)
    }
}
