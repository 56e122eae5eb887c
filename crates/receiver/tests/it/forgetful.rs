//! The receiver without memory, by which hubs are tested.

use rollcall_receiver::Outcome;
use rollcall_receiver::protocol::GroupPayload;
use rollcall_receiver::testing::{self, Act, Forgetful, RawAnswer};

use super::*;

fn receiver(forgetful: &Forgetful) -> Receiver<Forgetful> {
    Receiver::builder(document(), "app_1")
        .clock(still())
        .build(forgetful.clone())
        .unwrap()
}

async fn tell(forgetful: &Forgetful, events: &[Event]) -> Vec<String> {
    let body = Envelope::default().seal(events);
    told(&answer(&receiver(forgetful).receive(None, body.as_bytes()).await))
}

fn members(id: &str, kind: EventType, users: &[&str]) -> Event {
    let record = GroupPayload {
        group_id: "g".to_owned(),
        name: Some("G".to_owned()),
        user_ids: Some(users.iter().map(|&user| user.to_owned()).collect()),
        ..GroupPayload::default()
    };
    event(id, kind, NOW, "g", record.to_json())
}

#[tokio::test]
async fn the_last_writer_wins_however_old_it_is_and_however_often_it_comes() {
    let forgetful = Forgetful::new();
    let newer = user_event("2", EventType::UserUpdateInfo, 20, "newer");
    let older = user_event("1", EventType::UserCreate, 10, "older");
    let name = || forgetful.snapshot().users["user_1"].username.clone().unwrap();
    tell(&forgetful, &[newer.clone(), older.clone()]).await;
    assert_eq!(name(), "older");
    tell(&forgetful, &[newer]).await;
    assert_eq!(name(), "newer");
    let changes = [
        members("3", EventType::GroupCreate, &[]),
        members("4", EventType::GroupAddUser, &["user_1", "user_2"]),
        members("5", EventType::GroupRemoveUser, &["user_2"]),
        event("6", EventType::UnitAddUser, NOW, "ou_1", "{}"),
        event("7", EventType::UserCreate, NOW, "user_9", "no record"),
    ];
    let lines = tell(&forgetful, &changes).await;
    assert!(lines.contains(&"skipped/6/auto_skipped/".to_owned()), "{lines:?}");
    assert!(
        lines.iter().any(|it| it.starts_with("failed/7/malformed_data/")),
        "{lines:?}"
    );
    assert_eq!(
        Vec::from_iter(&forgetful.snapshot().groups["g"].members),
        ["user_1"]
    );
    let arrivals: Vec<_> = forgetful
        .arrivals()
        .into_iter()
        .map(|it| (it.request, it.event_id, it.event_time, it.applied))
        .collect();
    assert_eq!(arrivals[1], (1, "evnt_1".to_owned(), 10, true));
    assert_eq!(arrivals[2], (2, "evnt_2".to_owned(), 20, true));
    assert_eq!(arrivals[6], (3, "evnt_6".to_owned(), NOW, false));
    tell(
        &forgetful,
        &[event(
            "8",
            EventType::UserDelete,
            5,
            "user_1",
            r#"{"userId":"user_1"}"#,
        )],
    )
    .await;
    assert_eq!(forgetful.snapshot().counts().users, 0);
    assert_eq!(forgetful.snapshot().counts().group_members, 0);
}

#[tokio::test]
async fn it_answers_as_the_script_says() {
    let scripted = Forgetful::scripted(|event, times| match (event.event_id.as_str(), times) {
        ("evnt_1", 1) => Act::Answer(Outcome::exception("not yet")),
        ("evnt_2", _) => Act::ApplyAndAnswer(Outcome::exception("too late")),
        _ => Act::Apply,
    });
    let events = [
        user_event("1", EventType::UserCreate, 1, "first"),
        event(
            "2",
            EventType::UserCreate,
            1,
            "user_2",
            user("user_2", "two").to_json(),
        ),
    ];
    assert_eq!(
        tell(&scripted, &events).await,
        ["retried/1/exception/not yet", "retried/2/exception/too late"]
    );
    assert_eq!(scripted.snapshot().users.keys().collect::<Vec<_>>(), ["user_2"]);
    assert_eq!(tell(&scripted, &events[..1]).await, ["success/1/SUCCESS/"]);
    let skipping = Forgetful::skipping([EventType::UserCreate]);
    assert_eq!(tell(&skipping, &events[..1]).await, ["skipped/1/auto_skipped/"]);

    let raw = RawAnswer {
        status: 200,
        headers: vec![("content-type".to_owned(), "text/html".to_owned())],
        body: b"\xff<html>".to_vec(),
    };
    let whole = raw.clone();
    let forgetful = Forgetful::answering(
        |_, _| Act::Apply,
        move |events, request| (request == 1 && events.len() == 2).then(|| whole.clone()),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    let app = testing::router(Arc::new(receiver(&forgetful)), "/events");
    tokio::spawn(async move { axum::serve(listener, app).await });
    let _ = rollcall_receiver::HttpJwks::new("http://127.0.0.1/");
    let body = Envelope::default().seal(&events);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.post(&url).body(body.clone()).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/html");
    assert_eq!(response.bytes().await.unwrap(), raw.body);
    assert_eq!(told(&answer(&post(&url, body).await)).len(), 2);
    assert_eq!(forgetful.requests(), 2);
}
