//! What the hub makes of a database that does not do its part.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rollcall::access::Caller;
use rollcall::api::{self, Api, ApiError};
use rollcall::application::Scope;
use rollcall::change;
use rollcall::delivery::Delivery;
use rollcall::delivery::feed::Feed;
use rollcall::delivery::vitals::Pulse;
use rollcall::directory::{Command, DirectoryError, NewGroup, NewUnit, UserChanges};
use rollcall::hub::{Hub, HubError};
use rollcall::id::ROOT_UNIT;
use rollcall::maintenance::retention::{Retention, trim};
use rollcall::maintenance::{self, Upkeep};
use rollcall::secret::AdminToken;
use rollcall_db::testing::{Fault, Faults, databases, postgres, sqlite};
use rollcall_db::{DbError, Lane, params};
use rollcall_protocol::SystemRandom;
use serde_json::Value;
use tokio::sync::watch;

use crate::world::{World, egress, hasty, new_user, on_both, open_hub, parts, renamed};

/// A hub whose database meets faults, and its API.
struct Served {
    hub: Hub,
    address: SocketAddr,
    token: String,
    _folder: tempfile::TempDir,
}

struct Said {
    status: u16,
    retry_after: Option<String>,
    request_id: String,
    code: String,
    text: String,
}

impl Served {
    async fn new(database: &str, faults: &Faults) -> Self {
        // For the client of the test; the hub brings its own.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let options = rollcall_db::Options {
            faults: faults.clone(),
            unavailable_after: Duration::from_millis(50),
            ..rollcall_db::Options::default()
        };
        let hub = Hub::open_with(parts(database), options).await.unwrap();
        let delivery = Delivery::start(hub.clone(), egress(), hasty()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let token = AdminToken::read_or_make(&folder.path().join("token"), &SystemRandom).unwrap();
        let shown = token.expose().to_string();
        let shared = Arc::clone(delivery.shared());
        let upkeep = Arc::new(Upkeep::new(hub.clone(), maintenance::Options::default()));
        let routes = api::router(Arc::new(Api::new(shared, upkeep, token)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        // So that all commits, and the faults, are the API's.
        delivery.stop().await;
        Self {
            hub,
            address,
            token: shown,
            _folder: folder,
        }
    }

    async fn create(&self, username: &str) -> Said {
        let body = serde_json::json!({ "username": username, "displayName": "Ada",
            "primaryOrganizationalUnitId": ROOT_UNIT });
        let response = reqwest::Client::new()
            .post(format!("http://{}/api/v1/users", self.address))
            .bearer_auth(&self.token)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let header = |name: &str| {
            let value = response.headers().get(name);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let (retry_after, request_id) = (header("retry-after"), header("x-request-id").unwrap());
        let status = response.status().as_u16();
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Said {
            status,
            retry_after,
            request_id,
            code: text("code"),
            text: text("detail"),
        }
    }
}

#[test]
fn each_class_of_errors_has_a_status_of_its_own() {
    for database in databases("statuses") {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let faults = Faults::default();
            let served = Served::new(&database.url, &faults).await;
            let said = served.create("first").await;
            assert!(said.status < 300, "{}", said.text);

            faults.next(Lane::Log, [Fault::Busy]);
            let said = served.create("busy").await;
            assert_eq!((said.status, said.code.as_str()), (503, "unavailable"));
            assert_eq!(said.retry_after.as_deref(), Some("5"));

            faults.next(Lane::Log, [Fault::Full]);
            let said = served.create("full").await;
            assert_eq!((said.status, said.code.as_str()), (507, "disk_full"));
            assert!(said.text.contains("disk is full"), "{}", said.text);

            faults.next(Lane::Log, [Fault::Damaged]);
            let said = served.create("damaged").await;
            assert_eq!((said.status, said.code.as_str()), (503, "database_damaged"));
            assert_eq!(said.retry_after.as_deref(), Some("60"));

            assert!(served.create("good").await.status < 300);

            // A mistake: the table is not what the program takes it for.
            let renamed = served
                .hub
                .db
                .write(|tx| tx.execute("ALTER TABLE users RENAME TO people", params![]));
            renamed.await.unwrap();
            let said = served.create("bug").await;
            assert_eq!((said.status, said.code.as_str()), (500, "internal"));
            assert_eq!(said.retry_after, None);
            assert!(said.text.contains("X-Request-Id"), "{}", said.text);
            assert!(!said.text.contains("users"), "the table is the log's affair");
            assert!(said.request_id.starts_with("req_"), "{}", said.request_id);
        });
    }
}

#[test]
fn a_change_made_at_one_node_wakes_another_that_does_not_look_by_itself() {
    let Some(database) = postgres("two_nodes") else {
        return;
    };
    let mirror = sqlite();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut world = World::without_delivery(&database.url, &mirror.url, Scope::everything()).await;
        world.options.poll = Duration::from_secs(24 * 3_600);
        world.start().await;
        world.synchronize().await;
        world.converged().await;
        let other = open_hub(&database.url).await;
        for username in ["ada", "grace"] {
            let command = Command::CreateUser(new_user(username, ROOT_UNIT));
            other.apply(Caller::system("test"), command).await.unwrap();
            world.converged().await;
        }
        // Also after the connection that listens was lost.
        database.cut_connections();
        let command = Command::CreateUser(new_user("hedy", ROOT_UNIT));
        other.apply(Caller::system("test"), command).await.unwrap();
        world.converged().await;
        world.stop().await;
    });
}

