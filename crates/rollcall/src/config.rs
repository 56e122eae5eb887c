//! The hub's configuration: flags over environment variables over a file, and sensible values for the rest.
//!
//! Every setting is checked when it is read, and an error names it. `contrib/rollcall.toml` shows all of them.

mod oidc;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use confique::Config as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use rollcall_receiver::parse_network;
use rollcall_server::config::{ServerConfig, Unknown, unknown_setting};

use crate::access::RateLimit;
use crate::accounts::sessions::Lifetime;
use crate::clock::Millis;
use crate::delivery::Options;
use crate::delivery::egress::{AddressPolicy, EgressOptions};
use crate::maintenance;
use crate::maintenance::retention::Retention;
use crate::private;
use crate::secret::SecretString;
pub use oidc::{Granted, OidcConfig, Owned};

/// The configuration as it is written.
#[derive(Clone, Debug, confique::Config)]
pub struct Config {
    /// The folder for the database, the master key and the administrator's token.
    #[config(env = "ROLLCALL_DATA_DIR", default = "rollcall-data")]
    pub data_dir: PathBuf,

    /// `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`. Left out: SQLite in the data folder.
    #[config(env = "ROLLCALL_DATABASE")]
    pub database: Option<String>,

    /// A file that holds the database's address instead, so that the password is in no process list.
    #[config(env = "ROLLCALL_DATABASE_FILE")]
    pub database_file: Option<PathBuf>,

    /// The address on which the hub listens.
    #[config(env = "ROLLCALL_LISTEN", default = "127.0.0.1:8750")]
    pub listen: SocketAddr,

    /// The address under which applications reach the hub, for the JWKS endpoints shown. Left out:
    /// the listening address.
    #[config(env = "ROLLCALL_PUBLIC_URL")]
    pub public_url: Option<String>,

    /// The file that holds the master key (64 hexadecimal digits). Left out: `master.key` in the data
    /// folder, made at the first start.
    #[config(env = "ROLLCALL_MASTER_KEY_FILE")]
    pub master_key_file: Option<PathBuf>,

    /// The file that holds the token of the administrator's API. Left out: `admin.token` in the data
    /// folder, made at the first start.
    #[config(env = "ROLLCALL_ADMIN_TOKEN_FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// The name of the root organizational unit, used at the first start.
    #[config(env = "ROLLCALL_ORGANIZATION", default = "Organization")]
    pub organization: String,

    /// The account number on the wire (`aliUid`), used at the first start. Left out:
    /// 1000000000000000.
    #[config(env = "ROLLCALL_ALI_UID")]
    pub ali_uid: Option<u64>,

    /// What the hub writes to its standard error.
    #[config(nested)]
    pub log: LogConfig,

    /// How many connections the hub keeps, and how long it waits for whom.
    #[config(nested)]
    pub server: ServerConfig,

    /// Who may do what.
    #[config(nested)]
    pub access: AccessConfig,

    /// How requests leave the hub.
    #[config(nested)]
    pub egress: EgressConfig,

    /// How patient the hub is with applications.
    #[config(nested)]
    pub delivery: DeliveryConfig,

    /// How long things are kept, in days.
    #[config(nested)]
    pub retention: RetentionConfig,
}

/// What the hub writes to its standard error.
#[derive(Clone, Debug, confique::Config)]
pub struct LogConfig {
    /// How much: error, warn, info, debug or trace, also by module, such as `info,rollcall::delivery=debug`.
    /// No personal data is logged at info and above.
    #[config(env = "ROLLCALL_LOG", default = "info")]
    pub level: String,

    /// `text` for people, `json` for machines.
    #[config(env = "ROLLCALL_LOG_FORMAT", default = "text")]
    pub format: LogFormat,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Who may do what.
#[derive(Clone, Debug, confique::Config)]
pub struct AccessConfig {
    /// A file that holds the password of the account `admin`, which the first start makes; it has to be changed at the
    /// first sign-in. Left out: a one-time password, which the first start prints once.
    #[config(env = "ROLLCALL_ACCESS_INITIAL_PASSWORD_FILE")]
    pub initial_password_file: Option<PathBuf>,

