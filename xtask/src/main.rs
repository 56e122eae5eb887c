//! Chores of this repository: `cargo xtask --help`.
//!
//! The one that matters is `cargo xtask test`: it gives the tests a PostgreSQL server of their own,
//! and takes it away again whatever happens.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a program for people at a terminal"
)]

mod book;
mod chaos;
mod fuzz;
mod install;
mod mutants;
mod node;
mod package;
mod python;
mod receivers;
mod server;
mod simulate;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::install::Missing;
use crate::package::Part;
use crate::server::Server;

const HELP: &str = "\
Chores of this repository.

    cargo xtask test [--no-postgres] [--require-all] [ARGUMENTS OF cargo test …]
        Runs the tests of the workspace, each on SQLite and on PostgreSQL. For that it starts a
        PostgreSQL server of its own, in a temporary directory and on a free port of 127.0.0.1,
        and removes it afterwards. Other servers on this machine are not touched.

        With --no-postgres, or where PostgreSQL is neither found nor can be installed, the tests
        run on SQLite only. What did not run for want of something is said at the end.

        Without further arguments, which means all tests, it also builds the hub from its packages, as
        cargo install does, with musl.

        With --require-all it fails before the tests begin if something is missing that they need and
        that `setup` installs where there is a network, and says why it could not. Only this may be
        missing: oidc-provider, where Debian's Node.js is too old for it, and what makes and starts the
        packages, where it is neither permitted nor to be had.

        The remaining arguments go to cargo test. Without -p, --package or --workspace, all
        packages are meant.

            cargo xtask test
            cargo xtask test -p rollcall-db
            cargo xtask test -p rollcall --test it -- delivery --nocapture

    cargo xtask chaos [--minutes M] [--seed S] [--database sqlite|postgres] [--json] [--require-all]
        Runs the real programs (rollcall serve, rollcall-mirror, an application that keeps no record of
        what it has seen) for M minutes, 10 unless told otherwise, and kills (SIGKILL) and stops
        (SIGSTOP) them all the time while others write: half of the time one hub on SQLite, half of it
        two on a PostgreSQL server that is killed and stopped too, or all of it with --database. As root,
        where namespaces are permitted, it also cuts the network, each hub alone from its database too,
        and fills the disks of databases and receivers; otherwise it says at its end that the run was
        partial, and what it left out. With --require-all that is a failure.

        Then everything has to be where it belongs, nothing that was acknowledged may be missing, nothing
        out of order and nothing applied twice. It prints how much there was of everything, with --json
        as JSON and nothing else on its standard output. The seed, 1 unless told otherwise, says what is
        harmed when; how far the programs have come by then, it cannot say. A short form is among the
        tests. It needs Linux and setpriv (util-linux).

    cargo xtask simulate [--seeds N [--from SEED]]
        Runs the simulation of hub, network and receivers on this many seeds (1000 if not said), on
        all cores and optimized, beginning with seed 1 if no other one is named, and says how often each
        deed and each fault happened. Fails if a history does not end well, or if something never happened.

    cargo xtask simulate --mutants [NAME…]
        Puts known mistakes into a copy of the sources (a fence dropped, an event swallowed), all of them
        or those that are named, and says which seed of the simulation finds each. Fails if one is not
        found within 1,000 seeds. The list is xtask/src/mutants/list.rs.

    cargo xtask fuzz [TARGET…] [--executions N] [--minutes M] [--json]
        Looks for inputs for which a property of fuzz/ does not hold: each target (all of them if none is
        named) N times, ten million unless told otherwise, or for M minutes, on all cores. It prints
        executions, edges of the program that were reached, and memory. At the first input it stops, makes
        it smaller, shows it, and says how to repeat it. Ctrl-C ends it; what was found until then stays in
        target/fuzz. It installs cargo-fuzz if it is missing, and needs a C++ compiler. The tests try the
        same properties on fuzz/corpus and some mutations of it, without either.

    cargo xtask vectors
        Writes docs/vectors anew: the requests, keys and answers that developers of applications test
        their receivers with. Everything in them is fixed, so this changes them only if the wire changed.

    cargo xtask book
        Builds the book of docs/ as a site, in target/book. It installs mdBook below target if there is
        none. The hub serves the same pages at /docs/, without it.

    cargo xtask package [deb] [static] [image] [--debug] [--built] [--into FOLDER]
        Makes what is handed out, in target/dist or FOLDER: a Debian package, an archive with a program
        that needs no library of the system, and a container image that `podman load -i` and
        `docker load -i` take; all of them if none is named. With --debug it is not optimized, with
        --built the program is taken as it was built last. It installs cargo-deb below target, and from
        Debian's packages musl-tools and buildah.

    cargo xtask pictures
        Takes the pictures that README shows anew, in docs/pictures. It needs Chromium with its driver.

    cargo xtask setup
        Installs what the tests need beside Rust, if it is missing: PostgreSQL, OpenLDAP's programs
        for files (slapadd, slapcat; its server is never started), Chromium with its driver, which
        looks at the console, Python and Node.js, and OpenSSL's headers and pkg-config for josekit,
        which the tests compare with. On Debian and its relatives, as root or with sudo that asks for
        no password. And below target, from pypi.org and registry.npmjs.org: Schemathesis,
        scim2-cli, scim2-server, scim-sanity, the official clients, oidc-provider and
        scimmy-routers; and the receivers of contrib/receivers, with a JDK and Go from Debian's
        packages; what `package` needs; and, as root, a small Debian in which the tests install the
        package. `test` does this by itself.

    cargo xtask --help
        Shows this.

