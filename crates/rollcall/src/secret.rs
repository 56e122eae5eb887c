//! Secrets: one type that cannot be printed, the master key under which they are stored, and the hashes of what need
//! not be known again.
//!
//! Signing keys, encryption keys and passwords to be synchronized rest in the database only as
//! AES-256-GCM boxes (nonce, ciphertext, tag), each bound to what it belongs to by its additional
//! data: a box moved to another row does not open.
//!
//! Of passwords that are only to be recognized an Argon2id hash is stored, which takes long on purpose: make and
//! compare it outside of transactions. Of tokens of 256 random bits, which nobody can guess, a SHA-256 hash is.

use std::path::Path;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_protocol::Random;
pub use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::private::{self, Bytes32, PrivateError};

/// A box does not open: the key is another one, or the box was altered or belongs elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored secret does not open: the master key is another one than it was sealed under")]
pub struct WrongKey;

/// The key under which every other secret is stored.
pub struct MasterKey(LessSafeKey);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// Takes 32 bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        // An AES-256 key is any 32 bytes, so the one error of this constructor (length) cannot occur.
        #[expect(clippy::expect_used, reason = "the length is right by type")]
        let key = UnboundKey::new(&AES_256_GCM, bytes).expect("32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Reads the key from its file.
    ///
    /// # Errors
    /// [`PrivateError`].
    pub fn read(path: &Path) -> Result<Self, PrivateError> {
        private::read(path).map(|bytes| Self::from_bytes(&bytes))
    }

    /// Reads the key from its file, which is made if it does not exist.
    ///
    /// # Errors
    /// [`PrivateError`].
    pub fn read_or_make(path: &Path, random: &dyn Random) -> Result<Self, PrivateError> {
        private::read_or_make(path, random).map(|bytes| Self::from_bytes(&bytes))
    }

    /// Seals some bytes. `belongs_to` names the row they are for and must be given again to open them.
    pub fn seal(&self, plain: &[u8], belongs_to: &str, random: &dyn Random) -> Vec<u8> {
        let mut nonce = [0_u8; NONCE_LEN];
        random.fill(&mut nonce);
        let mut sealed = nonce.to_vec();
        let mut text = Zeroizing::new(plain.to_vec());
        // AES-GCM refuses only plaintexts of 64 GiB and more.
        #[expect(clippy::expect_used, reason = "no secret is that long")]
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(belongs_to.as_bytes()),
                text.as_mut(),
            )
            .expect("a short plaintext");
        sealed.extend_from_slice(&text);
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens what [`MasterKey::seal`] made.
    ///
    /// # Errors
    /// [`WrongKey`] if the key or `belongs_to` differs, or the box was altered.
    pub fn open(&self, sealed: &[u8], belongs_to: &str) -> Result<Zeroizing<Vec<u8>>, WrongKey> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(WrongKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| WrongKey)?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::from(belongs_to.as_bytes()), text.as_mut())
            .map_err(|_| WrongKey)?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

/// A password or its hash that Argon2id cannot deal with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it cannot be hashed: {0}")]
pub struct Unhashable(String);

/// The Argon2id hash of a password, as a PHC string.
///
/// # Errors
/// [`Unhashable`].
pub fn hash_password(plain: &SecretString, random: &dyn Random) -> Result<String, Unhashable> {
    let mut salt = [0; 16];
    random.fill(&mut salt);
    let hash = Argon2::default().hash_password_with_salt(plain.expose_secret().as_bytes(), &salt);
    Ok(hash.map_err(|error| Unhashable(error.to_string()))?.to_string())
}

/// Whether a hash is that of this password.
///
/// # Errors
/// [`Unhashable`] if it is no hash.
pub fn is_password(plain: &SecretString, hash: &str) -> Result<bool, Unhashable> {
    let hash = PasswordHash::new(hash).map_err(|error| Unhashable(error.to_string()))?;
    Ok(Argon2::default()
        .verify_password(plain.expose_secret().as_bytes(), &hash)
        .is_ok())
}

/// A token of 256 random bits that is shown once, and its hash, which is kept.
pub struct NewToken {
    /// What its holder has to show.
    pub text: SecretString,
    /// What is stored.
    pub hash: String,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewToken(…)")
    }
}

impl NewToken {
    /// Makes one whose text begins so.
    pub fn generate(prefix: &str, random: &dyn Random) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(bytes.as_mut());
        let text = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes.as_ref()));
        let hash = hash_token(&text);
        Self {
            text: text.into(),
            hash,
        }
    }
}

/// How many characters of a token stay visible.
const VISIBLE: usize = 10;

/// The part of a token that stays visible.
pub fn visible(text: &str) -> String {
    text.chars().take(VISIBLE).collect()
}

/// The hash under which a token is stored.
pub fn hash_token(text: &str) -> String {
    private::to_hex(digest(&SHA256, text.as_bytes()).as_ref()).to_string()
}

/// What an administrator has to show: 32 bytes, as 64 hexadecimal digits. There is none that is shorter or
/// empty.
pub struct AdminToken(Bytes32);

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

impl AdminToken {
    /// Reads the token from its file, which is made if it does not exist.
    ///
    /// # Errors
    /// [`PrivateError`].
    pub fn read_or_make(path: &Path, random: &dyn Random) -> Result<Self, PrivateError> {
        private::read_or_make(path, random).map(Self)
    }

    /// Whether this is the token. Takes the same time for all texts that have its form.
    pub fn is(&self, shown: &str) -> bool {
        private::from_hex(shown).is_some_and(|shown| {
            aws_lc_rs::constant_time::verify_slices_are_equal(shown.as_ref(), self.0.as_ref()).is_ok()
        })
    }

    /// The token as it is shown.
    pub fn expose(&self) -> Zeroizing<String> {
        private::to_hex(self.0.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_protocol::SystemRandom;

    #[test]
    fn a_box_opens_only_where_it_belongs() {
        let key = MasterKey::from_bytes(&[7; 32]);
        let sealed = key.seal(b"hunter2", "password/user_1", &SystemRandom);
        assert_eq!(
            key.open(&sealed, "password/user_1").unwrap().as_slice(),
            b"hunter2"
        );
        assert!(key.open(&sealed, "password/user_2").is_err());
        assert!(
            MasterKey::from_bytes(&[8; 32])
                .open(&sealed, "password/user_1")
                .is_err()
        );
        assert!(key.open(&sealed[..5], "password/user_1").is_err());
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = AdminToken(zeroize::Zeroizing::new([0xab; 32]));
        assert!(token.is(&"ab".repeat(32)));
        for shown in [
            "",
            " ",
            "ab",
            &"ab".repeat(31),
            &"ab".repeat(33),
            &"ba".repeat(32),
            &"é".repeat(32),
        ] {
            assert!(!token.is(shown), "{shown:?}");
        }
    }
}
