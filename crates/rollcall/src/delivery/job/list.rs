//! Writing the list of a change of scope, or of a repair, which may be long: thousands leave and enter by one change.
//!
//! Nobody should have to wait for all of it at the one writer. So the list belongs at first to a job that is
//! *preparing*: no delivery looks at it, and it grows portion by portion, each in a transaction of its own,
//! between the writes of others. Only when it is whole does one short transaction begin the job. A list that
//! comes to nothing is removed in portions too; what a process left that died in between, retention removes.
//!
//! Whoever leaves is written down with a record, which was read before. So each portion looks who is still there: of
//! somebody who was erased in between, nothing may be written again.
//!
//! The order of a list is that in which it is sent: groups, users and units that leave (children first), then
//! units (parents first), users and groups that enter. Behind each part that may still grow while the list is
//! written there is room: its numbers have gaps.

use rollcall_db::{DbError, Tx};
use rollcall_protocol::SubjectKind;

use super::JobError;
use super::request::check_free;
use crate::application::{ApplicationError, store as applications};
use crate::clock::Millis;
use crate::delivery::ledger::jobs::{self, Item};
use crate::delivery::model::job::{JobKind, JobStatus, Phase, Statistics, Trigger};
use crate::directory::query;
use crate::hub::Hub;

/// Entries that one transaction writes or removes.
const PORTION: usize = 500;
/// How old what a process left behind must be before it is removed, in milliseconds.
const LEFT_BEHIND: Millis = 6 * 3_600_000;

/// Makes a job whose list is still to be written.
///
/// # Errors
/// [`JobError`].
pub(in crate::delivery) fn prepare(
    tx: &mut Tx<'_>,
    application_id: &str,
    job_id: &str,
    kind: JobKind,
    now: Millis,
) -> Result<(), JobError> {
    check_free(tx, application_id)?;
    jobs::insert(
        tx,
        application_id,
        job_id,
        (kind, Trigger::Manual, JobStatus::Preparing),
        Phase::Items {
            done: 0,
            within: None,
        },
        Statistics::default(),
        now,
    )?;
    Ok(())
}

/// Writes a list, portion by portion. Users who were deleted since it was read are left out; the log tells of them.
///
/// # Errors
/// [`JobError`]; also if the application was deleted meanwhile. What was written by then stays.
pub(super) async fn write(
    hub: &Hub,
    application_id: &str,
    job_id: &str,
    items: Vec<(i64, Item)>,
) -> Result<(), JobError> {
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        let portion: Vec<(i64, Item)> = items.by_ref().take(PORTION).collect();
        let (application_id, job_id) = (application_id.to_owned(), job_id.to_owned());
        hub.db
            .write(move |tx| {
                if !jobs::is_preparing(tx, &job_id)? {
                    return Err(gone(&application_id));
                }
                let users: Vec<String> = portion
                    .iter()
                    .filter(|(_, item)| item.kind == SubjectKind::User)
                    .map(|(_, item)| item.subject_id.clone())
                    .collect();
                let present = query::present_users(tx, &users)?;
                let items = portion
                    .iter()
                    .filter(|(_, item)| item.kind != SubjectKind::User || present.contains(&item.subject_id));
                Ok(jobs::write_items(
                    tx,
                    &job_id,
                    items.map(|(ordinal, item)| (*ordinal, item)),
                )?)
            })
            .await?;
    }
    Ok(())
}

/// Nothing but the deletion of its application takes a job away that is preparing.
fn gone(application_id: &str) -> JobError {
    ApplicationError::NotFound(application_id.to_owned()).into()
}

/// Begins a job whose list is whole, pinned to the log's present end.
///
/// # Errors
/// [`JobError`].
pub(in crate::delivery) fn begin(
    tx: &mut Tx<'_>,
    application_id: &str,
    job_id: &str,
    mut statistics: Statistics,
    now: Millis,
) -> Result<(), JobError> {
    applications::hold(tx, application_id)?;
    check_free(tx, application_id)?;
    if let Some(open) = jobs::open_job(tx, application_id)? {
        let left = open.statistics.total().saturating_sub(open.statistics.done());
        statistics.users.total += left;
        jobs::take_over(tx, open, job_id, now)?;
    }
    if !jobs::begin(tx, job_id, &statistics)? {
        return Err(gone(application_id));
    }
    Ok(applications::touch(tx, application_id)?)
}

/// Removes the job of a list that comes to nothing, with what was written of it.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) async fn discard(hub: &Hub, job_id: &str) -> Result<(), DbError> {
    loop {
        let job_id = job_id.to_owned();
        if hub
            .db
            .write(move |tx| jobs::discard(tx, &job_id, PORTION))
            .await?
        {
            return Ok(());
        }
    }
}

/// Removes the lists that processes left behind which died while they wrote them.
///
/// # Errors
/// What the database reports.
pub async fn discard_left_behind(hub: &Hub, now: Millis) -> Result<(), DbError> {
    let left = hub
        .db
        .read(move |tx| jobs::preparing_since(tx, now - LEFT_BEHIND))
        .await?;
    for job_id in left {
        discard(hub, &job_id).await?;
    }
    Ok(())
}
