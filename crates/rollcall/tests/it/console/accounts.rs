//! Accounts, tokens and one's own sessions, by the forms.

use std::collections::BTreeSet;

use rollcall::access::{Caller, Role, RoleName};
use rollcall::accounts::{self, Account, AccountChanges, Command, tokens};
use rollcall::hub::Hub;
use rollcall::secret::SecretString;
use rollcall::signin::{SignIn, Visitor};

use super::Served;
use super::forms::Form;
use super::sample::fill;
use crate::access::{PASSWORD, fresh_account};
use crate::developer::management::sign;
use crate::world::{add_application, on_both, open_hub};

async fn account(hub: &Hub, name: &str) -> Option<Account> {
    let name = name.to_owned();
    hub.db.read(move |tx| accounts::find(tx, &name)).await.ok()
}

/// What a page shows once.
fn shown_once(page: &str) -> String {
    assert!(page.contains("cannot be shown again"), "{page}");
    let (_, rest) = page.split_once("<code>").unwrap();
    rest.split('<').next().unwrap().to_owned()
}

/// Sends a form whose answer is a secret.
async fn secret(served: &Served, form: Form) -> String {
    let answer = served.submit(&form).await;
    let (status, store) = (answer.status(), answer.headers()["cache-control"].clone());
    let page = answer.text().await.unwrap();
    assert_eq!(
        (status.as_u16(), store.to_str().unwrap()),
        (200, "no-store"),
        "{page}"
    );
    shown_once(&page)
}

async fn may_sign_in(hub: &Hub, name: &str, password: &str) -> bool {
    let sign_in = SignIn::new(hub.clone(), rollcall::accounts::sessions::Lifetime::default());
    let password = SecretString::from(password);
    sign_in
        .sign_in(name, password, &Visitor::default(), None)
        .await
        .is_ok()
}

