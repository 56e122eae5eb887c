//! What happens beside deliveries, at moments that a test picks: nothing is lost, nothing overtakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rollcall::access::Caller;
use rollcall::application::keys::{self, NewKey};
use rollcall::application::{self, Limits, RotationStep, Scope, ScopeEdit, SettingsPatch};
use rollcall::delivery::Options;
use rollcall::delivery::job::{self, JobStatus, Trigger};
use rollcall::delivery::ledger::operate::{self, OperateError};
use rollcall::delivery::ledger::parked::ParkedState;
use rollcall::delivery::plan::lanes::lane_of;
use rollcall::directory::{Command, NewUnit};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall::maintenance::retention::{Retention, trim};
use rollcall_db::testing::{Fault, Faults, TestDatabase, postgres};
use rollcall_db::{DbError, Dialect, Lane, params};
use rollcall_protocol::{EventType, SystemRandom};
use rollcall_receiver::testing::{Act, Forgetful, RawAnswer};

use crate::forgetful::{Simple, kind};
use crate::plain::{Plain, Say, apply, deliver, limit, parked_of, settled, stored, unit, until, user};
use crate::world::{described, hasty, new_user, on_both, open_hub, parts};

#[test]
fn a_unit_that_moves_between_two_pages_of_a_synchronization_hides_nobody() {
    on_both("moved_between_pages", |hub, _| async move {
        let hub = open_hub(&hub).await;
        // The two below come first in the order of ids, and are deep at first. More than a page lies between.
        let top = unit(&hub, "Top", ROOT_UNIT).await;
        let middle = unit(&hub, "Middle", &top).await;
        let moved = unit(&hub, "Moved", &middle).await;
        let below = unit(&hub, "Below", &moved).await;
        let ada = apply(&hub, Command::CreateUser(new_user("ada", &below))).await;
        let many: Vec<_> = (0..1_100)
            .map(|number| {
                let new = NewUnit {
                    name: format!("Unit {number}"),
                    parent_id: top.clone(),
                    ..NewUnit::default()
                };
                hub.apply(Caller::system("test"), Command::CreateUnit(new))
            })
            .collect();
        for one in many {
            one.await.unwrap();
        }
        // It learns of all of them by the synchronization alone.
        let app = Simple::new(&hub, "App", Scope::everything(), Forgetful::new()).await;
        let delivery = deliver(&hub, hasty()).await;
        let first = app.gate.hold_after(6);
        let job_id = app.request_full().await;
        app.gate.has(first).await;
        let to_the_top = Command::MoveUnit {
            id: moved.clone(),
            parent_id: ROOT_UNIT.to_owned(),
        };
        apply(&hub, to_the_top).await;
        app.gate.open();
        assert_eq!(app.ended(&job_id).await.status, JobStatus::Success);
        app.is_right().await;
        let pushed = |id: &str| {
            let arrivals = app.app.arrivals();
            let of_it = arrivals.iter().filter(|arrival| arrival.biz_id == id);
            of_it
                .filter(|arrival| matches!(kind(arrival), Some(EventType::UnitPush | EventType::UserPush)))
                .count()
        };
        for id in [&moved, &below, &ada] {
            assert_eq!(pushed(id), 1, "{id}");
        }
        delivery.stop().await;
    });
}

/// The first request of a round is refused, and the other lane's is held up: what makes the first lane end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// The failed try cannot be stored.
    Database,
    /// Somebody changes the application.
    Change,
}

