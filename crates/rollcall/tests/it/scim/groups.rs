//! Groups: their names, who is in them, and what a change costs.

use rollcall::access::Caller;
use rollcall::directory::{Command, query};
use rollcall::id::ROOT_UNIT;
use serde_json::{Value, json};

use super::{End, changes};
use crate::access::{Said, Site, on_each};
use crate::world::new_user;

fn patch(operations: Value) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations })
}

fn listed(ids: &[&String]) -> Value {
    ids.iter().map(|id| json!({ "value": id })).collect()
}

/// The ids of the members that an answer names.
fn members(said: &Said) -> Vec<String> {
    let members = said.body["members"].as_array().into_iter().flatten();
    let mut ids: Vec<String> = members
        .map(|member| member["value"].as_str().unwrap().to_owned())
        .collect();
    ids.sort_unstable();
    ids
}

async fn in_directory(site: &Site, group: &str) -> Vec<String> {
    let group = group.to_owned();
    let reading = site.hub.db.read(move |tx| query::group_members(tx, &group));
    reading.await.unwrap()
}

async fn apply(site: &Site, command: Command) -> String {
    site.hub.apply(Caller::system("test"), command).await.unwrap().id
}

#[test]
fn a_group_is_made_read_changed_and_deleted() {
    on_each("scim_group", |site| async move {
        let end = End::of(&site, "Okta", Value::Null).await;
        let (ada, bob) = (end.user("ada").await, end.user("bob").await);
        let new = json!({ "displayName": "Staff", "externalId": "g1", "members": listed(&[&ada]) });
        let made = end.ask("POST", "/Groups", new).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let id = made.text("id");
        let base = format!("http://{}/scim/v2/{}", site.address, end.connection.id);
        assert_eq!(
            made.body["members"],
            json!([{ "value": ada, "$ref": format!("{base}/Users/{ada}"), "type": "User" }])
        );
        assert_eq!(made.headers["location"], format!("{base}/Groups/{id}").as_str());
        let path = format!("/Groups/{id}");
        assert_eq!(end.get(&path).await.body, made.body);
        let user = end.get(&format!("/Users/{ada}")).await.body;
        assert_eq!(user["groups"][0]["value"], id.as_str());
        assert_eq!(user["groups"][0]["display"], "Staff");

        let without = end.get(&format!("{path}?excludedAttributes=members")).await;
        assert!(without.body.get("members").is_none() && without.body["displayName"] == "Staff");
        let tag = made.headers["etag"].to_str().unwrap().to_owned();
        let add = patch(json!([{ "op": "add", "path": "members", "value": listed(&[&bob]) }]));
        let held = [("if-match", tag)];
        let added = end.ask_with("PATCH", &path, &held, &add).await;
        assert_eq!((added.status, members(&added)), (200, sorted(&[&ada, &bob])));
        let late = end.ask_with("PATCH", &path, &held, &add).await;
        assert_eq!(late.status, 412, "who joins makes a new version");
        let again = end.ask("PATCH", &path, add).await;
        assert_eq!(again.body, added.body, "who is in it already joins once");

        let renamed = json!({ "displayName": "All staff", "members": listed(&[&bob]) });
        let put = end.ask("PUT", &path, renamed).await;
        assert_eq!((put.status, members(&put)), (200, vec![bob.clone()]));
        assert!(put.body.get("externalId").is_none(), "{}", put.body);
        let unsaid = end.ask("PUT", &path, json!({ "displayName": "Staff" })).await;
        assert_eq!(members(&unsaid), sorted(&[&bob]), "of members nothing was said");
        let nobody = end
            .ask("PUT", &path, json!({ "displayName": "Staff", "members": [] }))
            .await;
        assert!(members(&nobody).is_empty());
        let kinds: Vec<String> = changes(&site, &id)
            .await
            .into_iter()
            .map(|(kind, _)| kind)
            .collect();
        assert_eq!(
            kinds,
            [
                "ud:group:create",
                "ud:group:add_user",
                "ud:group:add_user",
                "ud:group:update",
                "ud:group:remove_user",
                "ud:group:update",
                "ud:group:remove_user",
            ]
        );
        assert_eq!(end.ask("DELETE", &path, Value::Null).await.status, 204);
        assert_eq!(end.get(&path).await.status, 404);
    });
}

