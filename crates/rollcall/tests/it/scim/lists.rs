//! Lists: which resources, in which order, page by page, and at what cost.

use rollcall_db::Dialect;
use rollcall_scim::{Filter, Object, Strictness, schema};
use serde_json::{Value, json};

use super::{End, ids};
use crate::access::on_each;

/// A text as it stands in the query of an address.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let each = text.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    each.collect()
}

/// A user of whom there is something to ask.
fn user(number: usize) -> Value {
    let mut user = json!({
        "userName": format!("User{number:03}@example.com"),
        "externalId": format!("X{number}"),
        "displayName": format!("Person {:03}", (number * 7) % 50),
        "name": { "familyName": if number.is_multiple_of(2) { "Even" } else { "Odd" } },
        "active": !number.is_multiple_of(3),
        "emails": [{ "value": format!("user{number}@example.com"), "type": if number.is_multiple_of(5) { "home" } else { "work" } }],
    });
    if number.is_multiple_of(4) {
        user["title"] = format!("Title {}", number % 8).into();
    }
    user
}

/// Makes so many users.
async fn fill(end: &End<'_>, count: usize) {
    for portion in (0..count).collect::<Vec<_>>().chunks(500) {
        let operations: Vec<Value> = portion
            .iter()
            .map(|number| json!({ "method": "POST", "path": "/Users", "bulkId": number.to_string(), "data": user(*number) }))
            .collect();
        let said = end
            .ask("POST", "/Bulk", json!({ "Operations": operations }))
            .await;
        assert_eq!(said.status, 200, "{}", said.body);
        for operation in said.body["Operations"].as_array().unwrap() {
            assert_eq!(operation["status"], "201", "{operation}");
        }
    }
}

/// All pages with a cursor.
async fn by_cursor(end: &End<'_>, query: &str) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    for _ in 0..100 {
        let said = end.get(&format!("/Users?{query}&cursor={cursor}")).await;
        assert_eq!(said.status, 200, "{query}: {}", said.body);
        all.extend(ids(&said.body));
        match said.body["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return all,
        }
    }
    panic!("{query}: there is no last page");
}

const FILTERS: [&str; 18] = [
    "userName eq \"USER007@example.com\"",
    "externalId eq \"X9\"",
    "externalId eq \"x9\"",
    "userName eq \"user007@example.com\" and active eq false",
    "active eq false",
    "active eq true and title pr",
    "not (title pr)",
    "name.familyName eq \"odd\" or externalId eq \"X2\"",
    "emails[type eq \"home\" and value co \"@example\"]",
    "emails.value sw \"user1\"",
    "emails co \"user2\"",
    "displayName gt \"Person 030\"",
    "userName ew \"9@EXAMPLE.COM\"",
    "title eq null",
    "urn:ietf:params:scim:schemas:core:2.0:User:userName sw \"user01\"",
    "meta.resourceType eq \"User\" and (active ne true or title eq \"title 4\")",
    "shoeSize eq 7",
    "externalId ne \"X3\"",
];

