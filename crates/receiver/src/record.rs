//! What an event carries, read and found fit to be stored.
//!
//! Everything that a database would refuse for good is refused here, before it gets there, as the failure
//! of its event and in words that say what is wrong: a character of number zero, which PostgreSQL does not
//! store, and ids that are too long for an index. So what is left for the database to say is whether it is
//! there at all. The records are taken apart field by field, so that the compiler names this place when
//! one gets a new field.

use rollcall_protocol::{
    Event, EventType, GroupPayload, InventoryPayload, PayloadError, SubjectKind, UnitMembership, UnitPayload,
    UserPayload,
};

use crate::handler::Outcome;

/// The longest id, in bytes. Two of them make a key of a pair; PostgreSQL indexes up to 2,700 bytes.
const LONGEST_ID: usize = 256;
/// The longest other text, in bytes.
const LONGEST_TEXT: usize = 16_384;
/// The longest message about a record, in characters.
const LONGEST_MESSAGE: usize = 300;

/// An event's record.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    /// The connection test.
    Test,
    User(EventType, Box<UserPayload>),
    Unit(EventType, UnitPayload),
    Group(EventType, GroupPayload),
    Inventory(InventoryPayload),
    /// A type without a record, or one that this crate does not know.
    Unknown,
}

impl Record {
    /// Reads an event's record.
    ///
    /// # Errors
    /// The outcome of an event whose record cannot be read or cannot be stored: *failed*, with
    /// `malformed_data` or `invalid_data`.
    pub(crate) fn read(event: &Event) -> Result<Self, Outcome> {
        let malformed = |error: PayloadError| failed("malformed_data", &error.to_string());
        id("eventId", &event.event_id)?;
        id("eventType", &event.event_type)?;
        text("bizId", &event.biz_id, LONGEST_ID)?;
        let Some(kind) = event.kind() else {
            text("bizData", &event.biz_data, usize::MAX)?;
            return Ok(Self::Unknown);
        };
        if matches!(kind, EventType::UnitAddUser | EventType::UnitRemoveUser) {
            // The wire contract gives no record for these two; the users' own events say the same.
            text("bizData", &event.biz_data, usize::MAX)?;
            return Ok(Self::Unknown);
        }
        let data = &event.biz_data;
        let Some(subject) = kind.subject_kind() else {
            if kind != EventType::Inventory {
                return Ok(Self::Test);
            }
            let inventory = InventoryPayload::from_json(data).map_err(malformed)?;
            check_inventory(&inventory)?;
            return Ok(Self::Inventory(inventory));
        };
        let record = match subject {
            SubjectKind::User => Self::User(kind, Box::new(UserPayload::from_json(data).map_err(malformed)?)),
            SubjectKind::Unit => Self::Unit(kind, UnitPayload::from_json(data).map_err(malformed)?),
            SubjectKind::Group => Self::Group(kind, GroupPayload::from_json(data).map_err(malformed)?),
        };
        if event.biz_id.is_empty() {
            return Err(failed("malformed_data", "the event has no bizId"));
        }
        match &record {
            Self::User(_, user) => check_user(user)?,
            Self::Unit(_, unit) => check_unit(unit)?,
            Self::Group(_, group) => check_group(group)?,
            Self::Test | Self::Inventory(_) | Self::Unknown => {}
        }
        Ok(record)
    }

    /// The id of what it is about; `None` if that is only in the event.
    #[cfg(feature = "inbox")]
    pub(crate) fn subject(&self) -> Option<&str> {
        match self {
            Self::User(_, user) => Some(&user.user_id),
            Self::Unit(_, unit) => Some(&unit.unit_id),
            Self::Group(_, group) => Some(&group.group_id),
            Self::Test | Self::Inventory(_) | Self::Unknown => None,
        }
    }
}

fn failed(code: &str, message: &str) -> Outcome {
    Outcome::Failed {
        code: code.to_owned(),
        message: message.chars().take(LONGEST_MESSAGE).collect(),
    }
}

