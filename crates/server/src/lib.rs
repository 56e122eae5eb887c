//! What Rollcall's long-running programs, the hub and `rollcall-mirror`, have in common, and what an endpoint that
//! strangers can reach needs in any program.
//!
//! - [`complaints`] log what strangers cause, but seldom.
//! - [`kept`] is what costs something to find out, found out once a second.
//! - [`health`] is what a program answers when it is asked whether it can do its work.
//! - [`Client`] is who sent a request, also through a proxy.
//!
//! With the feature `programs`:
//! - [`serve`] runs an axum router over HTTP/1, with or without TLS, and with limits: how many connections there may be, how long each
//!   may take over what, and how long the end may take. A stranger who opens thousands of connections, or
//!   sends half of a request, costs neither the other callers nor the rest of the program anything: see
//!   `connection` for the times, `crowd` for the numbers, `proxies` for whom proxies speak for.
//! - [`StopSignals`] are the signals that ask a program to end.
//! - [`log`] is the log on the standard error.
//! - [`tls`] is the certificate, kept current; [`file`] opens files with secrets.
//!
//! It knows neither the directory nor the wire.

mod client;
pub mod complaints;
pub mod health;
pub mod kept;

#[cfg(feature = "programs")]
pub mod config;
#[cfg(feature = "programs")]
mod connection;
#[cfg(feature = "programs")]
mod crowd;
#[cfg(feature = "programs")]
pub mod file;
#[cfg(feature = "programs")]
mod headers;
#[cfg(feature = "programs")]
mod http;
#[cfg(feature = "programs")]
pub mod log;
#[cfg(feature = "programs")]
mod proxies;
#[cfg(feature = "programs")]
mod signals;
#[cfg(feature = "programs")]
mod stream;
#[cfg(feature = "programs")]
pub mod tls;

pub use client::Client;
#[cfg(feature = "programs")]
pub use {
    config::{Limits, Options},
    http::serve,
    proxies::{ForwardedBy, Proxies},
    signals::StopSignals,
    tls::Tls,
};
