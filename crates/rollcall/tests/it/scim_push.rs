//! Pushing by SCIM, to an application that does what a script says: order, loss, lost answers, limits, failures.

mod changed;
mod compared;
mod peer;
mod probed;
mod synchronized;
mod tested;
mod thousand;
mod unit_names;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rollcall::access::Caller;
use rollcall::application::keys::NewKey;
use rollcall::application::scim::{Authentication, Leavers, ProfilePatch, Scim, ScimPatch};
use rollcall::application::{
    self, Application, Limits, Mode, ModeName, NewApplication, Scope, Settings, SettingsPatch, Subscription,
};
use rollcall::change;
use rollcall::delivery::connectivity::{self, StepResult};
use rollcall::delivery::ledger::operate;
use rollcall::delivery::{Delivery, Options, job};
use rollcall::directory::{Command, NewUnit};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall::secret::SecretString;
use rollcall_protocol::SystemRandom;
use rollcall_scim::Object;
use rollcall_scim::client::{Call, GroupUpdate, Method, Preset, Rate, Update};
use rollcall_scim::testing::{Provider, members};
use serde_json::{Value, json};

use crate::plain::{Plain, apply, deliver, parked_of, settled, stored, until, until_within, user};
use crate::world::{described, hasty, new_user, on_both, open_hub, renamed};

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is carried out and answered.
    Fine,
    /// It is answered with this status, and not carried out.
    Status(u16),
    /// The same, with a wish for patience of one second.
    Busy,
    /// It is carried out, and the answer says that something failed.
    Lost,
}

#[derive(Default)]
struct Script {
    provider: Provider,
    /// What becomes of the next requests; afterwards they are fine.
    fates: VecDeque<Fate>,
    /// Users of this name are answered with 500.
    poison: Option<String>,
    refuses_all: bool,
    takes_no_patch: bool,
    /// Nothing can be deleted.
    keeps_all: bool,
    /// What it says of itself.
    says: Option<Value>,
    /// As long as somebody else holds it, nobody is told that something was made.
    gate: Arc<tokio::sync::Mutex<()>>,
    /// As long as somebody else holds it, nobody gets a list of groups.
    gate_of_groups: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Default)]
pub(crate) struct Scripted(Arc<Mutex<Script>>);

impl Scripted {
    fn with<T>(&self, f: impl FnOnce(&mut Script) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }

    /// Looks at the users or changes them, as somebody does by hand.
    pub(crate) fn by_hand<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Object>) -> T) -> T {
        self.with(|script| change(&mut script.provider.users))
    }

    /// Deletes a user, as somebody does by hand: also from groups.
    pub(crate) fn delete(&self, name: &str) {
        self.with(|script| {
            let provider = &mut script.provider;
            let mut users = provider.users.iter();
            let id = users.find(|(_, it)| it["userName"] == name).unwrap().0.clone();
            let mut call = Call::get("Users", Vec::new()).of(&id);
            call.method = Method::Delete;
            provider.answer(&call);
        });
    }

    /// Whether it takes PATCH from now on.
    pub(crate) fn take_patch(&self, takes: bool) {
        self.with(|script| script.takes_no_patch = !takes);
    }

    fn names(&self) -> BTreeSet<String> {
        self.with(|script| {
            let users = script.provider.users.values();
            users
                .map(|user| user["userName"].as_str().unwrap().to_owned())
                .collect()
        })
    }

    fn members(&self, group: &str) -> BTreeSet<String> {
        self.with(|script| {
            let provider = &script.provider;
            let mut groups = provider.groups.values();
            let Some(group) = groups.find(|it| it["displayName"] == group) else {
                return BTreeSet::new();
            };
            let ids = members(group);
            ids.iter()
                .map(|id| provider.users[id]["userName"].as_str().unwrap().to_owned())
                .collect()
        })
    }
}

