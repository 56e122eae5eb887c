//! What is answered from memory is what the database would answer at that moment, whoever has written to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rollcall::access::Origin;
use rollcall::application::{Command as AppCommand, DeveloperApi, Grant, Scope, ScopeEdit};
use rollcall::delivery::job;
use rollcall::developer::{Desk, Hall, groups, units, users};
use rollcall::directory::{Cascade, Command, GroupChanges, UnitChanges, UserChanges};
use rollcall::hub::{Hub, HubParts};
use rollcall::id::ROOT_UNIT;
use rollcall_db::Dialect;
use rollcall_db::testing::databases;
use serde_json::{Value, json};

use super::{ALL, Developer, grant, make_secret};
use crate::access::{Site, on_each};
use crate::two_doors::{group, make, members, test, unit};
use crate::world::{new_user, parts};

/// Another process on the same database, whose clock is the same.
pub(super) async fn beside(database: &str, site: &Site) -> Hub {
    let parts = HubParts {
        clock: site.hub.clock.clone(),
        ..parts(database)
    };
    Hub::open(parts).await.unwrap()
}

/// Runs a test on both databases, with another process beside.
pub(super) fn with_another<T: Future<Output = ()>>(name: &str, test: impl Fn(Site, Hub) -> T) {
    for database in databases(name) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let site = Site::start(&database.url).await;
            let other = beside(&database.url, &site).await;
            test(site, other).await;
        });
    }
}

/// Gives an application another scope; whether that was done. Nobody runs the job that tells it, so it is taken away.
pub(super) async fn set_scope(hub: &Hub, id: &str, scope: &Scope) -> bool {
    let changed = job::change_scope(hub, test(), id, ScopeEdit::to(scope), None).await;
    let id = id.to_owned();
    // There is none if nobody comes or goes.
    let _ = hub
        .write_as(test(), move |tx, ctx| job::cancel(tx, ctx, &id))
        .await;
    changed.is_ok()
}

/// What is answered to a call, without what differs from call to call.
pub(super) async fn answered(of: &Developer<'_>, path: &str) -> (u16, Value) {
    let said = of.get(path).await;
    match said.status {
        200 => (200, said.body),
        status => (status, said.body["code"].clone()),
    }
}

/// What has to be answered: what somebody finds who remembers nothing.
pub(super) async fn expected(hub: &Hub, token: &str, path: &str) -> (u16, Value) {
    let hall = Arc::new(Hall::new(hub.clone()));
    let (kind, id) = path.trim_start_matches('/').split_once('/').unwrap();
    let shown = match hall.token(token, hall.hub.clock.now()) {
        Ok(token) => {
            let desk = Desk::new(hall, token, Origin::default());
            match kind {
                "users" => desk.get(&users::SHOWN, id.to_owned()).await.map(|it| json!(it)),
                "groups" => desk.get(&groups::SHOWN, id.to_owned()).await.map(|it| json!(it)),
                _ => desk.get(&units::SHOWN, id.to_owned()).await.map(|it| json!(it)),
            }
        }
        Err(refusal) => Err(refusal),
    };
    match shown {
        Ok(body) => (200, body),
        Err(refusal) => (refusal.status, json!(refusal.code)),
    }
}

/// Reads until it is answered from memory, where it can be.
async fn warm(of: &Developer<'_>, path: &str) -> Value {
    let first = answered(of, path).await;
    assert_eq!(first.0, 200, "{path}: {}", first.1);
    let before = of.site.hub.db.stats().statements;
    for _ in 0..3 {
        assert_eq!(answered(of, path).await, first);
    }
    let asked = of.site.hub.db.stats().statements - before;
    match of.site.hub.db.dialect() {
        Dialect::Sqlite => assert_eq!(asked, 0, "{path} was not answered from memory"),
        Dialect::Postgres => assert!(asked >= 3, "{path} was answered without asking the database"),
    }
    first.1
}

