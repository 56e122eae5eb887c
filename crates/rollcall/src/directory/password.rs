//! Passwords: hashed for good, and kept sealed only as long as applications wait for them.

use std::sync::Arc;

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::Random;

use super::DirectoryError;
use crate::secret::{self, ExposeSecret as _, SecretString};

/// A password with its hash (Argon2id, PHC string). It is made outside a transaction, since hashing
/// takes long on purpose.
#[derive(Clone)]
pub struct NewPassword {
    hash: String,
    plain: Arc<SecretString>,
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword(…)")
    }
}

impl NewPassword {
    /// Hashes a password of 8 to 256 characters.
    ///
    /// # Errors
    /// [`DirectoryError::InvalidField`].
    pub fn prepare(plain: SecretString, random: &dyn Random) -> Result<Self, DirectoryError> {
        let refuse = |reason: String| DirectoryError::InvalidField {
            field: "password",
            reason,
        };
        let length = plain.expose_secret().chars().count();
        if !(8..=256).contains(&length) {
            return Err(refuse("must have 8 to 256 characters".to_owned()));
        }
        let hash = secret::hash_password(&plain, random).map_err(|error| refuse(error.to_string()))?;
        Ok(Self {
            hash,
            plain: Arc::new(plain),
        })
    }

    /// The hash, as it is stored.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    pub(super) fn expose(&self) -> &[u8] {
        self.plain.expose_secret().as_bytes()
    }
}

/// Whether this is the user's password.
///
/// # Errors
/// What the database reports.
pub fn verify_password(tx: &mut Tx<'_>, user_id: &str, plain: &SecretString) -> Result<bool, DbError> {
    let hash: Option<String> = tx
        .query_opt("SELECT password_hash FROM users WHERE id = $1", params![user_id])?
        .map(|row| row.get(0))
        .transpose()?
        .flatten();
    let Some(hash) = hash else { return Ok(false) };
    secret::is_password(plain, &hash)
        .map_err(|error| DbError::Other(format!("the password hash of {user_id}: {error}")))
}
