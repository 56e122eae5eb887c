//! Applications: what they are, and what they are told of.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use rollcall_db::DbError;
use rollcall_protocol::{EncryptionKey, EventType};
use rollcall_scim::client::Profile;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::client::{Client, Request, refused};
use super::{Backend, Database};
use crate::api::{
    ChangedApplication, DetailedApplication, ListedApplication, Previews, ScopeChanged, SigningKeys,
};
use crate::application::command::{SubscriptionPlan, plan_subscription};
use crate::application::keys::rotation::Rotation;
use crate::application::keys::{self, NewKey};
use crate::application::written::{Names, ScopeChange, ScopeNames, SetChange};
use crate::application::{
    Application, ApplicationError, Command, Edit, Entitlements, ModeName, NewApplication, Scope,
    SettingsPatch, Subscription, store,
};
use crate::change::Seq;
use crate::cli::caller::caller;
use crate::cli::serving::{self, Known};
use crate::delivery::job::{self, JobPosition};
use crate::delivery::ledger::operate::ApplicationDeletion;
use crate::delivery::ledger::parked::{self, Parked};
use crate::delivery::route::scim::preview::{self, Previewed};
use crate::delivery::status;
use crate::directory::query::UnitAt;
use crate::directory::{Group, Sight};
use crate::id::ROOT_UNIT;
use crate::secret::{ExposeSecret as _, SecretString};

/// How many synchronizations are shown.
const JOBS: usize = 3;

/// An application with all that is shown of it.
pub(in crate::cli) struct Whole {
    pub(in crate::cli) detailed: DetailedApplication,
    pub(in crate::cli) keys: SigningKeys,
    /// The log's end.
    pub(in crate::cli) head: Seq,
    pub(in crate::cli) parked: Vec<Parked>,
    /// The newest synchronizations.
    pub(in crate::cli) jobs: Vec<JobPosition>,
}

/// An application that is to be made.
pub(in crate::cli) struct New {
    pub(in crate::cli) name: String,
    /// With the URL.
    pub(in crate::cli) settings: SettingsPatch,
    pub(in crate::cli) key: Option<EncryptionKey>,
    pub(in crate::cli) secret: Option<SecretString>,
    /// `None`: everything.
    pub(in crate::cli) scope: Option<ScopeNames>,
    pub(in crate::cli) subscription: Subscription,
}

/// What changes of an application.
pub(in crate::cli) struct Changes {
    pub(in crate::cli) name: Option<String>,
    pub(in crate::cli) settings: SettingsPatch,
    pub(in crate::cli) key: Option<EncryptionKey>,
    pub(in crate::cli) secret: Option<SecretString>,
}

/// An application that was made or changed.
pub(in crate::cli) struct Changed {
    pub(in crate::cli) application: Application,
    pub(in crate::cli) changed: bool,
    /// Where it finds its public keys.
    pub(in crate::cli) jwks_url: String,
    /// What should be known besides.
    pub(in crate::cli) notes: Vec<String>,
}

/// A change of a scope, planned or under way.
pub(in crate::cli) struct Rescoped {
    pub(in crate::cli) plan: job::Plan,
    /// The synchronization that tells who leaves and who enters, if it is under way.
    pub(in crate::cli) job: Option<String>,
    /// The scope before, in names.
    pub(in crate::cli) before: Vec<String>,
    /// The scope after, in names.
    pub(in crate::cli) after: Vec<String>,
    pub(in crate::cli) subscription: Subscription,
}

impl Backend {
    /// An application, by its id or name.
    pub(in crate::cli) async fn application(&self, name: &str) -> Result<Application> {
        match self {
            Self::Database(database) => {
                let name = name.to_owned();
                Ok(database.hub.db.read(move |tx| store::find(tx, &name)).await?)
            }
            Self::Server(client) => client.get(&["applications", name]).answer().await,
        }
    }

    /// All applications, by name.
    pub(in crate::cli) async fn applications(&self) -> Result<Vec<ListedApplication>> {
        match self {
            Self::Database(database) => {
                let read = database.hub.db.read(|tx| {
                    let (_, all) = status::applications(tx)?;
                    ListedApplication::of_each(tx, &Sight::EVERYTHING, all)
                });
                Ok(read.await?)
            }
            Self::Server(client) => client.list(client.get(&["applications"]), usize::MAX).await,
        }
    }

