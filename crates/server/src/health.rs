//! Whether a program can do its work: what `/readyz` answers.
//!
//! A program looks at its parts, one by one, and each says what is wrong with it and what to do. Looking may
//! cost a commit, so the report is [`Kept`].

use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::kept::Kept;

/// How long a database has to do its work. A small commit waits its turn behind what is queued.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// How a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does its work.
    Ok,
    /// It does its work, but something happened that somebody should look at.
    Warning,
    /// It does not do its work, so the program is not ready.
    Failed,
}

/// A part of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What it is called.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// The same in a sentence.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

impl Part {
    /// A part that does its work.
    pub fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            message: message.into(),
            action: None,
        }
    }

    /// A part that somebody should look at.
    pub fn warning(name: &'static str, message: impl Into<String>, action: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Warning,
            message: message.into(),
            action: Some(action.into()),
        }
    }

    /// A part that does not do its work.
    pub fn failed(name: &'static str, message: impl Into<String>, action: impl Into<String>) -> Self {
        Self {
            state: State::Failed,
            ..Self::warning(name, message, action)
        }
    }
}

/// The database as a part: whether it passes a check that commits and reads, in time. What to do about an error says
/// `advice`.
pub async fn database<E: Display>(
    check: impl Future<Output = Result<(), E>>,
    advice: impl FnOnce(&E) -> String,
) -> Part {
    const NAME: &str = "database";
    match tokio::time::timeout(ANSWERS_WITHIN, check).await {
        Ok(Ok(())) => Part::ok(NAME, "it commits and reads"),
        Ok(Err(error)) => Part::failed(NAME, error.to_string(), advice(&error)),
        Err(_) => Part::failed(
            NAME,
            format!("it does not answer within {} s", ANSWERS_WITHIN.as_secs()),
            "see whether the disk or the server is overloaded, or something large is being written",
        ),
    }
}

/// All parts at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether no part has failed.
    pub ready: bool,
    /// The parts.
    pub parts: Vec<Part>,
}

impl From<Vec<Part>> for Report {
    fn from(parts: Vec<Part>) -> Self {
        let ready = parts.iter().all(|part| part.state != State::Failed);
        Self { ready, parts }
    }
}

impl IntoResponse for &Report {
    fn into_response(self) -> Response {
        let status = if self.ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        (status, [(header::CACHE_CONTROL, "no-store")], Json(self)).into_response()
    }
}

/// The last report.
#[derive(Debug, Default)]
pub struct Readiness {
    kept: Kept<Arc<Report>>,
    /// Whether the last report said that the program is not ready.
    failing: AtomicBool,
}

impl Readiness {
    /// The last report if it is fresh, and what `look` finds otherwise.
    pub async fn report(&self, look: impl Future<Output = Vec<Part>>) -> Arc<Report> {
        let found = self.kept.get(async {
            let report = Report::from(look.await);
            self.tell(&report);
            Ok::<_, Infallible>(Arc::new(report))
        });
        match found.await {
            Ok(report) => report,
        }
    }

    /// Logs that the program is no longer ready, or is again.
    fn tell(&self, report: &Report) {
        let was_failing = self.failing.swap(!report.ready, Ordering::Relaxed);
        let is_news = was_failing == report.ready;
        if !is_news {
            return;
        }
        if report.ready {
            tracing::info!("ready again");
        }
        for part in report.parts.iter().filter(|part| part.state == State::Failed) {
            tracing::warn!(
                part = part.name,
                action = part.action,
                "not ready: {}",
                part.message
            );
        }
    }
}
