//! What is done to the delivery to an application and to its keys, and how it stands.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::client::refused;
use super::{Backend, Database};
use crate::api::{
    ChangedApplication, DetailedApplication, DismissedEvents, NumberedAttempt, PushedEvents, SkippedEvent,
    SynchronizationId,
};
use crate::application::keys::NewKey;
use crate::application::{Application, ApplicationError, Command, Rotated, RotationStep, store};
use crate::cli::caller::caller;
use crate::cli::serving;
use crate::delivery::Shared;
use crate::delivery::connectivity::{self, Depth, Report};
use crate::delivery::job::{self, JobPosition};
use crate::delivery::ledger::attempts;
use crate::delivery::ledger::operate::{self, OperateError, Resent};
use crate::delivery::ledger::parked::{self, Parked};
use crate::delivery::model::Attempt;

/// A test of a connection, and how the application stands after it.
pub(in crate::cli) struct Tested {
    pub(in crate::cli) report: Report,
    pub(in crate::cli) application: Application,
    pub(in crate::cli) ever_synchronized: bool,
}

/// What is to be done with the signing keys of an application.
pub(in crate::cli) enum KeyStep {
    /// A new key is published, and tried after this time.
    Publish(Duration),
    /// A new key signs at once, and every other one is withdrawn.
    Replace,
    /// The new key is tried now.
    Try,
    /// The new key is withdrawn.
    Withdraw,
    /// The key before signs again.
    Revert,
}

/// What came of a push.
pub(in crate::cli) enum Pushed {
    /// These events are sent.
    Events(Vec<String>),
    /// The user is not in scope.
    NotInScope,
    /// The application does not want such events; why, as a sentence.
    NotSubscribed(String),
}

/// What is stored of an event.
pub(in crate::cli) struct Look {
    pub(in crate::cli) application: Application,
    /// The event, while it is parked.
    pub(in crate::cli) parked: Option<Parked>,
    /// The requests that carried it, oldest first.
    pub(in crate::cli) requests: Vec<Attempt>,
}

/// How many requests since are looked through for an event.
const REQUESTS: usize = 200;

/// Which events are meant, as the API reads it.
fn which(event: Option<&str>) -> serde_json::Value {
    match event {
        Some(event) => json!({ "eventIds": [event] }),
        None => json!({ "all": true }),
    }
}

impl Backend {
    /// Tests the connection to an application; `probes`: by trying it out.
    pub(in crate::cli) async fn test(&self, app: &str, probes: bool) -> Result<Tested> {
        match self {
            Self::Database(database) => test(database, self.application(app).await?.id, probes).await,
            Self::Server(client) => {
                let test = client.post(&["applications", app, "test"]);
                let report = test.with_some("probe", probes.then_some(true)).answer().await?;
                let after: DetailedApplication = client.get(&["applications", app]).answer().await?;
                Ok(Tested {
                    report,
                    application: after.application,
                    ever_synchronized: after.standing.ever_synchronized,
                })
            }
        }
    }

    /// Asks for a full synchronization. Returns its id.
    pub(in crate::cli) async fn synchronize(&self, application_id: &str) -> Result<String> {
        match self {
            Self::Database(database) => {
                let id = application_id.to_owned();
                let requested = database
                    .hub
                    .write_as(caller(), move |tx, ctx| job::request_full(tx, ctx, &id));
                Ok(requested.await?)
            }
            Self::Server(client) => {
                let start = client.post(&["applications", application_id, "synchronizations"]);
                let started: SynchronizationId = start.once().answer().await?;
                Ok(started.id)
            }
        }
    }

    /// A synchronization of an application.
    pub(in crate::cli) async fn job(&self, application_id: &str, job_id: &str) -> Result<JobPosition> {
        match self {
            Self::Database(database) => {
                let id = job_id.to_owned();
                let job = database.hub.db.read(move |tx| job::load(tx, &id)).await?;
                job.context("the synchronization was deleted with its application")
            }
            Self::Server(client) => {
                let path = ["applications", application_id, "synchronizations", job_id];
                client.get(&path).answer().await
            }
        }
    }

    /// Cancels the synchronization that is under way. Returns its id.
    pub(in crate::cli) async fn cancel(&self, app: &str) -> Result<String> {
        match self {
            Self::Database(database) => {
                let id = self.application(app).await?.id;
                let cancelled = database
                    .hub
                    .write_as(caller(), move |tx, ctx| job::cancel(tx, ctx, &id))
                    .await?;
                Ok(cancelled)
            }
            Self::Server(client) => {
                let path = ["applications", app, "synchronizations", "cancel"];
                let cancelled: SynchronizationId = client.post(&path).answer().await?;
                Ok(cancelled.id)
            }
        }
    }

