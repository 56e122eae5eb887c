//! PATCH as the standard has it.

use rollcall_scim::schema::user;
use rollcall_scim::{Object, Patch, ScimType, Strictness};
use serde_json::{Value, json};

use crate::{ENTERPRISE, barbara, body, refused, strictly};

#[test]
fn adding() {
    let before = barbara();
    let after = strictly(
        &before,
        json!([
            { "op": "add", "value": { "nickName": "Babs", "emails": [{ "value": "b@x.example", "type": "other" }] } },
            { "op": "add", "path": "name", "value": { "middleName": "Jane" } },
            { "op": "add", "path": "name.honorificPrefix", "value": "Ms." },
            { "op": "add", "path": format!("{ENTERPRISE}:department"), "value": "Tours" },
            { "op": "add", "path": "urn:ietf:params:scim:schemas:core:2.0:User:userType", "value": "Guide" },
            { "op": "add", "path": "emails[type eq \"home\"]", "value": { "display": "at home" } },
        ]),
    );
    assert_eq!(after["nickName"], "Babs");
    assert_eq!(
        after["name"],
        json!({ "familyName": "Jensen", "givenName": "Barbara", "middleName": "Jane", "honorificPrefix": "Ms." })
    );
    assert_eq!(after["userType"], "Guide");
    assert_eq!(after[ENTERPRISE]["department"], "Tours");
    assert_eq!(after[ENTERPRISE]["employeeNumber"], "701984");
    assert_eq!(
        after["emails"],
        json!([
            { "value": "bjensen@example.com", "type": "work", "primary": true },
            { "value": "babs@jensen.example", "type": "home", "display": "at home" },
            { "value": "b@x.example", "type": "other" },
        ])
    );
}

#[test]
fn what_is_there_is_not_added_twice() {
    let before = barbara();
    for operation in [
        json!({ "op": "add", "path": "emails", "value": [{ "value": "BABS@jensen.example", "type": "home" }] }),
        json!({ "op": "add", "path": "emails", "value": [{ "value": "babs@jensen.example" }] }),
        json!({ "op": "add", "path": "title", "value": "Tour Guide" }),
        json!({ "op": "add", "value": { "name": { "givenName": "Barbara" } } }),
    ] {
        let mut after = strictly(&before, json!([operation]));
        // The spelling of the value is the last that was given.
        after["emails"][1]["value"] = "babs@jensen.example".into();
        assert_eq!(after, before, "{operation}");
    }
}

#[test]
fn there_is_one_preferred_value() {
    let before = barbara();
    let primaries = |after: &Object| {
        let emails = after["emails"].as_array().unwrap().iter();
        emails
            .filter(|email| email["primary"] == true)
            .map(|email| email["value"].clone())
            .collect::<Vec<Value>>()
    };
    let new = json!({ "value": "new@x.example", "primary": true });
    for operation in [
        json!({ "op": "add", "path": "emails", "value": [new] }),
        json!({ "op": "replace", "path": "emails[type eq \"home\"]", "value": new }),
    ] {
        assert_eq!(
            primaries(&strictly(&before, json!([operation]))),
            ["new@x.example"]
        );
    }
    let home = json!([{ "op": "replace", "path": "emails[type eq \"home\"].primary", "value": true }]);
    assert_eq!(primaries(&strictly(&before, home)), ["babs@jensen.example"]);
    let both = json!([{ "op": "replace", "path": "emails", "value": [new, new] }]);
    assert_eq!(refused(&before, both, Strictness::Strict), ScimType::InvalidValue);
}

#[test]
fn replacing() {
    let before = barbara();
    let after = strictly(
        &before,
        json!([
            { "op": "replace", "value": { "title": "Chief", "name": { "givenName": "B." } } },
            { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "b@example.com" },
            { "op": "replace", "path": "emails[type eq \"home\"]", "value": { "value": "h@x.example", "type": "home" } },
            { "op": "replace", "path": "nickName", "value": "Babs" },
            { "op": "replace", "path": format!("{ENTERPRISE}:manager.value"), "value": "42" },
        ]),
    );
    assert_eq!(after["title"], "Chief");
    assert_eq!(after["nickName"], "Babs");
    assert_eq!(
        after["name"],
        json!({ "familyName": "Jensen", "givenName": "B." })
    );
    assert_eq!(after[ENTERPRISE]["manager"], json!({ "value": "42" }));
    assert_eq!(
        after["emails"],
        json!([
            { "value": "b@example.com", "type": "work", "primary": true },
            { "value": "h@x.example", "type": "home" },
        ])
    );
    let after = strictly(
        &before,
        json!([{ "op": "replace", "path": "emails", "value": [{ "value": "only@x.example" }] }]),
    );
    assert_eq!(after["emails"], json!([{ "value": "only@x.example" }]));
    // Nothing in the place of something is its removal.
    for nothing in [json!(null), json!([])] {
        let after = strictly(
            &before,
            json!([{ "op": "replace", "path": "emails", "value": nothing }]),
        );
        assert!(!after.contains_key("emails"));
    }
}

