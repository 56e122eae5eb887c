//! The pace of requests to one application.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// How often it is looked whether somebody may still wait. Some applications take a request in minutes.
const CHECK_EVERY: Duration = Duration::from_millis(250);

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
        if let Some(turn) = self.turn().await {
            tokio::time::sleep_until(turn).await;
        }
    }

    /// Waits for the next turn as long as a check, which is made again and again and once more at the end, lets it.
    pub(super) async fn wait_while<E>(&self, check: impl Fn() -> Result<(), E>) -> Result<(), E> {
        let turn = self.turn().await;
        loop {
            check()?;
            match turn {
                Some(turn) if turn > Instant::now() => {
                    tokio::time::sleep_until(turn.min(Instant::now() + CHECK_EVERY)).await;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Takes the next turn.
    async fn turn(&self) -> Option<Instant> {
        let between = self.between?;
        let mut next = self.next_slot.lock().await;
        let turn = next.map_or_else(Instant::now, |turn| turn.max(Instant::now()));
        *next = Some(turn + between);
        Some(turn)
    }
}
