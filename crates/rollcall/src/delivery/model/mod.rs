//! What delivery speaks of: events on their way, the requests that carry them, and what became of them.

mod attempt;
pub mod job;
mod parked;
mod remote;
pub mod skips;

use std::sync::Arc;

use rollcall_protocol::{Event, EventType, GroupPayload, SubjectKind, UnitPayload, UserPayload};
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

pub use crate::application::Suspension;
use crate::change::{Change, Seq};
use crate::clock::Millis;
pub use attempt::{Attempt, Carried, Exception, shorten};
use job::JobPosition;
pub use parked::{Parked, ParkedState};
pub use remote::{DIGEST_BYTES, Digest, Remembered, Remote};

/// An event on its way to one application. It shares what it is made of with the other applications, so
/// that many of them on their way need little memory; the event itself is made when it is sealed.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// What it is made of.
    pub origin: Origin,
    /// What it is to this application.
    pub event_type: EventType,
    /// How often it was sent before, and wanted again.
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

/// What an event weighs besides its record.
const ENVELOPE_BYTES: usize = 200;

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

    /// Whose events must arrive before this one, besides those of its own subject: whoever is added to a group has to
    /// be there, and an application that deletes a user may take the memberships away with it.
    pub fn follows(&self) -> Vec<String> {
        match &self.origin {
            Origin::Change(change) => added_members(self.event_type, &change.record),
            Origin::Apart(event) => added_members(self.event_type, &event.biz_data),
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

    /// About how many bytes it adds to a request's payload.
    pub fn bytes(&self) -> usize {
        let record = match &self.origin {
            Origin::Change(change) => change.record.len(),
            Origin::Apart(event) => event.biz_data.len(),
        };
        record + ENVELOPE_BYTES
    }
}

/// The users whom an event adds to a group; none if it does something else.
pub fn added_members(event_type: EventType, record: &str) -> Vec<String> {
    if event_type != EventType::GroupAddUser {
        return Vec::new();
    }
    GroupPayload::from_json(record)
        .ok()
        .and_then(|payload| payload.user_ids)
        .unwrap_or_default()
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Source {
    /// The change log.
    Log,
    /// Parked events.
    Parked,
    /// A synchronization job.
    Job,
    /// A connection test: it carries nobody's record.
    Test,
    /// A connection test under the key that is to sign from now on.
    KeyTrial,
}

impl Source {
    /// The name under which it is stored and shown.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What one request carries.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Which of the lanes it takes.
    pub lane: u32,
    /// Its events, in order; shared by whoever seals, sends and settles them.
    pub events: Arc<[Outgoing]>,
}

impl Batch {
    /// How often the event of it that was sent most was sent before.
    pub fn sent_before(&self) -> u32 {
        self.events.iter().map(|event| event.attempts).max().unwrap_or(0)
    }

    /// The two halves of a batch of at least two events.
    pub fn halves(&self) -> [Self; 2] {
        let middle = self.events.len() / 2;
        [&self.events[..middle], &self.events[middle..]].map(|events| Self {
            lane: self.lane,
            events: events.into(),
        })
    }
}

/// Requests that may be in flight together, and what is true once all of them are answered.
#[derive(Clone, Debug)]
pub struct Round {
    /// Where the events come from.
    pub source: Source,
    /// The position before it.
    pub from: Seq,
    /// The requests: one for each lane that has something to carry.
    pub batches: Vec<Batch>,
    /// Events that must wait behind parked ones of their subjects.
    pub held: Vec<Outgoing>,
    /// Organizational units that got another name in it, which their users have to be told with.
    pub renamed: Vec<String>,
    /// The position after it.
    pub after: Position,
}

impl Round {
    /// What its events weigh.
    pub fn bytes(&self) -> usize {
        let events = self.batches.iter().flat_map(|batch| batch.events.iter());
        events.map(Outgoing::bytes).sum()
    }

    /// How many events its largest batch has.
    pub fn most_in_a_batch(&self) -> u32 {
        let most = self.batches.iter().map(|batch| batch.events.len()).max();
        u32::try_from(most.unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// Whether it is an inventory, which goes alone.
    pub fn is_inventory(&self) -> bool {
        let mut events = self.batches.iter().flat_map(|batch| batch.events.iter());
        events.any(|outgoing| outgoing.event_type == EventType::Inventory)
    }

    /// The range of the log that it covers.
    pub fn range(&self) -> Option<(Seq, Seq)> {
        (self.source == Source::Log).then_some((self.from + 1, self.after.cursor))
    }
}

/// What the application said about one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remark {
    /// Its code.
    pub code: String,
    /// Its words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What became of one event of a request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The application says that it has it.
    Accepted,
    /// The answer was a 200 that does not speak of the event: by the wire it counts as received.
    Assumed,
    /// The application passed it over, for good.
    Skipped(Remark),
    /// The application refuses it, for good.
    Refused(Remark),
    /// The application wants it again.
    Again(Remark),
}

impl Verdict {
    /// Whether it shows that the application works: it dealt with the event, if only by refusing it.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Again(_))
    }
}

/// A request that was answered, or of which it is decided what becomes of it.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What it carried.
    pub events: Arc<[Outgoing]>,
    /// What became of each, in the same order.
    pub verdicts: Vec<Verdict>,
    /// Whether the application was asked at all. By SCIM some events need no request, and say nothing of whether it
    /// answers.
    pub asked: bool,
    /// What its attempt tells, unless it is stored already.
    pub attempt: Option<Attempt>,
    /// What it taught of objects at the application, where that gives them ids of its own.
    pub remembered: Vec<Remembered>,
}

/// The record of a subject of which only the id is to be told: it is gone, or everything about it was erased.
pub fn bare_record(kind: SubjectKind, id: &str) -> String {
    let id = id.to_owned();
    match kind {
        SubjectKind::User => UserPayload {
            user_id: id,
            ..UserPayload::default()
        }
        .to_json(),
        SubjectKind::Unit => UnitPayload {
            unit_id: id,
            ..UnitPayload::default()
        }
        .to_json(),
        SubjectKind::Group => GroupPayload {
            group_id: id,
            ..GroupPayload::default()
        }
        .to_json(),
    }
}
