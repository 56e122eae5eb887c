//! Repairing: what a selection comes to, and the job that does it.

use rollcall_db::{DbError, Tx};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::model::{Comparison, ComparisonError, Difference, Kind, Status, Subject};
use super::store;
use crate::access::Caller;
use crate::application::scim::Thresholds;
use crate::application::{ApplicationError, command::open, store as applications};
use crate::clock::Millis;
use crate::delivery::job::{JobError, list};
use crate::delivery::ledger::jobs::{self, Action, Item};
use crate::delivery::ledger::{operate, remote};
use crate::delivery::model::job::{JobKind, Statistics};
use crate::directory::MEMBERS_PER_EVENT;
use crate::hub::Hub;
use crate::id;

/// How many differences are read at once, and go into the list of a job by one transaction.
const PORTION: usize = 500;

/// How many differences can be named one by one.
const MOST_NAMED: usize = 1_000;

/// Which differences of a comparison are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "RepairSelection")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selection {
    /// The comparison that was looked at: `cmp_…`.
    pub comparison: String,
    /// All of them.
    #[serde(default)]
    pub all: bool,
    /// Those of these kinds.
    #[serde(default)]
    pub kinds: Vec<Kind>,
    /// These, by number, 1,000 at most.
    #[serde(default)]
    pub differences: Vec<i64>,
}

impl Selection {
    /// All differences of a comparison.
    pub fn everything(comparison: &str) -> Self {
        Self {
            comparison: comparison.to_owned(),
            all: true,
            ..Self::default()
        }
    }

    /// Those of some kinds.
    pub fn of_kinds(comparison: &str, kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self {
            comparison: comparison.to_owned(),
            kinds: kinds.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// What a repair does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepairPlan {
    /// The comparison: `cmp_…`.
    pub comparison: String,
    /// Users and groups that are made.
    pub create: u64,
    /// Users and groups that are changed.
    pub update: u64,
    /// Users who are disabled.
    pub disable: u64,
    /// Users and groups that are deleted.
    pub delete: u64,
    /// Users who are taken out of groups.
    pub member_removals: u64,
    /// Groups that nobody is left in.
    pub emptied_groups: u64,
    /// Which thresholds it exceeds: such a repair has to be confirmed.
    pub exceeds: Vec<Threshold>,
    /// What confirms just this plan.
    pub token: String,
}

/// What is not taken away without a confirmation, from some number on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RepairThreshold")]
pub enum Threshold {
    /// Users and groups that are disabled or deleted.
    Leaving,
    /// Users who are taken out of groups.
    MemberRemovals,
    /// Groups that nobody is left in.
    EmptiedGroups,
}

impl Threshold {
    /// What it is about, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Leaving => "users and groups that are disabled or deleted",
            Self::MemberRemovals => "users who are taken out of groups",
            Self::EmptiedGroups => "groups that nobody is left in",
        }
    }
}

impl RepairPlan {
    /// How many users and groups it is about.
    pub fn total(&self) -> u64 {
        self.create + self.update + self.disable + self.delete
    }

    fn add(&mut self, difference: &Difference) {
        match difference.kind {
            Kind::Create => self.create += 1,
            Kind::Update => {
                self.update += 1;
                self.member_removals += difference.surplus;
                self.emptied_groups += u64::from(difference.emptied);
            }
            Kind::Disable => self.disable += 1,
            Kind::Delete => self.delete += 1,
            Kind::Unmapped | Kind::Foreign => {}
        }
    }

    fn conclude(self, selection: &Selection, thresholds: &Thresholds, comparison: &Comparison) -> Self {
        let users = &comparison.counts.users;
        let ours = users.there.saturating_sub(users.foreign);
        let leaving = self.disable + self.delete;
        let is_many = leaving > u64::from(thresholds.leaving)
            || leaving * 100 > ours.max(1) * u64::from(thresholds.leaving_percent);
        let exceeds = [
            (leaving > 0 && is_many, Threshold::Leaving),
            (
                self.member_removals > u64::from(thresholds.member_removals),
                Threshold::MemberRemovals,
            ),
            (
                self.emptied_groups > u64::from(thresholds.emptied_groups),
                Threshold::EmptiedGroups,
            ),
        ];
        let exceeds = exceeds.into_iter().filter(|(exceeded, _)| *exceeded);
        let mut plan = Self {
            comparison: comparison.id.clone(),
            exceeds: exceeds.map(|(_, threshold)| threshold).collect(),
            ..self
        };
        plan.token = id::plan_token(&json!(["repair", plan, selection]).to_string());
        plan
    }

    /// Refuses it where it has to be confirmed, and is not, or where something else was confirmed.
    fn check(&self, confirmed: Option<&str>) -> Result<(), ComparisonError> {
        match confirmed {
            Some(token) if token != self.token => Err(ApplicationError::PlanChanged.into()),
            None if !self.exceeds.is_empty() => Err(ComparisonError::Unconfirmed),
            _ => Ok(()),
        }
    }
}

