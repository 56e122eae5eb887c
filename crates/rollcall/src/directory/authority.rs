//! What the door asks before a command does anything: whether the caller may see what the command names,
//! and whether it still is what the caller has read.
//!
//! Whatever a command then writes ends as changes in the log, each with its subject's placement before and
//! after. `Context::append` judges those once more, so that also what a command takes along (the users of
//! a unit, the members of a group) stays inside the caller's scope, whatever commands there will be.

use rollcall_db::Tx;
use rollcall_protocol::SubjectKind;

use super::{Command, Context, DirectoryError, owned, query, user};
use crate::access::Authority;
use crate::change::{self, Head, NewChange, Placement};

impl Context<'_> {
    /// Appends changes, if all of them are inside the caller's scope before and after.
    pub(super) fn append(&self, tx: &mut Tx<'_>, changes: &[NewChange]) -> Result<Head, DirectoryError> {
        // What is owned was looked at before the command; its consequences for others, such as that somebody is no
        // more in a group, are no matter of where they stand.
        if matches!(self.caller.authority, Authority::Scope { .. }) {
            for change in changes {
                self.judge(change)?;
            }
        }
        Ok(change::append(tx, self.now, self.caller, self.random, changes)?)
    }

    fn judge(&self, change: &NewChange) -> Result<(), DirectoryError> {
        let (kind, id) = (change.subject_kind, &change.subject_id);
        let covers = |placement: &Placement| self.caller.authority.covers(kind, placement);
        if change.before.as_deref().is_some_and(|before| !covers(before)) {
            return Err(super::not_found(kind, id));
        }
        if change.after.as_deref().is_some_and(|after| !covers(after)) {
            return Err(outside(kind, id));
        }
        Ok(())
    }

    /// Refuses new users whose units the caller cannot see.
    pub(super) fn sees_units(&self, tx: &mut Tx<'_>, units: &[&String]) -> Result<(), DirectoryError> {
        if matches!(self.caller.authority, Authority::Scope { .. }) {
            for unit in units {
                visible(tx, self, SubjectKind::Unit, unit)?;
            }
        }
        Ok(())
    }
}

pub(super) fn outside(kind: SubjectKind, id: &str) -> DirectoryError {
    DirectoryError::OutsideScope {
        kind,
        id: id.to_owned(),
    }
}

/// Refuses a command that names what the caller cannot see, or what has changed since the caller read it.
pub(super) fn check(tx: &mut Tx<'_>, ctx: &Context<'_>, command: &Command) -> Result<(), DirectoryError> {
    match &ctx.caller.authority {
        Authority::Everything => {}
        Authority::Scope { .. } => check_scope(tx, ctx, command)?,
        Authority::Owned {
            source_type,
            source_id,
        } => owned::check(tx, (source_type.as_str(), source_id.as_str()), command)?,
    }
    if let (Some(expected), Some((kind, id))) = (ctx.caller.expected, subject(command)) {
        let found = query::version_of(tx, kind, id)?.ok_or_else(|| super::not_found(kind, id))?;
        if found != expected {
            return Err(DirectoryError::Changed {
                kind,
                id: id.to_owned(),
                expected,
                found,
            });
        }
    }
    Ok(())
}

/// The subject that a command changes; `None` if it makes one.
pub(super) fn subject(command: &Command) -> Option<(SubjectKind, &str)> {
    match command {
        Command::CreateUnit(_) | Command::CreateUser(_) | Command::CreateGroup(_) | Command::ExpireDue => {
            None
        }
        Command::UpdateUnit { id, .. } | Command::MoveUnit { id, .. } | Command::DeleteUnit { id, .. } => {
            Some((SubjectKind::Unit, id))
        }
        Command::UpdateUser { id, .. }
        | Command::SetPassword { id, .. }
        | Command::EnableUser { id }
        | Command::DisableUser { id }
        | Command::LockUser { id, .. }
        | Command::UnlockUser { id }
        | Command::SetUnits { id, .. }
        | Command::DeleteUser { id } => Some((SubjectKind::User, id)),
        Command::UpdateGroup { id, .. }
        | Command::DeleteGroup { id }
        | Command::AddMembers { group_id: id, .. }
        | Command::RemoveMembers { group_id: id, .. } => Some((SubjectKind::Group, id)),
    }
}

fn check_scope(tx: &mut Tx<'_>, ctx: &Context<'_>, command: &Command) -> Result<(), DirectoryError> {
    if let Some((kind, id)) = subject(command) {
        visible(tx, ctx, kind, id)?;
    }
    match command {
        Command::CreateUnit(new) => visible(tx, ctx, SubjectKind::Unit, &new.parent_id),
        Command::MoveUnit { parent_id, .. } => visible(tx, ctx, SubjectKind::Unit, parent_id),
        Command::CreateUser(new) => {
            visible(tx, ctx, SubjectKind::Unit, &new.primary_organizational_unit_id)?;
            ctx.sees_units(tx, &new.organizational_unit_ids.iter().collect::<Vec<_>>())
        }
        Command::SetUnits { id, primary, further } => {
            // Units of the user that the caller cannot see may stay, but neither come nor go.
            let had = user::get(tx, id)?.map(|user| user.unit_ids()).unwrap_or_default();
            let wanted: Vec<&String> = std::iter::once(primary).chain(further).collect();
            let moved = had.iter().filter(|unit| !wanted.contains(unit));
            let moved: Vec<&String> = moved
                .chain(wanted.iter().copied().filter(|unit| !had.contains(unit)))
                .collect();
            ctx.sees_units(tx, &moved)
        }
        // A group is its own place: nobody but who sees the whole directory can make one inside.
        Command::CreateGroup(new) => {
            let nowhere = Placement::default();
            if ctx.caller.authority.covers(SubjectKind::Group, &nowhere) {
                Ok(())
            } else {
                Err(outside(SubjectKind::Group, &new.name))
            }
        }
        Command::AddMembers { user_ids, .. } | Command::RemoveMembers { user_ids, .. } => {
            for user_id in user_ids {
                visible(tx, ctx, SubjectKind::User, user_id)?;
            }
            Ok(())
        }
        Command::ExpireDue => Err(outside(SubjectKind::User, "")),
        _ => Ok(()),
    }
}

fn visible(tx: &mut Tx<'_>, ctx: &Context<'_>, kind: SubjectKind, id: &str) -> Result<(), DirectoryError> {
    match query::record_of(tx, kind, id)? {
        Some((_, placement)) if ctx.caller.authority.covers(kind, &placement) => Ok(()),
        _ => Err(super::not_found(kind, id)),
    }
}
