//! Changing a scope: the plan that is shown first, and the list that the job works from.
//!
//! Finding out who enters and who leaves reads the whole directory, and writing the list of them may take as
//! long again. Nobody has to wait for either: the one is done by a reader, the other portion by portion (see
//! `super::list`). The short transaction that changes the scope at last only brings the list up to date:
//! whatever was committed in between stands in the change log, with where each subject stood and stands. If
//! that is a lot, or if units changed, everything is begun again; and if that happens over and over, the last
//! time is done in one transaction, which nobody can come in between.
//!
//! A plan has a token, made of everything that it says: the application, its scope before and after, and
//! everybody who enters or leaves. Whoever confirms it names the token, and what is done is what was shown,
//! or nothing.

use std::collections::BTreeMap;

use rollcall_db::{DbError, Tx};
use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};

use super::{JobError, list, scan};
use crate::access::{Caller, Context};
use crate::application::{
    self, ApplicationError, Command, Entitlements, Scope, ScopeEdit, command::open, store as applications,
};
use crate::change::{self, Placement, Seq};
use crate::delivery::ledger::jobs::{self, Action, Item};
use crate::delivery::model::job::{JobKind, Statistics};
use crate::hub::Hub;
use crate::id;

/// What a change of scope would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ScopePlan")]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The scope as it is.
    pub before: Scope,
    /// The scope as it would be.
    pub after: Scope,
    /// Who enters.
    pub enter: Side,
    /// Who leaves.
    pub leave: Side,
    /// What confirms just this plan.
    pub token: String,
}

impl Plan {
    /// Whether it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.before == self.after
    }
}

/// Who enters, or who leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ScopePlanSide")]
#[serde(rename_all = "camelCase")]
pub struct Side {
    /// How many of each kind.
    #[serde(flatten)]
    pub counts: Counts,
    /// The names of the first users, by id.
    pub first_users: Vec<String>,
}

/// How many of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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
    /// Counts one more.
    pub fn add(&mut self, kind: SubjectKind) {
        match kind {
            SubjectKind::Unit => self.organizational_units += 1,
            SubjectKind::User => self.users += 1,
            SubjectKind::Group => self.groups += 1,
        }
    }
}

/// How many users a plan names.
const NAMED: usize = 10;
/// Changes that are worked into a list; beyond them, reading the directory again is not slower. It is also
/// the room that each part of a list has for who comes later.
const MOST_CHANGES: usize = 10_000;
/// How often a list is begun again before it is made in one transaction.
const ROUNDS: u32 = 3;

/// Somebody of a list.
#[derive(Debug)]
struct Member {
    kind: SubjectKind,
    id: String,
    /// The username, if it is a user.
    name: String,
    /// The record, if it leaves. Who enters is sent as it is then.
    record: Option<String>,
    /// Where it stands in the written list.
    ordinal: i64,
}

impl Member {
    fn item(&self, action: Action) -> Item {
        Item {
            action,
            kind: self.kind,
            subject_id: self.id.clone(),
            record: self.record.clone(),
        }
    }
}

/// Where somebody stands among those who enter, or who leave: units in the order of the scan (parents first),
/// then users, then groups, by id.
type Place = (u8, usize, String);

fn place(kind: SubjectKind, order: usize, id: &str) -> Place {
    match kind {
        SubjectKind::Unit => (0, order, id.to_owned()),
        SubjectKind::User => (1, 0, id.to_owned()),
        SubjectKind::Group => (2, 0, id.to_owned()),
    }
}

/// Who enters and who leaves at a position of the log.
#[derive(Debug)]
struct Lists {
    application_id: String,
    before: Scope,
    after: Scope,
    position: Seq,
    units: usize,
    enter: BTreeMap<Place, Member>,
    leave: BTreeMap<Place, Member>,
    /// The next free place of each part of the written list that may still grow.
    free: BTreeMap<(Action, u8), i64>,
}

/// Whether a list could be brought up to date.
enum Updated {
    /// It tells of the log's present end.
    Yes,
    /// Too much has changed.
    No,
}

impl Lists {
    /// Reads the directory.
    fn read(tx: &mut Tx<'_>, application_id: &str, before: Scope, after: Scope) -> Result<Self, DbError> {
        let mut lists = Self {
            application_id: application_id.to_owned(),
            before,
            after,
            position: change::head(tx)?.seq,
            units: 0,
            enter: BTreeMap::new(),
            leave: BTreeMap::new(),
            free: BTreeMap::new(),
        };
        if lists.before != lists.after {
            scan(tx, |kind, row| {
                lists.sort_in(kind, row.id, row.record, &row.placement);
                Ok::<_, DbError>(())
            })?;
        }
        Ok(lists)
    }

    /// Who enters, or who leaves.
    fn side(&mut self, action: Action) -> &mut BTreeMap<Place, Member> {
        match action {
            Action::Leave => &mut self.leave,
            Action::Enter | Action::Push | Action::Repair | Action::UnitNames => &mut self.enter,
        }
    }

