//! The users and the groups that came from a connection.

use askama::Template;
use axum::extract::{Path, Query};
use rollcall_db::DbError;
use serde::Deserialize;

use crate::access::Permission;
use crate::connection::{self, Connection, Rows, Which};
use crate::console::page::{Answer, Page, Section, View, address, show};
use crate::directory::{Group, User, query};

/// How many a page has.
const ON_A_PAGE: usize = 50;

#[derive(Deserialize)]
pub(super) struct After {
    /// The id of the last one of the page before.
    #[serde(default)]
    after: String,
}

#[derive(Template)]
#[template(path = "connection_users.html")]
struct UsersPage {
    page: Page,
    connection: Connection,
    users: Vec<User>,
    is_first: bool,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "connection_groups.html")]
struct GroupsPage {
    page: Page,
    connection: Connection,
    groups: Vec<Group>,
    is_first: bool,
    next: Option<String>,
}

/// The ids of a page, and the one after which the next page begins, if there is one.
fn portion<T>(
    tx: &mut rollcall_db::Tx<'_>,
    rows: &Rows<T>,
    connection_id: &str,
    after: &str,
    id_of: impl Fn(T) -> String,
) -> Result<(Vec<String>, Option<String>), DbError> {
    let found = rows.read(tx, connection_id, Which::After(after, ON_A_PAGE + 1))?;
    let mut ids: Vec<String> = found.into_iter().map(id_of).collect();
    let has_more = ids.len() > ON_A_PAGE;
    ids.truncate(ON_A_PAGE);
    let next = ids.last().filter(|_| has_more).cloned();
    Ok((ids, next))
}

/// The connection, for somebody who may see it and the whole directory.
async fn seen(view: &View, id: &str) -> Result<Connection, crate::console::error::Failure> {
    view.needs(Permission::ReadAccess)?;
    view.needs(Permission::ReadDirectory)?;
    super::subject(view, id).await
}

pub(super) async fn users(view: View, Path(id): Path<String>, Query(from): Query<After>) -> Answer {
    let view = view.within(Section::Connections);
    let connection = seen(&view, &id).await?;
    let (id, after) = (connection.id.clone(), from.after.clone());
    let (users, next) = view
        .console
        .db()
        .read(move |tx| {
            let (ids, next) = portion(tx, &connection::users::ROWS, &id, &after, |kept| kept.id)?;
            Ok::<_, DbError>((query::users_of(tx, &ids)?, next))
        })
        .await?;
    let path = format!("/console/connections/{}/users", connection.id);
    show(&UsersPage {
        is_first: from.after.is_empty(),
        next: next.map(|after| address(&path, &[("after", &after)])),
        users,
        connection,
        page: view.page,
    })
}

pub(super) async fn groups(view: View, Path(id): Path<String>, Query(from): Query<After>) -> Answer {
    let view = view.within(Section::Connections);
    let connection = seen(&view, &id).await?;
    let (id, after) = (connection.id.clone(), from.after.clone());
    let (groups, next) = view
        .console
        .db()
        .read(move |tx| {
            let (ids, next) = portion(tx, &connection::groups::ROWS, &id, &after, |kept| kept.id)?;
            Ok::<_, DbError>((query::groups(tx, &ids)?, next))
        })
        .await?;
    let path = format!("/console/connections/{}/groups", connection.id);
    show(&GroupsPage {
        is_first: from.after.is_empty(),
        next: next.map(|after| address(&path, &[("after", &after)])),
        groups,
        connection,
        page: view.page,
    })
}
