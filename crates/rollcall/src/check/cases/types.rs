//! One case for every type of event. Its subject is sent first, where it has to exist.

use rollcall_protocol::{Event, EventType as T, InventoryKind, InventoryPayload, Password, UserStatus};

use super::TYPES;
use crate::check::case::{Case, words};
use crate::check::course::Course;
use crate::sender::membership;

/// All but the connection test, which has a case of its own.
pub(super) fn cases() -> Vec<Case> {
    let kinds = T::ALL.iter().copied().filter(|kind| *kind != T::Test);
    kinds.map(case).collect()
}

fn case(kind: T) -> Case {
    let short = kind.short().trim_start_matches("ud:");
    let id = format!("type-{}", short.replace([':', '_'], "-"));
    let requirement = format!("Events of the type {} are taken.", kind.short());
    Case::must(
        id,
        words(
            requirement,
            TYPES,
            "HTTP 200, with each event in successEvents, or in skippedEvents if the application has no use for the type.",
            "Handle the type, or answer it with skippedEvents and the code auto_skipped. What stands in failedEvents is \
             set aside, and what stands in retriedEvents holds up everything later of its subject.",
        ),
        move |course| {
            Box::pin(async move {
                let (before, event) = story(course, kind);
                if !before.is_empty() {
                    course.deliver(&before).await?;
                }
                course.deliver(&[event]).await.map(drop)
            })
        },
    )
}

/// What has to come before an event of this type, and the event.
fn story(course: &mut Course, kind: T) -> (Vec<Event>, Event) {
    match kind {
        T::Test => (Vec::new(), course.test_event()),
        T::UserCreate | T::UserPush => {
            let user = course.user();
            (Vec::new(), course.user_event(kind, &user))
        }
        T::UserDelete
        | T::UserUpdateInfo
        | T::UserUpdatePassword
        | T::UserDisable
        | T::UserEnable
        | T::UserLock
        | T::UserUnlock
        | T::UserUpdatePrimaryOu => {
            let mut user = course.user();
            let mut before = vec![course.user_event(T::UserCreate, &user)];
            match kind {
                T::UserUpdatePassword => {
                    user.password = Some(Password::from("correct horse battery staple".to_owned()));
                    user.password_set = Some(true);
                }
                T::UserDisable => user.status = Some(UserStatus::Disabled),
                T::UserLock => user.lock_expire_time = Some(253_402_214_400_000),
                T::UserUpdatePrimaryOu => {
                    let unit = course.unit();
                    before.push(course.unit_event(T::UnitCreate, &unit));
                    user.units = vec![membership(&unit)];
                    user.primary_unit_id = Some(unit.unit_id);
                }
                _ => user.description = Some("changed".to_owned()),
            }
            (before, course.user_event(kind, &user))
        }
        T::UnitCreate | T::UnitPush => {
            let unit = course.unit();
            (Vec::new(), course.unit_event(kind, &unit))
        }
        T::UnitDelete | T::UnitUpdate | T::UnitUpdateParent => {
            let mut unit = course.unit();
            let mut before = vec![course.unit_event(T::UnitCreate, &unit)];
            if kind == T::UnitUpdateParent {
                let parent = course.unit();
                before.push(course.unit_event(T::UnitCreate, &parent));
                unit.parent_id = Some(parent.unit_id);
            } else {
                unit.description = Some("changed".to_owned());
            }
            (before, course.unit_event(kind, &unit))
        }
        T::UnitAddUser | T::UnitRemoveUser => {
            let (unit, user) = (course.unit(), course.user());
            let before = vec![
                course.unit_event(T::UnitCreate, &unit),
                course.user_event(T::UserCreate, &user),
            ];
            let record = serde_json::json!({
                "organizationalUnitId": unit.unit_id, "name": unit.name, "organizationalUnitName": unit.name,
                "userIds": [user.user_id],
            });
            (before, course.event(kind, &unit.unit_id, record.to_string()))
        }
        T::GroupCreate => {
            let group = course.group();
            (Vec::new(), course.group_event(kind, &group))
        }
        T::GroupUpdate | T::GroupDelete => {
            let mut group = course.group();
            let before = vec![course.group_event(T::GroupCreate, &group)];
            group.description = Some("changed".to_owned());
            (before, course.group_event(kind, &group))
        }
        T::GroupAddUser | T::GroupRemoveUser => {
            let (mut group, user) = (course.group(), course.user());
            let mut before = vec![
                course.user_event(T::UserCreate, &user),
                course.group_event(T::GroupCreate, &group),
            ];
            group.user_ids = Some(vec![user.user_id]);
            if kind == T::GroupRemoveUser {
                before.push(course.group_event(T::GroupAddUser, &group));
            }
            (before, course.group_event(kind, &group))
        }
        T::Inventory => {
            // The range holds one user alone, of this run, who is named: nothing else may be removed.
            let user = course.user();
            let before = vec![course.user_event(T::UserCreate, &user)];
            let inventory = InventoryPayload {
                kind: InventoryKind::User,
                group_id: None,
                after: just_before(&user.user_id),
                through: Some(user.user_id.clone()),
                ids: vec![user.user_id],
            };
            let instance = course.sender.instance_id.clone();
            (before, course.event(kind, &instance, inventory.to_json()))
        }
    }
}

/// The beginning of a range that holds this id alone, which ends with a digit.
fn just_before(id: &str) -> String {
    let mut before = id.to_owned();
    let last = before.pop().map_or(b'0', |last| last as u8);
    before.push(char::from(last.saturating_sub(1)));
    // It sorts behind every letter and digit.
    before.push('~');
    before
}
