//! Connections: identity providers and other directories that feed this one by SCIM.
//!
//! Whatever changes a connection or its tokens goes through one door, [`apply`] with a [`Command`], as directory,
//! applications and accounts have theirs. It records in the audit log what was done, in the same transaction, and never
//! a secret.
//!
//! - **Ownership.** What a connection makes has the connection as its [`Source`]: `scim`, and the connection's id. Its
//!   [`Authority`] ends there, which the directory's door holds: users and groups of others do not exist for it. Whether
//!   it may take over a user who is there already say its settings ([`TakesOver`]).
//! - **Tokens** ([`tokens`]) are shown once and kept as hashes; two are good at a time, so that one can be replaced
//!   while the other is in use.
//! - **What was said** ([`users`]) of a user is kept as the connection said it, because SCIM has more attributes than the
//!   directory. There is something exactly as long as the user is the connection's own.
//! - **Reading** ([`Rows`]) takes the same few statements for one subject and for a page of them.
//!
//! What SCIM's requests mean to the directory is in the module `scim`.

mod error;
pub mod groups;
mod model;
mod rows;
mod store;
pub mod tokens;
pub mod users;

use rollcall_db::{DbError, Tx};

use crate::access::{Authority, Context, Principal};
use crate::directory::Source;
pub use error::ConnectionError;
pub(crate) use model::{CUSTOM, differing, expressions, mistake, usual_rate};
pub use model::{Connection, ConnectionChanges, NewConnection, TARGETS, TakesOver};
pub use rows::{Key, Rows, Which};
pub use store::{find, list, names, of_source};
use tokens::{ConnectionToken, NewConnectionToken};

/// The type of the sources that connections are.
pub const SOURCE_TYPE: &str = "scim";

/// What comes from a connection has this source.
pub fn source(connection_id: &str) -> Source {
    Source {
        source_type: SOURCE_TYPE.to_owned(),
        source_id: connection_id.to_owned(),
    }
}

/// A connection as one who acts.
pub fn principal(connection_id: &str) -> Principal {
    Principal::Connection {
        id: connection_id.to_owned(),
    }
}

/// How far its acts reach: to what is its own.
pub fn authority(connection_id: &str) -> Authority {
    Authority::Owned {
        source_type: SOURCE_TYPE.to_owned(),
        source_id: connection_id.to_owned(),
    }
}

/// A change that somebody wants.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields name what the variant says")]
pub enum Command {
    /// Makes a connection.
    Create(NewConnection),
    /// Changes what is named.
    Update { id: String, changes: ConnectionChanges },
    /// Deletes a connection with its tokens. What came from it stays, and is nobody's own from then on.
    Delete { id: String },
    /// Makes a token.
    CreateToken(NewConnectionToken),
    /// Makes a token of a connection good for nothing.
    RevokeToken { connection_id: String, id: String },
}

/// What a command was about, as it is now; as it was if it is gone.
#[derive(Debug)]
pub enum Applied {
    /// A connection.
    Connection(Connection),
    /// A token.
    Token(ConnectionToken),
}

impl Applied {
    /// The connection that the command was about.
    ///
    /// # Errors
    /// If it was about something else.
    pub fn connection(self) -> Result<Connection, ConnectionError> {
        match self {
            Self::Connection(connection) => Ok(connection),
            Self::Token(_) => Err(self.unexpected()),
        }
    }

    /// The token that the command was about.
    ///
    /// # Errors
    /// If it was about something else.
    pub fn token(self) -> Result<ConnectionToken, ConnectionError> {
        match self {
            Self::Token(token) => Ok(token),
            Self::Connection(_) => Err(self.unexpected()),
        }
    }

    fn unexpected(&self) -> ConnectionError {
        DbError::Other(format!("a command was about something else: {self:?}")).into()
    }
}

/// Applies a command, if the caller reaches the whole hub.
///
/// # Errors
/// [`ConnectionError`]; the caller's transaction must then be undone.
pub fn apply(tx: &mut Tx<'_>, ctx: &Context<'_>, command: &Command) -> Result<Applied, ConnectionError> {
    if !ctx.caller.authority.is_everything() {
        return Err(ConnectionError::OutOfReach);
    }
    match command {
        Command::Create(new) => store::create(tx, ctx, new).map(Applied::Connection),
        Command::Update { id, changes } => store::update(tx, ctx, id, changes).map(Applied::Connection),
        Command::Delete { id } => store::delete(tx, ctx, id).map(Applied::Connection),
        Command::CreateToken(new) => tokens::create(tx, ctx, new).map(Applied::Token),
        Command::RevokeToken { connection_id, id } => {
            tokens::revoke(tx, ctx, connection_id, id).map(Applied::Token)
        }
    }
}
