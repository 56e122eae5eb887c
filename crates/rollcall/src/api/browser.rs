//! What there is only with browsers: the cookie of a session, and where a request was made.
//!
//! - **The cookie** is out of reach of scripts (`HttpOnly`) and, where the client came encrypted, is sent over encrypted
//!   connections alone and belongs to this host (`__Host-`, `Secure`). It is `SameSite=Lax` rather than `Strict`, so that
//!   a link in a mail leads into the console and not to the page for signing in: following a link changes nothing here.
//! - **Requests that other sites make a browser send** are recognized twice, since one change of a browser's mind must
//!   not be enough: by where the browser says that they were made (`Sec-Fetch-Site`, or else `Origin`), and by a token
//!   that only pages of ours can know (`X-CSRF-Token`). Requests with a bearer token need neither, because no browser
//!   adds that by itself.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use rollcall_server::Client;

use super::{ApiError, REQUEST_ID};
use crate::access::Origin;
use crate::clock::Millis;
use crate::secret::{ExposeSecret as _, SecretString};
use crate::signin::{Access, Visitor};

/// The cookie where the client came encrypted.
const SECURE: &str = "__Host-rollcall";

/// The cookie where it did not: on the machine itself, say.
const PLAIN: &str = "rollcall_session";

/// What a browser keeps while it is at a provider (`crate::signin::oidc`), where the client came encrypted.
const SECURE_AWAY: &str = "__Host-rollcall-sign-in";

/// The same where it did not.
const PLAIN_AWAY: &str = "rollcall_sign_in";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The header in which pages of ours show that they are ours.
pub const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

/// Whether what passes between the client and us, or the proxy that we trust, is encrypted.
fn is_secure(parts: &Parts) -> bool {
    Client::of(&parts.extensions).is_some_and(|client| client.secure)
}

fn cookie_name(parts: &Parts) -> &'static str {
    if is_secure(parts) { SECURE } else { PLAIN }
}

fn away_name(parts: &Parts) -> &'static str {
    if is_secure(parts) { SECURE_AWAY } else { PLAIN_AWAY }
}

/// The token of a session that a request shows.
pub fn session_token(parts: &Parts) -> Option<&str> {
    shown_cookie(parts, cookie_name(parts))
}

/// What a browser has kept that comes back from a provider.
pub fn kept_away(parts: &Parts) -> Option<&str> {
    shown_cookie(parts, away_name(parts))
}

fn shown_cookie<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts
        .headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(found, value)| (found == name).then_some(value))
}

/// What makes a browser show the token of a session from now on, for so long at most.
pub fn set_cookie(parts: &Parts, token: &SecretString, lives: Millis) -> HeaderMap {
    cookie(parts, cookie_name(parts), token.expose_secret(), lives / 1_000)
}

/// What makes a browser keep something while it is at a provider, for so many seconds at most.
pub fn keep_away(parts: &Parts, kept: &SecretString, seconds: Millis) -> HeaderMap {
    cookie(parts, away_name(parts), kept.expose_secret(), seconds)
}

/// What makes a browser forget that.
pub fn forget_away(parts: &Parts) -> HeaderMap {
    cookie(parts, away_name(parts), "", 0)
}

/// What makes a browser forget the session.
pub fn forget_cookie(parts: &Parts) -> HeaderMap {
    cookie(parts, cookie_name(parts), "", 0)
}

fn cookie(parts: &Parts, name: &str, value: &str, seconds: Millis) -> HeaderMap {
    let secure = if is_secure(parts) { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    let mut headers = HeaderMap::new();
    // Tokens consist of letters, digits, hyphens and underscores.
    if let Ok(mut value) = HeaderValue::from_str(&text) {
        value.set_sensitive(true);
        headers.insert(header::SET_COOKIE, value);
    }
    headers
}

/// From where a request comes, as the audit log says it.
pub fn origin(parts: &Parts) -> Origin {
    let request_id = parts.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    Origin::Api {
        request_id: request_id.unwrap_or_default().to_owned(),
        address: Client::of(&parts.extensions).map(|client| client.address),
    }
}

/// Who wants to sign in.
pub fn visitor(parts: &Parts) -> Visitor {
    let text = |name: HeaderName| parts.headers.get(name)?.to_str().ok().map(str::to_owned);
    Visitor {
        address: Client::of(&parts.extensions).map(|client| client.address),
        user_agent: text(header::USER_AGENT),
        origin: origin(parts),
    }
}

/// Where a browser says that a request was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// On a page of ours.
    Here,
    /// On another site's, or it cannot be told.
    Elsewhere,
    /// It says nothing: it is no browser, or an old one.
    Unsaid,
}

fn made(parts: &Parts) -> Made {
    let text = |name: HeaderName| {
        parts
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    if let Some(site) = text(SEC_FETCH_SITE) {
        return if site == "same-origin" {
            Made::Here
        } else {
            Made::Elsewhere
        };
    }
    let Some(origin) = text(header::ORIGIN) else {
        return Made::Unsaid;
    };
    let client = Client::of(&parts.extensions);
    let host = client.and_then(|client| client.host);
    let host = host.as_deref().or_else(|| text(header::HOST));
    let scheme = if is_secure(parts) { "https://" } else { "http://" };
    match origin.strip_prefix(scheme) {
        Some(from) if host.is_some_and(|host| host.eq_ignore_ascii_case(from)) => Made::Here,
        _ => Made::Elsewhere,
    }
}

/// Refuses to sign somebody in who did not mean it: another site could have the browser do it under a name of its own.
///
/// # Errors
/// [`ApiError`] if the request was made elsewhere.
pub fn check_sign_in(parts: &Parts) -> Result<(), ApiError> {
    match made(parts) {
        Made::Here | Made::Unsaid => Ok(()),
        Made::Elsewhere => Err(ApiError::cross_site(
            "the request was made by another site's page",
        )),
    }
}

/// Refuses a change that a session's cookie came with, unless a page of ours has sent it. `token` is what the page has
/// shown, in the header [`CSRF`] or in a form.
///
/// # Errors
/// [`ApiError`] if it was made elsewhere, or shows no token of ours.
pub fn check_change(parts: &Parts, access: &Access, token: Option<&str>) -> Result<(), ApiError> {
    if access.session().is_none() || is_safe(&parts.method) {
        return Ok(());
    }
    if made(parts) != Made::Here {
        return Err(ApiError::cross_site(
            "a change with a session's cookie must come from a page of this host (Sec-Fetch-Site: same-origin, or Origin)",
        ));
    }
    match token {
        Some(token) if access.is_csrf_token(token) => Ok(()),
        _ => Err(ApiError::cross_site(
            "send the header X-CSRF-Token with the csrfToken of GET /api/v1/session",
        )),
    }
}

/// Whether a method changes nothing (RFC 9110, section 9.2.1).
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
