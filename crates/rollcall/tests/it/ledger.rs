//! Order and loss, shown against an application that remembers nothing.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rollcall::access::Caller;
use rollcall::application::{Limits, Scope};
use rollcall::delivery::ledger::{self, Fence, LedgerError, Settlement, leases, operate};
use rollcall::delivery::{Options, job};
use rollcall::directory::Command;
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall_db::testing::{Fault, Faults};
use rollcall_db::{DbError, Dialect, Lane};
use rollcall_protocol::{Event, EventType};

use crate::plain::{
    Of, Plain, Say, apply, attempts_of, deliver, limit, parked_of, says, settled, stored, until, user,
};
use crate::world::{create_users, described, hasty, new_user, on_both, open_hub, parts};

#[test]
fn what_follows_an_event_that_is_wanted_again_is_sent_again_after_it() {
    on_both("reordered", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        let ada = user(&hub, "ada").await;
        apply(&hub, described(&ada, "older")).await;
        apply(&hub, described(&ada, "newer")).await;
        let group = apply(&hub, Command::CreateGroup(group("Staff"))).await;
        let members = vec![ada.clone()];
        for _ in 0..2 {
            let (group_id, user_ids) = (group.clone(), members.clone());
            apply(&hub, Command::AddMembers { group_id, user_ids }).await;
            let (group_id, user_ids) = (group.clone(), members.clone());
            apply(&hub, Command::RemoveMembers { group_id, user_ids }).await;
        }
        // Everything is in one request. The older event of ada and the last removal but one are wanted again,
        // what follows them is accepted.
        let first = AtomicBool::new(true);
        app.say(move |events| {
            if !first.swap(false, Ordering::SeqCst) {
                return Say::Yes;
            }
            assert!(events.len() > 6, "one request for all");
            let mut removals = 0;
            Say::Each(
                events
                    .iter()
                    .map(|event| {
                        removals += usize::from(event.kind() == Some(EventType::GroupAddUser));
                        match event.kind() {
                            _ if says(event, "older") => Of::Retried,
                            Some(EventType::GroupAddUser) if removals == 2 => Of::Retried,
                            _ => Of::Success,
                        }
                    })
                    .collect(),
            )
        });
        let delivery = deliver(&hub, hasty()).await;
        settled(&hub, &app.application).await;
        assert!(
            app.user(&ada).unwrap().contains("newer"),
            "{:#?}",
            app.story_of(&ada)
        );
        assert_eq!(app.members(&group), Vec::<String>::new());
        delivery.stop().await;
    });
}

fn group(name: &str) -> rollcall::directory::NewGroup {
    rollcall::directory::NewGroup {
        name: name.to_owned(),
        ..Default::default()
    }
}

#[test]
fn an_answer_that_may_have_refused_something_is_not_taken_for_success() {
    on_both("unreadable", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        let delivery = deliver(&hub, hasty()).await;
        let ada = user(&hub, "ada").await;
        settled(&hub, &app.application).await;
        let bodies = [
            r#"{"failedEvents":[{"eventCode":"X"}]}"#.to_owned(),
            r#"{"retriedEvents":[{"eventId":"#.to_owned(),
            format!(
                "{{\"successEvents\":[],\"retriedEvents\":[{}",
                " ".repeat(2 << 20)
            ),
            "{\"failedEvents\": 7}".to_owned(),
        ];
        for (number, body) in bodies.into_iter().enumerate() {
            let once = AtomicBool::new(true);
            app.say(move |_| match once.swap(false, Ordering::SeqCst) {
                true => Say::Body(body.clone()),
                false => Say::Yes,
            });
            let text = format!("text {number}");
            apply(&hub, described(&ada, &text)).await;
            settled(&hub, &app.application).await;
            assert!(app.user(&ada).unwrap().contains(&text), "lost: {text}");
        }
        // Nulls and numbers where texts belong are read as what they mean.
        let once = AtomicBool::new(true);
        app.say(move |events| match once.swap(false, Ordering::SeqCst) {
            true => Say::Body(format!(
                r#"{{"successEvents":null,"retriedEvents":[{{"eventId":"{}","eventCode":7,"eventMessage":null}}]}}"#,
                events[0].event_id
            )),
            false => Say::Yes,
        });
        apply(&hub, described(&ada, "after nulls")).await;
        settled(&hub, &app.application).await;
        assert!(app.user(&ada).unwrap().contains("after nulls"));
        // What is foreign counts as received by the wire, and the attempt says that it is assumed only.
        app.say(|_| Say::Body("<html>log in</html>".to_owned()));
        apply(&hub, described(&ada, "assumed")).await;
        settled(&hub, &app.application).await;
        let newest = attempts_of(&hub, &app.application).await.remove(0);
        assert_eq!((newest.outcome.as_str(), newest.assumed), ("assumed", 1));
        delivery.stop().await;
    });
}