#[test]
fn an_account_is_made_changed_and_deleted() {
    on_both("console_accounts", |database, _| async move {
        let hub = open_hub(&database).await;
        let scope = rollcall::application::Scope::everything();
        let chat = add_application(&hub, "Chat", "http://127.0.0.1:1/events", None, scope)
            .await
            .id;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let new = "/console/accounts/new";
        for (field, value, words) in [
            (
                "name",
                "two words",
                "1 to 64 characters that can be seen, without spaces",
            ),
            (
                "name",
                "ADA-administrator",
                "There is an account “ADA-administrator” already",
            ),
            ("email", "nobody", "An e-mail address"),
        ] {
            let form = served
                .form(new, new)
                .await
                .fill("name", "grace")
                .fill(field, value);
            let page = served.refused(form).await;
            assert!(page.contains(words) && page.contains(value), "{words}: {page}");
        }
        let form = served
            .form(new, new)
            .await
            .fill("name", "grace")
            .tick("role", "application_owner");
        let page = served.refused(form).await;
        assert!(page.contains("An application owner has 1 to 500"), "{page}");
        let form = Form::of(&page, new).fill("applications", "Chatter");
        let page = served.refused(form).await;
        assert!(page.contains("There is no application “Chatter”"), "{page}");
        let form = Form::of(&page, new)
            .fill("applications", "chat")
            .fill("displayName", "Grace Hopper");
        let one_time = secret(&served, form).await;
        let made = account(&hub, "grace").await.unwrap();
        assert_eq!(made.role, Role::ApplicationOwner([chat].into()));
        assert!(made.must_change_password);
        assert!(may_sign_in(&hub, "grace", &one_time).await);
        let own = format!("/console/accounts/{}", made.id);
        for path in [own.as_str(), "/console/accounts", "/console/audit"] {
            let page = served.page(path).await;
            assert!(page.contains("grace") && !page.contains(&one_time), "{path}");
        }
        assert!(served.page(&own).await.contains("Chat"));

        let at = |what: &str| format!("{own}/{what}");
        let stale = served.form(&at("edit"), &at("edit")).await;
        let form = served.form(&at("edit"), &at("edit")).await;
        assert_eq!(form.value("applications"), "Chat");
        served
            .accepted(form.tick("role", "auditor").fill("email", "grace@example.com"))
            .await;
        let changed = account(&hub, "grace").await.unwrap();
        assert_eq!(
            (changed.role, changed.email.as_deref()),
            (Role::Auditor, Some("grace@example.com"))
        );
        let page = served.refused(stale.fill("email", "other@example.com")).await;
        assert!(
            page.contains("Now there is: grace@example.com") && page.contains("Now there is: auditor"),
            "{page}"
        );

        let another = secret(&served, served.form(&own, &at("password")).await).await;
        assert_ne!(another, one_time);
        assert!(!may_sign_in(&hub, "grace", &one_time).await && may_sign_in(&hub, "grace", &another).await);
        let (_, page) = served.accepted(served.form(&own, &at("sessions")).await).await;
        assert!(page.contains("Nobody is signed in"), "{page}");
        served.accepted(served.form(&own, &at("disable")).await).await;
        assert!(!may_sign_in(&hub, "grace", &another).await);
        served.accepted(served.form(&own, &at("enable")).await).await;
        let form = served.form(&at("delete"), &at("delete")).await;
        served.refused(form.fill("confirm", "Grace")).await;
        let form = served.form(&at("delete"), &at("delete")).await;
        served.accepted(form.fill("confirm", "grace")).await;
        assert!(account(&hub, "grace").await.is_none());
        assert_eq!(served.ask(&own, "en").await.status(), 404);

        // Nobody locks everybody out.
        let last = account(&hub, "ada-administrator").await.unwrap();
        let own = format!("/console/accounts/{}", last.id);
        let form = served.form(&format!("{own}/edit"), &format!("{own}/edit")).await;
        let page = served.refused(form.tick("role", "operator")).await;
        assert!(page.contains("is the only administrator"), "{page}");
        let answer = served
            .submit(&served.form(&own, &format!("{own}/disable")).await)
            .await;
        assert_eq!(answer.status(), 409);
        assert!(answer.text().await.unwrap().contains("is the only administrator"));
    });
}

#[test]
fn a_token_is_shown_once_works_and_is_revoked() {
    on_both("console_tokens", |database, _| async move {
        let hub = open_hub(&database).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        assert!(served.page("/console/tokens").await.contains("There is no token"));
        let new = "/console/tokens/new";
        for (field, value, words) in [
            ("expiresInDays", "400", "A number from 1 to 366"),
            ("expiresInDays", "soon", "A number from 1 to 366"),
            ("name", " ", "1 to 64 characters"),
        ] {
            let form = served
                .form(new, new)
                .await
                .fill("name", "script")
                .fill(field, value);
            let page = served.refused(form).await;
            assert!(page.contains(words), "{words}: {page}");
        }
        let form = served
            .form(new, new)
            .await
            .fill("name", "script")
            .fill("expiresInDays", "1");
        let token = secret(&served, form).await;
        let ask = |token: String| {
            let request = super::client().get(format!("{}/api/v1/whoami", served.address));
            request.bearer_auth(token).send()
        };
        let answer = ask(token.clone()).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.unwrap().contains("auditor"));
        let page = served.page("/console/tokens").await;
        assert!(page.contains("script") && page.contains(&token[..10]) && !page.contains(&token));
        assert!(page.contains("ada-administrator"), "who made it is not said");
        let kept = hub.db.read(tokens::list).await.unwrap();
        assert!(kept[0].expires_at.is_some());
        let path = format!("/console/tokens/{}/revoke", kept[0].id);
        let (_, page) = served.accepted(served.form(&path, &path).await).await;
        assert!(page.contains("good for nothing") && page.contains("There is no token"));
        assert_eq!(ask(token).await.unwrap().status(), 401);
        let form = served
            .form(new, new)
            .await
            .fill("name", "for good")
            .tick("neverExpires", "yes");
        secret(&served, form).await;
        assert!(hub.db.read(tokens::list).await.unwrap()[0].expires_at.is_none());
    });
}

