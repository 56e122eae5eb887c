//! Applications in the database: create, change, find, delete.

use rollcall_db::{DbError, Row, Tx, params};
use rollcall_protocol::{EncryptionKey, Random};
use serde::{Deserialize, Serialize};

use super::developer::DeveloperApi;
use super::entitlement::{self, Entitlements, Scope};
pub use super::error::ApplicationError;
use super::settings::{Settings, SettingsError};
use crate::change::Seq;
use crate::clock::Millis;
use crate::directory::{
    Written,
    fields::{self, fold},
    query,
};
use crate::instance;
use crate::secret::{ExposeSecret as _, MasterKey, SecretString};

/// An application as it is stored. Its keys are loaded apart.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// `app_…`; the audience of its envelopes.
    pub id: String,
    /// For people.
    pub name: String,
    /// *Synchronize users to application*: whether anything is pushed. While this is off, the cursor
    /// stays where it is.
    pub synchronize: bool,
    /// The push parameters.
    pub settings: Settings,
    /// What it may do through the developer API.
    #[serde(default)]
    pub developer_api: DeveloperApi,
    /// Whether an encryption key is stored.
    pub has_encryption_key: bool,
    /// Whether a secret is stored by which the hub proves who it is, in the SCIM mode.
    #[serde(default)]
    pub has_secret: bool,
    /// Grows with every change of the application.
    pub version: i64,
    /// The last change that is settled for the application (see `delivery::ledger`).
    pub position: Seq,
    /// Set while the endpoint does not answer and is probed only now and then.
    pub suspended: Option<Suspension>,
    /// When it was made.
    pub create_time: Millis,
    /// When an administrator last changed it: its version (see [`crate::access`]).
    pub update_time: Millis,
}

impl Application {
    /// `active`, `suspended` (it does not answer) or `paused` (somebody switched it off).
    pub fn state(&self) -> &'static str {
        match (self.synchronize, &self.suspended) {
            (false, _) => "paused",
            (true, Some(_)) => "suspended",
            (true, None) => "active",
        }
    }
}

/// Since when an endpoint has not taken anything, and when it is asked again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// The time of the first of the failures in a row.
    pub since: Millis,
    /// How often it failed.
    pub tries: u32,
    /// When it is probed again.
    pub next_probe: Millis,
    /// The last failure, in the hub's words.
    pub reason: String,
    /// What the application said about it. It may name people, so it goes when somebody is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
}

impl Suspension {
    /// The last failure with what the application said about it.
    pub fn in_full(&self) -> String {
        match &self.said {
            Some(said) => format!("{}: {said}", self.reason),
            None => self.reason.clone(),
        }
    }
}

/// Holds the application's row in the ledger until the commit, so that no settlement comes in between what is read of
/// its delivery and what is written.
pub(crate) fn hold(tx: &mut Tx<'_>, id: &str) -> Result<(), DbError> {
    tx.execute(
        "UPDATE deliveries SET epoch = epoch WHERE application_id = $1",
        params![id],
    )?;
    Ok(())
}

/// Makes the delivery load an application afresh: after a change of its settings, its keys, its jobs
/// or its parked events.
///
/// # Errors
/// What the database reports.
pub fn touch(tx: &mut Tx<'_>, id: &str) -> Result<(), DbError> {
    tx.execute(
        "UPDATE applications SET version = version + 1 WHERE id = $1",
        params![id],
    )?;
    instance::touch_applications(tx)
}

/// Makes the delivery load all applications and all changes afresh.
///
/// # Errors
/// What the database reports.
pub fn touch_all(tx: &mut Tx<'_>) -> Result<(), DbError> {
    tx.execute("UPDATE applications SET version = version + 1", params![])?;
    instance::touch_applications(tx)
}