async fn answer(State(scripted): State<Scripted>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    assert_eq!(parts.headers["authorization"], "Bearer s3cret");
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let url: reqwest::Url = format!("http://x{}", parts.uri).parse().unwrap();
    let path: Vec<String> = url.path_segments().unwrap().map(str::to_owned).collect();
    let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
    let call = Call {
        method: match parts.method.as_str() {
            "GET" => Method::Get,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            other => panic!("{other}"),
        },
        endpoint: path[2].clone(),
        id: path.get(3).cloned(),
        query: ["filter", "startIndex", "count"]
            .into_iter()
            .filter_map(|name| Some((name, query.get(name)?.clone())))
            .collect(),
        body: (!body.is_empty()).then(|| serde_json::from_slice(&body).unwrap()),
        if_match: None,
    };
    let answer = scripted.with(|script| {
        if script.refuses_all {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        if call.endpoint == "ServiceProviderConfig" {
            return match &script.says {
                Some(says) => axum::Json(says).into_response(),
                None => StatusCode::NOT_FOUND.into_response(),
            };
        }
        if script.keeps_all && call.method == Method::Delete {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        if script.takes_no_patch && call.method == Method::Patch {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        let text = String::from_utf8_lossy(&body);
        if script
            .poison
            .as_ref()
            .is_some_and(|poison| text.contains(poison.as_str()))
        {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        let fate = script.fates.pop_front().unwrap_or(Fate::Fine);
        match fate {
            Fate::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
            Fate::Busy => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
            Fate::Fine | Fate::Lost => {
                let reply = script.provider.answer(&call);
                if let Fate::Lost = fate {
                    return StatusCode::BAD_GATEWAY.into_response();
                }
                let status = StatusCode::from_u16(reply.status).unwrap();
                match reply.body {
                    Some(body) => (status, axum::Json(body)).into_response(),
                    None => status.into_response(),
                }
            }
        }
    });
    let gate = scripted.with(|script| match parts.method.as_str() {
        "POST" => Some(Arc::clone(&script.gate)),
        "GET" if path.len() == 3 && path[2] == "Groups" => Some(Arc::clone(&script.gate_of_groups)),
        _ => None,
    });
    if let Some(gate) = gate {
        drop(gate.lock().await);
    }
    answer
}

/// A service provider, and its base URL.
pub(crate) async fn serve() -> (Scripted, String) {
    let scripted = Scripted::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/scim/v2", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(scripted.clone());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (scripted, base)
}

/// An application in the SCIM mode, and the hub's record of it.
async fn add(hub: &Hub, change: impl FnOnce(&mut Scim)) -> (Scripted, Application) {
    let (scripted, base) = serve().await;
    (scripted, add_at(hub, &base, "s3cret", change).await)
}

/// An application in the SCIM mode at a base URL that takes this token.
pub(crate) async fn add_at(
    hub: &Hub,
    base: &str,
    token: &str,
    change: impl FnOnce(&mut Scim),
) -> Application {
    let mut scim = Scim::preset(Preset::Standard, base, Authentication::BearerToken);
    scim.leavers = Leavers::Delete;
    change(&mut scim);
    add_named(hub, "Scim", token, scim).await
}

/// An application of this name that takes SCIM as these parameters say.
async fn add_named(hub: &Hub, name: &str, token: &str, scim: Scim) -> Application {
    let settings = Settings {
        mode: Mode::Scim(Box::new(scim)),
        password_synchronization: false,
        limits: Limits::default(),
    };
    let new = NewApplication {
        name: name.to_owned(),
        settings,
        encryption_key: None,
        secret: Some(SecretString::from(token)),
        scope: Scope::everything(),
        subscription: Subscription::everything(),
        signing_key: NewKey::generate(hub.clock.now(), &SystemRandom, &hub.master).unwrap(),
    };
    let create = application::Command::Create(Box::new(new));
    let applied = hub
        .apply_application(Caller::system("test"), create)
        .await
        .unwrap();
    applied.application
}

async fn begin(hub: &Hub) -> Delivery {
    deliver(hub, hasty()).await
}

/// Asks for a full synchronization; returns the id of the job.
async fn synchronize(hub: &Hub, application: &Application) -> String {
    let id = application.id.clone();
    let request = hub.write_as(Caller::system("test"), move |tx, ctx| {
        job::request_full(tx, ctx, &id)
    });
    request.await.unwrap()
}

async fn group_with(hub: &Hub, name: &str, users: &[&String]) -> String {
    let group = crate::plain::group(hub, name).await;
    join(hub, &group, users).await;
    group
}

async fn join(hub: &Hub, group: &str, users: &[&String]) {
    let command = Command::AddMembers {
        group_id: group.to_owned(),
        user_ids: users.iter().map(|user| (*user).clone()).collect(),
    };
    apply(hub, command).await;
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_application_follows_the_directory() {
    on_both("scim_follows", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        let delivery = begin(&hub).await;
        let (ada, bob) = (user(&hub, "ada").await, user(&hub, "bob").await);
        let staff = group_with(&hub, "Staff", &[&ada, &bob]).await;
        settled(&hub, &application).await;
        assert_eq!(app.names(), set(&["ada", "bob"]));
        assert_eq!(app.members("Staff"), set(&["ada", "bob"]));
        apply(&hub, renamed(&ada, "ada.l")).await;
        let command = Command::RemoveMembers {
            group_id: staff.clone(),
            user_ids: vec![bob.clone()],
        };
        apply(&hub, command).await;
        apply(&hub, Command::DisableUser { id: ada.clone() }).await;
        settled(&hub, &application).await;
        assert_eq!(app.names(), set(&["ada.l", "bob"]));
        assert_eq!(app.members("Staff"), set(&["ada.l"]));
        apply(&hub, Command::DeleteUser { id: bob }).await;
        settled(&hub, &application).await;
        assert_eq!(app.names(), set(&["ada.l"]));
        app.with(|script| {
            let ada = script.provider.users.values().next().unwrap();
            assert_eq!(ada["active"], false);
        });
        delivery.stop().await;
        // A hub that starts again knows what the application has: a change is one request.
        app.with(|script| script.provider.calls.clear());
        let delivery = begin(&hub).await;
        apply(&hub, described(&ada, "not mapped")).await;
        apply(&hub, renamed(&ada, "ada.k")).await;
        settled(&hub, &application).await;
        until("it is told", async || app.names() == set(&["ada.k"])).await;
        app.with(|script| assert_eq!(script.provider.calls, ["PATCH Users/1"]));
        delivery.stop().await;
    });
}

#[test]
fn nothing_is_lost_or_made_twice_whatever_the_answers_are() {
    on_both("scim_answers", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        app.with(|script| {
            script.fates = [
                Fate::Fine,
                Fate::Lost,
                Fate::Status(500),
                Fate::Fine,
                Fate::Busy,
                Fate::Fine,
                Fate::Lost,
                Fate::Status(503),
            ]
            .into();
        });
        let mut ids = Vec::new();
        for number in 0..8 {
            ids.push(user(&hub, &format!("u{number}")).await);
        }
        let delivery = begin(&hub).await;
        group_with(&hub, "Staff", &ids.iter().collect::<Vec<_>>()).await;
        settled(&hub, &application).await;
        let wanted: BTreeSet<String> = (0..8).map(|number| format!("u{number}")).collect();
        assert_eq!(app.names(), wanted);
        assert_eq!(app.members("Staff"), wanted);
        app.with(|script| {
            assert_eq!(script.provider.users.len(), 8);
            assert!(script.fates.is_empty());
        });
        assert!(parked_of(&hub, &application).await.is_empty());
        delivery.stop().await;
    });
}

#[test]
fn one_at_whom_the_application_fails_is_set_aside_and_the_rest_goes_on() {
    on_both("scim_poison", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        app.with(|script| script.poison = Some("\"poisonous\"".to_owned()));
        for name in ["ada", "poisonous", "bob", "eve"] {
            user(&hub, name).await;
        }
        let delivery = begin(&hub).await;
        settled(&hub, &application).await;
        assert_eq!(app.names(), set(&["ada", "bob", "eve"]));
        let parked = parked_of(&hub, &application).await;
        assert_eq!(parked.len(), 1, "{parked:?}");
        assert!(stored(&hub, &application).await.suspended.is_none());
        delivery.stop().await;
    });
}

#[test]
fn an_outage_suspends_and_costs_no_event_anything() {
    on_both("scim_outage", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        app.with(|script| script.refuses_all = true);
        user(&hub, "ada").await;
        let delivery = begin(&hub).await;
        until("it is suspended", async || {
            stored(&hub, &application).await.suspended.is_some()
        })
        .await;
        assert!(parked_of(&hub, &application).await.is_empty());
        app.with(|script| script.refuses_all = false);
        until("it is told", async || app.names() == set(&["ada"])).await;
        until("the suspension ends", async || {
            stored(&hub, &application).await.suspended.is_none()
        })
        .await;
        delivery.stop().await;
    });
}

#[test]
fn what_needs_no_request_is_no_sign_of_life() {
    on_both("scim_no_sign", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        app.with(|script| script.refuses_all = true);
        user(&hub, "ada").await;
        let delivery = begin(&hub).await;
        let suspended = async || stored(&hub, &application).await.suspended.is_some();
        until("it is suspended", &suspended).await;
        // Units are no objects by SCIM, so this one is told without a request.
        let unit = NewUnit {
            name: "Sales".to_owned(),
            parent_id: ROOT_UNIT.to_owned(),
            ..NewUnit::default()
        };
        apply(&hub, Command::CreateUnit(unit)).await;
        let id = application.id.clone();
        hub.write_as(Caller::system("test"), move |tx, ctx| {
            operate::skip(tx, ctx, &id, None)
        })
        .await
        .unwrap();
        let head = hub.db.read(change::head).await.unwrap().seq;
        until("the unit's event is passed", async || {
            stored(&hub, &application).await.position == head
        })
        .await;
        assert!(suspended().await, "nobody asked it");
        app.with(|script| script.refuses_all = false);
        user(&hub, "grace").await;
        until("it is told", async || app.names() == set(&["grace"])).await;
        until("the suspension ends", async || !suspended().await).await;
        delivery.stop().await;
    });
}

