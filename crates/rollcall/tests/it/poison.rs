//! Events and requests that an application refuses, and outages, which are told apart from them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rollcall::access::Caller;
use rollcall::delivery::ledger::operate;
use rollcall::delivery::ledger::parked::ParkedState;
use rollcall::directory::{Command, NewUser};
use rollcall::id::ROOT_UNIT;
use rollcall_protocol::EventType;

use crate::plain::{Of, Plain, Say, apply, deliver, parked_of, says, settled, stored, until, user};
use crate::world::{described, hasty, new_user, on_both, open_hub};

#[test]
fn an_event_that_is_always_refused_is_set_aside_and_stops_nobody() {
    on_both("poison", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        app.say(|events| match events.iter().any(|event| says(event, "poison")) {
            true => Say::Status(400),
            false => Say::Yes,
        });
        let mut ids = Vec::new();
        for number in 0..20 {
            let mut new: NewUser = new_user(&format!("user{number}"), ROOT_UNIT);
            if number == 13 {
                new.description = Some("poison".to_owned());
            }
            ids.push(apply(&hub, Command::CreateUser(new)).await);
        }
        let delivery = deliver(&hub, hasty()).await;
        settled(&hub, &app.application).await;
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(app.user(id).is_some(), number != 13, "user{number}");
        }
        let parked = parked_of(&hub, &app.application).await;
        assert_eq!(parked.len(), 1);
        assert_eq!(
            (parked[0].state, &parked[0].subject_id),
            (ParkedState::Failed, &ids[13])
        );
        assert!(stored(&hub, &app.application).await.suspended.is_none());
        // Another one, alone in its request.
        let mut new = new_user("alone", ROOT_UNIT);
        new.description = Some("poison".to_owned());
        let alone = apply(&hub, Command::CreateUser(new)).await;
        settled(&hub, &app.application).await;
        until("it is set aside", async || {
            parked_of(&hub, &app.application).await.len() == 2
        })
        .await;
        // Once the application is mended, what was set aside is sent again, or dismissed.
        app.say(|_| Say::Yes);
        let id = app.application.id.clone();
        let event = parked_of(&hub, &app.application).await[0].event_id.clone();
        let resent = hub
            .write_as(Caller::system("test"), move |tx, ctx| {
                operate::resend(tx, ctx, &id, Some(event.as_str()))
            })
            .await
            .unwrap();
        assert_eq!(resent.queued, 1);
        let id = app.application.id.clone();
        assert_eq!(
            hub.write_as(Caller::system("test"), move |tx, ctx| operate::dismiss(
                tx, ctx, &id, None
            ))
            .await
            .unwrap(),
            1
        );
        settled(&hub, &app.application).await;
        assert!(app.user(&ids[13]).is_some() && app.user(&alone).is_none());
        assert!(parked_of(&hub, &app.application).await.is_empty());
        delivery.stop().await;
    });
}

#[test]
fn a_request_that_is_too_large_is_halved() {
    on_both("too_large", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        app.say(|events| match events.len() > 3 {
            true => Say::Status(413),
            false => Say::Yes,
        });
        for number in 0..20 {
            user(&hub, &format!("user{number}")).await;
        }
        let delivery = deliver(&hub, hasty()).await;
        settled(&hub, &app.application).await;
        assert_eq!(app.applied().len(), 20);
        let order: Vec<_> = app.applied().iter().map(|event| event.event_time).collect();
        assert!(order.is_sorted());
        assert!(parked_of(&hub, &app.application).await.is_empty());
        delivery.stop().await;
    });
}

