//! TLS of the way out: which certificates are trusted, and what was wrong where there is none.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error as RustlsError,
    SignatureScheme,
};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::{CONNECT_WITHIN, EgressError};
use crate::clock::{Millis, shown};

/// Why there is no TLS with an endpoint.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TlsFault {
    /// What answers is no TLS.
    #[error("the endpoint does not speak TLS on this port")]
    NotTls,
    /// The certificate was signed with its own key, and is not among those that are trusted.
    #[error("the certificate is self-signed: {subject}")]
    SelfSigned {
        /// Whom it is made out to.
        subject: String,
    },
    /// The certificate of an authority stands for the server itself.
    #[error("the server's own certificate is that of an authority (CA:TRUE), as self-signed ones often are")]
    AuthorityAsServer,
    /// Nobody who is trusted vouches for the certificate.
    #[error("the certificate is by an authority that is not trusted{}", by(issuer.as_deref()))]
    UnknownAuthority {
        /// Who issued it, if it could be seen.
        issuer: Option<String>,
    },
    /// The certificate is for other hosts.
    #[error("the certificate is not for this host, but for {}", hosts(names))]
    OtherHost {
        /// The names that it is for.
        names: Vec<String>,
    },
    /// The certificate has expired.
    #[error("the certificate has expired{}", at(*until))]
    Expired {
        /// Until when it was valid, in seconds since the Unix epoch.
        until: Option<u64>,
    },
    /// The certificate is not valid yet.
    #[error("the certificate is not valid yet{}", from(*since))]
    NotYetValid {
        /// From when it is valid, in seconds since the Unix epoch.
        since: Option<u64>,
    },
    /// There is something else about the certificate.
    #[error("the certificate cannot be accepted: {0}")]
    Certificate(String),
    /// The endpoint wants to see a certificate of the hub's.
    #[error("the endpoint asks for a client certificate, and the hub has none")]
    ClientCertificate,
    /// The two have no version or cipher in common.
    #[error("the endpoint and the hub have no version or cipher of TLS in common: {0}")]
    NothingInCommon(String),
    /// The endpoint hung up.
    #[error("the endpoint closed the connection during the handshake")]
    Closed,
    /// The endpoint said nothing.
    #[error("no TLS handshake within {} s", CONNECT_WITHIN.as_secs())]
    TimedOut,
    /// Whatever else.
    #[error("the handshake failed: {0}")]
    Other(String),
}

fn by(issuer: Option<&str>) -> String {
    issuer.map_or_else(String::new, |issuer| format!(": {issuer}"))
}

fn hosts(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

fn at(until: Option<u64>) -> String {
    until.map_or_else(String::new, |until| {
        format!(": it was valid until {}", moment(until))
    })
}

fn from(since: Option<u64>) -> String {
    since.map_or_else(String::new, |since| format!(": only from {}", moment(since)))
}

fn moment(seconds: u64) -> String {
    shown(Millis::try_from(seconds.saturating_mul(1_000)).unwrap_or(Millis::MAX))
}

impl TlsFault {
    /// What an error of a handshake means; the certificate that was shown tells more, where it is at hand.
    pub(super) fn of(error: &RustlsError, shown: Option<&CertificateDer<'_>>) -> Self {
        match error {
            RustlsError::InvalidCertificate(error) => Self::of_certificate(error, shown),
            RustlsError::InvalidMessage(_) => Self::NotTls,
            RustlsError::AlertReceived(
                AlertDescription::CertificateRequired | AlertDescription::BadCertificate,
            ) => Self::ClientCertificate,
            RustlsError::AlertReceived(
                AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure,
            )
            | RustlsError::PeerIncompatible(_) => Self::NothingInCommon(error.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }

    fn of_certificate(error: &CertificateError, shown: Option<&CertificateDer<'_>>) -> Self {
        let shown = shown.and_then(|shown| Certificate::from_der(shown).ok());
        let own = shown.as_ref().map(|certificate| &certificate.tbs_certificate);
        match error {
            CertificateError::UnknownIssuer => match own {
                Some(own) if own.issuer == own.subject => Self::SelfSigned {
                    subject: own.subject.to_string(),
                },
                own => Self::UnknownAuthority {
                    issuer: own.map(|own| own.issuer.to_string()),
                },
            },
            CertificateError::NotValidForNameContext { presented, .. } => Self::OtherHost {
                names: presented.iter().map(|name| plain_name(name)).collect(),
            },
            CertificateError::NotValidForName => Self::OtherHost { names: Vec::new() },
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired {
                until: Some(not_after.as_secs()),
            },
            CertificateError::Expired => Self::Expired { until: None },
            CertificateError::NotValidYetContext { not_before, .. } => Self::NotYetValid {
                since: Some(not_before.as_secs()),
            },
            CertificateError::NotValidYet => Self::NotYetValid { since: None },
            // The library that checks certificates has no name of its own for this.
            CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                Self::AuthorityAsServer
            }
            _ => Self::Certificate(error.to_string()),
        }
    }

    /// What an error of an asynchronous handshake means.
    pub(super) fn of_io(error: &std::io::Error, shown: Option<&CertificateDer<'_>>) -> Self {
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<RustlsError>())
        {
            Some(tls) => Self::of(tls, shown),
            None if is_end(error) => Self::Closed,
            None => Self::Other(error.to_string()),
        }
    }
}

/// Whether the other side closed the connection.
fn is_end(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe
    )
}

