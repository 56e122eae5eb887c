//! A process of the hub: it can be stopped, killed wherever it waits, and frozen.
//!
//! Each has an asynchronous runtime of its own, with a time of its own. It lives only while it is told to go on,
//! and whoever drops it kills it: its tasks end where they wait just then.

use std::sync::Arc;
use std::time::Duration;

use rollcall::clock::{Adjustment, Clock};
use rollcall::delivery::egress::{Egress, Peer};
use rollcall::delivery::ledger::leases::Policy;
use rollcall::delivery::signing::Place;
use rollcall::delivery::{Delivery, Options, Shared};
use rollcall::hub::{Hub, HubError, HubParts};
use rollcall::maintenance::{self, Maintenance};
use rollcall::secret::MasterKey;
use rollcall_db::testing::{Fault, Faults};
use tokio::runtime::Runtime;

use super::cable::Cable;
use super::network::Network;

pub(super) struct Node {
    pub(super) hub: Hub,
    pub(super) faults: Faults,
    delivery: Delivery,
    maintenance: Maintenance,
    adjustment: Adjustment,
    runtime: Runtime,
}

/// What a node is started with.
pub(super) struct Start<'a> {
    pub(super) name: &'static str,
    pub(super) database: &'a str,
    pub(super) now: i64,
    /// How far its clock is ahead of that.
    pub(super) ahead: i64,
    /// Whether there are others.
    pub(super) shared: bool,
    pub(super) commits: &'a [Fault],
    /// One of so many commits meets one of those.
    pub(super) one_in: u64,
}

/// A runtime whose time passes only when everybody in it waits.
pub(super) fn paused_runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

impl Node {
    pub(super) fn start(start: &Start<'_>, network: &Arc<Network>) -> Result<Self, HubError> {
        let runtime = paused_runtime();
        let faults = Faults::default();
        faults.at_random(network.dice.next(), start.one_in, start.commits);
        let (hub, delivery, maintenance, adjustment) = runtime.block_on(async {
            let right = Clock::of_runtime(start.now);
            let (clock, adjustment) = Clock::adjustable_of_runtime(start.now);
            adjustment.set(start.ahead);
            let parts = HubParts {
                database: start.database.to_owned(),
                clock: clock.clone(),
                random: Arc::new(network.dice.clone()),
                master: MasterKey::from_bytes(&[7; 32]),
                ali_uid: 1,
                root_name: "Company".to_owned(),
            };
            let options = rollcall_db::Options {
                faults: faults.one_by_one(),
                // The writer's patience passes in real time, which nobody needs here.
                unavailable_after: Duration::from_millis(1),
                ..rollcall_db::Options::default()
            };
            let hub = Hub::open_inline(parts, options).await?;
            super::invariants::watch_settlements(&hub, start.name).await?;
            let cable: Arc<dyn Peer> = Arc::new(Cable {
                network: Arc::clone(network),
                node: start.name,
                clock: right,
                faults: faults.clone(),
            });
            let options = Options {
                signing: Place::Inline,
                node_name: start.name.to_owned(),
                policy: if start.shared {
                    Policy::Shared
                } else {
                    Policy::Sole
                },
                owns_file: !start.shared,
                ..Options::default()
            };
            let egress = Egress::within(cable, clock);
            let delivery = Delivery::start(hub.clone(), egress, options).await?;
            let maintenance = Maintenance::start(hub.clone(), maintenance::Options::default());
            Ok::<_, HubError>((hub, delivery, maintenance, adjustment))
        })?;
        Ok(Self {
            hub,
            faults,
            delivery,
            maintenance,
            adjustment,
            runtime,
        })
    }

    /// Lets it do something at once; what it does in the background goes on only where that waits.
    pub(super) fn run<T>(&self, doing: impl Future<Output = T>) -> T {
        self.runtime.block_on(doing)
    }

    /// Lets it do something beside everything else.
    pub(super) fn beside<F>(&self, doing: impl FnOnce(Arc<Shared>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime.spawn(doing(Arc::clone(self.delivery.shared())));
    }

    /// What its parts share.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.delivery.shared()
    }

    /// Lets it live for a while.
    pub(super) fn live(&self, millis: u64) {
        self.run(async { tokio::time::sleep(Duration::from_millis(millis)).await });
    }

    /// Sets its clock so far ahead of the time, or back.
    pub(super) fn set_clock(&self, ahead: i64) {
        self.adjustment.set(ahead);
    }

    /// Lets it wake up after a time in which it was frozen.
    pub(super) fn wake(&self, after_millis: u64) {
        self.run(async { tokio::time::advance(Duration::from_millis(after_millis)).await });
    }

    /// Stops it as an administrator does.
    pub(super) fn stop(self) {
        let (delivery, maintenance) = (self.delivery, self.maintenance);
        self.runtime.block_on(async {
            maintenance.stop().await;
            delivery.stop().await;
        });
    }
}
