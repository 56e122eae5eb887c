//! Asking for a job, and ending it.

use rollcall_db::{DbError, Tx};
use rollcall_protocol::Random;
use serde_json::json;

use super::JobError;
use crate::access::Context;
use crate::application::{command::open, store as applications};
use crate::clock::Millis;
use crate::delivery::ledger::jobs::{self, open_job};
use crate::delivery::ledger::operate;
use crate::delivery::model::job::{JobKind, JobStatus, Phase, Statistics, Trigger};
use crate::id;

/// Asks for a full synchronization, pinned to the log's present end. Returns the job's id.
///
/// # Errors
/// [`JobError`].
pub fn request_full(tx: &mut Tx<'_>, ctx: &Context<'_>, application_id: &str) -> Result<String, JobError> {
    let application = open(tx, ctx, application_id)?;
    applications::hold(tx, application_id)?;
    check_free(tx, application_id)?;
    let job_id = match open_job(tx, application_id)? {
        // It tells of everybody, and so of those too of whom that one had still to tell.
        Some(open) => {
            operate::interfere(tx, application_id)?;
            let job_id = open.id.clone();
            jobs::restart(tx, open, Trigger::Manual)?;
            job_id
        }
        None => {
            let job_id = id::make("job", ctx.now, ctx.random);
            jobs::insert(
                tx,
                application_id,
                &job_id,
                (JobKind::Full, Trigger::Manual, JobStatus::Pending),
                Phase::Units,
                Statistics::default(),
                ctx.now,
            )?;
            job_id
        }
    };
    applications::touch(tx, application_id)?;
    operate::note(tx, ctx, &application, "synchronize", &json!({ "job": job_id }))?;
    Ok(job_id)
}

/// Has everything pushed to every application, from the log's present end on: a backup was restored, and nobody knows
/// what they have got since it was taken. One that was switched off then may have been on since; it is pushed
/// everything once it is switched on. Returns how many they are.
///
/// # Errors
/// What the database reports.
pub fn after_restore(tx: &mut Tx<'_>, now: Millis, random: &dyn Random) -> Result<u64, DbError> {
    let mut due = 0;
    for application in applications::list(tx)? {
        let new_id = id::make("job", now, random);
        repin(tx, &application.id, &new_id, Trigger::Restore, now)?;
        due += 1;
    }
    Ok(due)
}

/// Has everything pushed to an application that would not converge otherwise, from the log's present end on. An
/// unfinished job of the application takes that upon itself: what it has still to send (who leaves a scope is
/// told by nobody else) goes first.
///
/// # Errors
/// What the database reports.
pub fn repin(
    tx: &mut Tx<'_>,
    application_id: &str,
    new_id: &str,
    trigger: Trigger,
    now: Millis,
) -> Result<String, DbError> {
    operate::interfere(tx, application_id)?;
    if let Some(open) = open_job(tx, application_id)? {
        let job_id = open.id.clone();
        jobs::restart(tx, open, trigger)?;
        return Ok(job_id);
    }
    jobs::insert(
        tx,
        application_id,
        new_id,
        (JobKind::Full, trigger, JobStatus::Pending),
        Phase::Units,
        Statistics::default(),
        now,
    )?;
    Ok(new_id.to_owned())
}

/// Cancels the unfinished job of an application. What was sent stays sent.
///
/// # Errors
/// [`JobError::NothingToCancel`], or what the database reports.
pub fn cancel(tx: &mut Tx<'_>, ctx: &Context<'_>, application_id: &str) -> Result<String, JobError> {
    let application = open(tx, ctx, application_id)?;
    let mut job = open_job(tx, application_id)?.ok_or(JobError::NothingToCancel)?;
    job.status = JobStatus::Cancelled;
    jobs::store(tx, &job, ctx.now)?;
    applications::touch(tx, application_id)?;
    operate::note(tx, ctx, &application, "cancel", &json!({ "job": job.id }))?;
    Ok(job.id)
}

/// Refuses a job where none may be made. What the names of units have begun is in nobody's way: the job takes over what
/// is left of it.
///
/// # Errors
/// [`JobError`].
pub(super) fn check_free(tx: &mut Tx<'_>, application_id: &str) -> Result<(), JobError> {
    let application = applications::load(tx, application_id)?;
    if !application.synchronize {
        return Err(JobError::SwitchedOff(application.name));
    }
    match open_job(tx, application_id)? {
        Some(open) if open.kind != JobKind::UnitNames => Err(JobError::Busy(open.id)),
        Some(_) | None => Ok(()),
    }
}