/// A name of a certificate without what the library wraps it in: `DnsName("a.example")`, `IpAddress(10.0.0.1)`.
fn plain_name(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').to_owned()
}

/// Which certificates are trusted.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    config: ClientConfig,
    verifier: Arc<Verifier>,
}

/// A connection on which TLS came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// The version, such as `TLSv1_3`.
    pub version: String,
    /// Until when the certificate is valid, in seconds since the Unix epoch.
    pub valid_until: Option<u64>,
}

impl std::fmt::Display for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let version = self.version.replacen("TLSv", "TLS ", 1).replace('_', ".");
        write!(f, "{version}, the certificate is trusted")?;
        match self.valid_until {
            Some(until) => write!(f, ", and valid until {}", moment(until)),
            None => Ok(()),
        }
    }
}

impl Trust {
    /// Trusts the system's authorities, and these.
    ///
    /// # Errors
    /// What is wrong with an authority, or with the system's.
    pub(super) fn new(authorities: &[CertificateDer<'static>]) -> Result<Self, EgressError> {
        Self::trusting(authorities).map_err(|error| match error {
            // The verifier tells it by this text alone; it has no kind of error for it.
            RustlsError::General(text) if text.starts_with("No CA certificates") => {
                EgressError::NoAuthorities
            }
            error => EgressError::Other(error.to_string()),
        })
    }

    fn trusting(authorities: &[CertificateDer<'static>]) -> Result<Self, RustlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Arc::new(Verifier::new_with_extra_roots(
            authorities.iter().cloned(),
            Arc::clone(&provider),
        )?);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config, verifier })
    }

    /// How requests are secured.
    pub(super) fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// Shakes hands as a request would, and hangs up.
    pub(super) async fn shake_hands(&self, stream: TcpStream, host: &str) -> Result<Secured, TlsFault> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|error| TlsFault::Other(error.to_string()))?;
        let witness = Arc::new(Witness {
            verifier: Arc::clone(&self.verifier),
            shown: Mutex::new(None),
        });
        let mut config = self.config.clone();
        config
            .dangerous()
            .set_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>);
        let done = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let shown = witness
            .shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match done {
            Ok(stream) => Ok(Secured {
                version: stream
                    .get_ref()
                    .1
                    .protocol_version()
                    .map_or_else(|| "TLS".to_owned(), |version| format!("{version:?}")),
                valid_until: shown
                    .and_then(|shown| Certificate::from_der(&shown).ok())
                    .map(|shown| {
                        shown
                            .tbs_certificate
                            .validity
                            .not_after
                            .to_unix_duration()
                            .as_secs()
                    }),
            }),
            Err(error) => Err(TlsFault::of_io(&error, shown.as_ref())),
        }
    }
}

/// Judges certificates as the verifier does, and remembers which one was shown.
#[derive(Debug)]
struct Witness {
    verifier: Arc<Verifier>,
    shown: Mutex<Option<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.clone().into_owned());
        self.verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
