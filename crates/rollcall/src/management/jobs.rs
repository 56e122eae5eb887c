//! Synchronization jobs, as the management API calls them.

use rollcall_db::DbError;
use serde_json::{Map, Value, json};

use super::paged;
use super::provisioning::{Answered, Office};
use crate::access::Permission;
use crate::clock::Millis;
use crate::delivery::job::{self, JobPosition, JobStatus, JobsWanted, Tally, Trigger};
use crate::developer::{Given, Paged, Refusal};

/// How many applications a list may name.
const MOST_TARGETS: usize = 100;

/// Runs a full synchronization.
pub(super) async fn run(office: &Office<'_>, given: &Given) -> Answered {
    match given.needed("targetType")?.as_str() {
        "application" => {}
        "identity_provider" => {
            let message = "the hub pulls from no identity provider: TargetType must be application";
            return Err(Refusal::unsupported("targetType", message));
        }
        _ => return Err(Refusal::invalid("targetType", "TargetType must be application")),
    }
    let subject = office
        .subject(given, "targetId", Permission::OperateApplications)
        .await?;
    let caller = office.desk.caller(subject.authority);
    let id = subject.application.id;
    let made = office
        .desk
        .hub()
        .write_as(caller, move |tx, ctx| job::request_full(tx, ctx, &id));
    Ok(Map::from_iter([(
        "synchronizationJobId".to_owned(),
        made.await?.into(),
    )]))
}

/// What a status is called here.
fn status_name(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Preparing | JobStatus::Pending => "pending",
        JobStatus::Running => "running",
        JobStatus::Success => "success",
        JobStatus::PartialSuccess => "partial_success",
        JobStatus::Failed | JobStatus::Cancelled => "failed",
    }
}

/// All statuses.
const STATUSES: [JobStatus; 7] = [
    JobStatus::Preparing,
    JobStatus::Pending,
    JobStatus::Running,
    JobStatus::Success,
    JobStatus::PartialSuccess,
    JobStatus::Failed,
    JobStatus::Cancelled,
];

/// A job as it is told.
fn told(application_id: &str, job: &JobPosition) -> Value {
    let pushed = |tally: &Tally| {
        json!({ "pushed": {
            "total": tally.total,
            "success": tally.success + tally.assumed,
            "failed": tally.failed,
            "skipped": tally.skipped,
        } })
    };
    json!({
        "synchronizationJobId": job.id,
        "direction": "egress",
        "targetType": "application",
        "targetId": application_id,
        "triggerType": match job.trigger {
            Trigger::Manual => "manual",
            Trigger::Retention | Trigger::Restore | Trigger::UnitRenamed => "auto",
        },
        "status": status_name(job.status),
        "startTime": job.started_at.unwrap_or(job.created_at),
        "endTime": job.ended_at,
        "result": {
            "errorCode": job.error.as_ref().map(|_| "Failed"),
            "errorMessage": job.error,
            "organizationalUnitStatistics": pushed(&job.statistics.organizational_units),
            "userStatistics": pushed(&job.statistics.users),
            "groupStatistics": pushed(&job.statistics.groups),
        },
    })
}

/// Shows a job.
pub(super) async fn get(office: &Office<'_>, given: &Given) -> Answered {
    let role = office.permitted(Permission::ReadDeliveries)?.0.clone();
    let wanted = given.needed("synchronizationJobId")?;
    let id = wanted.clone();
    let read = office.desk.hub().db.read(move |tx| {
        let application = job::application_of(tx, &id)?;
        Ok::<_, DbError>(application.zip(job::load(tx, &id)?))
    });
    let found = read.await?.filter(|(application, _)| role.reaches(application));
    let Some((application, job)) = found else {
        let message = format!("there is no synchronization job {wanted:?}");
        return Err(Refusal::other(
            404,
            "ResourceNotFound.SynchronizationJob",
            message,
        ));
    };
    Ok(Map::from_iter([(
        "synchronizationJob".to_owned(),
        told(&application, &job),
    )]))
}

