//! Applications: what they are, how they are sent to, and whether. `{id}` is an id or a name.

use std::sync::Arc;

use axum::Json;
use rollcall_protocol::EncryptionKey;
use serde::{Deserialize, Serialize};

use super::keys::new_key;
use super::scopes::or_everything;
use super::standing::{Detailed, Listed};
use crate::access::Permission;
use crate::api::door::Door;
use crate::api::error::ApiError;
use crate::api::extract::{Body, Path, Query};
use crate::api::paging::{Pages, Paging};
use crate::api::routes::Routes;
use crate::api::versions::{Record, Single};
use crate::api::{Api, Shown};
use crate::application::written::ScopeNames;
use crate::application::{
    Application, ApplicationError, Command, ModeName, NewApplication, SettingsPatch, Subscription,
};
use crate::delivery::connectivity;
use crate::delivery::ledger::operate::{self, ApplicationDeletion, OperateError};
use crate::delivery::route::scim::preview::{self, Previewed};
use crate::delivery::status::{self, ApplicationStatus};
use crate::directory::fields::fold;
use crate::instance::{self, Serving};
use crate::secret::{ExposeSecret as _, SecretString};

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/applications",
            Permission::ReadApplications,
            "Lists applications by name, with how each stands.",
            list,
        )
        .post(
            "/applications",
            Permission::ConfigureApplications,
            "Creates an application. An encryption key that is made is shown once.",
            create,
        )
        .creating()
        .get(
            "/applications/{id}",
            Permission::ReadApplications,
            "Shows an application, by id or name: its settings, its scope, and how it stands.",
            show,
        )
        .patch(
            "/applications/{id}",
            Permission::ConfigureApplications,
            "Changes the name and the settings that are given.",
            update,
        )
        .versioned()
        .get(
            "/applications/{id}/deletion",
            Permission::ConfigureApplications,
            "Shows what deleting an application would take along, and the token that confirms it.",
            show_deletion,
        )
        .delete(
            "/applications/{id}",
            Permission::ConfigureApplications,
            "Deletes an application with its keys and its history; confirm is the token of the plan.",
            delete,
        )
        .versioned()
        .post(
            "/applications/{id}/encryption-key",
            Permission::ConfigureApplications,
            "Stores another encryption key, or makes one, which is shown once; events are encrypted from then on.",
            set_encryption_key,
        )
        .versioned()
        .post(
            "/applications/{id}/preview",
            Permission::ReadApplications,
            "Shows what users are to an application in the SCIM mode, as it is set or as it would be with other settings; nothing is stored or sent.",
            show_preview,
        )
        .post(
            "/applications/{id}/pause",
            Permission::OperateApplications,
            "Stops pushing to an application. Changes wait.",
            pause,
        )
        .versioned()
        .post(
            "/applications/{id}/resume",
            Permission::OperateApplications,
            "Pushes to an application again; one that is suspended is asked at once.",
            resume,
        )
        .versioned()
}

async fn list(api: Door, paging: Paging<String>) -> Pages<Listed> {
    let db = &api.shared.hub.db;
    let (_, all) = db.read(status::applications).await?;
    let reached = all.into_iter();
    let reached = reached.filter(|status| api.access.role.reaches(&status.application.id));
    let page = paging.page_of_all(reached.collect(), |status: &ApplicationStatus| {
        format!("{}\n{}", fold(&status.application.name), status.application.id)
    });
    let (reached, filled) = page.filled();
    let listed = api.look(move |tx, sight| Ok(Listed::of_each(tx, sight, reached.clone())?));
    Ok(filled(listed.await?))
}

async fn show(api: Door, Path(id): Path<String>) -> Single<Detailed> {
    let application = api.application(id).await?;
    let instance = api.shared.hub.instance.id.clone();
    let detailed = api.look(move |tx, sight| Ok(Detailed::of(tx, sight, &instance, application.clone())?));
    Ok(Record(detailed.await?))
}

/// A new application.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct New {
    /// Its name, unique without regard to case.
    name: String,
    /// The push parameters; the receiving URL has to be among them.
    settings: SettingsPatch,
    /// Whether events are encrypted with a key that is made now, and shown once in the answer.
    #[serde(default)]
    generate_encryption_key: bool,
    /// The key with which events are encrypted: 64 hexadecimal digits.
    #[schemars(with = "Option<String>")]
    encryption_key: Option<SecretString>,
    /// By what the hub proves who it is, in the SCIM mode: the token, or the client's secret. It is never shown.
    #[schemars(with = "Option<String>")]
    secret: Option<SecretString>,
    /// Whom it is told of; left out: everybody.
    scope: Option<ScopeNames>,
    /// The events that it wants; left out: all.
    #[serde(default)]
    subscription: Subscription,
}

