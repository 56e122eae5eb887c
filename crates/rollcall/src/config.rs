//! The hub's configuration: a file, environment variables over it, and sensible values for the rest.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use confique::Config as _;

use rollcall_receiver::parse_network;

use crate::delivery::egress::{AddressPolicy, EgressOptions};

/// The configuration as it is written.
#[derive(Clone, Debug, confique::Config)]
pub struct Config {
    /// The folder for the database, the master key and the administrator's token.
    #[config(env = "ROLLCALL_DATA_DIR", default = "rollcall-data")]
    pub data_dir: PathBuf,

    /// `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`. Left out: SQLite in the data folder.
    #[config(env = "ROLLCALL_DATABASE")]
    pub database: Option<String>,

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

    /// The name of the root organizational unit, used at the first start.
    #[config(env = "ROLLCALL_ORGANIZATION", default = "Organization")]
    pub organization: String,

    /// The account number on the wire (`aliUid`), used at the first start. Left out:
    /// 1000000000000000.
    #[config(env = "ROLLCALL_ALI_UID")]
    pub ali_uid: Option<u64>,

    /// How requests leave the hub.
    #[config(nested)]
    pub egress: EgressConfig,
}

/// How requests leave the hub.
#[derive(Clone, Debug, confique::Config)]
pub struct EgressConfig {
    /// Private networks that receiving URLs may lead to, such as `10.1.0.0/16`.
    #[config(default = [])]
    pub allow: Vec<String>,

    /// The local address from which requests leave.
    #[config(env = "ROLLCALL_EGRESS_SOURCE")]
    pub source_address: Option<IpAddr>,

    /// The addresses that applications see, shown to administrators for their firewalls.
    #[config(default = [])]
    pub outbound_addresses: Vec<IpAddr>,

    /// A file of certificate authorities (PEM) trusted besides the system's.
    #[config(env = "ROLLCALL_EGRESS_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

impl Config {
    /// Reads the configuration: environment over file over defaults.
    ///
    /// # Errors
    /// If a file is missing or a setting cannot be read.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        let mut builder = Self::builder().env();
        if let Some(file) = file {
            if !file.is_file() {
                bail!("the configuration file {} does not exist", file.display());
            }
            builder = builder.file(file);
        }
        let config = builder.load().context("the configuration cannot be used")?;
        config.egress()?;
        Ok(config)
    }

    /// The database's address.
    pub fn database_url(&self) -> String {
        self.database
            .clone()
            .unwrap_or_else(|| format!("sqlite:{}", self.data_dir.join("rollcall.db").display()))
    }

    /// The master key's file.
    pub fn master_key_path(&self) -> PathBuf {
        self.master_key_file
            .clone()
            .unwrap_or_else(|| self.data_dir.join("master.key"))
    }

    /// The file of the administrator's token.
    pub fn token_path(&self) -> PathBuf {
        self.data_dir.join("admin.token")
    }

    /// The address under which applications reach the hub.
    pub fn public_url(&self) -> String {
        self.public_url.as_deref().map_or_else(
            || format!("http://{}", self.listen),
            |url| url.trim_end_matches('/').to_owned(),
        )
    }

    /// How the HTTP client is built.
    ///
    /// # Errors
    /// If a network or the file of authorities cannot be read.
    pub fn egress(&self) -> Result<EgressOptions> {
        let allowed = self
            .egress
            .allow
            .iter()
            .map(|text| parse_network(text).map_err(anyhow::Error::msg))
            .collect::<Result<_>>()
            .context("egress.allow")?;
        let extra_authorities = match &self.egress.ca_file {
            None => Vec::new(),
            Some(path) => {
                vec![std::fs::read(path).with_context(|| format!("egress.ca_file: {}", path.display()))?]
            }
        };
        Ok(EgressOptions {
            policy: AddressPolicy { allowed },
            source_address: self.egress.source_address,
            extra_authorities,
        })
    }
}
