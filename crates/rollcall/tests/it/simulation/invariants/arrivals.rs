//! What arrives at applications without memory.

use std::collections::{BTreeMap, BTreeSet};

use rollcall::application::{Entitlements, store};
use rollcall::change::{self, Change};
use rollcall::delivery::job;
use rollcall::delivery::ledger::parked;
use rollcall::hub::Hub;
use rollcall_db::{DbError, params};
use rollcall_protocol::EventType;
use rollcall_receiver::testing::Arrival;

use super::super::deeds::PASSWORD;
use super::super::history::START;
use super::super::network::Copy;
use super::super::tenants::Manner;
use super::super::world::World;
use super::super::wrong::{Checked, What, must};

/// What was seen of what has arrived at an application.
#[derive(Default)]
pub(in super::super) struct Seen {
    /// How many events were looked at.
    count: usize,
    /// What was applied of each subject.
    versions: BTreeMap<String, Versions>,
}

/// What was applied of a subject last, and the newest that was.
#[derive(Default)]
struct Versions {
    last: Version,
    newest: Version,
}

/// A record, with the event that brought it.
#[derive(Clone, Default)]
struct Version {
    event_id: String,
    time: i64,
    record: String,
    /// It says that the subject is gone.
    is_gone: bool,
}

/// What an event says of its subject. When a group changed last is left out: it does so too when somebody joins or leaves,
/// which other events tell.
fn record(arrival: &Arrival) -> String {
    let mut record: serde_json::Value = serde_json::from_str(&arrival.biz_data).unwrap_or_default();
    match record.as_object_mut() {
        Some(fields) if fields.contains_key("groupId") => {
            fields.remove("updateTime");
            record.to_string()
        }
        _ => arrival.biz_data.clone(),
    }
}

/// Whether the event is of a subject's record. Memberships have versions of their own.
fn is_of_record(arrival: &Arrival) -> bool {
    let kind = EventType::ALL
        .iter()
        .find(|kind| kind.urn() == arrival.event_type);
    match kind {
        Some(
            EventType::Test | EventType::Inventory | EventType::GroupAddUser | EventType::GroupRemoveUser,
        )
        | None => false,
        Some(kind) => kind.subject_kind().is_some(),
    }
}

fn is_deletion(arrival: &Arrival) -> bool {
    use EventType as T;
    [T::UserDelete, T::UnitDelete, T::GroupDelete]
        .iter()
        .any(|kind| kind.urn() == arrival.event_type)
}

/// What the hub thinks of what an application has applied last.
enum Opinion {
    /// There is more to be told of the subject.
    Owed,
    /// A backup was restored that does not know of the subject, or knows only that it is gone, so that nobody can tell it
    /// any more: only the closing inventory of a full synchronization does, and that means nothing to such an application.
    /// Or by the backup the subject is not in scope, and that it has left was the last that was told: what came after it
    /// before the restore has not happened.
    Forgotten,
    /// It is the subject's last change that is told. A push may have come before it that bears a later time, since that is the time
    /// at which the same record was read.
    Newest,
    Neither,
}

async fn opinion(
    hub: &Hub,
    id: &str,
    subject: &str,
    last: &Version,
    restored: bool,
) -> Result<Opinion, DbError> {
    let (id, subject, last) = (id.to_owned(), subject.to_owned(), last.clone());
    hub.db
        .read(move |tx| {
            let other = |error: &dyn std::fmt::Display| DbError::Other(error.to_string());
            let stored = store::load(tx, &id).map_err(|error| other(&error))?;
            let entitlements = Entitlements::load(tx, &id)?;
            // Those alone that are told: where the subject stands may have changed since.
            let is_told = |change: &Change| entitlements.at(change.seq).event_for(change).is_some();
            let changes = change::of_subject(tx, &subject)?;
            let last_change = changes.iter().max_by_key(|change| change.seq);
            if restored && last_change.is_none_or(|change| change.after.is_none()) {
                return Ok(Opinion::Forgotten);
            }
            let scope = &entitlements.current().scope;
            let is_in_scope = last_change.is_some_and(|change| {
                let stands = change.after.as_ref();
                stands.is_some_and(|stands| scope.covers(change.subject_kind, stands))
            });
            if restored && last.is_gone && !is_in_scope {
                return Ok(Opinion::Forgotten);
            }
            let newest = changes
                .into_iter()
                .filter(is_told)
                .max_by_key(|change| change.seq);
            let passed = |change: &Change| change.seq <= stored.position;
            let parked = parked::list(tx, &id)?;
            let waits = parked.iter().any(|parked| parked.subject_id == subject);
            Ok(
                if waits || !newest.as_ref().is_none_or(passed) || job::open_job(tx, &id)?.is_some() {
                    Opinion::Owed
                } else if newest.is_some_and(|newest| newest.event_id == last.event_id) {
                    Opinion::Newest
                } else {
                    Opinion::Neither
                },
            )
        })
        .await
}