/// Deletes the rows of an application and of everything that belongs to it.
pub(super) fn remove(tx: &mut Tx<'_>, id: &str) -> Result<(), DbError> {
    // The row in the ledger first: whatever else writes what belongs to an application's delivery holds it.
    tx.execute(
        "UPDATE deliveries SET revision = revision + 1 WHERE application_id = $1",
        params![id],
    )?;
    tx.execute(
        "DELETE FROM attempts WHERE id IN
             (WITH RECURSIVE chain (id) AS (
                  SELECT last_attempt FROM deliveries WHERE application_id = $1
                  UNION ALL
                  SELECT a.previous FROM chain JOIN attempts a ON a.id = chain.id WHERE a.previous IS NOT NULL)
              SELECT id FROM chain)",
        params![id],
    )?;
    tx.execute(
        "DELETE FROM job_items WHERE job_id IN (SELECT id FROM jobs WHERE application_id = $1)",
        params![id],
    )?;
    forget_comparisons(tx, id)?;
    for table in [
        "jobs",
        "parked_events",
        "remote_objects",
        "deliveries",
        "signing_keys",
        "client_secrets",
        "entitlements",
    ] {
        tx.execute(
            &format!("DELETE FROM {table} WHERE application_id = $1"),
            params![id],
        )?;
    }
    tx.execute("DELETE FROM applications WHERE id = $1", params![id])?;
    instance::touch_applications(tx)
}

const COLUMNS: &str = "id, name, synchronize, settings, encryption_key IS NOT NULL, secret IS NOT NULL, \
                       version, position, suspended, create_time, update_time, developer_api";
const COLUMN_COUNT: usize = 12;
const TABLES: &str = "applications JOIN deliveries ON deliveries.application_id = id";

/// Reads an application by its id.
///
/// # Errors
/// [`ApplicationError::NotFound`], or what the database reports.
pub fn load(tx: &mut Tx<'_>, id: &str) -> Result<Application, ApplicationError> {
    tx.query_opt(
        &format!("SELECT {COLUMNS} FROM {TABLES} WHERE id = $1"),
        params![id],
    )?
    .map(|row| from_row(&row))
    .transpose()?
    .ok_or_else(|| ApplicationError::NotFound(id.to_owned()))
}

/// Finds an application by its id or its name, without regard to case.
///
/// # Errors
/// [`ApplicationError::NotFound`]; [`ApplicationError::Ambiguous`] if it is the id of one and the name of
/// another, which `id:` or `name:` before it tells apart; what the database reports.
pub fn find(tx: &mut Tx<'_>, id_or_name: &str) -> Result<Application, ApplicationError> {
    let written = Written::of(id_or_name);
    let rows = tx.query(
        &format!("SELECT {COLUMNS} FROM {TABLES} WHERE id = $1 OR name_folded = $2"),
        params![written.id(), written.name().map(fold)],
    )?;
    only(written, &rows)
}

/// Finds an application, with what it is and was entitled to.
///
/// # Errors
/// Those of [`find`].
pub fn find_entitled(
    tx: &mut Tx<'_>,
    id_or_name: &str,
) -> Result<(Application, Entitlements), ApplicationError> {
    let written = Written::of(id_or_name);
    let rows = tx.query(
        &format!(
            "SELECT {COLUMNS}, {} FROM {TABLES} JOIN entitlements ON entitlements.application_id = id
             WHERE id = $1 OR name_folded = $2 ORDER BY from_seq",
            entitlement::COLUMNS
        ),
        params![written.id(), written.name().map(fold)],
    )?;
    let application = only(written, &rows)?;
    let entitlements = Entitlements::read(&application.id, &rows, COLUMN_COUNT)?;
    Ok((application, entitlements))
}

/// The one application that rows are about.
fn only(written: Written<'_>, rows: &[Row]) -> Result<Application, ApplicationError> {
    let Some(first) = rows.first() else {
        return Err(ApplicationError::NotFound(written.bare().to_owned()));
    };
    let application = from_row(first)?;
    for row in rows {
        if row.get::<String>(0)? != application.id {
            return Err(ApplicationError::Ambiguous(written.bare().to_owned()));
        }
    }
    Ok(application)
}

/// The ids of all that is written so: users, units, groups, applications. The text itself is among them, since
/// it may be the id of something that is gone.
///
/// # Errors
/// What the database reports.
pub fn ids_of(tx: &mut Tx<'_>, text: &str) -> Result<Vec<String>, DbError> {
    let written = Written::of(text);
    let mut ids = query::ids_of(tx, text)?;
    for row in tx.query(
        "SELECT id FROM applications WHERE id = $1 OR name_folded = $2",
        params![written.id(), written.name().map(fold)],
    )? {
        ids.push(row.get(0)?);
    }
    ids.extend(written.id().map(str::to_owned));
    Ok(ids)
}

/// All applications, by name.
///
/// # Errors
/// What the database reports.
pub fn list(tx: &mut Tx<'_>) -> Result<Vec<Application>, DbError> {
    tx.query(
        &format!("SELECT {COLUMNS} FROM {TABLES} ORDER BY name_folded"),
        params![],
    )?
    .iter()
    .map(from_row)
    .collect()
}

