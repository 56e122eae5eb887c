//! One connection: what it does, how long it may take over that, and how it ends.
//!
//! A connection is in one of six phases, and each has a limit of its own:
//!
//! | phase | until | limit |
//! |---|---|---|
//! | handshake | with TLS, both sides have agreed on keys | [`Limits::header`] |
//! | head | the head of a request has arrived | [`Limits::header`] |
//! | body | its body has arrived | [`Limits::body`] |
//! | work | the handler answers | none: handlers see to that themselves |
//! | answer | the answer is written | [`Limits::body`] since the last byte that went out |
//! | idle | the first byte of the next request | [`Limits::idle`] |
//!
//! The phases are read off what passes by: the bytes of the stream, the call of the handler, and the ends of the
//! bodies. All of that happens while the connection's task is polled, so the task compares the time with the
//! phase's limit at the end of each poll. (hyper's own limit for heads runs from the end of the answer before,
//! so it cannot tell idle from slow.)

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tower_service::Service as _;

use crate::config::{Limits, Options};
use crate::crowd::{Place, Refused, Turn};
use crate::headers;
use crate::stream::{self, Stream, finish};
use crate::tls::Tls;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Handshake,
    Head,
    Body,
    Work,
    Answer,
    Idle,
}

/// What a connection does.
pub(crate) struct Watch(Mutex<State>);

struct State {
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// When bytes came or went last.
    active: Instant,
    /// Whether the body of the answer was taken whole; what remains is to write it out.
    taken: bool,
    /// Whether a body was left unread, so that the caller may still be writing.
    unread: bool,
}

impl Watch {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            phase: Phase::Handshake,
            since: now,
            active: now,
            taken: false,
            unread: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, from: &[Phase], to: Phase, now: Instant) {
        let mut state = self.lock();
        if from.contains(&state.phase) {
            (state.phase, state.since) = (to, now);
        }
        state.active = now;
    }

    /// There is nothing left to agree on: the first request may come.
    pub(crate) fn shaken_hands(&self, now: Instant) {
        self.turn(&[Phase::Handshake], Phase::Head, now);
    }

    /// Bytes came.
    pub(crate) fn arrived(&self, now: Instant) {
        self.turn(&[Phase::Idle], Phase::Head, now);
    }

    fn left(&self, now: Instant) {
        self.lock().active = now;
    }

    /// The head of a request is there, and perhaps all of it.
    pub(crate) fn asked(&self, whole: bool, now: Instant) {
        let to = if whole { Phase::Work } else { Phase::Body };
        self.turn(&[Phase::Head, Phase::Idle], to, now);
    }

    fn body_ended(&self, whole: bool, now: Instant) {
        self.turn(&[Phase::Body], Phase::Work, now);
        self.lock().unread |= !whole;
    }

    fn answering(&self, now: Instant) {
        self.turn(&[Phase::Body, Phase::Work], Phase::Answer, now);
        self.lock().taken = false;
    }

    fn taken(&self) {
        self.lock().taken = true;
    }

    fn flushed(&self, now: Instant) {
        let mut state = self.lock();
        if state.phase == Phase::Answer && state.taken {
            (state.phase, state.since, state.active) = (Phase::Idle, now, now);
        }
    }

    /// When the present phase has lasted too long.
    fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let state = self.lock();
        match state.phase {
            Phase::Handshake | Phase::Head => Some(state.since + limits.header),
            Phase::Body => Some(state.since + limits.body),
            Phase::Work => None,
            Phase::Answer => Some(state.active + limits.body),
            Phase::Idle => Some(state.since + limits.idle),
        }
    }

    /// Whether no request has begun that arrived whole or may still do so.
    fn is_between_requests(&self) -> bool {
        matches!(self.lock().phase, Phase::Head | Phase::Idle)
    }

    /// Since when the caller has been silent; `None` if it is our turn.
    pub(crate) fn silent_since(&self) -> Option<Instant> {
        let state = self.lock();
        let is_our_turn = matches!(state.phase, Phase::Work | Phase::Answer);
        (!is_our_turn).then_some(state.active)
    }

    fn has_unread(&self) -> bool {
        self.lock().unread
    }
}

/// The largest head of a request, and how much of a body is read ahead, in bytes.
const BUFFER: usize = 64 << 10;

