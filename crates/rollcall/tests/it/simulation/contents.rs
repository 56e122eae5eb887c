//! What events have said: an id stands for one content. Whoever remembers ids answers another one from memory.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Mutex;

use rollcall_protocol::{Event, EventType};

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
        // A password that has waited too long is taken out of the event that waits.
        if event.kind() == Some(EventType::UserUpdatePassword) {
            return;
        }
        let mut hasher = DefaultHasher::new();
        (
            &event.event_type,
            event.event_time,
            &event.biz_id,
            &event.biz_data,
        )
            .hash(&mut hasher);
        let said = hasher.finish();
        let mut noted = self.0.lock().unwrap();
        let of = (name.to_owned(), event.event_id.clone());
        if *noted.said.entry(of).or_insert(said) != said {
            let (id, data) = (&event.event_id, &event.biz_data);
            noted.wrong = Some(format!(
                "{name} was told something else as {id} before: now {data}"
            ));
        }
    }

    /// What was told under an id that stands for something else, if anything was.
    pub(super) fn wrong(&self) -> Option<String> {
        self.0.lock().unwrap().wrong.take()
    }
}
