//! From the events of a request to what is to be done: one piece of work for each object and each group's members,
//! whatever the number of events.
//!
//! Whose events follow one another in a request is told of once, as the last of them says. The pieces keep the
//! order that matters between subjects: somebody is there before joining a group, and leaves after having left it.
//! Therefore an object is made or changed where its first event stands, it goes where its last one stands, and
//! the members of a group are told where the last event about them stands.

use std::collections::{BTreeMap, HashMap};

use rollcall_protocol::{EventType, GroupPayload, SubjectKind};
use rollcall_scim::Object;

use super::memory::Key;
use super::record;
use crate::application::scim::{Action, Checked, Leavers, Scim};
use crate::delivery::model::{Origin, Outgoing, Remark, Verdict};

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// A user or a group.
    pub kind: SubjectKind,
    /// Its id.
    pub subject: String,
    /// The events that say so, by their numbers in the request.
    pub events: Vec<usize>,
    /// What is to be done.
    pub deed: Deed,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// It is there.
    Present {
        /// As this.
        wanted: Object,
        /// As what it was there before the first of the events, if they tell, and if it was nothing else than that or
        /// what is wanted since: each of the events may have been carried out without anybody having heard of it.
        before: Option<Object>,
    },
    /// It is there no more, or not active any more.
    Leave {
        /// What becomes of it.
        how: Leavers,
        /// As what it was there, as far as that is told.
        last: Object,
        /// The groups in which it was, if that is told.
        groups: Option<Vec<String>>,
    },
    /// Some join and leave a group.
    Members {
        /// The group, without its members.
        group: Object,
        /// Who joins and leaves, in their order; nobody is named twice.
        moved: Vec<Moved>,
    },
}

/// A user who joins or leaves a group, and the event that said so last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The user.
    pub user: String,
    /// Whether they join.
    pub joins: bool,
    /// The number of the event.
    pub event: usize,
}

/// What a request comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// In their order.
    pub pieces: Vec<Piece>,
    /// What is said of events of which there is nothing to do, by their numbers.
    pub decided: BTreeMap<usize, Verdict>,
}

impl Piece {
    /// Whom it is about.
    pub fn key(&self) -> Key {
        (self.kind, self.subject.clone())
    }
}

#[derive(Default)]
struct Gathered {
    events: Vec<usize>,
    /// The record of the first event, before it.
    before: Option<String>,
    leaves: bool,
    /// In the order in which they were first named; who was named last decides.
    moved: Vec<Moved>,
    moves: Vec<usize>,
}

/// What is said of an event that the application is not told, and why.
pub(super) fn passed_over(code: &str, why: &str) -> Verdict {
    Verdict::Skipped(Remark {
        code: code.to_owned(),
        message: Some(why.to_owned()),
    })
}

impl Work {
    /// What these events come to.
    pub fn of(events: &[Outgoing], scim: &Scim, checked: &Checked) -> Self {
        let mut work = Self::default();
        let mut gathered: Vec<(SubjectKind, String, Gathered)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for (number, event) in events.iter().enumerate() {
            let kind = match event.event_type.subject_kind() {
                Some(SubjectKind::User) => SubjectKind::User,
                Some(SubjectKind::Group) if scim.groups => SubjectKind::Group,
                // There is nothing to tell of what SCIM has no object for, and of groups that are not wanted. The
                // application passes nothing over.
                Some(SubjectKind::Group | SubjectKind::Unit) => {
                    work.decided.insert(number, Verdict::Accepted);
                    continue;
                }
                None if event.event_type == EventType::Inventory => {
                    work.decided.insert(number, Verdict::Accepted);
                    continue;
                }
                None => continue,
            };
            let id = event.subject_id().to_owned();
            let place = *places.entry(id.clone()).or_insert_with(|| {
                let before = record::record_before(event);
                let begun = Gathered {
                    before,
                    ..Gathered::default()
                };
                gathered.push((kind, id.clone(), begun));
                gathered.len() - 1
            });
            if let Some((_, _, gathered)) = gathered.get_mut(place) {
                gathered.take(number, event);
            }
            if event.event_type == EventType::GroupDelete {
                // A group that comes back begins without members, so it is another one.
                places.remove(&id);
            }
        }
        let mut pieces: Vec<(usize, u8, Piece)> = Vec::new();
        for (kind, subject, gathered) in gathered {
            gathered.pieces(
                kind,
                subject,
                events,
                (scim, checked),
                &mut work.decided,
                &mut pieces,
            );
        }
        pieces.sort_by_key(|(position, rank, _)| (*position, *rank));
        work.pieces = pieces.into_iter().map(|(_, _, piece)| piece).collect();
        work
    }

