//! What `/readyz` says while something is wrong.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command as Process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rollcall::access::Caller;
use rollcall::application::{self, Scope};
use rollcall::delivery::{self, Shared};
use rollcall::directory::Command;
use rollcall::health;
use rollcall::id::ROOT_UNIT;
use rollcall::maintenance::{Maintenance, Options};
use rollcall_protocol::{Random, SystemRandom};
use rollcall_server::health::{Readiness, Report, State};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::operate::{Served, rollcall};
use crate::plain::{self, Of, Plain, Say, attempts_of, deliver, parked_of, user};
use crate::strangers;
use crate::world::{Fault, World, egress, hasty, new_user, on_both, open_hub};

/// A hub as a process that is told that a file is too large, instead of being ended by a signal.
fn serve(folder: &Path) -> Served {
    let mut process = Process::new("bash");
    process
        .args([
            "-c",
            "trap '' XFSZ; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_rollcall"),
        ])
        .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
        .current_dir(folder)
        .env("ROLLCALL_DATA_DIR", folder.join("data"))
        .env_remove("ROLLCALL_LOG");
    Served::run(process)
}

/// The status and the report.
fn ready(served: &Served) -> (u16, Value) {
    let mut stream = TcpStream::connect(&served.address).unwrap();
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

/// Asks until the hub is ready, or is not, and gives what it says of the database then.
fn until(served: &Served, wanted: bool) -> Value {
    loop {
        let (status, report) = ready(served);
        assert_eq!(
            status,
            if report["ready"] == true { 200 } else { 503 },
            "{report}"
        );
        if report["ready"] == wanted {
            let parts = report["parts"].as_array().unwrap();
            return parts
                .iter()
                .find(|part| part["name"] == "database")
                .unwrap()
                .clone();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_hub_that_cannot_write_is_not_ready_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let mut served = serve(folder.path());
    assert_eq!(until(&served, true)["state"], "ok");
    let pid = Pid::from_child(&served.child);
    let limit = |bytes: Option<u64>| {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(Some(pid), Resource::Fsize, limit).unwrap();
    };
    limit(Some(1));
    let part = until(&served, false);
    assert_eq!(part["state"], "failed");
    assert!(
        part["action"].as_str().is_some_and(|action| !action.is_empty()),
        "{part}"
    );
    // It lives all the same.
    assert!(served.get("/healthz").starts_with("HTTP/1.1 200"));
    limit(None);
    until(&served, true);
    let log = served.stop();
    let lines = |message: &str| log.lines().filter(|line| line.contains(message)).count();
    assert_eq!((lines("not ready: "), lines("ready again")), (1, 1), "{log}");
}

#[test]
fn a_hub_whose_file_is_gone_or_another_is_not_ready() {
    for replace in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let served = serve(folder.path());
        until(&served, true);
        let file = folder.path().join("data/rollcall.db");
        let copy = folder.path().join("copy.db");
        std::fs::copy(&file, &copy).unwrap();
        std::fs::remove_file(&file).unwrap();
        if replace {
            std::fs::rename(&copy, &file).unwrap();
        }
        let part = until(&served, false);
        assert_eq!(part["state"], "failed", "{part}");
        assert!(
            part["message"].as_str().unwrap().contains("rollcall.db"),
            "{part}"
        );
    }
}

/// The pages of the tables, not of indexes, that hold this text.
fn pages_with(file: &[u8], text: &str) -> Vec<std::ops::Range<usize>> {
    let size = usize::from(u16::from_be_bytes([file[16], file[17]]));
    let leaf_of_a_table = 0x0d;
    let pages = (1..file.len() / size).map(|number| number * size..(number + 1) * size);
    pages
        .filter(|page| {
            let bytes = &file[page.clone()];
            bytes[0] == leaf_of_a_table && bytes.windows(text.len()).any(|it| it == text.as_bytes())
        })
        .collect()
}

#[test]
fn a_hub_with_corrupt_pages_is_not_ready_until_they_are_mended() {
    let folder = tempfile::tempdir().unwrap();
    let mut served = serve(folder.path());
    until(&served, true);
    let mut people = "username,display_name,path\n".to_owned();
    for number in 0..300 {
        people.push_str(&format!("u{number},Person {number},A\n"));
    }
    let path = folder.path().join("people.csv");
    std::fs::write(&path, people).unwrap();
    let import = rollcall(folder.path(), &["import", "people.csv"])
        .output()
        .unwrap();
    assert!(import.status.success(), "{import:?}");
    served.stop();

    let file = folder.path().join("data/rollcall.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    database
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(database);
    let whole = std::fs::read(&file).unwrap();
    let mut torn = whole.clone();
    let pages = pages_with(&whole, "Person 150");
    assert!(!pages.is_empty());
    for page in pages {
        torn[page].fill(0xff);
    }
    std::fs::write(&file, &torn).unwrap();

    let mut served = serve(folder.path());
    let part = until(&served, false);
    assert_eq!(part["state"], "failed", "{part}");
    assert!(part["message"].as_str().unwrap().contains("damaged"), "{part}");
    assert!(
        part["action"]
            .as_str()
            .unwrap()
            .contains("restore the latest backup"),
        "{part}"
    );
    assert!(served.get("/healthz").starts_with("HTTP/1.1 200"));
    served.stop();

    std::fs::write(&file, &whole).unwrap();
    let served = serve(folder.path());
    assert_eq!(until(&served, true)["state"], "ok");
}

#[test]
fn asking_often_does_not_load_the_database() {
    on_both("asked_often", |hub, mirror| async move {
        let world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        let options = Options {
            every: Duration::from_secs(3_600),
            ..Options::default()
        };
        let delivery = deliver(&world.hub, delivery::Options::default()).await;
        let maintenance = Maintenance::start(world.hub.clone(), options);
        let upkeep = maintenance.upkeep();
        // Its tasks begin a moment after it has started.
        while !Report::from(health::look(delivery.shared(), upkeep).await).ready {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let readiness = Readiness::default();
        let before = world.hub.db.stats().closures;
        for _ in 0..2_000 {
            let report = readiness.report(health::look(delivery.shared(), upkeep)).await;
            assert!(report.ready, "{report:?}");
        }
        let commits = world.hub.db.stats().closures - before;
        assert!(commits < 200, "{commits} commits for 2,000 questions");
        delivery.stop().await;
        let idle = Shared::for_one(world.hub.clone(), egress()).await.unwrap();
        let report = Report::from(health::look(&idle, upkeep).await);
        assert!(
            !report.ready,
            "delivery that has not begun is not ready: {report:?}"
        );
        maintenance.stop().await;
    });
}

/// Randomness that fails on demand, but not for the threads that seal: those do not end by a panic.
struct Brittle(Arc<AtomicBool>);

impl Random for Brittle {
    fn fill(&self, bytes: &mut [u8]) {
        let current = std::thread::current();
        let seals = current.name().is_some_and(|name| name.starts_with("signing"));
        assert!(seals || !self.0.load(Ordering::SeqCst), "no more chance");
        SystemRandom.fill(bytes);
    }
}

#[test]
fn a_worker_that_panics_is_told_and_started_again_after_a_pause() {
    on_both("panic", |hub, mirror| async move {
        let mut world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        let broken = Arc::new(AtomicBool::new(false));
        world.user("ada", ROOT_UNIT).await;
        world.hub.random = Arc::new(Brittle(Arc::clone(&broken)));
        world.options = delivery::Options {
            first_pause: Duration::from_secs(3),
            longest_pause: Duration::from_secs(3),
            ..hasty()
        };
        world.start().await;
        world.synchronize().await;
        world.converged().await;
        let shared = Arc::clone(world.delivery.as_ref().unwrap().shared());
        let upkeep = Arc::clone(world.maintenance.as_ref().unwrap().upkeep());
        let workers = || async {
            let parts = health::look(&shared, &upkeep).await;
            parts.into_iter().find(|part| part.name == "workers").unwrap()
        };
        assert_eq!(workers().await.state, State::Ok);
        let id = world.application.id.clone();
        // Another hub on the same database writes; the one that delivers has no more chance.
        let writer = open_hub(&hub).await;
        broken.store(true, Ordering::SeqCst);
        let bob = new_user("bob", ROOT_UNIT);
        let caller = Caller::system("test");
        writer.apply(caller, Command::CreateUser(bob)).await.unwrap();
        world
            .until("the failure is told", || async {
                workers().await.state == State::Warning
            })
            .await;
        let told = workers().await.message;
        assert!(
            told.contains(&id) && told.contains("is started again in"),
            "{told}"
        );
        // Whatever wakes the supervisor meanwhile, the pause is kept.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            let id = id.clone();
            writer
                .db
                .write(move |tx| application::store::touch(tx, &id))
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            let failed = shared.vitals.last_worker_failure().unwrap();
            assert_eq!(failed.times, 1, "{failed:?}");
        }
        broken.store(false, Ordering::SeqCst);
        let carol = Command::CreateUser(new_user("carol", ROOT_UNIT));
        writer.apply(Caller::system("test"), carol).await.unwrap();
        world.converged().await;
        let part = workers().await;
        assert_eq!(part.state, State::Warning);
        assert!(part.message.contains("was started again"), "{}", part.message);
        world.stop().await;
    });
}

#[test]
fn an_event_that_is_set_aside_is_logged_once_and_watching_is_not() {
    on_both("set_aside", |hub, mirror| async move {
        let folder = strangers::folder("");
        let world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        let ada = world.user("lovelace", ROOT_UNIT).await;
        world.endpoint.fail_always(Some(Fault::Refuse(ada.clone())));
        let mut served = strangers::serve(folder.path(), &hub);
        let line: Value = serde_json::from_str(&served.log_until("an event is set aside")).unwrap();
        assert_eq!(
            (line["level"].as_str(), line["subject"].as_str()),
            (Some("WARN"), Some(ada.as_str()))
        );
        // It is not sent, nor told, again by itself, while others are.
        world.endpoint.fail_always(None);
        world.user("bob", ROOT_UNIT).await;
        for path in ["/metrics", "/healthz", "/readyz"] {
            assert!(served.get(path).starts_with("HTTP/1.1 200"), "{path}");
        }
        while world.endpoint.mirror.counts().await.unwrap().users < 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(served.get("/nowhere").starts_with("HTTP/1.1 404"));
        let log = served.stop();
        assert!(!log.contains("an event is set aside"), "{log}");
        assert_eq!(log.matches("answered").count(), 1, "{log}");
        assert!(!line.to_string().contains("lovelace"), "{line}");
    });
}

#[test]
fn the_log_has_no_colours_in_a_file_and_no_level_that_there_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let serve = |arguments: &[&str], variable: (&str, &str)| {
        rollcall(folder.path(), &["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .env(variable.0, variable.1)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    for (arguments, variable) in [
        (&["--log-level", "loud"][..], ("LANG", "C")),
        (&["--log-level", "info,rollcall"], ("LANG", "C")),
        (&[], ("ROLLCALL_LOG", "rollcall=loud")),
    ] {
        let output = serve(arguments, variable).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(said.contains("error, warn, info, debug, trace or off"), "{said}");
    }
    let mut child = serve(&[], ("LANG", "C"));
    let mut line = Vec::new();
    let mut log = child.stderr.take().unwrap();
    while !(line.ends_with(b"\n") && String::from_utf8_lossy(&line).contains("the hub runs")) {
        let mut byte = [0];
        assert_eq!(log.read(&mut byte).unwrap(), 1);
        line.extend(byte);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let line = String::from_utf8(line).unwrap();
    assert!(!line.contains('\u{1b}'), "{line:?}");
}

#[test]
fn the_log_does_not_tell_what_applications_say_of_people() {
    on_both("log_of_people", |hub, _| async move {
        const NAME: &str = "zyxwvut-quux";
        let folder = strangers::folder("");
        let hub_too = open_hub(&hub).await;
        let app = Plain::new(&hub_too, "App").await;
        // It quotes the user in a refusal, in an answer that is none, and of the event by itself.
        let mut number = 0;
        app.say(move |events| {
            number += 1;
            let quoted = format!("{{\"failedEvents\":[{{\"eventId\":\"{NAME}\",");
            match number {
                1 => Say::Refusal(
                    500,
                    format!("{{\"error\":\"{NAME}\",\"errorDescription\":\"{NAME}\"}}"),
                ),
                2 => Say::Refusal(400, format!("<p>{NAME}</p>")),
                3 => Say::Body(quoted),
                _ => Say::Each(vec![Of::Failed; events.len()]),
            }
        });
        user(&hub_too, NAME).await;
        let mut served = strangers::serve(folder.path(), &hub);
        plain::until("the event is set aside", async || {
            !parked_of(&hub_too, &app.application).await.is_empty()
        })
        .await;
        let said = serde_json::to_string(&attempts_of(&hub_too, &app.application).await).unwrap();
        assert!(said.contains(NAME), "the test must be able to find something");
        let log = served.beginning.clone() + &served.stop();
        assert!(log.matches("\"request\"").count() > 3, "{log}");
        assert!(!log.contains(NAME), "{log}");
    });
}
