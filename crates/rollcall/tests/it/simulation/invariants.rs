//! What must hold at every step, and what at the end.

mod arrivals;
mod ledger;

use std::collections::BTreeSet;
use std::sync::Arc;

use rollcall::application::{Entitlements, store};
use rollcall::change::Seq;
use rollcall::delivery::comparison::{self, Comparison, ComparisonError, Kind, Status};
use rollcall::delivery::job::{self, Inventory};
use rollcall::delivery::ledger::operate;
use rollcall::delivery::ledger::parked::{self, Parked, ParkedState};
use rollcall::hub::Hub;
use rollcall::{backup, compare};
use rollcall_db::{DbError, params};
use rollcall_receiver::Snapshot;

pub(super) use arrivals::Seen;
pub(super) use ledger::watch_settlements;

use super::deeds::PASSWORD;
use super::network::Copy;
use super::tenants::Manner;
use super::wanted::Overtaking;
use super::world::{World, caller};
use super::wrong::{Checked, What, must, panicked};
use crate::forgetful::without_strangers;

/// How far the log reaches; `None` where the node was killed since, or cannot read now.
pub(super) async fn head(hub: &Hub) -> Option<i64> {
    let head = hub
        .db
        .read(|tx| Ok::<_, DbError>(rollcall::change::head(tx)?.seq));
    head.await.ok()
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
    pub(super) fn always(&mut self) -> Checked {
        if let Some(panic) = panicked() {
            return Err(panic);
        }
        self.what_was_acknowledged_is_durable()?;
        self.positions_pass_what_was_answered()?;
        self.one_epoch_writes()?;
        self.only_tried_keys_sign()?;
        self.memberships_wait_for_their_members()?;
        self.note_who_is_in_scope();
        self.what_arrives_is_meant_for_it()?;
        self.the_newest_comes_last()?;
        if let Some(wrong) = self.network.wrong() {
            return Err(wrong);
        }
        let other = self.network.contents.wrong();
        must(other.is_none(), What::Content, || other.unwrap_or_default())?;
        if std::mem::take(&mut self.look_for_the_erased) {
            self.nobody_who_was_erased_is_anywhere()?;
        }
        Ok(())
    }

    /// What must hold once everything is settled.
    pub(super) fn finally(&mut self) -> Checked {
        self.copies_are_equal()?;
        // Maintenance has gone round since everything was acknowledged.
        self.pass(20_000);
        self.no_password_is_left()?;
        self.nobody_who_was_erased_is_anywhere()
    }

    fn what_was_acknowledged_is_durable(&self) -> Checked {
        let Some(Some(head)) = self.on_hub(head) else {
            return Ok(());
        };
        let told = self.acknowledged;
        must(head >= told, What::NotDurable, || {
            format!("the log ends at {head}, and a change {told} was acknowledged")
        })
    }

    /// A key that waits for its trial has signed nothing but tests.
    fn only_tried_keys_sign(&self) -> Checked {
        for tenant in &self.tenants {
            let (id, name) = (&tenant.application.id, &tenant.application.name);
            let signers = self.network.signers.take(name);
            if signers.is_empty() {
                continue;
            }
            let untried = self.on_hub(async |hub| {
                let id = id.clone();
                let read = hub.db.read(move |tx| {
                    let sql = "SELECT kid FROM signing_keys WHERE application_id = $1 AND trial IS NOT NULL";
                    let row = tx.query_opt(sql, params![id.as_str()])?;
                    row.map(|row| row.get::<String>(0)).transpose()
                });
                read.await
            });
            if let Some(Ok(Some(untried))) = untried {
                must(!signers.contains(&untried), What::Key, || {
                    format!("{untried} has signed for {name}, which has not accepted it yet")
                })?;
            }
        }
        Ok(())
    }

    /// Nobody is added to a group while an event of theirs is still to be sent again.
    fn memberships_wait_for_their_members(&self) -> Checked {
        for tenant in &self.tenants {
            let (id, name) = (&tenant.application.id, &tenant.application.name);
            let overtaking = self.network.wanted(name).overtaking();
            if overtaking.is_empty() {
                continue;
            }
            let parked = self.on_hub(async |hub| {
                let id = id.clone();
                hub.db.read(move |tx| parked::list(tx, &id)).await
            });
            let Some(Ok(parked)) = parked else {
                continue;
            };
            for Overtaking { membership, wanted } in overtaking {
                let waits =
                    |parked: &Parked| parked.event_id == wanted && parked.state != ParkedState::Failed;
                must(!parked.iter().any(waits), What::Order, || {
                    format!("{name} was told of the membership {membership} before {wanted}, which waits")
                })?;
            }
        }
        Ok(())
    }

    /// Scopes change with the directory and with the applications only.
    fn note_who_is_in_scope(&mut self) {
        let now = self.on_hub(async |hub| {
            let read = hub.db.read(|tx| {
                let head = rollcall::change::head(tx)?.seq;
                Ok::<_, DbError>((head, rollcall::instance::applications_version(tx)?))
            });
            read.await.ok()
        });
        let now = now.flatten();
        if now.is_none() || now == self.entitled_at {
            return;
        }
        let seen = std::mem::replace(&mut self.entitled_at, now);
        for tenant in &self.tenants {
            let (id, name) = (&tenant.application.id, &tenant.application.name);
            let Some(Ok(snapshot)) = self.on_hub(async |hub| should_have(hub, id).await) else {
                self.entitled_at = None;
                continue;
            };
            let ids = snapshot.users.keys().chain(snapshot.units.keys());
            let ids = ids.chain(snapshot.groups.keys()).cloned();
            let since = seen.map(|(head, _)| self.who_was_in_scope(id, head));
            let entitled = self.entitled.entry(name.clone()).or_default();
            entitled.extend(ids.chain(since.unwrap_or_default()));
        }
    }

    /// Who was in an application's scope after a change since a position, even if it was for a moment: a scope that is
    /// changed beside everything else may change just after that.
    fn who_was_in_scope(&self, id: &str, since: Seq) -> BTreeSet<String> {
        let id = id.to_owned();
        let read = self.on_hub(async |hub| {
            let read = hub.db.read(move |tx| {
                let scopes = Entitlements::load(tx, &id)?;
                let changes = rollcall::change::read_after(tx, since, usize::MAX)?.into_iter();
                let covered = changes.filter(|change| {
                    let scope = &scopes.at(change.seq).scope;
                    let after = change.after.as_ref();
                    after.is_some_and(|after| scope.covers(change.subject_kind, after))
                });
                Ok::<_, DbError>(covered.map(|change| change.subject_id).collect())
            });
            read.await.ok()
        });
        read.flatten().unwrap_or_default()
    }

    /// Whether everything has been sent that there is to send; what was set aside is sent again.
    pub(super) fn is_settled(&self) -> bool {
        self.inboxes_are_empty()
            && self.tenants.iter().all(|tenant| {
                let id = tenant.application.id.clone();
                let wanted = self.network.wanted(&tenant.application.name);
                let settled = self.on_hub(async |hub| {
                    hub.write_as(caller(), move |tx, ctx| {
                        let other = |error: &dyn std::fmt::Display| DbError::Other(error.to_string());
                        let parked = parked::list(tx, &id)?;
                        if parked.iter().any(|parked| parked.state == ParkedState::Failed) {
                            operate::resend(tx, ctx, &id, None).map_err(|error| other(&error))?;
                            wanted.forget();
                            return Ok(false);
                        }
                        // An administrator who reads that an inventory was not taken synchronizes again.
                        let newest = job::newest(tx, &id, 1)?;
                        let is_failed =
                            |job: &job::JobPosition| job.statistics.inventory == Inventory::Failed;
                        if newest.first().is_some_and(is_failed) {
                            job::request_full(tx, ctx, &id).map_err(|error| other(&error))?;
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

    /// What is still to be done for each application, for people.
    pub(super) fn what_is_open(&self) -> String {
        let mut lines = String::new();
        for tenant in &self.tenants {
            let (id, name) = (tenant.application.id.clone(), &tenant.application.name);
            let open = self.on_hub(async |hub| {
                let read = hub.db.read(move |tx| {
                    let stored = store::load(tx, &id).map_err(|error| DbError::Other(error.to_string()))?;
                    let (parked, job) = (parked::list(tx, &id)?, job::open_job(tx, &id)?);
                    let open = format!("position {}, job {job:?}, parked {parked:#?}", stored.position);
                    Ok::<_, DbError>(open)
                });
                read.await
            });
            lines.push_str(&match open {
                Some(Ok(open)) => format!("\n{name}: {open}"),
                other => format!("\n{name}: {other:?}"),
            });
        }
        lines
    }

    fn copies_are_equal(&self) -> Checked {
        for tenant in &self.tenants {
            let (id, name) = (&tenant.application.id, &tenant.application.name);
            let mut should = self
                .on_hub(async |hub| should_have(hub, id).await.unwrap())
                .unwrap();
            if tenant.manner == Manner::Sdk {
                should.groups.clear();
            }
            let copy = self.network.copy(name).unwrap();
            let gone_unheard = self.given_up || self.restored;
            let has = match &*copy {
                Copy::Scim(provider) => {
                    let differences = provider.differences(&should, gone_unheard);
                    must(differences.is_empty(), What::Different, || {
                        format!("{name} is different: {differences:#?}")
                    })?;
                    if !gone_unheard {
                        self.a_comparison_finds_nothing(id, name)?;
                    }
                    continue;
                }
                Copy::Mirror(receiver) => self
                    .on_hub(async |_| receiver.processor().processor.snapshot().await.unwrap())
                    .unwrap(),
                Copy::Inbox(_, application) => without_strangers(application.snapshot()),
                Copy::Forgetful(receiver) => {
                    let forgetful = &receiver.processor().processor;
                    let mut snapshot = without_strangers(forgetful.snapshot());
                    if gone_unheard {
                        forget_what_is_gone(&mut snapshot, &should);
                    }
                    snapshot
                }
            };
            must(should == has, What::Different, || {
                format!("{name} is different: {:#?}", should.differences(&has))
            })?;
        }
        Ok(())
    }

    /// The hub's own comparison comes to the same.
    fn a_comparison_finds_nothing(&self, id: &str, name: &str) -> Checked {
        let Some(node) = self.alive() else { return Ok(()) };
        let compared = loop {
            let of = id.to_owned();
            let begin = node
                .hub
                .write_as(caller(), move |tx, ctx| comparison::begin(tx, ctx, &of));
            match node.run(begin) {
                Ok(begun) => {
                    let shared = Arc::clone(node.shared());
                    node.run(comparison::run(shared, id.to_owned(), begun));
                    let (of, now) = (id.to_owned(), node.hub.clock.now());
                    let newest = node.hub.db.read(move |tx| comparison::newest(tx, &of, now));
                    break node.run(newest);
                }
                // The one with which a synchronization has ended.
                Err(ComparisonError::Running(_)) => node.live(1_000),
                Err(error) => panic!("{error}"),
            }
        };
        let compared = compared.ok().flatten();
        let is_done = |it: &Comparison| it.status == Status::Done;
        must(compared.as_ref().is_some_and(is_done), What::Different, || {
            format!("{name} cannot be compared: {compared:?}")
        })?;
        let of = compared.map(|it| it.id).unwrap_or_default();
        let kinds = Kind::DIFFERING;
        let read = node
            .hub
            .db
            .read(move |tx| comparison::differences(tx, &of, &kinds, 0, 100));
        let read = node.run(read);
        must(read.is_ok(), What::Different, || {
            format!("what differs at {name} cannot be read: {read:?}")
        })?;
        let found = read.unwrap_or_default();
        must(found.is_empty(), What::Different, || {
            format!("{name} is equal, and the comparison says {found:#?}")
        })
    }

    /// A password that everybody has got who wants it is kept no longer, not even sealed.
    fn no_password_is_left(&self) -> Checked {
        let left = self.on_hub(async |hub| hub.db.read(rollcall::change::has_secrets).await);
        must(matches!(left, Some(Ok(false))), What::Password, || {
            format!("passwords are left in the log after everybody has got them: {left:?}")
        })
    }

    /// Nothing that was said of somebody who was erased stands in any table, nor anywhere in the files if the erasure
    /// has said so; and nobody's password stands there as it is.
    fn nobody_who_was_erased_is_anywhere(&self) -> Checked {
        let file = self.folder.path().join("tables");
        let written = self.on_hub(async |hub| backup::write(&hub.db, &file, self.now()).await);
        let mut texts = Vec::new();
        match written {
            Some(Ok(_)) => texts.push(("tables", std::fs::read(&file).unwrap())),
            // The node was killed since; the next one is looked at later.
            _ => return Ok(()),
        }
        if self.files_are_clean {
            for suffix in ["", "-wal"] {
                let mut path = self.database.clone().into_os_string();
                path.push(suffix);
                texts.push(("files", std::fs::read(path).unwrap_or_default()));
            }
        }
        for (place, bytes) in texts {
            let text = String::from_utf8_lossy(&bytes);
            must(!text.contains(PASSWORD), What::Password, || {
                format!("a password stands in the {place}")
            })?;
            for word in &self.known.erased {
                must(!text.contains(word.as_str()), What::Erased, || {
                    format!("somebody was erased, and the {place} know {word:?}")
                })?;
            }
        }
        Ok(())
    }
}
