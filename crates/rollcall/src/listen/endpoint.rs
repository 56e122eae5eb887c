//! The receiving URL: a request in, its answer out, and what is told between the two.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use rollcall_protocol::{ErrorAnswer, Opened, REQUEST_LIMIT};
use rollcall_receiver::{BuildError, Reply};
use serde_json::json;
use tokio::sync::Notify;

use super::envelope::Facts;
use super::opening::Opening;
use super::play::Whole;
use super::processor::Processor;
use super::tally::Tally;
use super::tell::{Answered, Arrival, By, Form, Refusal};
use super::{Forward, Options, Print};
use crate::clock::{Clock, Millis, shown as time, written};
use crate::directory::fields::visible;

/// How long a hub may take to send a request; it does not wait longer for the answer either (wire contract,
/// section 1).
const READ_WITHIN: Duration = Duration::from_secs(10);

/// What listens.
pub(super) struct Listener {
    opening: Opening,
    forward: Option<Forward>,
    form: Form,
    print: Print,
    clock: Clock,
    /// After how many events it ends.
    count: Option<u64>,
    counted: Notify,
    /// Held while something is told, so that what is told of one request stands together.
    tally: Mutex<Tally>,
}

/// What goes back to whoever has sent a request.
enum Going {
    Answer {
        status: u16,
        headers: HeaderMap,
        body: Bytes,
        after: Option<Duration>,
    },
    Nothing,
}

pub(super) fn router(listener: Arc<Listener>, path: &str) -> Router {
    Router::new()
        .route(path, post(take))
        .fallback(elsewhere)
        .with_state(listener)
}

async fn take(State(listener): State<Arc<Listener>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let read = tokio::time::timeout(READ_WITHIN, to_bytes(body, REQUEST_LIMIT + 1));
    let body = match read.await {
        Ok(Ok(body)) => body,
        // Longer than the limit, which the opener says in its own words; or it broke off.
        Ok(Err(_)) => {
            return refusal(
                413,
                "too_large",
                "the body is too long, or broke off before its end",
            );
        }
        Err(_) => return refusal(408, "request_timeout", "the request was sent too slowly"),
    };
    // On a task of its own, because this one ends with the connection: a hub that hangs up must not stop a
    // request halfway to the mirror or to the program.
    let taken = tokio::spawn(async move { listener.receive(&parts.headers, body).await });
    let going = match taken.await {
        Ok(going) => going,
        Err(error) => {
            tracing::error!(%error, "a request could not be processed");
            return refusal(500, "internal_error", "the request could not be processed");
        }
    };
    match going {
        Going::Nothing => hang_up(),
        Going::Answer {
            status,
            headers,
            body,
            after,
        } => {
            if let Some(after) = after {
                tokio::time::sleep(after).await;
            }
            let mut response = Response::new(Body::from(body));
            *response.status_mut() =
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            *response.headers_mut() = headers;
            response
        }
    }
}

/// Says what came to another path, which is mostly a receiving URL that was mistyped.
async fn elsewhere(State(listener): State<Arc<Listener>>, request: Request) -> Response {
    listener.tell_of_stray(request.method().as_str(), request.uri());
    refusal(404, "not_found", "nothing is received at this path")
}

fn refusal(status: u16, error: &str, description: &str) -> Response {
    let body = ErrorAnswer {
        error: error.to_owned(),
        error_description: Some(description.to_owned()),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, axum::Json(body)).into_response()
}

/// Has the server close the connection before it has written anything: a body that breaks before its first byte
/// takes the head with it.
fn hang_up() -> Response {
    let broken = async { Err::<Bytes, _>(io::Error::other("closed without an answer, as asked for")) };
    Response::new(Body::from_stream(futures_util::stream::once(broken)))
}

fn json_headers() -> HeaderMap {
    let json = HeaderValue::from_static("application/json;charset=utf-8");
    HeaderMap::from_iter([(header::CONTENT_TYPE, json)])
}

impl Listener {
    pub(super) fn new(options: Options, print: Print) -> Result<Self, BuildError> {
        let Options {
            path: _,
            trust,
            mirror,
            forward,
            play,
            count,
            form,
            clock,
        } = options;
        let processor = Processor { mirror, play };
        Ok(Self {
            opening: Opening::new(trust, processor, clock.clone())?,
            forward,
            form,
            print,
            clock,
            count,
            counted: Notify::new(),
            tally: Mutex::default(),
        })
    }

    /// Waits until as many events have come as are wanted.
    pub(super) async fn counted(&self) {
        self.counted.notified().await;
    }