fn sorted(ids: &[&String]) -> Vec<String> {
    let mut ids: Vec<String> = ids.iter().map(|id| (*id).clone()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn members_come_and_go_in_every_way_that_clients_know() {
    on_each("scim_members", |site| async move {
        let end = End::of(&site, "Entra", Value::Null).await;
        let (ada, bob, eve) = (
            end.user("ada").await,
            end.user("bob").await,
            end.user("eve").await,
        );
        let id = end.make("/Groups", json!({ "displayName": "Staff" })).await;
        let path = format!("/Groups/{id}");
        let by_filter = format!("members[value eq \"{ada}\"]");
        for (operation, expected) in [
            (
                json!({ "op": "Add", "path": "members", "value": [{ "$ref": null, "value": ada }] }),
                vec![&ada],
            ),
            (
                json!({ "op": "add", "value": { "members": listed(&[&bob]) } }),
                vec![&ada, &bob],
            ),
            (
                json!({ "op": "Remove", "path": "members", "value": [{ "$ref": null, "value": bob }] }),
                vec![&ada],
            ),
            (json!({ "op": "remove", "path": by_filter }), vec![]),
            (json!({ "op": "remove", "path": by_filter }), vec![]),
            (
                json!({ "op": "replace", "path": "members", "value": listed(&[&bob, &eve]) }),
                vec![&bob, &eve],
            ),
            (
                json!({ "op": "replace", "value": { "id": id, "displayName": "Crew" } }),
                vec![&bob, &eve],
            ),
            (json!({ "op": "remove", "path": "members" }), vec![]),
        ] {
            let said = end.ask("PATCH", &path, patch(json!([operation]))).await;
            assert_eq!(
                (said.status, members(&said)),
                (200, sorted(&expected)),
                "{operation}: {}",
                said.body
            );
            assert_eq!(in_directory(&site, &id).await, sorted(&expected));
        }
        assert_eq!(end.get(&path).await.body["displayName"], "Crew");
        for operation in [
            json!({ "op": "add", "path": "members", "value": [{ "value": "user_nobody" }] }),
            json!({ "op": "add", "path": "members", "value": [{ "value": id, "type": "Group" }] }),
        ] {
            let said = end.ask("PATCH", &path, patch(json!([operation]))).await;
            assert_eq!(
                (said.status, &said.body["scimType"]),
                (400, &json!("invalidValue")),
                "{operation}"
            );
        }
    });
}

#[test]
fn groups_and_members_of_others_do_not_exist_for_a_connection() {
    on_each("scim_foreign_members", |site| async move {
        let end = End::of(&site, "Okta", Value::Null).await;
        let ada = end.user("ada").await;
        let bob = apply(&site, Command::CreateUser(new_user("bob", ROOT_UNIT))).await;
        let ours = crate::plain::group(&site.hub, "Ours").await;
        let group_id = end.make("/Groups", json!({ "displayName": "Theirs" })).await;
        for id in [&ours, &group_id] {
            let user_ids = vec![ada.clone(), bob.clone()];
            let group_id = id.clone();
            apply(&site, Command::AddMembers { group_id, user_ids }).await;
        }
        assert_eq!(end.get(&format!("/Groups/{ours}")).await.status, 404);
        assert_eq!(end.found("/Groups").await, (vec![group_id.clone()], 1));
        let user = end.get(&format!("/Users/{ada}")).await.body;
        assert_eq!(user["groups"].as_array().unwrap().len(), 1);
        let path = format!("/Groups/{group_id}");
        assert_eq!(members(&end.get(&path).await), sorted(&[&ada]));
        // Whom it does not see it does not remove.
        let all = patch(json!([{ "op": "replace", "path": "members", "value": [] }]));
        assert!(members(&end.ask("PATCH", &path, all).await).is_empty());
        assert_eq!(in_directory(&site, &group_id).await, sorted(&[&bob]));
        let add = patch(json!([{ "op": "add", "path": "members", "value": listed(&[&bob]) }]));
        assert_eq!(end.ask("PATCH", &path, add).await.status, 400);
        let taken = end.ask("POST", "/Groups", json!({ "displayName": "ours" })).await;
        assert_eq!(
            (taken.status, &taken.body["scimType"]),
            (409, &json!("uniqueness"))
        );
    });
}

#[test]
fn one_more_member_costs_the_same_in_a_group_of_any_size() {
    on_each("scim_one_member", |site| async move {
        let end = End::of(&site, "Okta", Value::Null).await;
        let mut costs = Vec::new();
        for size in [3, 900] {
            let mut ids = Vec::new();
            for portion in 0..size / 300 + 1 {
                let operations: Vec<Value> = (0..size.min(300))
                    .map(|number| {
                        let name = format!("u{size}-{portion}-{number}");
                        json!({ "method": "POST", "path": "/Users", "bulkId": name, "data": { "userName": name } })
                    })
                    .collect();
                let bulk = json!({
                    "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations,
                });
                let said = end.ask("POST", "/Bulk", bulk).await;
                for operation in said.body["Operations"].as_array().unwrap() {
                    let location = operation["location"].as_str().unwrap();
                    ids.push(location.rsplit('/').next().unwrap().to_owned());
                }
            }
            let last = ids.pop().unwrap();
            let all: Vec<&String> = ids.iter().collect();
            let name = format!("Group of {size}");
            let new = json!({ "displayName": name, "members": listed(&all) });
            let group = end.make("/Groups", new).await;
            let path = format!("/Groups/{group}");
            let add = patch(json!([{ "op": "add", "path": "members", "value": listed(&[&last]) }]));
            costs.push(end.statements("PATCH", &path, add.clone()).await);
            if size > 100 {
                // It is not read after each change either, unless somebody says what of it.
                let said = end.ask("PATCH", &path, add.clone()).await;
                assert_eq!((said.status, said.body), (204, Value::Null));
                let named = format!("{path}?excludedAttributes=members");
                let said = end.ask("PATCH", &named, add).await;
                assert_eq!((said.status, &said.body["displayName"]), (200, &json!(name)));
            }
            assert_eq!(members(&end.get(&path).await).len(), ids.len() + 1);
            let whole = json!({ "displayName": name, "members": listed(&all) });
            let put = end.ask("PUT", &path, whole).await;
            assert_eq!((put.status, members(&put).len()), (200, ids.len()));
        }
        assert!(costs[1] <= costs[0] && costs[0] < 30, "{costs:?}");
    });
}
