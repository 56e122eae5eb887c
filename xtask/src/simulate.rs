//! Runs the simulation of hub and receivers on many seeds, on all cores.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::mutants::mutants;

/// The test that does it. It takes its seeds from the environment.
const TEST: &str = "simulation::whatever_goes_wrong_all_copies_end_up_equal";

/// How many seeds there are if nobody says so.
const SEEDS: u64 = 1_000;

/// How many seeds a process runs. Some histories take long, so nobody gets a large share.
const PORTION: u64 = 20;

/// How long a process may take for them. It needs some seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// How often it is said how far this is.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Runs as many seeds as the arguments ask for, and says what happened in them, and how often. What never happened
/// was not tested, and fails.
#[expect(clippy::disallowed_methods, reason = "it says how long all of it took")]
pub(crate) fn simulate(arguments: &[OsString]) -> io::Result<ExitCode> {
    if let [option, names @ ..] = arguments
        && option == "--mutants"
    {
        return mutants(names);
    }
    let Some(Seeds { first, number: seeds }) = wanted(arguments) else {
        eprintln!(
            "xtask: cargo xtask simulate [--seeds N [--from SEED] | --mutants [NAME…]], with numbers above zero"
        );
        return Ok(ExitCode::from(2));
    };
    let Some(program) = build(&mut simulation())? else {
        return Ok(ExitCode::FAILURE);
    };
    let begun = Instant::now();
    let counts = match play(&program, first, seeds)? {
        Ok(counts) => counts,
        Err(failed) => {
            print!("{failed}");
            return Ok(ExitCode::FAILURE);
        }
    };
    for (what, count) in &counts {
        println!("{count:>10} {what}");
    }
    println!(
        "xtask: {seeds} histories without a failure in {}",
        rate(seeds, begun.elapsed())
    );
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

/// How often everything happened.
type Counts = BTreeMap<String, u64>;

/// Runs seeds on all cores, in portions. Returns how often everything happened, or what the first process said of a
/// history that did not end well; the others end with the portion that they have begun.
#[expect(clippy::disallowed_methods, reason = "it says how far it is")]
fn play(program: &Path, first: u64, seeds: u64) -> io::Result<Result<Counts, String>> {
    let (next, done, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let (begun, told) = (Instant::now(), Mutex::new(Instant::now()));
    let (counts, failure) = (Mutex::new(Counts::new()), Mutex::new(None));
    let work = || -> io::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let before = next.fetch_add(PORTION, Ordering::Relaxed);
            if before >= seeds {
                break;
            }
            let portion = PORTION.min(seeds - before);
            let failed = match watch(single(program, first + before, portion).spawn()?)? {
                Ended::Well(text) => {
                    count(&text, &mut locked(&counts));
                    None
                }
                Ended::Badly(text) => Some(text),
                // What failed may have been told by then, and a shorter history looked for.
                Ended::Never(text) => Some(format!(
                    "{text}\nxtask: the seeds from {} to {} had not ended after {} s: something is done again and again, or waits for ever\n",
                    first + before,
                    first + before + portion - 1,
                    PATIENCE.as_secs()
                )),
            };
            if let Some(text) = failed {
                stop.store(true, Ordering::Relaxed);
                locked(&failure).get_or_insert(text);
                break;
            }
            let done = done.fetch_add(portion, Ordering::Relaxed) + portion;
            let mut told = locked(&told);
            if told.elapsed() > TELL_EVERY {
                *told = Instant::now();
                eprintln!(
                    "xtask: {done} of {seeds} histories in {}",
                    rate(done, begun.elapsed())
                );
            }
        }
        Ok(())
    };
    on_all_cores(work)?;
    let failure = locked(&failure).take();
    Ok(failure.map_or_else(|| Ok(std::mem::take(&mut *locked(&counts))), Err))
}

/// Does the same on as many threads as there are cores, until each has no more to do.
pub(crate) fn on_all_cores(work: impl Fn() -> io::Result<()> + Sync) -> io::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(&work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))
        })
    })
}

/// What a lock guards, also if another worker panicked.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long it took, and what that makes in a second.
fn rate(histories: u64, took: Duration) -> String {
    let took = took.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = histories as f64 / took;
    format!("{took:.0} s, {rate:.1} per second")
}

