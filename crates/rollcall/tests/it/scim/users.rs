//! Users: what a connection says of them, and what becomes of that in the directory.

use rollcall::access::Caller;
use rollcall::directory::{Command, NewUser, Source, UserChanges};
use rollcall::id::ROOT_UNIT;
use rollcall::secret::SecretString;
use serde_json::{Value, json};

use super::{End, changes, in_directory};
use crate::access::{Site, on_each};
use crate::world::new_user;

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn ada() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
        "userName": "ada@example.com",
        "externalId": "00u1",
        "name": { "givenName": "Ada", "familyName": "Lovelace" },
        "displayName": "Ada Lovelace",
        "title": "Countess",
        "active": true,
        "emails": [
            { "value": "ada@home.example", "type": "home" },
            { "value": "ada@example.com", "type": "work", "primary": true },
        ],
        ENTERPRISE: { "department": "Engines", "manager": { "value": "26118915" } },
    })
}

fn patch(operations: Value) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations })
}

/// Applies a command as somebody else than a connection.
async fn apply(site: &Site, command: Command) -> String {
    site.hub.apply(Caller::system("test"), command).await.unwrap().id
}

async fn kinds(site: &Site, id: &str) -> Vec<String> {
    changes(site, id)
        .await
        .into_iter()
        .map(|(kind, _)| kind)
        .collect()
}

#[test]
fn a_user_is_made_read_changed_and_deleted() {
    on_each("scim_user", |site| async move {
        let end = End::of(&site, "Okta", Value::Null).await;
        let made = end.ask("POST", "/Users", ada()).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let id = made.text("id");
        let address = format!("http://{}/scim/v2/{}/Users/{id}", site.address, end.connection.id);
        assert_eq!(made.headers["location"], address.as_str());
        assert_eq!(made.headers["content-type"], "application/scim+json");
        let mut expected = ada();
        expected["id"] = id.as_str().into();
        expected["meta"] = made.body["meta"].clone();
        assert_eq!(made.body, expected, "everything that was said is there");
        let meta = &made.body["meta"];
        assert_eq!(
            (&meta["location"], &meta["resourceType"]),
            (&json!(address), &json!("User"))
        );
        assert_eq!(made.headers["etag"].to_str().unwrap(), meta["version"]);

        let user = in_directory(&site, &id).await.unwrap();
        assert_eq!(user.username, "ada@example.com");
        assert_eq!(user.display_name, "Ada Lovelace");
        assert_eq!(user.email.as_deref(), Some("ada@example.com"), "the primary one");
        assert_eq!(user.external_id.as_deref(), Some("00u1"));
        let source = Source {
            source_type: "scim".to_owned(),
            source_id: end.connection.id.clone(),
        };
        assert_eq!(user.source, source);
        assert_eq!(user.primary_unit_id(), ROOT_UNIT);
        let who = format!("connection:{}", end.connection.id);
        assert_eq!(
            changes(&site, &id).await,
            [("ud:user:create".to_owned(), who.clone())]
        );

        let path = format!("/Users/{id}");
        assert_eq!(end.get(&path).await.body, made.body);
        // What the directory does not know changes nothing in it, and is a new version all the same.
        let title = patch(json!([{ "op": "replace", "path": "title", "value": "Programmer" }]));
        let patched = end.ask("PATCH", &path, title).await;
        assert_eq!(
            (patched.status, &patched.body["title"]),
            (200, &json!("Programmer"))
        );
        assert_ne!(patched.body["meta"]["version"], meta["version"]);
        assert_eq!(kinds(&site, &id).await, ["ud:user:create"]);
        let again = patch(json!([{ "op": "replace", "path": "title", "value": "Programmer" }]));
        let again = end.ask("PATCH", &path, again).await;
        assert_eq!(again.body, patched.body, "what changes nothing is no new version");

        let mut whole = ada();
        whole["displayName"] = "Countess Lovelace".into();
        whole["active"] = false.into();
        whole.as_object_mut().unwrap().remove("emails");
        whole.as_object_mut().unwrap().remove("title");
        let put = end.ask("PUT", &path, whole).await;
        assert_eq!(put.status, 200, "{}", put.body);
        assert!(
            put.body.get("title").is_none() && put.body.get("emails").is_none(),
            "{}",
            put.body
        );
        let user = in_directory(&site, &id).await.unwrap();
        assert_eq!(
            (user.display_name.as_str(), user.email),
            ("Countess Lovelace", None)
        );
        assert!(!user.enabled);
        assert_eq!(
            kinds(&site, &id).await,
            ["ud:user:create", "ud:user:update_info", "ud:user:disable"]
        );
        assert_eq!(
            end.get(&path).await.body["active"],
            false,
            "who may not sign in stays visible"
        );

        let gone = end.ask("DELETE", &path, Value::Null).await;
        assert_eq!((gone.status, gone.body), (204, Value::Null));
        assert_eq!(end.get(&path).await.status, 404);
        assert_eq!(end.ask("DELETE", &path, Value::Null).await.status, 404);
        assert!(in_directory(&site, &id).await.is_none());
        assert!(
            !site.database().await.contains("Programmer"),
            "nothing of what was said is left"
        );
        assert!(changes(&site, &id).await.iter().all(|(_, actor)| *actor == who));
    });
}

