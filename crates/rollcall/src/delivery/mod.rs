//! Delivery: from the change log to the applications.
//!
//! Three questions, each with a place of its own:
//! - [`plan`]: what is sent next, and what does an answer mean? Pure functions.
//! - [`route`] and [`send`]: how does it get there? Sealing, the HTTP client, tries and halving.
//! - [`ledger`]: what is true now? Whatever delivery decides is written there, behind a compare-and-set.
//!
//! One task follows the log ([`feed`]). Each application is delivered by one node, which holds its lease
//! ([`ledger::leases`]), by a [`worker`]: it takes the changes after the application's position, keeps what
//! the application is entitled to, seals and sends them, and settles the answer. Synchronization jobs
//! ([`job`]) take the log's place while they run.
//!
//! What holds, whatever fails:
//! - The position moves only over changes that were answered for, so nothing is lost while an endpoint,
//!   the hub or the database is down. A settlement that fails stops those behind it.
//! - A request is repeated with the same event ids until it is answered, so a receiver that remembers
//!   ids applies each event once.
//! - The order of a subject's events does not lean on what the receiver remembers: rounds follow one another,
//!   a subject keeps to one lane, and after an event that is wanted again everything later of its subject is
//!   sent again.
//! - A node that was taken for dead settles nothing and sends nothing.
//! - An endpoint that does not answer suspends its own application and no other; an event that is refused
//!   suspends nobody.

pub mod erase;
pub mod feed;
pub mod job;
pub mod ledger;
pub mod model;
pub mod plan;
pub mod retention;
pub mod route;
pub mod send;
pub mod skips;
pub mod status;
mod supervise;
mod ticks;
pub mod vitals;
mod worker;

pub use route::connectivity;

use std::sync::Arc;
use std::time::Duration;

use rollcall_db::{DbError, Dialect, params};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::access::Caller;
use crate::application::{keys, store};
use crate::change;
use crate::clock::Millis;
use crate::directory;
use crate::hub::Hub;
use feed::Feed;
use ledger::leases::Policy;
use model::Round;
use retention::Retention;
use send::egress::Egress;
use send::signing::{Place, Signing};
use vitals::Vitals;

/// How patient delivery is.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often a request is sent before its application is suspended: once and five times again.
    pub tries: u32,
    /// How often an event that the application wants again is sent before it is set aside.
    pub event_tries: u32,
    /// The pause after the first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause between tries.
    pub longest_pause: Duration,
    /// The longest pause that an application can ask for (`Retry-After`).
    pub longest_retry_after: Duration,
    /// The pause before a suspended application is first asked again; it doubles too.
    pub first_probe: Duration,
    /// The longest pause before a suspended application is asked again.
    pub longest_probe: Duration,
    /// The pause before a new signing key that was not accepted is tried again; it doubles too.
    pub first_trial_pause: Duration,
    /// The longest pause before a new signing key is tried again.
    pub longest_trial_pause: Duration,
    /// How often the log is looked at for what other processes committed.
    pub poll: Duration,
    /// How often an idle worker stores its cursor.
    pub idle: Duration,
    /// The pause before trying again when the database fails.
    pub database_pause: Duration,
    /// How often what is due by itself is done: expiry of accounts, locks, keys and secrets.
    pub housekeeping: Duration,
    /// How long a sealed password waits for the applications that it is meant for.
    pub password_retention: Duration,
    /// How long changes and attempts are kept.
    pub retention: Retention,
    /// How often what is older is removed.
    pub trim_every: Duration,
    /// After how long without a sign of life another node takes over what this one delivers.
    pub lease: Duration,
    /// Who else may deliver from this database. [`Delivery::start`] takes a database that is a file to belong to
    /// this process alone.
    pub policy: Policy,
    /// What this node is called for people.
    pub node_name: String,
    /// Where signatures are made.
    pub signing: Place,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tries: 6,
            event_tries: 5,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            longest_retry_after: Duration::from_secs(300),
            first_probe: Duration::from_secs(30),
            longest_probe: Duration::from_secs(900),
            first_trial_pause: Duration::from_secs(600),
            longest_trial_pause: Duration::from_secs(6 * 3_600),
            poll: Duration::from_millis(200),
            idle: Duration::from_secs(5),
            database_pause: Duration::from_secs(1),
            housekeeping: Duration::from_secs(5),
            password_retention: Duration::from_secs(24 * 3_600),
            retention: Retention::default(),
            trim_every: Duration::from_secs(600),
            lease: Duration::from_secs(15),
            policy: Policy::Shared,
            node_name: format!("process {}", std::process::id()),
            signing: Place::Threads,
        }
    }
}

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// The hub.
    pub hub: Hub,
    /// The way out.
    pub egress: Egress,
    /// What signs.
    pub signing: Signing,
    /// The log in memory.
    pub feed: Arc<Feed>,
    /// How patient delivery is.
    pub options: Options,
    /// Signs of life of the tasks.
    pub vitals: Vitals,
    /// One permit for each round that is being made.
    preparing: Semaphore,
    /// Room for sealed requests, in KiB.
    room: Arc<Semaphore>,
}

