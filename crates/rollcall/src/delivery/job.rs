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

use rollcall_db::{DbError, Row, Tx, params};
use rollcall_protocol::{Event, EventType, GroupPayload, SubjectKind};
use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::batch::{Lanes, Outgoing, Position, Round, Source};
use super::link::Link;
use super::park::Waiting;
use crate::application::entitlement;
use crate::application::{ApplicationError, Scope, store as applications};
use crate::change::{self, Seq};
use crate::clock::Millis;
use crate::directory::query::{self, SyncRow};
use crate::hub::Hub;
use crate::id;

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
    let head = change::head(tx)?;
    let progress = Progress {
        position_time: head.time,
        phase,
    };
    tx.execute(
        "INSERT INTO jobs (id, application_id, kind, trigger, status, position_seq, progress, statistics,
                           created_at)
         VALUES ($1, $2, $3, 'manual', 'pending', $4, $5, $6, $7)",
        params![
            job_id,
            application_id,
            kind.as_str(),
            head.seq,
            to_json(&progress)?,
            to_json(&statistics)?,
            now
        ],
    )?;
    applications::touch(tx, application_id)?;
    Ok(())
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
                       ended_at, error";

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
    scan(tx, |kind, row| {
        if scope.covers(kind, &row.placement) {
            statistics.of(kind).total += 1;
        }
        Ok(())
    })?;
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
    for (kind, page) in [
        (
            SubjectKind::User,
            query::users_page as fn(&mut Tx<'_>, Option<&str>, usize) -> _,
        ),
        (SubjectKind::Group, query::groups_page),
    ] {
        let mut after: Option<String> = None;
        loop {
            let rows: Vec<SyncRow> = page(tx, after.as_deref(), PAGE)?;
            let Some(last) = rows.last() else { break };
            after = Some(last.id.clone());
            for row in rows {
                visit(kind, row)?;
            }
        }
    }
    Ok(())
}

/// An event of a job with the phase that is reached once it is sent.
struct Step {
    kind: SubjectKind,
    /// `None` where a subject is out of scope, gone, or not subscribed to.
    outgoing: Option<Outgoing>,
    then: Phase,
}