#[test]
fn values_that_the_database_refuses_are_the_request_s_own_fault() {
    use axum::response::IntoResponse as _;
    let refused = DbError::Refused {
        code: Some("22021".into()),
        message: "invalid byte sequence".into(),
    };
    let response = ApiError::from(refused).into_response();
    assert_eq!(response.status().as_u16(), 422);
    assert!(!response.headers().contains_key("retry-after"));
}

#[test]
fn an_emptied_file_is_not_taken_for_a_new_hub() {
    let database = sqlite();
    let file = rollcall_db::sqlite_file(&database.url).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let hub = Hub::open(parts(&database.url)).await.unwrap();
        hub.db.close().await;
        std::fs::write(&file, "").unwrap();
        for open in [
            Hub::open(parts(&database.url)).await,
            Hub::open_existing(parts(&database.url)).await,
        ] {
            let Err(HubError::Database(error)) = open else {
                panic!("it was opened");
            };
            assert!(error.to_string().contains("the file is empty"), "{error}");
        }
        assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
    });
}

/// Commands that share a commit are read ahead together; each sees all the same what those before it did.
#[test]
fn commands_that_share_a_commit_see_each_other() {
    for database in databases("read_ahead") {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let hub = open_hub(&database.url).await;
            let apply = |command| hub.apply(Caller::system("test"), command);
            let unit = async |name: &str| {
                let new = NewUnit {
                    name: name.into(),
                    parent_id: ROOT_UNIT.into(),
                    ..NewUnit::default()
                };
                apply(Command::CreateUnit(new)).await.unwrap().id
            };
            let (sales, europe) = (unit("Sales").await, unit("Europe").await);
            let mut ids = Vec::new();
            for username in ["ada", "grace", "hedy", "radia"] {
                let made = apply(Command::CreateUser(new_user(username, &sales))).await;
                ids.push(made.unwrap().id);
            }
            let [ada, grace, hedy, radia] = ids.try_into().unwrap();
            let group = NewGroup {
                name: "Readers".into(),
                ..NewGroup::default()
            };
            let group = apply(Command::CreateGroup(group)).await.unwrap().id;
            let start = hub.db.read(change::head).await.unwrap().seq;

            // Everything is queued while the writer is busy, and then committed at once.
            let (release, released) = std::sync::mpsc::channel::<()>();
            let busy = hub.db.write(move |tx| {
                tx.query("SELECT 1", params![])?;
                let _ = released.recv();
                Ok::<_, DbError>(())
            });
            let named = |id: &String, name: &str| Command::UpdateUser {
                id: id.clone(),
                changes: UserChanges {
                    display_name: Some(name.into()),
                    ..UserChanges::default()
                },
            };
            let groups = hub.db.stats().groups;
            let calls: Vec<_> = [
                named(&ada, "Ada 1"),
                named(&grace, "Grace 1"),
                Command::DisableUser { id: ada.clone() },
                Command::MoveUnit {
                    id: sales.clone(),
                    parent_id: europe.clone(),
                },
                named(&hedy, "Hedy 1"),
                Command::AddMembers {
                    group_id: group.clone(),
                    user_ids: vec![radia.clone()],
                },
                named(&radia, "Radia 1"),
                named(&ada, "Ada 2"),
                Command::DeleteUser { id: grace.clone() },
                named(&grace, "Grace 2"),
            ]
            .into_iter()
            .map(apply)
            .collect();
            release.send(()).unwrap();
            busy.await.unwrap();
            let mut results = Vec::new();
            for call in calls {
                results.push(call.await);
            }
            let refused = results.pop().unwrap();
            assert!(
                matches!(refused, Err(DirectoryError::NotFound { .. })),
                "{refused:?}"
            );
            assert!(results.iter().all(Result::is_ok), "{results:?}");
            assert!(hub.db.stats().groups - groups <= 2, "they share a commit");

            let log = hub
                .db
                .read(move |tx| change::read_after(tx, start, 100))
                .await
                .unwrap();
            let last = |id: &String, kind: &str| {
                let of_it =
                    |change: &&change::Change| change.subject_id == *id && change.kind.as_str() == kind;
                log.iter().rev().find(of_it).unwrap().clone()
            };
            let record = |change: &change::Change| serde_json::from_str::<Value>(&change.record).unwrap();
            let info = "ud:user:update_info";
            let ada = record(&last(&ada, info));
            assert_eq!(ada["displayName"], "Ada 2");
            assert_eq!(ada["status"], "disabled");
            let hedy = last(&hedy, info).after.unwrap();
            assert!(hedy.units.contains(&europe), "{hedy:?}");
            let radia = last(&radia, info).after.unwrap();
            assert!(radia.units.contains(&europe), "{radia:?}");
            assert_eq!(radia.groups, [group]);
            let gone = last(&grace, "ud:user:delete");
            assert_eq!(record(&gone)["displayName"], "Grace 1");
            assert!(gone.before.unwrap().units.contains(&europe));
            let positions: Vec<_> = log.iter().map(|change| change.seq).collect();
            let expected: Vec<_> = (start + 1..).take(log.len()).collect();
            assert_eq!(positions, expected);
            hub.db.close().await;
        });
    }
}