/// Serves a connection to its end.
pub(crate) async fn run(
    socket: TcpStream,
    remote: SocketAddr,
    router: Router,
    options: Options,
    place: Place,
    mut ended: watch::Receiver<bool>,
) {
    let Options { limits, proxies, tls } = options;
    // Answers are written in one piece, and the next request waits for them.
    let _ = socket.set_nodelay(true);
    let watch = Arc::clone(&place.watch);
    let encrypted = tls.is_some();
    let stream: Stream = match tls {
        None => Box::new(socket),
        Some(tls) => match shake_hands(socket, &tls, &limits, &place, &mut ended).await {
            Ok(Some(stream)) => stream,
            Ok(None) => return,
            Err(why) => {
                tracing::debug!(%remote, "no TLS was agreed on: {why}");
                return;
            }
        },
    };
    watch.shaken_hands(Instant::now());
    let io = TokioIo::new(Watched {
        inner: stream,
        watch: Arc::clone(&watch),
    });
    let service = {
        let watch = Arc::clone(&watch);
        let crowd = Arc::clone(&place.crowd);
        let is_proxy = proxies.trusts(remote.ip());
        service_fn(move |request: hyper::Request<Incoming>| {
            let mut router = router.clone();
            let watch = Arc::clone(&watch);
            let client = proxies.client(remote.ip(), encrypted, request.uri(), request.headers());
            let turn = if is_proxy && client.address != remote.ip().to_canonical() {
                crowd.turn(client.address).map(Some)
            } else {
                Ok(None)
            };
            watch.asked(request.body().is_end_stream(), Instant::now());
            let mut request = request.map(|inner| Asked {
                inner,
                watch: Arc::clone(&watch),
                ended: false,
            });
            request.extensions_mut().insert(ConnectInfo(remote));
            request.extensions_mut().insert(client.clone());
            Box::pin(async move {
                let (mut response, turn) = match turn {
                    Ok(turn) => (router.call(request).await?, turn),
                    Err(Refused) => {
                        tracing::debug!(client = %client.address, "a request through a proxy was refused");
                        (too_many(), None)
                    }
                };
                headers::complete(response.headers_mut(), &client);
                watch.answering(Instant::now());
                let answered = |inner| Answered {
                    inner,
                    watch,
                    _turn: turn,
                };
                Ok::<_, std::convert::Infallible>(response.map(answered))
            })
        })
    };
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(BUFFER);
    let mut connection = builder.serve_connection(io, service);
    let over = {
        let mut leave = pin!(place.leave.notified());
        let mut has_to_leave = false;
        let mut ending = pin!(ended.wait_for(|ended| *ended));
        let mut is_ending = false;
        let mut alarm = pin!(tokio::time::sleep(limits.header));
        poll_fn(|context| {
            if !is_ending && ending.as_mut().poll(context).is_ready() {
                is_ending = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            if let Poll::Ready(done) = connection.poll_without_shutdown(context) {
                return Poll::Ready(Over::Done(done));
            }
            if is_ending && watch.is_between_requests() {
                return Poll::Ready(Over::Closed("because the program ends"));
            }
            if !has_to_leave && leave.as_mut().poll(context).is_ready() {
                has_to_leave = true;
                if watch.silent_since().is_some() {
                    return Poll::Ready(Over::Closed("to make room for others"));
                }
                // It was chosen while it was silent, and has asked something since: that is still answered.
                Pin::new(&mut connection).graceful_shutdown();
            }
            let Some(deadline) = watch.deadline(&limits) else {
                return Poll::Pending;
            };
            if alarm.deadline() != deadline {
                alarm.as_mut().reset(deadline);
            }
            ready!(alarm.as_mut().poll(context));
            Poll::Ready(Over::Closed("because it took too long"))
        })
        .await
    };
    match over {
        Over::Done(Ok(())) => {
            let stream = connection.into_parts().io.into_inner().inner;
            finish(stream, watch.has_unread()).await;
        }
        Over::Done(Err(error)) => tracing::debug!(%remote, %error, "a connection ended"),
        Over::Closed(why) => {
            tracing::debug!(%remote, "a connection was closed {why}");
            // With TLS the client is told that nothing was cut off; but that is not waited for.
            let mut stream = connection.into_parts().io.into_inner().inner;
            poll_fn(|context| {
                let _ = Pin::new(&mut stream).poll_shutdown(context);
                Poll::Ready(())
            })
            .await;
        }
    }
}

/// Shakes hands, as long as the client has for that and nobody else needs its place.
async fn shake_hands(
    socket: TcpStream,
    tls: &Tls,
    limits: &Limits,
    place: &Place,
    ended: &mut watch::Receiver<bool>,
) -> Result<Option<Stream>, String> {
    tokio::select! {
        biased;
        _ = ended.wait_for(|ended| *ended) => Err("the program ends".to_owned()),
        () = place.leave.notified() => Err("others need the place".to_owned()),
        shaken = tokio::time::timeout(limits.header, stream::shake_hands(socket, tls)) => match shaken {
            Ok(shaken) => shaken.map_err(|error| error.to_string()),
            Err(_) => Err("it took too long".to_owned()),
        },
    }
}

/// Problem details (RFC 9457), as those who ask the hub's API know them.
const TOO_MANY: &str = concat!(
    r#"{"type":"urn:rollcall:problem:too_many_requests","title":"Too many requests","status":429,"#,
    r#""detail":"as many requests of this address are being answered as may be; ask again later","#,
    r#""code":"too_many_requests"}"#,
);

/// The answer to a client that has as many requests in flight, through proxies, as one may have.
fn too_many() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/problem+json"),
        (header::RETRY_AFTER, "1"),
    ];
    (StatusCode::TOO_MANY_REQUESTS, headers, TOO_MANY).into_response()
}

enum Over {
    Done(hyper::Result<()>),
    Closed(&'static str),
}

/// A stream that notes when bytes pass.
struct Watched {
    inner: Stream,
    watch: Arc<Watch>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        if buffer.filled().len() > before {
            self.watch.arrived(Instant::now());
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, bytes));
        self.watch.left(Instant::now());
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.inner).poll_flush(context));
        self.watch.flushed(Instant::now());
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(context, buffers));
        self.watch.left(Instant::now());
        Poll::Ready(written)
    }
}

/// The body of a request, which notes when it has arrived.
struct Asked {
    inner: Incoming,
    watch: Arc<Watch>,
    ended: bool,
}

impl Body for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if frame.is_none() || self.inner.is_end_stream() {
            self.ended = true;
            self.watch.body_ended(true, Instant::now());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.ended {
            self.watch.body_ended(self.inner.is_end_stream(), Instant::now());
        }
    }
}

/// The body of an answer, which notes when it was taken.
struct Answered {
    inner: axum::body::Body,
    watch: Arc<Watch>,
    _turn: Option<Turn>,
}

impl Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.watch.taken();
    }
}
