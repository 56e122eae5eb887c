//! Inventories, which close a full synchronization.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use rollcall_db::testing::databases;
use rollcall_receiver::protocol::{GroupPayload, InventoryKind, InventoryPayload, UnitPayload};
use rollcall_receiver::{Handler, Inbox, InboxOptions, Mirror, Outcome, Received};

use super::*;

fn inventory(id: &str, time: i64, kind: InventoryKind, range: (&str, Option<&str>), ids: &[&str]) -> Event {
    let record = InventoryPayload {
        kind,
        group_id: (kind == InventoryKind::GroupMember).then(|| "g".to_owned()),
        after: range.0.to_owned(),
        through: range.1.map(str::to_owned),
        ids: ids.iter().map(|&id| id.to_owned()).collect(),
    };
    event(id, EventType::Inventory, time, "", record.to_json())
}

fn create(id: &str, subject: &str, time: i64) -> Event {
    event(
        id,
        EventType::UserCreate,
        time,
        subject,
        user(subject, "ann").to_json(),
    )
}

fn members(id: &str, kind: EventType, time: i64, users: &[&str]) -> Event {
    let record = GroupPayload {
        group_id: "g".to_owned(),
        user_ids: Some(users.iter().map(|&user| user.to_owned()).collect()),
        ..GroupPayload::default()
    };
    event(id, kind, time, "g", record.to_json())
}

async fn tell(mirror: &Mirror, events: Vec<Event>) -> Vec<Outcome> {
    mirror.process(events, NOW).await.unwrap()
}

async fn users(mirror: &Mirror) -> Vec<String> {
    mirror.snapshot().await.unwrap().users.into_keys().collect()
}

#[tokio::test]
async fn what_is_not_named_goes_and_what_is_newer_stays() {
    for database in databases("inventory") {
        let mirror = Mirror::open(&database.url).await.unwrap();
        let unit = UnitPayload {
            unit_id: "ou_9".to_owned(),
            name: Some("Nine".to_owned()),
            ..UnitPayload::default()
        };
        let group = GroupPayload {
            group_id: "g".to_owned(),
            name: Some("G".to_owned()),
            ..GroupPayload::default()
        };
        // Bytewise, capitals come before small letters and both before Umlauts, whatever the locale.
        let ids = ["B", "a", "b", "c", "z", "ä"];
        let mut events: Vec<Event> = ids.iter().map(|id| create(id, id, 10)).collect();
        events.extend([
            create("new", "bb", 30),
            event("unit", EventType::UnitCreate, 10, "ou_9", unit.to_json()),
            event("group", EventType::GroupCreate, 10, "g", group.to_json()),
            members("add", EventType::GroupAddUser, 11, &["a", "b", "c"]),
        ]);
        tell(&mirror, events).await;
        // Only what lies in the range, is not named and is not newer.
        let told = tell(
            &mirror,
            vec![inventory(
                "i1",
                20,
                InventoryKind::User,
                ("a", Some("z")),
                &["c", "x"],
            )],
        )
        .await;
        assert_eq!(told, [Outcome::Success("2 removed".to_owned())]);
        assert_eq!(users(&mirror).await, ["B", "a", "bb", "c", "ä"]);
        let snapshot = mirror.snapshot().await.unwrap();
        assert_eq!(Vec::from_iter(&snapshot.groups["g"].members), ["a", "c"]);
        assert_eq!(mirror.counts().await.unwrap().memberships, 5);
        // Deletions are remembered, also of ids of which nobody had heard.
        let told = tell(
            &mirror,
            vec![
                create("l1", "b", 15),
                create("l2", "never", 15),
                create("l3", "x", 15),
                members("l4", EventType::GroupAddUser, 16, &["b", "never"]),
                create("l5", "b", 25),
            ],
        )
        .await;
        let stale: Vec<bool> = told.iter().map(|it| *it == Outcome::stale()).collect();
        assert_eq!(stale, [true, true, false, true, false]);
        assert_eq!(users(&mirror).await, ["B", "a", "b", "bb", "c", "x", "ä"]);

        // Members: those who are missing join, the others leave.
        tell(
            &mirror,
            vec![inventory(
                "i2",
                40,
                InventoryKind::GroupMember,
                ("", None),
                &["bb", "c"],
            )],
        )
        .await;
        let late = members("l6", EventType::GroupAddUser, 39, &["a", "x"]);
        assert_eq!(tell(&mirror, vec![late]).await, [Outcome::stale()]);
        let snapshot = mirror.snapshot().await.unwrap();
        assert_eq!(Vec::from_iter(&snapshot.groups["g"].members), ["bb", "c"]);

        // Nothing at all.
        tell(
            &mirror,
            vec![
                inventory("i3", 50, InventoryKind::Unit, ("", None), &[]),
                inventory("i4", 50, InventoryKind::Group, ("", None), &[]),
                inventory("i5", 50, InventoryKind::User, ("", None), &[]),
            ],
        )
        .await;
        assert_eq!(
            mirror.snapshot().await.unwrap(),
            rollcall_receiver::Snapshot::default()
        );
        assert_eq!(mirror.counts().await.unwrap().memberships, 0);
        // Its id is remembered like any other.
        assert!(mirror.has_received("evnt_i5").await.unwrap());
        mirror.close().await;
    }
}

