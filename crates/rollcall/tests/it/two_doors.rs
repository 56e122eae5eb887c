//! The door of the directory: who may, and which version must still be there.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use rollcall::access::{Authority, Caller};
use rollcall::change;
use rollcall::delivery::job;
use rollcall::directory::{
    Cascade, Command, DirectoryError, GroupChanges, NewGroup, NewUnit, UnitChanges, UserChanges, query,
};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall_protocol::SubjectKind;

use crate::world::{described, new_user, on_both, open_hub};

pub(crate) fn test() -> Caller {
    Caller::system("test")
}

pub(crate) fn within(units: &[&String], groups: &[&String]) -> Authority {
    let own = |ids: &[&String]| ids.iter().map(|id| (*id).clone()).collect();
    Authority::Scope {
        units: own(units),
        groups: own(groups),
    }
}

pub(crate) async fn make(hub: &Hub, command: Command) -> String {
    hub.apply(test(), command).await.unwrap().id
}

pub(crate) fn unit(name: &str, parent: &str) -> Command {
    Command::CreateUnit(NewUnit {
        name: name.into(),
        parent_id: parent.into(),
        ..NewUnit::default()
    })
}

pub(crate) fn group(name: &str) -> Command {
    Command::CreateGroup(NewGroup {
        name: name.into(),
        ..NewGroup::default()
    })
}

pub(crate) fn members(group_id: &str, user_ids: &[&String]) -> Command {
    Command::AddMembers {
        group_id: group_id.into(),
        user_ids: user_ids.iter().map(|id| (*id).clone()).collect(),
    }
}

/// Every subject with its record, and whether the authority covers it.
async fn everything(hub: &Hub, authority: &Authority) -> BTreeMap<String, (String, bool)> {
    let authority = authority.clone();
    hub.db
        .read(move |tx| {
            let mut all = BTreeMap::new();
            job::scan(tx, |kind, row| {
                let covered = authority.covers(kind, &row.placement);
                let groups = row.placement.groups.join(",");
                all.insert(row.id, (row.record + &groups, covered));
                Ok::<_, rollcall_db::DbError>(())
            })?;
            Ok::<_, rollcall_db::DbError>(all)
        })
        .await
        .unwrap()
}

/// Units, users and groups that commands choose from.
pub(crate) struct Cast {
    pub(crate) units: Vec<String>,
    pub(crate) users: Vec<String>,
    pub(crate) groups: Vec<String>,
}

impl Cast {
    /// A tree of seven units with a user in each and two with two units; three groups.
    pub(crate) async fn assemble(hub: &Hub) -> Self {
        let mut units = vec![ROOT_UNIT.to_owned()];
        for (name, parent) in [("A", 0), ("B", 0), ("AA", 1), ("AB", 1), ("BA", 2), ("AAA", 3)] {
            units.push(make(hub, unit(name, &units[parent])).await);
        }
        let mut users = Vec::new();
        for (n, unit) in units.iter().enumerate() {
            users.push(make(hub, Command::CreateUser(new_user(&format!("u{n}"), unit))).await);
        }
        for (n, (primary, further)) in [(1, 2), (6, 5)].into_iter().enumerate() {
            let mut new = new_user(&format!("both{n}"), &units[primary]);
            new.organizational_unit_ids = vec![units[further].clone()];
            users.push(make(hub, Command::CreateUser(new)).await);
        }
        let mut groups = Vec::new();
        for n in 0..3 {
            let id = make(hub, group(&format!("g{n}"))).await;
            make(hub, members(&id, &[&users[n], &users[n + 4]])).await;
            groups.push(id);
        }
        Self { units, users, groups }
    }

