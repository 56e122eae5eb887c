//! PATCH: changing a part of a resource, RFC 7644 section 3.5.2.
//!
//! A request becomes a [`Patch`]: operations that each name one attribute in the spelling of the schema
//! and hold a value that is valid for it. Reading is where dialects end. What then happens depends on
//! what the resource costs: a user is changed as JSON by [`Patch::apply`]; for a group,
//! [`GroupChange::plan`] says who joins and who leaves without a look at the members, so that one more
//! member costs the same in a group of any size.
//!
//! The other way, [`Patch::between`] are the fewest operations that make one resource of another, and
//! [`GroupChange::requests`] the requests for what changes in a group.

mod apply;
mod between;
mod group;
mod read;

use serde_json::{Value, json};

use crate::path::Path;

pub use group::{GroupChange, Member, MemberKind, Members, Removal};

/// The schema of a PATCH request.
pub const PATCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// What is changed, operation by operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// In their order. An operation of the request that names several attributes is several here.
    pub operations: Vec<Operation>,
    /// What was asked for and left out, because the schema does not have it or only the service provider
    /// sets it. Empty if the standard was asked for.
    pub ignored: Vec<String>,
    /// Whether a value that is selected and not there is made.
    pub makes_values: bool,
}

/// What is done to one attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// What is done.
    pub kind: Kind,
    /// To what.
    pub target: Target,
    /// What is added or put in the place of what was there; the values that are removed, if not all are.
    pub value: Option<Value>,
    /// Which operation of the request asked for it, from 0.
    pub index: usize,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A value is added; one that is there already is not there twice.
    Add,
    /// A value takes the place of what was there.
    Replace,
    /// A value is removed.
    Remove,
}

/// What something is done to.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// All attributes of an extension, by its URN.
    Extension(String),
    /// An attribute, a part of one, or some of its values, in the spelling of the schema.
    Path(Path),
}

impl Kind {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Replace => "replace",
            Self::Remove => "remove",
        }
    }
}

impl Target {
    /// As a request names it.
    pub fn to_text(&self) -> String {
        match self {
            Self::Extension(urn) => urn.clone(),
            Self::Path(path) => path.to_string(),
        }
    }
}

impl Operation {
    /// As a request has it.
    pub fn to_json(&self) -> Value {
        let mut operation = json!({ "op": self.kind.as_str(), "path": self.target.to_text() });
        if let Some(value) = &self.value {
            operation["value"] = value.clone();
        }
        operation
    }
}

impl Patch {
    /// The body of the request.
    pub fn to_json(&self) -> Value {
        request(self.operations.iter().map(Operation::to_json).collect())
    }
}

fn request(operations: Vec<Value>) -> Value {
    json!({ "schemas": [PATCH_SCHEMA], "Operations": operations })
}
