//! Tokens of programs.
//!
//! A token is `rct_` and 256 random bits. It is shown once, when it is made; what is kept is its SHA-256 hash, and its
//! first characters, by which people recognize it. Only administrators make tokens, so none can do more than whoever
//! made it.

use std::collections::BTreeSet;

use rollcall_db::{DbError, Row, Tx, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use super::account::{check_role, role, stored, there, wanted};
use super::{AccountError, Reach, sessions};
use crate::access::{Authority, Context, Role};
use crate::audit::{self, Target};
use crate::clock::Millis;
use crate::directory::fields;
use crate::id;
pub use crate::secret::visible;
use crate::secret::{ExposeSecret as _, MasterKey, SecretString, WrongKey};

/// How each token begins.
pub const PREFIX: &str = "rct_";

const DAY: Millis = 86_400_000;

/// How many days a token is good for if nobody says.
pub const DAYS: u32 = 90;

/// How many days a token is good for at most, unless it never expires.
const MOST_DAYS: u32 = 366;

/// A token as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiToken {
    /// `tok_…`.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// How it begins.
    pub prefix: String,
    /// What it may do.
    #[serde(flatten)]
    pub role: Role,
    /// Who made it: the text of a [`crate::access::Principal`].
    pub created_by: String,
    /// When it was made.
    pub create_time: Millis,
    /// From when on it is good for nothing; `None` if that is never.
    pub expires_at: Option<Millis>,
    /// When it was last used, to the minute.
    pub last_used: Option<Millis>,
    /// Whether it is an access key, which signs requests of the management API: then `id` is the access key's id.
    #[serde(default)]
    pub access_key: bool,
}

/// A new token.
#[derive(Clone, Debug)]
pub struct NewApiToken {
    /// What it is for.
    pub name: String,
    /// How it begins.
    pub prefix: String,
    /// Its hash.
    pub hash: String,
    /// What it may do.
    pub role: Role,
    /// From when on it is good for nothing; `None` if that is never.
    pub expires_at: Option<Millis>,
    /// By what it signs requests, if it is an access key. It is kept sealed, because it has to be known again.
    pub signing_secret: Option<SecretString>,
}

/// How long a token is to be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// So many days.
    Days(u32),
    /// For ever.
    Never,
}

impl Term {
    /// When a token expires that is made now.
    ///
    /// # Errors
    /// [`AccountError::InvalidField`] if that is too soon or too late.
    pub fn end(self, now: Millis) -> Result<Option<Millis>, AccountError> {
        match self {
            Self::Never => Ok(None),
            Self::Days(days @ 1..=MOST_DAYS) => Ok(Some(now + Millis::from(days) * DAY)),
            Self::Days(_) => {
                let reason = format!("must be between 1 and {MOST_DAYS}, unless the token never expires");
                Err(AccountError::invalid("expiresInDays", reason))
            }
        }
    }
}

const COLUMNS: &str = "id, name, prefix, role, applications, created_by, create_time, expires_at, last_used, \
                       signing_secret IS NOT NULL";

fn from_row(row: &Row, there: &BTreeSet<String>) -> Result<ApiToken, DbError> {
    Ok(ApiToken {
        id: row.get(0)?,
        name: row.get(1)?,
        prefix: row.get(2)?,
        role: role(&row.get::<String>(3)?, &row.get::<String>(4)?, there)?,
        created_by: row.get(5)?,
        create_time: row.get(6)?,
        expires_at: row.get(7)?,
        last_used: row.get(8)?,
        access_key: row.get(9)?,
    })
}

/// All tokens, also those that have expired, in the order in which they were made.
///
/// # Errors
/// What the database reports.
pub fn list(tx: &mut Tx<'_>) -> Result<Vec<ApiToken>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM api_tokens ORDER BY id");
    let rows = tx.query(&sql, params![])?;
    read(tx, &rows)
}

