//! Changing a resource.

use std::collections::HashSet;

use serde_json::Value;

use super::{Kind, Operation, Patch, Target};
use crate::error::{Error, ScimType};
use crate::filter::Filter;
use crate::path::Path;
use crate::schema::{Attribute, Mutability, Place, ReadOnly, ResourceType, is_primary};
use crate::{Object, Strictness};

/// How many new values are too many to compare each with all that are there.
const MANY: usize = 16;

impl Patch {
    /// The resource after all operations, or none of them. The resource has to be one that
    /// [`ResourceType::read`] gives, with what only the service provider sets.
    ///
    /// # Errors
    /// `mutability`, `noTarget`, with the operation of the request.
    pub fn apply(&self, resource: &Object, types: &ResourceType) -> Result<Object, Error> {
        let mut after = resource.clone();
        for operation in &self.operations {
            self.operation(operation, &mut after, types)
                .map_err(|error| error.within(&format!("operation {}", operation.index + 1)))?;
        }
        for extension in &types.extensions {
            let urn = &extension.schema.id;
            if after
                .get(urn)
                .and_then(Value::as_object)
                .is_some_and(Object::is_empty)
            {
                after.remove(urn);
            }
        }
        types.state_schemas(&mut after);
        Ok(after)
    }

    /// Puts a value where a path leads in a resource that is being made, and may lack what it needs.
    pub(crate) fn set(
        path: &Path,
        value: Value,
        resource: &mut Object,
        types: &ResourceType,
    ) -> Result<(), Error> {
        let kind = match path {
            Path::Attribute(_) => Kind::Replace,
            // A value that is selected is made.
            Path::Values { .. } => Kind::Add,
        };
        let patch = Self::one(kind, path, value, types)?;
        let mut operations = patch.operations.iter();
        operations.try_for_each(|operation| patch.operation(operation, resource, types))
    }

    fn operation(
        &self,
        operation: &Operation,
        resource: &mut Object,
        types: &ResourceType,
    ) -> Result<(), Error> {
        let path = match &operation.target {
            Target::Extension(urn) => {
                let mut extensions = types.extensions.iter();
                if extensions.any(|extension| extension.required && extension.schema.id == *urn) {
                    return Err(Error::mutability(format!("{urn} must not be removed")));
                }
                resource.remove(urn);
                return Ok(());
            }
            Target::Path(path) => path,
        };
        let unknown = || Error::of(ScimType::InvalidPath, format!("there is no attribute `{path}`"));
        let place = types.find(path.attribute()).ok_or_else(unknown)?;
        let object = container(resource, &place)?;
        let change = Change {
            kind: operation.kind,
            value: operation.value.as_ref(),
            makes_values: self.makes_values,
        };
        match path {
            Path::Attribute(_) => match place.sub {
                None => change.whole(object, place.attribute),
                Some(sub) if place.attribute.multi_valued => {
                    change.selected(object, place.attribute, None, Some(sub))
                }
                Some(sub) => change.part(object, place.attribute, sub),
            },
            Path::Values { filter, sub, .. } => {
                let sub = match sub {
                    Some(sub) => Some(place.attribute.sub(sub).ok_or_else(unknown)?),
                    None => None,
                };
                change.selected(object, place.attribute, Some(filter), sub)
            }
        }
    }
}

/// Where the attribute stands, made if it is not there.
fn container<'r>(resource: &'r mut Object, place: &Place<'_>) -> Result<&'r mut Object, Error> {
    let Some(schema) = place.extension else {
        return Ok(resource);
    };
    resource
        .entry(schema.id.clone())
        .or_insert_with(|| Object::new().into())
        .as_object_mut()
        .ok_or_else(|| Error::value(format!("{} is no object", schema.id)))
}

#[derive(Clone, Copy)]
struct Change<'a> {
    kind: Kind,
    value: Option<&'a Value>,
    makes_values: bool,
}

impl<'a> Change<'a> {
    fn with(self, value: Option<&'a Value>) -> Self {
        Self { value, ..self }
    }

    /// Changes an attribute, or a part of one, in the object in which it stands.
    fn whole(self, object: &mut Object, attribute: &Attribute) -> Result<(), Error> {
        let name = &attribute.name;
        match (self.kind, self.value) {
            (Kind::Remove, Some(Value::Array(listed))) if attribute.multi_valued => {
                change_list(object, attribute, |values| {
                    values.retain(|value| !listed.iter().any(|listed| is_same(attribute, value, listed)));
                    Ok(())
                })
            }
            (Kind::Remove, _) => remove(object, attribute),
            (Kind::Add | Kind::Replace, None) => Err(Error::value(format!("{name}: value is missing"))),
            (Kind::Add, Some(Value::Array(new))) if attribute.multi_valued => {
                change_list(object, attribute, |values| {
                    add_values(values, attribute, new);
                    Ok(())
                })
            }
            (_, Some(Value::Object(parts))) if !attribute.multi_valued => {
                let mut inner = match object.get(name) {
                    Some(Value::Object(inner)) => inner.clone(),
                    _ => Object::new(),
                };
                for (key, value) in parts {
                    if let Some(sub) = attribute.sub(key) {
                        self.with(Some(value))
                            .whole(&mut inner, sub)
                            .map_err(|error| error.within(name))?;
                    }
                }
                put(object, attribute, inner.into())
            }
            (_, Some(value)) => put(object, attribute, value.clone()),
        }
    }

