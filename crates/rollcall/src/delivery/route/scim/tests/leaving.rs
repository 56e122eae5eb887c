//! Whoever leaves, and the account that stays.

use std::collections::BTreeSet;
use std::sync::Arc;

use rollcall_protocol::{EventType, SubjectKind, UserPayload, UserStatus};
use rollcall_scim::client::{GroupUpdate, Update};
use rollcall_scim::testing::members;
use serde_json::json;

use super::{World, change, code, created, of_group, of_user, scim, user};
use crate::application::scim::{Leavers, Scim};
use crate::delivery::model::{Origin, Outgoing};
use crate::placement::Placement;

#[test]
fn those_who_leave_are_dealt_with_as_the_settings_say() {
    for (leavers, calls, left) in [
        (Leavers::Disable, vec!["PATCH Users/1", "GET Groups"], Some(false)),
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

/// A deletion as the log has it, of somebody who was in these groups.
fn deletion(id: &str, groups: &[&str]) -> Outgoing {
    let mut outgoing = change(EventType::UserDelete, &user(id, id, None), json!({}));
    if let Origin::Change(change) = &mut outgoing.origin {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let units = Vec::new();
        Arc::get_mut(change).unwrap().before = Some(Arc::new(Placement { units, groups }));
    }
    outgoing
}

#[test]
fn who_stays_as_a_disabled_account_is_in_no_group() {
    for groups in [GroupUpdate::Change, GroupUpdate::Replace, GroupUpdate::Put] {
        for etags in [false, true] {
            let (mut world, mut scim) = (World::default(), scim());
            scim.profile.groups = groups;
            scim.profile.etags = etags;
            scim.leavers = Leavers::Disable;
            created(&mut world, &scim, &["user_1", "user_2", "user_3"]);
            let all: BTreeSet<String> = ["user_1", "user_2", "user_3"].map(str::to_owned).into();
            for group in ["group_1", "group_2"] {
                world.groups.insert(group.to_owned(), all.clone());
                let joined = of_group(EventType::GroupAddUser, group, &["user_1", "user_2", "user_3"]);
                world.told(&scim, &[of_group(EventType::GroupCreate, group, &[]), joined]);
            }
            // A group of somebody else's is left alone.
            let theirs = json!({ "id": "99", "displayName": "Theirs", "members": [{ "value": "3" }] });
            let theirs = theirs.as_object().unwrap().clone();
            world.provider.groups.insert("99".to_owned(), theirs.clone());
            // The log says in which groups somebody was; of what is sent again, the application says it.
            for (gone, left) in [
                (deletion("user_2", &["group_1", "group_2"]), vec!["1", "3"]),
                (
                    of_user(EventType::UserDelete, &user("user_3", "user_3", None)),
                    vec!["1"],
                ),
            ] {
                for members in world.groups.values_mut() {
                    members.remove(gone.subject_id());
                }
                world.told(&scim, &[gone]);
                for group in ["4", "5"] {
                    assert_eq!(members(&world.provider.groups[group]), left, "{groups:?} {etags}");
                }
            }
            assert_eq!(world.provider.groups["99"], theirs);
            assert_eq!(world.there("user_3")["active"], false);
            // Told once more, after their settlement was lost, nothing is changed.
            let late = of_group(EventType::GroupAddUser, "group_1", &["user_2"]);
            world.told(&scim, &[deletion("user_2", &["group_1"]), late]);
            assert_eq!(members(&world.provider.groups["4"]), ["1"], "{groups:?} {etags}");
        }
    }
}

#[test]
fn the_account_of_whoever_has_left_is_free_for_another_of_their_name() {
    let (mut world, mut scim) = (World::default(), scim());
    scim.leavers = Leavers::Disable;
    let ada = |id| of_user(EventType::UserCreate, &user(id, "ada", None));
    world.told(&scim, &[ada("user_1")]);
    world.told(
        &scim,
        &[of_user(EventType::UserDelete, &user("user_1", "ada", None))],
    );
    world.told(&scim, &[ada("user_2")]);
    assert_eq!(world.provider.users.len(), 1);
    assert_eq!(world.there("user_2")["active"], true);
    let known: Vec<_> = world.stored.keys().map(|(_, id)| id.as_str()).collect();
    assert_eq!(known, ["user_2"]);
    // Who was disabled by the directory keeps theirs.
    let disabled = UserPayload {
        status: Some(UserStatus::Disabled),
        ..user("user_2", "ada", None)
    };
    world.told(&scim, &[of_user(EventType::UserDisable, &disabled)]);
    let (decided, _) = world.carry(&scim, &[ada("user_3")]);
    assert_eq!(code(&decided[0]), "taken");
}

#[test]
fn who_is_known_by_the_id_alone_is_disabled_as_they_are_there() {
    for update in [Update::Patch, Update::Put] {
        let (mut world, mut scim) = (World::default(), scim());
        scim.profile.users = update;
        scim.leavers = Leavers::Disable;
        created(&mut world, &scim, &["user_1"]);
        let before = world.there("user_1").clone();
        // A deletion that is told again says no more.
        let gone = UserPayload {
            user_id: "user_1".to_owned(),
            ..UserPayload::default()
        };
        world.told(&scim, &[of_user(EventType::UserDelete, &gone)]);
        let mut after = world.there("user_1").clone();
        assert_eq!(after.insert("active".to_owned(), true.into()), Some(false.into()));
        let without_version = |mut user: rollcall_scim::Object| {
            user.remove("meta");
            user
        };
        assert_eq!(without_version(after), without_version(before), "{update:?}");
    }
}

#[test]
fn who_comes_back_is_there_although_nobody_heard_that_they_had_gone() {
    for leavers in [Leavers::Delete, Leavers::Disable] {
        for update in [Update::Patch, Update::Put] {
            let (mut world, mut scim) = (World::default(), scim());
            scim.leavers = leavers;
            scim.profile.users = update;
            created(&mut world, &scim, &["user_1"]);
            let same = || user("user_1", "user_1", None);
            let gone = change(EventType::UserDelete, &same(), json!({}));
            let back = change(EventType::UserCreate, &same(), json!({}));
            world.carry(&scim, std::slice::from_ref(&gone));
            // The process dies before that is settled.
            world.memory = Default::default();
            world.told(&scim, &[gone, back]);
            assert_eq!(world.there("user_1")["active"], true, "{leavers:?} {update:?}");
        }
    }
}
