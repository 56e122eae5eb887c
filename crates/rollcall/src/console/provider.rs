//! Signing in at a provider: on the way there, and back.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect};

use super::Console;
use super::account::{Next, begin, refused, sign_in_again, stranger, within_console};
use super::error::Failure;
use super::page::{Answer, Page, show};
use crate::api::browser;
use crate::signin::oidc::{self, OidcError};

#[derive(Template)]
#[template(path = "provider_refused.html")]
struct RefusedPage {
    page: Page,
    title: String,
    /// What happened.
    what: String,
    /// What the claim holds, or whom the provider knows somebody as.
    shown: Vec<String>,
    contact: Option<String>,
    command: Option<String>,
}

#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOutPage {
    page: Page,
    /// Where somebody signs out of the provider.
    provider: Option<String>,
}

pub(super) async fn leave(
    State(console): State<Arc<Console>>,
    Query(next): Query<Next>,
    parts: Parts,
) -> Answer {
    match console.api.sign_in.leave(within_console(&next.next)).await {
        Ok(departure) => {
            let cookie = browser::keep_away(&parts, &departure.kept, oidc::AWAY);
            Ok((cookie, Redirect::to(departure.url.as_str())).into_response())
        }
        Err(error) => failed(&console, &parts, error),
    }
}

pub(super) async fn arrive(
    State(console): State<Arc<Console>>,
    Query(answer): Query<oidc::Answer>,
    parts: Parts,
) -> Answer {
    let (visitor, shown) = (browser::visitor(&parts), browser::session_token(&parts));
    let kept = browser::kept_away(&parts);
    let arrived = console.api.sign_in.arrive(&answer, kept, &visitor, shown).await;
    let mut response = match arrived {
        Ok((signed_in, next)) => begin(&console, &parts, &signed_in, within_console(&next)),
        Err(error) => failed(&console, &parts, error).into_response(),
    };
    // Whatever came of it, it is over.
    for (name, value) in &browser::forget_away(&parts) {
        response.headers_mut().append(name, value.clone());
    }
    Ok(response)
}

/// Says why nobody is signed in.
fn failed(console: &Console, parts: &Parts, error: OidcError) -> Answer {
    let again = |status, key: &str| sign_in_again(console, parts, status, |page| page.t(key));
    match error {
        OidcError::Off => Err(Failure::NotFound),
        OidcError::Unavailable(_) => again(StatusCode::BAD_GATEWAY, "provider-unavailable"),
        OidcError::Token(_) => again(StatusCode::BAD_GATEWAY, "provider-distrusted"),
        OidcError::Stale => again(StatusCode::FORBIDDEN, "provider-stale"),
        OidcError::Refused(reason) => sign_in_again(console, parts, StatusCode::FORBIDDEN, |page| {
            page.t1("provider-refused", "reason", reason.as_str())
        }),
        OidcError::NoName(claim) => sign_in_again(console, parts, StatusCode::FORBIDDEN, |page| {
            page.t1("provider-no-name", "claim", claim.as_str())
        }),
        OidcError::SignIn(error) => {
            let page = stranger(console, parts);
            let (status, wrong) = refused(&page, error, "sign-in-disabled")?;
            sign_in_again(console, parts, status, |_| wrong)
        }
        OidcError::NoRole { claim, held } => {
            let page = stranger(console, parts);
            let key = match held.is_empty() {
                true => "provider-claim-empty",
                false => "provider-no-role",
            };
            let refused = RefusedPage {
                title: page.t("provider-no-role-title"),
                what: page.t1(key, "claim", claim.as_str()),
                shown: held,
                contact: contact(console),
                command: None,
                page,
            };
            Ok((StatusCode::FORBIDDEN, show(&refused)?).into_response())
        }
        OidcError::NameTaken { name, subject } => {
            let page = stranger(console, parts);
            let refused = RefusedPage {
                title: page.t("provider-name-taken-title"),
                what: page.t1("provider-name-taken", "name", name.as_str()),
                shown: vec![subject],
                contact: contact(console),
                command: Some("rollcall account link".to_owned()),
                page,
            };
            Ok((StatusCode::CONFLICT, show(&refused)?).into_response())
        }
    }
}

fn contact(console: &Console) -> Option<String> {
    let provider = console.api.sign_in.provider()?;
    provider.contact().map(str::to_owned)
}

pub(super) async fn signed_out(State(console): State<Arc<Console>>, parts: Parts) -> Answer {
    let provider = console.api.sign_in.provider().ok_or(Failure::NotFound)?;
    let place = provider.end_session().await;
    show(&SignedOutPage {
        page: stranger(&console, &parts),
        provider: place.map(String::from),
    })
}
