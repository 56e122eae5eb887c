//! Who sent a request, as handlers see it.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, StatusCode};

/// Who sent a request, and by which way: an extractor for handlers.
///
/// Behind a trusted proxy this is what the proxy says of its own client; otherwise it is what is known of the
/// connection. [`crate::serve`] puts it into the extensions of each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's address. An IPv4 address is never written as an IPv6 one.
    pub address: IpAddr,
    /// Whether what passes between the client and us, or the proxy that it talks to, is encrypted.
    pub secure: bool,
    /// The name, with the port if it is not the usual one, under which the client believes to reach us: the
    /// authority of an origin such as `https://hub.example:8443`. The client chooses it, so it proves nothing.
    pub host: Option<String>,
}

impl Client {
    /// The client of the request that has these extensions. A server that puts only `ConnectInfo<SocketAddr>` into
    /// them has no proxies and no encryption that it tells of.
    pub fn of(extensions: &Extensions) -> Option<Self> {
        if let Some(client) = extensions.get::<Self>() {
            return Some(client.clone());
        }
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(Self {
            address: peer.ip().to_canonical(),
            secure: false,
            host: None,
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Self::of(&parts.extensions).ok_or((
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server does not tell from where requests come\n",
        ))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}
