//! The errors that a service provider answers with, RFC 7644 section 3.12.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::text::SyntaxError;

/// The schema of an error's body.
pub const ERROR_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// What kind of error a request met, where the status alone does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ScimType {
    /// A filter that is no filter, or one that is not supported.
    InvalidFilter,
    /// More results than the service provider is willing to compute.
    TooMany,
    /// A value that another resource has already and that has to be unique.
    Uniqueness,
    /// A change of what must not change.
    Mutability,
    /// A body that is not what the request needs.
    InvalidSyntax,
    /// A path that is no path, or names nothing.
    InvalidPath,
    /// A path that no value was found for.
    NoTarget,
    /// A value that is missing, or not what its attribute needs.
    InvalidValue,
    /// A version of the protocol that is not supported.
    InvalidVers,
    /// A request whose parameters must not be in an address.
    Sensitive,
    /// A cursor that was never given out (RFC 9865).
    InvalidCursor,
    /// A cursor that is too old (RFC 9865).
    ExpiredCursor,
    /// A count that is not possible with a cursor (RFC 9865).
    InvalidCount,
}

impl ScimType {
    /// The status that the standard gives it.
    pub fn status(self) -> u16 {
        match self {
            Self::Uniqueness => 409,
            Self::Sensitive => 403,
            Self::InvalidFilter
            | Self::TooMany
            | Self::Mutability
            | Self::InvalidSyntax
            | Self::InvalidPath
            | Self::NoTarget
            | Self::InvalidValue
            | Self::InvalidVers
            | Self::InvalidCursor
            | Self::ExpiredCursor
            | Self::InvalidCount => 400,
        }
    }

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidFilter => "invalidFilter",
            Self::TooMany => "tooMany",
            Self::Uniqueness => "uniqueness",
            Self::Mutability => "mutability",
            Self::InvalidSyntax => "invalidSyntax",
            Self::InvalidPath => "invalidPath",
            Self::NoTarget => "noTarget",
            Self::InvalidValue => "invalidValue",
            Self::InvalidVers => "invalidVers",
            Self::Sensitive => "sensitive",
            Self::InvalidCursor => "invalidCursor",
            Self::ExpiredCursor => "expiredCursor",
            Self::InvalidCount => "invalidCount",
        }
    }
}

/// An error as it is answered: a status, its kind if there is one, and what is wrong, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// The HTTP status.
    pub status: u16,
    /// The kind.
    pub scim_type: Option<ScimType>,
    /// What is wrong and, where that is not plain, what would be right.
    pub detail: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scim_type {
            Some(kind) => write!(f, "{} ({}): {}", self.status, kind.as_str(), self.detail),
            None => write!(f, "{}: {}", self.status, self.detail),
        }
    }
}

impl Error {
    /// An error of a kind, with its status.
    pub fn of(scim_type: ScimType, detail: impl Into<String>) -> Self {
        Self {
            status: scim_type.status(),
            scim_type: Some(scim_type),
            detail: detail.into(),
        }
    }

    /// An error that its status says all of.
    pub fn status(status: u16, detail: impl Into<String>) -> Self {
        Self {
            status,
            scim_type: None,
            detail: detail.into(),
        }
    }

    pub(crate) fn value(detail: impl Into<String>) -> Self {
        Self::of(ScimType::InvalidValue, detail)
    }

    pub(crate) fn syntax(detail: impl Into<String>) -> Self {
        Self::of(ScimType::InvalidSyntax, detail)
    }

    pub(crate) fn mutability(detail: impl Into<String>) -> Self {
        Self::of(ScimType::Mutability, detail)
    }

    /// The same error, said of a part of what was sent.
    #[must_use]
    pub fn within(mut self, part: &str) -> Self {
        self.detail = format!("{part}: {}", self.detail);
        self
    }

    /// The body.
    pub fn to_json(&self) -> Value {
        let mut body = json!({
            "schemas": [ERROR_SCHEMA],
            "status": self.status.to_string(),
            "detail": self.detail,
        });
        if let Some(kind) = self.scim_type {
            body["scimType"] = kind.as_str().into();
        }
        body
    }

    /// What an error's body says; the status is that of the answer, whatever the body has. `None` if it
    /// is no SCIM error.
    pub fn from_json(status: u16, body: &Value) -> Option<Self> {
        let body = body.as_object()?;
        let is_error = body
            .get("schemas")
            .and_then(Value::as_array)
            .is_some_and(|schemas| {
                schemas
                    .iter()
                    .filter_map(Value::as_str)
                    .any(|schema| schema.eq_ignore_ascii_case(ERROR_SCHEMA))
            });
        is_error.then(|| Self {
            status,
            scim_type: body
                .get("scimType")
                .and_then(|kind| serde_json::from_value(kind.clone()).ok()),
            detail: body
                .get("detail")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
        })
    }
}

impl Error {
    /// What is wrong with a filter.
    pub(crate) fn filter(error: &SyntaxError) -> Self {
        Self::of(ScimType::InvalidFilter, format!("the filter, {error}"))
    }
}
