//! What the administrator's API does to applications and their deliveries.

use rollcall::id::ROOT_UNIT;
use rollcall_protocol::EncryptionKey;
use serde_json::{Value, json};

use crate::access::{Said, Site, on_each};
use crate::plain::{Plain, Say, apply, deliver, parked_of, says, settled, user};
use crate::world::{described, hasty, new_user};

async fn ok(site: &Site, method: &str, path: &str, body: Value) -> Value {
    let Said { status, body, .. } = site.machine(method, path, body).await;
    assert_eq!(status, 200, "{method} {path}: {body}");
    body
}

async fn get(site: &Site, path: &str) -> Value {
    ok(site, "GET", path, Value::Null).await
}

#[test]
fn an_application_is_made_changed_and_deleted() {
    on_each("api_application", |site| async move {
        let unit = json!({ "name": "Optics", "parentId": ROOT_UNIT });
        ok(&site, "POST", "/organizational-units", unit).await;
        let new = json!({
            "name": "Wiki",
            "settings": { "url": "http://127.0.0.1:1/events", "maxEvents": 7 },
            "generateEncryptionKey": true,
            "scope": { "organizationalUnits": ["Optics"] },
            "subscription": ["ud:user:create", "ud:user:delete"],
        });
        let made = ok(&site, "POST", "/applications", new).await;
        let key = made["encryptionKey"].as_str().unwrap();
        assert!(EncryptionKey::from_hex(key).is_ok());
        let shown = get(&site, "/applications/wiki").await;
        assert!(!shown.to_string().contains(key), "it is shown once");
        assert_eq!(shown["settings"]["limits"]["maxEvents"], 7);
        assert_eq!(shown["settings"]["mode"]["encryption"], "required");
        assert_eq!(shown["scope"]["names"], json!(["/Optics"]));
        assert_eq!(shown["subscription"], json!(["ud:user:create", "ud:user:delete"]));
        assert_eq!(shown["standing"]["state"], "active");
        let id = shown["id"].as_str().unwrap();
        assert!(shown["jwksUrl"].as_str().unwrap().contains(id));
        assert!(!site.database().await.contains(key), "it rests sealed");

        let both = json!({ "name": "x", "settings": { "url": "http://127.0.0.1:1/" },
                           "generateEncryptionKey": true, "encryptionKey": "00" });
        assert_eq!(site.machine("POST", "/applications", both).await.status, 400);
        let secret = "hush".repeat(3);
        let short =
            json!({ "name": "x", "settings": { "url": "http://127.0.0.1:1/" }, "encryptionKey": secret });
        let said = site.machine("POST", "/applications", short).await;
        assert_eq!(said.status, 400);
        assert!(!said.body.to_string().contains(&secret), "{}", said.body);

        let change = json!({ "name": "Wiki 2", "settings": { "passwordSynchronization": true } });
        let changed = ok(&site, "PATCH", "/applications/wiki", change.clone()).await;
        assert_eq!(
            (&changed["changed"], &changed["application"]["name"]),
            (&true.into(), &"Wiki 2".into())
        );
        let again = ok(&site, "PATCH", "/applications/Wiki%202", change).await;
        assert_eq!(again["changed"], false);
        let wrong = site
            .machine("PATCH", "/applications/Wiki%202", json!({ "url": "x" }))
            .await;
        assert_eq!(wrong.status, 400, "{}", wrong.body);

        let given = "ab".repeat(32);
        let path = "/applications/Wiki%202/encryption-key";
        let stored = ok(&site, "POST", path, json!({ "encryptionKey": given })).await;
        assert_eq!(stored["encryptionKey"], Value::Null, "it is known already");
        let made = ok(&site, "POST", path, json!({})).await;
        assert_ne!(made["encryptionKey"].as_str().unwrap(), given);

        assert_eq!(
            ok(&site, "POST", "/applications/Wiki%202/pause", Value::Null).await["changed"],
            true
        );
        let listed = get(&site, "/applications").await;
        assert_eq!(listed["items"][0]["standing"]["state"], "paused");
        let resumed = ok(&site, "POST", "/applications/Wiki%202/resume", Value::Null).await;
        assert_eq!(
            (&resumed["changed"], &resumed["application"]["synchronize"]),
            (&true.into(), &true.into())
        );

        // What deleting it takes along is shown first.
        let refused = site
            .machine("DELETE", "/applications/Wiki%202", Value::Null)
            .await;
        assert_eq!(refused.refused(), (428, "unconfirmed"));
        let plan = get(&site, "/applications/Wiki%202/deletion").await;
        assert_eq!(refused.body["plan"], plan);
        assert_eq!((&plan["name"], &plan["keys"]), (&"Wiki 2".into(), &1.into()));
        ok(
            &site,
            "PATCH",
            "/applications/Wiki%202",
            json!({ "settings": { "lanes": 2 } }),
        )
        .await;
        let token = plan["token"].as_str().unwrap();
        let path = format!("/applications/Wiki%202?confirm={token}");
        let changed = site.machine("DELETE", &path, Value::Null).await;
        assert_eq!(changed.refused(), (409, "plan_changed"));
        let token = changed.body["plan"]["token"].as_str().unwrap();
        ok(
            &site,
            "DELETE",
            &format!("/applications/Wiki%202?confirm={token}"),
            Value::Null,
        )
        .await;
        assert_eq!(
            site.machine("GET", &format!("/applications/{id}"), Value::Null)
                .await
                .status,
            404
        );
    });
}

