//! An application behind the inbox of the kit: it is handed one event after the other, and keeps what that says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use rollcall_protocol::{GroupPayload, InventoryKind, InventoryPayload, UnitPayload, UserPayload};
use rollcall_receiver::{Handler, Outcome, Received, Snapshot};

use super::network::Network;
use super::plan::Kind;

/// What it keeps survives its process. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Application {
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    users: BTreeMap<String, UserPayload>,
    units: BTreeMap<String, UnitPayload>,
    groups: BTreeMap<String, GroupPayload>,
    members: BTreeMap<String, BTreeSet<String>>,
}

impl Application {
    pub(super) fn snapshot(&self) -> Snapshot {
        let held = self.held.lock().unwrap();
        let mut snapshot = Snapshot::default();
        held.units
            .values()
            .for_each(|unit| snapshot.add_unit(unit.clone()));
        held.users
            .values()
            .for_each(|user| snapshot.add_user(user.clone()));
        for group in held.groups.values() {
            let members = held.members.get(&group.group_id).cloned().unwrap_or_default();
            snapshot.add_group(group.clone(), members);
        }
        snapshot
    }
}

/// What the inbox hands events to.
pub(super) struct Desk {
    pub(super) application: Application,
    pub(super) network: Weak<Network>,
}

impl Desk {
    /// Does something for an event, or fails before or after it is done.
    fn take(&self, doing: impl FnOnce(MutexGuard<'_, Held>)) -> Outcome {
        let network = self.network.upgrade();
        let fails = |one_in| {
            let strikes =
                |network: &Arc<Network>| network.dice.one_in(one_in) && network.strikes(Kind::HandlerFails);
            network.as_ref().is_some_and(strikes)
        };
        let again = || Outcome::exception("not now");
        if fails(30) {
            return again();
        }
        doing(self.application.held.lock().unwrap());
        if fails(60) { again() } else { Outcome::success() }
    }
}

impl Handler for Desk {
    async fn user_created(&self, event: &Received<UserPayload>) -> Outcome {
        self.user_updated(event).await
    }

    async fn user_updated(&self, event: &Received<UserPayload>) -> Outcome {
        let user = event.record.clone();
        self.take(|mut held| drop(held.users.insert(user.user_id.clone(), user)))
    }

    async fn user_deleted(&self, event: &Received<UserPayload>) -> Outcome {
        self.take(|mut held| held.remove_user(&event.record.user_id))
    }

    async fn unit_created(&self, event: &Received<UnitPayload>) -> Outcome {
        self.unit_updated(event).await
    }

    async fn unit_updated(&self, event: &Received<UnitPayload>) -> Outcome {
        let unit = event.record.clone();
        self.take(|mut held| drop(held.units.insert(unit.unit_id.clone(), unit)))
    }

    async fn unit_deleted(&self, event: &Received<UnitPayload>) -> Outcome {
        self.take(|mut held| drop(held.units.remove(&event.record.unit_id)))
    }

    async fn group_created(&self, event: &Received<GroupPayload>) -> Outcome {
        self.group_updated(event).await
    }

    async fn group_updated(&self, event: &Received<GroupPayload>) -> Outcome {
        let group = event.record.clone();
        self.take(|mut held| drop(held.groups.insert(group.group_id.clone(), group)))
    }

    async fn group_deleted(&self, event: &Received<GroupPayload>) -> Outcome {
        self.take(|mut held| held.remove_group(&event.record.group_id))
    }

    async fn group_users_added(&self, event: &Received<GroupPayload>) -> Outcome {
        let group = event.record.clone();
        self.take(|mut held| {
            let members = held.members.entry(group.group_id).or_default();
            members.extend(group.user_ids.unwrap_or_default());
        })
    }

    async fn group_users_removed(&self, event: &Received<GroupPayload>) -> Outcome {
        let group = event.record.clone();
        self.take(|mut held| {
            let members = held.members.entry(group.group_id).or_default();
            for user in group.user_ids.unwrap_or_default() {
                members.remove(&user);
            }
        })
    }

    async fn inventory(&self, event: &Received<InventoryPayload>) -> Outcome {
        self.take(|mut held| held.take_stock(&event.record))
    }
}

impl Held {
    fn remove_user(&mut self, id: &str) {
        self.users.remove(id);
        for members in self.members.values_mut() {
            members.remove(id);
        }
    }

    fn remove_group(&mut self, id: &str) {
        self.groups.remove(id);
        self.members.remove(id);
    }

    /// Removes what an inventory does not name, and adds the members that it names.
    fn take_stock(&mut self, inventory: &InventoryPayload) {
        let named: BTreeSet<&String> = inventory.ids.iter().collect();
        let in_range = |id: &String| {
            *id > inventory.after && inventory.through.as_ref().is_none_or(|through| id <= through)
        };
        let gone = |ids: Vec<String>| {
            let gone = ids.into_iter().filter(|id| in_range(id) && !named.contains(id));
            gone.collect::<Vec<_>>()
        };
        match inventory.kind {
            InventoryKind::User => {
                for id in gone(self.users.keys().cloned().collect()) {
                    self.remove_user(&id);
                }
            }
            InventoryKind::Unit => {
                for id in gone(self.units.keys().cloned().collect()) {
                    self.units.remove(&id);
                }
            }
            InventoryKind::Group => {
                for id in gone(self.groups.keys().cloned().collect()) {
                    self.remove_group(&id);
                }
            }
            InventoryKind::GroupMember => {
                let group = inventory.group_id.clone().unwrap_or_default();
                let members = self.members.entry(group).or_default();
                members.retain(|id| !in_range(id) || named.contains(id));
                members.extend(inventory.ids.iter().cloned());
            }
        }
    }
}
