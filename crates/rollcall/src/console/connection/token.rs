//! Tokens of a connection: making one, which is shown once, and making one good for nothing.

use askama::Template;
use axum::extract::Path;

use crate::access::Permission;
use crate::connection::tokens::{ConnectionToken, DAYS, NewConnectionToken};
use crate::connection::{Command, Connection, ConnectionError};
use crate::console::access::{EXPIRES, term_in};
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::once::ShownOnce;
use crate::console::page::{Answer, Page, Section, View, show};

#[derive(Template)]
#[template(path = "connection_token_form.html")]
struct TokenFormPage {
    page: Page,
    form: Filled,
    connection: Connection,
}

pub(super) async fn new(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Connections);
    view.needs(Permission::ManageAccess)?;
    let connection = super::subject(&view, &id).await?;
    show(&TokenFormPage {
        form: Filled::with(&[(EXPIRES, &DAYS.to_string())]),
        connection,
        page: view.page,
    })
}

pub(super) async fn create(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ManageAccess)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Connections);
    let connection = super::subject(&view, &id).await?;
    let term = term_in(&mut form, &view.page);
    if !form.is_refused() {
        let hub = view.console.hub();
        let (id, now) = (connection.id.clone(), hub.clock.now());
        let making = match NewConnectionToken::generate(id, term, now, &*hub.random) {
            Ok((new, secret)) => hub
                .apply_connection(caller, Command::CreateToken(new))
                .await
                .map(|_| secret),
            Err(error) => Err(error),
        };
        match making {
            Ok(secret) => {
                let page = view.page;
                return show(&ShownOnce {
                    title: page.t1("once-connection-token-title", "name", &connection.name),
                    lead: page.t("once-connection-token-lead"),
                    label: page.t("once-token-label"),
                    secret,
                    beside: None,
                    back: format!("/console/connections/{}", connection.id),
                    page,
                });
            }
            Err(ConnectionError::InvalidField { .. }) => form.refuse(EXPIRES, view.page.t("rule-days")),
            Err(ConnectionError::TooManyTokens(_)) => form.warn(view.page.t("connection-tokens-full")),
            Err(error) => return Err(error.into()),
        }
    }
    again(&TokenFormPage {
        page: view.page,
        form,
        connection,
    })
}

#[derive(Template)]
#[template(path = "connection_token_revoke.html")]
struct RevokePage {
    page: Page,
    connection: Connection,
    token: ConnectionToken,
    /// Whether another one is good then.
    is_last: bool,
}

pub(super) async fn revoke_page(view: View, Path((id, token_id)): Path<(String, String)>) -> Answer {
    let view = view.within(Section::Connections);
    view.needs(Permission::ManageAccess)?;
    let connection = super::subject(&view, &id).await?;
    let now = view.console.now();
    let (of_it, others): (Vec<_>, Vec<_>) = connection
        .tokens
        .iter()
        .cloned()
        .partition(|token| token.id == token_id);
    let token = of_it.into_iter().next().ok_or(Failure::NotFound)?;
    show(&RevokePage {
        is_last: !others.iter().any(|other| other.is_good(now)),
        token,
        connection,
        page: view.page,
    })
}

pub(super) async fn revoke(Path((id, token_id)): Path<(String, String)>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ManageAccess)?;
    let path = format!("/console/connections/{id}");
    let command = Command::RevokeToken {
        connection_id: id,
        id: token_id,
    };
    let hub = posted.view.console.hub();
    match hub.apply_connection(posted.caller(), command).await {
        // Somebody else was faster, and it is what was wanted.
        Ok(_) | Err(ConnectionError::NoToken { .. }) => done(&path, "connection-token-revoked"),
        Err(error) => Err(error.into()),
    }
}
