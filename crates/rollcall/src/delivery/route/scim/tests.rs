//! Events against a service provider in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use rollcall_protocol::{Event, EventType, GroupPayload, SubjectKind, UserPayload, UserStatus};
use rollcall_scim::client::{Call, GroupUpdate, Preset, Reply, Update};
use rollcall_scim::testing::{Provider, members};
use serde_json::{Value, json};

use super::carry::{Broken, Carrier, Outside};
use super::managed_of_groups;
use super::memory::{Key, Memory};
use super::work::Work;
use crate::application::scim::{Authentication, Leavers, Scim};
use crate::change::{Change, ChangeKind};
use crate::delivery::model::{Origin, Outgoing, Remote, Verdict};

/// The application, the database, and what happens on the way.
#[derive(Default)]
struct World {
    provider: Provider,
    stored: HashMap<Key, Remote>,
    groups: BTreeMap<String, BTreeSet<String>>,
    memory: Memory,
    /// The answers that come instead, by the number of the request from now on; `None`: it is carried out, and the
    /// answer is lost.
    faults: BTreeMap<usize, Option<u16>>,
    sent: usize,
}

impl Outside for &mut World {
    type Error = String;

    async fn send(&mut self, call: Call) -> Result<Reply, String> {
        let fault = self.faults.remove(&self.sent);
        self.sent += 1;
        match fault {
            None => Ok(self.provider.answer(&call)),
            Some(None) => {
                self.provider.answer(&call);
                Err("lost".to_owned())
            }
            Some(Some(status)) => Ok(Reply {
                status,
                ..Reply::default()
            }),
        }
    }

    async fn stored(&mut self, keys: Vec<Key>) -> Result<HashMap<Key, Remote>, String> {
        let found = keys.into_iter().filter_map(|key| {
            let remote = self.stored.get(&key)?.clone();
            Some((key, remote))
        });
        Ok(found.collect())
    }

    async fn holder(&mut self, kind: SubjectKind, id: &str) -> Result<Option<String>, String> {
        let mut stored = self.stored.iter();
        let holder = stored.find(|((other, _), remote)| *other == kind && remote.id == id);
        Ok(holder.map(|((_, subject), _)| subject.clone()))
    }

    async fn members(&mut self, group: &str) -> Result<Vec<String>, String> {
        Ok(self.groups.get(group).into_iter().flatten().cloned().collect())
    }
}

