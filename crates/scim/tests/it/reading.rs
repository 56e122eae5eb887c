//! Reading whole resources.

use rollcall_scim::schema::{Attribute, Mutability, group, user};
use rollcall_scim::{Error, Object, Strictness};
use serde_json::{Value, json};

use crate::{ENTERPRISE, barbara, object};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

fn read(resource: Value, strictness: Strictness) -> Result<Object, Error> {
    user().read(resource, strictness)
}

#[test]
fn names_get_their_spelling_and_what_the_provider_sets_is_left_out() {
    let given = json!({
        "Schemas": [USER, ENTERPRISE],
        "ID": "mine",
        "USERNAME": "ada",
        "Name": { "GIVENNAME": "Ada", "familyName": null },
        "emails": [],
        "groups": [{ "value": "g" }],
        "meta": { "resourceType": "User" },
        ENTERPRISE.to_uppercase(): { "Manager": { "value": "m", "displayName": "M" } },
    });
    let expected = object(json!({
        "schemas": [USER, ENTERPRISE],
        "userName": "ada",
        "name": { "givenName": "Ada" },
        ENTERPRISE: { "manager": { "value": "m" } },
    }));
    assert_eq!(read(given.clone(), Strictness::Strict).unwrap(), expected);
    assert_eq!(read(given, Strictness::Lenient).unwrap(), expected);
}

