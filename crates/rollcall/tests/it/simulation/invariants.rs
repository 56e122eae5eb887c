//! What must hold at every step, and what at the end.
//!
//! Absent, because nothing looks at it yet: that the position passes nothing that is neither answered, parked nor
//! skipped (only that it never goes back and never passes the log's end); that two epochs never write (only what
//! comes of it in the copies); that the storage does not grow with the number of applications; that a sealed
//! password is gone once it is acknowledged; erasure and restore, which the history does not do; clock jumps.

use std::collections::BTreeSet;

use rollcall::application::{Entitlements, store};
use rollcall::compare;
use rollcall::delivery::job;
use rollcall::delivery::ledger::operate;
use rollcall::delivery::ledger::parked::{self, ParkedState};
use rollcall::hub::Hub;
use rollcall_db::DbError;
use rollcall_protocol::EventType;
use rollcall_receiver::Snapshot;

use super::deeds::PASSWORD;
use super::network::Copy;
use super::world::{Manner, World, caller};
use crate::forgetful::without_strangers;

/// The end of the log.
pub(super) async fn head(hub: &Hub) -> i64 {
    let head = hub
        .db
        .read(|tx| Ok::<_, DbError>(rollcall::change::head(tx)?.seq));
    // A node that was killed since knows nothing any more.
    head.await.unwrap_or(0)
}

/// What an application should have.
async fn should_have(hub: &Hub, id: &str) -> Result<Snapshot, DbError> {
    let id = id.to_owned();
    hub.db
        .read(move |tx| {
            let scope = Entitlements::load(tx, &id)?.current().scope.clone();
            compare::in_scope(tx, &scope)
        })
        .await
}

fn must(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// Leaves out what is in the copy only. Who was not told that something is gone learns it from the inventory alone,
/// which the official SDK passes over.
fn forget_what_is_gone(has: &mut Snapshot, should: &Snapshot) {
    has.users.retain(|id, _| should.users.contains_key(id));
    has.units.retain(|id, _| should.units.contains_key(id));
    has.groups.retain(|id, _| should.groups.contains_key(id));
    for (id, group) in &mut has.groups {
        group
            .members
            .retain(|user| should.groups[id].members.contains(user));
    }
}

impl World {
    /// What must hold at every step.
    pub(super) fn always(&mut self) -> Result<(), String> {
        self.what_was_acknowledged_is_durable()?;
        self.positions_go_forward_within_the_log()?;
        self.note_who_is_in_scope();
        Ok(())
    }

    /// What must hold once everything is settled.
    pub(super) fn finally(&mut self) -> Result<(), String> {
        self.copies_are_equal()?;
        self.nothing_is_sent_outside_of_the_scope()?;
        self.no_password_reaches_who_may_not_have_it()
    }

    fn what_was_acknowledged_is_durable(&self) -> Result<(), String> {
        let Some(head) = self.on_hub(head) else {
            return Ok(());
        };
        let told = self.acknowledged;
        must(head >= told, || {
            format!("the log ends at {head}, and a change {told} was acknowledged")
        })
    }

    fn positions_go_forward_within_the_log(&mut self) -> Result<(), String> {
        for tenant in &self.tenants {
            let application = tenant.application.clone();
            let found = self.on_hub(async |hub| {
                let id = application.id.clone();
                let stored = hub.db.read(move |tx| store::load(tx, &id)).await;
                (stored.map(|stored| stored.position), head(hub).await)
            });
            let Some((Ok(position), head)) = found else {
                continue;
            };
            let name = &application.name;
            let before = self.positions.insert(name.clone(), position).unwrap_or(position);
            must(before <= position && position <= head, || {
                format!("the position of {name} went from {before} to {position}, and the log ends at {head}")
            })?;
        }
        Ok(())
    }

    fn note_who_is_in_scope(&mut self) {
        for tenant in &self.tenants {
            let (id, name) = (&tenant.application.id, &tenant.application.name);
            if let Some(Ok(snapshot)) = self.on_hub(async |hub| should_have(hub, id).await) {
                let ids = snapshot.users.keys().chain(snapshot.units.keys());
                let ids = ids.chain(snapshot.groups.keys()).cloned();
                self.entitled.entry(name.clone()).or_default().extend(ids);
            }
        }
    }

    /// Whether everything has been sent that there is to send; what was set aside is sent again.
    pub(super) fn is_settled(&self) -> bool {
        self.tenants.iter().all(|tenant| {
            let id = tenant.application.id.clone();
            let settled = self.on_hub(async |hub| {
                hub.write_as(caller(), move |tx, ctx| {
                    let other = |error: &dyn std::fmt::Display| DbError::Other(error.to_string());
                    let parked = parked::list(tx, &id)?;
                    if parked.iter().any(|parked| parked.state == ParkedState::Failed) {
                        operate::resend(tx, ctx, &id, None).map_err(|error| other(&error))?;
                        return Ok(false);
                    }
                    let head = rollcall::change::head(tx)?.seq;
                    let stored = store::load(tx, &id).map_err(|error| other(&error))?;
                    let job = job::open_job(tx, &id)?;
                    Ok::<_, DbError>(parked.is_empty() && job.is_none() && stored.position == head)
                })
                .await
                .unwrap()
            });
            settled.unwrap_or(false)
        })
    }

    fn copies_are_equal(&self) -> Result<(), String> {
        for tenant in &self.tenants {
            let (id, name) = (&tenant.application.id, &tenant.application.name);
            let mut should = self
                .on_hub(async |hub| should_have(hub, id).await.unwrap())
                .unwrap();
            if tenant.manner == Manner::Sdk {
                should.groups.clear();
            }
            let has = match &*self.network.copy(name) {
                Copy::Mirror(receiver) => self
                    .on_hub(async |_| receiver.processor().snapshot().await.unwrap())
                    .unwrap(),
                Copy::Forgetful(_, forgetful) => {
                    let mut snapshot = without_strangers(forgetful.snapshot());
                    if self.given_up {
                        forget_what_is_gone(&mut snapshot, &should);
                    }
                    snapshot
                }
            };
            must(should == has, || {
                format!("{name} is different: {:#?}", should.differences(&has))
            })?;
        }
        Ok(())
    }

    fn nothing_is_sent_outside_of_the_scope(&self) -> Result<(), String> {
        for tenant in &self.tenants {
            let name = &tenant.application.name;
            let Copy::Forgetful(_, forgetful) = &*self.network.copy(name) else {
                continue;
            };
            let nobody = BTreeSet::new();
            let entitled = self.entitled.get(name).unwrap_or(&nobody);
            let of_nobody = [EventType::Test.urn(), EventType::Inventory.urn()];
            for arrival in forgetful.arrivals() {
                let known =
                    entitled.contains(&arrival.biz_id) || of_nobody.contains(&arrival.event_type.as_str());
                must(known, || {
                    format!("{name} was told of who was never in its scope: {arrival:?}")
                })?;
            }
        }
        Ok(())
    }

    fn no_password_reaches_who_may_not_have_it(&self) -> Result<(), String> {
        for tenant in self.tenants.iter().filter(|tenant| tenant.manner != Manner::Sdk) {
            let name = &tenant.application.name;
            if let Copy::Forgetful(_, forgetful) = &*self.network.copy(name) {
                for arrival in forgetful.arrivals() {
                    must(!arrival.biz_data.contains(PASSWORD), || {
                        format!("{name} was told a password: {arrival:?}")
                    })?;
                }
            }
        }
        Ok(())
    }
}
