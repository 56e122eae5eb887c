//! Joining and leaving a group.

use std::collections::HashSet;

use rollcall_db::{DbError, Tx, Value, params};
use rollcall_protocol::{EventType, SubjectKind};

use super::{Group, MEMBERS_PER_EVENT, require};
use crate::change::{ChangeKind, NewChange, placeholders};
use crate::directory::placement::Tree;
use crate::directory::{Context, DirectoryError, user};

/// The placement changes of a portion of users that join or leave a group. They are in the table already when
/// they arrive, and still when they depart.
fn move_members(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    tree: &Tree,
    group_id: &str,
    portion: &[String],
    kind: ChangeKind,
) -> Result<(), DirectoryError> {
    let changes: Vec<_> = user::load_many(tx, portion)?
        .iter()
        .map(|user| {
            let others = user
                .groups
                .iter()
                .filter(|group| *group != group_id)
                .cloned()
                .collect();
            let with = Some(tree.placement(&user.unit_ids(), user.groups.clone()));
            let without = Some(tree.placement(&user.unit_ids(), others));
            let (before, after) = if kind == ChangeKind::Arrival {
                (without, with)
            } else {
                (with, without)
            };
            NewChange {
                before,
                after,
                ..user.change(ctx, kind)
            }
        })
        .collect();
    ctx.append(tx, &changes)?;
    Ok(())
}

/// Gives the group a new version: who joins and who leaves changes it.
fn touch(tx: &mut Tx<'_>, ctx: &Context<'_>, group: &mut Group) -> Result<(), DbError> {
    group.update_time = ctx.next_version(group.update_time);
    tx.execute_later(
        "UPDATE groups SET update_time = $2 WHERE id = $1",
        params![group.id.as_str(), group.update_time],
    )
}

/// Which of these users are members.
fn present_among(tx: &mut Tx<'_>, id: &str, user_ids: &[String]) -> Result<HashSet<String>, DbError> {
    let mut present = HashSet::new();
    for portion in user_ids.chunks(MEMBERS_PER_EVENT) {
        let mut values: Vec<Value<'_>> = portion.iter().map(|id| Value::from(id.as_str())).collect();
        values.push(Value::from(id));
        let sql = format!(
            "SELECT user_id FROM group_members WHERE user_id IN {} AND group_id = ${}",
            placeholders(1, portion.len()),
            values.len()
        );
        for row in tx.query(&sql, &values)? {
            present.insert(row.get(0)?);
        }
    }
    Ok(present)
}

pub(in crate::directory) fn add_members(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    user_ids: &[String],
) -> Result<usize, DirectoryError> {
    let mut group = require(tx, id)?;
    let mut seen: HashSet<String> = present_among(tx, id, user_ids)?;
    let joining: Vec<String> = user_ids
        .iter()
        .filter(|user_id| seen.insert((*user_id).clone()))
        .cloned()
        .collect();
    if joining.is_empty() {
        return Ok(0);
    }
    let known: HashSet<String> = user::load_many(tx, &joining)?
        .into_iter()
        .map(|user| user.id)
        .collect();
    if let Some(unknown) = joining.iter().find(|id| !known.contains(*id)) {
        return Err(DirectoryError::NotFound {
            kind: SubjectKind::User,
            id: unknown.clone(),
        });
    }
    touch(tx, ctx, &mut group)?;
    let tree = Tree::load(tx)?;
    for portion in joining.chunks(MEMBERS_PER_EVENT) {
        let values: Vec<Value<'_>> = portion
            .iter()
            .flat_map(|user_id| [Value::from(id), Value::from(user_id.as_str())])
            .collect();
        let sql = format!(
            "INSERT INTO group_members (group_id, user_id) VALUES {}",
            placeholders(portion.len(), 2)
        );
        tx.execute(&sql, &values)?;
        move_members(tx, ctx, &tree, id, portion, ChangeKind::Arrival)?;
        ctx.append(tx, &[group.members_change(ctx, EventType::GroupAddUser, portion)])?;
    }
    Ok(joining.len())
}

pub(in crate::directory) fn remove_members(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    user_ids: &[String],
) -> Result<usize, DirectoryError> {
    let mut group = require(tx, id)?;
    let present = present_among(tx, id, user_ids)?;
    let mut leaving: Vec<String> = user_ids
        .iter()
        .filter(|user| present.contains(*user))
        .cloned()
        .collect();
    leaving.sort_unstable();
    leaving.dedup();
    if leaving.is_empty() {
        return Ok(0);
    }
    touch(tx, ctx, &mut group)?;
    let tree = Tree::load(tx)?;
    for portion in leaving.chunks(MEMBERS_PER_EVENT) {
        ctx.append(
            tx,
            &[group.members_change(ctx, EventType::GroupRemoveUser, portion)],
        )?;
        move_members(tx, ctx, &tree, id, portion, ChangeKind::Departure)?;
        let mut values: Vec<Value<'_>> = portion.iter().map(|id| Value::from(id.as_str())).collect();
        values.push(Value::from(id));
        let sql = format!(
            "DELETE FROM group_members WHERE user_id IN {} AND group_id = ${}",
            placeholders(1, portion.len()),
            values.len()
        );
        tx.execute(&sql, &values)?;
    }
    Ok(leaving.len())
}
