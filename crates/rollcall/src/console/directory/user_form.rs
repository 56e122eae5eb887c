//! Making a user, and changing its fields.

use axum::extract::{Path, Query};
use serde::Deserialize;

use askama::Template;
use rollcall_db::DbError;

use super::refusal::{explain, unknown};
use super::suggested_units;
use crate::access::Permission;
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::page::{Answer, Page, Section, View, show};
use crate::directory::{
    Command, CustomFields, DirectoryError, NewPassword, NewUser, User, UserChanges, query,
};
use crate::secret::{ExposeSecret as _, SecretString};

/// The fields that are one text each.
const FIELDS: [&str; 11] = [
    "username",
    "displayName",
    "email",
    "emailVerified",
    "phoneRegion",
    "phoneNumber",
    "phoneVerified",
    "description",
    "externalId",
    "accountExpireTime",
    "customFields",
];

/// How many empty rows there are for further custom fields.
const EMPTY_ROWS: usize = 2;

#[derive(Template)]
#[template(path = "user_form.html")]
struct UserFormPage {
    page: Page,
    form: Filled,
    /// Who is changed: the id, and what people call it; `None` if somebody is made.
    user: Option<(String, String)>,
    custom: Vec<(String, String)>,
    units: Vec<String>,
}

impl UserFormPage {
    fn of(page: Page, form: Filled, user: Option<&User>, units: Vec<String>) -> Self {
        let mut custom = rows(&form);
        custom.resize_with(custom.len() + EMPTY_ROWS, Default::default);
        Self {
            page,
            form,
            user: user.map(|user| (user.id.clone(), user.username.clone())),
            custom,
            units,
        }
    }
}

