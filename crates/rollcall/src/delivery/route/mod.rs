//! How batches get to an application: the target, with everything that sealing and sending need, loaded at
//! one moment; and the route that its mode prescribes.

pub mod callback;
mod request;
pub mod scim;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rollcall_db::{DbError, Tx};
use rollcall_protocol::{Event, EventType, UserPayload};

pub(super) use self::callback::Judged;
pub use self::callback::SealError;
use self::callback::{Body, Callback};
pub(super) use self::request::{BreakOff, Going, Unsent};
pub use self::request::{Request, Sent};
use self::scim::Stop;
use super::egress::Exchange;
use super::egress::failure::Failure;
use super::ledger::parked::{self, Parked};
use super::ledger::{self, Fence, jobs};
use super::model::job::JobPosition;
use super::model::{Answered, Attempt, Batch, Origin, Outgoing, Source, Verdict, bare_record};
use super::shared::Shared;
use crate::application::keys::Candidate;
use crate::application::{Application, Entitlements, Mode, store};
use crate::change::{Change, Seq};
use crate::clock::Millis;
use crate::hub::Hub;
use crate::meter;
use crate::pace::Pace;

/// A body this close to its expiry is sealed again rather than sent.
const RESEAL_BEFORE: Millis = 60_000;

/// The protocol of the push.
#[derive(Debug)]
pub enum Route {
    /// Signed events, POSTed to the receiving URL.
    Callback(Callback),
    /// Requests of SCIM.
    Scim(Box<scim::Provider>),
}

/// An application with its route.
#[derive(Debug)]
pub struct Target {
    /// The application as it was when loaded.
    pub application: Application,
    /// What it is entitled to.
    pub entitlements: Entitlements,
    route: Route,
    pace: Pace,
}

/// What a worker starts from.
#[derive(Debug)]
pub struct Loaded {
    /// The target.
    pub target: Arc<Target>,
    /// What the next settlement builds upon.
    pub fence: Fence,
    /// The parked events, each with whom it follows ([`Outgoing::follows`]).
    pub parked: Vec<(Parked, Vec<String>)>,
    /// The open job, if there is one.
    pub job: Option<JobPosition>,
}

/// Says in an attempt what is to be known of the key that signed it: that this was its trial, or that the
/// answer names it, which only an application does that does not know it.
fn remark_on_key(attempt: &mut Attempt, source: Source, kid: &str) {
    let named = attempt.in_full().is_some_and(|text| text.contains(kid));
    if source == Source::KeyTrial {
        let named = if named { ", which the answer names" } else { "" };
        attempt.remark(&format!("trial of the new signing key {kid}{named}"));
    } else if named {
        attempt.remark(&format!(
            "the answer names {kid}, the key that signs: the application does not know it; restart it or update its pinned keys"
        ));
    }
}

impl Target {
    /// Loads an application with all that its delivery needs; `None` if it is gone or switched off, or if the
    /// lease of `epoch` is lost.
    ///
    /// # Errors
    /// What the database reports; also if a key does not open.
    pub fn load(
        tx: &mut Tx<'_>,
        application_id: &str,
        epoch: i64,
        hub: &Hub,
    ) -> Result<Option<Loaded>, DbError> {
        let application = match store::load(tx, application_id) {
            Ok(application) if application.synchronize => application,
            Ok(_) | Err(store::ApplicationError::NotFound(_)) => return Ok(None),
            Err(store::ApplicationError::Database(error)) => return Err(error),
            Err(error) => return Err(DbError::Other(error.to_string())),
        };
        let Some(standing) = ledger::standing(tx, application_id)?.filter(|it| it.epoch == epoch) else {
            return Ok(None);
        };
        Ok(Some(Loaded {
            target: Arc::new(Self::of(tx, application, hub)?),
            fence: Fence {
                application_id: application_id.to_owned(),
                epoch,
                revision: standing.revision,
            },
            parked: parked::list_with_members(tx, application_id)?,
            job: jobs::open_job(tx, application_id)?,
        }))
    }

    /// The signing key that waits for its trial.
    pub fn candidate(&self) -> Option<&Candidate> {
        match &self.route {
            Route::Callback(callback) => callback.candidate(),
            Route::Scim(_) => None,
        }
    }

