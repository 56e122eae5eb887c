//! Handling events at once, with the ids remembered in memory.

use std::collections::{HashMap, VecDeque};

use rollcall_protocol::Event;
use tokio::sync::Mutex;

use crate::handler::{Handler, Outcome, dispatch};
use crate::receiver::{Process, ProcessError};

/// How many event ids are remembered.
const REMEMBERED: usize = 100_000;

/// Calls a handler while the hub waits for the answer, which has to come within ten seconds.
///
/// The newest 100,000 events that were done or skipped are remembered by their ids, and how each was
/// answered; after a restart none is. One that failed is handled again if it is sent again.
/// Requests are handled one after the other, so that events keep their order.
pub struct Direct<H> {
    handler: H,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    outcomes: HashMap<String, Outcome>,
    order: VecDeque<String>,
}

impl<H: Handler> Direct<H> {
    /// Calls this handler.
    pub fn new(handler: H) -> Self {
        Self {
            handler,
            memory: Mutex::new(Memory::default()),
        }
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }
}

impl<H: Handler> Process for Direct<H> {
    async fn process(&self, events: Vec<Event>, _now: i64) -> Result<Vec<Outcome>, ProcessError> {
        let mut memory = self.memory.lock().await;
        let mut outcomes = Vec::with_capacity(events.len());
        for event in events {
            if let Some(outcome) = memory.outcomes.get(&event.event_id) {
                outcomes.push(outcome.clone());
                continue;
            }
            let outcome = dispatch(&self.handler, &event).await;
            if matches!(outcome, Outcome::Success(_) | Outcome::Skipped(_)) {
                memory.outcomes.insert(event.event_id.clone(), outcome.clone());
                memory.order.push_back(event.event_id);
                if memory.order.len() > REMEMBERED
                    && let Some(oldest) = memory.order.pop_front()
                {
                    memory.outcomes.remove(&oldest);
                }
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}
