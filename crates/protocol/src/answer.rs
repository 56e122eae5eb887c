//! What an application answers (wire contract, section 6).

use serde::{Deserialize, Serialize};

/// What became of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventResult {
    /// The event.
    pub event_id: String,
    /// `SUCCESS`, `auto_skipped`, `exception`, or a code of the application's own.
    #[serde(default)]
    pub event_code: String,
    /// What the application says about it.
    #[serde(default)]
    pub event_message: String,
}

/// The answer to a request: each of its events in one of four lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Done; final.
    #[serde(rename = "successEvents", default)]
    pub success: Vec<EventResult>,
    /// Passed over; final.
    #[serde(rename = "skippedEvents", default)]
    pub skipped: Vec<EventResult>,
    /// Refused; final.
    #[serde(rename = "failedEvents", default)]
    pub failed: Vec<EventResult>,
    /// To be sent again.
    #[serde(rename = "retriedEvents", default)]
    pub retried: Vec<EventResult>,
}

/// What the body of a 200 says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It is an answer of the protocol.
    Understood(Answer),
    /// It is empty or something else: the events count as received.
    Received,
}

/// Reads the body of a 200.
pub fn read_answer(body: &[u8]) -> Reading {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Lenient {
        success_events: Option<Vec<EventResult>>,
        skipped_events: Option<Vec<EventResult>>,
        failed_events: Option<Vec<EventResult>>,
        retried_events: Option<Vec<EventResult>>,
    }
    match serde_json::from_slice::<Lenient>(body) {
        Ok(Lenient {
            success_events,
            skipped_events,
            failed_events,
            retried_events,
        }) if success_events.is_some()
            || skipped_events.is_some()
            || failed_events.is_some()
            || retried_events.is_some() =>
        {
            Reading::Understood(Answer {
                success: success_events.unwrap_or_default(),
                skipped: skipped_events.unwrap_or_default(),
                failed: failed_events.unwrap_or_default(),
                retried: retried_events.unwrap_or_default(),
            })
        }
        _ => Reading::Received,
    }
}

/// The body of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorAnswer {
    /// `bad_request`, `internal_error` …
    pub error: String,
    /// What is wrong, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_description: Option<String>,
}

impl ErrorAnswer {
    /// Reads the body of a refusal, if it is one of the protocol's.
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}