    /// Changes a part of an attribute that has one value.
    fn part(self, object: &mut Object, attribute: &Attribute, sub: &Attribute) -> Result<(), Error> {
        let mut inner = match object.get(&attribute.name) {
            Some(Value::Object(inner)) => inner.clone(),
            _ => Object::new(),
        };
        self.whole(&mut inner, sub)
            .map_err(|error| error.within(&attribute.name))?;
        if inner.is_empty() {
            remove(object, attribute)
        } else {
            put(object, attribute, inner.into())
        }
    }

    /// Changes some values of an attribute that has several, or a part of each.
    fn selected(
        self,
        object: &mut Object,
        attribute: &Attribute,
        filter: Option<&Filter>,
        sub: Option<&Attribute>,
    ) -> Result<(), Error> {
        change_list(object, attribute, |values| {
            self.some(values, attribute, filter, sub)
        })
    }

    fn some(
        self,
        values: &mut Vec<Value>,
        attribute: &Attribute,
        filter: Option<&Filter>,
        sub: Option<&Attribute>,
    ) -> Result<(), Error> {
        let is_meant = |value: &Value| filter.is_none_or(|filter| filter.matches_value(value, attribute));
        if self.kind == Kind::Remove && sub.is_none() {
            values.retain(|value| !is_meant(value));
            return Ok(());
        }
        let mut meant: Vec<usize> = (0..values.len())
            .filter(|&index| is_meant(&values[index]))
            .collect();
        let makes_one = meant.is_empty() && self.kind != Kind::Remove;
        if makes_one {
            let made = self.made(attribute, filter)?;
            meant.push(values.len());
            values.push(made);
        }
        for &index in &meant {
            self.one(&mut values[index], attribute, sub)
                .map_err(|error| error.within(&attribute.name))?;
        }
        // A value that was made for a selection has to be found by it the next time.
        if makes_one && !values.last().is_some_and(is_meant) {
            return Err(no_target(attribute, filter));
        }
        let preferred = meant.into_iter().find(|&index| is_primary(&values[index]));
        prefer(values, preferred);
        Ok(())
    }

    /// A value as the filter describes it, if values may be made and it describes one.
    fn made(self, attribute: &Attribute, filter: Option<&Filter>) -> Result<Value, Error> {
        let nothing = || no_target(attribute, filter);
        if !self.makes_values || attribute.sub_attributes.is_empty() {
            return Err(nothing());
        }
        let equalities = match filter {
            Some(filter) => filter.equalities().ok_or_else(nothing)?,
            None => Vec::new(),
        };
        let mut made = Object::new();
        for (path, literal) in equalities {
            let is_plain = path.schema.is_none() && path.sub.is_none();
            let sub = attribute
                .sub(&path.name)
                .filter(|_| is_plain)
                .ok_or_else(nothing)?;
            let value = sub.read(literal.into(), Strictness::Lenient, ReadOnly::Drop)?;
            if let Some(value) = value {
                made.insert(sub.name.clone(), value);
            }
        }
        Ok(made.into())
    }

    /// Changes one value of an attribute that has several.
    fn one(self, value: &mut Value, attribute: &Attribute, sub: Option<&Attribute>) -> Result<(), Error> {
        match (sub, value, self.value) {
            (Some(sub), Value::Object(object), _) => self.whole(object, sub),
            (None, value, Some(new)) if self.kind == Kind::Replace => {
                *value = new.clone();
                Ok(())
            }
            (None, Value::Object(object), Some(Value::Object(parts))) => {
                for (key, part) in parts {
                    if let Some(sub) = attribute.sub(key) {
                        self.with(Some(part)).whole(object, sub)?;
                    }
                }
                Ok(())
            }
            (None, value, Some(new)) => {
                *value = new.clone();
                Ok(())
            }
            (Some(_), _, _) | (None, _, None) => Ok(()),
        }
    }
}

fn no_target(attribute: &Attribute, filter: Option<&Filter>) -> Error {
    let detail = match filter {
        Some(filter) => format!("no value of {} is meant by [{filter}]", attribute.name),
        None => format!("{} has no value", attribute.name),
    };
    Error::of(ScimType::NoTarget, detail)
}

