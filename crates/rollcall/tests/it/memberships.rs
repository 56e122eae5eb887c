//! Memberships arrive after the people whom they are about, at an application that remembers nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rollcall::application::Scope;
use rollcall::delivery::ledger::parked::ParkedState;
use rollcall::directory::Command;
use rollcall::hub::Hub;
use rollcall_protocol::EventType;
use rollcall_receiver::Outcome;
use rollcall_receiver::testing::{Act, Forgetful};

use crate::forgetful::{Simple, kind, user_ids};
use crate::plain::{apply, deliver, group, parked_of, settled, until, user};
use crate::world::{hasty, on_both, open_hub};

async fn add(hub: &Hub, group: &str, user: &str) {
    let (group_id, user_ids) = (group.to_owned(), vec![user.to_owned()]);
    apply(hub, Command::AddMembers { group_id, user_ids }).await;
}

/// An application that wants whoever is created again, as long as it is told to.
async fn unwilling(hub: &Hub) -> (Simple, Arc<AtomicBool>) {
    let unwilling = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&unwilling);
    let app = Forgetful::scripted(move |event, _| {
        match event.kind() == Some(EventType::UserCreate) && asked.load(Ordering::SeqCst) {
            true => Act::Answer(Outcome::Retry {
                code: "busy".to_owned(),
                message: String::new(),
            }),
            false => Act::Apply,
        }
    });
    (Simple::new(hub, "App", Scope::everything(), app).await, unwilling)
}

/// Of each user, the last membership that arrived did so after the user.
fn come_after_their_members(app: &Simple, users: &[&str]) {
    let arrivals = app.app.arrivals();
    for user in users {
        let created = arrivals
            .iter()
            .rposition(|it| it.applied && kind(it) == Some(EventType::UserCreate) && it.biz_id == *user);
        let added = arrivals.iter().rposition(|it| {
            it.applied
                && kind(it) == Some(EventType::GroupAddUser)
                && user_ids(it).iter().any(|member| member == user)
        });
        assert!(
            created.is_some() && created < added,
            "{user}: {created:?}, {added:?}"
        );
    }
}

#[test]
fn whoever_is_added_to_a_group_is_there_before() {
    on_both("memberships", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, unwilling) = unwilling(&hub).await;
        let delivery = deliver(&hub, hasty()).await;
        app.synchronize().await;
        delivery.stop().await;
        let staff = group(&hub, "Staff").await;
        // These are in one request, so that the membership is accepted by the answer that wants the user again.
        let ada = user(&hub, "ada").await;
        add(&hub, &staff, &ada).await;
        let delivery = deliver(&hub, hasty()).await;
        let waiting = async || parked_of(&hub, &app.application).await.len();
        until("ada and her membership wait", async || waiting().await == 2).await;
        // That one is found to wait when the log is read, and this one by another worker, from what is stored.
        let bob = user(&hub, "bob").await;
        until("bob waits", async || waiting().await == 3).await;
        add(&hub, &staff, &bob).await;
        until("his membership does", async || waiting().await == 4).await;
        delivery.stop().await;
        let parked = parked_of(&hub, &app.application).await;
        assert!(
            parked
                .iter()
                .all(|it| (it.state == ParkedState::Held) == (it.event_type == EventType::GroupAddUser)),
            "{parked:?}"
        );
        let delivery = deliver(&hub, hasty()).await;
        let before = app.gate.arrived();
        until("it was asked again", async || app.gate.arrived() > before + 1).await;
        unwilling.store(false, Ordering::SeqCst);
        settled(&hub, &app.application).await;
        come_after_their_members(&app, &[&ada, &bob]);
        app.is_right().await;
        assert!(parked_of(&hub, &app.application).await.is_empty());
        delivery.stop().await;
    });
}

/// What comes after a membership that waits must wait too, also in the round that finds that it does.
#[test]
fn nothing_of_a_group_overtakes_a_membership_that_waits() {
    on_both("memberships_overtaken", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, unwilling) = unwilling(&hub).await;
        let delivery = deliver(&hub, hasty()).await;
        app.synchronize().await;
        let (staff, board) = (group(&hub, "Staff").await, group(&hub, "Board").await);
        settled(&hub, &app.application).await;
        let ada = user(&hub, "ada").await;
        let waiting = async || parked_of(&hub, &app.application).await.len();
        until("ada waits", async || waiting().await == 1).await;
        delivery.stop().await;
        for group in [&staff, &board] {
            add(&hub, group, &ada).await;
        }
        let (group_id, user_ids) = (staff.clone(), vec![ada.clone()]);
        apply(&hub, Command::RemoveMembers { group_id, user_ids }).await;
        apply(&hub, Command::DeleteGroup { id: board.clone() }).await;
        let delivery = deliver(&hub, hasty()).await;
        until("all of it waits", async || waiting().await >= 5).await;
        unwilling.store(false, Ordering::SeqCst);
        settled(&hub, &app.application).await;
        for (group, last) in [
            (&staff, EventType::GroupRemoveUser),
            (&board, EventType::GroupDelete),
        ] {
            let arrivals = app.app.arrivals();
            let newest = arrivals.iter().rfind(|it| it.applied && it.biz_id == *group);
            assert_eq!(newest.and_then(kind), Some(last));
        }
        app.is_right().await;
        delivery.stop().await;
    });
}

#[test]
fn a_membership_does_not_wait_for_whoever_is_set_aside() {
    on_both("memberships_failed", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Forgetful::scripted(|event, times| {
            match event.kind() == Some(EventType::UserCreate) && times == 1 {
                true => Act::Answer(Outcome::Failed {
                    code: "no".to_owned(),
                    message: String::new(),
                }),
                false => Act::Apply,
            }
        });
        let app = Simple::new(&hub, "App", Scope::everything(), app).await;
        let delivery = deliver(&hub, hasty()).await;
        let (staff, ada) = (group(&hub, "Staff").await, user(&hub, "ada").await);
        add(&hub, &staff, &ada).await;
        settled(&hub, &app.application).await;
        let parked = parked_of(&hub, &app.application).await;
        assert_eq!((parked.len(), parked[0].state), (1, ParkedState::Failed));
        assert!(app.app.snapshot().groups[&staff].members.contains(&ada));
        delivery.stop().await;
    });
}
