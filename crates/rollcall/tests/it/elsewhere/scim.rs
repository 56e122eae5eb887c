//! Applications in the SCIM mode: set and shown by the command line, here and elsewhere.

use serde_json::{Value, json};

use super::{Place, private};
use crate::world::on_both;

/// Runs the same story with commands here and with commands elsewhere.
async fn story(place: &Place, name: &str, elsewhere: bool) {
    let token = private(&place.there.path().join("scim-token"), "t0p-s3cret\n");
    let token = token.to_str().unwrap();
    let run = async |arguments: &[&str]| {
        let arguments = [&["--json"], arguments].concat();
        match elsewhere {
            true => place.there(&arguments).await,
            false => place.here(&arguments).await,
        }
    };
    let done = async |arguments: &[&str]| -> Value {
        let told = run(arguments).await;
        assert_eq!(told.code, 0, "{arguments:?}: {told:?}");
        assert!(
            !told.out.contains("s3cret") && !told.beside.contains("s3cret"),
            "{told:?}"
        );
        told.json()
    };
    let refused = async |arguments: &[&str], what: &str| {
        let told = run(arguments).await;
        assert_ne!(told.code, 0, "{arguments:?}: {told:?}");
        let (_, message, hint) = told.error();
        let text = format!("{message}\nhint: {hint}");
        assert!(text.contains(what), "{arguments:?}: {text}");
    };
    let base = "https://203.0.114.1/scim/v2";
    let create = ["app", "create", name, "--mode", "scim", "--url", base];
    refused(&create, "secret is missing").await;
    refused(
        &[&create[..], &["--secret-file", token, "--encrypt"]].concat(),
        "event callbacks",
    )
    .await;
    let clear = [
        "app",
        "create",
        name,
        "--mode",
        "scim",
        "--url",
        "http://203.0.114.1/x",
    ];
    refused(&[&clear[..], &["--secret-file", token]].concat(), "in the clear").await;
    let made = done(&[&create[..], &["--secret-file", token, "--preset", "github"]].concat()).await;
    let application = &made["application"];
    assert_eq!(application["hasSecret"], true);
    // Nobody fetches public keys where nothing is signed.
    assert!(!made["notes"].to_string().contains("public_url"), "{made}");
    let mode = &application["settings"]["mode"];
    assert_eq!(mode["type"], "scim");
    assert_eq!(mode["baseUrl"], base);
    assert_eq!(mode["authentication"], json!({ "type": "bearer_token" }));
    assert_eq!(mode["actions"], json!(["create", "update", "delete"]));
    assert_eq!(mode["leavers"], "disable");
    assert_eq!(
        mode["profile"]["rate"],
        json!({ "requests": 1_000, "seconds": 3_600 })
    );

    // What is named changes, and the rest stays.
    let changed = done(&[
        "app",
        "set",
        name,
        "--leavers",
        "delete",
        "--actions",
        "create,update",
        "--push-groups",
        "false",
        "--map",
        "title=customFields.title",
        "--users-by",
        "put",
        "--rate",
        "0/1",
    ])
    .await;
    let mode = &changed["application"]["settings"]["mode"];
    assert_eq!(mode["leavers"], "delete");
    assert_eq!(mode["actions"], json!(["create", "update"]));
    assert_eq!(mode["groups"], false);
    assert_eq!(mode["mapping"], json!({ "title": "customFields.title" }));
    assert_eq!(mode["profile"]["users"], "put");
    assert_eq!(mode["profile"].get("rate"), None);
    assert_eq!(mode["profile"]["membersAtOnce"], 100);
    let same = done(&["app", "set", name, "--leavers", "delete"]).await;
    assert_eq!(same["changed"], false);
    refused(&["app", "set", name, "--map", "title=nickname"], "title").await;
    refused(&["app", "set", name, "--password-sync", "true"], "passwords").await;
    refused(&["app", "set", name, "--members-at-once", "0"], "members at once").await;

    // The secret is for whom it was entered.
    let elsewhere_url = ["app", "set", name, "--url", "https://203.0.114.2/scim"];
    refused(&elsewhere_url, "entered for another address").await;
    refused(&elsewhere_url, "hint: --secret-file").await;
    let oauth = [
        "app",
        "set",
        name,
        "--token-url",
        "https://203.0.114.1/t",
        "--client-id",
        "hub",
    ];
    refused(&oauth, "entered for another address").await;
    let own = done(&[&oauth[..], &["--secret-in", "body", "--secret-file", token]].concat()).await;
    let authentication = &own["application"]["settings"]["mode"]["authentication"];
    assert_eq!(authentication["type"], "client_credentials");
    assert_eq!(authentication["method"], "body");
    done(&[&elsewhere_url[..], &["--secret-file", token]].concat()).await;

    // From one mode to the other and back.
    refused(&["app", "set", name, "--mode", "event_callback"], "another URL").await;
    let back = done(&[
        "app",
        "set",
        name,
        "--mode",
        "event_callback",
        "--url",
        "https://203.0.114.1/e",
        "--encrypt",
    ])
    .await;
    assert_eq!(back["application"]["hasSecret"], false);
    assert_eq!(back["encryptionKey"].as_str().unwrap().len(), 64);
    assert_eq!(back["application"]["settings"]["mode"]["encryption"], "required");
    assert_eq!(back["application"]["settings"]["mode"]["type"], "event_callback");
    refused(&["app", "set", name, "--leavers", "delete"], "SCIM").await;
    refused(&["app", "set", name, "--secret-file", token], "SCIM").await;
    let again = ["app", "set", name, "--mode", "scim", "--url", base];
    refused(&again, "secret is missing").await;
    refused(&again, "hint: --secret-file").await;
    let again = done(&[&again[..], &["--secret-file", token]].concat()).await;
    assert_eq!(again["application"]["settings"]["mode"]["mapping"], json!({}));
    let urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
    done(&[
        "app",
        "set",
        name,
        "--map",
        &format!("{urn}=customFields.department"),
    ])
    .await;

    let text = place.here(&["app", "show", name]).await.out;
    assert!(
        text.contains("base URL      https://203.0.114.1/scim/v2"),
        "{text}"
    );
    assert!(
        text.contains("credentials   bearer token, secret stored\n") && !text.contains("s3cret"),
        "{text}"
    );
    assert!(!text.contains("signing key"), "nothing is signed: {text}");
    let column = |line: &str| line.rfind(' ').filter(|_| line.starts_with("    "));
    let lines: Vec<&str> = text
        .lines()
        .skip_while(|line| *line != "mapping")
        .skip(1)
        .collect();
    let at = lines.iter().position(|line| line.trim() == urn).unwrap();
    assert_eq!(lines[at + 1].trim(), "customFields.department");
    let username = lines
        .iter()
        .find(|line| line.trim().starts_with("userName "))
        .unwrap();
    assert_eq!(column(lines[at + 1]), column(username), "{text}");
    let log = place.here(&["audit", "--json"]).await.out;
    assert!(
        log.contains("\"secret\": \"***\"") && !log.contains("s3cret"),
        "{log}"
    );
    done(&["app", "pause", name]).await;
}

