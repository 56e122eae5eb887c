//! Known mistakes, put into a copy of the product on purpose: each must be found by the simulation.
//!
//! A simulation that finds nothing may be blind. [`list::ALL`] names fragments of the sources, and what each becomes.
//! All of them are put into one copy of the sources, each behind a question: `if crate::mutant("name") { mutated }
//! else { original }`. So the copy is built once, and an environment variable says which mistake it makes. Without
//! one it makes none, and must pass.

mod list;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crate::simulate::{self, Ended, PATIENCE, locked, on_all_cores, simulation, single, watch};

/// A mistake.
struct Mutant {
    name: &'static str,
    /// What no longer holds with it.
    breaks: &'static str,
    /// In which file, from the folder of the workspace.
    file: &'static str,
    /// An expression or statements, exactly once in the file.
    original: &'static str,
    /// What stands in its place.
    mutated: &'static str,
}

/// How many seeds may pass before a mistake counts as not found.
const SEEDS: u64 = 1_000;

/// How many seeds a process runs.
const PORTION: u64 = 10;

/// Where the simulation itself stands. What panics there is wrong with it, and no find.
const HARNESS: &str = "panicked at crates/rollcall/tests/";

/// What the copy consists of.
const PARTS: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "clippy.toml",
    "crates",
    "xtask",
    "fuzz",
    "docs",
    "contrib",
];

/// What the copy is asked by.
const VARIABLE: &str = "ROLLCALL_MUTANT";

/// Appended to each crate that is changed.
const QUESTION: &str = r#"
/// Whether the mistake of this name is made.
pub(crate) fn mutant(name: &str) -> bool {
    static MADE: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    MADE.get_or_init(|| std::env::var("ROLLCALL_MUTANT").ok()).as_deref() == Some(name)
}
"#;

/// What came of some seeds.
enum Played {
    /// All of them passed.
    Well,
    /// One failed: an invariant did not hold, or the product panicked; with what was said.
    Failed(u64, String),
    /// The simulation itself failed, so that nothing is known.
    Broken(String),
}

/// Makes each mistake in turn, or those that are named, and says which seed finds it.
#[expect(clippy::disallowed_methods, reason = "it says how long all of it took")]
pub(crate) fn mutants(names: &[OsString]) -> io::Result<ExitCode> {
    let chosen = match choose(names) {
        Ok(chosen) => chosen,
        Err(unknown) => {
            eprintln!("xtask: there is no mutant {unknown}; there are:");
            for mutant in list::ALL {
                eprintln!("    {:44} {}", mutant.name, mutant.breaks);
            }
            return Ok(ExitCode::from(2));
        }
    };
    let root = workspace()?;
    let program = build(&root)?;
    let begun = Instant::now();
    println!("xtask: the copy without a mutant, {SEEDS} seeds");
    if let Some(wrong) = control(&program)? {
        println!("xtask: the copy fails without any mutant: {wrong}");
        return Ok(ExitCode::FAILURE);
    }
    println!(" seed  mutant, and what the simulation says");
    let next = AtomicUsize::new(0);
    let missed = Mutex::new(Vec::new());
    on_all_cores(|| {
        while let Some(mutant) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            // Each of these seeds has passed without the mistake.
            let (found, told) = match play(&program, Some(mutant.name), 1..=SEEDS)? {
                Played::Failed(seed, said) => (Some(seed), said),
                Played::Well => (None, format!("not found, although {}", mutant.breaks)),
                Played::Broken(why) => (None, format!("not found: {why}")),
            };
            let seed = found.map_or_else(|| "–".to_owned(), |seed| seed.to_string());
            println!("{seed:>5}  {}\n       {told}", mutant.name);
            if found.is_none() {
                locked(&missed).push(mutant.name);
            }
        }
        Ok(())
    })?;
    let missed = std::mem::take(&mut *locked(&missed));
    println!(
        "xtask: {} of {} mutants found within {SEEDS} seeds, in {:.0} s",
        chosen.len() - missed.len(),
        chosen.len(),
        begun.elapsed().as_secs_f64()
    );
    if missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("xtask: not found: {}", missed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// Plays all seeds without a mistake, so that one that fails with it does so because of it. Returns what is wrong.
fn control(program: &Path) -> io::Result<Option<String>> {
    let next = AtomicU64::new(1);
    let wrong = Mutex::new(None);
    on_all_cores(|| {
        loop {
            let first = next.fetch_add(PORTION, Ordering::Relaxed);
            if first > SEEDS || locked(&wrong).is_some() {
                return Ok(());
            }
            let told = match play(program, None, first..=SEEDS.min(first + PORTION - 1))? {
                Played::Well => continue,
                Played::Failed(seed, said) => format!("seed {seed}: {said}"),
                Played::Broken(why) => why,
            };
            locked(&wrong).get_or_insert(told);
        }
    })?;
    Ok(std::mem::take(&mut *locked(&wrong)))
}

fn choose(names: &[OsString]) -> Result<Vec<&'static Mutant>, String> {
    if names.is_empty() {
        return Ok(list::ALL.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            let known = list::ALL.iter().find(|mutant| name == mutant.name);
            known.ok_or_else(|| name.to_string_lossy().into_owned())
        })
        .collect()
}

