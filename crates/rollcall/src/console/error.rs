//! What is shown where there is no page: the same dress, a sentence about what happened, and what to do next.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rollcall_db::DbError;

use super::Console;
use super::locale::Reader;
use super::page::{Page, show};
use super::visitor::Visitor;
use crate::accounts::AccountError;
use crate::application::ApplicationError;
use crate::delivery::comparison::ComparisonError;
use crate::delivery::job::JobError;
use crate::delivery::ledger::operate::OperateError;
use crate::directory::DirectoryError;

/// Why there is no page.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// There is nothing at this address, or nothing that the visitor sees.
    NotFound,
    /// The visitor may not do this.
    Forbidden,
    /// The form is from an earlier sign-in, or from somewhere else.
    Stale,
    /// What the visitor wanted to change is not any more what the page has shown.
    Changed,
    /// What was asked for cannot be done now; with the reason, as a door gives it in English.
    Conflict(String),
    /// The same, with the reason in the reader's language.
    Refused(String),
    /// The same, with the key of the reason, and what that names.
    Told(&'static str, String),
    /// What the visitor cannot help.
    Internal(String),
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden | Self::Stale => StatusCode::FORBIDDEN,
            Self::Changed | Self::Conflict(_) | Self::Refused(_) | Self::Told(..) => StatusCode::CONFLICT,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The keys of what happened, and of what to do.
    fn keys(&self) -> (&'static str, &'static str) {
        match self {
            Self::NotFound => ("error-not-found", "error-not-found-advice"),
            Self::Forbidden => ("error-forbidden", "error-forbidden-advice"),
            Self::Stale => ("error-stale", "error-stale-advice"),
            Self::Changed => ("error-changed", "error-changed-advice"),
            Self::Conflict(_) | Self::Refused(_) | Self::Told(..) => {
                ("error-conflict", "error-conflict-advice")
            }
            Self::Internal(_) => ("error-internal", "error-internal-advice"),
        }
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<askama::Error> for Failure {
    fn from(error: askama::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<ApplicationError> for Failure {
    fn from(error: ApplicationError) -> Self {
        match error {
            ApplicationError::NotFound(_) => Self::NotFound,
            ApplicationError::Changed { .. } => Self::Changed,
            ApplicationError::Database(error) => error.into(),
            other => Self::Conflict(other.to_string()),
        }
    }
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Database(error) => error.into(),
            DirectoryError::NotFound { .. } => Self::NotFound,
            DirectoryError::Changed { .. } => Self::Changed,
            other => Self::Conflict(other.to_string()),
        }
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NotFound { .. } => Self::NotFound,
            AccountError::Changed { .. } => Self::Changed,
            AccountError::NotYours => Self::Forbidden,
            AccountError::Application(error) => error.into(),
            AccountError::Database(error) => error.into(),
            other => Self::Conflict(other.to_string()),
        }
    }
}

impl From<OperateError> for Failure {
    fn from(error: OperateError) -> Self {
        match error {
            OperateError::NoSuchEvent(event) => Self::Told("refused-no-such-event", event),
            OperateError::NothingToSkip => Self::Told("refused-nothing-to-skip", String::new()),
            OperateError::NotInScope(name) => Self::Told("refused-not-in-scope", name),
            OperateError::NotSubscribed(name) => Self::Told("refused-not-subscribed", name),
            OperateError::Application(error) => error.into(),
            OperateError::Database(error) => error.into(),
        }
    }
}

impl From<ComparisonError> for Failure {
    fn from(error: ComparisonError) -> Self {
        match error {
            ComparisonError::Job(error) => error.into(),
            ComparisonError::Database(error) => error.into(),
            other => Self::Conflict(other.to_string()),
        }
    }
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Busy(job) => Self::Told("refused-busy", job),
            JobError::SwitchedOff(name) => Self::Told("refused-switched-off", name),
            JobError::NothingToCancel => Self::Told("refused-nothing-to-cancel", String::new()),
            JobError::Application(error) => error.into(),
            JobError::Database(error) => error.into(),
        }
    }
}

impl IntoResponse for Failure {
    /// Only the status, and what to say with it: [`dress`] knows in which language.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    page: Page,
    title: String,
    advice: String,
    detail: Option<String>,
    /// Whether the detail is in English, whatever the reader's language.
    is_english: bool,
    status: u16,
}

/// Nothing may be loaded from elsewhere, run from within a page, or shown within one.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// Gives failures a page, and every answer the headers of a private one.
pub(super) async fn dress(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let known = parts.clone();
    let mut response = next.run(Request::from_parts(parts, body)).await;
    let failure = response.extensions_mut().remove::<Failure>();
    let failure = failure.or_else(|| match response.status() {
        StatusCode::BAD_REQUEST => Some(Failure::NotFound),
        _ => None,
    });
    if let Some(failure) = failure {
        if let Failure::Internal(error) = &failure {
            tracing::error!(error, "a page of the console failed");
        }
        let here = known.uri.to_string();
        let page = Page::of(Reader::of(&known.headers, console.now()), here);
        let page = match Visitor::of(&console.api.sign_in, &known).await {
            Ok(Some(visitor)) => page.seen_by(visitor),
            Ok(None) | Err(_) => page,
        };
        response = error_page(page, &failure);
    }
    let headers = response.headers_mut();
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn error_page(page: Page, failure: &Failure) -> Response {
    let (title, advice) = failure.keys();
    let shown = show(&ErrorPage {
        title: page.t(title),
        advice: page.t(advice),
        detail: match failure {
            Failure::Conflict(detail) | Failure::Refused(detail) => Some(detail.clone()),
            Failure::Told(key, name) => Some(page.t1(key, "name", name.as_str())),
            // What went wrong inside is for the log.
            _ => None,
        },
        is_english: matches!(failure, Failure::Conflict(_)),
        status: failure.status().as_u16(),
        page,
    });
    let mut response = shown.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    *response.status_mut() = failure.status();
    response
}
