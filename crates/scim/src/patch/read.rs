//! From a request to operations in canonical form.

use serde_json::Value;

use super::{Kind, Operation, PATCH_SCHEMA, Patch, Target};
use crate::error::{Error, ScimType};
use crate::name::AttrPath;
use crate::path::Path;
use crate::schema::{Attribute, Mutability, Place, ReadOnly, ResourceType, SCHEMAS, member};
use crate::text::shortened;
use crate::{Object, Strictness};

impl Patch {
    /// Reads the body of a request.
    ///
    /// Lenient, this is understood as well: `op` in any case; names with dots, colons and brackets in a
    /// value without a path; booleans in quotation marks; the values to be removed as a list; one value
    /// where a list is wanted. Attributes that are unknown, and without a path those that only the
    /// service provider sets, are [ignored](Patch::ignored).
    ///
    /// # Errors
    /// `invalidSyntax`, `invalidPath`, `invalidFilter`, `invalidValue`, `mutability`, `noTarget`.
    pub fn read(body: Value, types: &ResourceType, strictness: Strictness) -> Result<Self, Error> {
        let Value::Object(mut body) = body else {
            return Err(Error::syntax("the request must be a JSON object"));
        };
        if strictness.is_strict() && !has_schema(&body) {
            return Err(Error::syntax(format!("schemas must have {PATCH_SCHEMA}")));
        }
        let Some(Value::Array(operations)) = taken(&mut body, "Operations") else {
            return Err(Error::syntax("Operations must be a list"));
        };
        if strictness.is_strict() && operations.is_empty() {
            return Err(Error::syntax("Operations must not be empty"));
        }
        let mut reader = Reader::new(types, strictness);
        for (index, operation) in operations.into_iter().enumerate() {
            reader.index = index;
            reader
                .operation(operation)
                .map_err(|error| error.within(&format!("operation {}", index + 1)))?;
        }
        Ok(reader.patch)
    }

    /// One lenient operation that has a path.
    pub(super) fn one(kind: Kind, path: &Path, value: Value, types: &ResourceType) -> Result<Self, Error> {
        let mut reader = Reader::new(types, Strictness::Lenient);
        reader.target(kind, &path.to_string(), Some(value), Named::ByPath)?;
        Ok(reader.patch)
    }
}

fn has_schema(body: &Object) -> bool {
    let schemas = member(body, SCHEMAS).and_then(Value::as_array);
    schemas.is_some_and(|schemas| {
        schemas
            .iter()
            .filter_map(Value::as_str)
            .any(|schema| schema.eq_ignore_ascii_case(PATCH_SCHEMA))
    })
}

/// Takes a member out of an object, whatever the case of its name.
fn taken(object: &mut Object, name: &str) -> Option<Value> {
    let key = object.keys().find(|key| key.eq_ignore_ascii_case(name))?.clone();
    object.remove(&key)
}

/// How an attribute came to be named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    /// By the path of the operation.
    ByPath,
    /// By a name in the value of an operation without a path.
    ByKey,
}

struct Reader<'a> {
    types: &'a ResourceType,
    strictness: Strictness,
    index: usize,
    patch: Patch,
}

impl<'a> Reader<'a> {
    fn new(types: &'a ResourceType, strictness: Strictness) -> Self {
        Self {
            types,
            strictness,
            index: 0,
            patch: Patch {
                makes_values: !strictness.is_strict(),
                ..Patch::default()
            },
        }
    }

    fn operation(&mut self, operation: Value) -> Result<(), Error> {
        let Value::Object(mut operation) = operation else {
            return Err(Error::syntax("it must be an object"));
        };
        let kind = self.kind(taken(&mut operation, "op"))?;
        let value = taken(&mut operation, "value");
        let path = match taken(&mut operation, "path") {
            None | Some(Value::Null) => None,
            Some(Value::String(path)) if path.is_empty() && !self.strictness.is_strict() => None,
            Some(Value::String(path)) => Some(path),
            Some(_) => return Err(Error::of(ScimType::InvalidPath, "path must be text")),
        };
        match (path, kind, value) {
            (Some(path), Kind::Remove, value) => self.target(kind, &path, value, Named::ByPath),
            (Some(_), _, None) => Err(Error::value("value is missing")),
            (Some(path), _, value) => self.target(kind, &path, value, Named::ByPath),
            (None, Kind::Remove, _) => Err(Error::of(ScimType::NoTarget, "remove needs a path")),
            (None, _, Some(Value::Object(object))) => self.members(kind, object),
            (None, _, _) => Err(Error::value("without a path, value must be an object")),
        }
    }

    fn kind(&self, op: Option<Value>) -> Result<Kind, Error> {
        let Some(Value::String(op)) = op else {
            return Err(Error::syntax("op must be add, replace or remove"));
        };
        [Kind::Add, Kind::Replace, Kind::Remove]
            .into_iter()
            .find(|kind| match self.strictness {
                Strictness::Strict => op == kind.as_str(),
                Strictness::Lenient => op.eq_ignore_ascii_case(kind.as_str()),
            })
            .ok_or_else(|| {
                Error::syntax(format!(
                    "op must be add, replace or remove, not `{}`",
                    shortened(&op)
                ))
            })
    }

