//! Accounts and tokens, and what is kept of them.

use rollcall::access::Role;
use rollcall::backup;
use rollcall::hub::Hub;
use rollcall::schema;
use rollcall::secret::ExposeSecret as _;
use rollcall::signin::manage::{self, First};
use rollcall_db::testing::databases;
use rollcall_db::{Db, Options};
use serde_json::{Value, json};

use super::{MINUTE, PASSWORD, Person, Site, bearer, on_each};
use crate::world::parts;

const DAY: i64 = 24 * 60 * MINUTE;

#[test]
fn there_is_always_an_administrator() {
    on_each("last_administrator", |site| async move {
        site.account("ada", Role::Administrator).await;
        site.account("bob", Role::Operator).await;
        let refused = async |method: &str, body: Value| {
            let said = site.machine(method, "/accounts/ada", body).await;
            assert_eq!(said.refused(), (409, "last_administrator"), "{}", said.body);
        };
        refused("PATCH", json!({ "role": "auditor" })).await;
        refused("PATCH", json!({ "disabled": true })).await;
        refused("DELETE", Value::Null).await;
        let promote = json!({ "role": "administrator", "disabled": true });
        assert_eq!(site.machine("PATCH", "/accounts/bob", promote).await.status, 200);
        refused("PATCH", json!({ "disabled": true })).await;
        let enable = json!({ "disabled": false });
        assert_eq!(site.machine("PATCH", "/accounts/bob", enable).await.status, 200);
        // Two who both go at the same time: one of them stays.
        let go = async |name: &str| {
            let path = format!("/accounts/{name}");
            site.machine("DELETE", &path, Value::Null).await.status
        };
        let (ada, bob) = tokio::join!(go("ada"), go("bob"));
        let mut both = [ada, bob];
        both.sort_unstable();
        assert_eq!(both, [200, 409]);
    });
}

#[test]
fn what_cannot_be_an_account_is_refused_with_what_is_wrong() {
    on_each("account_fields", |site| async move {
        site.account("ada", Role::Administrator).await;
        for (body, status, code, named) in [
            (
                json!({ "name": "ADA", "role": "auditor" }),
                409,
                "name_taken",
                "ADA",
            ),
            (
                json!({ "name": "a b", "role": "auditor" }),
                400,
                "invalid_field",
                "spaces",
            ),
            (
                json!({ "name": "", "role": "auditor" }),
                400,
                "invalid_field",
                "name",
            ),
            (
                json!({ "name": "acc_1", "role": "auditor" }),
                400,
                "invalid_field",
                "acc_",
            ),
            (json!({ "name": "x", "role": "king" }), 400, "bad_request", "role"),
            (json!({ "name": "x" }), 400, "bad_request", "role"),
            (
                json!({ "name": "x", "role": "auditor", "email": "x" }),
                400,
                "invalid_field",
                "email",
            ),
            (
                json!({ "name": "x", "role": "auditor", "password": "hush" }),
                400,
                "invalid_field",
                "12",
            ),
            (
                json!({ "name": "x", "role": "application_owner" }),
                400,
                "invalid_field",
                "applications",
            ),
            (
                json!({ "name": "x", "role": "application_owner", "applications": ["Wiki"] }),
                404,
                "not_found",
                "Wiki",
            ),
            (
                json!({ "name": "x", "role": "auditor", "applications": ["Wiki"] }),
                400,
                "invalid_field",
                "application_owner",
            ),
        ] {
            let said = site.machine("POST", "/accounts", body.clone()).await;
            assert_eq!(said.refused(), (status, code), "{body}: {}", said.body);
            let detail = said.text("detail");
            assert!(
                detail.contains(named) && !detail.contains("hush"),
                "{body}: {detail}"
            );
        }
        let version = site.machine("GET", "/accounts/ada", Value::Null).await.body["updateTime"].clone();
        let held = async |version: i64| {
            let headers = [bearer(&site.machine), vec![("if-match", version.to_string())]].concat();
            let body = json!({ "displayName": format!("Ada {version}"), "email": null });
            site.ask("PATCH", "/accounts/ada", &headers, &body).await.status
        };
        let version = version.as_i64().unwrap();
        assert_eq!(
            (held(version - 1).await, held(version).await, held(version).await),
            (412, 200, 412)
        );
        let said = site
            .machine("PATCH", "/accounts/ada", json!({ "passwordHash": "x" }))
            .await;
        assert_eq!(said.refused(), (400, "bad_request"));
        assert_eq!(
            site.machine("GET", "/accounts/eve", Value::Null).await.refused(),
            (404, "not_found")
        );
    });
}

