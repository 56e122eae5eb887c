//! Who comes, and what they may do then.

use std::sync::atomic::Ordering;

use rollcall::access::Caller;
use rollcall::accounts::{AccountChanges, AccountError, Command, Identity};
use rollcall::application::Scope;
use rollcall::signin::manage;

use super::*;
use crate::access::fresh_account;
use crate::world::add_application;

fn csrf(page: &str) -> &str {
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
    rest.split('"').next().unwrap()
}

#[test]
fn somebody_gets_an_account_and_at_every_sign_in_the_role_of_the_claim() {
    in_a_house("provider_coming", |house| async move {
        let mut browser = Browser::default();
        let page = house
            .get(&mut browser, "/console/sign-in?next=%2Fconsole%2Faudit")
            .await;
        assert!(
            page.text.contains("Sign in with &#60;Example&#62;"),
            "{}",
            page.text
        );
        let way = "/console/sign-in/provider?next=%2Fconsole%2Faudit";
        assert!(page.text.contains(&format!("href=\"{way}\"")), "{}", page.text);
        // Nothing was asked of the provider until somebody wants to go there.
        assert_eq!(house.fake.documents.load(Ordering::SeqCst), 0);

        let left = house.get(&mut browser, way).await;
        let kept = browser.told.join("\n");
        assert!(
            kept.starts_with("rollcall_sign_in=") && kept.contains("; Max-Age=600; HttpOnly; SameSite=Lax")
        );
        let departure = left.leads_to().parse().unwrap();
        let query = house.fake.agree(&departure, ada(&["others", "auditors"]));
        let back = house.come_back(&mut browser, &query).await;
        assert_eq!((back.status, back.leads_to()), (303, "/console/audit"));
        assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["rollcall_session"]);

        let account = house.account("ada").await;
        let identity = Identity {
            issuer: house.fake.issuer.clone(),
            subject: "subject-1".to_owned(),
        };
        assert_eq!(account.identity.as_deref(), Some(&identity));
        assert_eq!(account.role, Role::Auditor);
        assert_eq!(account.display_name.as_deref(), Some("Ada Lovelace"));
        assert_eq!(account.email.as_deref(), Some("ada@example.com"));
        assert!(!account.password_set && !account.must_change_password && account.last_sign_in.is_some());
        let page = house.get(&mut browser, "/console/audit").await;
        assert_eq!(page.status, 200);

        // Another browser, and another role; the name is the hub's, whatever the provider calls them now.
        let mut other = Browser::default();
        let mut claims = ada(&["auditors", "operators"]);
        claims["preferred_username"] = "countess".into();
        claims["email"] = "no address".into();
        assert_eq!(house.sign_in(&mut other, claims).await.leads_to(), "/console/");
        let later = house.account("ada").await;
        assert_eq!((&later.id, &later.role), (&account.id, &Role::Operator));
        assert_eq!(later.email, None);
        // What holds of an account holds of all its sessions.
        assert_eq!(house.get(&mut browser, "/console/audit").await.status, 403);
        let ada = format!("account:{}", account.id);
        let told = [
            ("system:sign-in", "create_account"),
            ("system:sign-in", "link_account"),
            (ada.as_str(), "sign_in"),
            ("system:sign-in", "update_account"),
            (ada.as_str(), "sign_in"),
        ];
        let audited = house.audited().await;
        let audited: Vec<_> = audited
            .iter()
            .map(|(who, what)| (who.as_str(), what.as_str()))
            .collect();
        assert_eq!(audited, told);
        // The documents were fetched once for all of that.
        assert_eq!(house.fake.documents.load(Ordering::SeqCst), 1);
        assert_eq!(house.fake.keys.load(Ordering::SeqCst), 1);

        // A password is neither reset nor taken.
        let reset = manage::reset_password(&house.hub, Caller::system("test"), &later).await;
        assert!(
            matches!(reset, Err(AccountError::SignsInElsewhere(_))),
            "{reset:?}"
        );
        let said = house
            .post(
                &mut Browser::default(),
                "/console/sign-in",
                "name=ada&password=whatever",
            )
            .await;
        said.refused(401, "The name or the password is wrong");

        // Out of the hub, and then, if they like, out of the provider.
        let page = house.get(&mut other, "/console/").await;
        let form = format!("csrf={}", csrf(&page.text));
        let out = house.post(&mut other, "/console/sign-out", &form).await;
        assert_eq!(out.leads_to(), "/console/signed-out");
        assert_eq!(other.session(), None);
        let page = house.get(&mut other, "/console/signed-out").await;
        let place = format!(
            "href=\"{}/end?client_id=rollcall+hub&#38;post_logout",
            house.fake.issuer
        );
        assert!(page.text.contains(&place), "{}", page.text);

        // A session ends when the provider has to be asked again, however much it is used.
        house.clock.set(29 * MINUTE);
        assert_eq!(house.get(&mut browser, "/console/").await.status, 200);
        house.clock.set(58 * MINUTE);
        assert_eq!(house.get(&mut browser, "/console/").await.status, 200);
        house.clock.set(61 * MINUTE);
        assert_eq!(
            house.get(&mut browser, "/console/").await.leads_to(),
            "/console/sign-in?next=%2Fconsole%2F"
        );

        // Neither codes nor tokens are kept anywhere.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.backup");
        rollcall::backup::write(&house.hub.db, &file, 1).await.unwrap();
        let all = std::fs::read_to_string(&file).unwrap();
        assert!(all.contains("subject-1"), "a backup has no identities");
        for secret in house.fake.issued() {
            assert!(!all.contains(&secret));
        }
    });
}

