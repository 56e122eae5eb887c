//! Types and fields that nobody knows: tomorrow's senders have them.

use rollcall_protocol::{AnswerList, Event, EventType as T};
use serde_json::{Value, json};

use super::{ANSWER, RELIED};
use crate::check::case::{Case, words};
use crate::check::course::Course;

fn strange(course: &mut Course, kind: &str) -> Event {
    let id = course.samples.id("thing");
    let mut event = course.event(T::Test, &id, json!({ "thingId": id }).to_string());
    event.event_type = kind.to_owned();
    event
}

const ADVICE: &str = "Answer every type that has no handler with skippedEvents and the code auto_skipped; never with an \
                      error status, failedEvents or retriedEvents, which hold up or set aside what follows.";

const FIELDS: &str = "Have the JSON library ignore members that it does not know (in Jackson: \
                      FAIL_ON_UNKNOWN_PROPERTIES off; in Go: no DisallowUnknownFields; in pydantic: extra=ignore).";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::must(
            "unknown-type",
            words(
                "An event of an unknown type is no error.",
                ANSWER,
                "HTTP 200, with the event in skippedEvents (or successEvents).",
                ADVICE,
            ),
            |course| {
                Box::pin(async move {
                    let event = strange(course, "urn:alibaba:idaas:app:event:ud:thing:invented");
                    course.deliver(&[event]).await.map(drop)
                })
            },
        ),
        Case::must(
            "unknown-namespace",
            words(
                "An event whose type has another namespace is no error.",
                ANSWER,
                "HTTP 200, with the event in skippedEvents (or successEvents).",
                ADVICE,
            ),
            |course| {
                Box::pin(async move {
                    let event = strange(course, "urn:example:app:event:invented");
                    course.deliver(&[event]).await.map(drop)
                })
            },
        ),
        Case::should(
            "unknown-type-skipped",
            words(
                "An event of an unknown type is answered as skipped.",
                ANSWER,
                "The event stands in skippedEvents.",
                "Answer it with skippedEvents and the code auto_skipped: then administrators see that it was passed over, \
                 and of which type it was.",
            ),
            |course| {
                Box::pin(async move {
                    let event = strange(course, "urn:alibaba:idaas:app:event:ud:thing:invented");
                    course.send(&[event]).await?.only(&[AnswerList::Skipped])
                })
            },
        ),
        Case::must(
            "unknown-type-among-known",
            words(
                "An event of an unknown type does not concern the others of its request.",
                ANSWER,
                "HTTP 200, with each of three events in successEvents or skippedEvents.",
                ADVICE,
            ),
            |course| {
                Box::pin(async move {
                    let users = [course.user(), course.user()];
                    let events = [
                        course.user_event(T::UserCreate, &users[0]),
                        strange(course, "urn:alibaba:idaas:app:event:ud:thing:invented"),
                        course.user_event(T::UserCreate, &users[1]),
                    ];
                    course.deliver(&events).await.map(drop)
                })
            },
        ),
        Case::must(
            "unknown-fields-of-record",
            words(
                "Fields of a record that are not known are ignored.",
                RELIED,
                "HTTP 200, with the event in successEvents or skippedEvents.",
                FIELDS,
            ),
            |course| {
                Box::pin(async move {
                    let user = course.user();
                    let mut event = course.user_event(T::UserCreate, &user);
                    event.biz_data = with_more(&event.biz_data);
                    course.deliver(&[event]).await.map(drop)
                })
            },
        ),
        Case::must(
            "unknown-fields-of-event",
            words(
                "Members of an event and of the payload that are not known are ignored.",
                RELIED,
                "HTTP 200, with the event in successEvents or skippedEvents.",
                FIELDS,
            ),
            |course| {
                Box::pin(async move {
                    let user = course.user();
                    let event = course.user_event(T::UserCreate, &user);
                    let data = json!([{
                        "eventId": event.event_id, "eventType": event.event_type,
                        "eventTime": event.event_time.to_string(), "bizId": event.biz_id,
                        "bizData": event.biz_data, "traceId": "t-1", "attempt": 1, "labels": { "a": ["b"] },
                    }]);
                    let batch = course.sender.batch(&[]);
                    let payload = json!({
                        "instanceId": batch.instance_id, "eventVersion": batch.event_version,
                        "aliUid": batch.ali_uid, "eventData": data.to_string(), "region": "here", "retries": 0,
                    });
                    course.deliver_payload(&payload.to_string(), &[event]).await
                })
            },
        ),
        Case::must(
            "unknown-claims",
            words(
                "Claims and members of the JWT's header that are not known are ignored.",
                "RFC 7519, section 4; RFC 7515, section 4",
                "HTTP 200, with the event in successEvents or skippedEvents.",
                FIELDS,
            ),
            |course| {
                Box::pin(async move {
                    let user = course.user();
                    let event = course.user_event(T::UserCreate, &user);
                    let mut envelope = course.envelope(std::slice::from_ref(&event))?;
                    envelope.more_header = ",\"cty\":\"json\",\"x-trace\":\"t-1\"".to_owned();
                    envelope.more_claims = ",\"region\":\"here\",\"labels\":{\"a\":[1]}".to_owned();
                    let jwt = envelope.signed(&course.sender.signing)?;
                    let body = crate::sender::body(&jwt);
                    course.send_sealed(body, &[event]).await?.taken()
                })
            },
        ),
    ]
}

/// A record with fields that nobody knows.
fn with_more(record: &str) -> String {
    let mut record: Value = serde_json::from_str(record).unwrap_or_default();
    record["nickname"] = json!("Ada");
    record["shoeSize"] = json!(39.5);
    record["badges"] = json!([{ "since": 2027, "colour": null }]);
    record.to_string()
}
