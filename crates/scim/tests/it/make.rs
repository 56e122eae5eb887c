//! Filters, resources, requests and expressions of all kinds.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use rollcall_scim::filter::{Literal, Operator};
use rollcall_scim::mapping::{Expr, Function};
use rollcall_scim::{AttrPath, Filter, Object};
use serde_json::{Map, Value, json};

use crate::{ENTERPRISE, body};

/// Names, of which some are known.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(vec!["userName", "title", "emails", "NAME", "active", "meta", "members", "value", "type", "x-1_"]),
        1 => select(vec!["not", "and", "pr", "eq", "true", "$ref"]),
    ]
    .prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = AttrPath> {
    let urn = select(vec![
        "urn:ietf:params:scim:schemas:core:2.0:User",
        ENTERPRISE,
        "urn:x",
    ]);
    (option::weighted(0.2, urn), name(), option::weighted(0.3, name())).prop_map(|(schema, name, sub)| {
        AttrPath {
            schema: schema.map(str::to_owned),
            name,
            sub,
        }
    })
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Bool),
        any::<i64>().prop_map(|number| Literal::Number(number.into())),
        any::<f64>().prop_filter_map("finite", |number| serde_json::Number::from_f64(number)
            .map(Literal::Number)),
        any::<String>().prop_map(Literal::String),
        "[a-zA-Z@. \"\\\\]{0,6}".prop_map(Literal::String),
    ]
}

fn leaf() -> impl Strategy<Value = Filter> {
    prop_oneof![
        path().prop_map(Filter::Present),
        (path(), select(Operator::ALL.to_vec()), literal()).prop_map(|(path, operator, value)| {
            Filter::Compare {
                path,
                operator,
                value,
            }
        }),
    ]
}

fn grown(leaf: impl Strategy<Value = Filter> + 'static) -> impl Strategy<Value = Filter> {
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(Filter::And),
            vec(inner.clone(), 2..4).prop_map(Filter::Or),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

/// A filter on values.
pub(crate) fn value_filter() -> impl Strategy<Value = Filter> {
    grown(leaf())
}

pub(crate) fn filter() -> impl Strategy<Value = Filter> {
    let has = (path(), value_filter()).prop_map(|(path, filter)| Filter::Has {
        path: AttrPath { sub: None, ..path },
        filter: Box::new(filter),
    });
    grown(prop_oneof![3 => leaf(), 1 => has])
}

/// Any JSON, of which some is what attributes have.
pub(crate) fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
        select(vec![
            "True",
            "work",
            "home",
            "add",
            "remove",
            "Replace",
            "emails[type eq \"work\"].value",
            "title"
        ])
        .prop_map(Value::from),
    ];
    let key = prop_oneof![
        select(vec![
            "value",
            "type",
            "primary",
            "op",
            "path",
            "Operations",
            "userName",
            "emails",
            "name",
            "givenName"
        ])
        .prop_map(str::to_owned),
        select(vec![
            "name.givenName",
            "emails[type eq \"home\"].value",
            "members",
            "id",
            ENTERPRISE
        ])
        .prop_map(str::to_owned),
        "[a-z]{0,3}",
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key.clone(), inner), 0..4)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn text() -> impl Strategy<Value = Value> {
    "[a-cA-C]{1,2}".prop_map(Value::from)
}

fn plural() -> impl Strategy<Value = Value> {
    let one = (
        option::weighted(0.9, text()),
        option::of(select(vec!["work", "home"])),
        any::<bool>(),
    );
    vec(one, 1..4).prop_map(|values| {
        let mut preferred = false;
        let values: Vec<Value> = values
            .into_iter()
            .filter(|(value, kind, _)| value.is_some() || kind.is_some())
            .map(|(value, kind, primary)| {
                let mut object = Object::new();
                object.extend(value.map(|value| ("value".to_owned(), value)));
                object.extend(kind.map(|kind| ("type".to_owned(), kind.into())));
                if primary && !preferred {
                    preferred = true;
                    object.insert("primary".to_owned(), true.into());
                }
                object.into()
            })
            .collect();
        values.into()
    })
}

fn singular() -> impl Strategy<Value = Value> {
    (option::of(text()), option::of(text())).prop_map(|(given, family)| {
        let mut object = Object::new();
        object.extend(given.map(|given| ("givenName".to_owned(), given)));
        object.extend(family.map(|family| ("familyName".to_owned(), family)));
        object.into()
    })
}

/// A user as it may be sent.
pub(crate) fn user() -> impl Strategy<Value = Value> {
    let names = (
        text(),
        option::of(text()),
        option::of(any::<bool>()),
        option::of(singular()),
    );
    let lists = (option::of(plural()), option::of(plural()));
    let enterprise = (option::of(text()), option::of(text()));
    (names, lists, enterprise).prop_map(|((name, title, active, parts), (emails, roles), (number, manager))| {
        let mut user = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
            "userName": name, "title": title, "active": active, "name": parts, "emails": emails, "roles": roles,
        });
        user[ENTERPRISE] = json!({ "employeeNumber": number, "manager": manager.map(|id| json!({ "value": id })) });
        user
    })
}

