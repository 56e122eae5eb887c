//! Who is wanted again, and who arrives in spite of that: a membership must wait for the events of its members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use rollcall_protocol::{Event, EventType, GroupPayload, SubjectKind};

/// A membership that has arrived although an event of its member was wanted again.
pub(super) struct Overtaking {
    /// The event of the membership.
    pub(super) membership: String,
    /// The event of the member.
    pub(super) wanted: String,
}

#[derive(Default)]
struct Held {
    /// The users of whom events tell, by the events' ids.
    users: BTreeMap<String, String>,
    /// The event that a node has heard to be wanted again, by the user.
    wanted: BTreeMap<String, String>,
    /// The memberships that have arrived. One whose answer was not stored comes again, after what came later too.
    memberships: BTreeSet<String>,
    overtaking: Vec<Overtaking>,
}

/// What one application wants again. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Wanted(Arc<Mutex<Held>>);

impl Wanted {
    /// Looks at the events of a request that arrives, before its answer.
    pub(super) fn arrive(&self, events: &[Event]) {
        let mut held = self.0.lock().unwrap();
        // What was wanted again, by an answer that was heard and not stored, may come once more in the same request.
        let mut comes = BTreeSet::new();
        for event in events {
            match event.kind() {
                Some(EventType::GroupAddUser) if held.memberships.insert(event.event_id.clone()) => {
                    let group = GroupPayload::from_json(&event.biz_data).ok();
                    for user in group.and_then(|group| group.user_ids).unwrap_or_default() {
                        let wanted = held.wanted.get(&user).cloned();
                        if let Some(wanted) = wanted.filter(|wanted| !comes.contains(wanted.as_str())) {
                            held.overtaking.push(Overtaking {
                                membership: event.event_id.clone(),
                                wanted,
                            });
                        }
                    }
                }
                Some(kind) if kind.subject_kind() == Some(SubjectKind::User) => {
                    held.users.insert(event.event_id.clone(), event.biz_id.clone());
                    comes.insert(event.event_id.as_str());
                }
                _ => {}
            }
        }
    }

    /// Takes over an answer that a node has heard to the events that a request brought. What it does not speak of
    /// counts as received.
    pub(super) fn hears(&self, brought: &BTreeSet<String>, answer: &[u8]) {
        let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
        let mut held = self.0.lock().unwrap();
        held.wanted.retain(|_, wanted| !brought.contains(wanted));
        let again = answer["retriedEvents"].as_array().into_iter().flatten();
        for id in again.filter_map(|event| event["eventId"].as_str()) {
            if let Some(user) = held.users.get(id).cloned() {
                held.wanted.insert(user, id.to_owned());
            }
        }
    }

    /// Forgets what is wanted again: somebody decides about that now.
    pub(super) fn forget(&self) {
        let mut held = self.0.lock().unwrap();
        held.wanted.clear();
        held.overtaking.clear();
    }

    /// What has overtaken since the last time.
    pub(super) fn overtaking(&self) -> Vec<Overtaking> {
        std::mem::take(&mut self.0.lock().unwrap().overtaking)
    }
}
