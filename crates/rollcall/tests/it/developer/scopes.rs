//! The synchronization scope is what an application sees and changes.

use rollcall::application::Scope;
use rollcall::directory::{Command, query};
use rollcall::id::ROOT_UNIT;
use serde_json::{Value, json};

use super::Developer;
use crate::access::on_each;
use crate::two_doors::{group, make, members, unit};
use crate::world::new_user;

#[test]
fn what_is_outside_of_the_scope_answers_as_if_it_did_not_exist() {
    on_each("developer_scope", |site| async move {
        let hub = &site.hub;
        let sales = make(hub, unit("Sales", ROOT_UNIT)).await;
        let north = make(hub, unit("North", &sales)).await;
        let other = make(hub, unit("Other", ROOT_UNIT)).await;
        let ada = make(hub, Command::CreateUser(new_user("ada", &north))).await;
        let bob = make(hub, Command::CreateUser(new_user("bob", &other))).await;
        let eve = make(hub, Command::CreateUser(new_user("eve", &other))).await;
        let staff = make(hub, group("Staff")).await;
        make(hub, members(&staff, &[&bob, &ada])).await;
        let hidden = make(hub, group("Hidden")).await;
        make(hub, members(&hidden, &[&ada, &eve])).await;
        let scope = Scope {
            organizational_unit_ids: [sales.clone()].into(),
            group_ids: [staff.clone()].into(),
        };
        let wiki = Developer::of(&site, "Wiki", scope).await;

        let said = wiki.get("/provisioningScope").await;
        assert_eq!(
            said.body,
            json!({ "organizationalUnitIds": [sales], "groupIds": [staff] })
        );
        // Ada stands in the scope by her unit, Bob by the group; what else is of them is not told.
        let user = wiki.get(&format!("/users/{ada}")).await.body;
        assert_eq!(
            user["organizationalUnits"][0]["organizationalUnitId"],
            json!(north)
        );
        assert_eq!(
            user["groups"],
            json!([{ "groupId": staff, "groupName": "Staff", "description": null }])
        );
        let user = wiki.get(&format!("/users/{bob}")).await.body;
        assert_eq!(user["username"], "bob");
        assert_eq!(user["organizationalUnits"], json!([]));
        let list = wiki.get("/users").await.body;
        assert_eq!(list["totalCount"], 2);
        let mut names: Vec<&str> = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|user| user["username"].as_str())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["ada", "bob"]);
        let units = wiki.get("/organizationalUnits").await.body;
        assert_eq!(
            (&units["totalCount"], &units["data"][0]["parentId"]),
            (&json!(1), &Value::Null)
        );
        let parents = wiki
            .get(&format!("/organizationalUnits/{north}/parentIds"))
            .await
            .body;
        assert_eq!(parents, json!({ "parentIds": [sales] }));
        let groups = wiki.get("/groups").await.body;
        assert_eq!(
            (&groups["totalCount"], &groups["data"][0]["groupName"]),
            (&json!(1), &json!("Staff"))
        );

        let nobody = "ResourceNotFound.User";
        for (method, path, body) in [
            ("GET", format!("/users/{eve}"), Value::Null),
            (
                "PATCH",
                format!("/users/{eve}"),
                json!({ "displayName": "Mallory" }),
            ),
            ("DELETE", format!("/users/{eve}"), Value::Null),
            ("POST", format!("/users/{eve}/actions/disable"), Value::Null),
            ("POST", format!("/users/{eve}/actions/enable"), Value::Null),
            (
                "POST",
                format!("/users/{eve}/actions/updateUserPassword"),
                json!({ "password": "correct horse" }),
            ),
            (
                "POST",
                format!("/users/{eve}/actions/addUserToOrganizationalUnits"),
                json!({ "organizationalUnitIds": [north] }),
            ),
            (
                "POST",
                format!("/users/{eve}/actions/setUserPrimaryOrganizationalUnit"),
                json!({ "organizationalUnitId": north }),
            ),
            (
                "GET",
                format!("/users/{eve}/actions/listGroupsForUser"),
                Value::Null,
            ),
            (
                "POST",
                "/users/_/actions/getUserIdByUsername".to_owned(),
                json!({ "username": "eve" }),
            ),
            (
                "POST",
                "/users/_/actions/getUserIdByExternalId".to_owned(),
                json!({ "userExternalId": eve }),
            ),
            (
                "POST",
                format!("/users/{eve}/actions/removeUserFromOrganizationalUnits"),
                json!({ "organizationalUnitIds": [other] }),
            ),
            (
                "POST",
                format!("/groups/{staff}/actions/addUsersToGroup"),
                json!({ "userIds": [eve] }),
            ),
        ] {
            wiki.refused(method, &path, body, nobody).await;
        }
        let nowhere = "ResourceNotFound.OrganizationalUnit";
        for (method, path, body) in [
            ("GET", format!("/organizationalUnits/{other}"), Value::Null),
            (
                "POST",
                format!("/users/{bob}/actions/removeUserFromOrganizationalUnits"),
                json!({ "organizationalUnitIds": [other] }),
            ),
            (
                "GET",
                format!("/organizationalUnits?parentId={other}"),
                Value::Null,
            ),
            ("GET", format!("/organizationalUnits/{ROOT_UNIT}"), Value::Null),
            (
                "PATCH",
                format!("/organizationalUnits/{other}"),
                json!({ "organizationalUnitName": "Mine" }),
            ),
            (
                "PATCH",
                format!("/organizationalUnits/{north}/parentId"),
                json!({ "parentId": other }),
            ),
            ("DELETE", format!("/organizationalUnits/{other}"), Value::Null),
            ("GET", format!("/users?organizationalUnitId={other}"), Value::Null),
            (
                "POST",
                "/users".to_owned(),
                json!({ "username": "new", "primaryOrganizationalUnitId": other }),
            ),
            (
                "POST",
                "/organizationalUnits".to_owned(),
                json!({ "organizationalUnitName": "New", "parentId": ROOT_UNIT }),
            ),
            (
                "POST",
                format!("/users/{ada}/actions/addUserToOrganizationalUnits"),
                json!({ "organizationalUnitIds": [other] }),
            ),
        ] {
            wiki.refused(method, &path, body, nowhere).await;
        }
        for (method, path) in [
            ("GET", format!("/groups/{hidden}")),
            ("DELETE", format!("/groups/{hidden}")),
            ("GET", format!("/groups/{hidden}/actions/listUsersForGroup")),
        ] {
            wiki.refused(method, &path, Value::Null, "ResourceNotFound.Group")
                .await;
        }
        // Whoever has the name is not named, and a group has no place in a part of the directory.
        let said = wiki
            .call(
                "POST",
                "/users",
                json!({ "username": "EVE", "primaryOrganizationalUnitId": north }),
            )
            .await;
        assert_eq!(said.body["code"], "ResourceDuplicated.Username");
        assert!(!said.text("message").contains(&eve), "{}", said.body);
        wiki.refused(
            "POST",
            "/groups",
            json!({ "groupName": "New" }),
            "OperationDenied.OutsideScope",
        )
        .await;
        // Bob would be outside without the group.
        let leave = json!({ "userIds": [bob] });
        wiki.refused(
            "POST",
            &format!("/groups/{staff}/actions/removeUsersFromGroup"),
            leave,
            "OperationDenied.OutsideScope",
        )
        .await;
        let eve_now = hub
            .db
            .read(move |tx| query::find_user(tx, "eve"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((eve_now.display_name.as_str(), eve_now.enabled), ("eve ☃", true));
    });
}

