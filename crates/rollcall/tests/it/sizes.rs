//! How large events and requests become, and what happens to those that are too large for somebody.

use std::collections::{BTreeMap, HashSet};

use rollcall::access::Caller;
use rollcall::application::{self, Limits, Scope, SettingsPatch};
use rollcall::delivery::job;
use rollcall::delivery::ledger::operate;
use rollcall::delivery::ledger::parked::ParkedState;
use rollcall::directory::{Command, CustomFields, MEMBERS_PER_EVENT, NewGroup, NewUser};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall_db::params;
use rollcall_protocol::{Event, EventType, GroupPayload};
use rollcall_receiver::testing::{Arrival, Forgetful};

use crate::forgetful::{Simple, ended, kind, user_ids};
use crate::plain::{Plain, Say, apply, attempts_of, deliver, limit, parked_of, settled, stored, until, user};
use crate::world::{create_users, described, hasty, new_user, on_both, open_hub};

/// A group with so many members.
async fn large_group(hub: &Hub, size: usize) -> (String, Vec<String>) {
    let users = (0..size).map(|n| new_user(&format!("member{n}"), ROOT_UNIT));
    let user_ids = create_users(hub, users.collect()).await;
    let new = NewGroup {
        name: "Everybody".to_owned(),
        ..NewGroup::default()
    };
    let group_id = apply(hub, Command::CreateGroup(new)).await;
    let add = Command::AddMembers {
        group_id: group_id.clone(),
        user_ids: user_ids.clone(),
    };
    apply(hub, add).await;
    (group_id, user_ids)
}

/// The portions of members that events of a type named, which have to be small, and none of them twice.
fn portions(arrivals: &[Arrival], event: EventType) -> Vec<usize> {
    let mut seen = HashSet::new();
    arrivals
        .iter()
        .filter(|arrival| kind(arrival) == Some(event))
        .map(|arrival| {
            assert!(arrival.biz_data.len() < 64 << 10, "{}", arrival.biz_data.len());
            let ids = user_ids(arrival);
            assert!(ids.iter().all(|id| seen.insert(id.clone())), "named twice");
            ids.len()
        })
        .collect()
}

#[test]
fn a_large_group_is_told_of_in_portions_also_when_it_is_deleted() {
    const SIZE: usize = 2 * MEMBERS_PER_EVENT + 234;
    on_both("portions_of_groups", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let all = Simple::new(&hub, "All", Scope::everything(), Forgetful::new()).await;
        let delivery = deliver(&hub, hasty()).await;
        all.synchronize().await;
        let (group, ids) = large_group(&hub, SIZE).await;
        let only = Scope {
            group_ids: [group.clone()].into(),
            ..Scope::default()
        };
        all.is_right().await;
        let added = portions(&all.app.arrivals(), EventType::GroupAddUser);
        assert_eq!(added, [MEMBERS_PER_EVENT, MEMBERS_PER_EVENT, 234]);
        // Whoever sees the group alone gets and loses its members with it.
        let part = Simple::new(&hub, "Part", only, Forgetful::new()).await;
        for command in [
            Command::RemoveMembers {
                group_id: group.clone(),
                user_ids: ids.clone(),
            },
            Command::AddMembers {
                group_id: group.clone(),
                user_ids: ids,
            },
        ] {
            let done = hub.apply(Caller::system("test"), command).await.unwrap();
            assert_eq!(done.changes, SIZE);
        }
        all.is_right().await;
        let arrived = part.arrivals_after_settling(&hub).await;
        assert_eq!(
            portions(&arrived, EventType::GroupAddUser),
            [MEMBERS_PER_EVENT, MEMBERS_PER_EVENT, 234]
        );
        // Members arrive before their membership.
        let mut known: HashSet<String> = HashSet::new();
        for arrival in &arrived {
            match kind(arrival) {
                Some(EventType::UserCreate) => assert!(known.insert(arrival.biz_id.clone())),
                Some(EventType::GroupAddUser) => {
                    assert!(user_ids(arrival).iter().all(|id| known.contains(id)));
                }
                _ => {}
            }
        }
        assert_eq!(known.len(), SIZE);
        let deleted = hub
            .apply(Caller::system("test"), Command::DeleteGroup { id: group.clone() })
            .await
            .unwrap();
        assert_eq!(deleted.changes, SIZE + 1);
        all.is_right().await;
        part.is_right().await;
        assert!(part.app.snapshot().users.is_empty());
        let story: Vec<_> = all.app.arrivals();
        let since = story
            .iter()
            .rposition(|arrival| kind(arrival) == Some(EventType::GroupAddUser))
            .unwrap();
        let removed = portions(&story[since..], EventType::GroupRemoveUser);
        assert_eq!(removed, [MEMBERS_PER_EVENT, MEMBERS_PER_EVENT, 234]);
        assert_eq!(kind(story.last().unwrap()), Some(EventType::GroupDelete));
        delivery.stop().await;
    });
}

