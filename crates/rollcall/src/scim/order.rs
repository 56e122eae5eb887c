//! The order of a list: what resources are compared by.

use std::cmp::Ordering;

use rollcall_scim::messages::SortOrder;
use rollcall_scim::{AttrPath, Object, ResourceType};
use serde_json::Value;

/// What one resource is compared by. Texts come before numbers, and whatever there is before what is missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SortKey {
    /// A text, folded unless its attribute is compared with regard to case.
    Text(String),
    /// A whole number; true is one.
    Number(i64),
    /// Nothing.
    Missing,
}

impl SortKey {
    /// What a resource has under a name: of several values the primary one, or else the first.
    pub(super) fn of(resource: &Object, types: &ResourceType, by: &AttrPath) -> Self {
        let Some(place) = types.find(by) else {
            return Self::Missing;
        };
        let Some(value) = place
            .container(resource)
            .and_then(|object| object.get(&place.attribute.name))
        else {
            return Self::Missing;
        };
        let value = match value {
            Value::Array(values) => {
                let is_primary = |value: &&Value| value.get("primary") == Some(&Value::Bool(true));
                match values.iter().find(is_primary).or_else(|| values.first()) {
                    Some(value) => value,
                    None => return Self::Missing,
                }
            }
            value => value,
        };
        let attribute = place.sub.or_else(|| place.attribute.compared());
        let value = match (value, attribute) {
            (Value::Object(parts), Some(part)) => parts.get(&part.name),
            (value, _) => Some(value),
        };
        match value {
            Some(Value::String(text)) => Self::Text(match attribute {
                Some(attribute) => attribute.folded(text).into_owned(),
                None => text.clone(),
            }),
            Some(Value::Bool(flag)) => Self::Number(i64::from(*flag)),
            Some(Value::Number(number)) => number.as_i64().map_or(Self::Missing, Self::Number),
            _ => Self::Missing,
        }
    }
}

/// How two resources stand to each other; those that are compared by the same stand in the order of their ids.
pub(super) fn compared(order: SortOrder, a: &(SortKey, String), b: &(SortKey, String)) -> Ordering {
    let by_key = match order {
        SortOrder::Ascending => a.0.cmp(&b.0),
        SortOrder::Descending => b.0.cmp(&a.0),
    };
    by_key.then_with(|| a.1.cmp(&b.1))
}
