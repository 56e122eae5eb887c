//! The synchronization scope: units are chosen in a tree or a search, groups in a search, and what that would do is
//! shown before it is done.
//!
//! The form carries everything itself: what is ticked, what was ticked when it was opened, which units are open. Each
//! of its buttons sends it, and brings it back as it is then, so it works without JavaScript.

use std::collections::{BTreeSet, HashMap};

use askama::Template;
use axum::extract::Path;
use axum::response::IntoResponse as _;
use rollcall_db::DbError;

use super::entitlement;
use super::meanwhile::{Meanwhile, meanwhile};
use super::tree::Tree;
use crate::access::Permission;
use crate::application::{Application, ApplicationError, Edit, Scope, ScopeEdit};
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::page::{Answer, Page, Section, View, show};
use crate::delivery::job::{self, JobError, Plan, Side};
use crate::directory::search::Wanted;
use crate::directory::{extent, view};
use crate::listing;

/// How many units, and how many groups, a search shows.
const FOUND: usize = 20;

/// The ids that fields of this name have.
fn ids(form: &Filled, name: &str) -> BTreeSet<String> {
    form.all(name).map(str::to_owned).collect()
}

/// What is ticked.
fn chosen(form: &Filled) -> Scope {
    Scope {
        organizational_unit_ids: ids(form, "unit"),
        group_ids: ids(form, "group"),
    }
}

/// What was ticked when the form was opened.
fn earlier(form: &Filled) -> Scope {
    Scope {
        organizational_unit_ids: ids(form, "earlier-unit"),
        group_ids: ids(form, "earlier-group"),
    }
}

/// What was ticked and unticked: whatever else another changes meanwhile stays.
fn edit(form: &Filled) -> ScopeEdit {
    let (is, was) = (chosen(form), earlier(form));
    let change = |is: &BTreeSet<String>, was: &BTreeSet<String>| Edit::Change {
        add: is.difference(was).cloned().collect(),
        remove: was.difference(is).cloned().collect(),
    };
    ScopeEdit {
        units: change(&is.organizational_unit_ids, &was.organizational_unit_ids),
        groups: change(&is.group_ids, &was.group_ids),
    }
}

/// The units that are open, after the button that was pressed has opened or closed one.
fn open(form: &Filled) -> BTreeSet<String> {
    let mut open = ids(form, "open");
    let pressed = form.value("do");
    if let Some(id) = pressed.strip_prefix("open ") {
        open.insert(id.to_owned());
    }
    if let Some(id) = pressed.strip_prefix("close ") {
        open.remove(id);
    }
    open
}

/// Something that a form names by its id.
struct Ticked {
    id: String,
    name: String,
    is_on: bool,
}

#[derive(Template)]
#[template(path = "scope_form.html")]
struct ScopeFormPage {
    page: Page,
    form: Filled,
    id: String,
    name: String,
    meanwhile: Vec<Meanwhile>,
    /// The part of the tree that is open; `None` while units are searched for.
    tree: Option<Tree>,
    open: Vec<String>,
    /// Units that were found.
    found: Vec<Ticked>,
    has_more_units: bool,
    /// Units that are ticked and stand in nothing of that.
    further: Vec<Ticked>,
    groups: Vec<Ticked>,
    has_more_groups: bool,
    users: u64,
}

/// Units by their paths, as a form names them.
fn units(paths: HashMap<String, String>, ticked: &BTreeSet<String>) -> Vec<Ticked> {
    let mut units: Vec<Ticked> = paths
        .into_iter()
        .map(|(id, path)| Ticked {
            is_on: ticked.contains(&id),
            id,
            name: format!("/{path}"),
        })
        .collect();
    units.sort_by(|a, b| a.name.cmp(&b.name));
    units
}

