//! The connection test, and the form of answers.

use rollcall_protocol::AnswerList;

use super::{ANSWER, TYPES};
use crate::check::case::{Case, Fault, words};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::must(
            "connection-test",
            words(
                "The connection test (common:test) is taken.",
                "RECEIVING.md, What stops the push",
                "HTTP 200, with the event in successEvents or skippedEvents.",
                "Answer common:test like any event. The hub suspends an application that does not take it, and asks with \
                 it whether an endpoint has recovered.",
            ),
            |course| {
                Box::pin(async move {
                    let event = course.test_event();
                    course.deliver(&[event]).await.map(drop)
                })
            },
        ),
        Case::should(
            "connection-test-success",
            words(
                "The connection test is answered as a success.",
                "RECEIVING.md, What stops the push",
                "The event stands in successEvents.",
                "Add a handler for common:test that does nothing and answers SUCCESS.",
            ),
            |course| {
                Box::pin(async move {
                    let event = course.test_event();
                    course.send(&[event]).await?.only(&[AnswerList::Success])
                })
            },
        ),
        Case::should(
            "answer-content-type",
            words(
                "Answers say that they are JSON.",
                ANSWER,
                "The header Content-Type of the answer is application/json.",
                "Set the header Content-Type to application/json;charset=utf-8.",
            ),
            |course| {
                Box::pin(async move {
                    let event = course.test_event();
                    let body = course.sender.seal(&[event])?;
                    let received = course.post("common:test", body).await;
                    let received = received.map_err(|error| Fault::Failed(error.to_string()))?;
                    match received.content_type.as_deref() {
                        Some(kind) if kind.to_ascii_lowercase().starts_with("application/json") => Ok(()),
                        Some(kind) => Fault::failed(format!("the Content-Type is {kind:?}")),
                        None => Fault::failed("there is no Content-Type"),
                    }
                })
            },
        ),
        Case::should(
            "types-of-users-handled",
            words(
                "Users are handled, not passed over: creating, changing and deleting them.",
                TYPES,
                "ud:user:create, ud:user:update_info and ud:user:delete stand in successEvents.",
                "Register handlers for these types. Skip it, if the application takes no users: --skip \
                 types-of-users-handled.",
            ),
            |course| {
                Box::pin(async move {
                    use rollcall_protocol::EventType as T;
                    let user = course.user();
                    let kinds = [T::UserCreate, T::UserUpdateInfo, T::UserDelete];
                    let events = kinds.map(|kind| course.user_event(kind, &user));
                    course.send(&events).await?.only(&[AnswerList::Success])
                })
            },
        ),
    ]
}
