//! What a job finds when it begins.

use rollcall_db::{DbError, Tx};
use rollcall_protocol::{EventType, SubjectKind};

use super::PAGE;
use crate::application::Scope;
use crate::change;
use crate::delivery::ledger::jobs::{self, Action, Item};
use crate::delivery::ledger::{self, Fence, LedgerError, Settlement};
use crate::delivery::model::job::{JobKind, JobPosition, JobStatus, Phase, Statistics};
use crate::delivery::route::Target;
use crate::directory::MEMBERS_PER_EVENT;
use crate::directory::query::{self, SyncRow};
use crate::hub::Hub;

/// Begins a job whose position is reached: counts what is in scope, and lists the units of a full
/// synchronization. This is a settlement like any other, at the position.
///
/// # Errors
/// [`LedgerError`]; nothing is changed then.
pub(in crate::delivery) async fn start(
    hub: &Hub,
    target: &Target,
    job: &JobPosition,
    fence: &Fence,
    position: change::Seq,
) -> Result<JobPosition, LedgerError> {
    let mut started = job.clone();
    let mut units = Vec::new();
    if job.kind == JobKind::Full {
        let entitlement = target.entitlements.current().clone();
        let job_id = job.id.clone();
        let (statistics, time, listed, first) = hub
            .db
            .read(move |tx| {
                // One snapshot: whatever the log's end does not include is committed later than this time.
                let time = change::head(tx)?.time;
                let statistics = count(tx, &entitlement.scope)?;
                let wanted = entitlement.subscription.contains(EventType::UnitPush);
                let listed = if wanted {
                    list_units(tx, &entitlement.scope)?
                } else {
                    Vec::new()
                };
                Ok::<_, DbError>((statistics, time, listed, jobs::items_left(tx, &job_id)?))
            })
            .await?;
        started.statistics = statistics;
        started.position_time = time;
        // What a change of scope has left to do goes first.
        if started.phase == Phase::Units {
            started.phase = Phase::Items {
                done: first,
                within: None,
            };
        }
        units = listed;
    }
    started.status = JobStatus::Running;
    started.started_at = Some(hub.clock.now());
    let (stored, now, fence) = (started.clone(), hub.clock.now(), fence.clone());
    hub.db
        .settle(move |tx| {
            let settlement = Settlement {
                job: Some(stored.clone()),
                position: Some(position),
                ..Settlement::default()
            };
            ledger::settle(tx, &fence, &settlement, now)?;
            jobs::append_items(tx, &stored.id, &units)?;
            Ok::<_, LedgerError>(())
        })
        .await?;
    Ok(started)
}

/// The units of a scope, parents first.
fn list_units(tx: &mut Tx<'_>, scope: &Scope) -> Result<Vec<Item>, DbError> {
    let mut units = Vec::new();
    let mut after: Option<query::UnitCursor> = None;
    loop {
        let rows = query::units_page(tx, after.as_ref(), PAGE)?;
        let Some((_, last)) = rows.last() else {
            return Ok(units);
        };
        after = Some(last.clone());
        units.extend(
            rows.into_iter()
                .map(|(row, _)| row)
                .filter(|row| scope.covers(SubjectKind::Unit, &row.placement))
                .map(|row| Item {
                    action: Action::Push,
                    kind: SubjectKind::Unit,
                    subject_id: row.id,
                    record: Some(row.record),
                }),
        );
    }
}

fn count(tx: &mut Tx<'_>, scope: &Scope) -> Result<Statistics, DbError> {
    let mut statistics = Statistics::default();
    if scope.is_everything() {
        let (users, units, _) = query::counts(tx)?;
        statistics.users.total = u64::try_from(users).unwrap_or_default();
        statistics.organizational_units.total = u64::try_from(units).unwrap_or_default();
    } else {
        scan(tx, |kind, row| {
            if scope.covers(kind, &row.placement) {
                statistics.of(kind).total += 1;
            }
            Ok(())
        })?;
    }
    // A group goes as its record and then its members, in portions.
    let mut events = 0;
    let mut after: Option<String> = None;
    loop {
        let groups = query::groups_page(tx, after.as_deref(), PAGE)?;
        let Some(last) = groups.last() else { break };
        after = Some(last.id.clone());
        for group in groups
            .iter()
            .filter(|row| scope.covers(SubjectKind::Group, &row.placement))
        {
            events += 1 + query::group_members(tx, &group.id)?
                .len()
                .div_ceil(MEMBERS_PER_EVENT) as u64;
        }
    }
    statistics.groups.total = events;
    Ok(statistics)
}

/// Looks at every subject of the directory: units top-down, users, groups.
///
/// # Errors
/// What the database or the visitor reports.
pub fn scan<E: From<DbError>>(
    tx: &mut Tx<'_>,
    mut visit: impl FnMut(SubjectKind, SyncRow) -> Result<(), E>,
) -> Result<(), E> {
    let mut unit: Option<query::UnitCursor> = None;
    loop {
        let rows = query::units_page(tx, unit.as_ref(), PAGE)?;
        let Some((_, last)) = rows.last() else { break };
        unit = Some(last.clone());
        for (row, _) in rows {
            visit(SubjectKind::Unit, row)?;
        }
    }
    let mut after: Option<String> = None;
    loop {
        let rows = query::users_page(tx, after.as_deref(), PAGE, true)?;
        let Some(last) = rows.last() else { break };
        after = Some(last.id.clone());
        for row in rows {
            visit(SubjectKind::User, row)?;
        }
    }
    let mut after: Option<String> = None;
    loop {
        let rows = query::groups_page(tx, after.as_deref(), PAGE)?;
        let Some(last) = rows.last() else { break };
        after = Some(last.id.clone());
        for row in rows {
            visit(SubjectKind::Group, row)?;
        }
    }
    Ok(())
}
