//! Sends one request until it is answered or the tries are used up.

use std::sync::Arc;
use std::time::Duration;

use rollcall_db::DbError;
use tokio::sync::watch;

use super::attempt::{self, Attempt};
use super::batch::Outgoing;
use super::egress::Failure;
use super::feed::Tick;
use super::link::{Link, LinkError, Request};
use super::{Shared, grown};
use crate::clock::Millis;

/// The longest wait that an application can ask for with `Retry-After`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// Why work on an application was broken off.
#[derive(Debug, thiserror::Error)]
pub(super) enum Break {
    /// The hub stops.
    #[error("the hub stops")]
    Stopped,
    /// The application was changed: load it again.
    #[error("the application was changed")]
    Changed,
    /// The database does not do its part.
    #[error(transparent)]
    Database(#[from] DbError),
    /// Requests cannot be sealed.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// A request that was answered.
#[derive(Debug)]
pub(super) struct Answered {
    /// What it carried.
    pub(super) events: Arc<[Outgoing]>,
    /// What its attempt tells.
    pub(super) attempt: Attempt,
}

/// What came of a request.
#[derive(Debug)]
pub(super) enum Sent {
    /// It was answered.
    Answered(Answered),
    /// It was not, and the last of its attempts says why.
    GaveUp(Box<Request>, Attempt),
}

/// Carries requests to one application.
#[derive(Clone)]
pub(super) struct Courier {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Arc<Link>,
    pub(super) ticks: watch::Receiver<Tick>,
    /// The settings were last looked at as of this tick.
    pub(super) seen: Tick,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Courier {
    /// Sends a request, and again with growing pauses, as often as the options say.
    pub(super) async fn persist(mut self, mut request: Request) -> Result<Sent, Break> {
        let options = self.shared.options.clone();
        let mut try_number = 1;
        loop {
            let (attempt, result) = self.link.send(&self.shared, &mut request, try_number).await;
            let failure = match result {
                Ok(_) => {
                    return Ok(Sent::Answered(Answered {
                        events: request.draft.events,
                        attempt,
                    }));
                }
                Err(failure) => failure,
            };
            request.shed();
            self.record(&attempt).await?;
            if try_number >= options.tries {
                return Ok(Sent::GaveUp(Box::new(request), attempt));
            }
            let pause = match failure {
                Failure::Status {
                    retry_after: Some(asked),
                    ..
                } => asked.min(LONGEST_RETRY_AFTER),
                _ => self
                    .shared
                    .jitter(grown(options.first_pause, try_number - 1, options.longest_pause)),
            };
            self.pause(pause).await?;
            try_number += 1;
        }
    }

    /// Stores an attempt that failed.
    pub(super) async fn record(&self, attempt: &Attempt) -> Result<(), DbError> {
        let (id, attempt) = (self.link.application.id.clone(), attempt.clone());
        self.shared
            .hub
            .db
            .write(move |tx| attempt::store(tx, &id, &attempt))
            .await
    }

    /// Waits until a point in time.
    pub(super) async fn wait_until(&mut self, time: Millis) -> Result<(), Break> {
        let left = time - self.shared.hub.clock.now();
        self.pause(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
            .await
    }

    /// Waits, unless the hub stops or the application is changed meanwhile.
    async fn pause(&mut self, pause: Duration) -> Result<(), Break> {
        let sleep = tokio::time::sleep(pause);
        tokio::pin!(sleep);
        loop {
            let seen = self.seen.applications;
            let tick = tokio::select! {
                () = &mut sleep => return Ok(()),
                _ = self.stopped.wait_for(|stopped| *stopped) => return Err(Break::Stopped),
                tick = self.ticks.wait_for(|tick| tick.applications != seen) => match tick {
                    Ok(tick) => *tick,
                    Err(_) => return Err(Break::Stopped),
                },
            };
            self.check_version(tick)?;
        }
    }

    /// Looks whether the application was changed since it was loaded.
    pub(super) fn check_version(&mut self, tick: Tick) -> Result<(), Break> {
        if tick.applications != self.seen.applications {
            let version = self.shared.feed.version(&self.link.application.id);
            if version != Some(self.link.application.version) {
                return Err(Break::Changed);
            }
        }
        self.seen = tick;
        Ok(())
    }
}
