//! Lost connections and servers that are away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rollcall_db::testing::{postgres, sqlite};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_when_connections_are_cut() {
    let Some(database) = postgres("cut") else { return };
    let db = open(&database);
    let done = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let db = db.clone();
            let done = Arc::clone(&done);
            tokio::spawn(async move {
                let mut numbers = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    numbers.push(db.write(move |tx| count(tx, &caller.to_string())).await.unwrap());
                    let seen = db.read(logged).await.unwrap();
                    assert!(seen.contains(numbers.last().unwrap()));
                }
                numbers
            })
        })
        .collect();
    let database = tokio::task::spawn_blocking(move || {
        for _ in 0..40 {
            std::thread::sleep(Duration::from_millis(37));
            database.cut_connections();
        }
        database
    })
    .await
    .unwrap();
    done.store(true, Ordering::Relaxed);
    let mut answered = Vec::new();
    for caller in callers {
        answered.extend(caller.await.unwrap());
    }
    answered.sort_unstable();
    assert!(answered.len() > 40, "{}", answered.len());
    let expected: Vec<_> = (1..).take(answered.len()).collect();
    assert_eq!(answered, expected, "every number was given to one caller");
    assert_eq!(db.read(logged).await.unwrap(), expected);
    db.close().await;
    drop(database);
}

#[tokio::test]
async fn a_commit_that_went_through_unheard_is_not_repeated() {
    let Some(database) = postgres("unheard") else {
        return;
    };
    let db = open(&database);
    let proxied = Proxy::in_front_of(&database.url);
    let through = Db::open(&proxied.url, migrations(), Options::default()).unwrap();
    assert_eq!(through.write(|tx| count(tx, "a")).await, Ok(1));
    let mut announcements = through.announcements();
    proxied.swallow_the_next_commit();
    let answer = through
        .write(|tx| {
            tx.announce();
            count(tx, "b")
        })
        .await;
    assert_eq!(answer, Ok(2));
    assert!(proxied.has_swallowed());
    assert!(announcements.has_changed().unwrap());
    announcements.mark_unchanged();
    assert_eq!(through.write(|tx| count(tx, "c")).await, Ok(3));
    assert_eq!(db.read(logged).await, Ok(vec![1, 2, 3]));
}

