//! What arrives again. What is stored then is looked at in `state`.

use rollcall_protocol::EventType as T;

use super::{ANSWER, RELIED};
use crate::check::case::{Case, Fault, words};
use crate::check::course::{judged, refusal};
use crate::sender::Received;

const AGAIN: &str = "Remember the ids of events that were applied for half an hour at least, and answer those as before \
                     without applying them again.";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::must(
            "duplicate-in-one-request",
            words(
                "An event that stands twice in one request is answered, and is no error.",
                RELIED,
                "HTTP 200, with the event in successEvents or skippedEvents.",
                "Look for the event's id among those of the same request too: a unique index that fails there must not \
                 fail the request.",
            ),
            |course| {
                Box::pin(async move {
                    let user = course.user();
                    let event = course.user_event(T::UserCreate, &user);
                    course.deliver(&[event.clone(), event]).await.map(drop)
                })
            },
        ),
        Case::must(
            "duplicate-in-two-requests",
            words(
                "An event that is sent again in a new request is answered as before.",
                RELIED,
                "HTTP 200 to both requests, with the event in the same list.",
                AGAIN,
            ),
            |course| {
                Box::pin(async move {
                    let user = course.user();
                    let event = course.user_event(T::UserCreate, &user);
                    let first = course.deliver(std::slice::from_ref(&event)).await?;
                    let again = course.deliver(std::slice::from_ref(&event)).await?;
                    match (first.list(&event), again.list(&event)) {
                        (Some(first), Some(again)) if first != again => Fault::failed(format!(
                            "the event stood in {} the first time, and in {} the second time",
                            first.as_str(),
                            again.as_str()
                        )),
                        _ => Ok(()),
                    }
                })
            },
        ),
        Case::must(
            "replayed-request",
            words(
                "The very same request (the same jti) again is refused, or answered as before.",
                RELIED,
                "A 4xx or 5xx; or HTTP 200 with the event in the same list.",
                "Either refuse a jti that was seen while its envelope is valid, or answer its events as before; what must \
                 not happen is that they are applied again.",
            ),
            |course| {
                Box::pin(async move {
                    let user = course.user();
                    let event = course.user_event(T::UserCreate, &user);
                    let body = course.sender.seal(std::slice::from_ref(&event))?;
                    let events = [event];
                    let first = course.send_sealed(body.clone(), &events).await?;
                    first.taken()?;
                    let again = course.post("the same request again", body).await;
                    if refusal(&again).is_ok() {
                        return Ok(());
                    }
                    let again: Received = again.map_err(|error| Fault::Failed(error.to_string()))?;
                    let again = judged(&again, &events)?;
                    again.taken()?;
                    if first.list(&events[0]) == again.list(&events[0]) {
                        Ok(())
                    } else {
                        Fault::failed("the event stands in another list than the first time")
                    }
                })
            },
        ),
        Case::must(
            "answers-of-known-and-new",
            words(
                "A request with an event that was answered and one that is new has both answered.",
                ANSWER,
                "HTTP 200, with both events in successEvents or skippedEvents.",
                AGAIN,
            ),
            |course| {
                Box::pin(async move {
                    let users = [course.user(), course.user()];
                    let known = course.user_event(T::UserCreate, &users[0]);
                    course.deliver(std::slice::from_ref(&known)).await?;
                    let new = course.user_event(T::UserCreate, &users[1]);
                    course.deliver(&[known, new]).await.map(drop)
                })
            },
        ),
    ]
}