impl ScopeFormPage {
    async fn of(
        view: View,
        form: Filled,
        application: Application,
        meanwhile: Vec<Meanwhile>,
    ) -> Result<Self, Failure> {
        let scope = chosen(&form);
        let db = view.console.db();
        let wanted = Wanted {
            search: form.given("search"),
            sight: None,
            unit_id: None,
        };
        let mut found = listing::groups(db, &wanted, "", FOUND + 1).await?;
        let has_more_groups = found.len() > FOUND;
        found.truncate(FOUND);
        let open = open(&form);
        let of = scope.clone();
        let shown = open.iter().cloned().collect();
        let searched = form.given("unit-search");
        let (tree, mut named, paths, users, names) = db
            .read(move |tx| {
                let ticked = &of.organizational_unit_ids;
                let (tree, named, hidden) = match &searched {
                    None => {
                        let tree = Tree::load(tx, open.clone(), ticked)?;
                        let hidden = tree.hidden(ticked);
                        (Some(tree), Vec::new(), hidden)
                    }
                    Some(text) => {
                        let named = extent::named(tx, text, FOUND + 1)?;
                        let shown = &named[..named.len().min(FOUND)];
                        let hidden = ticked.iter().filter(|id| !shown.contains(id)).cloned().collect();
                        (None, named, hidden)
                    }
                };
                let groups: Vec<String> = of.group_ids.iter().cloned().collect();
                let all: Vec<String> = named.iter().chain(&hidden).cloned().collect();
                Ok::<_, DbError>((
                    tree,
                    named,
                    view::unit_paths(tx, &all)?,
                    extent::users_within(tx, ticked, &of.group_ids)?,
                    view::names(tx, &groups)?,
                ))
            })
            .await?;
        let has_more_units = named.len() > FOUND;
        let beyond = named.split_off(named.len().min(FOUND));
        let (searched, hidden): (HashMap<_, _>, HashMap<_, _>) = paths
            .into_iter()
            .filter(|(id, _)| scope.organizational_unit_ids.contains(id) || !beyond.contains(id))
            .partition(|(id, _)| named.contains(id));
        let further = units(hidden, &scope.organizational_unit_ids);
        // Those that are ticked come first, whether they were found or not.
        let mut groups: Vec<Ticked> = names
            .into_iter()
            .map(|(id, name)| Ticked {
                id,
                name,
                is_on: true,
            })
            .collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        let others = found
            .into_iter()
            .filter(|group| !scope.group_ids.contains(&group.id));
        groups.extend(others.map(|group| Ticked {
            id: group.id,
            name: group.name,
            is_on: false,
        }));
        Ok(Self {
            page: view.page,
            form,
            id: application.id,
            name: application.name,
            meanwhile,
            tree,
            open: shown,
            found: units(searched, &scope.organizational_unit_ids),
            has_more_units,
            further,
            groups,
            has_more_groups,
            users,
        })
    }
}

/// Who enters or who leaves, as it is shown.
struct ShownSide {
    key: &'static str,
    none: &'static str,
    side: Side,
    more: u64,
}

impl ShownSide {
    fn of(key: &'static str, none: &'static str, side: Side) -> Self {
        let named = u64::try_from(side.first_users.len()).unwrap_or_default();
        Self {
            key,
            none,
            more: side.counts.users.saturating_sub(named),
            side,
        }
    }

    fn is_empty(&self) -> bool {
        let counts = self.side.counts;
        counts.organizational_units + counts.users + counts.groups == 0
    }
}

#[derive(Template)]
#[template(path = "scope_plan.html")]
struct ScopePlanPage {
    page: Page,
    form: Filled,
    id: String,
    name: String,
    token: String,
    /// What comes into the scope, and what goes out of it.
    added: Vec<String>,
    removed: Vec<String>,
    sides: [ShownSide; 2],
}

/// The names of what stands in one scope and not in the other.
fn beyond(of: &Scope, other: &Scope) -> (Vec<String>, Vec<String>) {
    let difference =
        |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<String>>();
    (
        difference(&of.organizational_unit_ids, &other.organizational_unit_ids),
        difference(&of.group_ids, &other.group_ids),
    )
}

impl ScopePlanPage {
    async fn of(view: View, form: Filled, application: Application, plan: Plan) -> Result<Self, Failure> {
        let (added, removed) = (
            beyond(&plan.after, &plan.before),
            beyond(&plan.before, &plan.after),
        );
        let named = view
            .console
            .db()
            .read(move |tx| {
                let mut sides = Vec::with_capacity(2);
                for (units, groups) in [&added, &removed] {
                    let paths = view::unit_paths(tx, units)?.into_values();
                    let groups = view::names(tx, groups)?.into_values();
                    let mut names: Vec<String> = paths.map(|path| format!("/{path}")).chain(groups).collect();
                    names.sort();
                    sides.push(names);
                }
                Ok::<_, DbError>(sides)
            })
            .await?;
        let mut named = named.into_iter();
        Ok(Self {
            page: view.page,
            form,
            id: application.id,
            name: application.name,
            token: plan.token,
            added: named.next().unwrap_or_default(),
            removed: named.next().unwrap_or_default(),
            sides: [
                ShownSide::of("plan-enter", "plan-enter-none", plan.enter),
                ShownSide::of("plan-leave", "plan-leave-none", plan.leave),
            ],
        })
    }
}