    /// Everybody whom it is about, and who joins or leaves.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        for piece in &self.pieces {
            keys.push(piece.key());
            if let Deed::Members { moved, .. } = &piece.deed {
                let users = moved.iter().map(|moved| (SubjectKind::User, moved.user.clone()));
                keys.extend(users);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

impl Gathered {
    fn take(&mut self, number: usize, event: &Outgoing) {
        self.events.push(number);
        self.leaves = is_deletion(event);
        let joins = match event.event_type {
            EventType::GroupAddUser => true,
            EventType::GroupRemoveUser => false,
            _ => return,
        };
        self.moves.push(number);
        let payload = GroupPayload::from_json(record::record(event)).ok();
        for user in payload.and_then(|payload| payload.user_ids).unwrap_or_default() {
            self.moved.retain(|moved| moved.user != user);
            self.moved.push(Moved {
                user,
                joins,
                event: number,
            });
        }
    }

    fn pieces(
        self,
        kind: SubjectKind,
        subject: String,
        events: &[Outgoing],
        (scim, checked): (&Scim, &Checked),
        decided: &mut BTreeMap<usize, Verdict>,
        pieces: &mut Vec<(usize, u8, Piece)>,
    ) {
        let (Some(first), Some(last)) = (self.events.first().copied(), self.events.last().copied()) else {
            return;
        };
        let resource_of = |record: &str| record::resource(checked, kind, record);
        let resource = resource_of(events.get(last).map(record::record).unwrap_or_default());
        let piece = |events: Vec<usize>, deed| Piece {
            kind,
            subject: subject.clone(),
            events,
            deed,
        };
        if self.leaves {
            let how = match (scim.does(Action::Delete), scim.leavers, kind) {
                (false, _, _) | (true, Leavers::Release, _) => Leavers::Release,
                (true, Leavers::Disable, SubjectKind::User) => Leavers::Disable,
                (true, Leavers::Disable | Leavers::Delete, _) => Leavers::Delete,
            };
            // Of whoever was erased, there is no record.
            let last_known = resource.unwrap_or_default();
            let deed = Deed::Leave {
                how,
                last: last_known,
                groups: events.get(last).and_then(groups_before),
            };
            pieces.push((last, 1, piece(self.events, deed)));
            return;
        }
        let wanted = match resource {
            Ok(wanted) => wanted,
            Err(remark) => {
                decide(decided, &self.events, &Verdict::Refused(remark));
                return;
            }
        };
        let before = self.before.and_then(|before| resource_of(&before).ok());
        let own: Vec<usize> = self
            .events
            .iter()
            .copied()
            .filter(|number| !self.moves.contains(number))
            .collect();
        // Whoever comes back may have been deleted there, without anybody having heard of it.
        let is_either = |number: &usize| {
            events.get(*number).is_some_and(|event| {
                let state = resource_of(record::record(event));
                !is_deletion(event)
                    && state.is_ok_and(|state| state == wanted || Some(&state) == before.as_ref())
            })
        };
        // The last one is what is wanted.
        let is_steady = own.iter().filter(|number| **number != last).all(is_either);
        let before = before.filter(|_| is_steady);
        // A group whose members move is there first, also if nothing else is said of it.
        if let Some(last_move) = self.moves.last() {
            let deed = Deed::Members {
                group: wanted.clone(),
                moved: self.moved,
            };
            pieces.push((*last_move, 1, piece(self.moves.clone(), deed)));
        }
        pieces.push((first, 0, piece(own, Deed::Present { wanted, before })));
    }
}

fn is_deletion(event: &Outgoing) -> bool {
    matches!(event.event_type, EventType::UserDelete | EventType::GroupDelete)
}

/// The groups in which the subject of a change was before it.
fn groups_before(event: &Outgoing) -> Option<Vec<String>> {
    let Origin::Change(change) = &event.origin else {
        return None;
    };
    Some(change.before.as_ref()?.groups.clone())
}

/// Says the same of several events: what is refused is refused once, and what it has overtaken is passed over, so that
/// one event stands for what has to be repaired.
pub fn decide(decided: &mut BTreeMap<usize, Verdict>, events: &[usize], verdict: &Verdict) {
    for (index, number) in events.iter().enumerate() {
        let is_last = index + 1 == events.len();
        let said = match verdict {
            Verdict::Refused(_) if !is_last => {
                let why = "a later event of the same request says what is true now";
                passed_over("overtaken", why)
            }
            verdict => verdict.clone(),
        };
        decided.insert(*number, said);
    }
}