    /// Minutes after which a session ends that is not used, 1 to 1440.
    #[config(env = "ROLLCALL_ACCESS_SESSION_IDLE", default = 30)]
    pub session_idle: u32,

    /// Hours after which a session ends in any case, 1 to 720.
    #[config(env = "ROLLCALL_ACCESS_SESSION_LIFETIME", default = 12)]
    pub session_lifetime: u32,

    /// How many requests a second anybody may send to the administrator's API in the long run, up to 100000; 0 for no
    /// limit. Each account, each token, and the token of the data folder has that much for itself, on each node.
    #[config(env = "ROLLCALL_ACCESS_REQUESTS_PER_SECOND", default = 100)]
    pub requests_per_second: u32,

    /// How many of them may come at once, 1 to 100000.
    #[config(env = "ROLLCALL_ACCESS_REQUESTS_AT_ONCE", default = 500)]
    pub requests_at_once: u32,

    /// Signing in to the console at a provider (OpenID Connect). It is off unless an issuer is named.
    #[config(nested)]
    pub oidc: OidcConfig,
}

/// How requests leave the hub.
#[derive(Clone, Debug, confique::Config)]
pub struct EgressConfig {
    /// Private networks that receiving URLs may lead to, such as `10.1.0.0/16`. In the variable, commas stand
    /// between several.
    #[config(env = "ROLLCALL_EGRESS_ALLOW", parse_env = comma_separated, default = [])]
    pub allow: Vec<String>,

    /// The local address from which requests leave.
    #[config(env = "ROLLCALL_EGRESS_SOURCE")]
    pub source_address: Option<IpAddr>,

    /// The addresses that applications see, shown to administrators for their firewalls.
    #[config(default = [])]
    pub outbound_addresses: Vec<IpAddr>,

    /// A file of certificates (PEM) trusted besides the system's authorities: those of a company's own authority,
    /// or self-signed ones of endpoints. It is read at the start.
    #[config(env = "ROLLCALL_EGRESS_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

/// How patient the hub is with applications.
#[derive(Clone, Debug, confique::Config)]
pub struct DeliveryConfig {
    /// How often a request is sent before its application is suspended, 1 to 20.
    #[config(env = "ROLLCALL_DELIVERY_TRIES", default = 6)]
    pub tries: u32,

    /// How often an event that the application wants again is sent before it is set aside, 1 to 20.
    #[config(env = "ROLLCALL_DELIVERY_EVENT_TRIES", default = 5)]
    pub event_tries: u32,

    /// Seconds before the second try; the pause doubles with each further one.
    #[config(env = "ROLLCALL_DELIVERY_FIRST_PAUSE", default = 1)]
    pub first_pause: u64,

    /// The longest pause between tries, in seconds.
    #[config(env = "ROLLCALL_DELIVERY_LONGEST_PAUSE", default = 60)]
    pub longest_pause: u64,

    /// Seconds before a suspended application is first asked again; the pause doubles too.
    #[config(env = "ROLLCALL_DELIVERY_FIRST_PROBE", default = 30)]
    pub first_probe: u64,

    /// The longest pause before a suspended application is asked again, in seconds.
    #[config(env = "ROLLCALL_DELIVERY_LONGEST_PROBE", default = 900)]
    pub longest_probe: u64,

    /// Hours for which a new password waits, sealed, for the applications that it is meant for.
    #[config(env = "ROLLCALL_DELIVERY_PASSWORD_HOURS", default = 24)]
    pub password_hours: u64,

    /// On PostgreSQL: seconds after which a node that is not heard any more is replaced by the others, 2 to 300.
    /// The same on all nodes.
    #[config(env = "ROLLCALL_DELIVERY_LEASE", default = 15)]
    pub lease: u64,
}

/// How long things are kept, in days.
#[derive(Clone, Debug, confique::Config)]
pub struct RetentionConfig {
    /// Changes that every application has got.
    #[config(env = "ROLLCALL_RETENTION_CHANGES", default = 14)]
    pub changes: u64,

