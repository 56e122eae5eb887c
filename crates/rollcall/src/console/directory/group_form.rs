//! Groups: making, changing and deleting them, and their members.

use askama::Template;
use axum::extract::Path;

use super::groups;
use super::refusal::{explain, unknown};
use crate::access::Permission;
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::page::{Answer, Page, Section, View, show};
use crate::directory::{Command, DirectoryError, Group, GroupChanges, NewGroup, query};

/// How many members one form may add.
const AT_ONCE: usize = 200;

#[derive(Template)]
#[template(path = "group_form.html")]
struct GroupFormPage {
    page: Page,
    form: Filled,
    /// The group that is changed; `None` if one is made.
    group: Option<Group>,
}

pub(in crate::console) async fn new(view: View) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    show(&GroupFormPage {
        page: view.page,
        form: Filled::default(),
        group: None,
    })
}

pub(in crate::console) async fn create(posted: Posted) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Directory);
    let new = NewGroup {
        name: form.value("name").to_owned(),
        description: form.given("description"),
        external_id: form.given("externalId"),
        ..NewGroup::default()
    };
    match view.console.hub().apply(caller, Command::CreateGroup(new)).await {
        Ok(applied) => return done(&format!("/console/groups/{}", applied.id), "group-created"),
        Err(error) => explain(&mut form, &view.page, error)?,
    }
    again(&GroupFormPage {
        page: view.page,
        form,
        group: None,
    })
}

/// The group that a page is about.
async fn subject(view: &View, id: &str) -> Result<Group, Failure> {
    let id = id.to_owned();
    let found = view.console.db().read(move |tx| query::group(tx, &id)).await?;
    found.ok_or(Failure::NotFound)
}

fn filled(group: &Group) -> Filled {
    Filled::with(&[
        ("version", &group.update_time.to_string()),
        ("name", &group.name),
        ("description", group.description.as_deref().unwrap_or_default()),
        ("externalId", group.external_id.as_deref().unwrap_or_default()),
    ])
}

pub(in crate::console) async fn edit(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    let group = subject(&view, &id).await?;
    show(&GroupFormPage {
        page: view.page,
        form: filled(&group),
        group: Some(group),
    })
}

pub(in crate::console) async fn update(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Directory);
    let mut group = subject(&view, &id).await?;
    let is = filled(&group);
    let differs = |name: &str| form.value(name) != is.value(name);
    let changes = GroupChanges {
        name: differs("name").then(|| form.value("name").to_owned()),
        description: differs("description").then(|| form.given("description")),
        external_id: differs("externalId").then(|| form.given("externalId")),
        source: None,
    };
    let command = Command::UpdateGroup {
        id: id.clone(),
        changes,
    };
    match view.console.hub().apply(caller, command).await {
        Ok(_) => return done(&format!("/console/groups/{id}"), "group-changed"),
        Err(error) => {
            if let DirectoryError::Changed { .. } = error {
                group = subject(&view, &id).await?;
                form.compare(&filled(&group), &["name", "description", "externalId"]);
            }
            explain(&mut form, &view.page, error)?;
        }
    }
    again(&GroupFormPage {
        page: view.page,
        form,
        group: Some(group),
    })
}

/// The ids of the users that are written in a field, separated by lines, commas or semicolons.
async fn users_in(view: &View, form: &mut Filled, field: &str) -> Result<Vec<String>, Failure> {
    let names: Vec<String> = form
        .value(field)
        .split(['\n', ',', ';'])
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        form.refuse(field, view.page.t("members-nobody"));
    }
    if names.len() > AT_ONCE {
        form.refuse(field, view.page.t1("members-too-many", "count", AT_ONCE));
    }
    if form.is_refused() {
        return Ok(Vec::new());
    }
    let found = view.console.db().read(move |tx| {
        let mut ids = Vec::with_capacity(names.len());
        for name in &names {
            match query::find_user(tx, name)? {
                Some(user) => ids.push(user.id),
                None => return Ok(Err(name.clone())),
            }
        }
        Ok::<_, DirectoryError>(Ok(ids))
    });
    match found.await {
        Ok(Ok(ids)) => return Ok(ids),
        Ok(Err(name)) => unknown(form, &view.page, field, "user-unknown", &name),
        Err(DirectoryError::Ambiguous { text, .. }) => {
            unknown(form, &view.page, field, "user-ambiguous", &text);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Vec::new())
}

pub(in crate::console) async fn add_members(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Directory);
    let user_ids = users_in(&view, &mut form, "users").await?;
    if form.is_refused() {
        return groups::show_group(view, id, "", form).await;
    }
    let add = Command::AddMembers {
        group_id: id.clone(),
        user_ids,
    };
    view.console.hub().apply(caller, add).await?;
    done(&format!("/console/groups/{id}"), "member-added")
}

pub(in crate::console) async fn remove_member(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    let remove = Command::RemoveMembers {
        group_id: id.clone(),
        user_ids: posted.form.all("user").map(str::to_owned).collect(),
    };
    posted.view.console.hub().apply(posted.caller(), remove).await?;
    done(&format!("/console/groups/{id}"), "member-removed")
}

#[derive(Template)]
#[template(path = "group_delete.html")]
struct DeletePage {
    page: Page,
    form: Filled,
    group: Group,
}

pub(in crate::console) async fn delete_page(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    let group = subject(&view, &id).await?;
    show(&DeletePage {
        page: view.page,
        form: filled(&group),
        group,
    })
}

pub(in crate::console) async fn delete(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Directory);
    let group = subject(&view, &id).await?;
    if form.value("confirm") == group.name.trim() {
        match view
            .console
            .hub()
            .apply(caller, Command::DeleteGroup { id })
            .await
        {
            Ok(_) => return done("/console/groups", "group-deleted"),
            Err(error) => explain(&mut form, &view.page, error)?,
        }
    } else {
        let words = view.page.t1("confirm-differs", "name", &group.name);
        form.refuse("confirm", words);
    }
    form.put("version", group.update_time.to_string());
    again(&DeletePage {
        page: view.page,
        form,
        group,
    })
}
