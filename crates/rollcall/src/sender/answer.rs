//! Whether an answer is one of the protocol (wire contract, section 6). It is read by the hub's own reader, as
//! leniently; besides, each event has to be named once.

use std::collections::BTreeMap;

use rollcall_protocol::{Answer, AnswerList, Reading, read_answer};
use serde_json::Value;

use super::post::{Received, excerpt};

/// Reads the answer to a request with these events, of which one may stand there several times.
///
/// # Errors
/// What is wrong with it, for the endpoint's developer.
pub fn read(received: &Received, event_ids: &[&str]) -> Result<Answer, String> {
    if received.status != 200 {
        return Err(format!(
            "HTTP {}{}, where 200 was expected",
            received.status,
            match excerpt(&received.body) {
                said if said.is_empty() => String::new(),
                said => format!(" ({said})"),
            }
        ));
    }
    let answer = match read_answer(&received.body, received.complete) {
        Reading::Understood(answer) => answer,
        Reading::Assumed(foreign) => {
            return Err(format!(
                "the body of the 200 is {foreign}, which confirms nothing; it has to be an object with \
                 successEvents, skippedEvents, failedEvents and retriedEvents"
            ));
        }
        Reading::Unreadable(why) => return Err(why),
    };
    let named = count(&received.body);
    let mut sent: BTreeMap<&str, usize> = BTreeMap::new();
    for id in event_ids {
        *sent.entry(id).or_default() += 1;
    }
    let missing: Vec<&str> = sent
        .keys()
        .copied()
        .filter(|id| answer.result_of(id).is_none())
        .collect();
    if let Some(first) = missing.first() {
        return Err(format!(
            "{} of {} events that were sent {} not named in any list, such as {first}",
            missing.len(),
            sent.len(),
            if missing.len() == 1 { "is" } else { "are" },
        ));
    }
    if let Some((id, _)) = named.iter().find(|(id, _)| !sent.contains_key(id.as_str())) {
        return Err(format!("{} is named, which was not sent", excerpt(id.as_bytes())));
    }
    let more = named
        .iter()
        .find(|(id, count)| sent.get(id.as_str()).is_some_and(|sent| *count > sent));
    if let Some((id, count)) = more {
        return Err(format!(
            "{id} is named {count} times; each event belongs into one list, once"
        ));
    }
    Ok(answer)
}

/// How often each id is named in the four lists.
fn count(body: &[u8]) -> BTreeMap<String, usize> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut named = BTreeMap::new();
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return named;
    };
    for list in AnswerList::ALL {
        for item in answer[list.as_str()].as_array().into_iter().flatten() {
            if let Some(id) = item.as_str().or_else(|| item["eventId"].as_str()) {
                *named.entry(id.to_owned()).or_default() += 1;
            }
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn said(status: u16, body: &str) -> Result<Answer, String> {
        let received = Received {
            status,
            content_type: None,
            body: body.as_bytes().to_vec(),
            complete: true,
            took: Duration::ZERO,
        };
        read(&received, &["a", "b"])
    }

    #[test]
    fn each_event_is_named_once() {
        assert!(
            said(
                200,
                r#"{"successEvents":[{"eventId":"a"}],"skippedEvents":["b"]}"#
            )
            .is_ok()
        );
        for (status, body, why) in [
            (204, "", "HTTP 204"),
            (500, "out of order", "(out of order)"),
            (200, "", "an empty body"),
            (200, "<html>", "an HTML page"),
            (200, r#"{"successEvents":["a""#, "cannot be read"),
            (200, r#"{"successEvents":["a"]}"#, "1 of 2 events"),
            (200, r#"{"successEvents":["a","b","c"]}"#, "c is named"),
            (
                200,
                r#"{"successEvents":["a","b"],"failedEvents":["b"]}"#,
                "b is named 2 times",
            ),
            (200, r#"{"successEvents":["a","b","b"]}"#, "b is named 2 times"),
        ] {
            let told = said(status, body).unwrap_err();
            assert!(told.contains(why), "{body}: {told}");
        }
    }
}