/// Tokens after an id, in the order in which they were made.
///
/// # Errors
/// What the database reports.
pub fn page(tx: &mut Tx<'_>, after: &str, limit: usize) -> Result<Vec<ApiToken>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM api_tokens WHERE id > $1 ORDER BY id LIMIT $2");
    let rows = tx.query(&sql, params![after, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    read(tx, &rows)
}

fn read(tx: &mut Tx<'_>, rows: &[Row]) -> Result<Vec<ApiToken>, DbError> {
    let there = there(tx, rows, 4)?;
    rows.iter().map(|row| from_row(row, &there)).collect()
}

/// The token that an id or a name names.
///
/// # Errors
/// [`AccountError::NotFound`], [`AccountError::Ambiguous`], or what the database reports.
pub fn find(tx: &mut Tx<'_>, text: &str) -> Result<ApiToken, AccountError> {
    let what = "token";
    let mut all = list(tx)?;
    if let Some(place) = all.iter().position(|token| token.id == text) {
        return Ok(all.swap_remove(place));
    }
    all.retain(|token| token.name == text);
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(AccountError::Ambiguous {
            what,
            text: text.to_owned(),
        }),
        (None, _) => Err(AccountError::not_found(what, text)),
    }
}

/// The token that has this hash, if it has not expired, and how far it reaches.
///
/// # Errors
/// What the database reports.
pub fn with_hash(tx: &mut Tx<'_>, hash: &str, now: Millis) -> Result<Option<(ApiToken, Authority)>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM api_tokens WHERE hash = $1");
    let Some(row) = tx.query_opt(&sql, params![hash])? else {
        return Ok(None);
    };
    let reach = Reach::load(tx, &wanted(&row.get::<String>(4)?)?)?;
    let token = from_row(&row, &reach.there())?;
    let authority = reach.authority(&token.role);
    let is_good = token.expires_at.is_none_or(|expires_at| now < expires_at);
    Ok(is_good.then_some((token, authority)))
}

/// To what the sealed secret of an access key belongs.
fn belongs_to(id: &str) -> String {
    format!("access_key/{id}")
}

/// An access key with what is needed to look at a signature.
#[derive(Debug)]
pub struct AccessKey {
    /// The token.
    pub token: ApiToken,
    /// How far it reaches.
    pub authority: Authority,
    /// By what it signs, sealed.
    sealed: Vec<u8>,
}

impl AccessKey {
    /// By what it signs.
    ///
    /// # Errors
    /// [`WrongKey`].
    pub fn secret(&self, master: &MasterKey) -> Result<Zeroizing<Vec<u8>>, WrongKey> {
        master.open(&self.sealed, &belongs_to(&self.token.id))
    }
}

/// The access key of this id, if it has not expired.
///
/// # Errors
/// What the database reports.
pub fn access_key(tx: &mut Tx<'_>, id: &str, now: Millis) -> Result<Option<AccessKey>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS}, signing_secret FROM api_tokens WHERE id = $1 AND signing_secret IS NOT NULL"
    );
    let Some(row) = tx.query_opt(&sql, params![id])? else {
        return Ok(None);
    };
    let reach = Reach::load(tx, &wanted(&row.get::<String>(4)?)?)?;
    let token = from_row(&row, &reach.there())?;
    let authority = reach.authority(&token.role);
    let sealed = row.get(10)?;
    let is_good = token.expires_at.is_none_or(|expires_at| now < expires_at);
    Ok(is_good.then_some(AccessKey {
        token,
        authority,
        sealed,
    }))
}

/// Whether a token was not revoked.
///
/// # Errors
/// What the database reports.
pub fn is_there(tx: &mut Tx<'_>, id: &str) -> Result<bool, DbError> {
    let found = tx.query_opt("SELECT 1 FROM api_tokens WHERE id = $1", params![id])?;
    Ok(found.is_some())
}

/// Remembers that a signed request named itself so, until no request of that time is taken any more. Whether nobody had
/// before.
///
/// # Errors
/// What the database reports.
pub fn use_nonce(
    tx: &mut Tx<'_>,
    id: &str,
    nonce: &str,
    until: Millis,
    now: Millis,
) -> Result<bool, DbError> {
    tx.execute("DELETE FROM used_nonces WHERE expires_at < $1", params![now])?;
    let inserted = tx.execute(
        "INSERT INTO used_nonces (token_id, nonce, expires_at) VALUES ($1, $2, $3)
         ON CONFLICT (token_id, nonce) DO NOTHING",
        params![id, nonce, until],
    )?;
    Ok(inserted == 1)
}

/// Whether the use of a token has to be noted.
pub fn is_unnoted(token: &ApiToken, now: Millis) -> bool {
    token
        .last_used
        .is_none_or(|last| now.saturating_sub(last) >= sessions::NOTED_EVERY)
}

/// Notes that a token was used.
///
/// # Errors
/// What the database reports.
pub fn note_use(tx: &mut Tx<'_>, id: &str, now: Millis) -> Result<(), DbError> {
    tx.execute(
        "UPDATE api_tokens SET last_used = $2 WHERE id = $1",
        params![id, now],
    )?;
    Ok(())
}

/// What the audit log shows.
fn shown(token: &ApiToken) -> Json {
    json!({ "as": token.role, "expiresAt": token.expires_at })
}

pub(super) fn create(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    new: &NewApiToken,
) -> Result<ApiToken, AccountError> {
    fields::name("name", &new.name, 64)?;
    check_role(tx, &new.role)?;
    let (role_name, applications) = stored(&new.role);
    let id = id::make("tok", ctx.now, ctx.random);
    let sealed = new.signing_secret.as_ref().map(|secret| {
        let plain = secret.expose_secret().as_bytes();
        ctx.master.seal(plain, &belongs_to(&id), ctx.random)
    });
    tx.execute(
        "INSERT INTO api_tokens (id, name, prefix, hash, role, applications, created_by, create_time, expires_at,
                                 signing_secret)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        params![
            id.as_str(),
            new.name.as_str(),
            new.prefix.as_str(),
            new.hash.as_str(),
            role_name,
            applications,
            ctx.caller.principal.to_string(),
            ctx.now,
            new.expires_at,
            sealed.as_deref()
        ],
    )?;
    let token = find(tx, &id)?;
    let target = Target::token(&token.id, &token.name);
    audit::record(tx, ctx, "create_token", &target, None, Some(&shown(&token)))?;
    Ok(token)
}

pub(super) fn revoke(tx: &mut Tx<'_>, ctx: &Context<'_>, id: &str) -> Result<ApiToken, AccountError> {
    let token = find(tx, id)?;
    tx.execute("DELETE FROM api_tokens WHERE id = $1", params![token.id.as_str()])?;
    let target = Target::token(&token.id, &token.name);
    audit::record(tx, ctx, "revoke_token", &target, Some(&shown(&token)), None)?;
    Ok(token)
}
