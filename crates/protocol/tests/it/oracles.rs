//! Two independent libraries read what we write, and write what we read.

use josekit::jwe::{self, Dir, JweHeader};
use josekit::jws::{self, RS256};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rollcall_protocol::{EncryptionKey, Opener};
use serde_json::{Value, json};

use crate::{APP, INSTANCE, KEY, NOW, PEM, batch, encryption_key, jwt_of, key, keys, sealed};

fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[APP]);
    validation.set_issuer(&["urn:alibaba:idaas:app:event"]);
    // The sample is from a fixed time.
    validation.validate_exp = false;
    validation
}

#[test]
fn others_verify_and_decrypt_what_we_seal() {
    let jwk = key().public_jwk();
    let decoding = DecodingKey::from_rsa_components(&jwk.n, &jwk.e).unwrap();
    let jwt = jwt_of(&sealed(Some(&encryption_key())));
    let token = jsonwebtoken::decode::<Value>(&jwt, &decoding, &validation()).unwrap();
    assert_eq!(token.claims["sub"], INSTANCE);
    let jwk = josekit::jwk::Jwk::from_bytes(serde_json::to_vec(&jwk).unwrap()).unwrap();
    let verifier = RS256.verifier_from_jwk(&jwk).unwrap();
    let (payload, _) = jws::deserialize_compact(&jwt, &verifier).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    let bytes: Vec<u8> = (0..32).collect();
    let decrypter = Dir.decrypter_from_bytes(bytes).unwrap();
    let (plain, header) =
        jwe::deserialize_compact(claims["cipherData"].as_str().unwrap(), &decrypter).unwrap();
    assert_eq!(header.content_encryption(), Some("A256GCM"));
    assert_eq!(String::from_utf8(plain).unwrap(), batch().to_json());
}

#[test]
fn we_open_what_others_sign_and_encrypt() {
    for (enc, length) in [("A128GCM", 16), ("A192GCM", 24), ("A256GCM", 32)] {
        let own = EncryptionKey::from_hex(&KEY[..length * 2]).unwrap();
        let bytes: Vec<u8> = (0..32).take(length).collect();
        let mut header = JweHeader::new();
        header.set_content_encryption(enc);
        let encrypter = Dir.encrypter_from_bytes(bytes).unwrap();
        let cipher = jwe::serialize_compact(batch().to_json().as_bytes(), &header, &encrypter).unwrap();
        let claims = json!({
            "iss": "urn:alibaba:idaas:app:event", "sub": INSTANCE, "aud": APP, "exp": NOW / 1000 + 1800,
            "iat": NOW / 1000, "jti": "j", "dataEncrypted": true, "cipherData": cipher, "plainData": "",
        });
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some("KEYtest".into());
        let signing = EncodingKey::from_rsa_pem(PEM.as_bytes()).unwrap();
        let jwt = jsonwebtoken::encode(&header, &claims, &signing).unwrap();
        let keys = keys();
        let opener = Opener {
            decryption: Some(&own),
            require_encryption: true,
            ..Opener::new(&keys, APP)
        };
        let opened = opener
            .open(json!({ "event": jwt }).to_string().as_bytes(), NOW)
            .unwrap();
        assert_eq!(opened.batch, batch(), "{enc}");
    }
}
