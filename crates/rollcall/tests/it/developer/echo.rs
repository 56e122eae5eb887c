//! An application whose own writes are not pushed to it: its copy ends equal all the same, whatever was on its way.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rollcall::access::Caller;
use rollcall::application::DeveloperApi;
use rollcall::delivery::job;
use rollcall::directory::Command;
use rollcall::hub::Hub;
use rollcall::why::why;
use rollcall_protocol::{Event, EventType};
use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore};

use super::{ALL, Developer};
use crate::access::{Site, on_each};
use crate::plain::{Of, Plain, Say, apply, deliver, group, limit, parked_of, says, settled, until, user};
use crate::world::{described, hasty};

/// Everything is granted, and what the application writes is not pushed to it.
const QUIET: DeveloperApi = DeveloperApi { echo: false, ..ALL };

fn kinds(events: &[Event]) -> Vec<Option<EventType>> {
    events.iter().map(Event::kind).collect()
}

async fn renames(developer: &Developer<'_>, user: &str, name: &str) {
    let said = developer
        .call("PATCH", &format!("/users/{user}"), json!({ "displayName": name }))
        .await;
    assert_eq!(said.status, 200, "{}", said.body);
}

/// Why a user did or did not arrive, newest change first.
async fn reasons(hub: &Hub, user: &str, application: &str) -> Vec<String> {
    let (user, application, now) = (user.to_owned(), application.to_owned(), hub.clock.now());
    let why = hub
        .db
        .read(move |tx| Ok::<_, rollcall_db::DbError>(why(tx, &user, &application, now)));
    let why = serde_json::to_value(why.await.unwrap().unwrap()).unwrap();
    let changes = why["changes"].as_array().unwrap().iter();
    changes
        .map(|change| change["reason"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn what_an_application_writes_is_pushed_to_the_others_and_not_to_itself() {
    on_each("developer_echo", |site| async move {
        let hub = &site.hub;
        let (mail, wiki) = (Plain::new(hub, "Mail").await, Plain::new(hub, "Wiki").await);
        let developer = Developer::at(&site, mail.application.clone(), QUIET).await;
        let delivery = deliver(hub, hasty()).await;
        let new = json!({ "username": "ada", "primaryOrganizationalUnitId": "ou_root" });
        let ada = developer.make("/users", new, "userId").await;
        renames(&developer, &ada, "Ada L.").await;
        let staff = developer
            .make("/groups", json!({ "groupName": "Staff" }), "groupId")
            .await;
        let path = format!("/groups/{staff}/actions/addUsersToGroup");
        assert_eq!(
            developer
                .call("POST", &path, json!({ "userIds": [ada] }))
                .await
                .status,
            200
        );
        settled(hub, &mail.application).await;
        settled(hub, &wiki.application).await;
        assert_eq!(
            kinds(&wiki.applied()),
            [
                Some(EventType::UserCreate),
                Some(EventType::UserUpdateInfo),
                Some(EventType::GroupCreate),
                Some(EventType::GroupAddUser)
            ]
        );
        assert_eq!(kinds(&mail.applied()), []);
        let own = "the application wrote this itself, and its echo is off";
        let reasons = reasons(hub, &ada, &mail.application.id).await;
        assert_eq!(reasons[1..], [own, own], "{reasons:?}");

        // What others do is pushed to it, with what it wrote in it.
        apply(hub, described(&ada, "by somebody else")).await;
        settled(hub, &mail.application).await;
        let told = mail.applied();
        assert_eq!(kinds(&told), [Some(EventType::UserUpdateInfo)]);
        assert!(says(&told[0], "Ada L.") && says(&told[0], "by somebody else"));

        // And so is what it writes itself, once its echo is on again.
        super::grant(hub, &mail.application.id, ALL).await;
        renames(&developer, &ada, "Ada").await;
        settled(hub, &mail.application).await;
        assert_eq!(mail.applied().len(), 2);
        delivery.stop().await;
    });
}

/// What stands in the way of withholding an echo.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// The application answers nothing.
    Down,
    /// It is told of something earlier, and has not answered yet.
    InFlight,
    /// It wants something earlier again.
    Again,
    /// Something earlier was set aside.
    SetAside,
    /// A synchronization is under way.
    Job,
}

#[test]
fn an_echo_is_sent_where_something_earlier_is_not_answered_for() {
    use Way::{Again, Down, InFlight, Job, SetAside};
    on_each("developer_echo_ways", |site| async move {
        for way in [Down, InFlight, Again, SetAside, Job] {
            let hub = &site.hub;
            let mail = Plain::new(hub, &format!("Mail {way:?}")).await;
            let developer = Developer::at(&site, mail.application.clone(), QUIET).await;
            let delivery = deliver(hub, hasty()).await;
            let ada = user(hub, &format!("ada-{way:?}")).await;
            settled(hub, &mail.application).await;
            let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
            let (held, begins) = (Arc::clone(&gate), Arc::clone(&begun));
            match way {
                Down => mail.say(|_| Say::Status(503)),
                Again => mail.say(|events| Say::Each(vec![Of::Retried; events.len()])),
                SetAside => mail.say(|events| Say::Each(vec![Of::Failed; events.len()])),
                InFlight | Job => mail.slow(move || {
                    let (held, begins) = (Arc::clone(&held), Arc::clone(&begins));
                    async move {
                        begins.add_permits(1);
                        let _ = held.acquire().await.unwrap();
                    }
                }),
            }
            if matches!(way, Job) {
                let id = mail.application.id.clone();
                hub.write_as(Caller::system("test"), move |tx, ctx| {
                    job::request_full(tx, ctx, &id)
                })
                .await
                .unwrap();
            } else {
                apply(hub, described(&ada, "earlier")).await;
            }
            match way {
                Down => until("it is asked", async || mail.requests().len() > 1).await,
                Again | SetAside => {
                    until("it is parked", async || {
                        !parked_of(hub, &mail.application).await.is_empty()
                    })
                    .await;
                }
                InFlight | Job => drop(begun.acquire().await.unwrap()),
            }
            if matches!(way, SetAside) {
                // What was set aside stays so; what comes now is taken.
                mail.say(|_| Say::Yes);
            }
            renames(&developer, &ada, "later").await;
            mail.say(|_| Say::Yes);
            gate.add_permits(1_000);
            until("the echo", async || {
                mail.user(&ada).is_some_and(|record| record.contains("later"))
            })
            .await;
            delivery.stop().await;
        }
    });
}

#[test]
fn a_membership_is_echoed_while_its_user_is_on_the_way() {
    on_each("developer_echo_members", |site| async move {
        let hub = &site.hub;
        let mail = Plain::new(hub, "Mail").await;
        let developer = Developer::at(&site, mail.application.clone(), QUIET).await;
        let staff = group(hub, "Staff").await;
        let delivery = deliver(hub, hasty()).await;
        settled(hub, &mail.application).await;
        mail.say(|_| Say::Status(503));
        let ada = user(hub, "ada").await;
        let path = format!("/groups/{staff}/actions/addUsersToGroup");
        assert_eq!(
            developer
                .call("POST", &path, json!({ "userIds": [ada] }))
                .await
                .status,
            200
        );
        mail.say(|_| Say::Yes);
        until("the membership", async || mail.members(&staff) == [ada.clone()]).await;
        delivery.stop().await;
    });
}

/// What an application has of a user that it writes itself and is told of by others: it keeps no event, compares no
/// times, and takes either as it comes.
#[derive(Default)]
struct Copy {
    display_name: String,
}

async fn history(site: &Site, seed: u64) {
    let hub = &site.hub;
    let mut chance = StdRng::seed_from_u64(seed);
    let mail = Plain::new(hub, &format!("Mail {seed}")).await;
    limit(
        hub,
        &mail.application,
        rollcall::application::Limits {
            max_events: chance.random_range(1..4),
            ..rollcall::application::Limits::default()
        },
    )
    .await;
    let developer = Developer::at(site, mail.application.clone(), QUIET).await;
    let delivery = deliver(hub, hasty()).await;
    let ada = user(hub, &format!("ada-{seed}")).await;
    // It does one thing at a time: it takes events, or makes a call and writes down what that has done.
    let copy = Arc::new(Mutex::new(Copy::default()));
    let mood = Arc::new(std::sync::Mutex::new(StdRng::seed_from_u64(!seed)));
    let busy = Arc::clone(&copy);
    mail.slow(move || {
        let busy = Arc::clone(&busy);
        async move { drop(busy.lock().await) }
    });
    let (takes, id, is_calm) = (
        Arc::clone(&copy),
        ada.clone(),
        Arc::new(std::sync::atomic::AtomicBool::new(false)),
    );
    let calm = Arc::clone(&is_calm);
    mail.say(move |events| {
        let mut mood = mood.lock().unwrap();
        let each: Vec<Of> = events
            .iter()
            .map(|_| match mood.random_range(0..10) {
                0 | 1 => Of::Retried,
                _ => Of::Success,
            })
            .collect();
        let fails = mood.random_bool(0.2);
        let calm = calm.load(std::sync::atomic::Ordering::SeqCst);
        // A call that has begun since is over soon.
        let mut copy = loop {
            if let Ok(copy) = takes.try_lock() {
                break copy;
            }
            std::thread::sleep(Duration::from_micros(200));
        };
        if fails && !calm {
            return Say::Status(500);
        }
        for (event, of) in events.iter().zip(&each) {
            if event.biz_id == id && (calm || *of == Of::Success) {
                let record: Value = serde_json::from_str(&event.biz_data).unwrap();
                copy.display_name = record["displayName"].as_str().unwrap().to_owned();
            }
        }
        if calm { Say::Yes } else { Say::Each(each) }
    });
    for step in 0..30 {
        let name = format!("{seed} {step}");
        if chance.random_bool(0.5) {
            let mut copy = copy.lock().await;
            renames(&developer, &ada, &name).await;
            copy.display_name = name;
        } else {
            let changes = rollcall::directory::UserChanges {
                display_name: Some(name),
                ..Default::default()
            };
            apply(
                hub,
                Command::UpdateUser {
                    id: ada.clone(),
                    changes,
                },
            )
            .await;
        }
        if chance.random_bool(0.6) {
            tokio::time::sleep(Duration::from_millis(chance.random_range(0..30))).await;
        }
    }
    is_calm.store(true, std::sync::atomic::Ordering::SeqCst);
    settled(hub, &mail.application).await;
    let id = ada.clone();
    let stored = hub
        .db
        .read(move |tx| rollcall::directory::query::record_of(tx, rollcall_protocol::SubjectKind::User, &id))
        .await
        .unwrap()
        .unwrap();
    let stored: Value = serde_json::from_str(&stored.0).unwrap();
    assert_eq!(
        Value::from(copy.lock().await.display_name.as_str()),
        stored["displayName"],
        "seed {seed}"
    );
    delivery.stop().await;
}

#[test]
fn the_copy_ends_equal_without_echoes_whatever_the_application_answers() {
    on_each("developer_echo_histories", |site| async move {
        for seed in 0..12 {
            history(&site, seed).await;
        }
    });
}
