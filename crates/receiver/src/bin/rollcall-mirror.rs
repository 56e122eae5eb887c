//! Keeps a copy of a directory in SQLite or PostgreSQL, fed by a Rollcall hub or by Alibaba Cloud IDaaS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use axum::extract::State;
use axum::http::StatusCode;
use clap::Parser;
use confique::Config as _;
use rollcall_receiver::protocol::EncryptionKey;
use rollcall_receiver::{HttpJwks, KeySource, Mirror, Receiver, parse_network, router};

/// Receives directory changes and keeps a copy of users, organizational units and groups.
///
/// The tables are mirror_users, mirror_organizational_units, mirror_memberships, mirror_groups and
/// mirror_group_members; read them with any SQL client. Rows with `deleted` set are what remains of
/// subjects that are gone.
///
/// A configuration for Alibaba Cloud IDaaS and for a Rollcall hub looks the same:
///
///     listen = "0.0.0.0:8760"
///     path = "/events"
///     database = "sqlite:mirror.db"
///     jwks_url = "https://HOST/v2/INSTANCE/APPLICATION/provisioning/jwks"
///     application_id = "app_…"
///     encryption_key_file = "encryption.key"   # or encryption_key = "64 hexadecimal digits"
///     allow = ["192.0.2.0/24"]                 # who may send; left out: everybody
///
/// The receiving URL is then http://HOST:8760/events; put a reverse proxy with TLS before it. Once
/// there is a key, events that are not encrypted are refused, unless require_encryption = false. GET
/// /healthz answers "ok" while the database can be read. Passwords are never stored.
#[derive(Parser)]
#[command(version, verbatim_doc_comment)]
struct Arguments {
    /// The configuration file.
    #[arg(value_name = "FILE", default_value = "rollcall-mirror.toml")]
    config: PathBuf,
    /// Checks the configuration and the database, and ends.
    #[arg(long)]
    check: bool,
}

#[derive(confique::Config)]
struct Config {
    /// The address on which to listen.
    #[config(env = "MIRROR_LISTEN", default = "127.0.0.1:8760")]
    listen: SocketAddr,
    /// The path of the receiving URL.
    #[config(default = "/events")]
    path: String,
    /// `sqlite:PATH` or `postgres://…`.
    #[config(env = "MIRROR_DATABASE", default = "sqlite:mirror.db")]
    database: String,
    /// The public-key endpoint that the hub shows.
    jwks_url: Option<String>,
    /// Or a file with its document.
    jwks_file: Option<PathBuf>,
    /// The application's id.
    application_id: String,
    /// Accept only this instance.
    instance_id: Option<String>,
    /// A file with the encryption key: 64 hexadecimal digits.
    encryption_key_file: Option<PathBuf>,
    /// Or the key itself.
    #[config(env = "MIRROR_ENCRYPTION_KEY")]
    encryption_key: Option<String>,
    /// Refuse events that are not encrypted. Left out: if there is a key.
    require_encryption: Option<bool>,
    /// The largest request, in bytes.
    #[config(default = 8388608)]
    limit_bytes: usize,
    /// Networks that may send; empty for all.
    #[config(default = [])]
    allow: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .init();
    let config = read(&arguments.config)?;
    let mirror = Mirror::open(&config.database)
        .await
        .context("the database cannot be opened")?;
    let receiver = Arc::new(build(&config, mirror.clone())?);
    if arguments.check {
        tracing::info!("the configuration and the database are in order");
        return Ok(());
    }
    let app = axum::Router::new()
        .route("/healthz", axum::routing::get(health))
        .with_state(mirror.clone())
        .merge(router(receiver, &config.path))
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    tracing::info!(
        url = format!("http://{}{}", listener.local_addr()?, config.path),
        "receiving"
    );
    axum::serve(listener, app).with_graceful_shutdown(stop()).await?;
    mirror.close().await;
    Ok(())
}

fn read(path: &Path) -> Result<Config> {
    if !path.is_file() {
        bail!(
            "the configuration file {} does not exist; --help shows one",
            path.display()
        );
    }
    Config::builder()
        .env()
        .file(path)
        .load()
        .with_context(|| format!("{} cannot be used", path.display()))
}

fn build(config: &Config, mirror: Mirror) -> Result<Receiver<Mirror>> {
    let keys = match (&config.jwks_url, &config.jwks_file) {
        (Some(url), None) => KeySource::Endpoint(Arc::new(HttpJwks::new(url).map_err(anyhow::Error::msg)?)),
        (None, Some(path)) => KeySource::Document(
            std::fs::read_to_string(path).with_context(|| format!("jwks_file: {}", path.display()))?,
        ),
        _ => bail!("set either jwks_url or jwks_file"),
    };
    let mut builder = Receiver::builder(keys, &config.application_id);
    if let Some(instance) = &config.instance_id {
        builder = builder.instance_id(instance);
    }
    let key = match (&config.encryption_key, &config.encryption_key_file) {
        (Some(_), Some(_)) => bail!("set either encryption_key or encryption_key_file"),
        (Some(key), None) => Some(key.clone()),
        (None, Some(path)) => Some(
            std::fs::read_to_string(path)
                .with_context(|| format!("encryption_key_file: {}", path.display()))?,
        ),
        (None, None) => None,
    };
    if let Some(key) = key {
        let key = EncryptionKey::from_hex(key.trim()).context("the encryption key")?;
        builder = builder.encryption_key(key);
    }
    if let Some(required) = config.require_encryption {
        builder = builder.require_encryption(required);
    }
    builder = builder.limit_bytes(config.limit_bytes);
    for network in &config.allow {
        builder = builder.allow([parse_network(network)
            .map_err(anyhow::Error::msg)
            .context("allow")?]);
    }
    Ok(builder.build(mirror)?)
}

async fn health(State(mirror): State<Mirror>) -> (StatusCode, &'static str) {
    match mirror.counts().await {
        Ok(_) => (StatusCode::OK, "ok\n"),
        Err(error) => {
            tracing::warn!(%error, "the database cannot be read");
            (StatusCode::SERVICE_UNAVAILABLE, "the database cannot be read\n")
        }
    }
}

async fn stop() {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be awaited");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("finishing the requests in flight");
}
