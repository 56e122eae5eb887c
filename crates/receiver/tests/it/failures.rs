//! Events that cannot be applied fail alone, and may succeed another time.

use rollcall_db::testing::databases;
use rollcall_receiver::protocol::GroupPayload;
use rollcall_receiver::{Direct, Handler, Inbox, InboxOptions, Mirror, Outcome, Received};

use super::*;

async fn tell<P: Process>(receiver: &Receiver<P>, events: &[Event]) -> Vec<String> {
    let body = Envelope::default().seal(events);
    told(&answer(&receiver.receive(None, body.as_bytes()).await))
}

fn receiver<P: Process>(processor: P) -> Receiver<P> {
    Receiver::builder(document(), "app_1")
        .clock(still())
        .build(processor)
        .unwrap()
}

fn members(id: &str, users: &[String]) -> Event {
    let record = GroupPayload {
        group_id: "g".to_owned(),
        user_ids: Some(users.to_vec()),
        ..GroupPayload::default()
    };
    event(id, EventType::GroupAddUser, NOW, "g", record.to_json())
}

/// Events that no database stores, each with what is said about it.
fn unfit() -> Vec<(Event, &'static str)> {
    let with = |id: &str, subject: &str, change: fn(&mut UserPayload)| {
        let mut record = user(subject, "ann");
        change(&mut record);
        event(id, EventType::UserCreate, NOW, subject, record.to_json())
    };
    let long = "i".repeat(9_000);
    vec![
        (
            with("nul", "user_1", |user| {
                user.display_name = Some("A\0B".to_owned())
            }),
            "invalid_data/displayName holds the character U+0000",
        ),
        (
            with("nulid", "user_\0", |_| {}),
            "invalid_data/bizId holds the character U+0000",
        ),
        (with("long", &long, |_| {}), "invalid_data/bizId has 9000 bytes"),
        (
            with("unit", "user_1", |user| user.units[0].id = "u".repeat(9_000)),
            "invalid_data/organizationalUnitId has 9000 bytes",
        ),
        (
            with("text", "user_1", |user| {
                user.description = Some("d".repeat(20_000))
            }),
            "invalid_data/description has 20000 bytes",
        ),
        (
            members("member", &["m".repeat(3_000)]),
            "invalid_data/userIds has 3000 bytes",
        ),
        (
            members("empty", &[String::new()]),
            "malformed_data/userIds is empty",
        ),
        (
            event(
                "nobiz",
                EventType::UserCreate,
                NOW,
                "",
                user("user_1", "ann").to_json(),
            ),
            "malformed_data/the event has no bizId",
        ),
        (
            Event {
                event_type: "urn:\0".to_owned(),
                ..event("type", EventType::Test, NOW, "", "{}")
            },
            "invalid_data/eventType holds the character U+0000",
        ),
        (
            Event {
                event_id: "evnt_a\0b".to_owned(),
                ..event("", EventType::Test, NOW, "", "{}")
            },
            "invalid_data/eventId holds the character U+0000",
        ),
    ]
}

async fn fails_alone<P: Process>(receiver: &Receiver<P>, good: &str) {
    for (event, expected) in unfit() {
        let number = event.event_id.replace('\0', "");
        let before = update(&format!("{number}_a"), "user_a");
        let after = update(&format!("{number}_z"), "user_z");
        let lines = tell(receiver, &[before, event.clone(), after]).await;
        let id = event.event_id.trim_start_matches("evnt_");
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].ends_with(good) && lines[1].ends_with(good), "{lines:?}");
        assert!(
            lines[2].starts_with(&format!("failed/{id}/{expected}")),
            "{lines:?}"
        );
        assert!(lines[2].len() < 500);
    }
}

fn update(id: &str, subject: &str) -> Event {
    event(
        id,
        EventType::UserUpdateInfo,
        NOW,
        subject,
        user(subject, "ann").to_json(),
    )
}

