//! Users.

use std::collections::HashMap;

use rollcall_db::{DbError, Row, Tx, Value, params};
use rollcall_protocol::{EventType, SubjectKind, UnitMembership, UserPayload, UserStatus};
use serde::{Deserialize, Serialize};

use super::fields::{self, CustomFields, Source, fold, present};
use super::password::NewPassword;
use super::placement::placement;
use super::{Context, DirectoryError, previous, unit};
use crate::change::{ChangeKind, NewChange, placeholders};
use crate::clock::Millis;
use crate::id;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// `user_…`.
    pub id: String,
    /// Unique without regard to case.
    pub username: String,
    /// For people.
    pub display_name: String,
    /// Unique without regard to case.
    pub email: Option<String>,
    /// Whether the address was proven.
    pub email_verified: bool,
    /// The country's digits.
    pub phone_region: Option<String>,
    /// The number's digits; unique with the region.
    pub phone_number: Option<String>,
    /// Whether the number was proven.
    pub phone_verified: bool,
    /// Whether a password is set.
    pub password_set: bool,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// When the account ends by itself.
    pub account_expire_time: Option<Millis>,
    /// While set, the account is locked; -1 until somebody unlocks it, otherwise until this time.
    pub lock_expire_time: Option<Millis>,
    /// When the user was registered.
    pub register_time: Millis,
    /// For people.
    pub description: Option<String>,
    /// Fields of an administrator's own.
    pub custom_fields: CustomFields,
    /// Where it comes from.
    #[serde(flatten)]
    pub source: Source,
    /// Its id there.
    pub external_id: Option<String>,
    /// When it was made.
    pub create_time: Millis,
    /// When it last changed.
    pub update_time: Millis,
    /// Its units, the primary one first.
    pub units: Vec<UserUnit>,
    /// The ids of its groups.
    pub groups: Vec<String>,
}

/// A unit of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserUnit {
    /// The unit.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is the primary one.
    pub primary: bool,
}

/// A new user.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of a user")]
pub struct NewUser {
    pub username: String,
    pub display_name: String,
    pub primary_organizational_unit_id: String,
    #[serde(default)]
    pub organizational_unit_ids: Vec<String>,
    #[serde(default)]
    pub email: Option<String>,
    #[serde(default)]
    pub email_verified: bool,
    #[serde(default)]
    pub phone_region: Option<String>,
    #[serde(default)]
    pub phone_number: Option<String>,
    #[serde(default)]
    pub phone_verified: bool,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub external_id: Option<String>,
    #[serde(default)]
    pub source: Source,
    #[serde(default)]
    pub account_expire_time: Option<Millis>,
    #[serde(default)]
    pub custom_fields: CustomFields,
    #[serde(default)]
    pub disabled: bool,
    /// Prepared apart, because hashing takes long.
    #[serde(skip)]
    pub password: Option<NewPassword>,
}

/// What changes of a user; what is absent stays, what is null is emptied.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are those of a user")]
pub struct UserChanges {
    pub username: Option<String>,
    pub display_name: Option<String>,
    #[serde(deserialize_with = "present")]
    pub email: Option<Option<String>>,
    pub email_verified: Option<bool>,
    #[serde(deserialize_with = "present")]
    pub phone_region: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    pub phone_number: Option<Option<String>>,
    pub phone_verified: Option<bool>,
    #[serde(deserialize_with = "present")]
    pub description: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    pub external_id: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    pub account_expire_time: Option<Option<Millis>>,
    pub custom_fields: Option<CustomFields>,
}

impl User {
    /// Its units, the primary one first.
    pub fn unit_ids(&self) -> Vec<String> {
        self.units.iter().map(|unit| unit.id.clone()).collect()
    }

    /// Its primary unit.
    pub fn primary_unit_id(&self) -> String {
        self.units.first().map(|unit| unit.id.clone()).unwrap_or_default()
    }

