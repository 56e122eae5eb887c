//! What is done to the delivery to an application: test, synchronize, pause and resume, send again, skip,
//! dismiss.

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use indicatif::HumanFloatCount;
use serde::Serialize;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use super::compare;
use crate::application::Application;
use crate::cli::backend::{Backend, Refused, refused};
use crate::cli::failure::Refusal;
use crate::cli::output::{IN_PART, Output, counted, line, time};
use crate::clock::Clock;
use crate::delivery::comparison::Comparison;
use crate::delivery::connectivity::finding::Finding;
use crate::delivery::connectivity::{Report, StepResult};
use crate::delivery::job::{self, JobPosition, JobStatus};

/// After how long without progress it is asked whether a hub runs.
const HINT_AFTER: Duration = Duration::from_secs(3);

/// For how long after Ctrl-C it is looked what goes on. A hub elsewhere may be silent.
const TELL_WITHIN: Duration = Duration::from_secs(5);

/// What Test Connectivity brought, and what is still to be done besides.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tested<'a> {
    #[serde(flatten)]
    report: &'a Report,
    state: &'static str,
    ever_synchronized: bool,
    /// Whether the application was set to what works.
    applied: bool,
}

pub(super) async fn test(
    backend: &Backend,
    out: &Output,
    app: &str,
    (probe, apply): (bool, bool),
) -> Result<ExitCode> {
    let tested = backend.test(app, probe).await?;
    let (report, application) = (tested.report, tested.application);
    let ever_synchronized = tested.ever_synchronized;
    let proposal = report.proposal.as_ref().filter(|_| apply && report.passed);
    if let Some(profile) = proposal {
        backend.take_over(&application.id, profile).await?;
    }
    let tested = Tested {
        report: &report,
        state: application.state(),
        ever_synchronized,
        applied: proposal.is_some(),
    };
    out.show(&tested, || {
        let mut text = lines_of(&report);
        if proposal.is_some() {
            text.push_str(&format!("{} is set to what works\n", application.name));
        }
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

pub(super) async fn cancel(backend: &Backend, out: &Output, app: &str) -> Result<ExitCode> {
    let job = backend.cancel(app).await?;
    out.show(&json!({ "cancelled": job }), || {
        format!("{job} is cancelled; what was sent stays sent")
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn switch(backend: &Backend, out: &Output, app: &str, on: bool) -> Result<ExitCode> {
    let before = backend.application(app).await?;
    let application = backend.switch(&before.id, on).await?;
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

pub(super) async fn resend(
    backend: &Backend,
    out: &Output,
    app: &str,
    event: Option<String>,
) -> Result<ExitCode> {
    let resent = backend.resend(app, event).await?;
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

pub(super) async fn skip(
    backend: &Backend,
    out: &Output,
    app: &str,
    event: Option<String>,
) -> Result<ExitCode> {
    let application = backend.application(app).await?;
    let skipped = backend.skip(&application.id, event).await?;
    out.show(&json!({ "skipped": skipped }), || {
        let name = &application.name;
        format!(
            "{skipped} is set aside, and delivery to {name} goes on without it. rollcall app resend {name:?} --event {skipped} sends it, rollcall app dismiss {name:?} --event {skipped} forgets it"
        )
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn dismiss(
    backend: &Backend,
    out: &Output,
    app: &str,
    event: Option<String>,
) -> Result<ExitCode> {
    let application = backend.application(app).await?;
    let dismissed = backend.dismiss(&application.id, event).await?;
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

pub(super) async fn sync(backend: &Backend, out: &Output, app: &str, detach: bool) -> Result<ExitCode> {
    let application = backend.application(app).await?;
    // Before the job is stored, so that whoever ends this command then is told that the job goes on.
    let mut interrupted = signal(SignalKind::interrupt()).context("Ctrl-C cannot be listened for")?;
    let (job_id, is_left) = ask(backend, &application, &mut interrupted).await?;
    if detach {
        out.show(&json!({ "id": job_id }), || {
            format!("{job_id} is queued; a running hub does it")
        });
        return Ok(ExitCode::SUCCESS);
    }
    wait_for(backend, out, &application, &job_id, (interrupted, is_left)).await
}

/// Waits for a job that was begun, and tells what came of it.
pub(super) async fn follow_job(
    backend: &Backend,
    out: &Output,
    application: &Application,
    job_id: &str,
) -> Result<ExitCode> {
    let interrupted = signal(SignalKind::interrupt()).context("Ctrl-C cannot be listened for")?;
    wait_for(backend, out, application, job_id, (interrupted, false)).await
}

async fn wait_for(
    backend: &Backend,
    out: &Output,
    application: &Application,
    job_id: &str,
    (mut interrupted, is_left): (Signal, bool),
) -> Result<ExitCode> {
    let name = &application.name;
    let followed = follow(
        async || look(backend, &application.id, job_id).await,
        out.json,
        backend.look_every(),
    );
    let left = async {
        if !is_left {
            interrupted.recv().await;
        }
    };
    let ended = tokio::select! {
        biased;
        () = left => left_alone(backend, application, job_id).await,
        ended = followed => ended,
    };
    let ended = match ended {
        Err(error) if refused(&error).is_some_and(Refused::is_without_answer) => {
            let goes_on =
                format!("the synchronization {job_id} goes on by itself, but is not followed any more");
            return Err(error.context(goes_on));
        }
        ended => ended?,
    };
    Ok(match ended {
        Followed::Ended(job) => {
            if !out.json {
                out.show(&job, || line_of(&job));
            }
            let compared = tokio::select! {
                biased;
                _ = interrupted.recv() => None,
                compared = compared(backend, out, application, &job) => compared,
            };
            let done = Synchronized {
                job: &job,
                comparison: compared.as_ref(),
            };
            if out.json || compared.is_some() {
                out.show(&done, || {
                    let text = compared.as_ref().map(|it| compare::lines_after(it, name));
                    text.unwrap_or_default()
                });
            }
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

/// A synchronization that has ended, and the comparison with which it did.
#[derive(Serialize)]
struct Synchronized<'a> {
    #[serde(flatten)]
    job: &'a JobPosition,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<&'a Comparison>,
}

/// The comparison with which a synchronization has ended, if it did with one. It may take as long as the application.
async fn compared(
    backend: &Backend,
    out: &Output,
    application: &Application,
    job: &JobPosition,
) -> Option<Comparison> {
    application.settings.scim()?;
    let bar = match out.json {
        true => indicatif::ProgressBar::hidden(),
        false => indicatif::ProgressBar::new_spinner(),
    };
    bar.set_message(format!("comparing with what {} has", application.name));
    bar.enable_steady_tick(Duration::from_millis(200));
    let compared = compare::after(backend, job, &application.id).await;
    bar.finish_and_clear();
    compared
}

/// Asks for a synchronization. Returns its id, and whether it is not to be waited for.
async fn ask(
    backend: &Backend,
    application: &Application,
    interrupted: &mut Signal,
) -> Result<(String, bool)> {
    let mut asked = pin!(backend.synchronize(&application.id));
    tokio::select! {
        started = &mut asked => Ok((started?, false)),
        _ = interrupted.recv() => match timeout(TELL_WITHIN, asked).await {
            Ok(started) => Ok((started?, true)),
            Err(_) => {
                let name = &application.name;
                bail!(Refusal::of(
                    "cancelled",
                    format!("the hub has not answered yet whether the synchronization of {name} has begun"),
                    format!("rollcall app show {name:?} tells, rollcall app cancel {name:?} ends it"),
                ))
            }
        },
    }
}

/// Where a synchronization stands that is not waited for any more.
async fn left_alone(backend: &Backend, application: &Application, job_id: &str) -> Result<Followed> {
    let Ok(job) = timeout(TELL_WITHIN, backend.job(&application.id, job_id)).await else {
        bail!(Refusal::of(
            "no_answer",
            format!("the synchronization {job_id} goes on by itself; how far it is, the hub does not answer"),
            format!(
                "rollcall app show {:?} tells it once the hub answers",
                application.name
            ),
        ));
    };
    Ok(Followed::Left {
        job: job?,
        reason: "it is not waited for any more".to_owned(),
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

/// What is seen of a job that is followed.
pub(in crate::cli) struct Look {
    pub(in crate::cli) job: JobPosition,
    /// What keeps it from going on, and what to do, if that is looked at.
    pub(in crate::cli) elsewhere: Option<Elsewhere>,
}

/// What is seen of the delivery by a hub that this process is not.
#[derive(Default)]
pub(in crate::cli) struct Elsewhere {
    /// Why the application gets nothing at the moment; `None` if it does.
    stands_still: Option<String>,
    /// The newest request since, if it failed.
    failing: Option<String>,
}

async fn look(backend: &Backend, application_id: &str, job_id: &str) -> Result<Look> {
    let job = backend.job(application_id, job_id).await?;
    let elsewhere = match job.is_finished() {
        true => Elsewhere::default(),
        false => Elsewhere {
            stands_still: stands_still(&backend.application(application_id).await?),
            failing: failing(backend, application_id, job.created_at).await?,
        },
    };
    Ok(Look {
        job,
        elsewhere: Some(elsewhere),
    })
}

/// Why an application gets nothing at the moment; `None` if it does.
fn stands_still(application: &Application) -> Option<String> {
    let name = &application.name;
    match (&application.suspended, application.synchronize) {
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
    }
}

/// The newest request since then, if it failed.
async fn failing(backend: &Backend, application_id: &str, since: i64) -> Result<Option<String>> {
    let newest = backend.newest_attempt(application_id).await?;
    let newest = newest.map(|numbered| numbered.attempt);
    Ok(newest
        .filter(|attempt| attempt.started_at >= since && !attempt.was_received())
        .map(|attempt| {
            let what = attempt.in_full().unwrap_or_else(|| attempt.outcome.clone());
            format!("try {} failed: {what}; it is tried again", attempt.try_number)
        }))
}

/// Shows the progress of a job until it ends. If a hub elsewhere does it, it may also stand still.
pub(in crate::cli) async fn follow(
    look: impl AsyncFn() -> Result<Look>,
    hidden: bool,
    look_every: Duration,
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
    let started = Clock::system().stopwatch();
    let mut hinted = false;
    let mut told = String::new();
    loop {
        let Look { job, elsewhere } = look().await?;
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
        if let Some(Elsewhere {
            stands_still,
            failing,
        }) = elsewhere
        {
            if let Some(reason) = stands_still {
                bar.finish_and_clear();
                return Ok(Followed::Left { job, reason });
            }
            if let Some(failed) = failing
                && failed != told
                && !hidden
            {
                bar.suspend(|| line(&failed));
                told = failed;
            }
            let waits = started.elapsed() > HINT_AFTER;
            if !hinted && job.is_pending() && told.is_empty() && waits && !hidden {
                hinted = true;
                bar.suspend(|| line("still waiting: is a hub running (rollcall serve)?"));
            }
        }
        tokio::time::sleep(look_every).await;
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
            job::Trigger::UnitRenamed => "  (an organizational unit got another name)",
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
