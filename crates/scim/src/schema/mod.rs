//! What resources are made of (RFC 7643): attributes, schemas, types of resources.
//!
//! All of it is data, so that a service provider can leave out what it does not have and a client can
//! read the schemas of others. [`user`] and [`group`] are the types that the standard defines;
//! [`documents`] are the answers at `/Schemas` and `/ResourceTypes`.

mod attribute;
mod core;
mod discovery;
mod read;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Object;
use crate::name::AttrPath;

pub use attribute::{Attribute, DataType, Mutability, Returned, Uniqueness};
pub use core::{ENTERPRISE_USER, GROUP, USER, group, user};
pub use discovery::{Documents, RESOURCE_TYPE, SCHEMA, SERVICE_PROVIDER_CONFIG, documents};
pub use read::VALUES_LIMIT;
pub(crate) use read::{ReadOnly, is_primary};

/// The name of the attribute that lists the schemas of a resource.
pub const SCHEMAS: &str = "schemas";

/// Attributes under one URN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The URN.
    pub id: String,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// What a resource of it may have.
    #[serde(default)]
    pub attributes: Vec<Attribute>,
}

/// A schema that adds attributes to a type of resources, below its own URN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The schema.
    pub schema: Schema,
    /// Whether every resource of the type has it.
    pub required: bool,
}

/// A type of resources: where they are and what they are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceType {
    /// `User`.
    pub name: String,
    /// `/Users`.
    pub endpoint: String,
    /// For people.
    pub description: String,
    /// The attributes that stand in the resource itself.
    pub schema: Schema,
    /// What else there may be.
    pub extensions: Vec<Extension>,
}

/// An attribute that a name stands for.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The extension below whose URN it stands; `None` if it stands in the resource itself.
    pub extension: Option<&'a Schema>,
    /// The attribute.
    pub attribute: &'a Attribute,
    /// The part of it, if the name has one.
    pub sub: Option<&'a Attribute>,
}

impl Place<'_> {
    /// Where in a resource the attribute stands, if that is there.
    pub fn container<'r>(&self, resource: &'r Object) -> Option<&'r Object> {
        match self.extension {
            None => Some(resource),
            Some(schema) => member(resource, &schema.id)?.as_object(),
        }
    }

    /// The name in the spelling of the schemas.
    pub fn path(&self) -> AttrPath {
        AttrPath {
            schema: self.extension.map(|schema| schema.id.clone()),
            name: self.attribute.name.clone(),
            sub: self.sub.map(|sub| sub.name.clone()),
        }
    }
}

impl Schema {
    /// An attribute by its name, without regard to case.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        named(&self.attributes, name)
    }
}

impl ResourceType {
    /// What a name stands for. Names of an extension need its URN; the URN of the core schema may be
    /// left out.
    pub fn find(&self, path: &AttrPath) -> Option<Place<'_>> {
        let (extension, attribute) = match &path.schema {
            Some(urn) if !urn.eq_ignore_ascii_case(&self.schema.id) => {
                let schema = self.extension(urn)?;
                (Some(schema), schema.attribute(&path.name)?)
            }
            _ => (None, self.own(&path.name)?),
        };
        let sub = match &path.sub {
            Some(sub) => Some(attribute.sub(sub)?),
            None => None,
        };
        Some(Place {
            extension,
            attribute,
            sub,
        })
    }

    /// The extension with a URN, without regard to case.
    pub fn extension(&self, urn: &str) -> Option<&Schema> {
        self.extensions
            .iter()
            .map(|extension| &extension.schema)
            .find(|schema| schema.id.eq_ignore_ascii_case(urn))
    }

    /// An attribute that stands in the resource itself: of the core schema, or one that all resources have.
    pub(crate) fn own(&self, name: &str) -> Option<&Attribute> {
        self.schema.attribute(name).or_else(|| named(&COMMON, name))
    }

    /// All attributes that stand in the resource itself.
    pub(crate) fn all_own(&self) -> impl Iterator<Item = &Attribute> {
        COMMON.iter().chain(&self.schema.attributes)
    }

    /// Makes `schemas` say what the resource has: the core schema, and each extension that has a value.
    pub(crate) fn state_schemas(&self, resource: &mut Object) {
        let extensions = self.extensions.iter().map(|extension| &extension.schema.id);
        let present = extensions.filter(|urn| resource.contains_key(*urn)).cloned();
        let schemas: Vec<Value> = std::iter::once(self.schema.id.clone())
            .chain(present)
            .map(Value::String)
            .collect();
        resource.insert(SCHEMAS.to_owned(), schemas.into());
    }
}

/// What every resource may have.
static COMMON: LazyLock<Vec<Attribute>> = LazyLock::new(|| {
    use Attribute as A;
    vec![
        A::reference(
            SCHEMAS,
            "The schemas that the resource has attributes of.",
            &["uri"],
        )
        .many()
        .read_only()
        .returned(Returned::Always),
        A::text("id", "The service provider's name for the resource.")
            .exact()
            .read_only()
            .unique(Uniqueness::Server)
            .returned(Returned::Always),
        A::text("externalId", "The client's name for the resource.").exact(),
        A::complex(
            "meta",
            "What the service provider knows of the resource.",
            vec![
                A::text("resourceType", "The type of the resource.")
                    .exact()
                    .read_only(),
                A::time("created", "When it was made.").read_only(),
                A::time("lastModified", "When it last changed.").read_only(),
                A::reference("location", "Where it is.", &["uri"]).read_only(),
                A::text("version", "Its version, as in the ETag header.")
                    .exact()
                    .read_only(),
            ],
        )
        .read_only(),
    ]
});

pub(crate) fn named<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes
        .iter()
        .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// What an object has under a name, without regard to case.
pub(crate) fn member<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| {
        let mut others = object.iter();
        others.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    })
}
