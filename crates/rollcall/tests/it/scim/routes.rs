//! Who gets in at the routes of connections.

use std::collections::BTreeSet;
use std::path::Path;

use rollcall::access::Role;
use serde_json::{Value, json};

use super::{End, send};
use crate::access::{bearer, on_each};

/// The list in `docs/access.md`.
fn written() -> BTreeSet<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/access.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, list) = text.split_once("<!-- scim routes -->").unwrap();
    let (list, _) = list.split_once("\n## ").unwrap();
    list.lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix("` |")?.split_once(' '))
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .collect()
}

#[test]
fn every_route_is_written_down() {
    let declared: BTreeSet<(String, String)> = rollcall::api::scim_routes()
        .into_iter()
        .map(|(method, path)| (method.to_owned(), path))
        .collect();
    assert!(declared.len() > 20);
    assert_eq!(
        declared,
        written(),
        "docs/access.md has other routes than the hub"
    );
}

#[test]
fn only_a_token_of_the_connection_itself_opens_its_routes() {
    on_each("scim_routes", |site| async move {
        let end = End::of(&site, "one", Value::Null).await;
        let other = End::of(&site, "other", Value::Null).await;
        site.account("ada", Role::Administrator).await;
        let session = site.sign_in("ada").await;
        let token = json!({ "name": "robot", "role": "administrator" });
        let token = site.machine("POST", "/tokens", token).await.text("secret");
        let wrong = [
            Vec::new(),
            bearer(&site.machine),
            bearer(&token),
            bearer(&other.token),
            bearer("rcs_nonsense"),
            vec![("authorization", format!("Basic {}", end.token))],
            session.headers(),
        ];
        for (method, path) in rollcall::api::scim_routes() {
            let path = path
                .replace("{connection}", &end.connection.id)
                .replace("{id}", "nothing");
            for headers in &wrong {
                let said = send(&site, method, &path, headers, "{}".to_owned()).await;
                assert_eq!(said.status, 401, "{method} {path} {headers:?}: {}", said.body);
                assert_eq!(
                    said.body["schemas"][0],
                    "urn:ietf:params:scim:api:messages:2.0:Error"
                );
                assert_eq!(said.headers["content-type"], "application/scim+json");
                assert!(said.headers.contains_key("www-authenticate"));
            }
            let said = send(&site, method, &path, &bearer(&end.token), "{}".to_owned()).await;
            assert_ne!(said.status, 401, "{method} {path}");
            assert_ne!(said.status, 405, "{method} {path}");
            assert!(
                said.status < 500 || said.status == 501,
                "{method} {path}: {}",
                said.body
            );
            if said.status >= 400 {
                assert_eq!(
                    said.body["status"],
                    said.status.to_string(),
                    "{method} {path}: {}",
                    said.body
                );
            }
        }
        // And a connection's token opens nothing of the administrator's API.
        let said = site.ask("GET", "/users", &bearer(&end.token), &Value::Null).await;
        assert_eq!(said.status, 401);
    });
}

#[test]
fn what_is_not_there_is_told_in_scims_form() {
    on_each("scim_unknown", |site| async move {
        let end = End::of(&site, "one", Value::Null).await;
        for (method, path, status) in [
            ("GET", "/Nothing", 404),
            ("GET", "/Users/nobody", 404),
            ("GET", "/Schemas/nothing", 404),
            ("DELETE", "/Groups/nobody", 404),
            ("DELETE", "/Users", 405),
            ("GET", "/Me", 501),
            ("GET", "/Schemas?filter=id%20pr", 403),
            ("POST", "/Users", 400),
        ] {
            let said = end.ask(method, path, Value::Null).await;
            assert_eq!(said.status, status, "{method} {path}: {}", said.body);
            assert_eq!(said.body["status"], status.to_string(), "{method} {path}");
            assert!(!said.text("detail").is_empty());
        }
        let large = json!({ "userName": "x".repeat(9 << 20) });
        assert_eq!(end.ask("POST", "/Users", large).await.status, 413);
    });
}

#[test]
fn the_service_provider_describes_itself() {
    on_each("scim_discovery", |site| async move {
        let end = End::of(&site, "one", Value::Null).await;
        let config = end.get("/ServiceProviderConfig").await.body;
        for feature in ["patch", "bulk", "filter", "changePassword", "sort", "etag"] {
            assert_eq!(config[feature]["supported"], true, "{feature}");
        }
        assert_eq!(config["pagination"]["cursor"], true);
        let base = format!("http://{}/scim/v2/{}", site.address, end.connection.id);
        assert_eq!(
            config["meta"]["location"],
            format!("{base}/ServiceProviderConfig")
        );
        for (all, count) in [("/ResourceTypes", 2), ("/Schemas", 6)] {
            let list = end.get(all).await.body;
            assert_eq!(list["totalResults"], count, "{list}");
            for document in list["Resources"].as_array().unwrap() {
                let id = document["id"].as_str().unwrap();
                let one = end.get(&format!("{all}/{id}")).await;
                assert_eq!(one.body, *document);
                assert_eq!(document["meta"]["location"], format!("{base}{all}/{id}"));
            }
        }
    });
}
