//! The work of a job: from where it stands to the next round.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rollcall_db::{DbError, Tx};
use rollcall_protocol::{Event, EventType, GroupPayload, SubjectKind};
use tokio::task::JoinHandle;

use super::{PAGE, closing};
use crate::application::{Entitlement, Limits, entitlement};
use crate::change;
use crate::clock::Millis;
use crate::delivery::ledger::jobs::{self, Action, Item};
use crate::delivery::model::job::{Inventory, JobKind, JobPosition, JobStatus, Phase};
use crate::delivery::model::{Answered, Origin, Outgoing, Position, Round, Source, Verdict};
use crate::delivery::plan::lanes::Lanes;
use crate::delivery::plan::parked::ParkedQueue;
use crate::delivery::route::Target;
use crate::directory::MEMBERS_PER_EVENT;
use crate::directory::query::{self, SyncRow};
use crate::hub::Hub;
use crate::id;

/// An event of a job with the phase that is reached once it is sent.
#[derive(Debug)]
struct Step {
    kind: SubjectKind,
    /// `None` where a subject is out of scope, gone, or not subscribed to.
    outgoing: Option<Outgoing>,
    then: Phase,
}

/// What was read of the directory beyond the present round: the rest of a page, and the page after it, which
/// is read while the rounds of this one are sealed and sent.
#[derive(Debug, Default)]
pub(in crate::delivery) struct ReadAhead {
    rest: Mutex<Option<(Phase, VecDeque<Step>)>>,
    next: Mutex<Option<(Phase, Reading)>>,
}

/// A page that is being read.
type Reading = JoinHandle<Result<Vec<Step>, DbError>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ReadAhead {
    /// The steps that follow a phase.
    async fn steps(
        &self,
        hub: &Hub,
        target: &Target,
        job: &JobPosition,
        phase: &Phase,
    ) -> Result<VecDeque<Step>, DbError> {
        let rest = lock(&self.rest).take();
        if let Some((_, steps)) = rest.filter(|(from, steps)| from == phase && !steps.is_empty()) {
            return Ok(steps);
        }
        let next = lock(&self.next).take();
        let steps = match next.filter(|(from, _)| from == phase) {
            Some((_, reading)) => reading
                .await
                .map_err(|error| DbError::Other(error.to_string()))??,
            None => read_steps(hub, target, job, phase).await?,
        };
        // Groups are few, and what follows a group depends on it.
        if let (Phase::Users { .. }, Some(last)) = (phase, steps.last()) {
            let reading = tokio::spawn(read_steps(hub, target, job, &last.then));
            *lock(&self.next) = Some((last.then.clone(), reading));
        }
        Ok(steps.into())
    }

    fn keep(&self, phase: &Phase, steps: VecDeque<Step>) {
        *lock(&self.rest) = Some((phase.clone(), steps));
    }
}

/// What the next round of a job is made from.
pub(in crate::delivery) struct Context<'a> {
    /// The hub.
    pub(in crate::delivery) hub: &'a Hub,
    /// The application.
    pub(in crate::delivery) target: &'a Target,
    /// How much goes into a round.
    pub(in crate::delivery) limits: Limits,
    /// Whose events must wait.
    pub(in crate::delivery) queue: &'a ParkedQueue,
    /// What was read already.
    pub(in crate::delivery) ahead: &'a ReadAhead,
}

/// The next round of a running job; `None` once everything was sent and settled.
pub(in crate::delivery) async fn next_round(
    context: &Context<'_>,
    position: &Position,
    job: &JobPosition,
) -> Result<Option<Round>, DbError> {
    if job.phase == Phase::Done {
        return Ok(None);
    }
    let Context {
        hub,
        target,
        limits,
        queue,
        ahead,
    } = context;
    let mut lanes = Lanes::new(*limits);
    let mut held = Vec::new();
    let mut phase = job.phase.clone();
    'reading: while phase != Phase::Done {
        let mut steps = ahead.steps(hub, target, job, &phase).await?;
        while let Some(step) = steps.pop_front() {
            if let Some(outgoing) = &step.outgoing {
                // An inventory goes alone: applications that do not understand it may refuse its request.
                let alone = outgoing.event_type == EventType::Inventory;
                let fits = !alone || lanes.is_empty();
                if queue.blocks(outgoing.subject_id()) {
                    held.push(outgoing.clone());
                } else if !fits || !lanes.take(step.kind, outgoing) {
                    steps.push_front(step);
                    ahead.keep(&phase, steps);
                    break 'reading;
                }
                if alone {
                    phase = step.then;
                    break 'reading;
                }
            }
            phase = step.then;
        }
    }
    let after = JobPosition { phase, ..job.clone() };
    Ok(Some(Round {
        source: Source::Job,
        from: position.cursor,
        batches: lanes.into_batches(),
        held,
        after: Position {
            cursor: position.cursor,
            job: Some(after),
        },
    }))
}

