//! Lists and their pages, searches, bulk requests, and the service provider's configuration.

mod bulk;
mod config;
mod list;
mod query;

pub use bulk::{
    BULK_REQUEST_SCHEMA, BULK_RESPONSE_SCHEMA, BulkAnswer, BulkMethod, BulkOperation, BulkRequest,
    References, bulk_response,
};
pub use config::{
    AuthenticationScheme, BulkSupport, FilterSupport, PageMethod, Pagination, ServiceProviderConfig,
    Supported,
};
pub use list::{LIST_SCHEMA, ListResponse};
pub use query::{Page, PageLimits, Query, SEARCH_SCHEMA, SearchRequest, Sort, SortOrder};

pub use crate::error::ERROR_SCHEMA;
pub use crate::patch::PATCH_SCHEMA;