#[test]
fn a_scope_and_a_subscription_change_as_their_plans_show() {
    on_each("api_scope", |site| async move {
        for name in ["Optics", "Sales"] {
            let unit = json!({ "name": name, "parentId": ROOT_UNIT });
            ok(&site, "POST", "/organizational-units", unit).await;
        }
        let optics = get(&site, "/organizational-units/Optics").await["id"]
            .as_str()
            .unwrap()
            .to_owned();
        apply(
            &site.hub,
            rollcall::directory::Command::CreateUser(new_user("ada", &optics)),
        )
        .await;
        let new = json!({ "name": "Wiki", "settings": { "url": "http://127.0.0.1:1/" },
                          "scope": { "organizationalUnits": ["Sales"] } });
        ok(&site, "POST", "/applications", new).await;
        let path = "/applications/wiki/scope";
        let change = json!({ "organizationalUnits": { "add": ["Optics"], "remove": ["Sales"] } });
        let refused = site.machine("PATCH", path, change.clone()).await;
        assert_eq!(refused.refused(), (428, "unconfirmed"), "{}", refused.body);
        let plan = &refused.body["plan"];
        assert_eq!(
            (&plan["enter"]["users"], &plan["enter"]["firstUsers"]),
            (&1.into(), &json!(["ada"]))
        );
        assert_eq!(plan["leave"]["organizationalUnits"], 1);
        assert_eq!(
            get(&site, path).await["scope"]["names"],
            json!(["/Sales"]),
            "nothing is done yet"
        );

        apply(
            &site.hub,
            rollcall::directory::Command::CreateUser(new_user("bob", &optics)),
        )
        .await;
        let confirmed = |token: &Value| format!("{path}?confirm={}", token.as_str().unwrap());
        let changed = site
            .machine("PATCH", &confirmed(&plan["token"]), change.clone())
            .await;
        assert_eq!(changed.refused(), (409, "plan_changed"), "{}", changed.body);
        let plan = &changed.body["plan"];
        assert_eq!(plan["enter"]["users"], 2);
        let done = ok(&site, "PATCH", &confirmed(&plan["token"]), change.clone()).await;
        assert_eq!(get(&site, path).await["scope"]["names"], json!(["/Optics"]));
        // It is told by a synchronization.
        let job = done["synchronization"].as_str().unwrap();
        let shown = get(&site, &format!("/applications/wiki/synchronizations/{job}")).await;
        assert_eq!(shown["kind"], "change_of_scope");
        let standing = &get(&site, "/applications/wiki").await["standing"];
        assert_eq!(standing["synchronization"]["id"], job);
        // The same again changes nothing, and asks for nothing.
        let set = json!({ "organizationalUnits": { "set": ["Optics"] } });
        assert_eq!(
            ok(&site, "PATCH", path, set).await["synchronization"],
            Value::Null
        );
        let mixed = json!({ "groups": { "set": [], "add": ["x"] } });
        assert_eq!(site.machine("PATCH", path, mixed).await.status, 400);
        let unknown = json!({ "groups": { "add": ["nobody"] } });
        assert_eq!(
            site.machine("PATCH", path, unknown).await.refused(),
            (404, "not_found")
        );

        let path = "/applications/wiki/subscription";
        let change = json!({ "set": ["ud:user:create"] });
        let refused = site.machine("PATCH", path, change.clone()).await;
        assert_eq!(refused.refused(), (428, "unconfirmed"));
        let token = refused.body["plan"]["token"].as_str().unwrap();
        let wrong = site
            .machine("PATCH", &format!("{path}?confirm=x"), change.clone())
            .await;
        assert_eq!(wrong.refused(), (409, "plan_changed"));
        ok(&site, "PATCH", &format!("{path}?confirm={token}"), change.clone()).await;
        assert_eq!(
            get(&site, "/applications/wiki").await["subscription"],
            json!(["ud:user:create"])
        );
        assert_eq!(
            site.machine("PATCH", path, change).await.status,
            200,
            "it is so already"
        );
        let unknown = site
            .machine("PATCH", path, json!({ "add": ["ud:nothing"] }))
            .await;
        assert_eq!(unknown.status, 400);
    });
}