#[test]
fn a_token_is_good_until_it_expires_or_is_revoked() {
    on_each("token_life", |site| async move {
        let create = async |body: Value| site.machine("POST", "/tokens", body).await;
        let short = create(json!({ "name": "ci", "role": "operator", "expiresInDays": 1 })).await;
        let usual = create(json!({ "name": "watch", "role": "auditor" })).await;
        let never = create(json!({ "name": "robot", "role": "administrator", "neverExpires": true })).await;
        for (body, named) in [
            (
                json!({ "name": "x", "role": "auditor", "expiresInDays": 367 }),
                "expiresInDays",
            ),
            (
                json!({ "name": "x", "role": "auditor", "expiresInDays": 0 }),
                "expiresInDays",
            ),
            (
                json!({ "name": "x", "role": "auditor", "expiresInDays": 1, "neverExpires": true }),
                "give one of them",
            ),
        ] {
            let said = create(body).await;
            assert_eq!(said.status, 400);
            assert!(said.text("detail").contains(named), "{}", said.body);
        }
        let status = async |secret: &str| {
            site.ask("GET", "/users", &bearer(secret), &Value::Null)
                .await
                .status
        };
        let [short, usual, never] = [&short, &usual, &never].map(|made| {
            assert_eq!(made.status, 200, "{}", made.body);
            let secret = made.text("secret");
            assert!(secret.starts_with("rct_") && secret.len() == 47, "{secret}");
            assert!(secret.starts_with(made.body["token"]["prefix"].as_str().unwrap()));
            secret
        });
        for secret in [&short, &usual, &never] {
            assert_eq!(status(secret).await, 200);
        }
        for wrong in ["rct_", "x", "", &short[..46], &format!("{short}x")] {
            assert_eq!(status(wrong).await, 401, "{wrong}");
        }
        let used = async || {
            let listed = site.machine("GET", "/tokens", Value::Null).await.body;
            listed["items"][0]["lastUsed"].as_i64().unwrap()
        };
        let first = used().await;
        site.clock.set(30_000);
        assert_eq!(
            (status(&short).await, used().await),
            (200, first),
            "it was noted just now"
        );
        site.clock.set(2 * MINUTE);
        assert_eq!(status(&short).await, 200);
        assert!(used().await >= first + MINUTE);
        site.clock.set(DAY);
        assert_eq!((status(&short).await, status(&usual).await), (401, 200));
        site.clock.set(90 * DAY);
        assert_eq!((status(&usual).await, status(&never).await), (401, 200));
        let who = site.ask("GET", "/whoami", &bearer(&never), &Value::Null).await;
        let id = who.body["token"]["id"].as_str().unwrap().to_owned();
        assert_eq!(who.body["principal"], format!("token:{id}"));
        assert_eq!(
            site.machine("DELETE", "/tokens/robot", Value::Null).await.status,
            200
        );
        assert_eq!(status(&never).await, 401);
        assert_eq!(
            site.machine("DELETE", "/tokens/robot", Value::Null).await.status,
            404
        );
        let who = site.machine("GET", "/whoami", Value::Null).await;
        assert_eq!(
            (who.text("principal"), who.text("role")),
            ("token:admin".into(), "administrator".into())
        );
    });
}