#[tokio::test]
async fn what_no_database_stores_fails_alone() {
    for database in databases("failalone") {
        let mirror = Mirror::open(&database.url).await.unwrap();
        fails_alone(&receiver(mirror.clone()), "/SUCCESS/").await;
        assert_eq!(mirror.counts().await.unwrap().users, 2);
        mirror.close().await;
        let inbox = Inbox::open(&database.url, Nothing, InboxOptions::default())
            .await
            .unwrap();
        fails_alone(&receiver(inbox), "/SUCCESS/stored").await;
    }
}

/// What this crate does not foresee, the database itself may refuse: here a rule of the operator's.
#[tokio::test]
async fn what_the_database_refuses_fails_alone_and_may_succeed_later() {
    for database in databases("failrefused") {
        let mirror = Mirror::open(&database.url).await.unwrap();
        let run = |sql: &'static str| {
            let db = mirror.db().clone();
            async move {
                db.write(move |tx| tx.execute(sql, rollcall_db::params![]).map(drop))
                    .await
                    .unwrap();
            }
        };
        run("CREATE UNIQUE INDEX one_of_each ON mirror_users (display_name)").await;
        let receiver = receiver(mirror.clone());
        let events = [
            user_event("1", EventType::UserCreate, NOW, "ann"),
            event(
                "2",
                EventType::UserCreate,
                NOW,
                "user_2",
                user("user_2", "ann").to_json(),
            ),
            event(
                "3",
                EventType::UserCreate,
                NOW,
                "user_3",
                user("user_3", "bob").to_json(),
            ),
        ];
        let lines = tell(&receiver, &events).await;
        assert_eq!(
            lines[..2],
            ["success/1/SUCCESS/", "success/3/SUCCESS/"],
            "{lines:?}"
        );
        assert!(lines[2].starts_with("failed/2/refused_by_database/"), "{lines:?}");
        // Of the refused event nothing is left, neither the row nor its units.
        assert_eq!(mirror.counts().await.unwrap().memberships, 2);
        assert!(!mirror.has_received("evnt_2").await.unwrap());
        run("DROP INDEX one_of_each").await;
        assert_eq!(
            tell(&receiver, &events).await,
            ["success/1/SUCCESS/", "success/2/SUCCESS/", "success/3/SUCCESS/"]
        );
        assert_eq!(mirror.counts().await.unwrap().users, 3);
        mirror.close().await;
    }
}

#[tokio::test]
async fn a_mended_record_is_applied_under_the_same_id() {
    for database in databases("failmended") {
        let mirror = Mirror::open(&database.url).await.unwrap();
        let receiver = receiver(mirror.clone());
        let broken = event("1", EventType::UserCreate, NOW, "user_1", "{\"userId\":[]}");
        let lines = tell(&receiver, &[broken]).await;
        assert!(lines[0].starts_with("failed/1/malformed_data/"), "{lines:?}");
        let mended = user_event("1", EventType::UserCreate, NOW, "ann");
        assert_eq!(
            tell(&receiver, std::slice::from_ref(&mended)).await,
            ["success/1/SUCCESS/"]
        );
        assert_eq!(mirror.counts().await.unwrap().users, 1);
        // From now on it is remembered.
        let other = user_event("1", EventType::UserCreate, NOW + 5, "eve");
        assert_eq!(tell(&receiver, &[other]).await, ["success/1/SUCCESS/"]);
        let snapshot = mirror.snapshot().await.unwrap();
        assert_eq!(snapshot.users["user_1"].username.as_deref(), Some("ann"));
        mirror.close().await;
    }
}

struct Nothing;
impl Handler for Nothing {}

/// Refuses until it is told to accept.
#[derive(Clone, Default)]
struct Stubborn {
    accepts: Arc<std::sync::atomic::AtomicBool>,
    calls: Arc<AtomicI64>,
}

