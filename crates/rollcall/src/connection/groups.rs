//! Reading the groups of connections. The directory keeps all that SCIM has of a group, so nothing else is kept of them.

use rollcall_db::{DbError, Row, Tx, params};

use super::rows::{AT_ONCE, Attribute, Rows, values};
use crate::change::listed;
use crate::clock::Millis;

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

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The group's id.
    pub group_id: String,
    /// The user's id.
    pub user_id: String,
}

/// Reading the groups of a connection. The last change of each is found at the end of an index, however many there are.
pub const ROWS: Rows<Kept> = Rows {
    select: "SELECT g.id, g.name, g.external_id, g.create_time, g.update_time,
                    (SELECT c.time FROM changes c WHERE c.subject_id = g.id ORDER BY c.seq DESC LIMIT 1),
                    (SELECT MAX(c.seq) FROM changes c WHERE c.subject_id = g.id)
             FROM groups g WHERE g.source_type = 'scim' AND g.source_id = $1",
    all: "groups g WHERE g.source_type = 'scim' AND g.source_id = $1",
    id: "g.id",
    attributes: [
        Attribute {
            name: "id",
            column: "g.id",
            is_folded: false,
        },
        Attribute {
            name: "displayName",
            column: "g.name_folded",
            is_folded: true,
        },
        Attribute {
            name: "externalId",
            column: "g.external_id",
            is_folded: false,
        },
    ],
    from_row,
};

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
            listed(2, ids.len()),
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