#[test]
fn no_secret_is_kept_shown_again_or_told_in_the_audit_log() {
    on_each("access_secrets", |site| async move {
        site.account("ada", Role::Administrator).await;
        let ada = site.sign_in("ada").await;
        site.try_sign_in("ada", "wrong wrong wrong").await;
        site.try_sign_in("wrong name wrong", PASSWORD).await;
        let new =
            json!({ "name": "bob", "role": "auditor", "displayName": "Bob Z", "email": "bob@example.com" });
        let bob = site.post(&ada, "/accounts", new).await;
        let again = site.post(&ada, "/accounts/bob/reset-password", json!({})).await;
        let token = site
            .post(&ada, "/tokens", json!({ "name": "ci", "role": "operator" }))
            .await;
        let signed_in = Person::of(&site.try_sign_in("bob", &again.text("oneTimePassword")).await);
        let secrets = [
            PASSWORD.to_owned(),
            "wrong wrong wrong".to_owned(),
            "wrong name wrong".to_owned(),
            bob.text("oneTimePassword"),
            again.text("oneTimePassword"),
            token.text("secret"),
            ada.cookie.split_once('=').unwrap().1.to_owned(),
            signed_in.cookie.split_once('=').unwrap().1.to_owned(),
            ada.csrf.clone(),
        ];
        let mut told = site.database().await;
        assert!(told.contains("argon2id") && told.contains("create_token"));
        let audit = site.get(&ada, "/audit?limit=1000").await.body;
        let entries = audit["items"].as_array().unwrap();
        let actions: Vec<_> = entries
            .iter()
            .map(|entry| entry["action"].as_str().unwrap())
            .collect();
        for action in [
            "create_account",
            "change_password",
            "sign_in",
            "reset_password",
            "create_token",
        ] {
            assert!(actions.contains(&action), "{action} of {actions:?}");
        }
        let text = audit.to_string();
        assert!(
            !text.contains("Bob Z") && !text.contains("bob@example.com"),
            "{text}"
        );
        let made = entries
            .iter()
            .find(|entry| entry["action"] == "create_token")
            .unwrap();
        assert!(
            made["actor"].as_str().unwrap().starts_with("account:acc_"),
            "{made}"
        );
        assert!(made["origin"].as_str().unwrap().ends_with("127.0.0.1"), "{made}");
        for path in [
            "/audit?limit=1000",
            "/accounts",
            "/accounts/bob",
            "/tokens",
            "/sessions",
            "/whoami",
        ] {
            told.push_str(&site.get(&ada, path).await.body.to_string());
        }
        for secret in &secrets {
            assert!(!told.contains(secret.as_str()), "{secret}");
        }
        assert!(
            !site
                .get(&ada, "/accounts")
                .await
                .body
                .to_string()
                .contains("argon2")
        );
    });
}

#[test]
fn an_upgrade_makes_the_first_account_and_a_backup_keeps_all_of_them() {
    for (database, copy) in databases("access_upgrade")
        .iter()
        .zip(databases("access_restored").iter().rev())
    {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            // What the version before has left.
            let url = database.url.clone();
            let opening = move || Db::open(&url, schema::migrations_up_to(13), Options::default());
            let before = tokio::task::spawn_blocking(opening).await.unwrap().unwrap();
            before.close().await;
            let site = Site::start(&database.url).await;
            let First::Made(fresh) = manage::first_start(&site.hub, None).await.unwrap() else {
                panic!("there was an account");
            };
            let password = fresh.one_time_password.unwrap().expose_secret().to_owned();
            let First::Waits(name) = manage::first_start(&site.hub, None).await.unwrap() else {
                panic!("it is made again");
            };
            assert_eq!(
                (name.as_str(), fresh.account.role),
                ("admin", Role::Administrator)
            );
            let admin = Person::of(&site.try_sign_in("admin", &password).await);
            assert!(matches!(
                manage::first_start(&site.hub, None).await.unwrap(),
                First::Done
            ));
            let token = json!({ "name": "ci", "role": "operator" });
            let token = site.machine("POST", "/tokens", token).await.text("secret");

            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("hub.backup");
            backup::write(&site.hub.db, &file, 1).await.unwrap();
            let url = copy.url.clone();
            let opening = move || Db::open(&url, schema::migrations(), Options::default());
            let db = tokio::task::spawn_blocking(opening).await.unwrap().unwrap();
            let random = std::sync::Arc::clone(&site.hub.random);
            backup::restore(&db, &file, folder.path(), site.hub.clock.now(), random)
                .await
                .unwrap();
            db.close().await;
            let restored = Site::start(&copy.url).await;
            assert!(matches!(
                manage::first_start(&restored.hub, None).await.unwrap(),
                First::Done
            ));
            // Whoever was signed in there is not here, but may sign in.
            assert_eq!(restored.get(&admin, "/whoami").await.status, 401);
            assert_eq!(restored.try_sign_in("admin", &password).await.status, 200);
            let said = restored.ask("GET", "/users", &bearer(&token), &Value::Null).await;
            assert_eq!(said.status, 200);
        });
    }
}

#[test]
fn of_nodes_that_start_at_once_one_makes_the_first_account() {
    for database in databases("first_of_two") {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let one = Hub::open(parts(&database.url)).await.unwrap();
            let two = Hub::open(parts(&database.url)).await.unwrap();
            let (one, two) = tokio::join!(manage::first_start(&one, None), manage::first_start(&two, None));
            let made = [one.unwrap(), two.unwrap()]
                .iter()
                .filter(|it| matches!(it, First::Made(_)))
                .count();
            assert_eq!(made, 1);
        });
    }
}