    /// The record as it goes on the wire, without a password.
    pub fn record(&self) -> String {
        UserPayload {
            user_id: self.id.clone(),
            username: Some(self.username.clone()),
            display_name: Some(self.display_name.clone()),
            password_set: Some(self.password_set),
            phone_number: self.phone_number.clone(),
            phone_region: self.phone_region.clone(),
            phone_verified: Some(self.phone_verified),
            email: self.email.clone(),
            email_verified: Some(self.email_verified),
            status: Some(if self.enabled {
                UserStatus::Enabled
            } else {
                UserStatus::Disabled
            }),
            account_expire_time: Some(self.account_expire_time.unwrap_or(-1)),
            register_time: Some(self.register_time),
            lock_expire_time: self.lock_expire_time,
            create_time: Some(self.create_time),
            update_time: Some(self.update_time),
            description: self.description.clone(),
            password: None,
            source_type: Some(self.source.source_type.clone()),
            source_id: Some(self.source.source_id.clone()),
            external_id: self.external_id.clone(),
            primary_unit_id: Some(self.primary_unit_id()),
            units: self
                .units
                .iter()
                .map(|unit| UnitMembership {
                    id: unit.id.clone(),
                    name: Some(unit.name.clone()),
                    primary: unit.primary,
                })
                .collect(),
            custom_fields: Some(
                self.custom_fields
                    .iter()
                    .map(|(k, v)| (k.clone(), v.as_str().into()))
                    .collect(),
            ),
        }
        .to_json()
    }

    pub(super) fn change(&self, kind: ChangeKind) -> NewChange {
        NewChange {
            kind,
            subject_kind: SubjectKind::User,
            subject_id: self.id.clone(),
            record: self.record(),
            previous: None,
            before: None,
            after: None,
            secret: None,
        }
    }
}

const COLUMNS: &str = "id, username, display_name, email, email_verified, phone_region, phone_number, \
     phone_verified, password_hash IS NOT NULL, status, account_expire_time, lock_expire_time, \
     register_time, description, custom_fields, source_type, source_id, external_id, create_time, update_time";

fn from_row(row: &Row) -> Result<User, DbError> {
    let custom_fields = match row.get::<Option<String>>(14)? {
        None => CustomFields::new(),
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| DbError::Other(format!("the custom fields of a user: {error}")))?,
    };
    Ok(User {
        id: row.get(0)?,
        username: row.get(1)?,
        display_name: row.get(2)?,
        email: row.get(3)?,
        email_verified: row.get(4)?,
        phone_region: row.get(5)?,
        phone_number: row.get(6)?,
        phone_verified: row.get(7)?,
        password_set: row.get(8)?,
        enabled: row.get::<String>(9)? == "enabled",
        account_expire_time: row.get(10)?,
        lock_expire_time: row.get(11)?,
        register_time: row.get(12)?,
        description: row.get(13)?,
        custom_fields,
        source: Source {
            source_type: row.get(15)?,
            source_id: row.get(16)?,
        },
        external_id: row.get(17)?,
        create_time: row.get(18)?,
        update_time: row.get(19)?,
        units: Vec::new(),
        groups: Vec::new(),
    })
}

fn texts(ids: &[String]) -> Vec<Value<'_>> {
    ids.iter().map(|id| Value::from(id.as_str())).collect()
}

/// Reads users with their units and groups, in the order of the ids; those that do not exist are left
/// out.
pub(super) fn load_many(tx: &mut Tx<'_>, ids: &[String]) -> Result<Vec<User>, DbError> {
    let mut all = Vec::with_capacity(ids.len());
    for ids in ids.chunks(500) {
        let list = placeholders(1, ids.len());
        let mut users: HashMap<String, User> = HashMap::with_capacity(ids.len());
        for row in tx.query(
            &format!("SELECT {COLUMNS} FROM users WHERE id IN {list}"),
            &texts(ids),
        )? {
            let user = from_row(&row)?;
            users.insert(user.id.clone(), user);
        }
        for row in tx.query(
            &format!(
                "SELECT m.user_id, m.unit_id, u.name, m.is_primary
                 FROM unit_members m JOIN organizational_units u ON u.id = m.unit_id
                 WHERE m.user_id IN {list} ORDER BY m.is_primary DESC, m.unit_id"
            ),
            &texts(ids),
        )? {
            if let Some(user) = users.get_mut(&row.get::<String>(0)?) {
                user.units.push(UserUnit {
                    id: row.get(1)?,
                    name: row.get(2)?,
                    primary: row.get(3)?,
                });
            }
        }
        for row in tx.query(
            &format!("SELECT user_id, group_id FROM group_members WHERE user_id IN {list} ORDER BY group_id"),
            &texts(ids),
        )? {
            if let Some(user) = users.get_mut(&row.get::<String>(0)?) {
                user.groups.push(row.get(1)?);
            }
        }
        all.extend(ids.iter().filter_map(|id| users.remove(id)));
    }
    Ok(all)
}

