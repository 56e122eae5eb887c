//! What comes over SCIM goes on to the applications.

use std::time::{Duration, Instant};

use rollcall::access::Origin;
use rollcall::application::Scope;
use rollcall::directory::Command;
use rollcall::id::ROOT_UNIT;
use rollcall::scim::{Expected, Kind, Provider};
use rollcall::why::{self, Fate, Reason};
use serde_json::{Value, json};

use super::connect;
use crate::plain::{apply, unit};
use crate::world::{Fault, World, add_application, on_both};

/// For how long something is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn what_a_connection_makes_changes_and_takes_away_arrives_at_applications() {
    on_both("scim_pushed", |database, mirror| async move {
        let mut world = World::new(&database, &mirror, Scope::everything()).await;
        world.synchronize().await;
        let (connection, _) = connect(&world.hub, "Okta", &Value::Null).await;
        let address = format!("http://hub.example/scim/v2/{}", connection.id);
        let provider = Provider::new(world.hub.clone(), connection, Origin::Internal, &address);
        let user = |name: &str| json!({ "userName": name, "displayName": name, "active": true });
        let made = provider.create(Kind::User, user("ada")).await.unwrap();
        let ada = made["id"].as_str().unwrap().to_owned();
        let bob = provider.create(Kind::User, user("bob")).await.unwrap();
        let bob = bob["id"].as_str().unwrap().to_owned();
        let staff = json!({ "displayName": "Staff", "members": [{ "value": ada }, { "value": bob }] });
        provider.create(Kind::Group, staff).await.unwrap();
        world.converged().await;
        let left = json!({ "Operations": [{ "op": "replace", "value": { "active": false } }] });
        provider
            .patch(Kind::User, ada.clone(), left, Expected::Any)
            .await
            .unwrap();
        provider
            .delete(Kind::User, bob.clone(), Expected::Any)
            .await
            .unwrap();
        world.converged().await;
        let story = world.endpoint.story_of(&ada);
        assert_eq!(story, ["ud:user:create", "ud:user:disable"], "{story:?}");
        let story = world.endpoint.story_of(&bob);
        assert_eq!(story, ["ud:user:create", "ud:user:delete"], "{story:?}");
        world.stop().await;
    });
}

#[test]
fn it_is_told_of_each_change_when_each_application_had_it_and_how_long_that_took() {
    on_both("scim_recent", |database, mirror| async move {
        let mut world = World::new(&database, &mirror, Scope::everything()).await;
        world.synchronize().await;
        let elsewhere = Scope {
            organizational_unit_ids: [unit(&world.hub, "Elsewhere", ROOT_UNIT).await].into(),
            ..Scope::default()
        };
        let url = "http://127.0.0.1:1/events";
        add_application(&world.hub, "Zoo", url, None, elsewhere).await;
        let (connection, _) = connect(&world.hub, "Okta", &Value::Null).await;
        let actor = format!("connection:{}", connection.id);
        let address = format!("http://hub.example/scim/v2/{}", connection.id);
        let provider = Provider::new(world.hub.clone(), connection, Origin::Internal, &address);
        let recent = async |before: Option<i64>, limit: usize| {
            let actor = actor.clone();
            let reading = world
                .hub
                .db
                .read(move |tx| why::recent(tx, &actor, before, limit));
            reading.await.unwrap()
        };
        assert!(recent(None, 9).await.changes.is_empty());
        let ada = json!({ "userName": "ada", "displayName": "Ada", "active": true });
        let ada = provider.create(Kind::User, ada).await.unwrap();
        let ada = ada["id"].as_str().unwrap().to_owned();
        let active =
            |active: bool| json!({ "Operations": [{ "op": "replace", "value": { "active": active } }] });
        provider
            .patch(Kind::User, ada.clone(), active(false), Expected::Any)
            .await
            .unwrap();
        world.converged().await;
        // The copy is equal before the answer to the last request is stored.
        let begun = Instant::now();
        while recent(None, 1).await.changes[0].applications[0].took.is_none() {
            assert!(begun.elapsed() < PATIENCE, "the answer is not stored");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let begun = world.hub.clock.now();
        // What others do is none of its changes.
        apply(&world.hub, Command::EnableUser { id: ada.clone() }).await;
        world.converged().await;

        let page = recent(None, 9).await;
        let kinds: Vec<&str> = page.changes.iter().map(|change| &*change.kind).collect();
        assert_eq!(kinds, ["ud:user:disable", "ud:user:create"]);
        assert!(page.next.is_none() && !page.is_cut);
        for change in &page.changes {
            assert_eq!(
                (&*change.subject_kind, change.name.as_deref()),
                ("user", Some("ada"))
            );
            let [first, zoo] = change.applications.as_slice() else {
                panic!("{change:?}");
            };
            assert_eq!(first.application_id, world.application.id);
            let Fate::Delivered { at, .. } = first.fate else {
                panic!("{first:?}");
            };
            let (sent, took) = (first.sent_at.unwrap(), first.took.unwrap());
            assert!(change.time <= sent && sent <= at && at <= begun, "{change:?}");
            assert_eq!(took, at - change.time);
            let reason = Reason::OutOfScope;
            assert_eq!(zoo.fate, Fate::NotForIt { reason });
            assert!(zoo.event.is_none() && zoo.sent_at.is_none() && zoo.took.is_none());
        }
        // Page by page it is the same.
        let first = recent(None, 1).await;
        let second = recent(first.next, 1).await;
        assert_eq!(first.changes[0].seq, page.changes[0].seq);
        assert_eq!(second.changes[0].seq, page.changes[1].seq);
        assert!(second.next.is_none());

        // What is under way says so, and what is refused says why.
        world.endpoint.fail_next([Fault::Refuse(ada.clone())]);
        provider
            .patch(Kind::User, ada.clone(), active(false), Expected::Any)
            .await
            .unwrap();
        let newest = async || recent(None, 1).await.changes.remove(0).applications.remove(0);
        let begun = Instant::now();
        while !newest().await.fate.is_set_aside() {
            assert!(begun.elapsed() < PATIENCE, "{:?}", newest().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(newest().await.took.is_none());
        world.endpoint.fail_always(Some(Fault::Status(500)));
        provider
            .delete(Kind::User, ada.clone(), Expected::Any)
            .await
            .unwrap();
        let waits = newest().await.fate;
        assert!(matches!(waits, Fate::Waiting | Fate::Parked { .. }), "{waits:?}");
        world.stop().await;
    });
}
