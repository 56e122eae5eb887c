//! Answers with several resources: RFC 7644 section 3.4.2, RFC 9865 section 2.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Object;

/// The schema of a list.
pub const LIST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// A page of resources.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListResponse {
    /// How many resources all pages have; `None` if nobody counted them for pages by cursor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_results: Option<u64>,
    /// The number of the first resource, from 1, for pages by index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_index: Option<u64>,
    /// How many resources are here.
    pub items_per_page: u64,
    /// The next page, for pages by cursor; `None` if there is no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// The page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_cursor: Option<String>,
    /// The resources.
    #[serde(rename = "Resources")]
    pub resources: Vec<Object>,
}

impl ListResponse {
    /// A page by index.
    pub fn by_index(total_results: u64, start_index: u64, resources: Vec<Object>) -> Self {
        Self {
            total_results: Some(total_results),
            start_index: Some(start_index),
            items_per_page: resources.len() as u64,
            resources,
            ..Self::default()
        }
    }

    /// A page by cursor.
    pub fn by_cursor(
        total_results: Option<u64>,
        next_cursor: Option<String>,
        resources: Vec<Object>,
    ) -> Self {
        Self {
            total_results,
            next_cursor,
            items_per_page: resources.len() as u64,
            resources,
            ..Self::default()
        }
    }

    /// The body.
    pub fn to_json(&self) -> Value {
        let mut body = json!(self);
        body["schemas"] = json!([LIST_SCHEMA]);
        body
    }
}
