//! Over HTTP: what is refused, and how.

use std::sync::Mutex;

use rollcall_receiver::protocol::ErrorAnswer;
use rollcall_receiver::{Builder, Direct, Handler, Outcome, Received, parse_network};

use super::*;

/// Notes who was created, and does what the name says.
#[derive(Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Handler for Notes {
    async fn user_created(&self, user: &Received<UserPayload>) -> Outcome {
        let name = user.record.username.clone().unwrap_or_default();
        let first = {
            let mut seen = self.0.lock().unwrap();
            seen.push(name.clone());
            seen.iter().filter(|seen| **seen == name).count() == 1
        };
        match name.as_str() {
            "grumpy" => Outcome::Failed {
                code: "no".to_owned(),
                message: "not this one".to_owned(),
            },
            "later" if first => Outcome::exception("the table is locked"),
            _ => Outcome::success(),
        }
    }
}

fn builder() -> Builder {
    Receiver::builder(document(), "app_1").clock(still())
}

fn created(id: &str, name: &str) -> Event {
    user_event(id, EventType::UserCreate, NOW, name)
}

fn refused(reply: &Reply) -> (u16, String) {
    let error = ErrorAnswer::parse(reply.body.as_bytes()).unwrap();
    assert!(error.error_description.is_some_and(|text| !text.is_empty()));
    (reply.status, error.error)
}

#[tokio::test]
async fn forgeries_are_refused_with_a_reason() {
    // The process has one TLS provider, which the client wants chosen even for plain HTTP.
    let _ = rollcall_receiver::HttpJwks::new("http://127.0.0.1/");
    let notes = Notes::default();
    let seen = Arc::clone(&notes.0);
    let url = serve(
        builder()
            .instance_id("idaas_1")
            .build(Direct::new(notes))
            .unwrap(),
    )
    .await;
    let good = Envelope::default().seal(&[created("1", "ann")]);
    let altered = {
        let (head, signature) = good.rsplit_once('.').unwrap();
        let (header, claims) = head.rsplit_once('.').unwrap();
        let other = Envelope::default().seal(&[created("1", "eve")]);
        let other = other.split('.').nth(1).unwrap();
        assert_ne!(claims, other);
        format!("{header}.{other}.{signature}")
    };
    let unsigned = format!("{}.\"}}", good.rsplit_once('.').unwrap().0);
    let envelope = |alter: fn(&mut Envelope)| {
        let mut envelope = Envelope::default();
        alter(&mut envelope);
        envelope.seal(&[created("1", "ann")])
    };
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "bad_request"),
        ("{}".to_owned(), "bad_request"),
        (r#"{"event":"x"}"#.to_owned(), "not_a_jwt"),
        (altered, "bad_signature"),
        (unsigned, "bad_signature"),
        (envelope(|it| it.kid = "KEY2"), "unknown_key"),
        (envelope(|it| it.application = "app_2"), "wrong_audience"),
        (envelope(|it| it.instance = "idaas_2"), "wrong_instance"),
        (envelope(|it| it.now -= 3_600_000), "expired"),
        (envelope(|it| it.now += 3_600_000), "not_yet_valid"),
        (
            envelope(|it| it.encryption = Some(EncryptionKey::from_hex(KEY).unwrap())),
            "no_decryption_key",
        ),
    ];
    for (body, code) in cases {
        assert_eq!(refused(&post(&url, body).await), (400, code.to_owned()));
    }
    assert!(seen.lock().unwrap().is_empty());
    let reply = post(&url, good).await;
    assert_eq!(told(&answer(&reply)), ["success/1/SUCCESS/"]);
}

#[tokio::test]
async fn encryption_can_be_required() {
    let _ = rollcall_receiver::HttpJwks::new("http://127.0.0.1/");
    let key = || EncryptionKey::from_hex(KEY).unwrap();
    let build = || builder().encryption_key(key());
    let url = serve(build().build(Direct::new(Notes::default())).unwrap()).await;
    let plain = Envelope::default().seal(&[created("1", "ann")]);
    assert_eq!(
        refused(&post(&url, plain.clone()).await),
        (400, "not_encrypted".to_owned())
    );
    let sealed = Envelope {
        encryption: Some(key()),
        ..Envelope::default()
    };
    assert_eq!(post(&url, sealed.seal(&[created("1", "ann")])).await.status, 200);
    let other = Envelope {
        encryption: Some(EncryptionKey::generate(&SystemRandom)),
        ..Envelope::default()
    };
    assert_eq!(
        refused(&post(&url, other.seal(&[created("1", "ann")])).await),
        (400, "undecryptable".to_owned())
    );
    let url = serve(
        build()
            .require_encryption(false)
            .build(Direct::new(Notes::default()))
            .unwrap(),
    )
    .await;
    assert_eq!(post(&url, plain).await.status, 200);
    assert!(
        builder()
            .require_encryption(true)
            .build(Direct::new(Notes::default()))
            .is_err()
    );
}

