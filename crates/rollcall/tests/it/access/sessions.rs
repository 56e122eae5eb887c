//! What becomes of a session.

use rollcall::access::Role;
use rollcall::maintenance::{self, Maintenance};
use serde_json::{Value, json};

use super::{MINUTE, PASSWORD, Person, on_each};

#[test]
fn a_cookie_is_out_of_reach_of_scripts_and_bound_to_the_host_where_that_is_possible() {
    on_each("cookies", |site| async move {
        site.account("ada", Role::Administrator).await;
        let credentials = json!({ "name": "ADA", "password": PASSWORD });
        let plain = site.ask("POST", "/session", &[], &credentials).await;
        assert_eq!(plain.status, 200, "{}", plain.body);
        let attributes = |said: &super::Said| {
            let cookie = said.headers["set-cookie"].to_str().unwrap();
            let (_, attributes) = cookie.split_once("; ").unwrap();
            attributes.to_owned()
        };
        assert!(plain.cookie().starts_with("rollcall_session="));
        assert_eq!(
            attributes(&plain),
            "Path=/; Max-Age=43200; HttpOnly; SameSite=Lax"
        );

        let https = vec![
            ("x-forwarded-for", "192.0.2.1".to_owned()),
            ("x-forwarded-proto", "https".to_owned()),
        ];
        let secure = site.ask("POST", "/session", &https, &credentials).await;
        assert!(secure.cookie().starts_with("__Host-rollcall="));
        assert_eq!(
            attributes(&secure),
            "Path=/; Max-Age=43200; HttpOnly; SameSite=Lax; Secure"
        );
        // Neither counts as the other: what was sent unencrypted may be somebody else's.
        let renamed = secure.cookie().replace("__Host-rollcall", "rollcall_session");
        let cookie = [https.clone(), vec![("cookie", renamed)]].concat();
        assert_eq!(
            site.ask("GET", "/whoami", &cookie, &Value::Null).await.status,
            401
        );
        let cookie = [https, vec![("cookie", format!("a=b; {}; c=d", secure.cookie()))]].concat();
        let who = site.ask("GET", "/whoami", &cookie, &Value::Null).await;
        assert_eq!((who.status, who.text("role")), (200, "administrator".to_owned()));

        let person = Person::of(&plain);
        let out = site.delete(&person, "/session").await;
        assert_eq!(out.status, 200);
        assert_eq!(out.cookie(), "rollcall_session=");
        assert!(attributes(&out).starts_with("Path=/; Max-Age=0;"));
        assert_eq!(
            site.get(&person, "/whoami").await.refused(),
            (401, "unauthorized")
        );
    });
}

