//! The lanes of the writers, and the readers: who waits for whom, and who does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rollcall_db::Dialect;
use rollcall_db::testing::postgres;

use super::*;

fn name(tx: &mut Tx<'_>, id: i64) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO names (id, name) VALUES ($1, $2)",
        params![id, id.to_string()],
    )
    .map(drop)
}

fn names(tx: &mut Tx<'_>) -> Result<Vec<i64>, DbError> {
    tx.query("SELECT id FROM names ORDER BY id", params![])?
        .iter()
        .map(|row| row.get(0))
        .collect()
}

#[tokio::test]
async fn settlements_do_not_wait_for_the_log_on_postgres() {
    let Some(database) = postgres("lanes") else { return };
    let (db, other) = (open(&database), open(&database));
    // A log writer of this process, and one of another.
    for holder in [&db, &other] {
        let held = hold_the_writer(holder);
        db.settle(|tx| name(tx, 1)).await.unwrap();
        assert_eq!(db.read(names).await.unwrap(), [1]);
        db.settle(|tx| tx.execute("DELETE FROM names", params![]))
            .await
            .unwrap();
        drop(held);
    }
}

#[tokio::test]
async fn the_log_does_not_wait_for_settlements_on_postgres() {
    let Some(database) = postgres("lanes") else { return };
    let db = open(&database);
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (started, is_held) = std::sync::mpsc::channel();
    let settling = db.settle(move |tx| {
        name(tx, 1)?;
        let _ = started.send(());
        let _ = released.recv();
        Ok::<_, DbError>(())
    });
    is_held.recv().unwrap();
    assert_eq!(db.write(|tx| count(tx, "a")).await, Ok(1));
    assert_eq!(db.read(names).await.unwrap(), Vec::<i64>::new());
    drop(release);
    settling.await.unwrap();
}

#[tokio::test]
async fn both_lanes_keep_their_order_and_lose_nothing() {
    for database in databases("order") {
        let db = open(&database);
        let mut calls = Vec::new();
        for id in 0..200_i64 {
            calls.push(db.settle(move |tx| {
                // Each sees all those that were queued before it.
                let before: i64 = tx.query_one("SELECT COUNT(*) FROM names", params![])?.get(0)?;
                name(tx, id)?;
                Ok::<_, DbError>((before, id))
            }));
            drop(db.write(|tx| count(tx, "a")));
        }
        for call in calls {
            let (before, id) = call.await.unwrap();
            assert_eq!(before, id);
        }
        db.write(|tx| count(tx, "last")).await.unwrap();
        assert_eq!(db.read(logged).await.unwrap(), (1..=201).collect::<Vec<_>>());
        db.close().await;
    }
}

#[tokio::test]
async fn settlements_share_commits() {
    for database in databases("share") {
        let db = open(&database);
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (started, is_held) = std::sync::mpsc::channel();
        let first = db.settle(move |_| {
            let _ = started.send(());
            let _ = released.recv();
            Ok::<_, DbError>(())
        });
        is_held.recv().unwrap();
        let calls: Vec<_> = (0..100).map(|id| db.settle(move |tx| name(tx, id))).collect();
        drop(release);
        first.await.unwrap();
        for call in calls {
            call.await.unwrap();
        }
        let stats = db.stats();
        assert_eq!((stats.groups, stats.closures), (2, 101), "{stats:?}");
    }
}

