//! Groups, and the members of one.

use askama::Template;
use axum::extract::{Path, Query};
use rollcall_db::DbError;
use serde::Deserialize;

use crate::console::error::Failure;
use crate::console::page::{Answer, Page, Section, View, address, show};
use crate::directory::search::{self, Wanted as Searched};
use crate::directory::{Group, User, query};

/// How many a page has.
const ON_A_PAGE: usize = 50;
/// How many portions of a search are looked at for one page.
const PORTIONS: usize = 5;

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
    next: Option<String>,
}

pub(in crate::console) async fn groups(view: View, Query(wanted): Query<Wanted>) -> Answer {
    let view = view.within(Section::Directory);
    view.needs_directory()?;
    let text = wanted.search.trim();
    let searched = Searched {
        unit_id: None,
        sight: None,
        search: Some(text.to_owned()).filter(|text| !text.is_empty()),
    };
    let mut groups: Vec<Group> = Vec::new();
    let mut next = Some(wanted.after.clone());
    for _ in 0..PORTIONS {
        let Some(from) = next.clone().filter(|_| groups.len() < ON_A_PAGE) else {
            break;
        };
        let (searched, left) = (searched.clone(), ON_A_PAGE - groups.len());
        let db = view.console.db();
        let portion = db
            .read(move |tx| search::groups(tx, &searched, &from, left))
            .await?;
        groups.extend(portion.found);
        next = portion.next;
    }
    let next = next.map(|after| address("/console/groups", &[("search", text), ("after", &after)]));
    show(&GroupsPage {
        is_first: wanted.after.is_empty(),
        next,
        groups,
        search: wanted.search,
        page: view.page,
    })
}

#[derive(Template)]
#[template(path = "group.html")]
struct GroupPage {
    page: Page,
    group: Group,
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
    view.needs_directory()?;
    let after = wanted.after.clone();
    let found = view
        .console
        .db()
        .read(move |tx| {
            let Some(group) = query::group(tx, &id)? else {
                return Ok(None);
            };
            let ids = query::members_after(tx, &id, &after, ON_A_PAGE)?;
            Ok::<_, DbError>(Some((group, query::users_of(tx, &ids)?)))
        })
        .await?;
    let (group, members) = found.ok_or(Failure::NotFound)?;
    let last = members.last().filter(|_| members.len() == ON_A_PAGE);
    let next = last.map(|last| {
        let path = format!("/console/groups/{}", group.id);
        address(&path, &[("after", &last.id)])
    });
    show(&GroupPage {
        is_first: wanted.after.is_empty(),
        next,
        group,
        members,
        page: view.page,
    })
}
