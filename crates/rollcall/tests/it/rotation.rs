//! Rotation of signing keys never cuts an application off, whatever it does with the public keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rollcall::access::Caller;
use rollcall::application::keys::rotation::{self, Rotation, RotationError};
use rollcall::application::keys::{self, NewKey};
use rollcall::application::{ApplicationError, Command, RotationStep};
use rollcall::delivery::{self, Delivery, status};
use rollcall::hub::Hub;
use rollcall::schema;
use rollcall::why::why;
use rollcall_db::testing::databases;
use rollcall_db::{Db, DbError, Migrations, Options, params};
use rollcall_protocol::{EventType, SystemRandom, UserPayload};
use serde_json::Value;

use crate::cli_delivery::Beside;
use crate::operate::{done, rollcall};
use crate::plain::{Plain, Say, apply, attempts_of, deliver, jwks, settled, stored, until, user};
use crate::world::{described, hasty, make_hub, on_both, open_hub};

/// Delivery that tries a new key again at once.
fn trying() -> delivery::Options {
    delivery::Options {
        first_trial_pause: Duration::from_millis(10),
        longest_trial_pause: Duration::from_millis(40),
        ..hasty()
    }
}

async fn step(hub: &Hub, app: &Plain, step: RotationStep) -> Result<String, ApplicationError> {
    let id = app.application.id.clone();
    let command = Command::RotateSigningKey { id, step };
    let applied = hub.apply_application(Caller::system("test"), command).await?;
    Ok(applied.rotated.unwrap().kid)
}

fn new_key(hub: &Hub) -> NewKey {
    NewKey::generate(hub.clock.now(), &SystemRandom, &hub.master).unwrap()
}

async fn rotate(hub: &Hub, app: &Plain, delay: Duration) -> String {
    let key = new_key(hub);
    step(hub, app, RotationStep::Publish { key, delay })
        .await
        .unwrap()
}

async fn rotation_of(hub: &Hub, app: &Plain) -> Rotation {
    let (id, now) = (app.application.id.clone(), hub.clock.now());
    hub.db
        .read(move |tx| rotation::rotation(tx, &id, now))
        .await
        .unwrap()
}

/// A hub that delivers to an application, and a user whom the application is to know.
async fn begun(database: &str) -> (Hub, Plain, String, Delivery) {
    let hub = open_hub(database).await;
    let app = Plain::new(&hub, "App").await;
    let ada = user(&hub, "ada").await;
    let delivery = deliver(&hub, trying()).await;
    (hub, app, ada, delivery)
}

/// Describes a user with a number more, and waits until that has arrived.
async fn next(hub: &Hub, app: &Plain, user: &str, number: &mut u32) {
    *number += 1;
    apply(hub, described(user, &number.to_string())).await;
    settled(hub, &app.application).await;
}

/// What came of the user: every number once, in order.
fn assert_story(app: &Plain, user: &str, number: u32) {
    let told: Vec<_> = app
        .story_of(user)
        .iter()
        .skip(1)
        .map(|event| {
            UserPayload::from_json(&event.biz_data)
                .unwrap()
                .description
                .unwrap()
        })
        .collect();
    let should: Vec<_> = (1..=number).map(|number| number.to_string()).collect();
    assert_eq!(told, should);
}