/// Takes a scope as the one that the form begins with, and this one as what is ticked.
fn begin(form: &mut Filled, application: &Application, is: &Scope, ticked: &Scope) {
    let mut fresh = Filled::default();
    for (name, ids) in [
        ("earlier-unit", &is.organizational_unit_ids),
        ("earlier-group", &is.group_ids),
        ("unit", &ticked.organizational_unit_ids),
        ("group", &ticked.group_ids),
    ] {
        for id in ids {
            fresh.add(name, id);
        }
    }
    for open in form.all("open") {
        fresh.add("open", open);
    }
    for search in ["search", "unit-search"] {
        fresh.put(search, form.value(search));
    }
    fresh.put("version", application.update_time.to_string());
    *form = fresh;
}

pub(super) async fn form(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ConfigureApplications)?;
    let application = view.application(id).await?;
    let scope = entitlement(&view, &application).await?.scope;
    let above = {
        let units: Vec<String> = scope.organizational_unit_ids.iter().cloned().collect();
        view.console
            .db()
            .read(move |tx| extent::above(tx, &units))
            .await?
    };
    let mut form = Filled::default();
    for id in above {
        form.add("open", id);
    }
    begin(&mut form, &application, &scope, &scope);
    show(&ScopeFormPage::of(view, form, application, Vec::new()).await?)
}

/// How many users are covered by what is ticked, in a sentence: a script asks for it whenever something is ticked.
pub(super) async fn count(Path(id): Path<String>, posted: Posted) -> Answer {
    let Posted { view, form } = posted;
    view.needs(Permission::ConfigureApplications)?;
    view.application(id).await?;
    let scope = chosen(&form);
    let covered = view
        .console
        .db()
        .read(move |tx| extent::users_within(tx, &scope.organizational_unit_ids, &scope.group_ids));
    let words = view.page.t1("scope-users", "count", covered.await?);
    Ok(words.into_response())
}

pub(super) async fn change(Path(id): Path<String>, mut posted: Posted) -> Answer {
    posted.view = posted.view.within(Section::Applications);
    posted.view.needs(Permission::ConfigureApplications)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let application = view.application(id).await?;
    if form.is("do", "tree") {
        form.put("unit-search", "");
    }
    let wanted = edit(&form);
    let token = form.given("token").filter(|_| form.is("do", "confirm"));
    if token.is_none() && !form.is("do", "plan") {
        return show(&ScopeFormPage::of(view, form, application, Vec::new()).await?);
    }
    if let Some(version) = form
        .version()
        .filter(|version| *version != application.update_time)
    {
        let changes = meanwhile(&view, &application.id, version).await?;
        let is = entitlement(&view, &application).await?.scope;
        begin(&mut form, &application, &is, &wanted.applied_to(&is));
        form.warn(view.page.t("scope-changed-meanwhile"));
        return again(&ScopeFormPage::of(view, form, application, changes).await?);
    }
    let hub = view.console.hub();
    let refused = match token {
        Some(token) => {
            match job::change_scope(hub, caller, &application.id, wanted.clone(), Some(token)).await {
                Ok(_) => {
                    let to = format!("/console/applications/{}/synchronize", application.id);
                    return done(&to, "scope");
                }
                Err(JobError::Application(ApplicationError::PlanChanged)) => Some("plan-changed"),
                Err(JobError::Busy(_)) => Some("scope-busy"),
                Err(error) => return Err(error.into()),
            }
        }
        None => None,
    };
    let (of, planned) = (application.id.clone(), wanted.clone());
    match view
        .console
        .db()
        .read(move |tx| job::plan(tx, &of, &planned))
        .await
    {
        Ok(plan) if plan.is_empty() => form.warn(view.page.t("scope-unchanged")),
        Ok(plan) => {
            if let Some(key) = refused {
                form.warn(view.page.t(key));
            }
            return match refused {
                Some(_) => again(&ScopePlanPage::of(view, form, application, plan).await?),
                None => show(&ScopePlanPage::of(view, form, application, plan).await?),
            };
        }
        Err(JobError::Application(ApplicationError::UnknownInScope(gone))) => {
            let is = entitlement(&view, &application).await?.scope;
            let mut ticked = chosen(&form);
            ticked.organizational_unit_ids.remove(&gone);
            ticked.group_ids.remove(&gone);
            begin(&mut form, &application, &is, &ticked);
            form.warn(view.page.t("scope-gone"));
        }
        Err(error) => return Err(error.into()),
    }
    again(&ScopeFormPage::of(view, form, application, Vec::new()).await?)
}
