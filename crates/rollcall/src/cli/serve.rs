//! `rollcall serve`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rollcall_protocol::SystemRandom;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::open;
use crate::api::{self, Api};
use crate::config::Config;
use crate::delivery::Delivery;
use crate::secret::AdminToken;

pub(super) async fn run(config: &Config) -> Result<ExitCode> {
    // Before the hub says that it runs: whoever reads that may stop it at once.
    let mut stop = StopSignals::listen()?;
    let (hub, mut owner) = open::own_hub(config).await?;
    // A large file takes a while; a statement that meets damage meanwhile, or later, tells of it as well.
    let verifying = hub.db.clone();
    tokio::spawn(async move {
        if let Err(error) = verifying.verify().await {
            tracing::error!(%error, "the database is not whole; rollcall doctor says what to do");
        }
    });
    let token =
        AdminToken::read_or_make(&config.token_path(), &SystemRandom).context("the administrator's token")?;
    let delivery = Delivery::start(hub.clone(), open::egress(config)?, config.delivery_options()).await?;
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listen: cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    if let Some(owner) = &mut owner {
        owner.set_address(&address.to_string())?;
    }
    tracing::info!(
        %address,
        instance = hub.instance.id,
        token = %config.token_path().display(),
        "the hub runs"
    );
    let api = api::router(Arc::new(Api {
        shared: Arc::clone(delivery.shared()),
        token,
    }));
    axum::serve(
        listener,
        api.into_make_service_with_connect_info::<std::net::SocketAddr>(),
    )
    .with_graceful_shutdown(async move { stop.next().await })
    .await?;
    tracing::info!("finishing the requests in flight");
    delivery.stop().await;
    hub.db.close().await;
    drop(owner);
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C and SIGTERM, which from then on do not end the process by themselves.
pub(super) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Begins to listen for them.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next of them.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
