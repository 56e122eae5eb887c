//! The directory as a file, over the administrator's API; and how the hub is.

use serde_json::{Value, json};

use crate::access::{bearer, on_each};
use crate::plain::{deliver, user};
use crate::world::hasty;

#[test]
fn an_import_tells_how_far_it_is() {
    on_each("api_transfer_progress", |site| async move {
        let rows = |count: usize| -> String {
            let rows = (0..count).map(|number| format!("user{number:05},User {number},Optics\n"));
            std::iter::once("username,display_name,path\n".to_owned())
                .chain(rows)
                .collect()
        };
        let send = async |path: &str, body: &str| {
            let headers = bearer(&site.machine);
            site.send("POST", path, &headers, body.to_owned()).await
        };
        let path = "/import?format=csv&name=people.csv&progress=true";
        let told = send(path, &rows(3_000)).await;
        assert_eq!(
            (told.status, &told.headers["content-type"]),
            (200, &"application/jsonl".parse().unwrap())
        );
        let lines: Vec<Value> = told
            .body
            .as_str()
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let (last, steps) = lines.split_last().unwrap();
        assert_eq!(last["report"]["users"]["created"], 3_000, "{last}");
        let done: Vec<u64> = steps
            .iter()
            .filter(|step| step["progress"]["what"] == "users")
            .map(|step| step["progress"]["done"].as_u64().unwrap())
            .collect();
        assert!(!done.is_empty() && done.is_sorted(), "{steps:?}");
        let noted = site.machine("GET", "/audit?target=people.csv", Value::Null).await;
        assert_eq!(noted.body["items"][0]["action"], "import");
        // What cannot be begun is refused as ever; what is found out later ends the lines.
        assert_eq!(send(&format!("{path}&owner=x"), "").await.status, 400);
        let late = send(&format!("{path}&deleteMissing=true"), &rows(1)).await;
        let line: Value = match &late.body {
            Value::String(text) => serde_json::from_str(text).unwrap(),
            line => line.clone(),
        };
        assert_eq!(late.status, 200);
        assert_eq!(line["problem"]["status"], 400, "{line}");
        assert!(
            line["problem"]["detail"].as_str().unwrap().contains("owner"),
            "{line}"
        );
    });
}

