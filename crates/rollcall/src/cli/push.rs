//! `rollcall push`: one user to one application, now, step by step.
//!
//! The event is parked ahead of everything else and sent by the hub that delivers to the application. What
//! became of it is read from the ledger: the event is parked as long as it is not settled, and the requests
//! since tell what was said.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use super::args;
use super::backend::{Backend, Look, Pushed};
use super::output::{IN_PART, Output, line, time};
use crate::clock::Clock;
use crate::delivery::ledger::parked::ParkedState;
use crate::delivery::model::Attempt;
use crate::why::{Why, in_words};

/// A step and what came of it.
#[derive(Debug, Serialize)]
struct Step {
    /// `found`, `scope`, `event`, `sent` or `answered`.
    name: &'static str,
    passed: bool,
    detail: String,
}

/// The steps, which are shown as they are taken.
struct Steps<'a> {
    out: &'a Output,
    taken: Vec<Step>,
}

impl Steps<'_> {
    fn take(&mut self, name: &'static str, passed: bool, detail: String) {
        if !self.out.json {
            let mark = if passed { "ok  " } else { "FAIL" };
            line(&format!("  {mark} {name:<8}  {detail}"));
        }
        self.taken.push(Step { name, passed, detail });
    }

    /// Tells how it ended.
    fn end(self, events: &[String]) -> ExitCode {
        let accepted = self.taken.iter().all(|step| step.passed);
        if self.out.json {
            let shown = json!({ "accepted": accepted, "events": events, "steps": self.taken });
            self.out.show(&shown, String::new);
        }
        match accepted {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(IN_PART),
        }
    }
}

pub(super) async fn run(backend: &Backend, out: &Output, wanted: args::Push) -> Result<ExitCode> {
    let application = backend.application(&wanted.app).await?;
    let page = backend.why(&wanted.user, &application.id).await?;
    let mut steps = Steps {
        out,
        taken: Vec::new(),
    };
    let mut who = match &page.username {
        Some(username) => format!("{username} ({})", page.user_id),
        None => page.user_id.clone(),
    };
    if page.deleted {
        who.push_str(", who was deleted");
    }
    steps.take("found", true, who);

    let last = backend.newest_attempt(&application.id).await?;
    let last = last.map_or(0, |newest| newest.number);
    let events = match backend.push(&application.id, &page.user_id).await? {
        Pushed::Events(events) => events,
        Pushed::NotInScope => {
            steps.take("scope", false, out_of_scope(&page));
            return Ok(steps.end(&[]));
        }
        Pushed::NotSubscribed(why) => {
            steps.take("scope", true, in_scope(&page));
            steps.take(
                "event",
                false,
                format!("{why}; rollcall app subscription changes that"),
            );
            return Ok(steps.end(&[]));
        }
    };
    steps.take("scope", true, in_scope(&page));
    watch(backend, &mut steps, &application.id, &events, last, &wanted).await?;
    Ok(steps.end(&events))
}

fn in_scope(page: &Why) -> String {
    match page.in_scope_through.as_slice() {
        [] => format!("was in scope of {}, and is not any more", page.application),
        through => format!("in scope of {} through {}", page.application, in_words(through)),
    }
}

fn out_of_scope(page: &Why) -> String {
    let stands = match page.stands_in.as_slice() {
        [] => "nowhere".to_owned(),
        places => format!("in {}", in_words(places)),
    };
    format!(
        "not in scope of {}, and never was: the scope is {}, and the user stands {stands}. rollcall app scope changes the scope",
        page.application,
        in_words(&page.scope)
    )
}

/// The type of an event, wherever it is by now.
fn kind_of<'a>(look: &'a Look, event_id: &str) -> Option<&'a str> {
    let sent = look.requests.iter().flat_map(|request| &request.carried);
    let sent = sent.into_iter().find(|carried| carried.event_id == event_id);
    let parked = look.parked.as_ref().map(|parked| parked.event_type.short());
    parked.or_else(|| sent.map(|carried| carried.event_type.as_str()))
}

