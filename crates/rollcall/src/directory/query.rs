//! Reading the directory: finding one subject, and streaming all of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rollcall_db::{DbError, Tx, Value, params};
use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};

use super::fields::{Source, fold};
pub use super::find::{find_group, find_standing, find_unit, find_user, group_name, ids_of, user_id};
use super::placement::{Tree, placement};
pub use super::standing::{count_of_unit, users_of_unit};
use super::{Group, Unit, User, group, path, unit, user, view};
use crate::access::Version;
use crate::change::{Placement, listed, placeholders};
use crate::instance;

/// Values that one look-up asks for.
pub(super) const AT_ONCE: usize = 500;

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
    let instance = instance::id(tx)?;
    Ok(units
        .into_iter()
        .map(|(cursor, unit)| {
            let placement = tree.placement(std::slice::from_ref(&unit.id), Vec::new());
            (
                SyncRow {
                    record: unit.record(&instance),
                    placement,
                    id: unit.id,
                },
                cursor,
            )
        })
        .collect())
}

/// Users after an id, by id. Where nobody asks for their placements, those stay empty: they need the whole
/// tree of units.
///
/// # Errors
/// What the database reports.
pub fn users_page(
    tx: &mut Tx<'_>,
    after: Option<&str>,
    limit: usize,
    placed: bool,
) -> Result<Vec<SyncRow>, DbError> {
    let users = user::page(tx, after.unwrap_or(""), limit)?;
    sync_rows(tx, users, placed)
}

/// Users as a synchronization needs them, with their placements if those are asked for.
pub(super) fn sync_rows(tx: &mut Tx<'_>, users: Vec<User>, placed: bool) -> Result<Vec<SyncRow>, DbError> {
    let instance = instance::id(tx)?;
    let tree = match placed && !users.is_empty() {
        true => Some(Tree::load(tx)?),
        false => None,
    };
    let placement = |user: &User| {
        let tree = tree.as_ref()?;
        Some(tree.placement(&user.unit_ids(), user.groups.clone()))
    };
    Ok(users
        .into_iter()
        .map(|user| SyncRow {
            record: user.record(&instance),
            placement: placement(&user).unwrap_or_default(),
            id: user.id,
        })
        .collect())
}

