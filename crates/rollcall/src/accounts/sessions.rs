//! Sessions: what somebody has who has signed in.
//!
//! A session is a token of 256 random bits in a cookie, of which the SHA-256 hash is kept. It ends by itself when it was
//! not used for a while or is too old, and at once when its account is disabled, deleted or given another password, or
//! when somebody ends it. When it was last used is written at most once a minute, so reading stays reading.

use std::sync::LazyLock;

use rollcall_db::{DbError, Row, Tx, params};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Account, AccountError, Reach, account};
use crate::access::{Authority, Context};
use crate::audit::{self, Target};
use crate::change::columns_of;
use crate::clock::Millis;
use crate::id;

/// How long a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Without being used.
    pub idle: Millis,
    /// In all.
    pub absolute: Millis,
}

impl Default for Lifetime {
    fn default() -> Self {
        Self {
            idle: 30 * 60_000,
            absolute: 12 * 3_600_000,
        }
    }
}

/// How old the note of when something was last used may become.
pub const NOTED_EVERY: Millis = 60_000;

/// A session as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// `ses_…`; nobody can use a session by it.
    pub id: String,
    /// Whose it is.
    pub account_id: String,
    /// When somebody signed in.
    pub created_at: Millis,
    /// When it was last used, to the minute.
    pub seen_at: Millis,
    /// When it ends at the latest.
    pub expires_at: Millis,
    /// The address from which somebody signed in.
    pub address: Option<String>,
    /// With which program.
    pub user_agent: Option<String>,
}

/// A session that begins.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The hash of its token.
    pub hash: String,
    /// When it ends at the latest.
    pub expires_at: Millis,
    /// The address from which somebody signed in.
    pub address: Option<String>,
    /// With which program.
    pub user_agent: Option<String>,
}

const COLUMNS: &str = "id, account_id, created_at, seen_at, expires_at, address, user_agent";

/// Reads a session whose columns begin with this one.
fn from_row(row: &Row, first: usize) -> Result<Session, DbError> {
    Ok(Session {
        id: row.get(first)?,
        account_id: row.get(first + 1)?,
        created_at: row.get(first + 2)?,
        seen_at: row.get(first + 3)?,
        expires_at: row.get(first + 4)?,
        address: row.get(first + 5)?,
        user_agent: row.get(first + 6)?,
    })
}

/// Sessions with their accounts, by the hash of a token: with one statement, because every request asks it.
static WITH_HASH: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {}, {} FROM sessions s JOIN accounts a ON a.id = s.account_id WHERE s.hash = $1",
        columns_of("a", account::COLUMNS),
        columns_of("s", COLUMNS)
    )
});

/// The session whose token has this hash, with its account and how far that reaches, if session and account are still
/// good.
///
/// # Errors
/// What the database reports.
pub fn with_hash(
    tx: &mut Tx<'_>,
    hash: &str,
    now: Millis,
    lifetime: Lifetime,
) -> Result<Option<(Session, Account, Authority)>, DbError> {
    let Some(row) = tx.query_opt(&WITH_HASH, params![hash])? else {
        return Ok(None);
    };
    let session = from_row(&row, account::COLUMN_COUNT)?;
    if now >= session.expires_at || now >= session.seen_at.saturating_add(lifetime.idle) {
        return Ok(None);
    }
    let applications: String = row.get(account::APPLICATIONS)?;
    let reach = Reach::load(tx, &account::wanted(&applications)?)?;
    let (account, _) = account::from_row(&row, &reach.there())?;
    let authority = reach.authority(&account.role);
    Ok((!account.disabled).then_some((session, account, authority)))
}

/// Notes that a session was used.
///
/// # Errors
/// What the database reports.
pub fn note_use(tx: &mut Tx<'_>, id: &str, now: Millis) -> Result<(), DbError> {
    tx.execute(
        "UPDATE sessions SET seen_at = $2 WHERE id = $1 AND seen_at < $2",
        params![id, now],
    )?;
    Ok(())
}

/// The sessions that are still good, the newest first: those of an account, or all.
///
/// # Errors
/// What the database reports.
pub fn list(
    tx: &mut Tx<'_>,
    account_id: Option<&str>,
    now: Millis,
    lifetime: Lifetime,
) -> Result<Vec<Session>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM sessions
         WHERE expires_at > $1 AND seen_at > $2 AND account_id = COALESCE($3, account_id) ORDER BY id DESC"
    );
    let rows = tx.query(&sql, params![now, now.saturating_sub(lifetime.idle), account_id])?;
    rows.iter().map(|row| from_row(row, 0)).collect()
}

pub(super) fn begin(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    account_id: &str,
    new: &NewSession,
) -> Result<Session, DbError> {
    let session = Session {
        id: id::make("ses", ctx.now, ctx.random),
        account_id: account_id.to_owned(),
        created_at: ctx.now,
        seen_at: ctx.now,
        expires_at: new.expires_at,
        address: new.address.clone(),
        user_agent: new.user_agent.clone(),
    };
    tx.execute(
        "INSERT INTO sessions (hash, id, account_id, created_at, seen_at, expires_at, address, user_agent)
         VALUES ($1, $2, $3, $4, $4, $5, $6, $7)",
        params![
            new.hash.as_str(),
            session.id.as_str(),
            account_id,
            ctx.now,
            session.expires_at,
            session.address.as_deref(),
            session.user_agent.as_deref()
        ],
    )?;
    Ok(session)
}

/// Ends the session whose token has this hash, because another one takes its place.
pub(super) fn replace(tx: &mut Tx<'_>, hash: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM sessions WHERE hash = $1", params![hash])?;
    Ok(())
}

pub(super) fn end(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    account_id: &str,
) -> Result<u64, AccountError> {
    let ended = tx.execute(
        "DELETE FROM sessions WHERE id = $1 AND account_id = $2",
        params![id, account_id],
    )?;
    if ended == 0 {
        return Err(AccountError::not_found("session", id));
    }
    tell(tx, ctx, account_id, "end_session", &json!({ "session": id }))?;
    Ok(ended)
}

pub(super) fn end_all(tx: &mut Tx<'_>, ctx: &Context<'_>, account_id: &str) -> Result<u64, AccountError> {
    let ended = forget(tx, account_id)?;
    if ended > 0 {
        tell(tx, ctx, account_id, "end_sessions", &json!({ "sessions": ended }))?;
    }
    Ok(ended)
}

fn tell(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    account_id: &str,
    action: &str,
    before: &serde_json::Value,
) -> Result<(), DbError> {
    let account = account::get(tx, account_id)?;
    let name = account.map(|account| account.name).unwrap_or_default();
    let target = Target::account(account_id, &name);
    audit::record(tx, ctx, action, &target, Some(before), None)
}

/// Ends all sessions of an account, of which something else is told in the audit log.
pub(super) fn forget(tx: &mut Tx<'_>, account_id: &str) -> Result<u64, DbError> {
    tx.execute("DELETE FROM sessions WHERE account_id = $1", params![account_id])
}

/// Removes sessions that have ended by themselves.
///
/// # Errors
/// What the database reports.
pub fn trim(tx: &mut Tx<'_>, now: Millis, lifetime: Lifetime) -> Result<u64, DbError> {
    tx.execute(
        "DELETE FROM sessions WHERE expires_at <= $1 OR seen_at <= $2",
        params![now, now.saturating_sub(lifetime.idle)],
    )
}