#[test]
fn a_filter_finds_what_it_means_however_it_is_read() {
    on_each("scim_filters", |site| async move {
        let end = End::of(&site, "one", Value::Null).await;
        fill(&end, 40).await;
        let all = end.get("/Users?count=1000").await.body;
        let resources: Vec<Object> = all["Resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|resource| resource.as_object().unwrap().clone())
            .collect();
        assert_eq!(resources.len(), 40);
        let mut matched = 0;
        for text in FILTERS {
            let filter = Filter::parse(text, Strictness::Strict).unwrap();
            let expected: Vec<&str> = resources
                .iter()
                .filter(|resource| filter.matches(resource, schema::user()))
                .map(|resource| resource["id"].as_str().unwrap())
                .collect();
            matched += expected.len();
            let query = format!("filter={}", encoded(text));
            let (found, total) = end.found(&format!("/Users?{query}&count=1000")).await;
            assert_eq!(
                (&found, total),
                (
                    &expected.iter().map(|id| (*id).to_owned()).collect(),
                    expected.len() as u64
                ),
                "{text}"
            );
            assert_eq!(
                by_cursor(&end, &format!("{query}&count=3")).await,
                expected,
                "{text}"
            );
            let (page, total) = end.found(&format!("/Users?{query}&startIndex=2&count=2")).await;
            assert_eq!(total, expected.len() as u64, "{text}");
            assert_eq!(
                page,
                expected.iter().skip(1).take(2).copied().collect::<Vec<_>>(),
                "{text}"
            );
            let search = json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": text, "count": 1000,
            });
            let said = end.ask("POST", "/Users/.search", search).await;
            assert_eq!(ids(&said.body), expected, "{text}");
        }
        assert!(matched > 100, "{matched}");
        for (text, kind) in [
            ("userName eq", "invalidFilter"),
            ("active gt true", "invalidFilter"),
            ("userName zz \"a\"", "invalidFilter"),
        ] {
            let said = end.get(&format!("/Users?filter={}", encoded(text))).await;
            assert_eq!(
                (said.status, &said.body["scimType"]),
                (400, &json!(kind)),
                "{text}"
            );
        }
        let unknown = end.get("/Users?filter=userName%20eq%20%22nobody%22").await;
        assert_eq!((unknown.status, &unknown.body["totalResults"]), (200, &json!(0)));
        assert_eq!(unknown.body["Resources"], json!([]));
    });
}