impl Handler for Stubborn {
    async fn user_updated(&self, _: &Received<UserPayload>) -> Outcome {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.accepts.load(Ordering::SeqCst) {
            return Outcome::success();
        }
        Outcome::Failed {
            code: "no".to_owned(),
            message: "x".repeat(10_000),
        }
    }
}

#[tokio::test]
async fn what_a_handler_refused_is_handled_again_if_it_is_sent_again() {
    let handler = Stubborn::default();
    let direct = receiver(Direct::new(handler.clone()));
    let lines = tell(&direct, &[update("1", "user_1")]).await;
    assert!(
        lines[0].starts_with("failed/1/no/xxx") && lines[0].len() < 500,
        "{lines:?}"
    );
    handler.accepts.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(
            tell(&direct, &[update("1", "user_1")]).await,
            ["success/1/SUCCESS/"]
        );
    }
    assert_eq!(handler.calls.load(Ordering::SeqCst), 2);

    for database in databases("failinbox") {
        let handler = Stubborn::default();
        let inbox = Inbox::open(&database.url, handler.clone(), InboxOptions::default())
            .await
            .unwrap();
        let receiver = receiver(inbox);
        for accepts in [false, true] {
            handler.accepts.store(accepts, Ordering::SeqCst);
            assert_eq!(
                tell(&receiver, &[update("1", "user_1")]).await,
                ["success/1/SUCCESS/stored"]
            );
            let counts = inbox::drain(receiver.processor()).await;
            assert_eq!(
                (counts.done, counts.failed),
                (u64::from(accepts), u64::from(!accepts))
            );
        }
        // Done is done.
        tell(&receiver, &[update("1", "user_1")]).await;
        inbox::drain(receiver.processor()).await;
        assert_eq!(handler.calls.load(Ordering::SeqCst), 2);
    }
}

/// Panics, then wants another try, then is content.
#[derive(Clone, Default)]
struct Moody(Arc<AtomicI64>);

impl Handler for Moody {
    async fn group_users_added(&self, _: &Received<GroupPayload>) -> Outcome {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("as the test wants it"),
            1 => Outcome::exception("not yet"),
            _ => Outcome::success(),
        }
    }

    async fn group_users_removed(&self, group: &Received<GroupPayload>) -> Outcome {
        self.group_users_added(group).await
    }
}

#[tokio::test]
async fn a_subject_waits_behind_what_is_wanted_again_also_after_a_panic() {
    let receiver = receiver(Direct::new(Moody::default()));
    let group = |id: &str, kind, group: &str| {
        let record = GroupPayload {
            group_id: group.to_owned(),
            user_ids: Some(vec!["u".to_owned()]),
            ..GroupPayload::default()
        };
        event(id, kind, NOW, group, record.to_json())
    };
    let events = [
        group("1", EventType::GroupAddUser, "g"),
        group("2", EventType::GroupRemoveUser, "g"),
        update("3", "user_1"),
    ];
    let waits = "an earlier event of this subject has to be sent again";
    for first in ["the handler panicked", "not yet"] {
        assert_eq!(
            tell(&receiver, &events).await,
            [
                "skipped/3/auto_skipped/".to_owned(),
                format!("retried/1/exception/{first}"),
                format!("retried/2/exception/{waits}"),
            ]
        );
    }
    let lines = tell(&receiver, &events).await;
    assert_eq!(lines[..2], ["success/1/SUCCESS/", "success/2/SUCCESS/"]);
}

/// Says less than it was asked.
struct Taciturn;

impl Process for Taciturn {
    async fn process(&self, _: Vec<Event>, _: i64) -> Result<Vec<Outcome>, rollcall_receiver::ProcessError> {
        Ok(vec![Outcome::success()])
    }
}

#[tokio::test]
async fn an_event_of_which_nothing_is_said_is_wanted_again() {
    assert_eq!(
        tell(&receiver(Taciturn), &[update("1", "a"), update("2", "b")]).await,
        [
            "success/1/SUCCESS/",
            "retried/2/exception/nothing is known of this event"
        ]
    );
}
