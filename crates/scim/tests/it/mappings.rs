//! Expressions, and the users that mappings make of each other.

use rollcall_scim::mapping::{
    EXPR_LIMIT, Expr, Function, Inward, MappingError, Outward, TooLarge, USER_IN, USER_OUT,
};
use rollcall_scim::schema::user;
use rollcall_scim::{Object, Strictness};
use serde_json::{Value, json};

use crate::{ENTERPRISE, barbara, object};

fn record() -> Object {
    object(json!({
        "id": "user_1",
        "username": "Ada",
        "displayName": "Ada Lovelace",
        "email": "ADA@Example.com",
        "phoneNumber": "13800138000",
        "phoneRegion": "86",
        "enabled": true,
        "age": 36,
        "nothing": null,
        "empty": "",
        "custom.cost center": "4711",
        "list": ["a", "b"],
    }))
}

fn value(text: &str) -> Value {
    let expr = Expr::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    expr.value(&record()).unwrap()
}

#[test]
fn what_expressions_come_to() {
    for (text, expected) in [
        ("username", json!("Ada")),
        ("nobody", json!(null)),
        ("nothing", json!(null)),
        ("list", json!(["a", "b"])),
        ("`custom.cost center`", json!("4711")),
        (r#""a\u0041\"""#, json!("aA\"")),
        ("-12", json!(-12)),
        ("lower(email)", json!("ada@example.com")),
        ("upper(username)", json!("ADA")),
        ("lower(nothing)", json!(null)),
        ("lower(age)", json!("36")),
        ("lower(list)", json!(null)),
        (r#"username + "@example.com""#, json!("Ada@example.com")),
        (r#"username + nothing"#, json!(null)),
        (r#"username + empty + age + enabled"#, json!("Ada36true")),
        (
            r#"first(nothing, empty, username + "@example.com")"#,
            json!("Ada@example.com"),
        ),
        ("first(nothing)", json!(null)),
        ("if(enabled, false, true)", json!(false)),
        ("if(not(enabled), 1, 2)", json!(2)),
        ("if(nothing, 1, 2)", json!(null)),
        ("if(username, 1, 2)", json!(null)),
        ("if(false, 1)", json!(null)),
        ("and(enabled, nothing)", json!(null)),
        ("and(false, nothing)", json!(false)),
        ("or(enabled, nothing)", json!(true)),
        ("or(false, nothing)", json!(null)),
        ("present(empty)", json!(false)),
        ("present(age)", json!(true)),
        (r#"equal(username, "Ada")"#, json!(true)),
        (r#"equal(username, "ada")"#, json!(false)),
        ("equal(nothing, nothing)", json!(false)),
        (r#"switch(username, "Bob", 1, "Ada", 2, 3)"#, json!(2)),
        (r#"switch(username, "Bob", 1, 3)"#, json!(3)),
        (r#"switch(username, "Bob", 1)"#, json!(null)),
        (r#"switch(nothing, null, 1, 3)"#, json!(3)),
        (r#"before(email, "@")"#, json!("ADA")),
        (r#"before(username, "@")"#, json!("Ada")),
        (r#"after(email, "@")"#, json!("Example.com")),
        (r#"after(username, "@")"#, json!(null)),
        ("left(displayName, 3)", json!("Ada")),
        ("right(displayName, 8)", json!("Lovelace")),
        ("right(username, 99)", json!("Ada")),
        ("left(username, -1)", json!("")),
        (r#"left(username, "x")"#, json!(null)),
        (r#"replace(displayName, " ", ".")"#, json!("Ada.Lovelace")),
        (r#"replace(displayName, "", ".")"#, json!("Ada Lovelace")),
        (r#"join(" ", username, nothing, empty, age)"#, json!("Ada 36")),
        (r#"join(" ", nothing)"#, json!(null)),
        (r#"digits("+86 (138) 00")"#, json!("8613800")),
        (r#"trim("  x ")"#, json!("x")),
        (r#"number(" 42 ")"#, json!(42)),
        (r#"number("4.2")"#, json!(null)),
        ("text(age)", json!("36")),
        ("  ( username  + \"x\" ) ", json!("Adax")),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn every_function_is_there() {
    for function in Function::ALL {
        let name = function.as_str();
        let read =
            (1..5).find_map(|count| Expr::parse(&format!("{name}({})", vec!["a"; count].join(","))).ok());
        assert!(
            matches!(read, Some(Expr::Call(of, _)) if of == function),
            "{name}"
        );
    }
}

#[test]
fn expressions_are_written_as_they_are_read() {
    for (read, written) in [
        ("lower( email )", "lower(email)"),
        ("a+b + c", "a + b + c"),
        ("(a + b) + c", "(a + b) + c"),
        ("((a))", "a"),
        ("`plain`", "plain"),
        ("`true`", "`true`"),
        ("`a b`", "`a b`"),
        ("name.$ref", "name.$ref"),
        ("if(a,\"\\u0041\",-1)", "if(a, \"A\", -1)"),
    ] {
        assert_eq!(Expr::parse(read).unwrap().to_string(), written);
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let known = |name: &str| ["email", "username"].contains(&name);
    for (text, message) in [
        (
            "",
            "at character 1: expected a name, a function, \"text\" in quotation marks, a number, true, false or null, \
             found the end",
        ),
        ("username + mail", "at character 12: there is no field `mail`"),
        ("lowr(email)", "at character 1: there is no function `lowr`"),
        (
            "lower(email, 1)",
            "at character 1: `lower` takes one argument, not 2",
        ),
        (
            "upper(lower())",
            "at character 7: `lower` takes one argument, not 0",
        ),
        (
            "if(true)",
            "at character 1: `if` takes two or three arguments, not 1",
        ),
        (
            "lower(email",
            "at character 12: expected `,`, `+` or `)`, found the end",
        ),
        ("(email", "at character 7: expected `+` or `)`, found the end"),
        (
            "email username",
            "at character 7: expected `+` or the end, found `username`",
        ),
        ("\"x", "at character 1: this text has no closing quotation mark"),
        (
            "1.5",
            "at character 1: this is no whole number, or too large a one",
        ),
        (
            "`x",
            "at character 3: expected the closing ` of the name, found the end",
        ),
        (
            "a..b",
            "at character 1: expected a name such as username or name.givenName, found `a..b`",
        ),
    ] {
        assert_eq!(
            Expr::parse_with(text, known).unwrap_err().to_string(),
            message,
            "{text}"
        );
    }
    let deep = format!("{}email{}", "lower(".repeat(33), ")".repeat(33));
    assert!(Expr::parse(&deep).unwrap_err().is_limit());
    assert!(Expr::parse(&"a+".repeat(EXPR_LIMIT)).unwrap_err().is_limit());
}

#[test]
fn texts_stay_small() {
    let grown = (0..30).fold("\"aaaaaaaa\"".to_owned(), |inner, _| {
        format!("replace({inner}, \"a\", \"aaaaaaaa\")")
    });
    assert_eq!(Expr::parse(&grown).unwrap().value(&record()), Err(TooLarge));
}

#[test]
fn a_user_of_the_directory_becomes_one_of_scim_and_comes_back() {
    let known = record();
    let outward = Outward::parse(USER_OUT.iter().copied(), user(), |name| known.contains_key(name)).unwrap();
    let resource = outward.resource(&known, user()).unwrap();
    assert_eq!(
        resource,
        object(json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "externalId": "user_1",
            "userName": "Ada",
            "displayName": "Ada Lovelace",
            "name": { "formatted": "Ada Lovelace" },
            "active": true,
            "emails": [{ "type": "work", "value": "ADA@Example.com", "primary": true }],
            "phoneNumbers": [{ "type": "work", "value": "+8613800138000" }],
        }))
    );
    assert_eq!(
        user().read(resource.clone().into(), Strictness::Strict).unwrap(),
        resource
    );
    let inward = Inward::parse(USER_IN.iter().copied(), user()).unwrap();
    assert_eq!(
        inward.record(&resource, user()).unwrap(),
        object(json!({
            "username": "Ada",
            "displayName": "Ada Lovelace",
            "email": "ADA@Example.com",
            "enabled": true,
            "externalId": "user_1",
        }))
    );
    // What is not there is left alone on either side.
    let little = object(json!({ "username": "bob" }));
    assert_eq!(
        outward.resource(&little, user()).unwrap(),
        object(json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "bob" }))
    );
    assert_eq!(
        inward.record(&barbara(), user()).unwrap()["displayName"],
        "Barbara Jensen"
    );
}

#[test]
fn mappings_reach_every_part() {
    let outward = Outward::parse(
        [
            ("userName", "lower(email)"),
            ("name.familyName", r#"after(displayName, " ")"#),
            ("roles", "list"),
            ("title", "age"),
            (
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
                "id",
            ),
            (
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:costCenter",
                "`custom.cost center`",
            ),
        ],
        user(),
        |_| true,
    )
    .unwrap();
    let resource = outward.resource(&record(), user()).unwrap();
    assert_eq!(
        resource,
        object(json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
            "userName": "ada@example.com",
            "name": { "familyName": "Lovelace" },
            "roles": [{ "value": "a" }, { "value": "b" }],
            "title": "36",
            ENTERPRISE: { "manager": { "value": "user_1" }, "costCenter": "4711" },
        }))
    );
    let inward = Inward::parse(
        [
            (
                "number",
                "`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber`",
            ),
            ("mail", "`emails[type eq \"home\"].value`"),
            ("any", "emails.value"),
            ("all", "emails"),
            ("none", "`emails[type eq \"pager\"].value`"),
        ],
        user(),
    )
    .unwrap();
    let emails = barbara()["emails"].clone();
    assert_eq!(
        inward.record(&barbara(), user()).unwrap(),
        object(json!({
            "number": "701984", "mail": "babs@jensen.example", "any": "bjensen@example.com", "all": emails,
        }))
    );
}

#[test]
fn mappings_that_cannot_be_used_say_which_target_is_wrong() {
    let known = |name: &str| name == "email";
    let outward = |target: &str, expr: &str| Outward::parse([(target, expr)], user(), known).map(drop);
    for (target, expr, message) in [
        (
            "shoeSize",
            "email",
            "`shoeSize`: there is no such attribute, or it cannot be set",
        ),
        (
            "id",
            "email",
            "`id`: there is no such attribute, or it cannot be set",
        ),
        (
            "emails[type eq \"x\"].color",
            "email",
            "`emails[type eq \"x\"].color`: there is no such attribute, or it cannot be set",
        ),
        (
            "title[type eq \"x\"]",
            "email",
            "`title[type eq \"x\"]`: there is no such attribute, or it cannot be set",
        ),
        (
            "userName",
            "mail",
            "`userName`: at character 1: there is no field `mail`",
        ),
        (
            "a..b",
            "email",
            "`a..b`: the path, at character 1: expected the name of an attribute, such as userName or name.familyName, \
             found `a..b`",
        ),
    ] {
        assert_eq!(outward(target, expr).unwrap_err().to_string(), message);
    }
    let inward = Inward::parse([("x", "userNam")], user()).unwrap_err();
    assert_eq!(
        inward.to_string(),
        "`x`: at character 1: there is no field `userNam`"
    );
    let active = Outward::parse([("active", "email")], user(), known).unwrap();
    let error = active
        .resource(&object(json!({ "email": "x" })), user())
        .unwrap_err();
    assert!(matches!(error, MappingError::Value { .. }));
    assert_eq!(error.to_string(), "`active`: active must be true or false");
}