#[tokio::test]
async fn only_listed_addresses_may_send_and_only_so_much() {
    let _ = rollcall_receiver::HttpJwks::new("http://127.0.0.1/");
    let body = Envelope::default().seal(&[created("1", "ann")]);
    let allowing = |networks: &[&str]| {
        let networks: Vec<_> = networks.iter().map(|text| parse_network(text).unwrap()).collect();
        builder()
            .allow(networks)
            .limit_bytes(10_000)
            .build(Direct::new(Notes::default()))
            .unwrap()
    };
    let url = serve(allowing(&["10.0.0.0/8", "::1"])).await;
    assert_eq!(
        refused(&post(&url, body.clone()).await),
        (403, "forbidden".to_owned())
    );
    let url = serve(allowing(&["10.0.0.0/8", "127.0.0.0/8"])).await;
    assert_eq!(post(&url, body.clone()).await.status, 200);
    assert_eq!(
        refused(&post(&url, vec![b' '; 10_001]).await),
        (413, "too_large".to_owned())
    );
    assert_eq!(
        refused(&post(&url, vec![b' '; 100_000]).await),
        (413, "too_large".to_owned())
    );

    let receiver = allowing(&["10.0.0.0/8"]);
    assert_eq!(receiver.receive(None, body.as_bytes()).await.status, 403);
    for address in ["10.1.2.3", "::ffff:10.1.2.3"] {
        let reply = receiver
            .receive(Some(address.parse().unwrap()), body.as_bytes())
            .await;
        assert_eq!(reply.status, 200, "{address}");
    }
}

#[tokio::test]
async fn a_handler_answers_for_each_event_until_it_is_done() {
    let _ = rollcall_receiver::HttpJwks::new("http://127.0.0.1/");
    let notes = Notes::default();
    let seen = Arc::clone(&notes.0);
    let url = serve(builder().build(Direct::new(notes)).unwrap()).await;
    let mut unknown = created("5", "x");
    unknown.event_type = "urn:alibaba:idaas:app:event:ud:robot:create".to_owned();
    unknown.biz_id = "robot_5".to_owned();
    let events = [
        created("1", "ann"),
        created("2", "grumpy"),
        created("3", "later"),
        event("4", EventType::UserCreate, NOW, "user_4", "{}"),
        unknown,
        event("6", EventType::Test, NOW, "", "{}"),
        event("7", EventType::GroupDelete, NOW, "g", r#"{"groupId":"g"}"#),
    ];
    let body = Envelope::default().seal(&events);
    let first = told(&answer(&post(&url, body.clone()).await));
    let rest = [
        "success/6/SUCCESS/",
        "skipped/5/auto_skipped/",
        "skipped/7/auto_skipped/",
        "failed/2/no/not this one",
        "failed/4/malformed_data/the record has no userId",
    ];
    let expected = |third: &str| {
        let mut lines: Vec<&str> = vec!["success/1/SUCCESS/"];
        lines.extend(rest);
        lines.push(third);
        lines.sort_unstable();
        lines.join("\n")
    };
    let sorted = |mut lines: Vec<String>| {
        lines.sort_unstable();
        lines.join("\n")
    };
    assert_eq!(sorted(first), expected("retried/3/exception/the table is locked"));
    // The same again, in the same envelope and in another: what failed or was wanted again is
    // handled once more, and what is done is not.
    for body in [body, Envelope::default().seal(&events)] {
        let again = told(&answer(&post(&url, body).await));
        assert_eq!(sorted(again), expected("success/3/SUCCESS/"));
    }
    assert_eq!(
        *seen.lock().unwrap(),
        ["ann", "grumpy", "later", "grumpy", "later", "grumpy"]
    );
}
