//! Events against a service provider in memory.

mod held;
mod leaving;
mod members;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rollcall_protocol::{Event, EventType, GroupPayload, SubjectKind, UserPayload, UserStatus};
use rollcall_scim::client::{Call, Preset, Reply, Update};
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

    async fn read(&mut self, call: Call) -> Result<Reply, String> {
        self.send(call).await
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
        let memory = std::mem::take(&mut self.memory);
        self.sent = 0;
        let mut carrier = Carrier {
            scim,
            checked: &checked,
            of_groups: &of_groups,
            memory: &memory,
            outside: &mut *self,
            stored: HashMap::new(),
            given_up: Vec::new(),
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
        let keys = self.memory.if_more_than(0).unwrap_or_default();
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
            withheld_from: None,
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
    // Told again, it is read, and is right.
    assert_eq!(world.told(&scim, &[gone]), ["GET Users/1"]);
    // After a restore nobody knows what was told: it is read, and is right.
    for remote in world.stored.values_mut() {
        remote.told = None;
    }
    let again = of_user(EventType::UserPush, &now);
    assert_eq!(world.told(&scim, &[again]), ["GET Users/1"]);
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
        ["accepted", "accepted", "overtaken", "unmapped", "accepted"]
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
fn what_goes_there_and_back_is_told_although_nobody_heard_of_the_way_there() {
    for update in [Update::Patch, Update::Put] {
        let (mut world, mut scim) = (World::default(), scim());
        scim.profile.users = update;
        scim.leavers = Leavers::Disable;
        created(&mut world, &scim, &["user_1"]);
        let disabled = UserPayload {
            status: Some(UserStatus::Disabled),
            ..user("user_1", "user_1", None)
        };
        let there = change(EventType::UserDisable, &disabled, json!({ "status": "enabled" }));
        let back = change(
            EventType::UserEnable,
            &user("user_1", "user_1", None),
            json!({ "status": "disabled" }),
        );
        world.carry(&scim, std::slice::from_ref(&there));
        assert_eq!(world.there("user_1")["active"], false);
        // The process dies before that is settled, and meanwhile the second event is there too.
        world.memory = Memory::default();
        world.told(&scim, &[there, back]);
        assert_eq!(world.there("user_1")["active"], true, "{update:?}");

        // So it is with whoever leaves, comes back and leaves.
        let gone = of_user(EventType::UserDelete, &user("user_1", "user_1", None));
        let again = of_user(EventType::UserCreate, &user("user_1", "user_1", None));
        world.told(&scim, std::slice::from_ref(&gone));
        world.carry(&scim, std::slice::from_ref(&again));
        assert_eq!(world.there("user_1")["active"], true);
        world.memory = Memory::default();
        world.told(&scim, &[again, gone]);
        assert_eq!(world.there("user_1")["active"], false, "{update:?}");
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

#[test]
fn nobody_is_made_because_a_search_was_refused() {
    let (mut world, scim) = (World::default(), scim());
    world.carry(
        &scim,
        &[of_user(EventType::UserCreate, &user("user_1", "ada", None))],
    );
    // Nobody heard of that, and meanwhile she has another name.
    world.memory = Memory::default();
    let renamed = [of_user(EventType::UserUpdateInfo, &user("user_1", "ada.l", None))];
    world.faults.insert(0, Some(400));
    let (decided, _) = world.carry(&scim, &renamed);
    assert_eq!(code(&decided[0]), "http_400");
    world.told(&scim, &renamed);
    assert_eq!(world.provider.users.len(), 1);
    assert_eq!(world.there("user_1")["userName"], "ada.l");
}
