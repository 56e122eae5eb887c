//! Signing keys: one RSA-2048 key pair per application at a time, and rotation with overlap.
//!
//! Applications cache the public keys; the official SDK does so for the life of its process. A new
//! key is therefore published at once, but signs only after a delay, and the old one stays published
//! until the last envelope that it signed has expired, clock skew included.

use std::sync::Arc;
use std::time::Duration;

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::{Jwk, JwkSet, KeyError, Random, SigningKey};

use crate::clock::Millis;
use crate::id;
use crate::secret::MasterKey;

/// How long an envelope is valid (wire contract, section 2), and the clock skew that receivers allow.
const LAST_USE: Millis = (1_800 + 60) * 1_000;

/// A fresh key, made outside a transaction because that takes long.
#[derive(Debug)]
pub struct NewKey {
    kid: String,
    sealed: Vec<u8>,
    public_jwk: String,
}

impl NewKey {
    /// Makes a key pair and seals its private half.
    ///
    /// # Errors
    /// [`KeyError`] if the cryptographic library cannot make one.
    pub fn generate(now: Millis, random: &dyn Random, master: &MasterKey) -> Result<Self, KeyError> {
        let kid = id::make("KEY", now, random).replace('_', "");
        Self::of(&SigningKey::generate(&kid)?, random, master)
    }

    /// Seals the private half of a key pair.
    ///
    /// # Errors
    /// [`KeyError`] if the cryptographic library cannot write it.
    pub fn of(key: &SigningKey, random: &dyn Random, master: &MasterKey) -> Result<Self, KeyError> {
        let kid = key.kid().to_owned();
        let sealed = master.seal(&key.pkcs8_der()?, &belongs_to(&kid), random);
        let public_jwk = serde_json::to_string(&key.public_jwk()).unwrap_or_default();
        Ok(Self {
            kid,
            sealed,
            public_jwk,
        })
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

fn belongs_to(kid: &str) -> String {
    format!("signing-key/{kid}")
}

/// Publishes a key that signs after `delay`; every key before it retires once its last signature has
/// expired.
///
/// # Errors
/// What the database reports.
pub fn publish(
    tx: &mut Tx<'_>,
    application_id: &str,
    key: &NewKey,
    now: Millis,
    delay: Duration,
) -> Result<Millis, DbError> {
    let signs_from = now + i64::try_from(delay.as_millis()).unwrap_or(i64::MAX / 4);
    tx.execute(
        "UPDATE signing_keys SET retires_at = $2
         WHERE application_id = $1 AND (retires_at IS NULL OR retires_at > $2)",
        params![application_id, signs_from + LAST_USE],
    )?;
    tx.execute(
        "INSERT INTO signing_keys (kid, application_id, private_key, public_jwk, created_at, signs_from)
         VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            key.kid.as_str(),
            application_id,
            key.sealed.as_slice(),
            key.public_jwk.as_str(),
            now,
            signs_from
        ],
    )?;
    Ok(signs_from)
}

/// The public keys that an application may meet now (wire contract, section 2).
///
/// # Errors
/// What the database reports.
pub fn jwks(tx: &mut Tx<'_>, application_id: &str, now: Millis) -> Result<JwkSet, DbError> {
    let keys = tx
        .query(
            "SELECT public_jwk FROM signing_keys
             WHERE application_id = $1 AND (retires_at IS NULL OR retires_at > $2)
             ORDER BY signs_from DESC",
            params![application_id, now],
        )?
        .iter()
        .map(|row| {
            serde_json::from_str::<Jwk>(&row.get::<String>(0)?)
                .map_err(|error| DbError::Other(format!("a public key of {application_id}: {error}")))
        })
        .collect::<Result<_, _>>()?;
    Ok(JwkSet { keys })
}

/// A key of an application, as the administrator sees it.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyInfo {
    /// The key's id.
    pub kid: String,
    /// When it was published.
    pub created_at: Millis,
    /// From when on it signs.
    pub signs_from: Millis,
    /// When it disappears from the JWKS document.
    pub retires_at: Option<Millis>,
}

/// All keys of an application, newest first.
///
/// # Errors
/// What the database reports.
pub fn list(tx: &mut Tx<'_>, application_id: &str) -> Result<Vec<KeyInfo>, DbError> {
    tx.query(
        "SELECT kid, created_at, signs_from, retires_at FROM signing_keys
         WHERE application_id = $1 ORDER BY signs_from DESC",
        params![application_id],
    )?
    .iter()
    .map(|row| {
        Ok(KeyInfo {
            kid: row.get(0)?,
            created_at: row.get(1)?,
            signs_from: row.get(2)?,
            retires_at: row.get(3)?,
        })
    })
    .collect()
}

/// The keys that sign, each from its time on.
#[derive(Clone, Debug)]
pub struct SigningKeys(Vec<(Millis, Arc<SigningKey>)>);

impl SigningKeys {
    /// Opens the keys that sign now or will.
    ///
    /// # Errors
    /// What the database reports; also if a key does not open under the master key.
    pub fn load(
        tx: &mut Tx<'_>,
        application_id: &str,
        now: Millis,
        master: &MasterKey,
    ) -> Result<Self, DbError> {
        let mut keys = Vec::new();
        for row in tx.query(
            "SELECT kid, private_key, signs_from FROM signing_keys
             WHERE application_id = $1 AND (retires_at IS NULL OR retires_at > $2)
             ORDER BY signs_from",
            params![application_id, now],
        )? {
            let kid: String = row.get(0)?;
            let unusable = |error: &dyn std::fmt::Display| {
                DbError::Other(format!("signing key {kid} of {application_id}: {error}"))
            };
            let der = master
                .open(&row.get::<Vec<u8>>(1)?, &belongs_to(&kid))
                .map_err(|error| unusable(&error))?;
            let key = SigningKey::from_pkcs8(&kid, &der).map_err(|error| unusable(&error))?;
            keys.push((row.get(2)?, Arc::new(key)));
        }
        Ok(Self(keys))
    }

    /// The key that signs at this time.
    pub fn at(&self, now: Millis) -> Option<&Arc<SigningKey>> {
        self.0
            .iter()
            .rev()
            .find(|(from, _)| *from <= now)
            .or(self.0.first())
            .map(|(_, key)| key)
    }
}

/// Whether a stored signing key opens under the master key; `None` if there is no signing key.
///
/// # Errors
/// What the database reports.
pub fn open_under(tx: &mut Tx<'_>, master: &MasterKey) -> Result<Option<bool>, DbError> {
    let row = tx.query_opt("SELECT kid, private_key FROM signing_keys LIMIT 1", params![])?;
    row.map(|row| {
        let (kid, sealed) = (row.get::<String>(0)?, row.get::<Vec<u8>>(1)?);
        Ok(master.open(&sealed, &belongs_to(&kid)).is_ok())
    })
    .transpose()
}

/// Deletes the keys whose last signature has expired.
///
/// # Errors
/// What the database reports.
pub fn delete_retired(tx: &mut Tx<'_>, now: Millis) -> Result<u64, DbError> {
    tx.execute(
        "DELETE FROM signing_keys WHERE retires_at IS NOT NULL AND retires_at <= $1",
        params![now],
    )
}
