//! Changing a scope: the plan that is shown first, and the list that the job works from.
//!
//! Finding out who enters and who leaves reads the whole directory, which may take seconds. So it is done
//! by a reader, without keeping anybody from writing, and the transaction that changes the scope only
//! brings the list up to date: whatever was committed in between stands in the change log, with where each
//! subject stood and stands. Only if that is a lot, or if units moved, the directory is read again there.
//!
//! A plan has a token, made of everything that it says: the application, its scope before and after, and
//! everybody who enters or leaves. Whoever confirms it names the token, and what is done is what was shown,
//! or nothing.

use std::collections::BTreeMap;

use rollcall_db::{DbError, Tx};
use rollcall_protocol::SubjectKind;
use serde::Serialize;

use super::store::{Item, append_items};
use super::{JobError, JobKind, Phase, Statistics, create, scan};
use crate::access::{Caller, Context};
use crate::application::{
    self, ApplicationError, Command, Entitlements, Scope, ScopeEdit, command::open, store as applications,
};
use crate::change::{self, Placement, Seq};
use crate::hub::Hub;
use crate::id;

/// What a change of scope would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    /// How many of each kind.
    #[serde(flatten)]
    pub counts: Counts,
    /// The names of the first users, by id.
    pub first_users: Vec<String>,
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
/// Changes that are worked into a list; beyond them, reading the directory again is not slower.
const MOST_CHANGES: usize = 10_000;

/// Somebody of a list, with its record.
#[derive(Debug)]
struct Member {
    kind: SubjectKind,
    id: String,
    record: String,
}

impl Member {
    fn item(self, action: &'static str) -> Item {
        Item {
            action,
            subject_kind: self.kind.as_str(),
            subject_id: self.id,
            // Who enters is sent as it is then.
            record: (action == "leave").then_some(self.record),
        }
    }
}

/// Where an item stands in its list: units in the order of the scan (parents first), then users, then
/// groups, by id.
type Place = (u8, usize, String);

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
}

fn place(kind: SubjectKind, order: usize, id: &str) -> Place {
    match kind {
        SubjectKind::Unit => (0, order, id.to_owned()),
        SubjectKind::User => (1, 0, id.to_owned()),
        SubjectKind::Group => (2, 0, id.to_owned()),
    }
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
        };
        if lists.before != lists.after {
            scan(tx, |kind, row| {
                lists.sort_in(kind, row.id, row.record, &row.placement);
                Ok::<_, DbError>(())
            })?;
        }
        Ok(lists)
    }

    fn sort_in(&mut self, kind: SubjectKind, id: String, record: String, placement: &Placement) {
        let list = match (
            self.before.covers(kind, placement),
            self.after.covers(kind, placement),
        ) {
            (false, true) => &mut self.enter,
            (true, false) => &mut self.leave,
            _ => return,
        };
        self.units += usize::from(kind == SubjectKind::Unit);
        list.insert(place(kind, self.units, &id), Member { kind, id, record });
    }

    /// Works in what was committed since the lists were read.
    fn bring_up_to_date(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let changes = change::read_after(tx, self.position, MOST_CHANGES)?;
        let many = changes.len() == MOST_CHANGES;
        if many
            || changes
                .iter()
                .any(|change| change.subject_kind == SubjectKind::Unit)
        {
            // The order of units is that of the whole tree.
            *self = Self::read(tx, &self.application_id, self.before.clone(), self.after.clone())?;
            return Ok(());
        }
        for change in changes {
            self.position = change.seq;
            let place = place(change.subject_kind, 0, &change.subject_id);
            self.enter.remove(&place);
            self.leave.remove(&place);
            if let Some(placement) = change.after.clone() {
                // The record of a change of a group's members names those, and says of the group what it is.
                self.sort_in(change.subject_kind, change.subject_id, change.record, &placement);
            }
        }
        Ok(())
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
                    side.first_users.push(username(&item.record));
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

    /// The lists as the job's: who leaves, children first, then who enters, parents first.
    fn into_items(self) -> Vec<Item> {
        let leaving = self.leave.into_values().rev().map(|member| member.item("leave"));
        let entering = self.enter.into_values().map(|member| member.item("enter"));
        leaving.chain(entering).collect()
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
    let (id, wanted) = (application_id.to_owned(), edit.clone());
    let read = hub.db.read(move |tx| lists(tx, &id, &wanted)).await?;
    let job_id = id::make("job", hub.clock.now(), &*hub.random);
    let (hub_too, caller, id) = (hub.clone(), caller.into(), application_id.to_owned());
    // If the closure runs again, what it has seen of the log may never have happened: it then reads anew.
    let mut read = Some(read);
    let made = job_id.clone();
    let plan = hub
        .db
        .write(move |tx| {
            change_in(
                tx,
                &hub_too.context(&caller),
                &id,
                &edit,
                read.take(),
                confirmed.as_deref(),
                &made,
            )
        })
        .await?;
    Ok((plan, job_id))
}

fn change_in(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    application_id: &str,
    edit: &ScopeEdit,
    read: Option<Lists>,
    confirmed: Option<&str>,
    job_id: &str,
) -> Result<Plan, JobError> {
    open(tx, ctx, application_id)?;
    let current = Entitlements::load(tx, application_id)?.current().scope.clone();
    let read = match read {
        Some(mut read) if read.before == current => {
            read.bring_up_to_date(tx)?;
            read
        }
        _ => lists(tx, application_id, edit)?,
    };
    let plan = read.plan();
    if let Some(confirmed) = confirmed
        && confirmed != plan.token
    {
        return Err(ApplicationError::PlanChanged.into());
    }
    if plan.is_empty() {
        return Ok(plan);
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
        read.statistics(),
        ctx.now,
    )?;
    append_items(tx, job_id, &read.into_items())?;
    let command = Command::SetScope {
        id: application_id.to_owned(),
        scope: edit.clone(),
        job: job_id.to_owned(),
    };
    application::apply(tx, ctx, &command)?;
    Ok(plan)
}
