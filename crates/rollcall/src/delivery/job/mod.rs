//! Synchronization jobs: the full synchronization, and the run of a confirmed change of scope.
//!
//! A job is pinned to a position of the log. Delivery first goes on to that position; then the cursor
//! stands still while the job sends what it has to, and afterwards the log goes on from there. The
//! directory changes meanwhile, which does no harm: a record is sent with the time of the log's end in
//! the snapshot that it was read from, so that a receiver recognises the changes that it includes
//! already as stale, and those that it does not include as news.
//!
//! A full synchronization reads the directory page by page: units top-down, users, groups with their
//! members. The wire has no push type for groups; they go as `group:create` and `group:add_user`.
//! A change of scope works from a list that was fixed when it was confirmed: who leaves (children
//! first, with the records of that moment), then who enters (parents first).
//!
//! Progress is stored with every settled round, so a job that is interrupted continues; an event that
//! is sent twice then bears the same id.

mod scope;
mod steps;

use rollcall_db::{DbError, Row, Tx, params};
use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};

use super::link::Link;
use crate::application::{ApplicationError, Scope, store as applications};
use crate::change::{self, Seq};
use crate::clock::Millis;
use crate::directory::query::{self, SyncRow};
use crate::hub::Hub;

pub use scope::{Counts, Plan, change_scope, plan};
pub(super) use steps::{ReadAhead, event_name, next_round, settle};

/// How many rows one read takes.
const PAGE: usize = 500;
/// How many members one `group:add_user` names.
const MEMBERS_PER_EVENT: usize = 500;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Pushes everything in scope.
    Full,
    /// Deletes who left the scope, creates who entered it.
    ChangeOfScope,
}

impl JobKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ChangeOfScope => "change_of_scope",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Full, Self::ChangeOfScope]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// Why a job was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Somebody asked for it.
    Manual,
    /// The application fell behind the log's retention.
    Retention,
}

impl Trigger {
    fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Retention => "retention",
        }
    }
}

/// How far a job is (wire contract, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Waits for delivery to reach its position.
    Pending,
    /// Sends.
    Running,
    /// Everything was sent and accepted or skipped.
    Success,
    /// Everything was sent; the application refused some of it.
    PartialSuccess,
    /// Broken off by an error.
    Failed,
    /// Broken off by hand.
    Cancelled,
}

impl JobStatus {
    /// The name under which the status is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::PartialSuccess => "partial_success",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [
            Self::Pending,
            Self::Running,
            Self::Success,
            Self::PartialSuccess,
            Self::Failed,
            Self::Cancelled,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
    }

    /// Whether the job has come to its end.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

/// Where in its work a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Units, top-down.
    Units {
        /// The last one sent.
        after: Option<query::UnitCursor>,
    },
    /// Users.
    Users {
        /// The last one sent.
        after: Option<String>,
    },
    /// Groups, each with its members.
    Groups {
        /// The last one that is complete.
        after: Option<String>,
    },
    /// The members of a group whose record was sent.
    Members {
        /// The group.
        group: String,
        /// The last member sent.
        after: Option<String>,
    },
    /// The list of a change of scope.
    Items {
        /// How many were sent.
        done: i64,
    },
    /// Everything was sent.
    Done,
}

/// How many objects of a kind there are, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// In scope when the job began.
    pub total: u64,
    /// Accepted.
    pub success: u64,
    /// Refused, or wanted again.
    pub failed: u64,
    /// Passed over by the application.
    pub skipped: u64,
}

/// What became of the objects of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    /// Organizational units.
    pub organizational_units: Tally,
    /// Users.
    pub users: Tally,
    /// Groups and memberships: events, not objects.
    pub groups: Tally,
}

impl Statistics {
    fn of(&mut self, kind: SubjectKind) -> &mut Tally {
        match kind {
            SubjectKind::Unit => &mut self.organizational_units,
            SubjectKind::User => &mut self.users,
            SubjectKind::Group => &mut self.groups,
        }
    }

