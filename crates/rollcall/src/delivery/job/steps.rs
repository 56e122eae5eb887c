//! The work of a job: from where it stands to the next round.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::{Event, EventType, GroupPayload, SubjectKind};
use tokio::task::JoinHandle;

use super::{JobPosition, JobStatus, MEMBERS_PER_EVENT, PAGE, Phase};
use crate::application::{Entitlement, entitlement};
use crate::change;
use crate::clock::Millis;
use crate::delivery::attempt::Attempt;
use crate::delivery::batch::{Lanes, Origin, Outgoing, Position, Round, Source};
use crate::delivery::link::Link;
use crate::delivery::park::Waiting;
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
        link: &Link,
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
            None => read_steps(hub, link, job, phase).await?,
        };
        // Groups are few, and what follows a group depends on it.
        if let (Phase::Users { .. }, Some(last)) = (phase, steps.last()) {
            let reading = tokio::spawn(read_steps(hub, link, job, &last.then));
            *lock(&self.next) = Some((last.then.clone(), reading));
        }
        Ok(steps.into())
    }

    fn keep(&self, phase: &Phase, steps: VecDeque<Step>) {
        *lock(&self.rest) = Some((phase.clone(), steps));
    }
}

/// The next round of a running job; `None` once everything was sent and settled.
pub(in crate::delivery) async fn next_round(
    hub: &Hub,
    link: &Link,
    waiting: &Waiting,
    position: &Position,
    job: &JobPosition,
    ahead: &ReadAhead,
) -> Result<Option<Round>, DbError> {
    if job.phase == Phase::Done {
        return Ok(None);
    }
    let mut lanes = Lanes::new(link.application.settings.limits);
    let mut held = Vec::new();
    let mut phase = job.phase.clone();
    'reading: while phase != Phase::Done {
        let mut steps = ahead.steps(hub, link, job, &phase).await?;
        while let Some(step) = steps.pop_front() {
            if let Some(outgoing) = &step.outgoing {
                if waiting.blocks(outgoing.subject_id()) {
                    held.push(outgoing.clone());
                } else if !lanes.take(step.kind, outgoing) {
                    steps.push_front(step);
                    ahead.keep(&phase, steps);
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
        drafts: lanes.into_drafts(),
        held,
        after: Position {
            cursor: position.cursor,
            job: Some(after),
        },
    }))
}

