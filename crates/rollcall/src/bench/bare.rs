//! The floor of delivery: the same events sealed, sent and verified without a hub.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use reqwest::Url;
use rollcall_protocol::{EncryptionKey, EventBatch, SealParams, Sealed, SigningKey, SystemRandom, seal};

use super::world::{self, World};
use super::{Sorted, crypto, float};
use crate::application::{Application, keys::SigningKeys, store};
use crate::clock::Clock;
use crate::delivery::egress::Egress;
use crate::delivery::signing::{Place, Signing};

/// How many events a second go without a hub: sealing on the signing threads, a request, verifying at the
/// other end. As in the hub, the next batch of a connection is sealed while one is in flight.
pub(super) async fn ceiling(bare: &Arc<Bare>, connections: usize) -> Result<f64> {
    const SECONDS: f64 = 3.0;
    let clock = Clock::system();
    let watch = clock.stopwatch();
    let mut running = Vec::new();
    for connection in 0..connections.min(64) {
        let (bare, clock) = (Arc::clone(bare), clock.clone());
        running.push(tokio::spawn(async move {
            let watch = clock.stopwatch();
            let mut sealed = bare.seal(connection).await?;
            let mut events = 0;
            while watch.elapsed().as_secs_f64() < SECONDS {
                let (sent, next) = tokio::join!(bare.post(connection, sealed), bare.seal(connection));
                sent?;
                sealed = next?;
                events += bare.batch.events.len();
            }
            Ok::<_, anyhow::Error>(events)
        }));
    }
    let mut events = 0;
    for connection in running {
        events += connection.await??;
    }
    Ok(float(events) / watch.elapsed().as_secs_f64())
}

/// The work without the hub.
pub(super) struct Bare {
    applications: Vec<(String, Url, Arc<SigningKey>, EncryptionKey)>,
    batch: Arc<EventBatch>,
    signing: Signing,
    egress: Egress,
}

impl Bare {
    pub(super) async fn of(world: &World, applications: &[Application], events: usize) -> Result<Self> {
        let batch = crypto::batch(events, world.hub.clock.now());
        Self::with(world, applications, batch).await
    }

    /// The work for a certain batch.
    pub(super) async fn with(world: &World, applications: &[Application], batch: EventBatch) -> Result<Self> {
        let mut known = Vec::new();
        for application in applications.iter().take(64) {
            let (id, hub) = (application.id.clone(), world.hub.clone());
            let (key, encryption_key) = world
                .hub
                .db
                .read(move |tx| {
                    let keys = SigningKeys::load(tx, &id, &hub.master)?;
                    Ok::<_, rollcall_db::DbError>((keys, store::encryption_key(tx, &id, &hub.master)?))
                })
                .await?;
            let key = Arc::clone(key.signing.as_ref().context("no signing key")?);
            let url = Url::parse(application.settings.url())?;
            known.push((
                application.id.clone(),
                url,
                key,
                encryption_key.context("no encryption key")?,
            ));
        }
        Ok(Self {
            applications: known,
            batch: Arc::new(batch),
            signing: Signing::start(Place::Threads)?,
            egress: world::egress()?,
        })
    }

    /// The median time of a signature, in milliseconds.
    pub(super) fn signature(&self) -> Result<f64> {
        let clock = Clock::system();
        let mut times = Vec::new();
        for _ in 0..100 {
            let watch = clock.stopwatch();
            self.applications[0]
                .2
                .sign(b"a message")
                .context("no signature")?;
            times.push(watch.elapsed().as_secs_f64() * 1e3);
        }
        Ok(Sorted::new(times).quantile(0.5))
    }

    async fn seal(&self, application: usize) -> Result<Sealed> {
        let (id, _, key, encryption_key) = self.applications[application].clone();
        let batch = Arc::clone(&self.batch);
        self.signing
            .run(move || {
                let params = SealParams {
                    key: &key,
                    instance_id: "idaas_benchmark",
                    application_id: &id,
                    encryption: Some(&encryption_key),
                    now_ms: Clock::system().now(),
                    random: &SystemRandom,
                };
                seal(&batch, &params)
            })
            .await
            .context("a signing thread failed")?
            .map_err(Into::into)
    }

    async fn post(&self, application: usize, sealed: Sealed) -> Result<()> {
        let exchange = self
            .egress
            .post(&self.applications[application].1, sealed.body.into())
            .await;
        exchange.result?;
        Ok(())
    }

    pub(super) async fn once(&self, application: usize) -> Result<()> {
        let sealed = self.seal(application).await?;
        self.post(application, sealed).await
    }
}
