//! Several requests in one.

use serde_json::{Value, json};

use super::End;
use crate::access::on_each;

fn bulk(fail_on_errors: Option<u64>, operations: Value) -> Value {
    let mut request = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations,
    });
    if let Some(count) = fail_on_errors {
        request["failOnErrors"] = count.into();
    }
    request
}

/// The status of each operation, by its name.
fn statuses(body: &Value) -> Vec<(String, String)> {
    let operations = body["Operations"].as_array().unwrap_or_else(|| panic!("{body}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    operations
        .iter()
        .map(|operation| (text(&operation["bulkId"]), text(&operation["status"])))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, status): &(&str, &str)| ((*name).to_owned(), (*status).to_owned());
    expected.iter().map(owned).collect()
}

#[test]
fn operations_refer_to_what_others_make() {
    on_each("scim_bulk", |site| async move {
        let end = End::of(&site, "one", Value::Null).await;
        let said = end
            .ask(
                "POST",
                "/Bulk",
                bulk(
                    None,
                    json!([
                        { "method": "POST", "path": "/Groups", "bulkId": "staff",
                          "data": { "displayName": "Staff", "members": [{ "value": "bulkId:ada" }] } },
                        { "method": "POST", "path": "/Users", "bulkId": "ada", "data": { "userName": "ada" } },
                        { "method": "PATCH", "path": "/Users/bulkId:ada", "bulkId": "change",
                          "data": { "Operations": [{ "op": "add", "path": "title", "value": "Countess" }] } },
                        { "method": "POST", "path": "/Users", "bulkId": "twice", "data": { "userName": "ADA" } },
                        { "method": "POST", "path": "/Cars", "bulkId": "car", "data": {} },
                        { "method": "DELETE", "path": "/Users/nobody", "bulkId": "gone" },
                    ]),
                ),
            )
            .await;
        assert_eq!(said.status, 200, "{}", said.body);
        assert_eq!(
            statuses(&said.body),
            pairs(&[
                ("ada", "201"),
                ("staff", "201"),
                ("change", "200"),
                ("twice", "409"),
                ("car", "400"),
                ("gone", "404"),
            ])
        );
        let operations = said.body["Operations"].as_array().unwrap();
        assert_eq!(operations[3]["response"]["scimType"], "uniqueness");
        assert!(
            operations[0]["version"].is_string() && operations[2]["location"] == operations[0]["location"]
        );
        let location = operations[1]["location"].as_str().unwrap();
        let (_, path) = location.split_once(&end.connection.id).unwrap();
        assert_eq!(end.get(path).await.body["members"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn errors_end_a_bulk_when_there_are_as_many_as_it_says() {
    on_each("scim_bulk_errors", |site| async move {
        let end = End::of(&site, "one", Value::Null).await;
        let operations = json!([
            { "method": "POST", "path": "/Users", "bulkId": "a", "data": { "userName": "a" } },
            { "method": "POST", "path": "/Users", "bulkId": "b", "data": { "userName": "A" } },
            { "method": "POST", "path": "/Users", "bulkId": "c", "data": { "userName": "c" } },
        ]);
        let said = end.ask("POST", "/Bulk", bulk(Some(1), operations)).await;
        assert_eq!(statuses(&said.body), pairs(&[("a", "201"), ("b", "409")]));
        assert_eq!(end.found("/Users").await.1, 1);
        let circle = json!([
            { "method": "POST", "path": "/Groups", "bulkId": "a",
              "data": { "displayName": "a", "members": [{ "value": "bulkId:b" }] } },
            { "method": "POST", "path": "/Groups", "bulkId": "b",
              "data": { "displayName": "b", "members": [{ "value": "bulkId:a" }] } },
        ]);
        let said = end.ask("POST", "/Bulk", bulk(None, circle)).await;
        assert_eq!(statuses(&said.body), pairs(&[("a", "409"), ("b", "409")]));

        let one = json!({ "method": "DELETE", "path": "/Users/nobody" });
        let many = Value::Array(vec![one; 1_001]);
        assert_eq!(end.ask("POST", "/Bulk", bulk(None, many)).await.status, 413);
        let data = json!({ "userName": "d", "title": "x".repeat(1 << 20) });
        let large = json!([{ "method": "POST", "path": "/Users", "bulkId": "d", "data": data }]);
        assert_eq!(end.ask("POST", "/Bulk", bulk(None, large)).await.status, 413);
    });
}
