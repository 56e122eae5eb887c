//! A receiver without memory, for tests of a hub.
//!
//! [`Forgetful`] does what a minimal application on the official SDK does: it keeps no event ids, compares
//! no times, and applies every event as it comes; the last writer wins. Where it ends up different from
//! the hub, the hub has lost or reordered something. A script says how it answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Extension, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use rollcall_protocol::{Event, EventType, GroupPayload, PayloadError, UnitPayload, UserPayload};

use crate::handler::Outcome;
use crate::mirror::Snapshot;
use crate::receiver::{Process, ProcessError, Receiver};

/// What to do with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Apply it, and answer *success*.
    Apply,
    /// Answer this without applying it.
    Answer(Outcome),
    /// Apply it, and answer this: an application that fails after its work is done.
    ApplyAndAnswer(Outcome),
}

/// An answer to a request as it goes over the wire, whatever that is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside the length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// An event that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The number of the request that brought it, from 1.
    pub request: u64,
    /// Its id.
    pub event_id: String,
    /// What it is about.
    pub biz_id: String,
    /// Its type, as it stands on the wire.
    pub event_type: String,
    /// When it happened, in milliseconds since the Unix epoch.
    pub event_time: i64,
    /// Its record, as it came.
    pub biz_data: String,
    /// Whether it was applied.
    pub applied: bool,
}

type Script = Box<dyn Fn(&Event, u32) -> Act + Send + Sync>;
type WholeAnswer = Box<dyn Fn(&[Event], u64) -> Option<RawAnswer> + Send + Sync>;

/// A processor that keeps what it is told, in memory, and nothing else. Clones share it.
#[derive(Clone)]
pub struct Forgetful {
    inner: Arc<Inner>,
}

struct Inner {
    script: Script,
    whole: WholeAnswer,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    users: BTreeMap<String, UserPayload>,
    units: BTreeMap<String, UnitPayload>,
    groups: BTreeMap<String, GroupPayload>,
    members: BTreeMap<String, BTreeSet<String>>,
    arrivals: Vec<Arrival>,
    seen: HashMap<String, u32>,
    requests: u64,
    whole: Option<RawAnswer>,
}

impl std::fmt::Debug for Forgetful {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forgetful").finish_non_exhaustive()
    }
}

impl Default for Forgetful {
    fn default() -> Self {
        Self::new()
    }
}

impl Forgetful {
    /// One that applies everything that it knows, and skips the rest.
    pub fn new() -> Self {
        Self::scripted(|_, _| Act::Apply)
    }

    /// One that asks a script what to do with each event; the number says how often an event of this id
    /// has come, from 1.
    pub fn scripted(script: impl Fn(&Event, u32) -> Act + Send + Sync + 'static) -> Self {
        Self::answering(script, |_, _| None)
    }