/// The custom fields that a form has, without rows of which nothing is filled in.
fn rows(form: &Filled) -> Vec<(String, String)> {
    let pairs = form.all("customName").zip(form.all("customValue"));
    pairs
        .filter(|(name, value)| !name.is_empty() || !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The same as they are to be stored.
fn custom_fields(form: &mut Filled, page: &Page) -> CustomFields {
    let mut fields = CustomFields::new();
    for (name, value) in rows(form) {
        if name.is_empty() {
            form.refuse("customFields", page.t1("custom-no-name", "value", value));
        } else if fields.insert(name.clone(), value).is_some() {
            form.refuse("customFields", page.t1("custom-twice", "name", name));
        }
    }
    fields
}

/// The time that a field has; a form in which it is none is refused.
pub(super) fn time(form: &mut Filled, page: &Page, name: &str) -> Option<i64> {
    let text = form.given(name)?;
    let time = page.read_field(&text);
    if time.is_none() {
        form.refuse(name, page.t("rule-time"));
    }
    time
}

#[derive(Deserialize)]
pub(in crate::console) struct In {
    #[serde(default)]
    unit: String,
}

/// The form for somebody new, in the unit from which it was opened.
pub(in crate::console) async fn new(view: View, Query(within): Query<In>) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    let path = {
        let id = within.unit;
        view.console
            .db()
            .read(move |tx| query::unit_path(tx, &id))
            .await?
    };
    let units = suggested_units(&view).await?;
    let form = Filled::with(&[("unit", if path.is_empty() { "/" } else { &path })]);
    show(&UserFormPage::of(view.page, form, None, units))
}

pub(in crate::console) async fn create(mut posted: Posted) -> Answer {
    posted.view = posted.view.within(Section::Directory);
    posted.view.needs(Permission::WriteDirectory)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let page = &view.page;
    let primary = unit_in(&view, &mut form, "unit").await?;
    let password = new_password(&view, &mut form).await?;
    let new = NewUser {
        username: form.value("username").to_owned(),
        display_name: form.value("displayName").to_owned(),
        primary_organizational_unit_id: primary.unwrap_or_default(),
        email: form.given("email"),
        email_verified: form.is_on("emailVerified"),
        phone_region: form.given("phoneRegion"),
        phone_number: form.given("phoneNumber"),
        phone_verified: form.is_on("phoneVerified"),
        description: form.given("description"),
        external_id: form.given("externalId"),
        account_expire_time: time(&mut form, page, "accountExpireTime"),
        custom_fields: custom_fields(&mut form, page),
        disabled: form.is_on("disabled"),
        password,
        ..NewUser::default()
    };
    if !form.is_refused() {
        match view.console.hub().apply(caller, Command::CreateUser(new)).await {
            Ok(applied) => return done(&format!("/console/users/{}", applied.id), "user-created"),
            Err(error) => explain(&mut form, page, error)?,
        }
    }
    let units = suggested_units(&view).await?;
    again(&UserFormPage::of(view.page, form, None, units))
}

/// The id of the unit that a field names.
pub(in crate::console) async fn unit_in(
    view: &View,
    form: &mut Filled,
    field: &str,
) -> Result<Option<String>, Failure> {
    let text = form.value(field).to_owned();
    let found = {
        let text = text.clone();
        view.console
            .db()
            .read(move |tx| query::find_unit(tx, &text))
            .await
    };
    match found {
        Ok(Some(unit)) => return Ok(Some(unit.id)),
        Ok(None) => unknown(form, &view.page, field, "unit-unknown", &text),
        Err(DirectoryError::Ambiguous { .. }) => unknown(form, &view.page, field, "unit-ambiguous", &text),
        Err(error) => return Err(error.into()),
    }
    Ok(None)
}

/// The password that was typed, if one was; hashed, which takes a while.
async fn new_password(view: &View, form: &mut Filled) -> Result<Option<NewPassword>, Failure> {
    let typed = form.take_secret("password");
    if typed.expose_secret().is_empty() {
        return Ok(None);
    }
    match prepare(view, typed).await {
        Ok(password) => Ok(Some(password)),
        Err(error) => {
            explain(form, &view.page, error)?;
            Ok(None)
        }
    }
}

/// Hashes a password.
pub(super) async fn prepare(view: &View, typed: SecretString) -> Result<NewPassword, DirectoryError> {
    let random = std::sync::Arc::clone(&view.console.hub().random);
    let prepared = tokio::task::spawn_blocking(move || NewPassword::prepare(typed, &*random)).await;
    prepared.map_err(|error| DbError::Other(error.to_string()))?
}

/// The form of somebody as it is now.
fn filled(user: &User, page: &Page) -> Filled {
    let yes = |is: bool| if is { "yes" } else { "" };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let custom: Vec<String> = user
        .custom_fields
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    let mut form = Filled::with(&[
        ("version", &user.update_time.to_string()),
        ("username", &user.username),
        ("displayName", &user.display_name),
        ("email", &text(&user.email)),
        ("emailVerified", yes(user.email_verified)),
        ("phoneRegion", &text(&user.phone_region)),
        ("phoneNumber", &text(&user.phone_number)),
        ("phoneVerified", yes(user.phone_verified)),
        ("description", &text(&user.description)),
        ("externalId", &text(&user.external_id)),
        (
            "accountExpireTime",
            &user
                .account_expire_time
                .map(|at| page.field(at))
                .unwrap_or_default(),
        ),
        ("customFields", &custom.join("; ")),
    ]);
    for (name, value) in &user.custom_fields {
        form.add("customName", name);
        form.add("customValue", value);
    }
    form
}

/// The user that a page is about.
pub(super) async fn subject(view: &View, id: &str) -> Result<User, Failure> {
    let ids = [id.to_owned()];
    let found = view
        .console
        .db()
        .read(move |tx| query::users_of(tx, &ids))
        .await?;
    found.into_iter().next().ok_or(Failure::NotFound)
}

pub(in crate::console) async fn edit(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    let user = subject(&view, &id).await?;
    let form = filled(&user, &view.page);
    show(&UserFormPage::of(view.page, form, Some(&user), Vec::new()))
}

/// What somebody wants to be different from how the user is: whatever else another has changed stays.
fn changes(form: &mut Filled, user: &User, page: &Page) -> UserChanges {
    let is = filled(user, page);
    let differs = |form: &Filled, name: &str| form.value(name) != is.value(name);
    let text = |form: &Filled, name: &str| differs(form, name).then(|| form.value(name).to_owned());
    let optional = |form: &Filled, name: &str| differs(form, name).then(|| form.given(name));
    let tick = |form: &Filled, name: &str| differs(form, name).then(|| form.is_on(name));
    let wanted = custom_fields(form, page);
    let gone = user
        .custom_fields
        .keys()
        .filter(|name| !wanted.contains_key(*name));
    let mut custom: crate::directory::CustomChanges = gone.map(|name| (name.clone(), None)).collect();
    for (name, value) in wanted {
        if user.custom_fields.get(&name).map(|is| is.trim()) != Some(&value) {
            custom.insert(name, Some(value));
        }
    }
    UserChanges {
        username: text(form, "username"),
        display_name: text(form, "displayName"),
        email: optional(form, "email"),
        email_verified: tick(form, "emailVerified"),
        phone_region: optional(form, "phoneRegion"),
        phone_number: optional(form, "phoneNumber"),
        phone_verified: tick(form, "phoneVerified"),
        description: optional(form, "description"),
        external_id: optional(form, "externalId"),
        account_expire_time: differs(form, "accountExpireTime")
            .then(|| time(form, page, "accountExpireTime")),
        custom_fields: custom,
        source: None,
    }
}

pub(in crate::console) async fn update(Path(id): Path<String>, mut posted: Posted) -> Answer {
    posted.view = posted.view.within(Section::Directory);
    posted.view.needs(Permission::WriteDirectory)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let mut user = subject(&view, &id).await?;
    let changes = changes(&mut form, &user, &view.page);
    if !form.is_refused() {
        let command = Command::UpdateUser {
            id: id.clone(),
            changes,
        };
        match view.console.hub().apply(caller, command).await {
            Ok(_) => return done(&format!("/console/users/{id}"), "user-changed"),
            Err(error) => {
                if let DirectoryError::Changed { .. } = error {
                    user = subject(&view, &id).await?;
                    show_difference(&mut form, &filled(&user, &view.page));
                }
                explain(&mut form, &view.page, error)?;
            }
        }
    }
    again(&UserFormPage::of(view.page, form, Some(&user), Vec::new()))
}

/// Shows beside each field what somebody else has made of it.
fn show_difference(form: &mut Filled, is: &Filled) {
    let typed: Vec<String> = rows(form)
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    form.put("customFields", typed.join("; "));
    form.compare(is, &FIELDS);
}
