//! The bad receivers that it plays.

use std::time::{Duration, Instant};

use rollcall_protocol::EventType;
use serde_json::Value;

use super::{ADA, Sender, body, event};

/// The list of an answer in which an event stands.
fn list_of(answer: &Value, event_id: &str) -> String {
    let lists = answer.as_object().unwrap();
    let found = lists.iter().find(|(_, events)| {
        let mut events = events.as_array().unwrap().iter();
        events.any(|event| event["eventId"] == event_id)
    });
    found
        .unwrap_or_else(|| panic!("{event_id} is not in {answer}"))
        .0
        .clone()
}

#[test]
fn events_are_answered_in_the_list_that_was_asked_for() {
    let sender = Sender::new();
    for (how, list) in [
        ("success", "successEvents"),
        ("skip", "skippedEvents"),
        ("retry", "retriedEvents"),
        ("fail", "failedEvents"),
    ] {
        let mut listening = sender.listen(&["--answer", how, "--answer-for", "ud:user:create"]);
        let events = vec![
            event("evnt_1", EventType::UserCreate, ADA),
            event("evnt_2", EventType::UserDelete, ADA),
        ];
        let answer = body(&listening.post(&sender.seal(events)));
        assert_eq!(list_of(&answer, "evnt_1"), list, "{how}");
        assert_eq!(list_of(&answer, "evnt_2"), "successEvents", "{how}");
        listening.until("ud:user:delete");
        assert_eq!(listening.stop("-TERM").0, 0);
    }
}

#[test]
fn a_behaviour_ends_after_so_many_times() {
    let sender = Sender::new();
    let listening = sender.listen(&["--answer", "retry", "--answer-times", "2"]);
    let lists: Vec<String> = (0..3)
        .map(|_| list_of(&body(&listening.post(&sender.one("evnt_1"))), "evnt_1"))
        .collect();
    assert_eq!(lists, ["retriedEvents", "retriedEvents", "successEvents"]);

    let listening = sender.listen(&["--answer", "500", "--answer-times", "1"]);
    let refused = listening.post(&sender.one("evnt_1"));
    assert!(refused.starts_with("HTTP/1.1 500"), "{refused}");
    assert_eq!(body(&refused)["error"], "internal_error");
    assert!(listening.post(&sender.one("evnt_1")).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_slow_receiver_answers_late_and_one_that_drops_answers_nothing() {
    let sender = Sender::new();
    let mut listening = sender.listen(&["--answer", "slow", "--answer-after", "1.5", "--once"]);
    let begun = Instant::now();
    let answer = listening.post(&sender.one("evnt_1"));
    assert!(begun.elapsed() >= Duration::from_millis(1_500));
    assert_eq!(list_of(&body(&answer), "evnt_1"), "successEvents");
    let line = listening.until("→ answered");
    assert!(line.contains("1.5 s later"), "{line}");
    assert_eq!(listening.end().0, 0);

    let mut listening = sender.listen(&["--answer", "drop", "--answer-for", "common:test"]);
    let test = sender.seal(vec![event("evnt_1", EventType::Test, "{}")]);
    assert_eq!(listening.post(&test), "");
    listening.until("the connection is closed without an answer");
    assert!(listening.post(&sender.one("evnt_2")).starts_with("HTTP/1.1 200"));
    let (_, printed, _) = listening.stop("-TERM");
    assert!(printed.contains("answered: 1 success, 1 unanswered"), "{printed}");
}

#[test]
fn what_is_not_known_or_cannot_be_read_is_answered_as_receivers_do() {
    let sender = Sender::new();
    let listening = sender.listen(&[]);
    let mut unknown = event("evnt_1", EventType::UserCreate, "{}");
    unknown.event_type = "urn:alibaba:idaas:app:event:ud:robot:create".to_owned();
    let broken = event("evnt_2", EventType::UserCreate, "{}");
    let answer = body(&listening.post(&sender.seal(vec![unknown, broken])));
    assert_eq!(list_of(&answer, "evnt_1"), "skippedEvents");
    assert_eq!(list_of(&answer, "evnt_2"), "failedEvents");
}
