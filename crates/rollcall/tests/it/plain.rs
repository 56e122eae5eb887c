//! An endpoint like those that many applications have: it verifies and decrypts, keeps no record of what it
//! has seen before, applies each event in the order in which it comes, and answers as a test wants it to.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use rollcall::access::Caller;
use rollcall::application::{self, Application, Limits, SettingsPatch, store};
use rollcall::delivery::ledger::attempts;
use rollcall::delivery::ledger::parked::{self, Parked, ParkedState};
use rollcall::delivery::model::Attempt;
use rollcall::delivery::{Delivery, Options};
use rollcall::directory::{Command, NewGroup, NewUnit};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall_protocol::{Answer, Event, EventResult, EventType, JwkSet};
use rollcall_receiver::{Direct, Handler, KeySource, Receiver};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::world::{add_application, egress, new_user};

/// What the endpoint says of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Success,
    Skipped,
    Failed,
    Retried,
    /// Nothing.
    Unnamed,
}

/// What the endpoint says of a request.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// All is well.
    Yes,
    /// Something of each event; those that succeed are applied.
    Each(Vec<Of>),
    /// A 200 with this body. Nothing is applied.
    Body(String),
    /// Another status. Nothing is applied.
    Status(u16),
    /// Another status with this body. Nothing is applied.
    Refusal(u16, String),
}

/// What happens while a request is handled.
type Work = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

type Script = Box<dyn FnMut(&[Event]) -> Say + Send>;

#[derive(Clone)]
pub(crate) struct Plain {
    pub(crate) application: Application,
    script: Arc<Mutex<Script>>,
    work: Arc<Mutex<Option<Work>>>,
    /// The events that were applied, in their order.
    applied: Arc<Mutex<Vec<Event>>>,
    requests: Arc<Mutex<Vec<Vec<Event>>>>,
    opener: Arc<Mutex<Arc<Opener>>>,
    _server: Arc<JoinHandle<()>>,
}

/// Verifies with the public keys that it was once given, as the official SDK does.
type Opener = Receiver<Direct<Nothing>>;

struct Nothing;
impl Handler for Nothing {}

fn opener(application: &Application, keys: &JwkSet) -> Arc<Opener> {
    let keys = KeySource::Document(serde_json::to_string(keys).unwrap());
    let receiver = Receiver::builder(keys, &application.id);
    Arc::new(receiver.build(Direct::new(Nothing)).unwrap())
}

/// The public keys of an application.
pub(crate) async fn jwks(hub: &Hub, application: &Application) -> JwkSet {
    let (id, now) = (application.id.clone(), hub.clock.now());
    let jwks = hub
        .db
        .read(move |tx| rollcall::application::keys::jwks(tx, &id, now));
    jwks.await.unwrap()
}

impl Plain {
    /// An endpoint and an application for it that sees everything.
    pub(crate) async fn new(hub: &Hub, name: &str) -> Self {
        Self::with_scope(hub, name, rollcall::application::Scope::everything()).await
    }

