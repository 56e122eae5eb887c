//! Which addresses the hub calls.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use reqwest::Url;

use super::failure::Failure;

/// Which addresses may be called.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    /// Networks that are allowed although they are private.
    pub allowed: Vec<IpNet>,
}

impl AddressPolicy {
    /// Whether the hub may connect to this address.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed.iter().any(|network| network.contains(&address)) || is_public(address)
    }

    /// The addresses that a URL's host leads to and that may be called.
    ///
    /// # Errors
    /// [`Failure::Resolve`] or [`Failure::Forbidden`].
    pub async fn resolve(&self, url: &Url) -> Result<Vec<SocketAddr>, Failure> {
        let port = url.port_or_known_default().unwrap_or(443);
        match self.check_literal(url)? {
            Some(address) => Ok(vec![SocketAddr::new(address, port)]),
            None => self.look_up(url.host_str().unwrap_or_default(), port).await,
        }
    }

    /// The address that a URL has for its host, if it may be called; `None` if the host has a name.
    pub(in crate::delivery) fn check_literal(&self, url: &Url) -> Result<Option<IpAddr>, Failure> {
        let host = url.host_str().unwrap_or_default();
        match host.trim_matches(['[', ']']).parse() {
            Ok(address) if self.permits(address) => Ok(Some(address)),
            Ok(address) => Err(Failure::Forbidden {
                host: host.to_owned(),
                address,
            }),
            Err(_) => Ok(None),
        }
    }

    /// The addresses of a host's name that may be called.
    pub(super) async fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        let found: Vec<_> = tokio::net::lookup_host((host, port))
            .await
            .map_err(|error| Failure::Resolve(format!("{host}: {error}")))?
            .collect();
        let permitted: Vec<_> = found
            .iter()
            .copied()
            .filter(|address| self.permits(address.ip()))
            .collect();
        match (found.first(), permitted.is_empty()) {
            (None, _) => Err(Failure::Resolve(format!("{host} has no address"))),
            (Some(first), true) => Err(Failure::Forbidden {
                host: host.to_owned(),
                address: first.ip(),
            }),
            (Some(_), false) => Ok(permitted),
        }
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
        || (a == 192 && b == 0 && c == 0))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Addresses that carry an IPv4 address inside (NAT64, 6to4) lead where that one leads.
    let carried = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return carried(segments[6], segments[7]);
    }
    if segments[0] == 0x2002 {
        return carried(segments[1], segments[2]);
    }
    // Global unicast is 2000::/3; everything outside it is local, multicast or unassigned.
    segments[0] & 0xe000 == 0x2000
        && !(segments[0] == 0x2001 && (segments[1] == 0x0db8 || segments[1] < 0x0200))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_refused() {
        let policy = AddressPolicy::default();
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!policy.permits(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "203.0.114.1", "2606:4700::1111", "64:ff9b::808:808"] {
            assert!(policy.permits(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn configuration_allows_networks() {
        let policy = AddressPolicy {
            allowed: vec!["10.1.0.0/16".parse().unwrap(), "::1/128".parse().unwrap()],
        };
        assert!(policy.permits("10.1.2.3".parse().unwrap()));
        assert!(policy.permits("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!policy.permits("10.2.0.1".parse().unwrap()));
        assert!(policy.permits("::1".parse().unwrap()));
    }
}
