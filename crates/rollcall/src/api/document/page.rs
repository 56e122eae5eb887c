//! The description as a page for people.

use std::collections::BTreeMap;

use askama::Template;
use serde_json::Value;

/// A parameter or a field.
struct Named {
    name: String,
    /// Where it stands: `path`, `query` or `header`; empty for a field.
    place: String,
    kind: String,
    required: bool,
    description: String,
}

/// A way to answer.
struct Answer {
    status: String,
    description: String,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    permission: String,
    parameters: Vec<Named>,
    body: Option<Body>,
    answer: Option<Body>,
    answers: Vec<Answer>,
}

/// A body: the name of its schema, or the fields of it, or else the schema itself.
struct Body {
    schema: Option<String>,
    fields: Vec<Named>,
    text: Option<String>,
}

struct Group {
    name: String,
    operations: Vec<Operation>,
}

struct Schema {
    name: String,
    description: String,
    body: Body,
}

#[derive(Template)]
#[template(path = "api.html")]
struct Page {
    version: String,
    introduction: String,
    groups: Vec<Group>,
    schemas: Vec<Schema>,
}

/// Makes the page of a document.
pub(super) fn render(document: &Value) -> String {
    let mut groups: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let group = text(&operation["tags"][0]);
            let operations = groups.entry(group).or_default();
            operations.push(read(document, path, method, operation));
        }
    }
    let schemas = document["components"]["schemas"]
        .as_object()
        .into_iter()
        .flatten();
    let page = Page {
        version: text(&document["info"]["version"]),
        introduction: text(&document["info"]["description"]),
        groups: groups
            .into_iter()
            .map(|(name, operations)| Group { name, operations })
            .collect(),
        schemas: schemas
            .map(|(name, schema)| Schema {
                name: name.clone(),
                description: text(&schema["description"]),
                body: body(schema),
            })
            .collect(),
    };
    page.render().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn read(document: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let parameters = list(&operation["parameters"]);
    let responses = operation["responses"].as_object().into_iter().flatten();
    let content = |value: &Value| {
        let schema = &value["content"]["application/json"]["schema"];
        (!schema.is_null()).then(|| body(schema))
    };
    Operation {
        id: text(&operation["operationId"]),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&operation["summary"]),
        permission: text(&operation["description"]).replace('`', ""),
        parameters: parameters
            .iter()
            .map(|parameter| Named {
                name: text(&parameter["name"]),
                place: text(&parameter["in"]),
                kind: kind(&parameter["schema"]),
                required: parameter["required"] == true,
                description: text(&parameter["description"]),
            })
            .collect(),
        body: content(&operation["requestBody"]),
        answer: content(&operation["responses"]["200"]),
        answers: responses
            .map(|(status, response)| {
                let response = match response["$ref"].as_str() {
                    Some(_) => &document["components"]["responses"][status.as_str()],
                    None => response,
                };
                Answer {
                    status: status.clone(),
                    description: text(&response["description"]),
                }
            })
            .collect(),
    }
}

/// The name of the schema that a reference leads to.
fn referred(schema: &Value) -> Option<String> {
    let reference = schema["$ref"].as_str()?;
    reference.strip_prefix("#/components/schemas/").map(str::to_owned)
}

fn body(schema: &Value) -> Body {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let fields: Vec<Named> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, field)| Named {
            name: name.clone(),
            place: String::new(),
            kind: kind(field),
            required: required.iter().any(|it| it == name),
            description: text(&field["description"]),
        })
        .collect();
    let referred = referred(schema);
    let is_plain = fields.is_empty() || schema.get("oneOf").is_some();
    Body {
        text: (is_plain && referred.is_none())
            .then(|| serde_json::to_string_pretty(schema).unwrap_or_default()),
        schema: referred,
        fields,
    }
}

/// What a value is, in few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = referred(schema) {
        return name;
    }
    if let Some(values) = schema["enum"].as_array() {
        let values = values.iter().map(Value::to_string);
        return values.collect::<Vec<_>>().join(" | ");
    }
    for ways in ["anyOf", "oneOf"] {
        if let Some(ways) = schema[ways].as_array() {
            return ways.iter().map(kind).collect::<Vec<_>>().join(" | ");
        }
    }
    if !schema["const"].is_null() {
        return schema["const"].to_string();
    }
    let one = |name: &str| match name {
        "array" => format!("list of {}", kind(&schema["items"])),
        name => name.to_owned(),
    };
    match &schema["type"] {
        Value::String(name) => one(name),
        Value::Array(names) => {
            let names = names.iter().filter_map(Value::as_str).map(one);
            names.collect::<Vec<_>>().join(" | ")
        }
        _ => "anything".to_owned(),
    }
}
