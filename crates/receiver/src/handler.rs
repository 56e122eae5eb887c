//! What an application does with events: a method for each.

use std::future::Future;

use rollcall_protocol::{
    Event, EventType, GroupPayload, InventoryPayload, PayloadError, UnitPayload, UserPayload,
};

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the text says more, or nothing.
    Success(String),
    /// Passed over; final.
    Skipped(String),
    /// Refused; final.
    Failed {
        /// A code of the application's own.
        code: String,
        /// Why.
        message: String,
    },
    /// To be sent again.
    Retry {
        /// `exception`, or a code of the application's own.
        code: String,
        /// Why.
        message: String,
    },
}

impl Outcome {
    /// Done.
    pub fn success() -> Self {
        Self::Success(String::new())
    }

    /// Acknowledged and not applied, because something newer is known of the subject.
    pub fn stale() -> Self {
        Self::Success("stale".to_owned())
    }

    /// Something went wrong that may go well next time.
    pub fn exception(error: impl std::fmt::Display) -> Self {
        Self::Retry {
            code: "exception".to_owned(),
            message: error.to_string(),
        }
    }

    /// A record that cannot be read; sending it again would not help.
    pub fn malformed(error: &PayloadError) -> Self {
        Self::Failed {
            code: "malformed_data".to_owned(),
            message: error.to_string(),
        }
    }
}

/// An event with its record.
#[derive(Clone, Debug, PartialEq)]
pub struct Received<T> {
    /// The event's id.
    pub event_id: String,
    /// When it happened, in milliseconds since the Unix epoch.
    pub event_time: i64,
    /// The record. A delete may carry nothing but the id.
    pub record: T,
}

/// What a method does unless it is written: call another one, or skip.
macro_rules! default {
    ($this:expr, $event:expr, $other:ident) => {
        $this.$other($event)
    };
    ($this:expr, $event:expr) => {{
        let _ = $event;
        async { Outcome::Skipped(String::new()) }
    }};
}

