//! `rollcall serve`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::open;
use crate::api::{self, Api};
use crate::config::Config;
use crate::delivery::Delivery;

pub(super) async fn run(config: &Config) -> Result<ExitCode> {
    let hub = open::hub(config).await?;
    let token = open::token(&config.token_path())?;
    let delivery = Delivery::start(hub.clone(), open::egress(config)?, config.delivery_options()).await?;
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listen: cannot listen on {}", config.listen))?;
    tracing::info!(
        address = %listener.local_addr()?,
        instance = hub.instance.id,
        token = %config.token_path().display(),
        "the hub runs"
    );
    let api = api::router(Arc::new(Api {
        shared: Arc::clone(delivery.shared()),
        token,
    }));
    axum::serve(listener, api)
        .with_graceful_shutdown(stop_signal())
        .await?;
    tracing::info!("finishing the requests in flight");
    delivery.stop().await;
    hub.db.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Waits for Ctrl-C or SIGTERM.
pub(super) async fn stop_signal() {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    let Ok(mut terminate) = terminate else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
