//! The rules of a mapping, in both directions.

use serde_json::{Map, Value};

use super::{Expr, Record, TooLarge};
use crate::Object;
use crate::error::Error;
use crate::filter::Filter;
use crate::patch::Patch;
use crate::path::{Path, PathError};
use crate::schema::{Mutability, ResourceType, member};
use crate::text::SyntaxError;

/// What a user of the directory is to an application, if nobody says otherwise. The record has the
/// fields of a user as the administrator's API gives them; `disabled` and the like are told by `enabled`.
pub const USER_OUT: &[(&str, &str)] = &[
    ("externalId", "id"),
    ("userName", "username"),
    ("displayName", "displayName"),
    ("name.formatted", "displayName"),
    ("active", "enabled"),
    (r#"emails[type eq "work"].value"#, "email"),
    (r#"emails[type eq "work"].primary"#, "if(present(email), true)"),
    (
        r#"phoneNumbers[type eq "work"].value"#,
        r#"if(present(phoneNumber), join("", if(present(phoneRegion), "+" + phoneRegion), phoneNumber))"#,
    ),
];

/// What a user that comes by SCIM is to the directory, if nobody says otherwise.
pub const USER_IN: &[(&str, &str)] = &[
    ("username", "userName"),
    (
        "displayName",
        r#"first(displayName, name.formatted, join(" ", name.givenName, name.familyName), userName)"#,
    ),
    (
        "email",
        r#"first(`emails[primary eq true].value`, `emails[type eq "work"].value`, `emails.value`)"#,
    ),
    ("enabled", "active"),
    ("externalId", "externalId"),
];

/// Why a mapping cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// A target that is no path.
    #[error("`{target}`: {error}")]
    Path {
        /// The target.
        target: String,
        /// What is wrong.
        error: PathError,
    },
    /// A target that the resource does not have, or that only the service provider sets.
    #[error("`{target}`: there is no such attribute, or it cannot be set")]
    Unknown {
        /// The target.
        target: String,
    },
    /// An expression that is none.
    #[error("`{target}`: {error}")]
    Expr {
        /// The target.
        target: String,
        /// What is wrong, and where in the expression.
        error: SyntaxError,
    },
    /// A value that becomes too large.
    #[error("`{target}`: {error}")]
    TooLarge {
        /// The target.
        target: String,
        /// What is wrong.
        error: TooLarge,
    },
    /// A value that the attribute cannot have.
    #[error("`{target}`: {}", error.detail)]
    Value {
        /// The target.
        target: String,
        /// What is wrong.
        error: Error,
    },
}

/// From a record of the directory to a SCIM resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Outward {
    rules: Vec<(Path, Expr)>,
}

impl Outward {
    /// Reads the rules: paths and expressions on the record's fields, of which `is_known` knows the names.
    ///
    /// # Errors
    /// With the target of the first rule that cannot be used.
    pub fn parse<'a>(
        rules: impl IntoIterator<Item = (&'a str, &'a str)>,
        types: &ResourceType,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<Self, MappingError> {
        let mut read = Vec::new();
        for (target, expr) in rules {
            let path = Path::parse(target).map_err(|error| MappingError::Path {
                target: target.to_owned(),
                error,
            })?;
            if !can_be_set(&path, types) {
                return Err(MappingError::Unknown {
                    target: target.to_owned(),
                });
            }
            read.push((path, parsed(target, expr, &is_known)?));
        }
        Ok(Self { rules: read })
    }

    /// The paths that values are put at.
    pub fn targets(&self) -> impl Iterator<Item = &Path> {
        self.rules.iter().map(|(path, _)| path)
    }

    /// Whether something depends on a field of the record.
    pub fn reads(&self, name: &str) -> bool {
        self.rules.iter().any(|(_, expr)| expr.names().contains(name))
    }

    /// The resource of a record. What an expression comes to nothing for is not in it.
    ///
    /// # Errors
    /// With the target of a value that there cannot be.
    pub fn resource(&self, record: &dyn Record, types: &ResourceType) -> Result<Object, MappingError> {
        let mut resource = Object::new();
        for (path, expr) in &self.rules {
            let target = || path.to_string();
            let value = expr.value(record).map_err(|error| MappingError::TooLarge {
                target: target(),
                error,
            })?;
            if value.is_null() {
                continue;
            }
            Patch::set(path, value, &mut resource, types).map_err(|error| MappingError::Value {
                target: target(),
                error,
            })?;
        }
        types.state_schemas(&mut resource);
        Ok(resource)
    }
}

