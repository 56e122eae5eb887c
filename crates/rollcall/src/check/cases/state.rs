//! What the endpoint has stored, looked at where it says so.

use rollcall_protocol::{EventType as T, UserPayload, UserStatus};
use serde_json::Value;

use super::values::NON_ASCII;
use super::{PAYLOAD, RELIED, REQUEST};
use crate::check::case::{Case, Fault, Finding, Running, words};
use crate::check::course::Course;
use crate::check::read_back::Stored;
use crate::sender::body;

const STALE: &str = "Keep the eventTime of the last event that was applied to each user, also of deleted ones, and compare it \
                     in the transaction that writes the record. What is older is answered as a success, and not applied.";

const KNOWN: &str =
    "Store the ids of applied events in the transaction that writes the record, and look for them first.";

fn must<F>(
    id: &'static str,
    requirement: &'static str,
    source: &'static str,
    expected: &'static str,
    advice: &'static str,
    run: F,
) -> Case
where
    F: for<'a> Fn(&'a mut Course) -> Running<'a> + Send + Sync + 'static,
{
    Case::must(id, words(requirement, source, expected, advice), run)
}

/// The user is stored under this display name.
fn named(stored: Option<&Stored>, name: &str) -> Result<(), String> {
    let Some(stored) = stored else {
        return Err("the user is not stored".to_owned());
    };
    match stored.get("displayName") {
        Some(Value::String(found)) if found == name => Ok(()),
        Some(found) => Err(format!(
            "the display name is {found}, where {name:?} was expected"
        )),
        None => Err("what is stored has no displayName (or display_name)".to_owned()),
    }
}

fn absent(stored: Option<&Stored>) -> Result<(), String> {
    match stored {
        None => Ok(()),
        Some(_) => Err("the user is there, who should not be".to_owned()),
    }
}

/// A user, created and known to be stored.
async fn created(course: &mut Course) -> Result<UserPayload, Fault> {
    course.needs_read_back()?;
    let user = course.user();
    let event = course.user_event(T::UserCreate, &user);
    course.deliver(&[event]).await?;
    has_name(course, &user).await?;
    Ok(user)
}

/// What is stored comes to have the user's display name.
async fn has_name(course: &mut Course, user: &UserPayload) -> Finding {
    let name = user.display_name.clone().unwrap_or_default();
    course.until(user, |stored| named(stored, &name)).await
}

