//! What must be refused. Each request differs from a good one in the one thing that its case is about, and would create
//! a user.

use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicKeyComponents;
use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Method;
use rollcall_protocol::{EncryptionKey, Jwk, SigningKey};

use super::REQUEST;
use crate::check::case::{Case, Fault, Finding, Level, Running, words};
use crate::check::course::{Course, NOT_ENCRYPTED, refusal};
use crate::delivery::egress::ANSWER_WITHIN;
use crate::sender::{CONTENT_TYPE, Cipher, Envelope, Received, Unanswered, body};

const REFUSED: &str = "A 4xx or 5xx status, and nothing is applied.";

/// How large a body is beyond reason: three times as much as receivers have to take.
const OVERSIZED: usize = 24 << 20;

const ALGORITHM: &str = "Accept RS256 and nothing else: give the library the list of allowed algorithms, and do not take it \
                         from the header of the token.";
const KEY: &str = "Verify with the key of the JWKS document whose kid the header names, and refuse where there is none. Never \
                   take a key out of the token.";
const CLAIMS: &str = "Have the library check iss, aud, exp and iat, with a leeway of 60 seconds; many check some of them only \
                      if they are told what to expect.";
const TAMPERED: &str =
    "Verify the signature over the first two parts as they arrived, before anything inside is read.";
const DECRYPT: &str =
    "Refuse the request if the JWE cannot be opened (400), and apply nothing. Do not fall back to plainData.";
const READ: &str =
    "Answer what cannot be read with 400, not with 200 and empty lists, and do not let the program end.";

fn case<F>(
    id: &'static str,
    requirement: &'static str,
    source: &'static str,
    advice: &'static str,
    run: F,
) -> Case
where
    F: for<'a> Fn(&'a mut Course) -> Running<'a> + Send + Sync + 'static,
{
    Case::must(id, words(requirement, source, REFUSED, advice), run)
}

/// A case whose envelope is changed before it is signed as usual.
fn changed(
    id: &'static str,
    requirement: &'static str,
    source: &'static str,
    advice: &'static str,
    change: fn(&mut Envelope),
) -> Case {
    case(id, requirement, source, advice, move |course| {
        Box::pin(async move {
            let mut envelope = bait(course)?;
            change(&mut envelope);
            course.refused_envelope(id, &envelope).await
        })
    })
}

fn bait(course: &mut Course) -> Result<Envelope, Fault> {
    let event = course.bait();
    course.envelope(&[event])
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = algorithms();
    cases.extend(signing_keys());
    cases.extend(claims());
    cases.extend(tampered());
    cases.extend(encryption());
    cases.extend(bodies());
    cases
}

fn algorithms() -> Vec<Case> {
    vec![
        case(
            "refuse-alg-none",
            "A token without a signature (alg: none, in any spelling) is refused.",
            "RFC 8725, section 3.1; RECEIVING.md, A request",
            ALGORITHM,
            |course| {
                Box::pin(async move {
                    for spelling in ["none", "None", "nOnE"] {
                        let mut envelope = bait(course)?;
                        envelope.algorithm = spelling.to_owned();
                        let jwt = envelope.with_signature(&[]);
                        course.refused(&format!("alg: {spelling}"), body(&jwt)).await?;
                    }
                    Ok(())
                })
            },
        ),
        case(
            "refuse-hs256-public-key",
            "A token that is signed with HS256, with the public key as the secret, is refused.",
            "RFC 8725, section 2.1",
            ALGORITHM,
            |course| {
                Box::pin(async move {
                    let jwk = course.sender.signing.public_jwk();
                    for (form, secret) in public_forms(&jwk) {
                        let mut envelope = bait(course)?;
                        envelope.algorithm = "HS256".to_owned();
                        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
                        let tag = hmac::sign(&key, envelope.unsigned().as_bytes());
                        let sent = format!("HS256 under the public key as {form}");
                        course
                            .refused(&sent, body(&envelope.with_signature(tag.as_ref())))
                            .await?;
                    }
                    Ok(())
                })
            },
        ),
        changed(
            "refuse-other-algorithm",
            "A token whose header names another algorithm than RS256 is refused.",
            REQUEST,
            ALGORITHM,
            |envelope| envelope.algorithm = "RS384".to_owned(),
        ),
    ]
}