#[tokio::test]
async fn a_range_of_ten_thousand_is_a_few_statements() {
    for database in databases("inventorymany") {
        let mirror = Mirror::open(&database.url).await.unwrap();
        mirror
            .db()
            .write(|tx| {
                for n in 0..20_000 {
                    tx.execute(
                        "INSERT INTO mirror_users (user_id, event_time, deleted) VALUES ($1, 1, $2)",
                        rollcall_db::params![format!("user_{n:05}"), false],
                    )?;
                }
                Ok::<_, rollcall_db::DbError>(())
            })
            .await
            .unwrap();
        let odd: Vec<String> = (0..20_000)
            .filter(|n| n % 2 == 1)
            .map(|n| format!("user_{n:05}"))
            .collect();
        let odd: Vec<&str> = odd.iter().map(String::as_str).collect();
        let told = tell(
            &mirror,
            vec![inventory("1", 20, InventoryKind::User, ("", None), &odd)],
        )
        .await;
        assert_eq!(told, [Outcome::Success("10000 removed".to_owned())]);
        assert_eq!(mirror.counts().await.unwrap().users, 10_000);
        mirror.close().await;
    }
}

#[tokio::test]
async fn an_inventory_that_contradicts_itself_removes_nothing() {
    for database in databases("inventorybad") {
        let mirror = Mirror::open(&database.url).await.unwrap();
        tell(&mirror, vec![create("1", "user_1", 10)]).await;
        for record in [
            r#"{"subjectKind":"user","after":""}"#,
            r#"{"subjectKind":"user","after":"","ids":null}"#,
            r#"{"subjectKind":"robot","after":"","ids":[]}"#,
            r#"{"subjectKind":"group_member","after":"","ids":[]}"#,
            r#"{"subjectKind":"user","after":"b","through":"c","ids":["a"]}"#,
            r#"{"subjectKind":"user","after":"","ids":["a\u0000"]}"#,
        ] {
            let told = tell(&mirror, vec![event("i", EventType::Inventory, 20, "", record)]).await;
            assert!(matches!(told[..], [Outcome::Failed { .. }]), "{record} {told:?}");
        }
        assert_eq!(users(&mirror).await, ["user_1"]);
        mirror.close().await;
    }
}

/// An application's own table of users.
#[derive(Clone, Default)]
struct Table {
    users: Arc<Mutex<Vec<String>>>,
    /// Who cannot be stored.
    broken: Arc<Mutex<Vec<&'static str>>>,
    unaware: bool,
}

impl Handler for Table {
    async fn user_created(&self, user: &Received<UserPayload>) -> Outcome {
        if self
            .broken
            .lock()
            .unwrap()
            .contains(&user.record.user_id.as_str())
        {
            return Outcome::exception("locked");
        }
        self.users.lock().unwrap().push(user.record.user_id.clone());
        Outcome::success()
    }

    async fn inventory(&self, inventory: &Received<InventoryPayload>) -> Outcome {
        if self.unaware {
            return Outcome::Skipped(String::new());
        }
        let list = &inventory.record;
        self.users
            .lock()
            .unwrap()
            .retain(|user| !list.covers(user) || list.ids.contains(user));
        Outcome::success()
    }
}

/// An inbox that gives nothing up, and tries again at once.
fn patient() -> InboxOptions {
    InboxOptions {
        tries: 1_000,
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(10),
        ..InboxOptions::default()
    }
}

#[tokio::test]
async fn the_inbox_hands_an_inventory_on_after_what_came_before_it() {
    for database in databases("inventoryinbox") {
        let table = Table::default();
        *table.broken.lock().unwrap() = vec!["a", "b", "c"];
        let options = patient();
        let inbox = Inbox::open(&database.url, table.clone(), options.clone())
            .await
            .unwrap();
        inbox
            .process(vec![create("1", "a", 10), create("2", "b", 10)], NOW)
            .await
            .unwrap();
        inbox
            .process(
                vec![
                    inventory("3", 20, InventoryKind::User, ("", None), &["a"]),
                    create("4", "c", 30),
                ],
                NOW,
            )
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(inbox.counts().await.unwrap().done, 0);
        table.broken.lock().unwrap().clear();
        crate::inbox::drain(&inbox).await;
        // b is gone; c is newer than the inventory, which may have been handled after it.
        let mut users = table.users.lock().unwrap().clone();
        users.sort_unstable();
        assert_eq!(users, ["a", "c"]);
        // What comes late for b is stale, as for somebody of whom nothing was heard before; what is later is not, and
        // neither is what comes late for somebody who was named.
        let late = vec![
            create("5", "b", 15),
            create("late", "d", 15),
            create("later", "e", 21),
            create("again", "a", 15),
        ];
        inbox.process(late, NOW).await.unwrap();
        crate::inbox::drain(&inbox).await;
        let mut users = table.users.lock().unwrap().clone();
        users.sort_unstable();
        assert_eq!(users, ["a", "a", "c", "e"]);
        inbox.close().await;

        // A handler that does nothing about inventories has removed nobody.
        let table = Table {
            unaware: true,
            ..Table::default()
        };
        let inbox = Inbox::open(&database.url, table.clone(), options).await.unwrap();
        inbox
            .process(
                vec![
                    create("6", "f", 40),
                    inventory("7", 60, InventoryKind::User, ("", None), &[]),
                ],
                NOW,
            )
            .await
            .unwrap();
        crate::inbox::drain(&inbox).await;
        inbox.process(vec![create("8", "f", 50)], NOW).await.unwrap();
        crate::inbox::drain(&inbox).await;
        assert_eq!(*table.users.lock().unwrap(), ["f", "f"]);
        inbox.close().await;
    }
}

