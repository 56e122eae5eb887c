//! What connections have said of their users, and reading it.

use std::collections::{HashMap, HashSet};

use rollcall_db::{DbError, Row, Tx, params};
use rollcall_scim::Object;

use super::rows::{AT_ONCE, Attribute, Key, Rows, Which, values};
use crate::change::listed;
use crate::clock::Millis;
use crate::directory::fields::fold;

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

/// Reading the users of a connection.
pub const ROWS: Rows<Kept> = Rows {
    select: "SELECT k.user_id, k.resource, k.update_time, u.status, u.create_time, u.update_time
             FROM connection_users k JOIN users u ON u.id = k.user_id
             WHERE k.connection_id = $1",
    all: "connection_users k WHERE k.connection_id = $1",
    id: "k.user_id",
    attributes: [
        Attribute {
            name: "id",
            column: "k.user_id",
            is_folded: false,
        },
        Attribute {
            name: "userName",
            column: "k.user_name",
            is_folded: true,
        },
        Attribute {
            name: "externalId",
            column: "k.external_id",
            is_folded: false,
        },
    ],
    from_row,
};

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

/// The users with a `userName`. It is compared more loosely than SCIM does, so not all of them need be meant.
///
/// # Errors
/// What the database reports.
pub fn named(tx: &mut Tx<'_>, connection_id: &str, user_name: &str) -> Result<Vec<Kept>, DbError> {
    let key = Key {
        column: "k.user_name",
        value: fold(user_name),
    };
    ROWS.read(tx, connection_id, Which::With(&key))
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
            listed(2, ids.len())
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
    // A cross join, because SQLite joins in the order that it names: from the users to their groups. It would rather
    // look for each user in each group that the connection has.
    for ids in ids.chunks(AT_ONCE) {
        let sql = format!(
            "SELECT m.user_id, g.id, g.name FROM group_members m CROSS JOIN groups g
             WHERE g.id = m.group_id AND g.source_type = 'scim' AND g.source_id = $1 AND m.user_id IN {}
             ORDER BY m.user_id, g.id",
            listed(2, ids.len())
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
    // One by one: asked for either at once, SQLite goes through all users, since the index of addresses leaves out those
    // who have none.
    for (column, value) in [("username_folded", username), ("email_folded", email)] {
        let Some(value) = value else { continue };
        let sql = format!(
            "SELECT u.id, k.user_id IS NOT NULL FROM users u LEFT JOIN connection_users k ON k.user_id = u.id
             WHERE u.{column} = $1 LIMIT 1"
        );
        if let Some(row) = tx.query_opt(&sql, params![fold(value)])? {
            return Ok(Some(There {
                id: row.get(0)?,
                is_owned: row.get(1)?,
            }));
        }
    }
    Ok(None)
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
