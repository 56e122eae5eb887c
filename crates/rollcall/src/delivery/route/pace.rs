//! The pace of requests to one application.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Lets requests go one after the other, with some time between them.
#[derive(Debug, Default)]
pub(super) struct Pace {
    between: Option<Duration>,
    next_slot: Mutex<Option<Instant>>,
}

impl Pace {
    /// So much time between two requests; none: they go at once.
    pub(super) fn new(between: Option<Duration>) -> Self {
        Self {
            between,
            next_slot: Mutex::new(None),
        }
    }

    /// Waits for the next turn.
    pub(super) async fn wait(&self) {
        let Some(between) = self.between else {
            return;
        };
        let slot = {
            let mut next = self.next_slot.lock().await;
            let slot = next.map_or_else(Instant::now, |slot| slot.max(Instant::now()));
            *next = Some(slot + between);
            slot
        };
        tokio::time::sleep_until(slot).await;
    }
}
