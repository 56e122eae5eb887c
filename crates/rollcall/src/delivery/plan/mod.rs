//! What is sent next, and what an answer means: pure, without a database, a network or a clock.

pub mod conclude;
pub mod held;
pub mod lanes;
pub mod parked;
mod pause;
#[cfg(test)]
mod tests;

use rollcall_protocol::SubjectKind;

use super::model::{Outgoing, Position, Round, Source};
use crate::application::Limits;
use crate::change::Seq;
use held::Held;
use lanes::Lanes;
use parked::ParkedQueue;
pub(super) use pause::grown;

/// Plans a round from pages of the log, until its lanes are full or the log's end is reached.
#[derive(Debug)]
pub struct LogRound {
    from: Position,
    lanes: Lanes,
    held: Held,
    renamed: Vec<String>,
    cursor: Seq,
}

/// Whether a round takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It does.
    More,
    /// The event belongs to the next round.
    Full,
}

impl LogRound {
    /// An empty round after a position.
    pub fn new(from: Position, limits: Limits) -> Self {
        Self {
            cursor: from.cursor,
            from,
            lanes: Lanes::new(limits),
            held: Held::default(),
            renamed: Vec::new(),
        }
    }

    /// The last change that was looked at.
    pub fn cursor(&self) -> Seq {
        self.cursor
    }

    /// Looks at the next change: the event that it is to the application, if it is one.
    pub fn look(
        &mut self,
        seq: Seq,
        kind: SubjectKind,
        outgoing: Option<Outgoing>,
        queue: &ParkedQueue,
        held_at_most: usize,
    ) -> Room {
        if let Some(outgoing) = outgoing.filter(|outgoing| !queue.is_set_aside(outgoing.event_id())) {
            if self.held.blocks(&outgoing, queue) {
                if queue.len() + self.held.len() >= held_at_most {
                    return Room::Full;
                }
                self.held.push(outgoing);
            } else if !self.lanes.take(kind, &outgoing) {
                return Room::Full;
            }
        }
        self.cursor = seq;
        if self.lanes.are_full() {
            Room::Full
        } else {
            Room::More
        }
    }

    /// Notes that the change that was looked at last gave a unit another name, which its users have to be told with.
    pub fn note_renamed(&mut self, unit_id: &str) {
        if !self.renamed.iter().any(|renamed| renamed == unit_id) {
            self.renamed.push(unit_id.to_owned());
        }
    }

    /// The round; `None` if nothing was found that concerns the application.
    pub fn finish(self) -> Option<Round> {
        let is_empty = self.lanes.is_empty() && self.held.is_empty() && self.renamed.is_empty();
        (!is_empty).then(|| Round {
            source: Source::Log,
            from: self.from.cursor,
            batches: self.lanes.into_batches(),
            held: self.held.into_events(),
            renamed: self.renamed,
            after: Position {
                cursor: self.cursor,
                job: self.from.job,
            },
        })
    }
}