    /// An application with all that is shown of it.
    pub(in crate::cli) async fn whole_application(&self, name: &str) -> Result<Whole> {
        match self {
            Self::Database(database) => whole(database, name).await,
            Self::Server(client) => {
                let detailed: DetailedApplication = client.get(&["applications", name]).answer().await?;
                let id = detailed.application.id.as_str();
                let events = client.get(&["applications", id, "events"]);
                let jobs = client.get(&["applications", id, "synchronizations"]);
                Ok(Whole {
                    keys: client.get(&["applications", id, "keys"]).answer().await?,
                    parked: client.list(events, usize::MAX).await?,
                    jobs: client.list(jobs, JOBS).await?,
                    head: detailed.application.position + detailed.standing.behind,
                    detailed,
                })
            }
        }
    }

    /// The signing keys of an application.
    pub(in crate::cli) async fn signing_keys(&self, app: &str) -> Result<SigningKeys> {
        match self {
            Self::Database(database) => {
                let (id, now) = (self.application(app).await?.id, self.now());
                let keys = database.hub.db.read(move |tx| keys::list(tx, &id, now)).await?;
                let rotation = Rotation::of(&keys, now);
                Ok(SigningKeys { keys, rotation })
            }
            Self::Server(client) => client.get(&["applications", app, "keys"]).answer().await,
        }
    }

    /// Makes an application.
    pub(in crate::cli) async fn create_application(&self, new: New) -> Result<Changed> {
        match self {
            Self::Database(database) => create(database, new).await,
            Self::Server(client) => {
                let mut body = json!({
                    "name": new.name,
                    "settings": new.settings,
                    "encryptionKey": new.key.as_ref().map(shown),
                    "scope": new.scope.map(|scope| json!({
                        "organizationalUnits": scope.organizational_units, "groups": scope.groups,
                    })),
                    "subscription": new.subscription,
                });
                put_secret(&mut body, new.secret.as_ref());
                let made = client.post(&["applications"]).body(&body)?.once();
                changed(client, made.answer().await?).await
            }
        }
    }

    /// Changes the name and the push parameters of an application.
    pub(in crate::cli) async fn update_application(&self, app: &str, changes: Changes) -> Result<Changed> {
        match self {
            Self::Database(database) => update(database, self.application(app).await?, changes).await,
            Self::Server(client) => {
                let mut body = json!({
                    "name": changes.name,
                    "settings": changes.settings,
                    "encryptionKey": changes.key.as_ref().map(shown),
                });
                put_secret(&mut body, changes.secret.as_ref());
                let update = client.patch(&["applications", app]).body(&body)?;
                changed(client, update.answer().await?).await
            }
        }
    }

    /// Sets an application to how it wants to be spoken to.
    pub(in crate::cli) async fn take_over(&self, app: &str, profile: &Profile) -> Result<Changed> {
        let changes = Changes {
            name: None,
            settings: SettingsPatch::of_profile(profile),
            key: None,
            secret: None,
        };
        self.update_application(app, changes).await
    }

    /// What users would be at an application with other settings.
    pub(in crate::cli) async fn preview(
        &self,
        app: &str,
        settings: SettingsPatch,
        users: Vec<String>,
    ) -> Result<Vec<Previewed>> {
        match self {
            Self::Database(database) => {
                let application = self.application(app).await?;
                let parameters = settings.tried_on(&application.settings);
                let parameters = parameters.map_err(ApplicationError::from)?;
                let read = database.hub.db.read(move |tx| {
                    preview::preview(tx, &Sight::EVERYTHING, &application.id, &parameters, &users)
                });
                Ok(read.await?)
            }
            Self::Server(client) => {
                let body = json!({ "settings": settings, "users": users });
                let asked = client.post(&["applications", app, "preview"]).body(&body)?;
                let previews: Previews = asked.answer().await?;
                Ok(previews.users)
            }
        }
    }

    /// Deletes an application with its keys and its history.
    pub(in crate::cli) async fn delete_application(&self, id: &str) -> Result<()> {
        match self {
            Self::Database(database) => {
                let delete = Command::Delete { id: id.to_owned() };
                database.hub.apply_application(caller(), delete).await?;
            }
            Self::Server(client) => {
                let plan: ApplicationDeletion =
                    client.get(&["applications", id, "deletion"]).answer().await?;
                let delete = client.delete(&["applications", id]).with("confirm", plan.token);
                let _: Application = delete.answer().await?;
            }
        }
        Ok(())
    }

