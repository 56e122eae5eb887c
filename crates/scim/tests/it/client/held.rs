//! What holds whatever is wanted and whatever gets lost.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use rollcall_scim::client::{
    Goal, Known, MemberChange, Membership, Outcome, Profile, Provision, Step, Update,
};
use rollcall_scim::schema::user;
use rollcall_scim::testing::{Provider, members};
use serde_json::{Value, json};

use super::{Way, carry, managed, wanted};
use crate::object;

/// One thing that is to be told, and what happens meanwhile.
#[derive(Clone, Debug)]
struct Deed {
    who: usize,
    goal: What,
    way: (u8, usize),
    /// Whether everything that was known of the resource is forgotten before: a crash before the commit, or a restore.
    forgets: bool,
    /// Whether somebody deletes the resource there before.
    deleted_there: bool,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Present { title: Option<u8> },
    Renamed,
    Disabled,
    Deleted,
}

fn deed() -> impl Strategy<Value = Deed> {
    let goal = prop_oneof![
        4 => option::of(0..3_u8).prop_map(|title| What::Present { title }),
        2 => Just(What::Renamed),
        1 => Just(What::Disabled),
        1 => Just(What::Deleted),
    ];
    (
        0..3_usize,
        goal,
        (0..4_u8, 0..4_usize),
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.1),
    )
        .prop_map(|(who, goal, way, forgets, deleted_there)| Deed {
            who,
            goal,
            way,
            forgets,
            deleted_there,
        })
}

fn profile() -> impl Strategy<Value = (Profile, Update)> {
    (
        any::<bool>(),
        any::<bool>(),
        select(vec![Update::Patch, Update::Put]),
    )
        .prop_map(|(paths, etags, update)| {
            let profile = Profile {
                paths,
                etags,
                ..Profile::default()
            };
            (profile, update)
        })
}

const NAMES: [&str; 3] = ["ada", "bob", "eve"];

