//! The endpoint as an axum router.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::post;

use crate::receiver::{Process, Receiver, Reply, refusal};

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
    // One byte more than is accepted, so that what is too large is told from what breaks off.
    match axum::body::to_bytes(request.into_body(), receiver.limit_bytes() + 1).await {
        Ok(body) => respond(receiver.receive(remote, &body).await),
        Err(error) => {
            let limit = receiver.limit_bytes();
            respond(refusal(
                413,
                "too_large",
                format!("at most {limit} bytes are accepted ({error})"),
            ))
        }
    }
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