/// Room for sealed requests, in KiB: enough to keep any number of cores and lines busy.
const ROOM_KIB: u32 = 32 << 10;

/// How many rounds are made at once for each signing thread.
const PREPARING_PER_THREAD: usize = 8;

impl Shared {
    /// What sealing and sending a single request need, without a running delivery.
    ///
    /// # Errors
    /// What the database or the system reports.
    pub async fn for_one(hub: Hub, egress: Egress) -> Result<Arc<Self>, DbError> {
        Self::new(hub, egress, Options::default()).await
    }

    async fn new(hub: Hub, egress: Egress, options: Options) -> Result<Arc<Self>, DbError> {
        let feed = Feed::start(hub.db.clone(), options.poll).await?;
        let signing = Signing::start(options.signing).map_err(|error| DbError::Other(error.to_string()))?;
        let preparing = Semaphore::new(signing.threads() * PREPARING_PER_THREAD);
        Ok(Arc::new(Self {
            hub,
            egress,
            signing,
            feed,
            options,
            vitals: Vitals::default(),
            preparing,
            room: Arc::new(Semaphore::new(ROOM_KIB as usize)),
        }))
    }

    /// Waits until there is room for a round's requests.
    async fn room_for(&self, round: &Round) -> Option<OwnedSemaphorePermit> {
        // Encryption and twice base64 make it almost twice as long.
        let kib = round.bytes().saturating_mul(2) / 1_024 + 1;
        let kib = u32::try_from(kib).unwrap_or(ROOM_KIB).min(ROOM_KIB);
        Arc::clone(&self.room).acquire_many_owned(kib).await.ok()
    }

    /// A duration, a fifth longer or shorter at random, so that what failed together is not tried
    /// again together.
    fn jitter(&self, duration: Duration) -> Duration {
        let mut byte = [0_u8; 2];
        self.hub.random.fill(&mut byte);
        duration.mul_f64(0.8 + 0.4 * f64::from(u16::from_be_bytes(byte)) / f64::from(u16::MAX))
    }
}

/// A pause that doubles with every failure, up to a limit.
fn grown(first: Duration, failures: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << failures.min(20)).min(longest)
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX / 4)
}

/// The running delivery.
#[derive(Debug)]
pub struct Delivery {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Delivery {
    /// Starts to deliver to all applications that are switched on.
    ///
    /// # Errors
    /// What the database or the system reports.
    pub async fn start(hub: Hub, egress: Egress, mut options: Options) -> Result<Self, DbError> {
        if hub.db.dialect() == Dialect::Sqlite {
            options.policy = Policy::Sole;
        }
        let shared = Shared::new(hub, egress, options).await?;
        let (stop, stopped) = watch::channel(false);
        let tasks = vec![
            tokio::spawn(Arc::clone(&shared.feed).follow(stopped.clone(), shared.vitals.feed.begin())),
            tokio::spawn(supervise::supervise(Arc::clone(&shared), stopped.clone())),
            tokio::spawn(keep_house(Arc::clone(&shared), stopped)),
        ];
        Ok(Self { shared, stop, tasks })
    }

    /// What the workers share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Finishes the requests in flight, stores what came of them, and ends.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a delivery task failed");
            }
        }
    }
}

/// Does what is due by itself.
async fn keep_house(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let life = shared.vitals.housekeeping.begin();
    let mut next_trim = shared.hub.clock.now();
    loop {
        life.beat();
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(shared.options.housekeeping) => {}
        }
        if shared.hub.clock.now() >= next_trim {
            next_trim = shared.hub.clock.now() + millis(shared.options.trim_every);
            if let Err(error) =
                retention::trim(&shared.hub, shared.options.retention, &shared.hub.meters).await
            {
                tracing::warn!(%error, "what is old cannot be removed");
            }
        }
        if let Err(error) = shared
            .hub
            .apply(Caller::system("expiry"), directory::Command::ExpireDue)
            .await
        {
            tracing::warn!(%error, "accounts and locks that are due cannot be expired");
        }
        let now = shared.hub.clock.now();
        let oldest = now - millis(shared.options.password_retention);
        let done = shared
            .hub
            .db
            .write(move |tx| {
                keys::delete_retired(tx, now)?;
                let acknowledged = passwords_acknowledged(tx)?;
                change::erase_secrets(tx, acknowledged, oldest)
            })
            .await;
        if let Err(error) = done {
            tracing::warn!(%error, "retired keys and delivered passwords cannot be erased");
        }
    }
}

/// The position up to which every application that wants passwords has got them.
fn passwords_acknowledged(tx: &mut rollcall_db::Tx<'_>) -> Result<change::Seq, DbError> {
    if !change::has_secrets(tx)? {
        return Ok(0);
    }
    let mut position = change::head(tx)?.seq;
    for application in store::list(tx)? {
        if !application.settings.password_synchronization {
            continue;
        }
        position = position.min(application.position);
        let parked: Option<i64> = tx
            .query_one(
                "SELECT MIN(seq) FROM parked_events WHERE application_id = $1 AND state <> 'failed'",
                params![application.id.as_str()],
            )?
            .get(0)?;
        position = position.min(parked.map_or(position, |seq| seq - 1));
    }
    Ok(position)
}
