//! Changes in words: what happened, where a page would show the name of an event otherwise.

use rollcall_protocol::EventType;

use crate::change::ChangeKind;

/// The text that says what a kind of change is; `None` of what is no change, or was written by another version.
pub(in crate::console) fn in_words(kind: &str) -> Option<&'static str> {
    ChangeKind::parse(kind).and_then(|kind| {
        Some(match kind {
            ChangeKind::Event(event) => of_event(event)?,
            ChangeKind::Departure => "change-departure",
            ChangeKind::Arrival => "change-arrival",
        })
    })
}

fn of_event(event: EventType) -> Option<&'static str> {
    Some(match event {
        EventType::UserCreate => "change-user-create",
        EventType::UserDelete => "change-user-delete",
        EventType::UserUpdateInfo => "change-user-update",
        EventType::UserUpdatePassword => "change-user-password",
        EventType::UserDisable => "change-user-disable",
        EventType::UserEnable => "change-user-enable",
        EventType::UserLock => "change-user-lock",
        EventType::UserUnlock => "change-user-unlock",
        EventType::UserUpdatePrimaryOu => "change-user-primary",
        EventType::UserPush => "change-user-push",
        EventType::UnitCreate => "change-unit-create",
        EventType::UnitDelete => "change-unit-delete",
        EventType::UnitUpdate => "change-unit-update",
        EventType::UnitUpdateParent => "change-unit-move",
        EventType::UnitAddUser => "change-unit-join",
        EventType::UnitRemoveUser => "change-unit-leave",
        EventType::UnitPush => "change-unit-push",
        EventType::GroupCreate => "change-group-create",
        EventType::GroupUpdate => "change-group-update",
        EventType::GroupDelete => "change-group-delete",
        EventType::GroupAddUser => "change-group-join",
        EventType::GroupRemoveUser => "change-group-leave",
        EventType::Test | EventType::Inventory => return None,
    })
}
