//! Deciding a filter on a resource.
//!
//! The outcome is true, false or unknown. It is unknown where a name means nothing in the schema, and
//! `not` leaves it so: a filter with a name that nobody knows matches nothing, whichever way it is
//! turned. An attribute that is known and has no value equals nothing but `null`.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Filter, Literal, Operator};
use crate::Object;
use crate::name::AttrPath;
use crate::schema::{Attribute, DataType, ResourceType, member};
use crate::time::instant;

/// What the names of a filter are looked up in.
enum Scope<'a> {
    Resource(&'a Object, &'a ResourceType),
    /// One value of an attribute.
    Value(&'a Value, &'a Attribute),
}

impl Filter {
    /// Whether a resource is meant.
    pub fn matches(&self, resource: &Object, types: &ResourceType) -> bool {
        self.decide(&Scope::Resource(resource, types)) == Some(true)
    }

    /// Whether one value of an attribute is meant, by the filter in brackets behind its name.
    pub fn matches_value(&self, value: &Value, attribute: &Attribute) -> bool {
        self.decide(&Scope::Value(value, attribute)) == Some(true)
    }

    fn decide(&self, scope: &Scope<'_>) -> Option<bool> {
        match self {
            Self::And(parts) => all(parts.iter().map(|part| part.decide(scope))),
            Self::Or(parts) => {
                all(parts.iter().map(|part| part.decide(scope).map(|met| !met))).map(|met| !met)
            }
            Self::Not(filter) => filter.decide(scope).map(|met| !met),
            Self::Present(path) => {
                let (values, _) = scope.values(path)?;
                Some(values.into_iter().any(is_present))
            }
            Self::Compare {
                path,
                operator,
                value,
            } => {
                let (values, attribute) = scope.values(path)?;
                let attribute = attribute.compared()?;
                let values = values.into_iter().filter_map(|found| compared(found, attribute));
                Some(compare(values, attribute, *operator, value))
            }
            Self::Has { path, filter } => {
                let (values, attribute) = scope.values(path)?;
                // Unknown for one value is unknown for all of them: the names are the same.
                let met = values
                    .into_iter()
                    .map(|value| filter.decide(&Scope::Value(value, attribute)).map(|met| !met));
                all(met).map(|none| !none)
            }
        }
    }
}

/// True if all are true, false if one is false, else unknown.
fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut outcome = Some(true);
    for part in parts {
        match part {
            Some(true) => {}
            Some(false) => return Some(false),
            None => outcome = None,
        }
    }
    outcome
}

impl<'a> Scope<'a> {
    /// The values that a name stands for, and what they are; `None` if the name means nothing.
    fn values(&self, path: &AttrPath) -> Option<(Vec<&'a Value>, &'a Attribute)> {
        match *self {
            Self::Resource(resource, types) => {
                let place = types.find(path)?;
                let values = each(
                    place
                        .container(resource)
                        .and_then(|object| member(object, &place.attribute.name)),
                );
                Some(match place.sub {
                    Some(sub) => (parts(&values, sub), sub),
                    None => (values, place.attribute),
                })
            }
            Self::Value(value, attribute) => {
                if path.schema.is_some() || path.sub.is_some() {
                    return None;
                }
                match attribute.sub(&path.name) {
                    Some(sub) => Some((parts(&[value], sub), sub)),
                    // The values of a simple attribute are called so.
                    None if attribute.sub_attributes.is_empty()
                        && path.name.eq_ignore_ascii_case("value") =>
                    {
                        Some((vec![value], attribute))
                    }
                    None => None,
                }
            }
        }
    }
}

/// The values of an attribute, one by one.
fn each(value: Option<&Value>) -> Vec<&Value> {
    match value {
        None => Vec::new(),
        Some(Value::Array(values)) => values.iter().collect(),
        Some(value) => vec![value],
    }
}

fn parts<'a>(values: &[&'a Value], sub: &Attribute) -> Vec<&'a Value> {
    values
        .iter()
        .filter_map(|value| value.as_object())
        .flat_map(|object| each(member(object, &sub.name)))
        .collect()
}

fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => values.iter().any(is_present),
        Value::Object(object) => object.values().any(is_present),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// A value, or the part of a complex one that is compared.
fn compared<'a>(found: &'a Value, attribute: &Attribute) -> Option<&'a Value> {
    match found {
        Value::Object(object) => member(object, &attribute.name),
        Value::Null => None,
        simple => Some(simple),
    }
}

/// Whether one of the values compares so.
fn compare<'a>(
    mut values: impl Iterator<Item = &'a Value>,
    attribute: &Attribute,
    operator: Operator,
    literal: &Literal,
) -> bool {
    match (operator, literal) {
        (Operator::Ne, _) => !compare(values, attribute, Operator::Eq, literal),
        (Operator::Eq, Literal::Null) => !values.any(is_present),
        _ => values.any(|value| holds(value, attribute, operator, literal)),
    }
}

fn holds(value: &Value, attribute: &Attribute, operator: Operator, literal: &Literal) -> bool {
    let order = match (attribute.data_type, value, literal) {
        (DataType::Boolean, Value::Bool(value), Literal::Bool(wanted)) => {
            return operator == Operator::Eq && value == wanted;
        }
        // Some clients put all values in quotation marks.
        (DataType::Boolean, Value::Bool(value), Literal::String(wanted)) => {
            return operator == Operator::Eq
                && wanted.eq_ignore_ascii_case(if *value { "true" } else { "false" });
        }
        (DataType::Integer | DataType::Decimal, Value::Number(value), Literal::Number(wanted)) => {
            match (value.as_i64(), wanted.as_i64()) {
                (Some(value), Some(wanted)) => Some(value.cmp(&wanted)),
                _ => value
                    .as_f64()
                    .zip(wanted.as_f64())
                    .and_then(|(value, wanted)| value.partial_cmp(&wanted)),
            }
        }
        (DataType::DateTime, Value::String(value), Literal::String(wanted)) => {
            match (instant(value), instant(wanted)) {
                (Some(value), Some(wanted)) => Some(value.cmp(&wanted)),
                _ => return text_holds(value, attribute, operator, wanted),
            }
        }
        (
            DataType::String | DataType::Reference | DataType::Binary,
            Value::String(value),
            Literal::String(wanted),
        ) => return text_holds(value, attribute, operator, wanted),
        _ => None,
    };
    order.is_some_and(|order| in_order(order, operator))
}

fn in_order(order: Ordering, operator: Operator) -> bool {
    match operator {
        Operator::Eq => order.is_eq(),
        Operator::Gt => order.is_gt(),
        Operator::Ge => order.is_ge(),
        Operator::Lt => order.is_lt(),
        Operator::Le => order.is_le(),
        Operator::Ne | Operator::Co | Operator::Sw | Operator::Ew => false,
    }
}

fn text_holds(value: &str, attribute: &Attribute, operator: Operator, wanted: &str) -> bool {
    let (value, wanted) = (attribute.folded(value), attribute.folded(wanted));
    match operator {
        Operator::Co => value.contains(&*wanted),
        Operator::Sw => value.starts_with(&*wanted),
        Operator::Ew => value.ends_with(&*wanted),
        _ => in_order(value.cmp(&wanted), operator),
    }
}
