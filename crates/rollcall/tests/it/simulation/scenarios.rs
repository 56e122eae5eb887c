//! Single misfortunes, each told as a story: what once lost or reordered something, on simulated time.
//!
//! The applications are those of the simulation. `plain` keeps no memory of what it has seen, so that nothing but the
//! hub holds the order; `kit` remembers, and answers from memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollcall::application::Command as AppCommand;
use rollcall::delivery::ledger::operate;
use rollcall::delivery::ledger::parked::{self, Parked, ParkedState};
use rollcall::directory::{Command, NewGroup};
use rollcall::id::ROOT_UNIT;
use rollcall_db::testing::Fault;
use rollcall_db::{DbError, params};
use rollcall_receiver::Outcome;
use rollcall_receiver::testing::{Act, Arrival};

use super::history::History;
use super::network::{Copy, Trick};
use super::plan::{Deed, Plan, Step};
use super::world::{World, caller};
use crate::world::{described, new_user};

/// Tells a story; at the end, when nothing goes wrong any more, all copies must be equal.
fn story(tell: impl FnOnce(&mut World)) {
    let history = Arc::new(History::new());
    let mut world = World::new(&Plan::empty(), &history);
    world.pass(10_000);
    tell(&mut world);
    if let Err(wrong) = super::settle(&mut world) {
        panic!("{}\n{}", wrong.told, history.lines());
    }
}

fn again() -> Outcome {
    Outcome::Retry {
        code: "exception".to_owned(),
        message: "busy".to_owned(),
    }
}

fn refused() -> Outcome {
    Outcome::Failed {
        code: "poison".to_owned(),
        message: "cannot be stored".to_owned(),
    }
}

impl World {
    fn change(&mut self, command: Command) -> String {
        let id = self.on_hub(async |hub| hub.apply(caller(), command).await.unwrap().id);
        id.unwrap()
    }

    fn user(&mut self, username: &str) -> String {
        self.change(Command::CreateUser(new_user(username, ROOT_UNIT)))
    }

    /// Lets `plain` answer so to the first so many events that bear the first text, without applying them.
    fn first_text_is_answered(&self, times: u32, outcome: fn() -> Outcome) {
        let mut left = times;
        self.network.script(move |name, event| {
            let meant = name == "plain" && event.biz_data.contains("first text") && left > 0;
            left -= u32::from(meant);
            meant.then(|| Act::Answer(outcome()))
        });
    }

    /// What is done while an application is paused arrives together.
    fn at_once(&mut self, name: &str, doing: impl FnOnce(&mut Self)) {
        let id = self.id_of(name);
        let switch = |world: &Self, command| {
            let done = world.on_hub(async |hub| hub.apply_application(caller(), command).await);
            done.unwrap().unwrap();
        };
        switch(self, AppCommand::DisableSynchronization { id: id.clone() });
        doing(self);
        switch(self, AppCommand::EnableSynchronization { id });
    }

    /// What has arrived about somebody at an application without memory.
    fn arrivals(&self, name: &str, id: &str) -> Vec<Arrival> {
        match &*self.network.copy(name).unwrap() {
            Copy::Forgetful(receiver) => {
                let arrivals = receiver.processor().processor.arrivals();
                arrivals.into_iter().filter(|it| it.biz_id == id).collect()
            }
            Copy::Mirror(_) | Copy::Inbox(..) | Copy::Scim(_) => Vec::new(),
        }
    }

    /// The texts that were applied, in their order.
    fn texts(&self, name: &str, id: &str) -> Vec<&'static str> {
        let known = ["first text", "second text", "third text"];
        let applied = self.arrivals(name, id).into_iter().filter(|it| it.applied);
        applied
            .filter_map(|it| known.into_iter().find(|text| it.biz_data.contains(text)))
            .collect()
    }

    fn parked(&self, name: &str) -> Vec<Parked> {
        let id = self.id_of(name);
        let parked = self.on_hub(async |hub| hub.db.read(move |tx| parked::list(tx, &id)).await);
        parked.unwrap().unwrap()
    }
}

#[test]
fn what_follows_an_event_that_is_wanted_again_comes_after_it_once_more() {
    story(|world| {
        let ada = world.user("ada");
        world.pass(5_000);
        world.first_text_is_answered(1, again);
        world.at_once("plain", |world| {
            world.change(described(&ada, "first text"));
            world.change(described(&ada, "second text"));
        });
        world.pass(120_000);
        let texts = world.texts("plain", &ada);
        assert_eq!(texts, ["second text", "first text", "second text"]);
    });
}

