//! What is done to the delivery to an application: test, synchronize, pause and resume, send again, skip,
//! dismiss.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use indicatif::HumanFloatCount;
use serde::Serialize;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::find;
use crate::application::{Application, ApplicationError, Command, store};
use crate::cli::caller::caller;
use crate::cli::output::{IN_PART, Output, counted, line, time};
use crate::cli::serving;
use crate::config::Config;
use crate::delivery::connectivity::finding::Finding;
use crate::delivery::connectivity::{Report, StepResult};
use crate::delivery::job::{self, JobPosition, JobStatus};
use crate::delivery::ledger::{attempts, operate};
use crate::delivery::{Shared, connectivity};
use crate::hub::Hub;

/// How often a job that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After how many milliseconds without progress it is asked whether a hub runs.
const HINT_AFTER: i64 = 3_000;

/// What Test Connectivity brought, and what is still to be done besides.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tested<'a> {
    #[serde(flatten)]
    report: &'a Report,
    state: &'static str,
    ever_synchronized: bool,
}

pub(super) async fn test(hub: &Hub, out: &Output, config: &Config, app: &str) -> Result<ExitCode> {
    let id = find(hub, app).await?.id;
    let egress = serving::known(hub, config).await?.egress()?;
    let shared = Shared::for_one(hub.clone(), egress).await?;
    let report = connectivity::test(&shared, &id).await?;
    let (application, ever_synchronized) = hub
        .db
        .read(move |tx| {
            let synchronized = !job::newest(tx, &id, 1)?.is_empty();
            Ok::<_, ApplicationError>((store::load(tx, &id)?, synchronized))
        })
        .await?;
    let tested = Tested {
        report: &report,
        state: application.state(),
        ever_synchronized,
    };
    out.show(&tested, || {
        let mut text = lines_of(&report);
        if report.passed {
            text.push_str(&after_test(&application, ever_synchronized));
        }
        text
    });
    Ok(match report.passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(IN_PART),
    })
}

/// What is still in the way of an application whose endpoint passed the test.
fn after_test(application: &Application, ever_synchronized: bool) -> String {
    let name = &application.name;
    match (&application.suspended, application.synchronize) {
        (_, false) => format!("{name} is still paused: rollcall app resume {name:?} pushes to it again\n"),
        (Some(suspension), true) => format!(
            "{name} is still suspended, and asked again at {}; rollcall app resume {name:?} asks it at once\n",
            time(suspension.next_probe)
        ),
        (None, true) if !ever_synchronized => {
            format!("{name} was never synchronized: rollcall app sync {name:?} pushes everything in scope\n")
        }
        (None, true) => String::new(),
    }
}