The tests find the server in these variables, which you can also set yourself, with a plain
cargo test:

    ROLLCALL_TEST_POSTGRES    URL of a superuser without a database, such as
                              postgres://postgres@127.0.0.1:5433
    ROLLCALL_TEST_SCHEMATHESIS  the program `st` of Schemathesis
    ROLLCALL_TEST_SCIM2       the program `scim2` of scim2-cli
    ROLLCALL_TEST_SCIM2_SERVER  the program `scim2-server`
    ROLLCALL_TEST_SCIM_SANITY the program `scim-sanity`
    ROLLCALL_TEST_OFFICIAL_CLIENTS  the interpreter of Python's with the official clients
    ROLLCALL_TEST_OIDC_PROVIDER  the folder in whose `node_modules` oidc-provider is
    ROLLCALL_TEST_SCIMMY      the folder in whose `node_modules` scimmy-routers is
    ROLLCALL_TEST_RECEIVERS   the folder in which the receivers of contrib/receivers are, each in its own
    ROLLCALL_TEST_PACKAGER    this program, which makes the packages that the tests install
    ROLLCALL_TEST_DEBIAN      the folder of a Debian with systemd; the tests start copies of it
    ROLLCALL_TEST_STATIC      the program that is built with musl
    ROLLCALL_TEST_REQUIRE     what must not be missing, such as postgres,slapd,chromium,schemathesis: a test
                              that cannot run without it fails
