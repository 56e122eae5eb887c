//! Making a connection, and changing what is set of it.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::Path;
use rollcall_scim::mapping::MappingError;

use crate::access::Permission;
use crate::connection::{
    self, CUSTOM, Command, Connection, ConnectionChanges, ConnectionError, NewConnection, TARGETS, TakesOver,
    differing, expressions, mistake, usual_rate,
};
use crate::console::directory::{suggested_units, unit_in};
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::mistakes;
use crate::console::page::{Answer, Page, Section, View, show};
use crate::directory::query;

/// The fields that may differ from what somebody else has saved meanwhile, besides those of the mapping.
const FIELDS: [&str; 6] = ["name", "unit", "takesOver", "strict", "rate", "custom"];

/// A field of the directory that has an expression.
struct Mapped {
    /// What the form calls it.
    name: String,
    /// Its label.
    label: &'static str,
    target: &'static str,
}

impl Mapped {
    /// Those of the directory's own.
    fn all() -> Vec<Self> {
        let of = |target: &'static str| Self {
            name: field_of(target),
            label: label_of(target),
            target,
        };
        TARGETS.into_iter().map(of).collect()
    }
}

/// What the form calls the field that has the expression of a target.
fn field_of(target: &str) -> String {
    match target.starts_with(CUSTOM) {
        true => "custom".to_owned(),
        false => format!("map-{target}"),
    }
}

fn label_of(target: &str) -> &'static str {
    match target {
        "username" => "user-username",
        "displayName" => "user-name",
        "email" => "user-email",
        "phoneRegion" => "user-phone-region",
        "phoneNumber" => "user-phone",
        "description" => "user-description",
        "externalId" => "external-id",
        _ => "user-enabled",
    }
}

#[derive(Template)]
#[template(path = "connection_form.html")]
struct FormPage {
    page: Page,
    form: Filled,
    /// What is changed: id and name; `None` if one is made.
    connection: Option<(String, String)>,
    mapped: Vec<Mapped>,
    /// Whether the mapping is shown at once.
    is_open: bool,
    units: Vec<String>,
}

impl FormPage {
    async fn of(view: View, form: Filled, connection: Option<&Connection>) -> Result<Self, Failure> {
        let units = suggested_units(&view).await?;
        let mapped = Mapped::all();
        let names = mapped.iter().map(|field| field.name.as_str());
        let has_something_to_say = names
            .chain(["custom"])
            .any(|name| form.wrong(name).is_some() || form.present(name).is_some());
        let differs = connection.is_some_and(|connection| !connection.mapping.is_empty());
        Ok(Self {
            is_open: has_something_to_say || differs,
            mapped,
            connection: connection.map(|connection| (connection.id.clone(), connection.name.clone())),
            units,
            form,
            page: view.page,
        })
    }
}

/// The form's fields of a mapping.
fn fill_mapping(form: &mut Filled, mapping: &BTreeMap<String, String>) {
    let all = expressions(mapping);
    for target in TARGETS {
        form.put(&field_of(target), *all.get(target).unwrap_or(&""));
    }
    let custom: Vec<String> = all
        .iter()
        .filter_map(|(target, expression)| Some(format!("{} = {expression}", target.strip_prefix(CUSTOM)?)))
        .collect();
    form.put("custom", custom.join("\n"));
}

async fn filled(view: &View, connection: &Connection) -> Result<Filled, Failure> {
    let unit = connection.organizational_unit_id.clone();
    let path = view
        .console
        .db()
        .read(move |tx| query::unit_path(tx, &unit))
        .await?;
    let mut form = Filled::with(&[
        ("version", &connection.update_time.to_string()),
        ("name", &connection.name),
        ("unit", if path.is_empty() { "/" } else { &path }),
        ("takesOver", connection.takes_over.as_str()),
        ("strict", if connection.strict { "yes" } else { "" }),
        ("rate", &connection.requests_per_second.to_string()),
    ]);
    fill_mapping(&mut form, &connection.mapping);
    Ok(form)
}

/// What a form says that can be used.
struct Asked {
    unit: String,
    takes_over: TakesOver,
    rate: u32,
    mapping: BTreeMap<String, String>,
}

impl Asked {
    /// Reads a form; `None` if something is wrong, which it says then.
    async fn read(view: &View, form: &mut Filled) -> Result<Option<Self>, Failure> {
        let mapping = mapping_in(form, &view.page);
        let rate = form.value("rate").parse::<u32>();
        if rate.is_err() {
            form.refuse("rate", view.page.t("rule-connection-rate"));
        }
        let Ok(takes_over) = form.value("takesOver").parse::<TakesOver>() else {
            return Err(Failure::NotFound);
        };
        let unit = unit_in(view, form, "unit").await?;
        Ok(match (unit, rate) {
            (Some(unit), Ok(rate)) if !form.is_refused() => Some(Self {
                unit,
                takes_over,
                rate,
                mapping,
            }),
            _ => None,
        })
    }
}