#[test]
fn an_application_that_keeps_the_public_keys_is_never_cut_off() {
    on_both("rotation_pinned", |hub, _| async move {
        let (hub, app, ada, delivery) = begun(&hub).await;
        let mut number = 0;
        next(&hub, &app, &ada, &mut number).await;
        let new = rotate(&hub, &app, Duration::ZERO).await;
        assert_eq!(jwks(&hub, &app.application).await.keys.len(), 2);
        until("the application refuses the new key", async || {
            matches!(rotation_of(&hub, &app).await, Rotation::Refused { .. })
        })
        .await;
        let Rotation::Refused { kid, reason, .. } = rotation_of(&hub, &app).await else {
            panic!("it was refused a moment ago")
        };
        assert_eq!(kid, new);
        assert_eq!(reason, "HTTP 500");
        // The old key goes on signing, and the administrator is told everywhere.
        for _ in 0..5 {
            next(&hub, &app, &ada, &mut number).await;
        }
        let application = app.application.clone();
        let (page, standing) = hub
            .db
            .read(move |tx| {
                let page = why(tx, "ada", &application.id, 1).unwrap();
                Ok::<_, DbError>((page, status::read(tx)?))
            })
            .await
            .unwrap();
        assert!(page.warnings[0].contains("restart the application or update its pinned keys"));
        assert!(standing.applications[0].refuses_key);
        for attempt in attempts_of(&hub, &app.application).await {
            let trial = attempt.source == "key_trial";
            assert_eq!(attempt.was_received(), !trial, "{attempt:?}");
            let text = attempt.in_full().unwrap_or_default();
            let says = format!("trial of the new signing key {new}, which the answer names");
            assert_eq!(
                text.contains(&says) && text.contains("bad_request"),
                trial,
                "{text}"
            );
        }
        assert!(stored(&hub, &app.application).await.suspended.is_none());
        // Changes go on while it is restarted with the keys of now, and over the switch.
        app.restart(&hub, |_| true).await;
        until("the new key signs", async || {
            next(&hub, &app, &ada, &mut number).await;
            matches!(rotation_of(&hub, &app).await, Rotation::Retiring { .. })
        })
        .await;
        next(&hub, &app, &ada, &mut number).await;
        assert_story(&app, &ada, number);
        let (id, now) = (app.application.id.clone(), hub.clock.now());
        let keys = hub.db.read(move |tx| keys::list(tx, &id, now)).await.unwrap();
        assert_eq!(keys[0].kid, new);
        assert!(keys[0].signs_from.is_some_and(|since| since <= now) && keys[0].trial.is_none());
        // The old key stays until its last signature has expired, skew included.
        let retires_at = keys[1].retires_at.unwrap();
        assert_eq!(retires_at, keys[0].signs_from.unwrap() + 1_860_000);
        let id = app.application.id.clone();
        hub.db
            .write(move |tx| {
                assert_eq!(keys::jwks(tx, &id, retires_at - 1)?.keys.len(), 2);
                assert_eq!(keys::jwks(tx, &id, retires_at)?.keys.len(), 1);
                keys::delete_retired(tx, retires_at)?;
                assert_eq!(rotation::rotation(tx, &id, now)?, Rotation::Steady);
                Ok::<_, DbError>(())
            })
            .await
            .unwrap();
        // What is signed from now on only an application understands that knows the new key alone.
        app.restart(&hub, |kid| kid == new).await;
        next(&hub, &app, &ada, &mut number).await;
        assert_story(&app, &ada, number);
        delivery.stop().await;
    });
}

#[test]
fn a_new_key_waits_for_its_time_and_can_be_withdrawn() {
    on_both("rotation_waits", |hub, _| async move {
        let (hub, app, ada, delivery) = begun(&hub).await;
        let new = rotate(&hub, &app, Duration::from_secs(3_600)).await;
        app.restart(&hub, |_| true).await;
        let mut number = 0;
        for _ in 0..3 {
            next(&hub, &app, &ada, &mut number).await;
        }
        assert!(matches!(rotation_of(&hub, &app).await, Rotation::Published { kid, .. } if kid == new));
        assert!(
            attempts_of(&hub, &app.application)
                .await
                .iter()
                .all(|attempt| attempt.source == "log")
        );
        let another = RotationStep::Publish {
            key: new_key(&hub),
            delay: Duration::ZERO,
        };
        let refused = step(&hub, &app, another).await;
        assert!(matches!(
            refused,
            Err(ApplicationError::Rotation(RotationError::UnderWay(kid))) if kid == new
        ));
        assert_eq!(step(&hub, &app, RotationStep::Withdraw).await.unwrap(), new);
        assert_eq!(rotation_of(&hub, &app).await, Rotation::Steady);
        assert_eq!(jwks(&hub, &app.application).await.keys.len(), 1);
        let nothing = step(&hub, &app, RotationStep::Withdraw).await;
        assert!(matches!(
            nothing,
            Err(ApplicationError::Rotation(RotationError::NotUnderWay))
        ));
        next(&hub, &app, &ada, &mut number).await;
        // Whoever does not want to wait has it tried now.
        let new = rotate(&hub, &app, Duration::from_secs(3_600)).await;
        app.restart(&hub, |_| true).await;
        assert_eq!(step(&hub, &app, RotationStep::TryNow).await.unwrap(), new);
        until("the new key signs", async || {
            matches!(rotation_of(&hub, &app).await, Rotation::Retiring { .. })
        })
        .await;
        next(&hub, &app, &ada, &mut number).await;
        assert_story(&app, &ada, number);
        delivery.stop().await;
    });
}

