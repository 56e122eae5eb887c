//! SCIM, held against the examples of its standards, the dialects of its clients, and what holds for
//! all texts and resources.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod client;
mod dialects;
mod discovery;
mod filters;
mod groups;
mod make;
mod mappings;
mod messages;
mod patches;
mod projections;
mod properties;
mod reading;

use rollcall_scim::schema::user;
use rollcall_scim::{Error, Object, Patch, ScimType, Strictness};
use serde_json::{Value, json};

pub(crate) const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// An object of JSON.
pub(crate) fn object(value: Value) -> Object {
    value.as_object().unwrap().clone()
}

/// The user of most tests.
pub(crate) fn barbara() -> Object {
    object(json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
        "id": "2819c223",
        "externalId": "bjensen",
        "userName": "bjensen@example.com",
        "name": { "familyName": "Jensen", "givenName": "Barbara" },
        "title": "Tour Guide",
        "active": true,
        "emails": [
            { "value": "bjensen@example.com", "type": "work", "primary": true },
            { "value": "babs@jensen.example", "type": "home" },
        ],
        "meta": {
            "resourceType": "User",
            "created": "2010-01-23T04:56:22Z",
            "lastModified": "2011-05-13T04:42:34Z",
        },
        ENTERPRISE: { "employeeNumber": "701984", "manager": { "value": "26118915" } },
    }))
}

/// The body of a PATCH request.
pub(crate) fn body(operations: Value) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations })
}

/// What becomes of a user.
pub(crate) fn patched(before: &Object, operations: Value, strictness: Strictness) -> Result<Object, Error> {
    Patch::read(body(operations), user(), strictness)?.apply(before, user())
}

/// What becomes of a user if only the standard is allowed.
pub(crate) fn strictly(before: &Object, operations: Value) -> Object {
    patched(before, operations, Strictness::Strict).unwrap()
}

/// The kind of the error that a change of a user meets.
pub(crate) fn refused(before: &Object, operations: Value, strictness: Strictness) -> ScimType {
    let error = patched(before, operations.clone(), strictness).expect_err(&operations.to_string());
    error.scim_type.unwrap()
}
