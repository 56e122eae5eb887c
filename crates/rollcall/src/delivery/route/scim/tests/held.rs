//! What holds whatever fails.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rollcall_protocol::{EventType, UserPayload};
use rollcall_scim::client::{GroupUpdate, Update};
use rollcall_scim::testing::members;

use super::{Leavers, Memory, World, of_group, of_user, scim, user};
use crate::delivery::model::{Outgoing, Verdict};

/// One thing that an administrator does.
#[derive(Clone, Copy, Debug)]
enum Act {
    Put(u8, u8),
    /// Leaves the scope, and may come back.
    Drop(u8),
    Delete(u8),
    Group(u8),
    Disband(u8),
    Join(u8, u8),
    Part(u8, u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..4_u8, 0..4_u8).prop_map(|(who, how)| Act::Put(who, how)),
        1 => (0..4_u8).prop_map(Act::Drop),
        1 => (0..4_u8).prop_map(Act::Delete),
        2 => (0..2_u8).prop_map(Act::Group),
        1 => (0..2_u8).prop_map(Act::Disband),
        4 => (0..2_u8, 0..4_u8).prop_map(|(group, who)| Act::Join(group, who)),
        2 => (0..2_u8, 0..4_u8).prop_map(|(group, who)| Act::Part(group, who)),
    ]
}

/// The directory, and the events that its changes are.
#[derive(Default)]
struct Directory {
    users: BTreeMap<u8, UserPayload>,
    deleted: BTreeSet<u8>,
    groups: BTreeMap<u8, BTreeSet<u8>>,
    events: Vec<Outgoing>,
}

fn name(who: u8) -> String {
    format!("user_{who}")
}

impl Directory {
    fn act(&mut self, act: Act) {
        let group_id = |group: u8| format!("group_{group}");
        match act {
            Act::Put(who, _) if self.deleted.contains(&who) => {}
            Act::Put(who, how) => {
                let email = (how > 0).then(|| format!("{how}@example.com"));
                let user = user(&name(who), &format!("name.{who}.{}", how / 2), email.as_deref());
                let kind = match self.users.insert(who, user.clone()) {
                    None => EventType::UserCreate,
                    Some(_) => EventType::UserUpdateInfo,
                };
                self.events.push(of_user(kind, &user));
            }
            Act::Drop(who) => {
                let groups: Vec<u8> = self.groups.keys().copied().collect();
                groups
                    .into_iter()
                    .for_each(|group| self.act(Act::Part(group, who)));
                if let Some(user) = self.users.remove(&who) {
                    self.events.push(of_user(EventType::UserDelete, &user));
                }
            }
            // Nothing but the deletion tells that somebody is in no group any more, and nobody has the id again.
            Act::Delete(who) => {
                for members in self.groups.values_mut() {
                    members.remove(&who);
                }
                if let Some(user) = self.users.remove(&who) {
                    self.deleted.insert(who);
                    self.events.push(of_user(EventType::UserDelete, &user));
                }
            }
            Act::Group(group) if !self.groups.contains_key(&group) => {
                self.groups.insert(group, BTreeSet::new());
                self.events
                    .push(of_group(EventType::GroupCreate, &group_id(group), &[]));
            }
            Act::Disband(group) if self.groups.remove(&group).is_some() => {
                self.events
                    .push(of_group(EventType::GroupDelete, &group_id(group), &[]));
            }
            Act::Join(group, who) if self.users.contains_key(&who) => {
                let Some(members) = self.groups.get_mut(&group) else {
                    return;
                };
                if members.insert(who) {
                    let event = of_group(EventType::GroupAddUser, &group_id(group), &[&name(who)]);
                    self.events.push(event);
                }
            }
            Act::Part(group, who) => {
                let Some(members) = self.groups.get_mut(&group) else {
                    return;
                };
                if members.remove(&who) {
                    let event = of_group(EventType::GroupRemoveUser, &group_id(group), &[&name(who)]);
                    self.events.push(event);
                }
            }
            Act::Group(_) | Act::Disband(_) | Act::Join(..) => {}
        }
    }
}

