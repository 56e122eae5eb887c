//! Tokens of connections.
//!
//! A token is `rcs_` and 256 random bits. It is shown once, when it is made; what is kept is its SHA-256 hash, and its
//! first characters, by which people recognize it. Two are good at a time: the next one is made and entered at the other
//! end while the one before is still in use, and that is revoked then.

use rollcall_db::{DbError, Row, Tx, Value, params};
use rollcall_protocol::Random;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Connection, ConnectionError, store};
use crate::access::Context;
use crate::accounts::sessions;
use crate::audit::{self, Target};
use crate::clock::Millis;
use crate::id;
use crate::secret::{ExposeSecret as _, NewToken, SecretString};

pub use crate::accounts::tokens::{DAYS, Term, visible};

/// How each token begins.
pub const PREFIX: &str = "rcs_";

/// How many are good at a time.
pub const AT_ONCE: usize = 2;

/// A token as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionToken {
    /// `ctok_…`.
    pub id: String,
    /// How it begins.
    pub prefix: String,
    /// Who made it: the text of a [`crate::access::Principal`].
    pub created_by: String,
    /// When it was made.
    pub create_time: Millis,
    /// From when on it is good for nothing; `None` if that is never.
    pub expires_at: Option<Millis>,
    /// When it was last used, to the minute.
    pub last_used: Option<Millis>,
}

impl ConnectionToken {
    /// Whether it is good.
    pub fn is_good(&self, now: Millis) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }

    /// Whether its use has to be noted.
    pub fn is_unnoted(&self, now: Millis) -> bool {
        self.last_used
            .is_none_or(|last| now.saturating_sub(last) >= sessions::NOTED_EVERY)
    }
}

/// A new token.
#[derive(Clone, Debug)]
pub struct NewConnectionToken {
    /// The id of the connection.
    pub connection_id: String,
    /// How it begins.
    pub prefix: String,
    /// Its hash.
    pub hash: String,
    /// From when on it is good for nothing; `None` if that is never.
    pub expires_at: Option<Millis>,
}

impl NewConnectionToken {
    /// A token of a connection that is good for so long, and its text, which is shown once.
    ///
    /// # Errors
    /// [`ConnectionError::InvalidField`] if that is too short or too long.
    pub fn generate(
        connection_id: String,
        term: Term,
        now: Millis,
        random: &dyn Random,
    ) -> Result<(Self, SecretString), ConnectionError> {
        let expires_at = term.end(now)?;
        let NewToken { text, hash } = NewToken::generate(PREFIX, random);
        let new = Self {
            connection_id,
            prefix: visible(text.expose_secret()),
            hash,
            expires_at,
        };
        Ok((new, text))
    }
}

const COLUMNS: &str = "t.id, t.prefix, t.created_by, t.create_time, t.expires_at, t.last_used";

/// Reads a token whose columns begin at one.
fn from_row(row: &Row, at: usize) -> Result<ConnectionToken, DbError> {
    Ok(ConnectionToken {
        id: row.get(at)?,
        prefix: row.get(at + 1)?,
        created_by: row.get(at + 2)?,
        create_time: row.get(at + 3)?,
        expires_at: row.get(at + 4)?,
        last_used: row.get(at + 5)?,
    })
}

/// The tokens of one connection, or of all, in the order in which they were made: each with its connection's id.
pub(super) fn of(
    tx: &mut Tx<'_>,
    connection_id: Option<&str>,
) -> Result<Vec<(String, ConnectionToken)>, DbError> {
    let condition = match connection_id {
        Some(_) => "WHERE t.connection_id = $1",
        None => "",
    };
    let sql = format!("SELECT t.connection_id, {COLUMNS} FROM connection_tokens t {condition} ORDER BY t.id");
    let values: Vec<Value<'_>> = match connection_id {
        Some(id) => vec![id.into()],
        None => Vec::new(),
    };
    let rows = tx.query(&sql, &values)?;
    rows.iter()
        .map(|row| Ok((row.get(0)?, from_row(row, 1)?)))
        .collect()
}

/// The connection whose token has this hash, and the token, if both are good. Of the connection's tokens it has this one
/// alone.
///
/// # Errors
/// What the database reports.
pub fn with_hash(
    tx: &mut Tx<'_>,
    hash: &str,
    now: Millis,
) -> Result<Option<(Connection, ConnectionToken)>, DbError> {
    let sql = format!(
        "SELECT {}, {COLUMNS} FROM connection_tokens t JOIN connections c ON c.id = t.connection_id
         WHERE t.hash = $1",
        store::columns()
    );
    let Some(row) = tx.query_opt(&sql, params![hash])? else {
        return Ok(None);
    };
    let connection = store::from_row(&row)?;
    let token = from_row(&row, store::COLUMN_COUNT)?;
    let is_good = !connection.disabled && token.is_good(now);
    Ok(is_good.then_some((connection, token)))
}

/// Notes that a token was used.
///
/// # Errors
/// What the database reports.
pub fn note_use(tx: &mut Tx<'_>, id: &str, now: Millis) -> Result<(), DbError> {
    tx.execute(
        "UPDATE connection_tokens SET last_used = $2 WHERE id = $1",
        params![id, now],
    )?;
    Ok(())
}

pub(super) fn create(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    new: &NewConnectionToken,
) -> Result<ConnectionToken, ConnectionError> {
    let connection = store::open(tx, ctx, &new.connection_id)?;
    let good = connection.tokens.iter().filter(|token| token.is_good(ctx.now));
    if good.count() >= AT_ONCE {
        return Err(ConnectionError::TooManyTokens(connection.name));
    }
    // Those that have expired are of no use to anybody.
    tx.execute(
        "DELETE FROM connection_tokens WHERE connection_id = $1 AND expires_at IS NOT NULL AND expires_at <= $2",
        params![connection.id.as_str(), ctx.now],
    )?;
    let token = ConnectionToken {
        id: id::make("ctok", ctx.now, ctx.random),
        prefix: new.prefix.clone(),
        created_by: ctx.caller.principal.to_string(),
        create_time: ctx.now,
        expires_at: new.expires_at,
        last_used: None,
    };
    tx.execute(
        "INSERT INTO connection_tokens (id, connection_id, prefix, hash, created_by, create_time, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![
            token.id.as_str(),
            connection.id.as_str(),
            token.prefix.as_str(),
            new.hash.as_str(),
            token.created_by.as_str(),
            token.create_time,
            token.expires_at
        ],
    )?;
    let target = Target::connection(&connection.id, &connection.name);
    let shown = json!({ "id": token.id, "expiresAt": token.expires_at });
    audit::record(tx, ctx, "create_connection_token", &target, None, Some(&shown))?;
    Ok(token)
}

pub(super) fn revoke(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    connection_id: &str,
    id: &str,
) -> Result<ConnectionToken, ConnectionError> {
    let Connection {
        id: of, name, tokens, ..
    } = store::open(tx, ctx, connection_id)?;
    let Some(token) = tokens.into_iter().find(|token| token.id == id) else {
        let id = id.to_owned();
        return Err(ConnectionError::NoToken { connection: name, id });
    };
    tx.execute("DELETE FROM connection_tokens WHERE id = $1", params![id])?;
    let target = Target::connection(&of, &name);
    let shown = json!({ "id": token.id, "expiresAt": token.expires_at });
    audit::record(tx, ctx, "revoke_connection_token", &target, Some(&shown), None)?;
    Ok(token)
}