/// The folder of the workspace.
fn workspace() -> io::Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    own.map(Path::to_owned)
        .ok_or_else(|| io::Error::other("xtask stands in no workspace"))
}

/// Builds the copy. Returns the program of its tests.
fn build(root: &Path) -> io::Result<PathBuf> {
    let copy = root.join("target/mutants");
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    fs::create_dir_all(&copy)?;
    for part in PARTS {
        copy_all(&root.join(part), &copy.join(part))?;
    }
    // Another version, so that cargo does not take what it has built of the copy for what it has built of the
    // workspace, or the other way round.
    let manifest = copy.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    fs::write(&manifest, another_version(&text))?;
    let mut crates: Vec<&str> = Vec::new();
    for mutant in list::ALL {
        let path = copy.join(mutant.file);
        let text = fs::read_to_string(&path)?;
        let Some(text) = mutant.put_into(&text) else {
            return Err(io::Error::other(format!(
                "the fragment of {} must stand exactly once in {}",
                mutant.name, mutant.file
            )));
        };
        fs::write(&path, text)?;
        let of = mutant.file.split_once("/src/").map_or("", |(of, _)| of);
        if !crates.contains(&of) {
            crates.push(of);
        }
    }
    for of in crates {
        let path = copy.join(of).join("src/lib.rs");
        let text = fs::read_to_string(&path)?;
        fs::write(&path, text + QUESTION)?;
    }
    println!(
        "xtask: building a copy of the sources with {} mutants",
        list::ALL.len()
    );
    // What it depends on is the same as in the workspace, and built once for both.
    let mut command = simulation();
    command
        .current_dir(&copy)
        .env("CARGO_TARGET_DIR", root.join("target"));
    simulate::build(&mut command)?
        .ok_or_else(|| io::Error::other("the copy with the mutants cannot be built"))
}

/// A manifest of the workspace whose crates have another version, which is as good as theirs.
fn another_version(manifest: &str) -> String {
    let is_version = |line: &&str| line.starts_with("version = \"");
    match manifest.lines().find(is_version) {
        Some(line) => manifest.replacen(line, &format!("{}+mutants\"", line.trim_end_matches('"')), 1),
        None => manifest.to_owned(),
    }
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    fs::copy(from, to).map(|_| ())
}

impl Mutant {
    /// The text of a file with this mistake behind its question; `None` if its fragment is not there exactly once.
    fn put_into(&self, text: &str) -> Option<String> {
        let (before, after) = text.split_once(self.original)?;
        if after.contains(self.original) {
            return None;
        }
        let Self {
            name,
            original,
            mutated,
            ..
        } = self;
        Some(format!(
            "{before}if crate::mutant(\"{name}\") {{ {mutated} }} else {{ {original} }}{after}"
        ))
    }
}