/// What the lenient reading understands, and the strict one refuses.
#[test]
fn values_in_other_forms() {
    for (given, expected) in [
        (json!({ "active": "TRUE" }), json!({ "active": true })),
        (json!({ "title": 5 }), json!({ "title": "5" })),
        (json!({ "title": ["x"] }), json!({ "title": "x" })),
        (json!({ "title": { "value": "x" } }), json!({ "title": "x" })),
        (
            json!({ "emails": { "value": "x" } }),
            json!({ "emails": [{ "value": "x" }] }),
        ),
        (json!({ "emails": "x" }), json!({ "emails": [{ "value": "x" }] })),
        (
            json!({ "emails": ["x", { "value": "y" }] }),
            json!({ "emails": [{ "value": "x" }, { "value": "y" }] }),
        ),
        (
            json!({ "emails": [{ "value": "x", "primary": true }, { "value": "y", "primary": "true" }] }),
            json!({ "emails": [{ "value": "x", "primary": true }, { "value": "y", "primary": false }] }),
        ),
        (json!({ "shoeSize": 9 }), json!({})),
        (json!({ "name": { "nick": "x" } }), json!({})),
        (json!({ "urn:x:y": { "a": 1 } }), json!({})),
    ] {
        let mut given = object(given);
        given.insert("userName".to_owned(), "ada".into());
        given.insert("schemas".to_owned(), json!([USER]));
        let mut expected = object(expected);
        expected.insert("userName".to_owned(), "ada".into());
        expected.insert("schemas".to_owned(), json!([USER]));
        let given = Value::from(given);
        assert_eq!(
            read(given.clone(), Strictness::Lenient).unwrap(),
            expected,
            "{given}"
        );
        assert!(read(given.clone(), Strictness::Strict).is_err(), "{given}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_attribute() {
    for (given, message) in [
        (
            json!(5),
            "400 (invalidSyntax): the resource must be a JSON object",
        ),
        (json!({}), "400 (invalidValue): userName is missing"),
        (
            json!({ "userName": "" }),
            "400 (invalidValue): userName is missing",
        ),
        (
            json!({ "userName": null }),
            "400 (invalidValue): userName is missing",
        ),
        (
            json!({ "userName": ["a", "b"] }),
            "400 (invalidValue): userName must be text",
        ),
        (
            json!({ "userName": "a", "active": 1 }),
            "400 (invalidValue): active must be true or false",
        ),
        (
            json!({ "userName": "a", "name": "x" }),
            "400 (invalidValue): name must be an object",
        ),
        (
            json!({ "userName": "a", "emails": [{ "value": { "x": 1 } }] }),
            "400 (invalidValue): emails: value must be text",
        ),
        (
            json!({ "userName": "a", ENTERPRISE: { "manager": [5, 6] } }),
            "400 (invalidValue): urn:ietf:params:scim:schemas:extension:enterprise:2.0:User: manager must be an object",
        ),
        (
            json!({ "userName": "a", "x509Certificates": [{ "value": "ü" }] }),
            "400 (invalidValue): x509Certificates: value must be bytes in base64",
        ),
    ] {
        assert_eq!(
            read(given.clone(), Strictness::Lenient).unwrap_err().to_string(),
            message,
            "{given}"
        );
    }
    for (given, message) in [
        (
            json!({ "userName": "a", "schemas": "x" }),
            "400 (invalidSyntax): schemas must be a list of URNs",
        ),
        (
            json!({ "userName": "a", "schemas": [ENTERPRISE] }),
            "400 (invalidSyntax): schemas must have urn:ietf:params:scim:schemas:core:2.0:User",
        ),
        (
            json!({ "userName": "a", "schemas": [USER, "urn:x"] }),
            "400 (invalidValue): the schema `urn:x` is not known",
        ),
        (
            json!({ "userName": "a", "USERNAME": "b" }),
            "400 (invalidSyntax): userName is there twice",
        ),
        (
            json!({ "userName": "a", "shoeSize": 9 }),
            "400 (invalidValue): there is no attribute `shoeSize` in urn:ietf:params:scim:schemas:core:2.0:User",
        ),
    ] {
        assert_eq!(
            read(given.clone(), Strictness::Strict).unwrap_err().to_string(),
            message,
            "{given}"
        );
    }
    assert_eq!(
        group()
            .read(json!({ "members": [] }), Strictness::Lenient)
            .unwrap_err()
            .to_string(),
        "400 (invalidValue): displayName is missing"
    );
}

#[test]
fn times_and_numbers() {
    let mut types = user().clone();
    types.schema.attributes.extend([
        Attribute::time("hired", "When the user came."),
        Attribute::integer("floor", "Where the user sits."),
    ]);
    let read = |value: Value, strictness| types.read(value, strictness);
    let given = json!({ "userName": "a", "hired": "2011-05-13T04:42:34Z", "floor": "12" });
    assert_eq!(read(given.clone(), Strictness::Lenient).unwrap()["floor"], 12);
    assert_eq!(
        read(given, Strictness::Strict).unwrap_err().detail,
        "floor must be a whole number"
    );
    let wrong = json!({ "userName": "a", "hired": "yesterday" });
    assert_eq!(
        read(wrong, Strictness::Lenient).unwrap_err().detail,
        "hired must be a time such as 2011-05-13T04:42:34Z"
    );
}

#[test]
fn what_never_changes_stays_in_a_replacement() {
    let mut types = user().clone();
    let mut badge = Attribute::text("badge", "The badge.").mutability(Mutability::Immutable);
    types.schema.attributes.push(badge.clone());
    badge.name = "number".to_owned();
    types
        .schema
        .attributes
        .push(Attribute::complex("desk", "The desk.", vec![badge]));
    let with = |badge: &str, number: &str| {
        let mut user = barbara();
        user.insert("badge".to_owned(), badge.into());
        user.insert("desk".to_owned(), json!({ "number": number }));
        user
    };
    types.check_immutable(&barbara(), &with("7", "1")).unwrap();
    types.check_immutable(&with("7", "1"), &with("7", "1")).unwrap();
    for (after, message) in [
        (with("8", "1"), "400 (mutability): badge must not change"),
        (with("7", "2"), "400 (mutability): desk: number must not change"),
        (barbara(), "400 (mutability): badge must not change"),
    ] {
        assert_eq!(
            types
                .check_immutable(&with("7", "1"), &after)
                .unwrap_err()
                .to_string(),
            message
        );
    }
}

/// A client reads what the provider sets, and what it did not ask for may be missing.
#[test]
fn answers_of_a_service_provider() {
    let answer = json!({
        "schemas": [USER],
        "ID": "1",
        "emails": [{ "value": "a@b.example", "primary": "True" }],
        "groups": [{ "value": "g", "display": "G" }],
        "meta": { "version": "W/\"1\"" },
        "shoeSize": 9,
    });
    assert_eq!(
        user().read_answer(answer).unwrap(),
        object(json!({
            "schemas": [USER],
            "id": "1",
            "emails": [{ "value": "a@b.example", "primary": true }],
            "groups": [{ "value": "g", "display": "G" }],
            "meta": { "version": "W/\"1\"" },
        }))
    );
    assert_eq!(user().read_answer(barbara().into()).unwrap(), barbara());
}