/// A time in milliseconds.
fn time(given: &Given, field: &str) -> Result<Option<Millis>, Refusal> {
    let Some(text) = given.some(field)? else {
        return Ok(None);
    };
    let time = text.parse::<Millis>().ok().filter(|time| *time >= 0);
    let message = || format!("{field} must be a time in milliseconds since 1970");
    time.map(Some).ok_or_else(|| Refusal::invalid(field, message()))
}

/// Which jobs are listed; `None` for none, whatever there is.
fn wanted(office: &Office<'_>, given: &Given) -> Result<Option<JobsWanted>, Refusal> {
    let role = office.permitted(Permission::ReadDeliveries)?.0;
    let one_of = |field: &str, ours: &str, others: &str| match given.some(field)? {
        None => Ok(true),
        Some(text) if text == ours => Ok(true),
        Some(text) if text == others => Ok(false),
        Some(_) => Err(Refusal::invalid(
            field,
            format!("{field} must be {ours} or {others}"),
        )),
    };
    // Nothing is pulled by jobs.
    let is_push = one_of("direction", "egress", "ingress")?;
    let is_application = one_of("targetType", "application", "identity_provider")?;
    let statuses = match given.some("status")? {
        None => None,
        Some(name) => {
            let named: Vec<JobStatus> = STATUSES
                .into_iter()
                .filter(|status| status_name(*status) == name)
                .collect();
            if named.is_empty() {
                let message = "Status must be pending, running, failed, partial_success or success";
                return Err(Refusal::invalid("status", message));
            }
            Some(named)
        }
    };
    let targets = given.some_ids("targetIds", MOST_TARGETS)?;
    let applications = match (targets.is_empty(), role.applications()) {
        (true, None) => None,
        (true, Some(own)) => Some(own.iter().cloned().collect()),
        (false, _) => Some(targets.into_iter().filter(|id| role.reaches(id)).collect()),
    };
    let wanted = JobsWanted {
        applications,
        statuses,
        from: time(given, "startTime")?,
        until: time(given, "endTime")?,
    };
    Ok(Some(wanted).filter(|_| is_push && is_application))
}

/// Lists jobs, the newest first.
pub(super) async fn list(office: &Office<'_>, given: &Given) -> Answered {
    let (page, wanted) = (paged(given)?, wanted(office, given)?);
    let read = office.desk.hub().db.read(move |tx| {
        let Some(wanted) = &wanted else {
            return Ok::<_, DbError>((0, Vec::new(), None));
        };
        let ids = job::ids_of(tx, wanted)?;
        let total = ids.len();
        let (shown, next) = cut(ids, &page);
        let jobs = job::load_many(tx, &shown)?;
        let jobs: Vec<Value> = jobs.iter().map(|(id, job)| told(id, job)).collect();
        Ok((total, jobs, next))
    });
    let (total, jobs, next) = read.await?;
    Ok(Map::from_iter([
        ("totalCount".to_owned(), total.into()),
        ("synchronizationJobs".to_owned(), jobs.into()),
        ("nextToken".to_owned(), next.into()),
    ]))
}

/// The ids on a page, and what names the next one. The newest are the first, so a page begins before an id.
fn cut(ids: Vec<String>, page: &Paged) -> (Vec<String>, Option<String>) {
    match page {
        Paged::Number { offset, size } => (ids.into_iter().skip(*offset).take(*size).collect(), None),
        Paged::Token { after, size } => {
            let rest = ids.into_iter().filter(|id| after.is_empty() || id < after);
            let mut shown: Vec<String> = rest.take(size + 1).collect();
            let is_more = shown.len() > *size;
            shown.truncate(*size);
            let next = shown.last().filter(|_| is_more).map(|last| Paged::token(last));
            (shown, next)
        }
    }
}
