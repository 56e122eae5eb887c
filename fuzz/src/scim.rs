//! SCIM: filters and paths, bodies of requests, expressions of mappings.

use rollcall_scim::mapping::{Expr, Outward, TEXT_LIMIT};
use rollcall_scim::messages::{BulkRequest, PageLimits, PageMethod, SearchRequest};
use rollcall_scim::patch::{Members, Removal};
use rollcall_scim::schema::{group, user};
use rollcall_scim::{Filter, GroupChange, Object, Patch, Path, Projection, Strictness};
use serde_json::{Value, json};

use crate::split;

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn strictness(how: u8) -> Strictness {
    if how.is_multiple_of(2) {
        Strictness::Lenient
    } else {
        Strictness::Strict
    }
}

fn stored() -> Object {
    let user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
        "userName": "ada",
        "name": { "givenName": "Ada" },
        "active": true,
        "emails": [
            { "value": "ada@example.com", "type": "work", "primary": true },
            { "value": "ada@home.example", "type": "home" },
        ],
        ENTERPRISE: { "employeeNumber": "1", "manager": { "value": "2" } },
    });
    user.as_object().unwrap().clone()
}

/// A filter or a path is the same after it was written and read, and a filter and its opposite do not both match.
pub fn scim_filter(data: &[u8]) {
    let (how, rest) = split(data);
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    if let Ok(filter) = Filter::parse(text, strictness(how)) {
        match filter.to_string().parse::<Filter>() {
            Ok(again) => assert_eq!(again, filter),
            Err(error) => assert!(error.is_limit(), "{error}"),
        }
        let _ = filter.check(user());
        let opposite = Filter::Not(Box::new(filter.clone()));
        assert!(!(filter.matches(&stored(), user()) && opposite.matches(&stored(), user())));
    }
    if let Ok(path) = Path::parse(text) {
        match path.to_string().parse::<Path>() {
            Ok(again) => assert_eq!(again, path),
            Err(error) => assert!(error.is_limit(), "{error}"),
        }
    }
    let _ =
        Projection::parse(text, text, strictness(how)).map(|projection| projection.apply(&stored(), user()));
}

/// Whatever is asked for, a valid user stays one, and a resource that was read is valid. What is planned for a group
/// is the same after its requests were written and read.
pub fn scim_patch(data: &[u8]) {
    let (how, rest) = split(data);
    let Ok(body) = serde_json::from_slice::<Value>(rest) else {
        return;
    };
    let strictness = strictness(how);
    if let Ok(patch) = Patch::read(body.clone(), user(), strictness) {
        let written = Patch::read(patch.to_json(), user(), Strictness::Lenient).unwrap();
        if let Ok(after) = patch.apply(&stored(), user()) {
            assert_valid(&after);
            assert_eq!(written.apply(&stored(), user()).as_ref(), Ok(&after));
            let way = Patch::between(&stored(), &after, user());
            assert_eq!(way.apply(&stored(), user()), Ok(after));
        }
    }
    if let Ok(resource) = user().read(body.clone(), strictness) {
        assert_valid(&resource);
    }
    if let Ok(change) =
        Patch::read(body.clone(), group(), strictness).and_then(|patch| GroupChange::plan(&patch))
    {
        for removal in [Removal::ByFilter, Removal::ByList] {
            let requests = change.requests(2, removal);
            let operations: Vec<Value> = (requests.iter())
                .flat_map(|request| request["Operations"].as_array().unwrap().clone())
                .collect();
            let patch =
                Patch::read(json!({ "Operations": operations }), group(), Strictness::Lenient).unwrap();
            assert_eq!(sorted(GroupChange::plan(&patch).unwrap()), sorted(change.clone()));
        }
    }
    if let Ok(bulk) = BulkRequest::read(body.clone(), 100, strictness) {
        let (mut order, stuck) = bulk.order();
        order.extend(stuck);
        order.sort_unstable();
        assert!(order.into_iter().eq(0..bulk.operations.len()));
    }
    let limits = PageLimits {
        default_size: 10,
        max_size: 20,
        method: PageMethod::Index,
    };
    let _ = SearchRequest::read(body, strictness).and_then(|search| search.query(user(), limits, strictness));
}

fn assert_valid(resource: &Object) {
    let read = user().read(resource.clone().into(), Strictness::Strict);
    assert_eq!(read.as_ref(), Ok(resource));
}

fn sorted(mut change: GroupChange) -> GroupChange {
    match &mut change.members {
        Members::Change { add, remove } => {
            add.sort_by(|one, other| one.id.cmp(&other.id));
            remove.sort();
        }
        Members::Replace(members) => members.sort_by(|one, other| one.id.cmp(&other.id)),
    }
    change
}

/// An expression is the same after it was written and read, and comes to a small value, or to none.
pub fn scim_expression(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(expr) = Expr::parse(text) else { return };
    match expr.to_string().parse::<Expr>() {
        Ok(again) => assert_eq!(again, expr),
        Err(error) => assert!(error.is_limit(), "{error}"),
    }
    let record = json!({
        "username": "Ada", "email": "ada@example.com", "enabled": true, "age": 36, "list": ["a", 1], "nothing": null,
    });
    let record = record.as_object().unwrap();
    let value = expr.value(record);
    assert_eq!(expr.value(record), value);
    if let Ok(Value::String(text)) = &value {
        assert!(text.len() <= TEXT_LIMIT);
    }
    let outward = Outward::parse([("userName", text), ("emails", text)], user(), |_| true).unwrap();
    let _ = outward.resource(record, user());
}