#[test]
fn a_directory_is_imported_and_exported_as_a_file() {
    on_each("api_transfer", |site| async move {
        let send = async |path: &str, body: &str| {
            let headers = bearer(&site.machine);
            site.send("POST", path, &headers, body.to_owned()).await
        };
        let csv = "username,display_name,path\nada,Ada,Optics\nbob,Bob,Optics\n,Nobody,Optics\n";
        let path = "/import?format=csv&name=people.csv";
        let plan = send(&format!("{path}&dryRun=true"), csv).await;
        assert_eq!(plan.status, 200, "{}", plan.body);
        assert_eq!(
            (&plan.body["dryRun"], &plan.body["users"]["created"]),
            (&true.into(), &2.into())
        );
        let none = site.machine("GET", "/users", Value::Null).await;
        assert_eq!(none.body["items"], json!([]));
        let done = send(path, csv).await;
        assert_eq!(
            (&done.body["users"]["created"], &done.body["errorsTotal"]),
            (&2.into(), &1.into())
        );
        let told = site.machine("GET", "/audit?target=people.csv", Value::Null).await;
        assert_eq!(
            (&told.body["items"][0]["action"], &told.body["items"][0]["actor"]),
            (&"import".into(), &"token:admin".into())
        );
        let changes = site.machine("GET", "/changes?after=1", Value::Null).await;
        assert_eq!(changes.body["items"][0]["actor"], "import:people.csv");
        let change = site.machine("GET", "/changes/2", Value::Null).await;
        assert_eq!(change.body, changes.body["items"][0]);
        assert_eq!(site.machine("GET", "/changes/999", Value::Null).await.status, 404);

        for (path, says) in [
            ("/import?format=xml", "format"),
            ("/import?format=csv&name=..", "name"),
            ("/import?format=csv&name=a%2Fb", "name"),
            ("/import?format=csv&maxDeletions=lots", "maxDeletions"),
            ("/import?format=csv&owner=x", "owner"),
            ("/import?format=csv&deleteMissing=true", "owner"),
            ("/import?format=csv&mapping=x", "FIELD=NAME"),
        ] {
            let said = send(path, csv).await;
            assert_eq!(said.status, 400, "{path}: {}", said.body);
            assert!(said.text("detail").contains(says), "{path}: {}", said.body);
        }

        for (format, kind, holds) in [
            ("jsonl", "application/jsonl", "\"username\":\"ada\""),
            ("csv", "text/csv; charset=utf-8", "ada,Ada"),
            (
                "ldif",
                "text/plain; charset=utf-8",
                "dn: uid=ada,ou=Optics,dc=example",
            ),
        ] {
            let path = format!("/export?format={format}&base=dc%3Dexample");
            let said = site.machine("GET", &path, Value::Null).await;
            assert_eq!(
                (said.status, &said.headers["content-type"]),
                (200, &kind.parse().unwrap())
            );
            let text = said.body.to_string().replace("\\\"", "\"");
            assert!(text.contains(holds), "{text}");
            // What was exported is no news.
            let body = said.body.as_str().unwrap();
            let again = send(&format!("/import?format={format}&base=dc%3Dexample"), body).await;
            assert_eq!(again.body["users"]["unchanged"], 2, "{}", again.body);
        }
        let path = "/export?format=ldif&base=uid%3Dx";
        let other = site.machine("GET", path, Value::Null).await;
        assert_eq!(other.status, 400, "{}", other.body);
        let uneven = "username,display_name,path\nada\n\"";
        let uneven = send("/import?format=csv", uneven).await;
        assert!(uneven.status < 500, "{}", uneven.body);
        let wrong = site
            .machine("GET", "/export?format=ldif&base=x", Value::Null)
            .await;
        assert_eq!(wrong.status, 400, "{}", wrong.body);
    });
}

#[test]
fn the_health_names_parts_nodes_and_counts() {
    on_each("api_health", |site| async move {
        user(&site.hub, "ada").await;
        let delivery = deliver(&site.hub, hasty()).await;
        let health = site.machine("GET", "/health", Value::Null).await.body;
        assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(health["instanceId"], site.hub.instance.id);
        assert_eq!(health["nodes"].as_array().unwrap().len(), 1, "{health}");
        assert_eq!(health["subjects"]["users"], 1);
        let names: Vec<_> = health["parts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| &part["name"])
            .collect();
        assert!(names.contains(&&json!("database")), "{health}");
        delivery.stop().await;
    });
}

#[test]
fn an_administrator_ends_the_sessions_of_others() {
    on_each("api_sessions", |site| async move {
        site.account("ada", rollcall::access::Role::Operator).await;
        site.sign_in("ada").await;
        let sessions = site
            .machine("GET", "/accounts/ada/sessions", Value::Null)
            .await
            .body;
        let first = sessions["items"][0]["id"].as_str().unwrap();
        let count = sessions["items"].as_array().unwrap().len();
        let path = format!("/accounts/ada/sessions/{first}");
        let ended = site.machine("DELETE", &path, Value::Null).await;
        assert_eq!((ended.status, &ended.body["ended"]), (200, &1.into()));
        let left = site
            .machine("GET", "/accounts/ada/sessions", Value::Null)
            .await
            .body;
        assert_eq!(left["items"].as_array().unwrap().len(), count - 1);
        assert_eq!(site.machine("DELETE", &path, Value::Null).await.status, 404);
        let token = json!({ "name": "ci", "role": "operator" });
        site.machine("POST", "/tokens", token).await;
        let shown = site.machine("GET", "/tokens/ci", Value::Null).await;
        assert_eq!((shown.status, shown.text("name")), (200, "ci".to_owned()));
    });
}
