//! Users in the database.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use rollcall_db::{DbError, Row, Tx, Value, params};
use rollcall_protocol::SubjectKind;

use super::{User, UserUnit, ahead};
use crate::change::{Placement, placeholders};
use crate::directory::fields::{CustomFields, LOCKED_UNTIL_UNLOCKED, Source, fold};
use crate::directory::{self, DirectoryError, NewPassword, Written, unit};

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
        // A lock without an end used to be stored as -1.
        lock_expire_time: row
            .get::<Option<i64>>(11)?
            .map(|time| if time < 0 { LOCKED_UNTIL_UNLOCKED } else { time }),
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

pub(super) fn texts(ids: &[String]) -> Vec<Value<'_>> {
    ids.iter().map(|id| Value::from(id.as_str())).collect()
}

/// Reads users with their units and groups, in the order of the ids; those that do not exist are left
/// out.
pub(in crate::directory) fn load_many(tx: &mut Tx<'_>, ids: &[String]) -> Result<Vec<User>, DbError> {
    let mut all = Vec::with_capacity(ids.len());
    for ids in ids.chunks(500) {
        let list = format!("IN {}", placeholders(1, ids.len()));
        let loaded = load_where(tx, &list, &texts(ids))?;
        let mut users: HashMap<String, User> =
            loaded.into_iter().map(|user| (user.id.clone(), user)).collect();
        all.extend(ids.iter().filter_map(|id| users.remove(id)));
    }
    Ok(all)
}

/// Reads users after an id, by id, with their units and groups.
pub(in crate::directory) fn page(tx: &mut Tx<'_>, after: &str, limit: usize) -> Result<Vec<User>, DbError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let last: Option<String> = tx
        .query_one(
            "SELECT MAX(id) FROM (SELECT id FROM users WHERE id > $1 ORDER BY id LIMIT $2) AS page",
            params![after, limit],
        )?
        .get(0)?;
    match last {
        // A range is read faster than a list of ids.
        Some(last) => load_where(tx, "BETWEEN $1 AND $2 AND {id} > $1", params![after, last]),
        None => Ok(Vec::new()),
    }
}

/// Reads the users whose ids meet a condition, by id.
fn load_where(tx: &mut Tx<'_>, condition: &str, values: &[Value<'_>]) -> Result<Vec<User>, DbError> {
    let on = |id: &str| format!("{id} {}", condition.replace("{id}", id));
    let mut users = tx
        .query(
            &format!("SELECT {COLUMNS} FROM users WHERE {} ORDER BY id", on("id")),
            values,
        )?
        .iter()
        .map(from_row)
        .collect::<Result<Vec<User>, _>>()?;
    let units = tx.query(
        &format!(
            "SELECT m.user_id, m.unit_id, u.name, m.is_primary
             FROM unit_members m JOIN organizational_units u ON u.id = m.unit_id
             WHERE {} ORDER BY m.user_id, m.is_primary DESC, m.unit_id",
            on("m.user_id")
        ),
        values,
    )?;
    each_of(&mut users, &units, |user, row| {
        user.units.push(UserUnit {
            id: row.get(1)?,
            name: row.get(2)?,
            primary: row.get(3)?,
        });
        Ok(())
    })?;
    let groups = tx.query(
        &format!(
            "SELECT user_id, group_id FROM group_members WHERE {} ORDER BY user_id, group_id",
            on("user_id")
        ),
        values,
    )?;
    each_of(&mut users, &groups, |user, row| {
        user.groups.push(row.get(1)?);
        Ok(())
    })?;
    Ok(users)
}

/// Hands each row to the user whose id it begins with. Both are sorted by it.
fn each_of(
    users: &mut [User],
    rows: &[Row],
    mut hand: impl FnMut(&mut User, &Row) -> Result<(), DbError>,
) -> Result<(), DbError> {
    let mut users = users.iter_mut().peekable();
    for row in rows {
        let id: String = row.get(0)?;
        while users.next_if(|user| user.id < id).is_some() {}
        if let Some(user) = users.peek_mut()
            && user.id == id
        {
            hand(user, row)?;
        }
    }
    Ok(())
}

