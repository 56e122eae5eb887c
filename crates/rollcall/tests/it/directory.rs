//! The one door: its rules, and the log that it writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use rollcall::access::Caller;
use rollcall::application::{Entitlement, Scope, Subscription};
use rollcall::change::{self, Change, ChangeKind, Placement};
use rollcall::delivery::job;
use rollcall::directory::{
    self, Cascade, Command, DirectoryError, NewGroup, NewPassword, NewUnit, UnitChanges, UserChanges, query,
};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall_db::testing::{self, databases};
use rollcall_protocol::{EventType, GroupPayload, SubjectKind, SystemRandom};

use crate::world::{new_user, open_hub};

async fn apply(hub: &Hub, command: Command) -> String {
    hub.apply(Caller::system("test"), command).await.unwrap().id
}

async fn refused(hub: &Hub, command: Command) -> &'static str {
    let before = hub.db.read(change::head).await.unwrap();
    let code = hub
        .apply(Caller::system("test"), command)
        .await
        .unwrap_err()
        .code();
    assert_eq!(
        hub.db.read(change::head).await.unwrap(),
        before,
        "a refused command leaves no change"
    );
    code
}

async fn unit(hub: &Hub, name: &str, parent: &str) -> String {
    let new = NewUnit {
        name: name.into(),
        parent_id: parent.into(),
        ..NewUnit::default()
    };
    apply(hub, Command::CreateUnit(new)).await
}

async fn user(hub: &Hub, name: &str, unit: &str) -> String {
    apply(hub, Command::CreateUser(new_user(name, unit))).await
}

async fn log(hub: &Hub) -> Vec<Change> {
    hub.db
        .read(|tx| change::read_after(tx, 0, usize::MAX))
        .await
        .unwrap()
}

fn on_each<F, T>(name: &str, test: F)
where
    F: Fn(String) -> T,
    T: Future<Output = ()>,
{
    for database in databases(name) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(test(database.url.clone()));
    }
}

#[test]
fn conflicts_and_limits_are_refused_by_name() {
    on_each("conflicts", |url| async move {
        let hub = open_hub(&url).await;
        let a = unit(&hub, "A", ROOT_UNIT).await;
        let b = unit(&hub, "B", &a).await;
        let mut first = new_user("Ada", &b);
        first.email = Some("ada@example.org".into());
        first.phone_region = Some("44".into());
        first.phone_number = Some("5550000001".into());
        first.external_id = Some("E1".into());
        let ada = apply(&hub, Command::CreateUser(first.clone())).await;
        let with = |change: fn(&mut directory::NewUser)| {
            let mut new = new_user("other", &b);
            change(&mut new);
            Command::CreateUser(new)
        };
        for (command, code) in [
            (with(|new| new.username = "aDA".into()), "username_taken"),
            (
                with(|new| new.email = Some("ADA@Example.org".into())),
                "email_taken",
            ),
            (
                with(|new| {
                    new.phone_region = Some("44".into());
                    new.phone_number = Some("5550000001".into());
                }),
                "phone_number_taken",
            ),
            (
                with(|new| new.external_id = Some("E1".into())),
                "external_id_taken",
            ),
            (with(|new| new.username = "with space".into()), "invalid_field"),
            (with(|new| new.username = "x".repeat(257)), "invalid_field"),
            (with(|new| new.display_name = "x".repeat(129)), "invalid_field"),
            (with(|new| new.display_name = " ".into()), "invalid_field"),
            (with(|new| new.email = Some("no address".into())), "invalid_field"),
            (
                with(|new| new.phone_number = Some("5550000002".into())),
                "invalid_field",
            ),
            (
                with(|new| new.description = Some("x".repeat(257))),
                "invalid_field",
            ),
            (
                with(|new| new.external_id = Some("x".repeat(129))),
                "invalid_field",
            ),
            (
                with(|new| new.primary_organizational_unit_id = "ou_none".into()),
                "not_found",
            ),
            (
                Command::CreateUnit(NewUnit {
                    name: "a".into(),
                    parent_id: ROOT_UNIT.into(),
                    ..NewUnit::default()
                }),
                "name_taken",
            ),
            (
                Command::MoveUnit {
                    id: a.clone(),
                    parent_id: b.clone(),
                },
                "cycle",
            ),
            (
                Command::MoveUnit {
                    id: a.clone(),
                    parent_id: a.clone(),
                },
                "cycle",
            ),
            (
                Command::MoveUnit {
                    id: ROOT_UNIT.into(),
                    parent_id: a.clone(),
                },
                "root_unit",
            ),
            (
                Command::DeleteUnit {
                    id: ROOT_UNIT.into(),
                    cascade: Cascade::Yes,
                },
                "root_unit",
            ),
            (
                Command::DeleteUnit {
                    id: a.clone(),
                    cascade: Cascade::No,
                },
                "unit_not_empty",
            ),
            (
                Command::DeleteUnit {
                    id: b.clone(),
                    cascade: Cascade::No,
                },
                "unit_not_empty",
            ),
            (
                Command::DeleteUser {
                    id: "user_none".into(),
                },
                "not_found",
            ),
            (
                Command::AddMembers {
                    group_id: "group_none".into(),
                    user_ids: vec![],
                },
                "not_found",
            ),
        ] {
            let shown = format!("{command:?}");
            assert_eq!(refused(&hub, command).await, code, "{shown}");
        }
        // External ids are unique within a source only.
        let mut elsewhere = new_user("elsewhere", &b);
        elsewhere.external_id = Some("E1".into());
        elsewhere.source.source_id = "other".into();
        apply(&hub, Command::CreateUser(elsewhere)).await;
        // Nothing that is so already is a change.
        let head = hub.db.read(change::head).await.unwrap();
        let same = UserChanges {
            display_name: Some(first.display_name),
            ..UserChanges::default()
        };
        apply(
            &hub,
            Command::UpdateUser {
                id: ada.clone(),
                changes: same,
            },
        )
        .await;
        apply(&hub, Command::EnableUser { id: ada.clone() }).await;
        apply(
            &hub,
            Command::SetUnits {
                id: ada,
                primary: b.clone(),
                further: vec![b.clone()],
            },
        )
        .await;
        apply(&hub, Command::MoveUnit { id: b, parent_id: a }).await;
        assert_eq!(hub.db.read(change::head).await.unwrap(), head);
    });
}

