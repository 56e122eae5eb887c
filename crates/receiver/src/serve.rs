//! The endpoint as an axum router.
//!
//! Whoever sends is a stranger until the signature is checked, and the signature is checked when the body is
//! there. So what strangers can make us hold is bounded: addresses that are not on the allow-list are refused
//! before anything is read, and so is a body that says to be too long; the others take room from one budget, as
//! their bytes come in, and keep it until they are answered. Where there is no room the sender is asked to come
//! again, which a hub does.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::post;
use rollcall_server::Client;
use rollcall_server::complaints::Complaints;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::receiver::{Process, Receiver, Reply, refusal};

/// How long a hub may take to send a request; it does not wait longer for the answer either (wire
/// contract, section 1).
const READ_WITHIN: Duration = Duration::from_secs(10);

/// When a sender who found no room, or whose events could not be processed, may come again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// In what portions room is taken.
const PORTION: usize = 1 << 10;

/// A router that takes POST requests at `path`. With an allow-list, serve it with
/// `into_make_service_with_connect_info::<SocketAddr>()`, so that the sender's address is known.
pub fn router<P: Process + 'static>(receiver: Arc<Receiver<P>>, path: &str) -> Router {
    let portions = receiver
        .budget_bytes()
        .div_ceil(PORTION)
        .min(Semaphore::MAX_PERMITS);
    let endpoint = Endpoint {
        receiver,
        room: Arc::new(Semaphore::new(portions)),
        complaints: Complaints::default(),
    };
    Router::new()
        .route(path, post(take::<P>))
        .with_state(Arc::new(endpoint))
}

struct Endpoint<P> {
    receiver: Arc<Receiver<P>>,
    /// In portions.
    room: Arc<Semaphore>,
    complaints: Complaints,
}

async fn take<P: Process + 'static>(State(endpoint): State<Arc<Endpoint<P>>>, request: Request) -> Response {
    let remote = Client::of(request.extensions()).map(|client| client.address);
    if let Some(refusal) = endpoint.receiver.turned_away(remote) {
        return respond(refusal);
    }
    let read = tokio::time::timeout(READ_WITHIN, endpoint.read(request.into_body()));
    let (body, room) = match read.await {
        Ok(Ok(read)) => read,
        Ok(Err(refusal)) => return respond(refusal),
        Err(_) => {
            let description = "the request was sent too slowly".to_owned();
            return respond(refusal(408, "request_timeout", description));
        }
    };
    // On a task of its own, because this one ends with the connection: a hub that hangs up must not stop
    // a handler halfway.
    let receiver = Arc::clone(&endpoint.receiver);
    let received = tokio::spawn(async move {
        let reply = receiver.receive(remote, &body).await;
        drop((body, room));
        reply
    });
    respond(received.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request could not be processed");
        refusal(
            500,
            "internal_error",
            "the request could not be processed".to_owned(),
        )
    }))
}

impl<P: Process> Endpoint<P> {
    /// Reads a body, as long as it is not too large and there is room for it.
    async fn read(&self, mut body: Body) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Reply> {
        let limit = self.receiver.limit_bytes();
        let too_large = || refusal(413, "too_large", format!("at most {limit} bytes are accepted"));
        // What the sender says of the length, before any of it is read.
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        let mut held: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let frame = frame.map_err(|_| {
                refusal(
                    400,
                    "bad_request",
                    "the request broke off before its end".to_owned(),
                )
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let length = bytes.len() + data.len();
            if length > limit {
                return Err(too_large());
            }
            let has = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let more =
                u32::try_from(length.div_ceil(PORTION).saturating_sub(has)).map_err(|_| too_large())?;
            let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(more) else {
                self.complaints.about(format_args!(
                    "requests are turned away for a while: the bodies that are being received have {} bytes, which \
                     is as much as is allowed",
                    self.receiver.budget_bytes()
                ));
                return Err(refusal(
                    503,
                    "busy",
                    "too many requests are being received; send the events again".to_owned(),
                ));
            };
            match &mut held {
                Some(held) => held.merge(room),
                None => held = Some(room),
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, held))
    }
}

fn respond(reply: Reply) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json;charset=utf-8"),
    );
    response
}
