//! The link to one application: everything that sealing and sending need, loaded at one moment.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use reqwest::Url;
use rollcall_db::{DbError, Tx};
use rollcall_protocol::{Answer, EncryptionKey, Event, EventBatch, Reading, SealParams, UserPayload, seal};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Shared;
use super::attempt::Attempt;
use super::batch::{Draft, Origin, Outgoing, Source};
use super::egress::{Egress, Exchange, Failure};
use super::erase;
use super::job::{self, JobPosition};
use super::park::{Parked, Waiting};
use crate::application::keys::SigningKeys;
use crate::application::{Application, Encryption, Entitlements, store};
use crate::change::{Change, Seq};
use crate::clock::Millis;
use crate::hub::Hub;
use crate::meter::Sent;
use crate::secret::MasterKey;
use rollcall_protocol::EventType;

/// A body this close to its expiry is sealed again rather than sent.
const RESEAL_BEFORE: Millis = 60_000;

/// An application with its keys.
#[derive(Debug)]
pub struct Link {
    /// The application as it was when loaded.
    pub application: Application,
    /// What it is entitled to.
    pub entitlements: Entitlements,
    url: Url,
    signing_keys: SigningKeys,
    encryption_key: Option<Arc<EncryptionKey>>,
    next_slot: Mutex<Option<Instant>>,
}

/// What a worker starts from.
#[derive(Debug)]
pub struct Loaded {
    /// The link.
    pub link: Arc<Link>,
    /// The parked events that wait.
    pub waiting: Waiting,
    /// The open job, if there is one.
    pub job: Option<JobPosition>,
}

/// A request that is ready to be sent.
#[derive(Debug)]
pub struct Request {
    /// What it carries.
    pub draft: Draft,
    /// Where its events come from.
    pub source: Source,
    /// The range of the log that it covers.
    pub range: Option<(Seq, Seq)>,
    /// None while the application is suspended: then it would only take memory.
    body: Option<Body>,
}

impl Request {
    /// Forgets the sealed body. It is sealed again when the request is sent.
    pub fn shed(&mut self) {
        self.body = None;
    }
}

#[derive(Clone, Debug)]
struct Body {
    /// Shared by the tries.
    bytes: Bytes,
    expires_at: Millis,
}

/// Why a request cannot even be sealed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LinkError {
    /// There is no key to sign with.
    #[error("the application has no signing key; rotate its key to make one")]
    NoSigningKey,
    /// Encryption is required and there is no key.
    #[error("the application requires encryption and has no encryption key; set one")]
    NoEncryptionKey,
    /// The envelope cannot be made.
    #[error("the events cannot be sealed: {0}")]
    Seal(String),
}

impl Link {
    /// Loads an application with all that its delivery needs; `None` if it is gone or switched off.
    ///
    /// # Errors
    /// What the database reports; also if a key does not open.
    pub fn load(
        tx: &mut Tx<'_>,
        application_id: &str,
        now: Millis,
        master: &MasterKey,
    ) -> Result<Option<Loaded>, DbError> {
        let application = match store::load(tx, application_id) {
            Ok(application) if application.synchronize => application,
            Ok(_) | Err(store::ApplicationError::NotFound(_)) => return Ok(None),
            Err(store::ApplicationError::Database(error)) => return Err(error),
            Err(error) => return Err(DbError::Other(error.to_string())),
        };
        let link = Self::of(tx, application, now, master)?;
        let waiting = Waiting::load(tx, application_id)?;
        let job = job::open_job(tx, application_id)?;
        Ok(Some(Loaded {
            link: Arc::new(link),
            waiting,
            job,
        }))
    }

    /// Loads what sealing and sending to an application need, whether or not it is switched on.
    ///
    /// # Errors
    /// What the database reports; also if a key does not open.
    pub fn of(
        tx: &mut Tx<'_>,
        application: Application,
        now: Millis,
        master: &MasterKey,
    ) -> Result<Self, DbError> {
        let url = application
            .settings
            .validate(application.has_encryption_key)
            .map_err(|error| DbError::Other(format!("application {}: {error}", application.name)))?;
        Ok(Self {
            entitlements: Entitlements::load(tx, &application.id)?,
            signing_keys: SigningKeys::load(tx, &application.id, now, master)?,
            encryption_key: store::encryption_key(tx, &application.id, master)?.map(Arc::new),
            application,
            url,
            next_slot: Mutex::new(None),
        })
    }

    /// The receiving URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Makes the event that a change is to this application; `None` if it gets none.
    pub fn outgoing(&self, change: &Arc<Change>) -> Option<Outgoing> {
        let event_type = self.entitlements.at(change.seq).event_for(change)?;
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
                    erase::record_of(&change.subject_id)
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

    /// Seals a request on the signing threads.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn prepare(
        self: &Arc<Self>,
        shared: &Shared,
        draft: Draft,
        source: Source,
        range: Option<(Seq, Seq)>,
    ) -> Result<Request, LinkError> {
        let body = self.seal(shared, Arc::clone(&draft.events)).await?;
        Ok(Request {
            draft,
            source,
            range,
            body: Some(body),
        })
    }

