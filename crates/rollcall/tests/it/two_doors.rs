//! The two doors for writes: who may, what stays, and what the audit log says of it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use rollcall::access::{Authority, Caller, Origin, Principal};
use rollcall::application::keys::NewKey;
use rollcall::application::{
    self, Application, ApplicationError, Command as AppCommand, Edit, Encryption, Entitlements,
    NewApplication, Scope, ScopeEdit, Settings, SettingsPatch, Subscription,
};
use rollcall::audit::{self, Entry, Filter};
use rollcall::change;
use rollcall::delivery::erase::erase_user;
use rollcall::delivery::job;
use rollcall::directory::{
    Command, DirectoryError, GroupChanges, NewGroup, NewUnit, UnitChanges, UserChanges, query,
};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall_protocol::{EncryptionKey, EventType, SubjectKind, SystemRandom};

use crate::world::{described, new_user, on_both, open_hub};

fn test() -> Caller {
    Caller::system("test")
}

fn within(units: &[&String], groups: &[&String]) -> Authority {
    let own = |ids: &[&String]| ids.iter().map(|id| (*id).clone()).collect();
    Authority::Scope {
        units: own(units),
        groups: own(groups),
    }
}

async fn make(hub: &Hub, command: Command) -> String {
    hub.apply(test(), command).await.unwrap().id
}

fn unit(name: &str, parent: &str) -> Command {
    Command::CreateUnit(NewUnit {
        name: name.into(),
        parent_id: parent.into(),
        ..NewUnit::default()
    })
}

fn group(name: &str) -> Command {
    Command::CreateGroup(NewGroup {
        name: name.into(),
        ..NewGroup::default()
    })
}