#[test]
fn an_answer_that_cannot_be_read_whole_is_not_taken_for_success() {
    for trick in [Trick::AnswerCut, Trick::NullSaid] {
        story(|world| {
            let ada = world.user("ada");
            world.pass(5_000);
            // The application cannot take the event for two seconds, and its answers that say so are damaged.
            world.first_text_is_answered(u32::MAX, again);
            world
                .network
                .trick(move |name| (name == "plain").then_some(trick));
            world.change(described(&ada, "first text"));
            world.pass(2_000);
            assert!(world.arrivals("plain", &ada).len() > 1, "{trick:?}");
            world.network.script(|_, _| None);
            world.network.trick(|_| None);
            world.pass(120_000);
            assert_eq!(world.texts("plain", &ada), ["first text"], "{trick:?}");
        });
    }
}

#[test]
fn whichever_commit_fails_nothing_is_passed_over() {
    for fault in [Fault::Full, Fault::Busy, Fault::UnheardForGood] {
        for commit in 0..12 {
            story(|world| {
                let (ada, grace) = (world.user("ada"), world.user("grace"));
                world.pass(5_000);
                world.first_text_is_answered(1, again);
                world.at_once("plain", |world| {
                    world.change(described(&ada, "first text"));
                    world.change(described(&grace, "first text"));
                    world.change(described(&ada, "second text"));
                });
                world.fail_commit(commit, fault);
                world.pass(120_000);
                assert_eq!(world.texts("plain", &ada).last(), Some(&"second text"));
                assert_eq!(world.texts("plain", &grace).last(), Some(&"first text"));
            });
        }
    }
}

#[test]
fn a_portion_of_members_whose_answer_was_lost_is_told_as_what_it_has_become() {
    story(|world| {
        let users: Vec<String> = (0..30)
            .map(|number| world.user(&format!("user{number}")))
            .collect();
        let group = world.change(Command::CreateGroup(NewGroup {
            name: "Readers".to_owned(),
            ..NewGroup::default()
        }));
        let add = Command::AddMembers {
            group_id: group.clone(),
            user_ids: users.clone(),
        };
        world.change(add);
        world.pass(20_000);
        let id = world.id_of("kit");
        let asked = world.on_hub(async |hub| super::deeds::synchronize(hub, &id).await);
        asked.unwrap().unwrap();
        // Everything arrives, and every answer is lost, until somebody has left the group.
        world
            .network
            .trick(|name| (name == "kit").then_some(Trick::AnswerLost));
        world.pass(1_000);
        world.change(Command::RemoveMembers {
            group_id: group,
            user_ids: vec![users[7].clone()],
        });
        world.pass(5_000);
        world.network.trick(|_| None);
        world.pass(600_000);
    });
}

#[test]
fn an_event_that_is_sent_again_late_turns_nobody_back() {
    story(|world| {
        let ada = world.user("ada");
        world.pass(5_000);
        world.first_text_is_answered(u32::MAX, refused);
        world.change(described(&ada, "first text"));
        world.pass(10_000);
        assert_eq!(world.parked("plain").len(), 1);
        world.change(described(&ada, "second text"));
        world.pass(10_000);
        world.network.script(|_, _| None);
        let id = world.id_of("plain");
        let resent = world.on_hub(async |hub| {
            hub.write_as(caller(), move |tx, ctx| operate::resend(tx, ctx, &id, None))
                .await
        });
        resent.unwrap().unwrap();
        world.pass(60_000);
        assert_eq!(world.texts("plain", &ada).last(), Some(&"second text"));
        assert!(world.parked("plain").is_empty());
    });
}

#[test]
fn an_event_that_nobody_can_take_stops_nobody_else() {
    story(|world| {
        let (ada, grace) = (world.user("ada"), world.user("grace"));
        world.pass(5_000);
        world.first_text_is_answered(u32::MAX, refused);
        world.at_once("plain", |world| {
            world.change(described(&ada, "first text"));
            world.change(described(&grace, "second text"));
        });
        world.pass(60_000);
        assert_eq!(world.texts("plain", &grace), ["second text"]);
        let parked = world.parked("plain");
        assert_eq!((parked.len(), parked[0].state), (1, ParkedState::Failed));
        world.network.script(|_, _| None);
    });
}

