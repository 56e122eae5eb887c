//! The description of the administrator's API as an OpenAPI 3.1 document, and as a page for people.
//!
//! It is made from the routes, once, when the router is: paths and permissions stand where a route is declared, bodies,
//! parameters and answers in the signatures of the handlers.

mod page;

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::describe::{Content, Taken};
use super::error::Problem;
use super::routes::Route;
use super::{PREFIX, idempotency, shape};
use crate::access::Permission;

/// Where the document is, below the prefix.
pub(super) const DOCUMENT: &str = "/openapi.json";

/// Where the page is.
pub(super) const PAGE: &str = "/docs";

/// Where its style is.
pub(super) const STYLE: &str = "/docs.css";

const STYLE_SHEET: &str = include_str!("../../assets/api.css");

/// The description, ready to be sent.
pub(super) struct Described {
    document: String,
    page: String,
}

impl Described {
    /// Describes routes.
    pub(super) fn of(routes: &[Route]) -> Self {
        let document = document(routes);
        Self {
            page: page::render(&document),
            document: document.to_string(),
        }
    }

    /// The OpenAPI document.
    pub(super) fn document(&self) -> Response {
        let kind = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, kind)], self.document.clone()).into_response()
    }

    /// The page: nothing on it comes from elsewhere, and it has no scripts.
    pub(super) fn page(&self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (
                header::CONTENT_SECURITY_POLICY,
                "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            ),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        (headers, self.page.clone()).into_response()
    }

    /// Its style.
    pub(super) fn style() -> Response {
        let headers = [
            (header::CONTENT_TYPE, "text/css; charset=utf-8"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        (headers, STYLE_SHEET).into_response()
    }
}

/// The schemas of answers, which are kept by name, and of requests, which stand where they are used: what may be left
/// out of a request is always there in an answer.
struct Schemas {
    answers: SchemaGenerator,
    requests: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let answers = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self {
            answers: answers.into_generator(),
            requests: shape::of_requests().into_generator(),
        }
    }
}

fn document(routes: &[Route]) -> Value {
    let mut schemas = Schemas::new();
    let problem = schemas.answers.subschema_for::<Problem>();
    let mut paths = Map::new();
    for route in routes {
        let operations = paths
            .entry(route.path())
            .or_insert_with(|| Value::Object(Map::new()));
        operations[route.method().to_lowercase()] = operation(route, &mut schemas);
    }
    let responses: Map<String, Value> = STATUSES
        .iter()
        .map(|(status, description)| {
            let mut response = json!({
                "description": description,
                "content": { "application/problem+json": { "schema": problem } },
            });
            if matches!(status, 409 | 429 | 503 | 507) {
                response["headers"] = json!({ "Retry-After": {
                    "description": "In how many seconds it is worth another try, if it is.",
                    "schema": { "type": "integer", "minimum": 0 },
                } });
            }
            (status.to_string(), response)
        })
        .collect();
    let tags: BTreeSet<&str> = routes.iter().map(tag).collect();
    let tags: Vec<Value> = tags.iter().map(|name| json!({ "name": name })).collect();
    let components = schemas.answers.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rollcall, administrator's API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Errors are problems (RFC 9457). Lists answer page by page: `limit` and `cursor`. Records \
                bear an `ETag`, to which `If-Match` holds a change. What makes something takes `Idempotency-Key`. Times \
                are milliseconds since 1970.",
        },
        "security": [{ "token": [] }, { "session": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": responses,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token that an administrator has made, or that of admin.token in the hub's data \
                        folder.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "rollcall_session",
                    "description": "The cookie of a session (`__Host-rollcall` over TLS); changes need the header \
                        X-CSRF-Token too.",
                },
            },
        },
    })
}

/// What may be answered instead, and what it means.
const STATUSES: [(u16, &str); 13] = [
    (
        400,
        "Something of the request cannot be used; `detail` says which part.",
    ),
    (401, "Nobody who is known asks."),
    (403, "This role may not do it."),
    (404, "It does not exist, or not for whoever asks."),
    (409, "What there is does not permit it."),
    (
        412,
        "The record has changed since it was read; `changes` says what of it.",
    ),
    (413, "The body is too large."),
    (415, "The body is not what the route takes."),
    (
        422,
        "It cannot be stored, or the key was used for another request.",
    ),
    (428, "Look at the `plan`, and confirm it with its token."),
    (429, "These are too many requests."),
    (503, "The database is busy or away."),
    (507, "The disk of the database is full."),
];

