//! What holds for all texts, resources and requests.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rollcall_scim::mapping::{Expr, Inward, USER_IN};
use rollcall_scim::patch::Members;
use rollcall_scim::schema::{group, user};
use rollcall_scim::{AttrPath, Filter, GroupChange, Object, Patch, Path, Projection, Strictness};
use serde_json::{Value, json};

use crate::{barbara, make, object};

/// A user as a service provider has it.
fn stored(user_sent: Value) -> Object {
    let mut stored = user().read(user_sent, Strictness::Strict).unwrap();
    stored.insert("id".to_owned(), "1".into());
    stored
}

/// Without what only the service provider sets, for comparing with what a client sends.
fn is_valid(resource: &Object) -> bool {
    let mut sent = resource.clone();
    sent.remove("id");
    user().read(sent.clone().into(), Strictness::Strict) == Ok(sent)
}

proptest! {
    #[test]
    fn filters_survive_writing(filter in make::filter()) {
        prop_assert_eq!(filter.to_string().parse::<Filter>(), Ok(filter));
    }

    #[test]
    fn paths_survive_writing(
        filter in make::value_filter(), sub in proptest::option::of("[a-z]{1,4}"), name in "[a-z]{1,6}"
    ) {
        let path = AttrPath { schema: sub.as_ref().map(|_| "urn:x:2.0:U".to_owned()), name, sub: None };
        let values = Path::Values { path: path.clone(), filter, sub: sub.clone() };
        prop_assert_eq!(values.to_string().parse::<Path>(), Ok(values));
        let attribute = Path::Attribute(AttrPath { sub, ..path });
        prop_assert_eq!(attribute.to_string().parse::<Path>(), Ok(attribute));
    }

    #[test]
    fn expressions_survive_writing(expr in make::expr()) {
        prop_assert_eq!(expr.to_string().parse::<Expr>(), Ok(expr));
    }

    #[test]
    fn members_join_together_as_they_join_one_by_one(
        there in proptest::collection::vec("[a-cA-C]{1,2}", 0..40),
        new in proptest::collection::vec("[a-cA-C]{1,2}", 1..60),
    ) {
        let members = |ids: &[String]| -> Vec<Value> {
            ids.iter().map(|id| json!({ "value": id, "type": "User" })).collect()
        };
        let add = |to: &Object, ids: &[String]| {
            let operation = json!({ "op": "add", "path": "members", "value": members(ids) });
            let patch = Patch::read(crate::body(json!([operation])), group(), Strictness::Strict).unwrap();
            patch.apply(to, group()).unwrap()
        };
        let empty = object(json!({ "schemas": [rollcall_scim::schema::GROUP], "id": "1", "displayName": "Staff" }));
        let before = there.iter().fold(empty, |group, id| add(&group, std::slice::from_ref(id)));
        let one_by_one = new.iter().fold(before.clone(), |group, id| add(&group, std::slice::from_ref(id)));
        prop_assert_eq!(add(&before, &new), one_by_one);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        for strictness in [Strictness::Lenient, Strictness::Strict] {
            let _ = Filter::parse(&text, strictness);
        }
        let _ = (Path::parse(&text), Expr::parse(&text), AttrPath::parse(&text));
        let _ = Projection::parse(&text, &text, Strictness::Lenient);
    }

    #[test]
    fn expressions_come_to_an_end_and_the_same_each_time(expr in make::expr(), record in make::json()) {
        let record = record.as_object().cloned().unwrap_or_default();
        prop_assert_eq!(expr.value(&record), expr.value(&record));
        if expr.names().is_empty() {
            prop_assert_eq!(expr.value(&record), expr.value(&Object::new()));
        }
    }

    /// A filter and its opposite never both match, and one of them does if every name is known.
    #[test]
    fn a_filter_or_its_opposite(filter in make::filter(), sent in make::user()) {
        let resource = stored(sent);
        let opposite = Filter::Not(Box::new(filter.clone()));
        prop_assert!(!(filter.matches(&resource, user()) && opposite.matches(&resource, user())));
        let again: Filter = filter.to_string().parse().unwrap();
        prop_assert_eq!(again.matches(&resource, user()), filter.matches(&resource, user()));
        let twice = Filter::Not(Box::new(opposite));
        prop_assert_eq!(twice.matches(&resource, user()), filter.matches(&resource, user()));
        let _ = filter.check(user());
    }

    /// What was read is valid, and reading it again changes nothing.
    #[test]
    fn reading_twice_is_reading_once(value in make::json(), sent in make::user()) {
        for strictness in [Strictness::Lenient, Strictness::Strict] {
            for value in [&value, &sent] {
                if let Ok(read) = user().read(value.clone(), strictness) {
                    prop_assert!(is_valid(&read), "{:?}", read);
                }
                let _ = group().read(value.clone(), strictness);
            }
        }
    }

    /// Any JSON is a request or none; what it makes of a valid user is one.
    #[test]
    fn any_request_leaves_a_user_valid(operations in make::json(), request in make::request(), sent in make::user()) {
        let before = stored(sent);
        for strictness in [Strictness::Lenient, Strictness::Strict] {
            let wrapped = [operations.clone(), json!({ "Operations": [operations] }), json!({ "Operations": operations }), request.clone()];
            for body in wrapped {
                let Ok(patch) = Patch::read(body, user(), strictness) else { continue };
                if let Ok(after) = patch.apply(&before, user()) {
                    prop_assert!(is_valid(&after), "{:?}\n{:?}\n{:?}", before, patch, after);
                    prop_assert_eq!(&after["id"], &before["id"]);
                }
                if let Ok(group) = Patch::read(patch.to_json(), group(), Strictness::Lenient) {
                    let _ = GroupChange::plan(&group);
                }
            }
        }
    }

    /// What the standard allows, the lenient reading understands in the same way.
    #[test]
    fn strict_is_a_part_of_lenient(request in make::request(), sent in make::user()) {
        let before = stored(sent);
        let apply = |strictness| Patch::read(request.clone(), user(), strictness).and_then(|patch| patch.apply(&before, user()));
        if let Ok(strict) = apply(Strictness::Strict) {
            prop_assert_eq!(apply(Strictness::Lenient), Ok(strict));
        }
    }

    #[test]
    fn operations_survive_writing(request in make::request()) {
        let bare = |patch: &Patch| -> Vec<_> {
            let operations = patch.operations.iter();
            operations.map(|one| (one.kind, one.target.clone(), one.value.clone())).collect()
        };
        // Operations on nothing are none, and a request without any is none.
        if let Ok(patch) = Patch::read(request, user(), Strictness::Strict)
            && !patch.operations.is_empty()
        {
            let again = Patch::read(patch.to_json(), user(), Strictness::Strict).unwrap();
            prop_assert_eq!(bare(&again), bare(&patch));
        }
    }

    #[test]
    fn adding_twice_is_adding_once(request in make::addition(), sent in make::user()) {
        let before = stored(sent);
        let patch = Patch::read(request, user(), Strictness::Lenient).unwrap();
        let once = patch.apply(&before, user()).unwrap();
        prop_assert_eq!(patch.apply(&once, user()).unwrap(), once);
    }

    #[test]
    fn the_difference_leads_from_one_to_the_other(one in make::user(), other in make::user()) {
        let (one, other) = (stored(one), stored(other));
        let patch = Patch::between(&one, &other, user());
        prop_assert_eq!(patch.apply(&one, user()).unwrap(), other.clone());
        let read = Patch::read(patch.to_json(), user(), Strictness::Lenient).unwrap();
        prop_assert_eq!(read.apply(&one, user()).unwrap(), other);
        prop_assert!(Patch::between(&one, &one, user()).operations.is_empty());
    }

    /// What is planned without the members is what becomes of the members.
    #[test]
    fn a_planned_change_of_a_group_is_the_change(
        request in make::memberships(), there in proptest::collection::btree_set("[a-e]", 0..5)
    ) {
        let before = object(json!({
            "displayName": "g",
            "members": there.iter().map(|id| json!({ "value": id })).collect::<Vec<_>>(),
        }));
        let patch = Patch::read(request, group(), Strictness::Lenient).unwrap();
        let after = patch.apply(&before, group()).unwrap();
        let members = after.get("members").and_then(Value::as_array).cloned().unwrap_or_default();
        let applied: BTreeSet<String> = members.iter().map(|member| member["value"].as_str().unwrap().to_owned()).collect();
        let planned = match GroupChange::plan(&patch).unwrap().members {
            Members::Replace(members) => members.into_iter().map(|member| member.id).collect(),
            Members::Change { add, remove } => {
                let mut planned = there;
                planned.extend(add.into_iter().map(|member| member.id));
                planned.retain(|id| !remove.contains(id));
                planned
            }
        };
        prop_assert_eq!(planned, applied);
    }

    /// An answer has nothing that the resource does not, and what is always there.
    #[test]
    fn projections_take_away(attributes in "[a-zA-Z.,]{0,20}", excluded in "(userName|emails.type|name|,){0,4}", sent in make::user()) {
        let resource = stored(sent);
        let projection = Projection::parse(&attributes, &excluded, Strictness::Lenient).unwrap();
        let answer = projection.apply(&resource, user());
        prop_assert_eq!(&answer["id"], &resource["id"]);
        prop_assert_eq!(&answer["schemas"], &resource["schemas"]);
        prop_assert!(answer.keys().all(|key| resource.contains_key(key)));
        prop_assert_eq!(projection.apply(&answer, user()), answer);
    }
}

#[test]
fn the_usual_mapping_reads_every_user() {
    let inward = Inward::parse(USER_IN.iter().copied(), user()).unwrap();
    proptest!(|(sent in make::user())| {
        let record = inward.record(&stored(sent), user()).unwrap();
        prop_assert!(record.contains_key("username") && record.contains_key("displayName"));
    });
    assert!(inward.record(&barbara(), user()).unwrap().contains_key("email"));
}
