//! Tokens of programs. `{id}` is an id or a name.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};

use crate::access::{Permission, RoleName};
use crate::accounts::Command;
use crate::accounts::tokens::{self, ApiToken, Term};
use crate::api::door::Door;
use crate::api::extract::{Body, Path};
use crate::api::routes::Routes;
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
}

async fn list(api: Door) -> Shown<Vec<ApiToken>> {
    Ok(Json(api.shared.hub.db.read(tokens::list).await?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct New {
    name: String,
    role: RoleName,
    #[serde(default)]
    applications: Vec<String>,
    expires_in_days: Option<u32>,
    #[serde(default)]
    never_expires: bool,
}

/// A token with what is shown once.
#[derive(Serialize)]
struct ShownNew {
    token: ApiToken,
    secret: String,
}

async fn create(api: Door, Body(new): Body<New>) -> Shown<ShownNew> {
    let term = match (new.expires_in_days, new.never_expires) {
        (Some(_), true) => {
            let message = "the body: expiresInDays and neverExpires: give one of them";
            return Err(ApiError::bad_request(message));
        }
        (None, true) => Term::Never,
        (days, false) => Term::Days(days.unwrap_or(tokens::DAYS)),
    };
    let hub = &api.shared.hub;
    let role = manage::role(hub, new.role, new.applications).await?;
    let (token, secret) = manage::create_token(hub, api.caller.clone(), new.name, role, term).await?;
    Ok(Json(ShownNew {
        token,
        secret: secret.expose_secret().to_owned(),
    }))
}

async fn find(api: &Door, id: String) -> Result<ApiToken, ApiError> {
    Ok(api.shared.hub.db.read(move |tx| tokens::find(tx, &id)).await?)
}

async fn show(api: Door, Path(id): Path<String>) -> Shown<ApiToken> {
    Ok(Json(find(&api, id).await?))
}

async fn revoke(api: Door, Path(id): Path<String>) -> Shown<ApiToken> {
    let hub = &api.shared.hub;
    let id = find(&api, id).await?.id;
    let revoke = Command::RevokeToken { id };
    Ok(Json(
        hub.apply_account(api.caller.clone(), revoke).await?.token()?,
    ))
}
