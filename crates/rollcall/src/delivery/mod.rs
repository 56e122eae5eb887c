//! Delivery: from the change log to the applications.
//!
//! Three questions, each with a place of its own:
//! - [`plan`]: what is sent next, and what does an answer mean? Pure functions.
//! - [`route`], [`egress`] and `send`: how does it get there? Sealing, the HTTP client, tries and halving.
//! - [`ledger`]: what is true now? Whatever delivery decides is written there, behind a compare-and-set.
//!
//! One task follows the log ([`feed`]). Each application is delivered by one node, which holds its lease
//! ([`ledger::leases`]), by a [`worker`]: it takes the changes after the application's position, keeps what
//! the application is entitled to, seals and sends them, and settles the answer. Synchronization jobs
//! ([`job`]) take the log's place while they run. What an application has can be compared with what it should have, and
//! repaired ([`comparison`]).
//!
//! Its parts use one another in one direction: `egress`, `signing`, `ticks`, `vitals` ← `model` ← `plan`, `ledger` ←
//! `contents`, `feed`, `shared` ← `route` ← `job`, `send`, `connectivity` ← `comparison` ← `worker` ← `supervise`.
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

pub mod comparison;
pub mod connectivity;
pub mod contents;
pub mod egress;
pub mod feed;
pub mod job;
pub mod ledger;
pub mod model;
mod options;
pub mod plan;
pub mod route;
mod send;
mod shared;
pub mod signing;
pub mod status;
mod supervise;
mod ticks;
pub mod vitals;
mod worker;

pub use options::Options;
pub use shared::Shared;

use std::sync::Arc;

use rollcall_db::{DbError, Dialect};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::hub::Hub;
use egress::Egress;
use ledger::leases::Policy;

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
        if options.owns_file && hub.db.dialect() == Dialect::Sqlite {
            options.policy = Policy::Sole;
        }
        let shared = Shared::new(hub, egress, options).await?;
        let (stop, stopped) = watch::channel(false);
        let tasks = vec![
            tokio::spawn(Arc::clone(&shared.feed).follow(stopped.clone(), shared.vitals.feed.begin())),
            tokio::spawn(supervise::supervise(Arc::clone(&shared), stopped)),
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