    fn all(&self) -> [&Tally; 3] {
        [&self.organizational_units, &self.users, &self.groups]
    }

    /// How many objects there are to send.
    pub fn total(&self) -> u64 {
        self.all().iter().map(|tally| tally.total).sum()
    }

    /// How many were sent.
    pub fn done(&self) -> u64 {
        self.all()
            .iter()
            .map(|tally| tally.success + tally.failed + tally.skipped)
            .sum()
    }
}

/// A job, and how far it is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobPosition {
    /// `job_…`.
    pub id: String,
    /// What it does.
    pub kind: JobKind,
    /// Why it was made.
    pub trigger: Trigger,
    /// Where it is in its life.
    pub status: JobStatus,
    /// The position of the log to which it is pinned.
    pub position: Seq,
    /// The log's time there.
    pub position_time: Millis,
    /// Where in its work it stands.
    #[serde(flatten)]
    pub phase: Phase,
    /// What became of its objects.
    pub statistics: Statistics,
    /// When it was asked for.
    pub created_at: Millis,
    /// When it began to send.
    pub started_at: Option<Millis>,
    /// When it ended.
    pub ended_at: Option<Millis>,
    /// Why it failed.
    pub error: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    position_time: Millis,
    #[serde(flatten)]
    phase: Phase,
}

impl JobPosition {
    /// Whether delivery has not reached its position yet.
    pub fn is_pending(&self) -> bool {
        self.status == JobStatus::Pending
    }

    /// Whether it has come to its end.
    pub fn is_finished(&self) -> bool {
        self.status.is_final()
    }
}

/// Why a job cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Another one is not finished.
    #[error("the application has an unfinished synchronization job ({0}); wait for it or cancel it")]
    Busy(String),
    /// The application is switched off.
    #[error("synchronization is switched off for {0}; switch it on first")]
    SwitchedOff(String),
    /// There is nothing to cancel.
    #[error("the application has no synchronization job that could be cancelled")]
    NothingToCancel,
    /// The application.
    #[error(transparent)]
    Application(#[from] ApplicationError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Asks for a full synchronization, pinned to the log's present end.
///
/// # Errors
/// [`JobError`].
pub fn request_full(
    tx: &mut Tx<'_>,
    application_id: &str,
    job_id: &str,
    now: Millis,
) -> Result<(), JobError> {
    create(
        tx,
        application_id,
        job_id,
        JobKind::Full,
        Phase::Units { after: None },
        Statistics::default(),
        now,
    )
}

/// Asks for a full synchronization of an application that retention has left behind. It begins once the
/// application is switched on and answers.
///
/// # Errors
/// What the database reports.
pub(super) fn request_after_retention(
    tx: &mut Tx<'_>,
    application_id: &str,
    job_id: &str,
    now: Millis,
) -> Result<(), DbError> {
    let phase = Phase::Units { after: None };
    insert(
        tx,
        application_id,
        job_id,
        (JobKind::Full, Trigger::Retention),
        phase,
        Statistics::default(),
        now,
    )
}

pub(super) fn create(
    tx: &mut Tx<'_>,
    application_id: &str,
    job_id: &str,
    kind: JobKind,
    phase: Phase,
    statistics: Statistics,
    now: Millis,
) -> Result<(), JobError> {
    let application = applications::load(tx, application_id)?;
    if !application.synchronize {
        return Err(JobError::SwitchedOff(application.name));
    }
    if let Some(open) = open_job(tx, application_id)? {
        return Err(JobError::Busy(open.id));
    }
    insert(
        tx,
        application_id,
        job_id,
        (kind, Trigger::Manual),
        phase,
        statistics,
        now,
    )?;
    Ok(())
}

fn insert(
    tx: &mut Tx<'_>,
    application_id: &str,
    job_id: &str,
    (kind, trigger): (JobKind, Trigger),
    phase: Phase,
    statistics: Statistics,
    now: Millis,
) -> Result<(), DbError> {
    let head = change::head(tx)?;
    let progress = Progress {
        position_time: head.time,
        phase,
    };
    tx.execute(
        "INSERT INTO jobs (id, application_id, kind, trigger, status, position_seq, progress, statistics,
                           created_at)
         VALUES ($1, $2, $3, $8, 'pending', $4, $5, $6, $7)",
        params![
            job_id,
            application_id,
            kind.as_str(),
            head.seq,
            to_json(&progress)?,
            to_json(&statistics)?,
            now,
            trigger.as_str()
        ],
    )?;
    applications::touch(tx, application_id)
}

