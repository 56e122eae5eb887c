//! The full synchronization of an application that takes SCIM: what it ends with, and what an interruption costs.

use super::*;

use rollcall::delivery::Shared;
use rollcall::delivery::comparison::{self, Comparison, Status};
use rollcall::delivery::job::{self, JobStatus};
use rollcall::maintenance::erasure::erase_user;

use crate::world::egress;

/// Begins a comparison, which has to be run; returns its id, and what runs it.
async fn begin_comparison(hub: &Hub, application: &Application) -> (String, Arc<Shared>) {
    let id = application.id.clone();
    let begin = hub.write_as(Caller::system("test"), move |tx, ctx| {
        comparison::begin(tx, ctx, &id)
    });
    let shared = Shared::for_one(hub.clone(), egress()).await.unwrap();
    (begin.await.unwrap(), shared)
}

async fn newest(hub: &Hub, application: &Application) -> Option<Comparison> {
    let (id, now) = (application.id.clone(), hub.clock.now());
    let newest = hub.db.read(move |tx| comparison::newest(tx, &id, now));
    newest.await.unwrap()
}

async fn has_ended(hub: &Hub, application: &Application, job: &str) -> bool {
    let (id, wanted) = (application.id.clone(), job.to_owned());
    let found = hub.db.read(move |tx| job::of_application(tx, &id, &wanted));
    let job = found.await.unwrap().unwrap();
    assert!(
        !matches!(job.status, JobStatus::Failed | JobStatus::Cancelled),
        "{job:?}"
    );
    job.is_finished()
}

#[test]
fn a_full_synchronization_ends_with_a_comparison() {
    on_both("scim_compares", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        let delivery = begin(&hub).await;
        let ada = user(&hub, "ada").await;
        group_with(&hub, "Staff", &[&ada]).await;
        settled(&hub, &application).await;
        assert_eq!(
            newest(&hub, &application).await,
            None,
            "changes alone end with none"
        );
        app.by_hand(|users| {
            let stranger = json!({ "id": "x", "userName": "stranger" });
            users.insert("x".to_owned(), stranger.as_object().unwrap().clone());
            let ada = users.values_mut().find(|it| it["userName"] == "ada");
            ada.unwrap().insert("displayName".to_owned(), json!("by hand"));
        });
        let job = synchronize(&hub, &application).await;
        until("it has ended", async || has_ended(&hub, &application, &job).await).await;
        let begun = newest(&hub, &application).await;
        let begun = begun.expect("the comparison begins in the transaction that ends the job");
        until("it is compared", async || {
            newest(&hub, &application).await.unwrap().status != Status::Running
        })
        .await;
        let compared = newest(&hub, &application).await.unwrap();
        assert_eq!((&compared.id, compared.status), (&begun.id, Status::Done));
        let users = compared.counts.users;
        assert_eq!(
            (users.there, users.same, users.foreign),
            (2, 1, 1),
            "{compared:?}"
        );
        assert_eq!(compared.counts.groups.same, 1, "{compared:?}");
        let id = compared.id.clone();
        let differences = hub
            .db
            .read(move |tx| comparison::differences(tx, &id, &[], 0, 10));
        let names: Vec<String> = differences.await.unwrap().into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["stranger"]);
        delivery.stop().await;
    });
}

#[test]
fn whoever_was_erased_is_named_in_no_comparison() {
    on_both("scim_erased", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |scim| scim.leavers = Leavers::Disable).await;
        let delivery = begin(&hub).await;
        let (ada, bob) = (user(&hub, "ada.erased").await, user(&hub, "bob").await);
        let staff = group_with(&hub, "Staff", &[&ada, &bob]).await;
        settled(&hub, &application).await;
        erase_user(&hub, &Caller::system("test"), &ada).await.unwrap();
        settled(&hub, &application).await;
        // By hand: active again, back in the group, and with a second account.
        app.with(|script| {
            let users = &mut script.provider.users;
            let ada_there = users
                .values_mut()
                .find(|it| it["externalId"] == ada.as_str())
                .unwrap();
            ada_there.insert("active".to_owned(), json!(true));
            let mut second = ada_there.clone();
            let member = json!({ "value": ada_there["id"], "display": "ada.erased" });
            second.insert("id".to_owned(), json!("second"));
            users.insert("second".to_owned(), second);
            let groups = &mut script.provider.groups;
            let staff = groups
                .values_mut()
                .find(|it| it["externalId"] == staff.as_str())
                .unwrap();
            staff["members"].as_array_mut().unwrap().push(member);
        });
        let job = synchronize(&hub, &application).await;
        until("it has ended", async || has_ended(&hub, &application, &job).await).await;
        until("it is compared", async || {
            newest(&hub, &application).await.unwrap().status == Status::Done
        })
        .await;
        let id = newest(&hub, &application).await.unwrap().id;
        let differences = hub
            .db
            .read(move |tx| comparison::differences(tx, &id, &[], 0, 10));
        let differences = differences.await.unwrap();
        assert!(differences.len() >= 2, "{differences:?}");
        let text = serde_json::to_string(&differences).unwrap();
        assert!(text.contains(&ada) && !text.contains("ada.erased"), "{text}");
        delivery.stop().await;
    });
}