    /// Changes a scope if it is confirmed; otherwise it is only planned.
    pub(in crate::cli) async fn change_scope(
        &self,
        app: &str,
        change: ScopeChange,
        confirm: Option<String>,
    ) -> Result<Rescoped> {
        match self {
            Self::Database(database) => {
                let id = self.application(app).await?.id;
                rescope(database, id, change, confirm).await
            }
            Self::Server(client) => {
                let change = client
                    .patch(&["applications", app, "scope"])
                    .body(&json!({
                        "organizationalUnits": body_of(&change.organizational_units),
                        "groups": body_of(&change.groups),
                    }))?
                    .with_some("confirm", confirm);
                let (plan, job) = match planned(change).await? {
                    Planned::Done(ScopeChanged {
                        plan,
                        synchronization,
                    }) => (plan, synchronization),
                    Planned::Only(plan) => (plan, None),
                };
                let current: Entitled = client.get(&["applications", app, "scope"]).answer().await?;
                Ok(Rescoped {
                    before: names(client, &plan.before).await?,
                    after: names(client, &plan.after).await?,
                    subscription: current.subscription,
                    plan,
                    job,
                })
            }
        }
    }

    /// Changes a subscription if it is confirmed; otherwise it is only planned.
    pub(in crate::cli) async fn change_subscription(
        &self,
        app: &str,
        edit: Edit<EventType>,
        confirm: Option<String>,
    ) -> Result<SubscriptionPlan> {
        match self {
            Self::Database(database) => {
                let id = self.application(app).await?.id;
                let (of, wanted) = (id.clone(), edit.clone());
                let plan = database
                    .hub
                    .db
                    .read(move |tx| plan_subscription(tx, &of, &wanted));
                let plan = plan.await?;
                if confirm.is_some() {
                    let command = Command::SetSubscription {
                        id,
                        events: edit,
                        confirmed: confirm,
                    };
                    database.hub.apply_application(caller(), command).await?;
                }
                Ok(plan)
            }
            Self::Server(client) => {
                let short = |events: BTreeSet<EventType>| {
                    let names = events.into_iter().map(|event| event.short().to_owned());
                    names.collect::<Vec<_>>()
                };
                let edit = match edit {
                    Edit::Set(set) => SetChange {
                        set: Some(short(set)),
                        ..SetChange::default()
                    },
                    Edit::Change { add, remove } => SetChange {
                        set: None,
                        add: short(add),
                        remove: short(remove),
                    },
                };
                let change = client
                    .patch(&["applications", app, "subscription"])
                    .body(&body_of(&edit))?
                    .with_some("confirm", confirm);
                Ok(match planned(change).await? {
                    Planned::Done(plan) | Planned::Only(plan) => plan,
                })
            }
        }
    }
}

async fn whole(database: &Database, name: &str) -> Result<Whole> {
    let Database { hub, config } = database;
    let (name, now, instance) = (name.to_owned(), hub.clock.now(), hub.instance.id.clone());
    let read = hub.db.read(move |tx| {
        let application = store::find(tx, &name)?;
        let id = application.id.clone();
        let detailed = DetailedApplication::of(tx, &Sight::EVERYTHING, &instance, application)?;
        let keys = keys::list(tx, &id, now)?;
        Ok::<_, crate::application::ApplicationError>(Whole {
            head: detailed.application.position + detailed.standing.behind,
            detailed,
            keys: SigningKeys {
                rotation: Rotation::of(&keys, now),
                keys,
            },
            parked: parked::list(tx, &id)?,
            jobs: job::newest(tx, &id, JOBS)?,
        })
    });
    let mut whole = read.await?;
    // A configuration beside the hub may say more than the hub that was started last.
    let known = serving::known(hub, config).await?;
    let detailed = &mut whole.detailed;
    detailed.jwks_url = known.jwks_url(&detailed.application.id);
    let is_signed = detailed.application.settings.mode.name().is_signed();
    detailed.notes = known.note().filter(|_| is_signed).into_iter().collect();
    detailed.outbound_addresses = known.outbound_addresses().to_vec();
    Ok(whole)
}

/// What should be known of the addresses that are set, and of the one under which applications find their keys.
async fn notes(known: &Known<'_>, settings: &SettingsPatch, mode: ModeName) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for url in settings.addresses() {
        notes.extend(known.refusal(url).await?);
    }
    notes.extend(known.note().filter(|_| mode.is_signed()));
    Ok(notes)
}

async fn create(database: &Database, new: New) -> Result<Changed> {
    let Database { hub, config } = database;
    let known = serving::known(hub, config).await?;
    let settings = new.settings.made(new.key.is_some());
    let settings = settings.map_err(ApplicationError::from)?;
    let notes = notes(&known, &new.settings, settings.mode.name()).await?;
    let scope = match new.scope {
        None => Scope::everything(),
        Some(names) => hub.db.read(move |tx| names.read(tx)).await?,
    };
    let create = Command::Create(Box::new(NewApplication {
        name: new.name,
        settings,
        encryption_key: new.key,
        secret: new.secret,
        scope,
        subscription: new.subscription,
        signing_key: NewKey::generate(hub.clock.now(), &*hub.random, &hub.master)?,
    }));
    let application = hub.apply_application(caller(), create).await?.application;
    Ok(Changed {
        changed: true,
        jwks_url: known.jwks_url(&application.id),
        notes,
        application,
    })
}