/// The type of event that a change in the log is to an application now; the outer `None` if the log does not know it any
/// more, or nobody knows what was in its scope then.
async fn in_the_log(hub: &Hub, id: &str, event_id: &str) -> Option<Option<EventType>> {
    let (id, event_id) = (id.to_owned(), event_id.to_owned());
    let read = hub.db.read(move |tx| {
        let row = tx.query_opt(
            "SELECT seq FROM changes WHERE event_id = $1",
            params![event_id.as_str()],
        )?;
        let Some(seq) = row.map(|row| row.get(0)).transpose()? else {
            return Ok(None);
        };
        let entitlements = Entitlements::load(tx, &id)?;
        let change = change::read(tx, seq)?.filter(|_| seq > entitlements.begins());
        let meant = change.map(|change| {
            let entitlement = entitlements.at(seq);
            // The subscription is asked by itself: what delivery makes of it is on trial.
            let event = entitlement.event_for(&change);
            event.filter(|event| entitlement.subscription.contains(*event))
        });
        Ok::<_, DbError>(meant)
    });
    read.await.ok().flatten()
}

impl World {
    /// Looks at what has arrived since the last time.
    pub(super) fn what_arrives_is_meant_for_it(&mut self) -> Checked {
        let nobody = BTreeSet::new();
        for tenant in &self.tenants {
            let (id, name) = (&tenant.application.id, &tenant.application.name);
            let copy = self.network.copy(name).unwrap();
            let entitled = self.entitled.get(name).unwrap_or(&nobody);
            if let Copy::Scim(provider) = &*copy {
                let of_hub = provider.of_hub();
                let stranger = of_hub.iter().find(|id| !entitled.contains(*id));
                must(stranger.is_none(), What::OutOfScope, || {
                    format!("{name} has {stranger:?}, who was never in its scope")
                })?;
            }
            let Copy::Forgetful(receiver) = &*copy else {
                continue;
            };
            let seen = self.seen.entry(name.clone()).or_default();
            let arrivals = receiver.processor().processor.arrivals_after(seen.count);
            seen.count += arrivals.len();
            for arrival in &arrivals {
                if arrival.applied && is_of_record(arrival) {
                    let versions = seen.versions.entry(arrival.biz_id.clone()).or_default();
                    versions.last = Version {
                        event_id: arrival.event_id.clone(),
                        time: arrival.event_time,
                        record: record(arrival),
                        is_gone: is_deletion(arrival),
                    };
                    if versions.newest.time <= versions.last.time {
                        versions.newest = versions.last.clone();
                    }
                }
                must(
                    tenant.manner == Manner::Sdk || !arrival.biz_data.contains(PASSWORD),
                    What::Password,
                    || format!("{name} was told a password: {arrival:?}"),
                )?;
                let of_nobody = [EventType::Test.urn(), EventType::Inventory.urn()];
                if of_nobody.contains(&arrival.event_type.as_str()) {
                    continue;
                }
                must(entitled.contains(&arrival.biz_id), What::OutOfScope, || {
                    format!("{name} was told of who was never in its scope: {arrival:?}")
                })?;
            }
            let alive = self.alive();
            let told = alive.map(|node| {
                node.run(async {
                    let mut told = Vec::new();
                    for arrival in &arrivals {
                        told.push(in_the_log(&node.hub, id, &arrival.event_id).await);
                    }
                    told
                })
            });
            for (arrival, meant) in arrivals.iter().zip(told.into_iter().flatten()) {
                // An event that a scope or a subscription does not hold may not be sent.
                let fits =
                    meant.is_none_or(|meant| meant.is_some_and(|meant| meant.urn() == arrival.event_type));
                must(fits, What::OutOfScope, || {
                    format!("{name} was told what is not meant for it, but {meant:?}: {arrival:?}")
                })?;
            }
        }
        Ok(())
    }

    /// What was applied last of a subject is the newest of it, unless the hub has still to tell that again. Nobody can
    /// ask more: what is wanted again arrives after what is newer, which is then sent once more.
    pub(super) fn the_newest_comes_last(&mut self) -> Checked {
        if self.given_up {
            return Ok(());
        }
        let mut seen = std::mem::take(&mut self.seen);
        let restored = self.restored;
        for tenant in &self.tenants {
            let (id, name) = (&tenant.application.id, &tenant.application.name);
            let Some(Seen { count, versions }) = seen.get_mut(name) else {
                continue;
            };
            for (subject, Versions { last, newest }) in versions {
                // Two deletions say the same, whichever comes first: one that is sent again may come before that of a
                // change of scope, which tells of an earlier time.
                if last.record == newest.record || (last.is_gone && newest.is_gone) {
                    continue;
                }
                match self.on_hub(async |hub| opinion(hub, id, subject, last, restored).await) {
                    Some(Ok(Opinion::Newest | Opinion::Forgotten)) => *newest = last.clone(),
                    // The hub goes on while it is asked, and may have told what is newest meanwhile.
                    Some(Ok(Opinion::Neither)) if self.network.has_heard_more(name, *count) => {}
                    Some(Ok(Opinion::Neither)) => {
                        let (last, newest) = (last.time - START, newest.time - START);
                        return must(false, What::Order, || {
                            format!(
                                "{name} has applied {subject} as of {last} after {newest}, and is owed nothing"
                            )
                        });
                    }
                    Some(Ok(Opinion::Owed) | Err(_)) | None => {}
                }
            }
        }
        self.seen = seen;
        Ok(())
    }
}
