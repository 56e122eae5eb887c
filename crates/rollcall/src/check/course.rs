//! What a case works with: who sends, what was made so far, how answers are judged, and what is stored.
//!
//! All users, units and groups that a run makes are remembered, and deleted at its end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use reqwest::Method;
use rollcall_protocol::{
    Answer, AnswerList, Event, EventType, GroupPayload, SigningKey, SubjectKind, UnitPayload, UserPayload,
};
use serde::Serialize;

use super::case::{Fault, Finding};
use super::read_back::{ReadBack, Stored};
use crate::clock::Millis;
use crate::delivery::egress::ANSWER_WITHIN;
use crate::sender::{
    CONTENT_TYPE, Cipher, Envelope, Post, Received, Samples, Sender, Unanswered, answer, body, excerpt, keys,
};

/// How often what is stored is looked at until it is as expected.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How many deletions are sent in one request at the end.
const DELETED_AT_ONCE: usize = 100;

/// A request, and what came back.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// What was sent.
    pub sent: String,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// The beginning of the answer, or why there was none.
    pub said: String,
}

/// What an endpoint answered for each event.
pub(super) struct Told {
    pub(super) answer: Answer,
    ids: Vec<String>,
}

impl Told {
    /// In which list an event stands.
    pub(super) fn list(&self, event: &Event) -> Option<AnswerList> {
        self.answer.result_of(&event.event_id).map(|(list, _)| list)
    }

    /// The events that stand in other lists than these, the first of them in words.
    pub(super) fn only(&self, lists: &[AnswerList]) -> Finding {
        for id in &self.ids {
            if let Some((list, result)) = self.answer.result_of(id)
                && !lists.contains(&list)
            {
                let said = format!("{} {}", result.event_code, result.event_message);
                let said = excerpt(said.as_bytes());
                return Fault::failed(format!(
                    "an event stands in {}{}",
                    list.as_str(),
                    if said.is_empty() {
                        String::new()
                    } else {
                        format!(" ({said})")
                    }
                ));
            }
        }
        Ok(())
    }

    /// Everything is done, or passed over: nothing is refused, and nothing is wanted again.
    pub(super) fn taken(&self) -> Finding {
        self.only(&[AnswerList::Success, AnswerList::Skipped])
    }
}

/// The state of a run.
pub(super) struct Course {
    pub(super) sender: Sender,
    pub(super) post: Post,
    pub(super) samples: Samples,
    pub(super) published: crate::sender::jwks::Published,
    /// Why a new key cannot be tried, if it cannot.
    pub(super) pinned: Option<&'static str>,
    pub(super) read_back: Option<ReadBack>,
    /// How long it may take until what was answered is stored.
    pub(super) settle: Duration,
    /// The unit that everything stands in.
    pub(super) home: UnitPayload,
    /// What the case did so far.
    pub(super) exchanges: Vec<Exchange>,
    made: BTreeSet<(Removal, String)>,
    /// A key that is not published, once one was needed.
    stranger: Option<Arc<SigningKey>>,
}

/// What is deleted, in this order: who is in something before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Removal {
    Group,
    User,
    Unit,
}

impl Course {
    pub(super) fn new(
        sender: Sender,
        post: Post,
        mut samples: Samples,
        published: crate::sender::jwks::Published,
    ) -> Self {
        let home = samples.home(sender.clock.now());
        Self {
            sender,
            post,
            samples,
            published,
            pinned: None,
            read_back: None,
            settle: Duration::ZERO,
            home,
            exchanges: Vec::new(),
            made: BTreeSet::new(),
            stranger: None,
        }
    }

    /// Makes a key, beside what else goes on.
    pub(super) async fn new_key(&self) -> Result<SigningKey, Fault> {
        let (now, random) = (self.sender.clock.now(), Arc::clone(&self.sender.random));
        let made = tokio::task::spawn_blocking(move || keys::make(now, random.as_ref())).await;
        made.map_err(|error| Fault::NotChecked(error.to_string()))?
            .map_err(|error| Fault::NotChecked(error.to_string()))
    }

