//! The long form of the tests that kill the real programs.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use crate::{HELP, exit_code, install, report};

/// The tests of the receiver are named so that its program is built.
const TESTS: [&str; 8] = [
    "test",
    "-p",
    "rollcall",
    "-p",
    "rollcall-receiver",
    "--all-features",
    "--test",
    "it",
];

/// What is wanted.
struct Wanted<'a> {
    minutes: &'a str,
    seed: &'a str,
    database: Option<&'a str>,
    json: bool,
    /// Nothing may be left out.
    require_all: bool,
}

impl<'a> Wanted<'a> {
    fn parse(arguments: &'a [OsString]) -> Option<Self> {
        let mut wanted = Self {
            minutes: "10",
            seed: "1",
            database: None,
            json: false,
            require_all: false,
        };
        let mut words = arguments.iter().map(|it| it.to_str());
        while let Some(word) = words.next() {
            match word? {
                "--json" => wanted.json = true,
                "--require-all" => wanted.require_all = true,
                "--minutes" => {
                    wanted.minutes = words.next()??;
                    wanted.minutes.parse::<u32>().ok().filter(|it| *it > 0)?;
                }
                "--seed" => {
                    wanted.seed = words.next()??;
                    wanted.seed.parse::<u32>().ok()?;
                }
                "--database" => {
                    wanted.database = words.next()?.filter(|it| ["sqlite", "postgres"].contains(it));
                    wanted.database?;
                }
                _ => return None,
            }
        }
        Some(wanted)
    }
}

pub(crate) fn chaos(arguments: &[OsString]) -> io::Result<ExitCode> {
    let Some(wanted) = Wanted::parse(arguments) else {
        eprint!("{HELP}");
        return Ok(ExitCode::from(2));
    };
    let missing = install::missing_after_installing(true);
    if !wanted.json {
        report(&missing);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(&cargo)
        .args(TESTS)
        .arg("--no-run")
        .stdout(io::stderr())
        .status()?;
    if !built.success() {
        return Ok(exit_code(built));
    }
    let mut command = if namespaces() {
        let mut command = Command::new("unshare");
        command
            // In a namespace for processes everything ends with the first of them, also what is stopped.
            .args([
                "--mount",
                "--net",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "--",
            ])
            .arg(cargo)
            .env("ROLLCALL_CHAOS_OUTSIDE", std::fs::read_link("/proc/self/ns/net")?);
        command
    } else {
        Command::new(cargo)
    };
    command
        .args(TESTS)
        .args(["--", "--ignored", "--exact", "--nocapture"])
        .arg("chaos::for_as_many_minutes_as_wanted")
        .env("ROLLCALL_CHAOS_MINUTES", wanted.minutes)
        .env("ROLLCALL_CHAOS_SEED", wanted.seed)
        // We hold the other end: the run ends when we do, also if we are killed.
        .stdin(Stdio::piped());
    if let Some(database) = wanted.database {
        command.env("ROLLCALL_CHAOS_DATABASE", database);
    }
    if let Some(programs) = install::postgres_directory() {
        command.env("ROLLCALL_CHAOS_POSTGRES", programs);
    }
    if wanted.require_all {
        command.env("ROLLCALL_TEST_REQUIRE", "setpriv,namespaces,postgres");
    }
    let json = wanted.json.then(json_file);
    if let Some(file) = &json {
        command.env("ROLLCALL_CHAOS_JSON", file).stdout(io::stderr());
    }
    let mut run = command.spawn()?;
    // Waiting closes the pipe, unless it is taken before.
    let _held = run.stdin.take();
    let status = run.wait()?;
    if let Some(file) = json {
        if let Ok(text) = std::fs::read_to_string(&file) {
            print!("{text}");
        }
        let _ = std::fs::remove_file(file);
    }
    Ok(exit_code(status))
}

fn json_file() -> PathBuf {
    std::env::temp_dir().join(format!("rollcall-chaos-{}.json", std::process::id()))
}

/// Whether a disk and a network of its own can be given to a program.
fn namespaces() -> bool {
    let mut all = Command::new("unshare");
    all.args(["--mount", "--net", "--pid", "--fork", "--mount-proc", "true"]);
    install::is_root() && install::on_path("ip") && install::succeeds(&mut all)
}