fn signing_keys() -> Vec<Case> {
    vec![
        case(
            "refuse-wrong-key",
            "A token that another key has signed, under a kid that is known, is refused.",
            REQUEST,
            KEY,
            |course| {
                Box::pin(async move {
                    let envelope = bait(course)?;
                    let stranger = course.stranger().await?;
                    let jwt = envelope.signed(&stranger)?;
                    course
                        .refused("another key under the known kid", body(&jwt))
                        .await
                })
            },
        ),
        case(
            "refuse-unknown-kid",
            "A token under a kid that is not in the JWKS document is refused.",
            REQUEST,
            KEY,
            |course| {
                Box::pin(async move {
                    let mut envelope = bait(course)?;
                    let stranger = course.stranger().await?;
                    envelope.kid = Some(stranger.kid().to_owned());
                    let jwt = envelope.signed(&stranger)?;
                    course.refused("an unknown kid", body(&jwt)).await
                })
            },
        ),
        changed(
            "refuse-missing-kid",
            "A token without a kid is refused.",
            REQUEST,
            KEY,
            |envelope| envelope.kid = None,
        ),
        case(
            "refuse-embedded-key",
            "A token that brings its own key (jwk in the header) is refused.",
            "RFC 8725, section 3.10; RFC 7515, section 4.1.3",
            KEY,
            |course| {
                Box::pin(async move {
                    let stranger = course.stranger().await?;
                    let jwk = serde_json::to_string(&stranger.public_jwk()).unwrap_or_default();
                    for kid in [course.sender.signing.kid().to_owned(), stranger.kid().to_owned()] {
                        let mut envelope = bait(course)?;
                        envelope.kid = Some(kid);
                        envelope.more_header = format!(",\"jwk\":{jwk}");
                        let jwt = envelope.signed(&stranger)?;
                        course.refused("a key in the header", body(&jwt)).await?;
                    }
                    Ok(())
                })
            },
        ),
        with_level(
            Level::Should,
            changed(
                "refuse-crit",
                "A token with an extension that has to be understood (crit) is refused.",
                "RFC 7515, section 4.1.11; PROTOCOL.md, section 2",
                "Refuse every header with crit, as there are no extensions.",
                |envelope| envelope.more_header = ",\"crit\":[\"exp\"]".to_owned(),
            ),
        ),
    ]
}

fn with_level(level: Level, case: Case) -> Case {
    Case { level, ..case }
}

fn claims() -> Vec<Case> {
    vec![
        changed(
            "refuse-wrong-issuer",
            "A token of another issuer is refused.",
            REQUEST,
            CLAIMS,
            |envelope| envelope.issuer = "urn:example:somebody:else".to_owned(),
        ),
        changed(
            "refuse-wrong-audience",
            "A token that is meant for another application is refused.",
            REQUEST,
            CLAIMS,
            |envelope| envelope.audience = "app_of_somebody_else".to_owned(),
        ),
        changed(
            "refuse-expired",
            "A token that expired an hour ago is refused.",
            REQUEST,
            CLAIMS,
            |envelope| {
                envelope.issued_s -= 5_400;
                envelope.expires_s -= 5_400;
            },
        ),
        changed(
            "refuse-future",
            "A token that is issued in an hour is refused.",
            REQUEST,
            CLAIMS,
            |envelope| {
                envelope.issued_s += 3_600;
                envelope.expires_s += 3_600;
            },
        ),
        with_level(
            Level::Should,
            changed(
                "refuse-long-lifetime",
                "A token that is valid for a year is refused.",
                "PROTOCOL.md, section 2",
                "Refuse a token whose exp lies more than a day after its iat: ids of events need not be remembered for \
                 longer than that.",
                |envelope| envelope.expires_s = envelope.issued_s + 365 * 86_400,
            ),
        ),
    ]
}

fn tampered() -> Vec<Case> {
    vec![
        case(
            "refuse-tampered-payload",
            "A token whose claims were changed after it was signed is refused.",
            REQUEST,
            TAMPERED,
            |course| {
                Box::pin(async move {
                    let envelope = bait(course)?;
                    let signature = signature(&envelope, &course.sender.signing)?;
                    let mut other = envelope;
                    other.expires_s += 60;
                    let jwt = other.with_signature(&signature);
                    course.refused("exp was changed after signing", body(&jwt)).await
                })
            },
        ),
        case(
            "refuse-tampered-signature",
            "A token with one bit of its signature changed is refused.",
            REQUEST,
            TAMPERED,
            |course| {
                Box::pin(async move {
                    let envelope = bait(course)?;
                    let mut signature = signature(&envelope, &course.sender.signing)?;
                    if let Some(byte) = signature.get_mut(17) {
                        *byte ^= 1;
                    }
                    let jwt = envelope.with_signature(&signature);
                    course.refused("one bit of the signature", body(&jwt)).await
                })
            },
        ),
        case(
            "refuse-empty-signature",
            "A token that says RS256 and has no signature is refused.",
            REQUEST,
            TAMPERED,
            |course| {
                Box::pin(async move {
                    let envelope = bait(course)?;
                    course
                        .refused("no signature", body(&envelope.with_signature(&[])))
                        .await
                })
            },
        ),
    ]
}