    pub(crate) async fn with_scope(hub: &Hub, name: &str, scope: rollcall::application::Scope) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let application = add_application(hub, name, &url, None, scope).await;
        let keys = jwks(hub, &application).await;
        let opener = Arc::new(Mutex::new(opener(&application, &keys)));
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(|_: &[Event]| Say::Yes)));
        let work: Arc<Mutex<Option<Work>>> = Arc::default();
        let applied: Arc<Mutex<Vec<Event>>> = Arc::default();
        let requests: Arc<Mutex<Vec<Vec<Event>>>> = Arc::default();
        let (opens, said) = (
            Arc::clone(&opener),
            (Arc::clone(&script), Arc::clone(&applied), Arc::clone(&requests)),
        );
        let working = Arc::clone(&work);
        let routes = axum::Router::new().route(
            "/events",
            post(move |body: Bytes| {
                let (script, applied, requests) = said.clone();
                let opener = Arc::clone(&opens.lock().unwrap());
                let work = working.lock().unwrap().clone();
                async move {
                    let opened = match opener.open(&body).await {
                        Ok(opened) => opened,
                        // As real receivers answer, though the document asks for a 4xx.
                        Err(error) => {
                            let description = error.to_string();
                            let answer = json!({ "error": "bad_request", "errorDescription": description });
                            return (StatusCode::INTERNAL_SERVER_ERROR, answer.to_string()).into_response();
                        }
                    };
                    let events = opened.batch.events;
                    if events.iter().any(|event| event.kind() == Some(EventType::Test)) {
                        let say = (script.lock().unwrap())(&events);
                        return answer(&events, &say);
                    }
                    if let Some(work) = work {
                        work().await;
                    }
                    requests.lock().unwrap().push(events.clone());
                    let say = (script.lock().unwrap())(&events);
                    let takes = |index: usize| match &say {
                        Say::Yes => true,
                        Say::Each(each) => each[index] == Of::Success,
                        Say::Body(_) | Say::Status(_) | Say::Refusal(..) => false,
                    };
                    let taken = events.iter().enumerate().filter(|(index, _)| takes(*index));
                    applied
                        .lock()
                        .unwrap()
                        .extend(taken.map(|(_, event)| event.clone()));
                    answer(&events, &say)
                }
            }),
        );
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            application,
            script,
            work,
            applied,
            requests,
            opener,
            _server: Arc::new(server),
        }
    }

    /// Fetches the public keys anew, as at a start, and keeps those that pass.
    pub(crate) async fn restart(&self, hub: &Hub, pins: impl Fn(&str) -> bool) {
        let mut keys = jwks(hub, &self.application).await;
        keys.keys.retain(|key| pins(&key.kid));
        *self.opener.lock().unwrap() = opener(&self.application, &keys);
    }

    /// Answers like this from now on.
    pub(crate) fn say(&self, script: impl FnMut(&[Event]) -> Say + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// Does this while it handles a request, before it answers.
    pub(crate) fn slow<W: Future<Output = ()> + Send + 'static>(
        &self,
        work: impl Fn() -> W + Send + Sync + 'static,
    ) {
        *self.work.lock().unwrap() = Some(Arc::new(move || Box::pin(work())));
    }

    /// The events that were applied, in their order.
    pub(crate) fn applied(&self) -> Vec<Event> {
        self.applied.lock().unwrap().clone()
    }

    /// All requests, whatever came of them.
    pub(crate) fn requests(&self) -> Vec<Vec<Event>> {
        self.requests.lock().unwrap().clone()
    }

    /// What the application holds of a user: the last record that was applied; none if that was a deletion.
    pub(crate) fn user(&self, id: &str) -> Option<String> {
        let applied = self.applied();
        let last = applied.iter().rev().find(|event| event.biz_id == id)?;
        (last.kind() != Some(EventType::UserDelete)).then(|| last.biz_data.clone())
    }

    /// The members of a group, as its deltas add up.
    pub(crate) fn members(&self, group: &str) -> Vec<String> {
        let mut members = BTreeMap::new();
        for event in self.applied().iter().filter(|event| event.biz_id == group) {
            let ids = || {
                rollcall_protocol::GroupPayload::from_json(&event.biz_data)
                    .unwrap()
                    .user_ids
                    .unwrap_or_default()
            };
            match event.kind() {
                Some(EventType::GroupAddUser) => members.extend(ids().into_iter().map(|id| (id, ()))),
                Some(EventType::GroupRemoveUser) => ids().iter().for_each(|id| {
                    members.remove(id);
                }),
                _ => {}
            }
        }
        members.into_keys().collect()
    }

    /// The ids of a subject's events in the order in which they were applied.
    pub(crate) fn story_of(&self, subject: &str) -> Vec<Event> {
        self.applied()
            .into_iter()
            .filter(|event| event.biz_id == subject)
            .collect()
    }
}