/// Reads a user.
///
/// # Errors
/// What the database reports.
pub(super) fn get(tx: &mut Tx<'_>, id: &str) -> Result<Option<User>, DbError> {
    Ok(load_many(tx, &[id.to_owned()])?.pop())
}

pub(super) fn require(tx: &mut Tx<'_>, id: &str) -> Result<User, DirectoryError> {
    get(tx, id)?.ok_or_else(|| DirectoryError::NotFound {
        kind: SubjectKind::User,
        id: id.to_owned(),
    })
}

/// The ids of all users that stand in one of these units.
pub(super) fn in_units(tx: &mut Tx<'_>, units: &[String]) -> Result<Vec<String>, DbError> {
    let mut ids = Vec::new();
    for units in units.chunks(500) {
        let sql = format!(
            "SELECT DISTINCT user_id FROM unit_members WHERE unit_id IN {}",
            placeholders(1, units.len())
        );
        for row in tx.query(&sql, &texts(units))? {
            ids.push(row.get(0)?);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn check(tx: &mut Tx<'_>, user: &User) -> Result<(), DirectoryError> {
    fields::username(&user.username)?;
    fields::text("displayName", &user.display_name, 128)?;
    fields::email(user.email.as_deref())?;
    fields::phone(user.phone_region.as_deref(), user.phone_number.as_deref())?;
    fields::optional_text("description", user.description.as_deref(), 256)?;
    fields::optional_text("userExternalId", user.external_id.as_deref(), 128)?;
    fields::custom(&user.custom_fields)?;
    let id = user.id.as_str();
    let mut unique =
        |what: &'static str, value: &str, sql: &str, values: &[Value<'_>]| match tx.query_opt(sql, values)? {
            None => Ok(()),
            Some(row) => Err(DirectoryError::Taken {
                what,
                value: value.to_owned(),
                holder: row.get(0)?,
            }),
        };
    unique(
        "username",
        &user.username,
        "SELECT username FROM users WHERE username_folded = $1 AND id <> $2",
        params![fold(&user.username), id],
    )?;
    if let Some(email) = &user.email {
        unique(
            "email",
            email,
            "SELECT username FROM users WHERE email_folded = $1 AND id <> $2",
            params![fold(email), id],
        )?;
    }
    if let (Some(region), Some(number)) = (&user.phone_region, &user.phone_number) {
        unique(
            "phone number",
            number,
            "SELECT username FROM users WHERE phone_region = $1 AND phone_number = $2 AND id <> $3",
            params![region.as_str(), number.as_str(), id],
        )?;
    }
    if let Some(external_id) = &user.external_id {
        unique(
            "external id",
            external_id,
            "SELECT username FROM users
             WHERE source_type = $1 AND source_id = $2 AND external_id = $3 AND id <> $4",
            params![
                user.source.source_type.as_str(),
                user.source.source_id.as_str(),
                external_id.as_str(),
                id
            ],
        )?;
    }
    Ok(())
}

fn custom_json(user: &User) -> Option<String> {
    (!user.custom_fields.is_empty())
        .then(|| serde_json::to_string(&user.custom_fields).ok())
        .flatten()
}

fn status(user: &User) -> &'static str {
    if user.enabled { "enabled" } else { "disabled" }
}

/// The primary unit first, each unit once.
fn unit_list(tx: &mut Tx<'_>, primary: &str, further: &[String]) -> Result<Vec<UserUnit>, DirectoryError> {
    let mut units = Vec::with_capacity(1 + further.len());
    let mut sorted: Vec<&str> = further
        .iter()
        .map(String::as_str)
        .filter(|unit| *unit != primary)
        .collect();
    sorted.sort_unstable();
    sorted.dedup();
    for (index, unit_id) in std::iter::once(primary).chain(sorted).enumerate() {
        let unit = unit::require(tx, unit_id)?;
        units.push(UserUnit {
            id: unit.id,
            name: unit.name,
            primary: index == 0,
        });
    }
    Ok(units)
}

fn store_units(tx: &mut Tx<'_>, user: &User) -> Result<(), DbError> {
    for unit in &user.units {
        tx.execute(
            "INSERT INTO unit_members (user_id, unit_id, is_primary) VALUES ($1, $2, $3)",
            params![user.id.as_str(), unit.id.as_str(), unit.primary],
        )?;
    }
    Ok(())
}

pub(super) fn create(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    new: &NewUser,
) -> Result<(String, usize), DirectoryError> {
    let units = unit_list(
        tx,
        &new.primary_organizational_unit_id,
        &new.organizational_unit_ids,
    )?;
    let user = User {
        id: id::make("user", ctx.now, ctx.random),
        username: new.username.clone(),
        display_name: new.display_name.clone(),
        email: new.email.clone(),
        email_verified: new.email_verified,
        phone_region: new.phone_region.clone(),
        phone_number: new.phone_number.clone(),
        phone_verified: new.phone_verified,
        password_set: new.password.is_some(),
        enabled: !new.disabled,
        account_expire_time: new.account_expire_time.filter(|time| *time >= 0),
        lock_expire_time: None,
        register_time: ctx.now,
        description: new.description.clone(),
        custom_fields: new.custom_fields.clone(),
        source: new.source.clone(),
        external_id: new.external_id.clone(),
        create_time: ctx.now,
        update_time: ctx.now,
        units,
        groups: Vec::new(),
    };
    check(tx, &user)?;
    tx.execute(
        "INSERT INTO users (id, username, username_folded, display_name, email, email_folded, email_verified,
                            phone_region, phone_number, phone_verified, password_hash, status,
                            account_expire_time, register_time, description, custom_fields, source_type,
                            source_id, external_id, create_time, update_time)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
        params![
            user.id.as_str(),
            user.username.as_str(),
            fold(&user.username),
            user.display_name.as_str(),
            user.email.as_deref(),
            user.email.as_deref().map(fold),
            user.email_verified,
            user.phone_region.as_deref(),
            user.phone_number.as_deref(),
            user.phone_verified,
            new.password.as_ref().map(NewPassword::hash),
            status(&user),
            user.account_expire_time,
            user.register_time,
            user.description.as_deref(),
            custom_json(&user),
            user.source.source_type.as_str(),
            user.source.source_id.as_str(),
            user.external_id.as_deref(),
            user.create_time,
            user.update_time
        ],
    )?;
    store_units(tx, &user)?;
    let after = Some(placement(tx, &user.unit_ids(), Vec::new())?);
    let secret = new
        .password
        .as_ref()
        .and_then(|password| ctx.seal(password, &user.id));
    ctx.append(
        tx,
        &[NewChange {
            after,
            secret,
            ..user.change(ChangeKind::Event(EventType::UserCreate))
        }],
    )?;
    Ok((user.id, 1))
}

