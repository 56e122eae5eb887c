//! What the running hub knows better than the configuration of a command beside it: where applications reach it,
//! and which private networks it may call.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use reqwest::Url;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::delivery::connectivity::finding;
use crate::delivery::egress::failure::Failure;
use crate::delivery::egress::{Egress, EgressOptions};
use crate::hub::Hub;
use crate::instance::{self, Serving};

/// For how long a name is looked up before a warning is given up.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(3);

/// What is known of the hub that runs, or ran last.
pub(super) struct Known<'a> {
    hub: &'a Hub,
    config: &'a Config,
    serving: Option<Serving>,
}

/// Looks what the hub has stored.
pub(super) async fn known<'a>(hub: &'a Hub, config: &'a Config) -> Result<Known<'a>> {
    let serving = hub.db.read(instance::serving).await?;
    Ok(Known { hub, config, serving })
}

impl Known<'_> {
    /// The address on which the hub listens.
    pub(super) fn listens_on(&self) -> SocketAddr {
        let stored = self.serving.as_ref().and_then(|it| it.listens_on.parse().ok());
        stored.unwrap_or(self.config.listen)
    }

    fn stored_url(&self) -> Option<&str> {
        self.serving.as_ref()?.public_url.as_deref()
    }

    /// The address under which applications reach the hub.
    pub(super) fn public_url(&self) -> String {
        self.stored_url()
            .map(str::to_owned)
            .or_else(|| self.config.public_url())
            .unwrap_or_else(|| format!("{}://{}", self.scheme(), host_and_port(self.listens_on())))
    }

    fn scheme(&self) -> &'static str {
        let encrypted = match &self.serving {
            Some(serving) => serving.encrypted,
            None => self.config.server.tls.certificate.is_some(),
        };
        if encrypted { "https" } else { "http" }
    }

    /// Where an application finds its public keys.
    pub(super) fn jwks_url(&self, application_id: &str) -> String {
        let instance = &self.hub.instance.id;
        format!(
            "{}/v2/{instance}/{application_id}/provisioning/jwks",
            self.public_url()
        )
    }

    /// What is to be done for applications to find their public keys there.
    pub(super) fn note(&self) -> Option<String> {
        let here = self.config.public_url();
        let listens_on = self.listens_on();
        match (self.stored_url(), here) {
            (Some(stored), Some(here)) if stored != here => Some(format!(
                "the hub was started with the public_url {stored}, and the configuration here says {here}: restart \
                 the hub if that is the right one"
            )),
            (Some(_), _) | (None, Some(_)) => None,
            (None, None) if listens_on.ip().is_loopback() => Some(format!(
                "applications on other machines do not reach this address: the hub listens on {listens_on} only. Set \
                 public_url (ROLLCALL_PUBLIC_URL, serve --public-url) to the address under which they do, such as \
                 https://{}, and let that lead to the hub, or have it listen there itself (ROLLCALL_LISTEN, serve \
                 --listen 0.0.0.0:{})",
                host_name(),
                listens_on.port()
            )),
            (None, None) => Some(format!(
                "no public_url is set. If applications do not reach the hub as {}, set it (ROLLCALL_PUBLIC_URL, serve \
                 --public-url) to the address under which they do, and restart the hub",
                self.public_url()
            )),
        }
    }

    /// The private networks that the hub may call: those of its own configuration, or else those of the
    /// configuration here.
    fn allowed(&self) -> &[String] {
        match &self.serving {
            Some(serving) => &serving.egress_allow,
            None => &self.config.egress.allow,
        }
    }

    /// Why the hub will not send to a receiving URL, and what to set; `None` if it will, or if that cannot be told
    /// now.
    pub(super) async fn refusal(&self, url: &str) -> Result<Option<String>> {
        let Ok(url) = Url::parse(url) else {
            return Ok(None);
        };
        let policy = config::policy(self.allowed())?;
        let resolving = tokio::time::timeout(LOOK_UP_WITHIN, policy.resolve(&url)).await;
        Ok(match resolving {
            Ok(Err(failure @ Failure::Forbidden { address, .. })) => Some(format!(
                "the hub will not send to this URL: {failure}; {}",
                finding::allow(address)
            )),
            Ok(_) | Err(_) => None,
        })
    }

    /// A client that may call what the hub may, and what the configuration here allows.
    pub(super) fn egress(&self) -> Result<Egress> {
        let mut options: EgressOptions = self.config.egress()?;
        options
            .policy
            .allowed
            .extend(config::policy(self.allowed())?.allowed);
        Ok(Egress::new(&options, Clock::system())?)
    }
}

/// An address for others: one that stands for all of a machine's is replaced by the machine's name.
fn host_and_port(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => format!("{}:{}", host_name(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => format!("{}:{}", host_name(), address.port()),
        _ => address.to_string(),
    }
}

/// What this machine is called.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
