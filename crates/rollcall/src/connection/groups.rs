//! Reading the groups of connections. The directory keeps all that SCIM has of a group, so nothing else is kept of them.

use rollcall_db::{DbError, Row, Tx, Value, params};

use super::users::{AT_ONCE, list, values};
use crate::clock::Millis;
use crate::directory::fields::fold;

/// A group of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The group's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The connection's name for it.
    pub external_id: Option<String>,
    /// When it was made.
    pub create_time: Millis,
    /// When it last changed, or somebody last joined or left.
    pub changed_time: Millis,
    /// The position of that change in the log: who joins and who leaves is a change of the group, of which nothing else
    /// tells.
    pub changed_at: i64,
}

/// By what groups are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// By the id.
    Id(String),
    /// By `displayName`.
    DisplayName(String),
    /// By `externalId`.
    ExternalId(String),
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The group's id.
    pub group_id: String,
    /// The user's id.
    pub user_id: String,
}

/// The last change of each group is found at the end of an index, however many there are.
const SELECT: &str = "SELECT g.id, g.name, g.external_id, g.create_time, g.update_time,
            (SELECT c.time FROM changes c WHERE c.subject_id = g.id ORDER BY c.seq DESC LIMIT 1),
            (SELECT MAX(c.seq) FROM changes c WHERE c.subject_id = g.id)
     FROM groups g WHERE g.source_type = 'scim' AND g.source_id = $1";

fn from_row(row: &Row) -> Result<Kept, DbError> {
    let update_time: Millis = row.get(4)?;
    Ok(Kept {
        id: row.get(0)?,
        name: row.get(1)?,
        external_id: row.get(2)?,
        create_time: row.get(3)?,
        changed_time: row.get::<Option<Millis>>(5)?.unwrap_or(0).max(update_time),
        changed_at: row.get::<Option<i64>>(6)?.unwrap_or(0),
    })
}

fn read(tx: &mut Tx<'_>, rest: &str, values: &[Value<'_>]) -> Result<Vec<Kept>, DbError> {
    tx.query(&format!("{SELECT} {rest}"), values)?
        .iter()
        .map(from_row)
        .collect()
}

/// The groups with a key. Names are compared more loosely than SCIM does, so not all of them need be meant.
///
/// # Errors
/// What the database reports.
pub fn with_key(tx: &mut Tx<'_>, connection_id: &str, key: &Key) -> Result<Vec<Kept>, DbError> {
    let (column, value) = match key {
        Key::Id(id) => ("id", id.clone()),
        Key::DisplayName(name) => ("name_folded", fold(name)),
        Key::ExternalId(id) => ("external_id", id.clone()),
    };
    let rest = format!("AND g.{column} = $2 ORDER BY g.id");
    read(tx, &rest, params![connection_id, value])
}

/// A group of a connection; `None` if there is none with this id, or it is not the connection's own.
///
/// # Errors
/// What the database reports.
pub fn get(tx: &mut Tx<'_>, connection_id: &str, id: &str) -> Result<Option<Kept>, DbError> {
    Ok(with_key(tx, connection_id, &Key::Id(id.to_owned()))?.pop())
}

/// Groups after an id, by id.
///
/// # Errors
/// What the database reports.
pub fn after(tx: &mut Tx<'_>, connection_id: &str, after: &str, limit: usize) -> Result<Vec<Kept>, DbError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rest = "AND g.id > $2 ORDER BY g.id LIMIT $3";
    read(tx, rest, params![connection_id, after, limit])
}

/// Groups from a place on, by id.
///
/// # Errors
/// What the database reports.
pub fn from_place(
    tx: &mut Tx<'_>,
    connection_id: &str,
    place: u64,
    limit: usize,
) -> Result<Vec<Kept>, DbError> {
    let rest = "AND g.id >= (SELECT f.id FROM groups f WHERE f.source_type = 'scim' AND f.source_id = $1
                             ORDER BY f.id LIMIT 1 OFFSET $2)
                ORDER BY g.id LIMIT $3";
    let (place, limit) = (
        i64::try_from(place).unwrap_or(i64::MAX),
        i64::try_from(limit).unwrap_or(i64::MAX),
    );
    read(tx, rest, params![connection_id, place, limit])
}

/// The groups with these ids, in no order; others are left out.
///
/// # Errors
/// What the database reports.
pub fn many(tx: &mut Tx<'_>, connection_id: &str, ids: &[String]) -> Result<Vec<Kept>, DbError> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(AT_ONCE) {
        let rest = format!("AND g.id IN {}", list(ids.len()));
        found.extend(read(tx, &rest, &values(connection_id, ids))?);
    }
    Ok(found)
}

/// How many groups a connection has.
///
/// # Errors
/// What the database reports.
pub fn count(tx: &mut Tx<'_>, connection_id: &str) -> Result<u64, DbError> {
    let sql = "SELECT COUNT(*) FROM groups WHERE source_type = 'scim' AND source_id = $1";
    Ok(tx
        .query_one(sql, params![connection_id])?
        .get::<i64>(0)?
        .unsigned_abs())
}

/// The members of these groups that are the connection's own users, by group and id: at most so many.
///
/// # Errors
/// What the database reports.
pub fn members(
    tx: &mut Tx<'_>,
    connection_id: &str,
    group_ids: &[String],
    limit: usize,
) -> Result<Vec<Member>, DbError> {
    let mut members = Vec::new();
    for ids in group_ids.chunks(AT_ONCE) {
        let sql = format!(
            "SELECT m.group_id, m.user_id
             FROM group_members m JOIN connection_users k ON k.user_id = m.user_id AND k.connection_id = $1
             WHERE m.group_id IN {} ORDER BY m.group_id, m.user_id LIMIT {}",
            list(ids.len()),
            limit.saturating_sub(members.len())
        );
        for row in tx.query(&sql, &values(connection_id, ids))? {
            members.push(Member {
                group_id: row.get(0)?,
                user_id: row.get(1)?,
            });
        }
    }
    Ok(members)
}

/// The ids of a group's members that are the connection's own users, by id.
///
/// # Errors
/// What the database reports.
pub fn member_ids(tx: &mut Tx<'_>, connection_id: &str, group_id: &str) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT m.user_id FROM group_members m
              JOIN connection_users k ON k.user_id = m.user_id AND k.connection_id = $1
         WHERE m.group_id = $2 ORDER BY m.user_id",
        params![connection_id, group_id],
    )?
    .iter()
    .map(|row| row.get(0))
    .collect()
}
