//! News of the log and of the settings, for all who wait for them.
//!
//! Those who wait are woken in the order in which they began to, so that a simulation repeats itself; a
//! `watch` channel wakes them in an order of its own choice.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::change::Seq;

/// How far the log and the settings have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The last change.
    pub head: Seq,
    /// See [`crate::instance::applications_version`].
    pub applications: i64,
}

/// The newest tick. Clones share it.
#[derive(Clone, Debug)]
pub struct Ticks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    newest: Mutex<Tick>,
    news: Notify,
}

impl Ticks {
    /// Begins with a tick.
    pub fn new(tick: Tick) -> Self {
        Self(Arc::new(Shared {
            newest: Mutex::new(tick),
            news: Notify::new(),
        }))
    }

    /// The newest tick.
    pub fn now(&self) -> Tick {
        *self.0.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody of a tick, if it is another one than before.
    pub fn tell(&self, tick: Tick) {
        let mut newest = self.0.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if *newest != tick {
            *newest = tick;
            self.0.news.notify_waiters();
        }
    }

    /// Waits for a tick of which something holds.
    pub async fn wait_for(&self, holds: impl Fn(&Tick) -> bool) -> Tick {
        let mut news = std::pin::pin!(self.0.news.notified());
        loop {
            // Whatever is told from here on is not missed.
            news.as_mut().enable();
            let tick = self.now();
            if holds(&tick) {
                return tick;
            }
            news.as_mut().await;
            news.set(self.0.news.notified());
        }
    }
}
