//! From the commit to the acknowledgement: one change on an idle hub, and as much as goes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::Url;
use rollcall_protocol::{EncryptionKey, EventBatch, SealParams, Sealed, SigningKey, SystemRandom, seal};

use super::world::World;
use super::{Figure, Sorted, crypto, float};
use crate::application::{Application, Limits, keys::SigningKeys, store};
use crate::clock::Clock;
use crate::delivery::egress::Egress;
use crate::delivery::signing::{Place, Signing};

/// One event at a time, with pauses: how long until it is acknowledged?
pub(super) async fn idle() -> Result<Vec<Figure>> {
    const CHANGES: usize = 300;
    let world = World::new().await?;
    let users = world.users(10).await?;
    let applications = world.applications(1, Limits::default(), |_| "ok").await?;
    let bare = Bare::of(&world, &applications, 1).await?;
    let clock = Clock::system();
    let mut floors = Vec::new();
    for _ in 0..100 {
        let watch = clock.stopwatch();
        bare.once(0).await?;
        floors.push(watch.elapsed().as_secs_f64() * 1e3);
    }
    let signature = bare.signature()?;
    let delivery = world.deliver().await?;
    let mut acknowledged = delivery.shared().hub.meters.acknowledged();
    let mut times = Vec::new();
    for number in 0..CHANGES {
        let before = *acknowledged.borrow_and_update();
        world.change(&users, number).await?;
        let watch = clock.stopwatch();
        acknowledged.wait_for(|count| *count > before).await?;
        times.push(watch.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    delivery.stop().await;
    let (times, floor) = (Sorted::new(times), Sorted::new(floors).quantile(0.5));
    let p50 = times.quantile(0.5);
    Ok(vec![
        Figure::new("idle", "commit → acknowledged, p50", p50, "ms")
            .beside("seal + POST + verify", floor)
            .aims("at most the signature + 5 ms", p50 <= signature + 5.0),
        Figure::new("idle", "commit → acknowledged, p99", times.quantile(0.99), "ms")
            .beside("seal + POST + verify", floor),
    ])
}

/// As many events as go, over several applications, one a request and in batches.
pub(super) async fn throughput() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (applications, batch, changes) in [
        (1, 1, 3_000),
        (1, 100, 20_000),
        (16, 1, 300),
        (16, 100, 5_000),
        (1_000, 1, 15),
        (1_000, 100, 200),
    ] {
        let world = World::new().await?;
        let users = world.users(100).await?;
        let limits = Limits {
            max_events: batch,
            ..Limits::default()
        };
        let all = world.applications(applications, limits, |_| "ok").await?;
        // What can be in flight at once is what the applications allow.
        let bare = Arc::new(Bare::of(&world, &all, batch as usize).await?);
        let before = ceiling(&bare, applications).await?;
        let delivery = world.deliver().await?;
        let mut acknowledged = delivery.shared().hub.meters.acknowledged();
        // The first change opens the connections.
        world.change(&users, changes).await?;
        wait(&mut acknowledged, applications).await?;
        let watch = world.hub.clock.stopwatch();
        world.changes(&users, changes).await?;
        let events = changes * applications;
        wait(&mut acknowledged, applications + events).await?;
        let rate = float(events) / watch.elapsed().as_secs_f64();
        delivery.stop().await;
        let after = ceiling(&bare, applications).await?;
        let floor = before.midpoint(after);
        let name = match (applications, batch) {
            (1, 1) => "1 application, 1 event a request".to_owned(),
            (1, _) => format!("1 application, up to {batch} a request"),
            (_, 1) => format!("{applications} applications, 1 event a request"),
            _ => format!("{applications} applications, up to {batch} a request"),
        };
        let mut figure = Figure::new("deliver", name, rate, "events/s").beside("seal + POST + verify", floor);
        if applications > 1 {
            let least = if batch == 1 { 0.8 } else { 0.7 };
            let met = rate / floor >= least;
            figure = figure.aims(format!("at least {:.0} % of the floor", least * 100.0), met);
        }
        figures.push(figure);
    }
    Ok(figures)
}

/// How much is written to the disk for a delivery of one event, while a backlog is delivered to several
/// applications at once.
pub(super) async fn writes() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (applications, changes) in [(16, 300), (200, 30)] {
        let world = World::new().await?;
        let users = world.users(100).await?;
        let limits = Limits {
            max_events: 1,
            ..Limits::default()
        };
        world.applications(applications, limits, |_| "ok").await?;
        world.changes(&users, changes).await?;
        world.database_bytes().await?;
        let before = disk_writes()?;
        let delivery = world.deliver().await?;
        let mut acknowledged = delivery.shared().hub.meters.acknowledged();
        let deliveries = changes * applications;
        wait(&mut acknowledged, deliveries).await?;
        delivery.stop().await;
        // With what the write-ahead log brings into the file.
        world.database_bytes().await?;
        let bytes = float(disk_writes()? - before) / float(deliveries);
        figures.push(
            Figure::new(
                "writes",
                format!("written for a delivery, {applications} applications, 1 event a request"),
                bytes,
                "bytes",
            )
            .aims("at most 2,048 bytes", bytes <= 2_048.0),
        );
    }
    Ok(figures)
}

/// What this process has given to the disk so far, in bytes.
fn disk_writes() -> Result<usize> {
    let counts = std::fs::read_to_string("/proc/self/io").context("/proc/self/io")?;
    let written = counts.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(written.context("/proc/self/io counts no write_bytes")?.parse()?)
}

async fn wait(acknowledged: &mut tokio::sync::watch::Receiver<u64>, events: usize) -> Result<()> {
    let all = acknowledged.wait_for(|count| *count >= events as u64);
    tokio::time::timeout(Duration::from_secs(300), all)
        .await
        .context("not everything was acknowledged within five minutes")??;
    Ok(())
}

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
            let url = Url::parse(&application.settings.callback().url)?;
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
            egress: world.egress()?,
        })
    }

    /// The median time of a signature, in milliseconds.
    fn signature(&self) -> Result<f64> {
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

    async fn once(&self, application: usize) -> Result<()> {
        let sealed = self.seal(application).await?;
        self.post(application, sealed).await
    }
}
