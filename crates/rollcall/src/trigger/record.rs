//! What was sent, as lines of JSON: one for each request, without secrets, and not sealed. Sent again, it is sealed anew,
//! with the same ids of events.

use rollcall_protocol::Event;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::{Plan, Step};

/// A request.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    events: Vec<Recorded>,
}

/// An event.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    event_id: String,
    event_type: String,
    event_time: i64,
    biz_id: String,
    biz_data: Value,
}

/// The line of a request. Passwords are left out.
pub fn line(events: &[Event]) -> String {
    let recorded = |event: &Event| {
        let mut record: Value =
            serde_json::from_str(&event.biz_data).unwrap_or_else(|_| Value::from(event.biz_data.clone()));
        if let Value::Object(object) = &mut record {
            object.remove("password");
        }
        Recorded {
            event_id: event.event_id.clone(),
            event_type: event.event_type.clone(),
            event_time: event.event_time,
            biz_id: event.biz_id.clone(),
            biz_data: record,
        }
    };
    let line = Line {
        events: events.iter().map(recorded).collect(),
    };
    serde_json::to_string(&line).unwrap_or_default()
}

/// Reads lines; each is a request.
///
/// # Errors
/// Which line cannot be read, and why.
pub fn read(text: &str) -> Result<Plan, String> {
    let mut plan = Plan::default();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let line: Line =
            serde_json::from_str(line).map_err(|error| format!("line {}: {error}", index + 1))?;
        let events = line.events.into_iter().map(|event| Event {
            event_id: event.event_id,
            event_type: event.event_type,
            event_time: event.event_time,
            biz_id: event.biz_id,
            biz_data: match event.biz_data {
                Value::String(text) => text,
                other => other.to_string(),
            },
        });
        plan.steps.push(Step::Send(events.collect()));
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_sent_but_for_secrets() {
        let event = Event {
            event_id: "evnt_1".to_owned(),
            event_type: "urn:alibaba:idaas:app:event:ud:user:update_password".to_owned(),
            event_time: 7,
            biz_id: "user_1".to_owned(),
            biz_data: "{\"password\":\"s3cret\",\"userId\":\"user_1\"}".to_owned(),
        };
        let line = line(std::slice::from_ref(&event));
        assert!(!line.contains("s3cret"), "{line}");
        let expected = Event {
            biz_data: "{\"userId\":\"user_1\"}".to_owned(),
            ..event
        };
        let plan = read(&format!("\n{line}\n")).unwrap();
        assert_eq!(plan.steps, [Step::Send(vec![expected])]);
        assert!(read("{}\n").unwrap_err().starts_with("line 1: "));
    }
}
