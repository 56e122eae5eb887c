//! The answer in a sentence or two, and what to do.

use super::fate::Fate;
use super::{Failing, Pushed, Why, in_words};
use crate::application::Application;
use crate::clock::{Millis, shown};
use crate::delivery::ledger::parked::ParkedState;

/// What everything that is known comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// The application refused the newest event, which is set aside.
    Refused {
        /// What it said.
        answer: String,
    },
    /// The application asked for the newest event again.
    Again {
        /// What it said.
        answer: String,
    },
    /// The newest change has not been sent yet.
    NotSent(Wait),
    /// The application passed the newest event over.
    Skipped {
        /// What it said.
        answer: String,
    },
    /// The application answered the newest event with 200, and nothing says that it has taken it.
    Assumed {
        /// When.
        at: Millis,
        /// What came instead of an answer.
        answer: String,
    },
    /// The application refused the newest event, and it was not sent again.
    Dismissed {
        /// When it was refused.
        at: Millis,
        /// What the application said.
        answer: String,
    },
    /// The user is deleted.
    Deleted {
        /// Whether there was something to tell the application.
        was_told: bool,
    },
    /// The user is not in scope.
    OutOfScope,
    /// The application has everything.
    #[default]
    HasAll,
    /// The application has everything, and did not take it at first.
    SentAgain {
        /// When it was taken.
        at: Millis,
        /// What the application had said before; empty if that is not kept any more.
        answer: String,
        /// Whether what was true by then was told instead.
        anew: bool,
    },
    /// The application got everything; how, is not kept any more.
    Settled,
    /// A synchronization pushed the user, and the application did not take it.
    PushRefused {
        /// The job.
        job_id: String,
        /// What the application said.
        answer: String,
    },
    /// A synchronization pushed the user.
    Pushed {
        /// The job.
        job_id: String,
    },
    /// A synchronization is to push the user.
    PushWaits {
        /// The job.
        job_id: String,
        /// Why it has not yet.
        wait: Wait,
    },
    /// The user was in scope before the application was there, and nothing was pushed since.
    NeverPushed,
}

/// Why what is to be sent has not been yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Somebody switched the application off.
    SwitchedOff,
    /// The application does not answer.
    Silent {
        /// How it failed.
        reason: String,
        /// When it is asked again.
        next_probe: Millis,
    },
    /// Its requests fail, and it is not suspended yet.
    Failing(Failing),
    /// Nothing is in the way.
    OnItsWay,
}

impl Wait {
    fn of(page: &Why, application: &Application) -> Self {
        match (&application.suspended, application.synchronize, &page.failing) {
            (_, false, _) => Self::SwitchedOff,
            (Some(suspension), true, _) => Self::Silent {
                reason: suspension.in_full(),
                next_probe: suspension.next_probe,
            },
            (None, true, Some(failing)) => Self::Failing(failing.clone()),
            (None, true, None) => Self::OnItsWay,
        }
    }

    fn words(&self, name: &str, now: Millis) -> String {
        match self {
            Self::SwitchedOff => format!(
                "{name} is switched off since an administrator paused it; rollcall app resume pushes again"
            ),
            Self::Silent { reason, next_probe } => format!(
                "{name} does not answer ({reason}); it is asked again at {}, or at once with rollcall app resume",
                shown(*next_probe)
            ),
            Self::Failing(failing) => format!(
                "{name} has {}; rollcall app test {name:?} tells what is wrong",
                failing.words(now)
            ),
            Self::OnItsWay => format!(
                "it is on its way; if it stays so, see whether a hub runs (rollcall doctor) and what rollcall log --app {name:?} shows"
            ),
        }
    }
}

