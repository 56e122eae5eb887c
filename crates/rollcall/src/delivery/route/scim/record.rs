//! From the records of events to resources of SCIM.

use rollcall_protocol::{GroupPayload, SubjectKind, UserPayload, UserStatus};
use rollcall_scim::client::Managed;
use rollcall_scim::schema;
use rollcall_scim::{Object, Path};
use serde_json::{Map, Value};

use crate::application::scim::{CUSTOM_FIELDS, Checked};
use crate::delivery::model::{Origin, Outgoing, Remark, shorten};

/// The record that an event bears; empty if its subject was erased.
pub(super) fn record(outgoing: &Outgoing) -> &str {
    match &outgoing.origin {
        Origin::Change(change) => &change.record,
        Origin::Apart(event) => &event.biz_data,
    }
}

/// The record that the subject had before the change, as far as the change tells it; the present one if it tells of no
/// difference.
pub(super) fn record_before(outgoing: &Outgoing) -> Option<String> {
    let Origin::Change(change) = &outgoing.origin else {
        return None;
    };
    let Some(previous) = &change.previous else {
        return Some(change.record.clone());
    };
    let mut before: Map<String, Value> = serde_json::from_str(&change.record).ok()?;
    let previous: Map<String, Value> = serde_json::from_str(previous).ok()?;
    // A change tells what differs under one of the two names that a field has.
    for (told, twin) in [
        ("externalId", "userExternalId"),
        ("sourceType", "userSourceType"),
        ("sourceId", "userSourceId"),
        ("userOrganizationalUnits", "organizationalUnits"),
    ] {
        if previous.contains_key(told) {
            before.remove(twin);
        }
    }
    for (field, value) in previous {
        match value {
            Value::Null => before.remove(&field),
            value => before.insert(field, value),
        };
    }
    serde_json::to_string(&before).ok()
}

/// What a user or a group of the directory is at the service provider; of a group, without its members.
///
/// # Errors
/// Why it cannot be there.
pub fn resource(checked: &Checked, kind: SubjectKind, record: &str) -> Result<Object, Remark> {
    match kind {
        SubjectKind::Group => group(record),
        SubjectKind::User | SubjectKind::Unit => user(checked, record),
    }
}

/// What a user of the directory is at the service provider.
pub(super) fn user(checked: &Checked, record: &str) -> Result<Object, Remark> {
    let user = UserPayload::from_json(record).map_err(|error| unmapped(&error.to_string()))?;
    checked
        .users
        .resource(&user_fields(user), schema::user())
        .map_err(|error| unmapped(&error.to_string()))
}

fn unmapped(why: &str) -> Remark {
    Remark {
        code: "unmapped".to_owned(),
        message: Some(shorten(why)),
    }
}

/// The fields that expressions may name. What there is not is left out: nothing is not false.
pub fn user_fields(user: UserPayload) -> Map<String, Value> {
    let primary = user
        .units
        .iter()
        .find(|unit| unit.primary || Some(&unit.id) == user.primary_unit_id.as_ref())
        .and_then(|unit| unit.name.clone());
    let UserPayload {
        user_id,
        username,
        display_name,
        password_set: _,
        phone_number,
        phone_region,
        phone_verified,
        email,
        email_verified,
        status,
        account_expire_time: _,
        register_time: _,
        lock_expire_time: _,
        create_time: _,
        update_time: _,
        description,
        password: _,
        source_type,
        source_id: _,
        external_id,
        units: _,
        primary_unit_id,
        custom_fields,
    } = user;
    let texts = [
        ("id", Some(user_id)),
        ("username", username),
        ("displayName", display_name),
        ("email", email),
        ("phoneRegion", phone_region),
        ("phoneNumber", phone_number),
        ("description", description),
        ("sourceType", source_type),
        ("externalId", external_id),
        ("primaryUnitId", primary_unit_id),
        ("primaryUnit", primary),
    ];
    let flags = [
        ("emailVerified", email_verified),
        ("phoneVerified", phone_verified),
        ("enabled", status.map(|status| status == UserStatus::Enabled)),
    ];
    let texts = texts.into_iter().filter_map(|(name, text)| {
        let text = text.filter(|text| !text.is_empty())?;
        Some((name.to_owned(), Value::from(text)))
    });
    let flags = flags
        .into_iter()
        .filter_map(|(name, flag)| Some((name.to_owned(), Value::from(flag?))));
    let custom = custom_fields.into_iter().flatten();
    let custom = custom.map(|(name, value)| (format!("{CUSTOM_FIELDS}{name}"), value));
    texts.chain(flags).chain(custom).collect()
}

/// What a group of the directory is there, without its members.
pub(super) fn group(record: &str) -> Result<Object, Remark> {
    let payload = GroupPayload::from_json(record).ok();
    let named = payload.and_then(|payload| {
        let name = payload.name.filter(|name| !name.is_empty())?;
        Some((payload.group_id, name))
    });
    let (id, name) = named.ok_or_else(|| unmapped("the group has no name"))?;
    let mut group = Object::new();
    group.insert("schemas".to_owned(), Value::from(vec![schema::GROUP]));
    group.insert("externalId".to_owned(), id.into());
    group.insert("displayName".to_owned(), name.into());
    Ok(group)
}

/// The attributes of groups that the hub sets.
pub fn managed_of_groups() -> Managed {
    let paths: Vec<Path> = ["externalId", "displayName"]
        .into_iter()
        .filter_map(|path| path.parse().ok())
        .collect();
    Managed::of(&paths, schema::group())
}
