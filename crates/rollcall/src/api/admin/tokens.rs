//! Tokens of programs. `{id}` is an id or a name.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};

use crate::access::{Permission, RoleName};
use crate::accounts::Command;
use crate::accounts::tokens::{self, ApiToken};
use crate::api::door::Door;
use crate::api::extract::{Body, Path};
use crate::api::paging::{Pages, Paging};
use crate::api::routes::Routes;
use crate::api::versions::{Record, Single};
use crate::api::{Api, ApiError, Shown};
use crate::secret::ExposeSecret as _;
use crate::signin::manage;

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/tokens",
            Permission::ReadAccess,
            "Lists tokens, in the order in which they were made.",
            list,
        )
        .post(
            "/tokens",
            Permission::ManageAccess,
            "Creates a token; it is shown once.",
            create,
        )
        .creating()
        .get(
            "/tokens/{id}",
            Permission::ReadAccess,
            "Shows a token, by id or name.",
            show,
        )
        .delete(
            "/tokens/{id}",
            Permission::ManageAccess,
            "Makes a token good for nothing.",
            revoke,
        )
        .versioned()
}

async fn list(api: Door, paging: Paging<String>) -> Pages<ApiToken> {
    let tokens = api.shared.hub.db.read(tokens::list).await?;
    Ok(paging.page_of_all(tokens, |token| token.id.clone()))
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct New {
    name: String,
    role: RoleName,
    #[serde(default)]
    applications: Vec<String>,
    expires_in_days: Option<u32>,
    #[serde(default)]
    never_expires: bool,
    /// Whether it is an access key, which signs requests of the management API; its secret is shown then.
    #[serde(default)]
    access_key: bool,
}

/// A token with what is shown once.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "TokenWithSecret")]
pub(crate) struct ShownNew {
    pub(crate) token: ApiToken,
    pub(crate) secret: String,
}

async fn create(api: Door, Body(new): Body<New>) -> Shown<ShownNew> {
    let term = super::term(new.expires_in_days, new.never_expires)?;
    let hub = &api.shared.hub;
    let role = manage::role(hub, new.role, new.applications).await?;
    let caller = api.caller.clone();
    let (token, secret) = match new.access_key {
        false => manage::create_token(hub, caller, new.name, role, term).await?,
        true => manage::create_access_key(hub, caller, new.name, role, term).await?,
    };
    Ok(Json(ShownNew {
        token,
        secret: secret.expose_secret().to_owned(),
    }))
}

async fn find(api: &Door, id: String) -> Result<ApiToken, ApiError> {
    Ok(api.shared.hub.db.read(move |tx| tokens::find(tx, &id)).await?)
}

async fn show(api: Door, Path(id): Path<String>) -> Single<ApiToken> {
    Ok(Record(find(&api, id).await?))
}

async fn revoke(api: Door, Path(id): Path<String>) -> Shown<ApiToken> {
    let hub = &api.shared.hub;
    let ApiToken {
        id,
        name,
        create_time,
        ..
    } = find(&api, id).await?;
    // Nothing of a token changes: one with another time is another one.
    if let Some(expected) = api.caller.expected.filter(|expected| *expected != create_time) {
        return Err(ApiError::stale((&id, &name), expected, create_time));
    }
    let revoke = Command::RevokeToken { id };
    Ok(Json(
        hub.apply_account(api.caller.clone(), revoke).await?.token()?,
    ))
}