#[test]
fn what_a_patch_does_not_name_is_left_as_it_is_in_the_directory() {
    on_each("scim_untouched", |site| async move {
        let end = End::of(&site, "Okta", Value::Null).await;
        let id = end.make("/Users", ada()).await;
        let path = format!("/Users/{id}");
        apply(&site, Command::DisableUser { id: id.clone() }).await;
        let renamed = UserChanges {
            display_name: Some("Renamed here".to_owned()),
            ..UserChanges::default()
        };
        let update = Command::UpdateUser {
            id: id.clone(),
            changes: renamed,
        };
        apply(&site, update).await;
        let title = patch(json!([{ "op": "add", "path": "title", "value": "Dr." }]));
        let patched = end.ask("PATCH", &path, title).await;
        assert_eq!(patched.body["active"], false, "it is told what is true");
        let user = in_directory(&site, &id).await.unwrap();
        assert_eq!(
            (user.enabled, user.display_name.as_str()),
            (false, "Renamed here")
        );
        // Whoever says it lets the user sign in again.
        let active = patch(json!([{ "op": "Replace", "path": "active", "value": "True" }]));
        assert_eq!(end.ask("PATCH", &path, active).await.body["active"], true);
        assert!(in_directory(&site, &id).await.unwrap().enabled);
        // Who takes it back says nothing of it any more, and of what nothing was said nothing is told.
        let unsaid = patch(json!([{ "op": "remove", "path": "active" }]));
        let unsaid = end.ask("PATCH", &path, unsaid).await;
        assert!(
            unsaid.status == 200 && unsaid.body.get("active").is_none(),
            "{}",
            unsaid.body
        );
        assert!(in_directory(&site, &id).await.unwrap().enabled);
        // A whole resource means each of its attributes.
        assert_eq!(end.ask("PUT", &path, ada()).await.status, 200);
        assert_eq!(
            in_directory(&site, &id).await.unwrap().display_name,
            "Ada Lovelace"
        );
    });
}

#[test]
fn a_change_is_held_to_the_version_that_was_read() {
    on_each("scim_versions", |site| async move {
        let end = End::of(&site, "Okta", Value::Null).await;
        let made = end.ask("POST", "/Users", ada()).await;
        let path = format!("/Users/{}", made.text("id"));
        let tag = made.headers["etag"].to_str().unwrap().to_owned();
        let known = [("if-none-match", tag.clone())];
        let same = end.ask_with("GET", &path, &known, &Value::Null).await;
        assert_eq!(same.status, 304);
        assert_eq!(same.headers["etag"].to_str().unwrap(), tag);
        let title = |title: &str| patch(json!([{ "op": "add", "path": "title", "value": title }]));
        let held = [("if-match", tag.clone())];
        let first = end.ask_with("PATCH", &path, &held, &title("a")).await;
        assert_eq!(first.status, 200, "{}", first.body);
        for (method, body) in [("PATCH", title("b")), ("PUT", ada()), ("DELETE", Value::Null)] {
            let late = end.ask_with(method, &path, &held, &body).await;
            assert_eq!(
                (late.status, &late.body["status"]),
                (412, &json!("412")),
                "{method}"
            );
        }
        // What anybody else does is a new version too.
        let now = end.get(&path).await.headers["etag"].to_str().unwrap().to_owned();
        apply(&site, Command::DisableUser { id: made.text("id") }).await;
        let late = end
            .ask_with("PATCH", &path, &[("if-match", now)], &title("c"))
            .await;
        assert_eq!(late.status, 412);
        let any = end
            .ask_with("PATCH", &path, &[("if-match", "*".to_owned())], &title("d"))
            .await;
        assert_eq!(any.status, 200);
    });
}

