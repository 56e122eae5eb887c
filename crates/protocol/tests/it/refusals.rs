//! One refusal for each cause.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jws::{self, JwsHeader, JwsSigner};
use rollcall_protocol::{EncryptionKey, OpenError, Opened, Opener};
use serde_json::{Value, json};

use crate::{APP, INSTANCE, NOW, PEM, encryption_key, jwt_of, key, keys, sealed};

fn open(body: &str) -> Result<Opened, OpenError> {
    Opener::new(&keys(), APP).open(body.as_bytes(), NOW)
}

fn code(body: &str) -> &'static str {
    open(body).unwrap_err().code()
}

fn claims() -> Value {
    let jwt = jwt_of(&sealed(None));
    let part = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&part).unwrap()
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

fn sign_with(claims: &[u8], signer: &dyn JwsSigner, kid: &str) -> String {
    let mut header = JwsHeader::new();
    header.set_key_id(kid);
    body(&jws::serialize_compact(claims, &header, signer).unwrap())
}

fn signed(claims: &Value) -> String {
    sign_with(
        claims.to_string().as_bytes(),
        &jws::RS256.signer_from_pem(PEM).unwrap(),
        "KEYtest",
    )
}

fn body(jwt: &str) -> String {
    json!({ "event": jwt }).to_string()
}

#[test]
fn the_sample_itself_is_opened() {
    let opened = open(&signed(&claims())).unwrap();
    assert_eq!(
        (opened.instance_id.as_str(), opened.kid.as_str()),
        (INSTANCE, "KEYtest")
    );
    assert_eq!(opened.batch, crate::batch());
}

#[test]
fn what_is_no_envelope() {
    assert_eq!(code(""), "bad_request");
    assert_eq!(code("[]"), "bad_request");
    assert_eq!(code("{\"event\":3}"), "bad_request");
    for jwt in ["", "a", "a.b", "a.b.c.d", "ä.ö.ü", "e30=.e30.e30"] {
        assert_eq!(code(&body(jwt)), "not_a_jwt", "{jwt}");
    }
    assert_eq!(code(&body("bm90anNvbg.e30.e30")), "malformed_header");
    let keys = keys();
    let opener = Opener {
        limit_bytes: 10,
        ..Opener::new(&keys, APP)
    };
    assert_eq!(
        opener.open(sealed(None).as_bytes(), NOW).unwrap_err().code(),
        "too_large"
    );
}

#[test]
fn other_algorithms() {
    let text = claims().to_string();
    let none = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode("{\"alg\":\"none\",\"kid\":\"KEYtest\"}"),
        URL_SAFE_NO_PAD.encode(&text)
    );
    assert_eq!(open(&body(&none)), Err(OpenError::WrongAlgorithm("none".into())));
    // The public key as the secret of a symmetric signature: the classic confusion.
    let public = serde_json::to_vec(&key().public_jwk()).unwrap();
    let hs256 = sign_with(
        text.as_bytes(),
        &jws::HS256.signer_from_bytes(public).unwrap(),
        "KEYtest",
    );
    assert_eq!(open(&hs256), Err(OpenError::WrongAlgorithm("HS256".into())));
    let ps256 = format!(
        "{}.{}.{}",
        URL_SAFE_NO_PAD.encode("{\"alg\":\"PS256\",\"kid\":\"KEYtest\"}"),
        URL_SAFE_NO_PAD.encode(&text),
        URL_SAFE_NO_PAD.encode([1; 256])
    );
    assert_eq!(
        open(&body(&ps256)),
        Err(OpenError::WrongAlgorithm("PS256".into()))
    );
    let rs512 = sign_with(
        text.as_bytes(),
        &jws::RS512.signer_from_pem(PEM).unwrap(),
        "KEYtest",
    );
    assert_eq!(code(&rs512), "wrong_algorithm");
}

#[test]
fn other_keys_and_signatures() {
    let signer = jws::RS256.signer_from_pem(PEM).unwrap();
    let stranger = sign_with(claims().to_string().as_bytes(), &signer, "KEYother");
    assert_eq!(
        open(&stranger),
        Err(OpenError::UnknownKey {
            kid: "KEYother".into()
        })
    );
    let jwt = jwt_of(&sealed(None));
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let forged = URL_SAFE_NO_PAD.encode(with(|claims| claims["aud"] = "app_other".into()).to_string());
    let header = signed.split('.').next().unwrap();
    assert_eq!(
        code(&body(&format!("{header}.{forged}.{signature}"))),
        "bad_signature"
    );
    assert_eq!(code(&body(&format!("{signed}."))), "bad_signature");
}

