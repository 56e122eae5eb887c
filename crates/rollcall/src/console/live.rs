//! Live parts: the fragment of a page that is sent again whenever it has changed, by server-sent events.
//!
//! The fragment is rendered by the same template as within the page, so there is one way in which it looks. The stream
//! ends after a while, and the browser asks again: thereby it is checked again who looks.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

use super::error::Failure;

/// How often it is looked whether something has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After how many looks the browser has to ask again.
const LOOKS: u32 = 60;

/// Sends what `render` makes, at first and whenever it is different. Where it fails, or the hub ends, the stream ends.
pub(super) fn follow<F, T>(ended: watch::Receiver<bool>, render: F) -> Response
where
    F: Fn() -> T + Send + 'static,
    T: Future<Output = Result<String, Failure>> + Send,
{
    let begun = Following {
        render,
        ended,
        sent: None,
        looks: 0,
    };
    let stream = futures_util::stream::unfold(begun, async |mut following| {
        let event = following.next().await?;
        Some((Ok::<_, Infallible>(event), following))
    });
    // nginx would collect the events otherwise.
    let at_once = [("x-accel-buffering", "no")];
    (at_once, Sse::new(stream).keep_alive(KeepAlive::default())).into_response()
}

/// Somebody who follows a part of a page.
struct Following<F> {
    render: F,
    ended: watch::Receiver<bool>,
    sent: Option<String>,
    looks: u32,
}

impl<F, T> Following<F>
where
    F: Fn() -> T,
    T: Future<Output = Result<String, Failure>>,
{
    /// Waits until the part is different from what was sent.
    async fn next(&mut self) -> Option<Event> {
        while self.looks < LOOKS {
            if self.looks > 0 {
                tokio::select! {
                    biased;
                    _ = self.ended.wait_for(|ended| *ended) => return None,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
            self.looks += 1;
            let now = (self.render)().await.ok()?;
            if self.sent.as_ref() != Some(&now) {
                let event = Event::default().data(now.replace('\r', ""));
                self.sent = Some(now);
                return Some(event);
            }
        }
        None
    }
}
