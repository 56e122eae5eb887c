//! Runs the simulation of hub and receivers on many seeds, on all cores.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

/// The test that does it. It takes its seeds from the environment.
const TEST: &str = "simulation::whatever_goes_wrong_all_copies_end_up_equal";

/// How many seeds there are if nobody says so.
const SEEDS: u64 = 1_000;

/// Runs as many seeds as the arguments ask for, and says what happened in them, and how often. What never happened
/// was not tested, and fails.
#[expect(clippy::disallowed_methods, reason = "it says how long all of it took")]
pub(crate) fn simulate(arguments: &[OsString]) -> io::Result<ExitCode> {
    let Some(seeds) = wanted(arguments) else {
        eprintln!("xtask: cargo xtask simulate [--seeds N], with a number above zero");
        return Ok(ExitCode::from(2));
    };
    let built = cargo().arg("--no-run").status()?;
    if !built.success() {
        return Ok(ExitCode::FAILURE);
    }
    let shares = std::thread::available_parallelism()?.get();
    let begun = Instant::now();
    let running = (0..shares)
        .map(|share| start(seeds, share, shares))
        .collect::<io::Result<Vec<_>>>()?;
    let mut counts = BTreeMap::new();
    let mut well = true;
    for child in running {
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            count(&text, &mut counts);
        } else {
            well = false;
            print!("{text}");
        }
    }
    if !well {
        return Ok(ExitCode::FAILURE);
    }
    let took = begun.elapsed().as_secs_f64();
    for (what, count) in &counts {
        println!("{count:>10} {what}");
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = seeds as f64 / took;
    println!("xtask: {seeds} histories without a failure in {took:.0} s, {rate:.1} per second");
    let never: Vec<_> = counts
        .iter()
        .filter(|(_, count)| **count == 0)
        .map(|(what, _)| what.as_str())
        .collect();
    if counts.is_empty() || !never.is_empty() {
        println!(
            "xtask: these never happened, so try more seeds: {}",
            never.join(", ")
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn wanted(arguments: &[OsString]) -> Option<u64> {
    match arguments {
        [] => Some(SEEDS),
        [option, number] if option == "--seeds" => number.to_str()?.parse().ok().filter(|number| *number > 0),
        _ => None,
    }
}

fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "-q", "-p", "rollcall", "--all-features", "--test", "it"]);
    command
}

fn start(seeds: u64, share: usize, shares: usize) -> io::Result<Child> {
    cargo()
        .args(["--", "--exact", TEST, "--nocapture"])
        .env("ROLLCALL_SEEDS", seeds.to_string())
        .env("ROLLCALL_SHARE", share.to_string())
        .env("ROLLCALL_SHARES", shares.to_string())
        .env_remove("ROLLCALL_SEED")
        .stdout(Stdio::piped())
        .spawn()
}

/// Adds up the lines in which a process says how often something happened.
fn count(text: &str, counts: &mut BTreeMap<String, u64>) {
    for line in text.lines() {
        let Some((what, number)) = line
            .strip_prefix("simulated ")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        *counts.entry(what.to_owned()).or_default() += number.parse::<u64>().unwrap_or(0);
    }
}

#[test]
fn the_counts_of_all_processes_are_added_up() {
    let mut counts = BTreeMap::new();
    count("running\nsimulated Late 2\nsimulated Cut 0\n", &mut counts);
    count("simulated Late 3\nok\n", &mut counts);
    assert_eq!(counts, [("Cut".to_owned(), 0), ("Late".to_owned(), 5)].into());
}

#[test]
fn seeds_are_a_number_above_zero() {
    let of = |arguments: &[&str]| wanted(&arguments.iter().map(OsString::from).collect::<Vec<_>>());
    assert_eq!(of(&[]), Some(SEEDS));
    assert_eq!(of(&["--seeds", "7"]), Some(7));
    for wrong in [&["--seeds", "0"][..], &["--seeds"], &["--seeds", "x"], &["7"]] {
        assert_eq!(of(wrong), None, "{wrong:?}");
    }
}