/// Reads a user.
///
/// # Errors
/// What the database reports.
pub(in crate::directory) fn get(tx: &mut Tx<'_>, id: &str) -> Result<Option<User>, DbError> {
    Ok(standing(tx, id)?.map(|(user, _)| user))
}

/// How many columns of a user there are.
const COUNT: usize = 20;

/// One user in one answer, of which the column behind those of a user says what a row is: the user itself (0), its
/// primary unit (1), a further unit (2), a group (3), a unit that contains it at any height (4).
fn standing_of(me: &str, is_me: &str) -> String {
    let nothing = |columns: usize| "NULL, ".repeat(columns);
    format!(
        "WITH RECURSIVE {me} up (id) AS (
             SELECT unit_id FROM unit_members WHERE user_id {is_me}
             UNION
             SELECT u.parent_id FROM organizational_units u JOIN up ON u.id = up.id
             WHERE u.parent_id IS NOT NULL)
         SELECT {COLUMNS}, 0 FROM users WHERE id {is_me}
         UNION ALL
         SELECT m.unit_id, u.name, {two} CASE WHEN m.is_primary THEN 1 ELSE 2 END
         FROM unit_members m JOIN organizational_units u ON u.id = m.unit_id WHERE m.user_id {is_me}
         UNION ALL
         SELECT group_id, {one} 3 FROM group_members WHERE user_id {is_me}
         UNION ALL
         SELECT id, {one} 4 FROM up",
        two = nothing(COUNT - 2),
        one = nothing(COUNT - 1),
    )
}

/// The user with an id.
static STANDING: LazyLock<String> = LazyLock::new(|| standing_of("", "= $1"));

/// Whoever has an id, a username or an email address; the latter two are folded.
static STANDING_WRITTEN: LazyLock<String> = LazyLock::new(|| {
    standing_of(
        "me (id) AS (SELECT id FROM users WHERE id = $1 OR username_folded = $2 OR email_folded = $3),",
        "IN (SELECT id FROM me)",
    )
});

/// Reads a user that has to exist, and where it stands, unless it was read ahead.
pub(super) fn require(tx: &mut Tx<'_>, id: &str) -> Result<(User, Arc<Placement>), DirectoryError> {
    if let Some(found) = ahead::take(tx, id) {
        return Ok(found);
    }
    standing(tx, id)?.ok_or_else(|| directory::not_found(SubjectKind::User, id))
}

/// Reads a user and where it stands, with one statement.
///
/// # Errors
/// What the database reports.
pub(in crate::directory) fn standing(
    tx: &mut Tx<'_>,
    id: &str,
) -> Result<Option<(User, Arc<Placement>)>, DbError> {
    let rows = tx.query(&STANDING, params![id])?;
    Ok(match read_standing(&rows)? {
        Found::One(found) => Some(*found),
        Found::Nobody | Found::Several => None,
    })
}

/// Whom a text fits.
pub(in crate::directory) enum Found {
    Nobody,
    One(Box<(User, Arc<Placement>)>),
    Several,
}

/// Reads the user who has an id, a username or an email address, and where it stands, with one statement.
///
/// # Errors
/// What the database reports.
pub(in crate::directory) fn standing_written(
    tx: &mut Tx<'_>,
    written: Written<'_>,
) -> Result<Found, DbError> {
    let (name, email) = (written.name().map(fold), written.email().map(fold));
    read_standing(&tx.query(&STANDING_WRITTEN, params![written.id(), name, email])?)
}

