//! Runs the fuzz targets of `fuzz/`, on all cores, and says what each reached.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::install;

/// How often each target is run if nobody says so.
const EXECUTIONS: u64 = 10_000_000;

/// An input that needs more than this is a finding.
const LIMITS: [&str; 3] = ["-rss_limit_mb=1024", "-timeout=5", "-max_len=4096"];

/// Where everything is built and gathered that is not kept.
const FOLDER: &str = "target/fuzz";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    targets: BTreeSet<String>,
    executions: Option<u64>,
    minutes: Option<u64>,
    json: bool,
}

/// What a target did.
#[derive(Debug, Default, PartialEq)]
struct Done {
    name: String,
    executions: u64,
    seconds: f64,
    /// The most edges of the program that one process saw.
    edges: u64,
    /// The most memory that one process had, in MiB.
    peak_mib: u64,
}

/// Runs as many targets for as long as the arguments say. Stops at the first input for which a property does not hold.
pub(crate) fn fuzz(arguments: &[OsString]) -> io::Result<ExitCode> {
    std::env::set_current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))?;
    let known = targets()?;
    let wanted = match wanted(arguments, &known) {
        Ok(wanted) => wanted,
        Err(wrong) => {
            eprintln!("xtask: {wrong}");
            return Ok(ExitCode::from(2));
        }
    };
    if !can_build() {
        return Ok(ExitCode::FAILURE);
    }
    let host = host()?;
    if !build(&host)? {
        return Ok(ExitCode::FAILURE);
    }
    let programs = Path::new(FOLDER).join(host).join("release");
    let mut all = Vec::new();
    for name in &wanted.targets {
        match run(&programs.join(name), name, &wanted)? {
            Some(done) => {
                println!("{}", line(&done));
                all.push(done);
            }
            None => return Ok(ExitCode::FAILURE),
        }
    }
    println!("{}", heading());
    for done in &all {
        println!("{}", line(done));
    }
    if wanted.json {
        println!("[{}]", all.iter().map(json).collect::<Vec<_>>().join(","));
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of all targets.
fn targets() -> io::Result<BTreeSet<String>> {
    let entries = fs::read_dir("fuzz/targets")?;
    let stem = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Ok(entries.filter_map(|entry| stem(entry.ok()?.path())).collect())
}

fn wanted(arguments: &[OsString], known: &BTreeSet<String>) -> Result<Wanted, String> {
    let mut wanted = Wanted {
        targets: BTreeSet::new(),
        executions: None,
        minutes: None,
        json: false,
    };
    let mut words = arguments.iter().map(|it| it.to_string_lossy());
    while let Some(word) = words.next() {
        let mut number = || {
            let number = words.next().and_then(|text| text.parse().ok());
            number
                .filter(|number| *number > 0)
                .map(Some)
                .ok_or_else(|| format!("{word} needs a number above zero"))
        };
        match &*word {
            "--executions" => wanted.executions = number()?,
            "--minutes" => wanted.minutes = number()?,
            "--json" => wanted.json = true,
            name if known.contains(name) => {
                wanted.targets.insert(name.to_owned());
            }
            other => {
                let known = Vec::from_iter(known.iter().map(String::as_str)).join(", ");
                return Err(format!(
                    "{other}: cargo xtask fuzz [TARGET…] [--executions N] [--minutes M] [--json]; the targets are {known}"
                ));
            }
        }
    }
    if wanted.targets.is_empty() {
        wanted.targets.clone_from(known);
    }
    if wanted.executions.is_none() && wanted.minutes.is_none() {
        wanted.executions = Some(EXECUTIONS);
    }
    Ok(wanted)
}

/// Whether there is what building takes, installed if need be.
fn can_build() -> bool {
    if !install::succeeds(Command::new("c++").arg("--version")) {
        eprintln!(
            "xtask: libFuzzer is built with a C++ compiler, and there is no c++ (Debian: apt-get install g++)"
        );
        return false;
    }
    if install::succeeds(cargo().args(["fuzz", "--version"])) {
        return true;
    }
    println!("xtask: installing cargo-fuzz");
    let installed = cargo().args(["install", "cargo-fuzz", "--locked"]).status();
    if !installed.is_ok_and(|status| status.success()) {
        eprintln!("xtask: cargo-fuzz is missing: cargo install cargo-fuzz --locked");
        return false;
    }
    true
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The platform that the compiler makes programs for, if it is not told otherwise.
fn host() -> io::Result<String> {
    let told = Command::new("rustc").arg("-vV").output()?;
    let told = String::from_utf8_lossy(&told.stdout);
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| io::Error::other("rustc -vV names no host"))
}

/// Builds all targets. Sanitizers need a compiler that a newcomer does not have, and look for what safe code cannot do.
fn build(host: &str) -> io::Result<bool> {
    let status = cargo()
        .args(["fuzz", "build", "--fuzz-dir", "fuzz", "--sanitizer", "none"])
        .args(["--codegen-units", "8", "--target", host, "--target-dir", FOLDER])
        // What is saved in running is lost in linking so many programs.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .status()?;
    Ok(status.success())
}

/// Runs a target on all cores. `None` if a property does not hold, which it has told by then.
#[expect(clippy::disallowed_methods, reason = "it says how long all of it took")]
fn run(program: &Path, name: &str, wanted: &Wanted) -> io::Result<Option<Done>> {
    let cores = std::thread::available_parallelism()?.get() as u64;
    let (found, kept) = (
        Path::new(FOLDER).join("found").join(name),
        Path::new("fuzz/corpus").join(name),
    );
    let artifacts = Path::new(FOLDER).join("artifacts").join(name);
    let logs = Path::new(FOLDER).join("logs");
    for folder in [&found, &artifacts, &logs] {
        fs::create_dir_all(folder)?;
    }
    let begun = Instant::now();
    let mut running = Vec::new();
    for core in 0..cores {
        let log = logs.join(format!("{name}-{core}.log"));
        let mut command = Command::new(program);
        command
            .args([&found, &kept])
            .args(LIMITS)
            .args(["-print_final_stats=1", "-reload=1"]);
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        if let Some(executions) = wanted.executions {
            command.arg(format!("-runs={}", executions.div_ceil(cores)));
        }
        if let Some(minutes) = wanted.minutes {
            command.arg(format!("-max_total_time={}", minutes * 60));
        }
        let output = File::create(&log)?;
        let child = command
            .stdout(Stdio::null())
            .stderr(output)
            .stdin(Stdio::null())
            .spawn()?;
        running.push((child, log));
    }
    let failed = wait(&mut running)?;
    let seconds = begun.elapsed().as_secs_f64();
    if let Some(log) = failed {
        tell(program, name, &log)?;
        return Ok(None);
    }
    let mut done = Done {
        name: name.to_owned(),
        seconds,
        ..Done::default()
    };
    for (_, log) in &running {
        gather(&fs::read_to_string(log)?, &mut done);
    }
    Ok(Some(done))
}

/// Waits for all, or for the first that fails, whose log it gives; the others are ended then.
fn wait(running: &mut [(Child, PathBuf)]) -> io::Result<Option<PathBuf>> {
    loop {
        let mut ended = 0;
        let mut failed = None;
        for (child, log) in running.iter_mut() {
            match child.try_wait()? {
                Some(status) if status.success() => ended += 1,
                Some(_) => failed = Some(log.clone()),
                None => {}
            }
        }
        if failed.is_some() {
            for (child, _) in running.iter_mut() {
                // One that has ended already cannot be killed, which is just as well.
                let _ = child.kill();
                child.wait()?;
            }
            return Ok(failed);
        }
        if ended == running.len() {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Adds what a process says of itself at its end.
fn gather(log: &str, done: &mut Done) {
    for line in log.lines() {
        let number = |prefix: &str| {
            line.strip_prefix(prefix)
                .and_then(|rest| rest.trim().parse::<u64>().ok())
        };
        if let Some(count) = number("stat::number_of_executed_units:") {
            done.executions += count;
        }
        if let Some(peak) = number("stat::peak_rss_mb:") {
            done.peak_mib = done.peak_mib.max(peak);
        }
        let edges = line
            .split_once("cov: ")
            .and_then(|(_, rest)| rest.split(' ').next());
        if let Some(edges) = edges.and_then(|edges| edges.parse().ok()) {
            done.edges = done.edges.max(edges);
        }
    }
}

/// Tells of an input for which a property does not hold: makes it smaller, shows it, and says how to repeat it.
fn tell(program: &Path, name: &str, log: &Path) -> io::Result<()> {
    let text = fs::read_to_string(log)?;
    let start = text
        .lines()
        .position(|line| line.contains("panicked at") || line.contains("ERROR: libFuzzer"));
    for line in text.lines().skip(start.unwrap_or(0)).take(12) {
        println!("{line}");
    }
    let artifact = text.lines().find_map(|line| {
        line.split_once("Test unit written to ")
            .map(|(_, path)| path.trim())
    });
    let Some(artifact) = artifact else {
        println!("xtask: {name} ended by itself; its log is {}", log.display());
        return Ok(());
    };
    let smaller = format!("{artifact}-smaller");
    // It ends with a failure, as it should: the property does not hold.
    let _ = Command::new(program)
        .args(["-minimize_crash=1", "-runs=100000", "-max_total_time=60"])
        .args(LIMITS)
        .arg(format!("-exact_artifact_path={smaller}"))
        .arg(artifact)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    // Making it smaller may end with one for which the property holds.
    let fails =
        |input: &str| Path::new(input).exists() && !install::succeeds(Command::new(program).arg(input));
    let shown = if fails(&smaller) {
        smaller.as_str()
    } else {
        artifact
    };
    println!(
        "xtask: {name} does not hold for {}",
        fs::read(shown)?.escape_ascii()
    );
    println!("xtask: that input is {shown}; it was made from {artifact}");
    println!(
        "xtask: to repeat it: {} {shown}\nxtask: or, with any compiler: cp {shown} fuzz/corpus/{name}/ && \
         cargo test -p rollcall-fuzz {name}",
        program.display()
    );
    Ok(())
}

fn heading() -> String {
    format!(
        "{:<13}{:>12}{:>9}{:>10}{:>8}{:>10}",
        "target", "executions", "seconds", "per s", "edges", "peak MiB"
    )
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(done: &Done) -> f64 {
    done.executions as f64 / done.seconds
}

fn line(done: &Done) -> String {
    format!(
        "{:<13}{:>12}{:>9.0}{:>10.0}{:>8}{:>10}",
        done.name,
        done.executions,
        done.seconds,
        rate(done),
        done.edges,
        done.peak_mib
    )
}

fn json(done: &Done) -> String {
    format!(
        "{{\"target\":\"{}\",\"executions\":{},\"seconds\":{:.1},\"executionsPerSecond\":{:.0},\"edges\":{},\"peakMib\":{}}}",
        done.name,
        done.executions,
        done.seconds,
        rate(done),
        done.edges,
        done.peak_mib
    )
}

#[test]
fn what_processes_say_is_added_up() {
    let mut done = Done::default();
    let log = "#2\tINITED cov: 90 ft: 91 corp: 1/1b\n#9\tNEW    cov: 120 ft: 140\nstat::number_of_executed_units: 50\n\
               stat::peak_rss_mb:              31\n";
    gather(log, &mut done);
    gather(
        "#7 DONE cov: 100 ft: 1\nstat::number_of_executed_units: 20\nstat::peak_rss_mb: 40\n",
        &mut done,
    );
    assert_eq!((done.executions, done.edges, done.peak_mib), (70, 120, 40));
}

#[test]
fn arguments_name_targets_and_how_long() {
    let known: BTreeSet<String> = ["csv", "jwks"].map(str::to_owned).into();
    let of = |arguments: &[&str]| wanted(&arguments.iter().map(OsString::from).collect::<Vec<_>>(), &known);
    let all = of(&[]).unwrap();
    assert_eq!((all.targets, all.executions), (known.clone(), Some(EXECUTIONS)));
    let some = of(&["csv", "--minutes", "5", "--json"]).unwrap();
    assert_eq!(
        (some.targets.len(), some.executions, some.minutes, some.json),
        (1, None, Some(5), true)
    );
    for wrong in [&["xml"][..], &["--minutes"], &["--executions", "0"]] {
        assert!(of(wrong).is_err(), "{wrong:?}");
    }
}
