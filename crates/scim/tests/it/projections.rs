//! What of a resource is in an answer.

use rollcall_scim::schema::{Attribute, Returned, group, user};
use rollcall_scim::{AttrPath, Object, Projection, Strictness};
use serde_json::json;

use crate::{ENTERPRISE, barbara, object};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

fn projected(attributes: &str, excluded: &str) -> Object {
    let mut user_with_secret = barbara();
    user_with_secret.insert("password".to_owned(), "t1meMa$heen".into());
    user_with_secret.insert("shoeSize".to_owned(), 9.into());
    Projection::parse(attributes, excluded, Strictness::Strict)
        .unwrap()
        .apply(&user_with_secret, user())
}

#[test]
fn what_was_asked_for_and_what_is_always_there() {
    let schemas = json!([USER, ENTERPRISE]);
    for (attributes, excluded, expected) in [
        (
            "userName, name.givenName",
            "",
            json!({ "userName": "bjensen@example.com", "name": { "givenName": "Barbara" } }),
        ),
        (
            "NAME",
            "",
            json!({ "name": { "familyName": "Jensen", "givenName": "Barbara" } }),
        ),
        (
            "name",
            "name.givenName",
            json!({ "name": { "familyName": "Jensen" } }),
        ),
        (
            "emails.type",
            "",
            json!({ "emails": [{ "type": "work" }, { "type": "home" }] }),
        ),
        (
            "urn:ietf:params:scim:schemas:core:2.0:User:title",
            "",
            json!({ "title": "Tour Guide" }),
        ),
        (
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
            "",
            json!({ ENTERPRISE: { "manager": { "value": "26118915" } } }),
        ),
        (
            ENTERPRISE,
            "",
            json!({ ENTERPRISE: { "employeeNumber": "701984", "manager": { "value": "26118915" } } }),
        ),
        ("shoeSize", "", json!({})),
        ("password", "", json!({})),
        ("employeeNumber", "", json!({})),
        ("id", "id", json!({})),
    ] {
        let mut expected = object(expected);
        expected.insert("schemas".to_owned(), schemas.clone());
        expected.insert("id".to_owned(), "2819c223".into());
        assert_eq!(
            projected(attributes, excluded),
            expected,
            "{attributes} without {excluded}"
        );
    }
}

#[test]
fn what_was_excluded() {
    assert_eq!(projected("", ""), barbara());
    let mut expected = barbara();
    expected.remove("emails");
    expected.remove(ENTERPRISE);
    expected["name"].as_object_mut().unwrap().remove("givenName");
    assert_eq!(
        projected("", &format!("emails,name.givenName,id,{ENTERPRISE}")),
        expected
    );
}

#[test]
fn some_attributes_want_to_be_asked_for() {
    let mut types = user().clone();
    types
        .schema
        .attributes
        .push(Attribute::text("badge", "The badge.").returned(Returned::Request));
    let resource = object(json!({ "userName": "ada", "badge": "7" }));
    let ask = |attributes| {
        let projection = Projection::parse(attributes, "", Strictness::Strict).unwrap();
        projection.apply(&resource, &types)
    };
    assert_eq!(ask(""), object(json!({ "userName": "ada" })));
    assert_eq!(ask("badge"), object(json!({ "badge": "7" })));
}

#[test]
fn members_that_nobody_wants_need_not_be_loaded() {
    let members = AttrPath::new("members");
    for (attributes, excluded, wanted) in [
        ("", "", true),
        ("", "members", false),
        ("displayName", "", false),
        ("members.value", "", true),
        ("members", "members", false),
    ] {
        let projection = Projection::parse(attributes, excluded, Strictness::Strict).unwrap();
        assert_eq!(
            projection.wants(&members, group()),
            wanted,
            "{attributes} without {excluded}"
        );
    }
}

#[test]
fn a_name_that_is_none_is_refused_or_passed_over() {
    let error = Projection::parse("userName,(", "", Strictness::Strict).unwrap_err();
    assert_eq!(
        error.to_string(),
        "400 (invalidValue): the name `(`, at character 1: expected the name of an attribute, such as userName or \
         name.familyName, found `(`"
    );
    let lenient = Projection::parse("userName,(", "", Strictness::Lenient).unwrap();
    assert_eq!(lenient.attributes, [AttrPath::new("userName")]);
}
