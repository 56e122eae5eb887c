//! Everything in a mirror, in a form that can be compared: with another mirror, or with what a hub
//! holds in an application's scope.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::{GroupPayload, UnitPayload, UserPayload, UserStatus};
use serde::Serialize;

/// An organizational unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UnitRow {
    /// The unit above.
    pub parent_id: Option<String>,
    /// Its name.
    pub name: Option<String>,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of the wire contract, section 4")]
pub struct UserRow {
    pub username: Option<String>,
    pub display_name: Option<String>,
    pub email: Option<String>,
    pub phone_region: Option<String>,
    pub phone_number: Option<String>,
    pub status: Option<String>,
    pub external_id: Option<String>,
    pub description: Option<String>,
    pub account_expire_time: Option<i64>,
    pub lock_expire_time: Option<i64>,
    /// The units, and for each whether it is the primary one.
    pub units: BTreeMap<String, bool>,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupRow {
    /// Its name.
    pub name: Option<String>,
    /// Its members.
    pub members: BTreeSet<String>,
}

/// A directory, or the part of one that an application sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Organizational units by id.
    pub units: BTreeMap<String, UnitRow>,
    /// Users by id.
    pub users: BTreeMap<String, UserRow>,
    /// Groups by id.
    pub groups: BTreeMap<String, GroupRow>,
}

/// How much is in a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Organizational units.
    pub organizational_units: u64,
    /// Users.
    pub users: u64,
    /// Groups.
    pub groups: u64,
    /// Pairs of user and unit.
    pub memberships: u64,
    /// Pairs of group and user.
    pub group_members: u64,
}

impl Snapshot {
    /// Adds a unit.
    pub fn add_unit(&mut self, unit: UnitPayload) {
        let UnitPayload {
            unit_id,
            name,
            parent_id,
            external_id: _,
            source_type: _,
            source_id: _,
            description: _,
            create_time: _,
            update_time: _,
        } = unit;
        self.units.insert(unit_id, UnitRow { parent_id, name });
    }

    /// Adds a user.
    pub fn add_user(&mut self, user: UserPayload) {
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
            password: _,
            source_type: _,
            source_id: _,
            external_id,
            units,
            primary_unit_id: _,
            custom_fields: _,
        } = user;
        let row = UserRow {
            username,
            display_name,
            email,
            phone_region,
            phone_number,
            status: status.map(|status| UserStatus::as_str(status).to_owned()),
            external_id,
            description,
            account_expire_time,
            lock_expire_time,
            units: units.into_iter().map(|unit| (unit.id, unit.primary)).collect(),
        };
        self.users.insert(user_id, row);
    }

    /// Adds a group with its members.
    pub fn add_group(&mut self, group: GroupPayload, members: impl IntoIterator<Item = String>) {
        let GroupPayload {
            group_id,
            name,
            external_id: _,
            source_type: _,
            source_id: _,
            description: _,
            create_time: _,
            update_time: _,
            user_ids: _,
        } = group;
        let members = members.into_iter().collect();
        self.groups.insert(group_id, GroupRow { name, members });
    }

    /// How much is in it.
    pub fn counts(&self) -> Counts {
        let sum = |counts: &mut dyn Iterator<Item = usize>| counts.sum::<usize>() as u64;
        Counts {
            organizational_units: self.units.len() as u64,
            users: self.users.len() as u64,
            groups: self.groups.len() as u64,
            memberships: sum(&mut self.users.values().map(|user| user.units.len())),
            group_members: sum(&mut self.groups.values().map(|group| group.members.len())),
        }
    }

    /// The SHA-256 of the snapshot as JSON, in hexadecimal digits: equal directories have equal digests.
    ///
    /// # Errors
    /// Those of `serde_json`; with these types there are none.
    pub fn digest(&self) -> Result<String, serde_json::Error> {
        let json = serde_json::to_vec(self)?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &json);
        Ok(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The differences from another snapshot, a line each, for people.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        compare("organizational unit", &self.units, &other.units, &mut lines);
        compare("user", &self.users, &other.users, &mut lines);
        compare("group", &self.groups, &other.groups, &mut lines);
        lines
    }
}

