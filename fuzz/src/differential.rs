//! Our reading of JWS and JWE against josekit's and jsonwebtoken's.

use std::sync::OnceLock;

use josekit::jwe::{self, Dir};
use josekit::jws::{self, RS256};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rollcall_protocol::OpenError;
use serde_json::{Value, json};

use crate::fixtures::{APP, INSTANCE, NOW, SECRET, encrypt, sample, wire};
use crate::{edited, split};

/// A token that is signed well, and the error with which we alone refuse it, if we do.
struct Token {
    jwt: String,
    refused: Option<&'static str>,
}

/// What all three accept, and what only we refuse, and why.
fn tokens() -> &'static [Token] {
    static TOKENS: OnceLock<Vec<Token>> = OnceLock::new();
    TOKENS.get_or_init(|| {
        let claims = |change: fn(&mut Value)| {
            let mut claims = json!({
                "iss": "urn:alibaba:idaas:app:event", "sub": INSTANCE, "aud": APP, "jti": "j",
                "exp": NOW / 1_000 + 1_800, "iat": NOW / 1_000, "plainData": sample().to_json(),
            });
            change(&mut claims);
            claims.to_string()
        };
        let token = |header: Value, claims: String, refused| Token {
            jwt: wire().sign(&header.to_string(), &claims),
            refused,
        };
        let usual = || json!({ "kid": "KEYtest", "typ": "JWT", "alg": "RS256" });
        let long = "x".repeat(4_000);
        vec![
            token(usual(), claims(|_| ()), None),
            token(
                json!({ "kid": "KEYtest", "alg": "RS256" }),
                claims(|it| it["aud"] = json!(["x", APP])),
                None,
            ),
            // The time is ours to check: the others were told not to look at their clocks.
            token(
                usual(),
                claims(|it| it["exp"] = json!(NOW / 1_000 - 61)),
                Some("expired"),
            ),
            token(
                usual(),
                claims(|it| it["nbf"] = json!(NOW / 1_000 + 61)),
                Some("not_yet_valid"),
            ),
            // What is captured must expire before it is forgotten.
            token(
                usual(),
                claims(|it| it["exp"] = json!(NOW / 1_000 + 86_401)),
                Some("unreasonable_lifetime"),
            ),
            // Answers and logs name envelopes and events.
            token(
                usual(),
                claims(|it| drop(it.as_object_mut().map(|it| it.remove("jti")))),
                Some("malformed_claims"),
            ),
            token(
                usual(),
                claims(|it| it["plainData"] = json!({})),
                Some("malformed_payload"),
            ),
            // A key is chosen by its name alone; the others are given the key.
            token(json!({ "alg": "RS256" }), claims(|_| ()), Some("unknown_key")),
            token(
                json!({ "alg": "RS256", "kid": "other" }),
                claims(|_| ()),
                Some("unknown_key"),
            ),
            // Strangers do not make us decode and keep what is long.
            token(
                json!({ "alg": "RS256", "kid": "KEYtest", "x": long }),
                claims(|_| ()),
                Some("not_a_jwt"),
            ),
            // `crit`: no extension is understood. josekit leaves it to its caller to name those that are.
            token(
                json!({ "alg": "RS256", "kid": "KEYtest", "crit": null }),
                claims(|_| ()),
                Some("malformed_header"),
            ),
        ]
    })
}

/// Both of the others accept a token. They check what they check: signature, algorithm, issuer, audience.
fn others_accept(jwt: &str) -> [bool; 2] {
    struct Others {
        josekit: jws::alg::rsassa::RsassaJwsVerifier,
        jsonwebtoken: (DecodingKey, Validation),
    }
    static OTHERS: OnceLock<Others> = OnceLock::new();
    let others = OTHERS.get_or_init(|| {
        let jwk = wire().signing.public_jwk();
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&[APP]);
        validation.set_issuer(&["urn:alibaba:idaas:app:event"]);
        validation.validate_exp = false;
        let key = DecodingKey::from_rsa_components(&jwk.n, &jwk.e).unwrap();
        // The name of a key is compared by josekit if it knows one; here it is to check the signature alone.
        let mut nameless = serde_json::to_value(&jwk).unwrap();
        nameless.as_object_mut().unwrap().remove("kid");
        let jwk = josekit::jwk::Jwk::from_bytes(nameless.to_string()).unwrap();
        Others {
            josekit: RS256.verifier_from_jwk(&jwk).unwrap(),
            jsonwebtoken: (key, validation),
        }
    });
    let (key, validation) = &others.jsonwebtoken;
    [
        jws::deserialize_compact(jwt, &others.josekit).is_ok(),
        jsonwebtoken::decode::<Value>(jwt, key, validation).is_ok(),
    ]
}