/// Says what the repair of a selection does.
///
/// # Errors
/// [`ComparisonError`]; also if nothing is selected.
pub fn plan(
    tx: &mut Tx<'_>,
    application_id: &str,
    selection: &Selection,
    now: Millis,
) -> Result<RepairPlan, ComparisonError> {
    let application = applications::load(tx, application_id)?;
    let Some(scim) = application.settings.scim() else {
        return Err(ComparisonError::NotScim(application.name));
    };
    let newest = store::newest(tx, application_id, now)?.ok_or(ComparisonError::NotCompared)?;
    if newest.id != selection.comparison {
        return Err(ComparisonError::Outdated(selection.comparison.clone()));
    }
    if newest.status != Status::Done {
        return Err(ComparisonError::NotCompared);
    }
    if let Some(number) = selection.differences.get(MOST_NAMED) {
        return Err(ComparisonError::NoSuchDifference(*number));
    }
    let mut plan = RepairPlan::default();
    let mut found = Vec::new();
    each(tx, selection, |difference| {
        found.push(difference.number);
        plan.add(difference);
    })?;
    if let Some(missing) = selection
        .differences
        .iter()
        .find(|number| found.binary_search(number).is_err())
    {
        return Err(ComparisonError::NoSuchDifference(*missing));
    }
    if plan.total() == 0 {
        return Err(ComparisonError::NothingSelected);
    }
    Ok(plan.conclude(selection, &scim.thresholds, &newest))
}

fn each(tx: &mut Tx<'_>, selection: &Selection, mut visit: impl FnMut(&Difference)) -> Result<(), DbError> {
    let mut after = 0;
    loop {
        let portion = store::select(tx, selection, true, after, PORTION)?;
        let Some(last) = portion.last() else { return Ok(()) };
        after = last.number;
        portion.iter().for_each(&mut visit);
    }
}

/// The order in which a repair goes: whoever joins a group is there before, and a group goes before those who are in it.
const ORDER: [(Subject, &[Kind]); 4] = [
    (Subject::User, &[Kind::Create, Kind::Update]),
    (Subject::Group, &[Kind::Create, Kind::Update]),
    (Subject::Group, &[Kind::Delete]),
    (Subject::User, &[Kind::Disable, Kind::Delete]),
];

/// Repairs a selection: begins the job that tells anew of all who are selected. Returns what it does, and the job's id.
///
/// # Errors
/// [`ComparisonError`]; nothing is changed then.
pub async fn repair(
    hub: &Hub,
    caller: impl Into<Caller>,
    application_id: &str,
    selection: Selection,
    confirmed: Option<String>,
) -> Result<(RepairPlan, String), ComparisonError> {
    let caller = caller.into();
    let job_id = id::make("job", hub.clock.now(), &*hub.random);
    let (application, job, wanted) = (application_id.to_owned(), job_id.clone(), selection.clone());
    let planned = hub
        .write_as(caller.clone(), move |tx, ctx| {
            open(tx, ctx, &application)?;
            let planned = plan(tx, &application, &wanted, ctx.now)?;
            planned.check(confirmed.as_deref())?;
            list::prepare(tx, &application, &job, JobKind::Repair, ctx.now)?;
            Ok::<_, ComparisonError>(planned)
        })
        .await?;
    match begin(hub, caller, application_id, &job_id, &selection, &planned).await {
        Ok(()) => Ok((planned, job_id)),
        Err(error) => {
            list::discard(hub, &job_id).await?;
            Err(error)
        }
    }
}

/// Writes the list of the job, and begins it.
async fn begin(
    hub: &Hub,
    caller: Caller,
    application_id: &str,
    job_id: &str,
    selection: &Selection,
    planned: &RepairPlan,
) -> Result<(), ComparisonError> {
    let statistics = write_list(hub, application_id, job_id, selection).await?;
    let (application_id, job_id) = (application_id.to_owned(), job_id.to_owned());
    let (selection, planned) = (selection.clone(), planned.clone());
    hub.write_as(caller, move |tx, ctx| {
        // What is in flight, and would be remembered of those who are selected, comes to nothing.
        operate::interfere(tx, &application_id)?;
        let application = open(tx, ctx, &application_id)?;
        if plan(tx, &application_id, &selection, ctx.now)? != planned {
            return Err(ApplicationError::PlanChanged.into());
        }
        list::begin(tx, &application_id, &job_id, statistics.clone(), ctx.now)?;
        remote::doubt_all_of_job(tx, &application_id, &job_id, &selection.comparison)?;
        let what = json!({ "job": job_id, "plan": planned });
        operate::note(tx, ctx, &application, "repair", &what)?;
        Ok::<_, ComparisonError>(())
    })
    .await
}

async fn write_list(
    hub: &Hub,
    application_id: &str,
    job_id: &str,
    selection: &Selection,
) -> Result<Statistics, ComparisonError> {
    let mut statistics = Statistics::default();
    let mut ordinal = 0;
    for (subject, kinds) in ORDER {
        let mut after = 0;
        loop {
            let wanted = selection.clone();
            let portion = hub
                .db
                .read(move |tx| store::select(tx, &wanted, true, after, PORTION))
                .await?;
            let Some(last) = portion.last() else { break };
            after = last.number;
            let mut items = Vec::new();
            for difference in portion {
                if difference.subject != subject || !kinds.contains(&difference.kind) {
                    continue;
                }
                let members = match difference.kind {
                    Kind::Create => difference.missing.div_ceil(MEMBERS_PER_EVENT as u64),
                    _ => 0,
                };
                statistics.of(subject.kind()).total += 1 + members;
                let Some(subject_id) = difference.subject_id else {
                    continue;
                };
                ordinal += 1;
                let item = Item {
                    action: Action::Repair,
                    kind: subject.kind(),
                    subject_id,
                    record: None,
                };
                items.push((ordinal, item));
            }
            let (application_id, job_id) = (application_id.to_owned(), job_id.to_owned());
            hub.db
                .write(move |tx| {
                    if !jobs::is_preparing(tx, &job_id)? {
                        return Err(JobError::from(ApplicationError::NotFound(application_id.clone())));
                    }
                    let items = items.iter().map(|(ordinal, item)| (*ordinal, item));
                    Ok(jobs::write_items(tx, &job_id, items)?)
                })
                .await?;
        }
    }
    Ok(statistics)
}
