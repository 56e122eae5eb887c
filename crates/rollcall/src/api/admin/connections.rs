//! Connections and their tokens. `{id}` is an id or a name.

use std::sync::Arc;

use axum::Json;
use rollcall_db::DbError;
use serde::{Deserialize, Serialize};

use crate::access::{Caller, Permission};
use crate::api::door::Door;
use crate::api::extract::{Body, Path, Query};
use crate::api::paging::{Pages, Paging};
use crate::api::routes::Routes;
use crate::api::versions::{Record, Single, Versioned};
use crate::api::{Api, ApiError, Shown};
use crate::change::Seq;
use crate::connection::tokens::{ConnectionToken, NewConnectionToken};
use crate::connection::{self, Command, Connection, ConnectionChanges, ConnectionError, NewConnection};
use crate::directory::fields::fold;
use crate::hub::Hub;
use crate::instance::{self, Serving};
use crate::secret::ExposeSecret as _;
use crate::why::{self, Recent};

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/connections",
            Permission::ReadAccess,
            "Lists connections with their tokens, by name.",
            list,
        )
        .post(
            "/connections",
            Permission::ManageAccess,
            "Creates a connection, by which another directory feeds this one over SCIM.",
            create,
        )
        .creating()
        .get(
            "/connections/{id}",
            Permission::ReadAccess,
            "Shows a connection with its tokens, by id or name.",
            show,
        )
        .patch(
            "/connections/{id}",
            Permission::ManageAccess,
            "Changes the fields of a connection that are given.",
            update,
        )
        .versioned()
        .delete(
            "/connections/{id}",
            Permission::ManageAccess,
            "Deletes a connection with its tokens; users and groups that came from it stay.",
            delete,
        )
        .versioned()
        .get(
            "/connections/{id}/changes",
            Permission::ReadAccess,
            "Tells of the newest changes of a connection when they were accepted and when each application had them.",
            changes,
        )
        .post(
            "/connections/{id}/tokens",
            Permission::ManageAccess,
            "Creates a token of a connection, which has two at most; it is shown once.",
            create_token,
        )
        .creating()
        .delete(
            "/connections/{id}/tokens/{token}",
            Permission::ManageAccess,
            "Makes a token of a connection good for nothing.",
            revoke_token,
        )
}

/// A connection, and where its other end finds the hub.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ConnectionWithAddress")]
pub(crate) struct Addressed {
    #[serde(flatten)]
    pub(crate) connection: Connection,
    /// What its other end is given as the address, as the hub that was started last says; only the path, if none was
    /// started yet.
    pub(crate) address: String,
}

impl Addressed {
    fn of(serving: Option<&Serving>, connection: Connection) -> Self {
        Self {
            address: instance::scim_address(serving, &connection.id),
            connection,
        }
    }

    /// All connections, by name.
    pub(crate) async fn all(hub: &Hub) -> Result<Vec<Self>, DbError> {
        let reading = hub.db.read(|tx| {
            let serving = instance::serving(tx)?;
            let all = connection::list(tx)?.into_iter();
            Ok::<_, DbError>(
                all.map(|connection| Self::of(serving.as_ref(), connection))
                    .collect(),
            )
        });
        reading.await
    }

    /// The connection that an id or a name names.
    pub(crate) async fn find(hub: &Hub, text: String) -> Result<Self, ConnectionError> {
        let reading = hub.db.read(move |tx| {
            let serving = instance::serving(tx)?;
            Ok::<_, ConnectionError>(Self::of(serving.as_ref(), connection::find(tx, &text)?))
        });
        reading.await
    }

    /// Carries out a command that is about a connection. Returns it as it is then.
    pub(crate) async fn apply(
        hub: &Hub,
        caller: impl Into<Caller>,
        command: Command,
    ) -> Result<Self, ConnectionError> {
        let applied = hub.apply_connection(caller, command).await?;
        let serving = hub.db.read(instance::serving).await?;
        Ok(Self::of(serving.as_ref(), applied.connection()?))
    }
}

impl Versioned for Addressed {
    fn version(&self) -> String {
        self.connection.version()
    }
}

async fn find(api: &Door, id: String) -> Result<Connection, ApiError> {
    Ok(api
        .shared
        .hub
        .db
        .read(move |tx| connection::find(tx, &id))
        .await?)
}

async fn apply(api: &Door, command: Command) -> Shown<Addressed> {
    let applied = Addressed::apply(&api.shared.hub, api.caller.clone(), command);
    Ok(Json(applied.await?))
}

async fn list(api: Door, paging: Paging<String>) -> Pages<Addressed> {
    let all = Addressed::all(&api.shared.hub).await?;
    Ok(paging.page_of_all(all, |it| fold(&it.connection.name)))
}

async fn show(api: Door, Path(id): Path<String>) -> Single<Addressed> {
    Ok(Record(Addressed::find(&api.shared.hub, id).await?))
}

async fn create(api: Door, Body(new): Body<NewConnection>) -> Shown<Addressed> {
    apply(&api, Command::Create(new)).await
}

async fn update(
    api: Door,
    Path(id): Path<String>,
    Body(changes): Body<ConnectionChanges>,
) -> Shown<Addressed> {
    let id = find(&api, id).await?.id;
    apply(&api, Command::Update { id, changes }).await
}

async fn delete(api: Door, Path(id): Path<String>) -> Shown<Addressed> {
    let id = find(&api, id).await?.id;
    apply(&api, Command::Delete { id }).await
}

/// Which changes are wanted.
#[derive(Deserialize, schemars::JsonSchema)]
struct Wanted {
    /// Only changes before this position.
    before: Option<Seq>,
}

async fn changes(api: Door, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Shown<Recent> {
    let reading = api.shared.hub.db.read(move |tx| {
        let connection = connection::find(tx, &id)?;
        let actor = connection::principal(&connection.id).to_string();
        Ok::<_, ConnectionError>(why::recent(tx, &actor, wanted.before, why::RECENT)?)
    });
    Ok(Json(reading.await?))
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct New {
    expires_in_days: Option<u32>,
    #[serde(default)]
    never_expires: bool,
}

/// A token with what is shown once.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ConnectionTokenWithSecret")]
pub(crate) struct ShownNew {
    pub(crate) token: ConnectionToken,
    pub(crate) secret: String,
}

async fn create_token(api: Door, Path(id): Path<String>, Body(new): Body<New>) -> Shown<ShownNew> {
    let term = super::term(new.expires_in_days, new.never_expires)?;
    let hub = &api.shared.hub;
    let id = find(&api, id).await?.id;
    let (new, secret) = NewConnectionToken::generate(id, term, hub.clock.now(), &*hub.random)?;
    let made = hub
        .apply_connection(api.caller.clone(), Command::CreateToken(new))
        .await?;
    Ok(Json(ShownNew {
        token: made.token()?,
        secret: secret.expose_secret().to_owned(),
    }))
}

async fn revoke_token(api: Door, Path((id, token)): Path<(String, String)>) -> Shown<ConnectionToken> {
    let connection_id = find(&api, id).await?.id;
    let revoke = Command::RevokeToken {
        connection_id,
        id: token,
    };
    let revoked = api
        .shared
        .hub
        .apply_connection(api.caller.clone(), revoke)
        .await?;
    Ok(Json(revoked.token()?))
}