impl World {
    /// Carries events as one request; what is decided of each, and whether it broke off.
    fn carry(&mut self, scim: &Scim, events: &[Outgoing]) -> (Vec<Option<Verdict>>, Option<Broken<String>>) {
        let checked = scim.check().unwrap();
        let of_groups = managed_of_groups();
        let mut work = Work::of(events, scim, &checked);
        let mut memory = std::mem::take(&mut self.memory);
        self.sent = 0;
        let mut carrier = Carrier {
            scim,
            checked: &checked,
            of_groups: &of_groups,
            memory: &mut memory,
            outside: &mut *self,
            stored: HashMap::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let broken = runtime.block_on(carrier.carry(&mut work)).err();
        self.memory = memory;
        let decided = (0..events.len()).map(|number| work.decided.get(&number).cloned());
        (decided.collect(), broken)
    }

    /// The same, and all of it is accepted and settled. Returns the requests.
    fn told(&mut self, scim: &Scim, events: &[Outgoing]) -> Vec<String> {
        let before = self.provider.calls.len();
        let (decided, broken) = self.carry(scim, events);
        assert!(broken.is_none(), "{broken:?}");
        assert_eq!(decided, vec![Some(Verdict::Accepted); events.len()]);
        self.settle();
        self.provider.calls[before..].to_vec()
    }

    fn settle(&mut self) {
        let keys: Vec<Key> = self.memory.keys().cloned().collect();
        for remembered in self.memory.learned(&keys) {
            let key = (remembered.kind, remembered.subject_id);
            match remembered.remote {
                Some(remote) => self.stored.insert(key, remote),
                None => self.stored.remove(&key),
            };
        }
        self.memory = Memory::default();
    }

    fn there(&self, id: &str) -> &rollcall_scim::Object {
        let mut users = self.provider.users.values();
        users.find(|user| user["externalId"] == id).unwrap()
    }
}

fn scim() -> Scim {
    Scim {
        leavers: Leavers::Delete,
        ..Scim::preset(
            Preset::Standard,
            "https://app.example",
            Authentication::BearerToken,
        )
    }
}

fn user(id: &str, name: &str, email: Option<&str>) -> UserPayload {
    UserPayload {
        user_id: id.to_owned(),
        username: Some(name.to_owned()),
        display_name: Some(name.to_uppercase()),
        email: email.map(str::to_owned),
        status: Some(UserStatus::Enabled),
        ..UserPayload::default()
    }
}

fn event(kind: EventType, id: &str, record: String) -> Outgoing {
    Outgoing {
        origin: Origin::Apart(Arc::new(Event {
            event_id: format!("evnt_{id}"),
            event_type: kind.urn().to_owned(),
            event_time: 1,
            biz_id: id.to_owned(),
            biz_data: record,
        })),
        event_type: kind,
        attempts: 0,
    }
}

fn of_user(kind: EventType, user: &UserPayload) -> Outgoing {
    event(kind, &user.user_id, user.to_json())
}

/// A change as the log has it, with what differed before.
fn change(kind: EventType, user: &UserPayload, previous: Value) -> Outgoing {
    Outgoing {
        origin: Origin::Change(Arc::new(Change {
            seq: 1,
            event_id: "evnt_1".to_owned(),
            kind: ChangeKind::Event(kind),
            subject_kind: SubjectKind::User,
            subject_id: user.user_id.clone(),
            time: 1,
            actor: "test".to_owned(),
            record: user.to_json(),
            previous: Some(previous.to_string()),
            before: None,
            after: None,
            secret: None,
        })),
        event_type: kind,
        attempts: 0,
    }
}

fn of_group(kind: EventType, id: &str, users: &[&str]) -> Outgoing {
    let payload = GroupPayload {
        group_id: id.to_owned(),
        name: Some(format!("Group {id}")),
        user_ids: (!users.is_empty()).then(|| users.iter().map(|user| (*user).to_owned()).collect()),
        ..GroupPayload::default()
    };
    event(kind, id, payload.to_json())
}

fn created(world: &mut World, scim: &Scim, ids: &[&str]) {
    let events: Vec<_> = ids
        .iter()
        .map(|id| of_user(EventType::UserCreate, &user(id, id, None)))
        .collect();
    world.told(scim, &events);
}

fn code(verdict: &Option<Verdict>) -> &str {
    match verdict {
        Some(Verdict::Refused(remark) | Verdict::Skipped(remark) | Verdict::Again(remark)) => &remark.code,
        Some(_) => "accepted",
        None => "undecided",
    }
}

#[test]
fn many_events_of_one_user_are_one_change() {
    let (mut world, scim) = (World::default(), scim());
    let calls = world.told(
        &scim,
        &[
            of_user(EventType::UserCreate, &user("user_1", "ada", None)),
            of_user(
                EventType::UserUpdateInfo,
                &user("user_1", "ada", Some("ada@example.com")),
            ),
            of_user(
                EventType::UserEnable,
                &user("user_1", "ada.l", Some("ada@example.com")),
            ),
        ],
    );
    assert_eq!(calls, ["GET Users", "POST Users"]);
    assert_eq!(world.there("user_1")["userName"], "ada.l");
    assert_eq!(world.there("user_1")["emails"][0]["value"], "ada@example.com");
    // The change says what was before, which is what was told last: one request names the difference.
    let now = user("user_1", "ada.l", None);
    let gone = change(
        EventType::UserUpdateInfo,
        &now,
        json!({ "email": "ada@example.com" }),
    );
    assert_eq!(world.told(&scim, std::slice::from_ref(&gone)), ["PATCH Users/1"]);
    let operations = &world.provider.bodies.last().unwrap()["Operations"];
    assert_eq!(*operations, json!([{ "op": "remove", "path": "emails" }]));
    // Told again, it is told already.
    assert!(world.told(&scim, &[gone]).is_empty());
    // After a restore nobody knows what was told: it is read, and is right.
    for remote in world.stored.values_mut() {
        remote.told = None;
    }
    let again = of_user(EventType::UserPush, &now);
    assert_eq!(world.told(&scim, &[again]), ["GET Users/1"]);
}

#[test]
fn those_who_leave_are_dealt_with_as_the_settings_say() {
    for (leavers, calls, left) in [
        (Leavers::Disable, vec!["PATCH Users/1"], Some(false)),
        (Leavers::Delete, vec!["DELETE Users/1"], None),
        (Leavers::Release, vec![], Some(true)),
    ] {
        let mut world = World::default();
        let scim = Scim { leavers, ..scim() };
        created(&mut world, &scim, &["user_1"]);
        let gone = of_user(EventType::UserDelete, &user("user_1", "user_1", None));
        assert_eq!(world.told(&scim, std::slice::from_ref(&gone)), calls);
        let active = world.provider.users.get("1").map(|user| user["active"] == true);
        assert_eq!(active, left);
        assert_eq!(
            world
                .stored
                .contains_key(&(SubjectKind::User, "user_1".to_owned())),
            leavers == Leavers::Disable
        );
        // Whoever comes back is the same.
        created(&mut world, &scim, &["user_1"]);
        assert_eq!(world.provider.users.len(), 1);
        assert_eq!(world.there("user_1")["active"], true);
    }
}

#[test]
fn order_between_subjects_survives_being_folded() {
    let (mut world, scim) = (World::default(), scim());
    created(&mut world, &scim, &["user_1", "user_2"]);
    let calls = world.told(
        &scim,
        &[
            of_group(EventType::GroupCreate, "group_1", &[]),
            of_group(EventType::GroupAddUser, "group_1", &["user_1", "user_2"]),
            of_user(EventType::UserCreate, &user("user_3", "eve", None)),
            of_group(EventType::GroupAddUser, "group_1", &["user_3"]),
            of_group(EventType::GroupRemoveUser, "group_1", &["user_2"]),
            of_user(EventType::UserDelete, &user("user_2", "user_2", None)),
            of_user(EventType::UserUpdateInfo, &user("user_3", "eve.x", None)),
        ],
    );
    assert_eq!(
        calls,
        [
            "GET Groups",
            "GET Groups",
            "POST Groups",
            "GET Users",
            "POST Users",
            "PATCH Groups/3",
            "DELETE Users/2"
        ]
    );
    assert_eq!(members(&world.provider.groups["3"]), ["1", "4"]);
    assert_eq!(world.there("user_3")["userName"], "eve.x");
}

#[test]
fn what_cannot_be_told_is_passed_over_or_refused_by_itself() {
    let mut world = World::default();
    let scim = Scim {
        groups: false,
        ..scim()
    };
    let (decided, broken) = world.carry(
        &scim,
        &[
            of_group(EventType::GroupCreate, "group_1", &[]),
            event(
                EventType::UnitCreate,
                "ou_1",
                r#"{"organizationalUnitId":"ou_1"}"#.to_owned(),
            ),
            event(EventType::UserCreate, "user_9", "no record".to_owned()),
            event(EventType::UserUpdateInfo, "user_9", "no record".to_owned()),
            of_user(EventType::UserCreate, &user("user_1", "ada", None)),
        ],
    );
    assert!(broken.is_none());
    let codes: Vec<_> = decided.iter().map(code).collect();
    assert_eq!(
        codes,
        ["no_groups", "no_units", "overtaken", "unmapped", "accepted"]
    );
}

#[test]
fn a_failure_in_the_middle_answers_for_what_stands_before_it() {
    let (mut world, scim) = (World::default(), scim());
    let events: Vec<_> = ["user_1", "user_2", "user_3"]
        .iter()
        .map(|id| of_user(EventType::UserCreate, &user(id, id, None)))
        .collect();
    world.faults.insert(3, Some(503));
    let (decided, broken) = world.carry(&scim, &events);
    assert!(matches!(broken, Some(Broken::Failed(refusal)) if refusal.status == 503));
    let codes: Vec<_> = decided.iter().map(code).collect();
    assert_eq!(codes, ["accepted", "undecided", "undecided"]);
    // The next try tells nobody twice, although nothing is settled.
    let (decided, _) = world.carry(&scim, &events);
    assert_eq!(decided, vec![Some(Verdict::Accepted); 3]);
    assert_eq!(world.provider.users.len(), 3);
    // Nor does one that knows nothing of the one before, whose answer was lost.
    world.memory = Memory::default();
    world.provider.calls.clear();
    world.told(&scim, &events);
    assert_eq!(world.provider.calls, ["GET Users"; 3]);
}

#[test]
fn who_is_unknown_keeps_nobody_else_out_of_a_group() {
    let (mut world, scim) = (World::default(), scim());
    created(&mut world, &scim, &["user_1"]);
    let (decided, _) = world.carry(
        &scim,
        &[
            of_group(EventType::GroupCreate, "group_1", &[]),
            of_group(EventType::GroupAddUser, "group_1", &["user_1"]),
            of_group(EventType::GroupAddUser, "group_1", &["user_7"]),
        ],
    );
    let codes: Vec<_> = decided.iter().map(code).collect();
    assert_eq!(codes, ["accepted", "accepted", "member_unknown"]);
    assert_eq!(members(&world.provider.groups["2"]), ["1"]);
}

#[test]
fn members_told_before_a_failure_are_not_asked_for_again() {
    let mut world = World::default();
    let mut scim = scim();
    scim.profile.members_at_once = 1;
    created(&mut world, &scim, &["user_1", "user_2"]);
    world.told(&scim, &[of_group(EventType::GroupCreate, "group_1", &[])]);
    let events = [
        of_group(EventType::GroupAddUser, "group_1", &["user_1"]),
        of_group(EventType::GroupAddUser, "group_1", &["user_2"]),
    ];
    world.faults.insert(1, Some(500));
    let (decided, broken) = world.carry(&scim, &events);
    assert!(broken.is_some());
    assert_eq!(
        decided.iter().map(code).collect::<Vec<_>>(),
        ["accepted", "undecided"]
    );
    assert_eq!(world.told(&scim, &events[1..]), ["PATCH Groups/3"]);
    assert_eq!(members(&world.provider.groups["3"]), ["1", "2"]);
}

#[test]
fn a_group_that_was_deleted_there_is_made_again_with_all_its_members() {
    let (mut world, scim) = (World::default(), scim());
    created(&mut world, &scim, &["user_1", "user_2"]);
    world.told(
        &scim,
        &[
            of_group(EventType::GroupCreate, "group_1", &[]),
            of_group(EventType::GroupAddUser, "group_1", &["user_1"]),
        ],
    );
    world.provider.groups.clear();
    let now = ["user_1", "user_2"].map(str::to_owned).into();
    world.groups.insert("group_1".to_owned(), now);
    world.told(
        &scim,
        &[of_group(EventType::GroupAddUser, "group_1", &["user_2"])],
    );
    let group = world.provider.groups.values().next().unwrap();
    assert_eq!(members(group), ["1", "2"]);
}

#[test]
fn groups_are_replaced_as_a_whole_where_that_is_wanted() {
    for groups in [GroupUpdate::Replace, GroupUpdate::Put] {
        let mut world = World::default();
        let mut scim = scim();
        scim.profile.groups = groups;
        scim.profile.users = Update::Put;
        created(&mut world, &scim, &["user_1", "user_2"]);
        world
            .groups
            .insert("group_1".to_owned(), ["user_1".to_owned()].into());
        world.told(
            &scim,
            &[
                of_group(EventType::GroupCreate, "group_1", &[]),
                of_group(EventType::GroupAddUser, "group_1", &["user_1"]),
            ],
        );
        assert_eq!(members(&world.provider.groups["3"]), ["1"], "{groups:?}");
        world
            .groups
            .insert("group_1".to_owned(), ["user_2".to_owned()].into());
        let calls = world.told(
            &scim,
            &[
                of_group(EventType::GroupRemoveUser, "group_1", &["user_1"]),
                of_group(EventType::GroupAddUser, "group_1", &["user_2"]),
            ],
        );
        assert_eq!(members(&world.provider.groups["3"]), ["2"], "{groups:?}");
        assert_eq!(calls.len(), 1, "{calls:?}");
    }
}

#[test]
fn a_name_that_another_of_ours_has_is_waited_for() {
    let (mut world, scim) = (World::default(), scim());
    created(&mut world, &scim, &["ada", "bob"]);
    // Ada becomes carl, dan becomes ada; what stands first is told first, so dan's name is free.
    world.told(
        &scim,
        &[
            of_user(EventType::UserUpdateInfo, &user("ada", "carl", None)),
            of_user(EventType::UserCreate, &user("dan", "ada", None)),
        ],
    );
    // The other way round it is not, yet.
    let late = [
        of_user(EventType::UserCreate, &user("fay", "bob", None)),
        of_user(EventType::UserUpdateInfo, &user("bob", "gus", None)),
    ];
    let (decided, broken) = world.carry(&scim, &late);
    assert!(broken.is_none());
    assert_eq!(
        decided.iter().map(code).collect::<Vec<_>>(),
        ["taken", "accepted"]
    );
    world.settle();
    world.told(&scim, &late[..1]);
    assert_eq!(world.there("fay")["userName"], "bob");
    assert_eq!(world.provider.users.len(), 4);
}

/// One thing that an administrator does.
#[derive(Clone, Copy, Debug)]
enum Act {
    Put(u8, u8),
    Drop(u8),
    Group(u8),
    Disband(u8),
    Join(u8, u8),
    Part(u8, u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..4_u8, 0..4_u8).prop_map(|(who, how)| Act::Put(who, how)),
        1 => (0..4_u8).prop_map(Act::Drop),
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
        (groups, users, paths) in (0..3_u8, any::<bool>(), any::<bool>()),
    ) {
        let mut scim = scim();
        scim.profile.paths = paths;
        scim.profile.members_at_once = 2;
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
                let (decided, broken) = world.carry(&scim, &left[..left.len().min(*size)]);
                prop_assert!(broken.is_none());
                left = &left[decided.len()..];
                world.settle();
            }
        }
        let there: BTreeMap<String, String> = world.provider.users.values()
            .map(|user| (user["externalId"].as_str().unwrap().to_owned(), user["userName"].as_str().unwrap().to_owned()))
            .collect();
        let wanted: BTreeMap<String, String> = directory.users.values()
            .map(|user| (user.user_id.clone(), user.username.clone().unwrap()))
            .collect();
        prop_assert_eq!(world.provider.users.len(), there.len());
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