#[test]
fn a_synchronization_ends_the_comparison_that_is_under_way() {
    on_both("scim_overtakes", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        let delivery = begin(&hub).await;
        user(&hub, "ada").await;
        settled(&hub, &application).await;
        delivery.stop().await;
        let (begun, shared) = begin_comparison(&hub, &application).await;
        synchronize(&hub, &application).await;
        app.with(|script| script.provider.calls.clear());
        comparison::run(shared, application.id.clone(), begun.clone()).await;
        let ended = newest(&hub, &application).await.unwrap();
        assert_eq!((ended.id, ended.status), (begun, Status::Cancelled));
        assert!(ended.error.unwrap().contains("synchronization"));
        app.with(|script| assert_eq!(script.provider.calls, Vec::<String>::new()));
    });
}

#[test]
fn a_comparison_ends_where_it_is_forgotten_because_somebody_is_erased() {
    on_both("scim_forgotten", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        let delivery = begin(&hub).await;
        let (ada, bob) = (user(&hub, "ada").await, user(&hub, "bob").await);
        group_with(&hub, "Staff", &[&bob]).await;
        settled(&hub, &application).await;
        delivery.stop().await;
        let (begun, shared) = begin_comparison(&hub, &application).await;
        app.with(|script| script.provider.calls.clear());
        let gate = app.with(|script| Arc::clone(&script.gate_of_groups));
        let held = gate.lock().await;
        let run = tokio::spawn(comparison::run(shared, application.id.clone(), begun));
        // The users are compared by then.
        until("the groups are asked for", async || {
            app.with(|script| script.provider.calls.iter().any(|call| call == "GET Groups"))
        })
        .await;
        erase_user(&hub, &Caller::system("test"), &ada).await.unwrap();
        drop(held);
        run.await.unwrap();
        assert_eq!(newest(&hub, &application).await, None);
    });
}

/// Whatever changes an application breaks off the round that is under way, which is told again.
#[test]
fn a_change_of_the_application_costs_little_of_a_long_synchronization() {
    on_both("scim_slow", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |scim| {
            scim.profile.rate = Some(Rate {
                requests: 40,
                seconds: 1,
            });
        })
        .await;
        let new = (0..60).map(|number| new_user(&format!("u{number}"), rollcall::id::ROOT_UNIT));
        crate::world::create_users(&hub, new.collect()).await;
        let delivery = begin(&hub).await;
        for (made, name) in [(28, "Other"), (56, "Another")] {
            until("some are made", async || app.names().len() >= made).await;
            let change = application::Command::Update {
                id: application.id.clone(),
                name: Some(name.to_owned()),
                secret: None,
                settings: SettingsPatch::default(),
            };
            hub.apply_application(Caller::system("test"), change)
                .await
                .unwrap();
        }
        settled(&hub, &application).await;
        assert_eq!(app.names().len(), 60);
        let (looked, made) = app.with(|script| {
            let of = |what: &str| script.provider.calls.iter().filter(|call| *call == what).count();
            (of("GET Users"), of("POST Users"))
        });
        assert_eq!(made, 60);
        // The first round is of 16. Were it one of a hundred, all that was made before a change would be looked for
        // again: 28 and 56.
        assert!(looked <= 60 + 2 * 16, "{looked}");
        delivery.stop().await;
    });
}