/// Writes what changed and appends the change; nothing if nothing did.
fn store(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    before: &User,
    mut user: User,
    event: EventType,
) -> Result<usize, DirectoryError> {
    if user == *before {
        return Ok(0);
    }
    check(tx, &user)?;
    user.update_time = ctx.now;
    tx.execute(
        "UPDATE users SET username = $2, username_folded = $3, display_name = $4, email = $5, email_folded = $6,
                          email_verified = $7, phone_region = $8, phone_number = $9, phone_verified = $10,
                          status = $11, account_expire_time = $12, lock_expire_time = $13, description = $14,
                          custom_fields = $15, external_id = $16, update_time = $17
         WHERE id = $1",
        params![
            user.id.as_str(),
            user.username.as_str(),
            fold(&user.username),
            user.display_name.as_str(),
            user.email.as_deref(),
            user.email.as_deref().map(fold),
            user.email_verified,
            user.phone_region.as_deref(),
            user.phone_number.as_deref(),
            user.phone_verified,
            status(&user),
            user.account_expire_time,
            user.lock_expire_time,
            user.description.as_deref(),
            custom_json(&user),
            user.external_id.as_deref(),
            user.update_time
        ],
    )?;
    let was = placement(tx, &before.unit_ids(), before.groups.clone())?;
    let is = if user.units == before.units {
        was.clone()
    } else {
        tx.execute(
            "DELETE FROM unit_members WHERE user_id = $1",
            params![user.id.as_str()],
        )?;
        store_units(tx, &user)?;
        placement(tx, &user.unit_ids(), user.groups.clone())?
    };
    ctx.append(
        tx,
        &[NewChange {
            previous: previous(&before.record(), &user.record()),
            before: Some(was),
            after: Some(is),
            ..user.change(ChangeKind::Event(event))
        }],
    )?;
    Ok(1)
}

