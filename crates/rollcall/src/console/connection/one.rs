//! One connection: where its other end finds the hub, its tokens, what is set, what came from it, and what to enter at
//! its other end.

use std::collections::HashMap;

use askama::Template;
use axum::extract::Path;
use rollcall_db::DbError;

use super::Owned;
use super::list::state;
use super::steps::Steps;
use crate::access::Permission;
use crate::accounts;
use crate::clock::Millis;
use crate::connection::tokens::{AT_ONCE, ConnectionToken};
use crate::connection::{self, Command, Connection, ConnectionChanges, TakesOver};
use crate::console::form::{Posted, done};
use crate::console::page::{Answer, Page, Section, View, show};
use crate::directory::view;
use crate::instance;

struct ShownToken {
    token: ConnectionToken,
    maker: String,
    is_good: bool,
}

impl ShownToken {
    fn of(token: ConnectionToken, makers: &HashMap<String, String>, now: Millis) -> Self {
        Self {
            maker: accounts::called(&token.created_by, makers).to_owned(),
            is_good: token.is_good(now),
            token,
        }
    }
}

#[derive(Template)]
#[template(path = "connection.html")]
struct ConnectionPage {
    page: Page,
    connection: Connection,
    state: (&'static str, &'static str),
    address: String,
    /// Whether its other end can be expected to ask there: large identity providers take addresses of HTTPS alone.
    is_encrypted: bool,
    tokens: Vec<ShownToken>,
    /// Whether it may have one more token.
    may_have_token: bool,
    unit: String,
    takes_over: &'static str,
    /// The fields that are set, and the expressions by which they are.
    mapping: Vec<(String, String)>,
    owned: Owned,
    steps: Steps,
}

pub(super) fn takes_over(how: TakesOver) -> &'static str {
    match how {
        TakesOver::Never => "takes-over-never",
        TakesOver::Username => "takes-over-username",
        TakesOver::Email => "takes-over-email",
    }
}

pub(super) async fn show_one(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Connections);
    view.needs(Permission::ReadAccess)?;
    let connection = super::subject(&view, &id).await?;
    let (id, units) = (connection.id.clone(), [connection.organizational_unit_id.clone()]);
    let (serving, makers, paths, owned) = view
        .console
        .db()
        .read(move |tx| {
            let owned = Owned::of(tx, &id)?;
            let paths = view::unit_paths(tx, &units)?;
            Ok::<_, DbError>((instance::serving(tx)?, accounts::names(tx)?, paths, owned))
        })
        .await?;
    let now = view.console.now();
    let address = instance::scim_address(serving.as_ref(), &connection.id);
    let good = connection.tokens.iter().filter(|token| token.is_good(now));
    let unit = paths.get(&connection.organizational_unit_id);
    show(&ConnectionPage {
        state: state(&connection, now),
        is_encrypted: address.starts_with("https://"),
        may_have_token: good.count() < AT_ONCE,
        tokens: connection
            .tokens
            .iter()
            .map(|token| ShownToken::of(token.clone(), &makers, now))
            .collect(),
        unit: unit.map_or_else(String::new, |path| format!("/{path}")),
        takes_over: takes_over(connection.takes_over),
        mapping: connection::expressions(&connection.mapping)
            .into_iter()
            .map(|(target, expression)| (target.to_owned(), expression.to_owned()))
            .collect(),
        steps: Steps::of(&connection, &address, now),
        owned,
        address,
        connection,
        page: view.page,
    })
}

/// Lets its other end ask, or not.
async fn set_disabled(posted: Posted, id: String, disabled: bool, what: &str) -> Answer {
    posted.view.needs(Permission::ManageAccess)?;
    let path = format!("/console/connections/{id}");
    let changes = ConnectionChanges {
        disabled: Some(disabled),
        ..ConnectionChanges::default()
    };
    let hub = posted.view.console.hub();
    hub.apply_connection(posted.caller(), Command::Update { id, changes })
        .await?;
    done(&path, what)
}

pub(super) async fn enable(Path(id): Path<String>, posted: Posted) -> Answer {
    set_disabled(posted, id, false, "connection-enabled").await
}

pub(super) async fn disable(Path(id): Path<String>, posted: Posted) -> Answer {
    set_disabled(posted, id, true, "connection-disabled").await
}