    /// Changes that some application has not got, because it is switched off or does not answer. It is
    /// pushed everything again when it is back.
    #[config(env = "ROLLCALL_RETENTION_LAGGARDS", default = 90)]
    pub laggards: u64,

    /// Attempts, and synchronization jobs that have ended.
    #[config(env = "ROLLCALL_RETENTION_ATTEMPTS", default = 30)]
    pub attempts: u64,

    /// Entries of the audit log besides changes of the directory, which the change log keeps.
    #[config(env = "ROLLCALL_RETENTION_AUDIT", default = 365)]
    pub audit: u64,
}

/// What the command line says over everything else.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields are those of the configuration")]
pub struct Overrides {
    pub data_dir: Option<PathBuf>,
    pub database: Option<String>,
    pub listen: Option<SocketAddr>,
    pub public_url: Option<String>,
    pub egress_allow: Vec<String>,
    pub log_level: Option<String>,
    pub log_format: Option<LogFormat>,
}

/// What a configuration file is called where it is looked for.
const FILE_NAME: &str = "rollcall.toml";

/// Where the configuration of the hub that a package installs is.
const OF_THE_MACHINE: &str = "/etc/rollcall/rollcall.toml";

/// Where a configuration file is looked for if none is named: in the data folder, then in the working folder, then
/// where a package of the system has it. Who names a data folder means the hub in it and not that of the machine, so
/// the last place is left out then.
pub fn places(data_dir: Option<&Path>) -> Vec<PathBuf> {
    let from_environment = || std::env::var_os("ROLLCALL_DATA_DIR").filter(|value| !value.is_empty());
    let named = data_dir
        .map(Path::to_owned)
        .or_else(|| from_environment().map(PathBuf::from));
    let working = PathBuf::from(FILE_NAME);
    match named {
        Some(data_dir) => vec![data_dir.join(FILE_NAME), working],
        None => {
            let data_dir = PathBuf::from("rollcall-data");
            vec![data_dir.join(FILE_NAME), working, PathBuf::from(OF_THE_MACHINE)]
        }
    }
}

/// The parts of an environment variable that holds several.
fn comma_separated(text: &str) -> Result<Vec<String>, Infallible> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    Ok(parts.map(str::to_owned).collect())
}

impl Config {
    /// Reads the configuration: the command line over the environment over the file over defaults.
    ///
    /// # Errors
    /// If a file is missing, or a setting cannot be used; the error names it.
    pub fn read(file: Option<&Path>, overrides: Overrides) -> Result<Self> {
        let mut builder = Self::builder().env();
        if let Some(file) = file {
            if !file.is_file() {
                bail!("the configuration file {} does not exist", file.display());
            }
            let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            builder = builder.preloaded(layer(&text).with_context(|| file.display().to_string())?);
        }
        let mut config = builder.load().context("the configuration cannot be used")?;
        let Overrides {
            data_dir,
            database,
            listen,
            public_url,
            egress_allow,
            log_level,
            log_format,
        } = overrides;
        config.data_dir = data_dir.unwrap_or(config.data_dir);
        if let Some(database) = database {
            config.database = Some(database);
            config.database_file = None;
        }
        config.listen = listen.unwrap_or(config.listen);
        config.public_url = public_url.or(config.public_url);
        if !egress_allow.is_empty() {
            config.egress.allow = egress_allow;
        }
        config.log.level = log_level.unwrap_or(config.log.level);
        config.log.format = log_format.unwrap_or(config.log.format);
        config.validate()?;
        Ok(config)
    }