/// A name beside the one before.
fn rename(user: &mut UserPayload, to: &str) {
    let name = format!("{} {to}", user.username.clone().unwrap_or_default());
    user.display_name = Some(name);
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        must(
            "state-created",
            "A user who is created is stored.",
            RELIED,
            "The read-back shows the user with the displayName that was sent.",
            "Apply what was answered as a success, within a few seconds.",
            |course| Box::pin(async move { created(course).await.map(drop) }),
        ),
        must(
            "state-pushed",
            "A user who is pushed by a full synchronization is stored.",
            RELIED,
            "The read-back shows the user with the displayName that was sent.",
            "Treat ud:user:push as create or update.",
            |course| {
                Box::pin(async move {
                    course.needs_read_back()?;
                    let user = course.user();
                    let event = course.user_event(T::UserPush, &user);
                    course.deliver(&[event]).await?;
                    has_name(course, &user).await
                })
            },
        ),
        must(
            "state-updated",
            "A change of a user is stored.",
            RELIED,
            "The read-back shows the new displayName.",
            "Write the whole record of ud:user:update_info.",
            |course| {
                Box::pin(async move {
                    let mut user = created(course).await?;
                    rename(&mut user, "renamed");
                    let event = course.user_event(T::UserUpdateInfo, &user);
                    course.deliver(&[event]).await?;
                    has_name(course, &user).await
                })
            },
        ),
        must(
            "state-non-ascii",
            "Names in any script are stored as they were sent.",
            PAYLOAD,
            "The read-back shows the displayName, character by character.",
            "Read bodies as UTF-8, and store text as UTF-8 (in MySQL: utf8mb4); do not normalize it.",
            |course| {
                Box::pin(async move {
                    course.needs_read_back()?;
                    let mut user = course.user();
                    user.display_name = Some(NON_ASCII.to_owned());
                    let event = course.user_event(T::UserCreate, &user);
                    course.deliver(&[event]).await?;
                    has_name(course, &user).await
                })
            },
        ),
        must(
            "state-order-in-request",
            "Of several events of one user in a request, the last one counts, also with equal times.",
            RELIED,
            "The read-back shows the displayName of the last event.",
            "Apply the events of a request in their order; of equal times the later one in the array wins.",
            |course| {
                Box::pin(async move {
                    course.needs_read_back()?;
                    let mut user = course.user();
                    let time = course.time();
                    let mut events = Vec::new();
                    for (kind, name) in [
                        (T::UserCreate, "first"),
                        (T::UserUpdateInfo, "second"),
                        (T::UserUpdateInfo, "third"),
                    ] {
                        rename(&mut user, name);
                        events.push(course.event_at(time, kind, &user.user_id, user.to_json()));
                    }
                    course.deliver(&events).await?;
                    has_name(course, &user).await
                })
            },
        ),
        must(
            "state-deleted",
            "A user who is deleted is gone.",
            RELIED,
            "The read-back has nothing of the user.",
            "Delete or disable what is yours; the read-back must not answer with deleted users (404, or a condition in the \
             query).",
            |course| {
                Box::pin(async move {
                    let user = created(course).await?;
                    let event = course.user_event(T::UserDelete, &user);
                    course.deliver(&[event]).await?;
                    course.until(&user, absent).await
                })
            },
        ),
        must(
            "state-created-again",
            "A user who comes back after being deleted is stored.",
            RELIED,
            "The read-back shows the user with the new displayName.",
            "Take a creation that is later than the deletion, although the id is the same.",
            |course| {
                Box::pin(async move {
                    let mut user = created(course).await?;
                    let deleted = course.user_event(T::UserDelete, &user);
                    course.deliver(&[deleted]).await?;
                    rename(&mut user, "back again");
                    let back = course.user_event(T::UserCreate, &user);
                    course.deliver(&[back]).await?;
                    has_name(course, &user).await
                })
            },
        ),
        must(
            "state-stale-not-applied",
            "An event that is older than what was applied changes nothing.",
            RELIED,
            "The read-back still shows the displayName of the later event.",
            STALE,
            |course| {
                Box::pin(async move {
                    course.needs_read_back()?;
                    let earlier = course.time();
                    let user = created(course).await?;
                    let mut old = user.clone();
                    rename(&mut old, "stale");
                    let event = course.event_at(earlier, T::UserUpdateInfo, &old.user_id, old.to_json());
                    course.deliver(&[event]).await?;
                    course.settled().await?;
                    has_name(course, &user).await
                })
            },
        ),
        must(
            "state-stale-after-delete",
            "An event that is older than a deletion does not bring the user back.",
            RELIED,
            "The read-back has nothing of the user.",
            STALE,
            |course| {
                Box::pin(async move {
                    let user = created(course).await?;
                    let earlier = course.time();
                    let deleted = course.user_event(T::UserDelete, &user);
                    course.deliver(&[deleted]).await?;
                    let late = course.event_at(earlier, T::UserUpdateInfo, &user.user_id, user.to_json());
                    course.deliver(&[late]).await?;
                    course.settled().await?;
                    course.until(&user, absent).await
                })
            },
        ),
        must(
            "state-duplicate-not-applied",
            "An event that is sent again after a later one is not applied again.",
            RELIED,
            "The read-back still shows the displayName of the later event.",
            KNOWN,
            |course| {
                Box::pin(async move {
                    course.needs_read_back()?;
                    let mut user = course.user();
                    let first = course.user_event(T::UserCreate, &user);
                    course.deliver(std::slice::from_ref(&first)).await?;
                    rename(&mut user, "renamed");
                    let second = course.user_event(T::UserUpdateInfo, &user);
                    course.deliver(&[second]).await?;
                    course.deliver(&[first]).await?;
                    course.settled().await?;
                    has_name(course, &user).await
                })
            },
        ),
        must(
            "state-replay-not-applied",
            "The very same request again, after a deletion, does not bring the user back.",
            RELIED,
            "The read-back has nothing of the user.",
            KNOWN,
            |course| {
                Box::pin(async move {
                    course.needs_read_back()?;
                    let user = course.user();
                    let event = course.user_event(T::UserCreate, &user);
                    let request = course.sender.seal(std::slice::from_ref(&event))?;
                    course.send_sealed(request.clone(), &[event]).await?.taken()?;
                    let deleted = course.user_event(T::UserDelete, &user);
                    course.deliver(&[deleted]).await?;
                    // It may be refused or answered.
                    let _ = course.post("the first request again", request).await;
                    course.settled().await?;
                    course.until(&user, absent).await
                })
            },
        ),
        must(
            "state-forged-not-applied",
            "What is signed by nobody known is not applied, whatever is answered.",
            REQUEST,
            "The read-back has nothing of the users in the forged requests.",
            "Verify before anything is stored or handed on: algorithm, key, signature, iss, aud, exp and iat.",
            |course| Box::pin(forged(course)),
        ),
        must(
            "state-disabled",
            "A user who is disabled is stored as disabled, and as enabled after being enabled.",
            RELIED,
            "The read-back shows the status disabled, and then enabled.",
            "Write the status of the record; whoever is disabled must not be able to sign in.",
            |course| {
                Box::pin(async move {
                    let mut user = created(course).await?;
                    for (kind, status) in [
                        (T::UserDisable, UserStatus::Disabled),
                        (T::UserEnable, UserStatus::Enabled),
                    ] {
                        user.status = Some(status);
                        let event = course.user_event(kind, &user);
                        course.deliver(&[event]).await?;
                        field(course, &user, "status", Some(status.as_str())).await?;
                    }
                    Ok(())
                })
            },
        ),
    ];
    cases.extend(recommended());
    cases
}