#[test]
fn an_access_key_is_shown_once_signs_requests_and_is_revoked() {
    on_both("console_access_keys", |database, _| async move {
        let hub = open_hub(&database).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let new = "/console/tokens/new";
        let form = served
            .form(new, new)
            .await
            .fill("name", "sync")
            .fill("kind", "door");
        assert!(served.refused(form).await.contains("Choose what it is to be"));
        let form = served
            .form(new, new)
            .await
            .fill("name", "sync")
            .fill("kind", "access_key")
            .fill("role", "administrator");
        let answer = served.submit(&form).await;
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let page = answer.text().await.unwrap();
        assert!(page.contains("cannot be shown again"), "{page}");
        let codes: Vec<&str> = page.split("<code>").skip(1).collect();
        let codes: Vec<String> = codes
            .iter()
            .map(|code| code.split('<').next().unwrap().to_owned())
            .collect();
        let [id, secret] = &codes[..] else {
            panic!("{page}")
        };
        let key = (id.clone(), secret.clone());
        let ask = async |nonce: &str| {
            let host = served.address.strip_prefix("http://").unwrap();
            let signed = sign((host, &hub.instance.id), &key, nonce, hub.clock.now());
            let mut request = super::client()
                .post(format!("{}/?InstanceId={}", served.address, hub.instance.id))
                .body(signed.body);
            for (name, value) in signed.headers {
                request = request.header(name, value);
            }
            let answer = request.send().await.unwrap().text().await.unwrap();
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            answer["Code"].as_str().unwrap_or_default().to_owned()
        };
        // It is let in, and there is no such user.
        assert_eq!(ask("a").await, "ResourceNotFound.User");
        let page = served.page("/console/tokens").await;
        assert!(page.contains("Access key") && page.contains(id.as_str()) && !page.contains(secret.as_str()));
        let path = format!("/console/tokens/{id}/revoke");
        let page = served.page(&path).await;
        assert!(page.contains("Whatever signs with this access key") && page.contains(id.as_str()));
        let (_, page) = served.accepted(served.form(&path, &path).await).await;
        assert!(page.contains("The access key is good for nothing") && page.contains("There is no token"));
        assert_eq!(ask("b").await, "InvalidAccessKeyId.NotFound");
    });
}

