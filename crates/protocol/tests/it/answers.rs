//! Answers as they are written by many hands.

use proptest::prelude::*;
use rollcall_protocol::{Answer, AnswerList, ErrorAnswer, EventResult, Foreign, Reading, read_answer};

fn read(body: &str) -> Reading {
    read_answer(body.as_bytes(), true)
}

fn understood(body: &str) -> Answer {
    match read(body) {
        Reading::Understood(answer) => answer,
        other => panic!("{body}: {other:?}"),
    }
}

fn unreadable(body: impl AsRef<[u8]>) -> String {
    match read_answer(body.as_ref(), true) {
        Reading::Unreadable(why) => why,
        other => panic!("{}: {other:?}", String::from_utf8_lossy(body.as_ref())),
    }
}

fn item(id: &str, code: &str, message: &str) -> EventResult {
    EventResult {
        event_id: id.into(),
        event_code: code.into(),
        event_message: message.into(),
    }
}

#[test]
fn as_the_contract_has_it() {
    let answer = Answer {
        success: vec![item("e", "SUCCESS", "")],
        ..Answer::default()
    };
    insta::assert_snapshot!(serde_json::to_string(&answer).unwrap(), @r#"{"successEvents":[{"eventId":"e","eventCode":"SUCCESS","eventMessage":""}],"skippedEvents":[],"failedEvents":[],"retriedEvents":[]}"#);
    assert_eq!(understood(&serde_json::to_string(&answer).unwrap()), answer);
}

#[test]
fn nulls_numbers_and_unknown_members() {
    let answer = understood(
        r#"{"code":200,"successEvents":null,"retriedEvents":[{"eventId":"e","eventCode":500,"eventMessage":null,"trace":{"a":[1]}}],
            "failedEvents":[{"eventId":"f","eventCode":null,"eventMessage":{"why":"x"}}],"skippedEvents":[{"eventId":"g"}]}"#,
    );
    assert_eq!(answer.success, []);
    assert_eq!(answer.retried, [item("e", "500", "")]);
    assert_eq!(answer.failed, [item("f", "", r#"{"why":"x"}"#)]);
    assert_eq!(answer.skipped, [item("g", "", "")]);
}

#[test]
fn a_mark_of_the_byte_order_and_plain_ids() {
    let answer = understood("\u{feff} {\"failedEvents\":[\"e\",\"f\"]}\n");
    assert_eq!(answer.failed, [item("e", "", ""), item("f", "", "")]);
}

#[test]
fn a_list_that_occurs_twice_is_both() {
    let answer = understood(r#"{"failedEvents":[{"eventId":"e"}],"failedEvents":[],"failedEvents":["f"]}"#);
    assert_eq!(answer.failed, [item("e", "", ""), item("f", "", "")]);
    let one =
        understood(r#"{"failedEvents":[{"eventId":"e","eventId":"e","eventCode":"a","eventCode":"b"}]}"#);
    assert_eq!(one.failed, [item("e", "b", "")]);
    unreadable(r#"{"failedEvents":[{"eventId":"e","eventId":"f"}]}"#);
}

#[test]
fn the_strictest_list_wins() {
    let answer = understood(
        r#"{"successEvents":["a","b","c","d","d"],"skippedEvents":["b","c","d"],"failedEvents":["c","d"],"retriedEvents":["d"]}"#,
    );
    for (id, list) in [
        ("a", AnswerList::Success),
        ("b", AnswerList::Skipped),
        ("c", AnswerList::Failed),
        ("d", AnswerList::Retried),
    ] {
        assert_eq!(answer.result_of(id).map(|(list, _)| list), Some(list));
        assert_eq!(answer.list(list), [item(id, "", "")]);
    }
    assert_eq!(answer.result_of("e"), None);
    let own = Answer {
        success: vec![item("e", "", "")],
        retried: vec![item("e", "busy", "")],
        ..Answer::default()
    };
    assert_eq!(
        own.result_of("e"),
        Some((AnswerList::Retried, &item("e", "busy", "")))
    );
}

#[test]
fn codes_and_messages_can_be_stored() {
    let (code, message) = ("c".repeat(500), "m".repeat(5_000));
    let body = serde_json::json!({ "failedEvents": [
        { "eventId": "e", "eventCode": "a\u{0}b", "eventMessage": "x\r\n\u{1b}[31my\u{85}z" },
        { "eventId": "f", "eventCode": code, "eventMessage": message },
    ] });
    let answer = understood(&body.to_string());
    assert_eq!(answer.failed[0], item("e", "a b", "x   [31my z"));
    assert_eq!(answer.failed[1], item("f", &code[..128], &message[..1_024]));
    // Half of an emoji, as it is left by cutting a text by UTF-16 units.
    let half = understood(r#"{"failedEvents":[{"eventId":"e","eventMessage":"ab\ud83d"}]}"#);
    assert!(half.failed[0].event_message.starts_with("ab"), "{half:?}");
}

#[test]
fn what_is_foreign_is_assumed_to_be_received() {
    for (body, foreign) in [
        ("", Foreign::Empty),
        (" \r\n", Foreign::Empty),
        ("\u{feff}", Foreign::Empty),
        ("ok", Foreign::Text),
        ("{'status': 'ok'}", Foreign::Text),
        ("{}", Foreign::Json),
        ("[]", Foreign::Json),
        ("null", Foreign::Json),
        ("\"success\"", Foreign::Json),
        (r#"{"code":0,"data":{"events":[{"eventId":"e"}]}}"#, Foreign::Json),
        ("<!DOCTYPE html><p>Sign in", Foreign::Html),
        ("<!-- x -->\n<HTML lang=en>", Foreign::Html),
        ("<?xml version=\"1.0\"?><a/>", Foreign::Xml),
    ] {
        assert_eq!(read(body), Reading::Assumed(foreign), "{body}");
    }
    assert_eq!(
        read_answer(b"\xe7a marche", true),
        Reading::Assumed(Foreign::Binary)
    );
}

#[test]
fn what_may_have_refused_something_is_unreadable() {
    for body in [
        // Broken or cut.
        r#"{"successEvents":[],"failedEvents":[{"eventId":"e"}"#,
        r#"{"successEvents":[],"failedEvents":[{"eventId":"e"}]]"#,
        r#"{"failedEvents":[{"eventId":"e"}]} {"failedEvents":[]}"#,
        r#"{"failedEvents":[{"eventId":"e",}]}"#,
        r#"{"fail"#,
        // A list that is none.
        r#"{"successEvents":3}"#,
        r#"{"failedEvents":{"eventId":"e"}}"#,
        r#"{"failedEvents":"e"}"#,
        r#"{"failedEvents":false}"#,
        // An item without an id.
        r#"{"failedEvents":[{"eventCode":"x"}]}"#,
        r#"{"failedEvents":[{"eventId":7}]}"#,
        r#"{"failedEvents":[{"eventId":null}]}"#,
        r#"{"failedEvents":[{"eventId":""}]}"#,
        r#"{"failedEvents":[""]}"#,
        r#"{"failedEvents":[null]}"#,
        r#"{"failedEvents":[7]}"#,
        r#"{"failedEvents":[["e"]]}"#,
        // Elsewhere than at the top.
        r#"{"code":0,"data":{"failedEvents":[{"eventId":"e"}]}}"#,
        r#"[{"failedEvents":[{"eventId":"e"}]}]"#,
        r#""{\"failedEvents\":[{\"eventId\":\"e\"}]}""#,
        "<pre>{\"failedEvents\":[]}</pre>",
        // Under a name that is only nearly right, beside right ones or alone.
        r#"{"successEvents":[],"failed_events":[{"eventId":"e"}]}"#,
        r#"{"FailedEvents":[{"eventId":"e"}]}"#,
        r#"{"retriedEvent":[{"eventId":"e"}]}"#,
        r#"{"successEvents":[],"retryedEvents":[{"eventId":"e"}]}"#,
    ] {
        unreadable(body);
    }
    let latin1 = b"{\"failedEvents\":[{\"eventId\":\"e\",\"eventMessage\":\"refus\xe9\"}]}";
    assert!(unreadable(latin1).contains("UTF-8"));
    assert!(unreadable(b"\x1f\x8b\x08\x00rest").contains("gzip"));
    let utf16: Vec<u8> = r#"{"failedEvents":[]}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(unreadable(&utf16).contains("UTF-16"));
}

#[test]
fn what_was_not_read_whole_is_unreadable() {
    for body in ["", "ok", "<html>", r#"{"successEvents":[]}"#] {
        assert!(
            matches!(read_answer(body.as_bytes(), false), Reading::Unreadable(_)),
            "{body}"
        );
    }
}

#[test]
fn refusals() {
    let error = ErrorAnswer::parse(br#"{"error":"bad_request","errorDescription":"why"}"#).unwrap();
    assert_eq!(
        (error.error.as_str(), error.error_description.as_deref()),
        ("bad_request", Some("why"))
    );
    assert_eq!(ErrorAnswer::parse(b"nope"), None);
}

/// Answers that refuse something or want it again, in any of the forms that are understood.
fn refusing() -> impl Strategy<Value = (String, Answer)> {
    let text = || prop_oneof![".{0,6}", Just("\"}]},{\"successEvents\":[".to_owned())];
    let entry = (0..4_usize, "[a-z]{1,3}", text(), text(), any::<bool>());
    let entries = proptest::collection::vec(entry, 1..5);
    (entries, any::<u8>()).prop_filter_map("nothing is refused", |(entries, form)| {
        let mut lists: [Vec<serde_json::Value>; 4] = Default::default();
        for (list, id, code, message, plain) in entries {
            lists[list].push(if plain {
                id.into()
            } else {
                serde_json::json!({ "eventId": id, "eventCode": code, "eventMessage": message })
            });
        }
        if lists[2].is_empty() && lists[3].is_empty() {
            return None;
        }
        let members: Vec<String> = AnswerList::ALL
            .iter()
            .zip(&lists)
            .filter(|(_, items)| form & 1 == 0 || !items.is_empty())
            .map(|(list, items)| format!("\"{}\":{}", list.as_str(), serde_json::Value::from(items.clone())))
            .collect();
        let mark = if form & 2 == 0 { "" } else { "\u{feff}" };
        let body = format!(
            "{mark}{{{}}}",
            members.join(if form & 4 == 0 { "," } else { " ,\n" })
        );
        let Reading::Understood(answer) = read(&body) else {
            return None;
        };
        Some((body, answer))
    })
}

/// The ids of a list, sorted.
fn ids(answer: &Answer, list: AnswerList) -> Vec<&str> {
    let mut ids: Vec<_> = answer
        .list(list)
        .iter()
        .map(|item| item.event_id.as_str())
        .collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_damaged_name_of_a_list_is_not_passed_over() {
    for name in [
        "_ailedEvents",
        "failed-vents",
        r"re\riedEvents",
        r"failedEve\ts",
        "retried_vents",
    ] {
        let body = format!(r#"{{"successEvents":[],"{name}":["a"]}}"#);
        assert!(
            matches!(read_answer(body.as_bytes(), true), Reading::Unreadable(_)),
            "{body}"
        );
    }
}

proptest! {
    #[test]
    fn every_refusing_answer_is_understood((body, answer) in refusing()) {
        prop_assert!(body.contains("Events"));
        prop_assert!(!answer.failed.is_empty() || !answer.retried.is_empty());
        // Each event stands once.
        let mut all: Vec<_> = AnswerList::ALL.iter().flat_map(|list| ids(&answer, *list)).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        prop_assert_eq!(all.len(), count);
    }

    #[test]
    fn no_bytes_are_stumbled_over(body in proptest::collection::vec(any::<u8>(), 0..300), complete in any::<bool>()) {
        let reading = read_answer(&body, complete);
        prop_assert!(complete || matches!(reading, Reading::Unreadable(_)));
    }

    #[test]
    fn a_cut_answer_is_unreadable((body, _) in refusing(), at in any::<prop::sample::Index>()) {
        let start = body.find('{').unwrap() + 1;
        let end = start + at.index(body.len() - start);
        prop_assert!(matches!(read_answer(&body.as_bytes()[..end], true), Reading::Unreadable(_)), "{}", &body[..start]);
    }

    #[test]
    fn one_other_byte_hides_no_refusal((body, answer) in refusing(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut altered = body.clone().into_bytes();
        let at = at.index(altered.len());
        altered[at] = byte;
        match read_answer(&altered, true) {
            Reading::Unreadable(_) => {}
            Reading::Assumed(foreign) => prop_assert!(false, "{foreign}: {}", String::from_utf8_lossy(&altered)),
            Reading::Understood(now) => {
                // At most one event goes by another name; every other refusal still stands.
                let mut lost = 0;
                for list in [AnswerList::Failed, AnswerList::Retried] {
                    for id in ids(&answer, list) {
                        lost += usize::from(now.result_of(id).is_none_or(|(now, _)| now < list));
                    }
                }
                prop_assert!(lost <= 1, "{}", String::from_utf8_lossy(&altered));
            }
        }
    }
}