#[tokio::test]
async fn a_server_that_stays_away_is_reported_after_the_limit() {
    let Some(database) = postgres("away") else { return };
    let proxied = Proxy::in_front_of(&database.url);
    let options = Options {
        unavailable_after: Duration::from_millis(300),
        ..Options::default()
    };
    let db = Db::open(&proxied.url, migrations(), options).unwrap();
    assert_eq!(db.write(|tx| count(tx, "a")).await, Ok(1));
    proxied.go_away();
    let away = std::time::Instant::now();
    let answer = db.write(|tx| count(tx, "b")).await;
    assert!(matches!(answer, Err(DbError::Unavailable { .. })), "{answer:?}");
    assert!(away.elapsed() >= Duration::from_millis(300));
    let answer = db.read(logged).await;
    assert!(matches!(answer, Err(DbError::Unavailable { .. })), "{answer:?}");
    proxied.come_back();
    assert_eq!(db.write(|tx| count(tx, "c")).await, Ok(2));
    assert_eq!(db.read(logged).await, Ok(vec![1, 2]));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_in_bounded_time() {
    let Some(database) = postgres("silent") else {
        return;
    };
    let proxied = Proxy::in_front_of(&database.url);
    let options = Options {
        unavailable_after: Duration::from_secs(1),
        ..Options::default()
    };
    let db = Db::open(&proxied.url, migrations(), options).unwrap();
    assert_eq!(db.write(|tx| count(tx, "a")).await, Ok(1));
    assert_eq!(db.read(logged).await, Ok(vec![1]));
    proxied.fall_silent();
    let both = async { tokio::join!(db.write(|tx| count(tx, "b")), db.read(logged)) };
    let (written, read) = tokio::time::timeout(Duration::from_secs(12), both)
        .await
        .expect("who asks a silent server is answered");
    assert!(matches!(written, Err(DbError::Unavailable { .. })), "{written:?}");
    assert!(matches!(read, Err(DbError::Unavailable { .. })), "{read:?}");
    proxied.go_on();
    assert_eq!(db.write(|tx| count(tx, "c")).await, Ok(2));
    assert_eq!(db.read(logged).await, Ok(vec![1, 2]));
}

#[tokio::test]
async fn a_commit_that_arrives_late_is_not_applied_beside_its_repetition() {
    let Some(database) = postgres("late") else { return };
    let proxied = Proxy::in_front_of(&database.url);
    let options = Options {
        unavailable_after: Duration::from_secs(2),
        ..Options::default()
    };
    let db = Db::open(&proxied.url, migrations(), options).unwrap();
    assert_eq!(db.write(|tx| count(tx, "a")).await, Ok(1));
    proxied.hold_the_next_commit();
    // The session that waits for its commit holds the writers' lock; it is ended, not waited for.
    let written = tokio::time::timeout(Duration::from_secs(12), db.write(|tx| count(tx, "b")))
        .await
        .expect("a commit that is under way for ever is given up");
    assert_eq!(written, Ok(2));
    assert!(proxied.holds());
    proxied.go_on();
    assert_eq!(db.write(|tx| count(tx, "c")).await, Ok(3));
    assert_eq!(db.read(logged).await, Ok(vec![1, 2, 3]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_answers_nobody_any_more_is_ended() {
    let Some(database) = postgres("answers") else {
        return;
    };
    let proxied = Proxy::in_front_of(&database.url);
    let options = Options {
        unavailable_after: Duration::from_secs(1),
        readers: 1,
        ..Options::default()
    };
    let db = Db::open(&proxied.url, migrations(), options).unwrap();
    proxied.hold_the_next_large_answer();
    let reader = db.clone();
    let large = tokio::spawn(async move {
        let text = "SELECT repeat('x', 1000000) FROM generate_series(1, 64)";
        reader.read(|tx| tx.query(text, params![])).await
    });
    while !proxied.holds() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxied.fall_silent();
    let answer = large.await.unwrap();
    assert!(matches!(answer, Err(DbError::Unavailable { .. })));
    proxied.speak();
    // The only reader's session still writes its answer, which nobody takes.
    assert_eq!(db.read(logged).await, Ok(vec![]));
    proxied.go_on();
}

#[tokio::test]
async fn a_statement_may_take_longer_than_silence() {
    let Some(database) = postgres("slow") else { return };
    let db = impatient(&database);
    let slept = db.read(|tx| tx.query("SELECT 1 FROM (SELECT pg_sleep(3)) AS slept", params![]));
    assert_eq!(slept.await.map(|rows| rows.len()), Ok(1));
}

#[test]
fn a_server_that_is_not_there_is_unavailable_and_a_missing_database_is_not() {
    let options = Options {
        unavailable_after: Duration::from_millis(200),
        ..Options::default()
    };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let answer = Db::open(&format!("postgres://postgres@{nobody}/a"), migrations(), options);
    assert!(matches!(answer, Err(DbError::Unavailable { .. })), "{answer:?}");
    let Some(database) = postgres("missing") else {
        return;
    };
    let answer = Db::open(&format!("{}_not", database.url), migrations(), Options::default());
    assert!(matches!(answer, Err(DbError::Other(_))), "{answer:?}");
}

#[tokio::test]
async fn a_locked_postgres_is_unavailable_after_the_limit() {
    let Some(database) = postgres("locked") else {
        return;
    };
    let (holder, waiter) = (open(&database), impatient(&database));
    let held = hold_the_writer(&holder);
    let answer = waiter.write(|tx| count(tx, "b")).await;
    assert!(matches!(answer, Err(DbError::Unavailable { .. })), "{answer:?}");
    drop(held);
    assert_eq!(waiter.write(|tx| count(tx, "c")).await, Ok(1));
}

#[tokio::test]
async fn a_reader_is_not_kept_by_a_writer() {
    for database in [Some(sqlite()), postgres("kept")].into_iter().flatten() {
        let (holder, reader) = (open(&database), open(&database));
        let held = hold_the_writer(&holder);
        assert_eq!(reader.read(logged).await, Ok(vec![]));
        drop(held);
    }
}

/// Stands between a client and the server, and misbehaves on request.
struct Proxy {
    url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    away: AtomicBool,
    swallow: AtomicBool,
    swallowed: AtomicBool,
    /// Nothing is passed on.
    silent: AtomicBool,
    hold: AtomicBool,
    hold_answer: AtomicBool,
    holds: AtomicBool,
}

impl Proxy {
    fn in_front_of(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (authority, database) = rest.split_once('/').unwrap();
        let (user, server) = authority.split_once('@').unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{user}@{}/{database}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let (server, shared) = (server.to_owned(), Arc::clone(&state));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, state) = (client.unwrap(), Arc::clone(&shared));
                if !state.away.load(Ordering::SeqCst) {
                    let server = std::net::TcpStream::connect(&server).unwrap();
                    relay(client, server, &state);
                }
            }
        });
        Self { url, state }
    }

    fn swallow_the_next_commit(&self) {
        self.state.swallow.store(true, Ordering::SeqCst);
    }

    fn has_swallowed(&self) -> bool {
        self.state.swallowed.load(Ordering::SeqCst)
    }

    /// From now on it accepts everything and passes nothing on, until [`Self::go_on`].
    fn fall_silent(&self) {
        self.state.silent.store(true, Ordering::SeqCst);
    }

    /// The connection of the next commit passes nothing on to the server, until [`Self::go_on`].
    fn hold_the_next_commit(&self) {
        self.state.hold.store(true, Ordering::SeqCst);
    }

    /// The connection of the next large answer takes nothing more from the server, until [`Self::go_on`].
    fn hold_the_next_large_answer(&self) {
        self.state.hold_answer.store(true, Ordering::SeqCst);
    }

    fn holds(&self) -> bool {
        self.state.holds.load(Ordering::SeqCst)
    }

    /// Ends the silence; what is held stays.
    fn speak(&self) {
        self.state.silent.store(false, Ordering::SeqCst);
    }

    fn go_on(&self) {
        self.speak();
        self.state.holds.store(false, Ordering::SeqCst);
    }

    fn go_away(&self) {
        self.state.away.store(true, Ordering::SeqCst);
    }

    fn come_back(&self) {
        self.state.away.store(false, Ordering::SeqCst);
    }
}

