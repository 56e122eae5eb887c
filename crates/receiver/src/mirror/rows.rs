//! What each event does to the rows.
//!
//! A row of a user, unit or group knows the time of its last event (`event_time`), whether it is gone
//! (`deleted`), and when it was last deleted (`deleted_time`), which stays true after it came back. A
//! membership in a group counts if it is not older than the last deletions of its group and its user: so
//! a deletion that arrives late, after the subject was created again, still ends what belonged to the
//! former life, and a membership that arrives late does not outlive it. Where the clock of the hub was set back, many
//! events have one time. Of the same time as a deletion, a membership counts if its group and its user are there: they
//! have come back.

use rollcall_db::{DbError, Tx, Value, params};
use rollcall_protocol::{
    EventType, GroupPayload, InventoryKind, UnitMembership, UnitPayload, UserPayload, UserStatus,
};

use super::inventory::{bury, bury_members};
use crate::handler::Outcome;
use crate::schema::{id_list, ids};

pub(super) fn user(
    tx: &mut Tx<'_>,
    kind: EventType,
    user: &UserPayload,
    time: i64,
) -> Result<Outcome, DbError> {
    if kind == EventType::UserDelete {
        return delete(tx, &USERS, &user.user_id, time);
    }
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
        status,
        account_expire_time,
        register_time: _,
        lock_expire_time,
        create_time: _,
        update_time: _,
        description,
        password,
        source_type: _,
        source_id: _,
        external_id,
        units,
        primary_unit_id: _,
        custom_fields: _,
    } = user;
    let id = user_id.as_str();
    let has_password = password.is_some() || kind == EventType::UserUpdatePassword;
    // An event that tells of a status need not repeat it in the record.
    let told = match kind {
        EventType::UserDisable => Some(UserStatus::Disabled),
        EventType::UserEnable => Some(UserStatus::Enabled),
        _ => None,
    };
    let is_fragment = username.is_none();
    let applied = save(
        tx,
        &USERS,
        id,
        time,
        is_fragment,
        params![
            username,
            display_name,
            email,
            phone_region,
            phone_number,
            status.or(told).map(UserStatus::as_str),
            external_id,
            description,
            *account_expire_time,
            *lock_expire_time,
        ],
    )?;
    if has_password {
        // Also if the record is old news: that a password came then is not in the newer one.
        tx.execute(
            "UPDATE mirror_users SET password_event_time = $2
             WHERE user_id = $1 AND deleted = $3 AND COALESCE(deleted_time, $2) <= $2
               AND COALESCE(password_event_time, $2) <= $2",
            params![id, time, false],
        )?;
    }
    if applied && !(is_fragment && units.is_empty()) {
        put_units(tx, id, units)?;
    }
    Ok(outcome(applied))
}

fn put_units(tx: &mut Tx<'_>, id: &str, units: &[UnitMembership]) -> Result<(), DbError> {
    tx.execute("DELETE FROM mirror_memberships WHERE user_id = $1", params![id])?;
    for unit in units {
        tx.execute(
            "INSERT INTO mirror_memberships (user_id, unit_id, is_primary) VALUES ($1, $2, $3)
             ON CONFLICT (user_id, unit_id) DO NOTHING",
            params![id, unit.id.as_str(), unit.primary],
        )?;
    }
    Ok(())
}

pub(super) fn unit(
    tx: &mut Tx<'_>,
    kind: EventType,
    unit: &UnitPayload,
    time: i64,
) -> Result<Outcome, DbError> {
    if kind == EventType::UnitDelete {
        return delete(tx, &UNITS, &unit.unit_id, time);
    }
    let UnitPayload {
        unit_id,
        name,
        parent_id,
        external_id,
        source_type: _,
        source_id: _,
        description,
        create_time: _,
        update_time: _,
    } = unit;
    let values = params![name, parent_id, external_id, description];
    save(tx, &UNITS, unit_id, time, name.is_none(), values).map(outcome)
}

pub(super) fn group(
    tx: &mut Tx<'_>,
    kind: EventType,
    group: &GroupPayload,
    time: i64,
) -> Result<Outcome, DbError> {
    let GroupPayload {
        group_id,
        name,
        external_id,
        source_type: _,
        source_id: _,
        description,
        create_time: _,
        update_time: _,
        user_ids,
    } = group;
    match kind {
        EventType::GroupDelete => return delete(tx, &GROUPS, group_id, time),
        EventType::GroupAddUser | EventType::GroupRemoveUser => {
            let Some(users) = user_ids else {
                return Ok(Outcome::Failed {
                    code: "malformed_data".to_owned(),
                    message: "the record has no userIds".to_owned(),
                });
            };
            return set_members(tx, group_id, users, kind == EventType::GroupAddUser, time);
        }
        _ => {}
    }
    let values = params![name, external_id, description];
    save(tx, &GROUPS, group_id, time, name.is_none(), values).map(outcome)
}

fn outcome(applied: bool) -> Outcome {
    if applied {
        Outcome::success()
    } else {
        Outcome::stale()
    }
}

/// A table of subjects. Its first column is the one that every complete record has.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) kind: InventoryKind,
    pub(super) key: &'static str,
    pub(super) columns: &'static [&'static str],
}