#[test]
fn what_is_taken_from_an_application_is_gone_with_the_very_next_read() {
    with_another("developer_kept_access", |site, other| async move {
        let ada = make(&site.hub, Command::CreateUser(new_user("ada", ROOT_UNIT))).await;
        let path = format!("/users/{ada}");
        let hubs = [&site.hub, &other];
        for (number, hub) in hubs.into_iter().enumerate() {
            let wiki = Developer::of(&site, &format!("Wiki {number}"), Scope::everything()).await;
            let id = wiki.application.id.clone();
            warm(&wiki, &path).await;
            for (granted, code) in [
                (
                    DeveloperApi {
                        users: Grant::None,
                        ..ALL
                    },
                    "Forbidden.Permission",
                ),
                (
                    DeveloperApi {
                        enabled: false,
                        ..ALL
                    },
                    "DeveloperApiDisabled",
                ),
            ] {
                grant(hub, &id, granted).await;
                wiki.refused("GET", &path, Value::Null, code).await;
                grant(hub, &id, ALL).await;
                warm(&wiki, &path).await;
            }
            // One token; the others of the same secret stay good.
            let mut second = Developer {
                site: &site,
                application: wiki.application.clone(),
                secret: wiki.secret.clone(),
                token: wiki.grant(&wiki.secret).await.text("access_token"),
            };
            warm(&second, &path).await;
            let secret = wiki.secret.clone().into();
            rollcall::developer::token::revoke(hub, &id, &secret, &second.token)
                .await
                .unwrap();
            second
                .refused("GET", &path, Value::Null, "AccessTokenRevoked")
                .await;
            warm(&wiki, &path).await;
            // The secret, with all tokens that were given for it.
            let (next, text) = make_secret(&site.hub, &id, None).await;
            second.token = wiki.grant(&text).await.text("access_token");
            warm(&second, &path).await;
            let revoke = AppCommand::RevokeClientSecret {
                application_id: id.clone(),
                id: next,
            };
            hub.apply_application(test(), revoke).await.unwrap();
            second
                .refused("GET", &path, Value::Null, "AccessTokenRevoked")
                .await;
            warm(&wiki, &path).await;
            // The application itself.
            hub.apply_application(test(), AppCommand::Delete { id })
                .await
                .unwrap();
            wiki.refused("GET", &path, Value::Null, "AccessTokenRevoked")
                .await;
        }
    });
}

#[test]
fn time_takes_away_what_is_kept_without_anything_being_committed() {
    on_each("developer_kept_time", |site| async move {
        let ada = make(&site.hub, Command::CreateUser(new_user("ada", ROOT_UNIT))).await;
        let path = format!("/users/{ada}");
        let wiki = Developer::of(&site, "Wiki", Scope::everything()).await;
        let until = site.hub.clock.now() + 60_000;
        let (_, text) = make_secret(&site.hub, &wiki.application.id, Some(until)).await;
        let short = Developer {
            site: &site,
            application: wiki.application.clone(),
            secret: text.clone(),
            token: wiki.grant(&text).await.text("access_token"),
        };
        warm(&short, &path).await;
        warm(&wiki, &path).await;
        site.clock.set(61_000);
        short
            .refused("GET", &path, Value::Null, "AccessTokenRevoked")
            .await;
        warm(&wiki, &path).await;
        site.clock.set(1_201_000);
        wiki.refused("GET", &path, Value::Null, "AccessTokenExpired")
            .await;
        // A clock that is set back makes it good again, as it does for who remembers nothing.
        site.clock.set(0);
        warm(&wiki, &path).await;
        warm(&short, &path).await;
    });
}

