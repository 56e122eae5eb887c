//! Signing in and out, the change of one's own password, and the language.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Form, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Console;
use super::error::Failure;
use super::locale::{LANGUAGE_COOKIE, Language, Reader};
use super::page::{Answer, Entering, Page, address, show};
use crate::accounts::AccountError;
use crate::api::browser;
use crate::secret::{ExposeSecret as _, SecretString};
use crate::signin::oidc::Provider;
use crate::signin::{SignInError, SignedIn};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    page: Page,
    /// Where to go then.
    next: String,
    name: String,
    wrong: Option<String>,
    /// What stands on the button that leads to the provider.
    provider: Option<String>,
    passwords: bool,
}

impl SignInPage {
    fn of(console: &Console, page: Page, next: String) -> Self {
        let sign_in = &console.api.sign_in;
        let label = |provider: &Provider| match provider.label() {
            Some(label) => label.to_owned(),
            None => page.t("sign-in-provider"),
        };
        Self {
            next,
            name: String::new(),
            wrong: None,
            provider: sign_in.provider().map(label),
            passwords: sign_in.takes_passwords(),
            page,
        }
    }

    /// Where the provider is reached.
    fn way(&self) -> String {
        address("/console/sign-in/provider", &[("next", self.next.as_str())])
    }
}

/// The page for signing in, which says why that failed.
pub(super) fn sign_in_again(
    console: &Console,
    parts: &Parts,
    status: StatusCode,
    wrong: impl FnOnce(&Page) -> String,
) -> Answer {
    let page = stranger(console, parts);
    let wrong = Some(wrong(&page));
    let shown = show(&SignInPage {
        wrong,
        ..SignInPage::of(console, page, "/console/".to_owned())
    })?;
    Ok((status, shown).into_response())
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage {
    page: Page,
    /// Whether nothing else can be done before.
    has_to: bool,
    wrong: Option<String>,
}

/// Only a place within the console is gone back to.
pub(super) fn within_console(next: &str) -> &str {
    let is_ours = next.starts_with("/console/") && next.bytes().all(|byte| byte.is_ascii_graphic());
    if is_ours { next } else { "/console/" }
}

#[derive(Deserialize)]
pub(super) struct Chosen {
    language: String,
    #[serde(default)]
    next: String,
}

/// Keeps the language that somebody chose. It is a preference and nothing else, so no form has to prove itself.
pub(super) async fn language(Form(chosen): Form<Chosen>) -> Answer {
    let language = Language::of(&chosen.language).unwrap_or(Language::English);
    let cookie = format!(
        "{LANGUAGE_COOKIE}={}; Path=/console; Max-Age=31536000; SameSite=Lax; HttpOnly",
        language.tag()
    );
    let to = Redirect::to(within_console(&chosen.next));
    Ok(([(header::SET_COOKIE, cookie)], to).into_response())
}

#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    pub(super) next: String,
}

/// A page for somebody whom nobody knows yet.
pub(super) fn stranger(console: &Console, parts: &Parts) -> Page {
    Page::of(
        Reader::of(&parts.headers, console.now()),
        "/console/sign-in".to_owned(),
    )
}

pub(super) async fn sign_in(
    State(console): State<Arc<Console>>,
    Query(next): Query<Next>,
    parts: Parts,
) -> Answer {
    let next = within_console(&next.next).to_owned();
    show(&SignInPage::of(&console, stranger(&console, &parts), next))
}

#[derive(Deserialize)]
pub(super) struct Credentials {
    name: String,
    password: SecretString,
    #[serde(default)]
    next: String,
}

/// Gives the browser the cookie of a new session, and leads on.
pub(super) fn begin(console: &Console, parts: &Parts, signed_in: &SignedIn, to: &str) -> Response {
    let lifetime = console.api.sign_in.lifetime();
    let cookie = browser::set_cookie(parts, &signed_in.token, lifetime.absolute);
    (cookie, Redirect::to(to)).into_response()
}