#[tokio::test]
async fn of_the_same_time_what_is_stored_after_an_inventory_is_newer() {
    for database in databases("inventorytie") {
        let table = Table::default();
        *table.broken.lock().unwrap() = vec!["a"];
        let options = patient();
        let inbox = Inbox::open(&database.url, table.clone(), options).await.unwrap();
        let events = vec![
            create("1", "a", 10),
            create("2", "b", 20),
            inventory("3", 20, InventoryKind::User, ("", None), &["a"]),
            create("4", "c", 20),
        ];
        inbox.process(events, NOW).await.unwrap();
        // Everybody is handled but a, for whom the inventory waits.
        while inbox.counts().await.unwrap().done < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(*table.users.lock().unwrap(), ["b", "c"]);
        table.broken.lock().unwrap().clear();
        crate::inbox::drain(&inbox).await;
        let mut users = table.users.lock().unwrap().clone();
        users.sort_unstable();
        assert_eq!(users, ["a", "c"]);
        inbox.close().await;
    }
}

/// Who is in the group g.
#[derive(Clone, Default)]
struct Members {
    members: Arc<Mutex<BTreeSet<String>>>,
    /// Whether users cannot be stored.
    broken: Arc<Mutex<bool>>,
}

impl Handler for Members {
    async fn user_created(&self, _: &Received<UserPayload>) -> Outcome {
        match *self.broken.lock().unwrap() {
            true => Outcome::exception("locked"),
            false => Outcome::success(),
        }
    }

    async fn user_deleted(&self, user: &Received<UserPayload>) -> Outcome {
        self.members.lock().unwrap().remove(&user.record.user_id);
        Outcome::success()
    }

    async fn group_users_added(&self, group: &Received<GroupPayload>) -> Outcome {
        let users = group.record.user_ids.clone().unwrap_or_default();
        self.members.lock().unwrap().extend(users);
        Outcome::success()
    }

    async fn group_users_removed(&self, group: &Received<GroupPayload>) -> Outcome {
        let users = group.record.user_ids.clone().unwrap_or_default();
        self.members.lock().unwrap().retain(|user| !users.contains(user));
        Outcome::success()
    }

    async fn inventory(&self, inventory: &Received<InventoryPayload>) -> Outcome {
        *self.members.lock().unwrap() = inventory.record.ids.iter().cloned().collect();
        Outcome::success()
    }
}

#[tokio::test]
async fn an_inventory_that_is_handed_on_late_adds_nobody_who_has_left_since() {
    for database in databases("inventorylate") {
        let desk = Members::default();
        *desk.broken.lock().unwrap() = true;
        let options = patient();
        let inbox = Inbox::open(&database.url, desk.clone(), options).await.unwrap();
        let delete = |id: &str, subject: &str, time| {
            event(
                id,
                EventType::UserDelete,
                time,
                subject,
                user(subject, "ann").to_json(),
            )
        };
        let events = vec![
            create("1", "x", 10),
            inventory(
                "2",
                20,
                InventoryKind::GroupMember,
                ("", None),
                &["left", "deleted", "stays"],
            ),
            members("3", EventType::GroupRemoveUser, 30, &["left"]),
            delete("4", "deleted", 30),
            members("5", EventType::GroupAddUser, 20, &["new"]),
        ];
        inbox.process(events, NOW).await.unwrap();
        // Everything is handled but x, and the inventory that waits for x.
        while inbox.counts().await.unwrap().done < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        *desk.broken.lock().unwrap() = false;
        crate::inbox::drain(&inbox).await;
        let members_now = || desk.members.lock().unwrap().iter().cloned().collect::<Vec<_>>();
        assert_eq!(members_now(), ["new", "stays"]);
        // What is older than the inventory is old news of those whom it names.
        let late = vec![members("6", EventType::GroupRemoveUser, 15, &["stays"])];
        inbox.process(late, NOW).await.unwrap();
        crate::inbox::drain(&inbox).await;
        assert_eq!(members_now(), ["new", "stays"]);
        inbox.close().await;
    }
}