    /// What a file of this text alone would mean: without command line and environment.
    ///
    /// # Errors
    /// If it is no such file, with the line, or a setting cannot be used, with its name.
    pub fn of_text(text: &str) -> Result<Self> {
        let config = Self::builder().preloaded(layer(text)?).load()?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<()> {
        if self.database.is_some() && self.database_file.is_some() {
            bail!("database and database_file: give one of them");
        }
        if let Some(url) = &self.public_url {
            let parsed = reqwest::Url::parse(url).with_context(|| format!("public_url {url:?}"))?;
            ensure!(
                matches!(parsed.scheme(), "http" | "https") && parsed.has_host(),
                "public_url {url:?} must begin with http:// or https://"
            );
        }
        ensure!(
            !self.organization.trim().is_empty(),
            "organization must not be empty"
        );
        rollcall_server::log::filter(&self.log.level)
            .map_err(anyhow::Error::msg)
            .context("log.level")?;
        self.server.options().map_err(anyhow::Error::msg)?;
        let DeliveryConfig {
            tries,
            event_tries,
            first_pause,
            longest_pause,
            first_probe,
            longest_probe,
            password_hours,
            lease,
        } = self.delivery;
        let within = |name: &str, value: u64, least: u64, most: u64| {
            ensure!(
                (least..=most).contains(&value),
                "{name} must be between {least} and {most}, not {value}"
            );
            Ok(())
        };
        within("delivery.tries", tries.into(), 1, 20)?;
        within("delivery.event_tries", event_tries.into(), 1, 20)?;
        within("delivery.first_pause", first_pause, 1, 3_600)?;
        within("delivery.longest_pause", longest_pause, first_pause, 86_400)?;
        within("delivery.first_probe", first_probe, 1, 86_400)?;
        within("delivery.longest_probe", longest_probe, first_probe, 604_800)?;
        within("delivery.password_hours", password_hours, 1, 720)?;
        within("delivery.lease", lease, 2, 300)?;
        within("access.session_idle", self.access.session_idle.into(), 1, 1_440)?;
        within(
            "access.session_lifetime",
            self.access.session_lifetime.into(),
            1,
            720,
        )?;
        let AccessConfig {
            requests_per_second,
            requests_at_once,
            ..
        } = self.access;
        within(
            "access.requests_per_second",
            requests_per_second.into(),
            0,
            100_000,
        )?;
        within("access.requests_at_once", requests_at_once.into(), 1, 100_000)?;
        within(
            "access.oidc.session_lifetime",
            self.access.oidc.session_lifetime.into(),
            1,
            720,
        )?;
        self.access.oidc.validate(self.public_url.as_deref())?;
        within("retention.changes", self.retention.changes, 1, 3_650)?;
        within(
            "retention.laggards",
            self.retention.laggards,
            self.retention.changes,
            3_650,
        )?;
        within("retention.attempts", self.retention.attempts, 1, 3_650)?;
        within("retention.audit", self.retention.audit, 1, 36_500)?;
        self.egress().map(drop)
    }

    /// The database's address.
    ///
    /// # Errors
    /// If the file that holds it cannot be read.
    pub fn database_url(&self) -> Result<String> {
        if let Some(file) = &self.database_file {
            let text = private::read_text(file).context("database_file")?;
            return Ok(text.to_string());
        }
        Ok(self
            .database
            .clone()
            .unwrap_or_else(|| format!("sqlite:{}", self.data_dir.join("rollcall.db").display())))
    }

    /// The master key's file.
    pub fn master_key_path(&self) -> PathBuf {
        self.master_key_file
            .clone()
            .unwrap_or_else(|| self.data_dir.join("master.key"))
    }

    /// How patient delivery is.
    pub fn delivery_options(&self) -> Options {
        let DeliveryConfig {
            tries,
            event_tries,
            first_pause,
            longest_pause,
            first_probe,
            longest_probe,
            lease,
            password_hours: _,
        } = self.delivery;
        Options {
            tries,
            event_tries,
            first_pause: Duration::from_secs(first_pause),
            longest_pause: Duration::from_secs(longest_pause),
            first_probe: Duration::from_secs(first_probe),
            longest_probe: Duration::from_secs(longest_probe),
            lease: Duration::from_secs(lease),
            ..Options::default()
        }
    }

    /// How long things are kept.
    pub fn maintenance_options(&self) -> maintenance::Options {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        maintenance::Options {
            password_retention: Duration::from_secs(self.delivery.password_hours * 3_600),
            retention: Retention {
                changes: days(self.retention.changes),
                laggards: days(self.retention.laggards),
                attempts: days(self.retention.attempts),
                audit: days(self.retention.audit),
            },
            sessions: Lifetime {
                idle: Millis::from(self.access.session_idle) * 60_000,
                absolute: Millis::from(self.access.session_lifetime) * 3_600_000,
            },
            ..maintenance::Options::default()
        }
    }

    /// How much anybody may ask of the administrator's API.
    pub fn rate_limit(&self) -> Option<RateLimit> {
        let AccessConfig {
            requests_per_second,
            requests_at_once,
            ..
        } = self.access;
        (requests_per_second > 0).then_some(RateLimit {
            per_second: requests_per_second,
            burst: requests_at_once,
        })
    }

    /// The password of the first account, if it is configured.
    ///
    /// # Errors
    /// If the file that holds it cannot be read.
    pub fn initial_password(&self) -> Result<Option<SecretString>> {
        let Some(file) = &self.access.initial_password_file else {
            return Ok(None);
        };
        let text = private::read_text(file).context("access.initial_password_file")?;
        Ok(Some(text.as_str().to_owned().into()))
    }

    /// The file of the administrator's token.
    pub fn token_path(&self) -> PathBuf {
        self.admin_token_file
            .clone()
            .unwrap_or_else(|| self.data_dir.join("admin.token"))
    }

    /// The address under which applications reach the hub, if it is configured, without a slash at its end.
    pub fn public_url(&self) -> Option<String> {
        let url = self.public_url.as_deref()?;
        Some(url.trim_end_matches('/').to_owned())
    }

    /// How the HTTP client is built.
    ///
    /// # Errors
    /// If a network or the file of authorities cannot be read.
    pub fn egress(&self) -> Result<EgressOptions> {
        let policy = policy(&self.egress.allow).context("egress.allow")?;
        let extra_authorities = match &self.egress.ca_file {
            None => Vec::new(),
            Some(path) => authorities(path).with_context(|| format!("egress.ca_file: {}", path.display()))?,
        };
        Ok(EgressOptions {
            policy,
            source_address: self.egress.source_address,
            extra_authorities,
        })
    }
}

/// What may be called if these networks are allowed.
///
/// # Errors
/// If one of them is no network.
pub fn policy(networks: &[String]) -> Result<AddressPolicy> {
    let allowed = networks
        .iter()
        .map(|text| parse_network(text).map_err(anyhow::Error::msg))
        .collect::<Result<_>>()?;
    Ok(AddressPolicy { allowed })
}

/// The certificates of a file of PEM.
///
/// # Errors
/// If the file cannot be read, or holds no certificate.
pub fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = std::fs::read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>()?;
    ensure!(
        !certificates.is_empty(),
        "it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"
    );
    Ok(certificates)
}

/// What the text of a file sets. An error names the line.
fn layer(text: &str) -> Result<<Config as confique::Config>::Layer> {
    if let Some(Unknown { name, line }) = unknown_setting(text, &Config::META) {
        bail!("line {line}: there is no setting {name:?}; `rollcall example` shows all of them");
    }
    Ok(toml::from_str(text)?)
}

/// The example of a configuration file: every setting with its description, default and variable.
pub fn example() -> String {
    let mut options = confique::toml::FormatOptions::default();
    options.general.nested_field_gap = 1;
    let template = confique::toml::template::<Config>(options);
    // The first line is the description of a type, which tells nobody how to use a file.
    let settings = template
        .split_once('\n')
        .map_or(template.as_str(), |(_, rest)| rest);
    format!(
        "# The configuration of a Rollcall hub. It is read from the file that --config or ROLLCALL_CONFIG names, or else\n\
         # from rollcall.toml in the data folder or in the working folder, or, where no data folder is named, from\n\
         # /etc/rollcall/rollcall.toml.\n\
         # Everything that is commented out stands at its default.\n{settings}"
    )
}
