//! Lists, searches, bulk requests, errors.

use rollcall_scim::messages::{
    BulkAnswer, BulkRequest, ListResponse, Page, PageLimits, PageMethod, Query, References, SearchRequest,
    Sort, SortOrder, bulk_response,
};
use rollcall_scim::schema::user;
use rollcall_scim::{AttrPath, Error, ScimType, Strictness};
use serde_json::{Value, json};

use crate::{barbara, object};

const LIMITS: PageLimits = PageLimits {
    default_size: 100,
    max_size: 200,
    method: PageMethod::Index,
};

fn asked(parameters: &[(&str, &str)], strictness: Strictness) -> Result<Query, Error> {
    SearchRequest::of_parameters(parameters.iter().copied())?.query(user(), LIMITS, strictness)
}

#[test]
fn pages() {
    let index = |start, count| Page::Index { start, count };
    let cursor = |cursor: Option<&str>, count| Page::Cursor {
        cursor: cursor.map(str::to_owned),
        count,
    };
    for (parameters, page) in [
        (&[][..], index(1, 100)),
        // The first question of Okta.
        (&[("startIndex", "1"), ("count", "2")], index(1, 2)),
        (&[("startindex", "-5"), ("COUNT", "-1")], index(1, 0)),
        (&[("startIndex", "0"), ("count", "1000")], index(1, 200)),
        (&[("cursor", ""), ("count", "10")], cursor(None, 10)),
        (
            &[("cursor", "VZUTiyhEQJ94IR")],
            cursor(Some("VZUTiyhEQJ94IR"), 100),
        ),
    ] {
        assert_eq!(
            asked(parameters, Strictness::Strict).unwrap().page,
            page,
            "{parameters:?}"
        );
    }
    for (parameters, kind) in [
        (&[("count", "many")][..], ScimType::InvalidValue),
        (&[("count", "many"), ("cursor", "")], ScimType::InvalidCount),
        (&[("startIndex", "1.5")], ScimType::InvalidValue),
        (&[("startIndex", "1"), ("cursor", "")], ScimType::InvalidValue),
    ] {
        let error = asked(parameters, Strictness::Strict).unwrap_err();
        assert_eq!(error.scim_type, Some(kind), "{parameters:?}");
    }
    let by_cursor = PageLimits {
        method: PageMethod::Cursor,
        ..LIMITS
    };
    let query = SearchRequest::default()
        .query(user(), by_cursor, Strictness::Strict)
        .unwrap();
    assert_eq!(query.page, cursor(None, 100));
}

#[test]
fn a_search_is_asked_for_as_a_body_or_as_parameters() {
    let parameters = asked(
        &[
            ("filter", "displayName sw \"smith\""),
            ("attributes", "displayName,userName"),
            ("excludedAttributes", "emails"),
            ("sortBy", "NAME.familyname"),
            ("sortOrder", "descending"),
            ("cursor", ""),
            ("count", "10"),
            ("aadOptscim062020", ""),
        ],
        Strictness::Strict,
    )
    .unwrap();
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "filter": "displayName sw \"smith\"",
        "attributes": ["displayName", "userName"],
        "excludedAttributes": ["emails"],
        "sortBy": "name.familyName",
        "sortOrder": "descending",
        "cursor": "",
        "count": 10,
    });
    let search = SearchRequest::read(body.clone(), Strictness::Strict).unwrap();
    assert_eq!(
        search.query(user(), LIMITS, Strictness::Strict).unwrap(),
        parameters
    );
    assert_eq!(search.to_json(), body);
    assert_eq!(
        parameters.sort,
        Some(Sort {
            by: AttrPath::parse("name.familyName").unwrap(),
            order: SortOrder::Descending,
        })
    );
    for (body, kind) in [
        (json!({ "count": 1 }), ScimType::InvalidSyntax),
        (json!([]), ScimType::InvalidSyntax),
    ] {
        let error = SearchRequest::read(body, Strictness::Strict).unwrap_err();
        assert_eq!(error.scim_type, Some(kind));
    }
    assert!(SearchRequest::read(json!({ "count": "x" }), Strictness::Lenient).is_err());
}

#[test]
fn questions_that_there_cannot_be() {
    for (name, value, kind) in [
        ("filter", "userName is 5", ScimType::InvalidFilter),
        ("filter", "active gt true", ScimType::InvalidFilter),
        ("sortBy", "shoeSize", ScimType::InvalidPath),
        ("sortBy", "a..b", ScimType::InvalidPath),
        ("sortOrder", "upwards", ScimType::InvalidValue),
        ("attributes", "(", ScimType::InvalidValue),
    ] {
        let error = asked(&[(name, value)], Strictness::Strict).unwrap_err();
        assert_eq!(error.scim_type, Some(kind), "{name}={value}");
    }
    assert_eq!(
        asked(&[("sortBy", "shoeSize")], Strictness::Lenient)
            .unwrap()
            .sort,
        None
    );
}