#[test]
fn an_application_that_wants_everything_again_for_an_hour_has_nothing_to_repair() {
    story(|world| {
        let ada = world.user("ada");
        world.pass(5_000);
        world
            .network
            .script(|name, _| (name == "plain").then(|| Act::Answer(again())));
        for number in 0..20 {
            world.change(described(&ada, "first text"));
            world.user(&format!("user{number}"));
            world.pass(180_000);
        }
        assert!(!world.parked("plain").is_empty());
        let failed = |it: &Parked| it.state == ParkedState::Failed;
        assert!(!world.parked("plain").iter().any(failed));
        world.network.script(|_, _| None);
        world.pass(2 * 3_600_000);
        assert!(world.parked("plain").is_empty());
        assert_eq!(world.texts("plain", &ada).last(), Some(&"first text"));
    });
}

#[test]
fn what_is_parked_is_served_while_others_keep_the_log_busy() {
    story(|world| {
        let ada = world.user("ada");
        world.pass(5_000);
        world.first_text_is_answered(1, again);
        world.change(described(&ada, "first text"));
        for number in 0..100 {
            world.user(&format!("user{number}"));
            world.pass(100);
        }
        assert_eq!(world.texts("plain", &ada), ["first text"]);
    });
}

#[test]
fn the_position_of_a_narrow_scope_is_stored_while_others_keep_the_log_busy() {
    story(|world| {
        let before = world.position("narrow");
        for number in 0..100 {
            world.user(&format!("user{number}"));
            world.pass(200);
        }
        let behind = before + 100 - world.position("narrow");
        assert!(
            behind < 50,
            "it is {behind} changes behind, of which none concerns it"
        );
    });
}

#[test]
fn what_a_backup_does_not_know_goes_although_no_answer_says_so() {
    story(|world| {
        let step = Step {
            deed: Deed::BackUp,
            whom: 0,
            what: 0,
            number: 0,
            pause: 0,
        };
        world.back_up(&step);
        world.user("ada");
        world.pass(10_000);
        world.always().unwrap();
        world
            .network
            .trick(|name| (name == "kit").then_some(Trick::NothingSaid));
        world.restore(&step);
        world.pass(60_000);
    });
}

/// The rows of each table.
fn rows(world: &World) -> BTreeMap<String, i64> {
    let read = world.on_hub(async |hub| {
        let counted = hub.db.read(|tx| {
            let tables = tx.query("SELECT name FROM sqlite_master WHERE type = 'table'", params![])?;
            let mut rows = BTreeMap::new();
            for table in tables {
                let table: String = table.get(0)?;
                let count = tx.query_one(&format!("SELECT COUNT(*) FROM {table}"), params![])?;
                rows.insert(table, count.get(0)?);
            }
            Ok::<_, DbError>(rows)
        });
        counted.await.unwrap()
    });
    read.unwrap()
}

/// By how many rows each table has grown after some changes that so many applications were told.
fn growth(applications: usize) -> BTreeMap<String, i64> {
    let mut grown = BTreeMap::new();
    story(|world| {
        for tenant in world.tenants.iter().skip(applications) {
            let id = tenant.application.id.clone();
            let deleted =
                world.on_hub(async |hub| hub.apply_application(caller(), AppCommand::Delete { id }).await);
            deleted.unwrap().unwrap();
        }
        world.meet_guests();
        assert_eq!(world.tenants.len(), applications);
        let before = rows(world);
        let ada = world.user("ada");
        for _ in 0..20 {
            world.change(described(&ada, "first text"));
            world.change(described(&ada, "second text"));
        }
        world.pass(60_000);
        grown = rows(world);
        for (table, count) in before {
            grown.entry(table).and_modify(|after| *after -= count);
        }
        // Those tell of requests, which are as many as there are applications.
        for table in ["attempts", "simulated_settlements", "sqlite_sequence"] {
            grown.remove(table);
        }
    });
    grown
}

#[test]
fn what_is_stored_does_not_grow_with_the_number_of_applications() {
    let (one, all) = (growth(1), growth(5));
    assert_eq!(one["changes"], 41);
    assert_eq!(one, all);
}