/// The next round of a running job; `None` once everything was sent and settled.
pub(super) async fn next_round(
    hub: &Hub,
    link: &Link,
    waiting: &Waiting,
    position: &Position,
    job: &JobPosition,
) -> Result<Option<Round>, DbError> {
    if job.phase == Phase::Done {
        return Ok(None);
    }
    let mut lanes = Lanes::new(link.application.settings.limits);
    let mut held = Vec::new();
    let mut phase = job.phase.clone();
    'reading: while phase != Phase::Done {
        for step in read_steps(hub, link, job, &phase).await? {
            if let Some(outgoing) = step.outgoing {
                if waiting.blocks(&outgoing.subject_id) {
                    held.push(outgoing);
                } else if !lanes.take(step.kind, &outgoing) {
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

async fn read_steps(hub: &Hub, link: &Link, job: &JobPosition, phase: &Phase) -> Result<Vec<Step>, DbError> {
    let entitlement = link.entitlements.current().clone();
    let (job_id, position_time, phase) = (job.id.clone(), job.position_time, phase.clone());
    hub.db
        .read(move |tx| {
            let source = Steps {
                job_id: &job_id,
                position_time,
                entitlement: &entitlement,
            };
            source.read(tx, &phase)
        })
        .await
}

struct Steps<'a> {
    job_id: &'a str,
    position_time: Millis,
    entitlement: &'a crate::application::Entitlement,
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
                let rows = query::users_page(tx, after.as_deref(), PAGE)?;
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
        self.entitlement
            .scope
            .covers(kind, &row.placement)
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
        let name = format!("{}|{}|{subject_id}|{part}", self.job_id, event_type.short());
        Some(Outgoing {
            event: Event {
                event_id: id::derive("evnt", &name),
                event_type: event_type.urn().to_owned(),
                event_time: time,
                biz_id: subject_id.to_owned(),
                biz_data: record,
            },
            event_type,
            subject_id: subject_id.to_owned(),
            seq: None,
            attempts: 0,
        })
    }
}

fn skip(then: Phase) -> Step {
    Step {
        kind: SubjectKind::User,
        outgoing: None,
        then,
    }
}

/// Takes a settled round into the job's record; `None` if the round was not a job's.
pub(super) fn settle<'a>(
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
                .find(|e| e.event_id == outgoing.event.event_id)
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

/// What a change of scope would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Who enters.
    pub enter: Counts,
    /// Who leaves.
    pub leave: Counts,
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
    fn add(&mut self, kind: SubjectKind) {
        match kind {
            SubjectKind::Unit => self.organizational_units += 1,
            SubjectKind::User => self.users += 1,
            SubjectKind::Group => self.groups += 1,
        }
    }
}

/// Counts who would enter and who would leave.
///
/// # Errors
/// What the database reports; also if the scope names something that does not exist.
pub fn plan(tx: &mut Tx<'_>, application_id: &str, scope: &Scope) -> Result<Plan, ApplicationError> {
    applications::check_scope(tx, scope)?;
    let current = crate::application::Entitlements::load(tx, application_id)?
        .current()
        .scope
        .clone();
    let mut plan = Plan::default();
    scan(tx, |kind, row| {
        match (
            current.covers(kind, &row.placement),
            scope.covers(kind, &row.placement),
        ) {
            (false, true) => plan.enter.add(kind),
            (true, false) => plan.leave.add(kind),
            _ => {}
        }
        Ok::<_, DbError>(())
    })?;
    Ok(plan)
}

/// Changes scope and subscription from the log's present end on, and starts the job that deletes who
/// leaves and creates who enters. Returns what it will do.
///
/// # Errors
/// [`JobError`]; nothing is changed then.
pub fn change_scope(
    tx: &mut Tx<'_>,
    application_id: &str,
    scope: &Scope,
    subscription: &crate::application::Subscription,
    job_id: &str,
    now: Millis,
) -> Result<Plan, JobError> {
    applications::check_scope(tx, scope)?;
    let current = crate::application::Entitlements::load(tx, application_id)?
        .current()
        .scope
        .clone();
    let mut plan = Plan::default();
    let (mut leaving, mut entering) = (Vec::new(), Vec::new());
    scan(tx, |kind, row| {
        match (
            current.covers(kind, &row.placement),
            scope.covers(kind, &row.placement),
        ) {
            (false, true) => {
                plan.enter.add(kind);
                entering.push(("enter", kind, row.id, None));
            }
            (true, false) => {
                plan.leave.add(kind);
                leaving.push(("leave", kind, row.id, Some(row.record)));
            }
            _ => {}
        }
        Ok::<_, DbError>(())
    })?;
    // Units were met top-down, before users and groups; leaving is the other way round.
    leaving.reverse();
    let mut statistics = Statistics::default();
    for (_, kind, _, _) in leaving.iter().chain(&entering) {
        statistics.of(*kind).total += 1;
    }
    create(
        tx,
        application_id,
        job_id,
        JobKind::ChangeOfScope,
        Phase::Items { done: 0 },
        statistics,
        now,
    )?;
    leaving.append(&mut entering);
    for (ordinal, (action, kind, subject_id, record)) in (1_i64..).zip(&leaving) {
        tx.execute(
            "INSERT INTO job_items (job_id, ordinal, action, subject_kind, subject_id, record)
             VALUES ($1, $2, $3, $4, $5, $6)",
            params![
                job_id,
                ordinal,
                *action,
                kind.as_str(),
                subject_id.as_str(),
                record.as_deref()
            ],
        )?;
    }
    let entitlement = crate::application::Entitlement {
        from_seq: change::head(tx)?.seq,
        scope: scope.clone(),
        subscription: subscription.clone(),
    };
    crate::application::Entitlements::store(tx, application_id, &entitlement)?;
    Ok(plan)
}