    /// The value of an operation without a path: each name is an attribute.
    fn members(&mut self, kind: Kind, object: Object) -> Result<(), Error> {
        for (key, value) in object {
            // What the resource has says its other attributes.
            if key.eq_ignore_ascii_case(SCHEMAS) {
                continue;
            }
            let is_plain = self.types.own(&key).is_some() || self.types.extension(&key).is_some();
            if self.strictness.is_strict() && !is_plain {
                return Err(Error::value(format!(
                    "there is no attribute `{}`",
                    shortened(&key)
                )));
            }
            self.target(kind, &key, Some(value), Named::ByKey)?;
        }
        Ok(())
    }

    fn target(&mut self, kind: Kind, text: &str, value: Option<Value>, named: Named) -> Result<(), Error> {
        if let Some(schema) = self.types.extension(text) {
            let urn = schema.id.clone();
            return self.extension(kind, urn, value);
        }
        let path = match Path::parse(text) {
            Ok(path) => path,
            Err(_) if named == Named::ByKey => return self.ignore(text),
            Err(error) => return Err(error.into()),
        };
        let types = self.types;
        let unknown = || {
            let what = format!("there is no attribute `{}`", shortened(text));
            Error::of(ScimType::InvalidPath, what)
        };
        let Some(place) = types.find(path.attribute()) else {
            return if self.strictness.is_strict() {
                Err(unknown())
            } else {
                self.ignore(text)
            };
        };
        let place = match &path {
            Path::Values { sub: Some(sub), .. } => Place {
                sub: Some(place.attribute.sub(sub).ok_or_else(unknown)?),
                ..place
            },
            _ => place,
        };
        let only_provider = |attribute: &Attribute| attribute.mutability == Mutability::ReadOnly;
        if only_provider(place.attribute) || place.sub.is_some_and(only_provider) {
            return if named == Named::ByKey && !self.strictness.is_strict() {
                self.ignore(text)
            } else {
                Err(Error::mutability(format!(
                    "{} is set by the service provider alone",
                    shortened(text)
                )))
            };
        }
        let path = match path {
            Path::Attribute(_) => Path::Attribute(place.path()),
            Path::Values { .. } if !place.attribute.multi_valued => {
                let what = format!("{} has one value, so none can be selected", place.attribute.name);
                return Err(Error::of(ScimType::InvalidPath, what));
            }
            Path::Values { filter, .. } => Path::Values {
                path: AttrPath {
                    sub: None,
                    ..place.path()
                },
                filter,
                sub: place.sub.map(|sub| sub.name.clone()),
            },
        };
        self.value(kind, path, place, value)
    }

    /// An operation on all of an extension.
    fn extension(&mut self, kind: Kind, urn: String, value: Option<Value>) -> Result<(), Error> {
        match (kind, value) {
            (Kind::Remove, _) | (Kind::Replace, Some(Value::Null)) => {
                self.push(Kind::Remove, Target::Extension(urn), None);
                Ok(())
            }
            (Kind::Add | Kind::Replace, Some(Value::Object(object))) => {
                for (key, value) in object {
                    self.target(kind, &format!("{urn}:{key}"), Some(value), Named::ByKey)?;
                }
                Ok(())
            }
            (Kind::Add | Kind::Replace, _) => Err(Error::value(format!("{urn} must be an object"))),
        }
    }

    /// Makes the value valid for what it is about.
    fn value(&mut self, kind: Kind, path: Path, place: Place<'_>, value: Option<Value>) -> Result<(), Error> {
        let strictness = self.strictness;
        let Some(value) = value.filter(|value| kind != Kind::Remove || !value.is_null()) else {
            self.push(kind, Target::Path(path), None);
            return Ok(());
        };
        let is_list =
            place.attribute.multi_valued && place.sub.is_none() && matches!(path, Path::Attribute(_));
        if kind == Kind::Remove {
            if strictness.is_strict() {
                return Err(Error::value(
                    "remove takes no value; select what is removed in the path",
                ));
            }
            // Somebody who removes a list of nothing removes nothing, and not everything.
            let listed = if is_list {
                match place.attribute.read(value, strictness, ReadOnly::Drop)? {
                    None => return Ok(()),
                    listed => listed,
                }
            } else {
                None
            };
            self.push(kind, Target::Path(path), listed);
            return Ok(());
        }
        let read = match (&path, place.sub) {
            (_, Some(sub)) => sub.read(value, strictness, ReadOnly::Drop)?,
            (Path::Attribute(_), None) => place.attribute.read(value, strictness, ReadOnly::Drop)?,
            (Path::Values { .. }, None) => {
                let one = match value {
                    Value::Array(mut values) if !strictness.is_strict() && values.len() == 1 => {
                        values.remove(0)
                    }
                    value => value,
                };
                place.attribute.read_one(one, strictness, ReadOnly::Drop)?
            }
        };
        match (kind, read) {
            (_, Some(value)) => self.push(kind, Target::Path(path), Some(value)),
            // Nothing in the place of something is its removal.
            (Kind::Replace, None) => self.push(Kind::Remove, Target::Path(path), None),
            (_, None) => {}
        }
        Ok(())
    }

    fn ignore(&mut self, what: &str) -> Result<(), Error> {
        self.patch.ignored.push(shortened(what));
        Ok(())
    }

    fn push(&mut self, kind: Kind, target: Target, value: Option<Value>) {
        self.patch.operations.push(Operation {
            kind,
            target,
            value,
            index: self.index,
        });
    }
}
