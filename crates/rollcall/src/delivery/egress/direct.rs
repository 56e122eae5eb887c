//! The way to a hub that the person at the command line names. Certificates are trusted as on the way to the
//! applications, but no address is refused: whoever types it is on the same side of the network.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, Url};
use rustls::pki_types::CertificateDer;

use super::failure::{Failure, classify};
use super::tls::Trust;
use super::{CONNECT_WITHIN, EgressError};

/// For how long a connection is silent before it is looked whether the other side is still there.
const LOOK_AFTER: Duration = Duration::from_secs(15);

/// The client.
#[derive(Clone, Debug)]
pub struct Direct(reqwest::Client);

impl Direct {
    /// Builds it; these authorities are trusted besides the system's.
    ///
    /// # Errors
    /// [`EgressError`] if a certificate cannot be read or TLS cannot be set up.
    pub fn new(authorities: &[CertificateDer<'static>]) -> Result<Self, EgressError> {
        let trust = Trust::new(authorities)?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(trust.config())
            // A redirect would take the token to an address that nobody has named.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_WITHIN)
            .tcp_keepalive(LOOK_AFTER)
            .tcp_nodelay(true)
            .user_agent(concat!("rollcall/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| EgressError::Other(error.to_string()))?;
        Ok(Self(client))
    }

    /// A request that is not sent yet.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.0.request(method, url)
    }

    /// Sends a request, and waits for the head of the answer.
    ///
    /// # Errors
    /// What became of it on the way.
    #[expect(clippy::disallowed_methods, reason = "this is the other place that sends")]
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request.send().await.map_err(|error| classify(&error))
    }

    /// Reads the next portion of an answer; `None` at its end.
    ///
    /// # Errors
    /// What became of it on the way.
    pub async fn portion(response: &mut Response) -> Result<Option<axum::body::Bytes>, Failure> {
        response.chunk().await.map_err(|error| classify(&error))
    }
}
