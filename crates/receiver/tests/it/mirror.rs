//! The mirror, on both databases.

use rollcall_db::testing::databases;
use rollcall_receiver::protocol::{GroupPayload, UnitPayload, UserPayload};
use rollcall_receiver::{Mirror, Snapshot};

use super::*;

fn group(id: &str, users: &[&str]) -> GroupPayload {
    GroupPayload {
        group_id: id.to_owned(),
        name: Some(format!("Group {id}")),
        user_ids: (!users.is_empty()).then(|| users.iter().map(|&user| user.to_owned()).collect()),
        ..GroupPayload::default()
    }
}

fn unit(id: &str, name: &str) -> UnitPayload {
    UnitPayload {
        unit_id: id.to_owned(),
        name: Some(name.to_owned()),
        parent_id: Some("ou_root".to_owned()),
        ..UnitPayload::default()
    }
}

fn receiver(mirror: &Mirror) -> Receiver<Mirror> {
    Receiver::builder(document(), "app_1")
        .clock(still())
        .build(mirror.clone())
        .unwrap()
}

async fn tell(receiver: &Receiver<Mirror>, events: &[Event]) -> Vec<String> {
    let body = Envelope::default().seal(events);
    told(&answer(&receiver.receive(None, body.as_bytes()).await))
}

#[tokio::test]
async fn a_request_is_applied_once_and_answered_alike() {
    let _ = rollcall_receiver::HttpJwks::new("http://127.0.0.1/");
    for database in databases("mirrorreplay") {
        let mirror = Mirror::open(&database.url).await.unwrap();
        let url = serve(receiver(&mirror)).await;
        let events = [
            event(
                "1",
                EventType::UnitCreate,
                NOW,
                "ou_1",
                unit("ou_1", "One").to_json(),
            ),
            user_event("2", EventType::UserCreate, NOW, "ann"),
            event("3", EventType::UserCreate, NOW, "user_2", "not a record"),
            event("4", EventType::GroupCreate, NOW, "g", group("g", &[]).to_json()),
            event(
                "5",
                EventType::GroupAddUser,
                NOW,
                "g",
                group("g", &["user_1"]).to_json(),
            ),
            event("6", EventType::UnitAddUser, NOW, "ou_1", "{}"),
            user_event("7", EventType::UserUpdateInfo, NOW - 1, "older"),
        ];
        let body = Envelope::default().seal(&events);
        let first = post(&url, body.clone()).await;
        let lines = told(&answer(&first));
        for line in [
            "success/2/SUCCESS/",
            "success/5/SUCCESS/",
            "success/7/SUCCESS/stale",
            "skipped/6/auto_skipped/",
        ] {
            assert!(lines.iter().any(|it| it == line), "{lines:?}");
        }
        assert!(
            lines.iter().any(|it| it.starts_with("failed/3/malformed_data/")),
            "{lines:?}"
        );
        let before = mirror.snapshot().await.unwrap();
        assert_eq!(before.users["user_1"].username.as_deref(), Some("ann"));
        assert!(before.users["user_1"].units["ou_1"]);
        assert!(before.groups["g"].members.contains("user_1"));
        assert_eq!(before.counts(), mirror.counts().await.unwrap());
        assert!(mirror.has_received("evnt_2").await.unwrap());
        assert!(!mirror.has_received("evnt_8").await.unwrap());

        // The same request, and the same events in another one, even with another content.
        assert_eq!(post(&url, body).await, first);
        let mut others = events.clone();
        others[1] = user_event("2", EventType::UserCreate, NOW + 5, "eve");
        assert_eq!(post(&url, Envelope::default().seal(&others)).await, first);
        let after = mirror.snapshot().await.unwrap();
        assert_eq!(before.differences(&after), Vec::<String>::new());
        assert_eq!(before.digest().unwrap(), after.digest().unwrap());

        // It is still so after a restart.
        mirror.close().await;
        let mirror = Mirror::open(&database.url).await.unwrap();
        assert_eq!(tell(&receiver(&mirror), &events).await, lines);
        assert_eq!(mirror.snapshot().await.unwrap(), before);
        mirror.close().await;
    }
}