/// What a good endpoint does, and who does not still works.
fn recommended() -> Vec<Case> {
    vec![
        Case::should(
            "state-duplicate-at-the-same-time",
            words(
                "An event that is sent again after another of the same time is not applied again.",
                RELIED,
                "The read-back still shows the displayName of the second event.",
                "Remember the ids of applied events: times alone do not tell a duplicate from news of the same \
                 millisecond.",
            ),
            |course| {
                Box::pin(async move {
                    course.needs_read_back()?;
                    let mut user = course.user();
                    let time = course.time();
                    let first = course.event_at(time, T::UserCreate, &user.user_id, user.to_json());
                    course.deliver(std::slice::from_ref(&first)).await?;
                    rename(&mut user, "renamed");
                    let second = course.event_at(time, T::UserUpdateInfo, &user.user_id, user.to_json());
                    course.deliver(&[second]).await?;
                    course.deliver(&[first]).await?;
                    course.settled().await?;
                    has_name(course, &user).await
                })
            },
        ),
        Case::should(
            "state-update-creates",
            words(
                "An update of a user who is not known stores the user.",
                RELIED,
                "The read-back shows the user with the displayName that was sent.",
                "Treat every event with a whole record as create or update.",
            ),
            |course| {
                Box::pin(async move {
                    course.needs_read_back()?;
                    let user = course.user();
                    let event = course.user_event(T::UserUpdateInfo, &user);
                    course.deliver(&[event]).await?;
                    has_name(course, &user).await
                })
            },
        ),
        Case::should(
            "state-email-cleared",
            words(
                "An email address that is not in a record any more is removed.",
                RELIED,
                "The read-back shows no email after an update without one.",
                "What is not in a record does not exist: write NULL for a field that is missing.",
            ),
            |course| {
                Box::pin(async move {
                    let mut user = created(course).await?;
                    let email = user.email.take();
                    field(course, &user, "email", email.as_deref()).await?;
                    let event = course.user_event(T::UserUpdateInfo, &user);
                    course.deliver(&[event]).await?;
                    field(course, &user, "email", None).await
                })
            },
        ),
    ]
}

/// What is stored comes to have this value in a field; `None`: none, or an empty one. Not checked if the read-back does
/// not show such a field at all.
async fn field(course: &mut Course, user: &UserPayload, name: &'static str, value: Option<&str>) -> Finding {
    let found = course
        .until(user, |stored| {
            let Some(stored) = stored else {
                return Err("the user is not stored".to_owned());
            };
            match (stored.get(name), value) {
                (Some(Value::String(found)), Some(value)) if found == value => Ok(()),
                (None | Some(Value::Null), None) => Ok(()),
                (Some(Value::String(found)), None) if found.is_empty() => Ok(()),
                (None, Some(_)) => Err(NO_FIELD.to_owned()),
                (Some(found), Some(value)) => Err(format!("{name} is {found}, where {value:?} was expected")),
                (Some(found), None) => Err(format!("{name} is still {found}")),
            }
        })
        .await;
    match found {
        Err(Fault::Failed(why)) if why == NO_FIELD => {
            Err(Fault::NotChecked(format!("the read-back shows no {name}")))
        }
        found => found,
    }
}

const NO_FIELD: &str = "there is no such field";

/// Sends forgeries of three kinds, each with a user of its own, and looks for all of them.
async fn forged(course: &mut Course) -> Finding {
    course.needs_read_back()?;
    let stranger = course.stranger().await?;
    let mut users = Vec::new();
    for forgery in ["alg: none", "another key", "another audience"] {
        let user = course.user();
        let event = course.user_event(T::UserCreate, &user);
        let mut envelope = course.envelope(&[event])?;
        let jwt = match forgery {
            "alg: none" => {
                envelope.algorithm = "none".to_owned();
                envelope.with_signature(&[])
            }
            "another key" => envelope.signed(&stranger)?,
            _ => {
                envelope.audience = "app_of_somebody_else".to_owned();
                envelope.signed(&course.sender.signing)?
            }
        };
        let _ = course.post(forgery, body(&jwt)).await;
        users.push(user);
    }
    course.settled().await?;
    for user in &users {
        course.until(user, absent).await?;
    }
    Ok(())
}