    /// Takes somebody into the list of who enters or who leaves. Returns the part of the list that it is in.
    fn sort_in(
        &mut self,
        kind: SubjectKind,
        id: String,
        record: String,
        placement: &Placement,
    ) -> Option<(Action, Place)> {
        let action = match (
            self.before.covers(kind, placement),
            self.after.covers(kind, placement),
        ) {
            (false, true) => Action::Enter,
            (true, false) => Action::Leave,
            _ => return None,
        };
        self.units += usize::from(kind == SubjectKind::Unit);
        let place = place(kind, self.units, &id);
        let name = match kind {
            SubjectKind::User => username(&record),
            SubjectKind::Unit | SubjectKind::Group => String::new(),
        };
        let member = Member {
            kind,
            id,
            name,
            record: (action == Action::Leave).then_some(record),
            ordinal: 0,
        };
        self.side(action).insert(place.clone(), member);
        Some((action, place))
    }

    /// Gives everybody a place in the list that the job works from, and leaves room for who comes later. Who
    /// leaves goes first, children before their parents; who enters after that, parents before their children.
    fn number(&mut self) -> Vec<(i64, Item)> {
        let room = i64::try_from(MOST_CHANGES).unwrap_or(i64::MAX);
        let mut items = Vec::with_capacity(self.leave.len() + self.enter.len());
        let mut next = 1;
        for (action, kinds) in [(Action::Leave, [2, 1, 0]), (Action::Enter, [0, 1, 2])] {
            for kind in kinds {
                let part = (kind, 0, String::new())..(kind + 1, 0, String::new());
                let mut members: Vec<&mut Member> = self
                    .side(action)
                    .range_mut(part)
                    .map(|(_, member)| member)
                    .collect();
                if action == Action::Leave {
                    members.reverse();
                }
                for member in members {
                    member.ordinal = next;
                    items.push((next, member.item(action)));
                    next += 1;
                }
                // Units change by no list that is brought up to date.
                if kind > 0 {
                    self.free.insert((action, kind), next);
                    next += room;
                }
            }
        }
        items
    }

    /// Works in what was committed since the lists were read, also into the written list of the job.
    fn bring_up_to_date(&mut self, tx: &mut Tx<'_>, job_id: &str) -> Result<Updated, DbError> {
        let changes = change::read_after(tx, self.position, MOST_CHANGES)?;
        let units = changes
            .iter()
            .any(|change| change.subject_kind == SubjectKind::Unit);
        // The order of units is that of the whole tree.
        if changes.len() == MOST_CHANGES || units {
            return Ok(Updated::No);
        }
        // Of each subject, what it came to counts.
        let last: BTreeMap<String, change::Change> = changes
            .into_iter()
            .map(|change| {
                self.position = change.seq;
                (change.subject_id.clone(), change)
            })
            .collect();
        let mut late = Vec::new();
        for change in last.into_values() {
            let place = place(change.subject_kind, 0, &change.subject_id);
            for list in [&mut self.enter, &mut self.leave] {
                if let Some(gone) = list.remove(&place) {
                    jobs::remove_item(tx, job_id, gone.ordinal)?;
                }
            }
            let Some(placement) = change.after.clone() else {
                continue;
            };
            // The record of a change of a group's members names those, and says of the group what it is.
            let sorted = self.sort_in(change.subject_kind, change.subject_id, change.record, &placement);
            let Some((action, place)) = sorted else { continue };
            let ordinal = match self.free.get_mut(&(action, place.0)) {
                Some(free) => {
                    *free += 1;
                    *free - 1
                }
                None => return Ok(Updated::No),
            };
            if let Some(member) = self.side(action).get_mut(&place) {
                member.ordinal = ordinal;
                late.push((ordinal, member.item(action)));
            }
        }
        jobs::write_items(tx, job_id, late.iter().map(|(ordinal, item)| (*ordinal, item)))?;
        Ok(Updated::Yes)
    }

    fn plan(&self) -> Plan {
        let mut text = serde_json::json!([self.application_id, self.before, self.after]).to_string();
        let mut side = |name: &str, list: &BTreeMap<Place, Member>| {
            let mut side = Side::default();
            text.push_str(name);
            for item in list.values() {
                side.counts.add(item.kind);
                text.push('|');
                text.push_str(&item.id);
                if item.kind == SubjectKind::User && side.first_users.len() < NAMED {
                    side.first_users.push(item.name.clone());
                }
            }
            side
        };
        let (enter, leave) = (side("enter", &self.enter), side("leave", &self.leave));
        Plan {
            before: self.before.clone(),
            after: self.after.clone(),
            enter,
            leave,
            token: id::plan_token(&text),
        }
    }

    fn statistics(&self) -> Statistics {
        let mut statistics = Statistics::default();
        for item in self.leave.values().chain(self.enter.values()) {
            statistics.of(item.kind).total += 1;
        }
        statistics
    }
}

fn username(record: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Named {
        username: String,
    }
    serde_json::from_str(record).map_or_else(|_| "?".to_owned(), |named: Named| named.username)
}

fn lists(tx: &mut Tx<'_>, application_id: &str, edit: &ScopeEdit) -> Result<Lists, JobError> {
    let before = Entitlements::load(tx, application_id)?.current().scope.clone();
    let after = edit.applied_to(&before);
    applications::check_scope(tx, &after)?;
    Ok(Lists::read(tx, application_id, before, after)?)
}