#[test]
fn a_connection_sees_and_changes_what_is_its_own_alone() {
    on_each("scim_ownership", |site| async move {
        let one = End::of(&site, "one", Value::Null).await;
        let other = End::of(&site, "other", json!({ "takesOver": "username" })).await;
        let ours = apply(&site, Command::CreateUser(new_user("bob", ROOT_UNIT))).await;
        let ada = one.user("ada").await;
        assert_eq!(one.found("/Users").await, (vec![ada.clone()], 1));
        assert_eq!(other.found("/Users").await.1, 0);
        let name = patch(json!([{ "op": "replace", "path": "displayName", "value": "Mallory" }]));
        for (end, id) in [(&other, &ada), (&one, &ours), (&other, &ours)] {
            let path = format!("/Users/{id}");
            assert_eq!(end.get(&path).await.status, 404);
            assert_eq!(end.ask("PATCH", &path, name.clone()).await.status, 404);
            assert_eq!(
                end.ask("PUT", &path, json!({ "userName": "x" })).await.status,
                404
            );
            assert_eq!(end.ask("DELETE", &path, Value::Null).await.status, 404);
        }
        // Who is in the way is not told, and nobody takes from another connection.
        for (end, name) in [(&one, "bob"), (&other, "ADA")] {
            let taken = end.ask("POST", "/Users", json!({ "userName": name })).await;
            assert_eq!(
                (taken.status, &taken.body["scimType"]),
                (409, &json!("uniqueness"))
            );
            assert!(!taken.body.to_string().contains("user_"), "{}", taken.body);
        }
        // An import that makes a user its own takes it from the connection.
        let changes = UserChanges {
            source: Some(Source {
                source_type: "import".to_owned(),
                source_id: "hr".to_owned(),
            }),
            ..UserChanges::default()
        };
        let update = Command::UpdateUser {
            id: ada.clone(),
            changes,
        };
        apply(&site, update).await;
        assert_eq!(one.get(&format!("/Users/{ada}")).await.status, 404);
        assert_eq!(one.found("/Users").await.1, 0);
    });
}

#[test]
fn the_door_holds_a_connection_to_what_is_its_own() {
    on_each("scim_door", |site| async move {
        let end = End::of(&site, "one", Value::Null).await;
        let id = end.connection.id.clone();
        let ada = end.user("ada").await;
        let group = end.make("/Groups", json!({ "displayName": "Staff" })).await;
        let bob = apply(&site, Command::CreateUser(new_user("bob", ROOT_UNIT))).await;
        let caller = || {
            Caller::from(rollcall::connection::principal(&id)).within(rollcall::connection::authority(&id))
        };
        let given_away = UserChanges {
            source: Some(Source::default()),
            ..UserChanges::default()
        };
        for (command, code) in [
            (Command::DisableUser { id: bob.clone() }, "not_found"),
            (Command::CreateUser(new_user("eve", ROOT_UNIT)), "outside_scope"),
            (
                Command::UpdateUser {
                    id: ada.clone(),
                    changes: given_away,
                },
                "outside_scope",
            ),
            (
                Command::AddMembers {
                    group_id: group.clone(),
                    user_ids: vec![ada.clone(), bob.clone()],
                },
                "not_found",
            ),
            (
                Command::SetUnits {
                    id: ada.clone(),
                    primary: ROOT_UNIT.to_owned(),
                    further: Vec::new(),
                },
                "outside_scope",
            ),
            (
                Command::UpdateUnit {
                    id: ROOT_UNIT.to_owned(),
                    changes: rollcall::directory::UnitChanges::default(),
                },
                "not_found",
            ),
        ] {
            let refused = site.hub.apply(caller(), command.clone()).await.unwrap_err();
            assert_eq!(refused.code(), code, "{command:?}: {refused}");
        }
        let own = Command::DisableUser { id: ada };
        assert_eq!(site.hub.apply(caller(), own).await.unwrap().changes, 1);
    });
}

