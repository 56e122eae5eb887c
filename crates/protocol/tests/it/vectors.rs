//! The vector of docs/vectors, which developers of applications test their receivers with: sealing gives exactly
//! these bytes, and opening them gives exactly these events.
//!
//! `cargo xtask vectors` writes the files anew. Everything in them is fixed: the keys, the time, what is random
//! elsewhere; RS256 gives the same signature for the same text.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rollcall_protocol::{
    Answer, EncryptionKey, ErrorAnswer, Event, EventBatch, EventResult, EventType, GroupPayload, JwkSet,
    KeySet, OpenError, Opener, Random, Reading, SealParams, SigningKey, SubjectKind, UnitMembership,
    UnitPayload, UserPayload, UserStatus, read_answer, seal,
};
use serde::Deserialize;
use serde_json::Value;

/// Set to write the files instead of comparing with them.
const WRITE: &str = "ROLLCALL_WRITE_VECTORS";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/vectors")
}

fn read(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Parameters {
    instance_id: String,
    application_id: String,
    ali_uid: String,
    kid: String,
    encryption_key: String,
    now: i64,
    jti: String,
    initialization_vector: String,
}

fn parameters() -> Parameters {
    serde_json::from_str(&read("parameters.json")).unwrap()
}

impl Parameters {
    fn signing_key(&self) -> SigningKey {
        let pem = read("signing-key.pem");
        let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        SigningKey::from_pkcs8(&self.kid, &STANDARD.decode(text).unwrap()).unwrap()
    }

    fn encryption_key(&self) -> EncryptionKey {
        EncryptionKey::from_hex(&self.encryption_key).unwrap()
    }

    fn batch(&self) -> EventBatch {
        EventBatch {
            instance_id: self.instance_id.clone(),
            event_version: "V1.0".to_owned(),
            ali_uid: self.ali_uid.clone(),
            events: events(self),
        }
    }

    fn sealed(&self, encryption: Option<&EncryptionKey>) -> String {
        let random =
            Fixed([&self.jti, &self.initialization_vector].map(|text| URL_SAFE_NO_PAD.decode(text).unwrap()));
        let sealed = seal(
            &self.batch(),
            &SealParams {
                key: &self.signing_key(),
                instance_id: &self.instance_id,
                application_id: &self.application_id,
                encryption,
                now_ms: self.now,
                random: &random,
            },
        );
        sealed.unwrap().body
    }
}

/// Gives the `jti` and the initialization vector of the parameters, told apart by their lengths.
struct Fixed([Vec<u8>; 2]);

impl Random for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        let bytes = self.0.iter().find(|bytes| bytes.len() == buffer.len()).unwrap();
        buffer.copy_from_slice(bytes);
    }
}

const UNIT: &str = "ou_06gsjxj2e0r9w4n7q5m1bzkt3c";
const USER: &str = "user_06gsjxj8x4h2p6v9t3f0dwsn1m";
const GROUP: &str = "group_06gsjxjem8b5q1y7z2k4rcvt9w";

fn events(parameters: &Parameters) -> Vec<Event> {
    let time = parameters.now - 1_000;
    let built_in = Some("build_in".to_owned());
    let instance = Some(parameters.instance_id.clone());
    let unit = UnitPayload {
        unit_id: UNIT.to_owned(),
        name: Some("Engineering".to_owned()),
        parent_id: Some("ou_root".to_owned()),
        external_id: Some(UNIT.to_owned()),
        source_type: built_in.clone(),
        source_id: instance.clone(),
        description: Some(String::new()),
        create_time: Some(time),
        update_time: Some(time),
    };
    let user = UserPayload {
        user_id: USER.to_owned(),
        username: Some("ada".to_owned()),
        display_name: Some("Ada \"Countess\" Lovelace, 数学家 👩\u{200d}💻".to_owned()),
        password_set: Some(true),
        phone_number: Some("2012345678".to_owned()),
        phone_region: Some("44".to_owned()),
        phone_verified: Some(false),
        email: Some("ada@example.org".to_owned()),
        email_verified: Some(true),
        status: Some(UserStatus::Enabled),
        account_expire_time: Some(-1),
        register_time: Some(time),
        lock_expire_time: Some(-1),
        create_time: Some(time),
        update_time: Some(time),
        description: Some(String::new()),
        password: None,
        source_type: built_in.clone(),
        source_id: instance.clone(),
        external_id: Some(USER.to_owned()),
        units: vec![UnitMembership {
            id: UNIT.to_owned(),
            name: Some("Engineering".to_owned()),
            primary: true,
        }],
        primary_unit_id: Some(UNIT.to_owned()),
        custom_fields: None,
    };
    let group = GroupPayload {
        group_id: GROUP.to_owned(),
        name: Some("Analysts".to_owned()),
        external_id: Some(GROUP.to_owned()),
        source_type: built_in,
        source_id: instance,
        description: Some(String::new()),
        create_time: Some(time),
        update_time: Some(time),
        user_ids: None,
    };
    let members = GroupPayload {
        user_ids: Some(vec![USER.to_owned()]),
        ..group.clone()
    };
    let told = [
        (EventType::UnitCreate, UNIT, unit.to_json()),
        (EventType::UserCreate, USER, user.to_json()),
        (EventType::GroupCreate, GROUP, group.to_json()),
        (EventType::GroupAddUser, GROUP, members.to_json()),
        (EventType::UserDelete, USER, user.to_json()),
    ];
    (0..)
        .zip(told)
        .map(|(number, (event_type, biz_id, biz_data))| Event {
            event_id: format!("evnt_06gsjxk{number}00000000000000000000"),
            event_type: event_type.urn().to_owned(),
            event_time: time + number,
            biz_id: biz_id.to_owned(),
            biz_data,
        })
        .collect()
}

