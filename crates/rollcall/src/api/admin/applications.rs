//! Applications: what they are, how they are sent to, and whether. `{id}` is an id or a name.

use std::sync::Arc;

use axum::Json;
use rollcall_protocol::EncryptionKey;
use serde::{Deserialize, Serialize};

use super::keys::new_key;
use super::scopes::{ScopeNames, Shown as ShownScope};
use crate::access::Permission;
use crate::api::door::Door;
use crate::api::error::ApiError;
use crate::api::extract::{Body, Path, Query};
use crate::api::paging::{Pages, Paging};
use crate::api::routes::Routes;
use crate::api::versions::{Record, Single, Versioned};
use crate::api::{Api, Shown};
use crate::application::{
    Application, Command, Encryption, Entitlements, NewApplication, Settings, SettingsPatch, Subscription,
};
use crate::change::Seq;
use crate::clock::Millis;
use crate::delivery::job::JobPosition;
use crate::delivery::ledger::operate::{self, ApplicationDeletion, OperateError};
use crate::delivery::status::{self, ApplicationStatus};
use crate::directory::fields::fold;
use crate::instance;
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

/// How many events are parked for an application.
#[derive(Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ParkedCounts {
    /// They are to be sent again.
    retrying: u64,
    /// They wait behind another event of their subject.
    held: u64,
    /// They are set aside as failed.
    failed: u64,
}

/// How an application stands.
#[derive(Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Standing {
    /// `active`, `suspended` (it does not answer) or `paused` (somebody switched it off).
    state: &'static str,
    /// Changes that it has not been told of.
    behind: Seq,
    /// The time of the oldest of them.
    behind_since: Option<Millis>,
    parked: ParkedCounts,
    /// Whether it refuses the signing key that is to take over.
    refuses_key: bool,
    /// The synchronization that is under way.
    synchronization: Option<JobPosition>,
    /// When everything was last pushed to it.
    synchronized_at: Option<Millis>,
}

impl From<ApplicationStatus> for (Application, Standing) {
    fn from(status: ApplicationStatus) -> Self {
        let [retrying, held, failed] = status.parked;
        let standing = Standing {
            state: status.application.state(),
            behind: status.lag,
            behind_since: status.oldest,
            parked: ParkedCounts {
                retrying,
                held,
                failed,
            },
            refuses_key: status.refuses_key,
            synchronization: status.job,
            synchronized_at: status.synchronized_at,
        };
        (status.application, standing)
    }
}

/// An application in the list.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "ListedApplication")]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(flatten)]
    application: Application,
    standing: Standing,
}

async fn list(api: Door, paging: Paging<String>) -> Pages<Listed> {
    let (_, all) = api.shared.hub.db.read(status::applications).await?;
    let reached = all
        .into_iter()
        .filter(|status| api.access.role.reaches(&status.application.id))
        .map(|status| {
            let (application, standing) = status.into();
            Listed {
                application,
                standing,
            }
        });
    Ok(paging.page_of_all(reached.collect(), |it| {
        format!("{}\n{}", fold(&it.application.name), it.application.id)
    }))
}

/// An application with all that belongs to it.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "DetailedApplication")]
#[serde(rename_all = "camelCase")]
struct Detailed {
    #[serde(flatten)]
    application: Application,
    standing: Standing,
    scope: ShownScope,
    subscription: Subscription,
    /// Where it finds its public keys.
    jwks_url: String,
}

impl Versioned for Detailed {
    fn version(&self) -> String {
        self.application.version()
    }
}

async fn show(api: Door, Path(id): Path<String>) -> Single<Detailed> {
    let hub = &api.shared.hub;
    let (application, instance) = (api.application(id).await?, hub.instance.id.clone());
    let detailed = hub.db.read(move |tx| {
        let current = Entitlements::load(tx, &application.id)?.current().clone();
        let serving = instance::serving(tx)?;
        let jwks_url = instance::jwks_url(serving.as_ref(), &instance, &application.id);
        let scope = ShownScope::of(tx, current.scope)?;
        let (application, standing) = status::of(tx, application.clone())?.into();
        Ok::<_, ApiError>(Detailed {
            application,
            standing,
            scope,
            subscription: current.subscription,
            jwks_url,
        })
    });
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
    /// Whom it is told of; left out: everybody.
    scope: Option<ScopeNames>,
    /// The events that it wants; left out: all.
    #[serde(default)]
    subscription: Subscription,
}

/// An application that was made or changed.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "ChangedApplication")]
#[serde(rename_all = "camelCase")]
struct Changed {
    application: Application,
    /// Whether anything changed.
    changed: bool,
    /// The encryption key that was made, which is shown only now.
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_key: Option<String>,
}

fn read_key(text: &SecretString) -> Result<EncryptionKey, ApiError> {
    // The error says nothing of the text.
    EncryptionKey::from_hex(text.expose_secret())
        .map_err(|error| ApiError::bad_request(format!("the body: encryptionKey: {error}")))
}

async fn create(api: Door, Body(new): Body<New>) -> Shown<Changed> {
    let hub = &api.shared.hub;
    let encryption_key = match (&new.encryption_key, new.generate_encryption_key) {
        (Some(_), true) => {
            let message = "the body: encryptionKey and generateEncryptionKey: give one of them";
            return Err(ApiError::bad_request(message));
        }
        (Some(text), false) => Some(read_key(text)?),
        (None, true) => Some(EncryptionKey::generate(&*hub.random)),
        (None, false) => None,
    };
    let url = new
        .settings
        .url
        .clone()
        .ok_or_else(|| ApiError::bad_request("the body: settings.url: it must be there"))?;
    let encryption = match encryption_key {
        Some(_) => Encryption::Required,
        None => Encryption::Off,
    };
    let mut settings = Settings::event_callback(url, encryption);
    new.settings.apply_to(&mut settings);
    let scope = ScopeNames::or_everything(new.scope);
    let scope = hub.db.read(move |tx| scope.read(tx)).await?;
    let shown = encryption_key
        .as_ref()
        .filter(|_| new.generate_encryption_key)
        .map(|key| key.to_hex().as_str().to_owned());
    let create = NewApplication {
        name: new.name,
        settings,
        encryption_key,
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
}

async fn apply(api: &Door, command: Command) -> Shown<Changed> {
    let hub = &api.shared.hub;
    let applied = hub.apply_application(api.caller.clone(), command).await?;
    Ok(Json(Changed {
        application: applied.application,
        changed: applied.changed,
        encryption_key: applied.encryption_key.map(|key| key.to_hex().as_str().to_owned()),
    }))
}

async fn update(api: Door, Path(id): Path<String>, Body(changes): Body<Changes>) -> Shown<Changed> {
    let id = api.application(id).await?.id;
    let Changes { name, settings } = changes;
    apply(&api, Command::Update { id, name, settings }).await
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
