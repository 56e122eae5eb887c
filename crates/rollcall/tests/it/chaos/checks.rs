//! What has to hold when the faults have stopped.

use std::collections::{BTreeMap, HashMap, HashSet};

use rollcall::application::Scope;
use rollcall::change::{self, Change};
use rollcall::compare;
use rollcall::hub::Hub;
use rollcall_db::{Dialect, Tx, params};
use rollcall_protocol::{EventType, SubjectKind};
use rollcall_receiver::testing::Forgetful;
use rollcall_receiver::{Mirror, Snapshot};

use super::writers::Acknowledged;
use crate::forgetful::{kind, without_strangers};

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

/// Nothing that was acknowledged is missing: neither from the log nor from the directory, and nothing else is there.
pub(super) fn nothing_is_lost(log: &[Change], directory: &Snapshot, acknowledged: &[Acknowledged]) {
    for (index, change) in log.iter().enumerate() {
        assert_eq!(
            usize::try_from(change.seq).unwrap(),
            index + 1,
            "the log has a gap"
        );
    }
    let described: HashSet<String> = log
        .iter()
        .filter(|change| change.subject_kind == SubjectKind::User)
        .filter_map(|change| {
            let record: serde_json::Value = serde_json::from_str(&change.record).unwrap();
            record["description"].as_str().map(str::to_owned)
        })
        .collect();
    let mut people = 0;
    for done in acknowledged {
        for text in &done.texts {
            assert!(described.contains(text), "{text} was acknowledged, and is lost");
        }
        for (id, person) in &done.people {
            let found = directory
                .users
                .get(id)
                .unwrap_or_else(|| panic!("user {id} is lost"));
            assert_eq!(found.description.as_ref(), Some(&person.description), "{id}");
            assert_eq!(found.units, BTreeMap::from([(person.unit.clone(), true)]), "{id}");
        }
        for (unit, parent) in &done.parents {
            assert_eq!(directory.units[unit].parent_id.as_ref(), Some(parent), "{unit}");
        }
        assert_eq!(directory.groups[&done.group].members, done.members);
        people += done.people.len();
    }
    assert_eq!(directory.users.len(), people, "a user is there that was deleted");
}

/// The receiver without memory has what the directory has. Of each subject it got every event first in the order of
/// the log, and last the newest. Returns how many events it got, and how many of them again.
pub(super) fn told_in_order(app: &Forgetful, directory: &Snapshot) -> (usize, usize) {
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
        if let Some((time, id)) = newest.insert(event.biz_id.clone(), now) {
            assert!(
                time <= event.event_time,
                "of {}, {} came first after {id}, which is newer",
                event.biz_id,
                event.event_id
            );
        }
    }
    for (subject, id) in last {
        assert_eq!(
            newest[&subject].1, id,
            "what came last of {subject} is not the newest"
        );
    }
    let has = without_strangers(app.snapshot());
    assert!(*directory == has, "{:#?}", directory.differences(&has));
    (all, again)
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

/// The mirror applied nothing twice: of no user and time more than the log has. Returns how much it applied.
///
/// Nothing up to `synchronized` counts: for everybody who is new the mirror notes that the inventory did not name them.
pub(super) async fn nothing_twice(mirror: &Mirror, log: &[Change], synchronized: i64) -> usize {
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
        assert!(
            count <= most,
            "the mirror applied {count} events of {user} of {time}; there are {most}"
        );
        applied += usize::try_from(count).unwrap();
    }
    applied
}
