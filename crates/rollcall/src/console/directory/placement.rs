//! Where a user stands: its organizational units and its groups.

use askama::Template;
use axum::extract::Path;

use super::refusal::{explain, unknown};
use super::suggested_units;
use super::user_form::{subject, unit_in};
use crate::access::Permission;
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::page::{Answer, Page, Section, View, show};
use crate::directory::{Command, DirectoryError, User, query, view as seen};

#[derive(Template)]
#[template(path = "user_units.html")]
struct UnitsPage {
    page: Page,
    form: Filled,
    user: User,
    units: Vec<String>,
}

/// The form of somebody as it is now: a path in each line.
async fn placed(view: &View, user: &User) -> Result<Filled, Failure> {
    let ids = user.unit_ids();
    let paths = {
        let ids = ids.clone();
        view.console
            .db()
            .read(move |tx| seen::unit_paths(tx, &ids))
            .await?
    };
    let path = |id: &String| match paths.get(id).map_or("", String::as_str) {
        "" => "/".to_owned(),
        path => path.to_owned(),
    };
    let further: Vec<String> = ids.iter().skip(1).map(path).collect();
    Ok(Filled::with(&[
        ("version", &user.update_time.to_string()),
        ("primary", &ids.first().map(path).unwrap_or_default()),
        ("further", &further.join("\n")),
    ]))
}

pub(in crate::console) async fn units(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    let user = subject(&view, &id).await?;
    let form = placed(&view, &user).await?;
    let units = suggested_units(&view).await?;
    show(&UnitsPage {
        page: view.page,
        form,
        user,
        units,
    })
}

/// The ids of the units that a field names, one in each line.
async fn units_in(view: &View, form: &mut Filled, field: &str) -> Result<Vec<String>, Failure> {
    let lines: Vec<String> = form
        .value(field)
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    let found = view.console.db().read(move |tx| {
        let mut ids = Vec::with_capacity(lines.len());
        for line in &lines {
            match query::find_unit(tx, line)? {
                Some(unit) => ids.push(unit.id),
                None => return Ok(Err(line.clone())),
            }
        }
        Ok::<_, DirectoryError>(Ok(ids))
    });
    match found.await {
        Ok(Ok(ids)) => return Ok(ids),
        Ok(Err(line)) => unknown(form, &view.page, field, "unit-unknown", &line),
        Err(DirectoryError::Ambiguous { text, .. }) => {
            unknown(form, &view.page, field, "unit-ambiguous", &text);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Vec::new())
}

pub(in crate::console) async fn set_units(Path(id): Path<String>, mut posted: Posted) -> Answer {
    posted.view = posted.view.within(Section::Directory);
    posted.view.needs(Permission::WriteDirectory)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let user = subject(&view, &id).await?;
    let primary = unit_in(&view, &mut form, "primary").await?;
    let further = units_in(&view, &mut form, "further").await?;
    if let Some(primary) = primary.filter(|_| !form.is_refused()) {
        let command = Command::SetUnits {
            id: id.clone(),
            primary,
            further,
        };
        match view.console.hub().apply(caller, command).await {
            Ok(_) => return done(&format!("/console/users/{id}"), "user-moved"),
            Err(error) => {
                if let DirectoryError::Changed { .. } = error {
                    let is = placed(&view, &subject(&view, &id).await?).await?;
                    form.compare(&is, &["primary", "further"]);
                }
                explain(&mut form, &view.page, error)?;
            }
        }
    }
    let units = suggested_units(&view).await?;
    again(&UnitsPage {
        page: view.page,
        form,
        user,
        units,
    })
}

#[derive(Template)]
#[template(path = "user_groups.html")]
struct GroupsPage {
    page: Page,
    form: Filled,
    user: User,
    /// Ids and names, by name.
    groups: Vec<(String, String)>,
}

impl GroupsPage {
    async fn of(view: View, form: Filled, user: User) -> Result<Self, Failure> {
        let ids = user.groups.clone();
        let names = view.console.db().read(move |tx| seen::names(tx, &ids)).await?;
        let mut groups: Vec<(String, String)> = names.into_iter().collect();
        groups.sort_by(|a, b| a.1.cmp(&b.1));
        Ok(Self {
            page: view.page,
            form,
            user,
            groups,
        })
    }
}

pub(in crate::console) async fn groups(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    let user = subject(&view, &id).await?;
    show(&GroupsPage::of(view, Filled::default(), user).await?)
}

/// Adds the user to the group that is written, or removes it from the one whose button was pressed.
pub(in crate::console) async fn set_groups(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Directory);
    let user = subject(&view, &id).await?;
    let back = format!("/console/users/{id}/groups");
    let user_ids = vec![id];
    if let Some(group_id) = form.given("remove") {
        let command = Command::RemoveMembers { group_id, user_ids };
        view.console.hub().apply(caller, command).await?;
        return done(&back, "member-removed");
    }
    let text = form.value("group").to_owned();
    let found = {
        let text = text.clone();
        view.console
            .db()
            .read(move |tx| query::find_group(tx, &text))
            .await
    };
    match found {
        Ok(Some(group)) => {
            let command = Command::AddMembers {
                group_id: group.id,
                user_ids,
            };
            view.console.hub().apply(caller, command).await?;
            return done(&back, "member-added");
        }
        Ok(None) => unknown(&mut form, &view.page, "group", "group-unknown", &text),
        Err(DirectoryError::Ambiguous { .. }) => {
            unknown(&mut form, &view.page, "group", "group-ambiguous", &text);
        }
        Err(error) => return Err(error.into()),
    }
    again(&GroupsPage::of(view, form, user).await?)
}
