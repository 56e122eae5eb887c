//! A clock that was wrong and is set right, before a start or beneath a running hub: nobody waits for the time that
//! it showed.

use std::time::Duration;

use rollcall::access::Caller;
use rollcall::application::keys::NewKey;
use rollcall::application::keys::rotation::{self, Rotation};
use rollcall::application::{self, RotationStep};
use rollcall::change;
use rollcall::clock::Clock;
use rollcall::delivery::Options;
use rollcall::delivery::ledger::operate;
use rollcall::hub::{Hub, HubParts};
use rollcall::maintenance::retention::Retention;
use rollcall::maintenance::{self, Maintenance};
use rollcall_protocol::SystemRandom;

use crate::plain::{Of, Plain, Say, apply, attempts_of, deliver, parked_of, settled, stored, until, user};
use crate::world::{described, hasty, on_both, open_hub, parts};

const DAY: i64 = 24 * 3_600_000;

/// Delivery of which no pause is long.
fn impatient() -> Options {
    Options {
        first_trial_pause: Duration::from_millis(10),
        longest_trial_pause: Duration::from_millis(40),
        ..hasty()
    }
}

async fn the_log_s_times_do_not_run_back(hub: &Hub) {
    let log = hub.db.read(|tx| change::read_after(tx, 0, usize::MAX));
    let log = log.await.unwrap();
    assert!(log.iter().map(|change| change.time).is_sorted());
}

#[test]
fn a_clock_that_ran_ahead_keeps_nobody_waiting() {
    // A probe is due tomorrow; or, once somebody has resumed the application, an event that waits is.
    for resumed in [false, true] {
        on_both("ran_ahead", |database, _| set_right(database, resumed));
    }
}

/// Publishes a key, of which the trial is due at once, and shows it to the application.
async fn publish_a_key(hub: &Hub, app: &Plain) {
    let key = NewKey::generate(hub.clock.now(), &SystemRandom, &hub.master).unwrap();
    let delay = Duration::ZERO;
    let rotate = application::Command::RotateSigningKey {
        id: app.application.id.clone(),
        step: RotationStep::Publish { key, delay },
    };
    hub.apply_application(Caller::system("test"), rotate)
        .await
        .unwrap();
    app.restart(hub, |_| true).await;
}

async fn the_new_key_signs(hub: &Hub, app: &Plain) {
    until("the new key signs", async || {
        let (id, now) = (app.application.id.clone(), hub.clock.now());
        let rotation = hub.db.read(move |tx| rotation::rotation(tx, &id, now)).await;
        !matches!(
            rotation.unwrap(),
            Rotation::Published { .. } | Rotation::Trial { .. }
        )
    })
    .await;
}

async fn set_right(database: String, resumed: bool) {
    let ahead = HubParts {
        clock: Clock::of_runtime(Clock::system().now() + DAY),
        ..parts(&database)
    };
    let hub = Hub::open(ahead).await.unwrap();
    let app = Plain::new(&hub, "App").await;
    publish_a_key(&hub, &app).await;
    let ada = user(&hub, "ada").await;
    let delivery = deliver(&hub, impatient()).await;
    // The application has the right time, and takes nothing that is signed tomorrow.
    until("it is suspended", async || {
        stored(&hub, &app.application).await.suspended.is_some()
    })
    .await;
    delivery.stop().await;
    let (id, user_id) = (app.application.id.clone(), ada.clone());
    let pushing = hub.write_as(Caller::system("test"), move |tx, ctx| {
        operate::push(tx, ctx, &id, &user_id)
    });
    pushing.await.unwrap();
    let suspension = stored(&hub, &app.application).await.suspended.unwrap();
    if resumed {
        let id = app.application.id.clone();
        let resuming = hub.write_as(Caller::system("test"), move |tx, ctx| {
            operate::resume(tx, ctx, &id)
        });
        resuming.await.unwrap();
    }
    hub.db.close().await;

    let hub = open_hub(&database).await;
    assert!(suspension.next_probe > hub.clock.now() + DAY / 2);
    apply(&hub, described(&ada, "today")).await;
    let delivery = deliver(&hub, impatient()).await;
    settled(&hub, &app.application).await;
    assert!(app.user(&ada).unwrap().contains("today"));
    assert!(stored(&hub, &app.application).await.suspended.is_none());
    the_new_key_signs(&hub, &app).await;
    // The times of the log do not run back, so that receivers do not take today's change for an old one.
    the_log_s_times_do_not_run_back(&hub).await;
    delivery.stop().await;
}

