//! The documents at `/Schemas` and `/ResourceTypes`: RFC 7643 sections 5 to 8.

use serde_json::{Value, json};

use super::{Attribute as A, ResourceType, Schema};

/// The schema of schemas.
pub const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";
/// The schema of types of resources.
pub const RESOURCE_TYPE: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
/// The schema of the service provider's configuration.
pub const SERVICE_PROVIDER_CONFIG: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";

/// What a service provider says of its resources.
#[derive(Clone, Debug)]
pub struct Documents {
    /// One resource for each schema, at `/Schemas/{id}`.
    pub schemas: Vec<(String, Value)>,
    /// One resource for each type, at `/ResourceTypes/{name}`.
    pub resource_types: Vec<(String, Value)>,
}

/// The documents of a service provider that has some types of resources, whose addresses begin with
/// `base`.
pub fn documents(types: &[&ResourceType], base: &str) -> Documents {
    let base = base.trim_end_matches('/');
    let own = [service_provider_config(), resource_type(), schema()];
    let mut schemas: Vec<&Schema> = Vec::new();
    for of_type in types {
        let extensions = of_type.extensions.iter().map(|extension| &extension.schema);
        for schema in std::iter::once(&of_type.schema).chain(extensions) {
            if schemas.iter().all(|known| known.id != schema.id) {
                schemas.push(schema);
            }
        }
    }
    Documents {
        schemas: schemas
            .into_iter()
            .chain(&own)
            .map(|schema| (schema.id.clone(), schema.to_json(base)))
            .collect(),
        resource_types: types
            .iter()
            .map(|of_type| (of_type.name.clone(), of_type.to_json(base)))
            .collect(),
    }
}

impl Schema {
    /// The schema as a resource.
    pub fn to_json(&self, base: &str) -> Value {
        json!({
            "schemas": [SCHEMA],
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "attributes": self.attributes,
            "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{}", self.id) },
        })
    }
}

impl ResourceType {
    /// The type as a resource.
    pub fn to_json(&self, base: &str) -> Value {
        let extensions: Vec<Value> = self
            .extensions
            .iter()
            .map(|extension| json!({ "schema": extension.schema.id, "required": extension.required }))
            .collect();
        json!({
            "schemas": [RESOURCE_TYPE],
            "id": self.name,
            "name": self.name,
            "description": self.description,
            "endpoint": self.endpoint,
            "schema": self.schema.id,
            "schemaExtensions": extensions,
            "meta": {
                "resourceType": "ResourceType",
                "location": format!("{base}/ResourceTypes/{}", self.name),
            },
        })
    }
}

fn own(id: &str, name: &str, description: &str, attributes: Vec<A>) -> Schema {
    Schema {
        id: id.to_owned(),
        name: name.to_owned(),
        description: description.to_owned(),
        attributes: attributes.into_iter().map(A::read_only).collect(),
    }
}

/// A complex attribute whose parts are read-only as it is.
fn part(name: &str, description: &str, parts: Vec<A>) -> A {
    A::complex(name, description, parts.into_iter().map(A::read_only).collect())
}

fn supported(name: &str, description: &str, more: Vec<A>) -> A {
    let flag = A::boolean("supported", "Whether it is supported.").required();
    part(name, description, std::iter::once(flag).chain(more).collect()).required()
}

