//! Nodes, applications and time, and how they go on together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rollcall::access::Caller;
use rollcall::application::store;
use rollcall::application::{Command as AppCommand, Edit, Subscription};
use rollcall::delivery::Shared;
use rollcall::directory::{Command, NewUnit};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall_db::Lane;
use rollcall_db::testing::Fault;
use tokio::runtime::Runtime;

use super::chance::Dice;
use super::deeds::Backup;
use super::history::History;
use super::invariants::Seen;
use super::known::Known;
use super::network::Network;
use super::node::{Node, Start, paused_runtime};
use super::plan::{Deed, Kind, Plan, Step};
use super::tenants::Tenant;

/// How far nodes that live beside each other get apart at most, in milliseconds.
const SLICE: u64 = 200;

/// The same while nothing goes wrong any more.
const CALM_SLICE: u64 = 2_000;

/// A place for a process.
pub(super) struct Slot {
    name: &'static str,
    node: Option<Node>,
    down_until: i64,
    frozen_until: Option<i64>,
    /// How much time it has missed.
    missed: u64,
    /// How far its clock is ahead of the time.
    ahead: i64,
}

/// Lets one at a time do something that takes a while. A turn ends with whoever holds it, also if that is killed.
#[derive(Default)]
pub(super) struct Turns(Weak<()>);

impl Turns {
    /// The turn, unless somebody has it.
    pub(super) fn take(&mut self) -> Option<Arc<()>> {
        if self.0.strong_count() > 0 {
            return None;
        }
        let turn = Arc::new(());
        self.0 = Arc::downgrade(&turn);
        Some(turn)
    }
}

pub(super) struct World {
    pub(super) network: Arc<Network>,
    pub(super) history: Arc<History>,
    pub(super) dice: Dice,
    pub(super) tenants: Vec<Tenant>,
    pub(super) known: Known,
    /// The end of the log at the last write that somebody was told of.
    pub(super) acknowledged: i64,
    /// The largest position of each application so far.
    pub(super) positions: BTreeMap<String, i64>,
    /// The largest epoch of each application so far, by its id.
    pub(super) epochs: BTreeMap<String, i64>,
    /// The number of the last settlement that was looked at.
    pub(super) settlements_seen: i64,
    /// What was seen of what has arrived at each application without memory.
    pub(super) seen: BTreeMap<String, Seen>,
    /// Who has ever been within an application's scope.
    pub(super) entitled: BTreeMap<String, BTreeSet<String>>,
    /// The end of the log and the version of the applications when that was looked at last.
    pub(super) entitled_at: Option<(i64, i64)>,
    /// Who may change the scope.
    pub(super) scope_turns: Turns,
    /// How far ahead of the time a clock has ever been.
    pub(super) furthest: i64,
    /// Whether an administrator gave something up.
    pub(super) given_up: bool,
    /// Whether an administrator went back to a backup.
    pub(super) restored: bool,
    pub(super) backups: Vec<Backup>,
    /// Whether the files of the database are known to hold nothing of those who were erased.
    pub(super) files_are_clean: bool,
    /// Whether somebody was erased since it was looked for the erased the last time.
    pub(super) look_for_the_erased: bool,
    /// The file of the database.
    pub(super) database: PathBuf,
    pub(super) folder: tempfile::TempDir,
    slots: Vec<Slot>,
    commits: Vec<Fault>,
    /// One of so many commits meets one of those.
    one_in: u64,
    pub(super) receivers_commits: Vec<Fault>,
    /// Where those live who have something to do when nobody sends them anything.
    pub(super) applications: Runtime,
}

pub(super) fn caller() -> Caller {
    Caller::system("simulation")
}

