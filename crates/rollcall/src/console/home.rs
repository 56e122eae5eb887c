//! Home: the state at a glance, and what needs a person.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use rollcall_db::DbError;

use super::Console;
use super::chart::Chart;
use super::error::Failure;
use super::health::{Health, Row, Todo, todo};
use super::live;
use super::page::{Answer, Page, Section, View, show};
use crate::delivery::ledger::leases::{self, NodeInfo};
use crate::delivery::status;

/// How many applications are shown here; the others are on their own page.
const APPLICATIONS: usize = 12;
/// How many things that need a person.
const NEEDS: usize = 20;

/// How many applications stand how.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    all: usize,
    in_step: usize,
}

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    page: Page,
    state: Standing,
}

/// What is sent again when it has changed.
#[derive(Template)]
#[template(path = "home_state.html")]
struct Standing {
    page: Page,
    counts: Counts,
    head: i64,
    rows: Vec<Row>,
    todo: Vec<Todo>,
    todo_left: usize,
    charts: [Chart; 3],
    nodes: Vec<NodeInfo>,
}

async fn state(console: &Console, page: Page) -> Result<Standing, Failure> {
    let ((head, applications), nodes) = console
        .db()
        .read(|tx| Ok::<_, DbError>((status::applications(tx)?, leases::nodes(tx)?)))
        .await?;
    let now = console.now();
    let mut rows: Vec<Row> = applications
        .iter()
        .filter(|status| page.reaches(&status.application.id))
        .map(|status| Row::of(status, now))
        .collect();
    let is_in_step = |row: &&Row| matches!(row.health, Health::InStep { .. });
    let counts = Counts {
        all: rows.len(),
        in_step: rows.iter().filter(is_in_step).count(),
    };
    rows.sort_by_key(|row| row.health.urgency());
    let mut needs: Vec<Todo> = rows.iter().flat_map(|row| todo(row, &page)).collect();
    let todo_left = needs.len().saturating_sub(NEEDS);
    needs.truncate(NEEDS);
    rows.truncate(APPLICATIONS);
    let minutes = console.history.minutes();
    Ok(Standing {
        counts,
        head,
        rows,
        todo: needs,
        todo_left,
        charts: [
            Chart::of("chart-changes", "", &minutes, |minute| minute.changes),
            Chart::of("chart-delivered", "", &minutes, |minute| minute.delivered),
            Chart::of("chart-failed", "bad", &minutes, |minute| minute.failed),
        ],
        nodes,
        page,
    })
}

pub(super) async fn home(view: View) -> Answer {
    let view = view.within(Section::Home);
    let state = state(&view.console, view.page.clone()).await?;
    show(&HomePage {
        page: view.page,
        state,
    })
}

pub(super) async fn home_live(State(console): State<Arc<Console>>, view: View) -> Response {
    let page = view.within(Section::Home).page;
    live::follow(console.ended(), move || {
        let (console, page) = (Arc::clone(&console), page.at(console.now()));
        async move { Ok(state(&console, page).await?.render()?) }
    })
}
