//! Maintenance: what is due by itself, and what makes the hub forget.
//!
//! One task, [`Maintenance`], goes round every few seconds as long as the hub serves:
//!
//! | what | when | where |
//! |---|---|---|
//! | accounts and locks whose time is over expire, as changes like any other | every round | `directory`'s door |
//! | signing keys that have retired are removed | every round | `application::keys` |
//! | sealed passwords are erased once everybody has got them, or has been waited for too long | every round | [`passwords`] |
//! | old changes, attempts, jobs and entries of the audit log are removed | at the start, then every ten minutes | [`retention`] |
//! | sessions that have ended, and old failures to sign in, are removed | the same | `accounts` |
//!
//! What fails is logged and tried again in the next round. Every node of a shared database does all of this; each
//! step is a transaction that looks for what is due, so nothing is done twice.
//!
//! [`erasure`] is not due by itself: somebody asks for it.
//!
//! Delivery knows nothing of this module. What has to be removed from its state, the ledger removes.

pub mod erasure;
pub mod passwords;
pub mod retention;

use std::sync::Arc;
use std::time::Duration;

use rollcall_db::DbError;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::Caller;
use crate::accounts::sessions::{self, Lifetime};
use crate::accounts::throttle;
use crate::application::keys;
use crate::clock::Stopwatch;
use crate::delivery::vitals::{Life, Pulse, Sign};
use crate::directory::{Command, DirectoryError};
use crate::hub::Hub;
use retention::Retention;

/// When what is due.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often it is looked for what is due.
    pub every: Duration,
    /// How long a sealed password waits for the applications that it is meant for.
    pub password_retention: Duration,
    /// How long changes and attempts are kept.
    pub retention: Retention,
    /// How often what is older is removed.
    pub trim_every: Duration,
    /// How long sessions live.
    pub sessions: Lifetime,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(5),
            password_retention: Duration::from_secs(24 * 3_600),
            retention: Retention::default(),
            trim_every: Duration::from_secs(600),
            sessions: Lifetime::default(),
        }
    }
}

/// The maintenance of a hub, as those see it who watch it.
#[derive(Debug)]
pub struct Upkeep {
    hub: Hub,
    options: Options,
    pulse: Arc<Pulse>,
}

impl Upkeep {
    /// Of a hub. Nothing goes round until [`Maintenance::start`].
    pub fn new(hub: Hub, options: Options) -> Self {
        Self {
            hub,
            options,
            pulse: Arc::default(),
        }
    }

    /// Whether it goes round.
    pub fn sign(&self) -> Sign {
        self.pulse.sign()
    }

    /// How often it goes round.
    pub fn every(&self) -> Duration {
        self.options.every
    }

    /// How long sessions live.
    pub fn sessions(&self) -> Lifetime {
        self.options.sessions
    }

    async fn go_round(self: Arc<Self>, life: Life, mut stopped: watch::Receiver<bool>) {
        // Not by the wall clock, which may be set back.
        let mut trimmed: Option<Stopwatch> = None;
        loop {
            life.beat();
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                () = tokio::time::sleep(self.options.every) => {}
            }
            if trimmed.is_none_or(|trimmed| trimmed.elapsed() >= self.options.trim_every) {
                trimmed = Some(self.hub.clock.stopwatch());
                if let Err(error) = retention::trim(&self.hub, self.options.retention).await {
                    tracing::warn!(%error, "what is old cannot be removed");
                }
                if let Err(error) = self.forget_sessions().await {
                    tracing::warn!(%error, "sessions that have ended cannot be removed");
                }
            }
            if let Err(error) = self.expire().await {
                tracing::warn!(%error, "accounts and locks that are due cannot be expired");
            }
            if let Err(error) = self.erase_secrets().await {
                tracing::warn!(%error, "retired keys and delivered passwords cannot be erased");
            }
        }
    }

    async fn expire(&self) -> Result<(), DirectoryError> {
        let caller = Caller::system("expiry");
        self.hub.apply(caller, Command::ExpireDue).await.map(drop)
    }

    async fn forget_sessions(&self) -> Result<(), DbError> {
        let (now, lifetime) = (self.hub.clock.now(), self.options.sessions);
        let forgetting = self.hub.db.write(move |tx| {
            sessions::trim(tx, now, lifetime)?;
            throttle::trim(tx, now)
        });
        forgetting.await.map(drop)
    }

    async fn erase_secrets(&self) -> Result<(), DbError> {
        let (now, waits_at_most) = (self.hub.clock.now(), self.options.password_retention);
        self.hub
            .db
            .write(move |tx| {
                keys::delete_retired(tx, now)?;
                passwords::erase(tx, waits_at_most, now)
            })
            .await
    }
}

/// The running maintenance.
#[derive(Debug)]
pub struct Maintenance {
    upkeep: Arc<Upkeep>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Maintenance {
    /// Starts to do what is due.
    pub fn start(hub: Hub, options: Options) -> Self {
        let upkeep = Arc::new(Upkeep::new(hub, options));
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(Arc::clone(&upkeep).go_round(upkeep.pulse.begin(), stopped));
        Self { upkeep, stop, task }
    }

    /// What those see who watch it.
    pub fn upkeep(&self) -> &Arc<Upkeep> {
        &self.upkeep
    }

    /// Finishes what it is doing, and ends.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "maintenance failed");
        }
    }
}
