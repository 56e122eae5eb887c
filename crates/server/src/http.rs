//! The HTTP/1 server: it takes connections, with or without TLS, and ends in good order.

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

use crate::complaints::Complaints;
use crate::config::Options;
use crate::connection;
use crate::crowd::{Crowd, Refused};
use crate::signals::Hangups;

/// How many connections beyond the limit may be about to close before the next is accepted.
const CLOSING: usize = 16;

/// The pause after the system could not accept a connection, mostly because descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `stop` is done; then takes no more connections, closes those on which no request has
/// arrived whole, and waits for the answers to the others, but not longer than [`Limits::stop`]. Handlers find
/// who asks as [`Client`], and the other end of the connection as `ConnectInfo<SocketAddr>`.
///
/// [`Limits::stop`]: crate::Limits::stop
/// [`Client`]: crate::Client
///
/// Returns how many connections were cut off at the end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: impl Into<Options>,
    stop: impl Future<Output = ()>,
) -> usize {
    let options = options.into();
    let _keeping = keep_current(&options);
    warn_if_open(&listener, &options);
    let mut stop = pin!(stop);
    let (ending, ended) = watch::channel(false);
    let mut server = Server {
        crowd: Arc::new(Crowd::new(&options.limits)),
        router,
        options,
        ended,
        tasks: JoinSet::new(),
        complaints: Complaints::default(),
    };
    loop {
        let crowded = server.tasks.len() >= server.options.limits.connections + CLOSING;
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(done) = server.tasks.join_next() => report(done),
            accepted = listener.accept(), if !crowded => match accepted {
                Ok((stream, remote)) => server.take(stream, remote),
                Err(error) => {
                    server.complaints.about(format_args!("connections cannot be accepted: {error}"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    ending.send_replace(true);
    let mut tasks = server.tasks;
    let drained = tokio::time::timeout(server.options.limits.stop, async {
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

/// Keeps the certificate current until what is returned is dropped.
fn keep_current(options: &Options) -> JoinSet<()> {
    let mut keeping = JoinSet::new();
    if let Some(tls) = &options.tls {
        keeping.spawn(Arc::clone(tls).keep_current(Hangups::listen()));
    }
    keeping
}

/// Says that what passes can be read on the way, if it goes further than this machine.
fn warn_if_open(listener: &TcpListener, options: &Options) {
    if options.tls.is_none()
        && options.proxies.is_empty()
        && let Ok(listens_on) = listener.local_addr()
        && !listens_on.ip().is_loopback()
    {
        tracing::warn!(
            %listens_on,
            "connections are not encrypted: set server.tls, or server.trusted_proxies if a proxy before this program \
             does that"
        );
    }
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
    options: Options,
    ended: watch::Receiver<bool>,
    tasks: JoinSet<()>,
    complaints: Complaints,
}

impl Server {
    fn take(&mut self, stream: TcpStream, remote: SocketAddr) {
        // A proxy's connections are many clients', each of whom counts by itself: see `Crowd::turn`.
        let is_proxy = self.options.proxies.trusts(remote.ip());
        let counts = (!is_proxy).then(|| remote.ip());
        match self.crowd.admit(counts, Instant::now()) {
            Ok(place) => {
                if place.displaced {
                    self.complaints
                        .about("there are as many connections as are allowed; those that were silent longest are closed");
                }
                let (router, options, ended) =
                    (self.router.clone(), self.options.clone(), self.ended.clone());
                self.tasks
                    .spawn(connection::run(stream, remote, router, options, place, ended));
            }
            Err(Refused) => self
                .complaints
                .about("connections are refused: as many as are allowed are waiting for their answers"),
        }
    }
}
