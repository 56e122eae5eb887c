//! What a connection changed of late: when each change was accepted here, and when each application had it.

use askama::Template;
use axum::extract::{Path, Query};
use serde::Deserialize;

use crate::access::Permission;
use crate::clock::Millis;
use crate::connection;
use crate::console::directory::{Outcome, in_words};
use crate::console::error::Failure;
use crate::console::page::{Answer, Page, Section, View, address, show};
use crate::why::{self, Arrived, RECENT, RecentChange};
use rollcall_db::DbError;

#[derive(Deserialize)]
pub(super) struct Wanted {
    /// The position before which the page ends.
    before: Option<i64>,
}

/// A change at one application, as it is shown.
struct ShownArrival {
    id: String,
    name: String,
    outcome: Outcome,
    took: Option<Millis>,
}

impl ShownArrival {
    fn of(arrived: Arrived) -> Self {
        Self {
            outcome: Outcome::of(&arrived.fate),
            took: arrived.took,
            id: arrived.application_id,
            name: arrived.application,
        }
    }
}

/// A change, at those applications that get it, and at those that it does not concern.
struct ShownChange {
    time: Millis,
    kind: String,
    /// The same in words.
    words: Option<&'static str>,
    name: String,
    link: Option<String>,
    /// The user's id, of whom is told more at each application.
    user: Option<String>,
    told: Vec<ShownArrival>,
    untold: Vec<ShownArrival>,
}

impl ShownChange {
    fn of(change: RecentChange) -> Self {
        let id = change.subject_id;
        let is_user = change.subject_kind == "user";
        let (told, untold) = change
            .applications
            .into_iter()
            .partition::<Vec<Arrived>, _>(|arrived| arrived.event.is_some());
        let shown = |all: Vec<Arrived>| all.into_iter().map(ShownArrival::of).collect();
        Self {
            time: change.time,
            words: in_words(&change.kind),
            kind: change.kind.into_owned(),
            name: change.name.unwrap_or_else(|| id.clone()),
            link: match &*change.subject_kind {
                "user" => Some(format!("/console/users/{id}")),
                "group" => Some(format!("/console/groups/{id}")),
                _ => None,
            },
            user: is_user.then_some(id),
            told: shown(told),
            untold: shown(untold),
        }
    }
}

#[derive(Template)]
#[template(path = "connection_changes.html")]
struct ChangesPage {
    page: Page,
    connection: Named,
    changes: Vec<ShownChange>,
    /// Whether there are more applications than are told of.
    is_cut: bool,
    is_first: bool,
    next: Option<String>,
}

/// The connection, as the head of the page names it.
struct Named {
    id: String,
    name: String,
}

pub(super) async fn changes(view: View, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Answer {
    let view = view.within(Section::Connections);
    view.needs(Permission::ReadAccess)?;
    let before = wanted.before;
    let found = view.console.db().read(move |tx| {
        let Some(named) = connection::of_source(tx, &connection::source(&id))? else {
            return Ok(None);
        };
        let actor = connection::principal(&named.0).to_string();
        Ok::<_, DbError>(Some((named, why::recent(tx, &actor, before, RECENT)?)))
    });
    let ((id, name), recent) = found.await?.ok_or(Failure::NotFound)?;
    let path = format!("/console/connections/{id}/changes");
    show(&ChangesPage {
        is_first: before.is_none(),
        is_cut: recent.is_cut,
        next: recent
            .next
            .map(|next| address(&path, &[("before", &next.to_string())])),
        changes: recent.changes.into_iter().map(ShownChange::of).collect(),
        connection: Named { id, name },
        page: view.page,
    })
}
