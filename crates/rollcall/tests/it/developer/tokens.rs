//! Secrets, access tokens, and what is granted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollcall::access::Caller;
use rollcall::application::{ApplicationError, Command, DeveloperApi, Grant, Scope};
use serde_json::{Value, json};

use super::{ALL, Developer, grant, make_secret};
use crate::access::{bearer, on_each};

#[test]
fn a_token_is_given_for_a_secret_however_that_is_passed() {
    on_each("developer_tokens", |site| async move {
        let wiki = Developer::of(&site, "Wiki", Scope::everything()).await;
        let id = wiki.application.id.as_str();
        let token = wiki.path("/oauth2/token");
        let form = ("content-type", "application/x-www-form-urlencoded".to_owned());
        let basic = |id: &str, secret: &str| {
            let shown = STANDARD.encode(format!("{id}:{secret}"));
            ("authorization", format!("Basic {shown}"))
        };
        let posted = format!(
            "grant_type=client_credentials&client_id={id}&client_secret={}",
            wiki.secret
        );
        let alone = "grant_type=client_credentials".to_owned();
        for (headers, path, body) in [
            (vec![form.clone()], token.clone(), posted.clone()),
            (
                vec![form.clone(), basic(id, &wiki.secret)],
                token.clone(),
                alone.clone(),
            ),
            (vec![], format!("{token}?{posted}"), String::new()),
            (
                vec![basic(id, &wiki.secret)],
                format!("{token}?{alone}"),
                String::new(),
            ),
        ] {
            let said = wiki.send("POST", &path, &headers, body).await;
            assert_eq!(said.status, 200, "{path}: {}", said.body);
            assert_eq!(said.headers["cache-control"], "no-store");
            assert_eq!(said.body["token_type"], "Bearer");
            assert_eq!(said.body["expires_in"], 1_200);
            let mut other = Developer {
                site: wiki.site,
                application: wiki.application.clone(),
                secret: wiki.secret.clone(),
                token: said.text("access_token"),
            };
            assert_eq!(other.get("/provisioningScope").await.status, 200);
            other.token.push('A');
            assert_eq!(other.get("/provisioningScope").await.status, 401);
        }
        let refusals = [
            (
                vec![form.clone()],
                posted.replace("rcc_", "rcc_x"),
                401,
                "InvalidClient",
            ),
            (
                vec![form.clone(), basic("app_other", &wiki.secret)],
                alone.clone(),
                401,
                "InvalidClient",
            ),
            (
                vec![form.clone()],
                alone.clone(),
                400,
                "MissingParameter.Client_id",
            ),
            (
                vec![form.clone()],
                posted.replace("client_credentials", "password"),
                400,
                "UnsupportedGrantType",
            ),
            (
                vec![form.clone()],
                posted.replace("grant_type", "other"),
                400,
                "MissingParameter.Grant_type",
            ),
        ];
        for (headers, body, status, code) in refusals {
            let said = wiki.send("POST", &token, &headers, body).await;
            assert_eq!(
                (said.status, &said.body["code"]),
                (status, &json!(code)),
                "{}",
                said.body
            );
        }
        // Another instance's path, and calls that there are not.
        let other = token.replace(&site.hub.instance.id, "idaas_other");
        let said = wiki
            .send("POST", &other, std::slice::from_ref(&form), posted)
            .await;
        assert_eq!(
            (said.status, &said.body["code"]),
            (404, &json!("ResourceNotFound.Instance"))
        );
        wiki.refused("GET", "/nothing", Value::Null, "ResourceNotFound.Path")
            .await;
        wiki.refused("PUT", "/users", Value::Null, "ResourceNotFound.Path")
            .await;
        // The public keys, which are nearby, need no token.
        let keys = wiki
            .send("GET", &wiki.path("/provisioning/jwks"), &[], String::new())
            .await;
        assert_eq!(keys.status, 200);
    });
}

#[test]
fn nothing_is_kept_by_which_somebody_could_prove_to_be_the_application() {
    on_each("developer_secret", |site| async move {
        let wiki = Developer::of(&site, "Wiki", Scope::everything()).await;
        let stored = site.hub.db.read(|tx| {
            let rows = tx.query("SELECT prefix, hash FROM client_secrets", &[])?;
            rows.iter()
                .map(|row| Ok(format!("{} {}", row.get::<String>(0)?, row.get::<String>(1)?)))
                .collect::<Result<Vec<_>, rollcall_db::DbError>>()
        });
        let everything = format!("{:?} {}", stored.await.unwrap(), site.database().await);
        assert!(!everything.contains(&wiki.secret) && !everything.contains(&wiki.token));
        assert!(everything.contains(&wiki.secret[..10]));
        // What is sealed under the master key does not say for whom it is.
        assert!(!wiki.token.contains(&wiki.application.id));
    });
}

