//! Whom portions of members have named: an id stands for one portion. Whoever remembers ids answers another one from
//! memory, and nothing that comes later names its members again. Other events of a job may say something newer under
//! the same id, since the log tells of that under its own.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Mutex;

use rollcall_protocol::{Event, EventType, GroupPayload};

#[derive(Default)]
struct Noted {
    /// By application and id.
    said: HashMap<(String, String), u64>,
    wrong: Option<String>,
}

#[derive(Default)]
pub(super) struct Contents(Mutex<Noted>);

impl Contents {
    /// Looks at an event that arrives.
    pub(super) fn arrives(&self, name: &str, event: &Event) {
        if !matches!(
            event.kind(),
            Some(EventType::GroupAddUser | EventType::GroupRemoveUser)
        ) {
            return;
        }
        let Ok(payload) = GroupPayload::from_json(&event.biz_data) else {
            return;
        };
        let mut hasher = DefaultHasher::new();
        (&event.event_type, &event.biz_id, payload.user_ids).hash(&mut hasher);
        let said = hasher.finish();
        let mut noted = self.0.lock().unwrap();
        let of = (name.to_owned(), event.event_id.clone());
        if *noted.said.entry(of).or_insert(said) != said {
            let (id, data) = (&event.event_id, &event.biz_data);
            noted.wrong = Some(format!(
                "{name} was told of other members as {id} before: now {data}"
            ));
        }
    }

    /// What was told under an id that stands for other members, if anything was.
    pub(super) fn wrong(&self) -> Option<String> {
        self.0.lock().unwrap().wrong.take()
    }
}