pub(super) const USERS: Table = Table {
    kind: InventoryKind::User,
    name: "mirror_users",
    key: "user_id",
    columns: &[
        "username",
        "display_name",
        "email",
        "phone_region",
        "phone_number",
        "status",
        "external_id",
        "description",
        "account_expire_time",
        "lock_expire_time",
    ],
};

pub(super) const UNITS: Table = Table {
    kind: InventoryKind::Unit,
    name: "mirror_organizational_units",
    key: "unit_id",
    columns: &["name", "parent_id", "external_id", "description"],
};

pub(super) const GROUPS: Table = Table {
    kind: InventoryKind::Group,
    name: "mirror_groups",
    key: "group_id",
    columns: &["name", "external_id", "description"],
};

/// Writes a record, unless a newer one is stored; says whether it did. A complete record leaves out what
/// has no value, so it replaces everything; a fragment changes only what it holds.
fn save(
    tx: &mut Tx<'_>,
    table: &Table,
    id: &str,
    time: i64,
    is_fragment: bool,
    values: &[Value<'_>],
) -> Result<bool, DbError> {
    bury(tx, table, &id_list(&[id]))?;
    let Table {
        name, key, columns, ..
    } = table;
    let places: String = (0..columns.len())
        .map(|index| format!(", ${}", index + 4))
        .collect();
    let updates: String = columns
        .iter()
        .map(|column| {
            if is_fragment {
                format!(", {column} = COALESCE(excluded.{column}, {name}.{column})")
            } else {
                format!(", {column} = excluded.{column}")
            }
        })
        .collect();
    let sql = format!(
        "INSERT INTO {name} ({key}, event_time, deleted, {}) VALUES ($1, $2, $3{places})
         ON CONFLICT ({key}) DO UPDATE
         SET event_time = excluded.event_time, deleted = excluded.deleted{updates}
         WHERE {name}.event_time <= excluded.event_time",
        columns.join(", "),
    );
    let mut params = vec![Value::from(id), Value::from(time), Value::from(false)];
    params.extend(values.iter().map(Value::from));
    Ok(tx.execute(&sql, &params)? > 0)
}

/// Deletes a subject and its memberships. Of the subject the id and the times stay, and nothing
/// personal.
fn delete(tx: &mut Tx<'_>, table: &Table, id: &str, time: i64) -> Result<Outcome, DbError> {
    bury(tx, table, &id_list(&[id]))?;
    let Table {
        name, key, columns, ..
    } = table;
    let emptied: String = columns
        .iter()
        .map(|column| format!(", {column} = NULL"))
        .collect();
    let applied = tx.execute(
        &format!(
            "INSERT INTO {name} ({key}, event_time, deleted, deleted_time) VALUES ($1, $2, $3, $2)
             ON CONFLICT ({key}) DO UPDATE
             SET event_time = excluded.event_time, deleted = excluded.deleted,
                 deleted_time = excluded.deleted_time{emptied}
             WHERE {name}.event_time <= excluded.event_time"
        ),
        params![id, time, true],
    )? > 0;
    if !applied {
        tx.execute(
            &format!(
                "UPDATE {name} SET deleted_time = $2 WHERE {key} = $1 AND COALESCE(deleted_time, $2) <= $2"
            ),
            params![id, time],
        )?;
    }
    if *key != UNITS.key {
        // The rows may go: the time of the deletion keeps out what is older.
        tx.execute(
            &format!("DELETE FROM mirror_group_members WHERE {key} = $1 AND event_time <= $2"),
            params![id, time],
        )?;
    }
    if *key == USERS.key {
        tx.execute(
            "UPDATE mirror_users SET password_event_time = NULL
             WHERE user_id = $1 AND password_event_time <= $2",
            params![id, time],
        )?;
        if applied {
            tx.execute("DELETE FROM mirror_memberships WHERE user_id = $1", params![id])?;
        }
    }
    Ok(outcome(applied))
}

/// Adds users to a group or removes them, each by the time of its own membership.
pub(super) fn set_members(
    tx: &mut Tx<'_>,
    group_id: &str,
    users: &[String],
    present: bool,
    time: i64,
) -> Result<Outcome, DbError> {
    let list = id_list(users);
    bury(tx, &GROUPS, &id_list(&[group_id]))?;
    bury(tx, &USERS, &list)?;
    bury_members(tx, group_id, &list)?;
    let ids = ids(tx);
    let changed = tx.execute(
        &format!(
            "INSERT INTO mirror_group_members (group_id, user_id, event_time, present)
             SELECT DISTINCT CAST($2 AS TEXT), ids.value, CAST($3 AS BIGINT), CAST($4 AS BOOLEAN) FROM {ids}
             WHERE NOT EXISTS (SELECT 1 FROM mirror_groups
                               WHERE group_id = $2 AND (deleted_time > $3 OR deleted = $5 AND event_time = $3))
               AND NOT EXISTS (SELECT 1 FROM mirror_users
                               WHERE user_id = ids.value AND (deleted_time > $3 OR deleted = $5 AND event_time = $3))
             ON CONFLICT (group_id, user_id) DO UPDATE
             SET event_time = excluded.event_time, present = excluded.present
             WHERE mirror_group_members.event_time <= excluded.event_time"
        ),
        params![list, group_id, time, present, true],
    )?;
    Ok(outcome(changed > 0 || users.is_empty()))
}
