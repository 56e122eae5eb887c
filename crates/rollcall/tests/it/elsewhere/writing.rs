//! What is done elsewhere: the story of an application, and each command that writes.

use std::io::Write as _;
use std::process::Stdio;

use super::{Place, private, run};
use crate::plain::{Of, Plain, Say, settled};
use crate::world::on_both;

/// The word of a plan that confirms it.
fn token_of(told: &serde_json::Value) -> String {
    let plan = told.get("plan").unwrap_or(told);
    plan["token"].as_str().unwrap().to_owned()
}

#[test]
fn the_story_of_an_application_is_told_from_elsewhere() {
    on_both("elsewhere_story", |database, _| async move {
        let place = Place::start(&database);
        let hub = place.hub().await;
        place.done(&["unit", "create", "Optics"]).await;
        place.done(&["unit", "create", "Sales"]).await;
        for (name, unit) in [("ada", "Optics"), ("bob", "Sales")] {
            place
                .done(&["user", "create", name, "--display-name", name, "--unit", unit])
                .await;
        }
        // The endpoint is there already, and the application is made anew from elsewhere.
        let app = Plain::new(&hub, "Old").await;
        let url = app.application.settings.url().to_owned();
        let made = place
            .json(&[
                "app",
                "create",
                "Wiki",
                "--url",
                &url,
                "--unit",
                "Optics",
                "--encrypt",
            ])
            .await;
        assert!(
            made["jwksUrl"].as_str().unwrap().contains("/provisioning/jwks"),
            "{made}"
        );
        assert_eq!(made["encryptionKey"].as_str().unwrap().len(), 64);
        assert!(made["notes"].to_string().contains("public_url"), "{made}");
        let refused = place
            .json(&["app", "set", "Wiki", "--url", "http://10.0.0.1/x"])
            .await;
        assert!(refused["notes"].to_string().contains("egress.allow"), "{refused}");
        place.done(&["app", "delete", "Wiki", "--confirm"]).await;
        assert!(!place.done(&["app", "list"]).await.contains("Wiki"));

        // Its scope, by a plan.
        let plan = place.json(&["app", "scope", "Old", "--unit", "Optics"]).await;
        assert_eq!(plan["scopeBefore"], serde_json::json!(["everything"]));
        assert_eq!(plan["scopeAfter"], serde_json::json!(["/Optics"]));
        assert_eq!(plan["job"], serde_json::Value::Null);
        let wrong = place
            .there(&[
                "app",
                "scope",
                "Old",
                "--unit",
                "Optics",
                "--confirm",
                "wrong",
                "--json",
            ])
            .await;
        assert_eq!(
            (wrong.code, wrong.error().0.as_str()),
            (1, "plan_changed"),
            "{wrong:?}"
        );
        let token = token_of(&plan);
        let done = place
            .json(&["app", "scope", "Old", "--unit", "Optics", "--confirm", &token])
            .await;
        assert!(done["job"].as_str().unwrap().starts_with("job_"), "{done}");
        settled(&hub, &app.application).await;
        let plan = place
            .json(&["app", "subscription", "Old", "--remove", "ud:group:create"])
            .await;
        let token = token_of(&plan);
        let text = place
            .done(&[
                "app",
                "subscription",
                "Old",
                "--remove",
                "ud:group:create",
                "--confirm",
                &token,
            ])
            .await;
        assert!(text.contains("from now on"), "{text}");

        // Tested, synchronized, looked at.
        let tested = place.done(&["app", "test", "Old"]).await;
        assert!(
            tested.contains("ok   resolve") && tested.contains("accepted"),
            "{tested}"
        );
        let synchronized = place.done(&["app", "sync", "Old"]).await;
        assert!(synchronized.contains("success"), "{synchronized}");
        let why = place.done(&["why", "ada", "Old"]).await;
        assert!(why.contains("organizational unit /Optics"), "{why}");
        let pushed = place.done(&["push", "ada", "Old"]).await;
        assert!(pushed.contains("Old accepted it"), "{pushed}");
        let outside = place.there(&["push", "bob", "Old"]).await;
        assert!(
            outside.code == 3 && outside.out.contains("FAIL scope"),
            "{outside:?}"
        );

        // What is refused is set aside, and sent again.
        app.say(|events| Say::Each(vec![Of::Failed; events.len()]));
        let refused = place.there(&["push", "ada", "Old"]).await;
        assert!(
            refused.code == 3 && refused.out.contains("Old refused it"),
            "{refused:?}"
        );
        let log = place.done(&["log", "--app", "Old", "--failed"]).await;
        assert!(log.contains("1 refused") && log.contains("ada"), "{log}");
        app.say(|_| Say::Yes);
        let resent = place.json(&["app", "resend", "Old"]).await;
        assert_eq!(
            resent["queued"].as_u64().unwrap() + resent["refreshed"].as_u64().unwrap(),
            1
        );
        settled(&hub, &app.application).await;
        let told = place.done(&["app", "dismiss", "Old", "--all"]).await;
        assert!(told.contains("nothing to dismiss"), "{told}");
        assert!(place.done(&["app", "pause", "Old"]).await.contains("is paused"));
        let waits = place.there(&["push", "ada", "Old", "--wait", "0"]).await;
        assert!(waits.code == 3 && waits.out.contains("is paused"), "{waits:?}");
        let skipped = place.json(&["app", "skip", "Old"]).await;
        let event = skipped["skipped"].as_str().unwrap();
        place.done(&["app", "dismiss", "Old", "--event", event]).await;
        assert!(
            place
                .done(&["app", "resume", "Old"])
                .await
                .contains("pushed to again")
        );

        // Its keys.
        assert!(
            place
                .done(&["app", "key", "rotate", "Old"])
                .await
                .contains("is published now")
        );
        assert!(
            place
                .done(&["app", "key", "try", "Old"])
                .await
                .contains("is tried")
        );
        let named = place
            .done(&["app", "set", "Old", "--name", "New", "--lanes", "2"])
            .await;
        assert!(named.contains("New is changed"), "{named}");
        // What was done is told in the hub's audit log, by whom.
        let audit = place
            .done(&["audit", "--who", "token:admin", "--target", "New"])
            .await;
        for part in [
            "set_scope",
            "set_subscription",
            "disable_synchronization",
            "publish_signing_key",
        ] {
            assert!(audit.contains(part), "{part}: {audit}");
        }
    });
}