    /// Loads what sealing and sending to an application need, whether or not it is switched on.
    ///
    /// # Errors
    /// What the database reports; also if a key does not open.
    pub fn of(tx: &mut Tx<'_>, application: Application, hub: &Hub) -> Result<Self, DbError> {
        let url = application
            .settings
            .validate(application.has_encryption_key)
            .map_err(|error| DbError::Other(format!("application {}: {error}", application.name)))?;
        let rate = application.settings.limits.requests_per_second;
        Ok(Self {
            entitlements: Entitlements::load(tx, &application.id)?,
            route: match &application.settings.mode {
                Mode::EventCallback(_) => {
                    Route::Callback(Callback::load(tx, &application, url, &hub.master)?)
                }
                Mode::Scim(scim) => {
                    let provider = scim::Provider::load(tx, &application, scim, hub)?;
                    Route::Scim(Box::new(provider))
                }
            },
            pace: Pace::new(rate.map(|rate| Duration::from_secs(1) / rate)),
            application,
        })
    }

    /// The application in the SCIM mode, if that is its mode.
    pub(super) fn provider(&self) -> Option<&scim::Provider> {
        match &self.route {
            Route::Callback(_) => None,
            Route::Scim(provider) => Some(provider),
        }
    }

    /// The receiving URL, or the base URL of SCIM.
    pub fn url(&self) -> &Url {
        match &self.route {
            Route::Callback(callback) => &callback.url,
            Route::Scim(provider) => provider.url(),
        }
    }

    /// Makes the event that a change is to this application; `None` if it gets none.
    pub fn outgoing(&self, change: &Arc<Change>) -> Option<Outgoing> {
        let event_type = self.entitlements.event_for(change)?;
        // Of somebody who was erased, only the deletion is still told.
        if change.is_erased() && event_type != EventType::UserDelete {
            return None;
        }
        Some(Outgoing {
            origin: Origin::Change(Arc::clone(change)),
            event_type,
            attempts: 0,
        })
    }

    /// Whether a change gives an organizational unit another name, where that is a part of what the application has of
    /// the unit's users. No change of theirs tells of it.
    pub(super) fn bears_on_users(&self, change: &Change) -> bool {
        match &self.route {
            Route::Callback(_) => false,
            // Few changes are of that kind, so that is asked first.
            Route::Scim(provider) => change.renames_unit() && provider.names_units(),
        }
    }

    /// Makes the event again that a parked one stands for.
    pub fn again(parked: &Parked, change: Option<Change>) -> Option<Outgoing> {
        let origin = match (change, &parked.record) {
            (Some(change), _) => Origin::Change(Arc::new(change)),
            (None, Some(record)) => Origin::Apart(Arc::new(Event {
                event_id: parked.event_id.clone(),
                event_type: parked.event_type.urn().to_owned(),
                event_time: parked.event_time,
                biz_id: parked.subject_id.clone(),
                biz_data: record.clone(),
            })),
            (None, None) => return None,
        };
        Some(Outgoing {
            origin,
            event_type: parked.event_type,
            attempts: parked.attempts,
        })
    }

    /// The event as it goes on the wire.
    fn event(&self, hub: &Hub, outgoing: &Outgoing) -> Event {
        match &outgoing.origin {
            Origin::Apart(event) => Event::clone(event),
            Origin::Change(change) => Event {
                event_id: change.event_id.clone(),
                event_type: outgoing.event_type.urn().to_owned(),
                event_time: change.time,
                biz_id: change.subject_id.clone(),
                biz_data: if change.is_erased() {
                    bare_record(change.subject_kind, &change.subject_id)
                } else {
                    self.with_password(hub, change, outgoing.event_type)
                        .unwrap_or_else(|| change.record.clone())
                },
            },
        }
    }

    /// The record with the password in it, if the change has one and the application is to get it.
    fn with_password(&self, hub: &Hub, change: &Change, event_type: EventType) -> Option<String> {
        let sealed = change.secret.as_deref()?;
        let wanted = self.application.settings.password_synchronization
            && matches!(event_type, EventType::UserCreate | EventType::UserUpdatePassword);
        if !wanted {
            return None;
        }
        let plain = hub
            .master
            .open(sealed, &format!("password/{}", change.subject_id))
            .ok()?;
        let mut user = UserPayload::from_json(&change.record).ok()?;
        user.password = Some(String::from_utf8(plain.to_vec()).ok()?.into());
        Some(user.to_json())
    }

