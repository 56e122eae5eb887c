//! What one application writes arrives at the others that are entitled to it, in their own copies.

use std::time::{Duration, Instant};

use rollcall::application::{Entitlements, Scope, store};
use rollcall::compare;
use rollcall::id::ROOT_UNIT;
use rollcall_protocol::EncryptionKey;
use serde_json::{Value, json};

use super::Developer;
use super::client::{drive, python};
use crate::access::on_each;
use crate::connectivity::Authority;
use crate::encrypted::{SETTINGS, renew};
use crate::operate::{done, rollcall};
use crate::plain::{Plain, deliver, settled};
use crate::strangers;
use crate::two_doors::{make, unit};
use crate::world::{Endpoint, hasty, open_hub};

#[test]
fn what_an_application_writes_is_pushed_to_all_that_are_entitled_to_it() {
    on_each("developer_story", |site| async move {
        let sales = make(&site.hub, unit("Sales", ROOT_UNIT)).await;
        let other = make(&site.hub, unit("Other", ROOT_UNIT)).await;
        let of_sales = Scope {
            organizational_unit_ids: [sales.clone()].into(),
            ..Scope::default()
        };
        let mail = Plain::with_scope(&site.hub, "Mail", of_sales).await;
        let hr = Developer::of(&site, "HR", Scope::everything()).await;
        let delivery = deliver(&site.hub, hasty()).await;
        let new = json!({ "username": "ada", "displayName": "Ada", "primaryOrganizationalUnitId": sales });
        let ada = hr.make("/users", new, "userId").await;
        let hidden = json!({ "username": "eve", "primaryOrganizationalUnitId": other });
        let eve = hr.make("/users", hidden, "userId").await;
        let renamed = json!({ "displayName": "Ada L." });
        assert_eq!(
            hr.call("PATCH", &format!("/users/{ada}"), renamed).await.status,
            200
        );
        let moved = json!({ "organizationalUnitId": sales });
        let path = format!("/users/{eve}/actions/setUserPrimaryOrganizationalUnit");
        assert_eq!(hr.call("POST", &path, moved).await.status, 200);
        assert_eq!(
            hr.call("DELETE", &format!("/users/{ada}"), json!({}))
                .await
                .status,
            200
        );
        settled(&site.hub, &mail.application).await;
        let told: Vec<(String, String)> = mail
            .applied()
            .iter()
            .map(|event| {
                let kind = event.event_type.rsplit(':').next().unwrap_or_default();
                (kind.to_owned(), event.biz_id.clone())
            })
            .collect();
        let expected = [
            ("create", &ada),
            ("update_info", &ada),
            ("create", &eve),
            ("delete", &ada),
        ];
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(kind, id)| ((*kind).to_owned(), (*id).clone()))
            .collect();
        assert_eq!(told, expected);
        delivery.stop().await;
    });
}

/// The key that the administrator's script sets.
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_with_the_official_clients_provision_an_application_over_tls() {
    let Some(python) = python() else { return };
    let authority = Authority::new("Our Company");
    let folder = strangers::folder(SETTINGS);
    let folder = folder.path();
    renew(folder, &authority, 30);
    let ca = folder.join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let database = format!("sqlite:{}", folder.join("data/rollcall.db").display());
    let served = strangers::serve(folder, &database);
    let told = |arguments: &[&str]| -> Value {
        let arguments = [
            &["--config", "rollcall.toml", "--database", &database, "--json"],
            arguments,
        ]
        .concat();
        let output = rollcall(folder, &arguments)
            .env("ROLLCALL_DATA_DIR", folder.join("data"))
            .output();
        serde_json::from_str(&done(&output.unwrap())).unwrap()
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    // Where nobody listens: the administrator's script says where to push.
    let nowhere = "http://127.0.0.1:9/events";
    let mail = told(&["app", "create", "Mail", "--url", nowhere]);
    let people = told(&["app", "create", "People", "--url", nowhere]);
    told(&["app", "pause", "People"]);
    told(&[
        "app",
        "api",
        "set",
        "People",
        "--enabled",
        "true",
        "--users",
        "write",
    ]);
    let secret = told(&["app", "api", "secret", "create", "People"]);
    let key = told(&[
        "token",
        "create",
        "setup",
        "--role",
        "administrator",
        "--access-key",
    ]);

    let hub = open_hub(&database).await;
    let copy = folder.join("copy.db");
    let endpoint = Endpoint::start(&format!("sqlite:{}", copy.display())).await;
    let id = text(&mail["application"]["id"]);
    let named = id.clone();
    let application = hub.db.read(move |tx| store::load(tx, &named)).await.unwrap();
    endpoint
        .serve(&hub, &application, Some(EncryptionKey::from_hex(KEY).unwrap()))
        .await;
    let port = served.address.rsplit(':').next().unwrap().to_owned();
    let settings = json!({
        "endpoint": format!("localhost:{port}"), "ca": ca, "instance": hub.instance.id,
        "key": key["token"]["id"], "key_secret": key["secret"], "mail": id, "callback": endpoint.url,
        "encryption_key": KEY, "people": people["application"]["id"], "secret": secret["secret"],
    });
    let made = drive(python, "story.py", settings).await;

    // The copy of the other application becomes what it should have: field by field, and nobody from elsewhere.
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let of = id.clone();
        let should = hub.db.read(move |tx| {
            let scope = Entitlements::load(tx, &of)?.current().scope.clone();
            compare::in_scope(tx, &scope)
        });
        let (should, has) = (should.await.unwrap(), endpoint.mirror.snapshot().await.unwrap());
        if should == has {
            let users: Vec<&String> = has.users.keys().collect();
            assert_eq!(users.len(), 2, "{users:?}");
            assert!(
                users
                    .iter()
                    .all(|user| made["users"].as_array().unwrap().contains(&json!(user)))
            );
            break;
        }
        assert!(
            Instant::now() < deadline,
            "no convergence: {:#?}",
            should.differences(&has)
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    endpoint.kill().await;
    hub.db.close().await;
    drop(served);
}
