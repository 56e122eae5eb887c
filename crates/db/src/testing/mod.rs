//! Temporary databases, so that every test runs on both kinds, and [faults](Faults) for commits.
//!
//! ```no_run
//! for database in rollcall_db::testing::databases("transfers") {
//!     // Db::open(&database.url, …)
//! }
//! ```
//!
//! The PostgreSQL server is the one that `ROLLCALL_TEST_POSTGRES` names: the URL of a superuser, without
//! a database (`postgres://postgres@127.0.0.1:5433`). `cargo xtask test` starts one. Without it, tests
//! run on SQLite only and say so, or fail if `ROLLCALL_TEST_REQUIRE` names `postgres`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "this runs in tests only"
)]

mod faults;

use std::hash::{BuildHasher, RandomState};
use std::thread;

use ::postgres::{Client, NoTls};

use crate::Dialect;

pub use self::faults::{Fault, Faults};

const SERVER: &str = "ROLLCALL_TEST_POSTGRES";
const REQUIRED: &str = "ROLLCALL_TEST_REQUIRE";
const SKIPPED: &str = "ROLLCALL_TEST_SKIPPED";

/// Says that a test did not run because something that it needs is missing, such as `postgres` or `slapd`. What is
/// said is also added to the file that `ROLLCALL_TEST_SKIPPED` names, which `cargo xtask test` shows at its end.
///
/// # Panics
/// If `ROLLCALL_TEST_REQUIRE`, a list separated by commas, names what is missing.
pub fn did_not_run(what: &str, why: &str) {
    let required = std::env::var(REQUIRED).unwrap_or_default();
    assert!(
        required.split(',').all(|it| it.trim() != what),
        "{what} is required by {REQUIRED}: {why}"
    );
    println!("did not run: {what}: {why}");
    let Some(file) = std::env::var_os(SKIPPED) else {
        return;
    };
    let line = format!("{what}: {why}\n");
    let written = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .and_then(|mut file| std::io::Write::write_all(&mut file, line.as_bytes()));
    written.expect("the file of what did not run");
}

/// An empty database that is removed when this is dropped.
pub struct TestDatabase {
    /// For [`Db::open`](crate::Db::open).
    pub url: String,
    /// Which kind it is.
    pub dialect: Dialect,
    _guard: Guard,
}

enum Guard {
    Directory { _directory: tempfile::TempDir },
    Database { server: String, name: String },
}

/// A database of each kind that is at hand. The name is for those who look at the server meanwhile.
///
/// # Panics
/// If a database cannot be made, or PostgreSQL is required and not configured.
pub fn databases(name: &str) -> Vec<TestDatabase> {
    let mut databases = vec![sqlite()];
    databases.extend(postgres(name));
    databases
}

/// A SQLite database.
///
/// # Panics
/// If there is no room for one.
pub fn sqlite() -> TestDatabase {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", directory.path().join("test.db").display());
    TestDatabase {
        url,
        dialect: Dialect::Sqlite,
        _guard: Guard::Directory {
            _directory: directory,
        },
    }
}

/// A PostgreSQL database, if a server is configured.
///
/// # Panics
/// If the server does not do its part, or is required and not configured.
pub fn postgres(name: &str) -> Option<TestDatabase> {
    let Ok(server) = std::env::var(SERVER) else {
        did_not_run(
            "postgres",
            &format!("{SERVER} is not set, so tests ran on SQLite only"),
        );
        return None;
    };
    let server = server.trim_end_matches('/').to_owned();
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(30)
        .collect();
    let name = format!(
        "test_{}_{:016x}",
        plain.to_lowercase(),
        RandomState::new().hash_one(0)
    );
    administer(&server, format!("CREATE DATABASE {name}")).expect("a PostgreSQL database");
    let url = format!("{server}/{name}");
    Some(TestDatabase {
        url,
        dialect: Dialect::Postgres,
        _guard: Guard::Database { server, name },
    })
}

impl TestDatabase {
    /// Runs SQL on a connection of its own, beside the [`Db`](crate::Db) under test. On PostgreSQL
    /// only.
    ///
    /// # Panics
    /// If it fails.
    pub fn run_beside(&self, sql: &str) {
        let url = self.url.clone();
        run(url, sql.to_owned()).expect("SQL beside the test");
    }

    /// Ends all other sessions of this database, as a restart of the server would. On PostgreSQL only.
    ///
    /// # Panics
    /// If that fails.
    pub fn cut_connections(&self) {
        self.run_beside(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Self::Database { server, name } = self {
            let dropped = administer(server, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
            if let Err(error) = dropped {
                println!("{name} stays behind: {error}");
            }
        }
    }
}

fn administer(server: &str, sql: String) -> Result<(), ::postgres::Error> {
    run(format!("{server}/postgres"), sql)
}

/// Runs on a thread of its own, because tests may be async.
fn run(url: String, sql: String) -> Result<(), ::postgres::Error> {
    let work = move || Client::connect(&url, NoTls)?.batch_execute(&sql);
    thread::spawn(work)
        .join()
        .expect("the thread for SQL beside the test")
}
