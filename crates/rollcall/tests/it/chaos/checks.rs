//! What has to hold when the faults have stopped.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use rollcall::application::{Application, Scope};
use rollcall::change::{self, Change};
use rollcall::compare;
use rollcall::delivery::ledger::parked::ParkedState;
use rollcall::hub::Hub;
use rollcall_db::{Dialect, Tx, params};
use rollcall_protocol::{EventType, SubjectKind};
use rollcall_receiver::testing::Forgetful;
use rollcall_receiver::{Mirror, Snapshot};

use super::counts::Findings;
use super::writers::Acknowledged;
use crate::forgetful::{kind, without_strangers};
use crate::plain::{attempts_of, parked_of, stored};

/// How long nothing may come of a delivery.
const STANDSTILL: Duration = Duration::from_secs(60);

/// Waits until an application was told everything: for as long as it goes on, because much was left undone.
pub(super) async fn told_everything(hub: &Hub, application: &Application) {
    let mut before = None;
    let mut since = Instant::now();
    loop {
        let head = hub.db.read(change::head).await.unwrap().seq;
        // The position first: what is parked is parked by the transaction that moves it.
        let stands = stored(hub, application).await;
        let parked = parked_of(hub, application).await;
        let waits = parked.iter().filter(|it| it.state != ParkedState::Failed).count();
        if stands.position == head && waits == 0 {
            return;
        }
        let now = Some((stands.position, waits));
        if now != before {
            (before, since) = (now, Instant::now());
        }
        assert!(
            since.elapsed() < STANDSTILL,
            "{} stands still at {} of {head}, {waits} events wait, suspended: {:?}, last attempts: {:#?}",
            stands.name,
            stands.position,
            stands.suspended,
            attempts_of(hub, application)
                .await
                .iter()
                .take(3)
                .collect::<Vec<_>>()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn in_scope(hub: &Hub, scope: &Scope) -> Snapshot {
    let scope = scope.clone();
    let read = hub.db.read(move |tx| compare::in_scope(tx, &scope));
    read.await.unwrap()
}

/// The whole log.
pub(super) async fn log(hub: &Hub) -> Vec<Change> {
    let mut log: Vec<Change> = Vec::new();
    loop {
        let after = log.last().map_or(0, |change| change.seq);
        let read = hub.db.read(move |tx| change::read_after(tx, after, 1_000));
        let more = read.await.unwrap();
        if more.is_empty() {
            return log;
        }
        log.extend(more);
    }
}

/// Nothing that was acknowledged is missing, neither from the log nor from the directory; nothing else is there; and
/// nothing that was written once was applied twice, whether it was acknowledged or not.
pub(super) fn the_directory(
    log: &[Change],
    directory: &Snapshot,
    acknowledged: &[Acknowledged],
    found: &mut Findings,
) {
    for (index, change) in log.iter().enumerate() {
        if usize::try_from(change.seq).unwrap() != index + 1 {
            found
                .lost
                .push(format!("the log has a gap before {}", change.seq));
        }
    }
    let mut described: HashSet<String> = HashSet::new();
    let mut newest: HashMap<&str, String> = HashMap::new();
    for change in log.iter().filter(|it| it.subject_kind == SubjectKind::User) {
        let record: serde_json::Value = serde_json::from_str(&change.record).unwrap();
        let Some(text) = record["description"].as_str() else {
            continue;
        };
        let before = newest.insert(&change.subject_id, text.to_owned());
        // Writers write each text once.
        if before.as_deref() != Some(text) && !described.insert(text.to_owned()) {
            let id = &change.subject_id;
            found.twice.push(format!("{text} was written twice, to {id}"));
        }
    }
    let mut people = 0;
    for done in acknowledged {
        for text in done.texts.iter().filter(|text| !described.contains(*text)) {
            found.lost.push(format!("{text} is not in the log"));
        }
        for (id, person) in &done.people {
            let is_there = directory.users.get(id).is_some_and(|it| {
                it.description.as_ref() == Some(&person.description)
                    && it.units == BTreeMap::from([(person.unit.clone(), true)])
            });
            if !is_there {
                found
                    .lost
                    .push(format!("user {id} is not as it was acknowledged"));
            }
        }
        for (unit, parent) in &done.parents {
            let stands = directory.units.get(unit).and_then(|it| it.parent_id.as_ref());
            if stands != Some(parent) {
                found.lost.push(format!("the move of unit {unit} below {parent}"));
            }
        }
        let group = directory.groups.get(&done.group);
        if group.is_none_or(|it| it.members != done.members) {
            found.lost.push(format!("members of group {}", done.group));
        }
        people += done.people.len();
    }
    if directory.users.len() > people {
        let more = directory.users.len() - people;
        let text = format!("{more} users are there twice, or were deleted and are there");
        found.twice.push(text);
    }
}

/// How many events the receiver without memory got, and how many of them again. It has what the directory has. Of
/// each subject it got every event first in the order of the log, and last the newest.
pub(super) fn what_was_told(app: &Forgetful, directory: &Snapshot, found: &mut Findings) -> (usize, usize) {
    let mut known = HashSet::new();
    let mut newest: HashMap<String, (i64, String)> = HashMap::new();
    let mut last: HashMap<String, String> = HashMap::new();
    let arrivals = app.arrivals();
    let events = arrivals
        .iter()
        .filter(|arrival| kind(arrival) != Some(EventType::Test));
    let (mut all, mut again) = (0, 0);
    for event in events {
        all += 1;
        last.insert(event.biz_id.clone(), event.event_id.clone());
        if !known.insert(event.event_id.clone()) {
            again += 1;
            continue;
        }
        let now = (event.event_time, event.event_id.clone());
        if let Some((time, id)) = newest.insert(event.biz_id.clone(), now)
            && time > event.event_time
        {
            let (subject, event) = (&event.biz_id, &event.event_id);
            let text = format!("of {subject}, {event} came first after {id}, which is newer");
            found.reordered.push(text);
        }
    }
    for (subject, id) in last {
        if newest[&subject].1 != id {
            let text = format!("what came last of {subject} is not the newest");
            found.reordered.push(text);
        }
    }
    same(
        "the receiver without memory",
        directory,
        &without_strangers(app.snapshot()),
        found,
    );
    (all, again)
}

/// A copy is what it should be.
pub(super) fn same(whose: &str, should: &Snapshot, has: &Snapshot, found: &mut Findings) {
    if should != has {
        let text = format!("{whose} is not equal: {:#?}", should.differences(has));
        found.lost.push(text);
    }
}

/// Has the mirror's database keep a list of what is done to its users.
pub(super) async fn watch(mirror: &Mirror) {
    let dialect = mirror.db().dialect();
    let watched = mirror.db().write(move |tx| {
        tx.execute(
            "CREATE TABLE chaos_applied (user_id TEXT NOT NULL, event_time BIGINT NOT NULL)",
            &[],
        )?;
        let insert = "INSERT INTO chaos_applied VALUES (NEW.user_id, NEW.event_time);";
        match dialect {
            Dialect::Sqlite => {
                for (name, when) in [("made", "INSERT"), ("changed", "UPDATE OF username")] {
                    tx.execute(
                        &format!(
                            "CREATE TRIGGER chaos_{name} AFTER {when} ON mirror_users BEGIN {insert} END"
                        ),
                        &[],
                    )?;
                }
            }
            Dialect::Postgres => {
                tx.execute(
                    &format!(
                        "CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql
                         AS $$ BEGIN {insert} RETURN NULL; END $$"
                    ),
                    &[],
                )?;
                tx.execute(
                    "CREATE TRIGGER chaos_applied AFTER INSERT OR UPDATE OF username ON mirror_users
                     FOR EACH ROW EXECUTE FUNCTION chaos_note()",
                    &[],
                )?;
            }
        }
        Ok::<_, rollcall_db::DbError>(())
    });
    watched.await.unwrap();
}

/// How much the mirror applied, and nothing twice: of no user and time more than the log has.
///
/// Nothing up to `synchronized` counts: for everybody who is new the mirror notes that the inventory did not name them.
pub(super) async fn what_was_applied(
    mirror: &Mirror,
    log: &[Change],
    synchronized: i64,
    found: &mut Findings,
) -> usize {
    let mut there: HashMap<(&str, i64), i64> = HashMap::new();
    for change in log {
        *there.entry((&change.subject_id, change.time)).or_default() += 1;
    }
    let read = mirror.db().read(move |tx: &mut Tx<'_>| {
        tx.query(
            "SELECT user_id, event_time, COUNT(*) FROM chaos_applied WHERE event_time > $1
             GROUP BY user_id, event_time",
            params![synchronized],
        )
    });
    let mut applied = 0;
    for row in read.await.unwrap() {
        let (user, time): (String, i64) = (row.get(0).unwrap(), row.get(1).unwrap());
        let count: i64 = row.get(2).unwrap();
        let most = there.get(&(user.as_str(), time)).copied().unwrap_or_default();
        if count > most {
            let text = format!("the mirror applied {count} events of {user} of {time}; there are {most}");
            found.twice.push(text);
        }
        applied += usize::try_from(count).unwrap();
    }
    applied
}