#[test]
fn removing() {
    let before = barbara();
    let after = strictly(
        &before,
        json!([
            { "op": "remove", "path": "title" },
            { "op": "remove", "path": "nickName" },
            { "op": "remove", "path": "name.givenName" },
            { "op": "remove", "path": "emails[type eq \"work\" and value ew \"example.com\"]" },
            { "op": "remove", "path": "emails[type eq \"nobody\"]" },
            { "op": "remove", "path": "emails[type eq \"home\"].type" },
        ]),
    );
    assert!(!after.contains_key("title"));
    assert_eq!(after["name"], json!({ "familyName": "Jensen" }));
    assert_eq!(after["emails"], json!([{ "value": "babs@jensen.example" }]));
    let after = strictly(
        &before,
        json!([
            { "op": "remove", "path": "name.givenName" },
            { "op": "remove", "path": "name.familyName" },
            { "op": "remove", "path": "emails[value pr]" },
            { "op": "remove", "path": ENTERPRISE },
        ]),
    );
    for gone in ["name", "emails", ENTERPRISE] {
        assert!(!after.contains_key(gone), "{gone}");
    }
    assert_eq!(
        after["schemas"],
        json!(["urn:ietf:params:scim:schemas:core:2.0:User"])
    );
}

#[test]
fn what_the_standard_refuses() {
    use ScimType::{InvalidFilter, InvalidPath, InvalidSyntax, InvalidValue, Mutability, NoTarget};
    let before = barbara();
    for (operations, kind) in [
        (json!([]), InvalidSyntax),
        (json!("none"), InvalidSyntax),
        (json!([5]), InvalidSyntax),
        (json!([{ "op": "move", "path": "title" }]), InvalidSyntax),
        (
            json!([{ "op": "Add", "path": "title", "value": "x" }]),
            InvalidSyntax,
        ),
        (json!([{ "path": "title", "value": "x" }]), InvalidSyntax),
        (json!([{ "op": "add", "path": "title" }]), InvalidValue),
        (json!([{ "op": "add", "value": "x" }]), InvalidValue),
        (json!([{ "op": "add", "path": 5, "value": "x" }]), InvalidPath),
        (json!([{ "op": "remove" }]), NoTarget),
        (
            json!([{ "op": "add", "path": "title..x", "value": "x" }]),
            InvalidPath,
        ),
        (
            json!([{ "op": "add", "path": "shoeSize", "value": "x" }]),
            InvalidPath,
        ),
        (
            json!([{ "op": "add", "path": "emails[type eq \"work\"].color", "value": "x" }]),
            InvalidPath,
        ),
        (
            json!([{ "op": "add", "path": "title[type eq \"x\"]", "value": "x" }]),
            InvalidPath,
        ),
        (
            json!([{ "op": "add", "path": "emails[type is 5].value", "value": "x" }]),
            InvalidFilter,
        ),
        (json!([{ "op": "add", "value": { "shoeSize": 9 } }]), InvalidValue),
        (
            json!([{ "op": "add", "value": { "name.givenName": "x" } }]),
            InvalidValue,
        ),
        (
            json!([{ "op": "add", "path": "emails", "value": [{ "color": "red" }] }]),
            InvalidValue,
        ),
        (
            json!([{ "op": "replace", "path": "active", "value": "False" }]),
            InvalidValue,
        ),
        (
            json!([{ "op": "replace", "path": "emails", "value": { "value": "x" } }]),
            InvalidValue,
        ),
        (
            json!([{ "op": "replace", "path": "title", "value": ["x"] }]),
            InvalidValue,
        ),
        (
            json!([{ "op": "replace", "path": "emails[type eq \"pager\"].value", "value": "x" }]),
            NoTarget,
        ),
        (
            json!([{ "op": "add", "path": "emails[type eq \"pager\"]", "value": { "value": "x" } }]),
            NoTarget,
        ),
        (
            json!([{ "op": "replace", "path": "phoneNumbers.value", "value": "x" }]),
            NoTarget,
        ),
        (
            json!([{ "op": "remove", "path": "emails", "value": [{ "value": "x" }] }]),
            InvalidValue,
        ),
        (
            json!([{ "op": "replace", "path": "id", "value": "x" }]),
            Mutability,
        ),
        (json!([{ "op": "replace", "value": { "id": "x" } }]), Mutability),
        (
            json!([{ "op": "replace", "path": "meta.created", "value": "x" }]),
            Mutability,
        ),
        (json!([{ "op": "remove", "path": "groups" }]), Mutability),
        (json!([{ "op": "remove", "path": "userName" }]), Mutability),
        (
            json!([{ "op": "replace", "path": "userName", "value": "" }]),
            InvalidValue,
        ),
        (
            json!([{ "op": "replace", "path": "userName", "value": null }]),
            Mutability,
        ),
    ] {
        assert_eq!(
            refused(&before, operations.clone(), Strictness::Strict),
            kind,
            "{operations}"
        );
    }
    let without_schema = json!({ "Operations": [{ "op": "remove", "path": "title" }] });
    let error = Patch::read(without_schema, user(), Strictness::Strict).unwrap_err();
    assert_eq!(error.scim_type, Some(InvalidSyntax));
}

