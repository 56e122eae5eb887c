//! Groups, and the members of one.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query};
use rollcall_db::DbError;
use serde::Deserialize;

use super::{ON_A_PAGE, wanted_text};
use crate::connection;
use crate::console::error::Failure;
use crate::console::form::{Filled, again};
use crate::console::page::{Answer, Page, Section, View, address, show};
use crate::directory::search::{self, Wanted as Searched};
use crate::directory::{Group, User, query};
use crate::listing;

#[derive(Deserialize)]
pub(in crate::console) struct Wanted {
    #[serde(default)]
    search: String,
    #[serde(default)]
    after: String,
}

#[derive(Template)]
#[template(path = "groups.html")]
struct GroupsPage {
    page: Page,
    search: String,
    groups: Vec<Group>,
    is_first: bool,
    is_part: bool,
    is_unfinished: bool,
    next: Option<String>,
}

pub(in crate::console) async fn groups(view: View, Query(wanted): Query<Wanted>) -> Answer {
    let view = view.within(Section::Directory);
    let sight = view.sight().await?;
    let searched = Searched {
        unit_id: None,
        sight: Some(Arc::clone(&sight)),
        search: wanted_text(&wanted.search),
    };
    let portion = listing::page(
        view.console.db(),
        search::groups,
        &searched,
        &wanted.after,
        ON_A_PAGE,
    )
    .await?;
    let next = portion.next.map(|after| {
        let query = [("search", wanted.search.trim()), ("after", &after)];
        address("/console/groups", &query)
    });
    show(&GroupsPage {
        is_first: wanted.after.is_empty(),
        is_part: !sight.is_everything(),
        is_unfinished: portion.found.len() < ON_A_PAGE && next.is_some(),
        next,
        groups: portion.found,
        search: wanted.search,
        page: view.page,
    })
}

#[derive(Template)]
#[template(path = "group.html")]
struct GroupPage {
    page: Page,
    /// The form for more members.
    form: Filled,
    group: Group,
    /// The connection that the group came from: its id and its name.
    connection: Option<(String, String)>,
    members: Vec<User>,
    is_first: bool,
    next: Option<String>,
}

pub(in crate::console) async fn group(
    view: View,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answer {
    let view = view.within(Section::Directory);
    show_group(view, id, &wanted.after, Filled::default()).await
}

/// Shows a group with its members after one, and the form for more members as it was filled in.
pub(super) async fn show_group(view: View, id: String, after: &str, form: Filled) -> Answer {
    let sight = view.sight().await?;
    let from = after.to_owned();
    let found = view
        .console
        .db()
        .read(move |tx| {
            let Some(group) = query::group(tx, &id)?.filter(|group| sight.sees_group(&group.id)) else {
                return Ok(None);
            };
            let ids = query::members_after(tx, &id, &from, ON_A_PAGE)?;
            let connection = connection::of_source(tx, &group.source)?;
            let members = sight.users(query::users_of(tx, &ids)?);
            Ok::<_, DbError>(Some((group, members, connection)))
        })
        .await?;
    let (group, members, connection) = found.ok_or(Failure::NotFound)?;
    let last = members.last().filter(|_| members.len() == ON_A_PAGE);
    let next = last.map(|last| {
        let path = format!("/console/groups/{}", group.id);
        address(&path, &[("after", &last.id)])
    });
    let is_refused = form.is_refused();
    let page = GroupPage {
        is_first: after.is_empty(),
        next,
        group,
        connection,
        members,
        form,
        page: view.page,
    };
    if is_refused { again(&page) } else { show(&page) }
}
