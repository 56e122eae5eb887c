//! Signing in, the first change of a password, and the language.

use askama::Template;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect};
use serde::Deserialize;
use std::sync::Arc;

use super::Console;
use super::locale::{LANGUAGE_COOKIE, Language, Reader};
use super::page::{Answer, Page, show};

#[derive(Template)]
#[template(path = "sign_in.html")]
pub(super) struct SignInPage {
    pub(super) page: Page,
    /// Where to go then.
    pub(super) next: String,
    pub(super) name: String,
    /// The key of what was wrong.
    pub(super) wrong: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "password.html")]
pub(super) struct PasswordPage {
    pub(super) page: Page,
    pub(super) wrong: Option<String>,
}

/// A page for somebody whom nobody knows yet.
pub(super) fn stranger(console: &Console, headers: &HeaderMap, here: &str) -> Page {
    Page::of(Reader::of(headers, console.now()), here.to_owned())
}

#[derive(Deserialize)]
pub(super) struct Chosen {
    language: String,
    #[serde(default)]
    next: String,
}

/// Only a place within the console is gone back to.
pub(super) fn within_console(next: &str) -> &str {
    let is_ours = next.starts_with("/console/") && next.bytes().all(|byte| byte.is_ascii_graphic());
    if is_ours { next } else { "/console/" }
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
    next: String,
}

pub(super) async fn sign_in(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    axum::extract::Query(next): axum::extract::Query<Next>,
) -> Answer {
    show(&SignInPage {
        page: stranger(&console, &headers, "/console/sign-in"),
        next: within_console(&next.next).to_owned(),
        name: String::new(),
        wrong: None,
    })
}

pub(super) async fn password(view: super::page::View) -> Answer {
    show(&PasswordPage {
        page: view.page,
        wrong: None,
    })
}