/// What a page comes to.
pub(super) fn conclude(page: &Why, application: &Application) -> Verdict {
    let newest = page
        .changes
        .iter()
        .find(|change| !matches!(change.fate, Fate::NotForIt { .. }));
    let wait = || Wait::of(page, application);
    match newest.map(|change| change.fate.clone()) {
        Some(Fate::Parked {
            state: ParkedState::Failed,
            answer,
            ..
        }) => Verdict::Refused { answer },
        Some(Fate::Parked { answer, .. }) => Verdict::Again { answer },
        Some(Fate::Waiting) => Verdict::NotSent(wait()),
        Some(Fate::Skipped { answer, .. }) => Verdict::Skipped { answer },
        Some(Fate::Assumed { at, answer }) => Verdict::Assumed { at, answer },
        Some(Fate::Dismissed { at, answer }) => Verdict::Dismissed { at, answer },
        newest if page.deleted => Verdict::Deleted {
            was_told: newest.is_some(),
        },
        _ if page.in_scope_through.is_empty() => Verdict::OutOfScope,
        Some(Fate::Delivered { .. }) => Verdict::HasAll,
        Some(Fate::SentAgain { at, answer, anew, .. }) => Verdict::SentAgain { at, answer, anew },
        Some(Fate::Settled) => Verdict::Settled,
        Some(Fate::NotForIt { .. }) | None => {
            let job = page.synchronizations.iter().find(|job| job.included);
            of_push(job, wait)
        }
    }
}

fn of_push(job: Option<&Pushed>, wait: impl FnOnce() -> Wait) -> Verdict {
    let Some(Pushed {
        job_id,
        status,
        answer,
        ..
    }) = job
    else {
        return Verdict::NeverPushed;
    };
    let job_id = job_id.clone();
    match (status.as_ref(), answer) {
        ("success" | "partial_success", Some(answer)) => Verdict::PushRefused {
            job_id,
            answer: answer.clone(),
        },
        ("success" | "partial_success", None) => Verdict::Pushed { job_id },
        ("pending" | "running", _) => Verdict::PushWaits { job_id, wait: wait() },
        _ => Verdict::NeverPushed,
    }
}

impl Verdict {
    /// The same in the words of the command line.
    pub(super) fn words(&self, page: &Why, now: Millis) -> String {
        let name = &page.application;
        match self {
            Self::Refused { answer } => format!(
                "{name} refused the newest event: {answer}. Mend that there, then send it again with rollcall app resend"
            ),
            Self::Again { answer } => {
                format!("{name} asked for the newest event again ({answer}), and it is sent again by itself")
            }
            Self::NotSent(wait) => {
                format!(
                    "The newest change has not been sent yet: {}",
                    wait.words(name, now)
                )
            }
            Self::Skipped { answer } => {
                format!("{name} got the newest event and passed it over: {answer}")
            }
            Self::Assumed { at, answer } => format!(
                "{name} answered the newest event with HTTP 200 at {} ({answer}). Whether it has everything, only its developers can tell; rollcall app test {name:?} says what its answer lacks",
                shown(*at)
            ),
            Self::Dismissed { at, answer } => format!(
                "{name} refused the newest event at {} ({answer}), and it was not sent again: what it told may be missing there. rollcall push {} {name:?} tells what is true now",
                shown(*at),
                page.user_id
            ),
            Self::Deleted { was_told: true } => format!("The user is deleted, and {name} was told so"),
            Self::Deleted { was_told: false } => {
                "The user is deleted, and was never in scope of this application".to_owned()
            }
            Self::OutOfScope => format!(
                "The user is not in scope of {name}: the scope is {}, and the user stands in {}. Change either one",
                in_words(&page.scope),
                in_words(&page.stands_in)
            ),
            Self::HasAll => format!("{name} has everything that it is to have of this user"),
            Self::SentAgain { at, answer, anew } => {
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
            Self::Settled => {
                format!("{name} got everything; the attempts of that time are not kept any more")
            }
            Self::PushRefused { job_id, answer } => format!(
                "{name} got the user by the synchronization {job_id} and did not take it: {answer}. What it skips or refuses there is for its developers to mend; rollcall app sync pushes again"
            ),
            Self::Pushed { job_id } => {
                format!("{name} was pushed the user by the synchronization {job_id}")
            }
            Self::PushWaits { job_id, wait } => {
                format!(
                    "The synchronization {job_id} pushes the user: {}",
                    wait.words(name, now)
                )
            }
            Self::NeverPushed => format!(
                "The user was in scope before {name} was there, and nothing was pushed since: run rollcall app sync {name:?}"
            ),
        }
    }
}