#[test]
fn all_is_done_or_nothing_and_the_operation_is_named() {
    let before = barbara();
    let operations = json!([{ "op": "remove", "path": "title" }, { "op": "remove", "path": "userName" }]);
    let error = Patch::read(body(operations), user(), Strictness::Strict)
        .unwrap()
        .apply(&before, user())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "400 (mutability): operation 2: userName must not be removed"
    );
    assert_eq!(before, barbara());
}

#[test]
fn what_never_changes_can_be_set_once() {
    use rollcall_scim::schema::{Attribute, Mutability};
    let mut types = user().clone();
    types
        .schema
        .attributes
        .push(Attribute::text("badge", "The badge.").mutability(Mutability::Immutable));
    let patch = |operation: Value| Patch::read(body(json!([operation])), &types, Strictness::Strict).unwrap();
    let set = patch(json!({ "op": "add", "path": "badge", "value": "7" }));
    let with_badge = set.apply(&barbara(), &types).unwrap();
    assert_eq!(with_badge["badge"], "7");
    assert_eq!(set.apply(&with_badge, &types).unwrap(), with_badge);
    for operation in [
        json!({ "op": "replace", "path": "badge", "value": "8" }),
        json!({ "op": "remove", "path": "badge" }),
    ] {
        let error = patch(operation).apply(&with_badge, &types).unwrap_err();
        assert_eq!(error.scim_type, Some(ScimType::Mutability));
    }
}

#[test]
fn the_difference_of_two_users_makes_one_of_the_other() {
    let before = barbara();
    let mut after = before.clone();
    after.remove("title");
    after.remove(ENTERPRISE);
    after["schemas"] = json!(["urn:ietf:params:scim:schemas:core:2.0:User"]);
    after["active"] = false.into();
    after["name"] = json!({ "familyName": "Jensen", "middleName": "J." });
    after.insert("nickName".to_owned(), "Babs".into());
    let patch = Patch::between(&before, &after, user());
    assert_eq!(patch.apply(&before, user()).unwrap(), after);
    let mut operations = patch.to_json()["Operations"].as_array().unwrap().clone();
    operations.sort_by_key(|operation| operation["path"].to_string());
    assert_eq!(
        operations,
        [
            json!({ "op": "replace", "path": "active", "value": false }),
            json!({ "op": "remove", "path": "name.givenName" }),
            json!({ "op": "replace", "path": "name.middleName", "value": "J." }),
            json!({ "op": "replace", "path": "nickName", "value": "Babs" }),
            json!({ "op": "remove", "path": "title" }),
            json!({ "op": "remove", "path": ENTERPRISE }),
        ]
    );
    assert_eq!(
        Patch::read(patch.to_json(), user(), Strictness::Strict)
            .unwrap()
            .operations,
        patch.operations
    );
    assert_eq!(Patch::between(&after, &after, user()), Patch::default());
}

/// What a client sends may not cost more than it is worth, and the members of a group are not looked at.
#[test]
fn the_number_of_values_is_bounded() {
    use rollcall_scim::schema::{VALUES_LIMIT, group};
    let list = |count: usize| {
        (0..count)
            .map(|number| json!({ "value": number.to_string() }))
            .collect::<Vec<_>>()
    };
    let add = |values: Vec<Value>| json!([{ "op": "add", "path": "roles", "value": values }]);
    let full = strictly(&barbara(), add(list(VALUES_LIMIT)));
    let one_more = add(vec![json!({ "value": "x" })]);
    assert_eq!(
        refused(&full, one_more, Strictness::Strict),
        ScimType::InvalidValue
    );
    assert_eq!(
        refused(&barbara(), add(list(VALUES_LIMIT + 1)), Strictness::Strict),
        ScimType::InvalidValue
    );
    let many = json!([{ "op": "add", "path": "members", "value": list(100_000) }]);
    Patch::read(body(many), group(), Strictness::Strict).unwrap();
}
