//! Signing in and out by the forms, and the first change of a password.

use rollcall::access::Role;
use rollcall::secret::ExposeSecret as _;

use super::Served;
use crate::access::{PASSWORD, fresh_account};
use crate::world::{on_both, open_hub};

/// The token of the session that an answer gives; empty if it is to be forgotten.
fn session(answer: &reqwest::Response) -> String {
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    let cookie = cookie.strip_prefix("rollcall_session=").unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

fn location(answer: &reqwest::Response) -> &str {
    assert_eq!(answer.status(), 303);
    answer.headers()["location"].to_str().unwrap()
}

fn csrf(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[test]
fn somebody_new_signs_in_chooses_a_password_and_signs_out() {
    on_both("console_sign_in", |database, _| async move {
        let hub = open_hub(&database).await;
        let fresh = fresh_account(&hub, "ada", Role::Operator).await;
        let one_time = fresh.one_time_password.unwrap().expose_secret().to_owned();
        let mut served = Served::start(&hub, None).await;
        let path = "/console/sign-in";

        let wrong = [("name", "ada"), ("password", "wrong"), ("next", "/console/audit")];
        let answer = served.post(path, &wrong).await;
        assert_eq!(answer.status(), 401);
        let text = answer.text().await.unwrap();
        assert!(text.contains("The name or the password is wrong") && text.contains("value=\"ada\""));
        assert!(
            text.contains("value=\"/console/audit\""),
            "where to go is forgotten"
        );

        let right = [
            ("name", "ada"),
            ("password", one_time.as_str()),
            ("next", "//evil.example/"),
        ];
        let elsewhere = served.post_from("cross-site", path, &right).await;
        assert_eq!(elsewhere.status(), 403);
        let answer = served.post(path, &right).await;
        // Only places within the console are gone to.
        assert_eq!(location(&answer), "/console/");
        served.session = Some(session(&answer));

        // With a one-time password there is nothing but the change of it.
        for page in ["/console/", "/console/applications", "/console/live/home"] {
            assert_eq!(location(&served.ask(page, "en").await), "/console/password");
        }
        let text = served.ask("/console/password", "en").await.text().await.unwrap();
        let csrf_token = csrf(&text);
        let change = |old: &str, new: &str, again: &str, csrf: &str| {
            let pairs = [("old", old), ("new", new), ("again", again), ("csrf", csrf)];
            pairs.map(|(name, value)| (name, value.replace(' ', "+")))
        };
        for (old, new, again, token, status) in [
            (
                one_time.as_str(),
                PASSWORD,
                "another fine password",
                csrf_token.as_str(),
                422,
            ),
            (&one_time, "short", "short", &csrf_token, 422),
            ("wrong", PASSWORD, PASSWORD, &csrf_token, 401),
            (&one_time, PASSWORD, PASSWORD, "not-ours", 403),
        ] {
            let form = change(old, new, again, token);
            let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
            let answer = served.post("/console/password", &form).await;
            assert_eq!(answer.status().as_u16(), status, "{old} {new} {again}");
        }
        let form = change(&one_time, PASSWORD, PASSWORD, &csrf_token);
        let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = served.post("/console/password", &form).await;
        assert_eq!(location(&answer), "/console/?done=password");
        served.session = Some(session(&answer));
        let text = served
            .ask("/console/?done=password", "en")
            .await
            .text()
            .await
            .unwrap();
        assert!(text.contains("Your password is changed"));

        let form = [("csrf", csrf(&text))];
        let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = served.post("/console/sign-out", &form).await;
        assert_eq!(location(&answer), "/console/sign-in");
        assert_eq!(session(&answer), "");
        assert_eq!(
            location(&served.ask("/console/", "en").await),
            "/console/sign-in?next=%2Fconsole%2F"
        );
    });
}

#[test]
fn the_language_is_kept_and_leads_back() {
    on_both("console_language", |database, _| async move {
        let hub = open_hub(&database).await;
        let served = Served::start(&hub, Some(Role::Auditor)).await;
        let form = [("language", "zh-CN"), ("next", "/console/audit")];
        let answer = served.post("/console/language", &form).await;
        assert_eq!(location(&answer), "/console/audit");
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        assert!(
            cookie.starts_with("rollcall_language=zh-CN; Path=/console;"),
            "{cookie}"
        );
    });
}
