//! The settings of the server, the same for every program; and what a file of settings must not hold.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use confique::meta::{FieldKind, Meta};
use toml::de::{DeTable, DeValue};

use crate::proxies::{ForwardedBy, Proxies};
use crate::tls::{Tls, TlsError, TlsFiles};

/// How many connections the server keeps, and how long it waits for whom.
#[derive(Clone, Debug, confique::Config)]
pub struct ServerConfig {
    /// How many connections there may be. Left out: half of the descriptors that the process may have
    /// (`ulimit -n`), 4096 at most; more than that half is never used, so that the database and the requests
    /// that go out find some. When there are as many, the one that has been silent longest is closed.
    pub connections: Option<usize>,

    /// How many of them may come from one address (IPv6: from one /64). Left out: half of them. Behind a trusted
    /// proxy, how many requests of one client are answered at a time.
    pub connections_per_address: Option<usize>,

    /// Seconds in which the head of a request has to arrive, from its first byte or from the beginning of the
    /// connection.
    #[config(default = 10)]
    pub header_timeout: u64,

    /// Seconds in which the body of a request has to arrive, and for which an answer may wait until the
    /// caller reads on.
    #[config(default = 30)]
    pub body_timeout: u64,

    /// Seconds after which a connection is closed on which there was no further request.
    #[config(default = 60)]
    pub idle_timeout: u64,

    /// Seconds that the program has to end once it is asked to; what is still in flight then is cut off.
    #[config(default = 15)]
    pub stop_timeout: u64,

    /// Networks and addresses of proxies, such as `["10.0.0.0/8"]`, that are believed when they name the client that
    /// they ask for. Nobody else is.
    #[config(default = [])]
    pub trusted_proxies: Vec<String>,

    /// In which headers these proxies do so: `x-forwarded-for` (with `X-Forwarded-Proto` and `X-Forwarded-Host`) or
    /// `forwarded` (RFC 7239). Only those are read, because a proxy passes the others on as its client sent them.
    #[config(default = "x-forwarded-for")]
    pub forwarded_by: ForwardedBy,

    /// The certificate, if the server itself encrypts. Both files are read again when they change.
    #[config(nested)]
    pub tls: TlsConfig,
}

/// The certificate, if the server itself encrypts. Both files are read again when they change.
#[derive(Clone, Debug, confique::Config)]
pub struct TlsConfig {
    /// A file with the server's certificate, and after it those between it and its authority (PEM).
    pub certificate: Option<PathBuf>,

    /// The file with its private key (PEM), closed to others: mode 0600, or 0640 if it is root's.
    pub key: Option<PathBuf>,
}

/// How the server serves.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How many connections there may be, and how long everything may take.
    pub limits: Limits,
    /// The proxies that are trusted.
    pub proxies: Proxies,
    /// The certificate; without it nothing is encrypted.
    pub tls: Option<Arc<Tls>>,
}

impl From<Limits> for Options {
    /// With nothing else set.
    fn from(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }
}

/// The numbers and times of it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How many connections there may be.
    pub connections: usize,
    /// How many of them may come from one address.
    pub per_address: usize,
    /// For the head of a request.
    pub header: Duration,
    /// For its body, and for an answer without progress.
    pub body: Duration,
    /// For the next request.
    pub idle: Duration,
    /// For the end.
    pub stop: Duration,
}

/// The most connections that are kept if nothing is said.
const CONNECTIONS: usize = 4_096;

impl Default for Limits {
    /// What holds if nothing is set.
    fn default() -> Self {
        let connections = half_of_descriptors().min(CONNECTIONS);
        Self {
            connections,
            per_address: half(connections),
            header: Duration::from_secs(10),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            stop: Duration::from_secs(15),
        }
    }
}

fn half(number: usize) -> usize {
    (number / 2).max(1)
}

fn half_of_descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit
        .and_then(|limit| usize::try_from(limit).ok())
        .map_or(usize::MAX, half)
}

impl ServerConfig {
    /// Checks the settings. The certificate is not read: see [`Self::tls`].
    ///
    /// # Errors
    /// A sentence that names the setting, as `server.NAME`.
    pub fn options(&self) -> Result<Options, String> {
        let proxies = Proxies::new(&self.trusted_proxies, self.forwarded_by);
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err("server.tls.certificate and server.tls.key: set both of them, or none".to_owned());
        }
        Ok(Options {
            limits: self.limits()?,
            proxies: proxies.map_err(|error| format!("server.trusted_proxies: {error}"))?,
            tls: None,
        })
    }

    /// Reads the certificate, if there is one.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn tls(&self) -> Result<Option<Arc<Tls>>, TlsError> {
        let TlsConfig { certificate, key } = self.tls.clone();
        let files = certificate.zip(key);
        let open = |(certificate, key)| Tls::open(TlsFiles { certificate, key }).map(Arc::new);
        files.map(open).transpose()
    }

    fn limits(&self) -> Result<Limits, String> {
        let seconds = |name: &str, value: u64| {
            if (1..=3_600).contains(&value) {
                Ok(Duration::from_secs(value))
            } else {
                Err(format!("server.{name} must be between 1 and 3600, not {value}"))
            }
        };
        for (name, value) in [
            ("connections", self.connections),
            ("connections_per_address", self.connections_per_address),
        ] {
            if value == Some(0) {
                return Err(format!("server.{name} must be at least 1"));
            }
        }
        let room = half_of_descriptors();
        let connections = self.connections.unwrap_or(CONNECTIONS).min(room);
        Ok(Limits {
            connections,
            per_address: self
                .connections_per_address
                .unwrap_or(half(connections))
                .min(connections),
            header: seconds("header_timeout", self.header_timeout)?,
            body: seconds("body_timeout", self.body_timeout)?,
            idle: seconds("idle_timeout", self.idle_timeout)?,
            stop: seconds("stop_timeout", self.stop_timeout)?,
        })
    }
}

/// A setting that there is not, in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its name, with those of its sections.
    pub name: String,
    /// The line that it stands in.
    pub line: usize,
}

/// The first setting in the text of a file that there is not: a slip of the pen must not leave a setting at its
/// default. What is no TOML has none; whoever loads the file says what is wrong with it.
pub fn unknown_setting(text: &str, settings: &Meta) -> Option<Unknown> {
    let table = DeTable::parse(text).ok()?;
    let mut found = Vec::new();
    look_for_unknown(table.get_ref(), settings, "", &mut found);
    let (at, name) = found.into_iter().min()?;
    let line = text[..at].matches('\n').count() + 1;
    Some(Unknown { name, line })
}

fn look_for_unknown(table: &DeTable<'_>, settings: &Meta, section: &str, found: &mut Vec<(usize, String)>) {
    for (key, value) in table {
        let name = format!("{section}{}", key.get_ref());
        let field = settings.fields.iter().find(|field| field.name == key.get_ref());
        match (field.map(|field| &field.kind), value.get_ref()) {
            (Some(FieldKind::Nested { meta }), DeValue::Table(inner)) => {
                look_for_unknown(inner, meta, &format!("{name}."), found);
            }
            (Some(_), _) => {}
            (None, DeValue::Table(inner)) if !inner.is_empty() => {
                // Nothing in there is a setting.
                let none = Meta {
                    fields: &[],
                    ..*settings
                };
                look_for_unknown(inner, &none, &format!("{name}."), found);
            }
            (None, _) => found.push((key.span().start, name)),
        }
    }
}