#[test]
fn a_cascade_deletes_children_first() {
    on_each("cascade", |url| async move {
        let hub = open_hub(&url).await;
        let a = unit(&hub, "A", ROOT_UNIT).await;
        let b = unit(&hub, "B", &a).await;
        let ada = user(&hub, "ada", &b).await;
        let bob = user(&hub, "bob", ROOT_UNIT).await;
        let further = vec![b.clone()];
        apply(
            &hub,
            Command::SetUnits {
                id: bob.clone(),
                primary: ROOT_UNIT.into(),
                further,
            },
        )
        .await;
        let head = hub.db.read(change::head).await.unwrap().seq;
        apply(
            &hub,
            Command::DeleteUnit {
                id: a.clone(),
                cascade: Cascade::Yes,
            },
        )
        .await;
        let told: BTreeMap<String, (usize, ChangeKind)> = log(&hub)
            .await
            .into_iter()
            .filter(|change| change.seq > head)
            .enumerate()
            .map(|(n, change)| (change.subject_id, (n, change.kind)))
            .collect();
        assert_eq!(told[&ada].1, ChangeKind::Event(EventType::UserDelete));
        assert_eq!(told[&bob].1, ChangeKind::Event(EventType::UserUpdateInfo));
        assert!(told[&ada].0 < told[&b].0 && told[&b].0 < told[&a].0);
        let kept = hub
            .db
            .read(move |tx| query::find_user(tx, "bob"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(kept.unit_ids(), [ROOT_UNIT]);
    });
}

#[test]
fn accounts_and_locks_end_by_themselves() {
    on_each("expiry", |url| async move {
        let hub = open_hub(&url).await;
        let mut new = new_user("ada", ROOT_UNIT);
        new.account_expire_time = Some(hub.clock.now() - 1);
        let ada = apply(&hub, Command::CreateUser(new)).await;
        let bob = user(&hub, "bob", ROOT_UNIT).await;
        let until = Some(hub.clock.now() - 1);
        apply(
            &hub,
            Command::LockUser {
                id: bob.clone(),
                until,
            },
        )
        .await;
        apply(
            &hub,
            Command::LockUser {
                id: ada.clone(),
                until: None,
            },
        )
        .await;
        hub.apply(Caller::system("expiry"), Command::ExpireDue)
            .await
            .unwrap();
        let told: Vec<_> = log(&hub)
            .await
            .into_iter()
            .filter(|change| change.actor == "system:expiry" && change.subject_kind == SubjectKind::User)
            .map(|change| (change.subject_id, change.kind))
            .collect();
        let event = ChangeKind::Event;
        assert_eq!(
            told,
            [
                (ada, event(EventType::UserDisable)),
                (bob, event(EventType::UserUnlock))
            ]
        );
        assert_eq!(
            hub.apply(Caller::system("expiry"), Command::ExpireDue)
                .await
                .unwrap()
                .changes,
            0
        );
    });
}

#[test]
fn passwords_are_hashed_and_verified() {
    on_each("hashes", |url| async move {
        let hub = open_hub(&url).await;
        let ada = user(&hub, "ada", ROOT_UNIT).await;
        let short = NewPassword::prepare("short".to_owned().into(), &SystemRandom);
        assert!(matches!(
            short,
            Err(DirectoryError::InvalidField {
                field: "password",
                ..
            })
        ));
        let password = NewPassword::prepare("correct horse".to_owned().into(), &SystemRandom).unwrap();
        assert!(!format!("{password:?}").contains("horse"));
        apply(
            &hub,
            Command::SetPassword {
                id: ada.clone(),
                password,
            },
        )
        .await;
        for (text, holds) in [("correct horse", true), ("wrong horse", false)] {
            let (id, text) = (ada.clone(), text.to_owned());
            let verified = hub
                .db
                .read(move |tx| directory::verify_password(tx, &id, &text.clone().into()))
                .await;
            assert_eq!(verified.unwrap(), holds);
        }
    });
}

#[test]
fn the_log_is_gapless_and_in_commit_order() {
    on_each("gapless", |url| async move {
        // Two hubs on one database, as two processes would be.
        let (hub, other) = (open_hub(&url).await, open_hub(&url).await);
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let hub = if writer % 2 == 0 {
                    hub.clone()
                } else {
                    other.clone()
                };
                tokio::spawn(async move {
                    for n in 0..25 {
                        user(&hub, &format!("w{writer}n{n}"), ROOT_UNIT).await;
                    }
                })
            })
            .collect();
        // The reader never goes back. What would become visible behind it, it would miss.
        let mut position = 0;
        while position < 1 + 8 * 25 {
            let changes = other
                .db
                .read(move |tx| change::read_after(tx, position, 7))
                .await
                .unwrap();
            for change in changes {
                assert_eq!(change.seq, position + 1);
                position = change.seq;
            }
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let times: Vec<_> = log(&hub).await.iter().map(|change| change.time).collect();
        assert!(times.is_sorted());
    });
}

#[test]
fn both_databases_have_the_same_tables() {
    let Some(postgres) = testing::postgres("tables") else {
        return;
    };
    let sqlite = testing::sqlite();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let columns = async |url: &str, sql: &'static str| {
            let hub = open_hub(url).await;
            let rows = hub.db.read(move |tx| tx.query(sql, &[])).await.unwrap();
            rows.iter()
                .map(|row| (row.get::<String>(0).unwrap(), row.get::<String>(1).unwrap()))
                .collect::<BTreeSet<_>>()
        };
        let of_sqlite = columns(
            &sqlite.url,
            "SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE 'refinery_%'",
        )
        .await;
        let of_postgres = columns(
            &postgres.url,
            "SELECT table_name::text, column_name::text FROM information_schema.columns
             WHERE table_schema = 'public' AND table_name <> 'commit_tokens'
               AND table_name NOT LIKE 'refinery_%'",
        )
        .await;
        assert_eq!(of_sqlite, of_postgres);
        assert!(of_sqlite.len() > 80);
    });
}

