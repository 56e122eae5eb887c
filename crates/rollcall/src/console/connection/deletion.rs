//! Deleting a connection: what goes with it and what stays is shown, and its name is typed, before it is done.

use askama::Template;
use axum::extract::Path;

use super::Owned;
use crate::access::Permission;
use crate::connection::{Command, Connection, ConnectionError};
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::page::{Answer, Page, Section, View, show};

#[derive(Template)]
#[template(path = "connection_delete.html")]
struct DeletePage {
    page: Page,
    form: Filled,
    connection: Connection,
    owned: Owned,
}

impl DeletePage {
    async fn of(view: View, mut form: Filled, connection: Connection) -> Result<Self, Failure> {
        let id = connection.id.clone();
        let owned = view.console.db().read(move |tx| Owned::of(tx, &id)).await?;
        form.put("version", connection.update_time.to_string());
        Ok(Self {
            page: view.page,
            form,
            connection,
            owned,
        })
    }
}

pub(super) async fn form(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Connections);
    view.needs(Permission::ManageAccess)?;
    let connection = super::subject(&view, &id).await?;
    show(&DeletePage::of(view, Filled::default(), connection).await?)
}

pub(super) async fn delete(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ManageAccess)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Connections);
    let mut connection = super::subject(&view, &id).await?;
    if form.value("confirm") == connection.name.trim() {
        let id = connection.id.clone();
        let deleting = view
            .console
            .hub()
            .apply_connection(caller, Command::Delete { id });
        match deleting.await {
            Ok(_) => return done("/console/connections", "connection-deleted"),
            Err(ConnectionError::Changed { id, .. }) => {
                connection = super::subject(&view, &id).await?;
                form.warn(view.page.t("connection-changed"));
            }
            Err(error) => return Err(error.into()),
        }
    } else {
        let words = view.page.t1("confirm-differs", "name", &connection.name);
        form.refuse("confirm", words);
    }
    again(&DeletePage::of(view, form, connection).await?)
}
