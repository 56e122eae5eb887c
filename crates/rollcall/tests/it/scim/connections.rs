//! Connections and their tokens: who manages them, and what is kept of them.

use std::process::Command as Process;

use rollcall::access::Role;
use rollcall_db::testing::databases;
use serde_json::{Value, json};

use super::{End, send};
use crate::access::{Site, bearer, on_each};
use crate::operate::{Served, done, rollcall};

const DAY: i64 = 24 * 3_600_000;

async fn entries(site: &Site, target: &str) -> Vec<String> {
    let said = site
        .machine("GET", &format!("/audit?target={target}"), Value::Null)
        .await;
    let items = said.body["items"].as_array().unwrap().clone();
    items
        .iter()
        .rev()
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn connections_are_made_changed_and_deleted_over_the_api() {
    on_each("connections", |site| async move {
        let new = json!({ "name": "Okta", "organizationalUnitId": "/" });
        let made = site.machine("POST", "/connections", new.clone()).await;
        assert_eq!(made.status, 200, "{}", made.body);
        let id = made.text("id");
        assert!(id.starts_with("conn_"), "{id}");
        assert_eq!(
            made.body,
            json!({
                "id": id, "name": "Okta", "organizationalUnitId": "ou_root", "takesOver": "never", "strict": false,
                "disabled": false, "requestsPerSecond": 50, "mapping": {}, "tokens": [],
                "createTime": made.body["createTime"], "updateTime": made.body["createTime"],
                "address": format!("/scim/v2/{id}"),
            })
        );
        let same = json!({ "name": "OKTA", "organizationalUnitId": "ou_root" });
        let taken = site.machine("POST", "/connections", same).await;
        assert_eq!(taken.refused(), (409, "name_taken"));
        let shown = site.machine("GET", "/connections/okta", Value::Null).await;
        assert_eq!(shown.body, made.body);
        let changes = site
            .machine("GET", "/connections/okta/changes", Value::Null)
            .await;
        let nothing = json!({ "changes": [], "next": null, "isCut": false });
        assert_eq!((changes.status, changes.body), (200, nothing));
        let version = shown.headers["etag"].to_str().unwrap().to_owned();

        let change = json!({
            "name": "Okta Prod", "takesOver": "email", "strict": true, "requestsPerSecond": 7,
            "mapping": { "username": "before(userName, \"@\")", "customFields.title": "title", "email": "" },
        });
        let changed = site.machine("PATCH", "/connections/Okta", change.clone()).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
        for (field, value) in change.as_object().unwrap() {
            assert_eq!(changed.body[field], *value);
        }
        let mut headers = bearer(&site.machine);
        headers.push(("if-match", version));
        let path = format!("/connections/{id}");
        let late = site
            .ask("PATCH", &path, &headers, &json!({ "strict": false }))
            .await;
        assert_eq!(late.refused(), (412, "changed"));

        let listed = site.machine("GET", "/connections", Value::Null).await;
        assert_eq!(listed.body["items"].as_array().unwrap().len(), 1);
        let gone = site.machine("DELETE", &path, Value::Null).await;
        assert_eq!(gone.status, 200, "{}", gone.body);
        let shown = site.machine("GET", &path, Value::Null).await;
        assert_eq!(shown.refused(), (404, "not_found"));
        assert_eq!(
            entries(&site, &id).await,
            ["create_connection", "update_connection", "delete_connection"]
        );
    });
}

#[test]
fn what_cannot_be_a_connection_is_refused_with_what_is_wrong() {
    on_each("connection_fields", |site| async move {
        for (changes, field, named) in [
            (json!({ "name": "" }), "invalid_field", "name"),
            (json!({ "name": "conn_1" }), "invalid_field", "conn_"),
            (
                json!({ "organizationalUnitId": "ou_nothing" }),
                "invalid_field",
                "ou_nothing",
            ),
            (
                json!({ "requestsPerSecond": 0 }),
                "invalid_field",
                "requestsPerSecond",
            ),
            (
                json!({ "mapping": { "shoeSize": "title" } }),
                "invalid_field",
                "shoeSize",
            ),
            (
                json!({ "mapping": { "username": "" } }),
                "invalid_field",
                "username",
            ),
            (
                json!({ "mapping": { "email": "lower(" } }),
                "invalid_field",
                "email",
            ),
            (
                json!({ "mapping": { "email": "shoeSize" } }),
                "invalid_field",
                "shoeSize",
            ),
            (json!({ "takesOver": "always" }), "bad_request", "takesOver"),
            (json!({ "color": "red" }), "bad_request", "color"),
        ] {
            let mut new = json!({ "name": "x", "organizationalUnitId": "ou_root" });
            for (field, value) in changes.as_object().unwrap() {
                new[field] = value.clone();
            }
            let said = site.machine("POST", "/connections", new).await;
            assert_eq!(said.refused(), (400, field), "{changes}: {}", said.body);
            assert!(said.text("detail").contains(named), "{changes}: {}", said.body);
        }
    });
}

#[test]
fn two_tokens_are_good_at_a_time_and_each_until_its_end() {
    on_each("connection_tokens", |site| async move {
        let new = json!({ "name": "Okta", "organizationalUnitId": "ou_root" });
        let id = site.machine("POST", "/connections", new).await.text("id");
        let make = async |body: Value| site.machine("POST", "/connections/okta/tokens", body).await;
        let address = format!("/scim/v2/{id}/Users");
        let status = async |token: &str| {
            send(&site, "GET", &address, &bearer(token), String::new())
                .await
                .status
        };

        let first = make(json!({ "expiresInDays": 2 })).await;
        assert_eq!(first.status, 200, "{}", first.body);
        let second = make(json!({ "neverExpires": true })).await;
        let (one, two) = (first.text("secret"), second.text("secret"));
        assert!(one.starts_with("rcs_") && one != two);
        assert_eq!(make(json!({})).await.refused(), (409, "too_many_tokens"));
        let both = json!({ "expiresInDays": 2, "neverExpires": true });
        assert_eq!(make(both).await.refused(), (400, "bad_request"));
        assert_eq!((status(&one).await, status(&two).await), (200, 200));
        let shown = site.machine("GET", "/connections/okta", Value::Null).await.body;
        let tokens = shown["tokens"].as_array().unwrap();
        assert_eq!(tokens.len(), 2);
        assert!(tokens.iter().all(|token| token["lastUsed"].is_i64()), "{shown}");

        site.clock.set(2 * DAY);
        assert_eq!((status(&one).await, status(&two).await), (401, 200));
        // The one that has expired makes room.
        let third = make(json!({})).await;
        assert_eq!(third.status, 200, "{}", third.body);
        let token = third.body["token"]["id"].as_str().unwrap();
        let path = format!("/connections/okta/tokens/{token}");
        assert_eq!(site.machine("DELETE", &path, Value::Null).await.status, 200);
        assert_eq!(status(&third.text("secret")).await, 401);
        let again = site.machine("DELETE", &path, Value::Null).await;
        assert_eq!(again.refused(), (404, "not_found"));

        let disable = json!({ "disabled": true });
        assert_eq!(
            site.machine("PATCH", "/connections/okta", disable).await.status,
            200
        );
        assert_eq!(status(&two).await, 401);
        let enable = json!({ "disabled": false });
        assert_eq!(
            site.machine("PATCH", "/connections/okta", enable).await.status,
            200
        );
        assert_eq!(status(&two).await, 200);

        // Nothing that is stored opens anything.
        let stored = site.database().await;
        for secret in [&one, &two] {
            assert!(!stored.contains(secret.as_str()));
        }
        assert!(stored.contains("create_connection_token"));
    });
}

#[test]
fn a_token_is_made_once_under_a_key() {
    on_each("connection_once", |site| async move {
        let new = json!({ "name": "Okta", "organizationalUnitId": "ou_root" });
        let mut headers = bearer(&site.machine);
        headers.push(("idempotency-key", "abc".to_owned()));
        let once = async |path: &str, body: &Value| site.ask("POST", path, &headers, body).await;
        let first = once("/connections", &new).await;
        let second = once("/connections", &new).await;
        assert_eq!((first.status, second.status), (200, 200), "{}", second.body);
        assert_eq!(first.body, second.body);
        headers[1].1 = "def".to_owned();
        let once = async |path: &str, body: &Value| site.ask("POST", path, &headers, body).await;
        let first = once("/connections/okta/tokens", &json!({})).await;
        let second = once("/connections/okta/tokens", &json!({})).await;
        assert_eq!(first.status, 200, "{}", first.body);
        assert_eq!(first.text("secret"), second.text("secret"));
    });
}

#[test]
fn a_connection_asks_for_no_more_than_its_rate() {
    on_each("connection_rate", |site| async move {
        let end = End::of(&site, "slow", json!({ "requestsPerSecond": 1 })).await;
        let other = End::of(&site, "other", Value::Null).await;
        let mut refused = None;
        for _ in 0..12 {
            let said = end.get("/Users").await;
            assert!(said.headers.contains_key("ratelimit"));
            if said.status == 429 {
                refused = Some(said);
                break;
            }
        }
        let refused = refused.unwrap();
        assert_eq!(refused.body["status"], "429");
        let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=2).contains(&wait));
        assert_eq!(
            other.get("/Users").await.status,
            200,
            "each has a limit of its own"
        );
    });
}