#[test]
fn a_settlement_that_failed_stops_those_behind_it() {
    on_both("fenced", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        let ada = user(&hub, "ada").await;
        apply(&hub, described(&ada, "second")).await;
        let fence = Fence {
            application_id: app.application.id.clone(),
            epoch: 0,
            revision: 0,
        };
        let at = |position| Settlement {
            position: Some(position),
            ..Settlement::default()
        };
        // The first one is undone after it was carried out, as if its commit had failed.
        let (first, settlement) = (fence.clone(), at(1));
        let failed: Result<(), LedgerError> = hub
            .db
            .write(move |tx| {
                ledger::settle(tx, &first, &settlement, 1)?;
                Err(LedgerError::Database(DbError::Other(
                    "as the test wants it".into(),
                )))
            })
            .await;
        assert!(failed.is_err());
        let (second, settlement) = (fence.next(), at(2));
        let behind = hub
            .db
            .write(move |tx| ledger::settle(tx, &second, &settlement, 1))
            .await;
        assert!(matches!(behind, Err(LedgerError::Fenced)), "{behind:?}");
        assert_eq!(
            stored(&hub, &app.application).await.position,
            app.application.position
        );
        // Whoever took over is not settled against either.
        let (again, settlement) = (Fence { epoch: 9, ..fence }, at(1));
        let stranger = hub
            .db
            .write(move |tx| ledger::settle(tx, &again, &settlement, 1))
            .await;
        assert!(matches!(stranger, Err(LedgerError::Fenced)));
    });
}

#[test]
fn an_act_stops_every_settlement_that_is_queued() {
    on_both("queued", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        apply(&hub, described(&user(&hub, "ada").await, "second")).await;
        let mut fence = Fence {
            application_id: app.application.id.clone(),
            epoch: 0,
            revision: 0,
        };
        let id = app.application.id.clone();
        hub.db.write(move |tx| operate::interfere(tx, &id)).await.unwrap();
        // As many as wait for their commits at most: each was made from the one before it.
        for _ in 0..64 {
            let (queued, settlement) = (
                fence.clone(),
                Settlement {
                    position: Some(2),
                    ..Settlement::default()
                },
            );
            let settled = hub
                .db
                .write(move |tx| ledger::settle(tx, &queued, &settlement, 1))
                .await;
            assert!(matches!(settled, Err(LedgerError::Fenced)), "{settled:?}");
            fence = fence.next();
        }
        assert_eq!(
            stored(&hub, &app.application).await.position,
            app.application.position
        );
    });
}

#[test]
fn parked_events_are_served_beside_a_backlog() {
    on_both("starved", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        let limits = Limits {
            max_events: 1,
            ..Limits::default()
        };
        limit(&hub, &app.application, limits).await;
        let ada = user(&hub, "ada").await;
        for number in 0..150 {
            user(&hub, &format!("user{number}")).await;
        }
        let once = AtomicBool::new(true);
        app.say(move |events| match once.swap(false, Ordering::SeqCst) {
            true => Say::Each(vec![Of::Retried; events.len()]),
            false => Say::Yes,
        });
        let delivery = deliver(&hub, hasty()).await;
        settled(&hub, &app.application).await;
        let place = app
            .applied()
            .iter()
            .position(|event| event.biz_id == ada)
            .unwrap();
        assert!(place < 100, "ada waited until {place} others had passed");
        delivery.stop().await;
    });
}