    /// Pushes to an application again, or stops.
    pub(in crate::cli) async fn switch(&self, application_id: &str, on: bool) -> Result<Application> {
        match self {
            Self::Database(database) => {
                let (hub, id) = (&database.hub, application_id.to_owned());
                if !on {
                    let pause = Command::DisableSynchronization { id };
                    return Ok(hub.apply_application(caller(), pause).await?.application);
                }
                let resumed = hub.write_as(caller(), move |tx, ctx| operate::resume(tx, ctx, &id));
                Ok(resumed.await?)
            }
            Self::Server(client) => {
                let verb = if on { "resume" } else { "pause" };
                let changed: ChangedApplication = client
                    .post(&["applications", application_id, verb])
                    .answer()
                    .await?;
                Ok(changed.application)
            }
        }
    }

    /// Sends events again that were set aside.
    pub(in crate::cli) async fn resend(&self, app: &str, event: Option<String>) -> Result<Resent> {
        match self {
            Self::Database(database) => {
                let id = self.application(app).await?.id;
                let resent = database.hub.write_as(caller(), move |tx, ctx| {
                    operate::resend(tx, ctx, &id, event.as_deref())
                });
                Ok(resent.await?)
            }
            Self::Server(client) => {
                let resend = client.post(&["applications", app, "events", "resend"]);
                resend.body(&which(event.as_deref()))?.answer().await
            }
        }
    }

    /// Sets an event aside: one that is named, or the next one. Returns its id.
    pub(in crate::cli) async fn skip(&self, application_id: &str, event: Option<String>) -> Result<String> {
        match self {
            Self::Database(database) => {
                let id = application_id.to_owned();
                let skipped = database.hub.write_as(caller(), move |tx, ctx| {
                    operate::skip(tx, ctx, &id, event.as_deref())
                });
                Ok(skipped.await?)
            }
            Self::Server(client) => {
                let skip = client.post(&["applications", application_id, "events", "skip"]);
                let skipped: SkippedEvent = skip.body(&json!({ "eventId": event }))?.answer().await?;
                Ok(skipped.skipped)
            }
        }
    }

    /// Forgets events that were set aside. Returns how many.
    pub(in crate::cli) async fn dismiss(&self, application_id: &str, event: Option<String>) -> Result<u32> {
        match self {
            Self::Database(database) => {
                let id = application_id.to_owned();
                let dismissed = database.hub.write_as(caller(), move |tx, ctx| {
                    operate::dismiss(tx, ctx, &id, event.as_deref())
                });
                Ok(dismissed.await?)
            }
            Self::Server(client) => {
                let dismiss = client.post(&["applications", application_id, "events", "dismiss"]);
                let dismissed: DismissedEvents = dismiss.body(&which(event.as_deref()))?.answer().await?;
                Ok(dismissed.dismissed)
            }
        }
    }

    /// Takes a step of the rotation of an application's keys.
    pub(in crate::cli) async fn rotate(&self, application_id: &str, step: KeyStep) -> Result<Rotated> {
        match self {
            Self::Database(database) => {
                let hub = &database.hub;
                let new_key = || NewKey::generate(hub.clock.now(), &*hub.random, &hub.master);
                let step = match step {
                    KeyStep::Publish(delay) => RotationStep::Publish {
                        key: new_key()?,
                        delay,
                    },
                    KeyStep::Replace => RotationStep::Replace { key: new_key()? },
                    KeyStep::Try => RotationStep::TryNow,
                    KeyStep::Withdraw => RotationStep::Withdraw,
                    KeyStep::Revert => RotationStep::Revert,
                };
                let id = application_id.to_owned();
                let rotate = Command::RotateSigningKey { id, step };
                let applied = hub.apply_application(caller(), rotate).await?;
                applied.rotated.context("the rotation names no key")
            }
            Self::Server(client) => {
                let (verb, body) = match step {
                    KeyStep::Publish(delay) => {
                        let hours = delay.as_secs_f64() / 3_600.0;
                        ("rotate", Some(json!({ "afterHours": hours })))
                    }
                    KeyStep::Replace => ("rotate", Some(json!({ "now": true }))),
                    KeyStep::Try => ("try", None),
                    KeyStep::Withdraw => ("cancel", None),
                    KeyStep::Revert => ("revert", None),
                };
                let mut step = client.post(&["applications", application_id, "keys", verb]);
                if let Some(body) = body {
                    step = step.body(&body)?;
                }
                step.answer().await
            }
        }
    }