#[test]
fn many_are_told_over_several_lanes() {
    on_both("scim_lanes", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        let limits = Limits {
            lanes: 4,
            max_events: 10,
            ..Limits::default()
        };
        crate::plain::limit(&hub, &application, limits).await;
        let new = (0..100).map(|number| new_user(&format!("u{number}"), rollcall::id::ROOT_UNIT));
        crate::world::create_users(&hub, new.collect()).await;
        let delivery = begin(&hub).await;
        settled(&hub, &application).await;
        app.with(|script| assert_eq!(script.provider.users.len(), 100));
        delivery.stop().await;
    });
}

#[test]
fn a_hub_that_stops_waits_for_one_request_and_not_for_the_batch() {
    on_both("scim_stops", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |scim| {
            scim.profile.rate = Some(Rate {
                requests: 10,
                seconds: 1,
            });
        })
        .await;
        let new = (0..100).map(|number| new_user(&format!("u{number}"), rollcall::id::ROOT_UNIT));
        crate::world::create_users(&hub, new.collect()).await;
        let delivery = begin(&hub).await;
        until("some are told", async || {
            app.with(|script| script.provider.users.len() >= 3)
        })
        .await;
        let begun = Instant::now();
        delivery.stop().await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        // Nothing is made twice by the next one, which does not know of those.
        app.with(|script| script.provider.calls.clear());
        let told = app.names();
        let delivery = begin(&hub).await;
        until("more are told", async || {
            app.with(|script| script.provider.users.len() > told.len() + 1)
        })
        .await;
        delivery.stop().await;
        assert!(app.names().is_superset(&told));
        app.with(|script| {
            let posts = script
                .provider
                .calls
                .iter()
                .filter(|call| call.starts_with("POST"))
                .count();
            assert_eq!(told.len() + posts, script.provider.users.len());
        });
        assert_eq!(stored(&hub, &application).await.position, application.position);
    });
}

#[test]
fn a_wrong_profile_suspends_and_sets_nothing_aside() {
    on_both("scim_profile", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        let delivery = begin(&hub).await;
        let ada = user(&hub, "ada").await;
        settled(&hub, &application).await;
        app.with(|script| script.takes_no_patch = true);
        apply(&hub, renamed(&ada, "ada.l")).await;
        until("it is suspended", async || {
            stored(&hub, &application).await.suspended.is_some()
        })
        .await;
        let reason = stored(&hub, &application).await.suspended.unwrap().reason;
        assert!(reason.contains("change its profile"), "{reason}");
        assert!(parked_of(&hub, &application).await.is_empty());
        app.with(|script| script.takes_no_patch = false);
        until("it is told", async || app.names() == set(&["ada.l"])).await;
        delivery.stop().await;
    });
}