#[test]
fn sending_again_never_turns_a_subject_back() {
    on_both("resend_order", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        let ada = user(&hub, "ada").await;
        let staff = apply(&hub, Command::CreateGroup(group("Staff"))).await;
        let (x, y) = (user(&hub, "x").await, user(&hub, "y").await);
        app.say(|events| {
            let refused = |event: &Event| {
                says(event, "refused")
                    || (event.kind() == Some(EventType::GroupAddUser)
                        && says(event, "userIds")
                        && !says(event, "late"))
            };
            Say::Each(
                events
                    .iter()
                    .map(|event| if refused(event) { Of::Failed } else { Of::Success })
                    .collect(),
            )
        });
        let delivery = deliver(&hub, hasty()).await;
        apply(&hub, described(&ada, "refused")).await;
        let (group_id, user_ids) = (staff.clone(), vec![x.clone(), y.clone()]);
        apply(&hub, Command::AddMembers { group_id, user_ids }).await;
        settled(&hub, &app.application).await;
        app.say(|_| Say::Yes);
        apply(&hub, described(&ada, "newest")).await;
        let (group_id, user_ids) = (staff.clone(), vec![y.clone()]);
        apply(&hub, Command::RemoveMembers { group_id, user_ids }).await;
        settled(&hub, &app.application).await;
        let id = app.application.id.clone();
        let resent = hub
            .write_as(Caller::system("test"), move |tx, ctx| {
                operate::resend(tx, ctx, &id, None)
            })
            .await
            .unwrap();
        assert_eq!((resent.queued, resent.refreshed), (0, 2));
        settled(&hub, &app.application).await;
        assert!(app.user(&ada).unwrap().contains("newest"));
        assert_eq!(
            app.members(&staff),
            [x],
            "the member that was refused is there, the one that left is not"
        );
        delivery.stop().await;
    });
}

#[test]
fn a_resume_is_not_undone_by_a_probe_in_flight() {
    on_both("resume", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        app.say(|_| Say::Status(500));
        user(&hub, "ada").await;
        let delivery = deliver(
            &hub,
            Options {
                longest_probe: Duration::from_millis(30),
                ..hasty()
            },
        )
        .await;
        let suspended = async || stored(&hub, &app.application).await.suspended.is_some();
        until("it is suspended", &suspended).await;
        // A settlement of the probe that was begun before the resume is refused by the ledger.
        let (id, too) = (app.application.id.clone(), hub.clone());
        let before = hub
            .db
            .read(move |tx| ledger::standing(tx, &id))
            .await
            .unwrap()
            .unwrap();
        let id = app.application.id.clone();
        too.write_as(Caller::system("test"), move |tx, ctx| {
            operate::resume(tx, ctx, &id)
        })
        .await
        .unwrap();
        let fence = Fence {
            application_id: app.application.id.clone(),
            epoch: before.epoch,
            revision: before.revision,
        };
        let late = too
            .db
            .write(move |tx| ledger::settle(tx, &fence, &Settlement::default(), 1))
            .await;
        assert!(matches!(late, Err(LedgerError::Fenced)));
        delivery.stop().await;
    });
}

