//! The inbox, on both databases.

use std::sync::Mutex;
use std::time::Duration;

use rollcall_db::testing::databases;
use rollcall_receiver::protocol::GroupPayload;
use rollcall_receiver::{Handler, Inbox, InboxCounts, InboxOptions, Mirror, Outcome, Received};

use super::*;

/// Notes what it is given; fails as long as a name says so.
#[derive(Clone, Default)]
struct Notes {
    seen: Arc<Mutex<Vec<String>>>,
    broken: Arc<Mutex<Option<&'static str>>>,
}

impl Notes {
    fn note(&self, what: String) -> Outcome {
        let broken = *self.broken.lock().unwrap();
        if let Some(broken) = broken.filter(|broken| what.contains(broken)) {
            assert_ne!(broken, "panics", "as the test wants it");
            return Outcome::exception("broken");
        }
        self.seen.lock().unwrap().push(what);
        Outcome::success()
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Handler for Notes {
    async fn user_created(&self, user: &Received<UserPayload>) -> Outcome {
        self.note(format!(
            "{} {}",
            user.record.user_id,
            user.record.username.as_deref().unwrap_or("?")
        ))
    }

    async fn user_updated(&self, user: &Received<UserPayload>) -> Outcome {
        self.user_created(user).await
    }

    async fn group_users_added(&self, group: &Received<GroupPayload>) -> Outcome {
        self.note(format!(
            "+{}",
            group.record.user_ids.clone().unwrap_or_default().join("+")
        ))
    }

    async fn group_users_removed(&self, group: &Received<GroupPayload>) -> Outcome {
        self.note(format!(
            "-{}",
            group.record.user_ids.clone().unwrap_or_default().join("-")
        ))
    }
}

fn quick() -> InboxOptions {
    InboxOptions {
        tries: 3,
        first_pause: Duration::from_millis(10),
        ..InboxOptions::default()
    }
}

async fn open(url: &str, notes: &Notes) -> Inbox {
    Inbox::open(url, notes.clone(), quick()).await.unwrap()
}

/// Waits until nothing is pending.
pub(crate) async fn drain(inbox: &Inbox) -> InboxCounts {
    for _ in 0..500 {
        let counts = inbox.counts().await.unwrap();
        if counts.pending == 0 {
            return counts;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the inbox does not come to an end: {:?}", inbox.counts().await);
}

fn update(id: &str, subject: &str, time: i64, name: &str) -> Event {
    event(
        id,
        EventType::UserUpdateInfo,
        time,
        subject,
        user(subject, name).to_json(),
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

#[tokio::test]
async fn events_are_stored_acknowledged_and_handled_in_order() {
    for database in databases("inboxorder") {
        let notes = Notes::default();
        let inbox = open(&database.url, &notes).await;
        let receiver = Receiver::builder(document(), "app_1")
            .clock(still())
            .build(inbox)
            .unwrap();
        let events = [
            update("1", "user_1", 10, "a"),
            update("2", "user_1", 11, "b"),
            update("3", "user_1", 9, "older"),
            event("4", EventType::UserUpdateInfo, 12, "user_2", "{}"),
            update("5", "user_2", 1, "c"),
        ];
        let body = Envelope::default().seal(&events);
        let first = receiver.receive(None, body.as_bytes()).await;
        assert_eq!(
            told(&answer(&first)),
            [
                "success/1/SUCCESS/stored",
                "success/2/SUCCESS/stored",
                "success/3/SUCCESS/stored",
                "success/5/SUCCESS/stored",
                "failed/4/malformed_data/the record has no userId",
            ]
        );
        drain(receiver.processor()).await;
        assert_eq!(receiver.receive(None, body.as_bytes()).await, first);
        let counts = drain(receiver.processor()).await;
        assert_eq!((counts.done, counts.failed), (4, 0));
        let of_user_1: Vec<_> = notes
            .seen()
            .into_iter()
            .filter(|it| it.starts_with("user_1"))
            .collect();
        assert_eq!(of_user_1, ["user_1 a", "user_1 b"]);
        assert_eq!(notes.seen().len(), 3);
    }
}

#[tokio::test]
async fn a_crash_between_storing_and_handling_loses_and_doubles_nothing() {
    for database in databases("inboxcrash") {
        let notes = Notes::default();
        *notes.broken.lock().unwrap() = Some("user");
        let inbox = open(&database.url, &notes).await;
        let events: Vec<Event> = (0..20)
            .map(|n| update(&n.to_string(), &format!("user_{n}"), 10, "a"))
            .collect();
        inbox.process(events.clone(), NOW).await.unwrap();
        drop(inbox);
        assert_eq!(notes.seen(), Vec::<String>::new());

        *notes.broken.lock().unwrap() = None;
        let inbox = open(&database.url, &notes).await;
        inbox.retry_failed().await.unwrap();
        assert_eq!(drain(&inbox).await.done, 20);
        // Nor does it after another restart, or if the hub repeats itself.
        inbox.close().await;
        let inbox = open(&database.url, &notes).await;
        inbox.process(events, NOW).await.unwrap();
        assert_eq!(drain(&inbox).await.done, 20);
        inbox.close().await;
        let mut seen = notes.seen();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!((seen.len(), notes.seen().len()), (20, 20));
    }
}

#[tokio::test]
async fn a_subject_waits_for_its_failing_event_and_others_do_not() {
    for database in databases("inboxwait") {
        for broken in ["bad", "panics"] {
            let notes = Notes::default();
            *notes.broken.lock().unwrap() = Some(broken);
            let inbox = open(&database.url, &notes).await;
            let id = |n: u8| format!("{broken}{n}");
            let user_1 = format!("user_1{broken}");
            let events = vec![
                update(&id(1), &user_1, 10, broken),
                update(&id(2), &user_1, 11, "good"),
                update(&id(3), &format!("user_2{broken}x"), 10, "other"),
            ];
            // The second subject's name must not look broken too.
            let events: Vec<Event> = events
                .into_iter()
                .map(|mut event| {
                    event.biz_id = event.biz_id.replace(broken, "");
                    event.biz_data = event
                        .biz_data
                        .replace(&user_1, "user_1")
                        .replace(&format!("user_2{broken}x"), "user_2");
                    event.event_time += if broken == "panics" { 100 } else { 0 };
                    event
                })
                .collect();
            inbox.process(events, NOW).await.unwrap();
            drain(&inbox).await;
            assert_eq!(notes.seen(), ["user_2 other", "user_1 good"]);
            let failed = inbox.failed().await.unwrap();
            assert_eq!(failed.len(), 1, "{failed:?}");
            assert_eq!((failed[0].biz_id.as_str(), failed[0].attempts), ("user_1", 3));
            // Dismissed, it is gone.
            assert!(inbox.dismiss(&failed[0].event_id).await.unwrap());
            assert!(!inbox.dismiss(&failed[0].event_id).await.unwrap());
            assert_eq!(drain(&inbox).await.failed, 0);
            inbox.close().await;
        }
    }
}

#[tokio::test]
async fn members_are_told_apart() {
    for database in databases("inboxmembers") {
        let notes = Notes::default();
        let inbox = open(&database.url, &notes).await;
        let gone = event("6", EventType::UserDelete, 40, "c", r#"{"userId":"c"}"#);
        let record = GroupPayload {
            group_id: "g".to_owned(),
            name: Some("G".to_owned()),
            ..GroupPayload::default()
        };
        for event in [
            event("0", EventType::GroupUpdate, 100, "g", record.to_json()),
            members("1", EventType::GroupAddUser, 10, &["a", "b"]),
            members("2", EventType::GroupRemoveUser, 20, &["a"]),
            members("3", EventType::GroupAddUser, 15, &["a", "c"]),
            members("4", EventType::GroupAddUser, 16, &["a"]),
            gone,
            members("7", EventType::GroupAddUser, 30, &["c", "d"]),
        ] {
            inbox.process(vec![event], NOW).await.unwrap();
            drain(&inbox).await;
        }
        assert_eq!(notes.seen(), ["+a+b", "-a", "+c", "+d"]);
        // Of the time of a deletion, only who has come back joins.
        let subject = |id: &str, kind, user: &str| {
            let data = format!(r#"{{"userId":"{user}","username":"{user}"}}"#);
            event(id, kind, 50, user, data)
        };
        for event in [
            subject("8", EventType::UserDelete, "d"),
            subject("9", EventType::UserDelete, "e"),
            subject("10", EventType::UserCreate, "e"),
            members("11", EventType::GroupAddUser, 50, &["d", "e"]),
        ] {
            inbox.process(vec![event], NOW).await.unwrap();
            drain(&inbox).await;
        }
        assert_eq!(notes.seen().last().unwrap(), "+e");
        inbox.close().await;
    }
}

#[tokio::test]
async fn an_inbox_and_a_mirror_share_a_database() {
    for database in databases("inboxshared") {
        let notes = Notes::default();
        let inbox = open(&database.url, &notes).await;
        let mirror = Mirror::open(&database.url).await.unwrap();
        let events = vec![update("1", "user_1", 10, "a")];
        inbox.process(events.clone(), NOW).await.unwrap();
        mirror.process(events, NOW).await.unwrap();
        drain(&inbox).await;
        assert_eq!(notes.seen(), ["user_1 a"]);
        assert_eq!(mirror.counts().await.unwrap().users, 1);
        inbox.close().await;
        mirror.close().await;
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_holds_no_event_back() {
    for database in databases("inboxclock") {
        let notes = Notes::default();
        *notes.broken.lock().unwrap() = Some("bad");
        let (now, clock) = clock();
        let options = InboxOptions {
            longest_pause: Duration::from_millis(10),
            clock,
            ..quick()
        };
        let inbox = Inbox::open(&database.url, notes.clone(), options).await.unwrap();
        inbox
            .process(vec![update("1", "user_1", 10, "bad")], NOW)
            .await
            .unwrap();
        let waits = || async {
            inbox.process(Vec::new(), NOW).await.unwrap();
            let rows = Mirror::open(&database.url).await.unwrap();
            let sql = "SELECT attempts FROM inbox_events WHERE attempts > 0";
            let tried = rows
                .db()
                .read(move |tx| {
                    Ok::<_, rollcall_db::DbError>(!tx.query(sql, rollcall_db::params![])?.is_empty())
                })
                .await
                .unwrap();
            rows.close().await;
            tried
        };
        // It is tried once, and waits: the clock stands still.
        while !waits().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        *notes.broken.lock().unwrap() = None;
        assert_eq!(inbox.counts().await.unwrap().pending, 1);
        now.fetch_sub(86_400_000, Ordering::SeqCst);
        assert_eq!(drain(&inbox).await.done, 1);
        inbox.close().await;
    }
}
