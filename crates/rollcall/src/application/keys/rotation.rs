//! Rotation: how a new signing key takes the place of the old one.
//!
//! ```text
//! publish ─► Published ─► Trial ──accepted──► Retiring (the old key) ─► Steady
//!                           │  ▲                  │ revert: the keys change places
//!                    refused▼  │ later, or when   ▼
//!                          Refused asked        Retiring (the new key) ─► Steady
//! ```
//!
//! The trial is a connection test under the new key, sent by whoever delivers to the application
//! (`delivery::send::trial`). Where it is refused, and a test under the key that signs is accepted in the same
//! moment, the application does not know the new key: it keeps the public keys that it once fetched, or has them
//! in its configuration. The old key goes on signing, the administrator is told, and the trial is repeated,
//! with growing pauses. Where neither test is accepted, nothing is known about the key, and the trial is
//! repeated as well.
//!
//! What an administrator does here goes through the application's door ([`crate::application::apply`]), which
//! raises its version and tells the audit log.
//!
//! An application may turn out to be broken by the new key all the same: of several instances, the one that took the
//! trial may have known more than the others. As long as the old key is published, [`revert`] lets it sign again.
//!
//! An emergency ([`replace`]) is the one case in which a key signs untried: what a stolen key costs is more
//! than an application that waits.

use std::time::Duration;

use rollcall_db::{DbError, Tx, params};
use serde::{Deserialize, Serialize};

use super::{KeyInfo, LAST_USE, NewKey, insert, open};
use crate::application::store;
use crate::clock::Millis;
use crate::secret::MasterKey;

/// The trial that a published key has to pass before it signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// When the next connection test under the key is due.
    pub due_at: Millis,
    /// How often the trial was held.
    #[serde(default)]
    pub tries: u32,
    /// Why the key does not sign yet, once a trial was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setback: Option<Setback>,
}

/// Why a trial did not let the new key sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Setback {
    /// The application takes events under the old key and refuses the new one.
    Refused {
        /// Since when that is known.
        since: Millis,
        /// What it said.
        reason: String,
    },
    /// The application took no connection test under either key, so that nothing is known about the new one.
    Unclear {
        /// What it said.
        reason: String,
    },
}

impl Trial {
    /// A trial that is due at a time.
    pub fn due(due_at: Millis) -> Self {
        Self {
            due_at,
            tries: 0,
            setback: None,
        }
    }

    pub(super) fn to_json(&self) -> Result<String, DbError> {
        serde_json::to_string(self).map_err(|error| DbError::Other(error.to_string()))
    }

    pub(super) fn read(stored: Option<String>) -> Result<Option<Self>, DbError> {
        stored
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| DbError::Other(format!("the trial of a signing key: {error}")))
    }
}

/// Where the rotation of an application's keys stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Rotation {
    /// One key is published, and it signs.
    Steady,
    /// A new key is published; its trial is not due yet.
    Published {
        /// The new key.
        kid: String,
        /// When its trial is due.
        trial_at: Millis,
    },
    /// The trial of the new key is due, or was held without telling anything.
    Trial {
        /// The new key.
        kid: String,
        /// When it is held next.
        trial_at: Millis,
        /// Why the last one told nothing, if one was held.
        reason: Option<String>,
    },
    /// The application refuses the new key. The old one signs.
    Refused {
        /// The new key.
        kid: String,
        /// Since when that is known.
        since: Millis,
        /// How often it was tried.
        tries: u32,
        /// When it is tried again.
        trial_at: Millis,
        /// What the application said.
        reason: String,
    },
    /// The new key signs; the old one is still published.
    Retiring {
        /// The old key.
        kid: String,
        /// When it disappears.
        retires_at: Millis,
    },
}

/// What an administrator has to do where the new key is refused.
pub const REFUSED_ADVICE: &str =
    "the endpoint refuses the new key: restart the application or update its pinned keys";

impl Rotation {
    /// Reads it off the keys of an application.
    pub fn of(keys: &[KeyInfo], now: Millis) -> Self {
        let waiting = keys.iter().find_map(|key| Some((key, key.trial.as_ref()?)));
        if let Some((key, trial)) = waiting {
            let (kid, trial_at) = (key.kid.clone(), trial.due_at);
            return match &trial.setback {
                None if trial_at > now => Self::Published { kid, trial_at },
                None => Self::Trial {
                    kid,
                    trial_at,
                    reason: None,
                },
                Some(Setback::Unclear { reason }) => Self::Trial {
                    kid,
                    trial_at,
                    reason: Some(reason.clone()),
                },
                Some(Setback::Refused { since, reason }) => Self::Refused {
                    kid,
                    since: *since,
                    tries: trial.tries,
                    trial_at,
                    reason: reason.clone(),
                },
            };
        }
        let retiring = keys
            .iter()
            .filter_map(|key| Some((key.retires_at?, &key.kid)))
            .filter(|(retires_at, _)| *retires_at > now)
            .max();
        match retiring {
            Some((retires_at, kid)) => Self::Retiring {
                kid: kid.clone(),
                retires_at,
            },
            None => Self::Steady,
        }
    }

