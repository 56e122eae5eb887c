//! `rollcall app`.

mod compare;
pub(super) mod delivery;
mod developer;
mod scim;
pub(super) mod scope;

use std::borrow::Cow;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use rollcall_protocol::{EncryptionKey, SystemRandom};
use serde_json::json;

use super::args::{App, PushArgs, ScimArgs, ScopeArgs};
use super::backend::{Backend, Changed, Changes, New, Whole};
use super::failure::Refusal;
use super::keys;
use super::output::{Output, counted, listed, note, time};
use crate::api::{DetailedApplication, LATELY, ListedApplication, NamedScope, SigningKeys};
use crate::application::written::ScopeNames;
use crate::application::{Application, Encryption, SettingsPatch, Subscription};
use crate::change;
use crate::delivery::ledger::parked::ParkedState;

pub(super) async fn run(backend: &Backend, out: &Output, verb: App) -> Result<ExitCode> {
    match verb {
        App::Create {
            name,
            url,
            scope,
            push,
            scim,
        } => create(backend, out, name, url, scope, (push, *scim)).await,
        App::List => list(backend, out).await,
        App::Show { app } => show(backend, out, &app).await,
        App::Set {
            app,
            name,
            url,
            push,
            scim,
        } => set(backend, out, &app, name, url, (push, *scim)).await,
        App::Preview {
            app,
            users,
            url,
            scim: args,
        } => scim::preview(backend, out, &app, users, url, &args).await,
        App::Scope(change) => scope::scope(backend, out, change).await,
        App::Subscription(change) => scope::subscription(backend, out, change).await,
        App::Test { app, probe, apply } => delivery::test(backend, out, &app, (probe, apply)).await,
        App::Sync { app, detach } => delivery::sync(backend, out, &app, detach).await,
        App::Compare(args) => compare::compare(backend, out, args).await,
        App::Repair(args) => compare::repair(backend, out, args).await,
        App::Cancel { app } => delivery::cancel(backend, out, &app).await,
        App::Pause { app } => delivery::switch(backend, out, &app, false).await,
        App::Resume { app } => delivery::switch(backend, out, &app, true).await,
        App::Api { verb } => developer::run(backend, out, verb).await,
        App::Key { verb } => keys::run(backend, out, verb).await,
        App::Resend { app, event } => delivery::resend(backend, out, &app, event).await,
        App::Skip { app, event } => delivery::skip(backend, out, &app, event).await,
        App::Dismiss { app, event, .. } => delivery::dismiss(backend, out, &app, event).await,
        App::Delete { app, confirm } => {
            let application = backend.application(&app).await?;
            if !confirm {
                let what = format!("this deletes {} with its keys and its history", application.name);
                bail!(Refusal::unconfirmed(what));
            }
            backend.delete_application(&application.id).await?;
            out.show(&json!({ "deleted": application.id }), || {
                format!("{} is deleted", application.name)
            });
            Ok(ExitCode::SUCCESS)
        }
    }
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
            mode: None,
            scim: None,
        }
    }

    /// The encryption key that was asked for: a new one, or one from a file.
    fn encryption_key(&self) -> Result<Option<EncryptionKey>> {
        if self.encrypt {
            return Ok(Some(EncryptionKey::generate(&SystemRandom)));
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
    backend: &Backend,
    out: &Output,
    name: String,
    url: String,
    scope: ScopeArgs,
    (push, scim): (PushArgs, ScimArgs),
) -> Result<ExitCode> {
    let key = push.encryption_key()?;
    let shown = key.as_ref().filter(|_| push.encrypt).map(EncryptionKey::to_hex);
    let subscription = match scope.events.is_empty() {
        true => Subscription::everything(),
        false => Subscription::of(scope.events),
    };
    let (units, groups) = (scope.units, scope.groups);
    let new = New {
        name,
        settings: scim.patch(SettingsPatch {
            url: Some(url),
            ..push.patch()
        })?,
        key,
        secret: scim.secret()?,
        scope: (!units.is_empty() || !groups.is_empty()).then_some(ScopeNames {
            organizational_units: units,
            groups,
        }),
        subscription,
    };
    let Changed {
        application,
        jwks_url: jwks,
        notes,
        ..
    } = backend.create_application(new).await?;
    let key = shown.as_ref().map(|key| key.as_str());
    out.show(
        &json!({ "application": application, "jwksUrl": jwks, "notes": notes, "encryptionKey": key }),
        || {
            let mut text = format!("application id  {}\n", application.id);
            let is_scim = application.settings.scim().is_some();
            if !is_scim {
                text.push_str(&format!("public keys     {jwks}\n"));
            }
            text.push_str(&noted(&notes));
            if let Some(key) = key {
                text.push_str(&shown_once(key));
            }
            text.push_str(match is_scim {
                true => "See with rollcall app preview what users are to it, then run: rollcall app test and rollcall app sync\n",
                false => {
                    "Configure the application with these, then run: rollcall app test and rollcall app sync\n"
                }
            });
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
    state: Cow<'static, str>,
    behind: change::Seq,
    /// Events that were set aside as failed.
    set_aside: u64,
    ever_synchronized: bool,
    scope: Vec<String>,
    subscription: Subscription,
}

impl From<ListedApplication> for Listed {
    fn from(listed: ListedApplication) -> Self {
        let standing = listed.standing;
        Self {
            application: listed.application,
            state: standing.state,
            behind: standing.behind,
            set_aside: standing.parked.failed,
            ever_synchronized: standing.ever_synchronized,
            scope: listed.scope.names,
            subscription: listed.subscription,
        }
    }
}

async fn list(backend: &Backend, out: &Output) -> Result<ExitCode> {
    let all: Vec<Listed> = backend
        .applications()
        .await?
        .into_iter()
        .map(Listed::from)
        .collect();
    if all.is_empty() && !out.json {
        note("no application; rollcall app create NAME --url URL adds one");
    }
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

async fn show(backend: &Backend, out: &Output, app: &str) -> Result<ExitCode> {
    let now = backend.now();
    let Whole {
        detailed,
        keys: SigningKeys {
            keys: keys_of_it,
            rotation,
        },
        head,
        parked,
        jobs,
    } = backend.whole_application(app).await?;
    let DetailedApplication {
        application,
        scope,
        subscription,
        jwks_url: jwks,
        outbound_addresses: outbound,
        failing,
        skipped_lately: skips,
        notes,
        ..
    } = detailed;
    let NamedScope {
        scope,
        names: scope_names,
    } = scope;
    let shown = json!({
        "application": application, "jwksUrl": jwks, "notes": notes, "outboundAddresses": outbound, "keys": keys_of_it,
        "keyRotation": rotation,
        "scope": scope, "scopeNames": scope_names, "subscription": subscription, "head": head,
        "failing": failing, "skippedLately": skips, "parkedEvents": parked, "synchronizations": jobs,
    });
    out.show(&shown, || {
        let limits = &application.settings.limits;
        let encryption = match application.settings.encryption() {
            Encryption::Off => "off",
            Encryption::Required => "A256GCM",
        };
        let outbound: Vec<String> = outbound.iter().map(ToString::to_string).collect();
        let outbound = if outbound.is_empty() {
            "not configured (egress.outbound_addresses)".to_owned()
        } else {
            outbound.join(", ")
        };
        let url = application.settings.url();
        let way = match application.settings.scim() {
            Some(scim) => {
                let lines = scim::lines_of(scim, application.has_secret);
                format!("base URL      {url}\noutbound IPs  {outbound}\n{lines}")
            }
            None => {
                let passwords = match application.settings.password_synchronization {
                    true => "synchronized",
                    false => "not sent",
                };
                format!(
                    "receiving URL {url}\npublic keys   {jwks}\noutbound IPs  {outbound}\nencryption    {encryption}\n\
                     passwords     {passwords}\n"
                )
            }
        };
        let mut text = format!(
            "{}  {}\nstate         {}\n{way}scope         {}\nsubscription  {}\nlimits        at most {} and {} a request, {} in flight\n\
             position      {} of {head}\n",
            application.id,
            application.name,
            application.state(),
            listed(&scope_names),
            scope::events(&subscription),
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
        // In the SCIM mode nothing is signed.
        if application.settings.scim().is_none() {
            text.push_str(&keys::lines_of(&keys_of_it));
            text.push_str(&keys::line_of(&rotation).unwrap_or_default());
        }
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
    backend: &Backend,
    out: &Output,
    app: &str,
    name: Option<String>,
    url: Option<String>,
    (push, scim): (PushArgs, ScimArgs),
) -> Result<ExitCode> {
    let key = push.encryption_key()?;
    let shown = key.as_ref().filter(|_| push.encrypt).map(EncryptionKey::to_hex);
    let changes = Changes {
        name,
        settings: scim.patch(SettingsPatch { url, ..push.patch() })?,
        key,
        secret: scim.secret()?,
    };
    let Changed {
        application,
        changed,
        jwks_url: jwks,
        notes,
    } = backend.update_application(app, changes).await?;
    let key = shown.as_ref().map(|key| key.as_str());
    let name = &application.name;
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
            if application.settings.scim().is_none() {
                text.push_str(&format!("public keys     {jwks}\n"));
            }
            text.push_str(&noted(&notes));
            text
        },
    );
    Ok(ExitCode::SUCCESS)
}