/// Says what a change of scope would do.
///
/// # Errors
/// [`JobError`]; also if the scope names something that does not exist.
pub fn plan(tx: &mut Tx<'_>, application_id: &str, edit: &ScopeEdit) -> Result<Plan, JobError> {
    Ok(lists(tx, application_id, edit)?.plan())
}

/// A change of scope that somebody wants.
#[derive(Clone)]
struct Wanted {
    application_id: String,
    edit: ScopeEdit,
    /// The token of the plan that was confirmed.
    confirmed: Option<String>,
    job_id: String,
}

impl Wanted {
    /// Refuses what is not the plan that was confirmed, if one was.
    fn check_confirmed(&self, plan: &Plan) -> Result<(), ApplicationError> {
        match &self.confirmed {
            Some(token) if *token != plan.token => Err(ApplicationError::PlanChanged),
            _ => Ok(()),
        }
    }
}

/// Changes a scope from the log's present end on, and starts the job that deletes who leaves and creates
/// who enters. With `confirmed`, only if the plan still has that token. Returns what it does.
///
/// # Errors
/// [`JobError`]; nothing is changed then.
pub async fn change_scope(
    hub: &Hub,
    caller: impl Into<Caller>,
    application_id: &str,
    edit: ScopeEdit,
    confirmed: Option<String>,
) -> Result<(Plan, String), JobError> {
    let caller = caller.into();
    let wanted = || Wanted {
        application_id: application_id.to_owned(),
        edit: edit.clone(),
        confirmed: confirmed.clone(),
        job_id: id::make("job", hub.clock.now(), &*hub.random),
    };
    for _ in 0..ROUNDS {
        let wanted = wanted();
        let job_id = wanted.job_id.clone();
        match attempt(hub, &caller, wanted).await {
            Ok(Some(plan)) => return Ok((plan, job_id)),
            Ok(None) => list::discard(hub, &job_id).await?,
            Err(error) => {
                list::discard(hub, &job_id).await?;
                return Err(error);
            }
        }
    }
    let wanted = wanted();
    let job_id = wanted.job_id.clone();
    let plan = hub
        .write_as(caller, move |tx, ctx| {
            open(tx, ctx, &wanted.application_id)?;
            let mut read = lists(tx, &wanted.application_id, &wanted.edit)?;
            list::prepare(
                tx,
                &wanted.application_id,
                &wanted.job_id,
                JobKind::ChangeOfScope,
                ctx.now,
            )?;
            let items = read.number();
            jobs::write_items(tx, &wanted.job_id, items.iter().map(|(at, item)| (*at, item)))?;
            finish(tx, ctx, &wanted, &read)
        })
        .await?;
    Ok((plan, job_id))
}

/// Makes the list without keeping anybody from writing, and changes the scope then. `None` if too much has
/// changed meanwhile.
async fn attempt(hub: &Hub, caller: &Caller, wanted: Wanted) -> Result<Option<Plan>, JobError> {
    let of = wanted.clone();
    let mut read = hub
        .db
        .read(move |tx| lists(tx, &of.application_id, &of.edit))
        .await?;
    let plan = read.plan();
    wanted.check_confirmed(&plan)?;
    let of = wanted.clone();
    hub.write_as(caller.clone(), move |tx, ctx| {
        open(tx, ctx, &of.application_id)?;
        if plan.is_empty() {
            return Ok(());
        }
        list::prepare(
            tx,
            &of.application_id,
            &of.job_id,
            JobKind::ChangeOfScope,
            ctx.now,
        )
    })
    .await?;
    list::write(hub, &wanted.application_id, &wanted.job_id, read.number()).await?;
    // If the closure runs again, what it has seen of the log may never have happened: it then begins again.
    let mut read = Some(read);
    hub.write_as(caller.clone(), move |tx, ctx| {
        open(tx, ctx, &wanted.application_id)?;
        let current = Entitlements::load(tx, &wanted.application_id)?
            .current()
            .scope
            .clone();
        let Some(mut read) = read.take().filter(|read| read.before == current) else {
            return Ok(None);
        };
        match read.bring_up_to_date(tx, &wanted.job_id)? {
            Updated::Yes => finish(tx, ctx, &wanted, &read).map(Some),
            Updated::No => Ok(None),
        }
    })
    .await
}

/// Changes the scope and begins the job, whose list is whole.
fn finish(tx: &mut Tx<'_>, ctx: &Context<'_>, wanted: &Wanted, read: &Lists) -> Result<Plan, JobError> {
    let plan = read.plan();
    wanted.check_confirmed(&plan)?;
    if plan.is_empty() {
        return Ok(plan);
    }
    list::begin(
        tx,
        &wanted.application_id,
        &wanted.job_id,
        read.statistics(),
        ctx.now,
    )?;
    let command = Command::SetScope {
        id: wanted.application_id.clone(),
        scope: wanted.edit.clone(),
        job: wanted.job_id.clone(),
    };
    application::apply(tx, ctx, &command)?;
    Ok(plan)
}