/// Cancels the unfinished job of an application. What was sent stays sent.
///
/// # Errors
/// [`JobError::NothingToCancel`], or what the database reports.
pub fn cancel(tx: &mut Tx<'_>, application_id: &str, now: Millis) -> Result<String, JobError> {
    let mut job = open_job(tx, application_id)?.ok_or(JobError::NothingToCancel)?;
    job.status = JobStatus::Cancelled;
    store(tx, &job, now)?;
    applications::touch(tx, application_id)?;
    Ok(job.id)
}

const COLUMNS: &str = "id, kind, status, position_seq, progress, statistics, created_at, started_at, \
                       ended_at, error, trigger";

/// The unfinished job of an application.
///
/// # Errors
/// What the database reports.
pub fn open_job(tx: &mut Tx<'_>, application_id: &str) -> Result<Option<JobPosition>, DbError> {
    tx.query_opt(
        &format!("SELECT {COLUMNS} FROM jobs WHERE application_id = $1 AND status IN ('pending', 'running')"),
        params![application_id],
    )?
    .map(|row| from_row(&row))
    .transpose()
}

/// The newest jobs of an application, newest first.
///
/// # Errors
/// What the database reports.
pub fn newest(tx: &mut Tx<'_>, application_id: &str, limit: usize) -> Result<Vec<JobPosition>, DbError> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM jobs WHERE application_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2"
        ),
        params![application_id, i64::try_from(limit).unwrap_or(i64::MAX)],
    )?
    .iter()
    .map(from_row)
    .collect()
}

/// Reads one job.
///
/// # Errors
/// What the database reports.
pub fn load(tx: &mut Tx<'_>, job_id: &str) -> Result<Option<JobPosition>, DbError> {
    tx.query_opt(
        &format!("SELECT {COLUMNS} FROM jobs WHERE id = $1"),
        params![job_id],
    )?
    .map(|row| from_row(&row))
    .transpose()
}

/// Stores how far a job is, unless somebody has ended it meanwhile.
///
/// # Errors
/// What the database reports.
pub fn store(tx: &mut Tx<'_>, job: &JobPosition, now: Millis) -> Result<(), DbError> {
    let progress = Progress {
        position_time: job.position_time,
        phase: job.phase.clone(),
    };
    tx.execute(
        "UPDATE jobs SET status = $2, progress = $3, statistics = $4, error = $5, started_at = $6, ended_at = $7
         WHERE id = $1 AND status IN ('pending', 'running')",
        params![
            job.id.as_str(),
            job.status.as_str(),
            to_json(&progress)?,
            to_json(&job.statistics)?,
            job.error.as_deref(),
            job.started_at,
            job.is_finished().then_some(now)
        ],
    )?;
    if job.is_finished() {
        tx.execute(
            "DELETE FROM job_items WHERE job_id = $1",
            params![job.id.as_str()],
        )?;
    }
    Ok(())
}

