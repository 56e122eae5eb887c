//! The exact bytes, where receivers may depend on them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_protocol::{
    EventType, GroupPayload, InventoryKind, InventoryPayload, JwkSet, SubjectKind, UnitMembership,
    UnitPayload, UserPayload, UserStatus,
};

use crate::{encryption_key, jwt_of, key, sealed};

fn part(jwt: &str, index: usize) -> String {
    let text = jwt.split('.').nth(index).unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

#[test]
fn a_signed_envelope() {
    let jwt = jwt_of(&sealed(None));
    insta::assert_snapshot!(part(&jwt, 0), @r#"{"kid":"KEYtest","typ":"JWT","alg":"RS256"}"#);
    insta::assert_snapshot!(part(&jwt, 1));
}

#[test]
fn an_encrypted_envelope() {
    let jwt = jwt_of(&sealed(Some(&encryption_key())));
    let claims = part(&jwt, 1);
    insta::assert_snapshot!(claims);
    let claims: serde_json::Value = serde_json::from_str(&claims).unwrap();
    let jwe = claims["cipherData"].as_str().unwrap();
    insta::assert_snapshot!(part(jwe, 0), @r#"{"alg":"dir","enc":"A256GCM"}"#);
    assert_eq!(jwe.split('.').nth(1), Some(""));
}

#[test]
fn a_jwks_document() {
    let text = serde_json::to_string(&JwkSet {
        keys: vec![key().public_jwk()],
    })
    .unwrap();
    assert!(
        text.starts_with(r#"{"keys":[{"kty":"RSA","e":"AQAB","use":"sig","kid":"KEYtest","n":""#),
        "{text}"
    );
}

#[test]
fn records_in_both_generations_of_names() {
    let user = UserPayload {
        user_id: "user_1".into(),
        username: Some("ada".into()),
        display_name: Some("Ada".into()),
        password_set: Some(true),
        phone_number: Some("5550000001".into()),
        phone_region: Some("44".into()),
        phone_verified: Some(false),
        email: Some("ada@example.org".into()),
        email_verified: Some(true),
        status: Some(UserStatus::Enabled),
        account_expire_time: Some(-1),
        register_time: Some(1),
        lock_expire_time: None,
        create_time: Some(2),
        update_time: Some(3),
        description: Some("first".into()),
        password: Some("secret".to_owned().into()),
        source_type: Some("build_in".into()),
        source_id: Some("idaas_1".into()),
        external_id: Some("E1".into()),
        units: vec![UnitMembership {
            id: "ou_1".into(),
            name: Some("Engines".into()),
            primary: true,
        }],
        primary_unit_id: Some("ou_1".into()),
        custom_fields: Some([("floor".to_owned(), "3".into())].into_iter().collect()),
    };
    insta::assert_snapshot!("user", user.to_json());
    assert_eq!(UserPayload::from_json(&user.to_json()).unwrap(), user);
    assert!(!format!("{user:?}").contains("secret"));
    let unit = UnitPayload {
        unit_id: "ou_1".into(),
        name: Some("Engines".into()),
        parent_id: Some("ou_root".into()),
        external_id: Some("U1".into()),
        source_type: Some("build_in".into()),
        source_id: Some("idaas_1".into()),
        description: None,
        create_time: Some(1),
        update_time: Some(2),
    };
    insta::assert_snapshot!("unit", unit.to_json());
    let group = GroupPayload {
        group_id: "group_1".into(),
        name: Some("Staff".into()),
        user_ids: Some(vec!["user_1".into()]),
        update_time: Some(2),
        ..GroupPayload::default()
    };
    insta::assert_snapshot!("group", group.to_json());
}

#[test]
fn older_records_with_numbers_or_strings_are_read() {
    let older = r#"{"userId":"user_1","sourceId":"s","externalId":"e","lastUpdatedTime":"5","accountExpireTime":-1,
        "passwordSet":"true","phoneVerified":"","organizationalUnits":[{"organizationalUnitId":"ou_1","name":"A","primary":true}]}"#;
    let newer = r#"{"userId":"user_1","userSourceId":"s","userExternalId":"e","updateTime":5,"accountExpireTime":"-1",
        "passwordSet":true,"userOrganizationalUnits":[{"organizationalUnitId":"ou_1","organizationalUnitName":"A","primary":"true"}],
        "primaryOrganizationalUnitId":"ou_1"}"#;
    assert_eq!(
        UserPayload::from_json(older).unwrap(),
        UserPayload::from_json(newer).unwrap()
    );
    assert!(UserPayload::from_json(r#"{"username":"x"}"#).is_err());
    assert!(UserPayload::from_json(r#"[]"#).is_err());
    assert!(UserPayload::from_json(r#"{"userId":"u","status":"gone"}"#).is_err());
}

#[test]
fn an_inventory() {
    let users = InventoryPayload {
        kind: InventoryKind::User,
        group_id: None,
        after: String::new(),
        through: Some("user_2".into()),
        ids: vec!["user_1".into(), "user_2".into()],
    };
    insta::assert_snapshot!(users.to_json(), @r#"{"subjectKind":"user","after":"","through":"user_2","ids":["user_1","user_2"]}"#);
    assert_eq!(InventoryPayload::from_json(&users.to_json()), Ok(users));
    let members = InventoryPayload {
        kind: InventoryKind::GroupMember,
        group_id: Some("group_1".into()),
        after: "user_2".into(),
        through: None,
        ids: vec![],
    };
    insta::assert_snapshot!(members.to_json(), @r#"{"subjectKind":"group_member","groupId":"group_1","after":"user_2","ids":[]}"#);
    assert_eq!(InventoryPayload::from_json(&members.to_json()), Ok(members));
}

#[test]
fn an_inventory_is_read_strictly() {
    // What is not named is removed, so nothing is guessed.
    for record in [
        "[]",
        "{}",
        r#"{"subjectKind":"user","after":""}"#,
        r#"{"subjectKind":"user","after":"","ids":null}"#,
        r#"{"subjectKind":"user","after":"","ids":[7]}"#,
        r#"{"subjectKind":"user","ids":["a"]}"#,
        r#"{"subjectKind":"robot","after":"","ids":["a"]}"#,
        r#"{"after":"","ids":["a"]}"#,
        r#"{"subjectKind":"group_member","after":"","ids":["a"]}"#,
        r#"{"subjectKind":"group_member","groupId":"","after":"","ids":["a"]}"#,
        r#"{"subjectKind":"user","groupId":"g","after":"","ids":["a"]}"#,
        r#"{"subjectKind":"user","after":"b","ids":["a"]}"#,
        r#"{"subjectKind":"user","after":"","through":"a","ids":["b"]}"#,
    ] {
        assert!(InventoryPayload::from_json(record).is_err(), "{record}");
    }
}

#[test]
fn every_type_has_its_name_and_its_subject() {
    assert_eq!(EventType::ALL.len(), 24);
    for event in EventType::ALL.iter().copied() {
        assert_eq!(EventType::parse(event.urn()), Some(event));
        assert_eq!(EventType::parse(event.short()), Some(event));
        if event != EventType::Inventory {
            assert_eq!(
                event.urn(),
                format!("urn:alibaba:idaas:app:event:{}", event.short())
            );
            assert_eq!(event.is_subscribable(), event.subject_kind().is_some());
        }
    }
    assert_eq!(
        EventType::UnitUpdateParent.subject_kind(),
        Some(SubjectKind::Unit)
    );
    assert_eq!(EventType::Test.subject_kind(), None);
    assert_eq!(EventType::parse("ud:user:unheard_of"), None);
}

#[test]
fn the_inventory_is_an_extension_of_our_own() {
    let inventory = EventType::Inventory;
    assert_eq!(inventory.urn(), "urn:rollcall:app:event:inventory");
    assert_eq!(EventType::parse("urn:alibaba:idaas:app:event:inventory"), None);
    assert_eq!(inventory.subject_kind(), None);
    assert!(!inventory.is_incremental() && !inventory.is_subscribable());
}
