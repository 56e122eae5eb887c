//! Why a request did not bring an answer.

use std::net::IpAddr;
use std::time::Duration;

use rollcall_protocol::Foreign;

pub use super::tls::TlsFault;
use super::{ANSWER_WITHIN, CONNECT_WITHIN};

/// Why a request did not bring an answer.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Failure {
    /// The request cannot be sealed.
    #[error("{0}")]
    Unsealed(String),
    /// The address is in a range that the hub does not call.
    #[error(
        "{} is a private or special address, which egress.allow does not list",
        place(host, address)
    )]
    Forbidden {
        /// The host in the receiving URL.
        host: String,
        /// Its address.
        address: IpAddr,
    },
    /// The host's name has no address.
    #[error("the host name cannot be resolved: {0}")]
    Resolve(String),
    /// Nobody listens there, or the way is blocked.
    #[error("no connection: {0}")]
    Connect(String),
    /// The TLS handshake failed.
    #[error("no TLS: {0}")]
    Tls(TlsFault),
    /// No answer in time.
    #[error("no answer within {} s", ANSWER_WITHIN.as_secs())]
    TimedOut,
    /// The answer broke off.
    #[error("the answer broke off: {0}")]
    Broken(String),
    /// A 200 whose body may have refused something, but cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// The application does not take requests of this kind at all.
    #[error("HTTP {status}: the application does not take such requests; change its profile")]
    Unsuitable {
        /// The HTTP status.
        status: u16,
    },
    /// An answer with another status than 200.
    #[error("HTTP {status}{}", if matches!(status, 300..400) { " (redirects are not followed)" } else { "" })]
    Status {
        /// The HTTP status.
        status: u16,
        /// What the answer says: its `error` and `errorDescription` if it has them, or else its text; of a
        /// redirect, where it leads.
        said: Option<String>,
        /// In which form.
        form: Form,
        /// How long the application asks to wait, from `Retry-After`.
        retry_after: Option<Duration>,
    },
}

/// An address, with the host's name if it has one.
fn place(host: &str, address: &IpAddr) -> String {
    let address = address.to_string();
    match host.trim_matches(['[', ']']) == address {
        true => address,
        false => format!("{host} ({address})"),
    }
}

/// In which form a request was refused, which tells who refused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// `{"error", "errorDescription"}`: the application itself speaks (wire contract, section 6).
    Protocol {
        /// The `error`.
        error: String,
    },
    /// Something else: perhaps it is not the application that speaks.
    Foreign(Foreign),
}

impl Failure {
    /// A short name for counting and for filters.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsealed(_) => "unsealed",
            Self::Forbidden { .. } => "forbidden_address",
            Self::Resolve(_) => "unresolved",
            Self::Connect(_) => "unconnected",
            Self::Tls(_) => "tls",
            Self::TimedOut => "timed_out",
            Self::Broken(_) => "broken",
            Self::Unreadable(_) => "unreadable_answer",
            Self::Unsuitable { .. } => "unsuitable",
            Self::Status { .. } => "refused",
        }
    }

    /// What the application said: its words, which may name people. They are in no other text of a failure.
    pub fn said(&self) -> Option<&str> {
        match self {
            Self::Status { said, .. } => said.as_deref(),
            _ => None,
        }
    }

    /// The failure with what the application said about it, for people who may see both.
    pub fn in_full(&self) -> String {
        match self.said() {
            Some(said) => format!("{self}: {said}"),
            None => self.to_string(),
        }
    }

    /// Whether the application may have seen the request and refused it for what it carries, so that
    /// another one could fare better.
    pub fn may_be_poison(&self) -> bool {
        match self {
            Self::TimedOut | Self::Broken(_) | Self::Unreadable(_) => true,
            Self::Status { status, .. } => *status >= 400 && *status != 429,
            Self::Unsealed(_)
            | Self::Unsuitable { .. }
            | Self::Forbidden { .. }
            | Self::Resolve(_)
            | Self::Connect(_)
            | Self::Tls(_) => false,
        }
    }

    /// Whether the request was too large.
    pub fn is_too_large(&self) -> bool {
        self.status() == Some(413)
    }

    /// The HTTP status, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Unreadable(_) => Some(200),
            Self::Unsuitable { status } | Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// The TLS error in an error, if there is one. I/O errors hide what they wrap from `source`, and the
/// client's layers wrap them in one another.
fn tls_error(error: &(dyn std::error::Error + 'static)) -> Option<TlsFault> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(TlsFault::of(tls, None));
    }
    let io = error.downcast_ref::<std::io::Error>()?;
    match io.get_ref() {
        Some(wrapped) => tls_error(wrapped).or_else(|| {
            let closed = wrapped.to_string().contains("tls handshake");
            closed.then_some(TlsFault::Closed)
        }),
        None => None,
    }
}

/// What an error of the client means.
pub(super) fn classify(error: &reqwest::Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut last = error.to_string();
    while let Some(inner) = cause {
        if let Some(failure) = inner.downcast_ref::<Failure>() {
            return failure.clone();
        }
        if let Some(tls) = tls_error(inner) {
            return Failure::Tls(tls);
        }
        last = inner.to_string();
        cause = inner.source();
    }
    match (error.is_connect(), error.is_timeout()) {
        (true, true) => Failure::Connect(format!("not within {} s", CONNECT_WITHIN.as_secs())),
        (true, false) => Failure::Connect(last),
        (false, true) => Failure::TimedOut,
        (false, false) => Failure::Broken(last),
    }
}
