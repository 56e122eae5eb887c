//! `rollcall app`.

pub(super) mod delivery;
pub(super) mod scope;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use rollcall_protocol::EncryptionKey;
use serde_json::json;

use super::args::{App, PushArgs, ScopeArgs};
use super::caller::caller;
use super::failure::Refusal;
use super::keys;
use super::output::{Output, counted, listed, time};
use super::serving;
use crate::application::{
    Application, Command, Encryption, Entitlements, NewApplication, Scope, Settings, SettingsPatch,
    Subscription,
    keys::{self as signing_keys, NewKey, rotation::Rotation},
    store, written,
};
use crate::change;
use crate::config::Config;
use crate::delivery::job;
use crate::delivery::ledger::attempts;
use crate::delivery::ledger::parked::{self, ParkedState};
use crate::directory;
use crate::hub::Hub;
use crate::why::Failing;

/// How many of the newest requests are looked through for events that were skipped.
const LATELY: usize = 200;

pub(super) async fn run(hub: &Hub, out: &Output, config: &Config, verb: App) -> Result<ExitCode> {
    match verb {
        App::Create {
            name,
            url,
            scope,
            push,
        } => create(hub, out, config, name, url, scope, push).await,
        App::List => list(hub, out).await,
        App::Show { app } => show(hub, out, config, &app).await,
        App::Set { app, name, url, push } => set(hub, out, config, &app, name, url, push).await,
        App::Scope(change) => scope::scope(hub, out, change).await,
        App::Subscription(change) => scope::subscription(hub, out, change).await,
        App::Test { app } => delivery::test(hub, out, config, &app).await,
        App::Sync { app, detach } => delivery::sync(hub, out, &app, detach).await,
        App::Cancel { app } => delivery::cancel(hub, out, &app).await,
        App::Pause { app } => delivery::switch(hub, out, &app, false).await,
        App::Resume { app } => delivery::switch(hub, out, &app, true).await,
        App::Key { verb } => keys::run(hub, out, verb).await,
        App::Resend { app, event } => delivery::resend(hub, out, &app, event).await,
        App::Skip { app, event } => delivery::skip(hub, out, &app, event).await,
        App::Dismiss { app, event, .. } => delivery::dismiss(hub, out, &app, event).await,
        App::Delete { app, confirm } => {
            let application = find(hub, &app).await?;
            if !confirm {
                let what = format!("this deletes {} with its keys and its history", application.name);
                bail!(Refusal::unconfirmed(what));
            }
            let id = application.id.clone();
            hub.apply_application(caller(), Command::Delete { id }).await?;
            out.show(&json!({ "deleted": application.id }), || {
                format!("{} is deleted", application.name)
            });
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The application that a name or an id names.
pub(super) async fn find(hub: &Hub, name: &str) -> Result<Application> {
    let name = name.to_owned();
    Ok(hub.db.read(move |tx| store::find(tx, &name)).await?)
}

async fn entitlement(hub: &Hub, args: ScopeArgs) -> Result<(Scope, Subscription)> {
    let subscription = if args.events.is_empty() {
        Subscription::everything()
    } else {
        Subscription::of(args.events)
    };
    if args.units.is_empty() && args.groups.is_empty() {
        return Ok((Scope::everything(), subscription));
    }
    let scope = hub
        .db
        .read(move |tx| {
            Ok::<_, directory::DirectoryError>(Scope {
                organizational_unit_ids: written::units(tx, &args.units)?,
                group_ids: written::groups(tx, &args.groups)?,
            })
        })
        .await?;
    Ok((scope, subscription))
}

impl PushArgs {
    /// What was named of the push parameters.
    fn patch(&self) -> SettingsPatch {
        SettingsPatch {
            url: None,
            encryption: self.no_encryption.then_some(Encryption::Off),
            password_synchronization: self.password_sync,
            max_events: self.max_events,
            max_bytes: self.max_bytes,
            lanes: self.lanes,
            requests_per_second: self.requests_per_second,
        }
    }

    /// The encryption key that was asked for: a new one, or one from a file.
    fn encryption_key(&self, hub: &Hub) -> Result<Option<EncryptionKey>> {
        if self.encrypt {
            return Ok(Some(EncryptionKey::generate(&*hub.random)));
        }
        let Some(path) = &self.encryption_key_file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the key file {} cannot be read", path.display()))?;
        Ok(Some(EncryptionKey::from_hex(&text)?))
    }
}

fn shown_once(key: &str) -> String {
    format!("encryption key  {key}\n                (shown only now)\n")
}

/// What is noted beside a result, for people.
fn noted(notes: &[String]) -> String {
    notes
        .iter()
        .map(|note| format!("note            {note}\n"))
        .collect()
}

async fn create(
    hub: &Hub,
    out: &Output,
    config: &Config,
    name: String,
    url: String,
    scope: ScopeArgs,
    push: PushArgs,
) -> Result<ExitCode> {
    let known = serving::known(hub, config).await?;
    let notes: Vec<String> = known
        .refusal(&url)
        .await?
        .into_iter()
        .chain(known.note())
        .collect();
    let (scope, subscription) = entitlement(hub, scope).await?;
    let encryption_key = push.encryption_key(hub)?;
    let encryption = match encryption_key {
        Some(_) => Encryption::Required,
        None => Encryption::Off,
    };
    let mut settings = Settings::event_callback(url, encryption);
    push.patch().apply_to(&mut settings);
    let shown = encryption_key
        .as_ref()
        .filter(|_| push.encrypt)
        .map(EncryptionKey::to_hex);
    let now = hub.clock.now();
    let new = NewApplication {
        name,
        settings,
        encryption_key,
        scope,
        subscription,
        signing_key: NewKey::generate(now, &*hub.random, &hub.master)?,
    };
    let create = Command::Create(Box::new(new));
    let application = hub.apply_application(caller(), create).await?.application;
    let jwks = known.jwks_url(&application.id);
    let key = shown.as_ref().map(|key| key.as_str());
    out.show(
        &json!({ "application": application, "jwksUrl": jwks, "notes": notes, "encryptionKey": key }),
        || {
            let mut text = format!("application id  {}\npublic keys     {jwks}\n", application.id);
            text.push_str(&noted(&notes));
            if let Some(key) = key {
                text.push_str(&shown_once(key));
            }
            text.push_str(
                "Configure the application with these, then run: rollcall app test and rollcall app sync\n",
            );
            text
        },
    );
    Ok(ExitCode::SUCCESS)
}

/// An application in the list.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(flatten)]
    application: Application,
    state: &'static str,
    behind: change::Seq,
    /// Events that were set aside as failed.
    set_aside: u64,
    ever_synchronized: bool,
    scope: Vec<String>,
    subscription: Subscription,
}

async fn list(hub: &Hub, out: &Output) -> Result<ExitCode> {
    let all = hub
        .db
        .read(|tx| {
            let head = change::head(tx)?.seq;
            let parked = parked::counts(tx)?;
            let mut all = Vec::new();
            for application in store::list(tx)? {
                let id = application.id.as_str();
                let current = Entitlements::load(tx, id)?.current().clone();
                let [_, _, failed] = parked.get(id).copied().unwrap_or_default();
                all.push(Listed {
                    state: application.state(),
                    behind: head - application.position,
                    set_aside: failed,
                    ever_synchronized: !job::newest(tx, id, 1)?.is_empty(),
                    scope: written::names(tx, &current.scope)?,
                    subscription: current.subscription,
                    application,
                });
            }
            Ok::<_, rollcall_db::DbError>(all)
        })
        .await?;
    out.show(&all, || {
        let lines = all.iter().map(|one| {
            let mut text = format!(
                "{}  {:<24} {:<10} {} behind",
                one.application.id,
                one.application.name,
                one.state,
                counted(one.behind.unsigned_abs(), "change")
            );
            if one.set_aside > 0 {
                text.push_str(&format!(", {} SET ASIDE", counted(one.set_aside, "event")));
            }
            if !one.ever_synchronized {
                text.push_str(", never synchronized");
            }
            text.push_str(&format!(
                "\n    {}; {}\n",
                listed(&one.scope),
                scope::events(&one.subscription)
            ));
            text
        });
        lines.collect()
    });
    Ok(ExitCode::SUCCESS)
}

async fn show(hub: &Hub, out: &Output, config: &Config, app: &str) -> Result<ExitCode> {
    let application = find(hub, app).await?;
    let (id, now) = (application.id.clone(), hub.clock.now());
    let own = application.clone();
    let (head, entitlements, scope_names, keys_of_it, parked, jobs, skips, failing) = hub
        .db
        .read(move |tx| {
            let entitlements = Entitlements::load(tx, &id)?;
            let scope_names = written::names(tx, &entitlements.current().scope)?;
            Ok::<_, rollcall_db::DbError>((
                change::head(tx)?.seq,
                entitlements,
                scope_names,
                signing_keys::list(tx, &id, now)?,
                parked::list(tx, &id)?,
                job::newest(tx, &id, 3)?,
                attempts::skipped_lately(tx, &id, LATELY)?,
                Failing::of(tx, &own)?,
            ))
        })
        .await?;
    let current = entitlements.current();
    let rotation = Rotation::of(&keys_of_it, now);
    let known = serving::known(hub, config).await?;
    let jwks = known.jwks_url(&application.id);
    let notes: Vec<String> = known.note().into_iter().collect();
    let outbound = &config.egress.outbound_addresses;
    let shown = json!({
        "application": application, "jwksUrl": jwks, "notes": notes, "outboundAddresses": outbound, "keys": keys_of_it,
        "keyRotation": rotation,
        "scope": current.scope, "scopeNames": scope_names, "subscription": current.subscription, "head": head,
        "failing": failing, "skippedLately": skips, "parkedEvents": parked, "synchronizations": jobs,
    });
    out.show(&shown, || {
        let limits = &application.settings.limits;
        let encryption = match application.settings.callback().encryption {
            Encryption::Off => "off",
            Encryption::Required => "A256GCM",
        };
        let outbound: Vec<String> = outbound.iter().map(ToString::to_string).collect();
        let outbound = if outbound.is_empty() {
            "not configured (egress.outbound_addresses)".to_owned()
        } else {
            outbound.join(", ")
        };
        let mut text = format!(
            "{}  {}\nstate         {}\nreceiving URL {}\npublic keys   {jwks}\noutbound IPs  {outbound}\nencryption    {encryption}\n\
             passwords     {}\nscope         {}\nsubscription  {}\nlimits        at most {} and {} a request, {} in flight\n\
             position      {} of {head}\n",
            application.id,
            application.name,
            application.state(),
            application.settings.callback().url,
            if application.settings.password_synchronization { "synchronized" } else { "not sent" },
            listed(&scope_names),
            scope::events(&current.subscription),
            counted(limits.max_events.into(), "event"),
            counted(limits.max_bytes.into(), "byte"),
            limits.lanes,
            application.position,
        );
        if let Some(suspension) = &application.suspended {
            text.push_str(&format!(
                "suspended     since {}, next probe {}: {}\n",
                time(suspension.since),
                time(suspension.next_probe),
                suspension.in_full()
            ));
        }
        if let Some(failing) = &failing {
            text.push_str(&format!("failing       {}\n", failing.words(now)));
        }
        if let Some(reason) = skips.reason() {
            text.push_str(&format!(
                "skips         {} of the last {LATELY} requests skipped by the endpoint: {reason}\n",
                counted(skips.count(), "event")
            ));
        }
        text.push_str(&keys::lines_of(&keys_of_it));
        text.push_str(&keys::line_of(&rotation).unwrap_or_default());
        for event in &parked {
            let state = match event.state {
                ParkedState::Retrying => "retrying",
                ParkedState::Held => "held",
                ParkedState::Failed => "FAILED",
            };
            text.push_str(&format!(
                "{state:<13} {} {} {} {}\n",
                event.event_id,
                event.event_type.short(),
                event.subject_id,
                event.message.as_deref().unwrap_or_default()
            ));
        }
        if jobs.is_empty() {
            text.push_str(&format!("never synchronized: run rollcall app sync {:?}\n", application.name));
        }
        for note in &notes {
            text.push_str(&format!("note          {note}\n"));
        }
        for job in &jobs {
            text.push_str(&format!("job           {}\n", delivery::line_of(job)));
        }
        text
    });
    Ok(ExitCode::SUCCESS)
}

async fn set(
    hub: &Hub,
    out: &Output,
    config: &Config,
    app: &str,
    name: Option<String>,
    url: Option<String>,
    push: PushArgs,
) -> Result<ExitCode> {
    let id = find(hub, app).await?.id;
    let known = serving::known(hub, config).await?;
    let jwks = known.jwks_url(&id);
    let mut notes = Vec::new();
    if let Some(url) = &url {
        notes.extend(known.refusal(url).await?);
    }
    notes.extend(known.note());
    let patch = SettingsPatch { url, ..push.patch() };
    let key = push.encryption_key(hub)?;
    let shown = key.as_ref().filter(|_| push.encrypt).map(EncryptionKey::to_hex);
    let mut commands = Vec::new();
    if let Some(key) = key {
        let id = id.clone();
        commands.push(Command::SetEncryptionKey { id, key });
    }
    commands.push(Command::Update {
        id,
        name,
        settings: patch,
    });
    let applied = hub.apply_to_application(caller(), commands).await?;
    let changed = applied.iter().any(|applied| applied.changed);
    let application = applied.into_iter().last().map(|applied| applied.application);
    let key = shown.as_ref().map(|key| key.as_str());
    let name = application
        .as_ref()
        .map(|application| application.name.clone())
        .unwrap_or_default();
    out.show(
        &json!({
            "application": application, "changed": changed, "jwksUrl": jwks, "notes": notes, "encryptionKey": key,
        }),
        || {
            let mut text = match changed {
                true => format!("{name} is changed\n"),
                false => format!("{name}: nothing to change\n"),
            };
            if let Some(key) = key {
                text.push_str(&shown_once(key));
            }
            text.push_str(&format!("public keys     {jwks}\n{}", noted(&notes)));
            text
        },
    );
    Ok(ExitCode::SUCCESS)
}