fn parsed(target: &str, expr: &str, is_known: impl Fn(&str) -> bool) -> Result<Expr, MappingError> {
    Expr::parse_with(expr, is_known).map_err(|error| MappingError::Expr {
        target: target.to_owned(),
        error,
    })
}

fn can_be_set(path: &Path, types: &ResourceType) -> bool {
    let Some(place) = types.find(path.attribute()) else {
        return false;
    };
    let sub = match path {
        Path::Attribute(_) => place.sub,
        Path::Values { .. } if !place.attribute.multi_valued => return false,
        Path::Values { sub: None, .. } => None,
        Path::Values { sub: Some(sub), .. } => match place.attribute.sub(sub) {
            Some(sub) => Some(sub),
            None => return false,
        },
    };
    [Some(place.attribute), sub]
        .into_iter()
        .flatten()
        .all(|attribute| attribute.mutability != Mutability::ReadOnly)
}

/// From a SCIM resource to a record of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inward {
    rules: Vec<(String, Expr)>,
}

impl Inward {
    /// Reads the rules: fields of the record and expressions whose names are paths.
    ///
    /// # Errors
    /// With the target of the first rule that cannot be used.
    pub fn parse<'a>(
        rules: impl IntoIterator<Item = (&'a str, &'a str)>,
        types: &ResourceType,
    ) -> Result<Self, MappingError> {
        let is_known = |name: &str| Path::parse(name).is_ok_and(|path| is_there(&path, types));
        let rules: Result<_, _> = rules
            .into_iter()
            .map(|(target, expr)| Ok((target.to_owned(), parsed(target, expr, is_known)?)))
            .collect();
        Ok(Self { rules: rules? })
    }

    /// The record of a resource. What an expression comes to nothing for is not in it.
    ///
    /// # Errors
    /// With the target of a value that becomes too large.
    pub fn record(
        &self,
        resource: &Object,
        types: &ResourceType,
    ) -> Result<Map<String, Value>, MappingError> {
        let from = ResourceRecord { resource, types };
        let mut record = Map::new();
        for (target, expr) in &self.rules {
            let value = expr.value(&from).map_err(|error| MappingError::TooLarge {
                target: target.clone(),
                error,
            })?;
            if !value.is_null() {
                record.insert(target.clone(), value);
            }
        }
        Ok(record)
    }
}

fn is_there(path: &Path, types: &ResourceType) -> bool {
    types.find(path.attribute()).is_some_and(|place| match path {
        Path::Values { sub: Some(sub), .. } => place.attribute.sub(sub).is_some(),
        Path::Values { .. } | Path::Attribute(_) => true,
    })
}

/// A SCIM resource as a record: names are paths, and of several values the first counts.
#[derive(Clone, Copy, Debug)]
pub struct ResourceRecord<'a> {
    /// The resource.
    pub resource: &'a Object,
    /// What it is made of.
    pub types: &'a ResourceType,
}

impl Record for ResourceRecord<'_> {
    fn value(&self, name: &str) -> Option<Value> {
        let path = Path::parse(name).ok()?;
        let place = self.types.find(path.attribute())?;
        let (filter, sub): (Option<&Filter>, Option<&str>) = match &path {
            Path::Attribute(_) => (None, place.sub.map(|sub| sub.name.as_str())),
            Path::Values { filter, sub, .. } => (Some(filter), sub.as_deref()),
        };
        let value = member(place.container(self.resource)?, &place.attribute.name)?;
        let of_one = |value: &Value| {
            let is_meant = filter.is_none_or(|filter| filter.matches_value(value, place.attribute));
            let part = match sub {
                Some(sub) => member(value.as_object()?, sub)?,
                None => value,
            };
            (is_meant && !part.is_null()).then(|| part.clone())
        };
        match value {
            Value::Array(values) if filter.is_some() || sub.is_some() => values.iter().find_map(of_one),
            value => of_one(value),
        }
    }
}