#[tokio::test]
async fn settlements_of_several_processes_that_deadlock_are_run_again() {
    let Some(database) = postgres("deadlock") else {
        return;
    };
    let (a, b) = (open(&database), open(&database));
    a.write(|tx| {
        for id in [1, 2] {
            name(tx, id)?;
        }
        Ok::<_, DbError>(())
    })
    .await
    .unwrap();
    // Each takes one row, and then, once both have, the other one's.
    let both = Arc::new(std::sync::Barrier::new(2));
    let runs = Arc::new(AtomicU64::new(0));
    let settle = |db: &Db, first: i64, second: i64| {
        let (both, runs) = (Arc::clone(&both), Arc::clone(&runs));
        let mut is_first_run = true;
        db.settle(move |tx| {
            runs.fetch_add(1, Ordering::SeqCst);
            let sql = "UPDATE names SET small = COALESCE(small, 0) + 1 WHERE id = $1";
            tx.execute(sql, params![first])?;
            if std::mem::take(&mut is_first_run) {
                both.wait();
            }
            tx.execute(sql, params![second])
        })
    };
    let (one, two) = (settle(&a, 1, 2), settle(&b, 2, 1));
    let (one, two) = tokio::join!(one, two);
    assert_eq!((one, two), (Ok(1), Ok(1)));
    assert_eq!(runs.load(Ordering::SeqCst), 3, "one of them was run again");
    let counts = a.read(|tx| tx.query("SELECT small FROM names ORDER BY id", params![]));
    for row in counts.await.unwrap() {
        assert_eq!(row.get::<i64>(0), Ok(2));
    }
}

#[tokio::test]
async fn slow_reads_do_not_hold_up_the_feed() {
    for database in databases("feed") {
        let options = Options {
            readers: 2,
            ..Options::default()
        };
        let db = Db::open(&database.url, migrations(), options).unwrap();
        let mut releases = Vec::new();
        let mut slow = Vec::new();
        for _ in 0..3 {
            let (release, released) = std::sync::mpsc::channel::<()>();
            slow.push(db.read(move |tx| {
                let found = logged(tx);
                let _ = released.recv();
                found
            }));
            releases.push(release);
        }
        db.write(|tx| count(tx, "a")).await.unwrap();
        assert_eq!(db.read_feed(logged).await, Ok(vec![1]));
        drop(releases);
        for reading in slow {
            reading.await.unwrap();
        }
        db.close().await;
    }
}

#[tokio::test]
async fn who_finds_a_queue_full_waits_and_nothing_is_lost() {
    for database in databases("full") {
        let options = Options {
            queue: 8,
            ..Options::default()
        };
        let db = Db::open(&database.url, migrations(), options).unwrap();
        let held = hold_the_writer(&db);
        let queued: Vec<_> = (0..8).map(|_| db.write(|tx| count(tx, "queued"))).collect();
        // Not waited for, and there is no room: it is not run.
        drop(db.write(|tx| count(tx, "dropped")));
        let waiting: Vec<_> = (0..50)
            .map(|_| tokio::spawn(db.write(|tx| count(tx, "waiting"))))
            .collect();
        tokio::task::yield_now().await;
        drop(held);
        for call in queued {
            call.await.unwrap();
        }
        for call in waiting {
            call.await.unwrap().unwrap();
        }
        assert_eq!(db.read(logged).await.unwrap(), (1..=58).collect::<Vec<_>>());
        db.close().await;
    }
}

#[tokio::test]
async fn a_panic_beside_a_closure_costs_its_caller_only() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("while a closure is dropped");
        }
    }
    for database in databases("bomb") {
        let db = open(&database);
        let bomb = Bomb;
        let answer = db
            .write(move |tx| {
                let _ = &bomb;
                count(tx, "a")
            })
            .await;
        // The work is done; what is left of the closure explodes.
        assert_eq!(answer, Ok(1));
        assert_eq!(db.write(|tx| count(tx, "b")).await, Ok(2));
        let bomb = Bomb;
        let read = db.read(move |tx| {
            let _ = &bomb;
            logged(tx)
        });
        assert_eq!(read.await, Ok(vec![1, 2]));
        for _ in 0..10 {
            assert_eq!(db.read(logged).await, Ok(vec![1, 2]));
        }
    }
}