#[test]
fn lists() {
    let list = ListResponse::by_index(5, 3, vec![object(json!({ "id": "a" }))]);
    assert_eq!(
        list.to_json(),
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "totalResults": 5, "startIndex": 3, "itemsPerPage": 1, "Resources": [{ "id": "a" }],
        })
    );
    let list = ListResponse::by_cursor(None, Some("next".to_owned()), vec![]);
    assert_eq!(
        list.to_json(),
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "itemsPerPage": 0, "nextCursor": "next", "Resources": [],
        })
    );
    // An empty list of others may have no resources at all.
    let read: ListResponse = serde_json::from_value(json!({ "totalResults": 0, "schemas": [] })).unwrap();
    assert_eq!((read.total_results, read.resources.len()), (Some(0), 0));
    assert_eq!(
        serde_json::from_value::<ListResponse>(list.to_json()).unwrap(),
        list
    );
}

#[test]
fn errors() {
    let error = Error::of(ScimType::Uniqueness, "another user has this userName");
    assert_eq!(
        error.to_json(),
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "status": "409", "scimType": "uniqueness", "detail": "another user has this userName",
        })
    );
    assert_eq!(Error::from_json(409, &error.to_json()), Some(error));
    let plain = Error::status(404, "there is no such user");
    assert_eq!(plain.to_json().get("scimType"), None);
    assert_eq!(Error::from_json(404, &plain.to_json()), Some(plain));
    assert_eq!(Error::from_json(404, &json!({ "detail": "x" })), None);
    let foreign = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": 400, "scimType": "odd" });
    assert_eq!(Error::from_json(400, &foreign), Some(Error::status(400, "")));
}

fn bulk(operations: Value) -> BulkRequest {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "failOnErrors": 1,
        "Operations": operations,
    });
    let read = BulkRequest::read(body.clone(), 10, Strictness::Strict).unwrap();
    let mut again = json!(read);
    again["schemas"] = body["schemas"].clone();
    assert_eq!(again, body);
    read
}

fn group(name: &str, member: &str) -> Value {
    let data = json!({ "displayName": name, "members": [{ "type": "User", "value": member }] });
    json!({ "method": "POST", "path": "/Groups", "bulkId": name, "data": data })
}

#[test]
fn what_is_referred_to_is_made_first() {
    let alice =
        json!({ "method": "POST", "path": "/Users", "bulkId": "qwerty", "data": { "userName": "Alice" } });
    let change = json!({ "method": "PATCH", "path": "/Users/bulkId:qwerty", "data": {} });
    let delete = json!({ "method": "DELETE", "path": "/Users/b7c14771" });
    let request = bulk(json!([group("tours", "bulkId:qwerty"), change, delete, alice]));
    assert_eq!(request.order(), (vec![2, 3, 0, 1], vec![]));

    let mut references = References::default();
    let group = request.operations[0].clone();
    assert_eq!(references.resolved(group.clone()).unwrap_err().status, 409);
    references.made("qwerty", "92b725cd");
    let resolved = references.resolved(group).unwrap();
    assert_eq!(resolved.data.unwrap()["members"][0]["value"], "92b725cd");
    let change = references.resolved(request.operations[1].clone()).unwrap();
    assert_eq!(change.path, "/Users/92b725cd");
}

#[test]
fn circles_are_found_and_who_waits_for_them() {
    let request = bulk(json!([
        group("a", "bulkId:b"),
        group("b", "bulkId:a"),
        group("c", "bulkId:b"),
        group("d", "bulkId:d"),
        group("e", "known"),
        group("f", "bulkId:nobody"),
    ]));
    // A reference to nobody is an error of its own, when it is resolved.
    assert_eq!(request.order(), (vec![4, 5], vec![0, 1, 2, 3]));
}

#[test]
fn bulk_requests_that_there_cannot_be() {
    let post = json!({ "method": "post", "path": "/Users", "bulkId": "a", "data": {} });
    for (operations, status, detail) in [
        (
            json!([post, post]),
            400,
            "operation 2: another operation has this bulkId",
        ),
        (
            json!([{ "method": "PUT", "path": "/Users/x" }]),
            400,
            "operation 1: data is missing",
        ),
        (
            json!([{ "method": "GET", "path": "/Users/x" }]),
            400,
            "the bulk request cannot be read: method must be POST, PUT, PATCH or DELETE",
        ),
        (
            json!([post, post, post, post]),
            413,
            "4 operations are more than the 3 that are possible",
        ),
    ] {
        let error =
            BulkRequest::read(json!({ "Operations": operations }), 3, Strictness::Lenient).unwrap_err();
        assert_eq!((error.status, error.detail.as_str()), (status, detail));
    }
}

#[test]
fn answers_of_a_bulk() {
    let mut made = barbara();
    made["meta"]["location"] = "https://hub.example/Users/2819c223".into();
    made["meta"]["version"] = "W/\"4\"".into();
    let request = bulk(json!([group("a", "x"), { "method": "DELETE", "path": "/Users/y" }]));
    let answers = [
        BulkAnswer::done(&request.operations[0], 201, Some(&made)),
        BulkAnswer::failed(
            &request.operations[1],
            &Error::status(404, "there is no such user"),
        ),
    ];
    assert_eq!(
        bulk_response(&answers),
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkResponse"],
            "Operations": [
                {
                    "method": "POST", "bulkId": "a", "status": "201", "version": "W/\"4\"",
                    "location": "https://hub.example/Users/2819c223",
                },
                {
                    "method": "DELETE", "status": "404",
                    "response": {
                        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
                        "status": "404", "detail": "there is no such user",
                    },
                },
            ],
        })
    );
}
