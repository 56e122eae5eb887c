//! Sending again what was set aside never turns a subject back, whatever has happened or happens meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rollcall::access::Caller;
use rollcall::application::{Scope, ScopeEdit};
use rollcall::delivery::job;
use rollcall::delivery::ledger::operate::{self, Resent};
use rollcall::delivery::ledger::parked::ParkedState;
use rollcall::directory::Command;
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall::maintenance::retention::{Retention, trim};
use rollcall_protocol::EventType;
use rollcall_receiver::Outcome;
use rollcall_receiver::testing::{Act, Forgetful};

use crate::forgetful::Simple;
use crate::plain::{apply, deliver, parked_of, settled, unit, user};
use crate::world::{described, hasty, new_user, on_both, open_hub};

/// An application that refuses what says "refused" when it comes for the first time, and applies it afterwards.
async fn application(hub: &Hub) -> Simple {
    let forgetful = Forgetful::scripted(|event, times| {
        let update = event.kind() == Some(EventType::UserUpdateInfo);
        match update && times == 1 && event.biz_data.contains("refused") {
            true => Act::Answer(Outcome::Failed {
                code: "no".to_owned(),
                message: String::new(),
            }),
            false => Act::Apply,
        }
    });
    Simple::new(hub, "App", Scope::everything(), forgetful).await
}

async fn resend(hub: &Hub, app: &Simple) -> Resent {
    let id = app.application.id.clone();
    let resending = hub.write_as(Caller::system("test"), move |tx, ctx| {
        operate::resend(tx, ctx, &id, None)
    });
    resending.await.unwrap()
}

/// Has retention remove all that it may from the log; returns how many changes those were.
async fn forget(hub: &Hub) -> u64 {
    // What happened in this very millisecond is not older than now.
    tokio::time::sleep(Duration::from_millis(3)).await;
    let nothing_is_kept = Retention {
        changes: Duration::ZERO,
        ..Retention::default()
    };
    trim(hub, nothing_is_kept).await.unwrap().changes
}

async fn is_set_aside(hub: &Hub, app: &Simple) {
    settled(hub, &app.application).await;
    let parked = parked_of(hub, &app.application).await;
    assert_eq!((parked.len(), parked[0].state), (1, ParkedState::Failed));
}

#[test]
fn what_is_in_flight_while_an_event_is_sent_again_is_sent_after_it_once_more() {
    on_both("resend_in_flight", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = application(&hub).await;
        let delivery = deliver(&hub, hasty()).await;
        app.synchronize().await;
        let ada = user(&hub, "ada").await;
        apply(&hub, described(&ada, "refused")).await;
        is_set_aside(&hub, &app).await;
        // The later change is on its way, and nobody has stored yet that it was delivered.
        let held = app.gate.hold_after(0);
        apply(&hub, described(&ada, "newest")).await;
        app.gate.has(held).await;
        let resent = resend(&hub, &app).await;
        assert_eq!((resent.queued, resent.refreshed), (1, 0));
        app.gate.open();
        app.is_right().await;
        assert!(parked_of(&hub, &app.application).await.is_empty());
        delivery.stop().await;
    });
}

#[test]
fn retention_keeps_what_tells_that_an_event_was_overtaken() {
    on_both("resend_trimmed", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = application(&hub).await;
        let delivery = deliver(&hub, hasty()).await;
        app.synchronize().await;
        let (ada, bob) = (user(&hub, "ada").await, user(&hub, "bob").await);
        apply(&hub, described(&ada, "refused")).await;
        apply(&hub, described(&ada, "newest")).await;
        apply(&hub, described(&bob, "newest")).await;
        is_set_aside(&hub, &app).await;
        assert!(forget(&hub).await >= 2);
        let resent = resend(&hub, &app).await;
        assert_eq!((resent.queued, resent.refreshed), (0, 1));
        app.is_right().await;
        delivery.stop().await;
    });
}

#[test]
fn an_event_that_a_synchronization_has_overtaken_is_told_anew() {
    on_both("resend_pushed", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = application(&hub).await;
        let delivery = deliver(&hub, hasty()).await;
        app.synchronize().await;
        let ada = user(&hub, "ada").await;
        apply(&hub, described(&ada, "refused")).await;
        is_set_aside(&hub, &app).await;
        app.synchronize().await;
        let resent = resend(&hub, &app).await;
        assert_eq!((resent.queued, resent.refreshed), (0, 1));
        app.is_right().await;
        delivery.stop().await;
    });
}