#[test]
fn a_session_ends_when_it_is_idle_and_when_it_is_old() {
    on_each("session_ages", |site| async move {
        site.account("ada", Role::Auditor).await;
        let person = site.sign_in("ada").await;
        let is_in = async |minutes: i64| {
            site.clock.set(minutes * MINUTE);
            site.get(&person, "/users").await.status == 200
        };
        assert!(is_in(29).await);
        assert!(is_in(58).await, "it was used meanwhile");
        assert!(!is_in(88).await);
        // Being used does not make it live for ever.
        site.clock.set(0);
        let other = site.sign_in("ada").await;
        let mut minutes = 0;
        while site.get(&other, "/users").await.status == 200 {
            minutes += 25;
            site.clock.set(minutes * MINUTE);
            assert!(minutes < 24 * 60, "it never ends");
        }
        assert_eq!(minutes, 725);

        // What has ended is removed.
        let options = maintenance::Options {
            every: std::time::Duration::from_millis(5),
            ..maintenance::Options::default()
        };
        let maintenance = Maintenance::start(site.hub.clone(), options);
        for _ in 0..1_000 {
            let left = site
                .hub
                .db
                .read(|tx| tx.query("SELECT 1 FROM sessions", &[]))
                .await
                .unwrap();
            if left.is_empty() {
                maintenance.stop().await;
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("sessions that have ended are kept");
    });
}

#[test]
fn a_new_session_takes_the_place_of_the_one_before() {
    on_each("session_rotation", |site| async move {
        site.account("ada", Role::Auditor).await;
        let before = site.sign_in("ada").await;
        let other = site.sign_in("ada").await;
        let body = json!({ "name": "ada", "password": PASSWORD });
        let cookie = [("cookie", before.cookie.clone())];
        let after = Person::of(&site.ask("POST", "/session", &cookie, &body).await);
        assert_ne!(after.cookie, before.cookie);
        assert_eq!(site.get(&before, "/users").await.status, 401);
        assert_eq!(site.get(&after, "/users").await.status, 200);

        // Another password ends all of them.
        let wrong = json!({ "password": "not the password", "newPassword": "another fine password" });
        let refused = site.post(&after, "/session/password", wrong).await;
        assert_eq!(refused.refused(), (401, "sign_in"));
        let same = json!({ "password": PASSWORD, "newPassword": PASSWORD });
        assert_eq!(
            site.post(&after, "/session/password", same).await.refused(),
            (400, "invalid_field")
        );
        let change = json!({ "password": PASSWORD, "newPassword": "another fine password" });
        let newest = Person::of(&site.post(&after, "/session/password", change).await);
        for ended in [&after, &other] {
            assert_eq!(site.get(ended, "/users").await.status, 401);
        }
        assert_eq!(site.get(&newest, "/users").await.status, 200);
        assert_eq!(
            site.try_sign_in("ada", PASSWORD).await.refused(),
            (401, "sign_in")
        );
    });
}

#[test]
fn a_one_time_password_is_good_for_choosing_another_and_nothing_else() {
    on_each("one_time", |site| async move {
        let new = json!({ "name": "ada", "role": "administrator" });
        let made = site.machine("POST", "/accounts", new).await;
        assert_eq!(made.status, 200, "{}", made.body);
        let password = made.text("oneTimePassword");
        let person = Person::of(&site.try_sign_in("ada", &password).await);
        let who = site.get(&person, "/whoami").await;
        assert_eq!(who.body["account"]["mustChangePassword"], true);
        assert_eq!(
            who.body["permissions"],
            json!(["anybody", "own_identity", "own_sign_in"])
        );
        for (method, path) in [
            ("GET", "/users"),
            ("GET", "/sessions"),
            ("POST", "/users"),
            ("DELETE", "/accounts/ada"),
        ] {
            let said = site.ask(method, path, &person.headers(), &json!({})).await;
            assert_eq!(said.refused(), (403, "change_password"), "{method} {path}");
        }
        for poor in ["short", "ada", "password1234"] {
            let change = json!({ "password": password, "newPassword": poor });
            let said = site.post(&person, "/session/password", change).await;
            assert_eq!(said.refused(), (400, "invalid_field"), "{poor}");
        }
        let change = json!({ "password": password, "newPassword": PASSWORD });
        let person = Person::of(&site.post(&person, "/session/password", change).await);
        assert_eq!(site.get(&person, "/users").await.status, 200);
        assert_eq!(
            site.try_sign_in("ada", &password).await.refused(),
            (401, "sign_in")
        );
    });
}

#[test]
fn changes_that_another_site_could_have_sent_are_refused() {
    on_each("csrf", |site| async move {
        site.account("ada", Role::Administrator).await;
        let person = site.sign_in("ada").await;
        let other = site.sign_in("ada").await;
        let host = site.address.to_string();
        let own = format!("http://{host}");
        let lock = async |headers: &[(&'static str, String)]| {
            let headers = [&[("cookie", person.cookie.clone())], headers].concat();
            let said = site
                .ask("POST", "/users/nobody/unlock", &headers, &Value::Null)
                .await;
            (said.status, said.code().to_owned())
        };
        let token = || ("x-csrf-token", person.csrf.clone());
        let site_is = |value: &str| ("sec-fetch-site", value.to_owned());
        let origin = |value: &str| ("origin", value.to_owned());
        // It gets through to the user, whom there is not.
        for headers in [
            vec![token(), site_is("same-origin")],
            vec![
                token(),
                site_is("same-origin"),
                origin("https://elsewhere.example"),
            ],
            vec![token(), origin(&own)],
        ] {
            assert_eq!(lock(&headers).await, (404, "not_found".to_owned()), "{headers:?}");
        }
        for headers in [
            vec![],
            vec![token()],
            vec![site_is("same-origin")],
            vec![origin(&own)],
            vec![token(), site_is("same-site"), origin(&own)],
            vec![token(), site_is("cross-site")],
            vec![token(), site_is("none")],
            vec![token(), origin("null")],
            vec![token(), origin(&format!("https://{host}"))],
            vec![token(), origin("http://hub.example")],
            vec![("x-csrf-token", other.csrf.clone()), site_is("same-origin")],
            vec![("x-csrf-token", String::new()), site_is("same-origin")],
        ] {
            assert_eq!(
                lock(&headers).await,
                (403, "cross_site_request".to_owned()),
                "{headers:?}"
            );
        }
        // Reading needs none of it, and neither does a token, which no browser sends by itself.
        let cookie = [("cookie", person.cookie.clone()), site_is("cross-site")];
        assert_eq!(site.ask("GET", "/users", &cookie, &Value::Null).await.status, 200);
        let said = site.machine("POST", "/users/nobody/unlock", Value::Null).await;
        assert_eq!(said.status, 404);
        // Behind a proxy the origin is what the client sees.
        let https = [
            ("x-forwarded-for", "192.0.2.1".to_owned()),
            ("x-forwarded-proto", "https".to_owned()),
            ("x-forwarded-host", "hub.example".to_owned()),
        ];
        let body = json!({ "name": "ada", "password": PASSWORD });
        for (from, status) in [
            ("https://hub.example", 200),
            ("http://hub.example", 403),
            ("https://evil.example", 403),
        ] {
            let headers = [&https[..], &[origin(from)]].concat();
            let said = site.ask("POST", "/session", &headers, &body).await;
            assert_eq!(said.status, status, "{from}: {}", said.body);
        }
    });
}

#[test]
fn what_is_changed_of_an_account_holds_from_the_next_request_on() {
    on_each("next_request", |site| async move {
        site.account("ada", Role::Administrator).await;
        site.account("bob", Role::Administrator).await;
        let bob = site.sign_in("bob").await;
        assert_eq!(site.get(&bob, "/audit").await.status, 200);
        let patch = async |body: Value| {
            let said = site.machine("PATCH", "/accounts/bob", body).await;
            assert_eq!(said.status, 200, "{}", said.body);
        };
        patch(json!({ "role": "operator" })).await;
        assert_eq!(site.get(&bob, "/audit").await.refused(), (403, "forbidden"));
        assert_eq!(site.get(&bob, "/users").await.status, 200);
        patch(json!({ "disabled": true })).await;
        assert_eq!(site.get(&bob, "/users").await.status, 401);
        assert_eq!(
            site.try_sign_in("bob", PASSWORD).await.refused(),
            (401, "sign_in")
        );
        patch(json!({ "disabled": false })).await;
        assert_eq!(site.get(&bob, "/users").await.status, 401, "it stays ended");
        let bob = site.sign_in("bob").await;
        let reset = site
            .machine("POST", "/accounts/bob/reset-password", Value::Null)
            .await;
        assert_eq!(reset.status, 200);
        assert_eq!(site.get(&bob, "/users").await.status, 401);
        let bob = Person::of(&site.try_sign_in("bob", &reset.text("oneTimePassword")).await);
        assert_eq!(
            site.machine("DELETE", "/accounts/bob", Value::Null).await.status,
            200
        );
        assert_eq!(site.get(&bob, "/whoami").await.status, 401);
    });
}

#[test]
fn everybody_sees_and_ends_his_own_sessions() {
    on_each("own_sessions", |site| async move {
        site.account("ada", Role::Auditor).await;
        site.account("bob", Role::Administrator).await;
        let body = json!({ "name": "ada", "password": PASSWORD });
        let headers = [
            ("x-forwarded-for", "203.0.113.9".to_owned()),
            ("user-agent", "Browser/1".to_owned()),
        ];
        let first = Person::of(&site.ask("POST", "/session", &headers, &body).await);
        let second = site.sign_in("ada").await;
        let bob = site.sign_in("bob").await;
        let listed = site.get(&second, "/sessions").await.body;
        // Also the one with which the account was made.
        let listed = listed["items"].as_array().unwrap();
        assert_eq!(listed.len(), 3);
        assert_eq!(listed[0]["current"], true);
        let other = &listed[1];
        assert_eq!(
            (
                other["current"].as_bool(),
                other["address"].as_str(),
                other["userAgent"].as_str()
            ),
            (Some(false), Some("203.0.113.9"), Some("Browser/1"))
        );
        let end = format!("/sessions/{}", other["id"].as_str().unwrap());
        assert_eq!(
            site.delete(&bob, &end).await.refused(),
            (404, "not_found"),
            "it is not his"
        );
        assert_eq!(site.delete(&second, &end).await.status, 200);
        assert_eq!(site.get(&first, "/whoami").await.status, 401);
        assert_eq!(site.delete(&second, &end).await.status, 404);
        let said = site.machine("GET", "/sessions", Value::Null).await;
        assert_eq!(said.refused(), (403, "forbidden"), "a token has none");
        let ended = site.delete(&bob, "/accounts/ada/sessions").await;
        assert_eq!(ended.body["ended"], 2);
        assert_eq!(site.get(&second, "/whoami").await.status, 401);
    });
}