/// An operation on a user that the standard allows.
fn operation() -> impl Strategy<Value = Value> {
    let op = || select(vec!["add", "replace"]);
    let selected = || {
        prop_oneof![
            select(vec![
                "type eq \"work\"",
                "type eq \"home\"",
                "primary eq true",
                "not (type pr)",
                "value sw \"a\""
            ])
            .prop_map(str::to_owned),
        ]
    };
    prop_oneof![
        (op(), text()).prop_map(|(op, value)| json!({ "op": op, "path": "title", "value": value })),
        (op(), text()).prop_map(|(op, value)| json!({ "op": op, "path": "userName", "value": value })),
        (op(), singular()).prop_map(|(op, value)| json!({ "op": op, "path": "name", "value": value })),
        (op(), text()).prop_map(|(op, value)| json!({ "op": op, "path": "name.givenName", "value": value })),
        (op(), plural()).prop_map(|(op, value)| json!({ "op": op, "path": "emails", "value": value })),
        (op(), user()).prop_map(|(op, value)| json!({ "op": op, "value": value })),
        (op(), text()).prop_map(|(op, value)| json!({
            "op": op, "path": format!("{ENTERPRISE}:manager.value"), "value": value,
        })),
        (op(), selected(), text()).prop_map(|(op, filter, value)| json!({
            "op": op, "path": format!("emails[{filter}].value"), "value": value,
        })),
        (op(), selected()).prop_map(|(op, filter)| json!({
            "op": op, "path": format!("emails[{filter}].primary"), "value": true,
        })),
        (op(), selected(), text()).prop_map(|(op, filter, value)| json!({
            "op": op, "path": format!("emails[{filter}]"), "value": { "value": value, "primary": true },
        })),
        select(vec![
            "title",
            "name",
            "name.givenName",
            "emails",
            "emails[type eq \"work\"]",
            "emails.type",
            ENTERPRISE
        ])
        .prop_map(|path| json!({ "op": "remove", "path": path })),
    ]
}

/// A request on a user that the standard allows.
pub(crate) fn request() -> impl Strategy<Value = Value> {
    vec(operation(), 1..5).prop_map(|operations| body(operations.into()))
}

/// A request that only adds, and selects nothing by what it changes.
pub(crate) fn addition() -> impl Strategy<Value = Value> {
    prop_oneof![
        plural().prop_map(|value| json!({ "op": "add", "path": "emails", "value": value })),
        user().prop_map(|value| json!({ "op": "add", "value": value })),
        text().prop_map(
            |value| json!({ "op": "Add", "path": "phoneNumbers[type eq \"work\"].value", "value": value })
        ),
    ]
    .prop_map(|operation| body(json!([operation])))
}

/// Requests on the members of a group, as lists of operations.
pub(crate) fn memberships() -> impl Strategy<Value = Value> {
    let id = || "[a-e]";
    let list =
        vec(id(), 0..4).prop_map(|ids| ids.iter().map(|id| json!({ "value": id })).collect::<Vec<_>>());
    let one = (0..6u8, list, id()).prop_map(|(how, list, id)| match how {
        0 => json!({ "op": "replace", "path": "members", "value": list }),
        1 => json!({ "op": "remove", "path": "members", "value": list }),
        2 => json!({ "op": "remove", "path": format!("members[value eq \"{id}\"]") }),
        3 if id == "a" => json!({ "op": "remove", "path": "members" }),
        _ => json!({ "op": "add", "path": "members", "value": list }),
    });
    vec(one, 1..6).prop_map(|operations| body(operations.into()))
}

pub(crate) fn expr() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Expr::Text),
        any::<i64>().prop_map(Expr::Number),
        any::<bool>().prop_map(Expr::Bool),
        Just(Expr::Null),
        "[a-c]{1,2}(\\.[a-c$]{1,2})?".prop_map(Expr::Name),
        "[^`]{0,6}".prop_map(Expr::Name),
    ];
    leaf.prop_recursive(5, 48, 4, |inner| {
        let call = (select(Function::ALL.to_vec()), vec(inner.clone(), 1..6)).prop_filter_map(
            "as many as it takes",
            |(function, arguments)| {
                let read = Expr::parse(&format!(
                    "{}({})",
                    function.as_str(),
                    vec!["a"; arguments.len()].join(",")
                ));
                read.is_ok().then_some(Expr::Call(function, arguments))
            },
        );
        prop_oneof![vec(inner, 2..4).prop_map(Expr::Join), call]
    })
}
