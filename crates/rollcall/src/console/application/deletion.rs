//! Deleting an application: what goes with it is shown, and its name is typed, before it is done.

use askama::Template;
use axum::extract::Path;

use crate::access::Permission;
use crate::application::ApplicationError;
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::page::{Answer, Page, Section, View, show};
use crate::delivery::ledger::operate::{self, ApplicationDeletion, OperateError};

#[derive(Template)]
#[template(path = "application_delete.html")]
struct DeletePage {
    page: Page,
    form: Filled,
    plan: ApplicationDeletion,
}

impl DeletePage {
    async fn of(view: View, form: Filled, id: String) -> Result<Self, Failure> {
        let plan = view
            .console
            .db()
            .read(move |tx| operate::plan_deletion(tx, &id))
            .await?;
        Ok(Self {
            page: view.page,
            form,
            plan,
        })
    }
}

pub(super) async fn form(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ConfigureApplications)?;
    let id = view.application(id).await?.id;
    show(&DeletePage::of(view, Filled::default(), id).await?)
}

pub(super) async fn delete(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ConfigureApplications)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Applications);
    let application = view.application(id).await?;
    if form.value("confirm") == application.name.trim() {
        let (id, token) = (application.id.clone(), form.value("plan").to_owned());
        let deleting = view
            .console
            .hub()
            .write_as(caller, move |tx, ctx| operate::delete(tx, ctx, &id, &token));
        match deleting.await {
            Ok(_) => return done("/console/applications", "application-deleted"),
            Err(OperateError::Application(ApplicationError::PlanChanged)) => {
                form.warn(view.page.t("form-plan-changed"));
            }
            Err(error) => return Err(error.into()),
        }
    } else {
        let words = view.page.t1("confirm-differs", "name", &application.name);
        form.refuse("confirm", words);
    }
    again(&DeletePage::of(view, form, application.id).await?)
}