fn answer(events: &[Event], say: &Say) -> Response {
    let each = match say {
        Say::Status(status) => return (StatusCode::from_u16(*status).unwrap(), "no").into_response(),
        Say::Refusal(status, body) => {
            return (StatusCode::from_u16(*status).unwrap(), body.clone()).into_response();
        }
        Say::Body(body) => return body.clone().into_response(),
        Say::Yes => vec![Of::Success; events.len()],
        Say::Each(each) => each.clone(),
    };
    let mut answer = Answer::default();
    for (event, of) in events.iter().zip(each) {
        // As the official SDK says it of a type that it does not know.
        let code = if of == Of::Skipped { "auto_skipped" } else { "CODE" };
        let list = match of {
            Of::Success => &mut answer.success,
            Of::Skipped => &mut answer.skipped,
            Of::Failed => &mut answer.failed,
            Of::Retried => &mut answer.retried,
            Of::Unnamed => continue,
        };
        list.push(EventResult {
            event_id: event.event_id.clone(),
            event_code: code.to_owned(),
            // Applications like to quote what they do not take.
            event_message: match of {
                Of::Success | Of::Unnamed => String::new(),
                Of::Skipped | Of::Failed | Of::Retried => format!("not taken: {}", event.biz_data),
            },
        });
    }
    serde_json::to_string(&answer).unwrap().into_response()
}

pub(crate) async fn apply(hub: &Hub, command: Command) -> String {
    hub.apply(Caller::system("test"), command).await.unwrap().id
}

pub(crate) async fn user(hub: &Hub, name: &str) -> String {
    apply(hub, Command::CreateUser(new_user(name, ROOT_UNIT))).await
}

pub(crate) async fn unit(hub: &Hub, name: &str, parent_id: &str) -> String {
    let new = NewUnit {
        name: name.to_owned(),
        parent_id: parent_id.to_owned(),
        ..NewUnit::default()
    };
    apply(hub, Command::CreateUnit(new)).await
}

/// A group without members.
pub(crate) async fn group(hub: &Hub, name: &str) -> String {
    let new = NewGroup {
        name: name.to_owned(),
        ..NewGroup::default()
    };
    apply(hub, Command::CreateGroup(new)).await
}

pub(crate) async fn deliver(hub: &Hub, options: Options) -> Delivery {
    Delivery::start(hub.clone(), egress(), options).await.unwrap()
}

pub(crate) async fn stored(hub: &Hub, application: &Application) -> Application {
    let id = application.id.clone();
    hub.db.read(move |tx| store::load(tx, &id)).await.unwrap()
}

/// The requests to an application, newest first.
pub(crate) async fn attempts_of(hub: &Hub, application: &Application) -> Vec<Attempt> {
    let id = application.id.clone();
    let rows = hub.db.read(move |tx| attempts::newest(tx, &id, 0, 10_000));
    rows.await
        .unwrap()
        .into_iter()
        .map(|(_, attempt)| attempt)
        .collect()
}

pub(crate) async fn parked_of(hub: &Hub, application: &Application) -> Vec<Parked> {
    let id = application.id.clone();
    hub.db.read(move |tx| parked::list(tx, &id)).await.unwrap()
}

pub(crate) async fn limit(hub: &Hub, application: &Application, limits: Limits) {
    let command = application::Command::Update {
        id: application.id.clone(),
        name: None,
        secret: None,
        settings: SettingsPatch {
            max_events: Some(limits.max_events),
            max_bytes: Some(limits.max_bytes),
            lanes: Some(limits.lanes),
            requests_per_second: limits.requests_per_second,
            ..SettingsPatch::default()
        },
    };
    hub.apply_application(Caller::system("test"), command)
        .await
        .unwrap();
}

pub(crate) async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    until_within(Duration::from_secs(40), what, holds).await;
}

/// The same for what takes long.
pub(crate) async fn until_within(patience: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds().await {
        assert!(Instant::now() < deadline, "this does not come: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until everything up to the log's end is settled and nothing waits.
pub(crate) async fn settled(hub: &Hub, application: &Application) {
    until("everything is settled", async || {
        let head = hub.db.read(rollcall::change::head).await.unwrap().seq;
        // The position first: what is parked is parked by the transaction that moves it.
        let reached = stored(hub, application).await.position == head;
        let waits = parked_of(hub, application)
            .await
            .iter()
            .any(|parked| parked.state != ParkedState::Failed);
        reached && !waits
    })
    .await;
}

pub(crate) fn says(event: &Event, text: &str) -> bool {
    event.biz_data.contains(text)
}
