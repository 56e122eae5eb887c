//! The answer in a sentence or two, and what to do.

use super::fate::Fate;
use super::{Pushed, Why};
use crate::application::Application;
use crate::clock::{Millis, shown};
use crate::delivery::ledger::parked::ParkedState;

/// Why what is to be sent has not been yet.
fn waits(page: &Why, application: &Application, now: Millis) -> String {
    let name = &page.application;
    match (&application.suspended, application.synchronize, &page.failing) {
        (_, false, _) => format!(
            "{name} is switched off since an administrator paused it; rollcall app resume pushes again"
        ),
        (Some(suspension), true, _) => format!(
            "{name} does not answer ({}); it is asked again at {}, or at once with rollcall app resume",
            suspension.in_full(),
            shown(suspension.next_probe)
        ),
        (None, true, Some(failing)) => format!(
            "{name} has {}; rollcall app test {name:?} tells what is wrong",
            failing.words(now)
        ),
        (None, true, None) => format!(
            "it is on its way; if it stays so, see whether a hub runs (rollcall doctor) and what rollcall log --app {name:?} shows"
        ),
    }
}

pub(super) fn conclude(page: &Why, application: &Application, now: Millis) -> String {
    let name = &page.application;
    let newest = page
        .changes
        .iter()
        .find(|change| !matches!(change.fate, Fate::NotForIt { .. }));
    let waits = waits(page, application, now);
    match newest.map(|change| &change.fate) {
        Some(Fate::Parked {
            state: ParkedState::Failed,
            answer,
            ..
        }) => format!(
            "{name} refused the newest event: {answer}. Mend that there, then send it again with rollcall app resend"
        ),
        Some(Fate::Parked { answer, .. }) => {
            format!("{name} asked for the newest event again ({answer}), and it is sent again by itself")
        }
        Some(Fate::Waiting) => format!("The newest change has not been sent yet: {waits}"),
        Some(Fate::Skipped { answer, .. }) => {
            format!("{name} got the newest event and passed it over: {answer}")
        }
        Some(Fate::Assumed { at, answer }) => format!(
            "{name} answered the newest event with HTTP 200 at {} ({answer}). Whether it has everything, only its developers can tell; rollcall app test {name:?} says what its answer lacks",
            shown(*at)
        ),
        Some(Fate::Dismissed { at, answer }) => format!(
            "{name} refused the newest event at {} ({answer}), and it was not sent again: what it told may be missing there. rollcall push {} {name:?} tells what is true now",
            shown(*at),
            page.user_id
        ),
        _ if page.deleted => match newest.map(|change| &change.fate) {
            Some(_) => format!("The user is deleted, and {name} was told so"),
            None => "The user is deleted, and was never in scope of this application".to_owned(),
        },
        _ if page.in_scope_through.is_empty() => format!(
            "The user is not in scope of {name}: the scope is {}, and the user stands in {}. Change either one",
            page.scope.join(", "),
            page.stands_in.join(", ")
        ),
        Some(Fate::Delivered { .. }) => format!("{name} has everything that it is to have of this user"),
        Some(Fate::SentAgain { at, answer, anew, .. }) => {
            let first = match answer.as_str() {
                "" => "did not take the newest event at first".to_owned(),
                answer => format!("did not take the newest event at first ({answer})"),
            };
            let then = match anew {
                true => "took what was told instead of it",
                false => "took it when it was sent again",
            };
            format!(
                "{name} {first} and {then}, at {}: it has everything that it is to have of this user",
                shown(*at)
            )
        }
        Some(Fate::Settled) => {
            format!("{name} got everything; the attempts of that time are not kept any more")
        }
        Some(Fate::NotForIt { .. }) | None => {
            let pushed = page.synchronizations.iter().find(|job| job.included);
            match pushed {
                Some(Pushed {
                    job_id,
                    status: "success" | "partial_success",
                    answer: Some(answer),
                    ..
                }) => format!(
                    "{name} got the user by the synchronization {job_id} and did not take it: {answer}. What it skips or refuses there is for its developers to mend; rollcall app sync pushes again"
                ),
                Some(job) if job.status == "success" || job.status == "partial_success" => {
                    format!("{name} was pushed the user by the synchronization {}", job.job_id)
                }
                Some(job) if job.status == "pending" || job.status == "running" => {
                    format!("The synchronization {} pushes the user: {waits}", job.job_id)
                }
                _ => format!(
                    "The user was in scope before {name} was there, and nothing was pushed since: run rollcall app sync {name:?}"
                ),
            }
        }
    }
}
