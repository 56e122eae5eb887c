//! A clock that ran ahead and was set right: nobody waits for the time that it showed.

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
use rollcall_protocol::SystemRandom;

use crate::plain::{Plain, apply, deliver, settled, stored, until, user};
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

#[test]
fn a_clock_that_ran_ahead_keeps_nobody_waiting() {
    // A probe is due tomorrow; or, once somebody has resumed the application, an event that waits is.
    for resumed in [false, true] {
        on_both("ran_ahead", |database, _| set_right(database, resumed));
    }
}

async fn set_right(database: String, resumed: bool) {
    let ahead = HubParts {
        clock: Clock::of_runtime(Clock::system().now() + DAY),
        ..parts(&database)
    };
    let hub = Hub::open(ahead).await.unwrap();
    let app = Plain::new(&hub, "App").await;
    let key = NewKey::generate(hub.clock.now(), &SystemRandom, &hub.master).unwrap();
    let delay = Duration::ZERO;
    let rotate = application::Command::RotateSigningKey {
        id: app.application.id.clone(),
        step: RotationStep::Publish { key, delay },
    };
    hub.apply_application(Caller::system("test"), rotate)
        .await
        .unwrap();
    app.restart(&hub, |_| true).await;
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
    until("the new key signs", async || {
        let (id, now) = (app.application.id.clone(), hub.clock.now());
        let rotation = hub.db.read(move |tx| rotation::rotation(tx, &id, now)).await;
        !matches!(
            rotation.unwrap(),
            Rotation::Published { .. } | Rotation::Trial { .. }
        )
    })
    .await;
    // The times of the log do not run back, so that receivers do not take today's change for an old one.
    let log = hub
        .db
        .read(|tx| change::read_after(tx, 0, usize::MAX))
        .await
        .unwrap();
    assert!(log.iter().map(|change| change.time).is_sorted());
    delivery.stop().await;
}