#[test]
fn everybody_sees_and_ends_their_own_sessions_and_no_others() {
    on_both("console_sessions", |database, _| async move {
        let hub = open_hub(&database).await;
        let served = Served::start(&hub, Some(Role::Auditor)).await;
        let name = "ada-auditor";
        for _ in 0..2 {
            assert!(may_sign_in(&hub, name, PASSWORD).await);
        }
        fresh_account(&hub, "other", Role::Operator).await;
        let path = "/console/sessions";
        let page = served.page(path).await;
        let buttons = page.matches("name=\"session\"").count();
        assert_eq!(buttons, 3);
        assert_eq!(page.matches("This one").count(), 1);
        let here = page.split("This one").nth(1).unwrap();
        let session_of = |text: &str| {
            let (_, rest) = text.split_once("name=\"session\" value=\"").unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        let own = session_of(here);
        let end = "/console/sessions/end";
        let other = session_of(&page);
        assert_ne!(other, own);
        let form = Form::of(&page, end).tick("session", &other);
        let (_, page) = served.accepted(form).await;
        assert_eq!(page.matches("name=\"session\"").count(), 2);
        // Somebody else's session is nobody's here.
        assert!(may_sign_in(&hub, name, PASSWORD).await);
        let form = Form::of(&page, end).tick("session", "ses_nobody");
        served.accepted(form).await;
        let page = served.page(path).await;
        assert_eq!(page.matches("name=\"session\"").count(), 3);
        let (_, page) = served.accepted(Form::of(&page, end)).await;
        assert_eq!(page.matches("name=\"session\"").count(), 1);
        let answer = served.submit(&Form::of(&page, end).tick("session", &own)).await;
        assert_eq!(answer.headers()["location"], "/console/sign-in");
        assert_eq!(served.ask(path, "en").await.status(), 303);
    });
}

#[tokio::test]
async fn only_administrators_change_accounts_and_tokens_and_only_auditors_see_them_besides() {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let sample = fill(&hub).await;
    let account = |what: &str| format!("/console/accounts/{}{what}", sample.account);
    let token = format!("/console/tokens/{}/revoke", sample.token);
    let seen = [
        "/console/accounts".to_owned(),
        account(""),
        "/console/tokens".to_owned(),
    ];
    let forms = [
        "/console/accounts/new".to_owned(),
        account("/edit"),
        account("/delete"),
        "/console/tokens/new".to_owned(),
        token.clone(),
    ];
    let pressed = [
        account("/enable"),
        account("/disable"),
        account("/password"),
        account("/sessions"),
    ];
    let own = Role::ApplicationOwner(BTreeSet::from([sample.chat.clone()]));
    for role in [Role::Operator, Role::Auditor, own] {
        let served = Served::start(&hub, Some(role.clone())).await;
        let sees = role == Role::Auditor;
        let home = served.page("/console/").await;
        assert_eq!(home.contains("/console/accounts"), sees, "{role:?}");
        for path in &seen {
            let answer = served.ask(path, "en").await;
            assert_eq!(
                answer.status(),
                if sees { 200 } else { 403 },
                "{path} as {role:?}"
            );
            let page = answer.text().await.unwrap();
            for offered in forms.iter().chain(&pressed) {
                assert!(
                    !page.contains(&format!("\"{offered}\"")),
                    "{path} offers {offered} to {role:?}"
                );
            }
        }
        for path in forms.iter().chain(&pressed) {
            let form = [
                ("csrf", served.csrf.as_str()),
                ("name", "x"),
                ("role", "administrator"),
            ];
            assert_eq!(served.post(path, &form).await.status(), 403, "{path} as {role:?}");
        }
        for path in &forms {
            assert_eq!(served.ask(path, "en").await.status(), 403, "{path} as {role:?}");
        }
        assert_eq!(served.ask("/console/sessions", "en").await.status(), 200);
    }
    let served = Served::start(&hub, Some(Role::Administrator)).await;
    for path in forms
        .iter()
        .chain(&pressed)
        .chain([&"/console/sessions/end".to_owned()])
    {
        let form = [("csrf", "another"), ("confirm", "grace")];
        assert_eq!(served.post(path, &form).await.status(), 403, "{path}");
    }
    assert_eq!(hub.db.read(tokens::list).await.unwrap().len(), 2);
}

#[tokio::test]
async fn many_accounts_are_read_page_by_page() {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let served = Served::start(&hub, Some(Role::Auditor)).await;
    for number in 0..60 {
        let new = accounts::NewAccount {
            name: format!("account{number:02}"),
            display_name: None,
            email: None,
            role: Role::of(RoleName::Operator, BTreeSet::new()),
            password_hash: None,
        };
        let made = hub
            .apply_account(Caller::system("test"), Command::Create(new))
            .await;
        let changes = AccountChanges {
            disabled: Some(number % 2 == 0),
            ..AccountChanges::default()
        };
        let id = made.unwrap().account().unwrap().id;
        let command = Command::Update { id, changes };
        hub.apply_account(Caller::system("test"), command).await.unwrap();
    }
    let first = served.page("/console/accounts").await;
    assert!(first.contains("account00") && !first.contains("account59"));
    let next = first
        .split("href=\"")
        .find(|rest| rest.contains("after="))
        .unwrap();
    let next = next.split('"').next().unwrap();
    let second = served.page(next).await;
    assert!(second.contains("account59") && !second.contains("account00"));
}
