//! What a job has to send, read from the directory or its list, page by page.

use std::sync::Arc;

use rollcall_db::{DbError, Tx};
use rollcall_protocol::{Event, EventType, GroupPayload, SubjectKind};

use super::{PAGE, closing};
use crate::application::{Entitlement, entitlement};
use crate::change;
use crate::clock::Millis;
use crate::delivery::ledger::jobs::{self, Action, Item};
use crate::delivery::ledger::remote;
use crate::delivery::model::job::{JobKind, JobPosition, Phase};
use crate::delivery::model::{Origin, Outgoing, bare_record};
use crate::delivery::route::Target;
use crate::directory::MEMBERS_PER_EVENT;
use crate::directory::query::{self, SyncRow};
use crate::hub::Hub;
use crate::id;

/// An event of a job with the phase that is reached once it is sent.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) kind: SubjectKind,
    /// `None` where a subject is out of scope, gone, or not subscribed to.
    pub(super) outgoing: Option<Outgoing>,
    pub(super) then: Phase,
}

/// Reads the steps that follow a phase.
pub(super) fn read_steps(
    hub: &Hub,
    target: &Target,
    job: &JobPosition,
    phase: &Phase,
) -> impl Future<Output = Result<Vec<Step>, DbError>> + Send + use<> {
    let entitlement = target.entitlements.current().clone();
    let (db, job_id, run, position_time, phase) = (
        hub.db.clone(),
        job.id.clone(),
        job.run(),
        job.position_time,
        phase.clone(),
    );
    let (kind, instance_id) = (job.kind, hub.instance.id.clone());
    let application_id = target.application.id.clone();
    let end = match target.provider() {
        // SCIM has no inventory; the synchronization ends with a comparison.
        Some(_) => Phase::Done,
        None => closing::beginning(),
    };
    async move {
        db.read(move |tx| {
            let source = Steps {
                application_id: &application_id,
                job_id: &job_id,
                run: &run,
                kind,
                instance_id: &instance_id,
                position_time,
                entitlement: &entitlement,
                end: &end,
            };
            source.read(tx, &phase)
        })
        .await
    }
}

struct Steps<'a> {
    application_id: &'a str,
    job_id: &'a str,
    /// The job, and its beginning: see [`JobPosition::run`].
    run: &'a str,
    kind: JobKind,
    instance_id: &'a str,
    position_time: Millis,
    entitlement: &'a Entitlement,
    /// What follows when everything was pushed.
    end: &'a Phase,
}

