//! Reading what somebody sends into values that are valid.
//!
//! Names get the spelling of the schema, `null` and empty lists become nothing, and what only the
//! service provider sets is left out. Lenient, values are understood that large clients send: booleans
//! and numbers in quotation marks, texts without, one value where several are possible and the other
//! way round, `manager` as the plain id.

use serde_json::Value;

use super::{Attribute, DataType, Mutability, ResourceType, SCHEMAS, Schema};
use crate::error::Error;
use crate::text::{number, shortened};
use crate::time::instant;
use crate::{Object, Strictness};

/// How many values an attribute may have, so that changes that look through them stay cheap. The members
/// of a group are as many as there are: nothing looks through those.
pub const VALUES_LIMIT: usize = 500;

/// What becomes of attributes that only the service provider sets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadOnly {
    /// They are left out, as the standard wants it of whole resources.
    Drop,
    /// They are kept, in an answer of the service provider.
    Keep,
}

impl ResourceType {
    /// Reads a whole resource, as it comes with POST or PUT.
    ///
    /// # Errors
    /// `invalidValue` with the attribute, `invalidSyntax` if it is no resource of the type.
    pub fn read(&self, resource: Value, strictness: Strictness) -> Result<Object, Error> {
        let read = self.read_with(resource, strictness, ReadOnly::Drop)?;
        self.check_required(&read)?;
        Ok(read)
    }

    /// Reads a resource as a service provider answers with it: with what only that sets, and maybe
    /// without what must be there, if it was not asked for.
    ///
    /// # Errors
    /// `invalidValue` with the attribute, `invalidSyntax` if it is no resource of the type.
    pub fn read_answer(&self, resource: Value) -> Result<Object, Error> {
        self.read_with(resource, Strictness::Lenient, ReadOnly::Keep)
    }

    fn read_with(
        &self,
        resource: Value,
        strictness: Strictness,
        read_only: ReadOnly,
    ) -> Result<Object, Error> {
        let Value::Object(given) = resource else {
            return Err(Error::syntax("the resource must be a JSON object"));
        };
        let mut read = Object::new();
        for (key, value) in given {
            if key.eq_ignore_ascii_case(SCHEMAS) {
                self.check_schemas(&value, strictness)?;
            } else if let Some(attribute) = self.own(&key) {
                put(&mut read, attribute, value, strictness, read_only)?;
            } else if let Some(extension) = self.extension(&key) {
                let object = extension.read(value, strictness, read_only)?;
                if !object.is_empty() {
                    read.insert(extension.id.clone(), object.into());
                }
            } else if strictness.is_strict() {
                return Err(Error::value(format!(
                    "there is no attribute `{}` in {}",
                    shortened(&key),
                    self.schema.id
                )));
            }
        }
        self.state_schemas(&mut read);
        Ok(read)
    }

    fn check_schemas(&self, value: &Value, strictness: Strictness) -> Result<(), Error> {
        if !strictness.is_strict() {
            return Ok(());
        }
        let listed: Option<Vec<&str>> = value
            .as_array()
            .and_then(|schemas| schemas.iter().map(Value::as_str).collect());
        let listed = listed.ok_or_else(|| Error::syntax("schemas must be a list of URNs"))?;
        let is_core = |urn: &&str| urn.eq_ignore_ascii_case(&self.schema.id);
        if !listed.iter().any(is_core) {
            return Err(Error::syntax(format!("schemas must have {}", self.schema.id)));
        }
        match listed
            .iter()
            .find(|urn| !is_core(urn) && self.extension(urn).is_none())
        {
            Some(unknown) => Err(Error::value(format!(
                "the schema `{}` is not known",
                shortened(unknown)
            ))),
            None => Ok(()),
        }
    }