fn from_row(row: &Row) -> Result<JobPosition, DbError> {
    let unreadable = |what: &str| DbError::Other(format!("a synchronization job has an unreadable {what}"));
    let progress: Progress =
        serde_json::from_str(&row.get::<String>(4)?).map_err(|_| unreadable("progress"))?;
    Ok(JobPosition {
        id: row.get(0)?,
        kind: JobKind::parse(&row.get::<String>(1)?).ok_or_else(|| unreadable("kind"))?,
        status: JobStatus::parse(&row.get::<String>(2)?).ok_or_else(|| unreadable("status"))?,
        position: row.get(3)?,
        position_time: progress.position_time,
        phase: progress.phase,
        statistics: serde_json::from_str(&row.get::<String>(5)?).map_err(|_| unreadable("statistics"))?,
        created_at: row.get(6)?,
        started_at: row.get(7)?,
        ended_at: row.get(8)?,
        error: row.get(9)?,
        trigger: match row.get::<String>(10)?.as_str() {
            "retention" => Trigger::Retention,
            _ => Trigger::Manual,
        },
    })
}

fn to_json<T: Serialize>(value: &T) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(|error| DbError::Other(error.to_string()))
}

/// Begins a job whose position is reached: counts what is in scope.
pub(super) async fn start(hub: &Hub, link: &Link, job: &mut JobPosition) -> Result<(), DbError> {
    if job.kind == JobKind::Full {
        let scope = link.entitlements.current().scope.clone();
        job.statistics = hub.db.read(move |tx| count(tx, &scope)).await?;
    }
    job.status = JobStatus::Running;
    job.started_at = Some(hub.clock.now());
    let (stored, now) = (job.clone(), hub.clock.now());
    hub.db.write(move |tx| store(tx, &stored, now)).await
}

fn count(tx: &mut Tx<'_>, scope: &Scope) -> Result<Statistics, DbError> {
    let mut statistics = Statistics::default();
    if scope.is_everything() {
        let (users, units, _) = query::counts(tx)?;
        statistics.users.total = u64::try_from(users).unwrap_or_default();
        statistics.organizational_units.total = u64::try_from(units).unwrap_or_default();
    } else {
        scan(tx, |kind, row| {
            if scope.covers(kind, &row.placement) {
                statistics.of(kind).total += 1;
            }
            Ok(())
        })?;
    }
    // A group goes as its record and then its members, in portions.
    let mut events = 0;
    let mut after: Option<String> = None;
    loop {
        let groups = query::groups_page(tx, after.as_deref(), PAGE)?;
        let Some(last) = groups.last() else { break };
        after = Some(last.id.clone());
        for group in groups
            .iter()
            .filter(|row| scope.covers(SubjectKind::Group, &row.placement))
        {
            events += 1 + query::group_members(tx, &group.id)?
                .len()
                .div_ceil(MEMBERS_PER_EVENT) as u64;
        }
    }
    statistics.groups.total = events;
    Ok(statistics)
}

/// Looks at every subject of the directory: units top-down, users, groups.
///
/// # Errors
/// What the database or the visitor reports.
pub fn scan<E: From<DbError>>(
    tx: &mut Tx<'_>,
    mut visit: impl FnMut(SubjectKind, SyncRow) -> Result<(), E>,
) -> Result<(), E> {
    let mut unit: Option<query::UnitCursor> = None;
    loop {
        let rows = query::units_page(tx, unit.as_ref(), PAGE)?;
        let Some((_, last)) = rows.last() else { break };
        unit = Some(last.clone());
        for (row, _) in rows {
            visit(SubjectKind::Unit, row)?;
        }
    }
    let mut after: Option<String> = None;
    loop {
        let rows = query::users_page(tx, after.as_deref(), PAGE, true)?;
        let Some(last) = rows.last() else { break };
        after = Some(last.id.clone());
        for row in rows {
            visit(SubjectKind::User, row)?;
        }
    }
    let mut after: Option<String> = None;
    loop {
        let rows = query::groups_page(tx, after.as_deref(), PAGE)?;
        let Some(last) = rows.last() else { break };
        after = Some(last.id.clone());
        for row in rows {
            visit(SubjectKind::Group, row)?;
        }
    }
    Ok(())
}