#[test]
fn members_of_a_group_survive_rounds_that_are_thrown_away() {
    on_both("portions", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        let limits = Limits {
            max_events: 1,
            ..Limits::default()
        };
        limit(&hub, &app.application, limits).await;
        let staff = apply(&hub, Command::CreateGroup(group("Staff"))).await;
        let new: Vec<_> = (0..1_700)
            .map(|n| new_user(&format!("user{n}"), ROOT_UNIT))
            .collect();
        let ids = create_users(&hub, new).await;
        let (group_id, user_ids) = (staff.clone(), ids.clone());
        apply(&hub, Command::AddMembers { group_id, user_ids }).await;
        // Each portion is wanted again once, which throws away the round that was made ahead.
        let seen: Mutex<HashMap<String, usize>> = Mutex::default();
        app.say(move |events| {
            let mut seen = seen.lock().unwrap();
            Say::Each(
                events
                    .iter()
                    .map(|event| {
                        let times = seen.entry(event.event_id.clone()).or_default();
                        *times += 1;
                        match event.kind() {
                            Some(EventType::GroupAddUser) if *times == 1 => Of::Retried,
                            Some(EventType::Inventory) => Of::Skipped,
                            _ => Of::Success,
                        }
                    })
                    .collect(),
            )
        });
        // Only what the synchronization sends counts.
        let id = app.application.id.clone();
        hub.db
            .write(move |tx| {
                tx.execute(
                    "UPDATE deliveries SET position = (SELECT seq FROM change_head) WHERE application_id = $1",
                    &[rollcall_db::Value::from(id.as_str())],
                )
            })
            .await
            .unwrap();
        let id = app.application.id.clone();
        hub.write_as(Caller::system("test"), move |tx, ctx| {
            job::request_full(tx, ctx, &id)
        })
        .await
        .unwrap();
        let delivery = deliver(&hub, hasty()).await;
        until("all members are there", async || {
            app.members(&staff).len() == ids.len()
        })
        .await;
        let mut expected = ids.clone();
        expected.sort_unstable();
        assert_eq!(app.members(&staff), expected);
        delivery.stop().await;
    });
}

#[test]
fn two_nodes_never_deliver_the_same_application() {
    for database in rollcall_db::testing::databases("nodes") {
        if database.dialect != rollcall_db::Dialect::Postgres {
            continue;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (one, two) = (open_hub(&database.url).await, open_hub(&database.url).await);
            let mut apps = Vec::new();
            for number in 0..4 {
                apps.push(Plain::new(&one, &format!("App {number}")).await);
            }
            let mut running = vec![deliver(&one, hasty()).await, deliver(&two, hasty()).await];
            let ada = user(&one, "ada").await;
            let counter = AtomicUsize::new(0);
            let write = async |times: usize| {
                for _ in 0..times {
                    let number = counter.fetch_add(1, Ordering::SeqCst);
                    apply(&one, described(&ada, &format!("text {number:05}"))).await;
                }
            };
            until("both nodes have their share", async || {
                let nodes = one.db.read(leases::nodes).await.unwrap();
                nodes.len() == 2 && nodes.iter().all(|node| node.applications == 2)
            })
            .await;
            write(100).await;
            // One leaves in good order: what it held is handed over at once.
            running.remove(0).stop().await;
            write(100).await;
            running.push(deliver(&one, hasty()).await);
            write(100).await;
            for app in &apps {
                settled(&one, &app.application).await;
                let applied: Vec<_> = app
                    .story_of(&ada)
                    .into_iter()
                    .map(|event| event.event_id)
                    .collect();
                let mut once = applied.clone();
                once.dedup();
                assert_eq!(once.len(), 301, "nothing is lost, and nothing comes twice");
                assert_eq!(once, applied);
            }
            for delivery in running {
                delivery.stop().await;
            }
            let nodes = one.db.read(leases::nodes).await.unwrap();
            assert!(nodes.is_empty(), "{nodes:?}");
        });
    }
}