";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next();
    let rest: Vec<_> = arguments.collect();
    let done = match command.as_ref().and_then(|it| it.to_str()) {
        Some("test") => test(rest),
        Some("chaos") => chaos::chaos(&rest),
        Some("fuzz") => fuzz::fuzz(&rest),
        Some("simulate") => simulate::simulate(&rest),
        Some("vectors") if rest.is_empty() => vectors(),
        Some("book") if rest.is_empty() => book::book(),
        Some("package") => package::package(&rest),
        Some("pictures") if rest.is_empty() => pictures(),
        Some("setup") if rest.is_empty() => {
            let missing = install::missing_after_installing(true);
            report(&missing);
            if missing.is_empty() {
                println!(
                    "xtask: PostgreSQL, slapadd, OpenSSL's headers, Chromium, Schemathesis, scim2-cli, scim-sanity, the official clients, oidc-provider, scimmy-routers, the receivers and what makes packages are there"
                );
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
    let postgres = !take(&mut arguments, "--no-postgres");
    let require_all = take(&mut arguments, "--require-all");

    let mut missing = install::missing_after_installing(postgres);
    let mut server = None;
    if postgres && !missing.iter().any(Missing::is_postgres) {
        match Server::start() {
            Ok(started) => server = Some(started),
            Err(error) => missing.push(Missing::postgres(format!("the server did not start: {error}"))),
        }
    }
    report(&missing);
    if require_all && let Some(first) = missing.iter().find(|missing| !missing.is_excused()) {
        drop(server);
        return Err(io::Error::other(format!(
            "--require-all: not everything is there that the tests need. {first}"
        )));
    }

    let whole = arguments.is_empty();
    let mut static_program = None;
    if whole {
        println!("xtask: building the hub from its packages, as cargo install does");
        let musl = !missing.iter().any(|it| it.is_of(Part::Static));
        let target = musl.then(package::static_target);
        let built = package::build_from_packages(target.as_deref())?;
        static_program = musl.then_some(built);
    }

    let skipped = std::env::temp_dir().join(format!("rollcall-skipped-{}", std::process::id()));
    let required = require_all.then(|| required(&missing, postgres, whole));
    let status = cargo_test(
        &arguments,
        server.as_ref(),
        static_program.as_deref(),
        &skipped,
        required,
    );
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

/// Takes an option of ours out of those for cargo; whether it was there.
fn take(arguments: &mut Vec<OsString>, option: &str) -> bool {
    let mut ours = arguments.iter().take_while(|it| *it != "--");
    let place = ours.position(|it| it == option);
    if let Some(place) = place {
        arguments.remove(place);
    }
    place.is_some()
}

/// How a child ended. One that a signal ended has no code.
fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
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

/// Has the test that looks at the console take the pictures of README, and then looks whether they are small.
fn pictures() -> io::Result<ExitCode> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for test in ["the_pictures_of_readme", "readme_shows_pictures"] {
        let mut command = Command::new(&cargo);
        command
            .args(["test", "-p", "rollcall", "--all-features", "--test", "it", test])
            .env("ROLLCALL_PICTURES", "1");
        if !command.status()?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn cargo_test(
    arguments: &[OsString],
    server: Option<&Server>,
    static_program: Option<&Path>,
    skipped: &Path,
    required: Option<String>,
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
    if let Some(required) = required {
        command.env("ROLLCALL_TEST_REQUIRE", required);
    }
    let programs = python::ALL.iter().map(|it| (it.variable, it.path()));
    for (variable, path) in programs.chain(node::ALL.iter().map(|it| (it.variable, it.path()))) {
        match path {
            Some(path) => command.env(variable, path),
            None => command.env_remove(variable),
        };
    }
    command.env(receivers::VARIABLE, receivers::folder());
    for (variable, value) in [
        ("ROLLCALL_TEST_PACKAGER", std::env::current_exe().ok()),
        ("ROLLCALL_TEST_DEBIAN", package::debian_machine()),
        ("ROLLCALL_TEST_STATIC", static_program.map(Path::to_owned)),
    ] {
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    }
    if let Some(server) = server {
        command.env("ROLLCALL_TEST_POSTGRES", server.url());
    }
    command.status()
}

/// What the tests must not do without, for them to see to it: all of it, but for what is excused.
fn required(missing: &[Missing], postgres: bool, whole: bool) -> String {
    let mut all = vec![
        "slapd",
        "chromium",
        "schemathesis",
        "scim2",
        "scim-sanity",
        "official clients",
        "scimmy",
        "receiver in python",
        "receiver in java",
        "receiver in go",
    ];
    if postgres {
        all.push("postgres");
    }
    if !missing.iter().any(Missing::is_newer_node) {
        all.extend(["oidc-provider", "receiver in node"]);
    }
    // The program with musl is built for all tests together alone.
    let packages = package::ALL
        .into_iter()
        .filter(|part| whole || *part == Part::Debian);
    let at_hand = packages.filter(|part| !missing.iter().any(|it| it.is_of(*part)));
    all.extend(at_hand.map(Part::tested_as));
    all.join(",")
}

/// Says what is missing, and what that means.
fn report(missing: &[Missing]) {
    for missing in missing {
        println!("xtask: {missing}");
    }
}
