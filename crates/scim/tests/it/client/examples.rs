//! Which requests are sent, case by case.

use rollcall_scim::client::{
    Goal, Known, MemberChange, Membership, Outcome, Preset, Profile, Provision, Reply, Step, Update,
};
use rollcall_scim::patch::Removal;
use rollcall_scim::schema::{group, user};
use rollcall_scim::testing::{Provider, members};
use serde_json::json;

use super::{Way, carry, managed, status, told, wanted};
use crate::object;

fn present(name: &str, title: Option<&str>) -> Goal {
    Goal::Present(wanted("user_1", name, title))
}

#[test]
fn a_user_is_looked_for_made_and_then_changed_by_what_differs() {
    let mut provider = Provider::default();
    let profile = Profile::default();
    let tell =
        |provider: &mut Provider, goal, known| told(provider, &profile, Update::Patch, "user_1", goal, known);
    let known = tell(&mut provider, present("ada", Some("Countess")), None);
    assert_eq!(provider.calls, ["GET Users", "POST Users"]);
    let known = tell(&mut provider, present("ada", Some("Countess")), known);
    assert_eq!(provider.calls.len(), 2, "what was told is not told again");
    let known = tell(&mut provider, present("ada.l", None), known);
    assert_eq!(provider.calls[2..], ["PATCH Users/1"]);
    assert_eq!(
        provider.bodies[1]["Operations"],
        json!([
            { "op": "replace", "path": "userName", "value": "ada.l" },
            { "op": "replace", "path": "name.formatted", "value": "ada.l" },
            { "op": "remove", "path": "title" },
        ])
    );
    let known = tell(
        &mut provider,
        Goal::Disabled(wanted("user_1", "ada.l", None)),
        known,
    );
    assert_eq!(provider.users["1"]["active"], false);
    let known = tell(
        &mut provider,
        Goal::Disabled(wanted("user_1", "ada.l", None)),
        known,
    );
    assert_eq!(provider.calls.len(), 4);
    // Whoever comes back is read, because nobody knows what became of it meanwhile.
    let known = tell(&mut provider, present("ada.l", None), known);
    assert_eq!(provider.calls[4..], ["GET Users/1", "PATCH Users/1"]);
    assert_eq!(provider.users["1"]["active"], true);
    assert_eq!(tell(&mut provider, Goal::Deleted, known), None);
    assert_eq!(provider.calls[6..], ["DELETE Users/1"]);
    assert!(provider.users.is_empty());
}

#[test]
fn without_paths_one_value_holds_all_that_is_replaced() {
    let mut provider = Provider::default();
    let profile = Profile {
        paths: false,
        ..Profile::default()
    };
    let known = told(
        &mut provider,
        &profile,
        Update::Patch,
        "user_1",
        present("ada", Some("Dr")),
        None,
    );
    told(
        &mut provider,
        &profile,
        Update::Patch,
        "user_1",
        present("ada.l", None),
        known,
    );
    assert_eq!(
        provider.bodies[1]["Operations"],
        json!([
            { "op": "replace", "value": { "userName": "ada.l", "name": { "formatted": "ada.l" } } },
            { "op": "remove", "path": "title" },
        ])
    );
    assert_eq!(provider.users["1"]["name"], json!({ "formatted": "ada.l" }));
}

