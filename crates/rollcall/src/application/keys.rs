//! Signing keys: one RSA-2048 key pair per application that signs, and rotation that cannot cut an application
//! off.
//!
//! Applications cache the public keys; the official SDK does so for the life of its process, and some have them
//! written into their configuration. No delay helps those. A new key is therefore published at once, but takes
//! over only when the application has accepted a connection test that is signed with it ([`rotation`]). Until
//! then the old one signs. After that the old one stays published until the last envelope that it signed has
//! expired, clock skew included.

pub mod rotation;

use std::sync::Arc;

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::{Jwk, JwkSet, KeyError, Random, SigningKey};

use crate::clock::Millis;
use crate::id;
use crate::secret::MasterKey;
use rotation::Trial;

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

/// Opens the private half of a key.
fn open(kid: &str, sealed: &[u8], master: &MasterKey) -> Result<SigningKey, String> {
    let der = master
        .open(sealed, &belongs_to(kid))
        .map_err(|error| error.to_string())?;
    SigningKey::from_pkcs8(kid, &der).map_err(|error| error.to_string())
}

/// Stores the key with which an application begins: it signs at once.
///
/// # Errors
/// What the database reports.
pub fn add_first(tx: &mut Tx<'_>, application_id: &str, key: &NewKey, now: Millis) -> Result<(), DbError> {
    insert(tx, application_id, key, now, now, None)
}

/// Stores a key. While it has a trial, `signs_from` is the time that was first meant for that.
fn insert(
    tx: &mut Tx<'_>,
    application_id: &str,
    key: &NewKey,
    now: Millis,
    signs_from: Millis,
    trial: Option<&Trial>,
) -> Result<(), DbError> {
    let trial = trial.map(Trial::to_json).transpose()?;
    tx.execute(
        "INSERT INTO signing_keys (kid, application_id, private_key, public_jwk, created_at, signs_from, trial)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![
            key.kid.as_str(),
            application_id,
            key.sealed.as_slice(),
            key.public_jwk.as_str(),
            now,
            signs_from,
            trial.as_deref()
        ],
    )?;
    Ok(())
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
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyInfo {
    /// The key's id.
    pub kid: String,
    /// When it was published.
    pub created_at: Millis,
    /// Since when it signs; `None` while it only waits for its trial.
    pub signs_from: Option<Millis>,
    /// When it disappears from the JWKS document; `None` while it signs or waits.
    pub retires_at: Option<Millis>,
    /// The trial that it has to pass before it signs.
    pub trial: Option<Trial>,
}

/// The keys of an application that are still published, newest first.
///
/// # Errors
/// What the database reports.
pub fn list(tx: &mut Tx<'_>, application_id: &str, now: Millis) -> Result<Vec<KeyInfo>, DbError> {
    tx.query(
        "SELECT kid, created_at, signs_from, retires_at, trial FROM signing_keys
         WHERE application_id = $1 AND (retires_at IS NULL OR retires_at > $2)
         ORDER BY created_at DESC, kid DESC",
        params![application_id, now],
    )?
    .iter()
    .map(|row| {
        let trial = Trial::read(row.get(4)?)?;
        Ok(KeyInfo {
            kid: row.get(0)?,
            created_at: row.get(1)?,
            signs_from: row.get::<Option<Millis>>(2)?.filter(|_| trial.is_none()),
            retires_at: row.get(3)?,
            trial,
        })
    })
    .collect()
}

/// A key that is published, and waits for its trial.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The key.
    pub key: Arc<SigningKey>,
    /// When it was published.
    pub created_at: Millis,
    /// Its trial.
    pub trial: Trial,
}

/// The keys that a delivery needs.
#[derive(Clone, Debug)]
pub struct SigningKeys {
    /// The key that signs.
    pub signing: Option<Arc<SigningKey>>,
    /// The key that is to take its place.
    pub candidate: Option<Candidate>,
}

impl SigningKeys {
    /// Opens the key that signs, and the one that waits for its trial.
    ///
    /// # Errors
    /// What the database reports; also if a key does not open under the master key.
    pub fn load(tx: &mut Tx<'_>, application_id: &str, master: &MasterKey) -> Result<Self, DbError> {
        let mut keys = Self {
            signing: None,
            candidate: None,
        };
        for row in tx.query(
            "SELECT kid, private_key, created_at, trial FROM signing_keys
             WHERE application_id = $1 AND retires_at IS NULL ORDER BY signs_from",
            params![application_id],
        )? {
            let kid: String = row.get(0)?;
            let key = open(&kid, &row.get::<Vec<u8>>(1)?, master)
                .map_err(|error| DbError::Other(format!("signing key {kid} of {application_id}: {error}")))?;
            let key = Arc::new(key);
            match Trial::read(row.get(3)?)? {
                None => keys.signing = Some(key),
                Some(trial) => {
                    keys.candidate = Some(Candidate {
                        key,
                        created_at: row.get(2)?,
                        trial,
                    });
                }
            }
        }
        Ok(keys)
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
