//! An application that keeps no event ids and compares no times, and applies every event as it comes. Where it ends
//! up different from the hub, the hub has lost or reordered something.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Request;
use axum::middleware::{self, Next};
use rollcall::access::Caller;
use rollcall::application::{Application, Entitlements, Scope};
use rollcall::compare;
use rollcall::delivery::job::{self, JobPosition, JobStatus};
use rollcall::hub::Hub;
use rollcall_protocol::{EncryptionKey, EventType, GroupPayload, SystemRandom};
use rollcall_receiver::testing::{Arrival, Forgetful, router};
use rollcall_receiver::{KeySource, Receiver, Snapshot};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::plain::{jwks, settled, until};
use crate::world::add_application;

/// What stands before an endpoint and can hold a request up.
#[derive(Clone)]
pub(crate) struct Gate {
    arrived: Arc<AtomicU64>,
    held: Arc<watch::Sender<Option<u64>>>,
}

impl Gate {
    fn new() -> Self {
        Self {
            arrived: Arc::default(),
            held: Arc::new(watch::channel(None).0),
        }
    }

    async fn pass(&self) {
        let number = self.arrived.fetch_add(1, Ordering::SeqCst) + 1;
        let mut held = self.held.subscribe();
        held.wait_for(|held| *held != Some(number)).await.unwrap();
    }

    /// How many requests have arrived, with those that are held up.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::SeqCst)
    }

    /// Holds up one request, the one that arrives after so many others from now on. Returns its number.
    pub(crate) fn hold_after(&self, others: u64) -> u64 {
        let number = self.arrived() + others + 1;
        self.held.send_replace(Some(number));
        number
    }

    /// Waits until a request has arrived.
    pub(crate) async fn has(&self, number: u64) {
        until("the request arrives", async || self.arrived() >= number).await;
    }

    /// Lets go what is held up.
    pub(crate) fn open(&self) {
        self.held.send_replace(None);
    }
}

/// An application with its endpoint.
pub(crate) struct Simple {
    hub: Hub,
    pub(crate) application: Application,
    pub(crate) app: Forgetful,
    pub(crate) gate: Gate,
    server: JoinHandle<()>,
}

impl Drop for Simple {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Simple {
    /// An application for which `app` answers; encrypted.
    pub(crate) async fn new(hub: &Hub, name: &str, scope: Scope, app: Forgetful) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let key = EncryptionKey::generate(&SystemRandom);
        let application = add_application(hub, name, &url, Some(key.clone()), scope).await;
        let keys = serde_json::to_string(&jwks(hub, &application).await).unwrap();
        let receiver = Receiver::builder(KeySource::Document(keys), &application.id)
            .encryption_key(key)
            .build(app.clone())
            .unwrap();
        let gate = Gate::new();
        let passes = gate.clone();
        let pass = move |request: Request, next: Next| {
            let gate = passes.clone();
            async move {
                gate.pass().await;
                next.run(request).await
            }
        };
        let routes = router(Arc::new(receiver), "/events").layer(middleware::from_fn(pass));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            hub: hub.clone(),
            application,
            app,
            gate,
            server,
        }
    }

    /// Asks for a full synchronization; returns the job's id.
    pub(crate) async fn request_full(&self) -> String {
        request_full(&self.hub, &self.application).await
    }

    /// Waits for the end of a job.
    pub(crate) async fn ended(&self, job_id: &str) -> JobPosition {
        ended(&self.hub, job_id).await
    }

    /// Has everything pushed that is there.
    pub(crate) async fn synchronize(&self) {
        synchronize(&self.hub, &self.application).await;
    }

    /// What the application should have.
    pub(crate) async fn should_have(&self) -> Snapshot {
        let id = self.application.id.clone();
        let reading = self.hub.db.read(move |tx| {
            let scope = Entitlements::load(tx, &id)?.current().scope.clone();
            compare::in_scope(tx, &scope)
        });
        reading.await.unwrap()
    }

    /// Waits until everything is settled, and then for nothing else: what the application has is what it should.
    pub(crate) async fn is_right(&self) {
        settled(&self.hub, &self.application).await;
        let (should, has) = (self.should_have().await, self.app.snapshot());
        assert!(should == has, "{:#?}", should.differences(&has));
    }
}

/// Asks for a full synchronization; returns the job's id.
async fn request_full(hub: &Hub, application: &Application) -> String {
    let id = application.id.clone();
    let requested = hub.write_as(Caller::system("test"), move |tx, ctx| {
        job::request_full(tx, ctx, &id)
    });
    requested.await.unwrap()
}

/// Waits for the end of a job.
pub(crate) async fn ended(hub: &Hub, job_id: &str) -> JobPosition {
    let load = async || {
        let id = job_id.to_owned();
        let loaded = hub.db.read(move |tx| job::load(tx, &id)).await;
        loaded.unwrap().unwrap()
    };
    until("the job ends", async || load().await.is_finished()).await;
    load().await
}

/// Has everything pushed to an application that is there.
pub(crate) async fn synchronize(hub: &Hub, application: &Application) {
    let job_id = request_full(hub, application).await;
    assert_eq!(ended(hub, &job_id).await.status, JobStatus::Success);
}

/// What type of event came.
pub(crate) fn kind(arrival: &Arrival) -> Option<EventType> {
    EventType::parse(&arrival.event_type)
}

/// The users that a group's event names.
pub(crate) fn user_ids(arrival: &Arrival) -> Vec<String> {
    let group = GroupPayload::from_json(&arrival.biz_data).unwrap();
    group.user_ids.unwrap_or_default()
}

/// What an application holds, without the memberships of users whom it does not. The order is kept for each subject:
/// a membership is told with the group as its subject, and one that had to be told again may come after the user was
/// deleted, and means nothing then.
pub(crate) fn without_strangers(mut snapshot: Snapshot) -> Snapshot {
    let Snapshot { users, groups, .. } = &mut snapshot;
    for group in groups.values_mut() {
        group.members.retain(|id| users.contains_key(id));
    }
    snapshot
}
