//! The real programs, killed and stopped from outside while others write.
//!
//! `rollcall serve` (one on SQLite, two on PostgreSQL), `rollcall-mirror` with a part of the directory as its scope,
//! and a receiver without memory that sees everything. Writers use the administrator's API all the time, and know
//! what was acknowledged. Meanwhile a seed says what is killed or stopped, when, and for how long, also beyond the
//! lease. When the faults have stopped, everything has to be where it belongs.
//!
//! The short form is a test like others; `cargo xtask chaos --minutes M` runs the long one, which also kills and
//! stops the database server. In namespaces of its own it cuts the network as well, each hub alone from its database
//! too, and fills the disks of databases and receivers. Whatever is started ends with the test, also when that is
//! killed itself.

#![allow(clippy::print_stdout, reason = "its counts are for people")]

mod apart;
mod checks;
mod counts;
mod faults;
mod receiver;
mod run;
mod server;
mod set_up;
mod writers;

use std::net::IpAddr;
use std::time::Duration;

use rollcall_db::testing::{did_not_run, postgres, sqlite};

use self::apart::Disk;
use self::counts::Report;
use self::faults::Link;
use self::run::Run;
use self::server::Server;

const MINUTES: &str = "ROLLCALL_CHAOS_MINUTES";
const SEED: &str = "ROLLCALL_CHAOS_SEED";
/// Runs on one database only, `sqlite` or `postgres`.
const DATABASE: &str = "ROLLCALL_CHAOS_DATABASE";
/// The file to which what happened is written for programs.
const JSON: &str = "ROLLCALL_CHAOS_JSON";

/// Whether programs can be bound to the test that starts them.
fn is_possible() -> bool {
    let found = std::process::Command::new("setpriv").arg("--version").output();
    let possible = found.is_ok_and(|it| it.status.success());
    if !possible {
        did_not_run(
            "setpriv",
            "no programs were killed while they work, because setpriv (util-linux) is missing",
        );
    }
    possible
}

#[test]
fn programs_on_sqlite_that_are_killed_and_stopped_lose_nothing() {
    if is_possible() {
        on_sqlite(1, Duration::from_secs(7), false).assert_is_well();
    }
}

#[test]
fn two_nodes_on_postgresql_that_are_killed_and_stopped_lose_nothing() {
    if !is_possible() {
        return;
    }
    let (Some(database), Some(mirror)) = (postgres("chaos"), postgres("chaos_mirror")) else {
        return;
    };
    Run {
        hubs: vec![database.url.clone(), database.url.clone()],
        ..Run::new(
            "PostgreSQL, two nodes",
            2,
            Duration::from_secs(7),
            &database.url,
            &mirror.url,
        )
    }
    .run()
    .assert_is_well();
}

#[test]
#[ignore = "it takes as long as one wants: cargo xtask chaos --minutes M"]
fn for_as_many_minutes_as_wanted() {
    let number = |name: &str| std::env::var(name).ok().map(|it| it.parse::<u64>().unwrap());
    let Some(minutes) = number(MINUTES).filter(|_| is_possible()) else {
        return;
    };
    let seed = number(SEED).unwrap_or(1);
    let only = std::env::var(DATABASE).ok();
    let wants = |database: &str| only.as_ref().is_none_or(|it| it == database);
    end_with_xtask();
    let mut left_out = Vec::new();
    let mut leave_out = |what: &str, why: String| {
        did_not_run(what, &why);
        left_out.push(why);
    };
    let is_apart = apart::is_apart();
    if !is_apart {
        let text = "no network was cut and no disk was filled: that needs root and namespaces (unshare, ip)";
        leave_out("namespaces", text.to_owned());
    }
    if wants("postgres") && !server::is_there() {
        let text = "nothing was done on PostgreSQL, and no database server killed or stopped: none was found";
        leave_out("postgres", text.to_owned());
    }
    for database in ["sqlite", "postgres"] {
        if !wants(database) {
            left_out.push(format!("nothing was done on {database}, as was asked"));
        }
    }
    let on_postgres = wants("postgres") && server::is_there();
    let databases = u64::from(wants("sqlite")) + u64::from(on_postgres);
    let lasts = Duration::from_secs(minutes * 60 / databases.max(1));
    let mut reports = Vec::new();
    if wants("sqlite") {
        reports.push(on_sqlite(seed, lasts, is_apart));
    }
    if on_postgres {
        reports.push(on_postgresql(seed, lasts, is_apart));
    }
    for what in &left_out {
        println!("chaos: this run was partial: {what}");
    }
    if let Some(file) = std::env::var_os(JSON) {
        let runs: Vec<_> = reports.iter().map(Report::to_json).collect();
        let json = serde_json::json!({ "left_out": left_out, "runs": runs });
        std::fs::write(file, format!("{json:#}\n")).unwrap();
    }
    for report in &reports {
        report.assert_is_well();
    }
}

/// One hub on SQLite; in namespaces of the run's own with a disk for each that can be filled.
fn on_sqlite(seed: u64, lasts: Duration, is_apart: bool) -> Report {
    let (database, mirror) = (sqlite(), sqlite());
    let disks = if is_apart {
        vec![
            ("database", Disk::new()),
            ("mirror", Disk::new()),
            ("receiver", Disk::new()),
        ]
    } else {
        Vec::new()
    };
    let on_disk = |index: usize, otherwise: &str| {
        let disk = disks.get(index);
        disk.map_or(otherwise.to_owned(), |(_, disk)| {
            format!("sqlite:{}/test.db", disk.folder().display())
        })
    };
    let (database, mirror) = (on_disk(0, &database.url), on_disk(1, &mirror.url));
    Run {
        receiver: disks.get(2).map(|(_, disk)| disk.folder().join("receiver")),
        disks,
        cuts: is_apart,
        ..Run::new("SQLite", seed, lasts, &database, &mirror)
    }
    .run()
}

/// Two hubs on a PostgreSQL server of the run's own.
fn on_postgresql(seed: u64, lasts: Duration, is_apart: bool) -> Report {
    let disks = if is_apart {
        vec![("database server", Disk::new()), ("receiver", Disk::new())]
    } else {
        Vec::new()
    };
    let server = Server::new(disks.first().map(|(_, disk)| disk));
    let program = server.start();
    let (database, mirror) = (server.database("hub"), server.database("mirror"));
    let [one, two, third] = [database.apart(), database.apart(), mirror.apart()];
    let link = |name: &str, address: IpAddr| Link {
        name: format!("{name} from its database"),
        address,
        listener: None,
    };
    let links = vec![
        link("hub-0", one.1),
        link("hub-1", two.1),
        link("mirror", third.1),
    ];
    Run {
        hubs: vec![one.0, two.0],
        of_mirror: third.0,
        receiver: disks.get(1).map(|(_, disk)| disk.folder().join("receiver")),
        server: Some(program),
        links: if is_apart { links } else { Vec::new() },
        disks,
        cuts: is_apart,
        ..Run::new("PostgreSQL, two nodes", seed, lasts, &database.url, &mirror.url)
    }
    .run()
}

/// Ends with `cargo xtask chaos`, which holds the other end of the standard input.
fn end_with_xtask() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
}