#[test]
fn whoever_has_no_role_is_told_why_and_loses_what_they_had() {
    in_a_house("provider_roles", |house| async move {
        let mut browser = Browser::default();
        let said = house
            .sign_in(&mut browser, ada(&["cooks & <bakers>", "Admins"]))
            .await;
        said.refused(403, "You have no role here");
        said.refused(403, "<code>cooks &#38; &#60;bakers&#62;</code>");
        said.refused(403, "<code>Admins</code>");
        said.refused(403, "help@example.com");
        let mut none = ada(&[]);
        none["realm"] = json!("nothing");
        let said = house.sign_in(&mut browser, none).await;
        said.refused(403, "the claim realm.roles holds nothing");
        assert!(house.accounts().await.is_empty() && browser.session().is_none());

        // An owner of applications that there are not has no role either.
        let said = house.sign_in(&mut browser, ada(&["wiki"])).await;
        said.refused(403, "You have no role here");
        let wiki = add_application(&house.hub, "Wiki", "http://127.0.0.1:9/", None, Scope::default());
        let wiki = wiki.await.id;
        house.sign_in(&mut browser, ada(&["wiki"])).await.leads_to();
        let account = house.account("ada").await;
        assert_eq!(account.role, Role::ApplicationOwner([wiki].into()));
        assert_eq!(house.get(&mut browser, "/console/").await.status, 200);

        // The provider takes the role: the session that is there ends too.
        let mut other = Browser::default();
        house
            .sign_in(&mut other, ada(&["cooks"]))
            .await
            .refused(403, "cooks");
        assert_eq!(house.get(&mut browser, "/console/").await.status, 303);

        // The last administrator is one until there is another: but gets in no more as such.
        house.sign_in(&mut browser, ada(&["admins"])).await.leads_to();
        house
            .sign_in(&mut other, ada(&["auditors"]))
            .await
            .refused(409, "only administrator");
        assert_eq!(house.get(&mut browser, "/console/").await.status, 303);
        assert_eq!(house.account("ada").await.role, Role::Administrator);
        let mut grace = ada(&["admins"]);
        grace["sub"] = "subject-2".into();
        grace["preferred_username"] = "grace".into();
        house.sign_in(&mut Browser::default(), grace).await.leads_to();
        house.sign_in(&mut other, ada(&["auditors"])).await.leads_to();
        assert_eq!(house.account("ada").await.role, Role::Auditor);

        // Disabled here is disabled, whatever the provider says.
        let changes = AccountChanges {
            disabled: Some(true),
            ..AccountChanges::default()
        };
        let disable = Command::Update {
            id: account.id,
            changes,
        };
        house
            .hub
            .apply_account(Caller::system("test"), disable)
            .await
            .unwrap();
        house
            .sign_in(&mut browser, ada(&["admins"]))
            .await
            .refused(401, "is disabled");
        assert!(house.account("ada").await.disabled);
        assert_eq!(house.get(&mut other, "/console/").await.status, 303);
    });
}