fn id(field: &str, value: &str) -> Result<(), Outcome> {
    if value.is_empty() {
        return Err(failed("malformed_data", &format!("{field} is empty")));
    }
    text(field, value, LONGEST_ID)
}

fn text(field: &str, value: &str, longest: usize) -> Result<(), Outcome> {
    if value.len() > longest {
        let message = format!("{field} has {} bytes; at most {longest} are stored", value.len());
        return Err(failed("invalid_data", &message));
    }
    if value.contains('\0') {
        let message = format!("{field} holds the character U+0000, which cannot be stored");
        return Err(failed("invalid_data", &message));
    }
    Ok(())
}

fn texts<const N: usize>(fields: [(&str, &Option<String>); N]) -> Result<(), Outcome> {
    fields.iter().try_for_each(|(field, value)| match value {
        Some(value) => text(field, value, LONGEST_TEXT),
        None => Ok(()),
    })
}

fn check_user(user: &UserPayload) -> Result<(), Outcome> {
    let UserPayload {
        user_id,
        username,
        display_name,
        password_set: _,
        phone_number,
        phone_region,
        phone_verified: _,
        email,
        email_verified: _,
        status: _,
        account_expire_time: _,
        register_time: _,
        lock_expire_time: _,
        create_time: _,
        update_time: _,
        description,
        password,
        source_type,
        source_id,
        external_id,
        units,
        primary_unit_id,
        custom_fields,
    } = user;
    id("userId", user_id)?;
    texts([
        ("username", username),
        ("displayName", display_name),
        ("phoneNumber", phone_number),
        ("phoneRegion", phone_region),
        ("email", email),
        ("description", description),
        ("sourceType", source_type),
        ("sourceId", source_id),
        ("externalId", external_id),
        ("primaryOrganizationalUnitId", primary_unit_id),
    ])?;
    if let Some(password) = password {
        text("password", password.expose(), LONGEST_TEXT)?;
    }
    for UnitMembership {
        id: unit,
        name,
        primary: _,
    } in units
    {
        id("organizationalUnitId", unit)?;
        texts([("organizationalUnitName", name)])?;
    }
    for (name, value) in custom_fields.iter().flatten() {
        text("customFields", name, LONGEST_TEXT)?;
        if let Some(value) = value.as_str() {
            text("customFields", value, LONGEST_TEXT)?;
        }
    }
    Ok(())
}

fn check_unit(unit: &UnitPayload) -> Result<(), Outcome> {
    let UnitPayload {
        unit_id,
        name,
        parent_id,
        external_id,
        source_type,
        source_id,
        description,
        create_time: _,
        update_time: _,
    } = unit;
    id("organizationalUnitId", unit_id)?;
    texts([
        ("organizationalUnitName", name),
        ("parentId", parent_id),
        ("externalId", external_id),
        ("sourceType", source_type),
        ("sourceId", source_id),
        ("description", description),
    ])
}

fn check_group(group: &GroupPayload) -> Result<(), Outcome> {
    let GroupPayload {
        group_id,
        name,
        external_id,
        source_type,
        source_id,
        description,
        create_time: _,
        update_time: _,
        user_ids,
    } = group;
    id("groupId", group_id)?;
    texts([
        ("groupName", name),
        ("groupExternalId", external_id),
        ("groupSourceType", source_type),
        ("groupSourceId", source_id),
        ("description", description),
    ])?;
    user_ids.iter().flatten().try_for_each(|user| id("userIds", user))
}

fn check_inventory(inventory: &InventoryPayload) -> Result<(), Outcome> {
    let InventoryPayload {
        kind: _,
        group_id,
        after,
        through,
        ids,
    } = inventory;
    text("after", after, LONGEST_ID)?;
    for (field, value) in [("groupId", group_id), ("through", through)] {
        if let Some(value) = value {
            text(field, value, LONGEST_ID)?;
        }
    }
    ids.iter().try_for_each(|listed| id("ids", listed))
}
