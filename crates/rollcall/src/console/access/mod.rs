//! Who may use the hub: accounts of people, tokens of programs, and one's own sessions.

mod account;
mod account_form;
mod sessions;
mod token;

use std::collections::{BTreeSet, HashMap};

use axum::routing::{get, post};

use super::addresses::Addresses;
use super::error::Failure;
use super::form::Filled;
use super::page::{Page, View};
use super::visitor::role_key;
use crate::access::{Role, RoleName};
use crate::accounts::AccountError;
use crate::signin::manage;
pub(super) use token::{EXPIRES, term_in};

/// How many accounts or tokens a page has.
const ON_A_PAGE: usize = 50;

/// The pages of accounts, tokens and sessions.
pub(super) fn routes() -> Addresses {
    let account = |what: &str| format!("/console/accounts/{{id}}/{what}");
    Addresses::default()
        .route("/console/accounts", get(account::list))
        .route(
            "/console/accounts/new",
            get(account_form::new).post(account_form::create),
        )
        .route("/console/accounts/{id}", get(account::show_one))
        .route(
            &account("edit"),
            get(account_form::edit).post(account_form::update),
        )
        .route(&account("enable"), post(account::enable))
        .route(&account("disable"), post(account::disable))
        .route(&account("password"), post(account::reset_password))
        .route(&account("sessions"), post(account::end_sessions))
        .route(
            &account("delete"),
            get(account::delete_page).post(account::delete),
        )
        .route("/console/tokens", get(token::list))
        .route("/console/tokens/new", get(token::new).post(token::create))
        .route(
            "/console/tokens/{id}/revoke",
            get(token::revoke_page).post(token::revoke),
        )
        .route("/console/sessions", get(sessions::list))
        .route("/console/sessions/end", post(sessions::end))
}

/// A role as a page shows it.
struct ShownRole {
    key: &'static str,
    /// Of an owner: the names of the applications, in their order.
    applications: Vec<String>,
}

impl ShownRole {
    fn of(role: &Role, names: &HashMap<String, String>) -> Self {
        let ids = role.applications().into_iter().flatten();
        Self {
            key: role_key(role.name()),
            applications: named(ids, names),
        }
    }
}

/// The names of applications, in their order.
fn named<'a>(ids: impl Iterator<Item = &'a String>, names: &HashMap<String, String>) -> Vec<String> {
    let all: BTreeSet<String> = ids.map(|id| names.get(id).unwrap_or(id).clone()).collect();
    all.into_iter().collect()
}

/// The role that a form has.
async fn role_in(view: &View, form: &mut Filled) -> Result<Option<Role>, Failure> {
    let Ok(name) = form.value("role").parse::<RoleName>() else {
        form.refuse("role", view.page.t("role-choose"));
        return Ok(None);
    };
    let applications: Vec<String> = match name {
        RoleName::ApplicationOwner => form
            .value("applications")
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect(),
        // What was typed for another role does not matter.
        _ => Vec::new(),
    };
    if name == RoleName::ApplicationOwner && applications.is_empty() {
        form.refuse("applications", view.page.t("owner-applications"));
        return Ok(None);
    }
    match manage::role(view.console.hub(), name, applications).await {
        Ok(role) => Ok(Some(role)),
        Err(error) => {
            explain(form, &view.page, error)?;
            Ok(None)
        }
    }
}

/// Says in a form why its command was refused. What a form cannot mend is given back.
fn explain(form: &mut Filled, page: &Page, error: AccountError) -> Result<(), Failure> {
    use crate::application::ApplicationError;
    match error {
        AccountError::NameTaken(name) => form.refuse("name", page.t1("account-taken", "name", name)),
        AccountError::InvalidField { field, .. } => form.refuse(field, page.t(rule_of(field))),
        AccountError::LastAdministrator(name) => form.warn(page.t1("account-last", "name", name)),
        AccountError::Changed { .. } => form.warn(page.t("form-changed")),
        AccountError::Application(ApplicationError::NotFound(text)) => {
            form.refuse("applications", page.t1("application-unknown", "text", text));
        }
        AccountError::Application(ApplicationError::Ambiguous(text)) => {
            form.refuse("applications", page.t1("application-ambiguous", "text", text));
        }
        other => return Err(other.into()),
    }
    Ok(())
}

/// The text that says what a field takes.
fn rule_of(field: &str) -> &'static str {
    match field {
        "name" => "rule-account-name",
        "displayName" => "rule-name",
        "email" => "rule-email",
        "applications" => "owner-applications",
        "expiresInDays" => "rule-days",
        _ => "rule-other",
    }
}