fn compare<T: PartialEq + std::fmt::Debug>(
    what: &str,
    these: &BTreeMap<String, T>,
    those: &BTreeMap<String, T>,
    lines: &mut Vec<String>,
) {
    for (id, this) in these {
        match those.get(id) {
            None => lines.push(format!("{what} {id} is missing on the other side")),
            Some(that) if that != this => lines.push(format!("{what} {id} differs: {this:?} and {that:?}")),
            Some(_) => {}
        }
    }
    for id in those.keys().filter(|id| !these.contains_key(*id)) {
        lines.push(format!("{what} {id} is only on the other side"));
    }
}

pub(super) fn read(tx: &mut Tx<'_>) -> Result<Snapshot, DbError> {
    let mut snapshot = Snapshot::default();
    for row in tx.query(
        "SELECT unit_id, parent_id, name FROM mirror_organizational_units WHERE deleted = $1",
        params![false],
    )? {
        let unit = UnitRow {
            parent_id: row.get(1)?,
            name: row.get(2)?,
        };
        snapshot.units.insert(row.get(0)?, unit);
    }
    snapshot.users = users(tx, "", i64::MAX)?.into_iter().collect();
    for row in tx.query(
        "SELECT group_id, name FROM mirror_groups WHERE deleted = $1",
        params![false],
    )? {
        let group = GroupRow {
            name: row.get(1)?,
            members: BTreeSet::new(),
        };
        snapshot.groups.insert(row.get(0)?, group);
    }
    for row in tx.query(
        "SELECT group_id, user_id FROM mirror_group_members WHERE present = $1",
        params![true],
    )? {
        if let Some(group) = snapshot.groups.get_mut(&row.get::<String>(0)?) {
            group.members.insert(row.get(1)?);
        }
    }
    Ok(snapshot)
}

/// Up to a number of users after an id, in the order of their ids.
pub(super) fn users(tx: &mut Tx<'_>, after: &str, limit: i64) -> Result<Vec<(String, UserRow)>, DbError> {
    let mut users = Vec::new();
    for row in tx.query(
        "SELECT user_id, username, display_name, email, phone_region, phone_number, status, external_id,
                description, account_expire_time, lock_expire_time
         FROM mirror_users WHERE deleted = $1 AND user_id > $2 ORDER BY user_id LIMIT $3",
        params![false, after, limit],
    )? {
        let user = UserRow {
            username: row.get(1)?,
            display_name: row.get(2)?,
            email: row.get(3)?,
            phone_region: row.get(4)?,
            phone_number: row.get(5)?,
            status: row.get(6)?,
            external_id: row.get(7)?,
            description: row.get(8)?,
            account_expire_time: row.get(9)?,
            lock_expire_time: row.get(10)?,
            units: BTreeMap::new(),
        };
        users.push((row.get(0)?, user));
    }
    let positions: BTreeMap<String, usize> = users
        .iter()
        .enumerate()
        .map(|(position, (id, _)): (usize, &(String, UserRow))| (id.clone(), position))
        .collect();
    let (Some((first, _)), Some((last, _))) = (users.first(), users.last()) else {
        return Ok(users);
    };
    for row in tx.query(
        "SELECT user_id, unit_id, is_primary FROM mirror_memberships WHERE user_id BETWEEN $1 AND $2",
        params![first.clone(), last.clone()],
    )? {
        if let Some(position) = positions.get(&row.get::<String>(0)?) {
            users[*position].1.units.insert(row.get(1)?, row.get(2)?);
        }
    }
    Ok(users)
}

pub(super) fn count(tx: &mut Tx<'_>) -> Result<Counts, DbError> {
    let row = tx.query_one(
        "SELECT (SELECT COUNT(*) FROM mirror_organizational_units WHERE deleted = $1),
                (SELECT COUNT(*) FROM mirror_users WHERE deleted = $1),
                (SELECT COUNT(*) FROM mirror_groups WHERE deleted = $1),
                (SELECT COUNT(*) FROM mirror_memberships),
                (SELECT COUNT(*) FROM mirror_group_members m JOIN mirror_groups g ON g.group_id = m.group_id
                 WHERE m.present = $2 AND g.deleted = $1)",
        params![false, true],
    )?;
    let count = |index| Ok::<_, DbError>(row.get::<i64>(index)?.cast_unsigned());
    Ok(Counts {
        organizational_units: count(0)?,
        users: count(1)?,
        groups: count(2)?,
        memberships: count(3)?,
        group_members: count(4)?,
    })
}