type Known = BTreeMap<String, (String, BTreeSet<String>)>;

fn places(placement: &Arc<Placement>) -> BTreeSet<String> {
    placement.units.iter().chain(&placement.groups).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// The log alone rebuilds the directory; and for any scope, what it says to an application is a
    /// story without contradiction that ends with exactly what is in scope.
    #[test]
    fn the_log_tells_the_whole_story(
        steps in prop::collection::vec((0_u8..11, 0_usize..7, 0_usize..7), 1..60),
        scoped in prop::collection::vec(0_usize..7, 1..3), with_group in any::<bool>()
    ) {
        let database = testing::sqlite();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let hub = open_hub(&database.url).await;
            let (mut units, mut users, mut groups) = (vec![ROOT_UNIT.to_owned()], vec![], vec![]);
            for (n, (what, one, two)) in steps.into_iter().enumerate() {
                let unit_at = |index: usize| units[index % units.len()].clone();
                let user_at = |index: usize| users.get(index % users.len().max(1)).cloned().unwrap_or_default();
                let group_at = |index: usize| groups.get(index % groups.len().max(1)).cloned().unwrap_or_default();
                let command = match what {
                    0 => Command::CreateUnit(NewUnit {
                        name: format!("U{n}"), parent_id: unit_at(one), ..NewUnit::default()
                    }),
                    1 | 2 => Command::CreateUser(new_user(&format!("u{n}"), &unit_at(one))),
                    3 => Command::CreateGroup(NewGroup { name: format!("G{n}"), ..NewGroup::default() }),
                    4 => Command::MoveUnit { id: unit_at(one), parent_id: unit_at(two) },
                    5 => Command::SetUnits { id: user_at(one), primary: unit_at(two), further: vec![unit_at(one)] },
                    6 => Command::AddMembers { group_id: group_at(one), user_ids: vec![user_at(two)] },
                    7 => Command::RemoveMembers { group_id: group_at(one), user_ids: vec![user_at(two)] },
                    8 => Command::DeleteUser { id: user_at(one) },
                    9 => Command::DeleteUnit { id: unit_at(one), cascade: if two % 2 == 0 { Cascade::Yes } else { Cascade::No } },
                    _ => Command::UpdateUnit {
                        id: unit_at(one),
                        changes: UnitChanges { name: Some(format!("R{n}")), ..UnitChanges::default() },
                    },
                };
                // Some are refused: a cycle, a subject that is gone. That is part of it.
                if let Ok(applied) = hub.apply(Caller::system("test"), command).await {
                    match what {
                        0 => units.push(applied.id),
                        1 | 2 => users.push(applied.id),
                        3 => groups.push(applied.id),
                        _ => {}
                    }
                }
            }
            let mut directory = Known::new();
            let mut rows = hub.db.read(|tx| {
                let mut rows = Vec::new();
                job::scan(tx, |kind, row| {
                    rows.push((kind, row));
                    Ok::<_, rollcall_db::DbError>(())
                })?;
                Ok::<_, rollcall_db::DbError>(rows)
            }).await.unwrap();
            for (_, row) in &rows {
                directory.insert(row.id.clone(), (row.record.clone(), places(&row.placement)));
            }
            let changes = log(&hub).await;
            let mut rebuilt = Known::new();
            for change in &changes {
                match &change.after {
                    None => { rebuilt.remove(&change.subject_id); }
                    // Membership events name the members in question; but for them, each bears the group's record.
                    Some(after) if matches!(change.kind, ChangeKind::Event(EventType::GroupAddUser | EventType::GroupRemoveUser)) => {
                        let mut group = GroupPayload::from_json(&change.record).unwrap();
                        group.user_ids = None;
                        rebuilt.insert(change.subject_id.clone(), (group.to_json(), places(after)));
                    }
                    Some(after) => {
                        let known = (change.record.clone(), places(after));
                        rebuilt.insert(change.subject_id.clone(), known);
                    }
                }
            }
            for (id, (record, placed)) in &directory {
                prop_assert_eq!(&rebuilt[id].1, placed, "placement of {}", id);
                // A unit's name inside a user's record is as it was at the user's last change.
                if !id.starts_with("user_") {
                    prop_assert_eq!(&rebuilt[id].0, record);
                }
            }
            prop_assert_eq!(rebuilt.len(), directory.len());

            let mut scope = Scope {
                organizational_unit_ids: scoped.iter().map(|n| units[n % units.len()].clone()).collect(),
                ..Scope::default()
            };
            if with_group {
                scope.group_ids.extend(groups.first().cloned());
            }
            let entitlement =
                Entitlement { from_seq: 0, scope: scope.clone(), subscription: Subscription::everything() };
            let mut present = BTreeSet::new();
            for change in &changes {
                let Some(event) = entitlement.event_for(change) else { continue };
                let id = change.subject_id.clone();
                if event.short().ends_with(":create") {
                    prop_assert!(present.insert(id), "created twice: {:?}", change);
                } else if event.short().ends_with(":delete") {
                    prop_assert!(present.remove(&id), "deleted without being there: {:?}", change);
                } else {
                    prop_assert!(present.contains(&id), "news of somebody unknown: {:?}", change);
                }
            }
            rows.retain(|(kind, row)| scope.covers(*kind, &row.placement));
            let should: BTreeSet<_> = rows.into_iter().map(|(_, row)| row.id).collect();
            prop_assert_eq!(present, should);
            Ok(())
        })?;
    }
}
