//! What Rollcall's long-running programs, the hub and `rollcall-mirror`, have in common.
//!
//! - [`serve`] runs an axum router over HTTP/1 with limits: how many connections there may be, how long each
//!   may take over what, and how long the end may take. A stranger who opens thousands of connections, or
//!   sends half of a request, costs neither the other callers nor the rest of the program anything: see
//!   [`connection`] for the times, [`crowd`] for the numbers.
//! - [`StopSignals`] are the signals that ask a program to end.
//! - [`health`] is what a program answers when it is asked whether it can do its work.
//! - [`log`] is the log on the standard error, and [`shown`] is how a stranger's text gets into it.
//!
//! It knows neither the directory nor the wire.

pub mod config;
mod connection;
mod crowd;
pub mod health;
pub mod log;
mod signals;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

pub use config::Limits;
pub use log::shown;
pub use signals::StopSignals;

use crowd::{Crowd, Refused};

/// How many connections beyond the limit may be about to close before the next is accepted.
const CLOSING: usize = 16;

/// The pause after the system could not accept a connection, mostly because descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often at most it is logged that connections are turned away.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Serves `router` until `stop` is done; then takes no more connections, closes those on which no request has
/// arrived whole, and waits for the answers to the others, but not longer than [`Limits::stop`]. Handlers find
/// the caller's address as `ConnectInfo<SocketAddr>`.
///
/// Returns how many connections were cut off at the end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> usize {
    let mut stop = pin!(stop);
    let (ending, ended) = watch::channel(false);
    let mut server = Server {
        crowd: Arc::new(Crowd::new(&limits)),
        router,
        limits,
        ended,
        tasks: JoinSet::new(),
        complaints: Complaints::default(),
    };
    loop {
        let crowded = server.tasks.len() >= server.limits.connections + CLOSING;
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(done) = server.tasks.join_next() => report(done),
            accepted = listener.accept(), if !crowded => match accepted {
                Ok((stream, remote)) => server.take(stream, remote),
                Err(error) => {
                    server.complaints.about(&format_args!("connections cannot be accepted: {error}"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    ending.send_replace(true);
    let mut tasks = server.tasks;
    let drained = tokio::time::timeout(server.limits.stop, async {
        while let Some(done) = tasks.join_next().await {
            report(done);
        }
    });
    if drained.await.is_err() {
        let left = tasks.len();
        tracing::warn!(
            connections = left,
            "requests were cut off because they took too long"
        );
        tasks.shutdown().await;
        return left;
    }
    0
}

fn report(done: Result<(), JoinError>) {
    if let Err(error) = done
        && error.is_panic()
    {
        tracing::error!("a request ended in a panic");
    }
}

struct Server {
    crowd: Arc<Crowd>,
    router: Router,
    limits: Limits,
    ended: watch::Receiver<bool>,
    tasks: JoinSet<()>,
    complaints: Complaints,
}

impl Server {
    fn take(&mut self, stream: TcpStream, remote: SocketAddr) {
        match self.crowd.admit(remote.ip(), Instant::now()) {
            Ok(place) => {
                if place.displaced {
                    self.complaints
                        .about(&"there are as many connections as are allowed; those that were silent longest are closed");
                }
                let (router, limits, ended) = (self.router.clone(), self.limits.clone(), self.ended.clone());
                self.tasks
                    .spawn(connection::run(stream, remote, router, limits, place, ended));
            }
            Err(Refused) => self
                .complaints
                .about(&"connections are refused: as many as are allowed are waiting for their answers"),
        }
    }
}

/// Says what is wrong, but not so often that strangers can fill the log.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    kept_back: u64,
}

impl Complaints {
    fn about(&mut self, what: &dyn std::fmt::Display) {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last < COMPLAIN_EVERY) {
            self.kept_back += 1;
            return;
        }
        tracing::warn!(kept_back = self.kept_back, "{what}");
        *self = Self {
            last: Some(now),
            kept_back: 0,
        };
    }
}