    /// What the administrator should know, if there is anything to be done.
    pub fn warning(&self) -> Option<String> {
        match self {
            Self::Refused { kid, reason, .. } => Some(format!(
                "{REFUSED_ADVICE} ({kid} was refused: {reason}). The old key goes on signing; \
                 `rollcall app key try` tries again at once, `rollcall app key cancel` withdraws the new key"
            )),
            Self::Trial {
                kid,
                reason: Some(reason),
                ..
            } => Some(format!(
                "the new key {kid} could not be tried: the endpoint took no connection test under either key \
                 ({reason}). The old key goes on signing"
            )),
            _ => None,
        }
    }
}

/// Reads where the rotation of an application's keys stands.
///
/// # Errors
/// What the database reports.
pub fn rotation(tx: &mut Tx<'_>, application_id: &str, now: Millis) -> Result<Rotation, DbError> {
    Ok(Rotation::of(&super::list(tx, application_id, now)?, now))
}

/// The applications that refuse the key that is to sign for them.
///
/// # Errors
/// What the database reports.
pub fn refusing(tx: &mut Tx<'_>) -> Result<Vec<String>, DbError> {
    let mut refusing = Vec::new();
    for row in tx.query(
        "SELECT application_id, trial FROM signing_keys WHERE trial IS NOT NULL",
        params![],
    )? {
        let trial = Trial::read(row.get(1)?)?;
        if trial.is_some_and(|trial| matches!(trial.setback, Some(Setback::Refused { .. }))) {
            refusing.push(row.get(0)?);
        }
    }
    Ok(refusing)
}

/// Why a rotation cannot be begun, hurried, cancelled or undone.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// Another key waits for its trial already.
    #[error(
        "the new key {0} is published already and waits for its trial: see `rollcall app key show`, or withdraw it with `rollcall app key cancel`"
    )]
    UnderWay(String),
    /// No key that signed before is left.
    #[error(
        "no earlier key is left to go back to: one is kept for {} minutes after it signed last, and none after `rollcall app key rotate --now`. `rollcall app key rotate` publishes a new one",
        LAST_USE / 60_000
    )]
    NothingEarlier,
    /// The private half of the earlier key does not open.
    #[error(
        "the private half of {0} does not open under the master key, so it cannot sign again; `rollcall app key rotate` publishes a new key"
    )]
    Unusable(String),
    /// No key waits for a trial.
    #[error("no new key is waiting for its trial; `rollcall app key rotate` publishes one")]
    NotUnderWay,
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

fn waiting(tx: &mut Tx<'_>, application_id: &str) -> Result<Option<String>, DbError> {
    tx.query_opt(
        "SELECT kid FROM signing_keys WHERE application_id = $1 AND trial IS NOT NULL",
        params![application_id],
    )?
    .map(|row| row.get(0))
    .transpose()
}

/// Publishes a new key, whose trial is due after `delay`. Returns when that is.
///
/// # Errors
/// [`RotationError::UnderWay`], or what the database reports.
pub fn publish(
    tx: &mut Tx<'_>,
    application_id: &str,
    key: &NewKey,
    now: Millis,
    delay: Duration,
) -> Result<Millis, RotationError> {
    if let Some(kid) = waiting(tx, application_id)? {
        return Err(RotationError::UnderWay(kid));
    }
    let trial_at = now.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX / 4));
    insert(
        tx,
        application_id,
        key,
        now,
        trial_at,
        Some(&Trial::due(trial_at)),
    )?;
    Ok(trial_at)
}

/// Lets a new key sign at once and withdraws all others, also from the published keys: whoever has stolen one of
/// them can no longer speak for the hub. Applications that keep the public keys refuse everything until they
/// fetch them again.
///
/// # Errors
/// What the database reports.
pub fn replace(tx: &mut Tx<'_>, application_id: &str, key: &NewKey, now: Millis) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM signing_keys WHERE application_id = $1",
        params![application_id],
    )?;
    insert(tx, application_id, key, now, now, None)
}