impl Simple {
    async fn arrivals_after_settling(&self, hub: &Hub) -> Vec<Arrival> {
        settled(hub, &self.application).await;
        self.app.arrivals()
    }
}

fn bytes(events: &[Event]) -> usize {
    events.iter().map(|event| event.biz_data.len()).sum()
}

#[test]
fn an_event_that_is_larger_than_the_limit_goes_alone() {
    on_both("larger_alone", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        let limits = Limits {
            max_bytes: Limits::LEAST_BYTES,
            ..Limits::default()
        };
        limit(&hub, &app.application, limits).await;
        let (group, ids) = large_group(&hub, 700).await;
        let last = user(&hub, "last").await;
        let delivery = deliver(&hub, hasty()).await;
        settled(&hub, &app.application).await;
        let most = Limits::LEAST_BYTES as usize;
        let requests = app.requests();
        let large: Vec<_> = requests.iter().filter(|events| bytes(events) > most).collect();
        assert_eq!(large.len(), 1, "500 members do not fit into the limit, 200 do");
        assert_eq!(large[0].len(), 1);
        let mut members = ids;
        members.sort_unstable();
        assert_eq!(app.members(&group), members);
        assert!(app.user(&last).is_some() && parked_of(&hub, &app.application).await.is_empty());
        delivery.stop().await;
    });
}

#[test]
fn an_event_that_is_too_large_for_the_application_is_set_aside_and_holds_up_nothing() {
    on_both("too_large_alone", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        // As a proxy with a limit answers.
        app.say(|events| match bytes(events) > Limits::LEAST_BYTES as usize {
            true => Say::Status(413),
            false => Say::Yes,
        });
        let (group, ids) = large_group(&hub, 700).await;
        let last = user(&hub, "last").await;
        let delivery = deliver(&hub, hasty()).await;
        settled(&hub, &app.application).await;
        assert!(app.user(&last).is_some());
        assert!(stored(&hub, &app.application).await.suspended.is_none());
        let parked = parked_of(&hub, &app.application).await;
        let [aside] = &parked[..] else {
            panic!("{parked:#?}")
        };
        assert_eq!((aside.state, &aside.subject_id), (ParkedState::Failed, &group));
        let said = aside.message.clone().unwrap();
        assert!(said.contains("413"), "{said}");
        assert_eq!(app.members(&group).len(), 200, "the portion behind it goes on");
        // Once the limit is raised, what is true of the group now is sent.
        app.say(|_| Say::Yes);
        let id = app.application.id.clone();
        hub.write_as(Caller::system("test"), move |tx, ctx| {
            operate::resend(tx, ctx, &id, None)
        })
        .await
        .unwrap();
        settled(&hub, &app.application).await;
        let mut members = ids;
        members.sort_unstable();
        assert_eq!(app.members(&group), members);
        delivery.stop().await;
    });
}

