//! Home: the state at a glance, and what needs a person.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use rollcall_db::DbError;

use super::Console;
use super::chart::Chart;
use super::error::Failure;
use super::health::{Health, Row, Todo, needs, todo};
use super::live;
use super::page::{Answer, Page, Section, View, show};
use crate::change::Seq;
use crate::delivery::ledger::leases::{self, NodeInfo};
use crate::delivery::status::{self, ApplicationStatus};

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

/// What the database says of everything, of which everybody is shown a part.
pub(super) struct Everything {
    head: Seq,
    applications: Vec<ApplicationStatus>,
    nodes: Vec<NodeInfo>,
}

impl Everything {
    async fn read(console: &Console) -> Result<Arc<Self>, Failure> {
        let ((head, applications), nodes) = console
            .db()
            .read(|tx| Ok::<_, DbError>((status::applications(tx)?, leases::nodes(tx)?)))
            .await?;
        Ok(Arc::new(Self {
            head,
            applications,
            nodes,
        }))
    }
}

fn state(console: &Console, page: Page, everything: &Everything) -> Standing {
    let now = console.now();
    let mut rows: Vec<Row> = everything
        .applications
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
    let all_needs = || {
        rows.iter()
            .flat_map(|row| needs(row).map(move |need| (row, need)))
    };
    let todo_left = all_needs().count().saturating_sub(NEEDS);
    let todo = all_needs()
        .take(NEEDS)
        .map(|(row, need)| todo(row, need, &page))
        .collect();
    rows.truncate(APPLICATIONS);
    let minutes = console.history.minutes();
    Standing {
        counts,
        head: everything.head,
        rows,
        todo,
        todo_left,
        charts: [
            Chart::of("chart-changes", "", &minutes, |minute| minute.changes),
            Chart::of("chart-delivered", "", &minutes, |minute| minute.delivered),
            Chart::of("chart-failed", "bad", &minutes, |minute| minute.failed),
        ],
        nodes: everything.nodes.clone(),
        page,
    }
}

pub(super) async fn home(view: View) -> Answer {
    let view = view.within(Section::Home);
    let everything = Everything::read(&view.console).await?;
    // Whoever goes on to follow it sees nothing older.
    view.console.everything.put(Arc::clone(&everything)).await;
    let state = state(&view.console, view.page.clone(), &everything);
    show(&HomePage {
        page: view.page,
        state,
    })
}

pub(super) async fn home_live(State(console): State<Arc<Console>>, view: View) -> Response {
    let page = view.within(Section::Home).page;
    live::follow(console, move |console| {
        let page = page.at(console.now());
        async move {
            // Many who watch cost the database as much as one.
            let everything = console.everything.get(Everything::read(&console)).await?;
            Ok(state(&console, page, &everything).render()?)
        }
    })
}