fn read_steps(
    hub: &Hub,
    link: &Link,
    job: &JobPosition,
    phase: &Phase,
) -> impl Future<Output = Result<Vec<Step>, DbError>> + Send + use<> {
    let entitlement = link.entitlements.current().clone();
    let (db, job_id, position_time, phase) =
        (hub.db.clone(), job.id.clone(), job.position_time, phase.clone());
    async move {
        db.read(move |tx| {
            let source = Steps {
                job_id: &job_id,
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
    position_time: Millis,
    entitlement: &'a Entitlement,
}

impl Steps<'_> {
    fn read(&self, tx: &mut Tx<'_>, phase: &Phase) -> Result<Vec<Step>, DbError> {
        // One snapshot: whatever the log's end does not include is committed later than this time.
        let time = change::head(tx)?.time;
        match phase {
            Phase::Units { after } => {
                let rows = query::units_page(tx, after.as_ref(), PAGE)?;
                if rows.is_empty() {
                    return Ok(vec![skip(Phase::Users { after: None })]);
                }
                Ok(rows
                    .into_iter()
                    .map(|(row, cursor)| Step {
                        kind: SubjectKind::Unit,
                        outgoing: self.push(SubjectKind::Unit, EventType::UnitPush, &row, time),
                        then: Phase::Units { after: Some(cursor) },
                    })
                    .collect())
            }
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
                    return Ok(vec![skip(Phase::Done)]);
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
            Phase::Items { done } => self.items(tx, *done, time),
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

    fn add_members(&self, group: &str, record: &str, members: &[String], time: Millis) -> Option<Outgoing> {
        let mut payload = GroupPayload::from_json(record).ok()?;
        payload.user_ids = Some(members.to_vec());
        let first = members.first()?;
        self.outgoing(EventType::GroupAddUser, group, first, payload.to_json(), time)
    }

    fn items(&self, tx: &mut Tx<'_>, done: i64, time: Millis) -> Result<Vec<Step>, DbError> {
        let rows = tx.query(
            "SELECT ordinal, action, subject_kind, subject_id, record FROM job_items
             WHERE job_id = $1 AND ordinal > $2 ORDER BY ordinal LIMIT $3",
            params![self.job_id, done, i64::try_from(PAGE).unwrap_or(i64::MAX)],
        )?;
        if rows.is_empty() {
            return Ok(vec![skip(Phase::Done)]);
        }
        let mut steps = Vec::new();
        for row in rows {
            let then = Phase::Items { done: row.get(0)? };
            let action: String = row.get(1)?;
            let subject_id: String = row.get(3)?;
            let kind = SubjectKind::parse(&row.get::<String>(2)?)
                .ok_or_else(|| DbError::Other("a job item has an unreadable subject kind".to_owned()))?;
            if action == "leave" {
                let record = row.get::<Option<String>>(4)?.unwrap_or_default();
                let event = entitlement::deleted(kind);
                let outgoing = self.outgoing(event, &subject_id, "leave", record, self.position_time);
                steps.push(Step { kind, outgoing, then });
                continue;
            }
            let present = query::record_of(tx, kind, &subject_id)?
                .filter(|(_, placement)| self.entitlement.scope.covers(kind, placement));
            let Some((record, _)) = present else {
                // It went away again; the log tells.
                steps.push(Step {
                    kind,
                    outgoing: None,
                    then,
                });
                continue;
            };
            let event = entitlement::created(kind);
            let outgoing = self.outgoing(event, &subject_id, "enter", record.clone(), time);
            if kind == SubjectKind::Group {
                // The members go with the group, before the next item counts as done.
                steps.push(Step {
                    kind,
                    outgoing,
                    then: Phase::Items {
                        done: row.get::<i64>(0)? - 1,
                    },
                });
                for portion in query::group_members(tx, &subject_id)?.chunks(MEMBERS_PER_EVENT) {
                    let outgoing = self.add_members(&subject_id, &record, portion, time);
                    steps.push(Step {
                        kind,
                        outgoing,
                        then: Phase::Items {
                            done: row.get::<i64>(0)? - 1,
                        },
                    });
                }
                steps.push(skip(then));
            } else {
                steps.push(Step { kind, outgoing, then });
            }
        }
        Ok(steps)
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
        let name = event_name(self.job_id, event_type, subject_id, part);
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
pub(in crate::delivery) fn event_name(
    job_id: &str,
    event: EventType,
    subject_id: &str,
    part: &str,
) -> String {
    format!("{job_id}|{}|{subject_id}|{part}", event.short())
}

fn skip(then: Phase) -> Step {
    Step {
        kind: SubjectKind::User,
        outgoing: None,
        then,
    }
}

/// Takes a settled round into the job's record; `None` if the round was not a job's.
pub(in crate::delivery) fn settle<'a>(
    current: Option<&JobPosition>,
    round: &Round,
    answered: impl Iterator<Item = (&'a [Outgoing], &'a Attempt)>,
) -> Option<JobPosition> {
    if round.source != Source::Job {
        return None;
    }
    let mut job = round.after.job.clone()?;
    if let Some(current) = current {
        // The round was prepared before the counts of the one in flight were known.
        job.statistics = current.statistics;
    }
    for (events, attempt) in answered {
        for outgoing in events {
            let Some(kind) = outgoing.event_type.subject_kind() else {
                continue;
            };
            let tally = job.statistics.of(kind);
            match attempt
                .exceptions
                .iter()
                .find(|e| e.event_id == outgoing.event_id())
            {
                None => tally.success += 1,
                Some(exception) if exception.result == "skipped" => tally.skipped += 1,
                Some(_) => tally.failed += 1,
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