    /// A key that is not published.
    pub(super) async fn stranger(&mut self) -> Result<Arc<SigningKey>, Fault> {
        if let Some(key) = &self.stranger {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(self.new_key().await?);
        self.stranger = Some(Arc::clone(&key));
        Ok(key)
    }

    /// The time of the next event.
    pub(super) fn time(&mut self) -> Millis {
        self.samples.time(self.sender.clock.now())
    }

    pub(super) fn user(&mut self) -> UserPayload {
        self.samples.user(&self.home, self.sender.clock.now())
    }

    pub(super) fn unit(&mut self) -> UnitPayload {
        self.samples.unit(&self.home.unit_id, self.sender.clock.now())
    }

    pub(super) fn group(&mut self) -> GroupPayload {
        self.samples.group(self.sender.clock.now())
    }

    /// An event at a time; its subject is deleted at the end.
    pub(super) fn event_at(&mut self, time: Millis, kind: EventType, biz_id: &str, record: String) -> Event {
        let removal = match kind.subject_kind() {
            Some(SubjectKind::User) => Some(Removal::User),
            Some(SubjectKind::Unit) => Some(Removal::Unit),
            Some(SubjectKind::Group) => Some(Removal::Group),
            None => None,
        };
        if let Some(removal) = removal {
            self.made.insert((removal, biz_id.to_owned()));
        }
        self.sender.event(kind, time, biz_id, record)
    }

    pub(super) fn event(&mut self, kind: EventType, biz_id: &str, record: String) -> Event {
        let time = self.time();
        self.event_at(time, kind, biz_id, record)
    }

    pub(super) fn user_event(&mut self, kind: EventType, user: &UserPayload) -> Event {
        self.event(kind, &user.user_id, user.to_json())
    }

    pub(super) fn unit_event(&mut self, kind: EventType, unit: &UnitPayload) -> Event {
        self.event(kind, &unit.unit_id, unit.to_json())
    }

    pub(super) fn group_event(&mut self, kind: EventType, group: &GroupPayload) -> Event {
        self.event(kind, &group.group_id, group.to_json())
    }

    pub(super) fn test_event(&mut self) -> Event {
        let instance = self.sender.instance_id.clone();
        self.event(EventType::Test, &instance, "{}".to_owned())
    }

    /// Sends something, and writes it down.
    pub(super) async fn exchange(
        &mut self,
        sent: String,
        method: Method,
        content_type: &str,
        content: Bytes,
        within: Duration,
    ) -> Result<Received, Unanswered> {
        let received = self.post.send(method, content_type, content, within).await;
        let exchange = exchange(sent, &received, within);
        self.exchanges.push(exchange);
        received
    }

    /// Sends a body as the hub does.
    pub(super) async fn post(&mut self, sent: &str, content: String) -> Result<Received, Unanswered> {
        let sent = format!("{sent}, {} bytes", content.len());
        self.exchange(sent, Method::POST, CONTENT_TYPE, content.into(), ANSWER_WITHIN)
            .await
    }

    /// Sends a sealed body with these events, and judges the form of the answer.
    pub(super) async fn send_sealed(&mut self, content: String, events: &[Event]) -> Result<Told, Fault> {
        let kinds: BTreeSet<&str> = events.iter().map(short).collect();
        let kinds = kinds.into_iter().take(4).collect::<Vec<_>>().join(", ");
        let sent = match events.len() {
            1 => kinds,
            count => format!("{count} events ({kinds})"),
        };
        let received = self
            .post(&sent, content)
            .await
            .map_err(|error| Fault::Failed(error.to_string()))?;
        judged(&received, events)
    }

    /// Sends events in one request, and judges the form of the answer.
    pub(super) async fn send(&mut self, events: &[Event]) -> Result<Told, Fault> {
        let content = self.sender.seal(events)?;
        self.send_sealed(content, events).await
    }

    /// Sends events in one request, all of which have to be taken.
    pub(super) async fn deliver(&mut self, events: &[Event]) -> Result<Told, Fault> {
        let told = self.send(events).await?;
        told.taken()?;
        Ok(told)
    }

    /// The envelope of events, to be changed.
    pub(super) fn envelope(&self, events: &[Event]) -> Result<Envelope, Fault> {
        Ok(self.sender.envelope(&self.sender.batch(events).to_json())?)
    }

    /// Sends a payload that is JSON text, sealed as usual, with these events in it.
    pub(super) async fn deliver_payload(&mut self, payload: &str, events: &[Event]) -> Finding {
        let jwt = self.sender.envelope(payload)?.signed(&self.sender.signing)?;
        self.send_sealed(body(&jwt), events).await?.taken()
    }

    /// An event that is forged: what it asks for must never be done.
    pub(super) fn bait(&mut self) -> Event {
        let user = self.user();
        self.user_event(EventType::UserCreate, &user)
    }

    /// Sends what must be refused.
    pub(super) async fn refused(&mut self, sent: &str, content: String) -> Finding {
        let received = self.post(sent, content).await;
        refusal(&received)
    }

    /// Sends an envelope that must be refused, signed as usual.
    pub(super) async fn refused_envelope(&mut self, sent: &str, envelope: &Envelope) -> Finding {
        let jwt = envelope.signed(&self.sender.signing)?;
        self.refused(sent, body(&jwt)).await
    }

    /// The JWE of an envelope; why there is none, if nothing is encrypted.
    pub(super) fn jwe(envelope: &Envelope) -> Result<String, Fault> {
        match &envelope.content {
            Cipher::Encrypted(jwe) => Ok(jwe.clone()),
            Cipher::Plain(_) => Err(Fault::NotChecked(NOT_ENCRYPTED.to_owned())),
        }
    }

    /// Looks what is stored of a user until it holds what is expected, for a while.
    pub(super) async fn until(
        &mut self,
        user: &UserPayload,
        holds: impl Fn(Option<&Stored>) -> Result<(), String>,
    ) -> Finding {
        let Some(read_back) = &self.read_back else {
            return Err(Fault::NotChecked(NO_READ_BACK.to_owned()));
        };
        let stopwatch = self.sender.clock.stopwatch();
        loop {
            let stored = match read_back.user(&user.user_id).await {
                Ok(stored) => stored,
                Err(error) => return Err(Fault::NotChecked(format!("the read-back failed: {error}"))),
            };
            let Err(why) = holds(stored.as_ref()) else {
                return Ok(());
            };
            if stopwatch.elapsed() >= self.settle {
                return Fault::failed(why);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Says early that nothing can be found out without looking what is stored.
    pub(super) fn needs_read_back(&self) -> Finding {
        match &self.read_back {
            Some(_) => Ok(()),
            None => Err(Fault::NotChecked(NO_READ_BACK.to_owned())),
        }
    }

    /// Waits until everything that was sent before is stored, by sending a user of whom that can be seen.
    pub(super) async fn settled(&mut self) -> Finding {
        let user = self.user();
        let event = self.user_event(EventType::UserCreate, &user);
        self.deliver(&[event]).await?;
        self.until(&user, |stored| {
            stored
                .map(|_| ())
                .ok_or_else(|| "a user who was created last is not stored".to_owned())
        })
        .await
    }

    /// Deletes all that was made. Returns how much that was, and what could not be deleted.
    pub(super) async fn clean_up(&mut self) -> (usize, Vec<String>) {
        let made: Vec<_> = std::mem::take(&mut self.made).into_iter().collect();
        let mut left = Vec::new();
        for part in made.chunks(DELETED_AT_ONCE) {
            let events: Vec<Event> = part
                .iter()
                .map(|(removal, id)| {
                    let (kind, name) = match removal {
                        Removal::Group => (EventType::GroupDelete, "groupId"),
                        Removal::User => (EventType::UserDelete, "userId"),
                        Removal::Unit => (EventType::UnitDelete, "organizationalUnitId"),
                    };
                    let time = self.samples.time(self.sender.clock.now());
                    self.sender
                        .event(kind, time, id, serde_json::json!({ name: id }).to_string())
                })
                .collect();
            if self.deliver(&events).await.is_err() {
                left.extend(part.iter().map(|(_, id)| id.clone()));
            }
        }
        (made.len(), left)
    }
}

/// Why what needs encryption was not checked.
pub(super) const NOT_ENCRYPTED: &str =
    "events are not encrypted in this run: give --encryption-key, and the same key to the endpoint";
/// Why what is stored was not checked.
pub(super) const NO_READ_BACK: &str = "what is stored was not looked at: give --read-back or --read-back-sql";

fn short(event: &Event) -> &str {
    match event.kind() {
        Some(kind) => kind.short(),
        None => &event.event_type,
    }
}

/// Judges the form of an answer.
pub(super) fn judged(received: &Received, events: &[Event]) -> Result<Told, Fault> {
    let ids: Vec<String> = events.iter().map(|event| event.event_id.clone()).collect();
    let named: Vec<&str> = ids.iter().map(String::as_str).collect();
    let answer = answer::read(received, &named).map_err(Fault::Failed)?;
    Ok(Told { answer, ids })
}

pub(super) fn exchange(sent: String, received: &Result<Received, Unanswered>, within: Duration) -> Exchange {
    let milliseconds = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match received {
        Ok(received) => Exchange {
            sent,
            status: Some(received.status),
            milliseconds: milliseconds(received.took),
            said: excerpt(&received.body),
        },
        Err(error) => Exchange {
            sent,
            status: None,
            milliseconds: match error {
                Unanswered::TimedOut(_) => milliseconds(within),
                Unanswered::Failed(_) => 0,
            },
            said: error.to_string(),
        },
    }
}

/// Whether what came back is a refusal.
pub(super) fn refusal(received: &Result<Received, Unanswered>) -> Finding {
    match received {
        Ok(received) if (400..600).contains(&received.status) => Ok(()),
        Ok(received) => Fault::failed(format!(
            "HTTP {}, where a 4xx or 5xx was expected: it was taken",
            received.status
        )),
        Err(error) => Fault::failed(format!("{error}, where a 4xx or 5xx was expected")),
    }
}