/// Which seeds are played.
#[derive(Debug, PartialEq, Eq)]
struct Seeds {
    first: u64,
    number: u64,
}

fn wanted(arguments: &[OsString]) -> Option<Seeds> {
    let above_zero =
        |number: &OsString| -> Option<u64> { number.to_str()?.parse().ok().filter(|number| *number > 0) };
    let (first, number) = match arguments {
        [] => (1, SEEDS),
        [option, number] if option == "--seeds" => (1, above_zero(number)?),
        [option, number, from, first] if option == "--seeds" && from == "--from" => {
            (above_zero(first)?, above_zero(number)?)
        }
        _ => return None,
    };
    Some(Seeds { first, number })
}

/// The command of cargo that builds the tests of the simulation.
pub(crate) fn simulation() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["test", "-q", "--profile", "simulation", "-p", "rollcall"])
        .args(["--all-features", "--test", "it", "--no-run"])
        // What is wrong with the sources is still told to people.
        .arg("--message-format=json-render-diagnostics");
    command
}

/// Builds the tests. Returns their program; `None` if that does not succeed, of which cargo has told.
pub(crate) fn build(command: &mut Command) -> io::Result<Option<PathBuf>> {
    let built = command.stdout(Stdio::piped()).spawn()?.wait_with_output()?;
    if !built.status.success() {
        return Ok(None);
    }
    executable(&String::from_utf8_lossy(&built.stdout))
        .map(Some)
        .ok_or_else(|| io::Error::other("cargo does not say where the tests are"))
}

/// The program that cargo has built last, from what it says.
fn executable(messages: &str) -> Option<PathBuf> {
    let before = "\"executable\":\"";
    let begin = messages.rfind(before)? + before.len();
    let end = messages[begin..].find('"')?;
    Some(PathBuf::from(&messages[begin..begin + end]))
}

/// The command by which a program of tests runs some seeds of the simulation and tells what happened.
pub(crate) fn single(program: &Path, first: u64, seeds: u64) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--exact", TEST, "--nocapture"])
        .env("ROLLCALL_FIRST_SEED", first.to_string())
        .env("ROLLCALL_SEEDS", seeds.to_string())
        .env_remove("ROLLCALL_SEED")
        .stdout(Stdio::piped());
    command
}

/// How a process ended.
pub(crate) enum Ended {
    /// With what it said.
    Well(String),
    /// With what it said.
    Badly(String),
    /// It had to be killed, after it had said this.
    Never(String),
}

/// Waits for a process, but not for ever.
#[expect(
    clippy::disallowed_methods,
    reason = "a process that hangs does so in real time"
)]
pub(crate) fn watch(mut child: Child) -> io::Result<Ended> {
    let begun = Instant::now();
    let reading = child.stdout.take().map(|mut stdout| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).map(|_| bytes)
        })
    });
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if begun.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let bytes = match reading.map(JoinHandle::join) {
        Some(Ok(bytes)) => bytes?,
        Some(Err(_)) | None => Vec::new(),
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(match status {
        Some(status) if status.success() => Ended::Well(text),
        Some(_) => Ended::Badly(text),
        None => Ended::Never(text),
    })
}

/// Adds up the lines in which a process says how often something happened.
fn count(text: &str, counts: &mut Counts) {
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
fn the_program_is_found_in_what_cargo_says() {
    let text = r#"{"executable":null}
{"reason":"compiler-artifact","executable":"/t/simulation/deps/it-1","fresh":false}"#;
    assert_eq!(executable(text), Some(PathBuf::from("/t/simulation/deps/it-1")));
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
    let seeds = |first, number| Some(Seeds { first, number });
    assert_eq!(of(&[]), seeds(1, SEEDS));
    assert_eq!(of(&["--seeds", "7"]), seeds(1, 7));
    assert_eq!(of(&["--seeds", "7", "--from", "3001"]), seeds(3_001, 7));
    for wrong in [
        &["--seeds", "0"][..],
        &["--seeds"],
        &["--seeds", "x"],
        &["7"],
        &["--seeds", "7", "--from", "0"],
        &["--from", "7"],
    ] {
        assert_eq!(of(wrong), None, "{wrong:?}");
    }
}