async fn lanes(database: &str, ends: Ends) {
    let faults = Faults::default();
    let options = rollcall_db::Options {
        faults: faults.one_by_one(),
        ..rollcall_db::Options::default()
    };
    let hub = Hub::open_with(parts(database), options).await.unwrap();
    // On SQLite all commits are of one lane.
    let lane = match hub.db.dialect() {
        Dialect::Sqlite => Lane::Log,
        Dialect::Postgres => Lane::Settlement,
    };
    let planned = faults.clone();
    let refuses = move |_: &[rollcall_protocol::Event], number: u64| {
        (number == 1).then(|| {
            if ends == Ends::Database {
                planned.next(lane, [Fault::Full]);
            }
            RawAnswer {
                status: 500,
                ..RawAnswer::default()
            }
        })
    };
    let app = Forgetful::answering(
        {
            let first = AtomicBool::new(true);
            // What is refused as a whole is not applied.
            move |_, _| match first.swap(false, Ordering::SeqCst) {
                true => Act::Answer(rollcall_receiver::Outcome::success()),
                false => Act::Apply,
            }
        },
        refuses,
    );
    // The first two in different lanes, and then more for later rounds.
    let (mut users, mut others) = (vec![user(&hub, "user0").await], 0);
    while users.len() < 6 {
        let id = user(&hub, &format!("user{}", users.len() + others)).await;
        if lane_of(&id, 2) == lane_of(&users[users.len() - 1], 2) {
            others += 1;
        } else {
            users.push(id);
        }
    }
    let app = Simple::new(&hub, "App", Scope::everything(), app).await;
    let limits = Limits {
        lanes: 2,
        max_events: 1,
        ..Limits::default()
    };
    limit(&hub, &app.application, limits).await;
    for id in &users {
        apply(&hub, described(id, "told")).await;
    }
    let held = app.gate.hold_after(1);
    let patient = Options {
        first_pause: Duration::from_secs(60),
        longest_pause: Duration::from_secs(60),
        // Nobody else commits meanwhile.
        lease: Duration::from_secs(600),
        idle: Duration::from_secs(3_600),
        ..hasty()
    };
    let delivery = deliver(&hub, patient).await;
    app.gate.has(held).await;
    match ends {
        Ends::Database => {
            until("the failed try meets a full disk", async || {
                app.app.requests() == 1 && faults.pending() == 0
            })
            .await;
        }
        Ends::Change => {
            until("the first lane waits", async || app.app.requests() == 1).await;
            let change = application::Command::Update {
                id: app.application.id.clone(),
                name: None,
                secret: None,
                settings: SettingsPatch {
                    requests_per_second: Some(10_000),
                    ..SettingsPatch::default()
                },
            };
            let changed = hub.apply_application(Caller::system("test"), change).await;
            changed.unwrap();
        }
    }
    // The worker has every reason to start over, many times, but a request of the old round is in flight.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(app.gate.arrived(), held, "something is sent beside the old round");
    app.gate.open();
    settled(&hub, &app.application).await;
    let snapshot = app.app.snapshot();
    for id in &users {
        let told = snapshot.users.get(id).map(|user| user.description.clone());
        assert_eq!(told, Some(Some("told".to_owned())), "{id}");
    }
    assert!(parked_of(&hub, &app.application).await.is_empty());
    delivery.stop().await;
}

#[test]
fn a_lane_that_ends_waits_for_the_others_before_anything_is_sent_anew() {
    on_both("lanes_database", |hub, _| async move {
        lanes(&hub, Ends::Database).await;
    });
    on_both("lanes_change", |hub, _| async move {
        lanes(&hub, Ends::Change).await;
    });
}

#[test]
fn retention_goes_on_although_a_dead_application_has_a_pending_synchronization() {
    on_both("dead_and_pending", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let dead = Arc::new(AtomicBool::new(true));
        let is_dead = Arc::clone(&dead);
        let refuses = Arc::clone(&dead);
        let app = Forgetful::answering(
            move |_, _| match is_dead.load(Ordering::SeqCst) {
                true => Act::Answer(rollcall_receiver::Outcome::success()),
                false => Act::Apply,
            },
            move |_, _| {
                refuses.load(Ordering::SeqCst).then(|| RawAnswer {
                    status: 503,
                    ..RawAnswer::default()
                })
            },
        );
        let app = Simple::new(&hub, "App", Scope::everything(), app).await;
        let delivery = deliver(&hub, hasty()).await;
        let (ada, bob) = (user(&hub, "ada").await, user(&hub, "bob").await);
        until("it is suspended", async || {
            stored(&hub, &app.application).await.suspended.is_some()
        })
        .await;
        app.request_full().await;
        let nothing_is_kept = Retention {
            changes: Duration::ZERO,
            laggards: Duration::ZERO,
            attempts: Duration::from_secs(1_000_000),
            audit: Duration::from_secs(1_000_000),
        };
        for round in 0..3 {
            for number in 0..20 {
                apply(&hub, described(&ada, &format!("text {round} {number}"))).await;
            }
            // What happened in this very millisecond is not older than now.
            tokio::time::sleep(Duration::from_millis(3)).await;
            let gone = trim(&hub, nothing_is_kept).await.unwrap();
            assert!(gone.changes >= 20, "round {round}: {gone:?}");
            assert_eq!(gone.fallen_behind, 1, "round {round}: {gone:?}");
        }
        apply(&hub, Command::DeleteUser { id: bob.clone() }).await;
        assert!(stored(&hub, &app.application).await.suspended.is_some());
        dead.store(false, Ordering::SeqCst);
        app.is_right().await;
        let id = app.application.id.clone();
        let jobs = hub.db.read(move |tx| job::newest(tx, &id, 10)).await.unwrap();
        let [one] = &jobs[..] else {
            panic!("there is one job, which was put off: {jobs:#?}")
        };
        assert_eq!(
            (one.trigger, one.status),
            (Trigger::Retention, JobStatus::Success)
        );
        assert!(app.app.snapshot().users.contains_key(&ada));
        delivery.stop().await;
    });
}