macro_rules! handler {
    ($($(#[$doc:meta])* $name:ident($payload:ty) $(=> $other:ident)?;)+) => {
        /// Handles events, one method for each type. What is not handled is skipped; the methods for
        /// the finer changes of a user call [`Handler::user_updated`], and those for pushes call the
        /// one for creating, unless you write them. Creating must accept what exists already.
        pub trait Handler: Send + Sync {
            $(
                $(#[$doc])*
                fn $name(&self, event: &Received<$payload>) -> impl Future<Output = Outcome> + Send {
                    default!(self, event $(, $other)?)
                }
            )+

            /// The connection test.
            fn tested(&self, event: &Event) -> impl Future<Output = Outcome> + Send {
                let _ = event;
                async { Outcome::success() }
            }

            /// An event of a type that this crate does not know.
            fn unknown(&self, event: &Event) -> impl Future<Output = Outcome> + Send {
                let _ = event;
                async { Outcome::Skipped(String::new()) }
            }
        }
    };
}

handler! {
    /// A user was created, or came into sight.
    user_created(UserPayload);
    /// A user was deleted, or went out of sight.
    user_deleted(UserPayload);
    /// A user's record changed.
    user_updated(UserPayload);
    /// A user's password changed; the record has it if passwords are synchronized.
    user_password_updated(UserPayload) => user_updated;
    /// A user was disabled.
    user_disabled(UserPayload) => user_updated;
    /// A user was enabled.
    user_enabled(UserPayload) => user_updated;
    /// A user was locked.
    user_locked(UserPayload) => user_updated;
    /// A user was unlocked.
    user_unlocked(UserPayload) => user_updated;
    /// A user's primary organizational unit changed.
    user_primary_unit_updated(UserPayload) => user_updated;
    /// A user in a full synchronization.
    user_pushed(UserPayload) => user_created;
    /// An organizational unit was created, or came into sight.
    unit_created(UnitPayload);
    /// An organizational unit was deleted, or went out of sight.
    unit_deleted(UnitPayload);
    /// An organizational unit's record changed.
    unit_updated(UnitPayload);
    /// An organizational unit was moved.
    unit_moved(UnitPayload) => unit_updated;
    /// An organizational unit in a full synchronization.
    unit_pushed(UnitPayload) => unit_created;
    /// A group was created, or came into sight.
    group_created(GroupPayload);
    /// A group was deleted, or went out of sight.
    group_deleted(GroupPayload);
    /// A group's record changed.
    group_updated(GroupPayload);
    /// Users were added to a group: `user_ids`.
    group_users_added(GroupPayload);
    /// Users were removed from a group: `user_ids`.
    group_users_removed(GroupPayload);
    /// The end of a full synchronization: the complete list of what the application should have in a
    /// range of ids ([`InventoryPayload::covers`]). What it has there besides, and of which it has heard
    /// nothing later than the event's time, is to be removed; without this method it stays. A table
    /// with the time of the last event in a column needs one statement:
    ///
    /// ```sql
    /// DELETE FROM users
    /// WHERE id > :after AND (:through IS NULL OR id <= :through)  -- in the order of bytes
    ///   AND id NOT IN (:ids) AND last_event_time <= :event_time
    /// ```
    ///
    /// [`Inbox`](crate::Inbox) adds to the ids those of which something later was handled, so that
    /// there the last condition may be left out. For the members of a group
    /// ([`InventoryKind::GroupMember`](rollcall_protocol::InventoryKind)) the list also says who has to
    /// be added.
    inventory(InventoryPayload);
}

/// Calls the handler's method for an event.
pub(crate) async fn dispatch<H: Handler>(handler: &H, event: &Event) -> Outcome {
    macro_rules! call {
        ($method:ident, $payload:ty) => {
            match <$payload>::from_json(&event.biz_data) {
                Ok(record) => {
                    let event_id = event.event_id.clone();
                    handler
                        .$method(&Received {
                            event_id,
                            event_time: event.event_time,
                            record,
                        })
                        .await
                }
                Err(error) => Outcome::malformed(&error),
            }
        };
    }
    match event.kind() {
        Some(EventType::Test) => handler.tested(event).await,
        Some(EventType::UserCreate) => call!(user_created, UserPayload),
        Some(EventType::UserDelete) => call!(user_deleted, UserPayload),
        Some(EventType::UserUpdateInfo) => call!(user_updated, UserPayload),
        Some(EventType::UserUpdatePassword) => call!(user_password_updated, UserPayload),
        Some(EventType::UserDisable) => call!(user_disabled, UserPayload),
        Some(EventType::UserEnable) => call!(user_enabled, UserPayload),
        Some(EventType::UserLock) => call!(user_locked, UserPayload),
        Some(EventType::UserUnlock) => call!(user_unlocked, UserPayload),
        Some(EventType::UserUpdatePrimaryOu) => call!(user_primary_unit_updated, UserPayload),
        Some(EventType::UserPush) => call!(user_pushed, UserPayload),
        Some(EventType::UnitCreate) => call!(unit_created, UnitPayload),
        Some(EventType::UnitDelete) => call!(unit_deleted, UnitPayload),
        Some(EventType::UnitUpdate) => call!(unit_updated, UnitPayload),
        Some(EventType::UnitUpdateParent) => call!(unit_moved, UnitPayload),
        Some(EventType::UnitPush) => call!(unit_pushed, UnitPayload),
        Some(EventType::GroupCreate) => call!(group_created, GroupPayload),
        Some(EventType::GroupDelete) => call!(group_deleted, GroupPayload),
        Some(EventType::GroupUpdate) => call!(group_updated, GroupPayload),
        Some(EventType::GroupAddUser) => call!(group_users_added, GroupPayload),
        Some(EventType::GroupRemoveUser) => call!(group_users_removed, GroupPayload),
        Some(EventType::Inventory) => call!(inventory, InventoryPayload),
        // The wire contract gives no record for these two; the users' own events say the same.
        Some(EventType::UnitAddUser | EventType::UnitRemoveUser) | None => handler.unknown(event).await,
    }
}