#[test]
fn what_an_administrator_takes_away_is_gone_with_the_next_call() {
    on_each("developer_narrowed", |site| async move {
        let hub = &site.hub;
        let sales = make(hub, unit("Sales", ROOT_UNIT)).await;
        let other = make(hub, unit("Other", ROOT_UNIT)).await;
        let ada = make(hub, Command::CreateUser(new_user("ada", &sales))).await;
        let wiki = Developer::of(&site, "Wiki", Scope::everything()).await;
        let change = json!({ "displayName": "Ada" });
        assert_eq!(
            wiki.call("PATCH", &format!("/users/{ada}"), change.clone())
                .await
                .status,
            200
        );
        let narrow = Scope {
            organizational_unit_ids: [other.clone()].into(),
            ..Scope::default()
        };
        let edit = rollcall::application::ScopeEdit::to(&narrow);
        let id = wiki.application.id.clone();
        let caller = rollcall::access::Caller::system("test");
        rollcall::delivery::job::change_scope(hub, caller, &id, edit, None)
            .await
            .unwrap();
        wiki.refused("PATCH", &format!("/users/{ada}"), change, "ResourceNotFound.User")
            .await;
        assert_eq!(wiki.get("/users").await.body["totalCount"], 0);
        let new = json!({ "username": "bob", "primaryOrganizationalUnitId": other });
        wiki.make("/users", new, "userId").await;
        assert_eq!(wiki.get("/users").await.body["totalCount"], 1);
    });
}

#[test]
fn absent_is_unchanged_and_empty_is_cleared() {
    on_each("developer_patch", |site| async move {
        let wiki = Developer::of(&site, "Wiki", Scope::everything()).await;
        let new = json!({
            "username": "ada", "primaryOrganizationalUnitId": ROOT_UNIT, "email": "ada@example.org",
            "phoneRegion": "86", "phoneNumber": "13900000001", "displayName": "Ada",
            "customFields": [{ "fieldName": "desk", "fieldValue": "12" }], "unknown": { "of": "later" },
        });
        let ada = wiki.make("/users", new, "userId").await;
        let path = format!("/users/{ada}");
        let now = async || wiki.get(&path).await.body;
        let before = now().await;
        for nothing in [
            json!({}),
            json!({ "email": null, "displayName": null, "customFields": null }),
            Value::Null,
        ] {
            assert_eq!(wiki.call("PATCH", &path, nothing).await.status, 200);
            assert_eq!(now().await, before);
        }
        assert_eq!(
            wiki.call("PATCH", &path, json!({ "email": "" })).await.status,
            200
        );
        let after = now().await;
        assert_eq!(
            (&after["email"], &after["phoneNumber"]),
            (&Value::Null, &json!("13900000001"))
        );
        let gone = json!({ "phoneNumber": "", "phoneRegion": "" });
        assert_eq!(wiki.call("PATCH", &path, gone).await.status, 200);
        assert_eq!(now().await["phoneNumber"], Value::Null);
        for (body, code) in [
            (json!({ "displayName": "" }), "MissingParameter.DisplayName"),
            (json!({ "email": 7 }), "InvalidParameter.Email"),
            (
                json!({ "emailVerified": "yes" }),
                "InvalidParameter.EmailVerified",
            ),
            (
                json!({ "customFields": [{ "fieldName": "x", "operation": "eat" }] }),
                "InvalidParameter.Operation",
            ),
            (json!({ "customFields": "x" }), "InvalidParameter.CustomFields"),
            (json!([]), "InvalidBody"),
        ] {
            wiki.refused("PATCH", &path, body, code).await;
        }
        let broken = wiki
            .send(
                "PATCH",
                &wiki.path(&path),
                &[("authorization", format!("Bearer {}", wiki.token))],
                "{\"password\": \"hunter2".to_owned(),
            )
            .await;
        assert_eq!(broken.body["code"], "InvalidBody");
        assert!(!broken.text("message").contains("hunter2"));
    });
}