#[test]
fn the_directory_is_written_from_elsewhere() {
    on_both("elsewhere_directory", |database, _| async move {
        let place = Place::start(&database);
        place.done(&["unit", "create", "Engineering"]).await;
        place
            .done(&["unit", "create", "R/D", "--parent", "Engineering"])
            .await;
        place.done(&["unit", "create", "Sales"]).await;
        place.done(&["unit", "rename", "Sales", "Sales and more"]).await;
        place
            .done(&["unit", "move", "Sales and more", "Engineering"])
            .await;
        let shown = place.done(&["unit", "show", "Engineering/Sales and more"]).await;
        assert!(shown.ends_with("path  /Engineering/Sales and more\n"), "{shown}");

        let create = [
            "user",
            "create",
            "ada",
            "--display-name",
            "Ada",
            "--unit",
            "Engineering",
        ];
        let more = [
            "--further",
            "Engineering/R\\/D",
            "--email",
            "ada@example.com",
            "--custom",
            "a=1",
        ];
        place.done(&[&create[..], &more].concat()).await;
        // What is not named stays, and what is emptied goes.
        place
            .done(&[
                "user",
                "update",
                "ada",
                "--display-name",
                "Countess",
                "--custom",
                "b=2",
            ])
            .await;
        let ada = place.json(&["user", "show", "ada"]).await;
        assert_eq!(ada["email"], "ada@example.com");
        assert_eq!(ada["customFields"], serde_json::json!({ "a": "1", "b": "2" }));
        place
            .done(&["user", "update", "ada", "--email", "", "--clear-custom", "a"])
            .await;
        let ada = place.json(&["user", "show", "ada"]).await;
        assert_eq!(ada["email"], serde_json::Value::Null);
        assert_eq!(ada["displayName"], "Countess");
        assert_eq!(ada["customFields"], serde_json::json!({ "b": "2" }));
        for verb in [
            &["disable"] as &[&str],
            &["enable"],
            &["lock", "--minutes", "5"],
            &["lock"],
            &["unlock"],
        ] {
            let (verb, rest) = verb.split_first().unwrap();
            place.done(&[&["user", verb, "ada"], rest].concat()).await;
        }
        let again = place.done(&["user", "unlock", "ada"]).await;
        assert!(again.contains("nothing to change"), "{again}");
        place.done(&["user", "move", "ada", "--unit", "/"]).await;
        let ada = place.json(&["user", "show", "ada"]).await;
        assert_eq!(ada["units"].as_array().unwrap().len(), 1);

        let mut process = place.remote("token", &["user", "password", "ada"]);
        process
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = process.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(b"a fine long password\n")
            .unwrap();
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let output = ended.await.unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(place.json(&["user", "show", "ada"]).await["passwordSet"], true);

        place
            .done(&["group", "create", "Staff", "--description", "everybody"])
            .await;
        place.done(&["group", "add", "Staff", "ada"]).await;
        let group = place.json(&["group", "show", "Staff"]).await;
        assert_eq!(group["members"][0]["username"], "ada");
        assert_eq!(group["group"]["description"], "everybody");
        place.done(&["group", "rename", "Staff", "Crew"]).await;
        assert_eq!(
            place.json(&["group", "show", "Crew"]).await["group"]["description"],
            "everybody"
        );
        place.done(&["group", "remove", "Crew", "ada"]).await;
        place.done(&["group", "delete", "Crew"]).await;
        place
            .done(&["user", "create", "bob", "--display-name", "Bob"])
            .await;
        place.done(&["user", "delete", "bob"]).await;
        let gone = place.there(&["user", "show", "bob", "--json"]).await;
        assert_eq!((gone.code, gone.error().0.as_str()), (1, "not_found"));

        let plan = place.json(&["unit", "delete", "Engineering", "--cascade"]).await;
        assert_eq!(plan["plan"]["organizationalUnits"]["count"], 3, "{plan}");
        let token = token_of(&plan);
        let told = place
            .done(&["unit", "delete", "Engineering", "--cascade", "--confirm", &token])
            .await;
        assert!(told.contains("It is done"), "{told}");
        let erased = place.json(&["user", "erase", "ada", "--confirm"]).await;
        assert_eq!(erased["deleted"], true, "{erased}");
        let gone = place.there(&["user", "show", "ada", "--json"]).await;
        assert_eq!((gone.code, gone.error().0.as_str()), (1, "not_found"));
    });
}

