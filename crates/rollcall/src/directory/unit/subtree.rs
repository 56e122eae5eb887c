//! What is done to a unit with everything below it.

use rollcall_db::{Tx, params};
use rollcall_protocol::EventType;

use super::{Unit, check, children, require, update_row};
use crate::change::{ChangeKind, NewChange};
use crate::directory::placement::{Tree, placement};
use crate::directory::{Cascade, Context, DirectoryError, plan_deletion, previous, user};
use crate::id::ROOT_UNIT;

/// Moves a unit with everything below it. See the change log's description for the order of what is
/// appended.
pub(in crate::directory) fn move_below(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    parent_id: &str,
) -> Result<usize, DirectoryError> {
    if id == ROOT_UNIT {
        return Err(DirectoryError::Root);
    }
    let before = require(tx, id)?;
    require(tx, parent_id)?;
    if before.parent_id.as_deref() == Some(parent_id) {
        return Ok(0);
    }
    let old_tree = Tree::load(tx)?;
    let subtree = old_tree.subtree(id);
    if subtree.iter().any(|below| below == parent_id) {
        return Err(DirectoryError::Cycle {
            unit: id.to_owned(),
            target: parent_id.to_owned(),
        });
    }
    let mut unit = before.clone();
    unit.parent_id = Some(parent_id.to_owned());
    unit.update_time = ctx.next_version(before.update_time);
    check(tx, &unit, Some(&before))?;
    update_row(tx, &unit)?;
    let mut new_tree = Tree::load(tx)?;
    new_tree.move_unit(id, parent_id);

    let users = user::in_units(tx, &subtree)?;
    let moved_users = |tx: &mut Tx<'_>, kind: ChangeKind| -> Result<(), DirectoryError> {
        for portion in users.chunks(500) {
            let loaded = user::load_many(tx, portion)?;
            let changes: Vec<_> = loaded
                .iter()
                .map(|user| NewChange {
                    before: Some(old_tree.placement(&user.unit_ids(), user.groups.clone())),
                    after: Some(new_tree.placement(&user.unit_ids(), user.groups.clone())),
                    ..user.change(ctx, kind)
                })
                .collect();
            ctx.append(tx, &changes)?;
        }
        Ok(())
    };
    let mut below = Vec::new();
    for unit in &subtree[1..] {
        below.push(require(tx, unit)?);
    }
    let stands = |unit: &Unit, kind| NewChange {
        before: Some(old_tree.placement(std::slice::from_ref(&unit.id), Vec::new())),
        after: Some(new_tree.placement(std::slice::from_ref(&unit.id), Vec::new())),
        ..unit.change(ctx, kind)
    };
    moved_users(tx, ChangeKind::Departure)?;
    let departures: Vec<_> = below
        .iter()
        .rev()
        .map(|unit| stands(unit, ChangeKind::Departure))
        .collect();
    ctx.append(tx, &departures)?;
    let own = NewChange {
        previous: previous(&before.record(ctx.instance_id), &unit.record(ctx.instance_id)),
        ..stands(&unit, ChangeKind::Event(EventType::UnitUpdateParent))
    };
    ctx.append(tx, &[own])?;
    let arrivals: Vec<_> = below
        .iter()
        .map(|unit| stands(unit, ChangeKind::Arrival))
        .collect();
    ctx.append(tx, &arrivals)?;
    moved_users(tx, ChangeKind::Arrival)?;
    Ok(1)
}

/// Deletes a unit, with everything below it if the caller says so.
pub(in crate::directory) fn delete(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    cascade: &Cascade,
) -> Result<usize, DirectoryError> {
    if id == ROOT_UNIT {
        return Err(DirectoryError::Root);
    }
    require(tx, id)?;
    let subtree = Tree::load(tx)?.subtree(id);
    let members = user::in_units(tx, &subtree)?;
    if let Cascade::Confirmed(token) = cascade
        && plan_deletion(tx, id)?.token != *token
    {
        return Err(DirectoryError::PlanChanged);
    }
    if *cascade == Cascade::No {
        let units = children(tx, id)?.len();
        let direct = user::in_units(tx, &[id.to_owned()])?.len();
        if units + direct > 0 {
            return Err(DirectoryError::UnitNotEmpty {
                unit: id.to_owned(),
                units: i64::try_from(units).unwrap_or(i64::MAX),
                users: i64::try_from(direct).unwrap_or(i64::MAX),
            });
        }
    }
    let mut changes = 0;
    for member in user::load_many(tx, &members)? {
        let primary_goes = subtree.contains(&member.primary_unit_id());
        changes += if primary_goes {
            user::delete(tx, ctx, &member.id)?
        } else {
            let further: Vec<String> = member
                .unit_ids()
                .into_iter()
                .filter(|unit| *unit != member.primary_unit_id() && !subtree.contains(unit))
                .collect();
            user::set_units(tx, ctx, &member.id, &member.primary_unit_id(), &further)?
        };
    }
    for unit_id in subtree.iter().rev() {
        let unit = require(tx, unit_id)?;
        let before = Some(placement(tx, std::slice::from_ref(unit_id), Vec::new())?);
        tx.execute(
            "DELETE FROM organizational_units WHERE id = $1",
            params![unit_id.as_str()],
        )?;
        let change = unit.change(ctx, ChangeKind::Event(EventType::UnitDelete));
        ctx.append(tx, &[NewChange { before, ..change }])?;
        changes += 1;
    }
    Ok(changes)
}
