//! What an inventory does to the rows, whenever it comes.
//!
//! An inventory names all ids in a range, as they were at its time. What the mirror has there besides is
//! deleted as of that time, unless it is newer; deletions that an inventory brings are remembered like
//! those that an event brings, so that older events which arrive late stay without effect.
//!
//! The same has to hold for ids that the mirror has never heard of. Nobody can write rows for those, so
//! the range itself is remembered (`received_inventories`), and this rule is kept: *an id without a row is
//! as if it had been deleted at the time of the last inventory whose range covers it.* Before an event
//! touches ids, [`bury`] writes the rows that this rule implies; and an inventory gives ids that it names
//! a row if they have none, so that the rule does not apply to them. A range is forgotten when a later
//! one covers it, and after a week.
//!
//! Members of a group have no record besides being members, so that an inventory of members adds those
//! that are missing as well.
//!
//! Each step is one statement for the whole range, whatever the number of its rows. Ids are compared byte
//! by byte on both databases: on PostgreSQL their columns have the collation "C".

use rollcall_db::{DbError, Tx, Value, params};
use rollcall_protocol::{InventoryKind, InventoryPayload};

use super::rows::{GROUPS, Table, UNITS, USERS, set_members};
use crate::handler::Outcome;
use crate::schema::{id_list, ids};

/// Whether an inventory covers `ids.value`.
const COVERED: &str = "i.after_id < ids.value AND (i.through_id IS NULL OR ids.value <= i.through_id)";

/// Gives those of the ids that have no row, and that an inventory covers, the row of something deleted.
pub(super) fn bury(tx: &mut Tx<'_>, table: &Table, list: &str) -> Result<(), DbError> {
    let (Table { name, key, .. }, ids) = (table, ids(tx));
    tx.execute(
        &format!(
            "INSERT INTO {name} ({key}, event_time, deleted, deleted_time)
             SELECT ids.value, MAX(i.event_time), CAST($2 AS BOOLEAN), MAX(i.event_time)
             FROM {ids} JOIN received_inventories i ON i.kind = $3 AND i.group_id = '' AND {COVERED}
             GROUP BY ids.value
             ON CONFLICT ({key}) DO NOTHING"
        ),
        params![list, true, table.kind.as_str()],
    )?;
    Ok(())
}

/// The same for pairs of a group and users.
pub(super) fn bury_members(tx: &mut Tx<'_>, group_id: &str, list: &str) -> Result<(), DbError> {
    let ids = ids(tx);
    tx.execute(
        &format!(
            "INSERT INTO mirror_group_members (group_id, user_id, event_time, present)
             SELECT i.group_id, ids.value, MAX(i.event_time), CAST($2 AS BOOLEAN)
             FROM {ids} JOIN received_inventories i ON i.kind = $3 AND i.group_id = $4 AND {COVERED}
             GROUP BY i.group_id, ids.value
             ON CONFLICT (group_id, user_id) DO NOTHING"
        ),
        params![list, false, InventoryKind::GroupMember.as_str(), group_id],
    )?;
    Ok(())
}

/// Applies an inventory. Says how many records it removed.
pub(super) fn apply(
    tx: &mut Tx<'_>,
    inventory: &InventoryPayload,
    time: i64,
    now: i64,
) -> Result<Outcome, DbError> {
    let list = id_list(&inventory.ids);
    let removed = match (inventory.kind, &inventory.group_id) {
        (InventoryKind::User, _) => remove(tx, &USERS, inventory, &list, time)?,
        (InventoryKind::Unit, _) => remove(tx, &UNITS, inventory, &list, time)?,
        (InventoryKind::Group, _) => remove(tx, &GROUPS, inventory, &list, time)?,
        (InventoryKind::GroupMember, Some(group_id)) => {
            let removed = remove_members(tx, group_id, inventory, &list, time)?;
            set_members(tx, group_id, &inventory.ids, true, time)?;
            removed
        }
        (InventoryKind::GroupMember, None) => 0,
    };
    note(tx, inventory, time, now)?;
    Ok(Outcome::Success(match removed {
        0 => String::new(),
        removed => format!("{removed} removed"),
    }))
}

/// A condition: the column's id is in the range ($2, $3) and is not in the list ($1).
fn unnamed(tx: &Tx<'_>, column: &str) -> String {
    let ids = ids(tx);
    format!(
        "{column} > CAST($2 AS TEXT) AND (CAST($3 AS TEXT) IS NULL OR {column} <= CAST($3 AS TEXT))
         AND {column} NOT IN (SELECT ids.value FROM {ids})"
    )
}

