//! Requests: what one carries, what came of it, and whether it may be sent.

use rollcall_db::DbError;
use tokio::sync::watch;

use super::callback::Body;
use crate::application::Application;
use crate::change::Seq;
use crate::delivery::egress::failure::Failure;
use crate::delivery::ledger::leases::Held;
use crate::delivery::model::{Answered, Attempt, Batch, Outgoing, Source};
use crate::delivery::shared::Shared;
use crate::delivery::ticks::{Tick, Ticks};

/// A request that is ready to be sent.
#[derive(Debug)]
pub struct Request {
    /// What it carries.
    pub batch: Batch,
    /// Where its events come from.
    pub source: Source,
    /// The range of the log that it covers.
    pub range: Option<(Seq, Seq)>,
    /// None once it was shed; it is sealed again when it is sent.
    pub(super) body: Option<Body>,
}

impl Request {
    /// A request that is sealed when it is sent.
    pub fn new(batch: Batch, source: Source, range: Option<(Seq, Seq)>) -> Self {
        Self {
            batch,
            source,
            range,
            body: None,
        }
    }

    /// Forgets the sealed body.
    pub fn shed(&mut self) {
        self.body = None;
    }

    /// The request as two, each with half of the events and the part of the log that those span.
    pub fn halves(&self) -> [Self; 2] {
        self.batch.halves().map(|batch| self.part(batch))
    }

    /// The request as two: with so many of the events, and with those that follow them; one without events is none.
    pub(super) fn split_at(&self, many: usize) -> (Option<Self>, Option<Self>) {
        let (first, second) = self.batch.events.split_at(many.min(self.batch.events.len()));
        let part = |events: &[Outgoing]| {
            (!events.is_empty()).then(|| {
                let batch = Batch {
                    lane: self.batch.lane,
                    events: events.into(),
                };
                match events.len() == self.batch.events.len() {
                    true => Self::new(batch, self.source, self.range),
                    false => self.part(batch),
                }
            })
        };
        (part(first), part(second))
    }

    /// The request with some of its events and the part of the log that those span.
    fn part(&self, batch: Batch) -> Self {
        let seqs = || batch.events.iter().filter_map(Outgoing::seq);
        let range = self.range.and(seqs().min().zip(seqs().max()));
        Self::new(batch, self.source, range)
    }
}

/// What was sent, and answered at least in part.
#[derive(Debug)]
pub struct Sent {
    /// The events that are answered for.
    pub answered: Answered,
    /// The others, which follow them, and why there is no answer for them.
    pub rest: Option<(Request, Failure)>,
}

/// Why a request has no answer at all.
#[derive(Debug)]
pub(in crate::delivery) enum Unsent {
    /// It failed.
    Failed(Box<(Failure, Attempt)>),
    /// The database does not do its part.
    Database(DbError),
    /// No more may be sent.
    Broken(BreakOff),
}

/// Why no more may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) enum BreakOff {
    /// The lease may be over.
    Unleased,
    /// The hub stops, or the application goes to another node.
    Stopped,
    /// The application was changed, or somebody was erased.
    Changed,
}

/// Whether one more request may be sent: what is looked at before each of those that one request becomes.
#[derive(Clone, Copy)]
pub(in crate::delivery) struct Going<'a> {
    pub(in crate::delivery) application: &'a Application,
    pub(in crate::delivery) held: &'a Held,
    pub(in crate::delivery) ticks: &'a Ticks,
    /// The application was last looked at as of this tick.
    pub(in crate::delivery) seen: Tick,
    pub(in crate::delivery) stopped: &'a watch::Receiver<bool>,
}

impl Going<'_> {
    pub(super) fn check(&self, shared: &Shared) -> Result<(), BreakOff> {
        if !self.held.is_valid() {
            return Err(BreakOff::Unleased);
        }
        if *self.stopped.borrow() {
            return Err(BreakOff::Stopped);
        }
        if shared
            .feed
            .has_changed(self.application, self.seen, self.ticks.now())
        {
            return Err(BreakOff::Changed);
        }
        Ok(())
    }
}
