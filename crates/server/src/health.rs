//! Whether a program can do its work: what `/readyz` answers.
//!
//! A program looks at its parts, one by one, and each says what is wrong with it and what to do. Looking may
//! cost a commit, so the answer is kept for a second, and those who ask meanwhile wait for the same look:
//! nobody can load the database by asking.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// For how long an answer is good.
const KEPT: Duration = Duration::from_secs(1);

/// How a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
pub struct Readiness(Mutex<Option<(Instant, Arc<Report>)>>);

impl Readiness {
    /// The last report if it is fresh, and what `look` finds otherwise. That the program is no longer ready, or is
    /// again, is logged.
    pub async fn report(&self, look: impl Future<Output = Vec<Part>>) -> Arc<Report> {
        let mut last = self.0.lock().await;
        if let Some((at, report)) = &*last
            && at.elapsed() < KEPT
        {
            return Arc::clone(report);
        }
        let report = Arc::new(Report::from(look.await));
        let was_ready = last.as_ref().is_none_or(|(_, last)| last.ready);
        if was_ready && !report.ready {
            for part in report.parts.iter().filter(|part| part.state == State::Failed) {
                tracing::warn!(
                    part = part.name,
                    action = part.action,
                    "not ready: {}",
                    part.message
                );
            }
        } else if !was_ready && report.ready {
            tracing::info!("ready again");
        }
        *last = Some((Instant::now(), Arc::clone(&report)));
        report
    }
}
