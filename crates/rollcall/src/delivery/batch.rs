//! From changes to requests: what is sent at once, and over which lane.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use std::sync::Arc;

use rollcall_protocol::{Event, EventType, SubjectKind};

use super::job::JobPosition;
use super::park::Parked;
use crate::application::Limits;
use crate::change::{Change, Seq};
use crate::clock::Millis;

/// An event on its way to one application. It shares what it is made of with the other applications, so
/// that many of them on their way need little memory; the event itself is made when it is sealed.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// What it is made of.
    pub origin: Origin,
    /// What it is to this application.
    pub event_type: EventType,
    /// How often it was sent and answered with a wish for another try.
    pub attempts: u32,
}

/// What an event is made of.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A change of the log.
    Change(Arc<Change>),
    /// An event that is in no log: of a job, or a test.
    Apart(Arc<Event>),
}

impl Outgoing {
    /// The id that the event bears at every try.
    pub fn event_id(&self) -> &str {
        match &self.origin {
            Origin::Change(change) => &change.event_id,
            Origin::Apart(event) => &event.event_id,
        }
    }

    /// Whom it concerns.
    pub fn subject_id(&self) -> &str {
        match &self.origin {
            Origin::Change(change) => &change.subject_id,
            Origin::Apart(event) => &event.biz_id,
        }
    }

    /// When it happened.
    pub fn time(&self) -> Millis {
        match &self.origin {
            Origin::Change(change) => change.time,
            Origin::Apart(event) => event.event_time,
        }
    }

    /// The position of the change that it comes from.
    pub fn seq(&self) -> Option<Seq> {
        match &self.origin {
            Origin::Change(change) => Some(change.seq),
            Origin::Apart(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        let record = match &self.origin {
            Origin::Change(change) => change.record.len(),
            Origin::Apart(event) => event.biz_data.len(),
        };
        record + ENVELOPE_BYTES
    }

    /// What is parked if this event has to wait.
    pub fn parked(&self, state: super::park::ParkedState, next_try: Millis) -> Parked {
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
            next_try,
            code: None,
            message: None,
        }
    }
}

/// Where delivery to an application stands.
#[derive(Clone, Debug)]
pub struct Position {
    /// The last change that is done with.
    pub cursor: Seq,
    /// The job that runs while the cursor stands still.
    pub job: Option<JobPosition>,
}

/// What a round is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The change log.
    Log,
    /// Parked events.
    Parked,
    /// A synchronization job.
    Job,
}

impl Source {
    /// The name under which attempts are stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Parked => "parked",
            Self::Job => "job",
        }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Which of the lanes it takes.
    pub lane: u32,
    /// Its events, in order; shared by whoever seals, sends and settles them.
    pub events: Arc<[Outgoing]>,
}

/// Requests that may be in flight together, and what is true once all of them are answered.
#[derive(Clone, Debug)]
pub struct Round {
    /// Where the events come from.
    pub source: Source,
    /// The position before it.
    pub from: Seq,
    /// The requests: one for each lane that has something to carry.
    pub drafts: Vec<Draft>,
    /// Events that must wait behind parked ones of their subjects.
    pub held: Vec<Outgoing>,
    /// The position after it.
    pub after: Position,
}

impl Round {
    /// What its events weigh.
    pub fn bytes(&self) -> usize {
        let events = self.drafts.iter().flat_map(|draft| draft.events.iter());
        events.map(Outgoing::bytes).sum()
    }
}

/// Fills the lanes of a round.
#[derive(Debug)]
pub struct Lanes {
    limits: Limits,
    lanes: Vec<Vec<Outgoing>>,
    bytes: Vec<usize>,
    /// Whether the round carries events that nothing may run beside; `None` while it is empty.
    barrier: Option<bool>,
}

/// What an event weighs besides its record.
const ENVELOPE_BYTES: usize = 200;

impl Lanes {
    /// Empty lanes.
    pub fn new(limits: Limits) -> Self {
        let count = limits.lanes.max(1) as usize;
        Self {
            limits,
            lanes: vec![Vec::new(); count],
            bytes: vec![0; count],
            barrier: None,
        }
    }

