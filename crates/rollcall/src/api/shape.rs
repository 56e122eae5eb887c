//! Lists where objects are documented.
//!
//! serde reads the fields of a structure from a list too, in the order in which they stand in the code. Nobody has
//! promised that order, so a list is taken only where the schema of the body has one.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The schema of a body, with all of its parts where they are used.
pub(super) fn of_requests() -> SchemaSettings {
    SchemaSettings::draft2020_12().for_deserialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    })
}

/// Where a list stands in a body in whose place an object is documented; `None` if there is none.
pub(super) fn misplaced_list<T: JsonSchema>(body: &Value) -> Option<String> {
    let schema = T::json_schema(&mut of_requests().into_generator());
    misplaced(body, schema.as_value(), "")
}

fn misplaced(value: &Value, schema: &Value, path: &str) -> Option<String> {
    for part in parts(schema, "allOf") {
        if let Some(at) = misplaced(value, part, path) {
            return Some(at);
        }
    }
    for key in ["anyOf", "oneOf"] {
        let alternatives = parts(schema, key);
        if !alternatives.is_empty() {
            let fitting = alternatives.iter().filter(|it| fits(value, it));
            let found: Vec<Option<String>> = fitting.map(|it| misplaced(value, it, path)).collect();
            let is_well = match found.is_empty() {
                true => !value.is_array(),
                false => found.iter().any(Option::is_none),
            };
            if !is_well {
                return Some(
                    found
                        .into_iter()
                        .flatten()
                        .next()
                        .unwrap_or_else(|| path.to_owned()),
                );
            }
        }
    }
    match value {
        Value::Array(_) if !has_type(value, schema) => Some(path.to_owned()),
        Value::Array(items) => {
            let of_items = schema.get("items")?;
            let mut all = items.iter().enumerate();
            all.find_map(|(index, item)| misplaced(item, of_items, &format!("{path}[{index}]")))
        }
        Value::Object(fields) => fields.iter().find_map(|(name, field)| {
            let named = schema.get("properties").and_then(|all| all.get(name));
            let of_field = named.or_else(|| schema.get("additionalProperties"))?;
            let dot = if path.is_empty() { "" } else { "." };
            misplaced(field, of_field, &format!("{path}{dot}{name}"))
        }),
        _ => None,
    }
}

fn parts<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    schema
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Whether a schema can be the one that a value is held to: it is of its type, and has the tag that the schema names.
fn fits(value: &Value, schema: &Value) -> bool {
    let is_same =
        |schema: &Value, value: &Value| schema.get("const").is_none_or(|constant| constant == value);
    let properties = schema.get("properties").and_then(Value::as_object);
    let has_tags = properties
        .into_iter()
        .flatten()
        .all(|(name, schema)| value.get(name).is_none_or(|field| is_same(schema, field)));
    has_type(value, schema) && is_same(schema, value) && has_tags
}

/// Whether a schema is of the type that a value has, or of any.
fn has_type(value: &Value, schema: &Value) -> bool {
    let names: &[&str] = match value {
        Value::Null => &["null"],
        Value::Bool(_) => &["boolean"],
        Value::Number(_) => &["number", "integer"],
        Value::String(_) => &["string"],
        Value::Array(_) => &["array"],
        Value::Object(_) => &["object"],
    };
    let is_one = |name: &Value| name.as_str().is_some_and(|name| names.contains(&name));
    match schema.get("type") {
        None => true,
        Some(Value::Array(all)) => all.iter().any(is_one),
        Some(name) => is_one(name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(schemars::JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Inner {
        names: Vec<String>,
        deeper: Option<Box<Other>>,
    }

    #[derive(schemars::JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Other {
        number: u32,
    }

    #[derive(schemars::JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    #[serde(tag = "type", rename_all = "snake_case")]
    enum Tagged {
        One { inner: Other },
        Two { inner: Vec<u32> },
    }

    #[derive(schemars::JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Body {
        inner: Inner,
        perhaps: Option<Inner>,
        many: Vec<Inner>,
        tagged: Option<Tagged>,
        anything: Value,
    }

    #[test]
    fn a_list_is_taken_where_the_schema_has_one() {
        for (body, at) in [
            (json!({ "inner": { "names": ["a"] } }), None),
            (json!({ "inner": [["a"]] }), Some("inner")),
            (json!({ "perhaps": [["a"], null] }), Some("perhaps")),
            (json!({ "perhaps": null }), None),
            (json!({ "perhaps": { "deeper": [1] } }), Some("perhaps.deeper")),
            (json!({ "many": [{ "names": [] }, [[]]] }), Some("many[1]")),
            (json!({ "anything": [[1]] }), None),
            (json!({ "tagged": ["one", [1]] }), Some("tagged")),
            (
                json!({ "tagged": { "type": "one", "inner": [1] } }),
                Some("tagged.inner"),
            ),
            (json!({ "tagged": { "type": "two", "inner": [1] } }), None),
            (json!({ "unknown": [1] }), None),
        ] {
            assert_eq!(misplaced_list::<Body>(&body).as_deref(), at, "{body}");
        }
    }
}