#[test]
fn every_write_is_seen_by_the_very_next_read() {
    with_another("developer_kept_writes", |site, other| async move {
        for hub in [&site.hub, &other] {
            let sales = make(hub, unit("Sales", ROOT_UNIT)).await;
            let north = make(hub, unit("North", &sales)).await;
            let away = make(hub, unit("Away", ROOT_UNIT)).await;
            let ada = make(hub, Command::CreateUser(new_user("ada", &north))).await;
            let staff = make(hub, group("Staff")).await;
            let wiki = Developer::of(&site, "Wiki", Scope::everything()).await;
            let scope = Scope {
                organizational_unit_ids: [sales.clone()].into(),
                group_ids: [staff.clone()].into(),
            };
            let part = Developer::of(&site, "Part", scope).await;
            let path = format!("/users/{ada}");
            for of in [&wiki, &part] {
                warm(of, &path).await;
            }
            let both = async |field: &str| {
                let (one, two) = (warm(&wiki, &path).await, warm(&part, &path).await);
                (one.pointer(field).cloned(), two.pointer(field).cloned())
            };
            let same = |value: Value| (Some(value.clone()), Some(value));
            let update = |changes: UserChanges| Command::UpdateUser {
                id: ada.clone(),
                changes,
            };

            // By another application, by an administrator.
            let named = wiki
                .call("PATCH", &path, json!({ "displayName": "Countess" }))
                .await;
            assert_eq!(named.status, 200);
            assert_eq!(both("/displayName").await, same(json!("Countess")));
            let desk = UserChanges {
                custom_fields: [("desk".to_owned(), Some("12".to_owned()))].into(),
                ..UserChanges::default()
            };
            make(hub, update(desk)).await;
            assert_eq!(both("/customFields/0/fieldValue").await, same(json!("12")));
            make(hub, Command::DisableUser { id: ada.clone() }).await;
            assert_eq!(both("/status").await, same(json!("disabled")));

            // What others bear is shown too.
            let renamed = Command::UpdateUnit {
                id: north.clone(),
                changes: UnitChanges {
                    name: Some("Far North".to_owned()),
                    ..UnitChanges::default()
                },
            };
            make(hub, renamed).await;
            let name = "/organizationalUnits/0/organizationalUnitName";
            assert_eq!(both(name).await, same(json!("Far North")));
            make(hub, members(&staff, &[&ada])).await;
            assert_eq!(both("/groups/0/groupName").await, same(json!("Staff")));
            let of_group = format!("/groups/{staff}");
            let before = warm(&wiki, &of_group).await;
            let renamed = Command::UpdateGroup {
                id: staff.clone(),
                changes: GroupChanges {
                    name: Some("Crew".to_owned()),
                    ..GroupChanges::default()
                },
            };
            make(hub, renamed).await;
            assert_eq!(both("/groups/0/groupName").await, same(json!("Crew")));
            assert_ne!(warm(&wiki, &of_group).await, before);

            // Out of the scope with the unit above, and in again; by the group it stays seen.
            let of_unit = format!("/organizationalUnits/{north}");
            warm(&part, &of_unit).await;
            let moved = |to: &String| Command::MoveUnit {
                id: north.clone(),
                parent_id: to.clone(),
            };
            make(hub, moved(&away)).await;
            part.refused(
                "GET",
                &of_unit,
                Value::Null,
                "ResourceNotFound.OrganizationalUnit",
            )
            .await;
            assert_eq!(both("/groups/0/groupName").await, same(json!("Crew")));
            let leave = Command::RemoveMembers {
                group_id: staff.clone(),
                user_ids: vec![ada.clone()],
            };
            make(hub, leave).await;
            part.refused("GET", &path, Value::Null, "ResourceNotFound.User")
                .await;
            assert_eq!(warm(&wiki, &path).await["groups"], json!([]));
            make(hub, moved(&sales)).await;
            warm(&part, &path).await;

            // The scope itself.
            let narrow = Scope {
                organizational_unit_ids: [away.clone()].into(),
                ..Scope::default()
            };
            for of in [&wiki, &part] {
                assert!(set_scope(hub, &of.application.id, &narrow).await);
                of.refused("GET", &path, Value::Null, "ResourceNotFound.User")
                    .await;
                assert!(set_scope(hub, &of.application.id, &Scope::everything()).await);
                warm(of, &path).await;
            }

            make(hub, Command::DeleteUser { id: ada.clone() }).await;
            wiki.refused("GET", &path, Value::Null, "ResourceNotFound.User")
                .await;
            let cascade = Cascade::Yes;
            for id in [sales, away] {
                make(
                    hub,
                    Command::DeleteUnit {
                        id,
                        cascade: cascade.clone(),
                    },
                )
                .await;
            }
            make(hub, Command::DeleteGroup { id: staff }).await;
            for of in [&wiki, &part] {
                let id = of.application.id.clone();
                hub.apply_application(test(), AppCommand::Delete { id })
                    .await
                    .unwrap();
            }
        }
    });
}

