//! The list of connections.

use askama::Template;
use axum::extract::Query;
use serde::Deserialize;

use crate::access::Permission;
use crate::clock::Millis;
use crate::connection::{self, Connection};
use crate::console::page::{Answer, Page, Section, View, address, show};
use crate::directory::fields::fold;
use crate::directory::view;
use rollcall_db::DbError;

/// How many a page has.
const ON_A_PAGE: usize = 50;

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    search: String,
    /// The name of the last one of the page before.
    #[serde(default)]
    after: String,
}

/// Whether a connection is used, as a badge: tone and words.
pub(super) fn state(connection: &Connection, now: Millis) -> (&'static str, &'static str) {
    let mut good = connection.tokens.iter().filter(|token| token.is_good(now));
    if connection.disabled {
        return ("idle", "connection-disabled");
    }
    match (good.next(), last_used(connection)) {
        (None, _) => ("warn", "connection-no-token"),
        (Some(_), None) => ("wait", "connection-unused"),
        (Some(_), Some(_)) => ("good", "connection-in-use"),
    }
}

/// When its other end last asked for something, as far as its tokens tell.
fn last_used(connection: &Connection) -> Option<Millis> {
    connection.tokens.iter().filter_map(|token| token.last_used).max()
}

struct Row {
    id: String,
    name: String,
    state: (&'static str, &'static str),
    last_used: Option<Millis>,
    unit: String,
}

#[derive(Template)]
#[template(path = "connections.html")]
struct ConnectionsPage {
    page: Page,
    search: String,
    rows: Vec<Row>,
    is_empty: bool,
    next: Option<String>,
    is_first: bool,
}

pub(super) async fn list(view: View, Query(wanted): Query<Wanted>) -> Answer {
    let view = view.within(Section::Connections);
    view.needs(Permission::ReadAccess)?;
    let (mut connections, paths) = view
        .console
        .db()
        .read(|tx| {
            let connections = connection::list(tx)?;
            let units: Vec<String> = connections
                .iter()
                .map(|connection| connection.organizational_unit_id.clone())
                .collect();
            Ok::<_, DbError>((connections, view::unit_paths(tx, &units)?))
        })
        .await?;
    // Databases differ in what they take for the order of names.
    connections.sort_by_cached_key(|connection| fold(&connection.name));
    let now = view.console.now();
    let (text, after) = (fold(&wanted.search), fold(&wanted.after));
    let is_empty = connections.is_empty();
    let mut rows: Vec<Row> = connections
        .into_iter()
        .filter(|connection| fold(&connection.name).contains(&text))
        .filter(|connection| after.is_empty() || fold(&connection.name) > after)
        .take(ON_A_PAGE + 1)
        .map(|connection| Row {
            state: state(&connection, now),
            last_used: last_used(&connection),
            unit: paths
                .get(&connection.organizational_unit_id)
                .map_or_else(String::new, |path| format!("/{path}")),
            id: connection.id,
            name: connection.name,
        })
        .collect();
    let has_more = rows.len() > ON_A_PAGE;
    rows.truncate(ON_A_PAGE);
    let next = rows.last().filter(|_| has_more).map(|last| {
        let query = [("search", wanted.search.as_str()), ("after", &last.name)];
        address("/console/connections", &query)
    });
    show(&ConnectionsPage {
        is_empty,
        is_first: wanted.after.is_empty(),
        search: wanted.search,
        rows,
        next,
        page: view.page,
    })
}