/// Which of them a route may answer.
fn statuses(route: &Route) -> Vec<u16> {
    let is_public = route.permission() == Permission::Anybody;
    let reads = route.method() == "GET";
    let has_body = route.signature().takes.is_some();
    let is_confirmed = route.asks("confirm");
    let applies = |status: u16| match status {
        400 | 422 | 503 => true,
        401 | 403 | 429 => true,
        404 => !is_public,
        // The root unit is never deleted, so that there is no plan of it either.
        409 => {
            !reads
                || route.path().contains("/why/")
                || route.path().ends_with("/organizational-units/{id}/deletion")
        }
        412 => route.versioned(),
        413 => has_body || route.creates(),
        415 => has_body,
        428 => is_confirmed,
        507 => !reads,
        _ => false,
    };
    STATUSES
        .iter()
        .map(|(status, _)| *status)
        .filter(|status| applies(*status))
        .collect()
}

/// Of which kind of resource a route is.
fn tag(route: &Route) -> &str {
    let rest = route.path().strip_prefix(PREFIX).unwrap_or_default();
    rest.split('/').nth(1).unwrap_or_default()
}

/// A name for a route that stays: its method and its path.
fn operation_id(route: &Route) -> String {
    let rest = route.path().strip_prefix(PREFIX).unwrap_or_default();
    let mut id = route.method().to_lowercase();
    for part in rest.split('/').filter(|part| !part.is_empty()) {
        id.push('_');
        id.push_str(&part.trim_matches(['{', '}']).replace('-', "_"));
    }
    id
}

