//! Group commit, and what closures can do to each other (nothing).

use super::*;

#[tokio::test]
async fn every_caller_of_a_group_gets_its_own_answer() {
    for database in databases("answers") {
        let db = open(&database);
        let held = hold_the_writer(&db);
        let calls: Vec<_> = (0..100)
            .map(|caller| {
                let db = db.clone();
                tokio::spawn(async move {
                    let n = db.write(move |tx| count(tx, &caller.to_string())).await?;
                    Ok::<_, DbError>((caller, n))
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(held);
        for call in calls {
            let (caller, n): (i32, i64) = call.await.unwrap().unwrap();
            let sql = "SELECT who FROM entries WHERE n = $1";
            let row = db.read(move |tx| tx.query_one(sql, params![n])).await.unwrap();
            assert_eq!(row.get::<String>(0).unwrap(), caller.to_string());
        }
        assert_eq!(db.read(logged).await.unwrap(), (1..=100).collect::<Vec<_>>());
        let stats = db.stats();
        assert_eq!(stats.closures, 101);
        assert!(stats.groups <= 10, "{stats:?}");
        // What held the writer, two for each who counted, one for each who looked, and the log.
        assert_eq!(stats.statements, 1 + 200 + 100 + 1);
        db.close().await;
    }
}

#[derive(Debug, PartialEq)]
enum Refused {
    NotToday,
    Db(DbError),
}

impl From<DbError> for Refused {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

/// Queues closures behind a held writer, in order, so that they share a commit.
async fn in_one_group<T, F>(db: &Db, closures: Vec<F>) -> Vec<Result<T, Refused>>
where
    T: Send + 'static,
    F: FnMut(&mut Tx<'_>) -> Result<T, Refused> + Send + 'static,
{
    let held = hold_the_writer(db);
    let before = db.stats().groups;
    let calls: Vec<_> = closures
        .into_iter()
        .map(|closure| {
            let db = db.clone();
            tokio::spawn(async move { db.write(closure).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(held);
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    assert!(db.stats().groups > before);
    answers
}

#[tokio::test]
async fn a_failing_closure_is_undone_alone() {
    for database in databases("undone") {
        let db = open(&database);
        let closures = (0..5)
            .map(|i| {
                move |tx: &mut Tx<'_>| {
                    let n = count(tx, "a")?;
                    if i == 2 { Err(Refused::NotToday) } else { Ok(n) }
                }
            })
            .collect();
        let answers = in_one_group(&db, closures).await;
        assert_eq!(answers, [Ok(1), Ok(2), Err(Refused::NotToday), Ok(3), Ok(4)]);
        assert_eq!(db.read(logged).await.unwrap(), [1, 2, 3, 4]);
        assert_eq!(db.stats().groups, 2, "the one that held, and the group");
    }
}

#[tokio::test]
async fn a_panicking_closure_is_undone_alone() {
    for database in databases("panic") {
        let db = open(&database);
        let closures = (0..3)
            .map(|i| {
                move |tx: &mut Tx<'_>| {
                    let n = count(tx, "a")?;
                    assert!(i != 1, "number {i}");
                    Ok(n)
                }
            })
            .collect();
        let answers = in_one_group(&db, closures).await;
        let panicked = DbError::Other("a closure panicked: number 1".into());
        assert_eq!(answers, [Ok(1), Err(Refused::Db(panicked)), Ok(2)]);
        assert_eq!(db.read(logged).await.unwrap(), [1, 2]);
        let panic: Result<(), DbError> = db.read(|_| panic!("in a reader")).await;
        assert_eq!(
            panic,
            Err(DbError::Other("a closure panicked: in a reader".into()))
        );
        assert_eq!(db.write(|tx| count(tx, "b")).await, Ok(3));
    }
}

#[tokio::test]
async fn only_the_culprit_of_a_refused_commit_fails() {
    for database in databases("culprit") {
        let db = open(&database);
        let closures = (0..3)
            .map(|i| {
                move |tx: &mut Tx<'_>| {
                    if i == 1 {
                        // The constraint is deferred: this passes, and the commit fails.
                        tx.execute("INSERT INTO names (id, entry) VALUES (1, 77)", params![])?;
                    }
                    Ok(count(tx, "a")?)
                }
            })
            .collect();
        let answers = in_one_group(&db, closures).await;
        assert!(
            matches!(&answers[1], Err(Refused::Db(DbError::ForeignKey(_)))),
            "{answers:?}"
        );
        assert_eq!((&answers[0], &answers[2]), (&Ok(1), &Ok(2)));
        assert_eq!(db.read(logged).await.unwrap(), [1, 2]);
    }
}

#[tokio::test]
async fn a_failed_statement_fails_its_closure_on_both_databases_alike() {
    for database in databases("poison") {
        let db = open(&database);
        let answer: Result<(), DbError> = db
            .write(|tx| {
                count(tx, "a")?;
                let _ = tx.execute("INSERT INTO entries (n, who) VALUES (1, 'again')", params![]);
                let _ = count(tx, "b");
                Ok(())
            })
            .await;
        let Err(DbError::Unique { constraint, .. }) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(constraint.as_deref(), Some("entries.n"));
        assert_eq!(db.read(logged).await.unwrap(), Vec::<i64>::new());
    }
}

#[tokio::test]
async fn a_closure_cannot_wait_for_another() {
    for database in databases("nested") {
        let db = open(&database);
        let inner = db.clone();
        let nested = db
            .write(move |_| inner.write_blocking(|tx| count(tx, "inner")))
            .await;
        assert!(matches!(nested, Err(DbError::Other(_))), "{nested:?}");
        let inner = db.clone();
        let nested = db.read(move |_| inner.read_blocking(logged)).await;
        assert!(matches!(nested, Err(DbError::Other(_))), "{nested:?}");
        assert_eq!(db.write(|tx| count(tx, "outer")).await, Ok(1));
    }
}

#[tokio::test]
async fn a_reader_sees_one_state_and_changes_nothing() {
    for database in databases("snapshot") {
        let db = open(&database);
        db.write(|tx| count(tx, "before")).await.unwrap();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (started, is_reading) = oneshot();
        let mut started = Some(started);
        let reading = tokio::spawn({
            let db = db.clone();
            async move {
                db.read(move |tx| {
                    let before = logged(tx)?;
                    if let Some(started) = started.take() {
                        let _ = started.send(());
                    }
                    let _ = wait.recv();
                    Ok::<_, DbError>((before, logged(tx)?))
                })
                .await
            }
        });
        is_reading.await.unwrap();
        db.write(|tx| count(tx, "meanwhile")).await.unwrap();
        go.send(()).unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), (vec![1], vec![1]));
        assert_eq!(db.read(logged).await.unwrap(), [1, 2]);

        let written = db.read(|tx| count(tx, "reader")).await;
        assert!(matches!(written, Err(DbError::Statement { .. })), "{written:?}");
        assert_eq!(db.read(logged).await.unwrap(), [1, 2]);
    }
}

fn oneshot() -> (
    tokio::sync::oneshot::Sender<()>,
    tokio::sync::oneshot::Receiver<()>,
) {
    tokio::sync::oneshot::channel()
}

#[tokio::test]
async fn announcements_follow_commits_that_asked_for_them() {
    for database in databases("announce") {
        let db = open(&database);
        let mut announcements = db.announcements();
        db.write(|tx| count(tx, "quiet")).await.unwrap();
        let refused = db
            .write(|tx| {
                tx.announce();
                count(tx, "refused")?;
                Err::<(), _>(Refused::NotToday)
            })
            .await;
        assert_eq!(refused, Err(Refused::NotToday));
        assert!(!announcements.has_changed().unwrap());

        let (release, released) = std::sync::mpsc::channel::<()>();
        let (started, is_running) = oneshot();
        let mut started = Some(started);
        let writing = tokio::spawn({
            let db = db.clone();
            async move {
                db.write(move |tx| {
                    tx.announce();
                    let n = count(tx, "loud")?;
                    started.take().unwrap().send(()).unwrap();
                    let _ = released.recv();
                    Ok::<_, DbError>(n)
                })
                .await
            }
        });
        is_running.await.unwrap();
        assert!(!announcements.has_changed().unwrap(), "not committed yet");
        release.send(()).unwrap();
        announcements.changed().await.unwrap();
        assert_eq!(*announcements.borrow(), 1);
        assert_eq!(db.read(logged).await.unwrap(), [1, 2]);
        writing.await.unwrap().unwrap();
    }
}

#[test]
fn several_handles_count_without_gaps() {
    for database in databases("handles") {
        // Each opens at the same time as the others, so they also race for the migrations.
        let writers: Vec<_> = ["a", "b", "c"]
            .into_iter()
            .map(|who| {
                let url = database.url.clone();
                std::thread::spawn(move || {
                    let db = Db::open(&url, migrations(), Options::default()).unwrap();
                    let callers: Vec<_> = (0..4)
                        .map(|_| {
                            let db = db.clone();
                            std::thread::spawn(move || {
                                for _ in 0..25 {
                                    // SQLite gives no turns: on a slow disk one may not get the lock in its time. Then
                                    // nothing is written, and it may be tried again.
                                    loop {
                                        match db.write_blocking(move |tx| count(tx, who)) {
                                            Err(DbError::Unavailable { .. }) => {}
                                            done => break done.map(drop).unwrap(),
                                        }
                                    }
                                }
                            })
                        })
                        .collect();
                    callers.into_iter().for_each(|caller| caller.join().unwrap());
                    db.close_blocking();
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let db = open(&database);
        assert_eq!(db.read_blocking(logged).unwrap(), (1..=300).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn closing_finishes_the_queue() {
    for database in databases("close") {
        let db = open(&database);
        let held = hold_the_writer(&db);
        let calls: Vec<_> = (0..300)
            .map(|_| {
                let db = db.clone();
                tokio::spawn(async move { db.write(|tx| count(tx, "a")).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let other = db.clone();
        let closing = tokio::spawn(db.close());
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(held);
        closing.await.unwrap();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert_eq!(other.write(|tx| count(tx, "late")).await, Err(DbError::Closed));
        assert_eq!(other.read(logged).await, Err(DbError::Closed));
        other.close().await;
    }
}
