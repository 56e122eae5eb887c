//! The proxies before the server, and what they say of those who ask through them.
//!
//! Anybody can write the headers in which proxies name their clients, so they are believed only if the other end of
//! the connection is a trusted proxy, and only as far as trusted proxies wrote them. Every proxy appends the address
//! of whoever asked it, so the list is read from its end: the client is the first address there that is no trusted
//! proxy. What stands before it is what that client sent, and is not even parsed. If every address is that of a
//! trusted proxy, the first of the list is the client.
//!
//! Two families of headers are in use, and a proxy that writes one passes on the other as the client sent it. Which
//! one counts is therefore a setting, and not what happens to be there.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use ipnet::IpNet;

use crate::client::Client;

/// The headers in which the proxies name their clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedBy {
    /// `X-Forwarded-For`, and beside it `X-Forwarded-Proto` and `X-Forwarded-Host`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Which proxies are trusted, and what they write.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    networks: Arc<[IpNet]>,
    forwarded_by: ForwardedBy,
}

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
const X_FORWARDED_HOST: &str = "x-forwarded-host";

/// What a proxy says of whoever asked it.
#[derive(Debug)]
struct Said<'a> {
    address: IpAddr,
    proto: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
}

impl Proxies {
    /// The proxies in these networks, given in CIDR notation or as single addresses.
    ///
    /// # Errors
    /// Which of them is no network.
    pub fn new(networks: &[String], forwarded_by: ForwardedBy) -> Result<Self, String> {
        let network = |text: &String| {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            text.parse().or_else(|_| address()).map_err(|_| {
                format!("{text:?} is no network; write 10.0.0.0/8, fd00::/8 or an address, and no names")
            })
        };
        Ok(Self {
            networks: networks.iter().map(network).collect::<Result<_, String>>()?,
            forwarded_by,
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Whether this is the address of a trusted proxy.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Who sent a request that came over a connection from `peer`, which is encrypted or not.
    pub(crate) fn client(&self, peer: IpAddr, encrypted: bool, uri: &Uri, headers: &HeaderMap) -> Client {
        let asked_for = || match uri.authority() {
            Some(authority) => Some(authority.as_str().to_owned()),
            None => authority(headers.get(header::HOST)?.as_bytes()),
        };
        let said = if self.trusts(peer) {
            self.said(headers)
        } else {
            None
        };
        match said {
            None => Client {
                address: peer.to_canonical(),
                secure: encrypted,
                host: asked_for(),
            },
            Some(Said { address, proto, host }) => Client {
                address,
                secure: proto.map_or(encrypted, |proto| proto.eq_ignore_ascii_case(b"https")),
                host: host.map_or_else(asked_for, authority),
            },
        }
    }

    /// What the outermost trusted proxy says. `None` if the proxies name nobody, or what they wrote cannot be read.
    fn said<'a>(&self, headers: &'a HeaderMap) -> Option<Said<'a>> {
        match self.forwarded_by {
            ForwardedBy::XForwardedFor => {
                let mut hops = 0;
                let addresses = from_the_end(headers, X_FORWARDED_FOR).map(|entry| {
                    hops += 1;
                    node(entry)
                });
                let address = self.outermost(addresses, |address| *address)?;
                // A proxy that appends to one list appends to the others; one that does not sets a single value.
                let of_the_same = |name| from_the_end(headers, name).take(hops).last();
                Some(Said {
                    address,
                    proto: of_the_same(X_FORWARDED_PROTO),
                    host: of_the_same(X_FORWARDED_HOST),
                })
            }
            ForwardedBy::Forwarded => {
                let lines = headers.get_all(header::FORWARDED).iter().rev();
                let elements = lines.flat_map(|line| match elements(line.as_bytes()) {
                    Some(elements) => elements.into_iter().rev().map(Element::said).collect(),
                    None => vec![None],
                });
                self.outermost(elements, |said| said.address)
            }
        }
    }

    /// The first that is no trusted proxy, or else the last. `None` if there is nothing, or it cannot be read.
    fn outermost<T>(
        &self,
        entries: impl Iterator<Item = Option<T>>,
        address: impl Fn(&T) -> IpAddr,
    ) -> Option<T> {
        let mut found = None;
        for entry in entries {
            let entry = entry?;
            let is_proxy = self.trusts(address(&entry));
            found = Some(entry);
            if !is_proxy {
                break;
            }
        }
        found
    }
}

/// The entries of a header that is a list, perhaps over several lines; the last one first.
fn from_the_end<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
}

/// A host with an optional port, and nothing else.
fn authority(text: &[u8]) -> Option<String> {
    let authority = Authority::try_from(text).ok()?;
    (!authority.as_str().contains('@')).then(|| authority.as_str().to_owned())
}

/// An address, perhaps with a port; an IPv6 address in brackets or without them.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let address = match text.parse() {
        Ok(address) => address,
        Err(_) => match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            Some(inner) => IpAddr::V6(inner.parse().ok()?),
            None => text.parse::<SocketAddr>().ok()?.ip(),
        },
    };
    Some(address.to_canonical())
}

/// An element of `Forwarded`: what one proxy says.
#[derive(Debug, Default)]
struct Element<'a> {
    node: Option<Value<'a>>,
    proto: Option<Value<'a>>,
    host: Option<Value<'a>>,
}

/// The value of a parameter. Nothing that is read here needs an escape, so a value with one is not taken.
type Value<'a> = &'a [u8];

impl<'a> Element<'a> {
    fn said(self) -> Option<Said<'a>> {
        Some(Said {
            address: node(self.node?)?,
            proto: self.proto,
            host: self.host,
        })
    }

    /// Notes a parameter. `None` if the element has it already (RFC 7239, section 4).
    fn note(&mut self, name: &[u8], value: Value<'a>) -> Option<()> {
        let place = match name.to_ascii_lowercase().as_slice() {
            b"for" => &mut self.node,
            b"proto" => &mut self.proto,
            b"host" => &mut self.host,
            _ => return Some(()),
        };
        place.replace(value).is_none().then_some(())
    }
}

/// Reads a line of `Forwarded` (RFC 7239, section 4). `None` if it is malformed.
fn elements(line: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut rest = line.trim_ascii_start();
    let mut elements = Vec::new();
    let mut element = None;
    while let Some(first) = rest.first() {
        match first {
            b',' => {
                elements.extend(element.take());
                rest = &rest[1..];
            }
            b';' => rest = &rest[1..],
            _ => {
                let (name, after) = split_where(rest, |byte| !is_token(byte));
                let (value, after) = value(after.strip_prefix(b"=")?)?;
                element.get_or_insert_with(Element::default).note(name, value)?;
                rest = after.trim_ascii_start();
                if !matches!(rest.first(), None | Some(b',' | b';')) {
                    return None;
                }
            }
        }
        rest = rest.trim_ascii_start();
    }
    elements.extend(element);
    Some(elements)
}

/// A token or a quoted string at the beginning, and what follows it. Many proxies write addresses with ports and
/// brackets without the quotes that they need.
fn value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(quoted) = text.strip_prefix(b"\"") {
        let (value, rest) = split_where(quoted, |byte| matches!(byte, b'"' | b'\\'));
        return Some((value, rest.strip_prefix(b"\"")?));
    }
    let (value, rest) = split_where(text, |byte| {
        !is_token(byte) && !matches!(byte, b':' | b'[' | b']')
    });
    (!value.is_empty()).then_some((value, rest))
}

fn split_where(text: &[u8], ends: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| ends(*byte));
    text.split_at(end.unwrap_or(text.len()))
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