#[test]
fn other_senders_and_receivers() {
    assert_eq!(
        code(&signed(&with(|c| c["iss"] = "urn:other".into()))),
        "wrong_issuer"
    );
    assert_eq!(
        code(&signed(&with(|c| c["aud"] = "app_other".into()))),
        "wrong_audience"
    );
    assert!(open(&signed(&with(|c| c["aud"] = json!(["app_other", APP])))).is_ok());
    let keys = keys();
    let opener = Opener {
        instance_id: Some("idaas_other"),
        ..Opener::new(&keys, APP)
    };
    assert_eq!(
        opener.open(sealed(None).as_bytes(), NOW).unwrap_err().code(),
        "wrong_instance"
    );
}

#[test]
fn other_times() {
    let at = |seconds: i64| {
        Opener::new(&keys(), APP)
            .open(sealed(None).as_bytes(), NOW + seconds * 1_000)
            .map_err(|e| e.code())
    };
    assert!(at(1_800 + 60).is_ok());
    assert_eq!(at(1_800 + 61).unwrap_err(), "expired");
    assert!(at(-60).is_ok());
    assert_eq!(at(-61).unwrap_err(), "not_yet_valid");
    let later = signed(&with(|c| c["nbf"] = json!(NOW / 1_000 + 61)));
    assert_eq!(code(&later), "not_yet_valid");
}

#[test]
fn encryption_that_is_missing_or_wrong() {
    let keys = keys();
    let strict = Opener {
        require_encryption: true,
        ..Opener::new(&keys, APP)
    };
    assert_eq!(
        strict.open(sealed(None).as_bytes(), NOW).unwrap_err(),
        OpenError::NotEncrypted
    );
    let encrypted = sealed(Some(&encryption_key()));
    assert_eq!(code(&encrypted), "no_decryption_key");
    let other = EncryptionKey::from_hex(&"ab".repeat(32)).unwrap();
    let wrong = Opener {
        decryption: Some(&other),
        ..strict
    };
    assert_eq!(
        wrong.open(encrypted.as_bytes(), NOW).unwrap_err(),
        OpenError::Undecryptable
    );
    let short = EncryptionKey::from_hex(&"ab".repeat(16)).unwrap();
    let wrong = Opener {
        decryption: Some(&short),
        ..strict
    };
    assert_eq!(
        wrong.open(encrypted.as_bytes(), NOW).unwrap_err().code(),
        "malformed_jwe"
    );
    let own = encryption_key();
    let right = Opener {
        decryption: Some(&own),
        ..strict
    };
    assert!(right.open(encrypted.as_bytes(), NOW).unwrap().encrypted);
    for (cipher, expected) in [
        ("", "malformed_jwe"),
        ("a.b.c", "malformed_jwe"),
        ("e30....", "malformed_jwe"),
    ] {
        let forged = signed(&with(|c| {
            c["dataEncrypted"] = true.into();
            c["cipherData"] = cipher.into();
        }));
        assert_eq!(
            right.open(forged.as_bytes(), NOW).unwrap_err().code(),
            expected,
            "{cipher}"
        );
    }
}