#[test]
fn what_came_from_a_connection_stays_when_it_is_deleted() {
    on_each("connection_deleted", |site| async move {
        let end = End::of(&site, "gone", Value::Null).await;
        let ada = end.user("ada").await;
        let path = format!("/connections/{}", end.connection.id);
        assert_eq!(site.machine("DELETE", &path, Value::Null).await.status, 200);
        assert_eq!(end.get("/Users").await.status, 401);
        assert_eq!(super::in_directory(&site, &ada).await.unwrap().username, "ada");
        // Another connection may make it its own then, if its settings say so.
        let next = End::of(&site, "next", json!({ "takesOver": "username" })).await;
        assert_eq!(next.user("ada").await, ada);
    });
}

#[test]
fn only_administrators_manage_connections() {
    on_each("connection_roles", |site| async move {
        site.account("bob", Role::Operator).await;
        let bob = site.sign_in("bob").await;
        assert_eq!(site.get(&bob, "/connections").await.refused(), (403, "forbidden"));
    });
}

#[test]
fn connections_are_managed_at_the_command_line() {
    for database in databases("connection_cli") {
        let folder = tempfile::tempdir().unwrap();
        let served = Served::start(folder.path(), &database.url);
        let command = |arguments: &[&str]| -> Process {
            rollcall(
                folder.path(),
                &[&["--database", database.url.as_str()], arguments].concat(),
            )
        };
        let cli = |arguments: &[&str]| done(&command(arguments).output().unwrap());
        let json = |arguments: &[&str]| -> Value {
            serde_json::from_str(&cli(&[arguments, &["--json"]].concat())).unwrap()
        };
        let refused = |arguments: &[&str]| {
            let output = command(&[arguments, &["--json"]].concat()).output().unwrap();
            let error: Value = serde_json::from_slice(&output.stderr).unwrap();
            let code = error["error"]["code"].as_str().unwrap().to_owned();
            (output.status.code().unwrap(), code)
        };
        let map = "username=before(userName, \"@\")";
        let made = json(&[
            "connection",
            "create",
            "Entra",
            "--unit",
            "/",
            "--takes-over",
            "email",
            "--map",
            map,
        ]);
        let id = made["id"].as_str().unwrap();
        assert_eq!(made["takesOver"], "email");
        let address = made["address"].as_str().unwrap();
        assert!(address.ends_with(&format!("/scim/v2/{id}")), "{address}");
        let shown = cli(&["connection", "show", "entra"]);
        assert!(
            shown.contains("before(userName, \"@\")") && shown.contains("connection token create"),
            "{shown}"
        );
        assert!(shown.contains("\nunit            /\n"), "{shown}");

        let token = json(&["connection", "token", "create", "entra", "--days", "7"]);
        let secret = token["secret"].as_str().unwrap();
        let header = format!("authorization: Bearer {secret}\r\n");
        let answer = served.get_with(&format!("/scim/v2/{id}/Users"), &header);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(cli(&["connection", "list"]).contains("1 token that is good"));
        cli(&["connection", "token", "create", "entra", "--never"]);
        let third = ["connection", "token", "create", "entra"];
        assert_eq!(refused(&third), (1, "too_many_tokens".to_owned()));

        let changed = json(&[
            "connection",
            "update",
            "entra",
            "--strict",
            "true",
            "--map",
            "email=",
        ]);
        assert_eq!(changed["strict"], true);
        let expected = json!({ "email": "", "username": "before(userName, \"@\")" });
        assert_eq!(changed["mapping"], expected);
        let changed = json(&["connection", "update", "entra", "--clear-map"]);
        assert_eq!(changed["mapping"], json!({}));
        let wrong = ["connection", "update", "entra", "--map", "email"];
        assert_eq!(refused(&wrong), (2, "wrong_use".to_owned()));

        cli(&["connection", "disable", "entra"]);
        let answer = served.get_with(&format!("/scim/v2/{id}/Users"), &header);
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        cli(&["connection", "enable", "entra"]);
        let revoked = cli(&["connection", "token", "revoke", "entra", secret]);
        assert!(revoked.contains("good for nothing"), "{revoked}");
        let answer = served.get_with(&format!("/scim/v2/{id}/Users"), &header);
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");

        assert_eq!(
            refused(&["connection", "delete", "entra"]),
            (2, "unconfirmed".to_owned())
        );
        cli(&["connection", "delete", "entra", "--confirm"]);
        assert_eq!(
            refused(&["connection", "show", "entra"]),
            (1, "not_found".to_owned())
        );
    }
}
