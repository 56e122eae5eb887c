//! Comparisons of what applications have with what they should have, and repairs.

use std::sync::Arc;

use anyhow::Result;

use super::Backend;
use super::applications::{Planned, planned};
use crate::api::{ComparisonId, Repairing};
use crate::cli::caller::caller;
use crate::cli::serving;
use crate::delivery::Shared;
use crate::delivery::comparison::{
    self, Comparison, ComparisonError, Difference, Kind, RepairPlan, Selection,
};

/// How many differences one read takes.
const PORTION: usize = 500;

/// A repair, planned or under way.
pub(in crate::cli) struct Repaired {
    pub(in crate::cli) plan: RepairPlan,
    /// The synchronization that does it, if it is under way.
    pub(in crate::cli) job: Option<String>,
}

impl Backend {
    /// Begins a comparison. Returns its id. On a database, this process runs it.
    pub(in crate::cli) async fn compare(&self, application_id: &str) -> Result<String> {
        match self {
            Self::Database(database) => {
                let hub = &database.hub;
                let egress = serving::known(hub, &database.config).await?.egress()?;
                let shared = Shared::for_one(hub.clone(), egress).await?;
                let of = application_id.to_owned();
                let begun = hub.write_as(caller(), move |tx, ctx| comparison::begin(tx, ctx, &of));
                let id = begun.await?;
                let run = comparison::run(Arc::clone(&shared), application_id.to_owned(), id.clone());
                tokio::spawn(run);
                Ok(id)
            }
            Self::Server(client) => {
                let start = client.post(&["applications", application_id, "comparison"]);
                let started: ComparisonId = start.once().answer().await?;
                Ok(started.id)
            }
        }
    }

    /// Breaks off the comparison that is under way. Returns its id.
    pub(in crate::cli) async fn cancel_comparison(&self, application_id: &str) -> Result<String> {
        match self {
            Self::Database(database) => {
                let of = application_id.to_owned();
                let hub = &database.hub;
                let cancelled = hub.write_as(caller(), move |tx, ctx| comparison::cancel(tx, ctx, &of));
                Ok(cancelled.await?)
            }
            Self::Server(client) => {
                let cancel = client.post(&["applications", application_id, "comparison", "cancel"]);
                let cancelled: ComparisonId = cancel.answer().await?;
                Ok(cancelled.id)
            }
        }
    }

    /// The newest comparison of an application.
    pub(in crate::cli) async fn comparison(&self, application_id: &str) -> Result<Comparison> {
        match self {
            Self::Database(database) => {
                let (of, now) = (application_id.to_owned(), self.now());
                let found = database.hub.db.read(move |tx| comparison::newest(tx, &of, now));
                Ok(found.await?.ok_or(ComparisonError::NotCompared)?)
            }
            Self::Server(client) => {
                let shown = client.get(&["applications", application_id, "comparison"]);
                shown.answer().await
            }
        }
    }

    /// The first differences of the newest comparison; of one kind, if one is named, or with what is foreign.
    pub(in crate::cli) async fn differences(
        &self,
        application_id: &str,
        comparison: &Comparison,
        (kind, foreign): (Option<Kind>, bool),
        most: usize,
    ) -> Result<Vec<Difference>> {
        match self {
            Self::Database(database) => {
                let kinds = match (kind, foreign) {
                    (Some(kind), _) => vec![kind],
                    (None, true) => Vec::new(),
                    (None, false) => Kind::DIFFERING.to_vec(),
                };
                let mut found: Vec<Difference> = Vec::new();
                while found.len() < most {
                    let after = found.last().map_or(0, |it| it.number);
                    let limit = PORTION.min(most - found.len());
                    let (id, kinds) = (comparison.id.clone(), kinds.clone());
                    let read = database
                        .hub
                        .db
                        .read(move |tx| comparison::differences(tx, &id, &kinds, after, limit));
                    let portion = read.await?;
                    if portion.is_empty() {
                        break;
                    }
                    found.extend(portion);
                }
                Ok(found)
            }
            Self::Server(client) => {
                let list = client.get(&["applications", application_id, "comparison", "differences"]);
                let list = list.with("foreign", foreign);
                client
                    .list(list.with_some("kind", kind.map(Kind::as_str)), most)
                    .await
            }
        }
    }

    /// Repairs what is selected if nothing of that has to be confirmed, or if it is; otherwise it is only planned.
    pub(in crate::cli) async fn repair(
        &self,
        application_id: &str,
        selection: Selection,
        confirm: Option<String>,
    ) -> Result<Repaired> {
        match self {
            Self::Database(database) => {
                let (hub, of, now) = (&database.hub, application_id.to_owned(), self.now());
                let wanted = selection.clone();
                match comparison::repair(hub, caller(), application_id, selection, confirm).await {
                    Ok((plan, job)) => Ok(Repaired { plan, job: Some(job) }),
                    Err(ComparisonError::Unconfirmed) => {
                        let plan = hub.db.read(move |tx| comparison::plan(tx, &of, &wanted, now));
                        Ok(Repaired {
                            plan: plan.await?,
                            job: None,
                        })
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Self::Server(client) => {
                let repair = client.post(&["applications", application_id, "comparison", "repair"]);
                let repair = repair.with_some("confirm", confirm).body(&selection)?;
                Ok(match planned(repair).await? {
                    Planned::Done(Repairing {
                        plan,
                        synchronization,
                    }) => Repaired {
                        plan,
                        job: Some(synchronization),
                    },
                    Planned::Only(plan) => Repaired { plan, job: None },
                })
            }
        }
    }
}
