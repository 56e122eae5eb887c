//! Client secrets: by which an application proves at the developer API who it is.
//!
//! A secret is `rcc_` and 256 random bits. It is shown once, when it is made; what is kept is its SHA-256 hash, and its
//! first characters, by which people recognize it. Two are good at a time: the next one is made and given to the
//! application while the one before is still in use, and that is revoked then. The access tokens that were given for a
//! secret are good for nothing from the moment on in which it is.

use rollcall_db::{DbError, Row, Tx, params};
use rollcall_protocol::Random;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::command::open;
use super::super::entitlement::{Scope, parsed};
use super::super::store::ApplicationError;
use super::DeveloperApi;
use crate::access::Context;
use crate::audit::{self, Target};
use crate::clock::Millis;
use crate::id;
use crate::secret::{ExposeSecret as _, NewToken, SecretString, visible};

/// How each secret begins.
pub const PREFIX: &str = "rcc_";

/// How many are good at a time.
pub const AT_ONCE: usize = 2;

/// A client secret as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientSecret {
    /// `csec_…`.
    pub id: String,
    /// How it begins.
    pub prefix: String,
    /// Who made it: the text of a [`crate::access::Principal`].
    pub created_by: String,
    /// When it was made.
    pub create_time: Millis,
    /// From when on it is good for nothing; `None` if that is never.
    pub expires_at: Option<Millis>,
    /// When an access token was last given for it.
    pub last_used: Option<Millis>,
}

impl ClientSecret {
    /// Whether it is good.
    pub fn is_good(&self, now: Millis) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// A new client secret.
#[derive(Clone, Debug)]
pub struct NewClientSecret {
    /// The id of the application.
    pub application_id: String,
    /// How it begins.
    pub prefix: String,
    /// Its hash.
    pub hash: String,
    /// From when on it is good for nothing; `None` if that is never.
    pub expires_at: Option<Millis>,
}

impl NewClientSecret {
    /// A secret of an application that is good until a time, and its text, which is shown once.
    pub fn generate(
        application_id: String,
        expires_at: Option<Millis>,
        random: &dyn Random,
    ) -> (Self, SecretString) {
        let NewToken { text, hash } = NewToken::generate(PREFIX, random);
        let new = Self {
            application_id,
            prefix: visible(text.expose_secret()),
            hash,
            expires_at,
        };
        (new, text)
    }
}

const COLUMNS: &str = "id, prefix, created_by, create_time, expires_at, last_used";

fn from_row(row: &Row) -> Result<ClientSecret, DbError> {
    Ok(ClientSecret {
        id: row.get(0)?,
        prefix: row.get(1)?,
        created_by: row.get(2)?,
        create_time: row.get(3)?,
        expires_at: row.get(4)?,
        last_used: row.get(5)?,
    })
}

/// The secrets of an application, in the order in which they were made.
///
/// # Errors
/// What the database reports.
pub fn of(tx: &mut Tx<'_>, application_id: &str) -> Result<Vec<ClientSecret>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM client_secrets WHERE application_id = $1 ORDER BY id");
    let rows = tx.query(&sql, params![application_id])?;
    rows.iter().map(from_row).collect()
}

/// The id of the secret of an application that has this hash, if it is good, and what the application may do.
///
/// # Errors
/// What the database reports.
pub fn with_hash(
    tx: &mut Tx<'_>,
    application_id: &str,
    hash: &str,
    now: Millis,
) -> Result<Option<(String, DeveloperApi)>, DbError> {
    let row = tx.query_opt(
        "SELECT s.id, s.expires_at, a.developer_api
         FROM client_secrets s JOIN applications a ON a.id = s.application_id
         WHERE s.hash = $1 AND s.application_id = $2",
        params![hash, application_id],
    )?;
    let Some(row) = row else { return Ok(None) };
    let ends: Option<Millis> = row.get(1)?;
    let granted = read(application_id, &row.get::<String>(2)?)?;
    Ok(match ends.is_none_or(|ends| now < ends) {
        true => Some((row.get(0)?, granted)),
        false => None,
    })
}

fn read(application_id: &str, granted: &str) -> Result<DeveloperApi, DbError> {
    let unreadable = |error| DbError::Other(format!("the developer API of {application_id}: {error}"));
    serde_json::from_str(granted).map_err(unreadable)
}

/// What an application may do with an access token.
#[derive(Debug)]
pub struct Granted {
    /// What is granted to it.
    pub api: DeveloperApi,
    /// How far that reaches.
    pub scope: Scope,
    /// From when on the secret for which the token was given is good for nothing; `None` if that is never.
    pub secret_expires_at: Option<Millis>,
}

/// What an application may do and how far that reaches, if its secret of this id is good and the access token of the
/// other id was not revoked. Every call asks for it, so it is one statement.
///
/// # Errors
/// What the database reports.
pub fn granted(
    tx: &mut Tx<'_>,
    application_id: &str,
    secret_id: &str,
    token_id: &str,
    now: Millis,
) -> Result<Option<Granted>, DbError> {
    let row = tx.query_opt(
        "SELECT a.developer_api, s.expires_at, (SELECT r.id FROM revoked_access_tokens r WHERE r.id = $3),
                (SELECT e.scope FROM entitlements e WHERE e.application_id = a.id ORDER BY e.from_seq DESC LIMIT 1)
         FROM applications a JOIN client_secrets s ON s.application_id = a.id
         WHERE a.id = $1 AND s.id = $2",
        params![application_id, secret_id, token_id],
    )?;
    let Some(row) = row else { return Ok(None) };
    let secret_expires_at: Option<Millis> = row.get(1)?;
    if secret_expires_at.is_some_and(|ends| ends <= now) || row.get::<Option<String>>(2)?.is_some() {
        return Ok(None);
    }
    Ok(Some(Granted {
        api: read(application_id, &row.get::<String>(0)?)?,
        scope: parsed(application_id, &row.get::<String>(3)?)?,
        secret_expires_at,
    }))
}

/// Remembers that an access token was revoked for as long as it would have been good, and forgets those of others whose
/// time is over.
///
/// # Errors
/// What the database reports.
pub fn revoke_access_token(
    tx: &mut Tx<'_>,
    id: &str,
    expires_at: Millis,
    now: Millis,
) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM revoked_access_tokens WHERE expires_at <= $1",
        params![now],
    )?;
    if expires_at > now {
        tx.execute(
            "INSERT INTO revoked_access_tokens (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
            params![id, expires_at],
        )?;
    }
    Ok(())
}

