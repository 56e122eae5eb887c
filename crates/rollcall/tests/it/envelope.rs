//! Looking into an envelope: what a request carried, or why it is refused.

use std::io::Write as _;
use std::process::Stdio;

use rollcall_protocol::{
    EncryptionKey, Event, EventBatch, JwkSet, SealParams, SigningKey, SystemRandom, seal,
};
use serde_json::Value;

use crate::operate::{done, rollcall};

#[test]
fn an_envelope_is_opened_or_refused_for_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::generate("KEY1").unwrap();
    let secret = EncryptionKey::generate(&SystemRandom);
    let jwks = JwkSet {
        keys: vec![key.public_jwk()],
    };
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("jwks.json", &serde_json::to_string(&jwks).unwrap());
    write("key.hex", &secret.to_hex());
    write("other.hex", &"00".repeat(32));
    let batch = EventBatch {
        instance_id: "idaas_1".into(),
        event_version: "V1.0".into(),
        ali_uid: "1".into(),
        events: vec![Event {
            event_id: "evnt_1".into(),
            event_type: "urn:alibaba:idaas:app:event:ud:user:delete".into(),
            event_time: 1,
            biz_id: "user_1".into(),
            biz_data: "{\"userId\":\"user_1\",\"displayName\":\"Ada\",\"createTime\":\"7\"}".into(),
        }],
    };
    let now_ms = 1_800_000_000_000;
    let params = SealParams {
        key: &key,
        instance_id: "idaas_1",
        application_id: "app_1",
        encryption: Some(&secret),
        now_ms,
        random: &SystemRandom,
    };
    let body = seal(&batch, &params).unwrap().body;
    let open = |more: &[&str]| {
        let mut child = rollcall(folder.path(), &["open", "--jwks", "jwks.json"])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.success(), shown["verified"] == true);
        shown
    };
    let (at, later) = ("2027-01-15T08:01:00Z", "2027-01-15T10:00:00Z");
    let shown = open(&[
        "--application-id",
        "app_1",
        "--encryption-key-file",
        "key.hex",
        "--at",
        at,
    ]);
    assert_eq!(
        shown["payload"]["eventData"][0]["bizData"]["userId"], "user_1",
        "{shown}"
    );
    assert_eq!(
        (&shown["header"]["kid"], &shown["claims"]["aud"]),
        (&"KEY1".into(), &"app_1".into())
    );
    assert_eq!(shown["claims"]["cipherData"]["jwe"]["header"]["enc"], "A256GCM");
    for (more, reason) in [
        (
            vec![
                "--application-id",
                "app_2",
                "--encryption-key-file",
                "key.hex",
                "--at",
                at,
            ],
            "wrong_audience",
        ),
        (
            vec![
                "--application-id",
                "app_1",
                "--encryption-key-file",
                "key.hex",
                "--at",
                later,
            ],
            "expired",
        ),
        (vec!["--application-id", "app_1", "--at", at], "no_decryption_key"),
        (
            vec![
                "--application-id",
                "app_1",
                "--encryption-key-file",
                "other.hex",
                "--at",
                at,
            ],
            "undecryptable",
        ),
    ] {
        let shown = open(&more);
        assert_eq!(shown["refused"]["error"], reason, "{shown}");
        assert_eq!(shown["unverified"]["claims"]["aud"], "app_1");
    }

    // The key from elsewhere than a file, never from the arguments; and everything as it is on the wire.
    let told = |more: &[&str], input: &str, variable: Option<&str>| {
        let mut process = rollcall(
            folder.path(),
            &["open", "--jwks", "jwks.json", "--application-id", "app_1"],
        );
        if let Some(key) = variable {
            process.env("ROLLCALL_OPEN_KEY", key);
        }
        let piped = process.args(more).args(["--at", at]).stdin(Stdio::piped());
        let mut child = piped
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    };
    let key = secret.to_hex();
    let by_variable = done(&told(&[], &body, Some(&key)));
    let by_input = done(&told(
        &["--encryption-key-file", "-"],
        &format!("{}\n{body}", *key),
        None,
    ));
    assert_eq!(by_variable, by_input);
    let payload = &by_variable[by_variable.find("\"payload\"").unwrap()..];
    insta::assert_snapshot!(payload, @r#"
    "payload": {
        "instanceId": "idaas_1",
        "eventVersion": "V1.0",
        "aliUid": "1",
        "eventData": [
          {
            "eventId": "evnt_1",
            "eventType": "urn:alibaba:idaas:app:event:ud:user:delete",
            "eventTime": "1",
            "bizId": "user_1",
            "bizData": {
              "userId": "user_1",
              "displayName": "Ada",
              "createTime": "7"
            }
          }
        ]
      }
    }
    "#);
    let keys = [
        "\"iss\"",
        "\"sub\"",
        "\"aud\"",
        "\"exp\"",
        "\"iat\"",
        "\"jti\"",
        "\"dataEncrypted\"",
    ];
    let places: Vec<_> = keys.iter().map(|key| by_variable.find(key).unwrap()).collect();
    assert!(places.is_sorted(), "{by_variable}");
    let argument = told(&["--key", &key], &body, None);
    assert!(!argument.status.success());
}
