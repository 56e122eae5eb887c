//! The accounts, and one of them: what it may do, and what can be done with it by a button.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{Path, Query};
use rollcall_db::DbError;
use serde::Deserialize;

use super::{ON_A_PAGE, ShownRole, explain};
use crate::access::Permission;
use crate::accounts::sessions::{self, Session};
use crate::accounts::{self, Account, AccountChanges, AccountError, Command};
use crate::application::store;
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::once::ShownOnce;
use crate::console::page::{Answer, Page, Section, View, address, show};
use crate::signin::manage;

#[derive(Deserialize)]
pub(in crate::console) struct After {
    #[serde(default)]
    pub(super) after: String,
}

#[derive(Template)]
#[template(path = "accounts.html")]
struct AccountsPage {
    page: Page,
    accounts: Vec<(Account, ShownRole)>,
    is_first: bool,
    next: Option<String>,
}

pub(in crate::console) async fn list(view: View, Query(from): Query<After>) -> Answer {
    let view = view.within(Section::Access);
    view.needs(Permission::ReadAccess)?;
    let after = from.after.clone();
    let (mut accounts, names) = view
        .console
        .db()
        .read(move |tx| {
            let accounts = accounts::page(tx, &after, ON_A_PAGE + 1)?;
            Ok::<_, DbError>((accounts, store::names(tx)?))
        })
        .await?;
    let is_more = accounts.len() > ON_A_PAGE;
    accounts.truncate(ON_A_PAGE);
    let last = accounts.last().filter(|_| is_more);
    show(&AccountsPage {
        is_first: from.after.is_empty(),
        next: last.map(|last| address("/console/accounts", &[("after", &last.name)])),
        accounts: accounts
            .into_iter()
            .map(|account| {
                let role = ShownRole::of(&account.role, &names);
                (account, role)
            })
            .collect(),
        page: view.page,
    })
}

/// The account that a page is about, by its id.
pub(super) async fn subject(view: &View, id: &str) -> Result<(Account, HashMap<String, String>), Failure> {
    let id = id.to_owned();
    let found = view.console.db().read(move |tx| {
        let account = accounts::find(tx, &id)?;
        Ok::<_, AccountError>((account, store::names(tx)?))
    });
    Ok(found.await?)
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    page: Page,
    account: Account,
    role: ShownRole,
    sessions: Vec<Session>,
    is_own: bool,
}

pub(in crate::console) async fn show_one(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Access);
    view.needs(Permission::ReadAccess)?;
    let (account, names) = subject(&view, &id).await?;
    let (now, lifetime) = (view.console.now(), view.console.api.sign_in.lifetime());
    let account_id = account.id.clone();
    let sessions = view
        .console
        .db()
        .read(move |tx| sessions::list(tx, Some(&account_id), now, lifetime))
        .await?;
    show(&AccountPage {
        role: ShownRole::of(&account.role, &names),
        is_own: view.visitor.account().is_some_and(|own| own.id == account.id),
        account,
        sessions,
        page: view.page,
    })
}

async fn set_disabled(posted: Posted, id: String, disabled: bool, what: &str) -> Answer {
    posted.view.needs(Permission::ManageAccess)?;
    let changes = AccountChanges {
        disabled: Some(disabled),
        ..AccountChanges::default()
    };
    let command = Command::Update {
        id: id.clone(),
        changes,
    };
    let applied = posted
        .view
        .console
        .hub()
        .apply_account(posted.caller(), command)
        .await;
    match applied {
        Ok(_) => done(&format!("/console/accounts/{id}"), what),
        Err(AccountError::LastAdministrator(name)) => {
            let words = posted.view.page.t1("account-last", "name", name);
            Err(Failure::Refused(words))
        }
        Err(error) => Err(error.into()),
    }
}

pub(in crate::console) async fn enable(Path(id): Path<String>, posted: Posted) -> Answer {
    set_disabled(posted, id, false, "account-enabled").await
}

pub(in crate::console) async fn disable(Path(id): Path<String>, posted: Posted) -> Answer {
    set_disabled(posted, id, true, "account-disabled").await
}

pub(in crate::console) async fn reset_password(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ManageAccess)?;
    let caller = posted.caller();
    let view = posted.view.within(Section::Access);
    let (account, _) = subject(&view, &id).await?;
    let fresh = manage::reset_password(view.console.hub(), caller, &account).await?;
    one_time(view.page, fresh)
}

/// Shows the one-time password of an account.
pub(super) fn one_time(page: Page, fresh: manage::Fresh) -> Answer {
    let back = format!("/console/accounts/{}", fresh.account.id);
    let Some(secret) = fresh.one_time_password else {
        return done(&back, "account-created");
    };
    show(&ShownOnce {
        title: page.t1("once-account-title", "name", &fresh.account.name),
        lead: page.t("once-account-lead"),
        label: page.t("once-account-label"),
        secret,
        beside: None,
        back,
        page,
    })
}

pub(in crate::console) async fn end_sessions(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ManageAccess)?;
    let command = Command::EndSessions {
        account_id: id.clone(),
    };
    let hub = posted.view.console.hub();
    hub.apply_account(posted.view.visitor.caller(), command).await?;
    done(&format!("/console/accounts/{id}"), "sessions-ended")
}

#[derive(Template)]
#[template(path = "account_delete.html")]
struct DeletePage {
    page: Page,
    form: Filled,
    account: Account,
}

pub(in crate::console) async fn delete_page(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Access);
    view.needs(Permission::ManageAccess)?;
    let (account, _) = subject(&view, &id).await?;
    show(&DeletePage {
        page: view.page,
        form: Filled::with(&[("version", &account.update_time.to_string())]),
        account,
    })
}

pub(in crate::console) async fn delete(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ManageAccess)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Access);
    let (account, _) = subject(&view, &id).await?;
    if form.value("confirm") == account.name {
        let command = Command::Delete { id };
        match view.console.hub().apply_account(caller, command).await {
            Ok(_) => return done("/console/accounts", "account-deleted"),
            Err(error) => explain(&mut form, &view.page, error)?,
        }
    } else {
        let words = view.page.t1("confirm-differs", "name", &account.name);
        form.refuse("confirm", words);
    }
    form.put("version", account.update_time.to_string());
    again(&DeletePage {
        page: view.page,
        form,
        account,
    })
}
