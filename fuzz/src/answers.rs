//! Answers of applications.

use arbitrary::Unstructured;
use rollcall_protocol::{AnswerList, CODE_LIMIT, ErrorAnswer, MESSAGE_LIMIT, Reading, read_answer};
use serde_json::{Map, Value, json};

use crate::split;

/// A body is read without stumbling, and what is kept of it is bounded. And what [`read_answer`] promises of an answer
/// that refuses events: damaged in one place or cut off, it is not taken for one that refuses fewer.
pub fn answer(data: &[u8]) {
    let (how, rest) = split(data);
    if how % 2 == 0 {
        let _ = ErrorAnswer::parse(rest);
        if let Reading::Understood(answer) = read_answer(rest, true) {
            for result in AnswerList::ALL.into_iter().flat_map(|list| answer.list(list)) {
                assert!(!result.event_id.is_empty());
                assert!(result.event_code.chars().count() <= CODE_LIMIT);
                assert!(result.event_message.chars().count() <= MESSAGE_LIMIT);
                assert!(answer.result_of(&result.event_id).is_some());
            }
        }
        assert!(!matches!(read_answer(rest, false), Reading::Understood(_)));
    } else {
        let mut bytes = Unstructured::new(rest);
        let _ = damaged(&mut bytes);
    }
}

fn damaged(bytes: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let (place, byte): (u16, u8) = bytes.arbitrary()?;
    let pretty = bytes.arbitrary()?;
    let mut lists = Map::new();
    let mut refused = false;
    let mut number = 0_u32;
    for list in AnswerList::ALL {
        let mut items = Vec::new();
        for _ in 0..bytes.int_in_range(0..=2)? {
            number += 1;
            refused |= matches!(list, AnswerList::Failed | AnswerList::Retried);
            // No two ids are so close that one damaged byte makes them equal.
            let id = format!("evnt_{}", number.to_string().repeat(3));
            items.push(match bytes.int_in_range(0..=2)? {
                0 => json!(id),
                1 => json!({ "eventId": id, "eventCode": bytes.arbitrary::<String>()? }),
                _ => json!({ "eventMessage": bytes.arbitrary::<String>()?, "eventId": id, "more": bytes.arbitrary::<Option<i32>>()? }),
            });
        }
        if !items.is_empty() || bytes.arbitrary()? {
            lists.insert(list.as_str().to_owned(), Value::from(items));
        }
    }
    let lists = Value::from(lists);
    let mut body = match pretty {
        true => format!("{lists:#}"),
        false => lists.to_string(),
    }
    .into_bytes();
    if !refused {
        return Ok(());
    }
    let Reading::Understood(whole) = read_answer(&body, true) else {
        panic!("not understood: {lists}");
    };
    let place = usize::from(place) % body.len();
    if place > 0 {
        let reading = read_answer(&body[..place], true);
        assert!(
            matches!(reading, Reading::Unreadable(_)),
            "cut off at {place}, {lists} is {reading:?}"
        );
    }
    body[place] = byte;
    match read_answer(&body, true) {
        Reading::Unreadable(_) => {}
        Reading::Assumed(foreign) => panic!("with byte {place} as {byte}, {lists} is {foreign:?}"),
        Reading::Understood(other) => {
            let mut others = 0;
            for list in AnswerList::ALL {
                let (before, after) = (whole.list(list), other.list(list));
                assert_eq!(before.len(), after.len(), "with byte {place} as {byte}: {lists}");
                let pairs = before.iter().zip(after);
                others += pairs
                    .filter(|(before, after)| before.event_id != after.event_id)
                    .count();
            }
            assert!(others <= 1, "with byte {place} as {byte}: {lists}");
        }
    }
    Ok(())
}