#[test]
fn a_taken_name_leads_to_whoever_has_it() {
    let profile = Profile::default();
    let managed = managed();
    for is_free in [true, false] {
        let mut provider = Provider::default();
        told(
            &mut provider,
            &profile,
            Update::Patch,
            "somebody",
            Goal::Present(wanted("somebody", "ada", Some("Old"))),
            None,
        );
        provider.calls.clear();
        let goal = present("ada", None);
        let provision = Provision::new(user(), &profile, &managed, Update::Patch, "user_1", goal, None);
        let outcome = carry(&mut provider, provision, &Way::Open, |id| {
            assert_eq!(id, "1");
            is_free
        });
        match (is_free, outcome.unwrap()) {
            (true, Outcome::Told(Some(known))) => {
                assert_eq!(known.id, "1");
                assert_eq!(
                    provider.calls,
                    ["GET Users", "POST Users", "GET Users", "PATCH Users/1"]
                );
                assert_eq!(provider.users["1"]["externalId"], "user_1");
                assert!(!provider.users["1"].contains_key("title"));
            }
            (false, Outcome::Taken(refusal)) => {
                assert_eq!(refusal.status, 409);
                assert_eq!(provider.users["1"]["externalId"], "somebody");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(provider.users.len(), 1);
    }
}

#[test]
fn nobody_leaves_for_the_sake_of_a_name() {
    let mut provider = Provider::default();
    let profile = Profile {
        finds_external_ids: false,
        ..Profile::default()
    };
    told(
        &mut provider,
        &profile,
        Update::Patch,
        "somebody",
        Goal::Present(wanted("somebody", "ada", None)),
        None,
    );
    for goal in [Goal::Disabled(wanted("user_1", "ada", None)), Goal::Deleted] {
        let left = told(&mut provider, &profile, Update::Patch, "user_1", goal, None);
        assert_eq!(left, None);
        assert_eq!(provider.users["1"]["active"], true);
    }
}

#[test]
fn a_filter_that_is_passed_over_finds_nobody_else() {
    let mut provider = Provider {
        passes_over_external_ids: true,
        ..Provider::default()
    };
    let profile = Profile::default();
    for (key, name) in [("user_1", "ada"), ("user_2", "bob"), ("user_3", "eve")] {
        let goal = Goal::Present(wanted(key, name, None));
        told(&mut provider, &profile, Update::Patch, key, goal, None);
    }
    assert_eq!(provider.users.len(), 3);
}

#[test]
fn whoever_was_made_again_and_nobody_heard_of_it_is_deleted_too() {
    let mut provider = Provider::default();
    let profile = Profile::default();
    let tell =
        |provider: &mut Provider, goal, known| told(provider, &profile, Update::Patch, "user_1", goal, known);
    let known = tell(&mut provider, present("ada", None), None);
    provider.users.clear();
    // What comes of this is forgotten: the client was killed before it was stored.
    tell(&mut provider, present("ada.l", None), known.clone());
    provider.calls.clear();
    assert_eq!(tell(&mut provider, Goal::Deleted, known.clone()), None);
    assert!(provider.users.is_empty());
    assert_eq!(provider.calls, ["DELETE Users/1", "GET Users", "DELETE Users/2"]);
    provider.calls.clear();
    assert_eq!(tell(&mut provider, Goal::Deleted, known), None);
    assert_eq!(provider.calls, ["DELETE Users/1", "GET Users"]);
}

#[test]
fn what_was_deleted_there_is_made_again() {
    let mut provider = Provider::default();
    let profile = Profile::default();
    let known = told(
        &mut provider,
        &profile,
        Update::Patch,
        "user_1",
        present("ada", None),
        None,
    );
    provider.users.clear();
    provider.calls.clear();
    let known = told(
        &mut provider,
        &profile,
        Update::Patch,
        "user_1",
        present("ada", Some("Dr")),
        known,
    );
    assert_eq!(provider.calls, ["PATCH Users/1", "GET Users", "POST Users"]);
    assert_eq!(known.unwrap().id, "2");
}

#[test]
fn what_changed_there_is_read_before_it_is_changed_if_versions_are_named() {
    let mut provider = Provider::default();
    let profile = Profile {
        etags: true,
        ..Profile::default()
    };
    let known = told(
        &mut provider,
        &profile,
        Update::Patch,
        "user_1",
        present("ada", Some("Dr")),
        None,
    );
    assert_eq!(known.as_ref().unwrap().etag.as_deref(), Some("1"));
    let there = provider.users.get_mut("1").unwrap();
    there.insert("title".to_owned(), "Professor".into());
    there.insert("nickName".to_owned(), "Enchantress".into());
    there["meta"]["version"] = "7".into();
    provider.calls.clear();
    let known = told(
        &mut provider,
        &profile,
        Update::Patch,
        "user_1",
        present("ada.l", Some("Dr")),
        known,
    );
    assert_eq!(provider.calls, ["PATCH Users/1", "GET Users/1", "PATCH Users/1"]);
    assert_eq!(provider.users["1"]["title"], "Dr");
    assert_eq!(provider.users["1"]["nickName"], "Enchantress");
    assert_eq!(known.unwrap().etag.as_deref(), Some("8"));
}

#[test]
fn an_answer_says_whether_it_is_about_the_resource() {
    let managed = managed();
    let profile = Profile::default();
    let known = Known {
        id: "1".to_owned(),
        last: Some(wanted("user_1", "ada", None)),
        ..Known::default()
    };
    for (code, expected) in [
        (400, "Refused"),
        (409, "Taken"),
        (413, "Refused"),
        (422, "Refused"),
        (405, "Unsuitable"),
        (501, "Unsuitable"),
        (401, "Failed"),
        (403, "Failed"),
        (429, "Failed"),
        (500, "Failed"),
        (503, "Failed"),
        (302, "Failed"),
    ] {
        let goal = present("ada.l", None);
        let mut provision = Provision::new(
            user(),
            &profile,
            &managed,
            Update::Patch,
            "user_1",
            goal,
            Some(known.clone()),
        );
        provision.answer(&status(code));
        let Step::Over(outcome) = provision.step() else {
            panic!("{code}: {:?}", provision.step());
        };
        assert!(
            format!("{outcome:?}").starts_with(expected),
            "{code}: {outcome:?}"
        );
    }
}

#[test]
fn an_id_is_found_in_the_location_or_looked_for() {
    let managed = managed();
    let profile = Profile::default();
    let begun = || {
        let goal = present("ada", None);
        let mut provision = Provision::new(user(), &profile, &managed, Update::Patch, "user_1", goal, None);
        provision.answer(&Reply {
            body: Some(json!({ "Resources": [] })),
            ..status(200)
        });
        provision
    };
    let mut provision = begun();
    provision.answer(&Reply {
        location: Some("https://app.example/scim/v2/Users/77".to_owned()),
        ..status(201)
    });
    assert!(matches!(provision.step(), Step::Over(Outcome::Told(Some(known))) if known.id == "77"));
    let mut provision = begun();
    provision.answer(&status(201));
    assert!(matches!(provision.step(), Step::Send(call) if call.query[0].1 == r#"externalId eq "user_1""#));
    // It is not made once more.
    provision.answer(&Reply {
        body: Some(json!({ "totalResults": 0 })),
        ..status(200)
    });
    assert!(matches!(provision.step(), Step::Over(Outcome::Failed(_))));
}

#[test]
fn nobody_is_made_because_an_answer_cannot_be_read() {
    let managed = managed();
    let profile = Profile::default();
    for body in [None, Some(json!("<html>")), Some(json!({ "error": "no" }))] {
        let goal = present("ada", None);
        let mut provision = Provision::new(user(), &profile, &managed, Update::Patch, "user_1", goal, None);
        provision.answer(&Reply { body, ..status(200) });
        assert!(matches!(provision.step(), Step::Over(Outcome::Failed(_))));
    }
}

#[test]
fn a_group_is_looked_for_by_id_and_by_name_before_it_is_made() {
    let mut provider = Provider::default();
    let profile = Profile::default();
    let managed = rollcall_scim::client::Managed::of(
        &["displayName".parse().unwrap(), "externalId".parse().unwrap()],
        group(),
    );
    let wanted = object(json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "externalId": "group_1",
        "displayName": "Engineers",
    }));
    let provision = Provision::new(
        group(),
        &profile,
        &managed,
        Update::Patch,
        "group_1",
        Goal::Present(wanted.clone()),
        None,
    );
    carry(&mut provider, provision, &Way::Open, |_| true);
    assert_eq!(provider.calls, ["GET Groups", "GET Groups", "POST Groups"]);
    // A group that somebody made by hand, of the same name, is taken over.
    provider.groups.get_mut("1").unwrap().remove("externalId");
    provider.calls.clear();
    let goal = Goal::Present(wanted);
    let provision = Provision::new(group(), &profile, &managed, Update::Patch, "group_1", goal, None);
    carry(&mut provider, provision, &Way::Open, |_| true);
    assert_eq!(provider.calls, ["GET Groups", "GET Groups", "PATCH Groups/1"]);
    assert_eq!(provider.groups["1"]["externalId"], "group_1");
}

fn with_group(users: usize) -> Provider {
    let mut provider = Provider::default();
    for number in 0..users {
        let user = object(json!({ "id": number.to_string(), "userName": number.to_string() }));
        provider.users.insert(number.to_string(), user);
    }
    let group = object(json!({ "id": "g", "displayName": "All", "meta": { "version": "1" } }));
    provider.groups.insert("g".to_owned(), group);
    provider
}

fn carry_members(provider: &mut Provider, membership: &mut Membership<'_>) -> Outcome {
    for _ in 0..200 {
        match membership.step() {
            Step::Send(call) => {
                let reply = provider.answer(&call);
                membership.answer(&reply);
            }
            Step::Over(outcome) => return outcome,
            Step::Claim(_) => panic!("members claim nothing"),
        }
    }
    panic!("it does not come to an end");
}

fn joining(numbers: std::ops::Range<usize>) -> Vec<MemberChange> {
    numbers
        .map(|number| MemberChange {
            id: number.to_string(),
            joins: true,
        })
        .collect()
}

#[test]
fn members_go_in_portions_of_one_request_each() {
    let mut provider = with_group(250);
    provider.members_at_most = Some(100);
    let profile = Preset::AwsIdentityCenter.profile();
    let mut membership = Membership::change(&profile, "g", joining(0..250));
    assert_eq!(carry_members(&mut provider, &mut membership), Outcome::Told(None));
    assert_eq!(provider.calls, ["PATCH Groups/g"; 3]);
    assert_eq!(members(&provider.groups["g"]).len(), 250);
    let mut changes = joining(0..1);
    changes.push(MemberChange {
        id: "7".to_owned(),
        joins: false,
    });
    provider.calls.clear();
    provider.bodies.clear();
    let mut membership = Membership::change(&profile, "g", changes);
    carry_members(&mut provider, &mut membership);
    assert_eq!(provider.calls.len(), 1);
    assert_eq!(
        provider.bodies[0]["Operations"],
        json!([
            { "op": "remove", "path": r#"members[value eq "7"]"# },
            { "op": "add", "path": "members", "value": [{ "value": "0" }] },
        ])
    );
    assert_eq!(members(&provider.groups["g"]).len(), 249);
}

#[test]
fn who_is_not_there_keeps_nobody_else_out() {
    let mut provider = with_group(10);
    provider.users.remove("3");
    let profile = Profile::default();
    let mut membership = Membership::change(&profile, "g", joining(0..10));
    assert_eq!(carry_members(&mut provider, &mut membership), Outcome::Told(None));
    assert_eq!(members(&provider.groups["g"]).len(), 9);
    let refused: Vec<usize> = membership.refused().iter().map(|(number, _)| *number).collect();
    assert_eq!(refused, [3]);
    assert_eq!(membership.told().iter().filter(|told| **told).count(), 9);
}

#[test]
fn a_failure_in_the_middle_leaves_what_was_told() {
    let profile = Profile {
        members_at_once: 2,
        ..Profile::default()
    };
    let mut membership = Membership::change(&profile, "g", joining(0..5));
    membership.answer(&status(204));
    membership.answer(&status(503));
    assert!(matches!(membership.step(), Step::Over(Outcome::Failed(refusal)) if refusal.status == 503));
    assert_eq!(membership.told(), [true, true, false, false, false]);
}

#[test]
fn a_group_that_is_gone_is_told_apart_from_a_member_that_is() {
    let profile = Profile::default();
    for (group_is_there, over) in [(200, false), (404, true)] {
        let mut membership = Membership::change(&profile, "g", joining(0..2));
        membership.answer(&status(404));
        assert!(matches!(membership.step(), Step::Send(call) if call.method.as_str() == "GET"));
        membership.answer(&status(group_is_there));
        assert_eq!(matches!(membership.step(), Step::Over(_)), over);
    }
}

#[test]
fn all_members_are_replaced_in_portions() {
    let mut provider = with_group(5);
    let profile = Profile {
        members_at_once: 2,
        ..Profile::default()
    };
    carry_members(
        &mut provider,
        &mut Membership::change(&profile, "g", joining(0..2)),
    );
    provider.calls.clear();
    let all = ["2", "3", "4"].map(str::to_owned).to_vec();
    let mut membership = Membership::replace(&profile, "g", all.clone());
    assert_eq!(carry_members(&mut provider, &mut membership), Outcome::Told(None));
    assert_eq!(provider.calls.len(), 2);
    assert_eq!(members(&provider.groups["g"]), all);
    let mut membership = Membership::replace(&profile, "g", Vec::new());
    carry_members(&mut provider, &mut membership);
    assert!(members(&provider.groups["g"]).is_empty());
}

#[test]
fn presets_are_profiles_that_survive_being_stored() {
    for preset in Preset::ALL {
        let stored = serde_json::to_string(&preset.profile()).unwrap();
        assert_eq!(
            serde_json::from_str::<Profile>(&stored).unwrap(),
            preset.profile()
        );
        assert_eq!(serde_json::to_value(preset).unwrap(), preset.as_str());
    }
    assert_eq!(Preset::EntraGallery.profile().removal, Removal::ByList);
    assert!(serde_json::from_str::<Profile>(r#"{"user":"patch"}"#).is_err());
}
