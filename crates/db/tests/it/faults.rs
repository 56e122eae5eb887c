//! Commits that fail on purpose, as the tests of other crates let them.

use rollcall_db::testing::{Fault, Faults};
use rollcall_db::{Dialect, ErrorClass, Lane};

use super::*;

fn faulty(database: &TestDatabase) -> (Db, Faults) {
    let faults = Faults::default().one_by_one();
    let options = Options {
        unavailable_after: Duration::ZERO,
        faults: faults.clone(),
        ..Options::default()
    };
    let url = database.url.clone();
    (Db::open(&url, migrations(), options).unwrap(), faults)
}

/// A database whose work is done by whoever asks.
fn inline() -> (Db, Faults) {
    let faults = Faults::default();
    let options = Options {
        faults: faults.clone(),
        ..Options::default()
    };
    let db = Db::open_inline("sqlite::memory:", migrations(), options).unwrap();
    (db, faults)
}

#[tokio::test]
async fn a_commit_fails_while_the_next_is_queued() {
    for database in databases("faults") {
        for (fault, class, applied) in [
            (Fault::Busy, ErrorClass::Transient, false),
            (Fault::Full, ErrorClass::Full, false),
            (Fault::Damaged, ErrorClass::Damaged, false),
            (Fault::UnheardForGood, ErrorClass::Transient, true),
        ] {
            let (db, faults) = faulty(&database);
            let before = db.read(logged).await.unwrap();
            let settles = database.dialect == Dialect::Postgres;
            let lane = if settles { Lane::Settlement } else { Lane::Log };
            faults.next(lane, [None, Some(fault)]);
            let calls: Vec<_> = ["first", "fails", "last"]
                .map(|who| db.settle(move |tx| count(tx, who)))
                .into();
            let mut answers = Vec::new();
            for call in calls {
                answers.push(call.await);
            }
            let next = i64::try_from(before.len()).unwrap() + 1;
            assert_eq!(answers[0], Ok(next), "{fault:?}");
            assert_eq!(answers[1].as_ref().unwrap_err().class(), class, "{fault:?}");
            let skipped = i64::from(applied);
            assert_eq!(answers[2], Ok(next + 1 + skipped), "{fault:?}");
            assert_eq!(faults.pending(), 0);
            assert_eq!(
                db.read(logged).await.unwrap(),
                (1..=next + 1 + skipped).collect::<Vec<_>>()
            );
            db.close().await;
        }
    }
}

#[tokio::test]
async fn faults_that_the_writer_overcomes_are_not_noticed() {
    for database in databases("overcome") {
        let faults = Faults::default();
        let options = Options {
            faults: faults.clone(),
            ..Options::default()
        };
        let db = Db::open(&database.url, migrations(), options).unwrap();
        faults.next(Lane::Log, [Fault::Lost, Fault::Unheard]);
        faults.next(Lane::Log, [Fault::Slow(Duration::from_millis(1)), Fault::Lost]);
        for n in 1..=5 {
            assert_eq!(db.write(|tx| count(tx, "a")).await, Ok(n));
        }
        assert_eq!(faults.pending(), 0);
        assert_eq!(db.read(logged).await.unwrap(), [1, 2, 3, 4, 5]);
        db.close().await;
    }
}

#[test]
fn chance_repeats_itself_from_a_seed_on_one_thread() {
    let run = |seed: u64| {
        let faults = Faults::default();
        let options = Options {
            unavailable_after: Duration::ZERO,
            faults: faults.clone(),
            ..Options::default()
        };
        let db = Db::open_inline("sqlite::memory:", migrations(), options).unwrap();
        let kinds = [Fault::Lost, Fault::Unheard, Fault::UnheardForGood, Fault::Full];
        faults.at_random(seed, 3, &kinds);
        let answers: Vec<_> = (0..100)
            .map(|_| {
                db.settle_blocking(|tx| count(tx, "a"))
                    .map_err(|error| error.class())
            })
            .collect();
        faults.at_random(seed, 1, &[]);
        (answers, db.read_blocking(logged).unwrap().len())
    };
    let (answers, applied) = run(7);
    assert_eq!(run(7), (answers.clone(), applied));
    assert_ne!(run(8).0, answers);
    let accepted = answers.iter().filter(|it| it.is_ok()).count();
    assert!(accepted < 100 && accepted <= applied, "{accepted} of {applied}");
}

#[tokio::test]
async fn who_is_killed_at_a_commit_does_nothing_any_more() {
    for database in databases("killed") {
        for (fault, applied) in [(Fault::KilledBefore, 0), (Fault::KilledAfter, 1)] {
            let (db, faults) = faulty(&database);
            let before = db.read(logged).await.unwrap().len();
            faults.next(Lane::Log, [fault]);
            assert!(!faults.killed());
            let done = db.write(|tx| count(tx, "killed")).await;
            assert_eq!(done, Err(DbError::Closed), "{fault:?}");
            assert!(faults.killed());
            assert_eq!(faults.happened(), [fault]);
            assert_eq!(db.write(|tx| count(tx, "later")).await, Err(DbError::Closed));
            db.close().await;
            let (again, _) = faulty(&database);
            assert_eq!(
                again.read(logged).await.unwrap().len(),
                before + applied,
                "{fault:?}"
            );
            again.close().await;
        }
    }
}

#[tokio::test]
async fn a_commit_goes_through_without_a_word_to_those_who_wait_for_news() {
    for database in databases("unannounced") {
        let (db, faults) = faulty(&database);
        let announce = |tx: &mut Tx<'_>| {
            tx.announce();
            count(tx, "silent")
        };
        let mut news = db.announcements();
        faults.next(Lane::Log, [Fault::Unannounced]);
        assert_eq!(db.write(announce).await, Ok(1));
        assert!(!news.has_changed().unwrap());
        assert_eq!(db.write(announce).await, Ok(2));
        news.changed().await.unwrap();
        db.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_commit_that_runs_inline_is_answered_later_by_the_clock_of_the_runtime() {
    let (db, faults) = inline();
    let hour = Duration::from_secs(3_600);
    faults.next(Lane::Log, [Some(Fault::Slow(hour)), None]);
    let begun = tokio::time::Instant::now();
    let slow = db.write(|tx| count(tx, "slow"));
    // It is done at once, and nobody else waits for its answer.
    assert_eq!(db.write(|tx| count(tx, "quick")).await, Ok(2));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(slow.await, Ok(1));
    assert_eq!(begun.elapsed(), hour);
}

#[tokio::test(start_paused = true)]
async fn settlements_that_queue_are_overtaken_and_keep_their_order() {
    let (db, faults) = inline();
    let hour = Duration::from_secs(3_600);
    faults.next(Lane::Settlement, [Fault::Queued(hour)]);
    let begun = tokio::time::Instant::now();
    let first = db.settle(|tx| count(tx, "first"));
    let second = db.settle(|tx| count(tx, "second"));
    assert_eq!(db.write(|tx| count(tx, "log")).await, Ok(1));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // Whoever is asked for first.
    assert_eq!(second.await, Ok(3));
    assert_eq!(first.await, Ok(2));
    assert_eq!(begun.elapsed(), hour);
    assert_eq!(db.settle(|tx| count(tx, "third")).await, Ok(4));
    // What waits when the database is closed is still done.
    faults.next(Lane::Settlement, [Fault::Queued(hour)]);
    let last = db.settle(|tx| count(tx, "last"));
    db.close().await;
    assert_eq!(last.await, Ok(5));
}