#[test]
fn accounts_and_tokens_are_managed_from_elsewhere() {
    on_both("elsewhere_access", |database, _| async move {
        let place = Place::start(&database);
        let made = place
            .json(&[
                "account",
                "create",
                "grace",
                "--role",
                "operator",
                "--email",
                "g@example.com",
            ])
            .await;
        assert!(made["oneTimePassword"].as_str().unwrap().len() > 10, "{made}");
        place
            .done(&["app", "create", "Wiki", "--url", "https://wiki.invalid/x"])
            .await;
        let owner = [
            "account",
            "set-role",
            "grace",
            "--role",
            "application_owner",
            "--app",
            "Wiki",
        ];
        assert!(place.done(&owner).await.contains("application_owner of app_"));
        assert!(
            place
                .done(&["account", "disable", "grace"])
                .await
                .contains("disabled")
        );
        assert!(
            !place
                .done(&["account", "enable", "grace"])
                .await
                .contains("disabled")
        );
        let reset = place.json(&["account", "reset-password", "grace"]).await;
        assert_ne!(reset["oneTimePassword"], made["oneTimePassword"]);
        assert_eq!(
            place.json(&["session", "end", "--account", "grace"]).await["ended"],
            0
        );
        place.done(&["account", "delete", "grace", "--confirm"]).await;

        let token = place
            .json(&["token", "create", "ci", "--role", "operator", "--days", "3"])
            .await;
        private(&place.there.path().join("ci"), token["secret"].as_str().unwrap());
        let told = run(place.remote("ci", &["app", "list"])).await;
        assert!(told.code == 0 && told.out.contains("Wiki"), "{told:?}");
        place.done(&["token", "revoke", "ci"]).await;
        let told = run(place.remote("ci", &["app", "list", "--json"])).await;
        assert_eq!(
            (told.code, told.error().0.as_str()),
            (1, "unauthorized"),
            "{told:?}"
        );
    });
}

#[test]
fn connections_are_managed_from_elsewhere() {
    on_both("elsewhere_connections", |database, _| async move {
        let place = Place::start(&database);
        let create = [
            "connection",
            "create",
            "Okta",
            "--unit",
            "/",
            "--takes-over",
            "email",
        ];
        let made = place.json(&create).await;
        let id = made["id"].as_str().unwrap();
        assert_eq!(made["takesOver"], "email", "{made}");
        let token = ["connection", "token", "create", "okta", "--days", "7"];
        let token = place.json(&token).await;
        let secret = token["secret"].as_str().unwrap();
        let header = format!("authorization: Bearer {secret}\r\n");
        let path = format!("/scim/v2/{id}/Users");
        let status = || place.served.get_with(&path, &header)[9..12].to_owned();
        assert_eq!(status(), "200");
        let map = "description=title";
        let update = ["connection", "update", "okta", "--strict", "true", "--map", map];
        let changed = place.json(&update).await;
        assert_eq!(
            (&changed["strict"], &changed["mapping"]["description"]),
            (&true.into(), &"title".into())
        );
        assert_eq!(changed["takesOver"], "email", "what is not named stays");
        place.done(&["connection", "disable", "okta"]).await;
        assert_eq!(status(), "401");
        place.done(&["connection", "enable", "okta"]).await;
        assert_eq!(status(), "200");
        place
            .done(&["connection", "token", "revoke", "okta", secret])
            .await;
        assert_eq!(status(), "401");
        place.done(&["connection", "delete", "okta", "--confirm"]).await;
        assert_eq!(place.done(&["connection", "list"]).await, "");
    });
}