#[test]
fn layers_that_cannot_be_read() {
    let signer = jws::RS256.signer_from_pem(PEM).unwrap();
    assert_eq!(
        code(&sign_with(b"not json", &signer, "KEYtest")),
        "malformed_claims"
    );
    assert_eq!(code(&signed(&json!({}))), "malformed_claims");
    assert_eq!(
        code(&signed(&with(|c| c["exp"] = "soon".into()))),
        "malformed_claims"
    );
    for plain in [
        json!(""),
        json!(null),
        json!({}),
        json!({ "instanceId": "i", "eventData": "nope" }),
    ] {
        assert_eq!(
            code(&signed(&with(|c| c["plainData"] = plain.clone()))),
            "malformed_payload",
            "{plain}"
        );
    }
    let events = json!({ "instanceId": "i", "aliUid": 7, "eventData": [
        { "eventId": "e", "eventType": "t", "eventTime": 5, "bizId": "b", "bizData": { "userId": "u" } }] });
    let opened = open(&signed(&with(|c| c["plainData"] = events.clone()))).unwrap();
    assert_eq!(opened.batch.events[0].biz_data, r#"{"userId":"u"}"#);
    assert_eq!(opened.batch.ali_uid, "7");
    assert!(open(&signed(&with(|c| c["plainData"] = events.to_string().into()))).is_ok());
}

#[test]
fn lifetimes_that_no_hub_gives() {
    let now = NOW / 1_000;
    for (iat, exp, expected) in [
        (now, i64::MAX, "unreasonable_lifetime"),
        (now, now + 86_401, "unreasonable_lifetime"),
        (i64::MIN, i64::MAX, "unreasonable_lifetime"),
        (0, now + 1_800, "unreasonable_lifetime"),
        (now, now - 1, "unreasonable_lifetime"),
        (i64::MAX, i64::MAX, "not_yet_valid"),
        (i64::MIN, i64::MIN, "expired"),
    ] {
        let body = signed(&with(|c| {
            c["iat"] = iat.into();
            c["exp"] = exp.into();
        }));
        assert_eq!(code(&body), expected, "{iat} {exp}");
    }
    let a_day = signed(&with(|c| c["exp"] = (now + 86_000).into()));
    assert!(open(&a_day).is_ok());
}

#[test]
fn extensions_in_any_form() {
    let claims = URL_SAFE_NO_PAD.encode(claims().to_string());
    let signer = jws::RS256.signer_from_pem(PEM).unwrap();
    for crit in ["null", "[]", "[\"exp\"]", "\"\"", "false"] {
        let header = format!(r#"{{"alg":"RS256","kid":"KEYtest","crit":{crit}}}"#);
        let signed = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(header));
        let signature = URL_SAFE_NO_PAD.encode(signer.sign(signed.as_bytes()).unwrap());
        assert_eq!(
            code(&body(&format!("{signed}.{signature}"))),
            "malformed_header",
            "{crit}"
        );
    }
}

#[test]
fn bytes_that_are_no_text_where_nobody_reads_them() {
    let signer = jws::RS256.signer_from_pem(PEM).unwrap();
    let sign = |header: &[u8], claims: &[u8]| {
        let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = signer.sign(signed.as_bytes()).unwrap();
        body(&format!("{signed}.{}", encode(&signature)))
    };
    let header = |more: &[u8]| [br#"{"alg":"RS256","kid":"KEYtest","typ":""#, more, br#""}"#].concat();
    let claims = |more: &[u8]| {
        let text = claims().to_string();
        let text = text.strip_suffix('}').unwrap().as_bytes();
        [text, br#","more":""#, more, br#""}"#].concat()
    };
    assert!(open(&sign(&header(b"x"), &claims(b"x"))).is_ok());
    assert_eq!(code(&sign(&header(b"\xff"), &claims(b"x"))), "malformed_header");
    assert_eq!(code(&sign(&header(b"x"), &claims(b"\xff"))), "malformed_claims");

    let (keys, own) = (keys(), encryption_key());
    let opener = Opener {
        decryption: Some(&own),
        ..Opener::new(&keys, APP)
    };
    for (more, expected) in [(b"x", "undecryptable"), (b"\xff", "malformed_jwe")] {
        let header = [
            br#"{"alg":"dir","enc":"A256GCM","typ":""#,
            more.as_slice(),
            br#""}"#,
        ]
        .concat();
        let (header, nonce, tag) = (URL_SAFE_NO_PAD.encode(header), "A".repeat(16), "A".repeat(22));
        let forged = signed(&with(|c| {
            c["dataEncrypted"] = true.into();
            c["cipherData"] = format!("{header}..{nonce}..{tag}").into();
        }));
        assert_eq!(opener.open(forged.as_bytes(), NOW).unwrap_err().code(), expected);
    }
}

#[test]
fn events_that_cannot_be_named() {
    for id in [String::new(), "e".repeat(257)] {
        let events = json!({ "instanceId": "i", "eventData": [
            { "eventId": id, "eventType": "t", "eventTime": 5, "bizId": "b", "bizData": {} }] });
        assert_eq!(
            code(&signed(&with(|c| c["plainData"] = events.clone()))),
            "malformed_payload"
        );
    }
}

#[test]
fn errors_quote_little_of_what_a_stranger_sends() {
    let long = "A".repeat(1 << 20);
    let header = |kid: &str, alg: &str| URL_SAFE_NO_PAD.encode(json!({ "alg": alg, "kid": kid }).to_string());
    let bodies = [
        json!(long).to_string(),
        json!({ "event": [long] }).to_string(),
        body(&format!("{}.e30.e30", header(&long, "RS256"))),
        body(&format!("{}.e30.e30", header(&"k".repeat(300), "RS256"))),
        body(&format!("{}.e30.e30", header("k", &"a".repeat(2_000)))),
        body(&format!("{}.e30.e30", header(&"k".repeat(250), "RS256"))),
        signed(&with(|c| c["iss"] = long.clone().into())),
        signed(&with(|c| c["aud"] = json!([long, long]))),
        signed(&with(|c| c["sub"] = json!({ "a": long }))),
        signed(&with(|c| c["exp"] = long.clone().into())),
        signed(&with(|c| {
            c["plainData"] = json!({ "instanceId": "i", "eventData": [long] })
        })),
    ];
    for body in bodies {
        let error = open(&body).unwrap_err();
        assert!(
            error.to_string().len() < 600,
            "{} {}",
            error.code(),
            error.to_string().len()
        );
    }
}
