//! Keeps a worker for each application whose lease this node holds, and the leases alive.
//!
//! A worker that failed, which is a mistake of ours, is started again after a pause that grows while it goes on
//! failing: what it did before it failed, it may do each time it is started.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{self, JoinHandle, JoinSet};
use tokio::time::Instant;

use super::ledger::leases::{self, Held, Observed, Policy};
use super::plan::grown;
use super::shared::Shared;
use super::worker;
use crate::id;

struct Running {
    epoch: i64,
    started: Instant,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// An application whose worker failed, and is not started again yet.
struct Resting {
    /// How often it failed in a row.
    failures: u32,
    until: Instant,
}

struct Node {
    shared: Arc<Shared>,
    id: String,
    held: Held,
    observed: Observed,
    workers: BTreeMap<String, Running>,
    resting: BTreeMap<String, Resting>,
    /// Workers that end, after which what they delivered is given back.
    ending: JoinSet<()>,
    /// What they deliver. Nobody else may begin with that before they have ended: what they sent is still on its way.
    leaving: HashMap<task::Id, String>,
}

/// Runs until the hub stops.
pub(super) async fn supervise(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let ticks = shared.feed.ticks();
    let mut node = Node {
        id: String::new(),
        held: Held::new(),
        observed: Observed::default(),
        workers: BTreeMap::new(),
        resting: BTreeMap::new(),
        ending: JoinSet::new(),
        leaving: HashMap::new(),
        shared: Arc::clone(&shared),
    };
    let life = shared.vitals.supervisor.begin();
    let mut joined = false;
    while !*stopped.borrow() {
        let seen = ticks.now();
        if !joined {
            joined = node.join().await;
        }
        if joined {
            match node.beat().await {
                Ok(true) => life.beat(),
                Ok(false) if shared.options.policy == Policy::Shared => {
                    // What this node held was taken over while it could not be heard.
                    joined = false;
                    continue;
                }
                Ok(false) => {
                    tracing::error!("another process delivers from this database; this one does no more");
                    break;
                }
                Err(error) => tracing::warn!(%error, "the leases cannot be renewed; trying again"),
            }
        }
        let pause = if joined {
            shared.options.lease / 5
        } else {
            shared.options.database_pause
        };
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => {}
            _ = ticks.wait_for(|tick| tick.applications != seen.applications), if joined => {}
            () = tokio::time::sleep_until(node.next_start(Instant::now() + pause)) => {}
        }
    }
    node.stop_all().await;
    let id = node.id.clone();
    if let Err(error) = shared.hub.db.write(move |tx| leases::leave(tx, &id)).await {
        tracing::warn!(%error, "the leases are not given back; others take over when they run out");
    }
}