#[tokio::test]
async fn another_process_is_told_of_announcements_on_postgres() {
    let Some(database) = postgres("notify") else {
        return;
    };
    let (here, there) = (open(&database), open(&database));
    assert_eq!(there.dialect(), Dialect::Postgres);
    let mut heard = there.announcements();
    let announce = async || {
        here.write(|tx| {
            tx.announce();
            count(tx, "a")
        })
        .await
        .unwrap();
    };
    // The listener connects beside the opening, so the first may come too early for it.
    let patiently = Duration::from_millis(50);
    loop {
        announce().await;
        if tokio::time::timeout(patiently, heard.changed()).await.is_ok() {
            break;
        }
    }
    // Its own commits are counted once, and those without an announcement not at all.
    let own = here.announcements();
    let before = *own.borrow();
    announce().await;
    here.write(|tx| count(tx, "quiet")).await.unwrap();
    there.write(|tx| count(tx, "quiet")).await.unwrap();
    assert_eq!(*own.borrow(), before + 1);
    // It comes back after its connection was lost.
    database.cut_connections();
    heard.mark_unchanged();
    loop {
        announce().await;
        if tokio::time::timeout(patiently, heard.changed()).await.is_ok() {
            break;
        }
    }
}

#[tokio::test]
async fn a_full_queue_says_that_the_database_is_busy() {
    for database in databases("busy") {
        let options = Options {
            queue: 2,
            busy_after: Duration::from_millis(50),
            ..Options::default()
        };
        let db = Db::open(&database.url, migrations(), options).unwrap();
        let held = hold_the_writer(&db);
        let queued: Vec<_> = (0..2).map(|_| db.write(|tx| count(tx, "a"))).collect();
        let error = db.write(|tx| count(tx, "b")).await.unwrap_err();
        assert_eq!(error, DbError::Busy(2));
        assert_eq!(error.class(), rollcall_db::ErrorClass::Transient);
        let too = db.clone();
        let blocking = tokio::task::spawn_blocking(move || too.write_blocking(|tx| count(tx, "b")));
        assert_eq!(blocking.await.unwrap(), Err(DbError::Busy(2)));
        // Readers have a queue of their own, and who waits long enough gets a place.
        assert_eq!(db.read(logged).await, Ok(vec![]));
        let patient = tokio::spawn(db.write(|tx| count(tx, "c")));
        tokio::task::yield_now().await;
        drop(held);
        for (n, call) in queued.into_iter().enumerate() {
            assert_eq!(call.await, Ok(i64::try_from(n).unwrap() + 1));
        }
        assert_eq!(patient.await.unwrap(), Ok(3));
        db.close().await;
    }
}

#[tokio::test]
async fn settlements_wait_for_company_but_not_when_somebody_waits() {
    for database in databases("linger") {
        let options = Options {
            linger: Duration::from_secs(3_600),
            ..Options::default()
        };
        let db = Db::open(&database.url, migrations(), options).unwrap();
        let first = db.settle(|tx| name(tx, 1));
        let mut settled = Box::pin(first);
        let early = tokio::time::timeout(Duration::from_millis(50), &mut settled).await;
        assert!(early.is_err(), "it waits for others");
        assert_eq!(db.read(names).await, Ok(vec![]));
        match database.dialect {
            // The lanes are one queue there, and what somebody waits for takes along what is before it.
            Dialect::Sqlite => drop(db.write(|tx| count(tx, "a")).await.unwrap()),
            // A commit is full at some time.
            Dialect::Postgres => {
                let more: Vec<_> = (2..=256_i64)
                    .map(|id| db.settle(move |tx| name(tx, id)))
                    .collect();
                for one in more {
                    one.await.unwrap();
                }
            }
        }
        settled.await.unwrap();
        assert_eq!(db.stats().groups, 1);
        db.close().await;
    }
}

#[tokio::test]
async fn whatever_comes_while_a_settlement_lingers_is_not_kept_waiting() {
    for database in databases("alarm") {
        let options = Options {
            linger: Duration::from_secs(3_600),
            ..Options::default()
        };
        let db = Db::open(&database.url, migrations(), options).unwrap();
        // Sent at every moment of the writer's life: before it lingers, while it does, and when it wakes up.
        for id in 1..200 {
            let settled = db.settle(move |tx| name(tx, id));
            for _ in 0..id % 20 {
                std::thread::yield_now();
            }
            db.write(|tx| count(tx, "a")).await.unwrap();
            if database.dialect == Dialect::Sqlite {
                settled.await.unwrap();
            }
        }
        let last = db.settle(|tx| name(tx, 1_000));
        // The end of the database waits for nobody's company.
        db.close().await;
        last.await.unwrap();
    }
}