fn encryption() -> Vec<Case> {
    vec![
        case(
            "refuse-tampered-ciphertext",
            "A request with one bit of its ciphertext changed, and signed, is refused.",
            "RFC 7516, section 5.2; RECEIVING.md, A request",
            DECRYPT,
            |course| {
                Box::pin(async move {
                    for part in [3, 4] {
                        let mut envelope = bait(course)?;
                        let jwe = Course::jwe(&envelope)?;
                        envelope.content = Cipher::Encrypted(flipped(&jwe, part));
                        let sent = if part == 3 {
                            "one bit of the ciphertext"
                        } else {
                            "one bit of the tag"
                        };
                        course.refused_envelope(sent, &envelope).await?;
                    }
                    Ok(())
                })
            },
        ),
        case(
            "refuse-wrong-encryption-key",
            "A request that is encrypted with another key is refused.",
            REQUEST,
            DECRYPT,
            |course| {
                Box::pin(async move {
                    let mut envelope = bait(course)?;
                    Course::jwe(&envelope)?;
                    let other = EncryptionKey::generate(course.sender.random.as_ref());
                    envelope.content = Cipher::Encrypted(encrypted(course, &other)?);
                    course.refused_envelope("another encryption key", &envelope).await
                })
            },
        ),
        case(
            "refuse-plaintext",
            "A request that is not encrypted is refused where encryption was set up.",
            REQUEST,
            "Once there is a key, refuse what has dataEncrypted false or no cipherData.",
            |course| {
                Box::pin(async move {
                    if course.sender.encryption.is_none() {
                        return Err(Fault::NotChecked(NOT_ENCRYPTED.to_owned()));
                    }
                    let event = course.bait();
                    let mut envelope = course.envelope(&[])?;
                    envelope.content = Cipher::Plain(course.sender.batch(&[event]).to_json());
                    course.refused_envelope("not encrypted", &envelope).await
                })
            },
        ),
        changed(
            "refuse-empty-cipher",
            "A request that says to be encrypted and carries nothing is refused.",
            REQUEST,
            DECRYPT,
            |envelope| envelope.content = Cipher::Encrypted(String::new()),
        ),
        changed(
            "refuse-undecryptable",
            "A request whose cipherData is no JWE is refused.",
            REQUEST,
            DECRYPT,
            |envelope| envelope.content = Cipher::Encrypted("eyJhbGciOiJkaXIifQ..AAAA.AAAA".to_owned()),
        ),
    ]
}