#[test]
fn somebody_who_is_there_is_taken_over_as_the_settings_say() {
    on_each("scim_take_over", |site| async move {
        let there = async |name: &str| {
            let user = NewUser {
                email: Some(format!("{name}@example.com")),
                description: Some("made by hand".to_owned()),
                ..new_user(name, ROOT_UNIT)
            };
            apply(&site, Command::CreateUser(user)).await
        };
        let (ada, bob) = (there("ada").await, there("bob").await);
        let never = End::of(&site, "never", Value::Null).await;
        let taken = never.ask("POST", "/Users", json!({ "userName": "ADA" })).await;
        assert_eq!(taken.status, 409, "{}", taken.body);

        let by_name = End::of(&site, "by name", json!({ "takesOver": "username" })).await;
        let said =
            json!({ "userName": "ADA", "externalId": "x1", "active": false, "displayName": "Countess" });
        assert_eq!(by_name.make("/Users", said).await, ada);
        let user = in_directory(&site, &ada).await.unwrap();
        assert_eq!(
            (user.username.as_str(), user.display_name.as_str(), user.enabled),
            ("ADA", "Countess", false)
        );
        assert_eq!(user.source.source_id, by_name.connection.id);
        assert_eq!(
            user.description.as_deref(),
            Some("made by hand"),
            "of what nothing is said stays"
        );
        let again = by_name.ask("POST", "/Users", json!({ "userName": "ada" })).await;
        assert_eq!(again.status, 409, "once it is its own, it is there");

        let by_email = End::of(&site, "by email", json!({ "takesOver": "email" })).await;
        let said = json!({ "userName": "robert", "emails": [{ "value": "BOB@example.com" }] });
        assert_eq!(by_email.make("/Users", said).await, bob);
        assert_eq!(in_directory(&site, &bob).await.unwrap().username, "robert");
        let fresh = by_email.user("carol").await;
        assert_ne!(fresh, bob, "without an address nobody is taken over");
    });
}

#[test]
fn a_mapping_says_what_becomes_of_what_was_said() {
    on_each("scim_mapping", |site| async move {
        let mapping = json!({
            "username": "lower(before(userName, \"@\"))",
            "customFields.title": "title",
            "customFields.department": format!("`{ENTERPRISE}:department`"),
            "description": "name.formatted",
            "enabled": "not(equal(userType, \"Left\"))",
        });
        let end = End::of(&site, "Okta", json!({ "mapping": mapping })).await;
        let mut said = ada();
        said["userType"] = "Employee".into();
        let id = end.make("/Users", said).await;
        let path = format!("/Users/{id}");
        let user = in_directory(&site, &id).await.unwrap();
        assert_eq!(user.username, "ada");
        let custom: Vec<_> = user
            .custom_fields
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(custom, [("department", "Engines"), ("title", "Countess")]);
        assert!(user.enabled);
        // The name by which the connection knows somebody is its own.
        assert_eq!(end.get(&path).await.body["userName"], "ada@example.com");
        let filter = "/Users?filter=userName%20eq%20%22ADA@example.com%22";
        assert_eq!(end.found(filter).await, (vec![id.clone()], 1));
        let twice = end
            .ask("POST", "/Users", json!({ "userName": "Ada@Example.Com" }))
            .await;
        assert_eq!(
            (twice.status, &twice.body["scimType"]),
            (409, &json!("uniqueness"))
        );
        let left = patch(json!([
            { "op": "replace", "path": "userType", "value": "Left" },
            { "op": "remove", "path": "title" },
        ]));
        assert_eq!(end.ask("PATCH", &path, left).await.status, 200);
        let user = in_directory(&site, &id).await.unwrap();
        assert!(!user.enabled && !user.custom_fields.contains_key("title"));
        let nameless = end.ask("POST", "/Users", json!({ "userName": "@" })).await;
        assert_eq!(
            (nameless.status, &nameless.body["scimType"]),
            (400, &json!("invalidValue"))
        );
    });
}

