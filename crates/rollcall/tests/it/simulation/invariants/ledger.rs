//! What the ledger says, compared with what really happened.

use std::collections::BTreeSet;

use rollcall::application::{Entitlements, store};
use rollcall::change::{self, Seq};
use rollcall::delivery::ledger::parked;
use rollcall::hub::Hub;
use rollcall_db::{DbError, params};
use rollcall_protocol::EventType;

use super::super::tenants::Manner;
use super::super::world::World;
use super::super::wrong::{Checked, What, must};

/// Where an application stands.
struct Standing {
    position: Seq,
    head: Seq,
    /// The events for the application that the position has passed since the last look.
    passed: Vec<String>,
    parked: BTreeSet<String>,
}

async fn standing(hub: &Hub, id: &str, before: Option<Seq>) -> Result<Standing, DbError> {
    let id = id.to_owned();
    hub.db
        .read(move |tx| {
            let other = |error: &dyn std::fmt::Display| DbError::Other(error.to_string());
            let stored = store::load(tx, &id).map_err(|error| other(&error))?;
            let entitlements = Entitlements::load(tx, &id)?;
            let after = before.unwrap_or(stored.position).max(entitlements.begins());
            let passed = change::read_between(tx, after, stored.position)?;
            let passed = passed.iter().filter(|change| {
                let event = entitlements.at(change.seq).event_for(change);
                // Of somebody who was erased, only the deletion is still told.
                event.is_some_and(|event| !change.is_erased() || event == EventType::UserDelete)
            });
            let parked = parked::list(tx, &id)?;
            Ok(Standing {
                position: stored.position,
                head: change::head(tx)?.seq,
                passed: passed.map(|change| change.event_id.clone()).collect(),
                parked: parked.into_iter().map(|parked| parked.event_id).collect(),
            })
        })
        .await
}

impl World {
    /// A position goes forward within the log, and passes nothing that is neither answered for nor set aside.
    pub(super) fn positions_pass_what_was_answered(&mut self) -> Checked {
        for tenant in &self.tenants {
            let (id, name) = (&tenant.application.id, &tenant.application.name);
            let before = self.positions.get(name).copied();
            let found = self.on_hub(async |hub| standing(hub, id, before).await);
            let Some(Ok(found)) = found else {
                continue;
            };
            let Standing {
                position,
                head,
                passed,
                parked,
            } = found;
            let before = before.unwrap_or(position);
            self.positions.insert(name.clone(), position);
            must(before <= position && position <= head, What::Position, || {
                format!("the position of {name} went from {before} to {position}, and the log ends at {head}")
            })?;
            if tenant.manner == Manner::Scim {
                // What answers its events is in many requests; it is compared at the end.
                continue;
            }
            // What an administrator skips is parked before the position comes to it.
            self.network.is_accounted_for(name, parked);
            let answered = self.network.answered(name);
            for event_id in passed {
                must(answered.contains(&event_id), What::Unanswered, || {
                    format!(
                        "the position of {name} is {position} and has passed {event_id}, which is neither answered nor parked"
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Only the node that holds an application's lease settles for it, and epochs never go back.
    pub(super) fn one_epoch_writes(&mut self) -> Checked {
        let after = self.settlements_seen;
        let settled = self.on_hub(async |hub| {
            let read = hub.db.read(move |tx| {
                let sql = "SELECT id, application_id, node, holder, epoch FROM simulated_settlements WHERE id > $1 ORDER BY id";
                tx.query(sql, params![after])?
                    .iter()
                    .map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
                    .collect::<Result<Vec<(i64, String, String, Option<String>, i64)>, DbError>>()
            });
            read.await
        });
        let Some(Ok(settled)) = settled else {
            return Ok(());
        };
        for (number, application, node, holder, epoch) in settled {
            self.settlements_seen = number;
            must(
                holder.as_ref().is_none_or(|holder| *holder == node),
                What::Epoch,
                || format!("{node} has settled for {application}, whose lease {holder:?} holds"),
            )?;
            let before = self.epochs.insert(application.clone(), epoch).unwrap_or(epoch);
            must(before <= epoch, What::Epoch, || {
                format!("the epoch of {application} went from {before} to {epoch}")
            })?;
        }
        Ok(())
    }
}

/// Has the connection of a node note on whose behalf it settles. What others write, others note.
pub(in super::super) async fn watch_settlements(hub: &Hub, node: &str) -> Result<(), DbError> {
    let trigger = format!(
        "CREATE TEMP TRIGGER simulated_settlement AFTER INSERT ON main.attempts BEGIN
             INSERT INTO simulated_settlements (application_id, node, holder, epoch)
             SELECT d.application_id, '{node}', n.name, d.epoch
             FROM deliveries d LEFT JOIN nodes n ON n.id = d.node WHERE d.application_id = NEW.application_id;
         END"
    );
    hub.db
        .write(move |tx| {
            tx.execute(
                "CREATE TABLE IF NOT EXISTS simulated_settlements (
                     id INTEGER PRIMARY KEY, application_id TEXT, node TEXT, holder TEXT, epoch INTEGER)",
                params![],
            )?;
            tx.execute(&trigger, params![]).map(drop)
        })
        .await
}