fn operation(route: &Route, schemas: &mut Schemas) -> Value {
    let signature = route.signature();
    let mut operation = json!({
        "operationId": operation_id(route),
        "tags": [tag(route)],
        "summary": route.does(),
        "description": format!("Permission: `{}`.", route.permission().as_str()),
        "parameters": parameters(route, schemas),
    });
    if route.permission() == Permission::Anybody {
        operation["security"] = json!([]);
    }
    if let Some(takes) = &signature.takes {
        let content = match takes {
            Taken::Json(make, _) => json!({ "application/json": { "schema": make(&mut schemas.requests) } }),
            Taken::File => json!({ "application/octet-stream": { "schema": {} } }),
        };
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    let mut done = json!({ "description": "It is done." });
    match &signature.answers {
        Some(Content::Json(make)) => {
            done["content"] = json!({ "application/json": { "schema": make(&mut schemas.answers) } });
        }
        Some(Content::JsonOrLines(whole, line)) => {
            done["content"] = json!({
                "application/json": { "schema": whole(&mut schemas.answers) },
                // What each line is: there is no way to say it of the whole.
                "application/jsonl": { "x-line": line(&mut schemas.answers) },
            });
        }
        Some(Content::File) => {
            done["content"] = json!({ "application/jsonl": {}, "text/csv": {}, "text/plain": {} });
        }
        None => {}
    }
    let headers = headers(route);
    if !headers.is_empty() {
        done["headers"] = Value::Object(headers);
    }
    let mut responses = Map::new();
    responses.insert("200".to_owned(), done);
    for status in statuses(route) {
        let reference = json!({ "$ref": format!("#/components/responses/{status}") });
        responses.insert(status.to_string(), reference);
    }
    operation["responses"] = Value::Object(responses);
    operation
}

/// The headers of an answer by which something was done.
fn headers(route: &Route) -> Map<String, Value> {
    let signature = route.signature();
    let replayed = idempotency::REPLAYED;
    let told = [
        (signature.is_versioned, "ETag", "The version, for If-Match."),
        (
            signature.is_paged,
            "Link",
            "With rel=\"next\": the page that follows.",
        ),
        (route.creates(), replayed.as_str(), "The answer was given before."),
        (signature.sets_cookie, "Set-Cookie", "The cookie of the session."),
        (
            route.permission() != Permission::Anybody,
            "RateLimit",
            "How many requests are left (draft-ietf-httpapi-ratelimit-headers).",
        ),
    ];
    told.into_iter()
        .filter(|(applies, ..)| *applies)
        .map(|(_, name, description)| {
            let header = json!({ "description": description, "schema": { "type": "string" } });
            (name.to_owned(), header)
        })
        .collect()
}

fn parameters(route: &Route, schemas: &mut Schemas) -> Vec<Value> {
    let mut parameters = Vec::new();
    for name in route
        .path()
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    {
        let (kind, description) = match name {
            "number" => ("integer", "The number of the request."),
            "seq" => ("integer", "The position in the change log."),
            "user" => ("string", "The user: an id, a username or an email address."),
            "job" => ("string", "The id of the synchronization."),
            "session" => ("string", "The id of the session."),
            _ => ("string", "The id, or the name, as on the command line."),
        };
        let schema = match kind {
            "integer" => json!({ "type": kind, "format": "int64" }),
            _ => json!({ "type": kind, "minLength": 1 }),
        };
        parameters.push(parameter("path", name, true, description, &schema));
    }
    let signature = route.signature();
    if let Some(make) = signature.query {
        let mut schema = make(&mut schemas.requests).to_value();
        let required: Vec<String> = schema["required"]
            .as_array()
            .map(|names| {
                names
                    .iter()
                    .filter_map(|it| it.as_str())
                    .map(str::to_owned)
                    .collect()
            })
            .unwrap_or_default();
        if let Some(Value::Object(fields)) = schema.get_mut("properties").map(Value::take) {
            // In one order, whatever features the library has.
            let fields: BTreeMap<String, Value> = fields.into_iter().collect();
            for (name, mut schema) in fields {
                let description = match schema.as_object_mut().and_then(|it| it.remove("description")) {
                    Some(Value::String(text)) => text,
                    _ => String::new(),
                };
                not_null(&mut schema);
                parameters.push(parameter(
                    "query",
                    &name,
                    required.contains(&name),
                    &description,
                    &schema,
                ));
            }
        }
    }
    if signature.is_paged {
        let limit = json!({ "type": "integer", "minimum": 1, "maximum": 1_000, "default": 100 });
        let text = json!({ "type": "string" });
        parameters.push(parameter(
            "query",
            "cursor",
            false,
            "Where the page begins: the next of the page before.",
            &text,
        ));
        parameters.push(parameter(
            "query",
            "limit",
            false,
            "How many entries a page has at most.",
            &limit,
        ));
    }
    if route.versioned() {
        let description = "The version that was read: the ETag, or * for any.";
        let schema = json!({ "type": "string", "pattern": "^(\\*|\"?[0-9]{1,18}\"?)$" });
        parameters.push(parameter("header", "If-Match", false, description, &schema));
    }
    if route.creates() {
        let description = "Another one for each request, and the same one when it is sent again.";
        let schema = json!({ "type": "string", "pattern": "^[!-~]{1,255}$" });
        parameters.push(parameter(
            "header",
            "Idempotency-Key",
            false,
            description,
            &schema,
        ));
    }
    parameters
}

fn parameter(place: &str, name: &str, required: bool, description: &str, schema: &Value) -> Value {
    let mut parameter = json!({ "in": place, "name": name, "required": required, "schema": schema });
    if !description.is_empty() {
        parameter["description"] = description.into();
    }
    parameter
}

/// What is left out of a query is not written as null.
fn not_null(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::Array(kinds)) = fields.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            let kind = kind.clone();
            fields.insert("type".to_owned(), kind);
        }
    }
    if let Some(Value::Array(kinds)) = fields.get_mut("enum") {
        kinds.retain(|kind| !kind.is_null());
    }
    if let Some(Value::Array(ways)) = fields.get_mut("anyOf") {
        ways.retain(|way| way["type"] != "null");
    }
    if fields.get("default").is_some_and(Value::is_null) {
        fields.remove("default");
    }
}
