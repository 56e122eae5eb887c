//! Connections: other directories that feed this one over SCIM. Making and changing them, their tokens, what to enter
//! at their other end, and what came from them.

mod changes;
mod deletion;
mod list;
mod one;
mod owned;
mod settings;
mod steps;
mod token;

use axum::routing::{get, post};
use rollcall_db::{DbError, Tx};

use super::addresses::Addresses;
use super::error::Failure;
use super::page::View;
use crate::connection::{self, Connection, ConnectionError};

/// The pages of connections.
pub(super) fn routes() -> Addresses {
    let one = "/console/connections/{id}";
    let on = |what: &str| format!("{one}/{what}");
    Addresses::default()
        .route("/console/connections", get(list::list))
        .route(
            "/console/connections/new",
            get(settings::new).post(settings::create),
        )
        .route(one, get(one::show_one))
        .route(&on("settings"), get(settings::edit).post(settings::update))
        .route(&on("changes"), get(changes::changes))
        .route(&on("users"), get(owned::users))
        .route(&on("groups"), get(owned::groups))
        .route(&on("enable"), post(one::enable))
        .route(&on("disable"), post(one::disable))
        .route(&on("delete"), get(deletion::form).post(deletion::delete))
        .route(&on("tokens/new"), get(token::new).post(token::create))
        .route(
            &on("tokens/{token}/revoke"),
            get(token::revoke_page).post(token::revoke),
        )
}

/// A connection, by its id.
async fn subject(view: &View, id: &str) -> Result<Connection, Failure> {
    let id = id.to_owned();
    let found = view
        .console
        .db()
        .read(move |tx| connection::find(tx, &id))
        .await?;
    Ok(found)
}

/// How much a connection has.
#[derive(Clone, Copy)]
struct Owned {
    users: u64,
    groups: u64,
}

impl Owned {
    fn of(tx: &mut Tx<'_>, connection_id: &str) -> Result<Self, DbError> {
        Ok(Self {
            users: connection::users::ROWS.count(tx, connection_id)?,
            groups: connection::groups::ROWS.count(tx, connection_id)?,
        })
    }
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::NotFound(_) | ConnectionError::NoToken { .. } => Self::NotFound,
            ConnectionError::Changed { .. } => Self::Changed,
            ConnectionError::OutOfReach => Self::Forbidden,
            ConnectionError::Database(error) => error.into(),
            other => Self::Conflict(other.to_string()),
        }
    }
}