/// What an administrator does while a settlement is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Pause,
    Scope,
    Skip,
}

/// Holds the row of an application in the ledger, as nobody else can then, until told to let go.
struct Hold {
    other: Hub,
    go: mpsc::Sender<()>,
    holding: tokio::task::JoinHandle<()>,
}

impl Hold {
    async fn row(database: &TestDatabase, application_id: &str) -> Self {
        let other = open_hub(&database.url).await;
        let ((go, gone), (tell, told)) = (mpsc::channel(), mpsc::channel());
        let (id, db) = (application_id.to_owned(), other.db.clone());
        let holding = tokio::spawn(async move {
            db.settle(move |tx| {
                tx.query(
                    "SELECT revision FROM deliveries WHERE application_id = $1 FOR UPDATE",
                    params![id.as_str()],
                )?;
                tell.send(()).unwrap();
                gone.recv().unwrap();
                Ok::<_, DbError>(())
            })
            .await
            .unwrap();
        });
        tokio::task::spawn_blocking(move || told.recv().unwrap())
            .await
            .unwrap();
        Self { other, go, holding }
    }

    /// How many sessions wait for a row.
    async fn waiting(&self) -> i64 {
        let reading = self.other.db.read(|tx| {
            tx.query_one(
                "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND wait_event_type = 'Lock' AND wait_event <> 'advisory'",
                params![],
            )?
            .get(0)
        });
        reading.await.unwrap()
    }

    async fn let_go(self) {
        self.go.send(()).unwrap();
        self.holding.await.unwrap();
        self.other.db.close().await;
    }
}

