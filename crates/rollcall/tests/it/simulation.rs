//! Hub and receivers in one thread, on time that only passes when everybody waits, from a seed.
//!
//! A run has one or two nodes of a hub and five applications: one with the mirror of the kit, one with its inbox, one that
//! keeps no memory of what it has seen, one as the official SDK makes them, and one that sees a part of the
//! directory; further ones come and go. While administrators do all kinds of things, down to going back to an earlier
//! backup, the network loses requests and answers, applications are away, want events again or refuse them, commits
//! fail or go through unheard, and nodes are stopped, killed (also before and after a commit) and frozen beyond their
//! leases. Then everything is well again, what was set aside is sent again, and all copies must be equal to the
//! directory.
//!
//! It runs on SQLite alone. On PostgreSQL every statement waits for the server in real time, in which a node's paused
//! time stands still or runs ahead depending on how fast the server is, so that no seed would repeat its history;
//! `rollcall_db` refuses such connections inside of asynchronous code for the same reason.
//!
//! `ROLLCALL_SEED=7 cargo test -p rollcall --test it simulation -- --nocapture` repeats the run of one seed and prints
//! its history; `cargo xtask simulate --seeds 1000` runs many. A run that fails is made shorter as long as it still
//! fails, and what is left is printed.
#![expect(
    clippy::print_stdout,
    reason = "the history of a seed, and how often things happened, are told to people and to xtask"
)]

mod application;
mod cable;
mod chance;
mod contents;
mod deeds;
mod history;
mod invariants;
mod keys;
mod known;
mod network;
mod node;
mod plan;
mod receivers;
mod scenarios;
mod scim;
mod shrink;
mod signers;
mod tenants;
mod wanted;
mod world;
mod wrong;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub(crate) use chance::Dice;

use history::History;
use plan::{Deed, Kind, Plan};
use world::World;
use wrong::{Checked, What, must, panicked, watch_for_panics};

/// How many runs are tried at most to make one that fails shorter.
const TRIES: usize = 150;

/// How long it may take after everything is well until everything is told.
const DAY: i64 = 24 * 3_600_000;

fn play(plan: &Plan, history: &Arc<History>) -> Checked {
    let mut world = World::new(plan, history);
    for step in &plan.steps {
        world.wait_for_a_node();
        world.always()?;
        world.step(step);
        world.pass(step.pause);
    }
    settle(&mut world)
}

/// Lets everything be well again, until everything is told.
fn settle(world: &mut World) -> Checked {
    // Where no node is, nobody can say whom an application may have been told of.
    world.wait_for_a_node();
    world.always()?;
    world.get_well();
    let deadline = world.now() + DAY;
    loop {
        while !world.is_settled() {
            must(world.now() <= deadline, What::Unsettled, || {
                format!("it is not settled within a day: {}", world.what_is_open())
            })?;
            world.pass(10_000);
        }
        world.always()?;
        match world.finally() {
            // Time has brought something that is not told yet, such as the end of a lock.
            Err(_) if !world.is_settled() => {}
            ended => break ended?,
        }
    }
    world.end();
    panicked().map_or(Ok(()), Err)
}

/// Runs a plan; says what is wrong if something is.
fn run(plan: &Plan) -> (Arc<History>, Checked) {
    watch_for_panics();
    drop(panicked());
    let history = Arc::new(History::new());
    let played = catch_unwind(AssertUnwindSafe(|| play(plan, &history)));
    let result = match (played, panicked()) {
        (Ok(result), None) => result,
        (_, Some(panic)) => Err(panic),
        (Err(_), None) => unreachable!("every panic is remembered"),
    };
    (history, result)
}

/// A number that the environment gives.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|it| it.parse().unwrap())
}

/// Runs a seed. If it does not end well, makes it shorter and tells people.
fn run_seed(seed: u64) -> Arc<History> {
    let plan = Plan::of(seed);
    let (history, result) = run(&plan);
    let Err(wrong) = result else {
        return history;
    };
    let keep = |name: String, history: &History| {
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, history.lines()).unwrap();
        path
    };
    let path = keep(format!("rollcall-simulation-{seed}.txt"), &history);
    println!(
        "seed {seed}: {}\nThe history is in {}.",
        wrong.told,
        path.display()
    );
    println!("Looking for a shorter history that fails in the same way …");
    let tries = number("ROLLCALL_TRIES").map_or(TRIES, |tries| usize::try_from(tries).unwrap());
    let short = shrink::shrink(&plan, tries, &mut |plan| {
        run(plan).1.is_err_and(|other| other.what == wrong.what)
    });
    let (history, result) = run(&short);
    let path = keep(format!("rollcall-simulation-{seed}-short.txt"), &history);
    panic!(
        "seed {seed}: {}\nIt is enough that {short}\nIt ends so: {}\nThe history of that is in {}",
        wrong.told,
        result.err().map_or_else(|| "well".to_owned(), |wrong| wrong.told),
        path.display()
    )
}

/// Prints how often each thing happened, also what never did.
fn tell(counts: &BTreeMap<String, u64>) {
    let deeds = Deed::ALL.iter().map(|(deed, _)| format!("{deed:?}"));
    let faults = Kind::ALL.iter().map(|(kind, _)| format!("{kind:?}"));
    for name in deeds.chain(faults) {
        println!("simulated {name} {}", counts.get(&name).copied().unwrap_or(0));
    }
}

#[test]
fn whatever_goes_wrong_all_copies_end_up_equal() {
    if let Some(seed) = number("ROLLCALL_SEED") {
        return println!("{}", run_seed(seed).lines());
    }
    let (first, seeds) = (
        number("ROLLCALL_FIRST_SEED").unwrap_or(1),
        number("ROLLCALL_SEEDS").unwrap_or(16),
    );
    let mut counts = BTreeMap::new();
    for seed in first..first + seeds {
        for (what, count) in run_seed(seed).counts() {
            *counts.entry(what).or_insert(0) += count;
        }
    }
    tell(&counts);
}

#[test]
fn a_seed_repeats_its_history() {
    for seed in [3, 6] {
        let (first, second) = (run_seed(seed).lines(), run_seed(seed).lines());
        let differ = first
            .lines()
            .zip(second.lines())
            .enumerate()
            .find(|(_, (a, b))| a != b);
        assert_eq!(differ, None);
        assert_eq!(first.lines().count(), second.lines().count());
        assert!(
            first.lines().count() > 200,
            "something must have happened: {first}"
        );
    }
}