#[test]
fn commits_that_are_not_about_a_user_leave_what_is_kept_of_it() {
    on_each("developer_kept_busy", |site| async move {
        if site.hub.db.dialect() == Dialect::Postgres {
            return;
        }
        let ada = make(&site.hub, Command::CreateUser(new_user("ada", ROOT_UNIT))).await;
        let bob = make(&site.hub, Command::CreateUser(new_user("bob", ROOT_UNIT))).await;
        let wiki = Developer::of(&site, "Wiki", Scope::everything()).await;
        let path = format!("/users/{ada}");
        let first = warm(&wiki, &path).await;
        for round in 0..5 {
            // Another user, and something that is not in the log at all.
            let changes = UserChanges {
                display_name: Some(format!("Bob {round}")),
                ..UserChanges::default()
            };
            let id = bob.clone();
            make(&site.hub, Command::UpdateUser { id, changes }).await;
            wiki.grant(&wiki.secret).await.text("access_token");
            let before = site.hub.db.stats().statements;
            assert_eq!(answered(&wiki, &path).await, (200, first.clone()));
            let asked = site.hub.db.stats().statements - before;
            // The version, the log's end, what it tells, and what the token may do; nothing of the user.
            assert!((1..=4).contains(&asked), "{asked} statements");
        }
    });
}

#[test]
fn no_reader_sees_what_was_true_before_a_write_that_had_been_answered() {
    with_another("developer_kept_race", |site, other| async move {
        let ada = make(&site.hub, Command::CreateUser(new_user("ada", ROOT_UNIT))).await;
        let path = format!("/users/{ada}");
        let wiki = Developer::of(&site, "Wiki", Scope::everything()).await;
        let answered = AtomicI64::new(0);
        let is_over = AtomicI64::new(0);
        let writing = async {
            for number in 1..=150_i64 {
                let text = number.to_string();
                if number % 3 == 0 {
                    let changes = UserChanges {
                        description: Some(Some(text)),
                        ..UserChanges::default()
                    };
                    let id = ada.clone();
                    make(&other, Command::UpdateUser { id, changes }).await;
                } else {
                    let said = wiki.call("PATCH", &path, json!({ "description": text })).await;
                    assert_eq!(said.status, 200, "{}", said.body);
                }
                answered.store(number, Ordering::SeqCst);
            }
            is_over.store(1, Ordering::SeqCst);
        };
        let reading = async || {
            let mut seen = 0;
            while is_over.load(Ordering::SeqCst) == 0 {
                let least = answered.load(Ordering::SeqCst);
                let said = wiki.get(&path).await;
                let text = said.body["description"].as_str().unwrap_or("0").to_owned();
                let found: i64 = text.parse().unwrap();
                assert!(found >= least, "{found} was read after {least} had been written");
                // And time does not run backwards for who reads one after the other.
                assert!(found >= seen, "{found} was read after {seen}");
                seen = found;
            }
        };
        tokio::join!(
            writing,
            reading(),
            reading(),
            reading(),
            reading(),
            reading(),
            reading()
        );
    });
}