    pub(super) fn tally(&self) -> Tally {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn receive(&self, headers: &HeaderMap, body: Bytes) -> Going {
        let at = self.clock.now();
        match self.opening.open(&body).await {
            Ok(opened) => self.answer(at, headers, body, opened).await,
            Err(error) => {
                let reply = self.opening.receiver.refuse(&error);
                let mut tally = self.lock();
                tally.requests += 1;
                *tally.refused.entry(error.code()).or_default() += 1;
                let refused = Refusal {
                    number: tally.requests,
                    at,
                    error: &error,
                    facts: Facts::of(&body),
                    status: reply.status,
                    verifies: self.opening.verifies(),
                };
                (self.print)(&refused.told(self.form));
                of_reply(reply, None)
            }
        }
    }

    /// Answers a request whose events are known, and tells of both.
    async fn answer(&self, at: Millis, headers: &HeaderMap, body: Bytes, opened: Opened) -> Going {
        let watch = self.clock.stopwatch();
        let processor = self.opening.receiver.processor();
        let whole = processor.play.whole(&opened.batch.events);
        let late = match whole {
            Some(Whole::Late(late)) => Some(late),
            Some(Whole::Error | Whole::Drop) | None => None,
        };
        let told = |status, body: &[u8]| {
            let answered = Answered {
                by: By::Listener,
                status,
                body,
                took: watch.elapsed(),
                late,
                failure: None,
            };
            self.tell(at, &opened, answered);
        };
        match whole {
            Some(Whole::Drop) => {
                told(None, &[]);
                return Going::Nothing;
            }
            Some(Whole::Error) => {
                let refusal = ErrorAnswer {
                    error: "internal_error".to_owned(),
                    error_description: Some("rollcall listen --answer 500".to_owned()),
                };
                let reply = Reply {
                    status: 500,
                    body: serde_json::to_string(&refusal).unwrap_or_default(),
                };
                told(Some(500), reply.body.as_bytes());
                return of_reply(reply, None);
            }
            Some(Whole::Late(_)) | None => {}
        }
        let Some(forward) = &self.forward else {
            let reply = self.opening.receiver.take(opened.clone()).await;
            told(Some(reply.status), reply.body.as_bytes());
            return of_reply(reply, late);
        };
        if processor.mirror.is_some() {
            // What the mirror cannot keep now is sent again, and the program gets it then.
            let kept = self.opening.receiver.take(opened.clone()).await;
            if kept.status != 200 {
                told(Some(kept.status), kept.body.as_bytes());
                return of_reply(kept, None);
            }
        }
        let forwarded = forward.send(headers, body).await;
        let answered = Answered {
            by: By::Program(forward.url()),
            status: Some(forwarded.status),
            body: &forwarded.body,
            took: forwarded.took,
            late: None,
            failure: forwarded.failure.as_deref(),
        };
        self.tell(at, &opened, answered);
        let mut headers = forwarded.headers;
        if forwarded.failure.is_some() {
            headers = json_headers();
        }
        Going::Answer {
            status: forwarded.status,
            headers,
            body: forwarded.body,
            after: None,
        }
    }

    fn tell(&self, at: Millis, opened: &Opened, answered: Answered<'_>) {
        let mut tally = self.lock();
        tally.requests += 1;
        let arrival = Arrival {
            number: tally.requests,
            at,
            verified: self.opening.verifies(),
            opened,
            answered,
        };
        arrival.count(&mut tally);
        let told = arrival.told(self.form);
        if !told.is_empty() {
            (self.print)(&told);
        }
        if self.count.is_some_and(|count| tally.events >= count) {
            self.counted.notify_one();
        }
    }

    fn tell_of_stray(&self, method: &str, uri: &Uri) {
        let at = self.clock.now();
        let path = uri.path();
        let told = match self.form {
            Form::People(paint) => format!(
                "{}  {}: {} {} was answered 404; the receiving URL has another path",
                paint.dim(&time(at)),
                paint.warning("IGNORED"),
                visible(method),
                rollcall_protocol::shown(path)
            ),
            Form::Json => json!({
                "kind": "ignored",
                "receivedAt": written(at),
                "method": method,
                "path": rollcall_protocol::shown(path),
                "answer": { "by": "listener", "status": 404 },
            })
            .to_string(),
        };
        let _held = self.lock();
        (self.print)(&told);
    }
}

fn of_reply(reply: Reply, after: Option<Duration>) -> Going {
    Going::Answer {
        status: reply.status,
        headers: json_headers(),
        body: reply.body.into(),
        after,
    }
}
