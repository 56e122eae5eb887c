//! What an application adds to receive directory changes, from a Rollcall hub or from Alibaba Cloud
//! IDaaS itself.
//!
//! A [`Receiver`] takes the body of a request and gives the reply: it checks who sends (an allow-list
//! of addresses, if wished), verifies the signature, decrypts, refuses what is forged, expired or
//! meant for others, hands the events to a processor, and answers for each of them. It knows no web
//! framework; feature `axum` has an adapter.
//!
//! Events arrive at least once: a hub repeats a request until it is answered, with the same event ids.
//! Processors make that exactly once:
//! - `Mirror` (feature `mirror`) keeps tables of users, organizational units and groups. An event and
//!   its id are written in one transaction.
//! - `Inbox` (feature `inbox`) stores events, acknowledges them, and calls your [`Handler`] afterwards,
//!   in order for each subject, with retries of its own. It survives a crash at any point.
//! - [`Direct`] calls your [`Handler`] at once and remembers ids in memory only. After a restart an
//!   event can come again; use it where handling an event twice does no harm.
//!
//! A replayed request is recognised by its event ids and answered without being applied; one that is
//! older than half an hour is refused because its envelope has expired.

mod direct;
mod handler;
#[cfg(feature = "inbox")]
mod inbox;
mod keys;
#[cfg(feature = "mirror")]
mod mirror;
mod receiver;
#[cfg(any(feature = "inbox", feature = "mirror"))]
mod record;
#[cfg(any(feature = "inbox", feature = "mirror"))]
mod schema;
#[cfg(feature = "axum")]
mod serve;
#[cfg(feature = "testing")]
pub mod testing;

pub use direct::Direct;
pub use handler::{Handler, Outcome, Received};
#[cfg(feature = "inbox")]
pub use inbox::{FailedEvent, Inbox, InboxCounts, InboxOptions};
pub use ipnet::IpNet;
#[cfg(feature = "client")]
pub use keys::HttpJwks;
pub use keys::{FetchJwks, KeySource};
#[cfg(feature = "mirror")]
pub use mirror::{Counts, GroupRow, Mirror, Snapshot, UnitRow, UserRow};
pub use receiver::{BuildError, Builder, Clock, Process, ProcessError, Receiver, Reply};
pub use rollcall_protocol as protocol;
#[cfg(feature = "axum")]
pub use serve::router;

/// Reads a network in CIDR notation, or a single address.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text:?} is not a network; write 10.1.0.0/16, fd00::/8 or an address"))
}