/// Notes that an access token was given for a secret.
///
/// # Errors
/// What the database reports.
pub fn note_use(tx: &mut Tx<'_>, id: &str, now: Millis) -> Result<(), DbError> {
    tx.execute(
        "UPDATE client_secrets SET last_used = $2 WHERE id = $1",
        params![id, now],
    )?;
    Ok(())
}

pub(in crate::application) fn create(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    new: &NewClientSecret,
) -> Result<ClientSecret, ApplicationError> {
    let application = open(tx, ctx, &new.application_id)?;
    let there = of(tx, &application.id)?;
    if there.iter().filter(|secret| secret.is_good(ctx.now)).count() >= AT_ONCE {
        return Err(ApplicationError::TooManySecrets(application.name));
    }
    // Those that have expired are of no use to anybody.
    tx.execute(
        "DELETE FROM client_secrets WHERE application_id = $1 AND expires_at IS NOT NULL AND expires_at <= $2",
        params![application.id.as_str(), ctx.now],
    )?;
    let secret = ClientSecret {
        id: id::make("csec", ctx.now, ctx.random),
        prefix: new.prefix.clone(),
        created_by: ctx.caller.principal.to_string(),
        create_time: ctx.now,
        expires_at: new.expires_at,
        last_used: None,
    };
    tx.execute(
        "INSERT INTO client_secrets (id, application_id, prefix, hash, created_by, create_time, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![
            secret.id.as_str(),
            application.id.as_str(),
            secret.prefix.as_str(),
            new.hash.as_str(),
            secret.created_by.as_str(),
            secret.create_time,
            secret.expires_at
        ],
    )?;
    let target = Target::application(&application.id, &application.name);
    audit::record(
        tx,
        ctx,
        "create_client_secret",
        &target,
        None,
        Some(&shown(&secret)),
    )?;
    Ok(secret)
}

pub(in crate::application) fn revoke(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    application_id: &str,
    id: &str,
) -> Result<ClientSecret, ApplicationError> {
    let application = open(tx, ctx, application_id)?;
    let there = of(tx, &application.id)?;
    let Some(secret) = there.into_iter().find(|secret| secret.id == id) else {
        let id = id.to_owned();
        return Err(ApplicationError::NoSecret {
            application: application.name,
            id,
        });
    };
    tx.execute("DELETE FROM client_secrets WHERE id = $1", params![id])?;
    let target = Target::application(&application.id, &application.name);
    audit::record(
        tx,
        ctx,
        "revoke_client_secret",
        &target,
        Some(&shown(&secret)),
        None,
    )?;
    Ok(secret)
}

fn shown(secret: &ClientSecret) -> serde_json::Value {
    json!({ "id": secret.id, "expiresAt": secret.expires_at })
}