#[test]
fn a_name_makes_no_account_ones_own_but_an_administrator_does() {
    in_a_house("provider_names", |house| async move {
        let mut browser = Browser::default();
        let fresh = fresh_account(&house.hub, "Ada", Role::Administrator).await;
        let said = house.sign_in(&mut browser, ada(&["auditors"])).await;
        said.refused(409, "The name is taken");
        said.refused(409, "<code>subject-1</code>");
        said.refused(409, "rollcall account link");
        assert_eq!(browser.session(), None);
        let accounts = house.accounts().await;
        assert!(accounts.len() == 1 && accounts[0] == fresh.account);

        for name in [json!("two words"), json!("acc_1"), json!(7), json!("")] {
            let mut claims = ada(&["auditors"]);
            claims["preferred_username"] = name;
            let said = house.sign_in(&mut browser, claims).await;
            said.refused(403, "the claim preferred_username holds no name");
        }

        let link = |id: &str, subject: &str| Command::Link {
            id: id.to_owned(),
            identity: Identity {
                issuer: house.fake.issuer.clone(),
                subject: subject.to_owned(),
            },
        };
        let caller = || Caller::system("test");
        house
            .hub
            .apply_account(caller(), link(&fresh.account.id, "subject-1"))
            .await
            .unwrap();
        let linked = house.account("ada").await;
        assert!(!linked.password_set && !linked.must_change_password);
        house.sign_in(&mut browser, ada(&["admins"])).await.leads_to();
        assert_eq!(house.accounts().await.len(), 1);

        let other = fresh_account(&house.hub, "grace", Role::Auditor).await;
        let taken = house
            .hub
            .apply_account(caller(), link(&other.account.id, "subject-1"))
            .await;
        assert!(
            matches!(taken, Err(AccountError::InvalidField { field: "subject", .. })),
            "{taken:?}"
        );
    });
}

#[test]
fn passwords_can_be_switched_off_but_not_the_machines_token() {
    on_both("provider_alone", |database, _| async move {
        let alone = |options| Options {
            passwords: false,
            ..options
        };
        let house = House::start_with(&database, alone).await;
        let mut browser = Browser::default();
        let fresh = fresh_account(&house.hub, "grace", Role::Administrator).await;
        let page = house.get(&mut browser, "/console/sign-in").await;
        assert!(page.text.contains("/console/sign-in/provider") && !page.text.contains("type=\"password\""));
        let one_time = fresh.one_time_password.unwrap();
        let one_time = rollcall::secret::ExposeSecret::expose_secret(&one_time);
        let form = format!("name=grace&password={one_time}");
        let said = house.post(&mut browser, "/console/sign-in", &form).await;
        said.refused(403, "Passwords are switched off here");
        let api = format!("{}/api/v1/session", house.address);
        let body = json!({ "name": "grace", "password": one_time }).to_string();
        let request = client().post(api).header("Content-Type", "application/json");
        browser
            .send(request.body(body))
            .await
            .refused(403, "password_sign_in_off");
        let request = client().get(format!("{}/api/v1/accounts", house.address));
        let said = browser.send(request.bearer_auth(&house.machine)).await;
        said.refused(200, "grace");
        house.sign_in(&mut browser, ada(&["auditors"])).await.leads_to();
    });
}