impl World {
    pub(super) fn new(plan: &Plan, history: &Arc<History>) -> Self {
        // Apart from the dice that made the plan.
        let dice = Dice::new(!plan.seed);
        let memory = std::path::Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        };
        let slot = |name| Slot {
            name,
            node: None,
            down_until: 0,
            frozen_until: None,
            missed: 0,
            ahead: 0,
        };
        let mut world = Self {
            network: Arc::new(Network::new(
                dice.clone(),
                Arc::clone(history),
                plan.faults.clone(),
            )),
            history: Arc::clone(history),
            dice,
            tenants: Vec::new(),
            known: Known::default(),
            acknowledged: 0,
            positions: BTreeMap::new(),
            epochs: BTreeMap::new(),
            settlements_seen: 0,
            seen: BTreeMap::new(),
            entitled: BTreeMap::new(),
            entitled_at: None,
            scope_turns: Turns::default(),
            furthest: 0,
            given_up: false,
            restored: false,
            backups: Vec::new(),
            files_are_clean: true,
            look_for_the_erased: false,
            database: folder.path().join("hub.db"),
            slots: ["first", "second"]
                .into_iter()
                .take(plan.nodes)
                .map(slot)
                .collect(),
            commits: Vec::new(),
            one_in: plan.commits,
            receivers_commits: Vec::new(),
            applications: paused_runtime(),
            folder,
        };
        world.start_all();
        world.found();
        world.commits = plan.faults.iter().filter_map(|kind| kind.of_commit()).collect();
        let of_receivers = plan.faults.iter().filter_map(|kind| kind.of_receivers_commit());
        world.receivers_commits = of_receivers.collect();
        // From now on with faults.
        world.kill_all();
        world.start_all();
        for index in 0..world.tenants.len() {
            world.restart_receiver(index);
        }
        world
    }

    /// Makes the applications, and what one of them sees.
    fn found(&mut self) {
        let narrow = self
            .on_hub(async |hub| {
                let new = NewUnit {
                    name: "Narrow".to_owned(),
                    parent_id: ROOT_UNIT.to_owned(),
                    ..NewUnit::default()
                };
                hub.apply(caller(), Command::CreateUnit(new)).await.unwrap().id
            })
            .unwrap();
        self.known.units.push(narrow.clone());
        self.make_applications(narrow);
    }

    pub(super) fn start_all(&mut self) {
        for index in 0..self.slots.len() {
            self.start(index);
        }
    }

    fn start(&mut self, index: usize) {
        let database = format!("sqlite:{}", self.database.display());
        let shared = self.slots.len() > 1;
        let slot = &mut self.slots[index];
        let start = Start {
            name: slot.name,
            database: &database,
            now: self.history.now(),
            ahead: slot.ahead,
            shared,
            commits: if self.network.is_well() {
                &[]
            } else {
                &self.commits
            },
            one_in: self.one_in,
        };
        match Node::start(&start, &self.network) {
            Ok(node) => {
                self.history.note(format_args!("{} starts", slot.name));
                slot.node = Some(node);
            }
            Err(error) => {
                self.history
                    .note(format_args!("{} does not start: {error}", slot.name));
                slot.down_until = self.history.now() + 1_000;
            }
        }
    }

    /// Kills a node, wherever its tasks wait just now.
    fn kill(&mut self, index: usize, down: u64) {
        let slot = &mut self.slots[index];
        if let Some(node) = slot.node.take() {
            self.history.note(format_args!("{} is dead", slot.name));
            self.see_off(&node);
            drop(node);
        }
        let slot = &mut self.slots[index];
        (slot.frozen_until, slot.missed) = (None, 0);
        slot.down_until = self.history.now() + i64::try_from(down).unwrap();
    }

    pub(super) fn kill_all(&mut self) {
        for index in 0..self.slots.len() {
            self.kill(index, 0);
        }
    }

    fn stop(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if slot.frozen_until.is_none()
            && let Some(node) = slot.node.take()
        {
            self.history.note(format_args!("{} is stopped", slot.name));
            self.see_off(&node);
            node.stop();
        }
    }

    /// Counts what has happened to a node's commits.
    fn see_off(&self, node: &Node) {
        for fault in node.faults.happened() {
            let kind = Kind::ALL.iter().find(|(kind, _)| kind.of_commit() == Some(fault));
            self.history.count(kind.unwrap().0);
        }
    }

    /// Kills the nodes that were killed at a commit.
    fn bury(&mut self) {
        for index in 0..self.slots.len() {
            if self.slots[index]
                .node
                .as_ref()
                .is_some_and(|node| node.faults.killed())
            {
                let down = if self.dice.one_in(8) {
                    self.dice.below(60_000)
                } else {
                    0
                };
                self.kill(index, down);
            }
        }
    }

    /// The first node that lives.
    pub(super) fn alive(&self) -> Option<&Node> {
        let alive = |slot: &&Slot| {
            slot.frozen_until.is_none() && slot.node.as_ref().is_some_and(|node| !node.faults.killed())
        };
        self.slots.iter().find(alive)?.node.as_ref()
    }

    /// Does something with the first node that lives; nothing if none does.
    pub(super) fn on_hub<T>(&self, doing: impl AsyncFnOnce(&Hub) -> T) -> Option<T> {
        let node = self.alive()?;
        Some(node.run(doing(&node.hub)))
    }

    /// Lets the first node that lives do something beside everything else.
    pub(super) fn beside_delivery<F>(&self, doing: impl FnOnce(Arc<Shared>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(node) = self.alive() {
            node.beside(doing);
        }
    }

    /// Waits, as administrators do, until a node is there.
    pub(super) fn wait_for_a_node(&mut self) {
        while self.on_hub(async |_| ()).is_none() {
            self.pass(500);
        }
    }

    /// Lets one of the next commits of the first node fail, after so many that succeed.
    pub(super) fn fail_commit(&self, after: usize, fault: Fault) {
        let node = self.slots[0].node.as_ref().unwrap();
        let before = std::iter::repeat_n(None, after);
        node.faults.next(Lane::Log, before.chain([Some(fault)]));
    }

    /// Lets one of the next commits of the first node that lives take long, after so many that do not, if commits may.
    pub(super) fn slow_commit(&self, after: usize) {
        let slow = Kind::CommitSlow.of_commit();
        let may = slow.is_some_and(|slow| self.commits.contains(&slow)) && !self.network.is_well();
        if let Some(node) = self.alive().filter(|_| may) {
            node.faults
                .next(Lane::Log, std::iter::repeat_n(None, after).chain([slow]));
        }
    }

    /// How far an application is.
    pub(super) fn position(&self, name: &str) -> i64 {
        let id = self.id_of(name);
        let stored = self.on_hub(async |hub| hub.db.read(move |tx| store::load(tx, &id)).await);
        stored.unwrap().unwrap().position
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, millis: u64) {
        let mut left = millis;
        loop {
            self.bury();
            let steady = self.slots.len() == 1 && self.slots[0].node.is_some();
            let longest = if self.network.is_well() { CALM_SLICE } else { SLICE };
            let slice = if steady { left } else { left.min(longest) };
            let now = self.history.now() + i64::try_from(slice).unwrap();
            for index in 0..self.slots.len() {
                let slot = &mut self.slots[index];
                match (&slot.node, slot.frozen_until) {
                    (Some(node), Some(until)) => {
                        slot.missed += slice;
                        if now >= until {
                            self.history.note(format_args!("{} wakes", slot.name));
                            node.wake(slot.missed);
                            (slot.frozen_until, slot.missed) = (None, 0);
                        }
                    }
                    (Some(node), None) => node.live(slice),
                    (None, _) if now >= slot.down_until => self.start(index),
                    (None, _) => {}
                }
            }
            let sleep = async { tokio::time::sleep(Duration::from_millis(slice)).await };
            self.applications.block_on(sleep);
            self.history.passed(now);
            self.restart_dead_receivers();
            left -= slice;
            if left == 0 {
                return self.bury();
            }
        }
    }

    /// Sets the clock of a node ahead or back by hours, or right.
    fn set_clock(&mut self, index: usize, number: u64) {
        let hours = i64::try_from(number % 13).unwrap() - 6;
        let ahead = if number.is_multiple_of(2) {
            0
        } else {
            hours * 3_600_000
        };
        self.furthest = self.furthest.max(ahead);
        let slot = &mut self.slots[index];
        slot.ahead = ahead;
        self.history
            .note(format_args!("the clock of {} is {ahead} ms ahead", slot.name));
        if let Some(node) = &slot.node {
            node.set_clock(ahead);
        }
    }

    /// Does one step.
    pub(super) fn step(&mut self, step: &Step) {
        let index = usize::try_from(step.whom).unwrap_or(0) % self.slots.len();
        match step.deed {
            Deed::Stop => self.stop(index),
            Deed::SetClock => self.set_clock(index, step.what),
            Deed::Crash => self.kill(index, step.what % 60_000),
            // Beyond its lease, if it is one of two.
            Deed::Freeze if self.slots.len() > 1 && self.slots[index].node.is_some() => {
                let slot = &mut self.slots[index];
                self.history.note(format_args!("{} is frozen", slot.name));
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(self.network.arrive(slot.name));
                let until = self.history.now() + i64::try_from(step.what % 60_000).unwrap();
                slot.frozen_until.get_or_insert(until);
            }
            Deed::Freeze => return,
            _ => self.deed(step),
        }
        self.history.count(step.deed);
    }

    /// Nothing goes wrong any more, and what was given up is told anew.
    pub(super) fn get_well(&mut self) {
        self.history.note(format_args!("all is well"));
        self.kill_all();
        for slot in &mut self.slots {
            slot.ahead = 0;
        }
        self.network.get_well();
        self.start_all();
        self.meet_guests();
        for index in 0..self.tenants.len() {
            let tenant = &mut self.tenants[index];
            let id = tenant.application.id.clone();
            // A guest that was paused when it was met could not be synchronized.
            let everything = self.given_up || std::mem::take(&mut tenant.awaits_everything);
            let key = tenant.key.clone();
            self.on_hub(async |hub| {
                if let Some(key) = key {
                    // It may have got another one that nobody was told of.
                    let store = AppCommand::SetEncryptionKey { id: id.clone(), key };
                    hub.apply_application(caller(), store).await.unwrap();
                }
                let enable = AppCommand::EnableSynchronization { id: id.clone() };
                hub.apply_application(caller(), enable).await.unwrap();
                if everything {
                    let subscribe = AppCommand::SetSubscription {
                        id: id.clone(),
                        events: Edit::Set(Subscription::everything().events().collect()),
                        confirmed: None,
                    };
                    hub.apply_application(caller(), subscribe).await.unwrap();
                    drop(super::deeds::cancel(hub, &id).await);
                    super::deeds::synchronize(hub, &id).await.unwrap();
                }
            });
            self.restart_receiver(index);
        }
    }

    /// Ends all nodes as they are ended when nothing is wrong.
    pub(super) fn end(&mut self) {
        for tenant in &self.tenants {
            if let Some(copy) = self.network.copy(&tenant.application.name) {
                self.see_off_receiver(&copy);
            }
        }
        for index in 0..self.slots.len() {
            self.stop(index);
        }
    }

    /// The clock of the receivers.
    pub(super) fn now(&self) -> i64 {
        self.history.now()
    }
}