#[test]
fn a_clock_that_is_set_beneath_a_running_hub_stops_nothing() {
    on_both("set_beneath", |database, _| async move {
        let (clock, adjustment) = Clock::adjustable();
        let hub = HubParts {
            clock,
            ..parts(&database)
        };
        let hub = Hub::open(hub).await.unwrap();
        let app = Plain::new(&hub, "App").await;
        let (ada, bob) = (user(&hub, "ada").await, user(&hub, "bob").await);
        let delivery = deliver(&hub, impatient()).await;
        let retention = Retention {
            changes: Duration::from_secs(3_600),
            attempts: Duration::from_secs(3_600),
            ..Retention::default()
        };
        let options = maintenance::Options {
            every: Duration::from_millis(20),
            trim_every: Duration::from_millis(20),
            retention,
            ..maintenance::Options::default()
        };
        let maintenance = Maintenance::start(hub.clone(), options);
        settled(&hub, &app.application).await;
        let oldest = async || hub.db.read(change::oldest).await.unwrap();
        assert_eq!(oldest().await, Some(1), "nothing is old yet");

        for ahead in [DAY, -DAY] {
            // An event waits to be sent again, and a new key for its trial, when the clock is set.
            let refused = bob.clone();
            app.say(move |events| {
                let of = |id: &str| if id == refused { Of::Retried } else { Of::Success };
                Say::Each(events.iter().map(|event| of(&event.biz_id)).collect())
            });
            apply(&hub, described(&bob, &format!("before {ahead}"))).await;
            until("an event waits", async || {
                !parked_of(&hub, &app.application).await.is_empty()
            })
            .await;
            let newest_then = hub.db.read(change::head).await.unwrap().seq;
            adjustment.set(ahead);
            publish_a_key(&hub, &app).await;
            apply(&hub, described(&ada, &format!("at {ahead}"))).await;
            // The application has the right time, and takes nothing that is signed on another day.
            until("it is suspended", async || {
                stored(&hub, &app.application).await.suspended.is_some()
            })
            .await;
            if ahead > 0 {
                // By this clock, what was delivered before is old; what is not delivered stays.
                until("what is old goes", async || oldest().await > Some(1)).await;
                assert!(oldest().await <= Some(newest_then), "bob's event still waits");
            }
            adjustment.set(0);
            app.say(|_| Say::Yes);
            settled(&hub, &app.application).await;
            assert!(stored(&hub, &app.application).await.suspended.is_none());
            assert!(app.user(&ada).unwrap().contains(&format!("at {ahead}")));
            assert!(app.user(&bob).unwrap().contains(&format!("before {ahead}")));
            the_new_key_signs(&hub, &app).await;
        }

        // Nothing is removed before its time by the clock that was set right, and all of it when that has come.
        let (kept, sent) = (oldest().await, attempts_of(&hub, &app.application).await.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(
            (oldest().await, attempts_of(&hub, &app.application).await.len()),
            (kept, sent)
        );
        the_log_s_times_do_not_run_back(&hub).await;
        adjustment.set(3 * DAY);
        until("all that is delivered goes", async || {
            oldest().await.is_none() && attempts_of(&hub, &app.application).await.is_empty()
        })
        .await;
        // A node with the right time takes over from one that leaves while its clock is wrong.
        delivery.stop().await;
        maintenance.stop().await;
        let other = open_hub(&database).await;
        apply(&other, described(&ada, "the other")).await;
        let delivery = deliver(&other, impatient()).await;
        settled(&other, &app.application).await;
        assert!(app.user(&ada).unwrap().contains("the other"));
        delivery.stop().await;
    });
}
