//! The pure core of SCIM 2.0 (RFC 7643, RFC 7644, RFC 9865), for both ends: what requests and answers
//! mean, without a network, a clock or a database.
//!
//! * [`schema`]: what users, groups and the discovery documents are made of. A [`ResourceType`] reads
//!   what somebody sends into a resource that is valid, and knows every attribute by its name.
//! * [`Filter`]: which resources are meant. It is read, written, decided on a resource, and is a plain
//!   tree that whoever has a database can make a query of.
//! * [`Path`] and [`patch`]: what is changed. A request becomes typed operations in canonical form
//!   ([`Patch`]), which change a resource ([`Patch::apply`]) or say what becomes of a group without
//!   looking at its members ([`GroupChange`]).
//! * [`messages`]: lists and their pages, searches, bulk requests, the service provider's
//!   configuration, errors.
//! * [`client`]: which requests make a service provider's resource what it has to be, and what their
//!   answers mean; profiles of service providers.
//! * [`mapping`]: small expressions by which an administrator says how the users of a directory and
//!   those of SCIM correspond.
//!
//! Clients differ from the standard in known ways. [`Strictness`] says whether they may: all of it is
//! undone where requests are read, so that nothing behind it knows of dialects.

pub mod client;
mod error;
pub mod filter;
pub mod mapping;
pub mod messages;
mod name;
pub mod patch;
mod path;
mod projection;
pub mod schema;
#[cfg(feature = "testing")]
pub mod testing;
mod text;
mod time;

pub use error::{Error, ScimType};
pub use filter::Filter;
pub use name::AttrPath;
pub use patch::{GroupChange, Patch, Removal};
pub use path::{Path, PathError};
pub use projection::Projection;
pub use schema::{Attribute, ResourceType};
pub use text::SyntaxError;

use serde_json::{Map, Value};

/// A resource, or one value of a complex attribute, as JSON has it.
pub type Object = Map<String, Value>;

/// Whether a client may differ from the standard in the ways that the large identity providers do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// What can be understood without doubt is accepted, and what is unknown is left out.
    #[default]
    Lenient,
    /// Only what the standard allows is accepted.
    Strict,
}

impl Strictness {
    /// Whether only the standard is accepted.
    pub fn is_strict(self) -> bool {
        self == Self::Strict
    }
}
