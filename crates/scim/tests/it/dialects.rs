//! What the large identity providers send, written from their documentation, and what is made of it.

use rollcall_scim::patch::{Member, Members};
use rollcall_scim::schema::{group, user};
use rollcall_scim::{Error, Filter, GroupChange, Object, Patch, Strictness};
use serde_json::{Value, json};

use crate::{ENTERPRISE, barbara, body, patched};

fn leniently(operations: Value) -> Object {
    patched(&barbara(), operations.clone(), Strictness::Lenient)
        .unwrap_or_else(|error| panic!("{operations}: {error}"))
}

fn planned(operations: Value) -> Result<GroupChange, Error> {
    GroupChange::plan(&Patch::read(body(operations), group(), Strictness::Lenient)?)
}

fn members(add: &[&str], remove: &[&str]) -> Members {
    Members::Change {
        add: add.iter().map(|&id| Member::user(id)).collect(),
        remove: remove.iter().map(|&id| id.to_owned()).collect(),
    }
}

/// A dialect, and the same as the standard has it.
#[test]
fn users_of_entra_and_okta() {
    for (dialect, standard) in [
        // Entra ID without its flag.
        (
            json!([{ "op": "Replace", "path": "active", "value": "False" }]),
            json!([{ "op": "replace", "path": "active", "value": false }]),
        ),
        (
            json!([{ "op": "Add", "path": "nickName", "value": "Babs" }]),
            json!([{ "op": "add", "path": "nickName", "value": "Babs" }]),
        ),
        (
            json!([
                { "op": "Replace", "path": "displayName", "value": "Pvlo" },
                { "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "t@example.com" },
                { "op": "Replace", "path": "name.familyName", "value": "Pkqf" },
                { "op": "Add", "path": format!("{ENTERPRISE}:employeeNumber"), "value": 4711 },
            ]),
            json!([
                { "op": "replace", "path": "displayName", "value": "Pvlo" },
                { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "t@example.com" },
                { "op": "replace", "path": "name.familyName", "value": "Pkqf" },
                { "op": "replace", "path": format!("{ENTERPRISE}:employeeNumber"), "value": "4711" },
            ]),
        ),
        // A value that is not there yet is made by what selects it.
        (
            json!([
                { "op": "Add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "+1 555" },
                { "op": "Add", "path": "emails[type eq \"other\" and primary eq false].value", "value": "o@x.example" },
                { "op": "Add", "path": "addresses[type eq \"work\"].country", "value": "DE" },
                { "op": "Add", "path": "addresses[type eq \"work\"].locality", "value": "Bonn" },
            ]),
            json!([
                { "op": "add", "path": "phoneNumbers", "value": [{ "value": "+1 555", "type": "mobile" }] },
                { "op": "add", "path": "emails", "value": [{ "value": "o@x.example", "type": "other", "primary": false }] },
                { "op": "add", "path": "addresses", "value": [{ "type": "work", "country": "DE", "locality": "Bonn" }] },
            ]),
        ),
        // The manager as the plain id.
        (
            json!([{ "op": "Add", "path": format!("{ENTERPRISE}:manager"), "value": "42" }]),
            json!([{ "op": "add", "path": format!("{ENTERPRISE}:manager"), "value": { "value": "42" } }]),
        ),
        (
            json!([{ "op": "Replace", "path": "roles[primary eq \"True\"].value", "value": "Admin" }]),
            json!([{ "op": "add", "path": "roles", "value": [{ "value": "Admin", "primary": true }] }]),
        ),
        // Entra ID with aadOptscim062020.
        (
            json!([
                { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "t@example.com" },
                { "op": "replace", "value": {
                    "displayName": "Bjfe",
                    "name.givenName": "Kkom",
                    "name.familyName": "Unua",
                    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber": "Aklq",
                } },
            ]),
            json!([
                { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "t@example.com" },
                { "op": "replace", "value": {
                    "displayName": "Bjfe",
                    "name": { "givenName": "Kkom", "familyName": "Unua" },
                    ENTERPRISE: { "employeeNumber": "Aklq" },
                } },
            ]),
        ),
        // Okta: deactivation without a path.
        (
            json!([{ "op": "replace", "value": { "active": false } }]),
            json!([{ "op": "replace", "path": "active", "value": false }]),
        ),
        // What is unknown or set by the service provider alone is left out.
        (
            json!([
                { "op": "replace", "value": { "id": "x", "meta": {}, "schemas": ["x"], "shoeSize": 9, "a..b": 1, "title": "T" } },
                { "op": "replace", "path": "shoeSize", "value": 9 },
            ]),
            json!([{ "op": "replace", "path": "title", "value": "T" }]),
        ),
        // One value where a list is wanted, and the other way round; values to remove as a list.
        (
            json!([
                { "op": "ADD", "path": "phoneNumbers", "value": { "value": "1", "type": "work" } },
                { "op": "replace", "path": "title", "value": [{ "value": "T" }] },
                { "op": "remove", "path": "emails", "value": [{ "value": "babs@jensen.example" }] },
            ]),
            json!([
                { "op": "add", "path": "phoneNumbers", "value": [{ "value": "1", "type": "work" }] },
                { "op": "replace", "path": "title", "value": "T" },
                { "op": "remove", "path": "emails[value eq \"babs@jensen.example\"]" },
            ]),
        ),
    ] {
        let standard = patched(&barbara(), standard, Strictness::Strict).unwrap();
        assert_eq!(leniently(dialect.clone()), standard, "{dialect}");
    }
}

#[test]
fn what_is_left_out_is_told() {
    let operations = json!([{ "op": "replace", "value": { "id": "x", "shoeSize": 9, "title": "T" } }]);
    let patch = Patch::read(body(operations), user(), Strictness::Lenient).unwrap();
    let mut ignored = patch.ignored.clone();
    ignored.sort();
    assert_eq!(ignored, ["id", "shoeSize"]);
}

#[test]
fn a_selection_that_says_nothing_of_a_new_value_makes_none() {
    for path in [
        "emails[type eq \"pager\" or type eq \"fax\"].value",
        "emails[not (type pr)].value",
        "emails[type sw \"p\"].value",
        "emails[color eq \"red\"].value",
        "emails[value eq \"x\"].value",
    ] {
        let operations = json!([{ "op": "add", "path": path, "value": "y" }]);
        let error = patched(&barbara(), operations, Strictness::Lenient).unwrap_err();
        assert_eq!(error.scim_type.unwrap().as_str(), "noTarget", "{path}");
    }
}

#[test]
fn what_cannot_be_understood_is_refused_by_all() {
    for (operations, kind) in [
        (json!([{ "op": "move" }]), "invalidSyntax"),
        (
            json!([{ "op": "replace", "path": "active", "value": "perhaps" }]),
            "invalidValue",
        ),
        (
            json!([{ "op": "replace", "path": "emails[type is].value", "value": "x" }]),
            "invalidFilter",
        ),
        (
            json!([{ "op": "replace", "path": "id", "value": "x" }]),
            "mutability",
        ),
        (json!([{ "op": "remove", "path": "userName" }]), "mutability"),
        (json!([{ "op": "remove" }]), "noTarget"),
        (json!([{ "op": "add", "path": "title" }]), "invalidValue"),
        (
            json!([{ "op": "add", "path": "title", "value": ["a", "b"] }]),
            "invalidValue",
        ),
    ] {
        let error = patched(&barbara(), operations.clone(), Strictness::Lenient).unwrap_err();
        assert_eq!(error.scim_type.unwrap().as_str(), kind, "{operations}");
    }
}

#[test]
fn the_question_of_entra_by_a_selected_value() {
    let text = r#"emails[type eq "work"].value eq "bjensen@example.com""#;
    assert!(
        Filter::parse(text, Strictness::Lenient)
            .unwrap()
            .matches(&barbara(), user())
    );
    assert!(Filter::parse(text, Strictness::Strict).is_err());
}

#[test]
fn members_come_and_go_in_every_dialect() {
    for (operations, expected) in [
        // Entra ID without its flag.
        (
            json!([{ "op": "Add", "path": "members", "value": [{ "$ref": null, "value": "u1" }] }]),
            members(&["u1"], &[]),
        ),
        (
            json!([{ "op": "Remove", "path": "members", "value": [{ "$ref": null, "value": "u1" }] }]),
            members(&[], &["u1"]),
        ),
        // With it.
        (
            json!([{ "op": "remove", "path": "members[value eq \"u1\"]" }]),
            members(&[], &["u1"]),
        ),
        (
            json!([{ "op": "remove", "path": "members[value eq \"u1\" or value eq \"u2\"]" }]),
            members(&[], &["u1", "u2"]),
        ),
        // Okta.
        (
            json!([
                { "op": "remove", "path": "members[value eq \"u1\"]" },
                { "op": "add", "path": "members", "value": [{ "value": "u2", "display": "two@example.com" }] },
            ]),
            members(&["u2"], &["u1"]),
        ),
        (
            json!([{ "op": "replace", "path": "members", "value": [{ "value": "u1", "display": "one" }] }]),
            Members::Replace(vec![Member::user("u1")]),
        ),
        (
            json!([{ "op": "add", "path": "members", "value": "u1" }]),
            members(&["u1"], &[]),
        ),
        (
            json!([{ "op": "add", "value": { "members": [{ "value": "u1" }, { "value": "u1" }] } }]),
            members(&["u1"], &[]),
        ),
        // Nobody is removed by a list of nobody.
        (
            json!([{ "op": "remove", "path": "members", "value": [] }]),
            members(&[], &[]),
        ),
        (
            json!([{ "op": "remove", "path": "members" }]),
            Members::Replace(vec![]),
        ),
        (
            json!([{ "op": "replace", "path": "members", "value": [] }]),
            Members::Replace(vec![]),
        ),
    ] {
        let change = planned(operations.clone()).unwrap_or_else(|error| panic!("{operations}: {error}"));
        assert_eq!(change.members, expected, "{operations}");
    }
}

#[test]
fn the_name_of_a_group_of_okta() {
    let operations =
        json!([{ "op": "replace", "value": { "id": "abf4dd94", "displayName": "Test SCIMv2" } }]);
    let expected = GroupChange {
        display_name: Some("Test SCIMv2".to_owned()),
        ..GroupChange::default()
    };
    assert_eq!(planned(operations.clone()).unwrap(), expected);
    let strict = Patch::read(body(operations), group(), Strictness::Strict).unwrap_err();
    assert_eq!(strict.scim_type.unwrap().as_str(), "mutability");
}