pub(super) async fn cancel(hub: &Hub, out: &Output, app: &str) -> Result<ExitCode> {
    let id = find(hub, app).await?.id;
    let job = hub
        .write_as(caller(), move |tx, ctx| job::cancel(tx, ctx, &id))
        .await?;
    out.show(&json!({ "cancelled": job }), || {
        format!("{job} is cancelled; what was sent stays sent")
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn switch(hub: &Hub, out: &Output, app: &str, on: bool) -> Result<ExitCode> {
    let before = find(hub, app).await?;
    let id = before.id.clone();
    let application = if on {
        hub.write_as(caller(), move |tx, ctx| operate::resume(tx, ctx, &id))
            .await?
    } else {
        let pause = Command::DisableSynchronization { id };
        hub.apply_application(caller(), pause).await?.application
    };
    out.show(&application, || match (on, before.state()) {
        (true, "active") => format!(
            "{} was neither paused nor suspended: nothing to change",
            before.name
        ),
        (true, _) => format!("{} is pushed to again", application.name),
        (false, "paused") => format!("{} was paused already: nothing to change", before.name),
        (false, _) => format!("{} is paused; changes wait until it is resumed", application.name),
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn resend(hub: &Hub, out: &Output, app: &str, event: Option<String>) -> Result<ExitCode> {
    let id = find(hub, app).await?.id;
    let resent = hub
        .write_as(caller(), move |tx, ctx| {
            operate::resend(tx, ctx, &id, event.as_deref())
        })
        .await?;
    out.show(&resent, || {
        if resent.queued + resent.refreshed + resent.superseded == 0 {
            return "nothing is set aside: nothing to send again".to_owned();
        }
        format!(
            "sent again as they were: {}; told anew, since later events of the same subject were delivered: {}; with nothing to tell any more: {}",
            resent.queued, resent.refreshed, resent.superseded
        )
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn skip(hub: &Hub, out: &Output, app: &str, event: Option<String>) -> Result<ExitCode> {
    let application = find(hub, app).await?;
    let id = application.id.clone();
    let skipped = hub
        .write_as(caller(), move |tx, ctx| {
            operate::skip(tx, ctx, &id, event.as_deref())
        })
        .await?;
    out.show(&json!({ "skipped": skipped }), || {
        let name = &application.name;
        format!(
            "{skipped} is set aside, and delivery to {name} goes on without it. rollcall app resend {name:?} --event {skipped} sends it, rollcall app dismiss {name:?} --event {skipped} forgets it"
        )
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn dismiss(hub: &Hub, out: &Output, app: &str, event: Option<String>) -> Result<ExitCode> {
    let application = find(hub, app).await?;
    let id = application.id.clone();
    let dismissed = hub
        .write_as(caller(), move |tx, ctx| {
            operate::dismiss(tx, ctx, &id, event.as_deref())
        })
        .await?;
    out.show(&json!({ "dismissed": dismissed }), || match dismissed {
        0 => "nothing is set aside: nothing to dismiss".to_owned(),
        count => format!(
            "{} forgotten. {} may lack what they told until rollcall app sync",
            counted(count.into(), "event"),
            application.name
        ),
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn sync(hub: &Hub, out: &Output, app: &str, detach: bool) -> Result<ExitCode> {
    let application = find(hub, app).await?;
    let id = application.id.clone();
    // Before the job is stored, so that whoever ends this command then is told that the job goes on.
    let mut interrupted = signal(SignalKind::interrupt()).context("Ctrl-C cannot be listened for")?;
    let job_id = hub
        .write_as(caller(), move |tx, ctx| job::request_full(tx, ctx, &id))
        .await?;
    if detach {
        out.show(&json!({ "id": job_id }), || {
            format!("{job_id} is queued; a running hub does it")
        });
        return Ok(ExitCode::SUCCESS);
    }
    let name = &application.name;
    let ended = tokio::select! {
        ended = follow(hub, &job_id, out.json, Some(&application.id)) => ended?,
        _ = interrupted.recv() => Followed::Left {
            job: load(hub, &job_id).await?,
            reason: "it is not waited for any more".to_owned(),
        },
    };
    Ok(match ended {
        Followed::Ended(job) => {
            out.show(&job, || line_of(&job));
            match job.status {
                JobStatus::Success => ExitCode::SUCCESS,
                JobStatus::PartialSuccess => ExitCode::from(IN_PART),
                _ => ExitCode::FAILURE,
            }
        }
        Followed::Left { job, reason } => {
            out.show(&json!({ "job": job, "goesOn": true, "reason": reason }), || {
                format!(
                    "{}\n{reason}\nThe synchronization goes on by itself: rollcall app show {name:?} tells how far it is, rollcall app cancel {name:?} ends it",
                    line_of(&job)
                )
            });
            ExitCode::from(IN_PART)
        }
    })
}

/// How following a job ended.
pub(in crate::cli) enum Followed {
    /// The job has ended.
    Ended(JobPosition),
    /// The job goes on, but nothing is to be expected soon.
    Left {
        /// Where it stands.
        job: JobPosition,
        /// Why it is not waited for, as a sentence.
        reason: String,
    },
}

async fn load(hub: &Hub, job_id: &str) -> Result<JobPosition> {
    let id = job_id.to_owned();
    hub.db
        .read(move |tx| job::load(tx, &id))
        .await?
        .context("the synchronization was deleted with its application")
}

/// Why an application gets nothing at the moment; `None` if it does.
async fn stands_still(hub: &Hub, application_id: &str) -> Result<Option<String>> {
    let id = application_id.to_owned();
    let application = hub.db.read(move |tx| store::load(tx, &id)).await?;
    let name = &application.name;
    Ok(match (&application.suspended, application.synchronize) {
        (_, false) => Some(format!(
            "{name} is paused: rollcall app resume {name:?} pushes to it again"
        )),
        (Some(suspension), true) => Some(format!(
            "{name} is suspended, since it does not take anything: {}. It is asked again at {}; rollcall app test \
             {name:?} tells what is wrong, rollcall app resume {name:?} asks it at once",
            suspension.in_full(),
            time(suspension.next_probe)
        )),
        (None, true) => None,
    })
}

/// The newest request since then, if it failed.
async fn failing(hub: &Hub, application_id: &str, since: i64) -> Result<Option<String>> {
    let id = application_id.to_owned();
    let newest = hub.db.read(move |tx| attempts::newest(tx, &id, 0, 1)).await?;
    let newest = newest.into_iter().map(|(_, attempt)| attempt).next();
    Ok(newest
        .filter(|attempt| attempt.started_at >= since && !attempt.was_received())
        .map(|attempt| {
            let what = attempt.in_full().unwrap_or_else(|| attempt.outcome.clone());
            format!("try {} failed: {what}; it is tried again", attempt.try_number)
        }))
}

/// Shows the progress of a job until it ends. If a hub elsewhere does it, for the application that is named then,
/// it may also stand still.
pub(in crate::cli) async fn follow(
    hub: &Hub,
    job_id: &str,
    hidden: bool,
    elsewhere: Option<&str>,
) -> Result<Followed> {
    let bar = if hidden {
        indicatif::ProgressBar::hidden()
    } else {
        indicatif::ProgressBar::new(0)
    };
    if let Ok(style) = indicatif::ProgressStyle::with_template(
        "  {bar:40} {human_pos} of {human_len}  {per_sec}  {eta} left{msg}",
    ) {
        bar.set_style(style.with_key(
            "per_sec",
            |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
                let _ = write!(w, "{}/s", HumanFloatCount(state.per_sec().round()));
            },
        ));
    }
    let started = hub.clock.now();
    let mut hinted = false;
    let mut told = String::new();
    loop {
        let job = load(hub, job_id).await?;
        if job.statistics.total() > 0 {
            bar.set_length(job.statistics.total());
            bar.set_position(job.statistics.done());
        }
        let skipped = job.statistics.skips.count();
        if skipped > 0 {
            bar.set_message(format!("  {skipped} skipped by the endpoint"));
        }
        if job.is_finished() {
            bar.finish_and_clear();
            return Ok(Followed::Ended(job));
        }
        if let Some(application_id) = elsewhere {
            if let Some(reason) = stands_still(hub, application_id).await? {
                bar.finish_and_clear();
                return Ok(Followed::Left { job, reason });
            }
            if let Some(failed) = failing(hub, application_id, job.created_at).await?
                && failed != told
                && !hidden
            {
                bar.suspend(|| line(&failed));
                told = failed;
            }
            let waits = hub.clock.now() - started > HINT_AFTER;
            if !hinted && job.is_pending() && told.is_empty() && waits && !hidden {
                hinted = true;
                bar.suspend(|| line("still waiting: is a hub running (rollcall serve)?"));
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A job in one line.
pub(super) fn line_of(job: &JobPosition) -> String {
    format!(
        "{}  {}  {}{}",
        job.id,
        job.status.as_str(),
        job.statistics.words(),
        match job.trigger {
            job::Trigger::Manual => "",
            job::Trigger::Retention => "  (it fell behind the log's retention)",
            job::Trigger::Restore => "  (the hub was restored from a backup)",
        }
    )
}

fn with_advice(finding: &Finding) -> String {
    format!("{}\n                  → {}", finding.detail, finding.advice)
}

/// The report of Test Connectivity for people.
pub(in crate::cli) fn lines_of(report: &Report) -> String {
    let mut text = format!("{}\n", report.url);
    for step in &report.steps {
        let (mark, detail) = match &step.result {
            StepResult::Passed { detail } => ("ok  ", detail.clone()),
            StepResult::Skipped { detail } => ("–   ", detail.clone()),
            StepResult::Assumed(finding) => ("?   ", with_advice(finding)),
            StepResult::Failed(finding) => ("FAIL", with_advice(finding)),
        };
        text.push_str(&format!(
            "  {mark} {:<8} {:>7.1} ms  {detail}\n",
            step.name, step.millis
        ));
    }
    text
}