proptest! {
    #[test]
    fn whatever_gets_lost_each_is_there_once_as_it_was_wanted_last(
        deeds in vec(deed(), 1..25), (profile, update) in profile()
    ) {
        let managed = managed();
        let mut provider = Provider::default();
        let mut known: BTreeMap<usize, Known> = BTreeMap::new();
        let mut renamed: BTreeSet<usize> = BTreeSet::new();
        // Who was deleted there and not told of as present since. Whoever counts as disabled is not asked about.
        let mut lost: BTreeSet<usize> = BTreeSet::new();
        for deed in deeds {
            let Deed { who, .. } = deed;
            let key = format!("user_{who}");
            if let What::Renamed = deed.goal {
                renamed.insert(who);
            }
            let name = match renamed.contains(&who) {
                true => format!("{}.{who}", NAMES[who]),
                false => NAMES[who].to_owned(),
            };
            let resource = match deed.goal {
                What::Present { title } => wanted(&key, &name, title.map(|_| "Dr")),
                _ => wanted(&key, &name, None),
            };
            let goal = match deed.goal {
                What::Present { .. } | What::Renamed => Goal::Present(resource.clone()),
                What::Disabled => Goal::Disabled(resource.clone()),
                What::Deleted => Goal::Deleted,
            };
            if deed.forgets {
                known.remove(&who);
            }
            if deed.deleted_there {
                provider.users.retain(|_, user| user["externalId"] != key.as_str());
                known.entry(who).and_modify(|known| known.last = None);
                lost.insert(who);
            }
            if let Goal::Present(_) = goal {
                lost.remove(&who);
            }
            let provision = || Provision::new(
                user(), &profile, &managed, update, &key, goal.clone(), known.get(&who).cloned(),
            );
            // What is lost is told again, from what is known.
            match deed.way {
                (0, at) => { carry(&mut provider, provision(), &Way::Lost(at), |_| true); }
                (1, at) => { carry(&mut provider, provision(), &Way::Cut(at), |_| true); }
                _ => {}
            }
            match carry(&mut provider, provision(), &Way::Open, |_| true) {
                Some(Outcome::Told(Some(now))) => { known.insert(who, now); }
                Some(Outcome::Told(None)) => { known.remove(&who); }
                other => prop_assert!(false, "{:?}", other),
            }
            let there: Vec<_> = provider.users.values().filter(|user| user["externalId"] == key.as_str()).collect();
            match (&deed.goal, &there[..]) {
                (What::Present { .. } | What::Renamed, [there]) => {
                    prop_assert_eq!(managed.part_of(there), managed.part_of(&resource));
                    prop_assert_eq!(&there["id"], &Value::from(known[&who].id.clone()));
                }
                (What::Disabled, []) => prop_assert!(!known.contains_key(&who) || lost.contains(&who)),
                (What::Disabled, [there]) => prop_assert_eq!(&there["active"], &Value::from(false)),
                (What::Deleted, []) => prop_assert!(!known.contains_key(&who)),
                other => prop_assert!(false, "{:?}", other),
            }
            // What is known is not told twice.
            let before = provider.calls.len();
            if let Some(Outcome::Told(again)) = carry(&mut provider, provision_of(&profile, &managed, update, &key, goal, known.get(&who).cloned()), &Way::Open, |_| true) {
                let quiet = known.contains_key(&who);
                prop_assert!(!quiet || provider.calls.len() == before, "{:?}", &provider.calls[before..]);
                prop_assert_eq!(again.is_some(), quiet);
            }
        }
    }

    #[test]
    fn members_end_as_wanted_whichever_are_missing(
        before in vec(0..12_usize, 0..8), changes in vec((0..12_usize, any::<bool>()), 0..20),
        missing in vec(0..12_usize, 0..4), at_once in 1..6_u32, at_list in any::<bool>(),
    ) {
        let profile = Profile { members_at_once: at_once, paths: at_list, ..Profile::default() };
        let mut provider = Provider { members_at_most: Some(at_once as usize), ..Provider::default() };
        let mut users: BTreeSet<usize> = (0..12).collect();
        let before: BTreeSet<usize> = before.into_iter().collect();
        for number in missing {
            if !before.contains(&number) {
                users.remove(&number);
            }
        }
        for number in &users {
            let id = number.to_string();
            provider.users.insert(id.clone(), object(json!({ "id": id, "userName": id })));
        }
        let listed: Vec<Value> = before.iter().map(|number| json!({ "value": number.to_string() })).collect();
        let mut group = object(json!({ "id": "g", "displayName": "All" }));
        if !listed.is_empty() {
            group.insert("members".to_owned(), listed.into());
        }
        provider.groups.insert("g".to_owned(), group);
        let mut last = BTreeMap::new();
        for (number, joins) in changes {
            last.insert(number, joins);
        }
        let changes: Vec<_> = last
            .iter()
            .map(|(number, joins)| MemberChange { id: number.to_string(), joins: *joins })
            .collect();
        let mut membership = Membership::change(&profile, "g", changes);
        let outcome = loop {
            match membership.step() {
                Step::Send(call) => { let reply = provider.answer(&call); membership.answer(&reply); }
                Step::Over(outcome) => break outcome,
                Step::Claim(_) => unreachable!(),
            }
        };
        prop_assert_eq!(outcome, Outcome::Told(None));
        let mut expected = before;
        for (number, joins) in &last {
            match joins {
                true if users.contains(number) => { expected.insert(*number); }
                true => {}
                false => { expected.remove(number); }
            }
        }
        let now: BTreeSet<usize> = members(&provider.groups["g"]).iter().map(|id| id.parse().unwrap()).collect();
        prop_assert_eq!(now, expected);
        let refused = membership.refused().len();
        prop_assert_eq!(refused, last.iter().filter(|(number, joins)| **joins && !users.contains(number)).count());
    }
}

fn provision_of<'a>(
    profile: &'a Profile,
    managed: &'a rollcall_scim::client::Managed,
    update: Update,
    key: &'a str,
    goal: Goal,
    known: Option<Known>,
) -> Provision<'a> {
    Provision::new(user(), profile, managed, update, key, goal, known)
}