/// The names of all applications, by id.
///
/// # Errors
/// What the database reports.
pub fn names(tx: &mut Tx<'_>) -> Result<std::collections::HashMap<String, String>, DbError> {
    let rows = tx.query("SELECT id, name FROM applications", params![])?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// The id and the version of every application.
///
/// # Errors
/// What the database reports.
pub fn versions(tx: &mut Tx<'_>) -> Result<Vec<(String, i64)>, DbError> {
    tx.query("SELECT id, version FROM applications ORDER BY id", params![])?
        .iter()
        .map(|row| Ok((row.get(0)?, row.get(1)?)))
        .collect()
}

/// Opens an application's encryption key.
///
/// # Errors
/// What the database reports; also if the key does not open under the master key.
pub fn encryption_key(
    tx: &mut Tx<'_>,
    id: &str,
    master: &MasterKey,
) -> Result<Option<EncryptionKey>, DbError> {
    let sealed: Option<Vec<u8>> = tx
        .query_opt(
            "SELECT encryption_key FROM applications WHERE id = $1",
            params![id],
        )?
        .map(|row| row.get(0))
        .transpose()?
        .flatten();
    let Some(sealed) = sealed else { return Ok(None) };
    let unusable =
        |error: &dyn std::fmt::Display| DbError::Other(format!("the encryption key of {id}: {error}"));
    let hex = master
        .open(&sealed, &key_belongs_to(id))
        .map_err(|error| unusable(&error))?;
    let hex = std::str::from_utf8(&hex).map_err(|error| unusable(&error))?;
    EncryptionKey::from_hex(hex)
        .map(Some)
        .map_err(|error| unusable(&error))
}

/// Whether some application wants passwords: only then is a new one kept for it, sealed.
///
/// # Errors
/// What the database reports.
pub fn any_wants_passwords(tx: &mut Tx<'_>) -> Result<bool, DbError> {
    Ok(list(tx)?
        .iter()
        .any(|application| application.synchronize && application.settings.password_synchronization))
}

/// Checks that everything a scope names exists.
///
/// # Errors
/// [`ApplicationError::UnknownInScope`], or what the database reports.
pub fn check_scope(tx: &mut Tx<'_>, scope: &Scope) -> Result<(), ApplicationError> {
    for (ids, sql) in [
        (
            &scope.organizational_unit_ids,
            "SELECT id FROM organizational_units WHERE id = $1",
        ),
        (&scope.group_ids, "SELECT id FROM groups WHERE id = $1"),
    ] {
        for id in ids {
            if tx.query_opt(sql, params![id.as_str()])?.is_none() {
                return Err(ApplicationError::UnknownInScope(id.clone()));
            }
        }
    }
    Ok(())
}

pub(super) fn check_name(tx: &mut Tx<'_>, name: &str, own_id: Option<&str>) -> Result<(), ApplicationError> {
    fields::name("name", name, 128).map_err(|error| ApplicationError::Name(error.to_string()))?;
    let holder: Option<String> = tx
        .query_opt(
            "SELECT id FROM applications WHERE name_folded = $1",
            params![fold(name)],
        )?
        .map(|row| row.get(0))
        .transpose()?;
    match holder {
        Some(holder) if own_id != Some(holder.as_str()) => Err(ApplicationError::NameTaken(name.to_owned())),
        _ => Ok(()),
    }
}

fn key_belongs_to(id: &str) -> String {
    format!("encryption-key/{id}")
}

/// The hub encrypts with A256GCM alone (wire contract, section 3), though receivers accept shorter keys.
pub(super) fn check_key(key: &EncryptionKey) -> Result<(), SettingsError> {
    match key.bits() {
        256 => Ok(()),
        bits => Err(SettingsError::KeySize(bits / 4)),
    }
}

pub(super) fn seal_key(id: &str, key: &EncryptionKey, master: &MasterKey, random: &dyn Random) -> Vec<u8> {
    master.seal(key.to_hex().as_bytes(), &key_belongs_to(id), random)
}

/// The secret by which the hub proves who it is to an application.
///
/// # Errors
/// What the database reports; also if the secret does not open under the master key.
pub fn secret(tx: &mut Tx<'_>, id: &str, master: &MasterKey) -> Result<Option<SecretString>, DbError> {
    let sealed: Option<Vec<u8>> = tx
        .query_opt("SELECT secret FROM applications WHERE id = $1", params![id])?
        .map(|row| row.get(0))
        .transpose()?
        .flatten();
    let Some(sealed) = sealed else { return Ok(None) };
    let unusable = |error: &dyn std::fmt::Display| DbError::Other(format!("the secret of {id}: {error}"));
    let plain = master
        .open(&sealed, &secret_belongs_to(id))
        .map_err(|error| unusable(&error))?;
    let text = std::str::from_utf8(&plain).map_err(|error| unusable(&error))?;
    Ok(Some(SecretString::from(text)))
}

fn secret_belongs_to(id: &str) -> String {
    format!("application-secret/{id}")
}

pub(super) fn seal_secret(
    id: &str,
    secret: &SecretString,
    master: &MasterKey,
    random: &dyn Random,
) -> Vec<u8> {
    master.seal(secret.expose_secret().as_bytes(), &secret_belongs_to(id), random)
}

pub(super) fn set_secret(tx: &mut Tx<'_>, id: &str, sealed: Option<&[u8]>) -> Result<(), DbError> {
    tx.execute(
        "UPDATE applications SET secret = $2 WHERE id = $1",
        params![id, sealed],
    )?;
    Ok(())
}

/// How far whatever is done to an application's delivery raises the revision of its row in the ledger. A settlement
/// raises it by one, and those that are queued expect to find it one higher each: if an act raised it by one as well,
/// the first of them would fail, and the second would find what it expects.
const ACT: i64 = 1 << 20;

/// Fences off what is in flight to an application. It comes before everything else that is done to its delivery, so
/// that no settlement can come in between.
///
/// # Errors
/// What the database reports.
pub fn fence_off(tx: &mut Tx<'_>, id: &str) -> Result<(), DbError> {
    tx.execute(
        "UPDATE deliveries SET revision = revision + $2 WHERE application_id = $1",
        params![id, ACT],
    )?;
    Ok(())
}

/// Fences off what is in flight to all applications.
///
/// # Errors
/// What the database reports.
pub fn fence_off_all(tx: &mut Tx<'_>) -> Result<(), DbError> {
    tx.execute("UPDATE deliveries SET revision = revision + $1", params![ACT])?;
    Ok(())
}

/// Forgets what was found when an application was compared.
fn forget_comparisons(tx: &mut Tx<'_>, id: &str) -> Result<(), DbError> {
    for table in ["comparison_matches", "comparison_differences"] {
        tx.execute(
            &format!(
                "DELETE FROM {table} WHERE comparison_id IN (SELECT id FROM comparisons WHERE application_id = $1)"
            ),
            params![id],
        )?;
    }
    tx.execute("DELETE FROM comparisons WHERE application_id = $1", params![id])?;
    Ok(())
}

/// Forgets what is remembered of objects at an application, since it is another one now. What is in flight tells of the
/// one before, so it is not settled any more, and is sent again.
pub(super) fn forget_remote_objects(tx: &mut Tx<'_>, id: &str) -> Result<(), DbError> {
    fence_off(tx, id)?;
    forget_comparisons(tx, id)?;
    tx.execute(
        "DELETE FROM remote_objects WHERE application_id = $1",
        params![id],
    )?;
    Ok(())
}

pub(super) fn to_json(settings: &impl Serialize) -> Result<String, DbError> {
    serde_json::to_string(settings).map_err(|error| DbError::Other(error.to_string()))
}

fn from_row(row: &Row) -> Result<Application, DbError> {
    let id: String = row.get(0)?;
    let unreadable = |what: &str, error: serde_json::Error| {
        DbError::Other(format!("the {what} of application {id} cannot be read: {error}"))
    };
    let mut settings: Settings =
        serde_json::from_str(&row.get::<String>(3)?).map_err(|e| unreadable("settings", e))?;
    settings.limits = settings.limits.within_bounds();
    let suspended = row
        .get::<Option<String>>(8)?
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|e| unreadable("suspension", e))?;
    let developer_api =
        serde_json::from_str(&row.get::<String>(11)?).map_err(|e| unreadable("developer API", e))?;
    Ok(Application {
        name: row.get(1)?,
        synchronize: row.get(2)?,
        settings,
        developer_api,
        has_encryption_key: row.get(4)?,
        has_secret: row.get(5)?,
        version: row.get(6)?,
        position: row.get(7)?,
        suspended,
        create_time: row.get(9)?,
        update_time: row.get(10)?,
        id,
    })
}
