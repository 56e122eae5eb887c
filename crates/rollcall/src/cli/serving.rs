//! What the running hub knows better than the configuration of a command beside it: where applications reach it,
//! and which private networks it may call.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::delivery::connectivity;
use crate::delivery::egress::{Egress, EgressOptions};
use crate::hub::Hub;
use crate::instance::{self, Serving};

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
            .unwrap_or_else(|| format!("{}://{}", self.scheme(), instance::for_others(self.listens_on())))
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
            (None, None) => Some(instance::unreachable(listens_on, &self.public_url())),
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

    /// The addresses from which the hub's requests leave: those of its own configuration, or else those of the
    /// configuration here.
    pub(super) fn outbound_addresses(&self) -> &[IpAddr] {
        match &self.serving {
            Some(serving) if !serving.outbound_addresses.is_empty() => &serving.outbound_addresses,
            _ => &self.config.egress.outbound_addresses,
        }
    }

    /// Why the hub will not send to a receiving URL, and what to set; `None` if it will, or if that cannot be told
    /// now.
    pub(super) async fn refusal(&self, url: &str) -> Result<Option<String>> {
        Ok(connectivity::refusal(&config::policy(self.allowed())?, url).await)
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
