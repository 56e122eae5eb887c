//! The two generations of names, and what fields may hold.

use rollcall_protocol::{Event, EventType as T, UserPayload};
use serde_json::{Map, Value, json};

use super::{PAYLOAD, RELIED};
use crate::check::case::{Case, words};
use crate::check::course::Course;
use crate::sender::names::{Names, narrowed, with_numbers};

const TAKEN: &str = "HTTP 200, with each event in successEvents or skippedEvents.";

pub(super) fn names() -> Vec<Case> {
    vec![
        user_names(
            "names-older-user",
            Names::Older,
            "A user with the older names alone is taken.",
        ),
        user_names(
            "names-newer-user",
            Names::Newer,
            "A user with the newer names alone is taken.",
        ),
        user_names(
            "names-both-user",
            Names::Both,
            "A user with both generations of names is taken.",
        ),
        unit_names(
            "names-older-unit",
            Names::Older,
            "An organizational unit with the older names alone is taken.",
        ),
        unit_names(
            "names-newer-unit",
            Names::Newer,
            "An organizational unit with the newer names alone is taken.",
        ),
        unit_names(
            "names-both-unit",
            Names::Both,
            "An organizational unit with both generations of names is taken.",
        ),
    ]
}

const NAMES: &str = "Read each field by both of its names (the table in section 4): IDaaS has sent the older ones, and \
                     documents the newer ones. Require neither.";

fn user_names(id: &'static str, names: Names, requirement: &'static str) -> Case {
    Case::must(id, words(requirement, PAYLOAD, TAKEN, NAMES), move |course| {
        Box::pin(async move {
            let user = course.user();
            let events = [T::UserCreate, T::UserUpdateInfo].map(|kind| {
                let record = narrowed(&user.to_json(), names);
                course.event(kind, &user.user_id, record)
            });
            course.deliver(&events).await.map(drop)
        })
    })
}

fn unit_names(id: &'static str, names: Names, requirement: &'static str) -> Case {
    Case::must(id, words(requirement, PAYLOAD, TAKEN, NAMES), move |course| {
        Box::pin(async move {
            let unit = course.unit();
            let events = [T::UnitCreate, T::UnitUpdate].map(|kind| {
                let record = narrowed(&unit.to_json(), names);
                course.event(kind, &unit.unit_id, record)
            });
            course.deliver(&events).await.map(drop)
        })
    })
}

/// A case in which one user is created with something particular.
fn user_case(
    id: &'static str,
    requirement: &'static str,
    advice: &'static str,
    change: fn(&mut UserPayload),
) -> Case {
    Case::must(id, words(requirement, PAYLOAD, TAKEN, advice), move |course| {
        Box::pin(async move {
            let mut user = course.user();
            change(&mut user);
            let event = course.user_event(T::UserCreate, &user);
            course.deliver(&[event]).await.map(drop)
        })
    })
}

/// A user's event with the time, inside and outside of the record, in this form.
async fn with_time(course: &mut Course, as_number: bool) -> crate::check::case::Finding {
    let user = course.user();
    let mut event = course.user_event(T::UserCreate, &user);
    if as_number {
        event.biz_data = with_numbers(&event.biz_data);
    }
    let (number, text) = (json!(event.event_time), json!(event.event_time.to_string()));
    let payload = payload(course, &event, if as_number { number } else { text }, as_number);
    course.deliver_payload(&payload, &[event]).await
}

fn payload(course: &Course, event: &Event, time: Value, as_number: bool) -> String {
    let data = json!([{
        "eventId": event.event_id, "eventType": event.event_type, "eventTime": time,
        "bizId": event.biz_id, "bizData": event.biz_data,
    }]);
    let batch = course.sender.batch(&[]);
    let uid = batch.ali_uid.parse::<i64>();
    json!({
        "instanceId": batch.instance_id, "eventVersion": batch.event_version,
        "aliUid": match uid { Ok(uid) if as_number => json!(uid), _ => json!(batch.ali_uid) },
        "eventData": data.to_string(),
    })
    .to_string()
}