impl Steps<'_> {
    fn read(&self, tx: &mut Tx<'_>, phase: &Phase) -> Result<Vec<Step>, DbError> {
        // One snapshot: whatever the log's end does not include is committed later than this time.
        let time = change::head(tx)?.time;
        match phase {
            // Listed when the job begins.
            Phase::Units => Ok(vec![skip(Phase::Users { after: None })]),
            Phase::Users { after } => {
                let placed = !self.entitlement.scope.is_everything();
                let rows = query::users_page(tx, after.as_deref(), PAGE, placed)?;
                if rows.is_empty() {
                    return Ok(vec![skip(Phase::Groups { after: None })]);
                }
                Ok(rows
                    .into_iter()
                    .map(|row| Step {
                        kind: SubjectKind::User,
                        outgoing: self.push(SubjectKind::User, EventType::UserPush, &row, time),
                        then: Phase::Users { after: Some(row.id) },
                    })
                    .collect())
            }
            Phase::Groups { after } => {
                let Some(row) = query::groups_page(tx, after.as_deref(), 1)?.into_iter().next() else {
                    return Ok(vec![skip(self.end.clone())]);
                };
                if !self.entitlement.scope.covers(SubjectKind::Group, &row.placement) {
                    return Ok(vec![skip(Phase::Groups { after: Some(row.id) })]);
                }
                Ok(vec![Step {
                    kind: SubjectKind::Group,
                    outgoing: self.push(SubjectKind::Group, EventType::GroupCreate, &row, time),
                    then: Phase::Members {
                        group: row.id,
                        after: None,
                    },
                }])
            }
            Phase::Members { group, after } => self.members(tx, group, after.as_deref(), time),
            Phase::Items { done, within } => self.items(tx, *done, within.as_deref(), time),
            Phase::Closing { of, group, after } => {
                let (inventory, then) = closing::read(tx, self.entitlement, *of, group.as_deref(), after)?;
                Ok(vec![Step {
                    // Nothing goes beside it.
                    kind: SubjectKind::Unit,
                    outgoing: inventory.map(|inventory| self.inventory(&inventory.to_json(), time)),
                    then,
                }])
            }
            Phase::Done => Ok(Vec::new()),
        }
    }

    fn members(
        &self,
        tx: &mut Tx<'_>,
        group: &str,
        after: Option<&str>,
        time: Millis,
    ) -> Result<Vec<Step>, DbError> {
        let done = || {
            skip(Phase::Groups {
                after: Some(group.to_owned()),
            })
        };
        let Some((record, _)) = query::record_of(tx, SubjectKind::Group, group)? else {
            return Ok(vec![done()]);
        };
        let mut members = query::group_members(tx, group)?;
        members.sort_unstable();
        members.retain(|member| after.is_none_or(|after| member.as_str() > after));
        let mut steps = Vec::new();
        for portion in members.chunks(MEMBERS_PER_EVENT) {
            let last = portion[portion.len() - 1].clone();
            steps.push(Step {
                kind: SubjectKind::Group,
                outgoing: self.add_members(group, &record, portion, time),
                then: Phase::Members {
                    group: group.to_owned(),
                    after: Some(last),
                },
            });
        }
        steps.push(done());
        Ok(steps)
    }

    /// A portion of a group's members. Its id is made from all of them: if an answer was lost and somebody has
    /// joined or left meanwhile, it is another portion, and must not be answered from memory.
    fn add_members(&self, group: &str, record: &str, members: &[String], time: Millis) -> Option<Outgoing> {
        let mut payload = GroupPayload::from_json(record).ok()?;
        payload.user_ids = Some(members.to_vec());
        let part = members.join(",");
        self.outgoing(EventType::GroupAddUser, group, &part, payload.to_json(), time)
    }

    fn inventory(&self, record: &str, time: Millis) -> Outgoing {
        let name = event_name(
            self.run,
            EventType::Inventory,
            self.instance_id,
            &format!("{time}|{record}"),
        );
        Outgoing {
            origin: Origin::Apart(Arc::new(Event {
                event_id: id::derive("evnt", &name),
                event_type: EventType::Inventory.urn().to_owned(),
                event_time: time,
                biz_id: self.instance_id.to_owned(),
                biz_data: record.to_owned(),
            })),
            event_type: EventType::Inventory,
            attempts: 0,
        }
    }

    fn items(
        &self,
        tx: &mut Tx<'_>,
        done: i64,
        within: Option<&str>,
        time: Millis,
    ) -> Result<Vec<Step>, DbError> {
        let items = jobs::items_after(tx, self.job_id, done, PAGE)?;
        if items.is_empty() {
            return Ok(vec![skip(match self.kind {
                JobKind::Full => Phase::Users { after: None },
                JobKind::ChangeOfScope | JobKind::Repair | JobKind::UnitNames => Phase::Done,
            })]);
        }
        let mut steps = Vec::new();
        for (index, (ordinal, item)) in items.into_iter().enumerate() {
            let Item {
                action,
                kind,
                subject_id,
                record,
            } = item;
            let then = Phase::Items {
                done: ordinal,
                within: None,
            };
            let sent_within = within.filter(|_| index == 0);
            if action == Action::UnitNames {
                if self.unit_names(tx, &subject_id, sent_within, ordinal, time, &mut steps)? {
                    continue;
                }
                break;
            }
            let fixed = match action {
                Action::Leave => Some((entitlement::deleted(kind), action.as_str())),
                Action::Push => Some((EventType::UnitPush, "")),
                Action::Enter | Action::Repair | Action::UnitNames => None,
            };
            if let Some((event, part)) = fixed {
                let record = record.unwrap_or_default();
                let outgoing = self.outgoing(event, &subject_id, part, record, self.position_time);
                steps.push(Step { kind, outgoing, then });
                continue;
            }
            let found = query::record_of(tx, kind, &subject_id)?;
            let is_covered = |placement| self.entitlement.scope.covers(kind, placement);
            let present = found.as_ref().filter(|(_, placement)| is_covered(placement));
            let Some((record, _)) = present else {
                let outgoing = match action {
                    Action::Repair => self.gone(kind, &subject_id, found.map(|(record, _)| record), time),
                    // It went away again; the log tells.
                    Action::Enter | Action::Leave | Action::Push | Action::UnitNames => None,
                };
                steps.push(Step { kind, outgoing, then });
                continue;
            };
            // Of a group that the application has, the members are compared with those that it has there.
            let is_compared = action == Action::Repair
                && sent_within.is_none()
                && !remote::of(tx, self.application_id, std::slice::from_ref(&subject_id))?.is_empty();
            if kind == SubjectKind::Group && !is_compared {
                self.enter_group(tx, (&subject_id, record), sent_within, ordinal, time, &mut steps)?;
            } else {
                let event = entitlement::created(kind);
                let outgoing = self.outgoing(event, &subject_id, action.as_str(), record.clone(), time);
                steps.push(Step { kind, outgoing, then });
            }
        }
        Ok(steps)
    }

    /// A page of the users whose primary unit has another name. Returns whether it was the last one, so that the item
    /// is done with it.
    fn unit_names(
        &self,
        tx: &mut Tx<'_>,
        unit: &str,
        within: Option<&str>,
        ordinal: i64,
        time: Millis,
        steps: &mut Vec<Step>,
    ) -> Result<bool, DbError> {
        let placed = !self.entitlement.scope.is_everything();
        let rows = query::users_of_unit(tx, unit, within, PAGE, placed)?;
        let is_last = rows.len() < PAGE;
        steps.extend(rows.into_iter().map(|row| Step {
            kind: SubjectKind::User,
            outgoing: self.push(SubjectKind::User, EventType::UserUpdateInfo, &row, time),
            then: Phase::Items {
                done: ordinal - 1,
                within: Some(row.id),
            },
        }));
        if is_last {
            steps.push(skip(Phase::Items {
                done: ordinal,
                within: None,
            }));
        }
        Ok(is_last)
    }

    /// Of somebody who is not in scope: whatever the application has of them, they are gone.
    fn gone(
        &self,
        kind: SubjectKind,
        subject_id: &str,
        record: Option<String>,
        time: Millis,
    ) -> Option<Outgoing> {
        let event = entitlement::deleted(kind);
        let record = record.unwrap_or_else(|| bare_record(kind, subject_id));
        self.outgoing(event, subject_id, Action::Repair.as_str(), record, time)
    }

    /// A group that enters goes with its members, before its item counts as done.
    fn enter_group(
        &self,
        tx: &mut Tx<'_>,
        (group, record): (&str, &str),
        within: Option<&str>,
        ordinal: i64,
        time: Millis,
        steps: &mut Vec<Step>,
    ) -> Result<(), DbError> {
        let kind = SubjectKind::Group;
        let sent_up_to = |member: &str| Phase::Items {
            done: ordinal - 1,
            within: Some(member.to_owned()),
        };
        if within.is_none() {
            let event = entitlement::created(kind);
            steps.push(Step {
                kind,
                outgoing: self.outgoing(event, group, Action::Enter.as_str(), record.to_owned(), time),
                then: sent_up_to(""),
            });
        }
        let mut members = query::group_members(tx, group)?;
        members.sort_unstable();
        members.retain(|member| within.is_none_or(|after| member.as_str() > after));
        for portion in members.chunks(MEMBERS_PER_EVENT) {
            steps.push(Step {
                kind,
                outgoing: self.add_members(group, record, portion, time),
                then: sent_up_to(&portion[portion.len() - 1]),
            });
        }
        steps.push(skip(Phase::Items {
            done: ordinal,
            within: None,
        }));
        Ok(())
    }

    fn push(&self, kind: SubjectKind, event: EventType, row: &SyncRow, time: Millis) -> Option<Outgoing> {
        let scope = &self.entitlement.scope;
        (scope.is_everything() || scope.covers(kind, &row.placement))
            .then(|| self.outgoing(event, &row.id, "", row.record.clone(), time))
            .flatten()
    }

    fn outgoing(
        &self,
        event_type: EventType,
        subject_id: &str,
        part: &str,
        record: String,
        time: Millis,
    ) -> Option<Outgoing> {
        if !self.entitlement.subscription.contains(event_type) {
            return None;
        }
        let name = event_name(self.run, event_type, subject_id, part);
        Some(Outgoing {
            origin: Origin::Apart(Arc::new(Event {
                event_id: id::derive("evnt", &name),
                event_type: event_type.urn().to_owned(),
                event_time: time,
                biz_id: subject_id.to_owned(),
                biz_data: record,
            })),
            event_type,
            attempts: 0,
        })
    }
}

/// What the id of a job's event is derived from, so that it is the same at every try.
fn event_name(run: &str, event: EventType, subject_id: &str, part: &str) -> String {
    format!("{run}|{}|{subject_id}|{part}", event.short())
}

fn skip(then: Phase) -> Step {
    Step {
        kind: SubjectKind::User,
        outgoing: None,
        then,
    }
}