#[test]
fn a_secret_that_is_revoked_takes_its_tokens_along() {
    on_each("developer_revoked", |site| async move {
        let wiki = Developer::of(&site, "Wiki", Scope::everything()).await;
        let id = wiki.application.id.clone();
        // Two at a time: the next one is there before the one before is gone.
        let (next, text) = make_secret(&site.hub, &id, None).await;
        let third = rollcall::application::developer::secrets::NewClientSecret::generate(
            id.clone(),
            None,
            &*site.hub.random,
        );
        let refused = site
            .hub
            .apply_application(Caller::system("test"), Command::CreateClientSecret(third.0));
        assert!(matches!(refused.await, Err(ApplicationError::TooManySecrets(name)) if name == "Wiki"));
        let granted = wiki.grant(&text).await;
        let later = Developer {
            site: wiki.site,
            application: wiki.application.clone(),
            secret: text.clone(),
            token: granted.text("access_token"),
        };
        let revoke = Command::RevokeClientSecret {
            application_id: id.clone(),
            id: next,
        };
        assert_eq!(later.get("/users").await.status, 200);
        site.hub
            .apply_application(Caller::system("test"), revoke)
            .await
            .unwrap();
        later
            .refused("GET", "/users", Value::Null, "AccessTokenRevoked")
            .await;
        assert_eq!(wiki.grant(&text).await.status, 401);
        assert_eq!(wiki.get("/users").await.status, 200);
        // A token alone, by who knows a secret; nobody else's.
        let other = Developer::of(&site, "Other", Scope::everything()).await;
        let revoke = |of: &Developer<'_>, token: &str| {
            of.path(&format!(
                "/oauth2/revoke?client_id={}&client_secret={}&token={token}",
                of.application.id, of.secret
            ))
        };
        let said = other
            .send("POST", &revoke(&other, &wiki.token), &[], String::new())
            .await;
        assert_eq!(said.status, 200);
        assert_eq!(wiki.get("/users").await.status, 200);
        let said = wiki
            .send("POST", &revoke(&wiki, &wiki.token), &[], String::new())
            .await;
        assert_eq!(said.status, 200);
        wiki.refused("GET", "/users", Value::Null, "AccessTokenRevoked")
            .await;
        // A token of another application is none here.
        let borrowed = Developer {
            site: wiki.site,
            application: wiki.application.clone(),
            secret: String::new(),
            token: other.token.clone(),
        };
        borrowed
            .refused("GET", "/users", Value::Null, "InvalidAccessToken")
            .await;
    });
}

#[test]
fn time_ends_secrets_and_tokens() {
    on_each("developer_expiry", |site| async move {
        let wiki = Developer::of(&site, "Wiki", Scope::everything()).await;
        site.clock.set(1_199_000);
        assert_eq!(wiki.get("/users").await.status, 200);
        site.clock.set(1_201_000);
        wiki.refused("GET", "/users", Value::Null, "AccessTokenExpired")
            .await;
        let until = site.hub.clock.now() + 60_000;
        let (_, text) = make_secret(&site.hub, &wiki.application.id, Some(until)).await;
        let short = Developer {
            site: wiki.site,
            application: wiki.application.clone(),
            secret: text.clone(),
            token: wiki.grant(&text).await.text("access_token"),
        };
        assert_eq!(short.get("/users").await.status, 200);
        site.clock.set(1_262_000);
        short
            .refused("GET", "/users", Value::Null, "AccessTokenRevoked")
            .await;
        assert_eq!(wiki.grant(&text).await.body["code"], "InvalidClient");
    });
}