    /// Makes a request ready to be sent; what is sealed, on the signing threads.
    ///
    /// # Errors
    /// [`SealError`].
    pub async fn prepare(
        self: &Arc<Self>,
        shared: &Shared,
        batch: Batch,
        source: Source,
        range: Option<(Seq, Seq)>,
    ) -> Result<Request, SealError> {
        let body = match &self.route {
            Route::Callback(_) => Some(self.seal(shared, source, Arc::clone(&batch.events)).await?),
            Route::Scim(_) => None,
        };
        Ok(Request {
            body,
            ..Request::new(batch, source, range)
        })
    }

    async fn seal(
        self: &Arc<Self>,
        shared: &Shared,
        source: Source,
        events: Arc<[Outgoing]>,
    ) -> Result<Body, SealError> {
        let target = Arc::clone(self);
        let hub = shared.hub.clone();
        shared
            .signing
            .run(move || {
                let events = events
                    .iter()
                    .map(|outgoing| target.event(&hub, outgoing))
                    .collect();
                match &target.route {
                    Route::Callback(callback) => callback.seal(&hub, &target.application.id, source, events),
                    Route::Scim(_) => Err(SealError::Seal("SCIM seals nothing".to_owned())),
                }
            })
            .await
            .unwrap_or_else(|| Err(SealError::Seal("a signing thread failed".to_owned())))
    }

    /// Sends a request once. A body that is missing or about to expire is sealed again.
    pub(super) async fn send(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        request: &mut Request,
        try_number: u32,
        going: &Going<'_>,
    ) -> Result<Sent, Unsent> {
        if let (Route::Scim(provider), false) = (&self.route, request.source == Source::Test) {
            return self.carry(provider, shared, request, try_number, going).await;
        }
        match self.try_once(shared, request, try_number).await {
            (Ok(Judged { verdicts, .. }), attempt) => Ok(Sent {
                answered: Answered {
                    events: Arc::clone(&request.batch.events),
                    verdicts,
                    asked: true,
                    attempt: Some(attempt),
                    remembered: Vec::new(),
                },
                rest: None,
            }),
            (Err(failure), attempt) => Err(Unsent::Failed(Box::new((failure, attempt)))),
        }
    }

    /// Sends a request as many: as far as it goes, its events are answered for.
    async fn carry(
        &self,
        provider: &scim::Provider,
        shared: &Arc<Shared>,
        request: &Request,
        try_number: u32,
        going: &Going<'_>,
    ) -> Result<Sent, Unsent> {
        let started_at = shared.hub.clock.now();
        let watch = shared.hub.clock.stopwatch();
        let carried = provider.carry(shared, going, &request.batch.events).await;
        let latency = watch.elapsed();
        let failure = match carried.stop {
            None => None,
            Some(Stop::Failure(failure)) => Some(failure),
            Some(Stop::Database(error)) => return Err(Unsent::Database(error)),
            Some(Stop::Broken(why)) => return Err(Unsent::Broken(why)),
        };
        let verdicts: Vec<Verdict> = carried
            .verdicts
            .into_iter()
            .map_while(|verdict| verdict)
            .collect();
        let (done, rest) = request.split_at(verdicts.len());
        let part = done.as_ref().unwrap_or(request);
        let mut attempt = self.attempt(part, try_number);
        attempt.started_at = started_at;
        attempt.latency_us = i64::try_from(latency.as_micros()).unwrap_or(i64::MAX);
        let answered_none = done.is_none() && failure.is_some();
        match &failure {
            Some(failure) if answered_none => attempt.fail(failure),
            failure => {
                attempt.http_status = Some(200);
                attempt.conclude(part.batch.events.iter().zip(&verdicts), None);
                attempt.remark(&format!("HTTP requests: {}", carried.requests));
                if let Some(failure) = failure {
                    attempt.remark(&format!("what followed was broken off: {failure}"));
                }
            }
        }
        self.log(&attempt, &part.batch);
        self.measure(shared, &attempt, &part.batch, latency);
        match failure {
            Some(failure) if answered_none => Err(Unsent::Failed(Box::new((failure, attempt)))),
            failure => Ok(Sent {
                answered: Answered {
                    events: Arc::clone(&part.batch.events),
                    verdicts,
                    asked: carried.requests > 0,
                    attempt: Some(attempt),
                    remembered: carried.remembered,
                },
                rest: rest.zip(failure),
            }),
        }
    }

    /// An attempt of which nothing is known but what is sent.
    fn attempt(&self, request: &Request, try_number: u32) -> Attempt {
        let lanes = self.application.settings.limits.lanes;
        let events = &request.batch.events;
        let lane = (request.batch.lane, lanes);
        let mut attempt = Attempt::new(request.source, request.range, lane, events.len());
        attempt.try_number = request.batch.sent_before() + try_number;
        attempt.carry(events);
        attempt
    }

