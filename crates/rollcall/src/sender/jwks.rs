//! The public keys of a sender, served where a hub would serve them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use rollcall_protocol::{Jwk, JwkSet, SigningKey};
use rollcall_server::Limits;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The keys that are published now.
#[derive(Clone, Debug, Default)]
pub struct Published(Arc<Mutex<Vec<Jwk>>>);

impl Published {
    /// Publishes a key besides those that are.
    pub fn add(&self, key: &SigningKey) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.push(key.public_jwk());
    }

    /// The document.
    pub fn document(&self) -> JwkSet {
        JwkSet {
            keys: self.0.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// Serves a JWKS document.
#[derive(Debug)]
pub struct JwksServer {
    /// What it serves.
    pub keys: Published,
    /// Where.
    pub url: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<usize>,
}

impl JwksServer {
    /// Begins to listen. The path is that of a hub (wire contract, section 2).
    ///
    /// # Errors
    /// What the system says of the address.
    pub async fn start(
        listen: SocketAddr,
        instance_id: &str,
        application_id: &str,
        keys: Published,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let path = format!("/v2/{instance_id}/{application_id}/provisioning/jwks");
        let url = format!(
            "http://{}{path}",
            crate::instance::for_others(listener.local_addr()?)
        );
        let router = axum::Router::new()
            .route(
                &path,
                get(|State(keys): State<Published>| async move { Json(keys.document()) }),
            )
            .with_state(keys.clone());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(rollcall_server::serve(
            listener,
            router,
            Limits::default(),
            async move {
                // It also ends if whoever started it has gone.
                let _ = stopped.await;
            },
        ));
        Ok(Self {
            keys,
            url,
            stop,
            serving,
        })
    }

    /// Ends it.
    pub async fn end(self) {
        drop(self.stop);
        let _ = self.serving.await;
    }
}
