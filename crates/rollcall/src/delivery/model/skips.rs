//! What an endpoint passes over. By the wire that is final and no failure (wire contract, section 6), so nothing is
//! sent again; but the application does not have it, and people must be able to see that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Remark;

/// The code by which receivers say that they do not handle a type of event (wire contract, section 6).
const NOT_HANDLED: &str = "auto_skipped";

/// The events that an endpoint passed over, by their short type (`ud:group:create`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Skips(BTreeMap<String, Skipped>);

/// How often an endpoint passed over events of a type, and what it last said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "SkippedType")]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// How many events.
    pub count: u64,
    /// The code of its answer.
    pub code: String,
}

impl Skips {
    /// Notes an event that was passed over.
    pub fn note(&mut self, event_type: &str, remark: &Remark) {
        let skipped = self.0.entry(event_type.to_owned()).or_default();
        skipped.count += 1;
        skipped.code.clone_from(&remark.code);
    }

    /// How many events were passed over.
    pub fn count(&self) -> u64 {
        self.0.values().map(|skipped| skipped.count).sum()
    }

    /// By type.
    pub fn by_type(&self) -> &BTreeMap<String, Skipped> {
        &self.0
    }

    /// Why, for people: `it does not handle ud:group:create, ud:group:add_user`; `None` if nothing was passed over.
    pub fn reason(&self) -> Option<String> {
        let mut by_code: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (event_type, skipped) in &self.0 {
            by_code.entry(&skipped.code).or_default().push(event_type);
        }
        let reasons: Vec<String> = by_code
            .iter()
            .map(|(code, types)| match (*code, types.join(", ")) {
                (NOT_HANDLED, types) => format!("it does not handle {types}"),
                ("", types) => format!("it gives no reason for {types}"),
                (code, types) => format!("it answers {code} to {types}"),
            })
            .collect();
        Some(reasons.join("; ")).filter(|text| !text.is_empty())
    }
}