/// An application that was made or changed.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ChangedApplication")]
#[serde(rename_all = "camelCase")]
pub(crate) struct Changed {
    pub(crate) application: Application,
    /// Whether anything changed.
    pub(crate) changed: bool,
    /// The encryption key that was made, which is shown only now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encryption_key: Option<String>,
    /// What should be known besides: that the hub will not send to the URL, that applications may not find their
    /// public keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
}

fn read_key(text: &SecretString) -> Result<EncryptionKey, ApiError> {
    // The error says nothing of the text.
    EncryptionKey::from_hex(text.expose_secret())
        .map_err(|error| ApiError::bad_request(format!("the body: encryptionKey: {error}")))
}

/// The encryption key that is given, or made.
fn chosen_key(
    api: &Door,
    given: Option<&SecretString>,
    generate: bool,
) -> Result<Option<EncryptionKey>, ApiError> {
    match (given, generate) {
        (Some(_), true) => {
            let message = "the body: encryptionKey and generateEncryptionKey: give one of them";
            Err(ApiError::bad_request(message))
        }
        (Some(text), false) => Ok(Some(read_key(text)?)),
        (None, true) => Ok(Some(EncryptionKey::generate(&*api.shared.hub.random))),
        (None, false) => Ok(None),
    }
}

/// The key as it is shown, if it was made.
fn shown_key(key: Option<&EncryptionKey>, generated: bool) -> Option<String> {
    let made = key.filter(|_| generated);
    made.map(|key| key.to_hex().as_str().to_owned())
}

/// What should be known of an application that was made or changed, and of the addresses that are new.
async fn notes(api: &Door, settings: &SettingsPatch, mode: ModeName) -> Result<Vec<String>, ApiError> {
    let policy = api.shared.egress.policy();
    let refusals = settings.addresses();
    let refusals = refusals.filter_map(|url| connectivity::refusal_of_address(policy, url));
    let refusals: Vec<String> = refusals.collect();
    let serving = api.shared.hub.db.read(instance::serving).await?;
    let serving = serving.as_ref().filter(|_| mode.is_signed());
    let note = serving.and_then(Serving::note);
    Ok(refusals.into_iter().chain(note).collect())
}

async fn create(api: Door, Body(new): Body<New>) -> Shown<Changed> {
    let hub = &api.shared.hub;
    let generated = new.generate_encryption_key;
    let encryption_key = chosen_key(&api, new.encryption_key.as_ref(), generated)?;
    if new.settings.url.is_none() {
        return Err(ApiError::bad_request("the body: settings.url: it must be there"));
    }
    let settings = new.settings.made(encryption_key.is_some());
    let settings = settings.map_err(ApplicationError::from)?;
    let scope = or_everything(new.scope);
    let scope = hub.db.read(move |tx| scope.read(tx)).await?;
    let shown = shown_key(encryption_key.as_ref(), generated);
    let notes = notes(&api, &new.settings, settings.mode.name()).await?;
    let create = NewApplication {
        name: new.name,
        settings,
        encryption_key,
        secret: new.secret,
        scope,
        subscription: new.subscription,
        signing_key: new_key(&api).await?,
    };
    let create = Command::Create(Box::new(create));
    let applied = hub.apply_application(api.caller.clone(), create).await?;
    Ok(Json(Changed {
        application: applied.application,
        changed: applied.changed,
        encryption_key: shown,
        notes,
    }))
}

/// What changes of an application.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default, schemars::JsonSchema)]
struct Changes {
    /// Another name.
    name: Option<String>,
    /// Other push parameters.
    settings: SettingsPatch,
    /// Whether events are encrypted from now on with a key that is made now, and shown once in the answer.
    generate_encryption_key: bool,
    /// The key with which events are encrypted from now on: 64 hexadecimal digits.
    #[schemars(with = "Option<String>")]
    encryption_key: Option<SecretString>,
    /// By what the hub proves who it is from now on, in the SCIM mode: the token, or the client's secret.
    #[schemars(with = "Option<String>")]
    secret: Option<SecretString>,
}

async fn apply(api: &Door, command: Command) -> Shown<Changed> {
    let hub = &api.shared.hub;
    let applied = hub.apply_application(api.caller.clone(), command).await?;
    Ok(Json(Changed {
        application: applied.application,
        changed: applied.changed,
        encryption_key: shown_key(applied.encryption_key.as_ref(), true),
        notes: Vec::new(),
    }))
}

