//! What a service provider says of itself, pinned.

use std::collections::BTreeSet;

use rollcall_scim::messages::{
    AuthenticationScheme, BulkSupport, FilterSupport, PageMethod, Pagination, ServiceProviderConfig,
    Supported,
};
use rollcall_scim::schema::{Schema, documents, group, user};
use serde_json::{Value, json};

const BASE: &str = "https://hub.example/scim/v2/okta";

fn pinned(name: &str, value: &Value) {
    insta::with_settings!({ sort_maps => true, prepend_module_to_snapshot => false }, {
        insta::assert_json_snapshot!(name, value);
    });
}

#[test]
fn schemas_and_resource_types() {
    let documents = documents(&[user(), group()], BASE);
    let schemas: Vec<&str> = documents.schemas.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(
        schemas,
        [
            "urn:ietf:params:scim:schemas:core:2.0:User",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
            "urn:ietf:params:scim:schemas:core:2.0:Group",
            "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig",
            "urn:ietf:params:scim:schemas:core:2.0:ResourceType",
            "urn:ietf:params:scim:schemas:core:2.0:Schema",
        ]
    );
    for (id, document) in &documents.schemas {
        pinned(&format!("schema-{}", id.replace(':', "-")), document);
    }
    for (name, document) in &documents.resource_types {
        pinned(&format!("resource-type-{name}"), document);
    }
}

/// Every characteristic that a schema states is one that the schema of schemas has.
#[test]
fn schemas_are_what_the_schema_of_schemas_says() {
    let documents = documents(&[user(), group()], BASE);
    let known = |attributes: &Value| -> BTreeSet<String> {
        let attributes = attributes.as_array().unwrap().iter();
        attributes
            .map(|attribute| attribute["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let (_, of_schemas) = documents.schemas.last().unwrap();
    let attributes = &of_schemas["attributes"].as_array().unwrap()[3];
    assert_eq!(attributes["name"], "attributes");
    let characteristics = known(&attributes["subAttributes"]);
    for (_, document) in &documents.schemas {
        for attribute in document["attributes"].as_array().unwrap() {
            for name in attribute.as_object().unwrap().keys() {
                assert!(characteristics.contains(name), "{name}");
            }
        }
        // A client reads the same from it.
        let read: Schema = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(&read.to_json(BASE), document);
    }
}

#[test]
fn the_configuration() {
    let config = ServiceProviderConfig {
        documentation_uri: Some("https://hub.example/docs".to_owned()),
        patch: Supported { supported: true },
        bulk: BulkSupport {
            supported: true,
            max_operations: 1000,
            max_payload_size: 1_048_576,
        },
        filter: FilterSupport {
            supported: true,
            max_results: 200,
        },
        sort: Supported { supported: true },
        etag: Supported { supported: true },
        authentication_schemes: vec![AuthenticationScheme {
            kind: "oauthbearertoken".to_owned(),
            name: "Bearer token".to_owned(),
            description: "A token of the connection, in the header Authorization.".to_owned(),
            spec_uri: Some("https://www.rfc-editor.org/info/rfc6750".to_owned()),
            documentation_uri: None,
            primary: true,
        }],
        pagination: Some(Pagination {
            cursor: true,
            index: true,
            default_pagination_method: Some(PageMethod::Index),
            default_page_size: Some(100),
            max_page_size: Some(200),
            cursor_timeout: Some(3600),
        }),
        ..ServiceProviderConfig::default()
    };
    let document = config.to_json(BASE);
    pinned("service-provider-config", &document);
    assert_eq!(
        serde_json::from_value::<ServiceProviderConfig>(document).unwrap(),
        config
    );
}

/// What is not said is not supported.
#[test]
fn a_configuration_with_gaps() {
    let read: ServiceProviderConfig = serde_json::from_value(json!({
        "patch": { "supported": true },
        "bulk": {},
        "somethingElse": 5,
    }))
    .unwrap();
    assert!(read.patch.supported);
    assert!(!read.bulk.supported && !read.filter.supported && !read.etag.supported);
    assert_eq!(read.pagination, None);
}
