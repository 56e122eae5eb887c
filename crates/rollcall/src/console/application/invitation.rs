//! An invitation: an account that owns one application and nothing else, with a one-time password that is shown once.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::Path;

use crate::access::{Permission, Role};
use crate::accounts::{AccountError, NewAccount};
use crate::application::Application;
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, again};
use crate::console::once::ShownOnce;
use crate::console::page::{Answer, Page, Section, View, show};
use crate::signin::manage;

#[derive(Template)]
#[template(path = "invitation_form.html")]
struct InvitationPage {
    page: Page,
    form: Filled,
    id: String,
    name: String,
}

impl InvitationPage {
    fn of(page: Page, form: Filled, application: Application) -> Self {
        Self {
            page,
            form,
            id: application.id,
            name: application.name,
        }
    }
}

pub(super) async fn form(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ManageAccess)?;
    let application = view.application(id).await?;
    show(&InvitationPage::of(view.page, Filled::default(), application))
}

/// Says in the form why no account was made. What it cannot mend is given back.
fn explain(form: &mut Filled, page: &Page, error: AccountError) -> Result<(), Failure> {
    match error {
        AccountError::NameTaken(name) => form.refuse("username", page.t1("account-taken", "name", name)),
        AccountError::InvalidField { field: "name", .. } => {
            form.refuse("username", page.t("rule-account-name"));
        }
        AccountError::InvalidField {
            field: "displayName", ..
        } => form.refuse("displayName", page.t("rule-name")),
        AccountError::InvalidField { field: "email", .. } => form.refuse("email", page.t("rule-email")),
        AccountError::Database(error) => return Err(error.into()),
        other => return Err(Failure::Conflict(other.to_string())),
    }
    Ok(())
}

pub(super) async fn invite(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ManageAccess)?;
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Applications);
    let application = view.application(id).await?;
    let new = NewAccount {
        name: form.value("username").to_owned(),
        display_name: form.given("displayName"),
        email: form.given("email"),
        role: Role::ApplicationOwner(BTreeSet::from([application.id.clone()])),
        password_hash: None,
    };
    match manage::create(view.console.hub(), view.visitor.caller(), new, None).await {
        Ok(fresh) => {
            let made = fresh.one_time_password;
            let secret = made.ok_or_else(|| Failure::Internal("no password was made".to_owned()))?;
            let page = view.page;
            show(&ShownOnce {
                title: page.t1("invitation-made", "name", &application.name),
                lead: page.t1("invitation-made-lead", "name", &fresh.account.name),
                label: page.t("invitation-password"),
                secret,
                beside: None,
                back: format!("/console/applications/{}/receive", application.id),
                page,
            })
        }
        Err(error) => {
            explain(&mut form, &view.page, error)?;
            again(&InvitationPage::of(view.page, form, application))
        }
    }
}
