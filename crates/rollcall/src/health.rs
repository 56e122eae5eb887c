//! Whether the hub can do its work, part by part: the database, and the tasks of delivery.

use std::time::Duration;

use rollcall_db::{Db, ErrorClass};
use rollcall_server::health::Part;

use crate::delivery::Shared;
use crate::delivery::vitals::Sign;
use crate::maintenance::Upkeep;

/// How long the feed may be without having read the log: it looks several times a second.
const FEED_WITHIN: Duration = Duration::from_secs(15);

/// How long a round of maintenance may take: what it removes at once may be much.
const MAINTENANCE_WITHIN: Duration = Duration::from_secs(900);

/// For how long it is told that a worker failed.
const FAILURE_TOLD: Duration = Duration::from_secs(600);

/// Looks at everything.
pub async fn look(shared: &Shared, upkeep: &Upkeep) -> Vec<Part> {
    let vitals = &shared.vitals;
    vec![
        database(&shared.hub.db).await,
        task("feed", "the change log is read", vitals.feed.sign(), FEED_WITHIN),
        task(
            "leases",
            "the right to deliver is renewed",
            vitals.supervisor.sign(),
            shared.options.lease.max(FEED_WITHIN),
        ),
        task(
            "maintenance",
            "what is due by itself is done",
            upkeep.sign(),
            MAINTENANCE_WITHIN.max(upkeep.every() * 2),
        ),
        workers(shared),
    ]
}

/// Whether the database commits and reads, from the file that it was opened with, with room on its disk.
pub async fn database(db: &Db) -> Part {
    rollcall_server::health::database(db.check(), |error| advice(error.class())).await
}

/// What to do about an error of the database.
pub fn advice(class: ErrorClass) -> String {
    class.advice("the hub", "restore the latest backup")
}

fn task(name: &'static str, does: &str, sign: Sign, within: Duration) -> Part {
    match sign {
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
                "the worker of the application {} failed {} s ago and {}; failures since the start: {}",
                failure.application_id,
                failure.ago.as_secs(),
                match failure.pause.checked_sub(failure.ago) {
                    Some(left) => format!("is started again in {} s", left.as_secs() + 1),
                    None => "was started again".to_owned(),
                },
                failure.times
            ),
            "that is a mistake of the hub: its log has the details; report it",
        ),
        _ => Part::ok(NAME, "none has failed lately"),
    }
}
