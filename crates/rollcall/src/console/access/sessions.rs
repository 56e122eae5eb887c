//! One's own sessions: where one has signed in, and the end of that.

use askama::Template;

use crate::access::Permission;
use crate::accounts::sessions::{self, Session};
use crate::accounts::{AccountError, Command};
use crate::console::error::Failure;
use crate::console::form::{Posted, done};
use crate::console::page::{Answer, Page, View, show};

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPage {
    page: Page,
    /// Each with whether it is the one that looks.
    sessions: Vec<(Session, bool)>,
}

/// One's own sessions, the newest first, and the id of the one that looks.
async fn own(view: &View) -> Result<(Vec<Session>, String, String), Failure> {
    view.needs(Permission::OwnAccount)?;
    let (account, session) = view.visitor.access().session().ok_or(Failure::Forbidden)?;
    let (account_id, id) = (account.id.clone(), session.id.clone());
    let (now, lifetime) = (view.console.now(), view.console.api.sign_in.lifetime());
    let read = {
        let account_id = account_id.clone();
        view.console
            .db()
            .read(move |tx| sessions::list(tx, Some(&account_id), now, lifetime))
    };
    Ok((read.await?, account_id, id))
}

pub(in crate::console) async fn list(view: View) -> Answer {
    let (sessions, _, here) = own(&view).await?;
    show(&SessionsPage {
        page: view.page,
        sessions: sessions
            .into_iter()
            .map(|session| {
                let is_here = session.id == here;
                (session, is_here)
            })
            .collect(),
    })
}

/// Ends the session whose button was pressed, or all but the one that asks.
pub(in crate::console) async fn end(posted: Posted) -> Answer {
    let (sessions, account_id, here) = own(&posted.view).await?;
    let wanted = posted.form.value("session");
    let is_meant = |id: &str| {
        if wanted.is_empty() {
            id != here
        } else {
            id == wanted
        }
    };
    let hub = posted.view.console.hub();
    for session in sessions.into_iter().filter(|session| is_meant(&session.id)) {
        let command = Command::EndSession {
            id: session.id,
            account_id: account_id.clone(),
        };
        match hub.apply_account(posted.view.visitor.caller(), command).await {
            // It may have ended by itself in the meantime.
            Ok(_) | Err(AccountError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match wanted == here {
        true => Ok(axum::response::IntoResponse::into_response(
            axum::response::Redirect::to("/console/sign-in"),
        )),
        false => done("/console/sessions", "sessions-ended"),
    }
}
