//! The command line before the doors: plans, confirmations, the audit log.

use std::path::Path;
use std::process::Command as Process;

use rollcall_db::testing::databases;
use serde_json::Value;

use crate::operate::Served;
use crate::world::make_hub;

/// A hub, and commands on it one after the other.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    database: String,
}

impl Place {
    pub(crate) fn new(database: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_hub(&folder.path().join("data"), database);
        Self {
            folder,
            database: database.to_owned(),
        }
    }

    pub(crate) fn process(&self, arguments: &[&str]) -> Process {
        let folder: &Path = self.folder.path();
        let mut process = Process::new(env!("CARGO_BIN_EXE_rollcall"));
        process
            .args(["--database", &self.database])
            .args(arguments)
            .current_dir(folder)
            .env("ROLLCALL_DATA_DIR", folder.join("data"))
            .env_remove("ROLLCALL_LOG");
        process
    }

    /// The exit code and what is printed, on either way.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.process(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap(), text + &error)
    }

    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let (code, text) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {text}");
        text
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        serde_json::from_str(&self.done(&all)).unwrap()
    }
}

#[test]
fn naming_one_half_of_a_scope_leaves_the_other_as_it_is() {
    for database in databases("cli_doors") {
        let place = Place::new(&database.url);
        place.done(&["unit", "create", "Optics"]);
        place.done(&["group", "create", "Staff"]);
        for (name, unit) in [("ada", "Optics"), ("grace", "/"), ("linus", "/")] {
            place.done(&["user", "create", name, "--display-name", name, "--unit", unit]);
        }
        place.done(&["group", "add", "Staff", "grace"]);
        let create = [
            "app",
            "create",
            "Wiki",
            "--url",
            "https://wiki.invalid/x?key=hush",
        ];
        let parts = [
            "--group",
            "Staff",
            "--event",
            "ud:user:create",
            "--event",
            "ud:user:delete",
        ];
        place.done(&[create.as_slice(), parts.as_slice()].concat());
        let listed = place.done(&["app", "list"]);
        for part in [
            "never synchronized",
            "group Staff",
            "ud:user:create, ud:user:delete",
        ] {
            assert!(listed.contains(part), "{listed}");
        }

        // Nothing named is no plan, and least of all one for everything.
        let (code, text) = place.run(&["app", "scope", "Wiki"]);
        assert!(code != 0 && text.contains("name what is to change"), "{text}");
        let plan = place.json(&["app", "scope", "Wiki", "--add-unit", "Optics"]);
        assert_eq!(plan["scopeBefore"], serde_json::json!(["group Staff"]));
        assert_eq!(plan["scopeAfter"], serde_json::json!(["/Optics", "group Staff"]));
        assert_eq!(plan["plan"]["enter"]["firstUsers"], serde_json::json!(["ada"]));
        assert_eq!(plan["plan"]["leave"]["users"], 0);
        let (code, _) = place.run(&[
            "app",
            "scope",
            "Wiki",
            "--add-unit",
            "Optics",
            "--confirm",
            "wrong",
        ]);
        assert_eq!(code, 1);
        let token = plan["plan"]["token"].as_str().unwrap();
        place.done(&["app", "scope", "Wiki", "--add-unit", "Optics", "--confirm", token]);
        let shown = place.json(&["app", "show", "Wiki"]);
        assert_eq!(shown["scopeNames"], serde_json::json!(["/Optics", "group Staff"]));
        assert_eq!(
            shown["subscription"],
            serde_json::json!(["ud:user:create", "ud:user:delete"])
        );

        let text = place.done(&["app", "show", "Wiki"]);
        for part in ["/Optics, group Staff\n", "ud:user:create, ud:user:delete\n"] {
            assert!(text.contains(part), "{text}");
        }
        // The subscription by itself: the scope stays.
        let plan = place.json(&["app", "subscription", "Wiki", "--remove", "ud:user:delete"]);
        assert_eq!(plan["before"].as_array().unwrap().len(), 2);
        assert_eq!(plan["after"], serde_json::json!(["ud:user:create"]));
        let token = plan["token"].as_str().unwrap();
        let change = [
            "app",
            "subscription",
            "Wiki",
            "--remove",
            "ud:user:delete",
            "--confirm",
            token,
        ];
        place.done(&change);
        let shown = place.json(&["app", "show", "Wiki"]);
        assert_eq!(shown["scopeNames"], serde_json::json!(["/Optics", "group Staff"]));
        assert_eq!(shown["subscription"], serde_json::json!(["ud:user:create"]));
        let same = place.done(&["app", "set", "Wiki", "--url", "https://wiki.invalid/x?key=hush"]);
        assert!(same.contains("nothing to change"), "{same}");

        let told = place.json(&["audit", "--target", "Wiki"]);
        let actions: Vec<&str> = told
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["action"].as_str().unwrap())
            .collect();
        assert_eq!(actions, ["set_subscription", "set_scope", "create"]);
        assert!(!told.to_string().contains("hush"));
        assert!(told[0]["actor"].as_str().unwrap().starts_with("administrator:"));
        assert_eq!(told[0]["origin"], "cli");
        let of_ada = place.done(&["audit", "--target", "ada", "--who", "administrator"]);
        assert!(
            of_ada.contains("ud:user:create") && of_ada.contains("from cli"),
            "{of_ada}"
        );
    }
}