fn read_steps(
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
    async move {
        db.read(move |tx| {
            let source = Steps {
                job_id: &job_id,
                run: &run,
                kind,
                instance_id: &instance_id,
                position_time,
                entitlement: &entitlement,
            };
            source.read(tx, &phase)
        })
        .await
    }
}

struct Steps<'a> {
    job_id: &'a str,
    /// The job, and its beginning: see [`JobPosition::run`].
    run: &'a str,
    kind: JobKind,
    instance_id: &'a str,
    position_time: Millis,
    entitlement: &'a Entitlement,
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
                    return Ok(vec![skip(closing::beginning())]);
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
                JobKind::ChangeOfScope => Phase::Done,
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
            let fixed = match action {
                Action::Leave => Some((entitlement::deleted(kind), action.as_str())),
                Action::Push => Some((EventType::UnitPush, "")),
                Action::Enter => None,
            };
            if let Some((event, part)) = fixed {
                let record = record.unwrap_or_default();
                let outgoing = self.outgoing(event, &subject_id, part, record, self.position_time);
                steps.push(Step { kind, outgoing, then });
                continue;
            }
            let present = query::record_of(tx, kind, &subject_id)?
                .filter(|(_, placement)| self.entitlement.scope.covers(kind, placement));
            let Some((record, _)) = present else {
                // It went away again; the log tells.
                steps.push(skip(then));
                continue;
            };
            let sent_within = within.filter(|_| index == 0);
            if kind == SubjectKind::Group {
                self.enter_group(tx, (&subject_id, &record), sent_within, ordinal, time, &mut steps)?;
            } else {
                let event = entitlement::created(kind);
                let outgoing = self.outgoing(event, &subject_id, action.as_str(), record, time);
                steps.push(Step { kind, outgoing, then });
            }
        }
        Ok(steps)
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

/// Takes a settled round into the job's record; `None` if the round was not a job's.
pub(in crate::delivery) fn settle(
    current: Option<&JobPosition>,
    round: &Round,
    answered: &[Answered],
) -> Option<JobPosition> {
    if round.source != Source::Job {
        return None;
    }
    let mut job = round.after.job.clone()?;
    if let Some(current) = current {
        // The round was prepared before the counts of the one in flight were known.
        job.statistics = current.statistics.clone();
    }
    for answered in answered {
        for (outgoing, verdict) in answered.events.iter().zip(&answered.verdicts) {
            if outgoing.event_type == EventType::Inventory {
                job.statistics.inventory = match verdict {
                    Verdict::Accepted => Inventory::Accepted,
                    _ => {
                        // The rest of it would not be understood either.
                        job.phase = Phase::Done;
                        Inventory::NotUnderstood
                    }
                };
                continue;
            }
            let Some(kind) = outgoing.event_type.subject_kind() else {
                continue;
            };
            let tally = job.statistics.of(kind);
            match verdict {
                Verdict::Accepted => tally.success += 1,
                Verdict::Assumed => tally.assumed += 1,
                Verdict::Skipped(remark) => {
                    tally.skipped += 1;
                    job.statistics.skips.note(outgoing.event_type.short(), remark);
                }
                Verdict::Refused(_) | Verdict::Again(_) => tally.failed += 1,
            }
        }
    }
    for outgoing in &round.held {
        if let Some(kind) = outgoing.event_type.subject_kind() {
            job.statistics.of(kind).failed += 1;
        }
    }
    if job.phase == Phase::Done {
        let failed = job.statistics.all().iter().any(|tally| tally.failed > 0);
        job.status = if failed {
            JobStatus::PartialSuccess
        } else {
            JobStatus::Success
        };
    }
    Some(job)
}