impl Node {
    async fn join(&mut self) -> bool {
        let hub = &self.shared.hub;
        let now = hub.clock.now();
        self.id = id::make("node", now, &*hub.random);
        self.observed = Observed::default();
        let (id, name, policy) = (
            self.id.clone(),
            self.shared.options.node_name.clone(),
            self.shared.options.policy,
        );
        match hub
            .db
            .write(move |tx| leases::join(tx, &id, &name, policy, now))
            .await
        {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "delivery cannot begin; trying again");
                false
            }
        }
    }

    /// Renews the leases and starts and stops workers accordingly. Returns whether this node is still alive
    /// in the eyes of the others.
    async fn beat(&mut self) -> Result<bool, rollcall_db::DbError> {
        let options = &self.shared.options;
        let begun = Instant::now();
        let id = self.id.clone();
        let beat = self
            .shared
            .hub
            .db
            .write(move |tx| leases::beat(tx, &id, &[]))
            .await?;
        if !beat.alive {
            self.held.lose();
            self.stop_all().await;
            return Ok(false);
        }
        self.held.extend(begun, options.lease, options.policy);
        let dead = self
            .observed
            .look(&beat.nodes, &self.id, Instant::now(), options.lease);
        let leases = if dead.is_empty() {
            beat.leases
        } else {
            for (node, _) in &dead {
                tracing::warn!(
                    node,
                    "a node is not heard any more; what it delivered is taken over"
                );
            }
            let id = self.id.clone();
            let taken = self
                .shared
                .hub
                .db
                .write(move |tx| leases::beat(tx, &id, &dead))
                .await?;
            taken.leases
        };
        self.reconcile(leases);
        Ok(true)
    }

    fn reconcile(&mut self, leases: BTreeMap<String, i64>) {
        let gone: Vec<_> = self
            .workers
            .iter()
            .filter(|(id, running)| leases.get(*id) != Some(&running.epoch) || running.task.is_finished())
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            let Some(running) = self.workers.remove(&id) else {
                continue;
            };
            running.stop.send_replace(true);
            if running.task.is_finished() && leases.get(&id) == Some(&running.epoch) {
                self.rest(id, running.started);
                continue;
            }
            let (shared, node) = (Arc::clone(&self.shared), self.id.clone());
            let leaving = id.clone();
            let ending = self.ending.spawn(async move {
                drop(running.task.await);
                let epoch = running.epoch;
                let released = shared
                    .hub
                    .db
                    .write(move |tx| leases::release(tx, &node, &id, epoch))
                    .await;
                if let Err(error) = released {
                    tracing::warn!(%error, "a lease is not given back; it is tried again");
                }
            });
            self.leaving.insert(ending.id(), leaving);
        }
        while let Some(ended) = self.ending.try_join_next_with_id() {
            let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
            self.leaving.remove(&id);
        }
        let now = Instant::now();
        self.resting.retain(|id, _| leases.contains_key(id));
        for (id, epoch) in leases {
            if self.leaving.values().any(|leaving| *leaving == id) {
                continue;
            }
            if self.resting.get(&id).is_some_and(|resting| resting.until > now) {
                continue;
            }
            self.workers.entry(id).or_insert_with_key(|id| {
                let (stop, stopped) = watch::channel(false);
                let task = tokio::spawn(worker::run(
                    Arc::clone(&self.shared),
                    id.clone(),
                    epoch,
                    self.held.clone(),
                    stopped,
                ));
                Running {
                    epoch,
                    started: now,
                    stop,
                    task,
                }
            });
        }
    }

    /// Notes that the worker of an application failed, and when it is started again.
    fn rest(&mut self, application_id: String, started: Instant) {
        let options = &self.shared.options;
        let now = Instant::now();
        // Whoever has worked for longer than the longest pause fails for the first time.
        let before = match self.resting.get(&application_id) {
            Some(resting) if now - started <= options.longest_pause => resting.failures,
            _ => 0,
        };
        let pause = grown(options.first_pause, before, options.longest_pause);
        tracing::error!(
            application = application_id,
            pause_ms = pause.as_millis(),
            "a delivery worker failed and is started again after a pause"
        );
        self.shared.vitals.worker_failed(&application_id, pause);
        let resting = Resting {
            failures: before + 1,
            until: now + pause,
        };
        self.resting.insert(application_id, resting);
    }

    /// When the next worker that rests is to be started, if that is before a time.
    fn next_start(&self, before: Instant) -> Instant {
        let now = Instant::now();
        let rests = self.resting.values().map(|resting| resting.until);
        rests.filter(|until| *until > now).fold(before, Instant::min)
    }

    /// Ends all workers; what is in flight is seen to its end.
    async fn stop_all(&mut self) {
        for running in self.workers.values() {
            running.stop.send_replace(true);
        }
        for (id, running) in std::mem::take(&mut self.workers) {
            if let Err(error) = running.task.await {
                tracing::error!(application = id, %error, "a delivery worker failed");
            }
        }
        while self.ending.join_next().await.is_some() {}
        self.leaving.clear();
    }
}
