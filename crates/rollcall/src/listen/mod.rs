//! A receiver on a developer's machine, which shows what comes: the work of `rollcall listen`.
//!
//! It is the receiver kit with a reader beside it. A request is opened by `rollcall_receiver` exactly as an
//! application opens it ([`opening`]); then it is answered ([`endpoint`]): by the mirror, if one is kept, by the
//! program under development, if requests are handed on to one ([`forward`]), or in the bad ways that a developer
//! asks for ([`play`]). What came and what was answered is told for people or as lines of JSON ([`tell`]), and counted
//! for the end ([`tally`]).
//!
//! Nothing that was not verified is handed on, kept or answered with a success, unless the developer has asked to
//! verify nothing; then everything says so. Requests are handed on to the one address that was typed, and redirects
//! are not followed. Neither passwords nor keys are shown.

mod endpoint;
mod envelope;
mod forward;
mod opening;
mod paint;
mod play;
mod processor;
mod record;
mod tally;
mod tell;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rollcall_receiver::{BuildError, Mirror};
use rollcall_server::Limits;
use tokio::net::TcpListener;

use crate::clock::Clock;
use endpoint::Listener;
pub use forward::{Forward, ForwardError};
pub use opening::{Trust, Verified};
pub use paint::Paint;
pub use play::{Behaviour, Play};
pub use tally::Tally;
pub use tell::Form;

/// Prints one piece of what is told, which may have several lines.
pub type Print = Box<dyn Fn(&str) + Send + Sync>;

/// How many connections there may be: one hub has a few, and each may hold a body of [`REQUEST_LIMIT`] bytes.
///
/// [`REQUEST_LIMIT`]: rollcall_protocol::REQUEST_LIMIT
const CONNECTIONS: usize = 64;

/// How to listen.
pub struct Options {
    /// The path of the receiving URL.
    pub path: String,
    /// Whom to believe.
    pub trust: Trust,
    /// The mirror that is kept.
    pub mirror: Option<Mirror>,
    /// To whom requests are handed on.
    pub forward: Option<Forward>,
    /// Which events are answered badly, and how.
    pub play: Play,
    /// After how many events it ends; `None`: when it is asked to.
    pub count: Option<u64>,
    /// In which form it tells.
    pub form: Form,
    /// The time.
    pub clock: Clock,
}

/// Listens until as many events have come as are wanted, or until `stop` is done. Requests that have arrived by then
/// are still answered.
///
/// # Errors
/// If the public keys cannot be used.
pub async fn run(
    listener: TcpListener,
    options: Options,
    print: Print,
    stop: impl Future<Output = ()>,
) -> Result<Tally, BuildError> {
    // At the end an answer that is late on purpose is still waited for.
    let late = options.play.lateness().unwrap_or_default();
    let limits = Limits {
        connections: CONNECTIONS,
        per_address: CONNECTIONS,
        body: Limits::default().body + late,
        stop: Duration::from_secs(15) + late,
        ..Limits::default()
    };
    let path = options.path.clone();
    let listener_here = Arc::new(Listener::new(options, print)?);
    let router = endpoint::router(Arc::clone(&listener_here), &path);
    let watched = Arc::clone(&listener_here);
    let ended = async move {
        tokio::select! {
            biased;
            () = watched.counted() => {}
            () = stop => {}
        }
    };
    rollcall_server::serve(listener, router, limits, ended).await;
    Ok(listener_here.tally())
}
