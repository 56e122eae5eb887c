//! Reading the directory: finding one subject, and streaming all of them.

use std::sync::Arc;

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};

use super::fields::fold;
use super::placement::{Tree, placement};
use super::{Group, Unit, User, group, unit, user};
use crate::change::Placement;
use crate::id::ROOT_UNIT;

/// A subject as a synchronization needs it.
#[derive(Clone, Debug)]
pub struct SyncRow {
    /// Its id.
    pub id: String,
    /// Its record as it goes on the wire.
    pub record: String,
    /// Where it stands.
    pub placement: Arc<Placement>,
}

/// Where reading the units top-down has come to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnitCursor {
    /// The unit's depth: zero for the root.
    pub depth: usize,
    /// Its id.
    pub id: String,
}

/// Units after a position, parents before children, each with the position after it.
///
/// # Errors
/// What the database reports.
pub fn units_page(
    tx: &mut Tx<'_>,
    after: Option<&UnitCursor>,
    limit: usize,
) -> Result<Vec<(SyncRow, UnitCursor)>, DbError> {
    let tree = Tree::load(tx)?;
    let mut units: Vec<(UnitCursor, Unit)> = unit::all(tx)?
        .into_iter()
        .map(|unit| {
            (
                UnitCursor {
                    depth: tree.depth(&unit.id),
                    id: unit.id.clone(),
                },
                unit,
            )
        })
        .filter(|(cursor, _)| after.is_none_or(|after| cursor > after))
        .collect();
    units.sort_by(|(a, _), (b, _)| a.cmp(b));
    units.truncate(limit);
    Ok(units
        .into_iter()
        .map(|(cursor, unit)| {
            let placement = tree.placement(std::slice::from_ref(&unit.id), Vec::new());
            (
                SyncRow {
                    record: unit.record(),
                    placement,
                    id: unit.id,
                },
                cursor,
            )
        })
        .collect())
}

/// Users after an id, by id.
///
/// # Errors
/// What the database reports.
pub fn users_page(tx: &mut Tx<'_>, after: Option<&str>, limit: usize) -> Result<Vec<SyncRow>, DbError> {
    let ids = tx
        .query(
            "SELECT id FROM users WHERE id > $1 ORDER BY id LIMIT $2",
            params![after.unwrap_or(""), i64::try_from(limit).unwrap_or(i64::MAX)],
        )?
        .iter()
        .map(|row| row.get(0))
        .collect::<Result<Vec<String>, _>>()?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let tree = Tree::load(tx)?;
    Ok(user::load_many(tx, &ids)?
        .into_iter()
        .map(|user| SyncRow {
            record: user.record(),
            placement: tree.placement(&user.unit_ids(), user.groups.clone()),
            id: user.id,
        })
        .collect())
}

/// Groups after an id, by id.
///
/// # Errors
/// What the database reports.
pub fn groups_page(tx: &mut Tx<'_>, after: Option<&str>, limit: usize) -> Result<Vec<SyncRow>, DbError> {
    Ok(group::page(tx, after, limit)?
        .into_iter()
        .map(|group| SyncRow {
            record: group.record(),
            placement: group.placement(),
            id: group.id,
        })
        .collect())
}

/// All groups, by name.
///
/// # Errors
/// What the database reports.
pub fn list_groups(tx: &mut Tx<'_>) -> Result<Vec<Group>, DbError> {
    let mut groups = group::page(tx, None, usize::MAX)?;
    groups.sort_by_key(|group| fold(&group.name));
    Ok(groups)
}

/// The ids of a group's members, by id.
///
/// # Errors
/// What the database reports.
pub fn group_members(tx: &mut Tx<'_>, group_id: &str) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT user_id FROM group_members WHERE group_id = $1 ORDER BY user_id",
        params![group_id],
    )?
    .iter()
    .map(|row| row.get(0))
    .collect()
}

/// A subject's present record and placement; `None` if it does not exist.
///
/// # Errors
/// What the database reports.
pub fn record_of(
    tx: &mut Tx<'_>,
    kind: SubjectKind,
    id: &str,
) -> Result<Option<(String, Arc<Placement>)>, DbError> {
    Ok(match kind {
        SubjectKind::User => match user::get(tx, id)? {
            Some(user) => Some((
                user.record(),
                placement(tx, &user.unit_ids(), user.groups.clone())?,
            )),
            None => None,
        },
        SubjectKind::Unit => match unit::get(tx, id)? {
            Some(unit) => Some((
                unit.record(),
                placement(tx, std::slice::from_ref(&unit.id), Vec::new())?,
            )),
            None => None,
        },
        SubjectKind::Group => group::get(tx, id)?.map(|group| (group.record(), group.placement())),
    })
}