    /// Whether everything is there that must be.
    ///
    /// # Errors
    /// `invalidValue` with what is missing.
    pub fn check_required(&self, resource: &Object) -> Result<(), Error> {
        check_required(&self.schema.attributes, resource)?;
        for extension in &self.extensions {
            match resource.get(&extension.schema.id) {
                Some(Value::Object(object)) => check_required(&extension.schema.attributes, object)?,
                _ if extension.required => {
                    return Err(Error::value(format!("{} is missing", extension.schema.id)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a resource that takes the place of another one leaves alone what must not change.
    ///
    /// # Errors
    /// `mutability` with the attribute.
    pub fn check_immutable(&self, before: &Object, after: &Object) -> Result<(), Error> {
        check_immutable(&self.schema.attributes, before, after)?;
        let nothing = Object::new();
        for extension in &self.extensions {
            let part = |resource: &Object| match resource.get(&extension.schema.id) {
                Some(Value::Object(object)) => object.clone(),
                _ => nothing.clone(),
            };
            check_immutable(&extension.schema.attributes, &part(before), &part(after))?;
        }
        Ok(())
    }
}

fn check_required(attributes: &[Attribute], object: &Object) -> Result<(), Error> {
    let missing = attributes.iter().find(|attribute| {
        let is_empty = match object.get(&attribute.name) {
            None | Some(Value::Null) => true,
            Some(value) => value.as_str() == Some(""),
        };
        attribute.required && is_empty
    });
    match missing {
        Some(attribute) => Err(Error::value(format!("{} is missing", attribute.name))),
        None => Ok(()),
    }
}

fn check_immutable(attributes: &[Attribute], before: &Object, after: &Object) -> Result<(), Error> {
    for attribute in attributes {
        let (Some(before), after) = (before.get(&attribute.name), after.get(&attribute.name)) else {
            continue;
        };
        if attribute.mutability == Mutability::Immutable && after != Some(before) {
            return Err(Error::mutability(format!("{} must not change", attribute.name)));
        }
        // The values of a multi-valued attribute come and go as wholes.
        if let (false, Value::Object(before), Some(Value::Object(after))) =
            (attribute.multi_valued, before, after)
        {
            check_immutable(&attribute.sub_attributes, before, after)
                .map_err(|error| error.within(&attribute.name))?;
        }
    }
    Ok(())
}

/// Reads an attribute and puts it where it belongs, if there is something to put.
fn put(
    into: &mut Object,
    attribute: &Attribute,
    value: Value,
    strictness: Strictness,
    read_only: ReadOnly,
) -> Result<(), Error> {
    if attribute.mutability == Mutability::ReadOnly && read_only == ReadOnly::Drop {
        return Ok(());
    }
    if strictness.is_strict() && into.contains_key(&attribute.name) {
        return Err(Error::syntax(format!("{} is there twice", attribute.name)));
    }
    if let Some(value) = attribute.read(value, strictness, read_only)? {
        into.insert(attribute.name.clone(), value);
    }
    Ok(())
}

impl Schema {
    /// Reads the attributes below an extension's URN.
    pub(crate) fn read(
        &self,
        value: Value,
        strictness: Strictness,
        read_only: ReadOnly,
    ) -> Result<Object, Error> {
        let given = match value {
            Value::Object(given) => given,
            Value::Null => return Ok(Object::new()),
            _ => return Err(Error::value(format!("{} must be an object", self.id))),
        };
        read_parts(&self.attributes, given, strictness, read_only).map_err(|error| error.within(&self.id))
    }
}

fn read_parts(
    attributes: &[Attribute],
    given: Object,
    strictness: Strictness,
    read_only: ReadOnly,
) -> Result<Object, Error> {
    let mut read = Object::new();
    for (key, value) in given {
        if let Some(attribute) = super::named(attributes, &key) {
            put(&mut read, attribute, value, strictness, read_only)?;
        } else if strictness.is_strict() {
            return Err(Error::value(format!(
                "there is no attribute `{}`",
                shortened(&key)
            )));
        }
    }
    Ok(read)
}

impl Attribute {
    /// Reads what the attribute has; `None` if that is nothing.
    pub(crate) fn read(
        &self,
        value: Value,
        strictness: Strictness,
        read_only: ReadOnly,
    ) -> Result<Option<Value>, Error> {
        let lenient = !strictness.is_strict();
        if !self.multi_valued {
            return match value {
                Value::Array(values) if lenient && values.len() < 2 => match values.into_iter().next() {
                    Some(only) => self.read_one(only, strictness, read_only),
                    None => Ok(None),
                },
                value => self.read_one(value, strictness, read_only),
            };
        }
        let values = match value {
            Value::Null => return Ok(None),
            Value::Array(values) => values,
            one if lenient => vec![one],
            _ => return Err(self.must_be("a list")),
        };
        self.check_count(values.len())?;
        let mut read = Vec::with_capacity(values.len());
        for value in values {
            if let Some(value) = self.read_one(value, strictness, read_only)? {
                if let Value::Object(object) = &value {
                    check_required(&self.sub_attributes, object).map_err(|error| error.within(&self.name))?;
                }
                read.push(value);
            }
        }
        let mut primary = read.iter_mut().filter(|value| is_primary(value)).skip(1);
        if strictness.is_strict() && primary.next().is_some() {
            return Err(Error::value(format!(
                "{}: only one value can be primary",
                self.name
            )));
        }
        primary.for_each(|value| value["primary"] = false.into());
        Ok((!read.is_empty()).then(|| read.into()))
    }

    /// Whether an attribute may have so many values.
    pub(crate) fn check_count(&self, count: usize) -> Result<(), Error> {
        if count > VALUES_LIMIT && !self.has_fixed_values() {
            return Err(self.must_be(&format!("at most {VALUES_LIMIT} values")));
        }
        Ok(())
    }

    /// Reads one value.
    pub(crate) fn read_one(
        &self,
        value: Value,
        strictness: Strictness,
        read_only: ReadOnly,
    ) -> Result<Option<Value>, Error> {
        let lenient = !strictness.is_strict();
        let read = match (self.data_type, value) {
            (_, Value::Null) => return Ok(None),
            (DataType::Complex, Value::Object(given)) => {
                let read = read_parts(&self.sub_attributes, given, strictness, read_only)
                    .map_err(|error| error.within(&self.name))?;
                return Ok((!read.is_empty()).then(|| read.into()));
            }
            (DataType::Complex, Value::String(text)) if lenient && self.sub("value").is_some() => {
                let mut object = Object::new();
                object.insert("value".to_owned(), text.into());
                return self.read_one(object.into(), strictness, read_only);
            }
            (_, Value::Object(mut object)) if lenient && object.contains_key("value") => {
                return match object.remove("value") {
                    Some(value) if !value.is_object() => self.read_one(value, strictness, read_only),
                    _ => Err(self.must_be(self.data_type.phrase())),
                };
            }
            (_, value) => self.simple(value, lenient),
        };
        match read {
            Some(value) => Ok(Some(value)),
            None => Err(self.must_be(self.data_type.phrase())),
        }
    }

    fn simple(&self, value: Value, lenient: bool) -> Option<Value> {
        match (self.data_type, value) {
            (DataType::String | DataType::Reference, Value::String(text)) => Some(text.into()),
            (DataType::String, Value::Number(number)) if lenient => Some(number.to_string().into()),
            (DataType::String, Value::Bool(flag)) if lenient => Some(flag.to_string().into()),
            (DataType::Boolean, Value::Bool(flag)) => Some(flag.into()),
            (DataType::Boolean, Value::String(text)) if lenient => {
                let is = |word: &str| text.trim().eq_ignore_ascii_case(word);
                (is("true") || is("false")).then(|| is("true").into())
            }
            (DataType::Integer, Value::Number(value)) => value.as_i64().map(Value::from),
            (DataType::Integer, Value::String(text)) if lenient => number(text.trim())
                .and_then(|value| value.as_i64())
                .map(Value::from),
            (DataType::Decimal, Value::Number(value)) => Some(value.into()),
            (DataType::Decimal, Value::String(text)) if lenient => number(text.trim()).map(Value::from),
            (DataType::DateTime, Value::String(text)) => instant(&text).map(|_| text.into()),
            (DataType::Binary, Value::String(text)) => {
                let is_base64 = text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_\r\n".contains(&byte));
                is_base64.then(|| text.into())
            }
            _ => None,
        }
    }

    pub(crate) fn must_be(&self, what: &str) -> Error {
        Error::value(format!("{} must be {what}", self.name))
    }
}

/// Whether a value says that it is the preferred one.
pub(crate) fn is_primary(value: &Value) -> bool {
    value.get("primary") == Some(&Value::Bool(true))
}