    /// Sends a request once, and tells all that is known of what came back.
    pub(super) async fn try_once(
        self: &Arc<Self>,
        shared: &Shared,
        request: &mut Request,
        try_number: u32,
    ) -> (Result<Judged, Failure>, Attempt) {
        let mut attempt = self.attempt(request, try_number);
        self.pace.wait().await;
        let now = shared.hub.clock.now();
        attempt.started_at = now;
        let fresh = |body: &Body| body.expires_at - RESEAL_BEFORE >= now;
        if let Route::Scim(provider) = &self.route {
            let watch = shared.hub.clock.stopwatch();
            let nobody = request.batch.events.first().map_or("", Outgoing::event_id);
            let judged = provider.test(shared, nobody).await;
            let attempt = Self::concluded(request, attempt, &judged, watch.elapsed());
            self.log(&attempt, &request.batch);
            return (judged, attempt);
        }
        let body = match request.body.take().filter(fresh) {
            Some(body) => Ok(body),
            None => {
                self.seal(shared, request.source, Arc::clone(&request.batch.events))
                    .await
            }
        };
        let exchange = match &body {
            Ok(body) => {
                shared.hub.meters.sent_bytes.inc_by(body.bytes.len() as u64);
                shared.egress.post(self.url(), body.bytes.clone()).await
            }
            Err(error) => Exchange {
                result: Err(Failure::Unsealed(error.to_string())),
                latency: Duration::ZERO,
            },
        };
        request.body = body.ok();
        let latency = exchange.latency;
        let judged = exchange
            .result
            .and_then(|reply| callback::judge(&reply, &request.batch.events));
        let mut attempt = Self::concluded(request, attempt, &judged, latency);
        if let Some(body) = &request.body {
            remark_on_key(&mut attempt, request.source, &body.kid);
        }
        self.log(&attempt, &request.batch);
        self.measure(shared, &attempt, &request.batch, latency);
        (judged, attempt)
    }

    /// An attempt with what came of it.
    fn concluded(
        request: &Request,
        mut attempt: Attempt,
        judged: &Result<Judged, Failure>,
        latency: Duration,
    ) -> Attempt {
        attempt.latency_us = i64::try_from(latency.as_micros()).unwrap_or(i64::MAX);
        match judged {
            Ok(judged) => {
                attempt.http_status = Some(200);
                attempt.conclude(request.batch.events.iter().zip(&judged.verdicts), judged.foreign);
                if !judged.strangers.is_empty() {
                    let named = judged.strangers.join(", ");
                    attempt.remark(&format!("the answer names events that were not sent: {named}"));
                }
            }
            Err(failure) => attempt.fail(failure),
        }
        attempt
    }

    fn measure(&self, shared: &Shared, attempt: &Attempt, batch: &Batch, latency: Duration) {
        if [Source::Test, Source::KeyTrial]
            .map(Source::as_str)
            .contains(&attempt.source.as_str())
        {
            return;
        }
        let acknowledged = shared.hub.clock.now();
        let ages: Vec<_> = batch
            .events
            .iter()
            .map(|outgoing| acknowledged - outgoing.time())
            .collect();
        shared.hub.meters.attempt(&meter::Sent {
            application: &self.application.name,
            outcome: &attempt.outcome,
            seconds: latency.as_secs_f64(),
            results: [
                attempt.succeeded + attempt.assumed,
                attempt.skipped,
                attempt.failed,
                attempt.retried,
            ],
            ages: &ages,
        });
    }

    /// Logs a request without what the application wrote, which may tell of persons.
    fn log(&self, attempt: &Attempt, batch: &Batch) {
        let id = |outgoing: Option<&Outgoing>| outgoing.map(|it| it.event_id().to_owned());
        let (first, last) = (id(batch.events.first()), id(batch.events.last()));
        let (application, outcome) = (&self.application.id, &attempt.outcome);
        let (status, events, try_number) = (attempt.http_status, attempt.events, attempt.try_number);
        if attempt.was_received() && attempt.failed + attempt.retried == 0 {
            tracing::debug!(application, outcome, events, try_number, first, last, "request");
        } else {
            let (failed, retried) = (attempt.failed, attempt.retried);
            tracing::info!(
                application,
                outcome,
                status,
                events,
                failed,
                retried,
                try_number,
                first,
                last,
                "request"
            );
        }
    }
}