async fn update(database: &Database, before: Application, changes: Changes) -> Result<Changed> {
    let Database { hub, config } = database;
    let id = before.id;
    let known = serving::known(hub, config).await?;
    let jwks_url = known.jwks_url(&id);
    let mode = changes.settings.mode.unwrap_or(before.settings.mode.name());
    let notes = notes(&known, &changes.settings, mode).await?;
    let Changes {
        name,
        settings,
        key,
        secret,
    } = changes;
    let commands = Command::changes(&id, name, settings, secret, key);
    let applied = hub.apply_to_application(caller(), commands).await?;
    let changed = applied.iter().any(|applied| applied.changed);
    let last = applied.into_iter().last().context("no command was applied")?;
    Ok(Changed {
        application: last.application,
        changed,
        jwks_url,
        notes,
    })
}

async fn rescope(
    database: &Database,
    id: String,
    change: ScopeChange,
    confirm: Option<String>,
) -> Result<Rescoped> {
    let hub = &database.hub;
    let edit = hub.db.read(move |tx| change.read(tx)).await?;
    let of = id.clone();
    let (plan, job) = match confirm {
        Some(token) => {
            let (plan, job) = job::change_scope(hub, caller(), &id, edit, Some(token)).await?;
            (plan, Some(job))
        }
        None => (hub.db.read(move |tx| job::plan(tx, &of, &edit)).await?, None),
    };
    let (before, after) = (plan.before.clone(), plan.after.clone());
    let read = hub.db.read(move |tx| {
        let subscription = Entitlements::load(tx, &id)?.current().subscription.clone();
        let names = Names::seen(tx, &Sight::EVERYTHING, [&before, &after])?;
        Ok::<_, DbError>(((names.of(&before), names.of(&after)), subscription))
    });
    let ((before, after), subscription) = read.await?;
    Ok(Rescoped {
        job: job.filter(|_| !plan.is_empty()),
        plan,
        before,
        after,
        subscription,
    })
}

fn shown(key: &EncryptionKey) -> String {
    key.to_hex().as_str().to_owned()
}

/// Puts a secret into a body, if one is given.
fn put_secret(body: &mut Json, secret: Option<&SecretString>) {
    if let Some(secret) = secret {
        body["secret"] = secret.expose_secret().into();
    }
}

async fn changed(client: &Client, changed: ChangedApplication) -> Result<Changed> {
    let shown = client.get(&["applications", &changed.application.id]);
    let detailed: DetailedApplication = shown.answer().await?;
    Ok(Changed {
        application: changed.application,
        changed: changed.changed,
        jwks_url: detailed.jwks_url,
        notes: changed.notes,
    })
}

/// A change of a set as the API reads it.
fn body_of(SetChange { set, add, remove }: &SetChange) -> Json {
    json!({ "set": set, "add": add, "remove": remove })
}

/// What an application is told of.
#[derive(serde::Deserialize)]
struct Entitled {
    subscription: Subscription,
}

/// What came of a change that shows a plan first.
pub(super) enum Planned<D, P> {
    /// It was done, or there was nothing to do.
    Done(D),
    /// Only this was planned.
    Only(P),
}

pub(super) async fn planned<D: DeserializeOwned, P: DeserializeOwned>(
    request: Request<'_>,
) -> Result<Planned<D, P>> {
    let error = match request.answer().await {
        Ok(done) => return Ok(Planned::Done(done)),
        Err(error) => error,
    };
    let unconfirmed = refused(&error).filter(|refused| refused.code == "unconfirmed");
    match unconfirmed.and_then(|refused| refused.plan.clone()) {
        Some(plan) => Ok(Planned::Only(serde_json::from_value(plan)?)),
        None => Err(error),
    }
}

/// A scope in names, as [`Names`] has them.
async fn names(client: &Client, scope: &Scope) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for id in &scope.organizational_unit_ids {
        names.push(match id.as_str() {
            ROOT_UNIT => "everything".to_owned(),
            id => {
                let unit: UnitAt = client.get(&["organizational-units", id]).answer().await?;
                format!("/{}", unit.path)
            }
        });
    }
    for id in &scope.group_ids {
        let group: Group = client.get(&["groups", id]).answer().await?;
        names.push(format!("group {}", group.name));
    }
    Ok(names)
}
