//! The command line before the doors: plans, confirmations, the audit log.

use std::path::Path;
use std::process::Command as Process;

use rollcall_db::testing::databases;
use serde_json::Value;

use crate::world::make_hub;

struct Place {
    folder: tempfile::TempDir,
    database: String,
}

impl Place {
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let folder: &Path = self.folder.path();
        let output = Process::new(env!("CARGO_BIN_EXE_rollcall"))
            .args(["--database", &self.database])
            .args(arguments)
            .current_dir(folder)
            .env("ROLLCALL_DATA_DIR", folder.join("data"))
            .env_remove("ROLLCALL_LOG")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap(), text + &error)
    }

    fn done(&self, arguments: &[&str]) -> String {
        let (code, text) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {text}");
        text
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        serde_json::from_str(&self.done(&all)).unwrap()
    }
}

#[test]
fn naming_one_half_of_a_scope_leaves_the_other_as_it_is() {
    for database in databases("cli_doors") {
        let place = Place {
            folder: tempfile::tempdir().unwrap(),
            database: database.url.clone(),
        };
        make_hub(&place.folder.path().join("data"), &place.database);
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