/// Follows the event until it is settled, refused, or nothing more is to be expected for now.
async fn watch(
    backend: &Backend,
    steps: &mut Steps<'_>,
    application_id: &str,
    events: &[String],
    last: i64,
    wanted: &args::Push,
) -> Result<()> {
    let Some(event_id) = events.first() else {
        return Ok(());
    };
    let watch = Clock::system().stopwatch();
    let bar = match steps.out.json {
        true => indicatif::ProgressBar::hidden(),
        false => indicatif::ProgressBar::new_spinner(),
    };
    let mut told = false;
    let ended = loop {
        let look = backend.look_for(application_id, event_id, last).await?;
        if !told {
            told = true;
            let kind = kind_of(&look, event_id)
                .map(|kind| format!("  {kind}"))
                .unwrap_or_default();
            steps.take("event", true, format!("{event_id}{kind}"));
        }
        if let Some(steps) = outcome(&look, event_id) {
            break steps;
        }
        let waits = match &look.parked {
            Some(parked) if parked.state == ParkedState::Held => {
                "waits behind an event of this user that is sent again"
            }
            _ => "waits to be sent",
        };
        bar.set_message(waits);
        bar.tick();
        if watch.elapsed() > Duration::from_secs(wanted.wait) {
            let detail = format!(
                "not within {} s: it {waits}. A hub has to run (rollcall serve; rollcall doctor looks); the event \
                 stays and is sent by itself",
                wanted.wait
            );
            break vec![("sent", false, detail)];
        }
        tokio::time::sleep(backend.look_every()).await;
    };
    bar.finish_and_clear();
    for (name, passed, detail) in ended {
        steps.take(name, passed, detail);
    }
    Ok(())
}

/// The last steps, once there is something to tell.
fn outcome(look: &Look, event_id: &str) -> Option<Vec<(&'static str, bool, String)>> {
    let name = &look.application.name;
    let received = look.requests.iter().rfind(|request| request.was_received());
    let Some(parked) = &look.parked else {
        let Some(request) = received else {
            let detail = "it was taken back by an administrator, or went with the user's erasure".to_owned();
            return Some(vec![("sent", false, detail)]);
        };
        let exception = request.exceptions.iter().find(|it| it.event_id == event_id);
        return Some(match exception {
            Some(exception) if exception.result == "skipped" => {
                let said = exception.message.as_deref().unwrap_or_default();
                let said = format!("{name} passed it over: {} {said}", exception.code);
                vec![sent(request), ("answered", false, said.trim_end().to_owned())]
            }
            _ if request.result_of(event_id) == "assumed" => {
                let what = request.detail.as_deref().unwrap_or("the answer does not name it");
                let said = format!("HTTP 200, which counts as received ({what})");
                vec![sent(request), ("answered", true, said)]
            }
            _ => vec![sent(request), ("answered", true, format!("{name} accepted it"))],
        });
    };
    let said = || {
        let said = [parked.code.as_deref(), parked.message.as_deref()];
        said.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    let with_request = |detail: String| {
        let request = look.requests.last().map(sent);
        request
            .into_iter()
            .chain([("answered", false, detail)])
            .collect::<Vec<_>>()
    };
    if parked.state == ParkedState::Failed {
        return Some(with_request(format!(
            "{name} refused it: {}. It is set aside; rollcall app resend sends it again",
            said()
        )));
    }
    if parked.attempts > 0 {
        return Some(with_request(format!(
            "{name} wants it again ({}); it is sent again by itself",
            said()
        )));
    }
    if !look.application.synchronize {
        let detail = format!("{name} is paused; rollcall app resume sends it");
        return Some(vec![("sent", false, detail)]);
    }
    if let Some(suspension) = &look.application.suspended {
        let detail = format!(
            "{name} is suspended, since it does not answer: {}. It is asked again at {}, or at once with rollcall app resume; the event stays and is sent then",
            suspension.in_full(),
            time(suspension.next_probe)
        );
        return Some(vec![("sent", false, detail)]);
    }
    let request = look.requests.last().filter(|request| !request.was_received())?;
    Some(with_request(format!(
        "{}; it is sent again by itself",
        request.in_full().unwrap_or_else(|| request.outcome.clone())
    )))
}

fn sent(request: &Attempt) -> (&'static str, bool, String) {
    let millis = f64::from(u32::try_from(request.latency_us).unwrap_or(u32::MAX)) / 1_000.0;
    let came = match request.http_status {
        Some(status) => format!("HTTP {status} after {millis:.1} ms"),
        None => format!("no answer, given up after {millis:.1} ms"),
    };
    ("sent", true, format!("{}, {came}", time(request.started_at)))
}