    /// Takes an event, or says (`false`) that it belongs to the next round: because its lane is full, or
    /// because events of units and groups and events of users do not go side by side.
    pub fn take(&mut self, kind: SubjectKind, outgoing: &Outgoing) -> bool {
        let several = self.lanes.len() > 1;
        let barrier = several && kind != SubjectKind::User;
        if self.barrier.is_some_and(|other| other != barrier) {
            return false;
        }
        let lane = if barrier || !several {
            0
        } else {
            lane_of(outgoing.subject_id(), self.lanes.len())
        };
        let bytes = outgoing.bytes();
        let full = self.lanes[lane].len() >= self.limits.max_events as usize
            || (!self.lanes[lane].is_empty() && self.bytes[lane] + bytes > self.limits.max_bytes as usize);
        if full {
            return false;
        }
        self.bytes[lane] += bytes;
        self.lanes[lane].push(outgoing.clone());
        self.barrier = Some(barrier);
        true
    }

    /// Whether no lane can take any more.
    pub fn are_full(&self) -> bool {
        let most = self.limits.max_events as usize;
        self.lanes.iter().all(|lane| lane.len() >= most)
    }

    /// Whether nothing was taken.
    pub fn is_empty(&self) -> bool {
        self.barrier.is_none()
    }

    /// The requests.
    pub fn into_drafts(self) -> Vec<Draft> {
        (0..)
            .zip(self.lanes)
            .filter(|(_, events)| !events.is_empty())
            .map(|(lane, events)| Draft {
                lane,
                events: events.into(),
            })
            .collect()
    }
}

/// The lane of a subject: always the same while the number of lanes is.
pub fn lane_of(subject_id: &str, lanes: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    subject_id.hash(&mut hasher);
    usize::try_from(hasher.finish() % lanes.max(1) as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(subject: &str, bytes: usize) -> Outgoing {
        Outgoing {
            origin: Origin::Apart(Arc::new(Event {
                event_id: format!("evnt_{subject}"),
                event_type: EventType::UserCreate.urn().to_owned(),
                event_time: 1,
                biz_id: subject.to_owned(),
                biz_data: "x".repeat(bytes),
            })),
            event_type: EventType::UserCreate,
            attempts: 0,
        }
    }

    #[test]
    fn a_lane_ends_at_its_limits_but_takes_one_large_event() {
        let limits = Limits {
            max_events: 2,
            max_bytes: 16 << 10,
            ..Limits::default()
        };
        let mut lanes = Lanes::new(limits);
        assert!(lanes.take(SubjectKind::User, &event("a", 1 << 20)));
        assert!(!lanes.take(SubjectKind::User, &event("b", 1)));
        let mut lanes = Lanes::new(limits);
        assert!(lanes.take(SubjectKind::User, &event("a", 1)));
        assert!(lanes.take(SubjectKind::Unit, &event("b", 1)));
        assert!(!lanes.take(SubjectKind::User, &event("c", 1)));
        assert_eq!(lanes.into_drafts().len(), 1);
    }

    #[test]
    fn units_and_groups_go_alone_where_there_are_lanes() {
        let limits = Limits {
            lanes: 4,
            ..Limits::default()
        };
        let mut lanes = Lanes::new(limits);
        for n in 0..40 {
            assert!(lanes.take(SubjectKind::User, &event(&format!("user_{n}"), 1)));
        }
        assert!(!lanes.take(SubjectKind::Unit, &event("ou_1", 1)));
        assert!(lanes.into_drafts().len() > 1);
        let mut lanes = Lanes::new(limits);
        assert!(lanes.take(SubjectKind::Unit, &event("ou_1", 1)));
        assert!(lanes.take(SubjectKind::Group, &event("group_1", 1)));
        assert!(!lanes.take(SubjectKind::User, &event("user_1", 1)));
        assert_eq!(lanes.into_drafts().len(), 1);
    }
}
