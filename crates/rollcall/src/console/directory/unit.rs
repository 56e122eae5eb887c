//! Organizational units: making, changing, moving and deleting them.

use askama::Template;
use axum::extract::{Path, Query};
use serde::Deserialize;

use super::refusal::explain;
use super::suggested_units;
use super::user_form::unit_in;
use crate::access::Permission;
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::page::{Answer, Page, Section, View, show};
use crate::directory::{
    self, Cascade, Command, DeletionPlan, DirectoryError, NewUnit, Unit, UnitChanges, query,
};
use crate::id::ROOT_UNIT;

fn address(id: &str) -> String {
    format!("/console/directory?unit={id}")
}

#[derive(Template)]
#[template(path = "unit_form.html")]
struct UnitFormPage {
    page: Page,
    form: Filled,
    /// The unit that is changed; `None` if one is made.
    unit: Option<Unit>,
    units: Vec<String>,
}

#[derive(Deserialize)]
pub(in crate::console) struct Below {
    #[serde(default)]
    parent: String,
}

/// The path of a unit for a field; that of the root is `/`.
async fn path(view: &View, id: String) -> Result<String, Failure> {
    let path = view
        .console
        .db()
        .read(move |tx| query::unit_path(tx, &id))
        .await?;
    Ok(if path.is_empty() { "/".to_owned() } else { path })
}

pub(in crate::console) async fn new(view: View, Query(below): Query<Below>) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    let parent = path(&view, below.parent).await?;
    show(&UnitFormPage {
        units: suggested_units(&view).await?,
        page: view.page,
        form: Filled::with(&[("parent", &parent)]),
        unit: None,
    })
}

pub(in crate::console) async fn create(posted: Posted) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Directory);
    if let Some(parent_id) = unit_in(&view, &mut form, "parent").await? {
        let new = NewUnit {
            name: form.value("name").to_owned(),
            parent_id,
            description: form.given("description"),
            external_id: form.given("externalId"),
            ..NewUnit::default()
        };
        match view.console.hub().apply(caller, Command::CreateUnit(new)).await {
            Ok(applied) => return done(&address(&applied.id), "unit-created"),
            Err(error) => explain(&mut form, &view.page, error)?,
        }
    }
    again(&UnitFormPage {
        units: suggested_units(&view).await?,
        page: view.page,
        form,
        unit: None,
    })
}

/// The unit that a page is about.
async fn subject(view: &View, id: &str) -> Result<Unit, Failure> {
    let wanted = format!("id:{id}");
    let found = view
        .console
        .db()
        .read(move |tx| query::find_unit(tx, &wanted))
        .await?;
    found.ok_or(Failure::NotFound)
}

fn filled(unit: &Unit) -> Filled {
    Filled::with(&[
        ("version", &unit.update_time.to_string()),
        ("name", &unit.name),
        ("description", unit.description.as_deref().unwrap_or_default()),
        ("externalId", unit.external_id.as_deref().unwrap_or_default()),
    ])
}

pub(in crate::console) async fn edit(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    let unit = subject(&view, &id).await?;
    show(&UnitFormPage {
        page: view.page,
        form: filled(&unit),
        unit: Some(unit),
        units: Vec::new(),
    })
}

pub(in crate::console) async fn update(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Directory);
    let mut unit = subject(&view, &id).await?;
    let is = filled(&unit);
    let differs = |name: &str| form.value(name) != is.value(name);
    let changes = UnitChanges {
        name: differs("name").then(|| form.value("name").to_owned()),
        description: differs("description").then(|| form.given("description")),
        external_id: differs("externalId").then(|| form.given("externalId")),
        source: None,
    };
    let command = Command::UpdateUnit {
        id: id.clone(),
        changes,
    };
    match view.console.hub().apply(caller, command).await {
        Ok(_) => return done(&address(&id), "unit-changed"),
        Err(error) => {
            if let DirectoryError::Changed { .. } = error {
                unit = subject(&view, &id).await?;
                form.compare(&filled(&unit), &["name", "description", "externalId"]);
            }
            explain(&mut form, &view.page, error)?;
        }
    }
    again(&UnitFormPage {
        page: view.page,
        form,
        unit: Some(unit),
        units: Vec::new(),
    })
}

#[derive(Template)]
#[template(path = "unit_move.html")]
struct MovePage {
    page: Page,
    form: Filled,
    unit: Unit,
    units: Vec<String>,
}

pub(in crate::console) async fn move_page(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    let unit = subject(&view, &id).await?;
    let parent = path(&view, unit.parent_id.clone().ok_or(Failure::NotFound)?).await?;
    let version = unit.update_time.to_string();
    show(&MovePage {
        units: suggested_units(&view).await?,
        page: view.page,
        form: Filled::with(&[("version", &version), ("parent", &parent)]),
        unit,
    })
}

pub(in crate::console) async fn move_below(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Directory);
    if let Some(parent_id) = unit_in(&view, &mut form, "parent").await? {
        let command = Command::MoveUnit {
            id: id.clone(),
            parent_id,
        };
        match view.console.hub().apply(caller, command).await {
            Ok(_) => return done(&address(&id), "unit-moved"),
            Err(error) => explain(&mut form, &view.page, error)?,
        }
    }
    let unit = subject(&view, &id).await?;
    form.put("version", unit.update_time.to_string());
    again(&MovePage {
        units: suggested_units(&view).await?,
        page: view.page,
        form,
        unit,
    })
}

#[derive(Template)]
#[template(path = "unit_delete.html")]
struct DeletePage {
    page: Page,
    form: Filled,
    unit: Unit,
    plan: DeletionPlan,
}

impl DeletePage {
    async fn of(view: View, mut form: Filled, id: String) -> Result<Self, Failure> {
        let unit = subject(&view, &id).await?;
        if id == ROOT_UNIT {
            return Err(Failure::NotFound);
        }
        let plan = view
            .console
            .db()
            .read(move |tx| directory::plan_deletion(tx, &id))
            .await?;
        form.put("version", unit.update_time.to_string());
        Ok(Self {
            page: view.page,
            form,
            unit,
            plan,
        })
    }
}

pub(in crate::console) async fn delete_page(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    show(&DeletePage::of(view, Filled::default(), id).await?)
}

/// Deletes what the plan has shown, if the name of the unit was typed.
pub(in crate::console) async fn delete(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Directory);
    let unit = subject(&view, &id).await?;
    if form.value("confirm") == unit.name.trim() {
        let command = Command::DeleteUnit {
            id: id.clone(),
            cascade: Cascade::Confirmed(form.value("plan").to_owned()),
        };
        match view.console.hub().apply(caller, command).await {
            Ok(_) => {
                let parent = unit.parent_id.unwrap_or_default();
                return done(&address(&parent), "unit-deleted");
            }
            Err(error) => explain(&mut form, &view.page, error)?,
        }
    } else {
        let words = view.page.t1("confirm-differs", "name", &unit.name);
        form.refuse("confirm", words);
    }
    again(&DeletePage::of(view, form, id).await?)
}
