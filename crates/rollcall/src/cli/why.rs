//! `rollcall why`.

use std::process::ExitCode;

use anyhow::Result;

use super::args;
use super::backend::Backend;
use super::output::{Output, counted, time};
use crate::delivery::ledger::parked::ParkedState;
use crate::why::{Fate, Why, in_words};

pub(super) async fn run(backend: &Backend, out: &Output, question: args::Why) -> Result<ExitCode> {
    let page = backend.why(&question.user, &question.app).await?;
    out.show(&page, || lines_of(&page));
    Ok(ExitCode::SUCCESS)
}

fn lines_of(page: &Why) -> String {
    let mut text = format!(
        "{}.\n\nuser         {} ({}){}\nstands in    {}\napplication  {} ({}), {}\nscope        {}\nin scope by  {}\n",
        page.conclusion,
        page.username.as_deref().unwrap_or("–"),
        page.user_id,
        if page.deleted { ", deleted" } else { "" },
        in_words(&page.stands_in),
        page.application,
        page.application_id,
        page.state,
        in_words(&page.scope),
        in_words(&page.in_scope_through),
    );
    for warning in &page.warnings {
        text.push_str(&format!("warning      {warning}\n"));
    }
    if !page.changes.is_empty() {
        text.push_str("\nchanges of the user, newest first\n");
    }
    for change in &page.changes {
        text.push_str(&format!(
            "{:>8}  {}  {:<28} by {}\n          {}\n",
            change.seq,
            time(change.time),
            change.event.as_deref().unwrap_or(&change.kind),
            change.actor,
            words(&change.fate)
        ));
    }
    if !page.synchronizations.is_empty() {
        text.push_str("\nsynchronizations, newest first\n");
    }
    for job in &page.synchronizations {
        text.push_str(&format!(
            "{}  {}  {}  {}{}\n          {}\n",
            job.job_id,
            time(job.created_at),
            job.status,
            if job.included {
                "the user is part of it"
            } else {
                "without the user"
            },
            job.answer
                .as_ref()
                .map(|answer| format!(", and the endpoint did not take it: {answer}"))
                .unwrap_or_default(),
            job.summary
        ));
    }
    text
}

/// What became of an event.
pub(super) fn words(fate: &Fate) -> String {
    match fate {
        Fate::NotForIt { reason } => format!("not for this application: {}", reason.as_str()),
        Fate::Waiting => "waits for its turn".to_owned(),
        Fate::Delivered { at, try_number: 1 } => format!("accepted at {}", time(*at)),
        Fate::Delivered { at, try_number } => format!("accepted at {}, at try {try_number}", time(*at)),
        Fate::Assumed { at, answer } => format!("sent at {}: {answer}", time(*at)),
        Fate::SentAgain {
            at,
            times,
            answer,
            anew,
        } => {
            let first = match answer.as_str() {
                "" => String::new(),
                answer => format!("not taken at first ({answer}); "),
            };
            let sent = match (anew, times) {
                (true, _) => "what was true by then was told instead".to_owned(),
                (false, 1) => "sent again once".to_owned(),
                (false, more) => format!("sent again {more} times"),
            };
            format!("{first}{sent}, and accepted at {}", time(*at))
        }
        Fate::Dismissed { at, answer } => {
            format!("refused at {} ({answer}), and not sent again", time(*at))
        }
        Fate::Skipped { at, answer } => format!("passed over at {}: {answer}", time(*at)),
        Fate::Parked {
            state,
            attempts,
            answer,
        } => {
            let state = match state {
                ParkedState::Retrying => "is sent again",
                ParkedState::Held => "waits behind an event that is sent again",
                ParkedState::Failed => "SET ASIDE",
            };
            format!("{state}, sent {}: {answer}", counted((*attempts).into(), "time"))
        }
        Fate::Settled => "settled; the requests of that time are not kept any more".to_owned(),
    }
}