/// Runs seeds, with a mistake or without, until one fails.
fn play(program: &Path, mutant: Option<&str>, seeds: RangeInclusive<u64>) -> io::Result<Played> {
    let mut first = *seeds.start();
    while first <= *seeds.end() {
        let portion = PORTION.min(seeds.end() - first + 1);
        let mut command = single(program, first, portion);
        // Nobody needs a shorter history of a known mistake.
        command.env("ROLLCALL_TRIES", "0").stderr(Stdio::null());
        match mutant {
            Some(name) => command.env(VARIABLE, name),
            None => command.env_remove(VARIABLE),
        };
        match watch(command.spawn()?)? {
            Ended::Well(_) => first += portion,
            Ended::Badly(text) => {
                return Ok(match said(&text) {
                    Some((seed, said)) if said.contains(HARNESS) => {
                        Played::Broken(format!("seed {seed}: {said}"))
                    }
                    Some((seed, said)) => Played::Failed(seed, said),
                    None => Played::Broken(format!(
                        "the seeds from {first} on ended without a word of what is wrong"
                    )),
                });
            }
            Ended::Never(_) => {
                let limit = PATIENCE.as_secs();
                return Ok(Played::Broken(format!(
                    "the seeds from {first} on had not ended after {limit} s"
                )));
            }
        }
    }
    Ok(Played::Well)
}

/// The seed that failed and the first line of what was said of it.
fn said(text: &str) -> Option<(u64, String)> {
    text.lines().find_map(|line| {
        let (seed, said) = line.strip_prefix("seed ")?.split_once(": ")?;
        Some((seed.parse().ok()?, said.chars().take(200).collect()))
    })
}

#[test]
fn each_fragment_stands_exactly_once_and_all_can_be_put_in() {
    let root = workspace().unwrap();
    let mut texts = std::collections::BTreeMap::new();
    for mutant in list::ALL {
        let text = texts
            .entry(mutant.file)
            .or_insert_with(|| fs::read_to_string(root.join(mutant.file)).unwrap());
        let put = mutant.put_into(text);
        assert!(put.is_some(), "{} in {}", mutant.name, mutant.file);
        *text = put.unwrap_or_default();
        assert_ne!(mutant.original, mutant.mutated, "{}", mutant.name);
    }
    let mut names: Vec<_> = list::ALL.iter().map(|mutant| mutant.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), list::ALL.len(), "each has a name of its own");
}

#[test]
fn the_copy_has_another_version() {
    let manifest = "[workspace.package]\nversion = \"0.1.0\"\n[x]\ny = { version = \"0.1.0\" }\n";
    let other = "[workspace.package]\nversion = \"0.1.0+mutants\"\n[x]\ny = { version = \"0.1.0\" }\n";
    assert_eq!(another_version(manifest), other);
}

#[test]
fn what_a_failing_seed_says_is_found() {
    let text = "\nrunning 1 test\nseed 12: kit is different: {\nThe history is in x.\n";
    assert_eq!(said(text), Some((12, "kit is different: {".to_owned())));
    assert_eq!(said("running 1 test\n"), None);
}

#[test]
fn the_copy_has_all_crates_of_the_workspace() {
    let manifest = fs::read_to_string(workspace().unwrap().join("Cargo.toml")).unwrap();
    let members = manifest
        .split_once("members = [")
        .and_then(|(_, rest)| rest.split_once(']'));
    let members: Vec<_> = members.unwrap().0.split('"').skip(1).step_by(2).collect();
    assert!(members.contains(&"xtask"), "{members:?}");
    for member in members {
        let part = member.split('/').next().unwrap_or(member);
        assert!(PARTS.contains(&part), "{member}");
    }
}
