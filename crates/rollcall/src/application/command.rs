//! The one door through which applications change: [`apply`], the twin of [`crate::directory::apply`].
//!
//! A command changes what it names and nothing else: settings are patches, a scope is edited unit by unit
//! and group by group, so two administrators who change different things at the same time both have their
//! will. What a command changed stands in the audit log, by the same transaction.
//!
//! Operations of the delivery (pause, resume, resend, synchronize) are not among the commands: they belong
//! to whoever delivers.

mod entitle;

use std::time::Duration;

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::{EncryptionKey, EventType, SubjectKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::developer::secrets::{self, ClientSecret, NewClientSecret};
use super::developer::{self, DeveloperApiPatch};
use super::edit::{Edit, ScopeEdit, SettingsPatch};
use super::entitlement::{Entitlement, Entitlements, Scope, Subscription};
use super::keys::{self, NewKey, rotation};
use super::scim::Scim;
use super::settings::{Encryption, Mode, Settings};
use super::store::{self, Application, ApplicationError};
use crate::access::Context;
use crate::audit::{self, Target};
use crate::change;
use crate::clock::Millis;
use crate::directory::{fields::fold, query};
use crate::secret::SecretString;
use crate::{id, instance};
pub use entitle::{SubscriptionPlan, plan_subscription};
use entitle::{set_scope, set_subscription};

/// A new application.
#[derive(Debug)]
pub struct NewApplication {
    /// Its name, unique without regard to case.
    pub name: String,
    /// The push parameters.
    pub settings: Settings,
    /// The encryption key, if it has one.
    pub encryption_key: Option<EncryptionKey>,
    /// By what the hub proves who it is, in the SCIM mode: the token, or the client's secret.
    pub secret: Option<SecretString>,
    /// The synchronization scope.
    pub scope: Scope,
    /// The events that it wants.
    pub subscription: Subscription,
    /// Its first signing key.
    pub signing_key: NewKey,
}

/// A change that somebody wants.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields name what the variant says")]
pub enum Command {
    /// Makes an application. It is pushed every change from now on; what is there already is the matter of
    /// a full synchronization.
    Create(Box<NewApplication>),
    /// Changes the name and push parameters that are named, and in the SCIM mode the secret. One that was entered for
    /// another address is not sent to a new one, so it has to be entered with that.
    Update {
        id: String,
        name: Option<String>,
        settings: SettingsPatch,
        secret: Option<SecretString>,
    },
    /// Changes the scope, for the changes after the log's present end. `job` is the id of the job that
    /// deletes who leaves and creates who enters, made by the same transaction (`delivery::job`).
    SetScope {
        id: String,
        scope: ScopeEdit,
        job: String,
    },
    /// Changes the events that are wanted, for the changes after the log's present end; with `confirmed` only
    /// if that still is what the plan with this token has shown ([`plan_subscription`]).
    SetSubscription {
        id: String,
        events: Edit<EventType>,
        confirmed: Option<String>,
    },
    /// Stores another encryption key, and requires encryption.
    SetEncryptionKey { id: String, key: EncryptionKey },
    /// Makes another encryption key, and requires encryption. The key is shown once, in the answer.
    GenerateEncryptionKey { id: String },
    /// Changes what the application may do through the developer API.
    SetDeveloperApi { id: String, changes: DeveloperApiPatch },
    /// Keeps a client secret of an application, which has two at most.
    CreateClientSecret(NewClientSecret),
    /// Makes a client secret good for nothing, and the access tokens that were given for it.
    RevokeClientSecret { application_id: String, id: String },
    /// Rotates the signing key.
    RotateSigningKey { id: String, step: RotationStep },
    /// Turns *Synchronize users to application* on.
    EnableSynchronization { id: String },
    /// Turns it off. Changes wait.
    DisableSynchronization { id: String },
    /// Deletes an application with everything that belongs to it.
    Delete { id: String },
}

impl Command {
    /// What changes an application as one request wants it: name, push parameters, secret and encryption key.
    pub fn changes(
        id: &str,
        name: Option<String>,
        settings: SettingsPatch,
        secret: Option<SecretString>,
        key: Option<EncryptionKey>,
    ) -> Vec<Self> {
        let id = id.to_owned();
        let key = key.map(|key| Self::SetEncryptionKey { id: id.clone(), key });
        // To require encryption there has to be the key, and to have a key the mode in which there is one.
        let is_key_last = settings.mode.is_some() && settings.encryption.is_none();
        let update = Self::Update {
            id,
            name,
            settings,
            secret,
        };
        match is_key_last {
            true => [Some(update), key],
            false => [key, Some(update)],
        }
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A step of a rotation of signing keys (see [`rotation`]).
#[derive(Debug)]
pub enum RotationStep {
    /// Publishes a new key, which is tried after the delay and signs once the application accepts it.
    Publish {
        /// The new key.
        key: NewKey,
        /// For how long it is published before its trial.
        delay: Duration,
    },
    /// Has the key that waits tried now.
    TryNow,
    /// Withdraws the key that waits.
    Withdraw,
    /// Signs with the key again that signed before, as long as it is published.
    Revert,
    /// Signs with this key at once and withdraws all others: they are compromised.
    Replace {
        /// The new key.
        key: NewKey,
    },
}

/// The signing key that a step of a rotation was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rotated {
    /// The key's id.
    pub kid: String,
    /// When its trial is due; `None` if it has none any more.
    pub trial_at: Option<Millis>,
}

/// What a command did.
#[derive(Debug)]
pub struct Applied {
    /// The application as it is now; as it was if it is deleted.
    pub application: Application,
    /// Whether anything changed.
    pub changed: bool,
    /// The encryption key that was made.
    pub encryption_key: Option<EncryptionKey>,
    /// The signing key that a rotation was about.
    pub rotated: Option<Rotated>,
    /// The client secret that was made or revoked.
    pub client_secret: Option<ClientSecret>,
}

impl Applied {
    pub(super) fn of(application: Application, changed: bool) -> Self {
        Self {
            application,
            changed,
            encryption_key: None,
            rotated: None,
            client_secret: None,
        }
    }
}

/// Applies a command, if the caller may: an application whose scope reaches beyond the caller's authority
/// does not exist for it.
///
/// # Errors
/// [`ApplicationError`]; the caller's transaction must then be undone.
pub fn apply(tx: &mut Tx<'_>, ctx: &Context<'_>, command: &Command) -> Result<Applied, ApplicationError> {
    match command {
        Command::Create(new) => create(tx, ctx, new),
        Command::Update {
            id,
            name,
            settings,
            secret,
        } => update(tx, ctx, id, name.as_deref(), settings, secret.as_ref()),
        Command::SetScope { id, scope, job } => set_scope(tx, ctx, id, scope, job),
        Command::SetSubscription {
            id,
            events,
            confirmed,
        } => set_subscription(tx, ctx, id, events, confirmed.as_deref()),
        Command::SetEncryptionKey { id, key } => set_encryption_key(tx, ctx, id, key),
        Command::GenerateEncryptionKey { id } => {
            let key = EncryptionKey::generate(ctx.random);
            let applied = set_encryption_key(tx, ctx, id, &key)?;
            Ok(Applied {
                encryption_key: Some(key),
                ..applied
            })
        }
        Command::SetDeveloperApi { id, changes } => developer::set(tx, ctx, id, *changes),
        Command::CreateClientSecret(new) => {
            let secret = secrets::create(tx, ctx, new)?;
            with_secret(tx, &new.application_id, secret)
        }
        Command::RevokeClientSecret { application_id, id } => {
            let secret = secrets::revoke(tx, ctx, application_id, id)?;
            with_secret(tx, application_id, secret)
        }
        Command::RotateSigningKey { id, step } => rotate(tx, ctx, id, step),
        Command::EnableSynchronization { id } => set_synchronize(tx, ctx, id, true),
        Command::DisableSynchronization { id } => set_synchronize(tx, ctx, id, false),
        Command::Delete { id } => delete(tx, ctx, id),
    }
}

fn with_secret(tx: &mut Tx<'_>, id: &str, secret: ClientSecret) -> Result<Applied, ApplicationError> {
    Ok(Applied {
        client_secret: Some(secret),
        ..Applied::of(store::load(tx, id)?, true)
    })
}

fn rotate(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    step: &RotationStep,
) -> Result<Applied, ApplicationError> {
    // The keys are also written by the settlement of a trial.
    store::hold(tx, id)?;
    let (before, now) = (open(tx, ctx, id)?, ctx.now);
    let mut was = None;
    let (action, rotated) = match step {
        RotationStep::Publish { key, delay } => {
            let trial_at = rotation::publish(tx, id, key, now, *delay)?;
            ("publish_signing_key", (key.kid().to_owned(), Some(trial_at)))
        }
        RotationStep::TryNow => ("try_signing_key", (rotation::try_now(tx, id, now)?, Some(now))),
        RotationStep::Withdraw => ("withdraw_signing_key", (rotation::withdraw(tx, id)?, None)),
        RotationStep::Revert => {
            let reverted = rotation::revert(tx, id, ctx.master, now)?;
            was = reverted.retired.map(|kid| json!({ "kid": kid }));
            ("revert_signing_key", (reverted.kid, None))
        }
        RotationStep::Replace { key } => {
            let mut keys = keys::list(tx, id, now)?.into_iter();
            let signing = keys.find(|key| key.trial.is_none() && key.retires_at.is_none());
            was = signing.map(|key| json!({ "kid": key.kid }));
            rotation::replace(tx, id, key, now)?;
            ("replace_signing_key", (key.kid().to_owned(), None))
        }
    };
    let (kid, trial_at) = rotated;
    let after = json!({ "kid": kid, "trialAt": trial_at });
    let applied = close(tx, ctx, &before, action, was, Some(after))?;
    Ok(Applied {
        rotated: Some(Rotated { kid, trial_at }),
        ..applied
    })
}

/// Reads an application that the caller may change, and holds it to the version that the caller named.
pub(crate) fn open(tx: &mut Tx<'_>, ctx: &Context<'_>, id: &str) -> Result<Application, ApplicationError> {
    let application = store::load(tx, id)?;
    if !ctx.caller.authority.is_everything() {
        let scope = Entitlements::load(tx, id)?.current().scope.clone();
        if !is_within(tx, ctx, &scope)? {
            return Err(ApplicationError::NotFound(id.to_owned()));
        }
    }
    match ctx.caller.expected {
        Some(expected) if expected != application.update_time => Err(ApplicationError::Changed {
            id: application.id,
            name: application.name,
            expected,
            found: application.update_time,
        }),
        _ => Ok(application),
    }
}

/// Whether a scope reaches nowhere beyond the caller's authority. One that reaches nowhere at all is
/// nobody's but his who may do everything.
fn is_within(tx: &mut Tx<'_>, ctx: &Context<'_>, scope: &Scope) -> Result<bool, DbError> {
    if ctx.caller.authority.is_everything() {
        return Ok(true);
    }
    let mut parts = 0;
    for (kind, ids) in [
        (SubjectKind::Unit, &scope.organizational_unit_ids),
        (SubjectKind::Group, &scope.group_ids),
    ] {
        for id in ids {
            parts += 1;
            match query::record_of(tx, kind, id)? {
                Some((_, placement)) if ctx.caller.authority.covers(kind, &placement) => {}
                _ => return Ok(false),
            }
        }
    }
    Ok(parts > 0)
}

/// Raises the version, makes the delivery load the application afresh, and tells the audit log.
pub(super) fn close(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    before: &Application,
    action: &str,
    was: Option<Json>,
    is: Option<Json>,
) -> Result<Applied, ApplicationError> {
    let id = before.id.as_str();
    tx.execute(
        "UPDATE applications SET update_time = $2 WHERE id = $1",
        params![id, ctx.next_version(before.update_time)],
    )?;
    store::touch(tx, id)?;
    let application = store::load(tx, id)?;
    let target = Target::application(id, &application.name);
    audit::record(tx, ctx, action, &target, was.as_ref(), is.as_ref())?;
    Ok(Applied::of(application, true))
}

/// The fields of two records that are different, on either side.
fn differences(before: &Json, after: &Json) -> (Json, Json) {
    let (Some(was), Some(is)) = (before.as_object(), after.as_object()) else {
        return (before.clone(), after.clone());
    };
    let side = |own: &serde_json::Map<String, Json>, other: &serde_json::Map<String, Json>| {
        let different = own.iter().filter(|(key, value)| other.get(*key) != Some(value));
        Json::Object(
            different
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        )
    };
    (side(was, is), side(is, was))
}

/// What the audit log shows of name and push parameters.
fn shown(name: &str, settings: &Settings) -> Json {
    let mut shown = json!({
        "name": name,
        "mode": settings.mode.name(),
        "url": settings.url(),
        "limits": settings.limits,
    });
    match &settings.mode {
        Mode::EventCallback(_) => {
            shown["encryption"] = json!(settings.encryption());
            shown["passwordSynchronization"] = json!(settings.password_synchronization);
        }
        Mode::Scim(scim) => {
            let Scim {
                base_url: _,
                authentication,
                actions,
                groups,
                leavers,
                preset,
                mapping,
                profile,
                thresholds,
            } = &**scim;
            shown["authentication"] = json!(authentication);
            shown["actions"] = json!(actions);
            shown["groups"] = json!(groups);
            shown["leavers"] = json!(leavers);
            shown["preset"] = json!(preset);
            shown["mapping"] = json!(mapping);
            shown["profile"] = json!(profile);
            shown["thresholds"] = json!(thresholds);
        }
    }
    shown
}

fn create(tx: &mut Tx<'_>, ctx: &Context<'_>, new: &NewApplication) -> Result<Applied, ApplicationError> {
    store::check_name(tx, &new.name, None)?;
    new.settings.validate(new.encryption_key.is_some())?;
    new.settings.check_secret(new.secret.as_ref(), false, None)?;
    store::check_scope(tx, &new.scope)?;
    if let Some(key) = &new.encryption_key {
        store::check_key(key)?;
    }
    if !is_within(tx, ctx, &new.scope)? {
        return Err(ApplicationError::OutsideScope(new.name.clone()));
    }
    let id = id::make("app", ctx.now, ctx.random);
    let key = new.encryption_key.as_ref();
    let sealed = key.map(|key| store::seal_key(&id, key, ctx.master, ctx.random));
    let secret = new.secret.as_ref();
    let secret = secret.map(|secret| store::seal_secret(&id, secret, ctx.master, ctx.random));
    let position = change::head(tx)?.seq;
    tx.execute(
        "INSERT INTO applications (id, name, name_folded, synchronize, settings, encryption_key, secret,
                                   version, create_time, update_time)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $8)",
        params![
            id.as_str(),
            new.name.as_str(),
            fold(&new.name),
            true,
            store::to_json(&new.settings)?,
            sealed.as_deref(),
            secret.as_deref(),
            ctx.now
        ],
    )?;
    // Its place in the ledger of delivery, which alone writes it from now on.
    tx.execute(
        "INSERT INTO deliveries (application_id, position, revision, epoch) VALUES ($1, $2, 0, 0)",
        params![id.as_str(), position],
    )?;
    let entitlement = Entitlement {
        from_seq: position,
        scope: new.scope.clone(),
        subscription: new.subscription.clone(),
    };
    Entitlements::store(tx, &id, &entitlement)?;
    keys::add_first(tx, &id, &new.signing_key, ctx.now)?;
    instance::touch_applications(tx)?;
    let mut after = shown(&new.name, &new.settings);
    after["scope"] = json!(new.scope);
    after["subscription"] = json!(new.subscription);
    after["kid"] = json!(new.signing_key.kid());
    let target = Target::application(&id, &new.name);
    audit::record(tx, ctx, "create", &target, None, Some(&after))?;
    Ok(Applied::of(store::load(tx, &id)?, true))
}

