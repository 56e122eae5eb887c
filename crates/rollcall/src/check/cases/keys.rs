//! Keys that change, and times of envelopes that are still good.

use std::sync::Arc;
use std::time::Duration;

use rollcall_protocol::EventType as T;

use super::REQUEST;
use crate::check::case::{Case, Fault, Finding, words};
use crate::check::course::Course;
use crate::sender::{REFETCHED_WITHIN, body};

/// How often it is asked meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(1);

const ROTATION: &str = "When a kid is not among the keys that you keep, fetch the JWKS document again, at most once in half a \
                        minute, and look again before you refuse. The hub rotates its key without asking.";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::must(
            "old-envelope",
            words(
                "A request that was sealed 25 minutes ago is taken.",
                REQUEST,
                "HTTP 200, with the event in successEvents or skippedEvents.",
                "Let exp decide, which is half an hour after iat; do not set a shorter limit. A request may be sent again \
                 as it is.",
            ),
            |course| Box::pin(with_age(course, 25 * 60)),
        ),
        Case::should(
            "clock-ahead",
            words(
                "A request from a clock that is half a minute ahead is taken.",
                REQUEST,
                "HTTP 200, with the event in successEvents or skippedEvents.",
                "Allow a leeway of 60 seconds for iat (and nbf) and exp: no two clocks agree.",
            ),
            |course| Box::pin(with_age(course, -30)),
        ),
        Case::must(
            "key-rotation",
            words(
                "A new key that appears in the JWKS document is found, without a restart.",
                "RECEIVING.md, Keys",
                "A request under the new kid is taken within 45 seconds.",
                ROTATION,
            ),
            // The first key signs again in the next case.
            |course| Box::pin(rotate(course)),
        ),
        Case::must(
            "key-before-rotation",
            words(
                "The key before is good as long as it is published.",
                "RECEIVING.md, Keys",
                "A request under the first kid is taken after one under a new kid.",
                "Keep all keys of the JWKS document, by their kid; do not replace the one by the other.",
            ),
            |course| {
                Box::pin(async move {
                    let user = course.user();
                    let event = course.user_event(T::UserCreate, &user);
                    course.deliver(&[event]).await.map(drop)
                })
            },
        ),
    ]
}

async fn with_age(course: &mut Course, seconds: i64) -> Finding {
    let user = course.user();
    let event = course.user_event(T::UserCreate, &user);
    let mut envelope = course.envelope(std::slice::from_ref(&event))?;
    envelope.issued_s -= seconds;
    envelope.expires_s -= seconds;
    let jwt = envelope.signed(&course.sender.signing)?;
    course.send_sealed(body(&jwt), &[event]).await?.taken()
}

/// Publishes a new key, and has something signed with it be taken.
async fn rotate(course: &mut Course) -> Finding {
    if let Some(why) = course.pinned {
        return Err(Fault::NotChecked(why.to_owned()));
    }
    let key = course.new_key().await?;
    course.published.add(&key);
    course.sender.signing = Arc::new(key);
    let user = course.user();
    let event = course.user_event(T::UserCreate, &user);
    let stopwatch = course.sender.clock.stopwatch();
    loop {
        let told = course.deliver(std::slice::from_ref(&event)).await;
        match told {
            Err(Fault::Failed(_)) if stopwatch.elapsed() < REFETCHED_WITHIN => {}
            told => return told.map(drop),
        }
        // Only the first and the last of them tell something.
        course.exchanges.truncate(1);
        tokio::time::sleep(ASK_AGAIN).await;
    }
}