const LENGTHS: &str = "Give the columns room for the longest values: 256 characters for usernames and descriptions, 128 for \
                       display names, email addresses and external ids; characters, not bytes.";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::must(
            "numbers-as-strings",
            words(
                "Times and numbers that are strings of digits are read.",
                PAYLOAD,
                TAKEN,
                "Read eventTime, aliUid and the times of records also where they are strings: that is how they are sent.",
            ),
            |course| Box::pin(with_time(course, false)),
        ),
        Case::must(
            "numbers-as-numbers",
            words(
                "Times and numbers that are numbers are read.",
                RELIED,
                TAKEN,
                "Read eventTime, aliUid and the times of records also where they are numbers.",
            ),
            |course| Box::pin(with_time(course, true)),
        ),
        user_case(
            "never-times",
            "Times of -1 (never) and far in the future are read.",
            "Read times as signed 64-bit numbers of milliseconds; -1 means never, a lock without an end is \
             253402214400000.",
            |user| {
                user.account_expire_time = Some(-1);
                user.lock_expire_time = Some(253_402_214_400_000);
            },
        ),
        user_case(
            "absent-fields",
            "A user without the fields that may be missing is taken.",
            "Require nothing of a user but userId: who has no email address or phone number has no such field.",
            |user| {
                user.email = None;
                user.phone_number = None;
                user.phone_region = None;
                user.phone_verified = None;
                user.email_verified = None;
                user.external_id = None;
                user.register_time = None;
                user.account_expire_time = None;
                user.lock_expire_time = None;
            },
        ),
        user_case(
            "empty-texts",
            "Texts that are empty are taken.",
            "Take empty strings in description and phoneRegion as what they are: no value.",
            |user| {
                user.description = Some(String::new());
                user.phone_region = Some(String::new());
            },
        ),
        user_case(
            "non-ascii-names",
            "Names in any script are taken.",
            "Read bodies as UTF-8, and store text as UTF-8 (in MySQL: utf8mb4). Do not cut surrogate pairs.",
            |user| user.display_name = Some(NON_ASCII.to_owned()),
        ),
        user_case(
            "escaped-text",
            "Quotation marks, backslashes, line breaks and markup in texts are taken.",
            "Parse the strings in strings with a JSON library, once for each level; do not unescape by hand.",
            |user| {
                user.description =
                    Some("\"quoted\" \\back\\slash\\ \n\t<b>&amp;</b> {\"a\":[1]} '; --".to_owned())
            },
        ),
        user_case(
            "long-names",
            "The longest names that the directory allows are taken.",
            LENGTHS,
            |user| {
                user.username = user.username.as_ref().map(|name| padded(name, 256, 'x'));
                user.display_name = user.display_name.as_ref().map(|name| padded(name, 128, 'é'));
                user.description = Some("説".repeat(256));
            },
        ),
        user_case(
            "custom-fields",
            "A user with custom fields is taken.",
            "Ignore customFields, or read it as an array of {fieldName, fieldValue}.",
            |user| {
                let mut fields = Map::new();
                fields.insert("costCentre".to_owned(), json!("4711"));
                fields.insert("badge".to_owned(), json!(12));
                user.custom_fields = Some(fields);
            },
        ),
        user_case(
            "no-units",
            "A user who stands in no organizational unit is taken.",
            "Do not require organizationalUnits: a scope may be made of groups alone.",
            |user| {
                user.units = Vec::new();
                user.primary_unit_id = None;
            },
        ),
        Case::must(
            "membership-of-500",
            words(
                "An event that adds 500 users to a group is taken.",
                RELIED,
                TAKEN,
                "Take userIds of up to 500; insert them with one statement rather than with 500.",
            ),
            |course| {
                Box::pin(async move {
                    let mut group = course.group();
                    let created = course.group_event(T::GroupCreate, &group);
                    let ids = (0..500).map(|_| course.samples.id("user")).collect();
                    group.user_ids = Some(ids);
                    let added = course.group_event(T::GroupAddUser, &group);
                    let removed = course.group_event(T::GroupRemoveUser, &group);
                    course.deliver(&[created, added]).await?;
                    course.deliver(&[removed]).await.map(drop)
                })
            },
        ),
    ]
}

/// Several scripts, right to left too, letters beyond the basic plane, and one that is composed.
pub(super) const NON_ASCII: &str = "Zoë Ünlü 张伟 ヤマダ عمر Ольга 𝒜da 👩\u{200d}🚀 e\u{301}";

fn padded(text: &str, length: usize, with: char) -> String {
    let missing = length.saturating_sub(text.chars().count());
    text.chars().chain(std::iter::repeat_n(with, missing)).collect()
}
