//! The ID token: whether a key of the provider has signed it, for this client and this departure, and what it says
//! (OpenID Connect Core, section 3.1.3.7).
//!
//! Which algorithm is used says the token, but only among those with public keys, and only one that belongs to the key:
//! neither `none` nor a public key that is taken for a shared secret.

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{AlgorithmFamily, DecodingKey, Validation};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::same;
use crate::clock::Millis;
use crate::directory::fields;

/// How far the provider's clock may be from ours.
const LEEWAY: Millis = 60_000;

/// How many keys of a provider are looked at.
const MOST_KEYS: usize = 100;

/// Why an ID token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It is no token, or one of an algorithm that is never accepted, such as `none`.
    #[error("it is no token that is signed with a public key's algorithm")]
    Malformed,
    /// None of the provider's keys is the one that it names.
    #[error("the provider publishes no key that it names")]
    UnknownKey,
    /// The signature is not by the key that it names.
    #[error("its signature is wrong")]
    Signature,
    /// It is by another provider.
    #[error("it is by another issuer")]
    Issuer,
    /// It is for another client.
    #[error("it is for another client")]
    Audience,
    /// It has expired, or is not valid yet.
    #[error("it has expired, or is not valid yet")]
    Time,
    /// It answers another sign-in.
    #[error("it answers another sign-in")]
    Nonce,
    /// It does not say about whom it is.
    #[error("it does not say about whom it is")]
    Subject,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The only algorithm that it is for, if it says so.
    algorithm: Option<String>,
    key: DecodingKey,
}

/// The keys of a provider that can verify signatures.
#[derive(Debug)]
pub(super) struct Keys(Vec<Key>);

impl<'de> Deserialize<'de> for Keys {
    /// What is not understood of them is passed over: providers publish keys for other purposes too.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set = Set::deserialize(deserializer)?;
        let keys = set.keys.into_iter().take(MOST_KEYS);
        Ok(Self(keys.filter_map(key).collect()))
    }
}

fn key(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let for_signatures = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    // A shared secret in a public document is none.
    let is_public = !matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
    if !for_signatures || !is_public {
        return None;
    }
    Some(Key {
        key: DecodingKey::from_jwk(&jwk).ok()?,
        algorithm: jwk.common.key_algorithm.map(|algorithm| algorithm.to_string()),
        id: jwk.common.key_id,
    })
}

/// What an ID token has to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    pub(super) now: Millis,
}

/// What the provider says of somebody.
pub(super) struct Claims {
    pub(super) subject: String,
    pub(super) all: Map<String, Value>,
}

impl Claims {
    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        self.all.get(claim)?.as_str()
    }

    /// The name for people, if it is one that an account may have.
    pub(super) fn display_name(&self) -> Option<String> {
        let name = self.text("name")?.trim();
        fields::name("displayName", name, 128).ok()?;
        Some(name.to_owned())
    }

    /// The email address, if it is one that an account may have.
    pub(super) fn email(&self) -> Option<String> {
        let email = self.text("email")?;
        fields::email(Some(email)).ok()?;
        Some(email.to_owned())
    }
}

/// The claims of a token that can be trusted.
pub(super) fn verify(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Claims, TokenFault> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenFault::Malformed)?;
    // What has to be understood for it (RFC 7515, section 4.1.11) is not.
    if header.crit.is_some() {
        return Err(TokenFault::Malformed);
    }
    let asymmetric = [AlgorithmFamily::Rsa, AlgorithmFamily::Ec, AlgorithmFamily::Ed];
    if !asymmetric
        .iter()
        .any(|family| family.algorithms().contains(&header.alg))
    {
        return Err(TokenFault::Malformed);
    }
    let algorithm = format!("{:?}", header.alg);
    let mut fitting = keys.0.iter().filter(|key| {
        let is_named = header.kid.is_none() || key.id == header.kid;
        let is_for_it = key.algorithm.as_ref().is_none_or(|only| *only == algorithm);
        is_named && is_for_it && key.key.family().algorithms().contains(&header.alg)
    });
    let key = fitting.next().ok_or(TokenFault::UnknownKey)?;
    if header.kid.is_none() && fitting.next().is_some() {
        // Without a name there must be no choice (Core, section 10.1).
        return Err(TokenFault::UnknownKey);
    }
    let mut validation = Validation::new(header.alg);
    // What it says is looked at below, by the hub's own clock.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &validation)
        .map_err(|_| TokenFault::Signature)?;
    check(decoded.claims, expected)
}

fn check(claims: Map<String, Value>, expected: &Expected<'_>) -> Result<Claims, TokenFault> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        return Err(TokenFault::Issuer);
    }
    let is_us = |value: &Value| value.as_str() == Some(expected.client_id);
    let (is_for_us, is_for_others) = match claims.get("aud") {
        Some(Value::Array(all)) => (all.iter().any(is_us), !all.iter().all(is_us)),
        Some(one) => (is_us(one), false),
        None => (false, false),
    };
    let is_by_us = match claims.get("azp") {
        Some(party) => is_us(party),
        None => !is_for_others,
    };
    if !is_for_us || !is_by_us {
        return Err(TokenFault::Audience);
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a number that is out of range is in no time's range either"
    )]
    let time = |name: &str| {
        let seconds = claims.get(name).and_then(Value::as_f64);
        seconds.map(|seconds| (seconds * 1_000.0) as Millis)
    };
    let (Some(expires), Some(issued)) = (time("exp"), time("iat")) else {
        return Err(TokenFault::Time);
    };
    let begins = issued.max(time("nbf").unwrap_or(issued));
    if expected.now >= expires.saturating_add(LEEWAY) || expected.now < begins.saturating_sub(LEEWAY) {
        return Err(TokenFault::Time);
    }
    if !text("nonce").is_some_and(|nonce| same(nonce, expected.nonce)) {
        return Err(TokenFault::Nonce);
    }
    let subject = text("sub").filter(|subject| (1..=255).contains(&subject.len()));
    let subject = subject.ok_or(TokenFault::Subject)?.to_owned();
    Ok(Claims { subject, all: claims })
}
