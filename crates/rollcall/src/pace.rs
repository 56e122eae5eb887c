//! The pace of requests to one application.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// How often it is looked whether somebody may still wait. Some applications take a request in minutes.
const CHECK_EVERY: Duration = Duration::from_millis(250);

/// Lets requests go one after the other, with some time between them.
#[derive(Debug, Default)]
pub struct Pace {
    between: Option<Duration>,
    next_slot: Mutex<Option<Instant>>,
}

impl Pace {
    /// So much time between two requests; none: they go at once.
    pub fn new(between: Option<Duration>) -> Self {
        Self {
            between,
            next_slot: Mutex::new(None),
        }
    }

    /// Waits for the next turn.
    pub async fn wait(&self) {
        if let Some(turn) = self.turn().await {
            tokio::time::sleep_until(turn).await;
        }
    }

    /// Waits for the next turn as long as a check, which is made again and again and once more at the end, lets it.
    ///
    /// # Errors
    /// What the check says.
    pub async fn wait_while<E>(&self, check: impl Fn() -> Result<(), E>) -> Result<(), E> {
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

/// The paces of applications that take so many requests and no more, whoever asks: delivery, a comparison, a test.
#[derive(Debug, Default)]
pub struct Paces(SyncMutex<HashMap<String, (Duration, Weak<Pace>)>>);

impl Paces {
    /// The pace of requests to an application. As long as somebody keeps to it, everybody does.
    pub fn of(&self, application_id: &str, between: Option<Duration>) -> Arc<Pace> {
        let Some(time) = between else {
            return Arc::default();
        };
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paces.retain(|_, (_, pace)| pace.strong_count() > 0);
        let kept = paces.get(application_id).filter(|(kept, _)| *kept == time);
        if let Some(pace) = kept.and_then(|(_, pace)| pace.upgrade()) {
            return pace;
        }
        let pace = Arc::new(Pace::new(between));
        paces.insert(application_id.to_owned(), (time, Arc::downgrade(&pace)));
        pace
    }
}
