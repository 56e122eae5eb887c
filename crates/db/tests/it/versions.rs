//! Versions: whether anything was committed since.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rollcall_db::testing::sqlite;
use rollcall_db::{Dialect, NoVersion, Version};

use super::*;

/// What is read, and in which version.
async fn counted(db: &Db) -> (i64, Option<Version>) {
    let read = db.read_versioned(|tx| {
        let n = tx.query_one("SELECT n FROM counter", params![])?.get(0)?;
        Ok::<_, DbError>((n, tx.version()?))
    });
    read.await.unwrap()
}

#[tokio::test]
async fn as_long_as_the_version_is_the_same_so_is_what_was_read() {
    for database in databases("versions") {
        let (db, beside) = (open(&database), open(&database));
        let (n, version) = counted(&db).await;
        if db.dialect() == Dialect::Postgres {
            // What has no versions reads all the same.
            assert_eq!((n, version, db.version().await), (0, None, Err(NoVersion::Never)));
            continue;
        }
        let mut version = version.unwrap();
        for round in 1..=50 {
            // By whomever it is committed, the next look tells another version.
            let writer = if round % 2 == 0 { &db } else { &beside };
            assert_eq!(db.version().await, Ok(version), "round {round}");
            match round % 3 {
                0 => writer.settle(|tx| count(tx, "a")).await.unwrap(),
                _ => writer.write(|tx| count(tx, "a")).await.unwrap(),
            };
            assert_ne!(db.version().await, Ok(version), "round {round}");
            let (n, now) = counted(&db).await;
            assert_eq!(n, round);
            version = now.unwrap();
            // What only reads, or is undone, or cleans up what was before, leaves what was read as it is.
            let _ = writer.read(logged).await.unwrap();
            let undone = writer.write(|tx| {
                count(tx, "nobody")?;
                Err::<(), _>(DbError::Other("undo it".into()))
            });
            undone.await.unwrap_err();
            assert_eq!(db.version().await, Ok(version), "round {round}");
        }
        // Where the log of the file begins anew, the version may be another one; what is read then is the same.
        db.scrub().await.unwrap();
        db.rebuild().await.unwrap();
        assert_eq!(counted(&db).await.0, 50);
    }
}

/// Those who ask at the same time share a question. Nobody may get one that was asked before he came: what he has
/// committed, or seen committed, has to be in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_shares_a_question_finds_what_was_committed_before_he_came() {
    let database = sqlite();
    let (db, beside) = (open(&database), open(&database));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (db, is_over) = (db.clone(), Arc::clone(&is_over));
        crowd.spawn(async move {
            let mut told = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                db.version().await.unwrap();
                told += 1;
            }
            told
        });
    }
    for round in 0..300 {
        let before = db.version().await.unwrap();
        let writer = if round % 2 == 0 { &db } else { &beside };
        writer.write(|tx| count(tx, "a")).await.unwrap();
        let after = db.version().await.unwrap();
        assert_ne!(after, before, "round {round}");
    }
    is_over.store(true, Ordering::Relaxed);
    let told: u64 = crowd.join_all().await.into_iter().sum();
    assert!(told > 300, "the crowd has asked {told} times");
}

#[tokio::test]
async fn whoever_asks_while_somebody_reads_there_does_not_wait() {
    let database = sqlite();
    let db = open(&database);
    let (started, is_reading) = tokio::sync::oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let mut started = Some(started);
    let reading = db.read_versioned(move |tx| {
        let before = tx.version()?;
        if let Some(started) = started.take() {
            started.send(()).unwrap();
            let _ = released.recv();
        }
        // Others have committed meanwhile, and this still is what it was.
        let n: i64 = tx.query_one("SELECT n FROM counter", params![])?.get(0)?;
        assert_eq!(tx.version()?, before);
        Ok::<_, DbError>((n, before))
    });
    is_reading.await.unwrap();
    assert_eq!(db.version().await, Err(NoVersion::Away));
    db.write(|tx| count(tx, "a")).await.unwrap();
    assert_eq!(db.version().await, Err(NoVersion::Away));
    drop(release);
    let (n, version) = reading.await.unwrap();
    assert_eq!(n, 0);
    assert_ne!(db.version().await, Ok(version.unwrap()));
    assert_eq!(counted(&db).await.0, 1);
    // A closure that panics, or fails, gives the place back.
    for panics in [true, false] {
        let failing = db.read_versioned(move |_| {
            assert!(!panics, "on purpose");
            Err::<(), _>(DbError::Other("on purpose".into()))
        });
        failing.await.unwrap_err();
        assert_eq!(db.version().await.ok(), counted(&db).await.1);
    }
}

#[tokio::test]
async fn nothing_is_written_there_and_nothing_told_once_it_is_closed() {
    let database = sqlite();
    let (db, beside) = (open(&database), open(&database));
    let writing = db.read_versioned(|tx| count(tx, "a"));
    assert!(matches!(writing.await, Err(DbError::Statement { .. })));
    db.clone().close().await;
    assert_eq!(db.version().await, Err(NoVersion::Away));
    let reading = db.read_versioned(logged);
    assert_eq!(reading.await, Err(DbError::Closed));
    assert!(beside.version().await.is_ok());
    // Without threads there are none.
    let inline = Db::open_inline("sqlite::memory:", migrations(), Options::default()).unwrap();
    assert_eq!(inline.version().await, Err(NoVersion::Never));
    assert_eq!(counted(&inline).await, (0, None));
}