/// What we accept, the others accept. What they accept and we do not is on a list, with the reason.
pub fn differential(data: &[u8]) {
    let (how, rest) = split(data);
    match how % 3 {
        0 => signed(rest),
        1 => encrypted(rest, false),
        _ => encrypted(rest, true),
    }
}

/// A token that was signed well, damaged in up to two places.
fn signed(data: &[u8]) {
    let (which, script) = split(data);
    let tokens = tokens();
    let token = &tokens[usize::from(which) % tokens.len()];
    let Some(jwt) = edited(&token.jwt, script) else {
        return;
    };
    let ours = wire().opener().open_jwt(&jwt, NOW);
    let theirs = others_accept(&jwt);
    match (&ours, theirs, token.refused) {
        (Ok(_), [true, true], None) | (Err(_), [false, _] | [_, false], _) => {}
        (Err(error), [true, true], Some(expected)) => assert_eq!(error.code(), expected, "{jwt}"),
        _ => panic!(
            "we: {ours:?}; josekit, jsonwebtoken: {theirs:?}; {:?}: {jwt}",
            token.refused
        ),
    }
}

/// Why we refuse a JWE that josekit decrypts.
const STRICTER: &[(&str, &str)] = &[
    (
        "zip",
        "what is compressed may be a thousand times larger than the request",
    ),
    ("crit", "no extension is understood"),
];

/// A text in the form of DEFLATE, not smaller: one block that is stored (RFC 1951, section 3.2.4).
fn stored(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    let mut block = vec![1];
    block.extend(length.to_le_bytes());
    block.extend((!length).to_le_bytes());
    block.extend(text.bytes());
    block
}

/// A JWE under the right key, with any header.
fn encrypted(header: &[u8], compressed: bool) {
    let plain = sample().to_json();
    let cipher = match compressed {
        false => encrypt(header, plain.as_bytes()),
        true => encrypt(header, &stored(&plain)),
    };
    let claims = json!({
        "iss": "urn:alibaba:idaas:app:event", "sub": INSTANCE, "aud": APP, "exp": NOW / 1_000 + 1_800,
        "iat": NOW / 1_000, "jti": "j", "dataEncrypted": true, "cipherData": cipher,
    });
    let ours = wire().open_claims(claims.to_string().as_bytes());
    let decrypter = Dir.decrypter_from_bytes(SECRET).unwrap();
    let theirs = jwe::deserialize_compact(&cipher, &decrypter);
    let members = serde_json::from_slice::<Value>(header).unwrap_or_default();
    match (ours, theirs) {
        (Ok((_, read)), Ok((other, _))) => {
            assert_eq!(read, plain);
            assert_eq!(other, plain.as_bytes());
        }
        // Compressed, and the header does not say so: decrypted by both, and no payload.
        (Err(OpenError::MalformedPayload(_)), Ok(_)) if compressed => {}
        (Err(_), Err(_)) => {}
        // Members of the header that we have no use for may be any JSON; josekit reads them, and numbers and texts
        // in them that no variable of its own can hold are too much for it.
        (Ok(_), Err(error)) => {
            let more = members.as_object().is_none_or(|it| it.len() > 2);
            assert!(
                more && std::str::from_utf8(header).is_ok(),
                "only we decrypt: {error}: {}",
                String::from_utf8_lossy(header)
            );
        }
        (Err(error), Ok(_)) => {
            let listed = STRICTER.iter().any(|(name, _)| members.get(name).is_some());
            // Of a member that occurs twice, josekit takes the last; whoever takes the first reads something else.
            let twice = ["\"alg\"", "\"enc\"", "\\u"].iter().any(|name| {
                String::from_utf8_lossy(header).matches(name).count() > usize::from(*name != "\\u")
            });
            assert!(
                listed || twice,
                "only josekit decrypts: {error}: {}",
                String::from_utf8_lossy(header)
            );
        }
    }
}