#[tokio::test]
async fn what_is_older_is_acknowledged_and_not_applied() {
    for database in databases("mirrorstale") {
        let mirror = Mirror::open(&database.url).await.unwrap();
        let receiver = receiver(&mirror);
        let create = |id: &str, time, name: &str| user_event(id, EventType::UserCreate, time, name);
        let delete = |id: &str, time| {
            event(
                id,
                EventType::UserDelete,
                time,
                "user_1",
                r#"{"userId":"user_1"}"#,
            )
        };
        let members =
            |id: &str, kind, time, users: &[&str]| event(id, kind, time, "g", group("g", users).to_json());
        let add = EventType::GroupAddUser;
        let told = tell(
            &receiver,
            &[
                create("1", 10, "ann"),
                create("2", 9, "older"),
                create("3", 10, "same time"),
                delete("4", 20),
                create("5", 15, "late"),
                delete("6", 12),
                // The group's own time says nothing about its members.
                event("7", EventType::GroupUpdate, 100, "g", group("g", &[]).to_json()),
                members("8", add, 50, &["user_1", "user_2"]),
                members("9", EventType::GroupRemoveUser, 60, &["user_2"]),
                members("10", add, 55, &["user_2"]),
                members("11", add, 19, &["user_1"]),
            ],
        )
        .await;
        let message = |id: &str| {
            let line = told
                .iter()
                .find(|line| line.starts_with(&format!("success/{id}/")))
                .unwrap();
            line.rsplit('/').next().unwrap().to_owned()
        };
        let stale: Vec<bool> = (1..=11).map(|id| message(&id.to_string()) == "stale").collect();
        assert_eq!(
            stale,
            [
                false, true, false, false, true, true, false, false, false, true, true
            ],
            "{told:?}"
        );
        let snapshot = mirror.snapshot().await.unwrap();
        assert_eq!(snapshot.users.len(), 0);
        assert_eq!(Vec::from_iter(&snapshot.groups["g"].members), ["user_1"]);

        // Back again, with a clean slate: the membership from before a later deletion is over.
        tell(&receiver, &[create("12", 80, "back"), delete("13", 70)]).await;
        let snapshot = mirror.snapshot().await.unwrap();
        assert_eq!(snapshot.users["user_1"].username.as_deref(), Some("back"));
        assert!(snapshot.groups["g"].members.is_empty());
        mirror.close().await;
    }
}

#[tokio::test]
async fn of_the_time_of_a_deletion_only_who_has_come_back_is_a_member() {
    for database in databases("mirrortie") {
        let mirror = Mirror::open(&database.url).await.unwrap();
        let receiver = receiver(&mirror);
        let user = |id: &str, kind, user: &str| {
            let record = UserPayload {
                user_id: user.to_owned(),
                username: Some(user.to_owned()),
                ..UserPayload::default()
            };
            event(id, kind, 10, user, record.to_json())
        };
        let groups = |id: &str, kind, name: &str, users: &[&str]| {
            event(id, kind, 10, name, group(name, users).to_json())
        };
        // As a hub sends them whose clock was set back: a membership waits for all that is owed of its member.
        let events = [
            user("1", EventType::UserCreate, "gone"),
            user("2", EventType::UserCreate, "back"),
            groups("3", EventType::GroupCreate, "g", &[]),
            groups("4", EventType::GroupCreate, "h", &[]),
            user("5", EventType::UserDelete, "gone"),
            user("6", EventType::UserDelete, "back"),
            user("7", EventType::UserCreate, "back"),
            groups("8", EventType::GroupAddUser, "g", &["gone", "back"]),
            groups("9", EventType::GroupDelete, "h", &[]),
            groups("10", EventType::GroupAddUser, "h", &["back"]),
        ];
        tell(&receiver, &events).await;
        let snapshot = mirror.snapshot().await.unwrap();
        assert_eq!(Vec::from_iter(&snapshot.groups["g"].members), ["back"]);
        assert!(!snapshot.groups.contains_key("h"));
        // Nothing of the group is left that would come back with it.
        tell(&receiver, &[groups("11", EventType::GroupCreate, "h", &[])]).await;
        assert!(mirror.snapshot().await.unwrap().groups["h"].members.is_empty());
        mirror.close().await;
    }
}