fn relay(client: std::net::TcpStream, server: std::net::TcpStream, state: &Arc<State>) {
    use std::io::{Read as _, Write as _};
    use std::net::Shutdown;
    let pump = |mut from: std::net::TcpStream, mut to: std::net::TcpStream, answers: bool| {
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(length) = from.read(&mut buffer) {
                let bytes = &buffer[..length];
                // The server's answer to a commit contains its tag; by then it is done.
                let tag = answers && bytes.windows(7).any(|it| it == b"COMMIT\0");
                let swallow = tag && state.swallow.swap(false, Ordering::SeqCst);
                if swallow {
                    state.swallowed.store(true, Ordering::SeqCst);
                }
                let holds = if answers {
                    length > 16_384 && state.hold_answer.swap(false, Ordering::SeqCst)
                } else {
                    bytes.windows(6).any(|it| it == b"COMMIT") && state.hold.swap(false, Ordering::SeqCst)
                };
                if holds {
                    state.holds.store(true, Ordering::SeqCst);
                }
                while state.silent.load(Ordering::SeqCst) || holds && state.holds.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                let away = state.away.load(Ordering::SeqCst);
                if length == 0 || swallow || away || to.write_all(bytes).is_err() {
                    break;
                }
            }
            // While something is held, nobody is told of an end either.
            while state.holds.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    };
    let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    pump(client, server, false);
    pump(server_too, client_too, true);
}
