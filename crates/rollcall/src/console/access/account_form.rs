//! Making an account, and changing what it may do.

use std::collections::HashMap;

use askama::Template;
use axum::extract::Path;

use super::account::{one_time, subject};
use super::{explain, named, role_in};
use crate::access::Permission;
use crate::accounts::{Account, AccountChanges, AccountError, Command, NewAccount};
use crate::console::form::{Filled, Posted, again, done};
use crate::console::page::{Answer, Page, Section, View, show};
use crate::signin::manage;

/// The fields that one may have changed while another has the form open.
const FIELDS: [&str; 4] = ["displayName", "email", "role", "applications"];

#[derive(Template)]
#[template(path = "account_form.html")]
struct AccountFormPage {
    page: Page,
    form: Filled,
    /// The account that is changed; `None` if one is made.
    account: Option<Account>,
}

pub(in crate::console) async fn new(view: View) -> Answer {
    let view = view.within(Section::Access);
    view.needs(Permission::ManageAccess)?;
    show(&AccountFormPage {
        page: view.page,
        form: Filled::with(&[("role", "operator")]),
        account: None,
    })
}

pub(in crate::console) async fn create(posted: Posted) -> Answer {
    posted.view.needs(Permission::ManageAccess)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Access);
    if let Some(role) = role_in(&view, &mut form).await? {
        let new = NewAccount {
            name: form.value("name").to_owned(),
            display_name: form.given("displayName"),
            email: form.given("email"),
            role,
            password_hash: None,
        };
        match manage::create(view.console.hub(), caller, new, None).await {
            Ok(fresh) => return one_time(view.page, fresh),
            Err(error) => explain(&mut form, &view.page, error)?,
        }
    }
    again(&AccountFormPage {
        page: view.page,
        form,
        account: None,
    })
}

fn filled(account: &Account, names: &HashMap<String, String>) -> Filled {
    let applications = named(account.role.applications().into_iter().flatten(), names);
    Filled::with(&[
        ("version", &account.update_time.to_string()),
        ("displayName", account.display_name.as_deref().unwrap_or_default()),
        ("email", account.email.as_deref().unwrap_or_default()),
        ("role", account.role.name().as_str()),
        ("applications", &applications.join("\n")),
    ])
}

pub(in crate::console) async fn edit(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Access);
    view.needs(Permission::ManageAccess)?;
    let (account, names) = subject(&view, &id).await?;
    show(&AccountFormPage {
        page: view.page,
        form: filled(&account, &names),
        account: Some(account),
    })
}

pub(in crate::console) async fn update(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ManageAccess)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Access);
    let (mut account, names) = subject(&view, &id).await?;
    if let Some(role) = role_in(&view, &mut form).await? {
        let is = filled(&account, &names);
        let differs = |name: &str| form.value(name) != is.value(name);
        let changes = AccountChanges {
            display_name: differs("displayName").then(|| form.given("displayName")),
            email: differs("email").then(|| form.given("email")),
            role: (role != account.role).then_some(role),
            disabled: None,
        };
        let command = Command::Update {
            id: id.clone(),
            changes,
        };
        match view.console.hub().apply_account(caller, command).await {
            Ok(_) => return done(&format!("/console/accounts/{id}"), "account-changed"),
            Err(error) => {
                if let AccountError::Changed { .. } = error {
                    let (now, names) = subject(&view, &id).await?;
                    form.compare(&filled(&now, &names), &FIELDS);
                    account = now;
                }
                explain(&mut form, &view.page, error)?;
            }
        }
    }
    again(&AccountFormPage {
        page: view.page,
        form,
        account: Some(account),
    })
}