#[tokio::test]
async fn those_who_lag_together_read_the_log_once_also_at_its_end() {
    for database in databases("together") {
        let hub = open_hub(&database.url).await;
        for number in 0..40 {
            let new = new_user(&format!("user{number}"), ROOT_UNIT);
            let made = hub.apply(Caller::system("test"), Command::CreateUser(new));
            made.await.unwrap();
        }
        // The feed begins at the log's end, as that of a hub that was down.
        let feed = Feed::start(hub.db.clone(), Duration::from_secs(3_600))
            .await
            .unwrap();
        let before = hub.db.stats().reads;
        for position in 0..40 {
            let (one, other) = tokio::join!(feed.after(position, 1), feed.after(position, 32));
            let (one, other) = (one.unwrap(), other.unwrap());
            assert_eq!(one[0].seq, position + 1);
            assert_eq!(one[0].record, other[0].record);
        }
        assert_eq!(hub.db.stats().reads - before, 1);
    }
}

#[tokio::test]
async fn the_log_is_followed_also_when_retention_has_taken_all_of_it() {
    for database in databases("taken") {
        let hub = open_hub(&database.url).await;
        // The feed of a node that stands still while the others go on.
        let feed = Feed::start(hub.db.clone(), Duration::from_millis(10))
            .await
            .unwrap();
        for number in 0..3 {
            let new = new_user(&format!("user{number}"), ROOT_UNIT);
            let made = hub.apply(Caller::system("test"), Command::CreateUser(new));
            made.await.unwrap();
        }
        // What happened in this very millisecond is not older than now.
        tokio::time::sleep(Duration::from_millis(3)).await;
        let nothing_is_kept = Retention {
            changes: Duration::ZERO,
            ..Retention::default()
        };
        trim(&hub, nothing_is_kept).await.unwrap();
        assert_eq!(hub.db.read(change::oldest).await.unwrap(), None);
        let (stop, stopped) = watch::channel(false);
        let pulse = Arc::new(Pulse::default());
        let following = tokio::spawn(Arc::clone(&feed).follow(stopped, pulse.begin()));
        let head = hub.db.read(change::head).await.unwrap().seq;
        let caught_up = async {
            while feed.now().head < head {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), caught_up).await;
        waited.expect("the feed is at the log's end");
        stop.send_replace(true);
        following.await.unwrap();
    }
}

#[test]
fn a_worker_that_has_nothing_to_do_notices_at_once_that_a_settlement_failed() {
    on_both("unsettled", async |database, mirror| {
        let faults = Faults::default();
        let options = rollcall_db::Options {
            faults: faults.one_by_one(),
            ..rollcall_db::Options::default()
        };
        let hub = Hub::open_with(parts(&database), options).await.unwrap();
        let mut world = World::of(hub, &mirror, Scope::everything()).await;
        // Nothing wakes the worker up by itself, and nobody else writes.
        let hour = Duration::from_secs(3_600);
        (world.options.idle, world.options.lease) = (hour, hour);
        world.start().await;
        if let Some(maintenance) = world.maintenance.take() {
            maintenance.stop().await;
        }
        let up_to_date = async || {
            let head = world.hub.db.read(change::head).await.unwrap().seq;
            world.stored().await.position == head
        };
        let ada = world.user("ada", ROOT_UNIT).await;
        world.until("ada is settled", up_to_date).await;
        if database.starts_with("sqlite:") {
            // The change itself is the first commit there.
            faults.next(Lane::Log, [None, Some(Fault::Full)]);
        } else {
            faults.next(Lane::Settlement, [Fault::Full]);
        }
        world.apply(renamed(&ada, "countess")).await;
        world.until("the change is settled", up_to_date).await;
        let sent = world.endpoint.arrived();
        let [.., first, second] = &*sent else {
            panic!("{sent:?}")
        };
        assert_eq!(
            first.event_id, second.event_id,
            "it is sent again, as the same event"
        );
        world.stop().await;
    });
}
