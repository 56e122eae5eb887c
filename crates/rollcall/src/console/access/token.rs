//! Tokens of programs, and access keys among them: making one, which is shown once, and making one good for nothing.

use askama::Template;
use axum::extract::{Path, Query};

use super::account::After;
use super::{ON_A_PAGE, ShownRole, explain, role_in};
use crate::access::Permission;
use crate::accounts::tokens::{self, ApiToken, Term};
use crate::accounts::{self, AccountError, Command};
use crate::application::store;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::once::ShownOnce;
use crate::console::page::{Answer, Page, Section, View, address, show};
use crate::secret::SecretString;
use crate::signin::manage;
use rollcall_db::DbError;

struct ShownToken {
    token: ApiToken,
    role: ShownRole,
    maker: String,
    is_expired: bool,
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    page: Page,
    tokens: Vec<ShownToken>,
    is_first: bool,
    next: Option<String>,
}

pub(in crate::console) async fn list(view: View, Query(from): Query<After>) -> Answer {
    let view = view.within(Section::Access);
    view.needs(Permission::ReadAccess)?;
    let after = from.after.clone();
    let (mut tokens, applications, makers) = view
        .console
        .db()
        .read(move |tx| {
            let tokens = tokens::page(tx, &after, ON_A_PAGE + 1)?;
            Ok::<_, DbError>((tokens, store::names(tx)?, accounts::names(tx)?))
        })
        .await?;
    let is_more = tokens.len() > ON_A_PAGE;
    tokens.truncate(ON_A_PAGE);
    let last = tokens.last().filter(|_| is_more);
    let now = view.console.now();
    show(&TokensPage {
        is_first: from.after.is_empty(),
        next: last.map(|last| address("/console/tokens", &[("after", &last.id)])),
        tokens: tokens
            .into_iter()
            .map(|token| ShownToken {
                role: ShownRole::of(&token.role, &applications),
                maker: accounts::called(&token.created_by, &makers).to_owned(),
                is_expired: token.expires_at.is_some_and(|at| at <= now),
                token,
            })
            .collect(),
        page: view.page,
    })
}

#[derive(Template)]
#[template(path = "token_form.html")]
struct TokenFormPage {
    page: Page,
    form: Filled,
}

pub(in crate::console) async fn new(view: View) -> Answer {
    let view = view.within(Section::Access);
    view.needs(Permission::ManageAccess)?;
    let days = tokens::DAYS.to_string();
    show(&TokenFormPage {
        page: view.page,
        form: Filled::with(&[("kind", "token"), ("role", "auditor"), (EXPIRES, &days)]),
    })
}

/// The field that says after how many days a token expires.
pub(in crate::console) const EXPIRES: &str = "expiresInDays";

/// How long a token is to be good for; a form in which that is no number is refused.
pub(in crate::console) fn term_in(form: &mut Filled, page: &Page) -> Term {
    if form.is_on("neverExpires") {
        return Term::Never;
    }
    let days = form.value(EXPIRES).parse();
    Term::Days(days.unwrap_or_else(|_| {
        form.refuse(EXPIRES, page.t("rule-days"));
        tokens::DAYS
    }))
}

/// What is made.
enum Kind {
    /// A token, which is shown with each request.
    Token,
    /// An access key, which signs requests of the management API.
    AccessKey,
}

/// What a form wants to be made.
fn kind_in(form: &mut Filled, page: &Page) -> Kind {
    match form.value("kind") {
        "token" => Kind::Token,
        "access_key" => Kind::AccessKey,
        _ => {
            form.refuse("kind", page.t("token-kind-choose"));
            Kind::Token
        }
    }
}

/// The page on which the secret of what was made stands.
fn shown_once(page: Page, kind: &Kind, token: &ApiToken, secret: SecretString) -> ShownOnce {
    let back = "/console/tokens".to_owned();
    match kind {
        Kind::Token => ShownOnce {
            title: page.t1("once-token-title", "name", &token.name),
            lead: page.t("once-token-lead"),
            label: page.t("once-token-label"),
            secret,
            beside: None,
            back,
            page,
        },
        Kind::AccessKey => ShownOnce {
            title: page.t1("once-access-key-title", "name", &token.name),
            lead: page.t("once-access-key-lead"),
            label: page.t("token-kind-access-key"),
            secret,
            beside: Some((page.t("access-key-id"), token.id.clone())),
            back,
            page,
        },
    }
}

pub(in crate::console) async fn create(posted: Posted) -> Answer {
    posted.view.needs(Permission::ManageAccess)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Access);
    let term = term_in(&mut form, &view.page);
    let kind = kind_in(&mut form, &view.page);
    let role = role_in(&view, &mut form).await?;
    if let Some(role) = role.filter(|_| !form.is_refused()) {
        let (hub, name) = (view.console.hub(), form.value("name").to_owned());
        let made = match kind {
            Kind::Token => manage::create_token(hub, caller, name, role, term).await,
            Kind::AccessKey => manage::create_access_key(hub, caller, name, role, term).await,
        };
        match made {
            Ok((token, secret)) => return show(&shown_once(view.page, &kind, &token, secret)),
            Err(error) => explain(&mut form, &view.page, error)?,
        }
    }
    again(&TokenFormPage {
        page: view.page,
        form,
    })
}

#[derive(Template)]
#[template(path = "token_revoke.html")]
struct RevokePage {
    page: Page,
    token: ApiToken,
}

pub(in crate::console) async fn revoke_page(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Access);
    view.needs(Permission::ManageAccess)?;
    let found = view.console.db().read(move |tx| tokens::find(tx, &id));
    let token = found.await?;
    show(&RevokePage {
        page: view.page,
        token,
    })
}

pub(in crate::console) async fn revoke(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ManageAccess)?;
    let hub = posted.view.console.hub();
    let applied = hub
        .apply_account(posted.caller(), Command::RevokeToken { id })
        .await;
    let was_access_key = match applied {
        Ok(applied) => applied.token()?.access_key,
        // Somebody else was faster, and it is what was wanted.
        Err(AccountError::NotFound { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    done(
        "/console/tokens",
        match was_access_key {
            true => "access-key-revoked",
            false => "token-revoked",
        },
    )
}
