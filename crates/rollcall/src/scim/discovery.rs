//! What the service provider says of itself.

use rollcall_scim::messages::{
    AuthenticationScheme, BulkSupport, FilterSupport, ListResponse, Pagination, ServiceProviderConfig,
    Supported,
};
use rollcall_scim::schema::{Documents, documents};
use rollcall_scim::{Error, Object};
use serde_json::Value;

use super::{BULK_OPERATIONS, BULK_PAYLOAD, Kind, LIMITS, Provider, ScimError};

/// Documents of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// `/Schemas`.
    Schema,
    /// `/ResourceTypes`.
    ResourceType,
}

impl Provider {
    /// `/ServiceProviderConfig`.
    pub fn configuration(&self) -> Value {
        let supported = Supported { supported: true };
        ServiceProviderConfig {
            documentation_uri: None,
            patch: supported,
            bulk: BulkSupport {
                supported: true,
                max_operations: BULK_OPERATIONS as u64,
                max_payload_size: BULK_PAYLOAD as u64,
            },
            filter: FilterSupport {
                supported: true,
                max_results: LIMITS.max_size,
            },
            change_password: supported,
            sort: supported,
            etag: supported,
            authentication_schemes: vec![AuthenticationScheme {
                kind: "oauthbearertoken".to_owned(),
                name: "Bearer token".to_owned(),
                description: "A token of this connection, which an administrator of the hub has made."
                    .to_owned(),
                spec_uri: Some("https://www.rfc-editor.org/info/rfc6750".to_owned()),
                documentation_uri: None,
                primary: true,
            }],
            pagination: Some(Pagination {
                cursor: true,
                index: true,
                default_pagination_method: Some(LIMITS.method),
                default_page_size: Some(LIMITS.default_size),
                max_page_size: Some(LIMITS.max_size),
                cursor_timeout: None,
            }),
        }
        .to_json(&self.base)
    }

    fn documents(&self, of: Document) -> Vec<(String, Value)> {
        let Documents {
            schemas,
            resource_types,
        } = documents(&Kind::ALL.map(Kind::types), &self.base);
        match of {
            Document::Schema => schemas,
            Document::ResourceType => resource_types,
        }
    }

    /// All documents of a kind, as a list.
    pub fn all_documents(&self, of: Document) -> Value {
        let resources: Vec<Object> = self
            .documents(of)
            .into_iter()
            .filter_map(|(_, document)| document.as_object().cloned())
            .collect();
        ListResponse::by_index(resources.len() as u64, 1, resources).to_json()
    }

    /// A document, by its id.
    ///
    /// # Errors
    /// Status 404.
    pub fn document(&self, of: Document, id: &str) -> Result<Value, ScimError> {
        let mut documents = self.documents(of).into_iter();
        let found = documents.find(|(name, _)| name.eq_ignore_ascii_case(id));
        found
            .map(|(_, document)| document)
            .ok_or_else(|| Error::status(404, format!("there is no {id:?} here")).into())
    }
}