#[test]
fn a_cascade_shows_whom_it_takes_along_and_waits_for_a_confirmation() {
    for database in databases("cli_cascade") {
        let place = Place::new(&database.url);
        place.done(&["unit", "create", "Optics"]);
        place.done(&["unit", "create", "Lasers", "--parent", "Optics"]);
        place.done(&[
            "user",
            "create",
            "ada",
            "--display-name",
            "Ada",
            "--unit",
            "Optics/Lasers",
        ]);
        let (code, text) = place.run(&["unit", "delete", "Optics"]);
        assert!(code == 1 && text.contains("--cascade"), "{text}");
        let shown = place.done(&["unit", "delete", "Optics", "--cascade"]);
        for part in [
            "2 ",
            "Optics/Lasers",
            "ada",
            "Nothing is deleted yet",
            "--confirm ",
        ] {
            assert!(shown.contains(part), "{shown}");
        }
        let plan = place.json(&["unit", "delete", "Optics", "--cascade"]);
        assert!(plan["changes"].is_null() && plan["plan"]["deletedUsers"]["first"][0] == "ada");
        let (code, _) = place.run(&["unit", "delete", "Optics", "--cascade", "--confirm", "wrong"]);
        assert_eq!(code, 1);
        let (code, _) = place.run(&["unit", "delete", "Optics", "--confirm", "wrong"]);
        assert_eq!(code, 2, "there is nothing to confirm without --cascade");
        place.done(&["user", "show", "ada"]);
        let token = plan["plan"]["token"].as_str().unwrap();
        let done = place.json(&["unit", "delete", "Optics", "--cascade", "--confirm", token]);
        assert_eq!(done["changes"], 3);
        let (code, text) = place.run(&["user", "show", "ada"]);
        assert!(code == 1 && text.contains("there is no user"), "{text}");
        let told = place.json(&["audit", "--action", "unit:delete"]);
        assert_eq!(told.as_array().unwrap().len(), 2);

        // A name that is another's id.
        let grace = place.json(&["user", "create", "grace", "--display-name", "Grace"]);
        let id = grace["id"].as_str().unwrap();
        place.done(&["user", "create", id, "--display-name", "Impostor"]);
        let (code, text) = place.run(&["user", "disable", id]);
        assert!(
            code == 1 && text.contains(&format!("id:{id}, name:{id}")),
            "{text}"
        );
        place.done(&["user", "disable", &format!("name:{id}")]);
        assert_eq!(place.json(&["user", "show", "grace"])["enabled"], true);
    }
}

