//! What connections have said of their users, and reading it.

use std::collections::{HashMap, HashSet};

use rollcall_db::{DbError, Row, Tx, Value, params};
use rollcall_scim::Object;

use crate::clock::Millis;
use crate::directory::fields::fold;

/// Ids that one statement names.
pub(super) const AT_ONCE: usize = 500;

/// A user of a connection.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The user's id.
    pub id: String,
    /// The resource, as the connection said it.
    pub resource: Object,
    /// When the connection last changed it.
    pub said_time: Millis,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// When the user was made.
    pub create_time: Millis,
    /// When the user last changed in the directory.
    pub update_time: Millis,
}

/// By what users are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// By the id.
    Id(String),
    /// By `userName`.
    UserName(String),
    /// By `externalId`.
    ExternalId(String),
}

const SELECT: &str = "SELECT k.user_id, k.resource, k.update_time, u.status, u.create_time, u.update_time
     FROM connection_users k JOIN users u ON u.id = k.user_id
     WHERE k.connection_id = $1";

fn from_row(row: &Row) -> Result<Kept, DbError> {
    let id: String = row.get(0)?;
    let resource: String = row.get(1)?;
    let resource = serde_json::from_str(&resource)
        .map_err(|error| DbError::Other(format!("what a connection has said of {id}: {error}")))?;
    Ok(Kept {
        id,
        resource,
        said_time: row.get(2)?,
        enabled: row.get::<String>(3)? == "enabled",
        create_time: row.get(4)?,
        update_time: row.get(5)?,
    })
}

fn read(tx: &mut Tx<'_>, rest: &str, values: &[Value<'_>]) -> Result<Vec<Kept>, DbError> {
    tx.query(&format!("{SELECT} {rest}"), values)?
        .iter()
        .map(from_row)
        .collect()
}

/// The users with a key. Names are compared more loosely than SCIM does, so not all of them need be meant.
///
/// # Errors
/// What the database reports.
pub fn with_key(tx: &mut Tx<'_>, connection_id: &str, key: &Key) -> Result<Vec<Kept>, DbError> {
    let (column, value) = match key {
        Key::Id(id) => ("user_id", id.clone()),
        Key::UserName(name) => ("user_name", fold(name)),
        Key::ExternalId(id) => ("external_id", id.clone()),
    };
    let rest = format!("AND k.{column} = $2 ORDER BY k.user_id");
    read(tx, &rest, params![connection_id, value])
}

/// A user of a connection; `None` if there is none with this id, or it is not the connection's own.
///
/// # Errors
/// What the database reports.
pub fn get(tx: &mut Tx<'_>, connection_id: &str, id: &str) -> Result<Option<Kept>, DbError> {
    Ok(with_key(tx, connection_id, &Key::Id(id.to_owned()))?.pop())
}

/// Users after an id, by id.
///
/// # Errors
/// What the database reports.
pub fn after(tx: &mut Tx<'_>, connection_id: &str, after: &str, limit: usize) -> Result<Vec<Kept>, DbError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rest = "AND k.user_id > $2 ORDER BY k.user_id LIMIT $3";
    read(tx, rest, params![connection_id, after, limit])
}

/// Users from a place on, by id. The place is found in the index alone.
///
/// # Errors
/// What the database reports.
pub fn from_place(
    tx: &mut Tx<'_>,
    connection_id: &str,
    place: u64,
    limit: usize,
) -> Result<Vec<Kept>, DbError> {
    let rest = "AND k.user_id >= (SELECT f.user_id FROM connection_users f WHERE f.connection_id = $1
                                  ORDER BY f.user_id LIMIT 1 OFFSET $2)
                ORDER BY k.user_id LIMIT $3";
    let (place, limit) = (
        i64::try_from(place).unwrap_or(i64::MAX),
        i64::try_from(limit).unwrap_or(i64::MAX),
    );
    read(tx, rest, params![connection_id, place, limit])
}

/// The users with these ids, in no order; others are left out.
///
/// # Errors
/// What the database reports.
pub fn many(tx: &mut Tx<'_>, connection_id: &str, ids: &[String]) -> Result<Vec<Kept>, DbError> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(AT_ONCE) {
        found.extend(read(
            tx,
            &format!("AND k.user_id IN {}", list(ids.len())),
            &values(connection_id, ids),
        )?);
    }
    Ok(found)
}