    fn command(&self, (kind, a, b, c): (u8, usize, usize, usize)) -> Command {
        let unit = |n: usize| self.units[n % self.units.len()].clone();
        let user = |n: usize| self.users[n % self.users.len()].clone();
        let group = |n: usize| self.groups[n % self.groups.len()].clone();
        match kind {
            0 => self::unit(&format!("N{b}"), &unit(a)),
            1 => Command::UpdateUnit {
                id: unit(a),
                changes: UnitChanges {
                    name: Some(format!("R{b}")),
                    ..UnitChanges::default()
                },
            },
            2 => Command::MoveUnit {
                id: unit(a),
                parent_id: unit(b),
            },
            3 => Command::DeleteUnit {
                id: unit(a),
                cascade: if b % 2 == 0 { Cascade::Yes } else { Cascade::No },
            },
            4 => {
                let mut new = new_user(&format!("new{b}"), &unit(a));
                new.organizational_unit_ids = vec![unit(c)];
                Command::CreateUser(new)
            }
            5 => described(&user(a), &format!("changed {b}")),
            6 => Command::SetUnits {
                id: user(a),
                primary: unit(b),
                further: vec![unit(c)],
            },
            7 => Command::DeleteUser { id: user(a) },
            8 => Command::DisableUser { id: user(a) },
            9 => Command::UpdateGroup {
                id: group(a),
                changes: GroupChanges {
                    description: Some(Some(format!("changed {b}"))),
                    ..GroupChanges::default()
                },
            },
            10 => members(&group(a), &[&user(b), &user(c)]),
            11 => Command::RemoveMembers {
                group_id: group(a),
                user_ids: vec![user(b), user(c)],
            },
            12 => self::group(&format!("ng{b}")),
            _ => Command::DeleteGroup { id: group(a) },
        }
    }
}

#[test]
fn nobody_changes_anything_outside_of_a_scope_before_or_after() {
    on_both("authority", |database, _| async move {
        let hub = open_hub(&database).await;
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let strategy = (
            proptest::collection::btree_set(1..7_usize, 0..3),
            proptest::collection::btree_set(0..3_usize, 0..2),
            proptest::collection::vec((0..14_u8, 0..9_usize, 0..9_usize, 0..9_usize), 1..25),
        );
        let mut done = 0;
        let cases: Vec<_> = (0..12)
            .map(|_| strategy.new_tree(&mut runner).unwrap().current())
            .collect();
        for (units, groups, commands) in cases {
            // Every case begins with a fresh cast in the same hub, under a unit of its own.
            let cast = fresh(&hub, &mut done).await;
            let authority = within(
                &units.iter().map(|n| &cast.units[*n]).collect::<Vec<_>>(),
                &groups.iter().map(|n| &cast.groups[*n]).collect::<Vec<_>>(),
            );
            let caller = test().within(authority.clone());
            for command in commands {
                let command = cast.command(command);
                let before = everything(&hub, &authority).await;
                let head = hub.db.read(change::head).await.unwrap().seq;
                let result = hub.apply(caller.clone(), command.clone()).await;
                let after = everything(&hub, &authority).await;
                for (id, (record, covered)) in &before {
                    if !covered {
                        let now = after.get(id).map(|(record, _)| record);
                        assert_eq!(now, Some(record), "{command:?} of {authority:?} changed {id}");
                    }
                }
                for (id, (record, covered)) in &after {
                    let was = before.get(id);
                    if was.map(|(record, _)| record) != Some(record) {
                        assert!(covered, "{command:?} of {authority:?} left {id} outside");
                    }
                }
                let changes = hub
                    .db
                    .read(move |tx| change::read_after(tx, head, usize::MAX))
                    .await
                    .unwrap();
                for change in &changes {
                    for placement in [&change.before, &change.after].into_iter().flatten() {
                        assert!(authority.covers(change.subject_kind, placement), "{change:?}");
                    }
                }
                if let Err(error) = result {
                    assert!(
                        changes.is_empty() && !matches!(error, DirectoryError::Database(_)),
                        "{error}"
                    );
                }
            }
        }
        hub.db.close().await;
    });
}