/// What a form's mapping differs from the usual one in.
fn mapping_in(form: &mut Filled, page: &Page) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for target in TARGETS {
        all.insert(target.to_owned(), form.value(&field_of(target)).to_owned());
    }
    let custom = form.value("custom").to_owned();
    for line in custom.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line
            .split_once('=')
            .map(|(name, rest)| (name.trim(), rest.trim()))
        {
            Some((name, expression)) if !name.is_empty() && !expression.is_empty() => {
                all.insert(format!("{CUSTOM}{name}"), expression.to_owned());
            }
            _ => form.refuse("custom", page.t1("rule-custom-mapping", "line", line)),
        }
    }
    for required in ["username", "displayName"] {
        if all.get(required).is_none_or(String::is_empty) {
            form.refuse(&field_of(required), page.t("rule-mapping-required"));
        }
    }
    for (target, expression) in all.iter().filter(|(_, expression)| !expression.is_empty()) {
        if let Some(error) = mistake(target, expression) {
            let reason = match &error {
                // The field says already which one it is.
                MappingError::Expr { error, .. } => mistakes::of_text(page, error),
                other => mistakes::of_rule(page, other),
            };
            let words = page.t2("rule-expression", "text", expression, "reason", &reason);
            form.refuse(&field_of(target), words);
        }
    }
    differing(all)
}

/// Says in a form why its command was refused. What a form cannot mend is given back.
fn explain(form: &mut Filled, page: &Page, error: ConnectionError) -> Result<(), Failure> {
    match error {
        ConnectionError::NameTaken(name) => form.refuse("name", page.t1("connection-taken", "name", name)),
        ConnectionError::InvalidField { field: "name", .. } => {
            form.refuse("name", page.t("rule-connection-name"));
        }
        ConnectionError::InvalidField {
            field: "requestsPerSecond",
            ..
        } => form.refuse("rate", page.t("rule-connection-rate")),
        ConnectionError::InvalidField { reason, .. } => form.warn(reason),
        ConnectionError::Changed { .. } => form.warn(page.t("form-changed")),
        other => return Err(other.into()),
    }
    Ok(())
}

pub(super) async fn new(view: View) -> Answer {
    let view = view.within(Section::Connections);
    view.needs(Permission::ManageAccess)?;
    let mut form = Filled::with(&[
        ("unit", "/"),
        ("takesOver", TakesOver::default().as_str()),
        ("rate", &usual_rate().to_string()),
    ]);
    fill_mapping(&mut form, &BTreeMap::new());
    show(&FormPage::of(view, form, None).await?)
}

pub(super) async fn create(posted: Posted) -> Answer {
    posted.view.needs(Permission::ManageAccess)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Connections);
    if let Some(asked) = Asked::read(&view, &mut form).await? {
        let new = NewConnection {
            name: form.value("name").to_owned(),
            organizational_unit_id: asked.unit,
            takes_over: asked.takes_over,
            strict: form.is_on("strict"),
            requests_per_second: asked.rate,
            mapping: asked.mapping,
        };
        let hub = view.console.hub();
        let made = match hub.apply_connection(caller, Command::Create(new)).await {
            Ok(applied) => applied.connection(),
            Err(error) => Err(error),
        };
        match made {
            Ok(made) => return done(&format!("/console/connections/{}", made.id), "connection-created"),
            Err(error) => explain(&mut form, &view.page, error)?,
        }
    }
    again(&FormPage::of(view, form, None).await?)
}

pub(super) async fn edit(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Connections);
    view.needs(Permission::ManageAccess)?;
    let connection = super::subject(&view, &id).await?;
    let form = filled(&view, &connection).await?;
    show(&FormPage::of(view, form, Some(&connection)).await?)
}

pub(super) async fn update(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ManageAccess)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Connections);
    let mut connection = super::subject(&view, &id).await?;
    if let Some(asked) = Asked::read(&view, &mut form).await? {
        let id = connection.id.clone();
        let changes = ConnectionChanges {
            name: Some(form.value("name").to_owned()),
            organizational_unit_id: Some(asked.unit),
            takes_over: Some(asked.takes_over),
            strict: Some(form.is_on("strict")),
            disabled: None,
            requests_per_second: Some(asked.rate),
            mapping: Some(asked.mapping),
        };
        let command = connection::Command::Update { id, changes };
        match view.console.hub().apply_connection(caller, command).await {
            Ok(_) => {
                let path = format!("/console/connections/{}", connection.id);
                return done(&path, "connection-saved");
            }
            Err(error) => {
                if let ConnectionError::Changed { id, .. } = &error {
                    connection = super::subject(&view, id).await?;
                    let is = filled(&view, &connection).await?;
                    let mapped = Mapped::all();
                    let names = mapped.iter().map(|field| field.name.as_str());
                    let names: Vec<&str> = FIELDS.into_iter().chain(names).collect();
                    form.compare(&is, &names);
                }
                explain(&mut form, &view.page, error)?;
            }
        }
    }
    again(&FormPage::of(view, form, Some(&connection)).await?)
}