#[test]
fn the_position_of_a_narrow_scope_is_stored_while_others_are_busy() {
    on_both("narrow", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let unit = rollcall::directory::NewUnit {
            name: "Empty".into(),
            parent_id: ROOT_UNIT.into(),
            ..Default::default()
        };
        let unit = apply(&hub, Command::CreateUnit(unit)).await;
        let scope = Scope {
            organizational_unit_ids: [unit].into(),
            ..Scope::default()
        };
        let app = Plain::with_scope(&hub, "App", scope).await;
        let delivery = deliver(&hub, hasty()).await;
        let ada = user(&hub, "ada").await;
        let busy = async {
            for number in 0..400 {
                apply(&hub, described(&ada, &format!("text {number}"))).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let stored_meanwhile = until("the position moves", async || {
            stored(&hub, &app.application).await.position > app.application.position + 5
        });
        tokio::select! {
            () = busy => panic!("the position was not stored while anything happened"),
            () = stored_meanwhile => {}
        }
        delivery.stop().await;
    });
}

#[test]
fn an_event_that_could_not_be_parked_is_not_passed_by_what_was_settled_behind_it() {
    on_both("lost_park", |database, _| async move {
        let faults = Faults::default();
        let options = rollcall_db::Options {
            faults: faults.one_by_one(),
            ..rollcall_db::Options::default()
        };
        let hub = Hub::open_with(parts(&database), options).await.unwrap();
        let app = Plain::new(&hub, "App").await;
        let limits = Limits {
            max_events: 1,
            ..Limits::default()
        };
        limit(&hub, &app.application, limits).await;
        let mut ids = Vec::new();
        for number in 0..20 {
            ids.push(user(&hub, &format!("user{number}")).await);
        }
        // On SQLite all commits are of one lane.
        let lane = match hub.db.dialect() {
            Dialect::Sqlite => Lane::Log,
            Dialect::Postgres => Lane::Settlement,
        };
        // The settlements of the first requests queue behind somebody, and the first one of them then fails.
        let (mut requests, planned, db) = (0, faults.clone(), hub.db.clone());
        let (release, released) = mpsc::channel::<()>();
        let (mut release, mut released) = (Some(release), Some(released));
        app.say(move |events| {
            requests += 1;
            if let Some(released) = released.take() {
                let (hold, held) = mpsc::channel();
                drop(db.settle(move |tx| {
                    hold.send(()).unwrap();
                    let _ = released.recv();
                    // Only what writes is committed.
                    tx.execute(
                        "UPDATE deliveries SET revision = revision WHERE application_id = ''",
                        &[],
                    )
                }));
                held.recv().unwrap();
                planned.next(lane, [None, Some(Fault::Full)]);
                return Say::Each(vec![Of::Retried; events.len()]);
            }
            if requests == 5 {
                drop(release.take());
            }
            Say::Yes
        });
        // Nobody else commits meanwhile.
        let alone = Options {
            lease: Duration::from_secs(600),
            idle: Duration::from_secs(3_600),
            ..hasty()
        };
        let delivery = deliver(&hub, alone).await;
        settled(&hub, &app.application).await;
        assert_eq!(faults.pending(), 0, "the commit that parks it must have failed");
        for id in &ids {
            assert!(app.user(id).is_some(), "{id} is lost");
        }
        delivery.stop().await;
    });
}

#[test]
fn whatever_an_application_says_of_an_event_can_be_stored() {
    on_both("unprintable", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        let once = AtomicBool::new(true);
        app.say(move |events| match once.swap(false, Ordering::SeqCst) {
            true => {
                let said = serde_json::json!({ "failedEvents": [{
                    "eventId": events[0].event_id, "eventCode": "a\u{0}b", "eventMessage": "x\u{0}\u{1b}[31my",
                }] });
                Say::Body(said.to_string())
            }
            false => Say::Yes,
        });
        let delivery = deliver(&hub, hasty()).await;
        user(&hub, "ada").await;
        settled(&hub, &app.application).await;
        let parked = parked_of(&hub, &app.application).await;
        let said = (parked[0].code.as_deref(), parked[0].message.as_deref());
        assert_eq!(said, (Some("a b"), Some("x  [31my")));
        let bob = user(&hub, "bob").await;
        settled(&hub, &app.application).await;
        assert!(app.user(&bob).is_some());
        delivery.stop().await;
    });
}
