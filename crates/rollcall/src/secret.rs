//! Secrets: one type that cannot be printed, and the master key under which they are stored.
//!
//! Signing keys, encryption keys and passwords to be synchronized rest in the database only as
//! AES-256-GCM boxes (nonce, ciphertext, tag), each bound to what it belongs to by its additional
//! data: a box moved to another row does not open.

use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rollcall_protocol::Random;
pub use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// Why a master key cannot be had, or a box not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The key is not 64 hexadecimal digits.
    #[error("the master key must be 64 hexadecimal digits (32 bytes); {0}")]
    MalformedKey(String),
    /// The file that holds the key cannot be read or made.
    #[error("the master key file {path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file that holds the key can be read by others.
    #[error("the master key file {0} can be read by other users; run: chmod 600 {0}")]
    Exposed(String),
    /// The box does not open under this key.
    #[error("a stored secret does not open: the master key is another one than it was sealed under")]
    WrongKey,
}

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

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`SecretError::MalformedKey`].
    pub fn from_hex(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        if text.len() != 64 {
            return Err(SecretError::MalformedKey(format!(
                "this has {} characters",
                text.len()
            )));
        }
        let mut bytes = Zeroizing::new([0_u8; 32]);
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = text
                .get(index * 2..index * 2 + 2)
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or_else(|| SecretError::MalformedKey("it holds something else".into()))?;
        }
        Ok(Self::from_bytes(&bytes))
    }

    /// Reads the key from a file, which is made (readable by its owner only) if it does not exist.
    ///
    /// # Errors
    /// [`SecretError::File`], [`SecretError::Exposed`] or [`SecretError::MalformedKey`].
    pub fn from_file(path: &Path, random: &dyn Random) -> Result<Self, SecretError> {
        use std::io::Write as _;
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        let failed = |source| SecretError::File {
            path: path.display().to_string(),
            source,
        };
        match std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
        {
            Ok(mut file) => {
                let mut bytes = Zeroizing::new([0_u8; 32]);
                random.fill(bytes.as_mut());
                let hex: Zeroizing<String> =
                    Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
                writeln!(file, "{}", hex.as_str())
                    .and_then(|()| file.sync_all())
                    .map_err(failed)?;
                Ok(Self::from_bytes(&bytes))
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
                if mode & 0o077 != 0 {
                    return Err(SecretError::Exposed(path.display().to_string()));
                }
                Self::from_hex(&Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?))
            }
            Err(error) => Err(failed(error)),
        }
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
    /// [`SecretError::WrongKey`] if the key or `belongs_to` differs, or the box was altered.
    pub fn open(&self, sealed: &[u8], belongs_to: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(SecretError::WrongKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SecretError::WrongKey)?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::from(belongs_to.as_bytes()), text.as_mut())
            .map_err(|_| SecretError::WrongKey)?
            .len();
        text.truncate(length);
        Ok(text)
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
    fn the_key_file_is_made_once_and_refused_when_exposed() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let sealed = MasterKey::from_file(&path, &SystemRandom)
            .unwrap()
            .seal(b"x", "y", &SystemRandom);
        assert!(
            MasterKey::from_file(&path, &SystemRandom)
                .unwrap()
                .open(&sealed, "y")
                .is_ok()
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            MasterKey::from_file(&path, &SystemRandom),
            Err(SecretError::Exposed(_))
        ));
    }
}
