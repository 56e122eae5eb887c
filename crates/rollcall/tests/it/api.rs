//! The administrator's API as somebody meets it who does not know it yet.

use serde_json::Value;

use crate::operate::{Served, done, rollcall};
use crate::strangers;

struct Api {
    served: Served,
    token: String,
    folder: tempfile::TempDir,
}

impl Api {
    fn start() -> Self {
        let folder = strangers::folder("");
        let database = format!("sqlite:{}", folder.path().join("data/rollcall.db").display());
        let served = strangers::serve(folder.path(), &database);
        let token = strangers::token(folder.path());
        Self {
            served,
            token,
            folder,
        }
    }

    /// The status, the head and the JSON.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &str) -> (u16, String, Value) {
        let answer = strangers::rest(self.served.send(&format!(
            "{method} {path} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        )));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("{method} {path}: {answer}"));
        (status, head.to_owned(), body)
    }

    fn json(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, _, body) = self.ask(method, path, "application/json", body);
        (status, body)
    }
}

fn said(body: &Value) -> &str {
    body["detail"].as_str().unwrap_or_else(|| panic!("{body}"))
}

#[test]
fn the_api_describes_itself_and_every_route_is_there() {
    let api = Api::start();
    let index = api.served.get_with("/api/v1", "");
    assert!(
        index.starts_with("HTTP/1.1 200"),
        "no token is asked for: {index}"
    );
    let (_, index) = api.json("GET", "/api/v1", "");
    let routes = index["routes"].as_array().unwrap();
    assert!(routes.len() > 80);
    for route in routes {
        let text = |name: &str| route[name].as_str().unwrap();
        let path = text("path").replace("{number}", "1").replace("{seq}", "1");
        let path = path.replace(['{', '}'], "");
        let (status, body) = api.json(text("method"), &path, "{}");
        assert_ne!(status, 405, "{route}");
        let unknown = status == 404 && said(&body).contains("at this path");
        assert!(!unknown, "{route}: {body}");
        assert!(text("does").ends_with('.'));
        if text("permission") == "anybody" {
            continue;
        }
        // Without the token nothing is said.
        let head = format!(
            "{} {path} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n",
            text("method")
        );
        assert!(
            strangers::rest(api.served.send(&head)).starts_with("HTTP/1.1 401"),
            "{route}"
        );
    }
}

#[test]
fn the_signing_keys_of_an_application_are_rotated_over_the_api() {
    let api = Api::start();
    let folder = api.folder.path();
    let create = ["app", "create", "Wiki", "--url", "http://127.0.0.1:1/events"];
    done(&rollcall(folder, &create).output().unwrap());
    let keys = |path: &str| format!("/api/v1/applications/wiki/keys{path}");
    let (status, shown) = api.json("GET", &keys(""), "");
    assert_eq!(
        (status, &shown["rotation"]["state"]),
        (200, &Value::from("steady"))
    );
    let old = shown["keys"][0]["kid"].clone();
    let (status, refused) = api.json("POST", &keys("/rotate"), r#"{"afterHours":-1}"#);
    assert_eq!((status, refused["code"].as_str()), (400, Some("bad_request")));
    let (status, rotated) = api.json("POST", &keys("/rotate"), r#"{"afterHours":2}"#);
    assert_eq!(status, 200, "{rotated}");
    let (status, refused) = api.json("POST", &keys("/rotate"), "{}");
    assert_eq!((status, refused["code"].as_str()), (409, Some("key_rotation")));
    let (_, shown) = api.json("GET", &keys(""), "");
    assert_eq!(shown["rotation"]["state"], "published");
    assert_eq!(shown["rotation"]["kid"], rotated["kid"]);
    let (status, tried) = api.json("POST", &keys("/try"), "");
    assert_eq!((status, &tried["kid"]), (200, &rotated["kid"]));
    assert!(tried["trialAt"].as_i64() < rotated["trialAt"].as_i64());
    let (status, cancelled) = api.json("POST", &keys("/cancel"), "");
    assert_eq!((status, &cancelled["kid"]), (200, &rotated["kid"]));
    let (status, refused) = api.json("POST", &keys("/revert"), "");
    assert_eq!((status, refused["code"].as_str()), (409, Some("key_rotation")));
    assert!(said(&refused).contains("no earlier key"), "{refused}");
    let (_, shown) = api.json("GET", &keys(""), "");
    assert_eq!(
        (shown["keys"].as_array().unwrap().len(), &shown["keys"][0]["kid"]),
        (1, &old)
    );
    // It goes through the door: who did it is in the audit log.
    let (_, told) = api.json("GET", "/api/v1/audit?who=token:admin", "");
    let actions: Vec<_> = told["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["action"])
        .collect();
    assert_eq!(
        actions,
        ["withdraw_signing_key", "try_signing_key", "publish_signing_key"]
    );
}

#[test]
fn what_is_not_there_is_told_in_json() {
    let api = Api::start();
    for (path, names) in [
        ("/api/v1/users/ada/friends", "/api/v1/users/{id}/erase"),
        ("/api/v1/groups/a/b/c", "/api/v1/groups/{id}/members"),
        ("/api/v1/people", "GET /api/v1"),
        ("/api/v2/users", "GET /api/v1"),
        ("/nothing", "GET /api/v1"),
    ] {
        let (status, body) = api.json("GET", path, "");
        assert_eq!(
            (status, body["code"].as_str()),
            (404, Some("not_found")),
            "{path}"
        );
        assert!(said(&body).contains(names), "{path}: {body}");
    }
    for (method, path, allowed) in [
        ("DELETE", "/api/v1/users", "GET,HEAD,POST"),
        ("GET", "/api/v1/users/ada/lock", "POST"),
        ("POST", "/healthz", "GET,HEAD"),
    ] {
        let (status, head, body) = api.ask(method, path, "application/json", "{}");
        assert_eq!(
            (status, body["code"].as_str()),
            (405, Some("method_not_allowed")),
            "{path}"
        );
        let allow = head
            .lines()
            .find_map(|line| line.strip_prefix("allow: "))
            .unwrap();
        let mut allow: Vec<_> = allow.split(',').collect();
        allow.sort_unstable();
        assert_eq!(allow.join(","), allowed, "{path}");
    }
}

#[test]
fn an_error_is_a_problem_that_names_its_request() {
    let api = Api::start();
    let (status, head, body) = api.ask("GET", "/api/v1/users/nobody", "application/json", "");
    assert_eq!(status, 404);
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    assert_eq!(header("content-type: "), "application/problem+json");
    assert_eq!(
        body["instance"],
        format!("urn:rollcall:request:{}", header("x-request-id: "))
    );
    let detail = said(&body);
    assert!(detail.contains("nobody"), "{detail}");
    assert_eq!(
        body,
        serde_json::json!({"type": "urn:rollcall:problem:not_found", "title": "Not found", "status": 404,
            "detail": detail, "code": "not_found", "instance": body["instance"]})
    );
    // What a caller calls a request may be no part of a URN.
    let named = |id: &str| {
        let answer = api
            .served
            .get_with("/nowhere", &format!("x-request-id: {id}\r\n"));
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<Value>(body).unwrap()["instance"].clone()
    };
    assert_eq!(named("mine-1"), "urn:rollcall:request:mine-1");
    assert_eq!(named("a\"b"), Value::Null);
}

#[test]
fn what_cannot_be_used_is_told_with_its_place() {
    let api = Api::start();
    for (body, place) in [
        (
            r#"{"username":"ada","displayName":3}"#,
            "displayName: invalid type: integer `3`",
        ),
        (r#"{"username":"ada","nickname":"a"}"#, "nickname"),
        (
            r#"{"username":"ada","displayName":"Ada","primaryOrganizationalUnitId":"ou_root","password":123456}"#,
            "password: it must be a text",
        ),
        (r#"{"username":"#, "not JSON"),
        ("[]", "the body"),
    ] {
        let (status, answer) = api.json("POST", "/api/v1/users", body);
        assert_eq!(
            (status, answer["code"].as_str()),
            (400, Some("bad_request")),
            "{body}: {answer}"
        );
        assert!(said(&answer).contains(place), "{body}: {answer}");
        assert!(!said(&answer).contains("target type"), "{answer}");
        assert!(!said(&answer).contains("123456"), "{answer}");
    }
    // No structure is read from a list, in an order that nobody has promised.
    let (status, answer) = api.json("PATCH", "/api/v1/organizational-units/ou_root", "[null, null]");
    assert_eq!(status, 400, "{answer}");
    assert!(said(&answer).contains("it must be an object"), "{answer}");
    let nested = r#"{"name":"Wiki","settings":[]}"#;
    let (status, answer) = api.json("POST", "/api/v1/applications", nested);
    assert_eq!(status, 400, "{answer}");
    assert!(
        said(&answer).contains("settings: it must be an object"),
        "{answer}"
    );
    let (status, answer) = api.json("POST", "/api/v1/groups/g/members", r#"{"userIds":["a",7]}"#);
    assert_eq!(status, 400, "{answer}");
    assert!(said(&answer).contains("userIds[1]"), "{answer}");
    let (status, _, answer) = api.ask("POST", "/api/v1/users", "text/plain", "{}");
    assert_eq!(status, 415);
    assert!(said(&answer).contains("application/json"), "{answer}");
    let (status, answer) = api.json("POST", "/api/v1/users", &" ".repeat(3 << 20));
    assert_eq!((status, answer["code"].as_str()), (413, Some("too_large")));
    let (status, answer) = api.json("GET", "/api/v1/users?limit=many", "");
    assert_eq!(status, 400);
    assert!(said(&answer).contains("limit"), "{answer}");
}

#[test]
fn a_patch_changes_the_custom_fields_that_it_names() {
    let api = Api::start();
    let new = r#"{"username":"ada","displayName":"Ada","primaryOrganizationalUnitId":"ou_root",
                  "customFields":{"floor":"3","motto":"x"}}"#;
    assert_eq!(api.json("POST", "/api/v1/users", new).0, 200);
    let change = r#"{"customFields":{"motto":null,"costCentre":"4711"}}"#;
    assert_eq!(api.json("PATCH", "/api/v1/users/ada", change).0, 200);
    let (_, ada) = api.json("GET", "/api/v1/users/ada", "");
    assert_eq!(
        ada["customFields"],
        serde_json::json!({"costCentre": "4711", "floor": "3"})
    );
}

#[test]
fn lists_are_searched_page_by_page() {
    let api = Api::start();
    for (username, name) in [
        ("ada", "Ada Grün"),
        ("bob", "Bob"),
        ("eve", "Eve GRÜN"),
        ("gruen", "x"),
    ] {
        let new = format!(
            r#"{{"username":"{username}","displayName":"{name}","primaryOrganizationalUnitId":"ou_root"}}"#
        );
        assert_eq!(api.json("POST", "/api/v1/users", &new).0, 200);
    }
    let usernames = |path: &str| -> Vec<String> {
        let (_, users) = api.json("GET", path, "");
        let users = users["items"].as_array().unwrap().iter();
        users
            .map(|user| user["username"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(usernames("/api/v1/users?search=gr%C3%BCn"), ["ada", "eve"]);
    assert_eq!(usernames("/api/v1/users?search=GR%C3%9CN&limit=1"), ["ada"]);
    let (_, first) = api.json("GET", "/api/v1/users?search=gr%C3%BCn&limit=1", "");
    let next = first["next"].as_str().unwrap();
    let rest = format!("/api/v1/users?search=gr%C3%BCn&cursor={next}");
    assert_eq!(usernames(&rest), ["eve"]);
    api.json("POST", "/api/v1/groups", r#"{"name":"Night staff"}"#);
    let (_, groups) = api.json("GET", "/api/v1/groups?search=STAFF", "");
    assert_eq!(groups["items"].as_array().unwrap().len(), 1);
    let unit = r#"{"name":"Optics","parentId":"ou_root"}"#;
    assert_eq!(api.json("POST", "/api/v1/organizational-units", unit).0, 200);
    let (_, units) = api.json("GET", "/api/v1/organizational-units?search=opt", "");
    assert_eq!(units["items"][0]["path"], "Optics");
}