fn update(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    name: Option<&str>,
    patch: &SettingsPatch,
    secret: Option<&SecretString>,
) -> Result<Applied, ApplicationError> {
    let before = open(tx, ctx, id)?;
    let name = name.unwrap_or(&before.name);
    let mut settings = before.settings.clone();
    patch.apply_to(&mut settings)?;
    if name == before.name && settings == before.settings && secret.is_none() {
        return Ok(Applied::of(before, false));
    }
    if name != before.name {
        store::check_name(tx, name, Some(id))?;
    }
    settings.validate(before.has_encryption_key)?;
    settings.check_secret(secret, before.has_secret, Some(&before.settings))?;
    if settings.provider() != before.settings.provider() {
        store::forget_remote_objects(tx, id)?;
    }
    match (secret, settings.scim()) {
        (Some(secret), _) => {
            let sealed = store::seal_secret(id, secret, ctx.master, ctx.random);
            store::set_secret(tx, id, Some(&sealed))?;
        }
        // Nobody needs it any more.
        (None, None) if before.has_secret => store::set_secret(tx, id, None)?,
        (None, _) => {}
    }
    tx.execute(
        "UPDATE applications SET name_folded = CASE WHEN name = $2 THEN name_folded ELSE $3 END, name = $2, settings = $4
         WHERE id = $1",
        params![id, name, fold(name), store::to_json(&settings)?],
    )?;
    let (was, mut is) = differences(&shown(&before.name, &before.settings), &shown(name, &settings));
    if secret.is_some() {
        is["secret"] = json!("another one");
    }
    close(tx, ctx, &before, "update", Some(was), Some(is))
}

