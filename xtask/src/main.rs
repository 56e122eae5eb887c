//! Chores of this repository: `cargo xtask --help`.
//!
//! The one that matters is `cargo xtask test`: it gives the tests a PostgreSQL server of their own,
//! and takes it away again whatever happens.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a program for people at a terminal"
)]

mod install;
mod server;
mod simulate;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::install::Missing;
use crate::server::Server;

const HELP: &str = "\
Chores of this repository.

    cargo xtask test [--no-postgres] [ARGUMENTS OF cargo test …]
        Runs the tests of the workspace, each on SQLite and on PostgreSQL. For that it starts a
        PostgreSQL server of its own, in a temporary directory and on a free port of 127.0.0.1,
        and removes it afterwards. Other servers on this machine are not touched.

        With --no-postgres, or where PostgreSQL is neither found nor can be installed, the tests
        run on SQLite only. What did not run for want of something is said at the end.

        The remaining arguments go to cargo test. Without -p, --package or --workspace, all
        packages are meant.

            cargo xtask test
            cargo xtask test -p rollcall-db
            cargo xtask test -p rollcall --test it -- delivery --nocapture

    cargo xtask chaos [--minutes M] [--seed S]
        Runs the real programs (rollcall serve, rollcall-mirror, an application that keeps no record of
        what it has seen) for M minutes, 10 unless told otherwise, and kills and stops them all the time
        while others write: half of the time one hub on SQLite, half of it two on a PostgreSQL server
        that is killed too. As root, where namespaces are permitted, it also fills the disk of SQLite and
        cuts programs off the network; otherwise it says that it did not. Then everything has to be where it belongs, and nothing that was acknowledged
        may be missing. It prints how much there was of everything. The seed, 1 unless told otherwise,
        says what is killed when; how far the programs have come by then, it cannot say. A short form is
        among the tests. It needs Linux and setpriv (util-linux).

    cargo xtask simulate [--seeds N]
        Runs the simulation of hub, network and receivers on this many seeds (1000 if not said), on
        all cores, and says how often each deed and each fault happened. Fails if a history does not
        end well, or if something never happened.

    cargo xtask vectors
        Writes docs/vectors anew: the requests, keys and answers that developers of applications test
        their receivers with. Everything in them is fixed, so this changes them only if the wire changed.

    cargo xtask setup
        Installs what the tests need beside Rust, if it is missing: PostgreSQL, OpenLDAP's programs
        for files (slapadd, slapcat; its server is never started), and OpenSSL's headers and
        pkg-config for josekit, which the tests compare with. On Debian and its relatives, as root
        or with sudo that asks for no password. `test` does this by itself.

    cargo xtask --help
        Shows this.

The tests find the server in these variables, which you can also set yourself, with a plain
cargo test:

    ROLLCALL_TEST_POSTGRES    URL of a superuser without a database, such as
                              postgres://postgres@127.0.0.1:5433
    ROLLCALL_TEST_REQUIRE     what must not be missing, such as postgres,slapd: a test that cannot
                              run without it fails
";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next();
    let rest: Vec<_> = arguments.collect();
    let done = match command.as_ref().and_then(|it| it.to_str()) {
        Some("test") => test(rest),
        Some("chaos") => chaos(&rest),
        Some("simulate") => simulate::simulate(&rest),
        Some("vectors") if rest.is_empty() => vectors(),
        Some("setup") if rest.is_empty() => {
            let missing = install::missing_after_installing(true);
            report(&missing);
            if missing.is_empty() {
                println!("xtask: PostgreSQL, slapadd and OpenSSL's headers are there");
            }
            Ok(ExitCode::SUCCESS)
        }
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprint!("{HELP}");
            Ok(ExitCode::from(2))
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("xtask: {error}");
        ExitCode::FAILURE
    })
}