#[test]
fn lists_are_read_page_by_page_and_in_any_order() {
    on_each("scim_pages", |site| async move {
        let end = End::of(&site, "one", Value::Null).await;
        fill(&end, 25).await;
        let (all, total) = end.found("/Users").await;
        assert_eq!((all.len(), total), (25, 25));
        let said = end.get("/Users?startIndex=11&count=10").await.body;
        assert_eq!(ids(&said), all[10..20]);
        assert_eq!(
            (&said["startIndex"], &said["itemsPerPage"]),
            (&json!(11), &json!(10))
        );
        assert_eq!(
            end.found("/Users?startIndex=21&count=10").await,
            (all[20..].to_vec(), 25)
        );
        assert_eq!(end.found("/Users?startIndex=99").await, (Vec::new(), 25));
        assert_eq!(end.found("/Users?count=0").await, (Vec::new(), 25));
        assert_eq!(end.found("/Users?startIndex=-5&count=-1").await, (Vec::new(), 25));
        assert_eq!(by_cursor(&end, "count=7").await, all);
        assert_eq!(by_cursor(&end, "count=25").await, all);

        let names = async |query: &str| -> Vec<String> {
            let said = end.get(&format!("/Users?{query}")).await.body;
            let resources = said["Resources"].as_array().unwrap().clone();
            resources
                .iter()
                .map(|resource| resource["displayName"].as_str().unwrap().to_owned())
                .collect()
        };
        let up = names("sortBy=displayName").await;
        assert!(up.is_sorted() && up.len() == 25, "{up:?}");
        let mut down = names("sortBy=displayName&sortOrder=descending").await;
        down.reverse();
        assert_eq!(down, up);
        let page = names("sortBy=displayName&startIndex=3&count=2").await;
        assert_eq!(page, up[2..4]);
        let sorted = end.found("/Users?sortBy=displayName").await.0;
        assert_eq!(by_cursor(&end, "sortBy=displayName&count=4").await, sorted);
        // Who has no title comes last.
        let titles = end.get("/Users?sortBy=title&attributes=title").await.body;
        let has: Vec<bool> = titles["Resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|resource| resource.get("title").is_none())
            .collect();
        assert!(has.is_sorted(), "{has:?}");

        let first = end.get("/Users?count=2&cursor=").await.body;
        let cursor = first["nextCursor"].as_str().unwrap();
        for (query, kind) in [
            ("count=2&cursor=nonsense".to_owned(), "invalidCursor"),
            (format!("count=2&cursor={cursor}&sortBy=title"), "invalidCursor"),
            (
                format!("count=2&cursor={cursor}&filter=title%20pr"),
                "invalidCursor",
            ),
            (format!("count=x&cursor={cursor}"), "invalidCount"),
            ("startIndex=x".to_owned(), "invalidValue"),
        ] {
            let said = end.get(&format!("/Users?{query}")).await;
            assert_eq!(
                (said.status, &said.body["scimType"]),
                (400, &json!(kind)),
                "{query}"
            );
        }
    });
}

#[test]
fn resources_of_all_types_are_searched_at_once() {
    on_each("scim_search_all", |site| async move {
        let end = End::of(&site, "one", Value::Null).await;
        let (ada, bob) = (end.user("ada").await, end.user("bob").await);
        let group = end.make("/Groups", json!({ "displayName": "ada" })).await;
        let search = async |search: Value| end.ask("POST", "/.search", search).await;
        let all = [ada.clone(), bob.clone(), group.clone()];
        assert_eq!(ids(&search(json!({})).await.body), all);
        for (start, count, expected) in [
            (1, 2, &all[..2]),
            (2, 2, &all[1..]),
            (3, 9, &all[2..]),
            (4, 1, &[]),
        ] {
            let said = search(json!({ "startIndex": start, "count": count })).await.body;
            assert_eq!(
                (ids(&said).as_slice(), &said["totalResults"]),
                (expected, &json!(3)),
                "{start}"
            );
            assert_eq!(
                (&said["startIndex"], &said["itemsPerPage"]),
                (&json!(start), &json!(expected.len()))
            );
        }
        let named =
            json!({ "filter": "userName eq \"ada\" or displayName eq \"ADA\"", "attributes": ["userName"] });
        let said = search(named).await.body;
        assert_eq!(ids(&said), [ada, group]);
        assert!(said["Resources"][1].get("displayName").is_none(), "{said}");
        let ordered = search(json!({ "sortBy": "userName" })).await;
        assert_eq!(
            (ordered.status, &ordered.body["scimType"]),
            (400, &json!("invalidValue"))
        );
    });
}

#[test]
fn an_answer_has_what_was_asked_for() {
    on_each("scim_projection", |site| async move {
        let end = End::of(&site, "one", Value::Null).await;
        fill(&end, 2).await;
        let said = end.get("/Users?attributes=userName,emails.value").await.body;
        for resource in said["Resources"].as_array().unwrap() {
            let mut names: Vec<&String> = resource.as_object().unwrap().keys().collect();
            names.sort_unstable();
            assert_eq!(names, ["emails", "id", "schemas", "userName"]);
            assert_eq!(resource["emails"][0].as_object().unwrap().len(), 1);
        }
        let path = format!("/Users/{}", ids(&said)[0]);
        let said = end
            .get(&format!("{path}?excludedAttributes=emails,name.familyName,id"))
            .await
            .body;
        assert!(said.get("emails").is_none() && said.get("id").is_some() && said.get("title").is_some());
        let title = json!({ "Operations": [{ "op": "add", "path": "title", "value": "x" }] });
        let said = end.ask("PATCH", &format!("{path}?attributes=title"), title).await;
        assert_eq!((said.status, &said.body["title"]), (200, &json!("x")));
        assert!(said.body.get("userName").is_none());
    });
}

#[test]
fn a_list_takes_the_same_few_statements_however_much_there_is() {
    on_each("scim_statements", |site| async move {
        let few = End::of(&site, "few", Value::Null).await;
        let many = End::of(&site, "many", Value::Null).await;
        let mut costs = Vec::new();
        for (end, count) in [(&few, 3), (&many, 60)] {
            let prefix = &end.connection.name;
            let mut members = Vec::new();
            for number in 0..count {
                let name = format!("{prefix}-{number}");
                let new = json!({ "userName": name, "externalId": number.to_string() });
                members.push(json!({ "value": end.make("/Users", new).await }));
            }
            for number in 0..count / 3 {
                let name = format!("{prefix} {number}");
                end.make("/Groups", json!({ "displayName": name, "members": members }))
                    .await;
            }
            let mut of_end = Vec::new();
            for path in [
                "/Users".to_owned(),
                "/Users?startIndex=2&count=50".to_owned(),
                "/Users?cursor=&count=50".to_owned(),
                format!("/Users?filter=userName%20eq%20%22{prefix}-1%22"),
                "/Users?filter=externalId%20eq%20%221%22".to_owned(),
                "/Users?filter=title%20pr".to_owned(),
                "/Users?sortBy=userName".to_owned(),
                "/Groups".to_owned(),
                "/Groups?excludedAttributes=members".to_owned(),
                format!("/Groups?filter=displayName%20eq%20%22{prefix}%200%22"),
            ] {
                of_end.push(end.statements("GET", &path, Value::Null).await);
            }
            costs.push(of_end);
        }
        assert_eq!(costs[0], costs[1]);
        assert!(costs[0].iter().all(|cost| *cost <= 12), "{costs:?}");
    });
}

/// What cannot be seen in the number of statements: that one of them goes through all that there is.
#[test]
fn what_concerns_few_is_found_without_going_through_all() {
    on_each("scim_steps", |site| async move {
        if site.hub.db.dialect() != Dialect::Sqlite {
            // Only SQLite tells how far a statement has gone.
            return;
        }
        let mut costs: Vec<Vec<(String, u64)>> = Vec::new();
        // A page of members has a hundred at most, so that already the first time is a full one.
        for count in [120, 600] {
            let name = format!("of{count}");
            let end = End::of(&site, &name, json!({ "requestsPerSecond": 10_000 })).await;
            let mut members = Vec::new();
            for number in 0..count {
                let new = json!({
                    "userName": format!("{name}-{number}"), "externalId": number.to_string(),
                    "emails": [{ "value": format!("{name}-{number}@example.org") }],
                });
                members.push(end.make("/Users", new).await);
            }
            let mut groups = Vec::new();
            for number in 0..count / 2 {
                let new =
                    json!({ "displayName": format!("{name} {number}"), "externalId": number.to_string() });
                groups.push(end.make("/Groups", new).await);
            }
            let all: Vec<_> = members.iter().map(|id| json!({ "value": id })).collect();
            let fill = json!({ "op": "add", "path": "members", "value": all[1..] });
            let patch = |operation: Value| {
                json!({
                    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation],
                })
            };
            let (user, group) = (format!("/Users/{}", members[0]), format!("/Groups/{}", groups[0]));
            end.ask(
                "PATCH",
                &format!("{group}?excludedAttributes=members"),
                patch(fill),
            )
            .await;
            let join = patch(json!({ "op": "add", "path": "members", "value": [{ "value": members[0] }] }));
            let leave =
                patch(json!({ "op": "remove", "path": format!("members[value eq \"{}\"]", members[0]) }));
            let without = format!("{group}?excludedAttributes=members");
            let rename = patch(json!({ "op": "replace", "path": "displayName", "value": "Ada" }));
            let whole = json!({ "userName": format!("{name}-0"), "externalId": "0", "title": "Countess" });
            let mut of_count = Vec::new();
            for (method, path, body) in [
                (
                    "POST",
                    "/Users",
                    json!({ "userName": format!("{name}-new"), "externalId": "new" }),
                ),
                (
                    "POST",
                    "/Groups",
                    json!({ "displayName": format!("{name} new"), "externalId": "new" }),
                ),
                ("GET", &user, Value::Null),
                ("PATCH", &user, rename),
                ("PUT", &user, whole),
                ("PATCH", &without, join),
                ("PATCH", &without, leave),
                ("GET", &without, Value::Null),
                (
                    "GET",
                    &format!("/Users?filter=userName%20eq%20%22{name}-1%22"),
                    Value::Null,
                ),
                ("GET", "/Users?filter=externalId%20eq%20%221%22", Value::Null),
                (
                    "GET",
                    &format!("/Groups?filter=displayName%20eq%20%22{name}%200%22&excludedAttributes=members"),
                    Value::Null,
                ),
                ("GET", "/Users?cursor=&count=10", Value::Null),
                (
                    "GET",
                    "/Groups?cursor=&count=10&excludedAttributes=members",
                    Value::Null,
                ),
                ("DELETE", &user, Value::Null),
            ] {
                let shown = format!("{method} {path}")
                    .replace(&members[0], "id")
                    .replace(&groups[0], "id");
                of_count.push((shown, end.steps(method, path, &body).await));
            }
            costs.push(of_count);
        }
        for ((request, few), (_, many)) in costs[0].iter().zip(&costs[1]) {
            assert!(*many <= few * 3 / 2, "{request}: {few} steps, then {many}");
        }
    });
}