fn set_encryption_key(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    key: &EncryptionKey,
) -> Result<Applied, ApplicationError> {
    let before = open(tx, ctx, id)?;
    store::check_key(key)?;
    let mut settings = before.settings.clone();
    settings.set_encryption(Encryption::Required)?;
    settings.validate(true)?;
    let sealed = store::seal_key(id, key, ctx.master, ctx.random);
    tx.execute(
        "UPDATE applications SET encryption_key = $2, settings = $3 WHERE id = $1",
        params![id, sealed.as_slice(), store::to_json(&settings)?],
    )?;
    let was = json!({"hasEncryptionKey": before.has_encryption_key,
                     "encryption": before.settings.encryption()});
    let is = json!({"hasEncryptionKey": true, "encryption": Encryption::Required});
    close(tx, ctx, &before, "set_encryption_key", Some(was), Some(is))
}

fn set_synchronize(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    on: bool,
) -> Result<Applied, ApplicationError> {
    let before = open(tx, ctx, id)?;
    if before.synchronize == on {
        return Ok(Applied::of(before, false));
    }
    tx.execute(
        "UPDATE applications SET synchronize = $2 WHERE id = $1",
        params![id, on],
    )?;
    let (was, is) = (json!({"synchronize": !on}), json!({"synchronize": on}));
    let action = if on {
        "enable_synchronization"
    } else {
        "disable_synchronization"
    };
    close(tx, ctx, &before, action, Some(was), Some(is))
}

fn delete(tx: &mut Tx<'_>, ctx: &Context<'_>, id: &str) -> Result<Applied, ApplicationError> {
    let application = open(tx, ctx, id)?;
    let current = Entitlements::load(tx, id)?.current().clone();
    store::remove(tx, id)?;
    let mut before = shown(&application.name, &application.settings);
    before["scope"] = json!(current.scope);
    before["subscription"] = json!(current.subscription);
    let target = Target::application(id, &application.name);
    audit::record(tx, ctx, "delete", &target, Some(&before), None)?;
    Ok(Applied::of(application, true))
}