#[test]
fn a_password_is_set_and_kept_as_a_hash_alone() {
    on_each("scim_password", |site| async move {
        let end = End::of(&site, "Okta", Value::Null).await;
        let mut said = ada();
        said["password"] = "first secret".into();
        let made = end.ask("POST", "/Users", said).await;
        assert_eq!(made.status, 201);
        assert!(made.body.get("password").is_none());
        let id = made.text("id");
        let is = async |plain: &'static str| {
            let id = id.clone();
            let plain = SecretString::from(plain.to_owned());
            let checking = site
                .hub
                .db
                .read(move |tx| rollcall::directory::verify_password(tx, &id, &plain));
            checking.await.unwrap()
        };
        assert!(is("first secret").await);
        let path = format!("/Users/{id}");
        let second = patch(json!([{ "op": "replace", "value": { "password": "second secret" } }]));
        assert_eq!(end.ask("PATCH", &path, second).await.status, 200);
        assert!(is("second secret").await);
        let short = patch(json!([{ "op": "replace", "path": "password", "value": "short" }]));
        let short = end.ask("PATCH", &path, short).await;
        assert_eq!(
            (short.status, &short.body["scimType"]),
            (400, &json!("invalidValue"))
        );
        let stored = site.database().await;
        assert!(!stored.contains("first secret") && !stored.contains("second secret"));
    });
}

#[test]
fn what_cannot_be_stored_is_refused_and_changes_nothing() {
    on_each("scim_refused", |site| async move {
        let end = End::of(&site, "Okta", Value::Null).await;
        let id = end.make("/Users", ada()).await;
        let path = format!("/Users/{id}");
        let before = end.get(&path).await.body;
        for (method, at, body, status, kind) in [
            ("POST", "/Users", json!({ "userName": "" }), 400, "invalidValue"),
            (
                "POST",
                "/Users",
                json!({ "displayName": "x" }),
                400,
                "invalidValue",
            ),
            (
                "POST",
                "/Users",
                json!({ "userName": "a b" }),
                400,
                "invalidValue",
            ),
            ("POST", "/Users", json!([1]), 400, "invalidSyntax"),
            (
                "POST",
                "/Users",
                json!({ "userName": "x", "emails": [{ "value": "no address" }] }),
                400,
                "invalidValue",
            ),
            (
                "POST",
                "/Users",
                json!({ "userName": "x", "emails": [{ "value": "ADA@example.com" }] }),
                409,
                "uniqueness",
            ),
            (
                "PUT",
                path.as_str(),
                json!({ "userName": "" }),
                400,
                "invalidValue",
            ),
            (
                "PATCH",
                &path,
                patch(json!([{ "op": "remove", "path": "userName" }])),
                400,
                "mutability",
            ),
            (
                "PATCH",
                &path,
                patch(json!([{ "op": "remove" }])),
                400,
                "noTarget",
            ),
            (
                "PATCH",
                &path,
                patch(json!([
                    { "op": "replace", "path": "displayName", "value": "half" },
                    { "op": "replace", "path": "emails[type eq]", "value": "x" },
                ])),
                400,
                "invalidFilter",
            ),
        ] {
            let said = end.ask(method, at, body.clone()).await;
            let found = (said.status, said.body["scimType"].as_str().unwrap_or_default());
            assert_eq!(found, (status, kind), "{method} {body}: {}", said.body);
        }
        assert_eq!(end.get(&path).await.body, before);
        assert_eq!(end.found("/Users").await.1, 1);
    });
}

#[test]
fn a_strict_connection_is_held_to_the_standard() {
    on_each("scim_strict", |site| async move {
        let lenient = End::of(&site, "lenient", Value::Null).await;
        let strict = End::of(&site, "strict", json!({ "strict": true })).await;
        let sloppy = |name: &str| json!({ "userName": name, "active": "True", "favoriteColor": "red" });
        assert_eq!(lenient.ask("POST", "/Users", sloppy("a")).await.status, 201);
        let refused = strict.ask("POST", "/Users", sloppy("b")).await;
        assert_eq!(refused.status, 400, "{}", refused.body);
        let id = strict.make("/Users", ada()).await;
        let path = format!("/Users/{id}");
        let shouted = patch(json!([{ "op": "Replace", "path": "title", "value": "x" }]));
        assert_eq!(strict.ask("PATCH", &path, shouted).await.status, 400);
        let plain = patch(json!([{ "op": "replace", "path": "title", "value": "x" }]));
        assert_eq!(strict.ask("PATCH", &path, plain).await.status, 200);
        let kind = [("content-type", "text/plain".to_owned())];
        let mut headers = crate::access::bearer(&strict.token);
        headers.extend(kind);
        let address = format!("/scim/v2/{}/Users", strict.connection.id);
        let typed = super::send(&site, "POST", &address, &headers, ada().to_string()).await;
        assert_eq!(typed.status, 415);
    });
}