#[test]
fn an_application_that_knows_the_new_key_alone_gets_it_early() {
    on_both("rotation_replaced", |hub, _| async move {
        let (hub, app, ada, delivery) = begun(&hub).await;
        let mut number = 0;
        next(&hub, &app, &ada, &mut number).await;
        let new = rotate(&hub, &app, Duration::from_secs(3_600)).await;
        // Somebody replaces the pinned key instead of adding the new one.
        app.restart(&hub, |kid| kid == new).await;
        next(&hub, &app, &ada, &mut number).await;
        assert!(matches!(rotation_of(&hub, &app).await, Rotation::Retiring { .. }));
        assert_story(&app, &ada, number);
        delivery.stop().await;
    });
}

#[test]
fn the_key_before_signs_again_where_the_new_one_breaks_the_application() {
    on_both("rotation_reverted", |database, _| async move {
        let (hub, app, ada, delivery) = begun(&database).await;
        let beside = Beside::new(&database);
        let mut number = 0;
        next(&hub, &app, &ada, &mut number).await;
        let old = jwks(&hub, &app.application).await.keys[0].kid.clone();
        let (code, text) = beside.run(&["app", "key", "revert", "App"]).await;
        assert!(code == 1 && text.contains("no earlier key is left"), "{text}");
        let new = rotate(&hub, &app, Duration::ZERO).await;
        app.restart(&hub, |_| true).await;
        until("the new key signs", async || {
            matches!(rotation_of(&hub, &app).await, Rotation::Retiring { .. })
        })
        .await;
        // An instance that took no part in the trial knows the old key alone.
        app.restart(&hub, |kid| kid == old).await;
        number += 1;
        apply(&hub, described(&ada, &number.to_string())).await;
        until("it is suspended", async || {
            stored(&hub, &app.application).await.suspended.is_some()
        })
        .await;
        let (_, text) = beside.run(&["app", "key", "show", "App"]).await;
        assert!(text.contains("rollcall app key revert"), "{text}");
        let (code, text) = beside.run(&["app", "key", "revert", "App"]).await;
        assert!(
            code == 0 && text.contains(&format!("{old} signs again")),
            "{text}"
        );
        settled(&hub, &app.application).await;
        next(&hub, &app, &ada, &mut number).await;
        assert_story(&app, &ada, number);
        let retiring = rotation_of(&hub, &app).await;
        assert!(matches!(&retiring, Rotation::Retiring { kid, .. } if *kid == new));
        let (_, text) = beside.run(&["audit", "--action", "revert_signing_key"]).await;
        assert!(text.contains(&old) && text.contains(&new), "{text}");
        // The way back has a way back too.
        app.restart(&hub, |kid| kid == new).await;
        assert_eq!(step(&hub, &app, RotationStep::Revert).await.unwrap(), new);
        next(&hub, &app, &ada, &mut number).await;
        assert_story(&app, &ada, number);
        // A key whose private half is of no use does not sign.
        let sealed = async |bytes: &'static [u8]| {
            let kid = old.clone();
            hub.db
                .write(move |tx| {
                    tx.execute(
                        "UPDATE signing_keys SET private_key = $2 WHERE kid = $1",
                        params![kid.as_str(), bytes],
                    )
                })
                .await
                .unwrap();
        };
        sealed(b"nothing that opens").await;
        let refused = step(&hub, &app, RotationStep::Revert).await;
        assert!(matches!(
            refused,
            Err(ApplicationError::Rotation(RotationError::Unusable(kid))) if kid == old
        ));
        next(&hub, &app, &ada, &mut number).await;
        // Once it is retired, there is nothing to go back to.
        let later = hub.clock.now() + 1_860_000;
        hub.db
            .write(move |tx| keys::delete_retired(tx, later))
            .await
            .unwrap();
        let refused = step(&hub, &app, RotationStep::Revert).await;
        assert!(matches!(
            refused,
            Err(ApplicationError::Rotation(RotationError::NothingEarlier))
        ));
        assert_story(&app, &ada, number);
        delivery.stop().await;
    });
}