/// What is said to somebody whose sign-in failed; the status with it.
pub(super) fn refused(page: &Page, error: SignInError, wrong: &str) -> Result<(StatusCode, String), Failure> {
    match error {
        SignInError::TooEarly(early) => {
            let seconds = early.0.as_secs() + 1;
            let text = page.t1("sign-in-too-early", "count", seconds);
            Ok((StatusCode::TOO_MANY_REQUESTS, text))
        }
        SignInError::PasswordsOff => Ok((StatusCode::FORBIDDEN, page.t("sign-in-no-passwords"))),
        SignInError::Busy => Ok((StatusCode::SERVICE_UNAVAILABLE, page.t("sign-in-busy"))),
        SignInError::Account(AccountError::SignIn) => Ok((StatusCode::UNAUTHORIZED, page.t(wrong))),
        SignInError::Account(AccountError::InvalidField { .. }) => {
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page.t("password-refused")))
        }
        SignInError::Account(AccountError::Database(error)) => Err(error.into()),
        SignInError::Account(other) => Err(Failure::Conflict(other.to_string())),
    }
}

pub(super) async fn enter(
    State(console): State<Arc<Console>>,
    parts: Parts,
    Form(given): Form<Credentials>,
) -> Answer {
    if browser::check_sign_in(&parts).is_err() {
        return Err(Failure::Stale);
    }
    let (visitor, shown) = (browser::visitor(&parts), browser::session_token(&parts));
    let sign_in = &console.api.sign_in;
    let next = within_console(&given.next).to_owned();
    let error = match sign_in
        .sign_in(&given.name, given.password, &visitor, shown)
        .await
    {
        Ok(signed_in) => return Ok(begin(&console, &parts, &signed_in, &next)),
        Err(error) => error,
    };
    let page = stranger(&console, &parts);
    let (status, wrong) = refused(&page, error, "sign-in-wrong")?;
    let shown = show(&SignInPage {
        name: given.name,
        wrong: Some(wrong),
        ..SignInPage::of(&console, page, next)
    })?;
    Ok((status, shown).into_response())
}

#[derive(Deserialize)]
pub(super) struct Csrf {
    #[serde(default)]
    csrf: String,
}

pub(super) async fn sign_out(Entering(view): Entering, Form(sent): Form<Csrf>) -> Answer {
    view.is_genuine(&sent.csrf)?;
    let sign_in = &view.console.api.sign_in;
    let origin = browser::origin(&view.request);
    match sign_in.sign_out(view.visitor.access(), origin).await {
        Ok(()) => {}
        Err(AccountError::Database(error)) => return Err(error.into()),
        Err(other) => return Err(Failure::Conflict(other.to_string())),
    }
    let cookie = browser::forget_cookie(&view.request);
    let account = view.visitor.account();
    let to = match account.is_some_and(|account| account.identity.is_some()) {
        true => "/console/signed-out",
        false => "/console/sign-in",
    };
    Ok((cookie, Redirect::to(to)).into_response())
}

pub(super) async fn password(Entering(view): Entering) -> Answer {
    show(&PasswordPage {
        has_to: view.visitor.has_to_change_password(),
        page: view.page,
        wrong: None,
    })
}

#[derive(Deserialize)]
pub(super) struct Change {
    #[serde(default)]
    csrf: String,
    old: SecretString,
    new: SecretString,
    again: SecretString,
}

pub(super) async fn change_password(Entering(view): Entering, Form(change): Form<Change>) -> Answer {
    view.is_genuine(&change.csrf)?;
    let account = view.visitor.account().ok_or(Failure::Forbidden)?;
    let (status, wrong) = if change.new.expose_secret() == change.again.expose_secret() {
        let visitor = browser::visitor(&view.request);
        let sign_in = &view.console.api.sign_in;
        let changing = sign_in.change_password(account, change.old, change.new, &visitor);
        match changing.await {
            Ok(signed_in) => {
                let to = "/console/?done=password";
                return Ok(begin(&view.console, &view.request, &signed_in, to));
            }
            Err(error) => refused(&view.page, error, "password-wrong")?,
        }
    } else {
        (StatusCode::UNPROCESSABLE_ENTITY, view.page.t("password-differs"))
    };
    let shown = show(&PasswordPage {
        has_to: view.visitor.has_to_change_password(),
        page: view.page,
        wrong: Some(wrong),
    })?;
    Ok((status, shown).into_response())
}
