//! What an application may do through the developer API, and its client secrets. `{id}` is its id or name.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};

use super::term;
use crate::access::Permission;
use crate::api::door::Door;
use crate::api::extract::{Body, Path};
use crate::api::routes::Routes;
use crate::api::{Api, ApiError, Shown};
use crate::application::developer::secrets::{self, ClientSecret, NewClientSecret};
use crate::application::{Application, Command, DeveloperApi, DeveloperApiPatch};
use crate::hub::Hub;
use crate::instance;
use crate::secret::ExposeSecret as _;

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/applications/{id}/developer-api",
            Permission::ReadApplications,
            "Shows what an application may do through the developer API, where that is, and its client secrets.",
            show,
        )
        .patch(
            "/applications/{id}/developer-api",
            Permission::ConfigureApplications,
            "Changes what an application may do through the developer API: the fields that are given.",
            update,
        )
        .versioned()
        .post(
            "/applications/{id}/client-secrets",
            Permission::ConfigureApplications,
            "Creates a client secret of an application, which has two at most; it is shown once.",
            create_secret,
        )
        .creating()
        .delete(
            "/applications/{id}/client-secrets/{secret}",
            Permission::ConfigureApplications,
            "Makes a client secret of an application good for nothing, and the access tokens that were given for it.",
            revoke_secret,
        )
}

/// An application's access to the developer API.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DeveloperAccess")]
pub(crate) struct Access {
    /// The id of the application; also the client id.
    pub(crate) client_id: String,
    /// The id of the instance, as the official clients ask for it.
    pub(crate) instance_id: String,
    /// Where its calls begin, as the hub that was started last says; only the path, if none was started yet.
    pub(crate) address: String,
    /// What it may do.
    pub(crate) developer_api: DeveloperApi,
    /// Its client secrets, in the order in which they were made.
    pub(crate) client_secrets: Vec<ClientSecret>,
}

impl Access {
    /// Of this application.
    pub(crate) async fn of(hub: &Hub, application: &Application) -> Result<Self, rollcall_db::DbError> {
        let (id, instance_id) = (application.id.clone(), hub.instance.id.clone());
        let developer_api = application.developer_api;
        let reading = hub.db.read(move |tx| {
            let serving = instance::serving(tx)?;
            Ok::<_, rollcall_db::DbError>(Self {
                address: instance::developer_address(serving.as_ref(), &instance_id, &id),
                client_secrets: secrets::of(tx, &id)?,
                client_id: id.clone(),
                instance_id: instance_id.clone(),
                developer_api,
            })
        });
        reading.await
    }
}

async fn show(api: Door, Path(id): Path<String>) -> Shown<Access> {
    let application = api.application(id).await?;
    Ok(Json(Access::of(&api.shared.hub, &application).await?))
}

async fn update(api: Door, Path(id): Path<String>, Body(changes): Body<DeveloperApiPatch>) -> Shown<Access> {
    let id = api.application(id).await?.id;
    let hub = &api.shared.hub;
    let command = Command::SetDeveloperApi { id, changes };
    let applied = hub.apply_application(api.caller.clone(), command).await?;
    Ok(Json(Access::of(hub, &applied.application).await?))
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewClientSecret")]
struct New {
    expires_in_days: Option<u32>,
    #[serde(default)]
    never_expires: bool,
}

/// A client secret with what is shown once.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ClientSecretWithText")]
pub(crate) struct ShownNew {
    pub(crate) client_secret: ClientSecret,
    pub(crate) secret: String,
}

async fn create_secret(api: Door, Path(id): Path<String>, Body(new): Body<New>) -> Shown<ShownNew> {
    let hub = &api.shared.hub;
    let expires_at = term(new.expires_in_days, new.never_expires)?.end(hub.clock.now())?;
    let id = api.application(id).await?.id;
    let (new, secret) = NewClientSecret::generate(id, expires_at, &*hub.random);
    let command = Command::CreateClientSecret(new);
    let applied = hub.apply_application(api.caller.clone(), command).await?;
    Ok(Json(ShownNew {
        client_secret: made(applied.client_secret)?,
        secret: secret.expose_secret().to_owned(),
    }))
}

async fn revoke_secret(api: Door, Path((id, secret)): Path<(String, String)>) -> Shown<ClientSecret> {
    let application_id = api.application(id).await?.id;
    let command = Command::RevokeClientSecret {
        application_id,
        id: secret,
    };
    let hub = &api.shared.hub;
    let applied = hub.apply_application(api.caller.clone(), command).await?;
    Ok(Json(made(applied.client_secret)?))
}

fn made(secret: Option<ClientSecret>) -> Result<ClientSecret, ApiError> {
    secret.ok_or_else(|| ApiError::internal("the command names no client secret"))
}
