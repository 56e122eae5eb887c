//! What `rollcall-db` promises, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise, and waits in real time"
)]

mod errors;
mod faults;
mod files;
mod foreign;
mod group;
mod inline;
mod lanes;
mod lost;
mod values;
mod versions;

use std::time::Duration;

use rollcall_db::refinery::{Migration, Runner};
use rollcall_db::testing::{TestDatabase, databases};
use rollcall_db::{Db, DbError, Migrations, Options, Tx, params};

/// A counter, and a log of who counted.
fn migrations() -> Migrations {
    let runner = |blob: &str, boolean: &str| {
        let sql = format!(
            "CREATE TABLE counter (id BIGINT PRIMARY KEY, n BIGINT NOT NULL);
             INSERT INTO counter VALUES (1, 0);
             CREATE TABLE entries (
                 n BIGINT PRIMARY KEY,
                 who TEXT NOT NULL,
                 UNIQUE (who, n)
             );
             CREATE TABLE names (
                 id BIGINT PRIMARY KEY,
                 name TEXT UNIQUE,
                 entry BIGINT REFERENCES entries (n) DEFERRABLE INITIALLY DEFERRED,
                 strict_entry BIGINT REFERENCES entries (n),
                 active {boolean},
                 small INTEGER,
                 picture {blob}
             )"
        );
        Runner::new(&[Migration::unapplied("V1__initial", &sql).unwrap()])
    };
    Migrations {
        sqlite: runner("BLOB", "INTEGER"),
        postgres: runner("BYTEA", "BOOLEAN"),
    }
}

fn open(database: &TestDatabase) -> Db {
    Db::open(&database.url, migrations(), Options::default()).unwrap()
}

fn impatient(database: &TestDatabase) -> Db {
    let options = Options {
        unavailable_after: Duration::from_millis(300),
        ..Options::default()
    };
    Db::open(&database.url, migrations(), options).unwrap()
}

/// Draws the next number and logs it under it.
fn count(tx: &mut Tx<'_>, who: &str) -> Result<i64, DbError> {
    let row = tx.query_one(
        "UPDATE counter SET n = n + $1 WHERE id = 1 RETURNING n",
        params![1_i64],
    )?;
    let n = row.get(0)?;
    tx.execute("INSERT INTO entries (who, n) VALUES ($2, $1)", params![n, who])?;
    Ok(n)
}

/// All numbers in the log.
fn logged(tx: &mut Tx<'_>) -> Result<Vec<i64>, DbError> {
    tx.query("SELECT n FROM entries ORDER BY n", params![])?
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// Keeps the writer busy until the sender is dropped, so that what follows becomes one group.
fn hold_the_writer(db: &Db) -> std::sync::mpsc::Sender<()> {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (started, is_held) = std::sync::mpsc::channel();
    let db = db.clone();
    std::thread::spawn(move || {
        db.write_blocking(move |tx| {
            tx.query("SELECT 1", params![])?;
            let _ = started.send(());
            let _ = released.recv();
            Ok::<_, DbError>(())
        })
    });
    is_held.recv().unwrap();
    release
}