    async fn seal(self: &Arc<Self>, shared: &Shared, events: Arc<[Outgoing]>) -> Result<Body, LinkError> {
        let link = Arc::clone(self);
        let hub = shared.hub.clone();
        let meters = Arc::clone(&shared.hub.meters);
        shared
            .signing
            .run(move || {
                let watch = hub.clock.stopwatch();
                let now = hub.clock.now();
                let key = link.signing_keys.at(now).ok_or(LinkError::NoSigningKey)?;
                let encryption = match link.application.settings.callback().encryption {
                    Encryption::Off => None,
                    Encryption::Required => {
                        Some(link.encryption_key.as_deref().ok_or(LinkError::NoEncryptionKey)?)
                    }
                };
                let batch = EventBatch {
                    instance_id: hub.instance.id.clone(),
                    event_version: "V1.0".to_owned(),
                    ali_uid: hub.instance.ali_uid.clone(),
                    events: events.iter().map(|outgoing| link.event(&hub, outgoing)).collect(),
                };
                let sealed = seal(
                    &batch,
                    &SealParams {
                        key,
                        instance_id: &hub.instance.id,
                        application_id: &link.application.id,
                        encryption,
                        now_ms: now,
                        random: &*hub.random,
                    },
                )
                .map_err(|error| LinkError::Seal(error.to_string()))?;
                meters.sealing.observe(watch.elapsed().as_secs_f64());
                Ok(Body {
                    bytes: sealed.body.into(),
                    expires_at: sealed.expires_at_ms,
                })
            })
            .await
            .unwrap_or_else(|| Err(LinkError::Seal("a signing thread failed".to_owned())))
    }

    /// Sends a request once. A body that is about to expire is sealed again; otherwise the same bytes go
    /// out at every try.
    pub async fn send(
        self: &Arc<Self>,
        shared: &Shared,
        request: &mut Request,
        try_number: u32,
    ) -> (Attempt, Result<Reading, Failure>) {
        let lanes = self.application.settings.limits.lanes;
        let mut attempt = Attempt::new(
            request.source,
            request.range,
            (request.draft.lane, lanes),
            request.draft.events.len(),
        );
        attempt.try_number = try_number;
        self.pace().await;
        let now = shared.hub.clock.now();
        attempt.started_at = now;
        let fresh = |body: &Body| body.expires_at - RESEAL_BEFORE >= now;
        let body = match request.body.take().filter(fresh) {
            Some(body) => Ok(body),
            None => self.seal(shared, Arc::clone(&request.draft.events)).await,
        };
        let exchange = match &body {
            Ok(body) => {
                shared.hub.meters.sent_bytes.inc_by(body.bytes.len() as u64);
                self.post(&shared.egress, body).await
            }
            Err(error) => Exchange {
                result: Err(Failure::Unsealed(error.to_string())),
                latency: Duration::ZERO,
            },
        };
        request.body = body.ok();
        attempt.latency_us = i64::try_from(exchange.latency.as_micros()).unwrap_or(i64::MAX);
        match &exchange.result {
            Ok(reading) => attempt.deliver(&confined(reading, &request.draft)),
            Err(failure) => attempt.fail(failure),
        }
        self.log(&attempt, &request.draft);
        let acknowledged = shared.hub.clock.now();
        let ages: Vec<_> = request
            .draft
            .events
            .iter()
            .map(|outgoing| acknowledged - outgoing.time())
            .collect();
        shared.hub.meters.attempt(&Sent {
            application: &self.application.name,
            outcome: &attempt.outcome,
            seconds: exchange.latency.as_secs_f64(),
            results: [
                attempt.succeeded,
                attempt.skipped,
                attempt.failed,
                attempt.retried,
            ],
            ages: &ages,
        });
        (attempt, exchange.result)
    }

    /// Logs a request without what the application wrote, which may tell of persons.
    fn log(&self, attempt: &Attempt, draft: &Draft) {
        let id = |outgoing: Option<&Outgoing>| outgoing.map(|it| it.event_id().to_owned());
        let (first, last) = (id(draft.events.first()), id(draft.events.last()));
        let (application, outcome) = (&self.application.id, &attempt.outcome);
        let (status, events, try_number) = (attempt.http_status, attempt.events, attempt.try_number);
        if outcome == "delivered" {
            tracing::debug!(application, outcome, events, try_number, first, last, "request");
        } else {
            tracing::info!(
                application,
                outcome,
                status,
                events,
                try_number,
                first,
                last,
                "request"
            );
        }
    }

    async fn post(&self, egress: &Egress, body: &Body) -> Exchange {
        egress.post(&self.url, body.bytes.clone()).await
    }

    /// Waits for the application's next turn, if its requests per second are limited.
    async fn pace(&self) {
        let Some(rate) = self.application.settings.limits.requests_per_second else {
            return;
        };
        let slot = {
            let mut next = self.next_slot.lock().await;
            let slot = next.map_or_else(Instant::now, |slot| slot.max(Instant::now()));
            *next = Some(slot + Duration::from_secs(1) / rate);
            slot
        };
        tokio::time::sleep_until(slot).await;
    }
}

/// The answer as far as it speaks of this request's events: what it says of others is ignored.
fn confined(reading: &Reading, draft: &Draft) -> Reading {
    let Reading::Understood(answer) = reading else {
        return reading.clone();
    };
    // Only the exceptions are looked at; whatever is not among them was accepted.
    let mut confined = Answer {
        skipped: answer.skipped.clone(),
        failed: answer.failed.clone(),
        retried: answer.retried.clone(),
        ..Answer::default()
    };
    if confined == Answer::default() {
        return Reading::Understood(confined);
    }
    let sent: HashSet<&str> = draft.events.iter().map(Outgoing::event_id).collect();
    for list in [&mut confined.skipped, &mut confined.failed, &mut confined.retried] {
        list.retain(|item| sent.contains(item.event_id.as_str()));
    }
    Reading::Understood(confined)
}
