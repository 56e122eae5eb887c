//! The signing keys of an application. `{id}` is its id or name.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use serde::{Deserialize, Serialize};

use crate::access::Permission;
use crate::api::door::Door;
use crate::api::extract::{Body, Path};
use crate::api::routes::Routes;
use crate::api::{Api, ApiError, Shown};
use crate::application::keys::rotation::Rotation;
use crate::application::keys::{self, KeyInfo, NewKey};
use crate::application::{Command, Rotated, RotationStep};

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/applications/{id}/keys",
            Permission::ReadApplications,
            "Shows the signing keys of an application, and where their rotation stands.",
            show_keys,
        )
        .post(
            "/applications/{id}/keys/rotate",
            Permission::ConfigureApplications,
            "Publishes a new signing key, which is tried after some hours and then signs; or, with now, signs with it at once.",
            rotate_key,
        )
        .versioned()
        .post(
            "/applications/{id}/keys/try",
            Permission::ConfigureApplications,
            "Has the new signing key tried now.",
            try_key,
        )
        .versioned()
        .post(
            "/applications/{id}/keys/cancel",
            Permission::ConfigureApplications,
            "Withdraws the new signing key that waits for its trial.",
            cancel_key,
        )
        .versioned()
        .post(
            "/applications/{id}/keys/revert",
            Permission::ConfigureApplications,
            "Signs with the key before again, as long as it is published.",
            revert_key,
        )
        .versioned()
}

/// The keys of an application.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "SigningKeys")]
pub(crate) struct Keys {
    pub(crate) keys: Vec<KeyInfo>,
    pub(crate) rotation: Rotation,
}

async fn show_keys(api: Door, Path(id): Path<String>) -> Shown<Keys> {
    let id = api.application(id).await?.id;
    let (hub, now) = (&api.shared.hub, api.shared.hub.clock.now());
    let keys = hub.db.read(move |tx| keys::list(tx, &id, now)).await?;
    let rotation = Rotation::of(&keys, now);
    Ok(Json(Keys { keys, rotation }))
}

/// Makes a key pair, which takes a while.
pub(super) async fn new_key(api: &Door) -> Result<NewKey, ApiError> {
    let hub = api.shared.hub.clone();
    let making =
        tokio::task::spawn_blocking(move || NewKey::generate(hub.clock.now(), &*hub.random, &hub.master));
    making
        .await
        .map_err(|error| ApiError::internal(error.to_string()))?
        .map_err(|error| ApiError::internal(error.to_string()))
}

/// Takes a step of the rotation of an application's keys.
async fn step(api: &Door, id: String, step: RotationStep) -> Shown<Rotated> {
    let id = api.application(id).await?.id;
    let command = Command::RotateSigningKey { id, step };
    let hub = &api.shared.hub;
    let applied = hub.apply_application(api.caller.clone(), command).await?;
    let rotated = applied.rotated;
    Ok(Json(rotated.ok_or_else(|| {
        ApiError::internal("the rotation names no key")
    })?))
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Rotate {
    /// After how many hours the new key is tried.
    after_hours: f64,
    /// The key that signs is compromised: it is withdrawn at once, and the new one signs untried. The application
    /// refuses everything until it fetches the public keys again.
    now: bool,
}

impl Default for Rotate {
    fn default() -> Self {
        Self {
            // Applications may cache keys for long.
            after_hours: 24.0,
            now: false,
        }
    }
}

async fn rotate_key(api: Door, Path(id): Path<String>, Body(body): Body<Rotate>) -> Shown<Rotated> {
    let delay = Duration::try_from_secs_f64(body.after_hours * 3_600.0)
        .map_err(|error| ApiError::bad_request(format!("the body: afterHours: {error}")))?;
    let id = api.application(id).await?.id;
    let key = new_key(&api).await?;
    if body.now {
        return step(&api, id, RotationStep::Replace { key }).await;
    }
    step(&api, id, RotationStep::Publish { key, delay }).await
}

async fn try_key(api: Door, Path(id): Path<String>) -> Shown<Rotated> {
    step(&api, id, RotationStep::TryNow).await
}

async fn cancel_key(api: Door, Path(id): Path<String>) -> Shown<Rotated> {
    step(&api, id, RotationStep::Withdraw).await
}

async fn revert_key(api: Door, Path(id): Path<String>) -> Shown<Rotated> {
    step(&api, id, RotationStep::Revert).await
}