/// The calls that need a grant, and what grants them.
const NEEDS: [(&str, &str, &str); 30] = [
    ("GET", "/users", "users read"),
    ("GET", "/users/x", "users read"),
    ("GET", "/users/x/actions/listGroupsForUser", "users read"),
    ("POST", "/users/_/actions/getUserIdByUsername", "users read"),
    ("POST", "/users/_/actions/getUserIdByEmail", "users read"),
    ("POST", "/users/_/actions/getUserIdByPhoneNumber", "users read"),
    ("POST", "/users/_/actions/getUserIdByExternalId", "users read"),
    ("POST", "/users", "users write"),
    ("PATCH", "/users/x", "users write"),
    ("DELETE", "/users/x", "users write"),
    ("POST", "/users/x/actions/disable", "users write"),
    ("POST", "/users/x/actions/enable", "users write"),
    (
        "POST",
        "/users/x/actions/setUserPrimaryOrganizationalUnit",
        "users write",
    ),
    (
        "POST",
        "/users/x/actions/addUserToOrganizationalUnits",
        "users write",
    ),
    (
        "POST",
        "/users/x/actions/removeUserFromOrganizationalUnits",
        "users write",
    ),
    ("POST", "/users/x/actions/updateUserPassword", "passwords"),
    ("GET", "/organizationalUnits", "units read"),
    ("GET", "/organizationalUnits/x", "units read"),
    ("GET", "/organizationalUnits/x/parentIds", "units read"),
    (
        "POST",
        "/organizationalUnits/_/actions/getOrganizationalUnitIdByExternalId",
        "units read",
    ),
    ("POST", "/organizationalUnits", "units write"),
    ("PATCH", "/organizationalUnits/x", "units write"),
    ("PATCH", "/organizationalUnits/x/parentId", "units write"),
    ("DELETE", "/organizationalUnits/x", "units write"),
    ("GET", "/groups", "groups read"),
    ("GET", "/groups/x", "groups read"),
    ("GET", "/groups/x/actions/listUsersForGroup", "groups read"),
    ("POST", "/groups", "groups write"),
    ("PATCH", "/groups/x", "groups write"),
    ("DELETE", "/groups/x", "groups write"),
];

/// Those of members, which are groups' as well.
const MEMBERS: [(&str, &str, &str); 2] = [
    ("POST", "/groups/x/actions/addUsersToGroup", "groups write"),
    ("POST", "/groups/x/actions/removeUsersFromGroup", "groups write"),
];

#[test]
fn every_call_asks_for_what_it_needs_and_for_nothing_else() {
    // A call without an entry is one that nobody has thought about.
    let known: Vec<(&str, String)> = NEEDS
        .iter()
        .chain(&MEMBERS)
        .map(|(method, path, _)| (*method, path.replace("/x", "/{id}")))
        .chain([("GET", "/provisioningScope".to_owned())])
        .chain([
            ("POST", "/oauth2/token".to_owned()),
            ("POST", "/oauth2/revoke".to_owned()),
        ])
        .collect();
    for (method, path) in rollcall::api::developer_calls() {
        assert!(
            known.contains(&(method, path.to_owned())),
            "{method} {path} has no entry"
        );
    }
    assert_eq!(known.len(), rollcall::api::developer_calls().len());
    let nothing = DeveloperApi {
        enabled: true,
        users: Grant::None,
        organizational_units: Grant::None,
        groups: Grant::None,
        passwords: false,
        echo: true,
        requests_per_second: 10_000,
    };
    // Good for all calls: each finds what it reads, or nobody of this id.
    let body = json!({
        "username": "nobody", "email": "nobody@example.org", "phoneNumber": "123456", "userExternalId": "nobody",
        "primaryOrganizationalUnitId": "ou_nothing", "organizationalUnitId": "ou_nothing",
        "organizationalUnitIds": ["ou_nothing"], "organizationalUnitExternalId": "nothing",
        "organizationalUnitName": "Nothing", "parentId": "ou_nothing", "groupName": "Nothing", "userIds": ["user_x"],
    });
    on_each("developer_needs", |site| {
        let body = body.clone();
        async move {
            let wiki = Developer::of(&site, "Wiki", Scope::everything()).await;
            for (method, path, need) in NEEDS.iter().chain(&MEMBERS) {
                let granted = match *need {
                    "users read" => DeveloperApi {
                        users: Grant::Read,
                        ..nothing
                    },
                    "users write" => DeveloperApi {
                        users: Grant::Write,
                        ..nothing
                    },
                    "units read" => DeveloperApi {
                        organizational_units: Grant::Read,
                        ..nothing
                    },
                    "units write" => DeveloperApi {
                        organizational_units: Grant::Write,
                        ..nothing
                    },
                    "groups read" => DeveloperApi {
                        groups: Grant::Read,
                        ..nothing
                    },
                    "groups write" => DeveloperApi {
                        groups: Grant::Write,
                        ..nothing
                    },
                    _ => DeveloperApi {
                        passwords: true,
                        ..nothing
                    },
                };
                let all_but = match *need {
                    "users read" => DeveloperApi {
                        users: Grant::None,
                        ..ALL
                    },
                    "users write" => DeveloperApi {
                        users: Grant::Read,
                        ..ALL
                    },
                    "units read" => DeveloperApi {
                        organizational_units: Grant::None,
                        ..ALL
                    },
                    "units write" => DeveloperApi {
                        organizational_units: Grant::Read,
                        ..ALL
                    },
                    "groups read" => DeveloperApi {
                        groups: Grant::None,
                        ..ALL
                    },
                    "groups write" => DeveloperApi {
                        groups: Grant::Read,
                        ..ALL
                    },
                    _ => DeveloperApi {
                        passwords: false,
                        ..ALL
                    },
                };
                let mut body = if *method == "GET" {
                    Value::Null
                } else {
                    body.clone()
                };
                if path.ends_with("updateUserPassword") {
                    body["password"] = json!("correct horse battery");
                }
                grant(&site.hub, &wiki.application.id, all_but).await;
                wiki.refused(method, path, body.clone(), "Forbidden.Permission")
                    .await;
                grant(&site.hub, &wiki.application.id, granted).await;
                let said = wiki.call(method, path, body.clone()).await;
                // A list of groups of a user, or of users of a group, needs both.
                let is_both = path.ends_with("ForUser") || path.ends_with("ForGroup");
                assert_eq!(said.status == 403, is_both, "{method} {path}: {}", said.body);
                assert!(said.status < 500, "{method} {path}: {}", said.body);
                let off = DeveloperApi {
                    enabled: false,
                    ..ALL
                };
                grant(&site.hub, &wiki.application.id, off).await;
                wiki.refused(method, path, body, "DeveloperApiDisabled").await;
            }
            // A password of a new user is a password.
            grant(
                &site.hub,
                &wiki.application.id,
                DeveloperApi {
                    passwords: false,
                    ..ALL
                },
            )
            .await;
            let new = json!({
                "username": "ada", "primaryOrganizationalUnitId": "ou_root", "password": "correct horse battery",
            });
            wiki.refused("POST", "/users", new, "Forbidden.Permission").await;
        }
    });
}