#[test]
fn an_outage_is_not_taken_for_a_refusal_of_the_key() {
    on_both("rotation_outage", |hub, _| async move {
        let (hub, app, ada, delivery) = begun(&hub).await;
        let mut number = 0;
        next(&hub, &app, &ada, &mut number).await;
        let down = Arc::new(AtomicBool::new(true));
        let is_down = Arc::clone(&down);
        app.say(move |_| match is_down.load(Ordering::SeqCst) {
            true => Say::Status(500),
            false => Say::Yes,
        });
        // It knows both keys, but takes nothing; also not what is signed with the old one.
        let new = rotate(&hub, &app, Duration::ZERO).await;
        app.restart(&hub, |_| true).await;
        until("the trial tells nothing", async || {
            match rotation_of(&hub, &app).await {
                Rotation::Trial { reason, .. } => reason.is_some(),
                Rotation::Refused { .. } => panic!("nobody refused the key"),
                _ => false,
            }
        })
        .await;
        number += 1;
        apply(&hub, described(&ada, &number.to_string())).await;
        until("the application is suspended", async || {
            stored(&hub, &app.application).await.suspended.is_some()
        })
        .await;
        down.store(false, Ordering::SeqCst);
        until(
            "the new key signs",
            async || matches!(rotation_of(&hub, &app).await, Rotation::Retiring { kid, .. } if kid != new),
        )
        .await;
        settled(&hub, &app.application).await;
        assert_story(&app, &ada, number);
        delivery.stop().await;
    });
}

#[test]
fn a_stolen_key_is_replaced_at_once_and_nothing_is_lost() {
    on_both("rotation_stolen", |hub, _| async move {
        let (hub, app, ada, delivery) = begun(&hub).await;
        let mut number = 0;
        next(&hub, &app, &ada, &mut number).await;
        rotate(&hub, &app, Duration::from_secs(3_600)).await;
        let key = new_key(&hub);
        let kid = step(&hub, &app, RotationStep::Replace { key }).await.unwrap();
        let published = jwks(&hub, &app.application).await.keys;
        assert_eq!(published.iter().map(|key| &key.kid).collect::<Vec<_>>(), [&kid]);
        for _ in 0..3 {
            number += 1;
            apply(&hub, described(&ada, &number.to_string())).await;
        }
        until("the attempt says what the answer means", async || {
            let attempts = attempts_of(&hub, &app.application).await;
            attempts.iter().any(|attempt| {
                let detail = attempt.detail.clone().unwrap_or_default();
                attempt.source == "log"
                    && detail.contains(&kid)
                    && detail.contains("does not know it; restart it")
            })
        })
        .await;
        app.restart(&hub, |_| true).await;
        settled(&hub, &app.application).await;
        assert_story(&app, &ada, number);
        assert_eq!(rotation_of(&hub, &app).await, Rotation::Steady);
        delivery.stop().await;
    });
}

#[test]
fn the_trial_asks_nothing_of_the_directory() {
    on_both("rotation_test", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        let seen = Arc::new(AtomicBool::new(false));
        let sees = Arc::clone(&seen);
        app.say(move |events| {
            sees.fetch_or(
                events.iter().any(|event| event.kind() == Some(EventType::Test)),
                Ordering::SeqCst,
            );
            Say::Yes
        });
        rotate(&hub, &app, Duration::ZERO).await;
        app.restart(&hub, |_| true).await;
        let delivery = deliver(&hub, trying()).await;
        until("the new key signs", async || {
            matches!(rotation_of(&hub, &app).await, Rotation::Retiring { .. })
        })
        .await;
        assert!(seen.load(Ordering::SeqCst) && app.requests().is_empty());
        delivery.stop().await;
    });
}