fn test(mut arguments: Vec<OsString>) -> io::Result<ExitCode> {
    if arguments.first().is_some_and(|it| it == "--help" || it == "-h") {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let for_cargo = arguments
        .iter()
        .position(|it| it == "--")
        .unwrap_or(arguments.len());
    let without = arguments[..for_cargo].iter().position(|it| it == "--no-postgres");
    if let Some(position) = without {
        arguments.remove(position);
    }
    let postgres = without.is_none();

    let mut missing = install::missing_after_installing(postgres);
    let mut server = None;
    if postgres && !missing.iter().any(Missing::is_postgres) {
        match Server::start() {
            Ok(started) => server = Some(started),
            Err(error) => missing.push(Missing::postgres(format!("the server did not start: {error}"))),
        }
    }
    report(&missing);

    let skipped = std::env::temp_dir().join(format!("rollcall-skipped-{}", std::process::id()));
    let status = cargo_test(&arguments, server.as_ref(), &skipped);
    drop(server);
    let told = std::fs::read_to_string(&skipped).unwrap_or_default();
    let _ = std::fs::remove_file(&skipped);
    let status = status?;
    // Every test says it for itself.
    for what in told.lines().collect::<BTreeSet<_>>() {
        println!("xtask: did not run: {what}");
    }
    Ok(exit_code(status))
}

/// How a child ended. One that a signal ended has no code.
fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
}

/// Runs the long form of the tests that kill the programs.
fn chaos(arguments: &[OsString]) -> io::Result<ExitCode> {
    let (mut minutes, mut seed) = ("10", "1");
    let words: Option<Vec<&str>> = arguments.iter().map(|it| it.to_str()).collect();
    let Some((pairs, [])) = words.as_deref().map(<[&str]>::as_chunks) else {
        eprint!("{HELP}");
        return Ok(ExitCode::from(2));
    };
    for [option, value] in pairs {
        match (*option, value.parse::<u32>()) {
            ("--minutes", Ok(1..)) => minutes = value,
            ("--seed", Ok(_)) => seed = value,
            _ => {
                eprint!("{HELP}");
                return Ok(ExitCode::from(2));
            }
        }
    }
    let missing = install::missing_after_installing(true);
    report(&missing);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The tests of the receiver are named so that its program is built.
    let tests = [
        "test",
        "-p",
        "rollcall",
        "-p",
        "rollcall-receiver",
        "--all-features",
        "--test",
        "it",
    ];
    let built = Command::new(&cargo).args(tests).arg("--no-run").status()?;
    if !built.success() {
        return Ok(exit_code(built));
    }
    let mut command = if namespaces() {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--net", "--"])
            .arg(cargo)
            .env("ROLLCALL_CHAOS_OUTSIDE", std::fs::read_link("/proc/self/ns/net")?);
        command
    } else {
        Command::new(cargo)
    };
    command
        .args(tests)
        .args(["--", "--ignored", "--exact", "--nocapture"])
        .arg("chaos::for_as_many_minutes_as_wanted")
        .env("ROLLCALL_CHAOS_MINUTES", minutes)
        .env("ROLLCALL_CHAOS_SEED", seed)
        // We hold the other end: the run ends when we do, also if we are killed.
        .stdin(Stdio::piped());
    if let Some(programs) = install::postgres_directory() {
        command.env("ROLLCALL_CHAOS_POSTGRES", programs);
    }
    let mut run = command.spawn()?;
    // Waiting closes the pipe, unless it is taken before.
    let _held = run.stdin.take();
    Ok(exit_code(run.wait()?))
}

/// Whether a disk and a network of its own can be given to a program.
fn namespaces() -> bool {
    install::is_root()
        && install::on_path("ip")
        && install::succeeds(Command::new("unshare").args(["--mount", "--net", "true"]))
}

/// Has the test that holds the vectors write them, and then compares.
fn vectors() -> io::Result<ExitCode> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for (tests, write) in [("vectors::sealing_gives_the_files", true), ("vectors::", false)] {
        let mut command = Command::new(&cargo);
        command.args(["test", "-p", "rollcall-protocol", "--test", "it", tests]);
        if write {
            command.env("ROLLCALL_WRITE_VECTORS", "1");
        }
        if !command.status()?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn cargo_test(
    arguments: &[OsString],
    server: Option<&Server>,
    skipped: &Path,
) -> io::Result<std::process::ExitStatus> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .arg("test")
        .env_remove("ROLLCALL_TEST_POSTGRES")
        .env("ROLLCALL_TEST_SKIPPED", skipped);
    let names_packages = arguments.iter().take_while(|it| *it != "--").any(|it| {
        let it = it.to_string_lossy();
        it.starts_with("-p") || it.starts_with("--package") || it == "--workspace" || it == "--manifest-path"
    });
    if !names_packages {
        command.arg("--workspace");
    }
    command.arg("--all-features").args(arguments);
    if let Some(server) = server {
        command.env("ROLLCALL_TEST_POSTGRES", server.url());
    }
    command.status()
}

/// Says what is missing, and what that means.
fn report(missing: &[Missing]) {
    for missing in missing {
        println!("xtask: {missing}");
    }
}
