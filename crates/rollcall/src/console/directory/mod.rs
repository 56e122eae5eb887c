//! The directory: the tree of units, users and groups.

mod groups;
mod user;

pub(super) use groups::{group, groups};
pub(super) use user::{explain, user};

use askama::Template;
use axum::extract::Query;
use serde::Deserialize;

use super::locale::Html;
use super::page::{Answer, Page, Section, View, address, show};
use crate::directory::search::{self, Wanted as Searched};
use crate::directory::view::{self, Branch};
use crate::directory::{Unit, User};
use crate::id::ROOT_UNIT;

/// How many users a page has.
const ON_A_PAGE: usize = 50;
/// How many portions of a search are looked at for one page.
const PORTIONS: usize = 5;

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
    users: Vec<User>,
    is_first: bool,
    is_unfinished: bool,
    next: Option<String>,
}

pub(super) async fn directory(view: View, Query(wanted): Query<Wanted>) -> Answer {
    let view = view.within(Section::Directory);
    view.needs_directory()?;
    let (unit, text, after) = (wanted.unit.clone(), wanted.search.clone(), wanted.after.clone());
    let db = view.console.db();
    let branch = {
        let around = if unit.is_empty() {
            ROOT_UNIT.to_owned()
        } else {
            unit.clone()
        };
        db.read(move |tx| view::branch(tx, &around)).await?
    };
    let searched = Searched {
        sight: None,
        unit_id: Some(unit.clone()).filter(|unit| !unit.is_empty()),
        search: Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
    };
    let mut users: Vec<User> = Vec::new();
    let mut next = Some(after);
    for _ in 0..PORTIONS {
        let Some(from) = next.clone().filter(|_| users.len() < ON_A_PAGE) else {
            break;
        };
        let (searched, left) = (searched.clone(), ON_A_PAGE - users.len());
        let portion = db
            .read(move |tx| search::users(tx, &searched, &from, left))
            .await?;
        users.extend(portion.found);
        next = portion.next;
    }
    let here = branch.above.last().cloned();
    show(&DirectoryPage {
        tree: tree(&branch, &wanted.unit, &view.page),
        is_cut: branch.is_cut,
        path: branch.above,
        unit: here.filter(|_| !wanted.unit.is_empty()),
        is_first: wanted.after.is_empty(),
        is_unfinished: searched.search.is_some() && users.len() < ON_A_PAGE && next.is_some(),
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
    if let Some(root) = branch.above.first() {
        text.push_str("<ul>");
        grow(&mut text, branch, root, here, page);
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
