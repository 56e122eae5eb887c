//! What a service provider can do: RFC 7643 section 5, RFC 9865 section 4.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::schema::SERVICE_PROVIDER_CONFIG;

/// The configuration of a service provider. A client that reads one takes what is not there as not
/// supported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceProviderConfig {
    /// Where people read about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documentation_uri: Option<String>,
    /// PATCH.
    pub patch: Supported,
    /// Bulk requests.
    pub bulk: BulkSupport,
    /// Filters.
    pub filter: FilterSupport,
    /// Changing passwords.
    pub change_password: Supported,
    /// Sorting.
    pub sort: Supported,
    /// ETags.
    pub etag: Supported,
    /// How clients prove who they are.
    pub authentication_schemes: Vec<AuthenticationScheme>,
    /// How long lists are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pagination: Option<Pagination>,
}

/// Whether something is supported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Supported {
    /// Whether it is.
    pub supported: bool,
}

/// Bulk requests, and how large they may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BulkSupport {
    /// Whether there are bulk requests.
    pub supported: bool,
    /// How many operations a request may have.
    pub max_operations: u64,
    /// How many bytes a request may have.
    pub max_payload_size: u64,
}

/// Filters, and how much they may find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterSupport {
    /// Whether there are filters.
    pub supported: bool,
    /// How many resources an answer may have.
    pub max_results: u64,
}

/// A way for clients to prove who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthenticationScheme {
    /// `oauthbearertoken`, `httpbasic` and others.
    #[serde(rename = "type")]
    pub kind: String,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// Its specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec_uri: Option<String>,
    /// Its documentation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documentation_uri: Option<String>,
    /// Whether it is the preferred one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub primary: bool,
}

/// How long lists are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pagination {
    /// By cursor.
    pub cursor: bool,
    /// By index.
    pub index: bool,
    /// How, if nobody asks for either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_pagination_method: Option<PageMethod>,
    /// How many resources a page has if no count was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_page_size: Option<u64>,
    /// How many resources a page has at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_page_size: Option<u64>,
    /// For how many seconds a cursor is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor_timeout: Option<u64>,
}

/// How pages are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PageMethod {
    /// By a text that the service provider made.
    Cursor,
    /// By the number of the first resource.
    Index,
}

impl ServiceProviderConfig {
    /// The resource at `/ServiceProviderConfig` of a service provider whose addresses begin with `base`.
    pub fn to_json(&self, base: &str) -> Value {
        let mut resource = json!(self);
        resource["schemas"] = json!([SERVICE_PROVIDER_CONFIG]);
        resource["meta"] = json!({
            "resourceType": "ServiceProviderConfig",
            "location": format!("{}/ServiceProviderConfig", base.trim_end_matches('/')),
        });
        resource
    }
}
