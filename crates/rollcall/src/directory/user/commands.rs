//! What can be done with a user that exists.

use std::sync::Arc;

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::EventType;

use super::check::check_change;
use super::rows::{self, require, unit_list};
use super::{User, UserChanges};
use crate::change::{ChangeKind, NewChange, Placement};
use crate::clock::Millis;
use crate::directory::placement::placement;
use crate::directory::{Context, DirectoryError, NewPassword, previous};

/// Writes what changed and appends the change; nothing if nothing did.
fn store(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    (before, was): (&User, Arc<Placement>),
    mut user: User,
    event: EventType,
) -> Result<usize, DirectoryError> {
    if user == *before {
        return Ok(0);
    }
    check_change(tx, before, &user)?;
    user.update_time = ctx.next_version(before.update_time);
    rows::update(tx, &user)?;
    if user.source != before.source {
        // What a connection has said of somebody goes when he is no more its own.
        tx.execute_later(
            "DELETE FROM connection_users WHERE user_id = $1",
            params![user.id.as_str()],
        )?;
    }
    let is = if user.units == before.units {
        was.clone()
    } else {
        rows::replace_units(tx, &user)?;
        placement(tx, &user.unit_ids(), user.groups.clone())?
    };
    ctx.append(
        tx,
        &[NewChange {
            previous: previous(&before.record(ctx.instance_id), &user.record(ctx.instance_id)),
            before: Some(was),
            after: Some(is),
            ..user.change(ctx, ChangeKind::Event(event))
        }],
    )?;
    Ok(1)
}

impl UserChanges {
    /// The user that comes of them.
    pub fn applied_to(&self, before: &User) -> User {
        let mut user = before.clone();
        fn take<T: Clone>(field: &mut T, change: &Option<T>) {
            if let Some(value) = change {
                field.clone_from(value);
            }
        }
        let Self {
            username,
            display_name,
            email,
            email_verified,
            phone_region,
            phone_number,
            phone_verified,
            description,
            external_id,
            account_expire_time,
            custom_fields,
            source,
        } = self;
        take(&mut user.username, username);
        take(&mut user.display_name, display_name);
        take(&mut user.email, email);
        take(&mut user.email_verified, email_verified);
        take(&mut user.phone_region, phone_region);
        take(&mut user.phone_number, phone_number);
        take(&mut user.phone_verified, phone_verified);
        take(&mut user.description, description);
        take(&mut user.external_id, external_id);
        take(&mut user.source, source);
        for (name, value) in custom_fields {
            match value {
                Some(value) => user.custom_fields.insert(name.clone(), value.clone()),
                None => user.custom_fields.remove(name),
            };
        }
        if let Some(time) = account_expire_time {
            user.account_expire_time = time.filter(|time| *time >= 0);
        }
        user
    }
}

pub(in crate::directory) fn update(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    changes: &UserChanges,
) -> Result<usize, DirectoryError> {
    let (before, was) = require(tx, id)?;
    let user = changes.applied_to(&before);
    store(tx, ctx, (&before, was), user, EventType::UserUpdateInfo)
}

pub(in crate::directory) fn set_password(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    password: &NewPassword,
) -> Result<usize, DirectoryError> {
    let (before, was) = require(tx, id)?;
    let mut user = before.clone();
    user.password_set = true;
    user.update_time = ctx.next_version(before.update_time);
    tx.execute_later(
        "UPDATE users SET password_hash = $2, update_time = $3 WHERE id = $1",
        params![id, password.hash(), user.update_time],
    )?;
    ctx.append(
        tx,
        &[NewChange {
            previous: previous(&before.record(ctx.instance_id), &user.record(ctx.instance_id)),
            before: Some(Arc::clone(&was)),
            after: Some(was),
            secret: ctx.seal(password, id),
            ..user.change(ctx, ChangeKind::Event(EventType::UserUpdatePassword))
        }],
    )?;
    Ok(1)
}

pub(in crate::directory) fn set_enabled(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    enabled: bool,
) -> Result<usize, DirectoryError> {
    let (before, was) = require(tx, id)?;
    let mut user = User {
        enabled,
        ..before.clone()
    };
    // An account that has expired and is enabled again would expire at once; enabling it ends that.
    if enabled && user.account_expire_time.is_some_and(|time| time <= ctx.now) {
        user.account_expire_time = None;
    }
    let event = if enabled {
        EventType::UserEnable
    } else {
        EventType::UserDisable
    };
    store(tx, ctx, (&before, was), user, event)
}

pub(in crate::directory) fn set_lock(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    lock_expire_time: Option<Millis>,
) -> Result<usize, DirectoryError> {
    if lock_expire_time.is_some_and(|time| time < 0) {
        return Err(DirectoryError::InvalidField {
            field: "until",
            reason: "must be a time; leave it out to lock until somebody unlocks".to_owned(),
        });
    }
    let (before, was) = require(tx, id)?;
    let event = if lock_expire_time.is_some() {
        EventType::UserLock
    } else {
        EventType::UserUnlock
    };
    let user = User {
        lock_expire_time,
        ..before.clone()
    };
    store(tx, ctx, (&before, was), user, event)
}

pub(in crate::directory) fn set_units(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    primary: &str,
    further: &[String],
) -> Result<usize, DirectoryError> {
    let (before, was) = require(tx, id)?;
    let user = User {
        units: unit_list(tx, primary, further)?,
        ..before.clone()
    };
    let event = if before.primary_unit_id() == primary {
        EventType::UserUpdateInfo
    } else {
        EventType::UserUpdatePrimaryOu
    };
    store(tx, ctx, (&before, was), user, event)
}

pub(in crate::directory) fn delete(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
) -> Result<usize, DirectoryError> {
    let (user, was) = require(tx, id)?;
    for table in ["group_members", "unit_members"] {
        tx.execute_later(&format!("DELETE FROM {table} WHERE user_id = $1"), params![id])?;
    }
    tx.execute_later("DELETE FROM users WHERE id = $1", params![id])?;
    ctx.append(
        tx,
        &[NewChange {
            before: Some(was),
            ..user.change(ctx, ChangeKind::Event(EventType::UserDelete))
        }],
    )?;
    Ok(1)
}

/// How many accounts and locks one command ends.
const DUE_AT_ONCE: i64 = 500;

/// Ends accounts and locks whose time has come.
pub(in crate::directory) fn expire_due(tx: &mut Tx<'_>, ctx: &Context<'_>) -> Result<usize, DirectoryError> {
    let mut changes = 0;
    let due = |tx: &mut Tx<'_>, sql: &str| -> Result<Vec<String>, DbError> {
        tx.query(sql, params![ctx.now, DUE_AT_ONCE])?
            .iter()
            .map(|row| row.get(0))
            .collect()
    };
    for id in due(
        tx,
        "SELECT id FROM users WHERE account_expire_time IS NOT NULL AND account_expire_time <= $1
         AND status = 'enabled' ORDER BY account_expire_time LIMIT $2",
    )? {
        changes += set_enabled(tx, ctx, &id, false)?;
    }
    for id in due(
        tx,
        "SELECT id FROM users WHERE lock_expire_time IS NOT NULL AND lock_expire_time <= $1
         AND lock_expire_time >= 0 ORDER BY lock_expire_time LIMIT $2",
    )? {
        changes += set_lock(tx, ctx, &id, None)?;
    }
    Ok(changes)
}