proptest! {
    #[test]
    fn the_application_ends_as_the_directory_whatever_fails(
        acts in prop::collection::vec(act(), 1..40),
        batches in prop::collection::vec((1..9_usize, prop::option::of((0..8_usize, prop::option::of(500..504_u16))), any::<bool>()), 1..20),
        (groups, users, paths, disables) in (0..3_u8, any::<bool>(), any::<bool>(), any::<bool>()),
    ) {
        let mut scim = scim();
        scim.profile.paths = paths;
        scim.profile.members_at_once = 2;
        scim.leavers = if disables { Leavers::Disable } else { Leavers::Delete };
        scim.profile.users = if users { Update::Patch } else { Update::Put };
        scim.profile.groups = [GroupUpdate::Change, GroupUpdate::Replace, GroupUpdate::Put][usize::from(groups)];
        let mut directory = Directory::default();
        for act in acts {
            directory.act(act);
        }
        let mut world = World {
            // The directory is ahead of what is told, as it is while there is a backlog.
            groups: directory.groups.iter().map(|(group, members)| {
                (format!("group_{group}"), members.iter().map(|who| name(*who)).collect())
            }).collect(),
            ..World::default()
        };
        let mut left = &directory.events[..];
        for (size, fault, crashes) in batches.iter().cycle() {
            if left.is_empty() {
                break;
            }
            let batch = &left[..left.len().min(*size)];
            if let Some((at, how)) = fault {
                world.faults.insert(*at, *how);
            }
            let (decided, broken) = world.carry(&scim, batch);
            world.faults.clear();
            for verdict in decided.iter().flatten() {
                prop_assert_eq!(verdict, &Verdict::Accepted);
            }
            let done = decided.iter().take_while(|verdict| verdict.is_some()).count();
            prop_assert!(broken.is_some() || done == batch.len());
            match (broken.is_some(), crashes) {
                // The process dies before the commit: what was learned is lost, and nothing counts as told.
                (true, true) => world.memory = Memory::default(),
                (_, _) => {
                    world.settle();
                    left = &left[done..];
                }
            }
            if broken.is_some() {
                // What was sent may be told together with what came after it.
                let (decided, broken) = world.carry(&scim, &left[..left.len().min(*size + 3)]);
                prop_assert!(broken.is_none());
                left = &left[decided.len()..];
                world.settle();
            }
        }
        let is_active = |user: &&rollcall_scim::Object| user["active"] == true;
        let active = world.provider.users.values().filter(is_active);
        prop_assert!(disables || active.clone().count() == world.provider.users.len());
        let there: BTreeMap<String, String> = active.clone()
            .map(|user| (user["externalId"].as_str().unwrap().to_owned(), user["userName"].as_str().unwrap().to_owned()))
            .collect();
        let wanted: BTreeMap<String, String> = directory.users.values()
            .map(|user| (user.user_id.clone(), user.username.clone().unwrap()))
            .collect();
        prop_assert_eq!(active.count(), there.len());
        prop_assert_eq!(there, wanted);
        prop_assert_eq!(world.provider.groups.len(), directory.groups.len());
        for (group, wanted) in &directory.groups {
            let id = format!("group_{group}");
            let there = world.provider.groups.values().find(|group| group["externalId"] == id.as_str()).unwrap();
            let names: BTreeSet<String> = members(there).iter()
                .map(|id| world.provider.users[id]["externalId"].as_str().unwrap().to_owned())
                .collect();
            let wanted: BTreeSet<String> = wanted.iter().map(|who| name(*who)).collect();
            prop_assert_eq!(names, wanted);
        }
        for user in directory.users.values() {
            let there = world.there(&user.user_id);
            let email = there.get("emails").map(|emails| emails[0]["value"].as_str().unwrap().to_owned());
            prop_assert_eq!(email, user.email.clone());
        }
    }
}