fn pretty(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap();
    serde_json::to_string_pretty(&value).unwrap() + "\n"
}

/// The claims of a request, as they are signed.
fn claims_of(body: &str) -> String {
    let jwt = crate::jwt_of(body);
    let claims = jwt.split('.').nth(1).unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

/// What the answer to the request says if every event was dealt with.
fn all_is_well(parameters: &Parameters) -> Answer {
    let result = |event: &Event| EventResult {
        event_id: event.event_id.clone(),
        event_code: "SUCCESS".to_owned(),
        event_message: String::new(),
    };
    Answer {
        success: events(parameters).iter().map(result).collect(),
        ..Answer::default()
    }
}

/// What it says if the application does not handle groups and cannot store the user just now.
fn in_part(parameters: &Parameters) -> Answer {
    let mut answer = Answer::default();
    for event in events(parameters) {
        let kind = event.kind().unwrap();
        let (list, code, message) = match kind.subject_kind().unwrap() {
            SubjectKind::Group => (&mut answer.skipped, "auto_skipped", ""),
            SubjectKind::User => (&mut answer.retried, "exception", "the database is away"),
            SubjectKind::Unit => (&mut answer.success, "SUCCESS", ""),
        };
        list.push(EventResult {
            event_id: event.event_id,
            event_code: code.to_owned(),
            event_message: message.to_owned(),
        });
    }
    answer
}

/// Every file, with what has to be in it.
fn files(parameters: &Parameters) -> Vec<(&'static str, String)> {
    let jwks = JwkSet {
        keys: vec![parameters.signing_key().public_jwk()],
    };
    let plain = parameters.sealed(None);
    let encrypted = parameters.sealed(Some(&parameters.encryption_key()));
    let refusal = ErrorAnswer {
        error: "bad_request".to_owned(),
        error_description: Some("the signature does not fit".to_owned()),
    };
    vec![
        ("jwks.json", serde_json::to_string(&jwks).unwrap()),
        ("claims.json", claims_of(&plain)),
        ("claims-encrypted.json", claims_of(&encrypted)),
        ("payload.json", parameters.batch().to_json()),
        ("user.json", pretty(&events(parameters)[1].biz_data)),
        ("request.json", plain),
        ("request-encrypted.json", encrypted),
        (
            "answer.json",
            serde_json::to_string(&all_is_well(parameters)).unwrap(),
        ),
        (
            "answer-in-part.json",
            serde_json::to_string(&in_part(parameters)).unwrap(),
        ),
        ("answer-refused.json", serde_json::to_string(&refusal).unwrap()),
    ]
}

#[test]
fn sealing_gives_the_files() {
    let parameters = parameters();
    for (file, content) in files(&parameters) {
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(folder().join(file), content).unwrap();
        } else {
            assert_eq!(
                read(file),
                content,
                "{file}; `cargo xtask vectors` writes it anew"
            );
        }
    }
}

#[test]
fn opening_the_files_gives_the_events() {
    let parameters = parameters();
    let key = parameters.encryption_key();
    let keys = KeySet::from_json(&read("jwks.json")).unwrap();
    let opener = Opener {
        instance_id: Some(&parameters.instance_id),
        decryption: Some(&key),
        ..Opener::new(&keys, &parameters.application_id)
    };
    for (file, encrypted) in [("request.json", false), ("request-encrypted.json", true)] {
        let body = read(file);
        let opened = opener.open(body.as_bytes(), parameters.now).unwrap();
        assert_eq!((opened.encrypted, &opened.kid), (encrypted, &parameters.kid));
        assert_eq!(opened.batch, parameters.batch(), "{file}");
        let late = parameters.now + 1_900_000;
        assert!(matches!(
            opener.open(body.as_bytes(), late),
            Err(OpenError::Expired { .. })
        ));
        let damaged = body.replacen(".", ".e", 1);
        assert!(opener.open(damaged.as_bytes(), parameters.now).is_err());
    }
    assert!(
        !read("request-encrypted.json").contains("plainData")
            && !read("claims-encrypted.json").contains("ada")
    );
}

#[test]
fn the_answers_are_read_as_they_are_meant() {
    let parameters = parameters();
    for (file, meant) in [
        ("answer.json", all_is_well(&parameters)),
        ("answer-in-part.json", in_part(&parameters)),
    ] {
        let reading = read_answer(read(file).as_bytes(), true);
        assert!(
            matches!(reading, Reading::Understood(answer) if answer == meant),
            "{file}"
        );
    }
    let refused = ErrorAnswer::parse(read("answer-refused.json").as_bytes()).unwrap();
    assert_eq!(refused.error, "bad_request");
}
