//! The bad receiver that a developer of a hub, or of what stands before one, may want to see: which events are
//! answered how.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rollcall_protocol::{Event, EventType};
use rollcall_receiver::Outcome;

/// How events are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Behaviour {
    /// As a receiver that takes them.
    #[default]
    Success,
    /// In `skippedEvents`: not handled here.
    Skip,
    /// In `retriedEvents`: not now, send it again.
    Retry,
    /// In `failedEvents`: it can never be applied.
    Fail,
    /// With the status 500, for the whole request.
    #[value(name = "500")]
    Error,
    /// Taken, but answered too late, for the whole request.
    Slow,
    /// Not at all: the connection is closed without an answer.
    Drop,
}

/// What is done to a whole request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// Status 500.
    Error,
    /// The answer waits for so long.
    Late(Duration),
    /// No answer.
    Drop,
}

/// The script.
#[derive(Debug)]
pub struct Play {
    behaviour: Behaviour,
    /// Of these types only; empty: of all.
    types: Vec<EventType>,
    /// How often still.
    left: AtomicU64,
    lateness: Duration,
}

impl Default for Play {
    /// Everything is taken.
    fn default() -> Self {
        Self::new(Behaviour::Success, Vec::new(), None, Duration::ZERO)
    }
}

impl Play {
    /// Answers events of these types so (all, if none is named), so many times (always, if that is not said). An
    /// answer that is late comes after `lateness`.
    pub fn new(behaviour: Behaviour, types: Vec<EventType>, times: Option<u64>, lateness: Duration) -> Self {
        Self {
            behaviour,
            types,
            left: AtomicU64::new(times.unwrap_or(u64::MAX)),
            lateness,
        }
    }

    /// How late answers are, if they are.
    pub(super) fn lateness(&self) -> Option<Duration> {
        (self.behaviour == Behaviour::Slow).then_some(self.lateness)
    }

    fn is_about(&self, event: &Event) -> bool {
        self.types.is_empty() || event.kind().is_some_and(|kind| self.types.contains(&kind))
    }

    /// Takes one of the times that are left.
    fn takes_a_turn(&self) -> bool {
        let take = |left: u64| left.checked_sub(1);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }

    /// What is done to the request that holds these events. Asked once for each request.
    pub(super) fn whole(&self, events: &[Event]) -> Option<Whole> {
        let whole = match self.behaviour {
            Behaviour::Success | Behaviour::Skip | Behaviour::Retry | Behaviour::Fail => return None,
            Behaviour::Error => Whole::Error,
            Behaviour::Slow => Whole::Late(self.lateness),
            Behaviour::Drop => Whole::Drop,
        };
        let is_meant = events.iter().any(|event| self.is_about(event));
        (is_meant && self.takes_a_turn()).then_some(whole)
    }

    /// What is answered for an event instead of what becomes of it. Asked once for each arrival.
    pub(super) fn outcome(&self, event: &Event) -> Option<Outcome> {
        const ASKED_FOR: &str = "rollcall listen --answer";
        let outcome = match self.behaviour {
            Behaviour::Skip => Outcome::Skipped(ASKED_FOR.to_owned()),
            Behaviour::Retry => Outcome::exception(ASKED_FOR),
            Behaviour::Fail => Outcome::Failed {
                code: "refused".to_owned(),
                message: ASKED_FOR.to_owned(),
            },
            Behaviour::Success | Behaviour::Error | Behaviour::Slow | Behaviour::Drop => return None,
        };
        (self.is_about(event) && self.takes_a_turn()).then_some(outcome)
    }
}
