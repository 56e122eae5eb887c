//! The description of the administrator's API: as a document, and as a page.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::operate::Served;
use crate::strangers;

fn served() -> (Served, tempfile::TempDir) {
    let folder = strangers::folder("");
    let database = format!("sqlite:{}", folder.path().join("data/rollcall.db").display());
    (strangers::serve(folder.path(), &database), folder)
}

/// The head and the body of what anybody may ask for.
fn ask(served: &Served, path: &str) -> (String, String) {
    let answer = served.get_with(path, "");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    (head.to_owned(), body.to_owned())
}

fn document(served: &Served) -> Value {
    let (head, body) = ask(served, "/api/v1/openapi.json");
    assert!(head.contains("content-type: application/json"), "{head}");
    serde_json::from_str(&body).unwrap()
}

/// Every reference of a document.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("$ref", Value::String(to)) => {
                        found.insert(to);
                    }
                    _ => references(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_document_describes_every_route_whole() {
    let (served, _folder) = served();
    let document = document(&served);
    assert_eq!(document["openapi"], "3.1.0");
    let (_, index) = ask(&served, "/api/v1");
    let index: Value = serde_json::from_str(&index).unwrap();
    let mut ids = BTreeSet::new();
    let mut described = 0;
    for route in index["routes"].as_array().unwrap() {
        let (method, path) = (route["method"].as_str().unwrap(), route["path"].as_str().unwrap());
        let operation = &document["paths"][path][method.to_lowercase()];
        assert!(operation.is_object(), "{route}");
        described += 1;
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap()),
            "{operation}"
        );
        assert_eq!(operation["summary"], route["does"]);
        let answers = &operation["responses"]["200"]["content"];
        let schema = &answers["application/json"]["schema"];
        assert!(
            schema.is_object() || path.ends_with("/export"),
            "{method} {path} answers nothing that is described: {answers}"
        );
        assert_ne!(*schema, serde_json::json!({}), "{method} {path}");
        let parameters = operation["parameters"].as_array().unwrap();
        let named = |place: &str| -> BTreeSet<&str> {
            let there = parameters.iter().filter(|it| it["in"] == place);
            there.map(|it| it["name"].as_str().unwrap()).collect()
        };
        let in_path: BTreeSet<&str> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        assert_eq!(named("path"), in_path, "{path}");
        let asked: BTreeSet<&str> = route["query"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|name| name.as_str().unwrap())
            .collect();
        assert_eq!(named("query"), asked, "{path}");
        assert_eq!(named("header").contains("If-Match"), route["versioned"] == true);
        assert_eq!(
            named("header").contains("Idempotency-Key"),
            route["creates"] == true
        );
        for parameter in parameters {
            assert!(parameter["schema"].is_object(), "{path}: {parameter}");
        }
        if method == "PATCH" {
            assert!(operation["requestBody"].is_object(), "{path}");
        }
    }
    let paths = document["paths"].as_object().unwrap().values();
    let operations: usize = paths.map(|methods| methods.as_object().unwrap().len()).sum();
    assert_eq!(operations, described, "nothing else is described");
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 40);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn the_document_changes_only_when_somebody_means_it() {
    let (served, _folder) = served();
    let mut document = document(&served);
    document["info"]["version"] = "0.0.0".into();
    insta::with_settings!({ sort_maps => true }, {
        insta::assert_json_snapshot!("openapi", document);
    });
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let (served, _folder) = served();
    let document = document(&served);
    let (head, page) = ask(&served, "/api/v1/docs");
    assert!(
        head.contains("content-security-policy: default-src 'self'"),
        "{head}"
    );
    for forbidden in [
        "<script",
        " style=",
        "<style",
        "http://",
        "https://",
        "javascript:",
    ] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    for (path, methods) in document["paths"].as_object().unwrap() {
        assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
        for operation in methods.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("id=\"schema-{name}\"")), "{name}");
    }
    // What it leads to is there.
    let links = page
        .split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap());
    for link in links.collect::<BTreeSet<_>>() {
        match link.strip_prefix('#') {
            Some(id) => assert!(page.contains(&format!("id=\"{id}\"")), "{link}"),
            None => drop(ask(&served, link)),
        }
    }
}