fn bodies() -> Vec<Case> {
    vec![
        case(
            "refuse-truncated-body",
            "A body that is cut off is refused.",
            REQUEST,
            READ,
            |course| {
                Box::pin(async move {
                    let envelope = bait(course)?;
                    let mut whole = body(&envelope.signed(&course.sender.signing)?);
                    whole.truncate(whole.len() / 2);
                    course.refused("half of a body", whole).await
                })
            },
        ),
        case(
            "refuse-oversized-body",
            "A body of 24 MB is refused, and the endpoint goes on.",
            "RECEIVING.md, A request",
            "Limit the size of bodies, at 8 MiB or more, and answer 413 before all of it is read.",
            |course| {
                Box::pin(async move {
                    let content = body(&"A".repeat(OVERSIZED));
                    let sent = format!("{} MB", OVERSIZED >> 20);
                    let patience = Duration::from_secs(30);
                    let received = course
                        .exchange(sent, Method::POST, CONTENT_TYPE, Bytes::from(content), patience)
                        .await;
                    refused_or_cut(&received)?;
                    let event = course.test_event();
                    course.deliver(&[event]).await.map(drop)
                })
            },
        ),
        case(
            "refuse-not-json",
            "A body that is no JSON is refused.",
            REQUEST,
            READ,
            |course| {
                Box::pin(async move {
                    for text in ["hello", "", "event=abc", "[1,2"] {
                        course
                            .refused(&format!("the body {text:?}"), text.to_owned())
                            .await?;
                    }
                    Ok(())
                })
            },
        ),
        case(
            "refuse-no-event",
            "JSON without a token in event is refused.",
            REQUEST,
            READ,
            |course| {
                Box::pin(async move {
                    for text in [
                        "{}",
                        "[]",
                        "null",
                        "{\"event\":null}",
                        "{\"event\":7}",
                        "{\"event\":\"\"}",
                    ] {
                        course
                            .refused(&format!("the body {text}"), text.to_owned())
                            .await?;
                    }
                    Ok(())
                })
            },
        ),
        case(
            "refuse-no-token",
            "An event that is no JWT is refused.",
            REQUEST,
            READ,
            |course| {
                Box::pin(async move {
                    for text in ["abc", "a.b", "a.b.c", "....", "e30.e30.", "é.é.é"] {
                        course.refused(&format!("the event {text}"), body(text)).await?;
                    }
                    Ok(())
                })
            },
        ),
        case(
            "refuse-no-payload",
            "A signed token whose payload cannot be read is refused.",
            REQUEST,
            READ,
            |course| {
                Box::pin(async move {
                    for payload in ["{}", "[]", "null", "\"\"", "{\"eventData\":\"[{\"}"] {
                        let envelope = course.sender.envelope(payload)?;
                        course
                            .refused_envelope(&format!("the payload {payload}"), &envelope)
                            .await?;
                    }
                    Ok(())
                })
            },
        ),
        case(
            "refuse-get",
            "Another method than POST is refused.",
            "PROTOCOL.md, section 1",
            "Take POST alone, and answer everything else with 405.",
            |course| {
                Box::pin(async move {
                    let received = course
                        .exchange("GET".to_owned(), Method::GET, "", Bytes::new(), ANSWER_WITHIN)
                        .await;
                    refusal(&received)
                })
            },
        ),
        Case::must(
            "taken-after-refusals",
            words(
                "After all that had to be refused, the endpoint takes good requests still.",
                "RECEIVING.md, What stops the push",
                "HTTP 200 to a connection test, with the event in successEvents or skippedEvents.",
                "Do not end, and do not shut out the sender, because something was refused.",
            ),
            |course| {
                Box::pin(async move {
                    let event = course.test_event();
                    course.deliver(&[event]).await.map(drop)
                })
            },
        ),
    ]
}

/// A server may close the connection while so much is being sent; that is a refusal as well.
fn refused_or_cut(received: &Result<Received, Unanswered>) -> Finding {
    match received {
        Err(Unanswered::Failed(_)) => Ok(()),
        received => refusal(received),
    }
}

fn signature(envelope: &Envelope, key: &SigningKey) -> Result<Vec<u8>, Fault> {
    key.sign(envelope.unsigned().as_bytes())
        .ok_or_else(|| Fault::NotChecked("the request cannot be signed".to_owned()))
}

/// A bait under another encryption key.
fn encrypted(course: &mut Course, key: &EncryptionKey) -> Result<String, Fault> {
    let event = course.bait();
    let payload = course.sender.batch(&[event]).to_json();
    key.seal(&payload, course.sender.random.as_ref())
        .ok_or_else(|| Fault::NotChecked("the payload cannot be encrypted".to_owned()))
}

/// A compact JWE with one bit of one of its parts changed.
fn flipped(jwe: &str, part: usize) -> String {
    let parts: Vec<String> = jwe
        .split('.')
        .enumerate()
        .map(|(index, text)| match URL_SAFE_NO_PAD.decode(text) {
            Ok(mut bytes) if index == part && !bytes.is_empty() => {
                bytes[0] ^= 1;
                URL_SAFE_NO_PAD.encode(bytes)
            }
            _ => text.to_owned(),
        })
        .collect();
    parts.join(".")
}

/// The forms in which libraries hand out a public key, each of which somebody might take for a secret.
fn public_forms(jwk: &Jwk) -> Vec<(&'static str, Vec<u8>)> {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let components = PublicKeyComponents {
        n: decode(&jwk.n),
        e: decode(&jwk.e),
    };
    let mut forms = vec![
        ("its JWK", serde_json::to_vec(jwk).unwrap_or_default()),
        ("its modulus", components.n.clone()),
    ];
    if let Ok(der) = components.as_der() {
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for line in STANDARD.encode(der.as_ref()).as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        forms.push(("DER", der.as_ref().to_vec()));
        forms.push((
            "PEM without its last line break",
            pem.trim_end().as_bytes().to_vec(),
        ));
        forms.push(("PEM", pem.into_bytes()));
    }
    forms
}