async fn act(hub: &Hub, application_id: &str, deed: Deed, unit: &str) -> Result<(), String> {
    let (caller, id) = (Caller::system("test"), application_id.to_owned());
    match deed {
        Deed::Pause => {
            let pause = application::Command::DisableSynchronization { id };
            let paused = hub.apply_application(caller, pause).await;
            paused.map(drop).map_err(|error| error.to_string())
        }
        Deed::Scope => {
            let scope = Scope {
                organizational_unit_ids: [unit.to_owned()].into(),
                ..Scope::default()
            };
            let changed = job::change_scope(hub, caller, &id, ScopeEdit::to(&scope), None).await;
            changed.map(drop).map_err(|error| error.to_string())
        }
        Deed::Skip => {
            let skipped = hub.write_as(caller, move |tx, ctx| operate::skip(tx, ctx, &id, None));
            match skipped.await {
                Ok(_) => Ok(()),
                Err(error @ OperateError::NothingToSkip) => Err(error.to_string()),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A settlement and a deed queue for the application's row, in one order or the other.
async fn meet(database: &TestDatabase, deed: Deed, deed_first: bool) {
    let hub = open_hub(&database.url).await;
    let app = Simple::new(&hub, "App", Scope::everything(), Forgetful::new()).await;
    let delivery = deliver(&hub, hasty()).await;
    app.synchronize().await;
    let inside = unit(&hub, "Inside", ROOT_UNIT).await;
    let ada = user(&hub, "ada").await;
    let bob = apply(&hub, Command::CreateUser(new_user("bob", &inside))).await;
    settled(&hub, &app.application).await;
    let number = app.gate.hold_after(0);
    apply(&hub, described(&ada, "first")).await;
    app.gate.has(number).await;
    let hold = Hold::row(database, &app.application.id).await;
    let doing = || {
        let (hub, id, unit) = (hub.clone(), app.application.id.clone(), inside.clone());
        tokio::spawn(async move { act(&hub, &id, deed, &unit).await })
    };
    // A deed that does not need the row is done at once, while the settlement waits for it.
    let (done, settling) = if deed_first {
        let done = doing();
        until("the deed is done, or waits", async || {
            done.is_finished() || hold.waiting().await == 1
        })
        .await;
        let before = hold.waiting().await;
        app.gate.open();
        (done, before)
    } else {
        app.gate.open();
        until("the settlement waits", async || hold.waiting().await == 1).await;
        let done = doing();
        until("the deed is done, or waits", async || {
            done.is_finished() || hold.waiting().await == 2
        })
        .await;
        (done, 0)
    };
    until("the settlement waits", async || hold.waiting().await > settling).await;
    hold.let_go().await;
    let done = done.await.unwrap();
    let position = async || stored(&hub, &app.application).await.position;
    let came = |text: &str| {
        let arrivals = app.app.arrivals();
        arrivals.iter().filter(|it| it.biz_data.contains(text)).count()
    };
    match (deed, deed_first) {
        (Deed::Pause, _) => {
            done.unwrap();
            let told = hub.db.read(rollcall::change::head).await.unwrap().seq;
            until("what was delivered counts", async || position().await == told).await;
            apply(&hub, described(&ada, "second")).await;
            let id = app.application.id.clone();
            hub.write_as(Caller::system("test"), move |tx, ctx| {
                operate::resume(tx, ctx, &id)
            })
            .await
            .unwrap();
            app.is_right().await;
            assert_eq!((came("\"first\""), came("\"second\"")), (1, 1));
        }
        (Deed::Scope, _) => {
            done.unwrap();
            until("ada leaves and bob stays", async || {
                let snapshot = app.app.snapshot();
                !snapshot.users.contains_key(&ada) && snapshot.users.contains_key(&bob)
            })
            .await;
            app.is_right().await;
        }
        (Deed::Skip, true) => {
            done.unwrap();
            app.is_right().await;
            let parked = parked_of(&hub, &app.application).await;
            assert_eq!((parked.len(), parked[0].state), (1, ParkedState::Failed));
            // It was in flight, and is not sent again.
            assert_eq!(came("\"first\""), 1);
        }
        (Deed::Skip, false) => {
            assert!(done.unwrap_err().contains("nothing to skip"));
            app.is_right().await;
            assert!(parked_of(&hub, &app.application).await.is_empty());
            assert_eq!(came("\"first\""), 1);
        }
    }
    delivery.stop().await;
}

#[test]
fn what_an_administrator_does_while_a_settlement_is_on_its_way_is_right_in_either_order() {
    for deed in [Deed::Pause, Deed::Scope, Deed::Skip] {
        for deed_first in [true, false] {
            let Some(database) = postgres("moments") else {
                return;
            };
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(meet(&database, deed, deed_first));
        }
    }
}

/// The trial of a new key is settled, and somebody replaces all keys, in one order or the other.
async fn replaced_at_its_trial(database: &TestDatabase, replaced_first: bool) {
    let hub = open_hub(&database.url).await;
    let app = Plain::new(&hub, "App").await;
    let new_key = || NewKey::generate(hub.clock.now(), &SystemRandom, &hub.master).unwrap();
    let rotate = |step: RotationStep| {
        let id = app.application.id.clone();
        let command = application::Command::RotateSigningKey { id, step };
        let (hub, caller) = (hub.clone(), Caller::system("test"));
        tokio::spawn(async move { hub.apply_application(caller, command).await.unwrap() })
    };
    let publish = RotationStep::Publish {
        key: new_key(),
        delay: Duration::ZERO,
    };
    rotate(publish).await.unwrap();
    app.restart(&hub, |_| true).await;
    let ((arrive, arrived), (go, gone)) = (mpsc::channel(), mpsc::channel());
    app.say(move |_| {
        // The trial is the first that comes.
        if arrive.send(()).is_ok() {
            let _ = gone.recv();
        }
        Say::Yes
    });
    let delivery = deliver(&hub, hasty()).await;
    tokio::task::spawn_blocking(move || arrived.recv().unwrap())
        .await
        .unwrap();
    let hold = Hold::row(database, &app.application.id).await;
    let replace = || rotate(RotationStep::Replace { key: new_key() });
    let wait_for = async |count: i64| {
        until("who needs the row waits for it", async || {
            hold.waiting().await == count
        })
        .await;
    };
    let replaced = if replaced_first {
        let replaced = replace();
        wait_for(1).await;
        go.send(()).unwrap();
        replaced
    } else {
        go.send(()).unwrap();
        wait_for(1).await;
        replace()
    };
    wait_for(2).await;
    hold.let_go().await;
    let kid = replaced.await.unwrap().rotated.unwrap().kid;
    drop(go);
    delivery.stop().await;
    let (id, now) = (app.application.id.clone(), hub.clock.now());
    let left = hub.db.read(move |tx| keys::list(tx, &id, now)).await.unwrap();
    let [one] = &left[..] else { panic!("{left:#?}") };
    assert_eq!((&one.kid, one.retires_at, &one.trial), (&kid, None, &None));
    assert!(one.signs_from.is_some());
}

#[test]
fn a_key_that_is_replaced_at_its_trial_does_not_come_back() {
    for replaced_first in [true, false] {
        let Some(database) = postgres("trials") else {
            return;
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(replaced_at_its_trial(&database, replaced_first));
    }
}
