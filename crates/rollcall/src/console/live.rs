//! Live parts: the fragment of a page that is sent again whenever it has changed, by server-sent events.
//!
//! The fragment is rendered by the same template as within the page, so there is one way in which it looks. The stream
//! ends after a while, and the browser asks again: thereby it is checked again who looks.
//!
//! Whoever watches must not slow down what is watched. So the pause between two looks grows with what a look takes: with
//! a thousand applications, or while the machine is busy, a page is some seconds old.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

use super::Console;
use super::error::Failure;
use crate::clock::Stopwatch;

/// How long it waits at least until it looks again whether something has changed.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// The same at most.
const LOOK_AFTER_AT_MOST: Duration = Duration::from_secs(5);
/// A look takes at most one part in so many of the time, up to that pause.
const SHARE: u32 = 500;
/// After what time the browser has to ask again.
const ASK_AFTER: Duration = Duration::from_secs(60);

/// Sends what `render` makes, at first and whenever it is different. Where it fails, or the hub ends, the stream ends.
pub(super) fn follow<F, T>(console: Arc<Console>, render: F) -> Response
where
    F: Fn(Arc<Console>) -> T + Send + 'static,
    T: Future<Output = Result<String, Failure>> + Send,
{
    let begun = Following {
        render,
        ended: console.ended(),
        since: console.hub().clock.stopwatch(),
        console,
        took: None,
        sent: None,
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
    console: Arc<Console>,
    since: Stopwatch,
    /// What the last look took.
    took: Option<Duration>,
    sent: Option<String>,
}

/// How long to wait after a look that took so long.
fn pause(took: Duration) -> Duration {
    took.saturating_mul(SHARE).clamp(LOOK_AFTER, LOOK_AFTER_AT_MOST)
}

impl<F, T> Following<F>
where
    F: Fn(Arc<Console>) -> T,
    T: Future<Output = Result<String, Failure>>,
{
    /// Waits until the part is different from what was sent.
    async fn next(&mut self) -> Option<Event> {
        while self.since.elapsed() < ASK_AFTER {
            if let Some(took) = self.took {
                tokio::select! {
                    biased;
                    _ = self.ended.wait_for(|ended| *ended) => return None,
                    () = tokio::time::sleep(pause(took)) => {}
                }
            }
            let begun = self.since.elapsed();
            let now = (self.render)(Arc::clone(&self.console)).await.ok()?;
            self.took = Some(self.since.elapsed() - begun);
            if self.sent.as_ref() != Some(&now) {
                let event = Event::default().data(now.replace('\r', ""));
                self.sent = Some(now);
                return Some(event);
            }
        }
        None
    }
}

#[test]
fn the_pause_grows_with_what_a_look_takes() {
    let millis = Duration::from_millis;
    assert_eq!(pause(millis(1)), millis(1_000));
    assert_eq!(pause(millis(4)), millis(2_000));
    assert_eq!(pause(millis(400)), millis(5_000));
}
