//! What arrives late, in another order, or about somebody who is not there.

use rollcall_protocol::{Event, EventType as T};
use serde_json::json;

use super::{PAYLOAD, RELIED};
use crate::check::case::{Case, Running, words};
use crate::check::course::Course;

const TAKEN: &str = "HTTP 200, with each event in successEvents or skippedEvents.";

const STALE: &str = "Keep the eventTime of the last event that was applied to each subject, also of deleted ones. Answer an \
                     event with an earlier one as a success, and do not apply it.";

const UPSERT: &str = "Write the whole record of every event (create or update), and delete what may not be there: none of \
                      them may depend on what came before.";

fn case<F>(
    id: &'static str,
    requirement: &'static str,
    source: &'static str,
    advice: &'static str,
    run: F,
) -> Case
where
    F: for<'a> Fn(&'a mut Course) -> Running<'a> + Send + Sync + 'static,
{
    Case::must(id, words(requirement, source, TAKEN, advice), run)
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "late-event",
            "An event that is older than what was applied is answered as a success.",
            RELIED,
            STALE,
            |course| {
                Box::pin(async move {
                    let user = course.user();
                    let earlier = course.time();
                    let event = course.user_event(T::UserCreate, &user);
                    course.deliver(&[event]).await?;
                    let late = course.event_at(earlier, T::UserUpdateInfo, &user.user_id, user.to_json());
                    course.deliver(&[late]).await.map(drop)
                })
            },
        ),
        case(
            "disordered-events",
            "Events of one user in the wrong order, in one request, are answered.",
            RELIED,
            STALE,
            |course| {
                Box::pin(async move {
                    let user = course.user();
                    let times = [course.time(), course.time(), course.time()];
                    let mut event = |index: usize, kind| {
                        course.event_at(times[index], kind, &user.user_id, user.to_json())
                    };
                    let events = [
                        event(2, T::UserDisable),
                        event(0, T::UserCreate),
                        event(1, T::UserUpdateInfo),
                    ];
                    course.deliver(&events).await.map(drop)
                })
            },
        ),
        case(
            "equal-times",
            "Events of one user with the same time are answered.",
            RELIED,
            "Equal times are in order: apply them as they come. Do not refuse a time that is not later than the last one.",
            |course| {
                Box::pin(async move {
                    let user = course.user();
                    let time = course.time();
                    let events = [T::UserCreate, T::UserUpdateInfo, T::UserDisable]
                        .map(|kind| course.event_at(time, kind, &user.user_id, user.to_json()));
                    course.deliver(&events).await.map(drop)
                })
            },
        ),
        case(
            "delete-before-create",
            "Deleting a user who is not known is a success.",
            RELIED,
            UPSERT,
            of_one_user([T::UserDelete]),
        ),
        case(
            "delete-twice",
            "Deleting a user who was deleted is a success.",
            RELIED,
            UPSERT,
            of_one_user([T::UserCreate, T::UserDelete, T::UserDelete]),
        ),
        case(
            "delete-with-id-alone",
            "A deletion whose record holds the id alone is taken.",
            PAYLOAD,
            "Read nothing but userId, organizationalUnitId or groupId of a deletion: IDaaS has sent no more.",
            |course| {
                Box::pin(async move {
                    let (user, unit, group) = (course.user(), course.unit(), course.group());
                    let created = [
                        course.unit_event(T::UnitCreate, &unit),
                        course.user_event(T::UserCreate, &user),
                        course.group_event(T::GroupCreate, &group),
                    ];
                    course.deliver(&created).await?;
                    let deleted = [
                        bare(course, T::GroupDelete, "groupId", &group.group_id),
                        bare(course, T::UserDelete, "userId", &user.user_id),
                        bare(course, T::UnitDelete, "organizationalUnitId", &unit.unit_id),
                    ];
                    course.deliver(&deleted).await.map(drop)
                })
            },
        ),
        case(
            "update-of-unknown-user",
            "An update of a user who is not known is answered as a success.",
            RELIED,
            UPSERT,
            of_one_user([T::UserUpdateInfo]),
        ),
        case(
            "create-of-known-user",
            "Creating a user who is known is answered as a success.",
            RELIED,
            UPSERT,
            of_one_user([T::UserCreate, T::UserPush, T::UserCreate]),
        ),
        case(
            "create-after-delete",
            "A user who comes back after being deleted is taken.",
            RELIED,
            "A user who leaves the scope is deleted, and created again when the user comes back: with the same id.",
            of_one_user([T::UserCreate, T::UserDelete, T::UserCreate]),
        ),
        case(
            "membership-of-unknown-user",
            "Adding a user who is not known to a group is a success.",
            RELIED,
            "A membership may come after its user was deleted, and means nothing then: pass it over, without an error.",
            |course| {
                Box::pin(async move {
                    let mut group = course.group();
                    let created = course.group_event(T::GroupCreate, &group);
                    group.user_ids = Some(vec![course.samples.id("user")]);
                    let added = course.group_event(T::GroupAddUser, &group);
                    course.deliver(&[created, added]).await.map(drop)
                })
            },
        ),
        case(
            "leaving-without-membership",
            "Removing a user from a group without being in it is a success.",
            RELIED,
            UPSERT,
            |course| {
                Box::pin(async move {
                    let (mut group, user) = (course.group(), course.user());
                    let created = [
                        course.user_event(T::UserCreate, &user),
                        course.group_event(T::GroupCreate, &group),
                    ];
                    course.deliver(&created).await?;
                    group.user_ids = Some(vec![user.user_id]);
                    let removed = course.group_event(T::GroupRemoveUser, &group);
                    course.deliver(&[removed]).await.map(drop)
                })
            },
        ),
        case(
            "joining-twice",
            "Adding a user to a group twice, in two events, is a success.",
            RELIED,
            UPSERT,
            |course| {
                Box::pin(async move {
                    let (mut group, user) = (course.group(), course.user());
                    let created = [
                        course.user_event(T::UserCreate, &user),
                        course.group_event(T::GroupCreate, &group),
                    ];
                    group.user_ids = Some(vec![user.user_id]);
                    let added =
                        [T::GroupAddUser, T::GroupAddUser].map(|kind| course.group_event(kind, &group));
                    course.deliver(&created).await?;
                    course.deliver(&added).await.map(drop)
                })
            },
        ),
    ]
}

/// One user's events, of these types, in one request.
fn of_one_user<const N: usize>(
    kinds: [T; N],
) -> impl for<'a> Fn(&'a mut Course) -> Running<'a> + Send + Sync + 'static {
    move |course: &mut Course| -> Running<'_> {
        Box::pin(async move {
            let user = course.user();
            let events = kinds.map(|kind| course.user_event(kind, &user));
            course.deliver(&events).await.map(drop)
        })
    }
}

fn bare(course: &mut Course, kind: T, name: &str, id: &str) -> Event {
    course.event(kind, id, json!({ name: id }).to_string())
}