/// Finds a user by id, username or email address.
///
/// # Errors
/// What the database reports.
pub fn find_user(tx: &mut Tx<'_>, name: &str) -> Result<Option<User>, DbError> {
    let id: Option<String> = tx
        .query_opt(
            "SELECT id FROM users WHERE id = $1 OR username_folded = $2 OR email_folded = $2
             ORDER BY CASE WHEN id = $1 THEN 0 WHEN username_folded = $2 THEN 1 ELSE 2 END LIMIT 1",
            params![name, fold(name)],
        )?
        .map(|row| row.get(0))
        .transpose()?;
    match id {
        Some(id) => user::get(tx, &id),
        None => Ok(None),
    }
}

/// Finds a group by id or name.
///
/// # Errors
/// What the database reports.
pub fn find_group(tx: &mut Tx<'_>, name: &str) -> Result<Option<Group>, DbError> {
    let id: Option<String> = tx
        .query_opt(
            "SELECT id FROM groups WHERE id = $1 OR name_folded = $2",
            params![name, fold(name)],
        )?
        .map(|row| row.get(0))
        .transpose()?;
    match id {
        Some(id) => group::get(tx, &id),
        None => Ok(None),
    }
}

/// Finds a unit by id or by its path from below the root, such as `Engineering/Optics`. The empty path
/// and `/` are the root.
///
/// # Errors
/// What the database reports.
pub fn find_unit(tx: &mut Tx<'_>, id_or_path: &str) -> Result<Option<Unit>, DbError> {
    if let Some(unit) = unit::get(tx, id_or_path)? {
        return Ok(Some(unit));
    }
    let mut id = ROOT_UNIT.to_owned();
    for name in id_or_path
        .split('/')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        let below = tx.query_opt(
            "SELECT id FROM organizational_units WHERE parent_id = $1 AND name_folded = $2",
            params![id.as_str(), fold(name)],
        )?;
        match below {
            Some(row) => id = row.get(0)?,
            None => return Ok(None),
        }
    }
    unit::get(tx, &id)
}

/// The id of the unit of this name directly below another one.
///
/// # Errors
/// What the database reports.
pub fn unit_below(tx: &mut Tx<'_>, parent_id: &str, name: &str) -> Result<Option<String>, DbError> {
    tx.query_opt(
        "SELECT id FROM organizational_units WHERE parent_id = $1 AND name_folded = $2",
        params![parent_id, fold(name)],
    )?
    .map(|row| row.get(0))
    .transpose()
}

/// Finds a user by username alone.
///
/// # Errors
/// What the database reports.
pub fn user_by_username(tx: &mut Tx<'_>, username: &str) -> Result<Option<User>, DbError> {
    let row = tx.query_opt(
        "SELECT id FROM users WHERE username_folded = $1",
        params![fold(username)],
    )?;
    match row {
        Some(row) => user::get(tx, &row.get::<String>(0)?),
        None => Ok(None),
    }
}

/// The path of a unit from below the root; empty for the root.
///
/// # Errors
/// What the database reports.
pub fn unit_path(tx: &mut Tx<'_>, id: &str) -> Result<String, DbError> {
    let mut names = Vec::new();
    let mut next = unit::get(tx, id)?;
    while let Some(unit) = next {
        let Some(parent) = unit.parent_id else { break };
        names.push(unit.name);
        next = unit::get(tx, &parent)?;
    }
    names.reverse();
    Ok(names.join("/"))
}

/// Users by username, after one; only those directly in a unit, if given.
///
/// # Errors
/// What the database reports.
pub fn list_users(
    tx: &mut Tx<'_>,
    unit_id: Option<&str>,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<User>, DbError> {
    let after = after.map(fold).unwrap_or_default();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = match unit_id {
        None => tx.query(
            "SELECT id FROM users WHERE username_folded > $1 ORDER BY username_folded LIMIT $2",
            params![after.as_str(), limit],
        )?,
        Some(unit_id) => tx.query(
            "SELECT u.id FROM users u JOIN unit_members m ON m.user_id = u.id
             WHERE m.unit_id = $1 AND u.username_folded > $2 ORDER BY u.username_folded LIMIT $3",
            params![unit_id, after.as_str(), limit],
        )?,
    };
    let ids = rows
        .iter()
        .map(|row| row.get(0))
        .collect::<Result<Vec<String>, _>>()?;
    user::load_many(tx, &ids)
}

/// How many users, units and groups there are.
///
/// # Errors
/// What the database reports.
pub fn counts(tx: &mut Tx<'_>) -> Result<(i64, i64, i64), DbError> {
    let row = tx.query_one(
        "SELECT (SELECT COUNT(*) FROM users), (SELECT COUNT(*) FROM organizational_units),
                (SELECT COUNT(*) FROM groups)",
        params![],
    )?;
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}
