//! The rounds of a job: from where it stands to the next one, and what the answers make of it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rollcall_db::DbError;
use rollcall_protocol::EventType;
use tokio::task::JoinHandle;

use super::steps::{Step, read_steps};
use crate::application::Limits;
use crate::delivery::model::job::{Inventory, JobPosition, JobStatus, Phase};
use crate::delivery::model::{Answered, Position, Round, Source, Verdict};
use crate::delivery::plan::held::Held;
use crate::delivery::plan::lanes::Lanes;
use crate::delivery::plan::parked::ParkedQueue;
use crate::delivery::route::Target;
use crate::hub::Hub;

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
    let mut held = Held::default();
    let mut phase = job.phase.clone();
    'reading: while phase != Phase::Done {
        let mut steps = ahead.steps(hub, target, job, &phase).await?;
        while let Some(step) = steps.pop_front() {
            if let Some(outgoing) = &step.outgoing {
                // An inventory goes alone: applications that do not understand it may refuse its request, and if it
                // is wanted again, its round is made again from where it began.
                let alone = outgoing.event_type == EventType::Inventory;
                let fits = !alone || (lanes.is_empty() && held.is_empty());
                if held.blocks(outgoing, queue) {
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
        held: held.into_events(),
        renamed: Vec::new(),
        after: Position {
            cursor: position.cursor,
            job: Some(after),
        },
    }))
}

/// Takes a settled round into the job's record; `None` if the round was not a job's. If the application wants an
/// inventory again, the job `stays` before it, or ends.
pub(in crate::delivery) fn settle(
    current: Option<&JobPosition>,
    round: &Round,
    answered: &[Answered],
    stays: bool,
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
                job.statistics.inventory = match (verdict, job.statistics.inventory) {
                    // What an answer does not speak of counts as received. Whoever does not understand it loses
                    // nothing by the rest of it; whoever does would keep what is gone without it.
                    (Verdict::Assumed, _) | (Verdict::Accepted, Inventory::Assumed) => Inventory::Assumed,
                    (Verdict::Accepted, _) => Inventory::Accepted,
                    (Verdict::Again(_), before) if stays => {
                        if let Some(current) = current {
                            job.phase.clone_from(&current.phase);
                        }
                        before
                    }
                    (Verdict::Again(_), _) => {
                        job.phase = Phase::Done;
                        Inventory::Failed
                    }
                    (Verdict::Skipped(_) | Verdict::Refused(_), _) => {
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
        let failed = job.statistics.inventory == Inventory::Failed
            || job.statistics.all().iter().any(|tally| tally.failed > 0);
        job.status = if failed {
            JobStatus::PartialSuccess
        } else {
            JobStatus::Success
        };
    }
    Some(job)
}
