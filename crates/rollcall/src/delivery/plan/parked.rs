//! The parked queue: events that stand outside the position, and when they are served.
//!
//! An application may ask for an event again. The position does not wait for it; the event is parked and
//! sent again with growing pauses. Later events of the same subject must not overtake it, so they are parked
//! behind it as *held*, also those that the same answer accepted: what the application remembers is its own
//! matter, and the order in which it is told of a subject is ours. An event that adds members to a group waits for
//! them too: it would name somebody who is not there yet, or whose deletion, arriving later, takes the membership
//! away again. Events of users never wait for groups, so nobody waits for each other.
//!
//! An event that is wanted again and again is set aside as *failed*, so that what is held behind it goes on;
//! it is visible then, and may be sent again by hand. But a try counts against an event only if the application
//! has taken something else since the try before ([`Health`]). Otherwise it is the application that is out of
//! order, not the event, and it is spared: an application whose own database is away for hours has nothing
//! to repair afterwards.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Millis;
use crate::delivery::model::{Origin, Outgoing, Parked, ParkedState};

/// Whether the application deals with events at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// How many events it has dealt with since the worker began.
    pub dealt_with: u64,
    /// How many rounds in a row it has wanted again as a whole.
    pub stalled: u32,
}

/// An event in the queue.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The event.
    pub parked: Parked,
    /// Whose events go before it, besides those of its subject ([`Outgoing::follows`]).
    pub follows: Vec<String>,
    /// When it is due, on the monotonic clock.
    pub due: Instant,
    /// [`Health::dealt_with`] at its last try.
    pub dealt_with: u64,
}

/// The parked events of an application that still wait, by subject, in their order.
#[derive(Clone, Debug, Default)]
pub struct ParkedQueue {
    subjects: HashMap<String, VecDeque<Waiting>>,
    len: usize,
    /// Events of the log that an administrator has set aside before they were sent.
    set_aside: HashSet<String>,
}

impl ParkedQueue {
    /// The queue of what is stored, each with whom it follows. However far in the future a stored time lies (a clock
    /// may have run ahead), nothing waits longer than `longest`.
    pub fn load(
        stored: Vec<(Parked, Vec<String>)>,
        position: i64,
        now: Millis,
        at: Instant,
        longest: Duration,
    ) -> Self {
        let mut queue = Self::default();
        for (parked, follows) in stored {
            match parked.state {
                ParkedState::Failed => {
                    if parked.seq.is_some_and(|seq| seq > position) {
                        queue.set_aside.insert(parked.event_id);
                    }
                }
                ParkedState::Retrying | ParkedState::Held => {
                    let wait = Duration::from_millis(u64::try_from(parked.next_try - now).unwrap_or(0));
                    queue.push(Waiting {
                        parked,
                        follows,
                        due: at + wait.min(longest),
                        dealt_with: 0,
                    });
                }
            }
        }
        queue
    }

    /// Adds an event behind those of its subject.
    pub fn push(&mut self, waiting: Waiting) {
        self.len += 1;
        self.subjects
            .entry(waiting.parked.subject_id.clone())
            .or_default()
            .push_back(waiting);
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether this event must wait.
    pub fn blocks(&self, outgoing: &Outgoing) -> bool {
        // Whom it follows is read from its record, which is done only where somebody waits.
        self.len > 0 && (self.holds(outgoing.subject_id()) || self.holds_any(&outgoing.follows()))
    }

    /// Whether events of this subject wait.
    pub fn holds(&self, subject_id: &str) -> bool {
        self.subjects.contains_key(subject_id)
    }

    fn holds_any(&self, subjects: &[String]) -> bool {
        subjects.iter().any(|subject| self.holds(subject))
    }

    /// The first event of each subject, unless it follows somebody who waits too.
    fn first(&self) -> impl Iterator<Item = &Waiting> {
        let fronts = self.subjects.values().filter_map(VecDeque::front);
        fronts.filter(|waiting| !self.holds_any(&waiting.follows))
    }

    /// Whether an administrator has set this event of the log aside.
    pub fn is_set_aside(&self, event_id: &str) -> bool {
        !self.set_aside.is_empty() && self.set_aside.contains(event_id)
    }

    /// The events whose time has come, at most one of each subject, those first that have waited longest.
    /// With `early`, those that are due first are taken although their time has not come.
    pub fn due(&self, at: Instant, limit: usize, early: bool) -> Vec<Parked> {
        let mut due: Vec<&Waiting> = self
            .first()
            .filter(|waiting| early || waiting.due <= at)
            .collect();
        due.sort_by(|a, b| {
            let key = |waiting: &Waiting| (waiting.due, waiting.parked.event_time, waiting.parked.seq);
            key(a)
                .cmp(&key(b))
                .then_with(|| a.parked.event_id.cmp(&b.parked.event_id))
        });
        due.truncate(limit);
        // Among those that are sent together, what happened first goes first.
        due.sort_by_key(|waiting| (waiting.parked.event_time, waiting.parked.seq));
        due.into_iter().map(|waiting| waiting.parked.clone()).collect()
    }

    /// When the next event is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.first().map(|waiting| waiting.due).min()
    }

    /// The first event of a subject.
    pub fn front_mut(&mut self, subject_id: &str) -> Option<&mut Waiting> {
        self.subjects.get_mut(subject_id).and_then(VecDeque::front_mut)
    }

    /// Takes away the first event of a subject. The one behind it, if any, is due now, unless it follows somebody else
    /// who waits, and is returned.
    pub fn release(&mut self, subject_id: &str, now: Millis, at: Instant) -> Option<Parked> {
        let queue = self.subjects.get_mut(subject_id)?;
        if queue.pop_front().is_some() {
            self.len -= 1;
        }
        let Some(next) = queue.front() else {
            self.subjects.remove(subject_id);
            return None;
        };
        let follows = next.follows.clone();
        let held = self.holds_any(&follows);
        let next = self.front_mut(subject_id)?;
        next.parked.state = if held {
            ParkedState::Held
        } else {
            ParkedState::Retrying
        };
        next.parked.next_try = now;
        next.due = at;
        Some(next.parked.clone())
    }
}

impl Outgoing {
    /// What is parked if this event has to wait.
    pub fn parked(&self, state: ParkedState, next_try: Millis) -> Parked {
        Parked {
            event_id: self.event_id().to_owned(),
            event_type: self.event_type,
            subject_id: self.subject_id().to_owned(),
            seq: self.seq(),
            event_time: self.time(),
            // An event that comes from the log is made from the log again; only a job's is kept, and
            // that never carries a password.
            record: match &self.origin {
                Origin::Change(_) => None,
                Origin::Apart(event) => Some(event.biz_data.clone()),
            },
            state,
            attempts: self.attempts,
            strikes: 0,
            next_try,
            code: None,
            message: None,
        }
    }
}