#[test]
fn nothing_but_an_access_token_of_the_application_opens_its_calls() {
    on_each("developer_strangers", |site| async move {
        let wiki = Developer::of(&site, "Wiki", Scope::everything()).await;
        let other = Developer::of(&site, "Other", Scope::everything()).await;
        site.account("ada", rollcall::access::Role::Administrator).await;
        let session = site.sign_in("ada").await;
        let robot = json!({ "name": "robot", "role": "administrator" });
        let robot = site.machine("POST", "/tokens", robot).await.text("secret");
        let (_, connected) = crate::scim::connect(&site.hub, "Okta", &Value::Null).await;
        // One that the hub remembers, and others that end as it does.
        assert_eq!(wiki.get("/provisioningScope").await.status, 200);
        let end = &wiki.token[wiki.token.len() - 16..];
        let begins = &other.token[..other.token.len() - 16];
        let first = if wiki.token.starts_with("rca_A") { "B" } else { "A" };
        let wrong = [
            Vec::new(),
            bearer(&site.machine),
            bearer(end),
            bearer(&format!("{begins}{end}")),
            bearer(&format!("rca_{first}{}", &wiki.token[5..])),
            bearer(&robot),
            bearer(&connected),
            bearer(&other.token),
            bearer(&wiki.secret),
            bearer("rca_"),
            bearer("rca_AAAA"),
            vec![("authorization", format!("Basic {}", wiki.token))],
            session.headers(),
        ];
        for (method, path) in rollcall::api::developer_calls() {
            if path.starts_with("/oauth2/") {
                continue;
            }
            let path = wiki.path(&path.replace("{id}", "nothing"));
            for headers in &wrong {
                let said = wiki.send(method, &path, headers, "{}".to_owned()).await;
                assert_eq!(said.status, 401, "{method} {path} {headers:?}: {}", said.body);
                assert_eq!(said.body["code"], "InvalidAccessToken");
                assert!(said.headers.contains_key("www-authenticate"));
                assert!(said.headers.contains_key("x-request-id"));
            }
            let said = wiki
                .send(method, &path, &bearer(&wiki.token), "{}".to_owned())
                .await;
            assert!(
                ![401, 405].contains(&said.status) && said.status < 500,
                "{method} {path}: {}",
                said.body
            );
        }
        // And it opens nothing else.
        for path in ["/users", "/applications", "/session"] {
            let said = site.ask("GET", path, &bearer(&wiki.token), &Value::Null).await;
            assert_eq!(said.status, 401, "{path}: {}", said.body);
        }
    });
}