#[test]
fn an_application_that_wants_everything_again_has_nothing_to_repair_afterwards() {
    on_both("all_again", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        let away = Arc::new(AtomicBool::new(true));
        let gone = Arc::clone(&away);
        app.say(move |events| match gone.load(Ordering::SeqCst) {
            // Its own database is away, but it answers connection tests.
            true if events[0].kind() != Some(EventType::Test) => Say::Each(vec![Of::Retried; events.len()]),
            _ => Say::Yes,
        });
        let ada = user(&hub, "ada").await;
        let delivery = deliver(&hub, hasty()).await;
        for number in 0..300 {
            apply(&hub, described(&ada, &format!("text {number}"))).await;
            user(&hub, &format!("user{number}")).await;
        }
        until("it is suspended", async || {
            stored(&hub, &app.application).await.suspended.is_some()
        })
        .await;
        let requests = app.requests().len();
        until("it is asked again", async || app.requests().len() > requests + 20).await;
        // Nor does a hub that starts anew in the middle of it.
        delivery.stop().await;
        let requests = app.requests().len();
        let delivery = deliver(&hub, hasty()).await;
        until("it is asked again", async || app.requests().len() > requests + 4).await;
        let probes = &app.requests()[requests..];
        assert!(
            probes.iter().all(|probe| probe.len() == 1),
            "a probe carries one event: {:?}",
            probes.iter().map(Vec::len).collect::<Vec<_>>()
        );
        let parked = parked_of(&hub, &app.application).await;
        assert!(
            parked.iter().all(|parked| parked.state != ParkedState::Failed),
            "{parked:#?}"
        );
        assert!(
            parked.len() < 150,
            "an outage must not fill the parked queue: {}",
            parked.len()
        );
        away.store(false, Ordering::SeqCst);
        settled(&hub, &app.application).await;
        assert!(app.user(&ada).unwrap().contains("text 299"));
        assert!(parked_of(&hub, &app.application).await.is_empty());
        assert!(stored(&hub, &app.application).await.suspended.is_none());
        delivery.stop().await;
    });
}

#[test]
fn skipping_sets_the_next_event_aside() {
    on_both("skip", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        app.say(|_| Say::Status(500));
        let (ada, bob) = (user(&hub, "ada").await, user(&hub, "bob").await);
        let delivery = deliver(&hub, hasty()).await;
        until("it is suspended", async || {
            stored(&hub, &app.application).await.suspended.is_some()
        })
        .await;
        let id = app.application.id.clone();
        hub.write_as(Caller::system("test"), move |tx, ctx| {
            operate::skip(tx, ctx, &id, None)
        })
        .await
        .unwrap();
        // A probe that was in flight may still carry the event.
        let skipped = ada.clone();
        app.say(
            move |events| match events.iter().any(|event| event.biz_id == skipped) {
                true => Say::Status(500),
                false => Say::Yes,
            },
        );
        settled(&hub, &app.application).await;
        assert!(app.user(&ada).is_none() && app.user(&bob).is_some());
        let parked = parked_of(&hub, &app.application).await;
        assert_eq!((parked.len(), parked[0].state), (1, ParkedState::Failed));
        delivery.stop().await;
    });
}

#[test]
fn an_event_is_not_blamed_for_an_outage_that_ends_between_it_and_the_test() {
    on_both("blame", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        let first = user(&hub, "first").await;
        // The application comes back after the last try of the request, so that the test which follows it
        // gets through.
        let mut refusals = hasty().tries;
        app.say(move |events| {
            let test = events.iter().any(|event| event.kind() == Some(EventType::Test));
            if test || refusals == 0 {
                Say::Yes
            } else {
                refusals -= 1;
                Say::Status(503)
            }
        });
        let delivery = deliver(&hub, hasty()).await;
        settled(&hub, &app.application).await;
        assert!(app.user(&first).is_some());
        assert!(parked_of(&hub, &app.application).await.is_empty());
        delivery.stop().await;
    });
}

#[test]
fn an_application_that_skips_connection_tests_is_not_taken_to_be_away() {
    on_both("tests_skipped", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        // As the first version of the official SDK does.
        app.say(|events| match events {
            [test] if test.kind() == Some(EventType::Test) => Say::Each(vec![Of::Skipped]),
            _ if events.iter().any(|event| says(event, "poison")) => Say::Status(400),
            _ => Say::Yes,
        });
        let mut new = new_user("ada", ROOT_UNIT);
        new.description = Some("poison".to_owned());
        let ada = apply(&hub, Command::CreateUser(new)).await;
        let bob = user(&hub, "bob").await;
        let delivery = deliver(&hub, hasty()).await;
        settled(&hub, &app.application).await;
        assert!(app.user(&bob).is_some() && app.user(&ada).is_none());
        assert_eq!(parked_of(&hub, &app.application).await.len(), 1);
        assert!(stored(&hub, &app.application).await.suspended.is_none());
        delivery.stop().await;
    });
}