/// An application that sees one unit, in which ada stands; and the change by which it sees another one instead.
async fn leaving(hub: &Hub, forgetful: Forgetful) -> (Simple, String, ScopeEdit) {
    let before = unit(hub, "Before", ROOT_UNIT).await;
    let after = unit(hub, "After", ROOT_UNIT).await;
    let ada = apply(hub, Command::CreateUser(new_user("ada", &before))).await;
    let only = |unit: String| Scope {
        organizational_unit_ids: [unit].into(),
        ..Scope::default()
    };
    let app = Simple::new(hub, "App", only(before), forgetful).await;
    (app, ada, ScopeEdit::to(&only(after)))
}

/// Changes an application's scope; returns the job's id.
async fn change_scope(hub: &Hub, app: &Simple, edit: ScopeEdit) -> String {
    let id = &app.application.id;
    let changing = job::change_scope(hub, Caller::system("test"), id, edit, None);
    changing.await.unwrap().1
}

#[test]
fn a_deletion_that_was_refused_is_sent_again_although_the_log_has_forgotten_who_was_told() {
    on_both("resend_gone", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let first = AtomicBool::new(true);
        let forgetful = Forgetful::scripted(move |event, _| {
            match event.kind() == Some(EventType::UserDelete) && first.swap(false, Ordering::SeqCst) {
                true => Act::Answer(Outcome::Failed {
                    code: "no".to_owned(),
                    message: String::new(),
                }),
                false => Act::Apply,
            }
        });
        let (app, ada, edit) = leaving(&hub, forgetful).await;
        let delivery = deliver(&hub, hasty()).await;
        app.synchronize().await;
        let job_id = change_scope(&hub, &app, edit).await;
        app.ended(&job_id).await;
        is_set_aside(&hub, &app).await;
        assert!(app.app.snapshot().users.contains_key(&ada));
        assert!(forget(&hub).await >= 3);
        let resent = resend(&hub, &app).await;
        assert_eq!((resent.refreshed, resent.superseded), (1, 0));
        app.is_right().await;
        delivery.stop().await;
    });
}

#[test]
fn an_event_of_whoever_has_left_by_a_change_of_scope_since_is_not_sent_again() {
    on_both("resend_left", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let forgetful = Forgetful::scripted(|event, _| match event.kind() {
            Some(EventType::UserUpdateInfo) => Act::Answer(Outcome::Failed {
                code: "no".to_owned(),
                message: String::new(),
            }),
            _ => Act::Apply,
        });
        let (app, ada, edit) = leaving(&hub, forgetful).await;
        let delivery = deliver(&hub, hasty()).await;
        app.synchronize().await;
        apply(&hub, described(&ada, "refused")).await;
        is_set_aside(&hub, &app).await;
        let job_id = change_scope(&hub, &app, edit).await;
        app.ended(&job_id).await;
        // The job that has told of the deletion is forgotten, and the log knows nothing of it.
        tokio::time::sleep(Duration::from_millis(3)).await;
        let no_jobs_are_kept = Retention {
            attempts: Duration::ZERO,
            ..Retention::default()
        };
        trim(&hub, no_jobs_are_kept).await.unwrap();
        let resent = resend(&hub, &app).await;
        assert_eq!((resent.queued, resent.refreshed), (0, 1));
        app.is_right().await;
        assert!(!app.app.snapshot().users.contains_key(&ada));
        delivery.stop().await;
    });
}

#[test]
fn who_leaves_by_a_change_of_scope_is_deleted_however_often_its_job_begins_anew() {
    on_both("resend_repinned", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, ada, edit) = leaving(&hub, Forgetful::new()).await;
        let delivery = deliver(&hub, hasty()).await;
        app.synchronize().await;
        delivery.stop().await;
        assert!(app.app.snapshot().users.contains_key(&ada));
        let job_id = change_scope(&hub, &app, edit).await;
        // Retention does this each time that the application falls behind.
        for _ in 0..3 {
            let id = app.application.id.clone();
            let repinned = hub
                .db
                .write(move |tx| job::repin(tx, &id, "job_new", job::Trigger::Retention, 1));
            assert_eq!(repinned.await.unwrap(), job_id);
        }
        let delivery = deliver(&hub, hasty()).await;
        app.ended(&job_id).await;
        app.is_right().await;
        assert!(!app.app.snapshot().users.contains_key(&ada));
        delivery.stop().await;
    });
}
