//! Signing keys and their public halves (wire contract, section 2; RFC 7517).

use std::collections::HashMap;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not an RSA key that the library accepts.
    #[error("the RSA key is not usable: {0}")]
    Rsa(String),
    /// Not a JWKS document.
    #[error("the JWKS document cannot be read: {0}")]
    Jwks(String),
    /// Not a hexadecimal key of a supported length.
    #[error("an encryption key has 64 hexadecimal digits (or 32 or 48 for the shorter AES keys); {0}")]
    Hex(String),
}

/// An RSA key pair that signs. The private half is parsed once.
pub struct SigningKey {
    kid: String,
    pair: RsaKeyPair,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes an RSA-2048 key pair. That takes a tenth of a second.
    ///
    /// # Errors
    /// [`KeyError::Rsa`].
    pub fn generate(kid: &str) -> Result<Self, KeyError> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|e| KeyError::Rsa(e.to_string()))?;
        Ok(Self {
            kid: kid.to_owned(),
            pair,
        })
    }

    /// Parses a private key (PKCS #8, DER).
    ///
    /// # Errors
    /// [`KeyError::Rsa`].
    pub fn from_pkcs8(kid: &str, der: &[u8]) -> Result<Self, KeyError> {
        let pair = RsaKeyPair::from_pkcs8(der).map_err(|error| KeyError::Rsa(error.to_string()))?;
        Ok(Self {
            kid: kid.to_owned(),
            pair,
        })
    }

    /// The private key (PKCS #8, DER).
    ///
    /// # Errors
    /// [`KeyError::Rsa`].
    pub fn pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let der = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&self.pair)
            .map_err(|error| KeyError::Rsa(error.to_string()))?;
        Ok(Zeroizing::new(der.as_ref().to_vec()))
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half.
    pub fn public_jwk(&self) -> Jwk {
        let public = self.pair.public_key();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        Jwk {
            kty: "RSA".to_owned(),
            e: encode(public.exponent().big_endian_without_leading_zero()),
            use_: Some("sig".to_owned()),
            kid: self.kid.clone(),
            n: encode(public.modulus().big_endian_without_leading_zero()),
        }
    }

    /// Signs with RS256 (RFC 7518, section 3.3). `None` if the library refuses.
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        // The randomness is unused: PKCS #1 v1.5 signatures are deterministic.
        let random = aws_lc_rs::rand::SystemRandom::new();
        self.pair
            .sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
            .ok()?;
        Some(signature)
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// `RSA`.
    pub kty: String,
    /// The exponent, base64url.
    pub e: String,
    /// `sig`.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    pub use_: Option<String>,
    /// The key's id.
    pub kid: String,
    /// The modulus, base64url.
    pub n: String,
}

/// A JWKS document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwkSet {
    /// The keys.
    pub keys: Vec<Jwk>,
}

impl JwkSet {
    /// Parses the keys for verifying. Keys that cannot be used are left out.
    pub fn verifier(&self) -> KeySet {
        KeySet(
            self.keys
                .iter()
                .filter_map(|jwk| Some((jwk.kid.clone(), parse(jwk)?)))
                .collect(),
        )
    }
}

fn parse(jwk: &Jwk) -> Option<ParsedPublicKey> {
    if jwk.kty != "RSA" || jwk.use_.as_deref().is_some_and(|use_| use_ != "sig") {
        return None;
    }
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
    let components = PublicKeyComponents {
        n: decode(&jwk.n)?,
        e: decode(&jwk.e)?,
    };
    let der = components.as_der().ok()?;
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der.as_ref()).ok()
}

/// Public keys, parsed, by their ids.
#[derive(Debug, Default)]
pub struct KeySet(HashMap<String, ParsedPublicKey>);

impl KeySet {
    /// Reads a JWKS document. Keys of other kinds and uses are ignored.
    ///
    /// # Errors
    /// [`KeyError::Jwks`] if the document is not one.
    pub fn from_json(text: &str) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<serde_json::Value>,
        }
        let document: Document =
            serde_json::from_str(text).map_err(|error| KeyError::Jwks(error.to_string()))?;
        let keys = document
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_value(key).ok())
            .collect();
        Ok(JwkSet { keys }.verifier())
    }

    /// Whether there is a key of this id.
    pub fn contains(&self, kid: &str) -> bool {
        self.0.contains_key(kid)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Verifies an RS256 signature; `None` if there is no key of this id.
    pub(crate) fn verify(&self, kid: &str, message: &[u8], signature: &[u8]) -> Option<bool> {
        Some(self.0.get(kid)?.verify_sig(message, signature).is_ok())
    }
}
