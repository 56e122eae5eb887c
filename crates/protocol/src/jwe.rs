//! Encryption of the inner payload: compact JWE with a shared key (wire contract, section 3; RFC 7516).

use aws_lc_rs::aead::{
    AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use crate::open::json;
use crate::{KeyError, Random};

const TAG_LEN: usize = 16;

/// The AES key that hub and application share. It cannot be printed.
#[derive(Clone)]
pub struct EncryptionKey(Vec<u8>);

impl Drop for EncryptionKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EncryptionKey(…)")
    }
}

/// Why a JWE does not open.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JweError {
    Malformed(&'static str),
    Undecryptable,
}

impl EncryptionKey {
    /// Reads a key of 32 bytes (or 24 or 16) from hexadecimal digits.
    ///
    /// # Errors
    /// [`KeyError::Hex`].
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(KeyError::Hex("this holds other characters".to_owned()));
        }
        if !matches!(text.len(), 32 | 48 | 64) {
            return Err(KeyError::Hex(format!("this has {}", text.len())));
        }
        base16ct::mixed::decode_vec(text)
            .map(Self)
            .map_err(|error| KeyError::Hex(error.to_string()))
    }

    /// Makes a key of 32 bytes.
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = vec![0; 32];
        random.fill(&mut bytes);
        Self(bytes)
    }

    /// The key as hexadecimal digits.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(base16ct::lower::encode_string(&self.0))
    }

    /// The size of the key: 256, 192 or 128.
    pub fn bits(&self) -> usize {
        self.0.len() * 8
    }

    fn algorithm(&self) -> (&'static Algorithm, &'static str) {
        match self.0.len() {
            16 => (&AES_128_GCM, "A128GCM"),
            24 => (&AES_192_GCM, "A192GCM"),
            _ => (&AES_256_GCM, "A256GCM"),
        }
    }

    /// Encrypts a text into a compact JWE. `None` if the library refuses.
    pub fn seal(&self, text: &str, random: &dyn Random) -> Option<String> {
        let (algorithm, enc) = self.algorithm();
        let header = URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"dir\",\"enc\":\"{enc}\"}}"));
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        let key = LessSafeKey::new(UnboundKey::new(algorithm, &self.0).ok()?);
        let mut data = text.as_bytes().to_vec();
        let tag = key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(header.as_bytes()),
                &mut data,
            )
            .ok()?;
        let mut jwe = String::with_capacity(header.len() + data.len() * 4 / 3 + 64);
        jwe.push_str(&header);
        jwe.push_str("..");
        URL_SAFE_NO_PAD.encode_string(nonce, &mut jwe);
        jwe.push('.');
        URL_SAFE_NO_PAD.encode_string(&data, &mut jwe);
        jwe.push('.');
        URL_SAFE_NO_PAD.encode_string(tag.as_ref(), &mut jwe);
        Some(jwe)
    }

    /// Decrypts a compact JWE.
    pub(crate) fn open(&self, jwe: &str) -> Result<Vec<u8>, JweError> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
            enc: String,
            #[serde(default)]
            zip: Option<String>,
            #[serde(default)]
            crit: Option<serde_json::Value>,
        }
        let mut parts = jwe.split('.');
        let mut part = || parts.next().ok_or(JweError::Malformed("it has not five parts"));
        let (header, encrypted_key, nonce, data, tag) = (part()?, part()?, part()?, part()?, part()?);
        if parts.next().is_some() {
            return Err(JweError::Malformed("it has not five parts"));
        }
        let decode = |text: &str| {
            URL_SAFE_NO_PAD
                .decode(text)
                .map_err(|_| JweError::Malformed("a part is not base64url"))
        };
        let parsed: Header =
            json(&decode(header)?).map_err(|_| JweError::Malformed("its header cannot be read"))?;
        let (algorithm, enc) = self.algorithm();
        if parsed.alg != "dir" || !encrypted_key.is_empty() {
            return Err(JweError::Malformed(
                "it does not use the shared key directly (alg: dir)",
            ));
        }
        if parsed.zip.is_some() || parsed.crit.is_some() {
            return Err(JweError::Malformed("it uses extensions (zip, crit)"));
        }
        if parsed.enc != enc {
            return Err(JweError::Malformed(
                "its algorithm (enc) does not fit the length of the key",
            ));
        }
        let nonce = Nonce::try_assume_unique_for_key(&decode(nonce)?)
            .map_err(|_| JweError::Malformed("its initialization vector has not 12 bytes"))?;
        let (mut data, tag) = (decode(data)?, decode(tag)?);
        if tag.len() != TAG_LEN {
            return Err(JweError::Malformed("its tag has not 16 bytes"));
        }
        data.extend_from_slice(&tag);
        let key = LessSafeKey::new(UnboundKey::new(algorithm, &self.0).map_err(|_| JweError::Undecryptable)?);
        let length = key
            .open_in_place(nonce, Aad::from(header.as_bytes()), &mut data)
            .map_err(|_| JweError::Undecryptable)?
            .len();
        data.truncate(length);
        Ok(data)
    }
}