#[test]
fn the_api_holds_writes_to_versions_and_shows_the_audit_log() {
    for database in databases("api_doors") {
        let folder = tempfile::tempdir().unwrap();
        let mut served = Served::start(folder.path(), &database.url);
        let token = std::fs::read_to_string(folder.path().join("data/admin.token")).unwrap();
        let ask = |method: &str, path: &str, headers: &str, body: &str| {
            let headers = format!("authorization: Bearer {}\r\n{headers}", token.trim());
            let answer = served.ask(method, path, &headers, body);
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
            (status, serde_json::from_str::<Value>(body).unwrap())
        };
        let new = r#"{"username":"ada","displayName":"Ada","primaryOrganizationalUnitId":"ou_root"}"#;
        let (status, made) = ask("POST", "/api/v1/users", "x-request-id: first\r\n", new);
        assert_eq!(status, 200, "{made}");
        let path = format!("/api/v1/users/{}", made["id"].as_str().unwrap());
        let version = ask("GET", &path, "", "").1["updateTime"].as_i64().unwrap();
        let change = r#"{"displayName":"Countess"}"#;
        let held = |version: i64| ask("PATCH", &path, &format!("if-match: \"{version}\"\r\n"), change);
        let (status, refused) = held(version - 1);
        assert_eq!((status, refused["code"].as_str()), (412, Some("changed")));
        assert_eq!(held(version).0, 200);
        assert_eq!(held(version).0, 412, "that version is gone");
        let (status, _) = ask("PATCH", &path, "if-match: \"x\"\r\n", change);
        assert_eq!(status, 400);

        let (_, unit) = ask(
            "POST",
            "/api/v1/organizational-units",
            "",
            r#"{"name":"Optics","parentId":"ou_root"}"#,
        );
        let unit = format!("/api/v1/organizational-units/{}", unit["id"].as_str().unwrap());
        let plan = ask("GET", &format!("{unit}/deletion"), "", "").1;
        assert_eq!(plan["organizationalUnits"]["count"], 1);
        // Nothing goes along that nobody has seen.
        let (status, refused) = ask("DELETE", &format!("{unit}?cascade=true"), "", "");
        assert_eq!((status, refused["code"].as_str()), (428, Some("unconfirmed")));
        assert_eq!(refused["plan"], plan);
        let token = plan["token"].as_str().unwrap();
        let said = refused["detail"].as_str().unwrap();
        assert!(said.contains(&format!("confirm={token}")), "{said}");
        let (status, refused) = ask("DELETE", &format!("{unit}?confirm={token}"), "", "");
        assert_eq!((status, refused["code"].as_str()), (400, Some("bad_request")));
        let (status, refused) = ask("DELETE", &format!("{unit}?cascade=true&confirm=wrong"), "", "");
        assert_eq!((status, refused["code"].as_str()), (409, Some("plan_changed")));
        assert_eq!(refused["plan"], plan);
        assert_eq!(ask("GET", &unit, "", "").0, 200, "it is still there");
        let (status, _) = ask("DELETE", &format!("{unit}?cascade=true&confirm={token}"), "", "");
        assert_eq!(status, 200);

        let (_, told) = ask("GET", "/api/v1/audit?who=token:admin&target=ada", "", "");
        let told = told["items"].as_array().unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[1]["action"], "ud:user:create");
        assert_eq!(told[1]["origin"], "api first 127.0.0.1");
        served.stop();
    }
}

#[test]
fn a_shorter_encryption_key_is_refused_and_makes_no_application() {
    for database in databases("cli_short_keys") {
        let place = Place::new(&database.url);
        let file = place.folder.path().join("app.key");
        let create = [
            "app",
            "create",
            "Wiki",
            "--url",
            "https://wiki.invalid/x",
            "--encryption-key-file",
            "app.key",
        ];
        // AES-128 and AES-192, which receivers read and the hub does not use; a key that was cut; something else.
        for (text, told) in [
            ("ab".repeat(16), "must be 64 hexadecimal digits (AES-256), not 32"),
            ("ab".repeat(24), "must be 64 hexadecimal digits (AES-256), not 48"),
            ("ab".repeat(31), "64 hexadecimal digits"),
            ("xy".repeat(32), "64 hexadecimal digits"),
        ] {
            std::fs::write(&file, format!("{text}\n")).unwrap();
            let (code, said) = place.run(&create);
            assert!(code != 0 && said.contains(told), "{code}: {said}");
            assert!(!said.contains(&text), "the key is not shown: {said}");
            assert!(!place.done(&["app", "list"]).contains("Wiki"));
        }
        std::fs::write(&file, "ab".repeat(32)).unwrap();
        place.done(&create);
        // Nor does it replace a key that works.
        std::fs::write(&file, "cd".repeat(16)).unwrap();
        let (code, said) = place.run(&["app", "set", "Wiki", "--encryption-key-file", "app.key"]);
        assert!(code != 0 && said.contains("not 32"), "{code}: {said}");
    }
}