fn members(group_id: &str, user_ids: &[&String]) -> Command {
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
struct Cast {
    units: Vec<String>,
    users: Vec<String>,
    groups: Vec<String>,
}

impl Cast {
    /// A tree of seven units with a user in each and two with two units; three groups.
    async fn assemble(hub: &Hub) -> Self {
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
                cascade: b % 2 == 0,
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
                    cascade: true,
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

fn new_application(hub: &Hub, name: &str, scope: Scope) -> AppCommand {
    AppCommand::Create(Box::new(NewApplication {
        name: name.into(),
        settings: Settings::event_callback("https://app.example/in?key=hush", Encryption::Required),
        encryption_key: Some(EncryptionKey::generate(&SystemRandom)),
        scope,
        subscription: Subscription::everything(),
        signing_key: NewKey::generate(hub.clock.now(), &SystemRandom, &hub.master).unwrap(),
    }))
}

async fn command(hub: &Hub, command: AppCommand) -> Application {
    let applied = hub.apply_application(test(), command).await;
    applied.unwrap().application
}

fn update(id: &str, settings: SettingsPatch) -> AppCommand {
    AppCommand::Update {
        id: id.into(),
        name: None,
        settings,
    }
}

#[test]
fn two_administrators_who_change_different_things_both_have_their_will() {
    on_both("patches", |database, _| async move {
        let hub = open_hub(&database).await;
        let wiki = command(&hub, new_application(&hub, "Wiki", Scope::everything())).await;
        let events = SettingsPatch {
            max_events: Some(7),
            ..SettingsPatch::default()
        };
        let lanes = SettingsPatch {
            lanes: Some(4),
            ..SettingsPatch::default()
        };
        // Both have read the application as it was made.
        let (one, two) = tokio::join!(
            command(&hub, update(&wiki.id, events.clone())),
            command(&hub, update(&wiki.id, lanes.clone()))
        );
        assert_ne!(one.update_time, two.update_time);
        let id = wiki.id.clone();
        let stored = hub
            .db
            .read(move |tx| application::store::load(tx, &id))
            .await
            .unwrap();
        assert_eq!(
            (stored.settings.limits.max_events, stored.settings.limits.lanes),
            (7, 4)
        );
        assert_eq!(stored.settings.callback(), wiki.settings.callback());
        // The same again changes nothing, and raises no version.
        let again = hub
            .apply_application(test(), update(&wiki.id, events.clone()))
            .await
            .unwrap();
        assert!(!again.changed);
        assert_eq!(again.application.version, stored.version);
        // Whoever names a version is told.
        let late = test().expecting(wiki.update_time);
        let refused = hub.apply_application(late, update(&wiki.id, lanes)).await;
        assert!(matches!(refused.unwrap_err(), ApplicationError::Changed { .. }));
        // Of the subscription, only what is named.
        let fewer = Edit::Change {
            add: BTreeSet::new(),
            remove: [EventType::UserLock].into(),
        };
        let (id, events) = (wiki.id.clone(), fewer);
        command(&hub, AppCommand::SetSubscription { id, events }).await;
        let id = wiki.id.clone();
        let current = hub.db.read(move |tx| Entitlements::load(tx, &id)).await.unwrap();
        let current = current.current();
        assert!(current.scope.is_everything() && !current.subscription.contains(EventType::UserLock));
        assert_eq!(
            current.subscription.events().count() + 1,
            Subscription::everything().events().count()
        );
        hub.db.close().await;
    });
}

#[test]
fn a_scope_changes_part_by_part_and_never_without_its_job() {
    on_both("scope_parts", |database, _| async move {
        let hub = open_hub(&database).await;
        let cast = Cast::assemble(&hub).await;
        let scope = Scope {
            organizational_unit_ids: [cast.units[1].clone()].into(),
            group_ids: [cast.groups[0].clone()].into(),
        };
        let wiki = command(&hub, new_application(&hub, "Wiki", scope)).await;
        let add = ScopeEdit {
            units: Edit::Change {
                add: [cast.units[2].clone()].into(),
                remove: BTreeSet::new(),
            },
            ..ScopeEdit::default()
        };
        let alone = AppCommand::SetScope {
            id: wiki.id.clone(),
            scope: add.clone(),
            job: "job_of_nobody".into(),
        };
        let refused = hub.apply_application(test(), alone).await;
        assert!(matches!(refused.unwrap_err(), ApplicationError::NoJob(_)));
        let (id, edit) = (wiki.id.clone(), add.clone());
        let shown = hub.db.read(move |tx| job::plan(tx, &id, &edit)).await.unwrap();
        // B with `u2` and BA with `u5`; `both0` stands in A already, `both1` in AAA. `u0` is there by its group.
        assert_eq!(
            (shown.enter.counts.organizational_units, shown.enter.counts.users),
            (2, 2)
        );
        assert_eq!(shown.enter.first_users, ["u2", "u5"]);
        assert_eq!(shown.leave.counts, job::Counts::default());
        assert_eq!(
            shown.after.group_ids, shown.before.group_ids,
            "what is not named stays"
        );
        // Somebody comes between plan and confirmation: what was shown is not what would be done.
        let late = make(&hub, Command::CreateUser(new_user("late", &cast.units[2]))).await;
        let confirmed = Some(shown.token.clone());
        let refused = job::change_scope(&hub, test(), &wiki.id, add.clone(), confirmed).await;
        assert!(matches!(
            refused.unwrap_err(),
            job::JobError::Application(ApplicationError::PlanChanged)
        ));
        let (id, edit) = (wiki.id.clone(), add.clone());
        let shown = hub.db.read(move |tx| job::plan(tx, &id, &edit)).await.unwrap();
        assert_eq!(shown.enter.counts.users, 3);
        let confirmed = Some(shown.token.clone());
        let (plan, job_id) = job::change_scope(&hub, test(), &wiki.id, add, confirmed)
            .await
            .unwrap();
        assert_eq!(plan, shown);
        let items = hub
            .db
            .read(move |tx| {
                tx.query(
                    "SELECT subject_id FROM job_items WHERE job_id = $1 ORDER BY ordinal",
                    &[job_id.as_str().into()],
                )?
                .iter()
                .map(|row| row.get(0))
                .collect::<Result<Vec<String>, rollcall_db::DbError>>()
            })
            .await
            .unwrap();
        let expected = [
            &cast.units[2],
            &cast.units[5],
            &cast.users[2],
            &cast.users[5],
            &late,
        ];
        assert_eq!(items.iter().collect::<Vec<_>>(), expected, "parents first");
        hub.db.close().await;
    });
}

#[test]
fn an_application_beyond_the_authority_does_not_exist() {
    on_both("app_authority", |database, _| async move {
        let hub = open_hub(&database).await;
        let cast = Cast::assemble(&hub).await;
        let only = |unit: &String| Scope {
            organizational_unit_ids: [unit.clone()].into(),
            ..Scope::default()
        };
        let mine = command(&hub, new_application(&hub, "Mine", only(&cast.units[3]))).await;
        let whole = command(&hub, new_application(&hub, "Whole", Scope::everything())).await;
        let empty = command(&hub, new_application(&hub, "Empty", Scope::default())).await;
        let caller = || test().within(within(&[&cast.units[1]], &[]));
        let off = |app: &Application| AppCommand::DisableSynchronization { id: app.id.clone() };
        assert!(hub.apply_application(caller(), off(&mine)).await.unwrap().changed);
        for other in [&whole, &empty] {
            let refused = hub.apply_application(caller(), off(other)).await;
            assert!(matches!(refused.unwrap_err(), ApplicationError::NotFound(_)));
        }
        let wide = hub
            .apply_application(caller(), new_application(&hub, "Wide", Scope::everything()))
            .await;
        assert!(matches!(wide.unwrap_err(), ApplicationError::OutsideScope(_)));
        command(&hub, AppCommand::EnableSynchronization { id: mine.id.clone() }).await;
        let edit = ScopeEdit::to(&only(&cast.units[2]));
        let refused = job::change_scope(&hub, caller(), &mine.id, edit, None).await;
        assert!(matches!(
            refused.unwrap_err(),
            job::JobError::Application(ApplicationError::OutsideScope(_))
        ));
        hub.db.close().await;
    });
}

async fn entries(hub: &Hub, filter: Filter) -> Vec<Entry> {
    hub.db
        .read(move |tx| audit::list(tx, &filter, 100))
        .await
        .unwrap()
}

#[test]
fn the_audit_log_tells_who_did_what_from_where_and_no_secret() {
    on_both("audit", |database, _| async move {
        let hub = open_hub(&database).await;
        let token = || {
            let principal = Principal::Token { id: "t1".into() };
            let (request_id, peer) = ("req_1".into(), "192.0.2.7".parse().ok());
            Caller::from(principal).from_there(Origin::Api { request_id, peer })
        };
        let create = new_application(&hub, "Wiki", Scope::everything());
        let wiki = hub.apply_application(token(), create).await.unwrap().application;
        let id = wiki.id.clone();
        let generated = hub
            .apply_application(token(), AppCommand::GenerateEncryptionKey { id })
            .await;
        let key = generated.unwrap().encryption_key.unwrap().to_hex();
        let lanes = SettingsPatch {
            lanes: Some(4),
            ..SettingsPatch::default()
        };
        hub.apply_application(token(), update(&wiki.id, lanes))
            .await
            .unwrap();
        let ada = hub
            .apply(token(), Command::CreateUser(new_user("ada", ROOT_UNIT)))
            .await
            .unwrap()
            .id;
        hub.apply(test(), described(&ada, "a private matter"))
            .await
            .unwrap();
        let failed = hub
            .apply_application(token(), update("app_of_nobody", SettingsPatch::default()))
            .await;
        assert!(failed.is_err());

        let all = entries(&hub, Filter::default()).await;
        let text = serde_json::to_string(&all).unwrap();
        assert!(!text.contains("hush") && !text.contains(key.as_str()), "{text}");
        let by_token = entries(
            &hub,
            Filter {
                who: Some("token:t1".into()),
                ..Filter::default()
            },
        )
        .await;
        let actions: BTreeSet<&str> = by_token.iter().map(|entry| entry.action.as_str()).collect();
        let expected = ["create", "set_encryption_key", "ud:user:create", "update"];
        assert_eq!(actions, expected.into());
        assert!(
            by_token
                .iter()
                .all(|entry| entry.origin.as_deref() == Some("api req_1 192.0.2.7"))
        );
        let updated = by_token.iter().find(|entry| entry.action == "update").unwrap();
        assert_eq!(
            (updated.target_name.as_str(), updated.target_id.as_str()),
            ("Wiki", wiki.id.as_str())
        );
        assert_eq!(updated.before.as_ref().unwrap()["limits"]["lanes"], 1);
        assert_eq!(updated.after.as_ref().unwrap()["limits"]["lanes"], 4);
        assert!(
            updated.after.as_ref().unwrap().get("name").is_none(),
            "only what is different"
        );
        let of_ada = || Filter {
            targets: vec![ada.clone()],
            ..Filter::default()
        };
        let told = entries(&hub, of_ada()).await;
        assert_eq!(told[0].after.as_ref().unwrap()["description"], "a private matter");
        assert_eq!(told[0].before.as_ref().unwrap()["description"], "");
        assert_eq!(
            (told[0].actor.as_str(), told[0].origin.as_ref()),
            ("system:test", None)
        );
        let later = Filter {
            since: Some(hub.clock.now() + 60_000),
            ..Filter::default()
        };
        assert!(entries(&hub, later).await.is_empty());

        // Whoever is erased leaves nothing here.
        erase_user(&hub, &test(), &ada).await.unwrap();
        let told = entries(&hub, of_ada()).await;
        let text = serde_json::to_string(&told).unwrap();
        assert!(!text.contains("private") && !text.contains("ada"), "{text}");
        assert!(told.iter().any(|entry| entry.action == "erase"));
        hub.db.close().await;
    });
}