#[test]
fn the_largest_request_that_may_be_set_is_one_that_receivers_accept() {
    on_both("largest", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Simple::new(&hub, "App", Scope::everything(), Forgetful::new()).await;
        let limits = |max_bytes| Limits {
            max_events: 500,
            max_bytes,
            ..Limits::default()
        };
        let refused = hub
            .apply_application(
                Caller::system("test"),
                application::Command::Update {
                    id: app.application.id.clone(),
                    name: None,
                    secret: None,
                    settings: SettingsPatch {
                        max_bytes: Some(Limits::MOST_BYTES + 1),
                        ..SettingsPatch::default()
                    },
                },
            )
            .await
            .unwrap_err()
            .to_string();
        for part in ["16384 and 2097152, not 2097153", "more than 8388608 bytes"] {
            assert!(refused.contains(part), "{refused}");
        }
        limit(&hub, &app.application, limits(Limits::MOST_BYTES)).await;
        // What an earlier version allowed is brought down when it is read, and delivery goes on.
        let id = app.application.id.clone();
        hub.db
            .write(move |tx| {
                tx.execute(
                    "UPDATE applications SET settings = REPLACE(settings, '2097152', '4194304') WHERE id = $1",
                    params![id.as_str()],
                )
            })
            .await
            .unwrap();
        let now = stored(&hub, &app.application).await;
        assert_eq!(now.settings.limits, limits(Limits::MOST_BYTES));
        let delivery = deliver(&hub, hasty()).await;
        app.synchronize().await;
        let users = (0..600).map(|n| NewUser {
            custom_fields: (0..3)
                .map(|field| (format!("field{field}"), "☃\"".repeat(250)))
                .collect::<CustomFields>(),
            ..new_user(&format!("user{n}"), ROOT_UNIT)
        });
        create_users(&hub, users.collect()).await;
        app.is_right().await;
        let attempts = attempts_of(&hub, &app.application).await;
        assert!(
            attempts.iter().all(|attempt| attempt.outcome == "delivered"),
            "{attempts:#?}"
        );
        assert!(attempts.iter().any(|attempt| attempt.events > 350));
        delivery.stop().await;
    });
}

#[test]
fn a_user_is_in_so_many_units_at_most() {
    on_both("units_at_most", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let ada = user(&hub, "ada").await;
        let set = |count: usize| Command::SetUnits {
            id: ada.clone(),
            primary: ROOT_UNIT.to_owned(),
            further: (0..count).map(|n| format!("ou_{n}")).collect(),
        };
        let refused = hub.apply(Caller::system("test"), set(200)).await.unwrap_err();
        assert!(refused.to_string().contains("at most 200"), "{refused}");
        // Within the limit, the units are looked for.
        let refused = hub.apply(Caller::system("test"), set(199)).await.unwrap_err();
        assert!(!refused.to_string().contains("at most"), "{refused}");
        apply(&hub, described(&ada, "is as before")).await;
    });
}

#[test]
fn a_portion_of_members_goes_by_another_name_once_it_is_another() {
    on_both("portion_names", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        let (group, mut ids) = large_group(&hub, MEMBERS_PER_EVENT + 100).await;
        let delivery = deliver(&hub, hasty()).await;
        settled(&hub, &app.application).await;
        delivery.stop().await;
        let told = app.requests().len();
        let limits = Limits {
            max_events: 1,
            ..Limits::default()
        };
        limit(&hub, &app.application, limits).await;
        let id = app.application.id.clone();
        let requesting = hub.write_as(Caller::system("test"), move |tx, ctx| {
            job::request_full(tx, ctx, &id)
        });
        let job_id = requesting.await.unwrap();
        // The first portion arrives, and its answer is lost.
        app.say(|events| match events[0].kind() {
            Some(EventType::GroupAddUser) => Say::Status(502),
            _ => Say::Yes,
        });
        let patient = rollcall::delivery::Options {
            tries: 1_000,
            ..hasty()
        };
        let delivery = deliver(&hub, patient).await;
        let portions = || {
            let requests = app.requests().split_off(told);
            let adds = |event: &Event| event.kind() == Some(EventType::GroupAddUser);
            requests.into_iter().flatten().filter(adds).collect::<Vec<_>>()
        };
        until("a portion arrives", async || !portions().is_empty()).await;
        delivery.stop().await;
        // One of them leaves, but not the first, and everybody behind moves up.
        ids.sort_unstable();
        let left = ids.remove(1);
        let leave = Command::RemoveMembers {
            group_id: group.clone(),
            user_ids: vec![left],
        };
        apply(&hub, leave).await;
        app.say(|_| Say::Yes);
        let delivery = deliver(&hub, hasty()).await;
        ended(&hub, &job_id).await;
        settled(&hub, &app.application).await;
        let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for event in portions() {
            let members = GroupPayload::from_json(&event.biz_data)
                .unwrap()
                .user_ids
                .unwrap();
            let known = named.entry(event.event_id).or_insert_with(|| members.clone());
            assert!(*known == members, "two portions have one id");
        }
        assert_eq!(named.len(), 3, "one that was lost, and two that count");
        assert_eq!(app.members(&group), ids);
        delivery.stop().await;
    });
}
