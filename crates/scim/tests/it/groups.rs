//! Changes of groups, which cost what they name.

use rollcall_scim::patch::{Member, MemberKind, Members, Removal};
use rollcall_scim::schema::group;
use rollcall_scim::{Error, GroupChange, Patch, Strictness};
use serde_json::{Value, json};

use crate::body;

fn planned(operations: Value) -> Result<GroupChange, Error> {
    GroupChange::plan(&Patch::read(body(operations), group(), Strictness::Strict)?)
}

#[test]
fn the_last_word_on_a_member_counts() {
    let add = |ids: Value| json!({ "op": "add", "path": "members", "value": ids });
    let of = |id: &str| json!({ "value": id });
    let remove = |id: &str| json!({ "op": "remove", "path": format!("members[value eq \"{id}\"]") });
    let change = planned(json!([
        add(json!([of("a"), of("b"), of("a")])),
        remove("b"),
        remove("c"),
        add(json!([of("c")])),
    ]))
    .unwrap();
    assert_eq!(
        change.members,
        Members::Change {
            add: vec![Member::user("a"), Member::user("c")],
            remove: vec!["b".to_owned()],
        }
    );
    let change = planned(json!([
        remove("z"),
        { "op": "replace", "path": "members", "value": [of("a"), of("b")] },
        remove("a"),
        add(json!([{ "value": "g", "type": "Group", "$ref": "../Groups/g" }])),
    ]))
    .unwrap();
    let nested = Member {
        id: "g".to_owned(),
        kind: MemberKind::Group,
    };
    assert_eq!(change.members, Members::Replace(vec![Member::user("b"), nested]));
}

#[test]
fn names_and_members_in_one_request() {
    let change = planned(json!([
        { "op": "replace", "path": "displayName", "value": "Tours" },
        { "op": "remove", "path": "externalId" },
        { "op": "add", "value": { "members": [{ "value": "a" }] } },
    ]))
    .unwrap();
    assert_eq!(change.display_name.as_deref(), Some("Tours"));
    assert_eq!(change.external_id, Some(None));
    assert!(!change.is_empty());
    for nothing in [
        json!({ "op": "add", "value": {} }),
        json!({ "op": "remove", "path": "members[value eq \"\"]" }),
    ] {
        assert!(planned(json!([nothing])).unwrap().is_empty(), "{nothing}");
    }
}

#[test]
fn what_cannot_be_said_of_a_group() {
    for (operation, kind) in [
        (json!({ "op": "remove", "path": "displayName" }), "mutability"),
        (
            json!({ "op": "remove", "path": "members[display sw \"A\"]" }),
            "invalidFilter",
        ),
        (
            json!({ "op": "remove", "path": "members[value eq \"a\" and value eq \"b\"]" }),
            "invalidFilter",
        ),
        (
            json!({ "op": "replace", "path": "members[value eq \"a\"].value", "value": "b" }),
            "invalidPath",
        ),
        (
            json!({ "op": "add", "path": "members[value eq \"a\"]", "value": { "value": "a" } }),
            "invalidPath",
        ),
        (
            json!({ "op": "add", "path": "members", "value": [{ "type": "User" }] }),
            "invalidValue",
        ),
        (
            json!({ "op": "add", "path": "members", "value": [{ "value": "a", "type": "Robot" }] }),
            "invalidValue",
        ),
        (
            json!({ "op": "add", "path": "members", "value": [{ "value": "" }] }),
            "invalidValue",
        ),
    ] {
        let error = planned(json!([operation])).unwrap_err();
        assert_eq!(error.scim_type.unwrap().as_str(), kind, "{operation}");
    }
}

#[test]
fn requests_have_few_members_each_and_mean_the_change() {
    let ids = |range: std::ops::Range<u32>| range.map(|number| format!("u{number}")).collect::<Vec<_>>();
    let users = |range: std::ops::Range<u32>| ids(range).into_iter().map(Member::user).collect::<Vec<_>>();
    for (members, count) in [
        (
            Members::Change {
                add: users(0..250),
                remove: ids(250..351),
            },
            1 + 3 + 2,
        ),
        (Members::Replace(users(0..101)), 1 + 2),
        (Members::Replace(vec![]), 1 + 1),
        (Members::default(), 1),
    ] {
        let change = GroupChange {
            display_name: Some("Tours".to_owned()),
            external_id: Some(Some("x".to_owned())),
            members,
        };
        for removal in [Removal::ByFilter, Removal::ByList] {
            let requests = change.requests(100, removal);
            assert_eq!(requests.len(), count);
            let operations: Vec<Value> = (requests.iter())
                .flat_map(|request| request["Operations"].as_array().unwrap().clone())
                .collect();
            let read = Patch::read(body(operations.into()), group(), Strictness::Lenient).unwrap();
            let mut again = GroupChange::plan(&read).unwrap();
            // Who leaves is told first.
            if let (Members::Change { add, .. }, Members::Change { add: wanted, .. }) =
                (&mut again.members, &change.members)
            {
                add.sort_by_key(|member| wanted.iter().position(|other| other == member));
            }
            assert_eq!(again, change);
        }
    }
    assert!(GroupChange::default().requests(0, Removal::ByFilter).is_empty());
}

/// One more member of a group of any size is one small request, and reading it looks at nobody else.
#[test]
fn one_more_member_is_one_small_request() {
    let change = GroupChange {
        members: Members::Change {
            add: vec![Member::user("u100001")],
            remove: vec![],
        },
        ..GroupChange::default()
    };
    let [request] = &change.requests(100, Removal::ByFilter)[..] else {
        panic!("not one request");
    };
    assert!(request.to_string().len() < 200);
    let patch = Patch::read(request.clone(), group(), Strictness::Strict).unwrap();
    assert_eq!(patch.operations.len(), 1);
    assert_eq!(GroupChange::plan(&patch).unwrap(), change);
}
