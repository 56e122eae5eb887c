//! What waits of the events that a round comes upon.
//!
//! An event that must wait is not yet in the queue when the round goes on to those behind it. They must not overtake it
//! either: a group that somebody is to join who waits is left again, renamed or deleted in the same round.

use std::collections::HashSet;

use super::parked::ParkedQueue;
use crate::delivery::model::Outgoing;

/// The events of a round that wait, in their order.
#[derive(Debug, Default)]
pub struct Held {
    events: Vec<Outgoing>,
    subjects: HashSet<String>,
}

impl Held {
    /// Whether an event must wait: for what is in the queue, or for one of this round that waits.
    pub fn blocks(&self, outgoing: &Outgoing, queue: &ParkedQueue) -> bool {
        let waits = |subject: &str| self.subjects.contains(subject);
        queue.blocks(outgoing)
            || (!self.subjects.is_empty()
                && (waits(outgoing.subject_id()) || outgoing.follows().iter().any(|subject| waits(subject))))
    }

    /// Adds an event that must wait.
    pub fn push(&mut self, outgoing: Outgoing) {
        self.subjects.insert(outgoing.subject_id().to_owned());
        self.events.push(outgoing);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The events.
    pub fn into_events(self) -> Vec<Outgoing> {
        self.events
    }
}
