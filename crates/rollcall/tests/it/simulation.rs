//! Hub and receivers in one thread, on time that only passes when everybody waits, from a seed.
//!
//! A run has one or two nodes of a hub and four applications: one with the receiver and mirror of the kit, one that
//! keeps no memory of what it has seen, one as the official SDK makes them, and one that sees a part of the
//! directory. While administrators do all kinds of things, the network loses requests and answers, applications are
//! away, want events again or refuse them, commits fail or go through unheard, and nodes are stopped, killed (also
//! before and after a commit) and frozen beyond their leases. Then everything is well again, what was set aside is
//! sent again, and all copies must be equal to the directory.
//!
//! `ROLLCALL_SEED=7 cargo test -p rollcall --test it simulation -- --nocapture` repeats the run of one seed and prints
//! its history; `cargo xtask simulate --seeds 1000` runs many. A run that fails is made shorter as long as it still
//! fails, and what is left is printed.
#![expect(
    clippy::print_stdout,
    reason = "the history of a seed, and how often things happened, are told to people and to xtask"
)]

mod chance;
mod deeds;
mod invariants;
mod network;
mod node;
mod plan;
mod scenarios;
mod shrink;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub(crate) use chance::Dice;

use network::History;
use plan::{Deed, Kind, Plan};
use world::World;

/// How many runs are tried at most to make one that fails shorter.
const TRIES: usize = 150;

/// How long it may take after everything is well until everything is told.
const DAY: i64 = 24 * 3_600_000;

fn play(plan: &Plan, history: &Arc<History>) -> Result<(), String> {
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
fn settle(world: &mut World) -> Result<(), String> {
    world.always()?;
    world.get_well();
    let deadline = world.now() + DAY;
    while !world.is_settled() {
        if world.now() > deadline {
            return Err("it is not settled within a day".to_owned());
        }
        world.pass(10_000);
    }
    world.always()?;
    world.finally()?;
    world.end();
    Ok(())
}

/// Runs a plan; says what is wrong if something is.
fn run(plan: &Plan) -> (Arc<History>, Result<(), String>) {
    let history = Arc::new(History::new());
    let played = catch_unwind(AssertUnwindSafe(|| play(plan, &history)));
    let result = played.unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("a panic: {}", said.unwrap_or("of something")))
    });
    (history, result)
}

/// Runs a seed. If it does not end well, makes it shorter and tells people.
fn run_seed(seed: u64) -> Arc<History> {
    let plan = Plan::of(seed);
    let (history, result) = run(&plan);
    let Err(wrong) = result else {
        return history;
    };
    let path = std::env::temp_dir().join(format!("rollcall-simulation-{seed}.txt"));
    std::fs::write(&path, history.lines()).unwrap();
    println!("seed {seed}: {wrong}\nThe history is in {}.", path.display());
    println!("Looking for a shorter history that fails …");
    let short = shrink::shrink(&plan, TRIES, &mut |plan| run(plan).1.is_err());
    let (history, result) = run(&short);
    let path = std::env::temp_dir().join(format!("rollcall-simulation-{seed}-short.txt"));
    std::fs::write(&path, history.lines()).unwrap();
    let steps: Vec<_> = short.steps.iter().map(|step| step.deed).collect();
    panic!(
        "seed {seed}: {wrong}\nIt is enough that, on {} node(s), this happens: {steps:?}\nwith these faults: {:?}\nIt ends so: {}\nThe history of that is in {}",
        short.nodes,
        short.faults,
        result.err().unwrap_or_else(|| "well".to_owned()),
        path.display()
    )
}

/// Prints how often each thing happened, also what never did.
fn tell(counts: &BTreeMap<String, u64>) {
    let deeds = Deed::ALL.iter().map(|(deed, _)| format!("{deed:?}"));
    let faults = Kind::ALL.iter().map(|kind| format!("{kind:?}"));
    for name in deeds.chain(faults) {
        println!("simulated {name} {}", counts.get(&name).copied().unwrap_or(0));
    }
}

#[test]
fn whatever_goes_wrong_all_copies_end_up_equal() {
    let number = |name| std::env::var(name).ok().map(|it| it.parse::<u64>().unwrap());
    if let Some(seed) = number("ROLLCALL_SEED") {
        return println!("{}", run_seed(seed).lines());
    }
    // Every one of so many seeds that leaves this rest: the share of one of several processes.
    let seeds = number("ROLLCALL_SEEDS").unwrap_or(16);
    let (share, shares) = (
        number("ROLLCALL_SHARE").unwrap_or(0),
        number("ROLLCALL_SHARES").unwrap_or(1),
    );
    let mut counts = BTreeMap::new();
    for seed in (1..=seeds).filter(|seed| seed % shares == share) {
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
