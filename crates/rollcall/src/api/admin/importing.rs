//! An import that runs, and how it is told of: at its end, or line by line as it goes on.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::Caller;
use crate::api::ApiError;
use crate::hub::Hub;
use crate::import::{self, ImportReport, Options};

/// What is told line by line.
const LINES: HeaderValue = HeaderValue::from_static("application/jsonl");

/// After how long without news the last line is told again: a connection on which nothing moves is closed.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What an import is about.
pub(super) struct Work {
    pub(super) hub: Hub,
    pub(super) caller: Caller,
    pub(super) options: Options,
    /// What the file is called.
    pub(super) name: String,
}

impl Work {
    /// Imports the file, and notes in the audit log what was done.
    async fn carry_out(
        self,
        progress: impl FnMut(&'static str, u64) + Send + 'static,
    ) -> Result<ImportReport, ApiError> {
        let Self {
            hub,
            caller,
            options,
            name,
        } = self;
        let runtime = Handle::current();
        let importing = {
            let hub = hub.clone();
            // On a thread of its own: a file is read as it comes, which would keep other requests waiting.
            tokio::task::spawn_blocking(move || {
                runtime.block_on(async { import::import(&hub, &options, progress).await })
            })
        };
        let report = importing
            .await
            .map_err(|error| ApiError::internal(error.to_string()))??;
        if !report.dry_run {
            let told = report.clone();
            hub.write_as(caller, move |tx, ctx| import::note(tx, ctx, &name, &told))
                .await?;
        }
        Ok(report)
    }
}

/// Stops an import when nobody waits for it any more.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What is being imported, and how many entries are done.
type Done = (&'static str, u64);

/// An import that runs. If this is dropped, it stops after the portion that it is writing, and notes how far it came.
pub(in crate::api) struct Running {
    importing: JoinHandle<Result<ImportReport, ApiError>>,
    progress: watch::Receiver<Option<Done>>,
    _waiting: Waiting,
}

impl Running {
    /// Starts an import of a file in a folder that is removed behind it.
    pub(super) fn start(work: Work, folder: TempDir) -> Self {
        let waiting = Waiting(Arc::clone(&work.options.stop));
        let (tell, progress) = watch::channel(None);
        let importing = tokio::spawn(async move {
            let report = work
                .carry_out(move |what, done| {
                    tell.send_replace(Some((what, done)));
                })
                .await;
            drop(folder);
            report
        });
        Self {
            importing,
            progress,
            _waiting: waiting,
        }
    }

    /// What it did, when it has ended.
    pub(super) async fn report(mut self) -> Result<ImportReport, ApiError> {
        let ended = (&mut self.importing).await;
        ended.unwrap_or_else(|error| Err(ApiError::internal(error.to_string())))
    }

    /// Waits for the next that there is to tell.
    async fn next(&mut self) -> ImportStep {
        loop {
            let again = tokio::select! {
                biased;
                ended = &mut self.importing => {
                    let ended = ended.unwrap_or_else(|error| Err(ApiError::internal(error.to_string())));
                    return match ended {
                        Ok(report) => ImportStep::Report(Box::new(report)),
                        Err(error) => ImportStep::Problem(error.problem()),
                    };
                }
                Ok(()) = self.progress.changed() => false,
                () = tokio::time::sleep(AGAIN_AFTER) => true,
            };
            let (what, done) = match *self.progress.borrow_and_update() {
                Some(done) => done,
                None if again => ("entries", 0),
                None => continue,
            };
            return ImportStep::Progress {
                what: what.into(),
                done,
            };
        }
    }

    /// The lines that are told of it.
    fn lines(self) -> impl stream::Stream<Item = Result<Bytes, serde_json::Error>> {
        stream::unfold(Some(self), |running| async move {
            let mut running = running?;
            let step = running.next().await;
            let line = serde_json::to_string(&step).map(|line| Bytes::from(line + "\n"));
            let goes_on = matches!(step, ImportStep::Progress { .. });
            Some((line, goes_on.then_some(running)))
        })
    }
}

/// A line that is told of an import.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ImportStep {
    /// How far it is.
    Progress {
        /// What is being imported.
        what: Cow<'static, str>,
        /// How many entries are done.
        done: u64,
    },
    /// It has ended, and did this.
    Report(Box<ImportReport>),
    /// It has ended because of this; what was written before stays.
    Problem(Value),
}

/// What an import is told by.
pub(in crate::api) enum Imported {
    /// Its end.
    Report(Box<ImportReport>),
    /// Line by line.
    Steps(Running),
}

impl IntoResponse for Imported {
    fn into_response(self) -> Response {
        match self {
            Self::Report(report) => Json(report).into_response(),
            Self::Steps(running) => (
                [(header::CONTENT_TYPE, LINES)],
                Body::from_stream(running.lines()),
            )
                .into_response(),
        }
    }
}