#[tokio::test]
async fn the_older_generation_of_idaas_is_understood() {
    for database in databases("mirrorolder") {
        let mirror = Mirror::open(&database.url).await.unwrap();
        let receiver = receiver(&mirror);
        let record = r#"{"userId":"user_1","username":"ann","displayName":"Ann","phoneRegion":"86",
            "phoneNumber":"12345678901","email":"a@example.com","status":"enabled","sourceType":"build_in",
            "accountExpireTime":"-1","lastUpdatedTime":"1652085686000","password":"S3cret-word",
            "organizationalUnits":[{"organizationalUnitId":"ou_1","name":"One","primary":true},
                                   {"organizationalUnitId":"ou_2","name":"Two","primary":false}]}"#;
        let unit =
            r#"{"organizationalUnitId":"ou_1","parentId":"ou_root","name":"One","lastUpdatedTime":"1"}"#;
        let told = tell(
            &receiver,
            &[
                event("1", EventType::UserCreate, 10, "user_1", record),
                event("2", EventType::UnitCreate, 10, "ou_1", unit),
                // Nothing but the id, and what the type says.
                event(
                    "3",
                    EventType::UserDisable,
                    11,
                    "user_1",
                    r#"{"userId":"user_1"}"#,
                ),
            ],
        )
        .await;
        assert_eq!(told.len(), 3);
        assert!(told.iter().all(|line| line.starts_with("success/")), "{told:?}");
        let snapshot = mirror.snapshot().await.unwrap();
        let user = &snapshot.users["user_1"];
        assert_eq!(user.status.as_deref(), Some("disabled"));
        assert_eq!(user.email.as_deref(), Some("a@example.com"));
        assert_eq!(user.account_expire_time, Some(-1));
        assert_eq!(
            user.units.iter().collect::<Vec<_>>(),
            [(&"ou_1".to_owned(), &true), (&"ou_2".to_owned(), &false)]
        );
        assert_eq!(snapshot.units["ou_1"].name.as_deref(), Some("One"));
        assert_eq!(
            mirror.users("", 10).await.unwrap(),
            [("user_1".to_owned(), user.clone())]
        );
        assert_eq!(mirror.users("user_1", 10).await.unwrap(), []);

        let password_time = |mirror: &Mirror| {
            let db = mirror.db().clone();
            async move {
                db.read(|tx| {
                    let sql = "SELECT password_event_time FROM mirror_users WHERE user_id = 'user_1'";
                    tx.query_one(sql, rollcall_db::params![])?.get::<Option<i64>>(0)
                })
                .await
                .unwrap()
            }
        };
        assert_eq!(password_time(&mirror).await, Some(10));
        tell(
            &receiver,
            &[event(
                "4",
                EventType::UserDelete,
                12,
                "user_1",
                r#"{"userId":"user_1"}"#,
            )],
        )
        .await;
        assert_eq!(password_time(&mirror).await, None);
        let left = Snapshot {
            units: snapshot.units.clone(),
            ..Snapshot::default()
        };
        assert_eq!(
            left.differences(&mirror.snapshot().await.unwrap()),
            Vec::<String>::new()
        );
        assert_eq!(
            left.differences(&snapshot),
            ["user user_1 is only on the other side"]
        );
        mirror.close().await;
        if let Some(path) = database.url.strip_prefix("sqlite:") {
            let bytes = std::fs::read(path).unwrap();
            assert!(!bytes.windows(11).any(|window| window == b"S3cret-word"));
        }
    }
}

#[tokio::test]
async fn a_closed_database_asks_the_hub_to_come_again() {
    let database = rollcall_db::testing::sqlite();
    let mirror = Mirror::open(&database.url).await.unwrap();
    let receiver = receiver(&mirror);
    mirror.close().await;
    let body = Envelope::default().seal(&[user_event("1", EventType::UserCreate, NOW, "ann")]);
    let reply = receiver.receive(None, body.as_bytes()).await;
    assert_eq!((reply.status, reply.body.contains("internal_error")), (503, true));
}
