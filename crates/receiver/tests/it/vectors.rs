//! The vector of docs/vectors, held by the receiver: it verifies, decrypts, hands over and answers as the files say.

use std::path::Path;
use std::sync::{Arc, Mutex};

use rollcall_receiver::protocol::{EncryptionKey, Event, EventBatch, SubjectKind};
use rollcall_receiver::{Builder, KeySource, Outcome, Process, ProcessError, Receiver, Reply};
use serde_json::Value;

fn read(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/vectors");
    std::fs::read_to_string(folder.join(file)).unwrap()
}

/// Remembers the events, and answers them by their kind.
#[derive(Clone)]
struct Recorder {
    events: Arc<Mutex<Vec<Event>>>,
    answer: fn(Option<SubjectKind>) -> Outcome,
}

impl Process for Recorder {
    async fn process(&self, events: Vec<Event>, _now: i64) -> Result<Vec<Outcome>, ProcessError> {
        let kind = |event: &Event| event.kind().and_then(|kind| kind.subject_kind());
        let outcomes = events.iter().map(|event| (self.answer)(kind(event))).collect();
        self.events.lock().unwrap().extend(events);
        Ok(outcomes)
    }
}

fn parameters() -> Value {
    serde_json::from_str(&read("parameters.json")).unwrap()
}

fn builder(after: i64) -> Builder {
    let parameters = parameters();
    let text = |name: &str| parameters[name].as_str().unwrap().to_owned();
    let now = parameters["now"].as_i64().unwrap() + after;
    Receiver::builder(KeySource::Document(read("jwks.json")), text("applicationId"))
        .instance_id(text("instanceId"))
        .clock(Arc::new(move || now))
}

fn encryption_key() -> EncryptionKey {
    EncryptionKey::from_hex(parameters()["encryptionKey"].as_str().unwrap()).unwrap()
}

async fn receive(
    builder: Builder,
    file: &str,
    answer: fn(Option<SubjectKind>) -> Outcome,
) -> (Reply, Vec<Event>) {
    let recorder = Recorder {
        events: Arc::default(),
        answer,
    };
    let receiver = builder.build(recorder.clone()).unwrap();
    let reply = receiver.receive(None, read(file).as_bytes()).await;
    let events = recorder.events.lock().unwrap().clone();
    (reply, events)
}

fn all_is_well(_: Option<SubjectKind>) -> Outcome {
    Outcome::success()
}

fn in_part(kind: Option<SubjectKind>) -> Outcome {
    match kind {
        Some(SubjectKind::Group) => Outcome::Skipped(String::new()),
        Some(SubjectKind::User) => Outcome::Retry {
            code: "exception".to_owned(),
            message: "the database is away".to_owned(),
        },
        _ => Outcome::success(),
    }
}

#[tokio::test]
async fn the_requests_are_opened_and_answered_as_the_files_say() {
    let payload: EventBatch = EventBatch::from_json(&read("payload.json")).unwrap();
    for (file, builder) in [
        ("request.json", builder(0)),
        (
            "request-encrypted.json",
            builder(0).encryption_key(encryption_key()),
        ),
    ] {
        let (reply, events) = receive(builder.clone(), file, all_is_well).await;
        assert_eq!((reply.status, reply.body), (200, read("answer.json")), "{file}");
        assert_eq!(events, payload.events, "{file}");
        let (reply, _) = receive(builder, file, in_part).await;
        assert_eq!(
            (reply.status, reply.body),
            (200, read("answer-in-part.json")),
            "{file}"
        );
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let late = builder(1_900_000);
    let unencrypted = builder(0).encryption_key(encryption_key());
    let other_key = EncryptionKey::from_hex(&"ff".repeat(32)).unwrap();
    for (what, builder, file, code) in [
        ("it has expired", late, "request.json", "expired"),
        (
            "encryption is required",
            unencrypted,
            "request.json",
            "not_encrypted",
        ),
        (
            "there is no key",
            builder(0),
            "request-encrypted.json",
            "no_decryption_key",
        ),
        (
            "it is another key",
            builder(0).encryption_key(other_key),
            "request-encrypted.json",
            "undecryptable",
        ),
    ] {
        let (reply, events) = receive(builder, file, all_is_well).await;
        let answer: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!((reply.status, events.len()), (400, 0), "{what}");
        assert_eq!(answer["error"], code, "{what}");
        // In the form of the sample.
        let sample: Value = serde_json::from_str(&read("answer-refused.json")).unwrap();
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&answer), names(&sample));
    }
}
