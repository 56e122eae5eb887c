//! Changing a scope: the plan that is shown first, and the list that the job works from.

use rollcall_db::{DbError, Tx};
use rollcall_protocol::SubjectKind;
use serde::Serialize;

use super::store::{Item, append_items};
use super::{JobError, JobKind, Phase, Statistics, create, scan};
use crate::application::{
    ApplicationError, Entitlement, Entitlements, Scope, Subscription, store as applications,
};
use crate::change;
use crate::clock::Millis;

/// What a change of scope would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Who enters.
    pub enter: Counts,
    /// Who leaves.
    pub leave: Counts,
}

/// How many of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Organizational units.
    pub organizational_units: u64,
    /// Users.
    pub users: u64,
    /// Groups.
    pub groups: u64,
}

impl Counts {
    fn add(&mut self, kind: SubjectKind) {
        match kind {
            SubjectKind::Unit => self.organizational_units += 1,
            SubjectKind::User => self.users += 1,
            SubjectKind::Group => self.groups += 1,
        }
    }
}

/// Counts who would enter and who would leave.
///
/// # Errors
/// What the database reports; also if the scope names something that does not exist.
pub fn plan(tx: &mut Tx<'_>, application_id: &str, scope: &Scope) -> Result<Plan, ApplicationError> {
    applications::check_scope(tx, scope)?;
    let current = Entitlements::load(tx, application_id)?.current().scope.clone();
    let mut plan = Plan::default();
    scan(tx, |kind, row| {
        match (
            current.covers(kind, &row.placement),
            scope.covers(kind, &row.placement),
        ) {
            (false, true) => plan.enter.add(kind),
            (true, false) => plan.leave.add(kind),
            _ => {}
        }
        Ok::<_, DbError>(())
    })?;
    Ok(plan)
}

/// Changes scope and subscription from the log's present end on, and starts the job that deletes who
/// leaves and creates who enters. Returns what it will do.
///
/// # Errors
/// [`JobError`]; nothing is changed then.
pub fn change_scope(
    tx: &mut Tx<'_>,
    application_id: &str,
    scope: &Scope,
    subscription: &Subscription,
    job_id: &str,
    now: Millis,
) -> Result<Plan, JobError> {
    applications::check_scope(tx, scope)?;
    let current = Entitlements::load(tx, application_id)?.current().scope.clone();
    let mut plan = Plan::default();
    let (mut leaving, mut entering) = (Vec::new(), Vec::new());
    scan(tx, |kind, row| {
        match (
            current.covers(kind, &row.placement),
            scope.covers(kind, &row.placement),
        ) {
            (false, true) => {
                plan.enter.add(kind);
                entering.push(item("enter", kind, row.id, None));
            }
            (true, false) => {
                plan.leave.add(kind);
                leaving.push(item("leave", kind, row.id, Some(row.record)));
            }
            _ => {}
        }
        Ok::<_, DbError>(())
    })?;
    // Units were met top-down, before users and groups; leaving is the other way round.
    leaving.reverse();
    let mut statistics = Statistics::default();
    for counts in [&plan.enter, &plan.leave] {
        statistics.organizational_units.total += counts.organizational_units;
        statistics.users.total += counts.users;
        statistics.groups.total += counts.groups;
    }
    create(
        tx,
        application_id,
        job_id,
        JobKind::ChangeOfScope,
        Phase::Items {
            done: 0,
            within: None,
        },
        statistics,
        now,
    )?;
    leaving.append(&mut entering);
    append_items(tx, job_id, &leaving)?;
    let entitlement = Entitlement {
        from_seq: change::head(tx)?.seq,
        scope: scope.clone(),
        subscription: subscription.clone(),
    };
    Entitlements::store(tx, application_id, &entitlement)?;
    Ok(plan)
}

fn item(action: &'static str, kind: SubjectKind, subject_id: String, record: Option<String>) -> Item {
    Item {
        action,
        subject_kind: kind.as_str(),
        subject_id,
        record,
    }
}
