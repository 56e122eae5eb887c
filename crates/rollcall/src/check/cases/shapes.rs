//! Requests with few and many events, and many requests at once.

use futures_util::future::join_all;
use rollcall_protocol::{Event, EventType as T};

use super::{ANSWER, RELIED};
use crate::check::case::{Case, Fault, words};
use crate::check::course::{Course, exchange, judged};
use crate::delivery::egress::ANSWER_WITHIN;
use crate::sender::Post;

/// How many events are in a batch.
const SIZES: [usize; 5] = [1, 2, 10, 100, 500];
/// How many requests are sent at once.
const AT_ONCE: usize = 50;

pub(super) fn batches() -> Vec<Case> {
    SIZES.map(batch).into_iter().collect()
}

fn batch(size: usize) -> Case {
    let plural = if size == 1 { "event is" } else { "events are" };
    Case::must(
        format!("batch-{size}"),
        words(
            format!("A request with {size} {plural} answered within 10 seconds, event by event."),
            ANSWER,
            "HTTP 200, with each event once in successEvents or skippedEvents.",
            "Take the array in eventData as a whole and answer for each of its events. If that takes longer than 10 \
             seconds, store the events, answer, and apply them afterwards; and allow bodies of 8 MiB.",
        ),
        move |course| {
            Box::pin(async move {
                let events = crowd(course, size);
                course.deliver(&events).await.map(drop)
            })
        },
    )
}

/// So many events about different users, and a group of them if there are many.
fn crowd(course: &mut Course, size: usize) -> Vec<Event> {
    let mut members = Vec::new();
    let mut events: Vec<Event> = (0..size.saturating_sub(if size >= 10 { 2 } else { 0 }))
        .map(|_| {
            let user = course.user();
            members.push(user.user_id.clone());
            course.user_event(T::UserCreate, &user)
        })
        .collect();
    if events.len() < size {
        let mut group = course.group();
        events.push(course.group_event(T::GroupCreate, &group));
        group.user_ids = Some(members);
        events.push(course.group_event(T::GroupAddUser, &group));
    }
    events
}

pub(super) fn load() -> Vec<Case> {
    vec![Case::must(
        "concurrent-50",
        words(
            "Fifty requests at once are each answered within 10 seconds.",
            RELIED,
            "HTTP 200 to each, with its own events and no others, within 10 seconds.",
            "Take several requests at a time: do not hold a lock of the whole program while you work on one, and let \
                 the database's pool wait for a free connection instead of failing.",
        ),
        |course| {
            Box::pin(async move {
                let mut requests = Vec::new();
                for _ in 0..AT_ONCE {
                    let user = course.user();
                    let event = course.user_event(T::UserCreate, &user);
                    requests.push((course.sender.seal(std::slice::from_ref(&event))?, event));
                }
                let send = async |post: Post, body: String| post.post(body).await;
                let sent: Vec<_> = requests
                    .iter()
                    .map(|(body, _)| send(course.post.clone(), body.clone()))
                    .collect();
                let answered = join_all(sent).await;
                let mut failed = Vec::new();
                let mut slowest = None;
                for (received, (_, event)) in answered.into_iter().zip(&requests) {
                    let told = exchange(
                        format!("one of {AT_ONCE} requests at once"),
                        &received,
                        ANSWER_WITHIN,
                    );
                    let judged = received
                        .map_err(|error| Fault::Failed(error.to_string()))
                        .and_then(|received| judged(&received, std::slice::from_ref(event))?.taken());
                    match judged {
                        Err(Fault::Failed(why) | Fault::NotChecked(why)) => {
                            failed.push(why);
                            course.exchanges.push(told);
                        }
                        Ok(()) => {
                            let longest = slowest.get_or_insert_with(|| told.clone());
                            if told.milliseconds > longest.milliseconds {
                                *longest = told;
                            }
                        }
                    }
                }
                course.exchanges.truncate(5);
                course.exchanges.extend(slowest);
                match failed.first() {
                    Some(first) => Fault::failed(format!("{} of {AT_ONCE} requests: {first}", failed.len())),
                    None => Ok(()),
                }
            })
        },
    )]
}