    /// The newest request to an application, with its number.
    pub(in crate::cli) async fn newest_attempt(
        &self,
        application_id: &str,
    ) -> Result<Option<NumberedAttempt>> {
        match self {
            Self::Database(database) => {
                let id = application_id.to_owned();
                let newest = database.hub.db.read(move |tx| attempts::newest(tx, &id, 0, 1));
                let newest = newest.await?.into_iter().next();
                Ok(newest.map(|(number, attempt)| NumberedAttempt { number, attempt }))
            }
            Self::Server(client) => {
                let newest = client.get(&["applications", application_id, "attempts"]);
                Ok(client.list(newest, 1).await?.into_iter().next())
            }
        }
    }

    /// Sends what is true of a user now to an application, ahead of everything else.
    pub(in crate::cli) async fn push(&self, application_id: &str, user_id: &str) -> Result<Pushed> {
        match self {
            Self::Database(database) => {
                let (id, user) = (application_id.to_owned(), user_id.to_owned());
                let pushed = database
                    .hub
                    .write_as(caller(), move |tx, ctx| operate::push(tx, ctx, &id, &user));
                match pushed.await {
                    Ok(events) => Ok(Pushed::Events(events)),
                    Err(OperateError::NotInScope(_)) => Ok(Pushed::NotInScope),
                    Err(error @ OperateError::NotSubscribed(_)) => {
                        Ok(Pushed::NotSubscribed(error.to_string()))
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Self::Server(client) => {
                let push = client.post(&["applications", application_id, "users", user_id, "push"]);
                let error = match push.answer().await {
                    Ok(PushedEvents { events }) => return Ok(Pushed::Events(events)),
                    Err(error) => error,
                };
                match refused(&error).map(|refused| refused.code.as_ref()) {
                    Some("not_in_scope") => Ok(Pushed::NotInScope),
                    Some("not_subscribed") => Ok(Pushed::NotSubscribed(error.to_string())),
                    _ => Err(error),
                }
            }
        }
    }

    /// What became of an event, in the requests after one of them.
    pub(in crate::cli) async fn look_for(
        &self,
        application_id: &str,
        event_id: &str,
        after: i64,
    ) -> Result<Look> {
        let (application, parked, requests) = match self {
            Self::Database(database) => {
                let id = application_id.to_owned();
                let read = database.hub.db.read(move |tx| {
                    let requests = attempts::newest(tx, &id, after, REQUESTS)?;
                    let requests = requests.into_iter().map(|(_, attempt)| attempt).collect();
                    Ok::<_, ApplicationError>((store::load(tx, &id)?, parked::list(tx, &id)?, requests))
                });
                read.await?
            }
            Self::Server(client) => {
                // First what is parked, and then what was sent: an event that is in neither was settled in between,
                // and is looked for again.
                let events = client.get(&["applications", application_id, "events"]);
                let parked: Vec<Parked> = client.list(events, usize::MAX).await?;
                let requests = self
                    .attempts(application_id, (after, REQUESTS), (false, 0))
                    .await?;
                let requests: Vec<Attempt> = requests
                    .found
                    .into_iter()
                    .map(|numbered| numbered.attempt)
                    .collect();
                (self.application(application_id).await?, parked, requests)
            }
        };
        let carries = |request: &Attempt| request.carried.iter().any(|carried| carried.event_id == event_id);
        Ok(Look {
            application,
            parked: parked.into_iter().find(|event| event.event_id == event_id),
            requests: requests.into_iter().rev().filter(carries).collect(),
        })
    }
}

async fn test(database: &Database, id: String, probes: bool) -> Result<Tested> {
    let Database { hub, config } = database;
    let egress = serving::known(hub, config).await?.egress()?;
    let shared = Shared::for_one(hub.clone(), egress).await?;
    let depth = match probes {
        true => Depth::TryingOut,
        false => Depth::Asking,
    };
    let report = connectivity::test_with(&shared, &id, depth).await?;
    let read = hub.db.read(move |tx| {
        let synchronized = !job::newest(tx, &id, 1)?.is_empty();
        Ok::<_, ApplicationError>((store::load(tx, &id)?, synchronized))
    });
    let (application, ever_synchronized) = read.await?;
    Ok(Tested {
        report,
        application,
        ever_synchronized,
    })
}