#[test]
fn deliveries_are_looked_at_and_mended() {
    on_each("api_deliveries", |site| async move {
        let app = Plain::new(&site.hub, "Wiki").await;
        app.say(|events| match events.iter().any(|event| says(event, "poison")) {
            true => Say::Status(400),
            false => Say::Yes,
        });
        let mut ids = Vec::new();
        for name in ["ada", "bob", "eve"] {
            ids.push(user(&site.hub, name).await);
        }
        let delivery = deliver(&site.hub, hasty()).await;
        settled(&site.hub, &app.application).await;
        let mut since = 0;
        for id in &ids {
            apply(&site.hub, described(id, "poison")).await;
            settled(&site.hub, &app.application).await;
            since = parked_of(&site.hub, &app.application)
                .await
                .last()
                .unwrap()
                .next_try;
        }
        let path = "/applications/wiki/events";
        let events = get(&site, &format!("{path}?state=failed")).await;
        assert_eq!(events["items"].as_array().unwrap().len(), 3, "{events}");
        assert_eq!(
            get(&site, &format!("{path}?state=held")).await["items"],
            json!([])
        );
        assert_eq!(
            site.machine("GET", &format!("{path}?state=odd"), Value::Null)
                .await
                .status,
            400
        );

        // One request with what it carried.
        let troubled = get(&site, "/applications/wiki/attempts?outcome=troubled").await;
        let number = &troubled["items"][0]["number"];
        let shown = get(&site, &format!("/applications/wiki/attempts/{number}")).await;
        let carried = &shown["contents"]["events"][0];
        assert_eq!(
            (&carried["subject"], &carried["result"]),
            (&"eve".into(), &"not_taken".into()),
            "{shown}"
        );
        assert_eq!(carried["record"]["description"], "poison");
        let page = get(&site, "/applications/wiki/attempts?limit=1").await;
        let cursor = page["next"].as_str().unwrap();
        let next = get(
            &site,
            &format!("/applications/wiki/attempts?limit=1&cursor={cursor}"),
        )
        .await;
        assert!(next["items"][0]["number"].as_i64() < page["items"][0]["number"].as_i64());
        let other = site
            .machine("GET", "/applications/wiki/attempts/999999", Value::Null)
            .await;
        assert_eq!(other.refused(), (404, "not_found"));

        for wrong in [
            json!({}),
            json!({ "all": true, "since": 1 }),
            json!({ "eventIds": [] }),
        ] {
            let said = site.machine("POST", &format!("{path}/resend"), wrong).await;
            assert_eq!(said.status, 400, "{}", said.body);
        }
        app.say(|_| Say::Yes);
        let first = &events["items"][0]["eventId"];
        let unknown = json!({ "eventIds": [first, "evnt_nothing"] });
        let said = site.machine("POST", &format!("{path}/resend"), unknown).await;
        assert_eq!(said.refused(), (404, "not_found"), "all or none");
        assert_eq!(parked_of(&site.hub, &app.application).await.len(), 3);
        let resent = ok(
            &site,
            "POST",
            &format!("{path}/resend"),
            json!({ "eventIds": [first] }),
        )
        .await;
        assert_eq!(resent["queued"], 1);
        let resent = ok(
            &site,
            "POST",
            &format!("{path}/resend"),
            json!({ "since": since }),
        )
        .await;
        assert_eq!(resent["queued"], 1, "the last one");
        settled(&site.hub, &app.application).await;
        assert!(app.user(&ids[0]).unwrap().contains("poison"));
        assert!(!app.user(&ids[1]).unwrap().contains("poison"));
        let dismissed = ok(&site, "POST", &format!("{path}/dismiss"), json!({ "all": true })).await;
        assert_eq!(dismissed["dismissed"], 1);

        let pushed = ok(&site, "POST", "/applications/wiki/users/bob/push", Value::Null).await;
        assert_eq!(pushed["events"].as_array().unwrap().len(), 1);
        settled(&site.hub, &app.application).await;
        assert!(app.user(&ids[1]).unwrap().contains("poison"));
        delivery.stop().await;

        let nothing = site.machine("POST", &format!("{path}/skip"), json!({})).await;
        assert_eq!(nothing.refused(), (409, "nothing_to_skip"));
        apply(&site.hub, described(&ids[2], "skipped")).await;
        let skipped = ok(&site, "POST", &format!("{path}/skip"), json!({})).await;
        assert_eq!(get(&site, path).await["items"][0]["eventId"], skipped["skipped"]);

        let path = "/applications/wiki/synchronizations";
        let job = ok(&site, "POST", path, Value::Null).await["id"].clone();
        assert_eq!(get(&site, path).await["items"][0]["id"], job);
        assert_eq!(
            ok(&site, "POST", &format!("{path}/cancel"), Value::Null).await["id"],
            job
        );
        let shown = get(&site, &format!("{path}/{}", job.as_str().unwrap())).await;
        assert_eq!(shown["status"], "cancelled");
        let nothing = site.machine("POST", &format!("{path}/cancel"), Value::Null).await;
        assert_eq!(nothing.refused(), (409, "job"));
        let told = get(&site, "/audit?target=Wiki").await;
        let actions: Vec<_> = told["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["action"].as_str().unwrap())
            .collect();
        assert_eq!(
            actions,
            [
                "cancel",
                "synchronize",
                "skip",
                "push",
                "dismiss",
                "resend",
                "resend",
                "create"
            ]
        );
    });
}