#[test]
fn the_command_line_shows_rotates_and_withdraws_keys() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("hub.db").display());
    make_hub(&folder.path().join("data"), &database);
    let run = |arguments: &[&str]| {
        let mut all = vec!["--database", database.as_str()];
        all.extend(arguments);
        rollcall(folder.path(), &all).output().unwrap()
    };
    done(&run(&[
        "app",
        "create",
        "Wiki",
        "--url",
        "http://127.0.0.1:1/events",
    ]));
    assert!(done(&run(&["app", "key", "show", "wiki"])).contains("signs since"));
    let said = done(&run(&["app", "key", "rotate", "wiki"]));
    assert!(said.contains("until then the old key signs"), "{said}");
    let said = done(&run(&["app", "key", "show", "wiki"]));
    assert!(
        said.contains("does not sign yet") && said.contains("key rotation"),
        "{said}"
    );
    assert!(done(&run(&["app", "show", "wiki"])).contains("does not sign yet"));
    let json: Value = serde_json::from_str(&done(&run(&["--json", "app", "key", "show", "wiki"]))).unwrap();
    assert_eq!(json["rotation"]["state"], "published");
    assert_eq!(json["keys"][0]["signsFrom"], Value::Null);
    assert!(!run(&["app", "key", "rotate", "wiki"]).status.success());
    done(&run(&["app", "key", "try", "wiki"]));
    assert!(done(&run(&["app", "key", "show", "wiki"])).contains("is to be tried now"));
    assert!(done(&run(&["app", "key", "cancel", "wiki"])).contains("withdrawn"));
    assert!(!run(&["app", "key", "cancel", "wiki"]).status.success());
    // The emergency says what it breaks, and wants to be confirmed.
    let refused = run(&["app", "key", "rotate", "wiki", "--now"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("refuses everything until"),
        "{said}"
    );
    let before = done(&run(&["--json", "app", "key", "show", "wiki"]));
    done(&run(&["app", "key", "rotate", "wiki", "--now", "--confirm"]));
    let after = done(&run(&["--json", "app", "key", "show", "wiki"]));
    let kids = |text: &str| {
        let json: Value = serde_json::from_str(text).unwrap();
        let keys = json["keys"].as_array().unwrap().clone();
        keys.into_iter().map(|key| key["kid"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((kids(&before).len(), kids(&after).len()), (1, 1));
    assert_ne!(kids(&before), kids(&after));
}

/// The migrations as they were before keys had trials.
fn earlier() -> Migrations {
    let Migrations { sqlite, postgres } = schema::migrations();
    let before = refinery::Target::Version(8);
    Migrations {
        sqlite: sqlite.set_target(before),
        postgres: postgres.set_target(before),
    }
}

#[test]
fn a_rotation_that_was_under_way_goes_on_with_a_trial() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for database in databases("rotation_upgrade") {
        runtime.block_on(upgrade(&database.url));
    }
}

async fn upgrade(url: &str) {
    let now = rollcall::clock::Clock::system().now();
    let later = now + 3_600_000;
    let db = Db::open(url, earlier(), Options::default()).unwrap();
    db.write(move |tx| {
        tx.execute(
            "INSERT INTO applications (id, name, name_folded, synchronize, settings, version, create_time, update_time)
             VALUES ('app_1', 'A', 'a', $1, '{}', 1, 1, 1)",
            params![true],
        )?;
        for (kid, signs_from, retires_at) in [
            ("KEYretired", now - 9_000, Some(now + 1_000)),
            ("KEYsigns", now - 8_000, Some(later)),
            ("KEYskipped", later - 1_000, Some(later)),
            ("KEYnew", later, None),
        ] {
            tx.execute(
                "INSERT INTO signing_keys (kid, application_id, private_key, public_jwk, created_at, signs_from, retires_at)
                 VALUES ($1, 'app_1', $2, '{}', 1, $3, $4)",
                params![kid, &b"sealed"[..], signs_from, retires_at],
            )?;
        }
        Ok::<_, DbError>(())
    })
    .await
    .unwrap();
    db.close().await;
    let db = Db::open(url, schema::migrations(), Options::default()).unwrap();
    let (keys, rotation) = db
        .read(move |tx| {
            let keys = keys::list(tx, "app_1", now)?;
            Ok::<_, DbError>((keys, rotation::rotation(tx, "app_1", now)?))
        })
        .await
        .unwrap();
    let published = Rotation::Published {
        kid: "KEYnew".to_owned(),
        trial_at: later,
    };
    assert_eq!(rotation, published);
    let of = |kid: &str| keys.iter().find(|key| key.kid == kid);
    assert_eq!(of("KEYretired").unwrap().retires_at, Some(now + 1_000));
    let signs = of("KEYsigns").unwrap();
    assert_eq!((signs.signs_from, signs.retires_at), (Some(now - 8_000), None));
    assert!(of("KEYskipped").is_none());
    db.close().await;
}
