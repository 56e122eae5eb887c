//! The SCIM 2.0 service provider: what the requests of a connection mean to the directory.
//!
//! What SCIM itself says (filters, PATCH, schemas, dialects) is in the crate `rollcall-scim`; how requests come in over
//! HTTP is in `api::scim`. This module stands between: a [`Provider`] is the hub as one connection sees it.
//!
//! - **Writing** ([`Provider::create`] and its siblings) is one transaction for each request: what the connection has
//!   said is read, the request is applied to it, the [mapping](record) makes fields of a user of it, and those that
//!   differ go through the directory's door as the connection's own commands. Then what was said is kept. A change of a
//!   group names those who join and leave, and looks at nobody else.
//! - **Reading** ([`Provider::list`]) finds what an index serves by it, and otherwise looks at everything in portions, so
//!   that nobody waits at the database behind it and memory does not grow with the directory.
//! - **Versions** are those of the directory and of what was said together, so that a change by anybody is one.

mod access;
mod bulk;
mod cursor;
mod discovery;
mod error;
mod groups;
mod kind;
mod list;
mod order;
mod record;
mod users;

use std::sync::Arc;

use rollcall_scim::{Error, Object, Projection, ResourceType, ScimType, Strictness};
use serde_json::{Value, json};

use crate::access::{Caller, Origin};
use crate::clock;
use crate::connection::{self, Connection};
use crate::hub::Hub;
pub use access::authenticate;
pub use bulk::{BULK_OPERATIONS, BULK_PAYLOAD};
pub use discovery::Document;
pub use error::ScimError;
pub use kind::Kind;
pub use list::LIMITS;

/// The hub as one connection sees it.
#[derive(Clone, Debug)]
pub struct Provider {
    hub: Hub,
    connection: Arc<Connection>,
    caller: Caller,
    /// How the addresses of its resources begin, without a slash at the end.
    base: Arc<str>,
}

/// What a version has to be for a request to be carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Any.
    #[default]
    Any,
    /// One of these, without what marks it as weak.
    OneOf(Vec<String>),
}

impl Expected {
    /// Reads `If-Match`, or the version of an operation of a bulk.
    pub fn read(text: &str) -> Self {
        let versions: Vec<String> = text.split(',').map(|version| bare(version).to_owned()).collect();
        match versions.iter().any(|version| version == "*") {
            true => Self::Any,
            false => Self::OneOf(versions),
        }
    }

    /// Whether a version is among those that are named.
    pub fn names(&self, version: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.iter().any(|one| one == bare(version)),
        }
    }

    /// Refuses a resource that is not what the client has read.
    fn check(&self, resource: &Object) -> Result<(), ScimError> {
        match self.names(version(resource)) {
            true => Ok(()),
            false => {
                let detail = "it has changed since you read it; read it again";
                Err(Error::status(412, detail).into())
            }
        }
    }
}

/// A version without its quotes and without what marks it as weak.
fn bare(version: &str) -> &str {
    version
        .trim()
        .trim_start_matches("W/")
        .trim_start_matches("w/")
        .trim_matches('"')
}

/// The version of a resource, as `ETag` has it.
pub fn version(resource: &Object) -> &str {
    let meta = resource.get("meta").and_then(|meta| meta.get("version"));
    meta.and_then(Value::as_str).unwrap_or_default()
}

impl Provider {
    /// The hub for requests of a connection that come from there, to resources whose addresses begin with `base`.
    pub fn new(hub: Hub, connection: Connection, origin: Origin, base: &str) -> Self {
        let caller = Caller::from(connection::principal(&connection.id))
            .within(connection::authority(&connection.id))
            .from_there(origin);
        Self {
            hub,
            connection: Arc::new(connection),
            caller,
            base: base.trim_end_matches('/').into(),
        }
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether the connection is held to the standard.
    pub fn strictness(&self) -> Strictness {
        self.connection.strictness()
    }

    /// What of a resource is in an answer.
    ///
    /// # Errors
    /// `invalidValue` with what is no name.
    pub fn projection(&self, attributes: &str, excluded: &str) -> Result<Projection, ScimError> {
        Ok(Projection::parse(attributes, excluded, self.strictness())?)
    }

    /// A resource.
    ///
    /// # Errors
    /// Status 404, or what the database reports.
    pub async fn show(&self, kind: Kind, id: String, projection: &Projection) -> Result<Object, ScimError> {
        let shown = match kind {
            Kind::User => self.user(id).await?,
            Kind::Group => self.group(id, wants(projection, kind.types(), "members")).await?,
        };
        Ok(projection.apply(&shown, kind.types()))
    }

    /// Makes a resource.
    ///
    /// # Errors
    /// [`ScimError`]; nothing is made then.
    pub async fn create(&self, kind: Kind, body: Value) -> Result<Object, ScimError> {
        match kind {
            Kind::User => self.create_user(body).await,
            Kind::Group => self.create_group(body).await,
        }
    }

    /// Puts a resource in the place of another.
    ///
    /// # Errors
    /// [`ScimError`]; nothing is changed then.
    pub async fn replace(
        &self,
        kind: Kind,
        id: String,
        body: Value,
        expected: Expected,
    ) -> Result<Object, ScimError> {
        match kind {
            Kind::User => self.replace_user(id, body, expected).await,
            Kind::Group => self.replace_group(id, body, expected).await,
        }
    }

    /// Changes a resource; `None` if it is too large to be shown.
    ///
    /// # Errors
    /// [`ScimError`]; nothing is changed then.
    pub async fn patch(
        &self,
        kind: Kind,
        id: String,
        body: Value,
        expected: Expected,
    ) -> Result<Option<Object>, ScimError> {
        match kind {
            Kind::User => self.patch_user(id, body, expected).await.map(Some),
            Kind::Group => self.patch_group(id, body, expected).await,
        }
    }

    /// Deletes a resource.
    ///
    /// # Errors
    /// [`ScimError`]; nothing is changed then.
    pub async fn delete(&self, kind: Kind, id: String, expected: Expected) -> Result<(), ScimError> {
        match kind {
            Kind::User => self.delete_user(id, expected).await,
            Kind::Group => self.delete_group(id, expected).await,
        }
    }

    /// The address of a resource.
    fn location(&self, kind: Kind, id: &str) -> String {
        format!("{}{}/{id}", self.base, kind.types().endpoint)
    }

    /// What the service provider alone says of a resource.
    fn meta(&self, kind: Kind, id: &str, (created, modified): (i64, i64), version: &str) -> Value {
        json!({
            "resourceType": kind.types().name,
            "created": clock::written(created),
            "lastModified": clock::written(modified),
            "location": self.location(kind, id),
            "version": format!("W/\"{version}\""),
        })
    }
}

/// Whether an attribute of a resource can be in the answer.
fn wants(projection: &Projection, types: &ResourceType, name: &str) -> bool {
    projection.wants(&rollcall_scim::AttrPath::new(name), types)
}

/// There is no such resource, or it is not the connection's own.
fn missing(kind: Kind, id: &str) -> ScimError {
    let name = kind.types().name.to_lowercase();
    Error::status(404, format!("there is no {name} {id:?}")).into()
}

/// Something that must be there once is there already.
fn taken(detail: impl Into<String>) -> ScimError {
    Error::of(ScimType::Uniqueness, detail).into()
}
