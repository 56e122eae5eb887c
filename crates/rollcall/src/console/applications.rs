//! The list of applications.

use askama::Template;
use axum::extract::Query;
use serde::Deserialize;

use super::health::Row;
use super::page::{Answer, Page, Section, View, address, show};
use crate::delivery::status;
use crate::directory::fields::fold;

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

#[derive(Template)]
#[template(path = "applications.html")]
struct ApplicationsPage {
    page: Page,
    search: String,
    rows: Vec<Row>,
    is_empty: bool,
    next: Option<String>,
    is_first: bool,
}

pub(super) async fn list(view: View, Query(wanted): Query<Wanted>) -> Answer {
    let view = view.within(Section::Applications);
    let (_, mut applications) = view.console.db().read(status::applications).await?;
    // Databases differ in what they take for the order of names.
    applications.sort_by_cached_key(|status| fold(&status.application.name));
    let now = view.console.now();
    let (text, after) = (fold(&wanted.search), fold(&wanted.after));
    let of_visitor = || {
        applications
            .iter()
            .filter(|status| view.visitor.reaches(&status.application.id))
    };
    let mut rows: Vec<Row> = of_visitor()
        .filter(|status| fold(&status.application.name).contains(&text))
        .filter(|status| after.is_empty() || fold(&status.application.name) > after)
        .take(ON_A_PAGE + 1)
        .map(|status| Row::of(status, now))
        .collect();
    let has_more = rows.len() > ON_A_PAGE;
    rows.truncate(ON_A_PAGE);
    let next = rows.last().filter(|_| has_more).map(|last| {
        let query = [("search", wanted.search.as_str()), ("after", &last.name)];
        address("/console/applications", &query)
    });
    show(&ApplicationsPage {
        is_empty: of_visitor().next().is_none(),
        is_first: wanted.after.is_empty(),
        search: wanted.search,
        rows,
        next,
        page: view.page,
    })
}