/// Changes the values that an attribute has. They are taken out of the object for that, so that many
/// operations on many values do not copy them each time.
fn change_list(
    object: &mut Object,
    attribute: &Attribute,
    change: impl FnOnce(&mut Vec<Value>) -> Result<(), Error>,
) -> Result<(), Error> {
    let name = &attribute.name;
    let never_changes = attribute.mutability == Mutability::Immutable;
    let before = if never_changes {
        object.get(name).cloned()
    } else {
        None
    };
    let mut values = match object.remove(name) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(values)) => values,
        Some(value) => vec![value],
    };
    let had_some = !values.is_empty();
    change(&mut values)?;
    values.retain(|value| value.as_object().is_none_or(|object| !object.is_empty()));
    attribute.check_count(values.len())?;
    if values.is_empty() && had_some && attribute.required {
        return Err(must_stay(attribute));
    }
    let after = (!values.is_empty()).then_some(Value::Array(values));
    if before.is_some() && before != after {
        return Err(Error::mutability(format!("{name} must not change")));
    }
    object.extend(after.map(|after| (name.clone(), after)));
    Ok(())
}

fn must_stay(attribute: &Attribute) -> Error {
    Error::mutability(format!("{} must not be removed", attribute.name))
}

fn put(object: &mut Object, attribute: &Attribute, value: Value) -> Result<(), Error> {
    if attribute.required && value.as_str() == Some("") {
        return Err(Error::value(format!("{} must not be empty", attribute.name)));
    }
    let before = object.get(&attribute.name);
    if attribute.mutability == Mutability::Immutable && before.is_some_and(|before| *before != value) {
        return Err(Error::mutability(format!("{} must not change", attribute.name)));
    }
    object.insert(attribute.name.clone(), value);
    Ok(())
}

fn remove(object: &mut Object, attribute: &Attribute) -> Result<(), Error> {
    let is_kept = attribute.required || attribute.mutability == Mutability::Immutable;
    if is_kept && object.contains_key(&attribute.name) {
        return Err(must_stay(attribute));
    }
    object.remove(&attribute.name);
    Ok(())
}

fn add_values(values: &mut Vec<Value>, attribute: &Attribute, new: &[Value]) {
    let told_apart = attribute.sub("value").filter(|_| attribute.has_fixed_values());
    let Some(sub) = told_apart.filter(|_| new.len() >= MANY) else {
        for new in new {
            add_value(values, attribute, new);
        }
        return;
    };
    // A group may have a hundred thousand members: whoever joins is looked up among them, not compared with each.
    let text = |value: &Value| Some(sub.folded(value.get("value")?.as_str()?).to_string());
    let mut known: HashSet<String> = values.iter().filter_map(text).collect();
    for new in new {
        match text(new) {
            Some(value) if !is_primary(new) => {
                if known.insert(value) {
                    values.push(new.clone());
                }
            }
            value => {
                add_value(values, attribute, new);
                known.extend(value);
            }
        }
    }
}

fn add_value(values: &mut Vec<Value>, attribute: &Attribute, new: &Value) {
    let found = values.iter().position(|value| is_same(attribute, value, new));
    let index = found.unwrap_or(values.len());
    match (values.get_mut(index), new) {
        (None, new) => values.push(new.clone()),
        // The same value with more parts, or other ones.
        (Some(Value::Object(value)), Value::Object(new)) if !attribute.has_fixed_values() => {
            value.extend(new.clone());
        }
        (Some(_), _) => {}
    }
    if is_primary(new) {
        prefer(values, Some(index));
    }
}

/// Makes one value the only preferred one.
fn prefer(values: &mut [Value], index: Option<usize>) {
    let Some(index) = index else { return };
    for (other, value) in values.iter_mut().enumerate() {
        if other != index && is_primary(value) {
            value["primary"] = false.into();
        }
    }
}

/// Whether a value that is there is the one that is given: by its `value` and, if it has one that can
/// change, by its `type`; without a `value`, by all that is given.
fn is_same(attribute: &Attribute, there: &Value, given: &Value) -> bool {
    let (Value::Object(there), Value::Object(given)) = (there, given) else {
        return is_equal(attribute, there, given);
    };
    let part_is = |name: &str| match (attribute.sub(name), there.get(name), given.get(name)) {
        (_, _, None) => true,
        (Some(sub), Some(there), Some(given)) => is_equal(sub, there, given),
        _ => false,
    };
    if given.contains_key("value") {
        part_is("value") && (attribute.has_fixed_values() || part_is("type"))
    } else {
        given.keys().all(|name| part_is(name))
    }
}

fn is_equal(attribute: &Attribute, one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => attribute.folded(one) == attribute.folded(other),
        _ => one == other,
    }
}
