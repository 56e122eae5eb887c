//! Keeps a copy of a directory in SQLite or PostgreSQL, fed by a Rollcall hub or by Alibaba Cloud IDaaS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use clap::Parser;
use confique::Config as _;
use rollcall_db::DbError;
use rollcall_receiver::protocol::EncryptionKey;
use rollcall_receiver::{HttpJwks, KeySource, Mirror, Receiver, parse_network, router};
use rollcall_server::config::{ServerConfig, Unknown, unknown_setting};
use rollcall_server::health::{self, Readiness};
use rollcall_server::{StopSignals, Tls, log};

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
/// The receiving URL is then http://HOST:8760/events, or https:// with a certificate. Behind a reverse
/// proxy, name the proxy instead, so that allow is held against the sender and not against the proxy:
///
///     [server]
///     tls.certificate = "mirror.pem"
///     tls.key = "mirror.key"
///     trusted_proxies = ["10.0.0.5"]
///
/// Once there is a key, events that are not encrypted are refused, unless require_encryption = false. GET
/// /healthz answers "ok" while the program lives, GET /readyz says whether the database can be written.
/// Passwords are never stored.
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
    /// How many bytes the bodies of all requests may have together; more is asked to come again.
    #[config(default = 67108864)]
    budget_bytes: usize,
    /// Networks that may send; empty for all.
    #[config(default = [])]
    allow: Vec<String>,
    /// How many connections there may be, and how long each may take.
    #[config(nested)]
    server: ServerConfig,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = log::filter(&level)
        .map_err(anyhow::Error::msg)
        .context("RUST_LOG")?;
    log::start(filter, log::Format::Text);
    let config = read(&arguments.config)?;
    let mut options = config.server.options().map_err(anyhow::Error::msg)?;
    options.tls = config.server.tls().context("server.tls")?;
    let mirror = Mirror::open(&config.database)
        .await
        .context("the database cannot be opened")?;
    let receiver = Arc::new(build(&config, mirror.clone())?);
    if arguments.check {
        tracing::info!("the configuration and the database are in order");
        return Ok(());
    }
    let app = axum::Router::new()
        .route("/healthz", axum::routing::get(|| async { "ok\n" }))
        .route("/readyz", axum::routing::get(readyz))
        .with_state(Arc::new(Watched {
            mirror: mirror.clone(),
            tls: options.tls.clone(),
            readiness: Readiness::default(),
        }))
        .merge(router(receiver, &config.path));
    let mut stop = StopSignals::listen()?;
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    tracing::info!(
        url = format!("{scheme}://{}{}", listener.local_addr()?, config.path),
        "receiving"
    );
    let stopped = async move {
        stop.next().await;
        tracing::info!("finishing the requests in flight");
        stop.end_at_the_next();
    };
    rollcall_server::serve(listener, app, options, stopped).await;
    if tokio::time::timeout(CLOSE_WITHIN, mirror.close()).await.is_err() {
        tracing::warn!("the database did not finish in time; what was not answered is sent again");
    }
    Ok(())
}

/// How long the database has to finish what is queued, at the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

fn read(path: &Path) -> Result<Config> {
    if !path.is_file() {
        bail!(
            "the configuration file {} does not exist; --help shows one",
            path.display()
        );
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    if let Some(Unknown { name, line }) = unknown_setting(&text, &Config::META) {
        let settings: Vec<&str> = Config::META.fields.iter().map(|field| field.name).collect();
        bail!(
            "{}, line {line}: there is no setting {name:?}; there are {}",
            path.display(),
            settings.join(", ")
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
    builder = builder
        .limit_bytes(config.limit_bytes)
        .budget_bytes(config.budget_bytes);
    for network in &config.allow {
        builder = builder.allow([parse_network(network)
            .map_err(anyhow::Error::msg)
            .context("allow")?]);
    }
    Ok(builder.build(mirror)?)
}

/// What is looked at for `/readyz`.
struct Watched {
    mirror: Mirror,
    tls: Option<Arc<Tls>>,
    readiness: Readiness,
}

/// Seconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "the mirror has no clock but the system's"
)]
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs().cast_signed()
}

/// Whether events can be taken, and what to do if not.
async fn readyz(State(watched): State<Arc<Watched>>) -> Response {
    let look = async {
        let check = watched.mirror.db().check();
        let advice = |error: &DbError| {
            let recovery = "begin with an empty database, then have the hub synchronize the application";
            let advice = error.class().advice("the mirror", recovery);
            format!("{advice}; what is sent meanwhile is sent again")
        };
        let mut parts = vec![health::database(check, advice).await];
        parts.extend(watched.tls.as_ref().map(|tls| tls.part(now())));
        parts
    };
    watched.readiness.report(look).await.as_ref().into_response()
}
