//! Handling events at once, with the ids remembered in memory.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rollcall_protocol::Event;
use tokio::sync::Mutex;

use crate::handler::{Handler, Outcome, dispatch};
use crate::receiver::{Process, ProcessError};

/// How many event ids are remembered.
const REMEMBERED: usize = 100_000;

/// How long a request waits for those before it. The hub has given up by then (wire contract, section 1).
const WAIT_FOR: Duration = Duration::from_secs(10);

/// Calls a handler while the hub waits for the answer, which has to come within ten seconds.
///
/// The newest 100,000 events that were done or skipped are remembered by their ids, and how each was
/// answered; after a restart none is. One that failed is handled again if it is sent again. Requests are
/// handled one after the other, so that events keep their order; one that has waited for ten seconds is
/// turned away to come again. Within a request, events of a subject wait behind one that the handler
/// wants again. A handler that panics is taken to want its event again.
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
        let Ok(mut memory) = tokio::time::timeout(WAIT_FOR, self.memory.lock()).await else {
            return Err(ProcessError(
                "the requests before this one take too long".to_owned(),
            ));
        };
        let mut waiting = HashSet::new();
        let mut outcomes = Vec::with_capacity(events.len());
        for event in events {
            if let Some(outcome) = memory.outcomes.get(&event.event_id) {
                outcomes.push(outcome.clone());
                continue;
            }
            // Deltas, such as those of a group's members, end up different in another order.
            if waiting.contains(&event.biz_id) {
                outcomes.push(Outcome::exception(
                    "an earlier event of this subject has to be sent again",
                ));
                continue;
            }
            let outcome = unless_it_panics(dispatch(&self.handler, &event)).await;
            if matches!(outcome, Outcome::Retry { .. }) && !event.biz_id.is_empty() {
                waiting.insert(event.biz_id.clone());
            }
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

/// Polls a handler's future to its end, or to its panic. After that it is not polled again.
async fn unless_it_panics(handling: impl Future<Output = Outcome>) -> Outcome {
    let mut handling = pin!(handling);
    poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(context)))
            .unwrap_or_else(|_| Poll::Ready(Outcome::exception("the handler panicked")))
    })
    .await
}
