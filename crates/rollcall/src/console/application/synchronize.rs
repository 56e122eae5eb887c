//! *Synchronize*: the job that runs, live, and what came of those before.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use rollcall_db::DbError;

use super::{Head, Tab, comparison, follow};
use crate::access::Permission;
use crate::application::{Application, store};
use crate::clock::Millis;
use crate::console::Console;
use crate::console::error::Failure;
use crate::console::health::Progress;
use crate::console::page::{Answer, Page, Section, View, show};
use crate::delivery::comparison::{Comparison, Kind, newest};
use crate::delivery::job::{self, Inventory, JobKind, JobPosition, JobStatus, Tally, Trigger};
use crate::delivery::status;

/// How many jobs are shown.
const JOBS: usize = 20;

/// A job as it is shown.
struct ShownJob {
    id: String,
    kind: &'static str,
    trigger: &'static str,
    tone: &'static str,
    status: &'static str,
    is_open: bool,
    progress: Progress,
    /// Objects a second, and the time that is left at this rate.
    pace: Option<(String, Millis)>,
    created_at: Millis,
    took: Option<Millis>,
    sum: Tally,
    tallies: Vec<(&'static str, Tally)>,
    skips: Option<String>,
    inventory: Option<&'static str>,
    error: Option<String>,
}

impl ShownJob {
    fn of(job: JobPosition, now: Millis) -> Self {
        let (tone, status) = match job.status {
            JobStatus::Preparing => ("wait", "job-preparing"),
            JobStatus::Pending => ("wait", "job-pending"),
            JobStatus::Running => ("wait", "job-running"),
            JobStatus::Success => ("good", "job-success"),
            JobStatus::PartialSuccess => ("warn", "job-partial"),
            JobStatus::Failed => ("bad", "job-failed"),
            JobStatus::Cancelled => ("idle", "job-cancelled"),
        };
        let progress = Progress::of(&job);
        let running = job.started_at.filter(|_| job.status == JobStatus::Running);
        let pace = running.and_then(|started| pace(&progress, now - started));
        let statistics = &job.statistics;
        Self {
            kind: match job.kind {
                JobKind::Full => "job-full",
                JobKind::ChangeOfScope => "job-scope",
                JobKind::Repair => "job-repair",
                JobKind::UnitNames => "job-unit-names",
            },
            trigger: match job.trigger {
                Trigger::Manual => "trigger-manual",
                Trigger::Retention => "trigger-retention",
                Trigger::Restore => "trigger-restore",
                Trigger::UnitRenamed => "trigger-unit-renamed",
            },
            tone,
            status,
            is_open: !job.status.is_final(),
            progress,
            pace,
            took: job.started_at.zip(job.ended_at).map(|(from, to)| to - from),
            sum: statistics.sum(),
            tallies: vec![
                ("kind-units", statistics.organizational_units),
                ("kind-users", statistics.users),
                ("kind-groups", statistics.groups),
            ],
            skips: statistics.skips.reason(),
            inventory: match statistics.inventory {
                Inventory::NotSent => None,
                Inventory::Accepted => Some("inventory-accepted"),
                Inventory::Assumed => Some("inventory-assumed"),
                Inventory::NotUnderstood => Some("inventory-not-understood"),
                Inventory::Failed => Some("inventory-failed"),
            },
            id: job.id,
            created_at: job.created_at,
            error: job.error,
        }
    }
}

/// How many objects a second, and how long the rest takes; `None` before anything can be told.
fn pace(progress: &Progress, took: Millis) -> Option<(String, Millis)> {
    let took = u64::try_from(took).ok().filter(|took| *took > 0)?;
    if progress.done == 0 {
        return None;
    }
    let a_second = progress.done * 1_000 / took;
    let left = progress.total.saturating_sub(progress.done) * took / progress.done;
    Some((a_second.to_string(), i64::try_from(left).ok()?))
}

/// The jobs, and how the application stands: what is sent again when it has changed.
#[derive(Template)]
#[template(path = "jobs.html")]
struct Jobs {
    page: Page,
    head: Head,
    open: Option<ShownJob>,
    ended: Vec<ShownJob>,
    /// What the newest comparison says, if the application can be compared with.
    compared: Option<Compared>,
}

/// The newest comparison in one line.
struct Compared {
    tone: &'static str,
    status: &'static str,
    created_at: Millis,
    differing: u64,
    foreign: u64,
}

impl Compared {
    fn of(comparison: &Comparison) -> Self {
        let (tone, status) = comparison::state(comparison);
        let counts = &comparison.counts;
        Self {
            tone,
            status,
            created_at: comparison.created_at,
            differing: counts.differing(),
            foreign: counts.of_kind(Kind::Foreign),
        }
    }
}

impl Jobs {
    async fn read(console: &Console, application: Application, page: Page) -> Result<Self, Failure> {
        let now = page.now();
        let (status, found, compared) = console
            .db()
            .read(move |tx| {
                let found = job::newest(tx, &application.id, JOBS)?;
                let compared = match application.settings.scim() {
                    Some(_) => newest(tx, &application.id, now)?,
                    None => None,
                };
                Ok::<_, DbError>((status::of(tx, application.clone())?, found, compared))
            })
            .await?;
        let jobs = found.into_iter().map(|job| ShownJob::of(job, now));
        let (mut open, ended): (Vec<_>, Vec<_>) = jobs.partition(|job| job.is_open);
        Ok(Self {
            head: Head::of(&status, Tab::Synchronize, &page),
            page,
            open: open.pop(),
            ended,
            compared: compared.as_ref().map(Compared::of),
        })
    }
}

#[derive(Template)]
#[template(path = "synchronize.html")]
struct SynchronizePage {
    page: Page,
    jobs: Jobs,
}

pub(super) async fn synchronize(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ReadDeliveries)?;
    let application = view.application(id).await?;
    show(&SynchronizePage {
        jobs: Jobs::read(&view.console, application, view.page.clone()).await?,
        page: view.page,
    })
}

pub(super) async fn jobs_live(
    State(console): State<Arc<Console>>,
    view: View,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    follow(console, view, id, |console, page, id| async move {
        let application = console.db().read(move |tx| store::load(tx, &id)).await?;
        Ok(Jobs::read(&console, application, page).await?.render()?)
    })
    .await
}