/// How many users a connection has.
///
/// # Errors
/// What the database reports.
pub fn count(tx: &mut Tx<'_>, connection_id: &str) -> Result<u64, DbError> {
    let sql = "SELECT COUNT(*) FROM connection_users WHERE connection_id = $1";
    Ok(tx
        .query_one(sql, params![connection_id])?
        .get::<i64>(0)?
        .unsigned_abs())
}

/// Those of some ids that are users of a connection.
///
/// # Errors
/// What the database reports.
pub fn owned(tx: &mut Tx<'_>, connection_id: &str, ids: &[String]) -> Result<HashSet<String>, DbError> {
    let mut owned = HashSet::new();
    for ids in ids.chunks(AT_ONCE) {
        let sql = format!(
            "SELECT user_id FROM connection_users WHERE connection_id = $1 AND user_id IN {}",
            list(ids.len())
        );
        for row in tx.query(&sql, &values(connection_id, ids))? {
            owned.insert(row.get(0)?);
        }
    }
    Ok(owned)
}

/// A group of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InGroup {
    /// The group's id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// The connection's own groups of these users, by user.
///
/// # Errors
/// What the database reports.
pub fn groups_of(
    tx: &mut Tx<'_>,
    connection_id: &str,
    ids: &[String],
) -> Result<HashMap<String, Vec<InGroup>>, DbError> {
    let mut groups: HashMap<String, Vec<InGroup>> = HashMap::new();
    for ids in ids.chunks(AT_ONCE) {
        let sql = format!(
            "SELECT m.user_id, g.id, g.name FROM group_members m JOIN groups g ON g.id = m.group_id
             WHERE g.source_type = 'scim' AND g.source_id = $1 AND m.user_id IN {}
             ORDER BY m.user_id, g.id",
            list(ids.len())
        );
        for row in tx.query(&sql, &values(connection_id, ids))? {
            groups.entry(row.get(0)?).or_default().push(InGroup {
                id: row.get(1)?,
                name: row.get(2)?,
            });
        }
    }
    Ok(groups)
}

/// Somebody who is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct There {
    /// The id.
    pub id: String,
    /// Whether it is a connection's own, this one's or another's.
    pub is_owned: bool,
}

/// Who has a username, or an email address.
///
/// # Errors
/// What the database reports.
pub fn there(tx: &mut Tx<'_>, username: Option<&str>, email: Option<&str>) -> Result<Option<There>, DbError> {
    let sql =
        "SELECT u.id, k.user_id IS NOT NULL FROM users u LEFT JOIN connection_users k ON k.user_id = u.id
               WHERE u.username_folded = $1 OR u.email_folded = $2 LIMIT 1";
    let found = tx.query_opt(sql, params![username.map(fold), email.map(fold)])?;
    found
        .map(|row| {
            Ok(There {
                id: row.get(0)?,
                is_owned: row.get(1)?,
            })
        })
        .transpose()
}

/// Keeps what a connection says of a user that is its own from now on, or is already.
///
/// # Errors
/// What the database reports.
pub fn keep(
    tx: &mut Tx<'_>,
    connection_id: &str,
    user_id: &str,
    resource: &Object,
    said_time: Millis,
) -> Result<(), DbError> {
    let text = |name: &str| resource.get(name).and_then(serde_json::Value::as_str);
    tx.execute(
        "INSERT INTO connection_users (user_id, connection_id, user_name, external_id, resource, update_time)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (user_id) DO UPDATE SET connection_id = $2, user_name = $3, external_id = $4, resource = $5,
                                             update_time = $6",
        params![
            user_id,
            connection_id,
            fold(text("userName").unwrap_or_default()),
            text("externalId"),
            serde_json::to_string(resource).unwrap_or_default(),
            said_time
        ],
    )?;
    Ok(())
}

/// `($2, $3, …)`: the first parameter is the connection's id.
pub(super) fn list(count: usize) -> String {
    let numbers: Vec<String> = (2..count + 2).map(|number| format!("${number}")).collect();
    format!("({})", numbers.join(", "))
}

/// A connection's id, and ids behind it.
pub(super) fn values<'a>(connection_id: &'a str, ids: &'a [String]) -> Vec<Value<'a>> {
    std::iter::once(connection_id)
        .chain(ids.iter().map(String::as_str))
        .map(Value::from)
        .collect()
}
