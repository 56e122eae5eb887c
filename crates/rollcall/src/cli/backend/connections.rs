//! Connections from other directories, and their tokens.

use anyhow::Result;
use serde_json::json;

use super::{Backend, Database};
use crate::api::{AddressedConnection, FreshConnectionToken};
use crate::change::Seq;
use crate::cli::caller::caller;
use crate::connection::tokens::{ConnectionToken, NewConnectionToken, Term};
use crate::connection::{self, Command, ConnectionChanges, ConnectionError, NewConnection};
use crate::secret::ExposeSecret as _;
use crate::why::{self, Recent};

async fn apply(database: &Database, command: Command) -> Result<AddressedConnection> {
    Ok(AddressedConnection::apply(&database.hub, caller(), command).await?)
}

impl Backend {
    /// A connection, by its id or name.
    pub(in crate::cli) async fn connection(&self, name: &str) -> Result<AddressedConnection> {
        match self {
            Self::Database(database) => Ok(AddressedConnection::find(&database.hub, name.to_owned()).await?),
            Self::Server(client) => client.get(&["connections", name]).answer().await,
        }
    }

    /// All connections, by name.
    pub(in crate::cli) async fn connections(&self) -> Result<Vec<AddressedConnection>> {
        match self {
            Self::Database(database) => Ok(AddressedConnection::all(&database.hub).await?),
            Self::Server(client) => client.list(client.get(&["connections"]), usize::MAX).await,
        }
    }

    /// Makes a connection.
    pub(in crate::cli) async fn create_connection(&self, new: NewConnection) -> Result<AddressedConnection> {
        match self {
            Self::Database(database) => apply(database, Command::Create(new)).await,
            Self::Server(client) => client.post(&["connections"]).body(&new)?.once().answer().await,
        }
    }

    /// Changes a connection.
    pub(in crate::cli) async fn update_connection(
        &self,
        id: &str,
        changes: ConnectionChanges,
    ) -> Result<AddressedConnection> {
        match self {
            Self::Database(database) => {
                let id = id.to_owned();
                apply(database, Command::Update { id, changes }).await
            }
            Self::Server(client) => {
                let request = client.patch(&["connections", id]).body(&changes)?;
                request.answer().await
            }
        }
    }

    /// What a connection changed of late: the newest changes, or those before a position.
    pub(in crate::cli) async fn connection_changes(&self, name: &str, before: Option<Seq>) -> Result<Recent> {
        match self {
            Self::Database(database) => {
                let name = name.to_owned();
                let reading = database.hub.db.read(move |tx| {
                    let id = connection::find(tx, &name)?.id;
                    let actor = connection::principal(&id).to_string();
                    Ok::<_, ConnectionError>(why::recent(tx, &actor, before, why::RECENT)?)
                });
                Ok(reading.await?)
            }
            Self::Server(client) => {
                let changes = client.get(&["connections", name, "changes"]);
                changes.with_some("before", before).answer().await
            }
        }
    }

    /// Deletes a connection with its tokens.
    pub(in crate::cli) async fn delete_connection(&self, id: &str) -> Result<AddressedConnection> {
        match self {
            Self::Database(database) => apply(database, Command::Delete { id: id.to_owned() }).await,
            Self::Server(client) => client.delete(&["connections", id]).answer().await,
        }
    }

    /// Makes a token of a connection; `None`: it never expires.
    pub(in crate::cli) async fn create_connection_token(
        &self,
        id: &str,
        days: Option<u32>,
    ) -> Result<FreshConnectionToken> {
        match self {
            Self::Database(database) => {
                let hub = &database.hub;
                let term = days.map_or(Term::Never, Term::Days);
                let (new, secret) =
                    NewConnectionToken::generate(id.to_owned(), term, hub.clock.now(), &*hub.random)?;
                let made = hub.apply_connection(caller(), Command::CreateToken(new)).await?;
                Ok(FreshConnectionToken {
                    token: made.token()?,
                    secret: secret.expose_secret().to_owned(),
                })
            }
            Self::Server(client) => {
                let body = json!({ "expiresInDays": days, "neverExpires": days.is_none() });
                let request = client.post(&["connections", id, "tokens"]).body(&body)?;
                request.once().answer().await
            }
        }
    }

    /// Makes a token of a connection good for nothing.
    pub(in crate::cli) async fn revoke_connection_token(
        &self,
        id: &str,
        token: &str,
    ) -> Result<ConnectionToken> {
        match self {
            Self::Database(database) => {
                let revoke = Command::RevokeToken {
                    connection_id: id.to_owned(),
                    id: token.to_owned(),
                };
                Ok(database.hub.apply_connection(caller(), revoke).await?.token()?)
            }
            Self::Server(client) => {
                let request = client.delete(&["connections", id, "tokens", token]);
                request.answer().await
            }
        }
    }
}