fn remove(
    tx: &mut Tx<'_>,
    table: &Table,
    inventory: &InventoryPayload,
    list: &str,
    time: i64,
) -> Result<u64, DbError> {
    let Table {
        name, key, columns, ..
    } = table;
    bury(tx, table, list)?;
    // Older than everything: whatever comes for these ids is news.
    let source = ids(tx);
    tx.execute(
        &format!(
            "INSERT INTO {name} ({key}, event_time, deleted)
             SELECT DISTINCT ids.value, CAST($2 AS BIGINT), CAST($3 AS BOOLEAN) FROM {source}
             WHERE ids.value <> ''
             ON CONFLICT ({key}) DO NOTHING"
        ),
        params![list, i64::MIN, true],
    )?;
    let range: [Value<'_>; 4] = [
        list.into(),
        inventory.after.as_str().into(),
        inventory.through.as_deref().into(),
        time.into(),
    ];
    let with = |deleted: bool| -> Vec<Value<'_>> {
        range
            .iter()
            .map(Value::from)
            .chain([Value::from(deleted)])
            .collect()
    };
    let unnamed_row = unnamed(tx, key);
    let emptied: String = columns
        .iter()
        .map(|column| format!(", {column} = NULL"))
        .collect();
    let is_users = *key == USERS.key;
    let no_password = if is_users {
        ", password_event_time = NULL"
    } else {
        ""
    };
    let removed = tx.execute(
        &format!(
            "UPDATE {name} SET event_time = $4, deleted = NOT CAST($5 AS BOOLEAN), deleted_time = $4{emptied}{no_password}
             WHERE {unnamed_row} AND deleted = CAST($5 AS BOOLEAN) AND event_time <= $4"
        ),
        &with(false),
    )?;
    // What was deleted before is deleted until now.
    tx.execute(
        &format!(
            "UPDATE {name} SET event_time = $4, deleted_time = $4
             WHERE {unnamed_row} AND deleted = CAST($5 AS BOOLEAN) AND event_time < $4"
        ),
        &with(true),
    )?;
    // What came later has had another life before.
    let former_password = if is_users {
        ", password_event_time = CASE WHEN password_event_time <= $4 THEN NULL ELSE password_event_time END"
    } else {
        ""
    };
    tx.execute(
        &format!(
            "UPDATE {name} SET deleted_time = $4{former_password}
             WHERE {unnamed_row} AND event_time > $4 AND COALESCE(deleted_time, $4) <= $4"
        ),
        &range,
    )?;
    if *key != UNITS.key {
        tx.execute(
            &format!("DELETE FROM mirror_group_members WHERE {unnamed_row} AND event_time <= $4"),
            &range,
        )?;
    }
    if is_users {
        let unnamed = unnamed(tx, "mirror_memberships.user_id");
        let params: Vec<Value<'_>> = range[..3].iter().map(Value::from).chain([true.into()]).collect();
        tx.execute(
            &format!(
                "DELETE FROM mirror_memberships WHERE {unnamed}
                 AND EXISTS (SELECT 1 FROM mirror_users u
                             WHERE u.user_id = mirror_memberships.user_id AND u.deleted = $4)"
            ),
            &params,
        )?;
    }
    Ok(removed)
}

fn remove_members(
    tx: &mut Tx<'_>,
    group_id: &str,
    inventory: &InventoryPayload,
    list: &str,
    time: i64,
) -> Result<u64, DbError> {
    let unnamed = unnamed(tx, "user_id");
    let (after, through) = (inventory.after.as_str(), inventory.through.as_deref());
    let mut set = |present: bool| {
        // First those who are members, who are counted; then those who were.
        tx.execute(
            &format!(
                "UPDATE mirror_group_members SET event_time = $4, present = $5
                 WHERE group_id = $6 AND {unnamed} AND event_time <= $4 AND present = $7"
            ),
            params![list, after, through, time, false, group_id, present],
        )
    };
    let removed = set(true)?;
    set(false)?;
    Ok(removed)
}

/// Remembers an inventory's range instead of those that it covers.
fn note(tx: &mut Tx<'_>, inventory: &InventoryPayload, time: i64, now: i64) -> Result<(), DbError> {
    let (after, through) = (inventory.after.as_str(), inventory.through.as_deref());
    let group_id = inventory.group_id.as_deref().unwrap_or_default();
    let kind = inventory.kind.as_str();
    tx.execute(
        "DELETE FROM received_inventories
         WHERE kind = $1 AND group_id = $2 AND event_time <= $3 AND after_id >= CAST($4 AS TEXT)
           AND (CAST($5 AS TEXT) IS NULL OR through_id <= CAST($5 AS TEXT))",
        params![kind, group_id, time, after, through],
    )?;
    tx.execute(
        "INSERT INTO received_inventories (kind, group_id, after_id, through_id, event_time, received_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        params![kind, group_id, after, through, time, now],
    )?;
    Ok(())
}
