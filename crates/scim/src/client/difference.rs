//! In what a resource at a service provider differs from what it has to be.

use serde_json::Value;

use super::Managed;
use crate::Object;
use crate::schema::{Attribute, Mutability, ResourceType, Returned, Uniqueness};

/// An attribute that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Its name, in the spelling of the schemas.
    pub attribute: String,
    /// What the service provider has; `None`: nothing.
    pub there: Option<Value>,
    /// What it has to have; `None`: nothing.
    pub wanted: Option<Value>,
}

impl Managed {
    /// In which of the attributes that are managed two resources of a type differ. What is never shown cannot be
    /// compared, so passwords are left out.
    ///
    /// Service providers write things down in their own way, which is no difference: the case of user names and of
    /// addresses, the order of several values, and parts of such a value that nobody has set.
    pub fn differences(&self, there: &Object, wanted: &Object, types: &ResourceType) -> Vec<Difference> {
        let mut found = Vec::new();
        for (extension, name, sub) in self.attributes() {
            let attribute = match extension {
                None => types.own(name),
                Some(urn) => types.extension(urn).and_then(|schema| schema.attribute(name)),
            };
            let Some(attribute) = attribute else { continue };
            let compared = match sub {
                None => Some(attribute),
                Some(sub) => attribute.sub(sub),
            };
            let Some(compared) = compared.filter(|it| is_shown(it) && is_shown(attribute)) else {
                continue;
            };
            let value = |resource: &Object| {
                let holder = match extension {
                    None => Some(resource),
                    Some(urn) => resource.get(urn).and_then(Value::as_object),
                };
                let value = holder?.get(name)?;
                match sub {
                    None => Some(value.clone()),
                    Some(sub) => value.as_object()?.get(sub).cloned(),
                }
            };
            let (there, wanted) = (value(there), value(wanted));
            let same = match (&there, &wanted) {
                (None, None) => true,
                (Some(there), Some(wanted)) => is_same(compared, there, wanted),
                _ => false,
            };
            if !same {
                let name = match sub {
                    None => name.to_owned(),
                    Some(sub) => format!("{name}.{sub}"),
                };
                found.push(Difference {
                    attribute: match extension {
                        None => name,
                        Some(urn) => format!("{urn}:{name}"),
                    },
                    there,
                    wanted,
                });
            }
        }
        found
    }
}

fn is_shown(attribute: &Attribute) -> bool {
    attribute.mutability != Mutability::WriteOnly && attribute.returned != Returned::Never
}

fn is_same(attribute: &Attribute, there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Array(there), Value::Array(wanted)) => {
            let mut left: Vec<&Value> = there.iter().collect();
            wanted.iter().all(|value| {
                let place = left.iter().position(|there| is_same(attribute, there, value));
                place.map(|place| left.swap_remove(place)).is_some()
            }) && left.is_empty()
        }
        (Value::Object(there), Value::Object(wanted)) => wanted.iter().all(|(name, value)| {
            let there = there.get(name);
            there.is_some_and(|there| match attribute.sub(name) {
                Some(sub) => is_same(sub, there, value),
                None => there == value,
            })
        }),
        (Value::String(there), Value::String(wanted)) => {
            let is_name = attribute.uniqueness != Uniqueness::None || attribute.name == "value";
            let folds = is_name && !attribute.case_exact;
            there == wanted || (folds && there.to_lowercase() == wanted.to_lowercase())
        }
        (there, wanted) => there == wanted,
    }
}