fn service_provider_config() -> Schema {
    let schemes = vec![
        A::text("type", "The kind of authentication.")
            .required()
            .usually(&["oauth", "oauth2", "oauthbearertoken", "httpbasic", "httpdigest"]),
        A::text("name", "Its name, for people.").required(),
        A::text("description", "What it is.").required(),
        A::reference("specUri", "Its specification.", &["external"]),
        A::reference("documentationUri", "Its documentation.", &["external"]),
        A::boolean("primary", "Whether it is the preferred one."),
    ];
    let bulk = vec![
        A::integer("maxOperations", "How many operations a request may have.").required(),
        A::integer("maxPayloadSize", "How many bytes a request may have.").required(),
    ];
    let filter = vec![A::integer("maxResults", "How many resources an answer may have.").required()];
    let pagination = vec![
        A::boolean("cursor", "Whether there are pages by cursor.").required(),
        A::boolean("index", "Whether there are pages by index.").required(),
        A::text(
            "defaultPaginationMethod",
            "Which pages there are if none were asked for.",
        )
        .usually(&["cursor", "index"]),
        A::integer(
            "defaultPageSize",
            "How many resources a page has if no count was asked for.",
        ),
        A::integer("maxPageSize", "How many resources a page has at most."),
        A::integer("cursorTimeout", "For how many seconds a cursor is valid."),
    ];
    own(
        SERVICE_PROVIDER_CONFIG,
        "Service Provider Configuration",
        "What the service provider can do.",
        vec![
            A::reference(
                "documentationUri",
                "The service provider's documentation.",
                &["external"],
            ),
            supported("patch", "PATCH.", vec![]),
            supported("bulk", "Bulk requests.", bulk),
            supported("filter", "Filters.", filter),
            supported("changePassword", "Changing passwords.", vec![]),
            supported("sort", "Sorting.", vec![]),
            supported("etag", "ETags.", vec![]),
            part(
                "authenticationSchemes",
                "How clients prove who they are.",
                schemes,
            )
            .many()
            .required(),
            part("pagination", "How long lists are read.", pagination),
        ],
    )
}

fn resource_type() -> Schema {
    let extensions = vec![
        A::reference("schema", "The URN of the extension.", &["uri"]).required(),
        A::boolean("required", "Whether every resource has it.").required(),
    ];
    own(
        RESOURCE_TYPE,
        "ResourceType",
        "A type of resources.",
        vec![
            A::text("id", "The name of the type."),
            A::text("name", "The name of the type.").required(),
            A::text("description", "What the resources are."),
            A::reference("endpoint", "Where they are.", &["uri"]).required(),
            A::reference("schema", "The URN of their schema.", &["uri"]).required(),
            part("schemaExtensions", "Their extensions.", extensions).many(),
        ],
    )
}

/// The characteristics of an attribute, and its parts if it may have some.
fn characteristics(parts: Option<Vec<A>>) -> Vec<A> {
    let types = [
        "string",
        "complex",
        "boolean",
        "decimal",
        "integer",
        "dateTime",
        "reference",
        "binary",
    ];
    let mut all = vec![
        A::text("name", "The name of the attribute.").exact().required(),
        A::text("type", "What its values are.")
            .exact()
            .required()
            .usually(&types),
        A::boolean("multiValued", "Whether it may have several values.").required(),
        A::text("description", "What it is.").exact(),
        A::boolean("required", "Whether it must have a value."),
        A::text("canonicalValues", "Usual values.").many().exact(),
        A::boolean("caseExact", "Whether texts are compared with regard to case."),
        A::text("mutability", "Who may change it, and when.")
            .exact()
            .usually(&["readOnly", "readWrite", "immutable", "writeOnly"]),
        A::text("returned", "When it is in an answer.")
            .exact()
            .usually(&["always", "never", "default", "request"]),
        A::text("uniqueness", "Among which resources a value may be there once.")
            .exact()
            .usually(&["none", "server", "global"]),
        A::text("referenceTypes", "What a reference leads to.")
            .many()
            .exact(),
    ];
    all.extend(parts.map(|parts| part("subAttributes", "The parts of a complex attribute.", parts).many()));
    all
}

fn schema() -> Schema {
    let attributes = characteristics(Some(characteristics(None)));
    own(
        SCHEMA,
        "Schema",
        "Attributes under one URN.",
        vec![
            A::reference("id", "The URN.", &["uri"]).required(),
            A::text("name", "The name, for people."),
            A::text("description", "What it is for."),
            part("attributes", "What a resource of it may have.", attributes)
                .many()
                .required(),
        ],
    )
}
