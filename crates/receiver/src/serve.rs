//! The endpoint as an axum router.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::post;

use crate::receiver::{Process, Receiver, Reply, refusal};

/// How long a hub may take to send a request; it does not wait longer for the answer either (wire
/// contract, section 1).
const READ_WITHIN: Duration = Duration::from_secs(10);

/// A router that takes POST requests at `path`. With an allow-list, serve it with
/// `into_make_service_with_connect_info::<SocketAddr>()`, so that the sender's address is known.
pub fn router<P: Process + 'static>(receiver: Arc<Receiver<P>>, path: &str) -> Router {
    Router::new().route(path, post(take::<P>)).with_state(receiver)
}

async fn take<P: Process + 'static>(State(receiver): State<Arc<Receiver<P>>>, request: Request) -> Response {
    let remote = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip());
    let limit = receiver.limit_bytes();
    // One byte more than is accepted, so that what is too large is told from what breaks off.
    let read = axum::body::to_bytes(request.into_body(), limit.saturating_add(1));
    let body = match tokio::time::timeout(READ_WITHIN, read).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => {
            let description = format!("at most {limit} bytes are accepted ({error})");
            return respond(refusal(413, "too_large", description));
        }
        Err(_) => {
            let description = "the request was sent too slowly".to_owned();
            return respond(refusal(408, "request_timeout", description));
        }
    };
    // On a task of its own, because this one ends with the connection: a hub that hangs up must not stop
    // a handler halfway.
    let received = tokio::spawn(async move { receiver.receive(remote, &body).await }).await;
    respond(received.unwrap_or_else(|error| {
        tracing::error!(%error, "a request could not be processed");
        refusal(
            500,
            "internal_error",
            "the request could not be processed".to_owned(),
        )
    }))
}

fn respond(reply: Reply) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json;charset=utf-8"),
    );
    response
}
