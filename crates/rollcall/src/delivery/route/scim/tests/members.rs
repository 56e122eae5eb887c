//! The members of groups, in each of the ways in which they are told.

use rollcall_protocol::EventType;
use rollcall_scim::client::{GroupUpdate, Update};
use rollcall_scim::testing::members;
use serde_json::json;

use super::{World, code, created, of_group, scim};

#[test]
fn who_is_unknown_keeps_nobody_else_out_of_a_group() {
    for groups in [GroupUpdate::Change, GroupUpdate::Replace, GroupUpdate::Put] {
        let (mut world, mut scim) = (World::default(), scim());
        scim.profile.groups = groups;
        created(&mut world, &scim, &["user_1"]);
        let now = ["user_1", "user_7"].map(str::to_owned);
        world.groups.insert("group_1".to_owned(), now.into());
        let events = [
            of_group(EventType::GroupCreate, "group_1", &[]),
            of_group(EventType::GroupAddUser, "group_1", &["user_1"]),
            of_group(EventType::GroupAddUser, "group_1", &["user_7"]),
            // Deleted before this could be told, so there is nothing to repair.
            of_group(EventType::GroupAddUser, "group_1", &["user_8"]),
        ];
        let (decided, _) = world.carry(&scim, &events);
        let codes: Vec<_> = decided.iter().map(code).collect();
        assert_eq!(
            codes,
            ["accepted", "accepted", "member_unknown", "accepted"],
            "{groups:?}"
        );
        assert_eq!(members(&world.provider.groups["2"]), ["1"], "{groups:?}");
        // Once they are there, they join.
        created(&mut world, &scim, &["user_7"]);
        world.told(&scim, &events[2..3]);
        assert_eq!(members(&world.provider.groups["2"]), ["1", "3"], "{groups:?}");
        // So it is if the group was lost there.
        world.provider.groups.clear();
        world
            .groups
            .entry("group_1".to_owned())
            .or_default()
            .insert("user_9".to_owned());
        let late = of_group(EventType::GroupAddUser, "group_1", &["user_9"]);
        let (decided, _) = world.carry(&scim, &[late]);
        assert_eq!(code(&decided[0]), "member_unknown", "{groups:?}");
    }
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
fn a_group_that_changed_there_meanwhile_is_put_with_its_members() {
    let mut world = World::default();
    let mut scim = scim();
    scim.profile.groups = GroupUpdate::Put;
    scim.profile.etags = true;
    created(&mut world, &scim, &["user_1"]);
    world.told(&scim, &[of_group(EventType::GroupCreate, "group_1", &[])]);
    // Somebody changes it there, so that it has another version, and is as it was but for that.
    let group = world.provider.groups.get_mut("2").unwrap();
    group.insert("meta".to_owned(), json!({ "version": "7" }));
    world
        .groups
        .insert("group_1".to_owned(), ["user_1".to_owned()].into());
    let joins = of_group(EventType::GroupAddUser, "group_1", &["user_1"]);
    world.told(&scim, &[joins]);
    assert_eq!(members(&world.provider.groups["2"]), ["1"]);
}