fn read_standing(rows: &[Row]) -> Result<Found, DbError> {
    let mut user: Option<User> = None;
    let mut placement = Placement::default();
    let (mut units, mut groups) = (Vec::new(), Vec::new());
    for row in rows {
        match row.get::<i64>(COUNT)? {
            0 if user.is_some() => return Ok(Found::Several),
            0 => user = Some(from_row(row)?),
            3 => groups.push(row.get(0)?),
            4 => placement.units.push(row.get(0)?),
            kind => units.push(UserUnit {
                id: row.get(0)?,
                name: row.get(1)?,
                primary: kind == 1,
            }),
        }
    }
    let Some(mut user) = user else {
        return Ok(Found::Nobody);
    };
    units.sort_by(|a, b| (!a.primary, &a.id).cmp(&(!b.primary, &b.id)));
    groups.sort_unstable();
    placement.groups.clone_from(&groups);
    (user.units, user.groups) = (units, groups);
    Ok(Found::One(Box::new((user, Arc::new(placement)))))
}

/// The ids of all users that stand in one of these units.
pub(in crate::directory) fn in_units(tx: &mut Tx<'_>, units: &[String]) -> Result<Vec<String>, DbError> {
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

/// In how many units a user may be put: all of them stand in the user's record, twice, and an event has to stay
/// small enough for applications.
const UNITS_AT_MOST: usize = 200;

/// The primary unit first, each unit once.
pub(super) fn unit_list(
    tx: &mut Tx<'_>,
    primary: &str,
    further: &[String],
) -> Result<Vec<UserUnit>, DirectoryError> {
    let mut units = Vec::with_capacity(1 + further.len());
    let mut sorted: Vec<&str> = further
        .iter()
        .map(String::as_str)
        .filter(|unit| *unit != primary)
        .collect();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() >= UNITS_AT_MOST {
        return Err(DirectoryError::InvalidField {
            field: "organizationalUnitIds",
            reason: format!(
                "has {} organizational units with the primary one; at most {UNITS_AT_MOST} are allowed",
                sorted.len() + 1
            ),
        });
    }
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

/// Rows that one INSERT takes, as in the change log.
const ROWS_PER_INSERT: usize = 64;

/// Writes the rows of new users.
pub(super) fn insert(tx: &mut Tx<'_>, users: &[(User, Option<&NewPassword>)]) -> Result<(), DbError> {
    for users in users.chunks(ROWS_PER_INSERT) {
        let folded: Vec<_> = users
            .iter()
            .map(|(user, _)| {
                (
                    fold(&user.username),
                    user.email.as_deref().map(fold),
                    custom_json(user),
                )
            })
            .collect();
        let mut values: Vec<Value<'_>> = Vec::with_capacity(users.len() * 21);
        for ((user, password), (username_folded, email_folded, custom)) in users.iter().zip(&folded) {
            // Every field is named, so that a new one gets its column.
            let User {
                id,
                username,
                display_name,
                email,
                email_verified,
                phone_region,
                phone_number,
                phone_verified,
                password_set: _,
                enabled: _,
                account_expire_time,
                // Nobody is made locked.
                lock_expire_time: _,
                register_time,
                description,
                custom_fields: _,
                source:
                    Source {
                        source_type,
                        source_id,
                    },
                external_id,
                create_time,
                update_time,
                units: _,
                groups: _,
            } = user;
            values.extend([
                Value::from(id.as_str()),
                Value::from(username.as_str()),
                Value::from(username_folded.as_str()),
                Value::from(display_name.as_str()),
                Value::from(email.as_deref()),
                Value::from(email_folded.as_deref()),
                Value::from(*email_verified),
                Value::from(phone_region.as_deref()),
                Value::from(phone_number.as_deref()),
                Value::from(*phone_verified),
                Value::from(password.map(NewPassword::hash)),
                Value::from(status(user)),
                Value::from(*account_expire_time),
                Value::from(*register_time),
                Value::from(description.as_deref()),
                Value::from(custom.as_deref()),
                Value::from(source_type.as_str()),
                Value::from(source_id.as_str()),
                Value::from(external_id.as_deref()),
                Value::from(*create_time),
                Value::from(*update_time),
            ]);
        }
        let sql = format!(
            "INSERT INTO users (id, username, username_folded, display_name, email, email_folded,
                                email_verified, phone_region, phone_number, phone_verified, password_hash,
                                status, account_expire_time, register_time, description, custom_fields,
                                source_type, source_id, external_id, create_time, update_time) VALUES {}",
            placeholders(users.len(), 21)
        );
        tx.execute_later(&sql, &values)?;
    }
    let users: Vec<&User> = users.iter().map(|(user, _)| user).collect();
    insert_units(tx, &users)
}

/// Changes the fields of a user. What names are compared by stays as long as they do: two that were different when
/// they were stored may look alike to a newer Unicode.
pub(super) const UPDATE: &str =
    "UPDATE users SET username_folded = CASE WHEN username = $2 THEN username_folded ELSE $3 END,
                      email_folded = CASE WHEN email = $5 THEN email_folded ELSE $6 END,
                      username = $2, display_name = $4, email = $5,
                      email_verified = $7, phone_region = $8, phone_number = $9, phone_verified = $10,
                      status = $11, account_expire_time = $12, lock_expire_time = $13, description = $14,
                      custom_fields = $15, external_id = $16, source_type = $17, source_id = $18,
                      update_time = $19
     WHERE id = $1";

/// Writes the fields of a user that exists.
pub(super) fn update(tx: &mut Tx<'_>, user: &User) -> Result<(), DbError> {
    // Every field is named, so that a new one gets its column.
    let User {
        id,
        username,
        display_name,
        email,
        email_verified,
        phone_region,
        phone_number,
        phone_verified,
        // Passwords are set by themselves.
        password_set: _,
        enabled: _,
        account_expire_time,
        lock_expire_time,
        register_time: _,
        description,
        custom_fields: _,
        source: Source {
            source_type,
            source_id,
        },
        external_id,
        create_time: _,
        update_time,
        units: _,
        groups: _,
    } = user;
    // It may have been read ahead and not taken.
    drop(ahead::take(tx, id));
    tx.execute_later(
        UPDATE,
        params![
            id.as_str(),
            username.as_str(),
            fold(username),
            display_name.as_str(),
            email.as_deref(),
            email.as_deref().map(fold),
            *email_verified,
            phone_region.as_deref(),
            phone_number.as_deref(),
            *phone_verified,
            status(user),
            *account_expire_time,
            *lock_expire_time,
            description.as_deref(),
            custom_json(user),
            external_id.as_deref(),
            source_type.as_str(),
            source_id.as_str(),
            *update_time
        ],
    )?;
    Ok(())
}

/// Writes in which units a user stands now.
pub(super) fn replace_units(tx: &mut Tx<'_>, user: &User) -> Result<(), DbError> {
    tx.execute_later(
        "DELETE FROM unit_members WHERE user_id = $1",
        params![user.id.as_str()],
    )?;
    insert_units(tx, &[user])
}

fn insert_units(tx: &mut Tx<'_>, users: &[&User]) -> Result<(), DbError> {
    let rows: Vec<_> = users
        .iter()
        .flat_map(|user| user.units.iter().map(|unit| (user.id.as_str(), unit)))
        .collect();
    for rows in rows.chunks(ROWS_PER_INSERT) {
        let values: Vec<Value<'_>> = rows
            .iter()
            .flat_map(|(user_id, unit)| {
                [
                    Value::from(*user_id),
                    Value::from(unit.id.as_str()),
                    Value::from(unit.primary),
                ]
            })
            .collect();
        let sql = format!(
            "INSERT INTO unit_members (user_id, unit_id, is_primary) VALUES {}",
            placeholders(rows.len(), 3)
        );
        tx.execute_later(&sql, &values)?;
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

/// The users of one source after an id, by id: each with its username.
pub(in crate::directory) fn owned_after(
    tx: &mut Tx<'_>,
    source: &Source,
    after: &str,
    limit: usize,
) -> Result<Vec<(String, String)>, DbError> {
    tx.query(
        "SELECT id, username FROM users WHERE source_type = $1 AND source_id = $2 AND id > $3
         ORDER BY id LIMIT $4",
        params![
            source.source_type.as_str(),
            source.source_id.as_str(),
            after,
            i64::try_from(limit).unwrap_or(i64::MAX)
        ],
    )?
    .iter()
    .map(|row| Ok((row.get(0)?, row.get(1)?)))
    .collect()
}
