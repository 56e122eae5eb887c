//! The directory: the tree of units, users and groups.

mod explain;
mod group_form;
mod groups;
mod kinds;
mod placement;
mod refusal;
mod unit;
mod user;
mod user_form;
mod user_state;

use std::sync::Arc;

use askama::Template;
use axum::extract::Query;
use axum::routing::{get, post};
use rollcall_db::DbError;
use serde::Deserialize;

use super::addresses::Addresses;
use super::error::Failure;
use super::locale::Html;
use super::page::{Answer, Page, Section, View, address, show};
use crate::directory::search::{self, Portion, Wanted as Searched};
use crate::directory::view::{self, Branch};
use crate::directory::{Unit, User, query};
use crate::listing;
pub(super) use explain::Outcome;
pub(super) use kinds::in_words;
pub(super) use user_form::unit_in;

/// The pages of the directory.
pub(super) fn routes() -> Addresses {
    let user = |what: &str| format!("/console/users/{{id}}/{what}");
    let unit = |what: &str| format!("/console/units/{{id}}/{what}");
    let group = |what: &str| format!("/console/groups/{{id}}/{what}");
    Addresses::default()
        .route("/console/directory", get(directory))
        .route("/console/users/new", get(user_form::new).post(user_form::create))
        .route("/console/users/{id}", get(user::user))
        .route("/console/users/{id}/{application}", get(explain::explain))
        .route(&user("edit"), get(user_form::edit).post(user_form::update))
        .route(&user("units"), get(placement::units).post(placement::set_units))
        .route(
            &user("groups"),
            get(placement::groups).post(placement::set_groups),
        )
        .route(&user("enable"), post(user_state::enable))
        .route(&user("disable"), post(user_state::disable))
        .route(&user("lock"), get(user_state::lock_page).post(user_state::lock))
        .route(&user("unlock"), post(user_state::unlock))
        .route(
            &user("password"),
            get(user_state::password_page).post(user_state::set_password),
        )
        .route(
            &user("delete"),
            get(user_state::delete_page).post(user_state::delete),
        )
        .route("/console/units/new", get(unit::new).post(unit::create))
        .route(&unit("edit"), get(unit::edit).post(unit::update))
        .route(&unit("move"), get(unit::move_page).post(unit::move_below))
        .route(&unit("delete"), get(unit::delete_page).post(unit::delete))
        .route("/console/groups", get(groups::groups))
        .route(
            "/console/groups/new",
            get(group_form::new).post(group_form::create),
        )
        .route("/console/groups/{id}", get(groups::group))
        .route(&group("edit"), get(group_form::edit).post(group_form::update))
        .route(&group("members"), post(group_form::add_members))
        .route(&group("members/remove"), post(group_form::remove_member))
        .route(
            &group("delete"),
            get(group_form::delete_page).post(group_form::delete),
        )
}

/// How many units a field suggests; if there are more, none: a part of them would mislead.
const SUGGESTED: usize = 300;

/// The paths that a field for a unit suggests.
pub(super) async fn suggested_units(view: &View) -> Result<Vec<String>, Failure> {
    Ok(view
        .console
        .db()
        .read(|tx| view::all_paths(tx, SUGGESTED))
        .await?)
}

/// How many users or groups a page has.
const ON_A_PAGE: usize = 50;
/// What is looked for; nothing if it is empty.
fn wanted_text(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    unit: String,
    #[serde(default)]
    search: String,
    #[serde(default)]
    after: String,
}

impl Wanted {
    fn address(&self, after: &str) -> String {
        let query = [
            ("unit", self.unit.as_str()),
            ("search", &self.search),
            ("after", after),
        ];
        address("/console/directory", &query)
    }
}

#[derive(Template)]
#[template(path = "directory.html")]
struct DirectoryPage {
    page: Page,
    search: String,
    /// The unit whose users are listed; `None` for those of all.
    unit: Option<Unit>,
    path: Vec<Unit>,
    tree: Html,
    is_cut: bool,
    /// Whether the visitor sees only a part of the directory.
    is_part: bool,
    users: Vec<User>,
    is_first: bool,
    is_unfinished: bool,
    next: Option<String>,
}

pub(super) async fn directory(view: View, Query(wanted): Query<Wanted>) -> Answer {
    let view = view.within(Section::Directory);
    let sight = view.sight().await?;
    let db = view.console.db();
    let unit_id = Some(wanted.unit.clone()).filter(|unit| !unit.is_empty());
    let branch = {
        let (sight, around) = (Arc::clone(&sight), unit_id.clone());
        db.read(move |tx| sight.branch(tx, around.as_deref())).await?
    };
    if unit_id.is_some() && branch.above.is_empty() {
        return Err(Failure::NotFound);
    }
    let searched = Searched {
        sight: Some(Arc::clone(&sight)),
        unit_id,
        search: wanted_text(&wanted.search),
    };
    let Portion { found, next } =
        listing::page(db, search::user_ids, &searched, &wanted.after, ON_A_PAGE).await?;
    let users = {
        let sight = Arc::clone(&sight);
        db.read(move |tx| Ok::<_, DbError>(sight.users(query::users_of(tx, &found)?)))
            .await?
    };
    let here = branch.above.last().cloned();
    show(&DirectoryPage {
        tree: tree(&branch, &wanted.unit, &view.page),
        is_cut: branch.is_cut,
        is_part: !sight.is_everything(),
        path: branch.above,
        unit: here.filter(|_| !wanted.unit.is_empty()),
        is_first: wanted.after.is_empty(),
        is_unfinished: users.len() < ON_A_PAGE && next.is_some(),
        next: next.map(|after| wanted.address(&after)),
        users,
        search: wanted.search,
        page: view.page,
    })
}

#[derive(Template)]
#[template(
    source = r#"<a href="/console/directory?unit={{ unit.id }}"{% if is_here %} aria-current="page"{% endif %}>{{ page.icon("unit") }}<span>{{ unit.name }}</span></a>"#,
    ext = "html"
)]
struct Leaf<'a> {
    page: &'a Page,
    unit: &'a Unit,
    is_here: bool,
}

/// The tree as nested lists: the branch of the unit that is looked at, and its siblings.
fn tree(branch: &Branch, here: &str, page: &Page) -> Html {
    let mut text = String::new();
    if !branch.tops.is_empty() {
        text.push_str("<ul>");
        for top in &branch.tops {
            grow(&mut text, branch, top, here, page);
        }
        text.push_str("</ul>");
    }
    Html::new(text)
}

fn grow(text: &mut String, branch: &Branch, unit: &Unit, here: &str, page: &Page) {
    text.push_str("<li>");
    let leaf = Leaf {
        page,
        unit,
        is_here: unit.id == here,
    };
    // A string takes all that is written to it.
    drop(leaf.render_into(text));
    if let Some(below) = branch.below.get(&unit.id).filter(|below| !below.is_empty()) {
        text.push_str("<ul>");
        for unit in below {
            grow(text, branch, unit, here, page);
        }
        text.push_str("</ul>");
    }
    text.push_str("</li>");
}