/// Lets the key sign again that signed last before the one that signs now, as long as it is published; the one that
/// signs now retires as that did. Returns the ids of both. A key that waits for its trial goes on waiting.
///
/// # Errors
/// [`RotationError::NothingEarlier`], [`RotationError::Unusable`], or what the database reports.
pub fn revert(
    tx: &mut Tx<'_>,
    application_id: &str,
    master: &MasterKey,
    now: Millis,
) -> Result<Reverted, RotationError> {
    let row = tx.query_opt(
        "SELECT kid, private_key FROM signing_keys
         WHERE application_id = $1 AND retires_at > $2 AND trial IS NULL
         ORDER BY retires_at DESC, signs_from DESC LIMIT 1",
        params![application_id, now],
    )?;
    let row = row.ok_or(RotationError::NothingEarlier)?;
    let (kid, sealed): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
    if open(&kid, &sealed, master).is_err() {
        return Err(RotationError::Unusable(kid));
    }
    let retired: Option<String> = tx
        .query_opt(
            "UPDATE signing_keys SET retires_at = $2
             WHERE application_id = $1 AND retires_at IS NULL AND trial IS NULL RETURNING kid",
            params![application_id, now + LAST_USE],
        )?
        .map(|row| row.get(0))
        .transpose()?;
    tx.execute(
        "UPDATE signing_keys SET retires_at = NULL, signs_from = $2 WHERE kid = $1",
        params![kid.as_str(), now],
    )?;
    Ok(Reverted { kid, retired })
}

/// What [`revert`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reverted {
    /// The key that signs again.
    pub kid: String,
    /// The key that signed until then.
    pub retired: Option<String>,
}

/// Withdraws the key that waits for its trial. Returns its id.
///
/// # Errors
/// [`RotationError::NotUnderWay`], or what the database reports.
pub fn withdraw(tx: &mut Tx<'_>, application_id: &str) -> Result<String, RotationError> {
    let kid = waiting(tx, application_id)?.ok_or(RotationError::NotUnderWay)?;
    tx.execute("DELETE FROM signing_keys WHERE kid = $1", params![kid.as_str()])?;
    Ok(kid)
}

/// Makes the trial of the waiting key due now. Returns its id.
///
/// # Errors
/// [`RotationError::NotUnderWay`], or what the database reports.
pub fn try_now(tx: &mut Tx<'_>, application_id: &str, now: Millis) -> Result<String, RotationError> {
    let row = tx.query_opt(
        "SELECT kid, trial FROM signing_keys WHERE application_id = $1 AND trial IS NOT NULL",
        params![application_id],
    )?;
    let row = row.ok_or(RotationError::NotUnderWay)?;
    let kid: String = row.get(0)?;
    let trial = Trial::read(row.get(1)?)?.ok_or(RotationError::NotUnderWay)?;
    put_off(tx, &kid, &Trial { due_at: now, ..trial })?;
    Ok(kid)
}

/// A trial that was held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The key that was tried.
    pub kid: String,
    /// The trial as it stood before.
    pub before: Trial,
    /// What it brought.
    pub verdict: Verdict,
}

/// What a trial brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The application accepts the new key, which signs from now on.
    Accepted,
    /// It stays with the old key, and the trial is held again.
    PutOff(Trial),
}

/// Takes over what a trial brought. A key that was withdrawn meanwhile stays so, and a trial that was asked for
/// meanwhile stays due.
///
/// # Errors
/// What the database reports.
pub fn conclude(tx: &mut Tx<'_>, application_id: &str, held: &Held, now: Millis) -> Result<(), DbError> {
    let kid = held.kid.as_str();
    let row = tx.query_opt(
        "SELECT trial FROM signing_keys WHERE kid = $1 AND application_id = $2",
        params![kid, application_id],
    )?;
    let stands = match row {
        Some(row) => Trial::read(row.get(0)?)?,
        None => None,
    };
    match (&held.verdict, stands) {
        (Verdict::Accepted, Some(_)) => {
            tx.execute(
                "UPDATE signing_keys SET trial = NULL, signs_from = $2 WHERE kid = $1",
                params![kid, now],
            )?;
            tx.execute(
                "UPDATE signing_keys SET retires_at = $3
                 WHERE application_id = $1 AND kid <> $2 AND (retires_at IS NULL OR retires_at > $3)",
                params![application_id, kid, now + LAST_USE],
            )?;
            store::touch(tx, application_id)
        }
        (Verdict::PutOff(trial), Some(stands)) if stands == held.before => put_off(tx, kid, trial),
        _ => Ok(()),
    }
}

fn put_off(tx: &mut Tx<'_>, kid: &str, trial: &Trial) -> Result<(), DbError> {
    tx.execute(
        "UPDATE signing_keys SET trial = $2 WHERE kid = $1 AND trial IS NOT NULL",
        params![kid, trial.to_json()?],
    )?;
    Ok(())
}
