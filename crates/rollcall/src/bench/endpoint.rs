//! The applications' endpoint, a process of its own: it verifies, decrypts and answers as the receiver kit
//! does, and stores nothing.
//!
//! The path says how an application behaves: `/ok/ID` answers at once, `/slow/ID` after two seconds,
//! `/dead/ID` not in time. The keys of an application stand in a file of its name in a folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use rollcall_protocol::{EncryptionKey, Event};
use rollcall_receiver::{KeySource, Outcome, Process, ProcessError, Receiver};
use serde::{Deserialize, Serialize};

/// What the endpoint has to know of an application.
#[derive(Serialize, Deserialize)]
pub(super) struct Keys {
    pub(super) jwks: String,
    pub(super) encryption_key: Option<String>,
}

struct Nothing;

impl Process for Nothing {
    async fn process(&self, events: Vec<Event>, _now: i64) -> Result<Vec<Outcome>, ProcessError> {
        Ok(events.iter().map(|_| Outcome::success()).collect())
    }
}

struct Endpoint {
    folder: PathBuf,
    receivers: Mutex<HashMap<String, Arc<Receiver<Nothing>>>>,
}

/// Serves on a free port, which it tells `ready`, until the standard input ends.
pub(super) async fn serve(folder: &Path, ready: impl FnOnce(u16)) -> Result<()> {
    let endpoint = Arc::new(Endpoint {
        folder: folder.to_owned(),
        receivers: Mutex::default(),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    ready(listener.local_addr()?.port());
    let router = Router::new()
        .route("/{manner}/{id}", post(receive))
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(endpoint);
    axum::serve(listener, router)
        .with_graceful_shutdown(super::orphaned())
        .await?;
    Ok(())
}

async fn receive(
    State(endpoint): State<Arc<Endpoint>>,
    UrlPath((manner, id)): UrlPath<(String, String)>,
    body: Bytes,
) -> Response {
    match manner.as_str() {
        "slow" => tokio::time::sleep(Duration::from_secs(2)).await,
        "dead" => tokio::time::sleep(Duration::from_secs(60)).await,
        _ => {}
    }
    match endpoint.receiver(&id) {
        Ok(receiver) => {
            let reply = receiver.receive(None, &body).await;
            let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, reply.body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

impl Endpoint {
    fn receiver(&self, id: &str) -> Result<Arc<Receiver<Nothing>>> {
        let mut receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = receivers.get(id) {
            return Ok(Arc::clone(receiver));
        }
        let text = std::fs::read_to_string(self.folder.join(id)).context("the application is not known")?;
        let keys: Keys = serde_json::from_str(&text)?;
        let mut builder = Receiver::builder(KeySource::Document(keys.jwks), id).limit_bytes(64 << 20);
        if let Some(key) = keys.encryption_key {
            builder = builder.encryption_key(EncryptionKey::from_hex(&key)?);
        }
        let receiver = Arc::new(builder.build(Nothing)?);
        receivers.insert(id.to_owned(), Arc::clone(&receiver));
        Ok(receiver)
    }
}