pub(super) fn update(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    changes: &UserChanges,
) -> Result<usize, DirectoryError> {
    let before = require(tx, id)?;
    let mut user = before.clone();
    fn take<T: Clone>(field: &mut T, change: &Option<T>) {
        if let Some(value) = change {
            field.clone_from(value);
        }
    }
    take(&mut user.username, &changes.username);
    take(&mut user.display_name, &changes.display_name);
    take(&mut user.email, &changes.email);
    take(&mut user.email_verified, &changes.email_verified);
    take(&mut user.phone_region, &changes.phone_region);
    take(&mut user.phone_number, &changes.phone_number);
    take(&mut user.phone_verified, &changes.phone_verified);
    take(&mut user.description, &changes.description);
    take(&mut user.external_id, &changes.external_id);
    take(&mut user.custom_fields, &changes.custom_fields);
    if let Some(time) = changes.account_expire_time {
        user.account_expire_time = time.filter(|time| *time >= 0);
    }
    store(tx, ctx, &before, user, EventType::UserUpdateInfo)
}

pub(super) fn set_password(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    password: &NewPassword,
) -> Result<usize, DirectoryError> {
    let before = require(tx, id)?;
    let mut user = before.clone();
    user.password_set = true;
    user.update_time = ctx.now;
    tx.execute(
        "UPDATE users SET password_hash = $2, update_time = $3 WHERE id = $1",
        params![id, password.hash(), ctx.now],
    )?;
    let stands = Some(placement(tx, &user.unit_ids(), user.groups.clone())?);
    ctx.append(
        tx,
        &[NewChange {
            previous: previous(&before.record(), &user.record()),
            before: stands.clone(),
            after: stands,
            secret: ctx.seal(password, id),
            ..user.change(ChangeKind::Event(EventType::UserUpdatePassword))
        }],
    )?;
    Ok(1)
}

pub(super) fn set_enabled(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    enabled: bool,
) -> Result<usize, DirectoryError> {
    let before = require(tx, id)?;
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
    store(tx, ctx, &before, user, event)
}

pub(super) fn set_lock(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    lock_expire_time: Option<Millis>,
) -> Result<usize, DirectoryError> {
    let before = require(tx, id)?;
    let event = if lock_expire_time.is_some() {
        EventType::UserLock
    } else {
        EventType::UserUnlock
    };
    let user = User {
        lock_expire_time,
        ..before.clone()
    };
    store(tx, ctx, &before, user, event)
}

pub(super) fn set_units(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    primary: &str,
    further: &[String],
) -> Result<usize, DirectoryError> {
    let before = require(tx, id)?;
    let user = User {
        units: unit_list(tx, primary, further)?,
        ..before.clone()
    };
    let event = if before.primary_unit_id() == primary {
        EventType::UserUpdateInfo
    } else {
        EventType::UserUpdatePrimaryOu
    };
    store(tx, ctx, &before, user, event)
}

pub(super) fn delete(tx: &mut Tx<'_>, ctx: &Context<'_>, id: &str) -> Result<usize, DirectoryError> {
    let user = require(tx, id)?;
    let before = Some(placement(tx, &user.unit_ids(), user.groups.clone())?);
    for table in ["group_members", "unit_members"] {
        tx.execute(&format!("DELETE FROM {table} WHERE user_id = $1"), params![id])?;
    }
    tx.execute("DELETE FROM users WHERE id = $1", params![id])?;
    ctx.append(
        tx,
        &[NewChange {
            before,
            ..user.change(ChangeKind::Event(EventType::UserDelete))
        }],
    )?;
    Ok(1)
}

/// How many accounts and locks one command ends.
const DUE_AT_ONCE: i64 = 500;

/// Ends accounts and locks whose time has come.
pub(super) fn expire_due(tx: &mut Tx<'_>, ctx: &Context<'_>) -> Result<usize, DirectoryError> {
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