async fn update(api: Door, Path(id): Path<String>, Body(changes): Body<Changes>) -> Shown<Changed> {
    let before = api.application(id).await?;
    let Changes {
        name,
        settings,
        generate_encryption_key: generated,
        encryption_key,
        secret,
    } = changes;
    let key = chosen_key(&api, encryption_key.as_ref(), generated)?;
    let shown = shown_key(key.as_ref(), generated);
    let mode = settings.mode.unwrap_or(before.settings.mode.name());
    let notes = notes(&api, &settings, mode).await?;
    let commands = Command::changes(&before.id, name, settings, secret, key);
    let hub = &api.shared.hub;
    let applied = hub.apply_to_application(api.caller.clone(), commands).await?;
    Ok(Json(Changed {
        changed: applied.iter().any(|applied| applied.changed),
        application: applied
            .into_iter()
            .last()
            .map_or(before, |applied| applied.application),
        encryption_key: shown,
        notes,
    }))
}

/// Another encryption key.
#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Key {
    /// 64 hexadecimal digits; left out: a key is made, and shown once in the answer.
    #[schemars(with = "Option<String>")]
    encryption_key: Option<SecretString>,
}

async fn set_encryption_key(api: Door, Path(id): Path<String>, Body(body): Body<Key>) -> Shown<Changed> {
    let id = api.application(id).await?.id;
    let command = match &body.encryption_key {
        Some(text) => Command::SetEncryptionKey {
            id,
            key: read_key(text)?,
        },
        None => Command::GenerateEncryptionKey { id },
    };
    apply(&api, command).await
}

/// What is to be shown.
#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Preview {
    /// Settings that are tried, and not stored.
    settings: SettingsPatch,
    /// Users, by their ids, usernames or email addresses; left out: the first in scope.
    users: Vec<String>,
}

/// What users would be at an application.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
pub(crate) struct Previews {
    pub(crate) users: Vec<Previewed>,
}

async fn show_preview(api: Door, Path(id): Path<String>, Body(preview): Body<Preview>) -> Shown<Previews> {
    let application = api.application(id).await?;
    let Preview { settings, users } = preview;
    let parameters = settings.tried_on(&application.settings);
    let parameters = parameters.map_err(ApplicationError::from)?;
    let looked = api.look(move |tx, sight| preview::preview(tx, sight, &application.id, &parameters, &users));
    Ok(Json(Previews { users: looked.await? }))
}

async fn pause(api: Door, Path(id): Path<String>) -> Shown<Changed> {
    let id = api.application(id).await?.id;
    apply(&api, Command::DisableSynchronization { id }).await
}

async fn resume(api: Door, Path(id): Path<String>) -> Shown<Changed> {
    let before = api.application(id).await?;
    let id = before.id.clone();
    let hub = &api.shared.hub;
    let application = hub
        .write_as(api.caller.clone(), move |tx, ctx| operate::resume(tx, ctx, &id))
        .await?;
    Ok(Json(Changed {
        changed: before.state() != application.state(),
        application,
        encryption_key: None,
        notes: Vec::new(),
    }))
}

async fn plan_of(api: &Door, id: String) -> Result<ApplicationDeletion, ApiError> {
    let db = &api.shared.hub.db;
    Ok(db.read(move |tx| operate::plan_deletion(tx, &id)).await?)
}

async fn show_deletion(api: Door, Path(id): Path<String>) -> Shown<ApplicationDeletion> {
    let id = api.application(id).await?.id;
    Ok(Json(plan_of(&api, id).await?))
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Confirmed {
    /// The token of the plan.
    confirm: Option<String>,
}

async fn delete(api: Door, Path(id): Path<String>, Query(how): Query<Confirmed>) -> Shown<Application> {
    let id = api.held_application(id).await?.id;
    let Some(token) = how.confirm else {
        return Err(ApiError::unconfirmed(&plan_of(&api, id).await?));
    };
    let hub = &api.shared.hub;
    let of = id.clone();
    let deleted = hub
        .write_as(api.caller.clone(), move |tx, ctx| {
            operate::delete(tx, ctx, &of, &token)
        })
        .await;
    match deleted.map_err(|error: OperateError| ApiError::from(error)) {
        Ok(application) => Ok(Json(application)),
        Err(error) if error.is_changed_plan() => Err(error.with_plan(&plan_of(&api, id).await?)),
        Err(error) => Err(error),
    }
}