/// Groups after an id, by id.
///
/// # Errors
/// What the database reports.
pub fn groups_page(tx: &mut Tx<'_>, after: Option<&str>, limit: usize) -> Result<Vec<SyncRow>, DbError> {
    let instance = instance::id(tx)?;
    Ok(group::page(tx, after, limit)?
        .into_iter()
        .map(|group| SyncRow {
            record: group.record(&instance),
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

/// The ids of a group's members after one of them, in their order.
///
/// # Errors
/// What the database reports.
pub fn members_after(
    tx: &mut Tx<'_>,
    group_id: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT user_id FROM group_members WHERE group_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3",
        params![group_id, after, i64::try_from(limit).unwrap_or(i64::MAX)],
    )?
    .iter()
    .map(|row| row.get(0))
    .collect()
}

/// The ids of subjects of a kind after one of them, in their order.
///
/// # Errors
/// What the database reports.
pub fn ids_after(
    tx: &mut Tx<'_>,
    kind: SubjectKind,
    after: &str,
    limit: usize,
) -> Result<Vec<String>, DbError> {
    let sql = match kind {
        SubjectKind::User => "SELECT id FROM users WHERE id > $1 ORDER BY id LIMIT $2",
        SubjectKind::Group => "SELECT id FROM groups WHERE id > $1 ORDER BY id LIMIT $2",
        SubjectKind::Unit => "SELECT id FROM organizational_units WHERE id > $1 ORDER BY id LIMIT $2",
    };
    tx.query(sql, params![after, i64::try_from(limit).unwrap_or(i64::MAX)])?
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
    let instance = instance::id(tx)?;
    Ok(match kind {
        SubjectKind::User => {
            user::standing(tx, id)?.map(|(user, placement)| (user.record(&instance), placement))
        }
        SubjectKind::Unit => match unit::get(tx, id)? {
            Some(unit) => Some((
                unit.record(&instance),
                placement(tx, std::slice::from_ref(&unit.id), Vec::new())?,
            )),
            None => None,
        },
        SubjectKind::Group => group::get(tx, id)?.map(|group| (group.record(&instance), group.placement())),
    })
}

/// The version of a subject (see [`crate::access`]); `None` if it does not exist.
///
/// # Errors
/// What the database reports.
pub fn version_of(tx: &mut Tx<'_>, kind: SubjectKind, id: &str) -> Result<Option<Version>, DbError> {
    let sql = match kind {
        SubjectKind::User => "SELECT update_time FROM users WHERE id = $1",
        SubjectKind::Unit => "SELECT update_time FROM organizational_units WHERE id = $1",
        SubjectKind::Group => "SELECT update_time FROM groups WHERE id = $1",
    };
    tx.query_opt(sql, params![id])?.map(|row| row.get(0)).transpose()
}

/// All units, parents before children.
///
/// # Errors
/// What the database reports.
pub fn all_units(tx: &mut Tx<'_>) -> Result<Vec<Unit>, DbError> {
    let tree = Tree::load(tx)?;
    let mut units = unit::all(tx)?;
    units.sort_by_cached_key(|unit| (tree.depth(&unit.id), unit.name_key()));
    Ok(units)
}

/// How a record of another directory names a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// By username.
    pub username: String,
    /// By its id in its source.
    pub external_id: Option<(Source, String)>,
    /// By the id here.
    pub id: Option<String>,
}

/// The users that a [`Named`] may mean.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    /// The user of that external id within that source.
    pub by_external_id: Option<Arc<User>>,
    /// The user of that id.
    pub by_id: Option<Arc<User>>,
    /// The user of that username.
    pub by_username: Option<Arc<User>>,
}

/// Finds the users that records of another directory may stand for. The answers stand in the order of the
/// questions.
///
/// # Errors
/// What the database reports.
pub fn match_users(tx: &mut Tx<'_>, wanted: &[Named]) -> Result<Vec<Matches>, DbError> {
    let mut external: BTreeMap<&Source, Vec<Value<'_>>> = BTreeMap::new();
    for (source, id) in wanted.iter().filter_map(|named| named.external_id.as_ref()) {
        external.entry(source).or_default().push(Value::from(id.as_str()));
    }
    let folded: Vec<String> = wanted.iter().map(|named| fold(&named.username)).collect();
    let mut ids: Vec<String> = wanted.iter().filter_map(|named| named.id.clone()).collect();
    for (source, external_ids) in external {
        for portion in external_ids.chunks(AT_ONCE) {
            let mut values = portion.to_vec();
            let sql = format!(
                "SELECT id FROM users WHERE external_id IN {} AND source_type = ${} AND source_id = ${}",
                placeholders(1, portion.len()),
                portion.len() + 1,
                portion.len() + 2
            );
            values.push(Value::from(source.source_type.as_str()));
            values.push(Value::from(source.source_id.as_str()));
            for row in tx.query(&sql, &values)? {
                ids.push(row.get(0)?);
            }
        }
    }
    for portion in folded.chunks(AT_ONCE) {
        let values: Vec<Value<'_>> = portion.iter().map(|text| Value::from(text.as_str())).collect();
        let sql = format!(
            "SELECT id FROM users WHERE username_folded IN {}",
            placeholders(1, portion.len())
        );
        for row in tx.query(&sql, &values)? {
            ids.push(row.get(0)?);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    let mut by_external_id = HashMap::new();
    let mut by_username = HashMap::new();
    let mut by_id = HashMap::new();
    for user in user::load_many(tx, &ids)? {
        let user = Arc::new(user);
        if let Some(external_id) = &user.external_id {
            by_external_id.insert((user.source.clone(), external_id.clone()), Arc::clone(&user));
        }
        by_username.insert(fold(&user.username), Arc::clone(&user));
        by_id.insert(user.id.clone(), user);
    }
    Ok(wanted
        .iter()
        .zip(&folded)
        .map(|(named, folded)| Matches {
            by_external_id: named
                .external_id
                .as_ref()
                .and_then(|key| by_external_id.get(key))
                .cloned(),
            by_id: named.id.as_ref().and_then(|id| by_id.get(id)).cloned(),
            by_username: by_username.get(folded).cloned(),
        })
        .collect())
}

/// The ids of the users of these names, by folded username; who is unknown is left out.
///
/// # Errors
/// What the database reports.
pub fn user_ids_by_username(
    tx: &mut Tx<'_>,
    usernames: &[String],
) -> Result<HashMap<String, String>, DbError> {
    ids_by(tx, ("users", "username_folded"), usernames)
}

/// The ids of the users of these email addresses, by folded address; who is unknown is left out.
///
/// # Errors
/// What the database reports.
pub fn user_ids_by_email(tx: &mut Tx<'_>, emails: &[String]) -> Result<HashMap<String, String>, DbError> {
    ids_by(tx, ("users", "email_folded"), emails)
}

/// The ids of the groups of these names, by folded name; what is unknown is left out.
///
/// # Errors
/// What the database reports.
pub fn group_ids_by_name(tx: &mut Tx<'_>, names: &[String]) -> Result<HashMap<String, String>, DbError> {
    ids_by(tx, ("groups", "name_folded"), names)
}

fn ids_by(
    tx: &mut Tx<'_>,
    (table, column): (&str, &str),
    names: &[String],
) -> Result<HashMap<String, String>, DbError> {
    let mut ids = HashMap::with_capacity(names.len());
    for portion in names.chunks(AT_ONCE) {
        let folded: Vec<String> = portion.iter().map(|name| fold(name)).collect();
        let values: Vec<Value<'_>> = folded.iter().map(|name| Value::from(name.as_str())).collect();
        let sql = format!(
            "SELECT {column}, id FROM {table} WHERE {column} IN {}",
            placeholders(1, portion.len())
        );
        for row in tx.query(&sql, &values)? {
            ids.insert(row.get(0)?, row.get(1)?);
        }
    }
    Ok(ids)
}

/// How many users stand directly in each unit; units without any are left out.
///
/// # Errors
/// What the database reports.
pub fn users_by_unit(tx: &mut Tx<'_>) -> Result<HashMap<String, u64>, DbError> {
    tx.query(
        "SELECT unit_id, COUNT(*) FROM unit_members GROUP BY unit_id",
        params![],
    )?
    .iter()
    .map(|row| Ok((row.get(0)?, row.get::<i64>(1)?.unsigned_abs())))
    .collect()
}

/// A group by id; `None` if there is none.
///
/// # Errors
/// What the database reports.
pub fn group(tx: &mut Tx<'_>, id: &str) -> Result<Option<Group>, DbError> {
    group::get(tx, id)
}

/// Users by id, in the order of the ids; those that do not exist are left out.
///
/// # Errors
/// What the database reports.
pub fn users_of(tx: &mut Tx<'_>, ids: &[String]) -> Result<Vec<User>, DbError> {
    user::load_many(tx, ids)
}

/// Which of these users there are.
///
/// # Errors
/// What the database reports.
pub fn present_users(tx: &mut Tx<'_>, ids: &[String]) -> Result<HashSet<String>, DbError> {
    let mut present = HashSet::new();
    for portion in ids.chunks(AT_ONCE) {
        let values: Vec<Value<'_>> = portion.iter().map(|id| Value::from(id.as_str())).collect();
        let sql = format!("SELECT id FROM users WHERE id IN {}", listed(1, portion.len()));
        for row in tx.query(&sql, &values)? {
            present.insert(row.get(0)?);
        }
    }
    Ok(present)
}

/// The users of one source after an id, by id: each with its username.
///
/// # Errors
/// What the database reports.
pub fn owned_users(
    tx: &mut Tx<'_>,
    source: &Source,
    after: &str,
    limit: usize,
) -> Result<Vec<(String, String)>, DbError> {
    user::owned_after(tx, source, after, limit)
}

/// Users after an id, by id.
///
/// # Errors
/// What the database reports.
pub fn users_after(tx: &mut Tx<'_>, after: &str, limit: usize) -> Result<Vec<User>, DbError> {
    user::page(tx, after, limit)
}

/// The ids and usernames of a group's members, by username.
///
/// # Errors
/// What the database reports.
pub fn member_usernames(tx: &mut Tx<'_>, group_id: &str) -> Result<Vec<(String, String)>, DbError> {
    let members = usernames_after(tx, group_id, "", usize::MAX)?.into_iter();
    Ok(members.map(|member| (member.id, member.username)).collect())
}

/// Groups by id, in the order of their names; those that are gone are left out.
///
/// # Errors
/// What the database reports.
pub fn groups(tx: &mut Tx<'_>, ids: &[String]) -> Result<Vec<Group>, DbError> {
    let mut groups = group::load_many(tx, ids)?;
    groups.sort_by_cached_key(|group| fold(&group.name));
    Ok(groups)
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Member {
    /// The user's id.
    pub id: String,
    /// The username.
    pub username: String,
}

/// The members of a group by username, those after one, which is written as [`fold`] has it.
///
/// # Errors
/// What the database reports.
pub fn usernames_after(
    tx: &mut Tx<'_>,
    group_id: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<Member>, DbError> {
    tx.query(
        "SELECT u.id, u.username FROM group_members m JOIN users u ON u.id = m.user_id
         WHERE m.group_id = $1 AND u.username_folded > $2 ORDER BY u.username_folded LIMIT $3",
        params![group_id, after, i64::try_from(limit).unwrap_or(i64::MAX)],
    )?
    .iter()
    .map(|row| {
        Ok(Member {
            id: row.get(0)?,
            username: row.get(1)?,
        })
    })
    .collect()
}

/// A unit and where it is.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct UnitAt {
    /// The unit.
    #[serde(flatten)]
    pub unit: Unit,
    /// Its path from below the root, such as `Engineering/Optics`.
    pub path: String,
}

impl UnitAt {
    fn new(unit: Unit, above: &[String]) -> Self {
        let names: Vec<String> = above.iter().chain([&unit.name]).cloned().collect();
        let path = path::join(&names);
        Self { unit, path }
    }
}

/// The units directly below one, or those at any depth below it in whose names a text stands, whatever its case; by
/// path.
///
/// # Errors
/// What the database reports.
pub fn list_units(tx: &mut Tx<'_>, below: &str, search: Option<&str>) -> Result<Vec<UnitAt>, DbError> {
    let root = path::split(&unit_path(tx, below)?);
    let Some(text) = search.map(fold) else {
        return Ok(unit::children(tx, below)?
            .into_iter()
            .map(|unit| UnitAt::new(unit, &root))
            .collect());
    };
    let mut units: HashMap<String, Unit> = unit::all(tx)?
        .into_iter()
        .map(|unit| (unit.id.clone(), unit))
        .collect();
    let mut names: HashMap<String, Vec<String>> = HashMap::from([(below.to_owned(), root)]);
    let mut found = Vec::new();
    // Parents come first, so where they are is known.
    for id in Tree::load(tx)?.subtree(below).into_iter().skip(1) {
        let Some(unit) = units.remove(&id) else { continue };
        let above = unit.parent_id.as_ref().and_then(|parent| names.get(parent));
        let above = above.cloned().unwrap_or_default();
        let own = above.iter().chain([&unit.name]).cloned().collect();
        names.insert(id, own);
        if fold(&unit.name).contains(&text) {
            found.push(UnitAt::new(unit, &above));
        }
    }
    found.sort_by_cached_key(|at| fold(&at.path));
    Ok(found)
}

/// The name of a user, unit or group; `None` if there is none of this id.
///
/// # Errors
/// What the database reports.
pub fn name_of(tx: &mut Tx<'_>, id: &str) -> Result<Option<String>, DbError> {
    tx.query_opt(
        "SELECT username FROM users WHERE id = $1
         UNION ALL SELECT name FROM organizational_units WHERE id = $1
         UNION ALL SELECT name FROM groups WHERE id = $1",
        params![id],
    )?
    .map(|row| row.get(0))
    .transpose()
}

/// The path of a unit from below the root; empty for the root.
///
/// # Errors
/// What the database reports.
pub fn unit_path(tx: &mut Tx<'_>, id: &str) -> Result<String, DbError> {
    let mut paths = view::unit_paths(tx, &[id.to_owned()])?;
    Ok(paths.remove(id).unwrap_or_default())
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