    /// One that also asks what to answer to a request as a whole (with its events and its number, from 1),
    /// instead of what the events' outcomes say: whatever bytes, whatever status. The events are applied
    /// as the first script says. [`router`] sends such answers.
    pub fn answering(
        script: impl Fn(&Event, u32) -> Act + Send + Sync + 'static,
        whole: impl Fn(&[Event], u64) -> Option<RawAnswer> + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                script: Box::new(script),
                whole: Box::new(whole),
                held: Mutex::default(),
            }),
        }
    }

    /// One that skips events of these types, as the official SDK skips those that it does not know, and
    /// applies the others.
    pub fn skipping(types: impl IntoIterator<Item = EventType>) -> Self {
        let types: BTreeSet<EventType> = types.into_iter().collect();
        Self::scripted(move |event, _| match event.kind() {
            Some(kind) if types.contains(&kind) => Act::Answer(Outcome::Skipped(String::new())),
            _ => Act::Apply,
        })
    }

    /// Everything that it holds.
    pub fn snapshot(&self) -> Snapshot {
        let held = self.held();
        let mut snapshot = Snapshot::default();
        for unit in held.units.values() {
            snapshot.add_unit(unit.clone());
        }
        for user in held.users.values() {
            snapshot.add_user(user.clone());
        }
        for group in held.groups.values() {
            let members = held.members.get(&group.group_id).cloned().unwrap_or_default();
            snapshot.add_group(group.clone(), members);
        }
        snapshot
    }

    /// Every event that came, in order, also those that were not applied.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.held().arrivals.clone()
    }

    /// The events that came after the first `count` ones.
    pub fn arrivals_after(&self, count: usize) -> Vec<Arrival> {
        self.held().arrivals.iter().skip(count).cloned().collect()
    }

    /// How many requests came.
    pub fn requests(&self) -> u64 {
        self.held().requests
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.inner.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process for Forgetful {
    async fn process(&self, events: Vec<Event>, _now: i64) -> Result<Vec<Outcome>, ProcessError> {
        let mut held = self.held();
        held.requests += 1;
        let request = held.requests;
        held.whole = (self.inner.whole)(&events, request);
        let outcomes = events.iter().map(|event| {
            let times = held.seen.entry(event.event_id.clone()).or_default();
            *times += 1;
            let (apply, answer) = match (self.inner.script)(event, *times) {
                Act::Apply => (true, None),
                Act::Answer(outcome) => (false, Some(outcome)),
                Act::ApplyAndAnswer(outcome) => (true, Some(outcome)),
            };
            let done = apply.then(|| {
                held.apply(event)
                    .unwrap_or_else(|error| Outcome::malformed(&error))
            });
            let applied = matches!(done, Some(Outcome::Success(_)));
            held.arrivals.push(Arrival {
                request,
                event_id: event.event_id.clone(),
                biz_id: event.biz_id.clone(),
                event_type: event.event_type.clone(),
                event_time: event.event_time,
                biz_data: event.biz_data.clone(),
                applied,
            });
            answer.or(done).unwrap_or_else(Outcome::success)
        });
        Ok(outcomes.collect())
    }
}

impl Held {
    fn apply(&mut self, event: &Event) -> Result<Outcome, PayloadError> {
        use EventType as T;
        let skipped = || Outcome::Skipped(String::new());
        let Some(kind) = event.kind() else {
            return Ok(skipped());
        };
        let data = &event.biz_data;
        match kind {
            T::Test => {}
            T::UserCreate
            | T::UserUpdateInfo
            | T::UserUpdatePassword
            | T::UserDisable
            | T::UserEnable
            | T::UserLock
            | T::UserUnlock
            | T::UserUpdatePrimaryOu
            | T::UserPush => {
                let user = UserPayload::from_json(data)?;
                self.users.insert(user.user_id.clone(), user);
            }
            T::UserDelete => {
                let user = UserPayload::from_json(data)?;
                self.users.remove(&user.user_id);
                for members in self.members.values_mut() {
                    members.remove(&user.user_id);
                }
            }
            T::UnitCreate | T::UnitUpdate | T::UnitUpdateParent | T::UnitPush => {
                let unit = UnitPayload::from_json(data)?;
                self.units.insert(unit.unit_id.clone(), unit);
            }
            T::UnitDelete => {
                self.units.remove(&UnitPayload::from_json(data)?.unit_id);
            }
            T::GroupCreate | T::GroupUpdate => {
                let group = GroupPayload::from_json(data)?;
                self.groups.insert(group.group_id.clone(), group);
            }
            T::GroupDelete => {
                let group = GroupPayload::from_json(data)?;
                self.groups.remove(&group.group_id);
                self.members.remove(&group.group_id);
            }
            T::GroupAddUser => {
                let group = GroupPayload::from_json(data)?;
                let members = self.members.entry(group.group_id).or_default();
                members.extend(group.user_ids.unwrap_or_default());
            }
            T::GroupRemoveUser => {
                let group = GroupPayload::from_json(data)?;
                let members = self.members.entry(group.group_id).or_default();
                for user in group.user_ids.unwrap_or_default() {
                    members.remove(&user);
                }
            }
            T::UnitAddUser | T::UnitRemoveUser | T::Inventory => return Ok(skipped()),
        }
        Ok(Outcome::success())
    }
}

#[derive(Clone)]
struct Endpoint {
    receiver: Arc<Receiver<Forgetful>>,
    /// One request at a time, so that each finds its own answer.
    serial: Arc<tokio::sync::Mutex<()>>,
}

/// A router that takes POST requests at `path`, and gives the answers that [`Forgetful::answering`] was
/// told to give to whole requests. One request at a time.
pub fn router(receiver: Arc<Receiver<Forgetful>>, path: &str) -> axum::Router {
    let endpoint = Endpoint {
        receiver,
        serial: Arc::default(),
    };
    axum::Router::new()
        .route(path, axum::routing::post(take))
        .layer(axum::extract::DefaultBodyLimit::max(
            endpoint.receiver.limit_bytes(),
        ))
        .with_state(endpoint)
}

async fn take(
    State(Endpoint { receiver, serial }): State<Endpoint>,
    remote: Option<Extension<ConnectInfo<SocketAddr>>>,
    body: Bytes,
) -> Response {
    let _serial = serial.lock().await;
    let remote = remote.map(|Extension(info)| info.0.ip());
    let reply = receiver.receive(remote, &body).await;
    let whole = receiver.processor().held().whole.take();
    let answer = whole.unwrap_or_else(|| RawAnswer {
        status: reply.status,
        headers: vec![(
            "content-type".to_owned(),
            "application/json;charset=utf-8".to_owned(),
        )],
        body: reply.body.into_bytes(),
    });
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
