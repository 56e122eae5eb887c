//! Why a user did or did not arrive at an application: what is known, in the reader's language.

use askama::Template;
use axum::extract::Path;

use crate::clock::Millis;
use crate::console::error::Failure;
use crate::console::page::{Answer, Page, Section, View, show};
use crate::delivery::ledger::attempts::Search;
use crate::delivery::model::ParkedState;
use crate::directory::DirectoryError;
use crate::why::{ChangeFate, Fate, Reason, Verdict, Wait, Why, WhyError, why_seen_within};

/// How many requests are looked at to explain one user at one application.
const LOOKED_AT: i64 = 20_000;

/// What became of an event: in a word, when, and what the application said.
pub(in crate::console) struct Outcome {
    pub(in crate::console) tone: &'static str,
    pub(in crate::console) key: &'static str,
    /// The key of what is to be said besides, in our own words.
    pub(in crate::console) reason: Option<&'static str>,
    pub(in crate::console) answer: Option<String>,
    pub(in crate::console) at: Option<Millis>,
}

/// The key of why a change does not concern an application.
fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::AddedLater => "reason-added-later",
        Reason::InScopeAllAlong => "reason-in-scope-all-along",
        Reason::OutOfScope => "reason-out-of-scope",
        Reason::OtherHalf => "reason-other-half",
        Reason::NotSubscribed => "reason-not-subscribed",
        Reason::OwnWrite => "reason-own-write",
    }
}

impl Outcome {
    pub(in crate::console) fn of(fate: &Fate) -> Self {
        let (tone, key, at, answer) = match fate {
            Fate::NotForIt { .. } => ("idle", "fate-not-for-it", None, None),
            Fate::Waiting => ("wait", "fate-waiting", None, None),
            Fate::Delivered { at, .. } => ("good", "fate-delivered", Some(*at), None),
            Fate::Assumed { at, answer } => ("warn", "fate-assumed", Some(*at), Some(answer.clone())),
            Fate::Skipped { at, answer } => ("warn", "fate-skipped", Some(*at), Some(answer.clone())),
            Fate::SentAgain { at, answer, .. } => {
                ("good", "fate-sent-again", Some(*at), Some(answer.clone()))
            }
            Fate::Dismissed { at, answer } => ("bad", "fate-dismissed", Some(*at), Some(answer.clone())),
            Fate::Parked { state, answer, .. } => match state {
                ParkedState::Failed => ("bad", "fate-set-aside", None, Some(answer.clone())),
                ParkedState::Held => ("wait", "fate-held", None, Some(answer.clone())),
                ParkedState::Retrying => ("wait", "fate-retrying", None, Some(answer.clone())),
            },
            Fate::Settled => ("good", "fate-settled", None, None),
        };
        Self {
            tone,
            key,
            reason: match fate {
                Fate::NotForIt { reason: why } => Some(reason(*why)),
                _ => None,
            },
            at,
            answer: answer.filter(|answer| !answer.is_empty()),
        }
    }
}

/// A change of the user, and what became of it at the application.
struct ShownFate {
    change: ChangeFate,
    outcome: Outcome,
}

impl ShownFate {
    fn of(change: ChangeFate) -> Self {
        Self {
            outcome: Outcome::of(&change.fate),
            change,
        }
    }
}

/// Why what is to be sent has not been yet, and what to do.
fn wait(page: &Page, wait: &Wait) -> String {
    match wait {
        Wait::SwitchedOff => page.t("wait-switched-off"),
        Wait::Silent { reason, .. } => page.t1("wait-silent", "reason", reason),
        Wait::Failing(failing) => page.t2("wait-failing", "count", failing.times, "reason", &failing.last),
        Wait::OnItsWay => page.t("wait-on-its-way"),
    }
}

/// What everything comes to: a tone, and a sentence or two with what to do.
fn conclusion(page: &Page, why: &Why) -> (&'static str, String) {
    let name = why.application.as_str();
    let said = |key: &str, answer: &str| page.t2(key, "name", name, "answer", answer);
    let plain = |key: &str| page.t1(key, "name", name);
    match &why.verdict {
        Verdict::Refused { answer } => ("bad", said("verdict-refused", answer)),
        Verdict::Again { answer } => ("warn", said("verdict-again", answer)),
        Verdict::NotSent(what) => {
            let first = page.t("verdict-not-sent");
            ("wait", format!("{first} {}", wait(page, what)))
        }
        Verdict::Skipped { answer } => ("warn", said("verdict-skipped", answer)),
        Verdict::Assumed { answer, .. } => ("warn", said("verdict-assumed", answer)),
        Verdict::Dismissed { answer, .. } => ("bad", said("verdict-dismissed", answer)),
        Verdict::Deleted { was_told: true } => ("good", plain("verdict-deleted")),
        Verdict::Deleted { was_told: false } => ("idle", plain("verdict-never-there")),
        Verdict::OutOfScope => ("idle", plain("verdict-out-of-scope")),
        Verdict::HasAll => ("good", plain("verdict-has-all")),
        Verdict::SentAgain { answer, .. } if answer.is_empty() => ("good", plain("verdict-taken-later")),
        Verdict::SentAgain { answer, .. } => ("good", said("verdict-taken-after", answer)),
        Verdict::Settled => ("good", plain("verdict-settled")),
        Verdict::PushRefused { answer, .. } => ("bad", said("verdict-push-refused", answer)),
        Verdict::Pushed { .. } => ("good", plain("verdict-pushed")),
        Verdict::PushWaits { wait: what, .. } => {
            let first = page.t("verdict-push-waits");
            ("wait", format!("{first} {}", wait(page, what)))
        }
        Verdict::NeverPushed => ("warn", plain("verdict-never-pushed")),
    }
}

#[derive(Template)]
#[template(path = "explain.html")]
struct ExplainPage {
    page: Page,
    name: String,
    tone: &'static str,
    conclusion: String,
    why: Why,
    changes: Vec<ShownFate>,
}

/// How a user stands with an application, change by change.
pub(in crate::console) async fn explain(view: View, Path((user, id)): Path<(String, String)>) -> Answer {
    let view = view.within(Section::Directory);
    let sight = view.sight().await?;
    if !view.visitor.reaches(&id) {
        return Err(Failure::NotFound);
    }
    let now = view.console.now();
    let explained = view
        .console
        .db()
        .read(move |tx| {
            let mut search = Search::of(LOOKED_AT);
            let (user, application) = (format!("id:{user}"), format!("id:{id}"));
            why_seen_within(tx, &mut search, &sight, &user, &application, now)
        })
        .await;
    let mut why = match explained {
        Ok(why) => why,
        Err(WhyError::UnknownUser(_)) => return Err(Failure::NotFound),
        Err(WhyError::Application(error)) => return Err(error.into()),
        Err(WhyError::Directory(DirectoryError::NotFound { .. })) => return Err(Failure::NotFound),
        Err(WhyError::Directory(error)) => return Err(error.into()),
        Err(WhyError::Database(error)) => return Err(error.into()),
        Err(error @ WhyError::SeveralUsers { .. }) => return Err(Failure::Conflict(error.to_string())),
    };
    let changes = std::mem::take(&mut why.changes);
    let (tone, conclusion) = conclusion(&view.page, &why);
    show(&ExplainPage {
        name: why.username.clone().unwrap_or_else(|| why.user_id.clone()),
        tone,
        conclusion,
        changes: changes.into_iter().map(ShownFate::of).collect(),
        why,
        page: view.page,
    })
}