#[test]
fn the_developer_api_of_an_application_is_managed_from_elsewhere() {
    on_both("elsewhere_developer", |database, _| async move {
        let place = Place::start(&database);
        place
            .done(&["app", "create", "Wiki", "--url", "http://127.0.0.1:9/events"])
            .await;
        let off = place.json(&["app", "api", "show", "Wiki"]).await;
        assert_eq!(off["developerApi"]["enabled"], false, "{off}");
        let set = [
            "app",
            "api",
            "set",
            "wiki",
            "--enabled",
            "true",
            "--users",
            "write",
        ];
        let changed = place.json(&set).await;
        let granted = &changed["developerApi"];
        assert_eq!(
            (
                &granted["enabled"],
                &granted["users"],
                &granted["groups"],
                &granted["passwords"]
            ),
            (&true.into(), &"write".into(), &"read".into(), &false.into()),
            "what is not named stays"
        );
        let secret = ["app", "api", "secret", "create", "wiki", "--days", "7"];
        let made = place.json(&secret).await;
        let secret = made["secret"].as_str().unwrap();
        let (id, path) = (
            changed["clientId"].as_str().unwrap(),
            changed["address"].as_str().unwrap(),
        );
        let path = &path[path.find("/v2/").unwrap()..];
        let token = format!(
            "{path}/oauth2/token?grant_type=client_credentials&client_id={id}&client_secret={secret}"
        );
        let status = || place.served.ask("POST", &token, "", "")[9..12].to_owned();
        assert_eq!(status(), "200");
        place
            .done(&["app", "api", "secret", "revoke", "wiki", secret])
            .await;
        assert_eq!(status(), "401");
    });
}

#[test]
fn files_go_to_a_hub_elsewhere_and_come_from_it() {
    on_both("elsewhere_files", |database, _| async move {
        let place = Place::start(&database);
        let people = "Login;display_name;path;email\nada;Ada;Engineering;ada@example.com\nbob;Bob;Sales;nonsense\n;Nobody;Sales;\n";
        for folder in [place.here.path(), place.there.path()] {
            std::fs::write(folder.join("people.csv"), people).unwrap();
        }
        let import = [
            "import",
            "people.csv",
            "--mapping",
            "username=Login",
            "--delimiter",
            "semicolon",
        ];
        let dry = [&import[..], &["--dry-run"]].concat();
        for form in [&[] as &[&str], &["--json"]] {
            let arguments = [&dry[..], form].concat();
            let (here, there) = (place.here(&arguments).await, place.there(&arguments).await);
            assert_eq!((here.code, &here.out), (there.code, &there.out));
            assert_eq!(here.code, 3, "{here:?}");
        }
        assert_eq!(place.done(&["user", "list"]).await, "");
        let told = place.there(&import).await;
        assert!(told.code == 3 && told.out.contains("created"), "{told:?}");
        let again = place.there(&[&import[..], &["--json"]].concat()).await.json();
        assert_eq!(
            (&again["users"]["created"], &again["users"]["unchanged"]),
            (&0.into(), &2.into()),
            "{again}"
        );
        let log = place.done(&["log", "--actor", "import:people.csv"]).await;
        assert!(log.contains("(ada)"), "{log}");

        for format in ["jsonl", "csv", "ldif"] {
            let export = ["export", "--format", format];
            let (here, there) = (place.here(&export).await, place.there(&export).await);
            assert_eq!((here.code, &here.out), (0, &there.out), "{there:?}");
            assert!(there.out.contains("ada"));
        }
        let counted = place.done(&["export", "all.jsonl"]).await;
        assert_eq!(counted, place.here(&["export", "all.jsonl"]).await.out);
        let file = |folder: &std::path::Path| std::fs::read_to_string(folder.join("all.jsonl")).unwrap();
        assert_eq!(file(place.there.path()), file(place.here.path()));
        // What the hub finds out when it has begun is told as if it had refused at once.
        for form in [&[] as &[&str], &["--json"]] {
            let arguments = [&["import", "people.csv", "--delimiter", "tab"], form].concat();
            let (here, there) = (place.here(&arguments).await, place.there(&arguments).await);
            assert_ne!(here.code, 0, "{here:?}");
            assert_eq!(here.code, there.code, "{there:?}");
            assert!(there.beside.contains("username"), "{there:?}");
        }
        let told = place.there(&["import", "absent.csv", "--json"]).await;
        assert_eq!((told.code, told.error().0.as_str()), (1, "failed"), "{told:?}");
    });
}
