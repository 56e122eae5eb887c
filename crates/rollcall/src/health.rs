//! Whether the hub can do its work, part by part: the database, and the tasks of delivery.

use std::time::Duration;

use rollcall_db::{Db, ErrorClass};
use rollcall_server::health::Part;

use crate::delivery::Shared;
use crate::delivery::vitals::{Pulse, Sign};

/// How long the database has to do its work. A small commit waits its turn behind what is queued.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// How long the feed may be without having read the log: it looks several times a second.
const FEED_WITHIN: Duration = Duration::from_secs(15);

/// How long housekeeping may take: what it removes at once may be much.
const HOUSEKEEPING_WITHIN: Duration = Duration::from_secs(900);

/// For how long it is told that a worker failed.
const FAILURE_TOLD: Duration = Duration::from_secs(600);

/// Looks at everything.
pub async fn look(shared: &Shared) -> Vec<Part> {
    let vitals = &shared.vitals;
    vec![
        database(&shared.hub.db).await,
        task("feed", "the change log is read", &vitals.feed, FEED_WITHIN),
        task(
            "leases",
            "the right to deliver is renewed",
            &vitals.supervisor,
            shared.options.lease.max(FEED_WITHIN),
        ),
        task(
            "housekeeping",
            "what is due by itself is done",
            &vitals.housekeeping,
            HOUSEKEEPING_WITHIN.max(shared.options.housekeeping * 2),
        ),
        workers(shared),
    ]
}

/// Whether the database commits and reads, from the file that it was opened with, with room on its disk.
pub async fn database(db: &Db) -> Part {
    const NAME: &str = "database";
    match tokio::time::timeout(ANSWERS_WITHIN, db.check()).await {
        Ok(Ok(())) => Part::ok(NAME, "it commits and reads"),
        Ok(Err(error)) => Part::failed(NAME, error.to_string(), advice(error.class())),
        Err(_) => Part::failed(
            NAME,
            format!("it does not answer within {} s", ANSWERS_WITHIN.as_secs()),
            "see whether the disk or the server is overloaded, or an import runs",
        ),
    }
}

/// What to do about an error of the database.
pub fn advice(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Transient => "see that it runs, and that this machine reaches it",
        ErrorClass::Full => "make room on its disk",
        ErrorClass::Damaged => "stop the hub, keep a copy of the files, and restore the latest backup",
        ErrorClass::Refused | ErrorClass::Bug => "that is a mistake of the hub: report it",
    }
}

fn task(name: &'static str, does: &str, pulse: &Pulse, within: Duration) -> Part {
    match pulse.sign() {
        Sign::Alive(ago) if ago <= within => Part::ok(name, does),
        Sign::Alive(ago) => Part::failed(
            name,
            format!("not for {} s: {does}", ago.as_secs()),
            "see whether the database is well; if it is, start the hub again",
        ),
        Sign::None => Part::failed(name, "it has not begun", "wait until the hub has started"),
        Sign::Ended => Part::failed(
            name,
            "it has ended",
            "look into the hub's log for the reason, and start the hub again",
        ),
    }
}

fn workers(shared: &Shared) -> Part {
    const NAME: &str = "workers";
    match shared.vitals.last_worker_failure() {
        Some(failure) if failure.ago < FAILURE_TOLD => Part::warning(
            NAME,
            format!(
                "the worker of the application {} failed {} s ago and is started again; failures since the start: {}",
                failure.application_id,
                failure.ago.as_secs(),
                failure.times
            ),
            "that is a mistake of the hub: its log has the details; report it",
        ),
        _ => Part::ok(NAME, "none has failed lately"),
    }
}
