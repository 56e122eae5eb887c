//! `rollcall trigger`: events that somebody wishes for, sent to an address, without a directory and without touching one.
//!
//! A [`Wish`] is a type of event or a [`Scenario`]; [`plan`] makes events of wishes, about the same few people each time, so
//! that what was created by one call is changed by the next. [`run`] sends them, in one request or each in its own, and says
//! what was answered for each. [`record`] keeps what was sent as lines of JSON, without secrets, to be sent again.

mod plan;
pub mod record;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rollcall_protocol::{AnswerList, Event, EventType};
use serde::Serialize;

pub use plan::{Plan, Scenario, Setting, Step, Wish, plan};

use crate::sender::jwks::Published;
use crate::sender::{Post, REFETCHED_WITHIN, Sender, Unsealed, answer, keys};

/// How often a request under a new key is sent again, until the endpoint has looked for that key.
const SEND_AGAIN: Duration = Duration::from_secs(1);

/// An event, and what the endpoint said of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// The event's id.
    pub event_id: String,
    /// Its type, without the prefix.
    pub event_type: String,
    /// What it is about.
    pub biz_id: String,
    /// In which list of the answer it stands; `None` if there was no answer for it.
    pub list: Option<&'static str>,
    /// The code.
    pub code: String,
    /// The message.
    pub message: String,
}

/// A request, and what came back.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// The id of the key that signed it.
    pub kid: String,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// How long it took.
    pub milliseconds: u64,
    /// What is wrong with the answer, or why there is none.
    pub problem: Option<String>,
    /// Its events.
    pub events: Vec<Answered>,
}

impl Sent {
    /// Whether everything is done, or passed over.
    pub fn is_taken(&self) -> bool {
        let taken = [AnswerList::Success, AnswerList::Skipped].map(AnswerList::as_str);
        self.problem.is_none()
            && self
                .events
                .iter()
                .all(|event| event.list.is_some_and(|list| taken.contains(&list)))
    }
}

/// Carries out a plan, until it is done or `stop` ends. `told` hears of each request, with its events.
///
/// # Errors
/// [`Unsealed`].
pub async fn run(
    mut sender: Sender,
    post: &Post,
    published: &Published,
    plan: Plan,
    stop: impl Future<Output = ()>,
    mut told: impl FnMut(&Sent, &[Event]),
) -> Result<(), Unsealed> {
    let mut stop = pin!(stop);
    let mut is_new_key = false;
    for step in plan.steps {
        let events = match step {
            Step::Rotate => {
                rotate(&mut sender, published).await?;
                is_new_key = true;
                continue;
            }
            Step::Send(events) => events,
        };
        let patience = if is_new_key {
            REFETCHED_WITHIN
        } else {
            Duration::ZERO
        };
        is_new_key = false;
        let sent = tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            sent = send(&sender, post, &events, patience) => sent?,
        };
        told(&sent, &events);
    }
    Ok(())
}

/// Signs with a new key from now on.
async fn rotate(sender: &mut Sender, published: &Published) -> Result<(), Unsealed> {
    let (now, random) = (sender.clock.now(), Arc::clone(&sender.random));
    let made = tokio::task::spawn_blocking(move || keys::make(now, random.as_ref())).await;
    let key = made
        .map_err(|error| Unsealed(error.to_string()))?
        .map_err(|error| Unsealed(error.to_string()))?;
    published.add(&key);
    sender.signing = Arc::new(key);
    Ok(())
}

/// Sends a request; again and again for a while, if it is refused.
async fn send(sender: &Sender, post: &Post, events: &[Event], patience: Duration) -> Result<Sent, Unsealed> {
    let stopwatch = sender.clock.stopwatch();
    loop {
        let sent = once(sender, post, events).await?;
        let is_refused = sent.status.is_some_and(|status| (400..600).contains(&status));
        if !is_refused || stopwatch.elapsed() >= patience {
            return Ok(sent);
        }
        tokio::time::sleep(SEND_AGAIN).await;
    }
}

async fn once(sender: &Sender, post: &Post, events: &[Event]) -> Result<Sent, Unsealed> {
    let received = post.post(sender.seal(events)?).await;
    let ids: Vec<&str> = events.iter().map(|event| event.event_id.as_str()).collect();
    let (status, took, read) = match &received {
        Ok(received) => (Some(received.status), received.took, answer::read(received, &ids)),
        Err(error) => (None, Duration::ZERO, Err(error.to_string())),
    };
    let answered = |event: &Event| {
        let result = read
            .as_ref()
            .ok()
            .and_then(|answer| answer.result_of(&event.event_id));
        Answered {
            event_id: event.event_id.clone(),
            event_type: event.kind().map_or_else(
                || event.event_type.clone(),
                |kind: EventType| kind.short().to_owned(),
            ),
            biz_id: event.biz_id.clone(),
            list: result.map(|(list, _)| list.as_str()),
            code: result.map(|(_, it)| it.event_code.clone()).unwrap_or_default(),
            message: result.map(|(_, it)| it.event_message.clone()).unwrap_or_default(),
        }
    };
    Ok(Sent {
        kid: sender.signing.kid().to_owned(),
        status,
        milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        events: events.iter().map(answered).collect(),
        problem: read.err(),
    })
}
