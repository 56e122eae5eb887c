//! Keeps a worker for each application whose lease this node holds, and the leases alive.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::ledger::leases::{self, Held, Observed, Policy};
use super::shared::Shared;
use super::worker;
use crate::id;

struct Running {
    epoch: i64,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

struct Node {
    shared: Arc<Shared>,
    id: String,
    held: Held,
    observed: Observed,
    workers: BTreeMap<String, Running>,
    /// Workers that end, after which what they delivered is given back.
    ending: JoinSet<()>,
}

/// Runs until the hub stops.
pub(super) async fn supervise(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let ticks = shared.feed.ticks();
    let mut node = Node {
        id: String::new(),
        held: Held::new(),
        observed: Observed::default(),
        workers: BTreeMap::new(),
        ending: JoinSet::new(),
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
            () = tokio::time::sleep(pause) => {}
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
                tracing::error!(application = id, "a delivery worker failed and is started again");
                self.shared.vitals.worker_failed(&id);
                continue;
            }
            let (shared, node) = (Arc::clone(&self.shared), self.id.clone());
            self.ending.spawn(async move {
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
        }
        while self.ending.try_join_next().is_some() {}
        for (id, epoch) in leases {
            self.workers.entry(id).or_insert_with_key(|id| {
                let (stop, stopped) = watch::channel(false);
                let task = tokio::spawn(worker::run(
                    Arc::clone(&self.shared),
                    id.clone(),
                    epoch,
                    self.held.clone(),
                    stopped,
                ));
                Running { epoch, stop, task }
            });
        }
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
    }
}
