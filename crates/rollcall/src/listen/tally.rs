//! What is counted, for the end.

use std::collections::BTreeMap;

use serde::Serialize;

/// What has come and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Requests to the receiving URL.
    pub requests: u64,
    /// Events that came, also again.
    pub events: u64,
    /// The same by their types.
    pub types: BTreeMap<String, u64>,
    /// How they were answered.
    pub results: BTreeMap<&'static str, u64>,
    /// Requests that were refused, by the code of the reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Requests to which the program under development gave no answer.
    pub unanswered: u64,
}

impl Tally {
    /// Whether every request was opened, and answered by the program if there is one.
    pub fn is_clean(&self) -> bool {
        self.refused.is_empty() && self.unanswered == 0
    }

    /// For people.
    pub fn lines(&self) -> String {
        let plural = |count: u64, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        let mut text = format!(
            "{} in {}",
            plural(self.events, "event"),
            plural(self.requests, "request")
        );
        for (name, count) in &self.types {
            text.push_str(&format!("\n  {count:>6}  {name}"));
        }
        if !self.results.is_empty() {
            let results: Vec<String> = self
                .results
                .iter()
                .map(|(result, count)| format!("{count} {result}"))
                .collect();
            text.push_str(&format!("\nanswered: {}", results.join(", ")));
        }
        for (code, count) in &self.refused {
            text.push_str(&format!("\nrefused: {} ({code})", plural(*count, "request")));
        }
        if self.unanswered > 0 {
            text.push_str(&format!(
                "\nnot answered by the program under development: {}",
                plural(self.unanswered, "request")
            ));
        }
        text
    }
}