#[test]
fn the_scim_mode_is_set_here_and_elsewhere() {
    on_both("elsewhere_scim", |database, _| async move {
        let place = Place::start(&database);
        story(&place, "Here", false).await;
        story(&place, "There", true).await;
    });
}

/// Compares and repairs with commands here or elsewhere.
async fn drift(place: &Place, name: &str, elsewhere: bool) {
    let (app, base) = crate::scim_push::serve().await;
    let token = private(&place.there.path().join("scim-token"), "s3cret\n");
    let run = async |arguments: &[&str]| match elsewhere {
        true => place.there(arguments).await,
        false => place.here(arguments).await,
    };
    let json = async |arguments: &[&str], code: i32| -> Value {
        let told = run(&[&["--json"], arguments].concat()).await;
        assert_eq!(told.code, code, "{arguments:?}: {told:?}");
        told.json()
    };
    let bob = format!("bob.{name}").to_lowercase();
    place
        .done(&["user", "create", &bob, "--display-name", &bob])
        .await;
    let create = [
        "app",
        "create",
        name,
        "--mode",
        "scim",
        "--url",
        &base,
        "--secret-file",
    ];
    json(&[&create[..], &[token.to_str().unwrap()]].concat(), 0).await;
    json(&["app", "sync", name], 0).await;
    let same = json(&["app", "compare", name], 0).await;
    assert_eq!(same["differences"], json!([]), "{same}");
    assert_eq!(same["comparison"]["counts"]["users"]["same"], 2);

    // What works is found out by trying it out, and taken over.
    app.take_patch(false);
    let tested = json(&["app", "test", name, "--probe"], 0).await;
    assert_eq!(tested["proposal"]["users"], "put", "{tested}");
    assert_eq!(tested["applied"], false, "{tested}");
    let tested = json(&["app", "test", name, "--probe", "--apply"], 0).await;
    assert_eq!(tested["applied"], true, "{tested}");
    let tested = json(&["app", "test", name, "--probe", "--apply"], 0).await;
    assert!(tested["proposal"].is_null(), "{tested}");
    assert_eq!(tested["applied"], false, "{tested}");
    app.take_patch(true);
    json(&["app", "set", name, "--preset", "standard"], 0).await;

    app.by_hand(|users| {
        let first = users.keys().next().unwrap().clone();
        users.remove(&first);
        let other = users.values_mut().next().unwrap();
        other.insert("displayName".to_owned(), "Somebody else".into());
    });
    let differs = json(&["app", "compare", name], 3).await;
    assert_eq!(differs["comparison"]["counts"]["users"]["create"], 1, "{differs}");
    let told = run(&["app", "compare", name, "--last"]).await;
    assert_eq!(told.code, 3, "{told:?}");
    let expected = format!("displayName: \"Somebody else\" there, {bob:?} here");
    assert!(told.out.contains(&expected), "{told:?}");
    let only = json(&["app", "compare", name, "--last", "--kind", "create"], 3).await;
    assert_eq!(only["differences"].as_array().unwrap().len(), 1, "{only}");
    let repaired = run(&["app", "repair", name, "--kind", "create", "--kind", "update"]).await;
    assert_eq!(repaired.code, 0, "{repaired:?}");
    assert!(
        repaired.out.contains("create 1, update 1, disable 0"),
        "{repaired:?}"
    );
    json(&["app", "compare", name], 0).await;

    // What takes away more than the thresholds allow is confirmed first.
    place.done(&["user", "delete", &bob]).await;
    let is_active = |active: bool| {
        app.by_hand(|users| {
            let of_bob = users.values().find(|user| user["userName"] == bob.as_str());
            of_bob.is_some_and(|user| user["active"] == active)
        })
    };
    crate::plain::until("who left is disabled", async || is_active(false)).await;
    app.by_hand(|users| {
        let of_bob = users.values_mut().find(|user| user["userName"] == bob.as_str());
        of_bob.unwrap().insert("active".to_owned(), true.into());
    });
    json(&["app", "compare", name], 3).await;
    let refused = run(&["--json", "app", "repair", name, "--all"]).await;
    let (code, message, hint) = refused.error();
    assert_eq!(code, "unconfirmed", "{refused:?}");
    assert!(message.contains("disabled or deleted"), "{message}");
    let confirm = hint.rsplit(' ').next().unwrap();
    json(&["app", "repair", name, "--all", "--confirm", confirm], 0).await;
    assert!(is_active(false));
    json(&["app", "compare", name], 0).await;
    let nothing = run(&["--json", "app", "repair", name, "--all"]).await;
    assert_eq!(nothing.error().0, "nothing_selected", "{nothing:?}");
    let events = run(&["--json", "app", "compare", "Wiki"]).await;
    assert_eq!(events.error().0, "not_scim", "{events:?}");
    json(&["app", "pause", name], 0).await;
}

#[test]
fn an_application_is_compared_and_repaired_here_and_elsewhere() {
    on_both("elsewhere_compare", |database, _| async move {
        let place = Place::start(&database);
        place
            .done(&["user", "create", "ada", "--display-name", "Ada"])
            .await;
        place
            .done(&["app", "create", "Wiki", "--url", "http://127.0.0.1:9/events"])
            .await;
        place.done(&["app", "pause", "Wiki"]).await;
        drift(&place, "Here", false).await;
        drift(&place, "There", true).await;
    });
}