/// A cast under names of its own.
async fn fresh(hub: &Hub, made: &mut usize) -> Cast {
    *made += 1;
    if *made > 1 {
        // Nothing of the cast before stays, so that the names are free again.
        let all = everything(hub, &Authority::Everything).await;
        for id in all.keys().filter(|id| id.starts_with("user_")) {
            let _ = hub.apply(test(), Command::DeleteUser { id: id.clone() }).await;
        }
        for id in all.keys() {
            let command = match id.split_once('_') {
                Some(("group", _)) => Command::DeleteGroup { id: id.clone() },
                Some(("ou", _)) if id != ROOT_UNIT => Command::DeleteUnit {
                    id: id.clone(),
                    cascade: Cascade::Yes,
                },
                _ => continue,
            };
            let _ = hub.apply(test(), command).await;
        }
    }
    Cast::assemble(hub).await
}

#[test]
fn what_is_outside_does_not_exist_and_what_would_leave_is_refused() {
    on_both("outside", |database, _| async move {
        let hub = open_hub(&database).await;
        let cast = Cast::assemble(&hub).await;
        let caller = test().within(within(&[&cast.units[1]], &[]));
        let code = |command: Command| {
            let (hub, caller) = (hub.clone(), caller.clone());
            async move { hub.apply(caller, command).await.map_err(|error| error.code()) }
        };
        // `u2` stands in B, `both0` in A and in B.
        assert_eq!(code(described(&cast.users[2], "x")).await, Err("not_found"));
        assert_eq!(code(described("user_of_nobody", "x")).await, Err("not_found"));
        assert!(code(described(&cast.users[3], "x")).await.is_ok());
        let into = |user: &String, primary: &String| Command::SetUnits {
            id: user.clone(),
            primary: primary.clone(),
            further: vec![cast.units[2].clone()],
        };
        assert_eq!(code(into(&cast.users[1], &cast.units[1])).await, Err("not_found"));
        // A unit that cannot be seen stays; only what can be seen is moved.
        assert!(code(into(&cast.users[7], &cast.units[3])).await.is_ok());
        // Of `both1`, the primary unit goes with AAA; of `both0`, AA is the primary one now.
        let name = UserChanges {
            username: Some("u2".into()),
            ..UserChanges::default()
        };
        let id = cast.users[3].clone();
        let taken = hub
            .apply(caller.clone(), Command::UpdateUser { id, changes: name })
            .await;
        assert!(taken.unwrap_err().to_string().contains("taken by somebody else"));
        assert_eq!(code(group("mine")).await, Err("outside_scope"));
        let owner = test().within(within(&[], &[&cast.groups[0]]));
        let leave = Command::RemoveMembers {
            group_id: cast.groups[0].clone(),
            user_ids: vec![cast.users[0].clone()],
        };
        let refused = hub.apply(owner, leave).await.unwrap_err();
        assert_eq!(refused.code(), "outside_scope");
        hub.db.close().await;
    });
}

#[test]
fn a_version_that_was_read_must_still_be_there() {
    on_both("versions", |database, _| async move {
        let hub = open_hub(&database).await;
        let ada = make(&hub, Command::CreateUser(new_user("ada", ROOT_UNIT))).await;
        let version = |id: &str| {
            let (hub, id) = (hub.clone(), id.to_owned());
            async move {
                let read = hub
                    .db
                    .read(move |tx| query::version_of(tx, SubjectKind::User, &id));
                read.await.unwrap().unwrap()
            }
        };
        let read = version(&ada).await;
        // Many writes within a millisecond, and each is a version of its own.
        let mut seen = BTreeSet::from([read]);
        for n in 0..20 {
            make(&hub, described(&ada, &format!("{n}"))).await;
            assert!(seen.insert(version(&ada).await));
        }
        let stale = hub.apply(test().expecting(read), described(&ada, "late")).await;
        assert_eq!(stale.unwrap_err().code(), "changed");
        let current = version(&ada).await;
        assert!(
            hub.apply(test().expecting(current), described(&ada, "now"))
                .await
                .is_ok()
        );
        // Without a version, the last write of a field counts, and no other field is touched.
        let email = UserChanges {
            email: Some(Some("ada@example.com".into())),
            ..UserChanges::default()
        };
        let id = ada.clone();
        make(&hub, Command::UpdateUser { id, changes: email }).await;
        let found = hub
            .db
            .read(move |tx| query::find_user(tx, &ada))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.description.as_deref(), Some("now"));
        hub.db.close().await;
    });
}
