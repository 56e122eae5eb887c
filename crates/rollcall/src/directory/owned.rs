//! What a command may do whose caller reaches only what comes from one source ([`Authority::Owned`]).
//!
//! Such a caller makes users and groups that are its own, and changes and deletes those. Everybody else, and the tree of
//! units, does not exist for it. Nothing of its own can be given away.
//!
//! [`Authority::Owned`]: crate::access::Authority::Owned

use rollcall_db::{Tx, Value};
use rollcall_protocol::SubjectKind;

use super::authority::{outside, subject};
use super::query::AT_ONCE;
use super::{Command, DirectoryError, Source, not_found};
use crate::change::listed;

/// Refuses a command that is about something else than what comes from this source.
pub(super) fn check(
    tx: &mut Tx<'_>,
    (source_type, source_id): (&str, &str),
    command: &Command,
) -> Result<(), DirectoryError> {
    let is_own = |source: &Source| source.source_type == source_type && source.source_id == source_id;
    if let Some((kind, id)) = subject(command) {
        all_owned(tx, (source_type, source_id), kind, &[id.to_owned()])?;
    }
    match command {
        Command::CreateUser(new) if is_own(&new.source) => Ok(()),
        Command::CreateUser(new) => Err(outside(SubjectKind::User, &new.username)),
        Command::CreateGroup(new) if is_own(&new.source) => Ok(()),
        Command::CreateGroup(new) => Err(outside(SubjectKind::Group, &new.name)),
        Command::UpdateUser { id, changes } if !changes.source.as_ref().is_none_or(is_own) => {
            Err(outside(SubjectKind::User, id))
        }
        Command::UpdateGroup { id, changes } if !changes.source.as_ref().is_none_or(is_own) => {
            Err(outside(SubjectKind::Group, id))
        }
        Command::AddMembers { user_ids, .. } | Command::RemoveMembers { user_ids, .. } => {
            all_owned(tx, (source_type, source_id), SubjectKind::User, user_ids)
        }
        Command::SetUnits { id, .. } => Err(outside(SubjectKind::User, id)),
        Command::CreateUnit(new) => Err(outside(SubjectKind::Unit, &new.name)),
        Command::ExpireDue => Err(outside(SubjectKind::User, "")),
        Command::UpdateUser { .. }
        | Command::SetPassword { .. }
        | Command::EnableUser { .. }
        | Command::DisableUser { .. }
        | Command::LockUser { .. }
        | Command::UnlockUser { .. }
        | Command::DeleteUser { .. }
        | Command::UpdateGroup { .. }
        | Command::DeleteGroup { .. }
        // Their subject is a unit, which is nobody's own.
        | Command::UpdateUnit { .. }
        | Command::MoveUnit { .. }
        | Command::DeleteUnit { .. } => Ok(()),
    }
}

/// Refuses the first of these subjects that does not come from the source.
fn all_owned(
    tx: &mut Tx<'_>,
    (source_type, source_id): (&str, &str),
    kind: SubjectKind,
    ids: &[String],
) -> Result<(), DirectoryError> {
    let table = match kind {
        SubjectKind::User => "users",
        SubjectKind::Group => "groups",
        SubjectKind::Unit => return Err(not_found(kind, ids.first().map_or("", String::as_str))),
    };
    for ids in ids.chunks(AT_ONCE) {
        let sql = format!(
            "SELECT id FROM {table} WHERE source_type = $1 AND source_id = $2 AND id IN {}",
            listed(3, ids.len())
        );
        let values: Vec<Value<'_>> = [source_type, source_id]
            .into_iter()
            .chain(ids.iter().map(String::as_str))
            .map(Value::from)
            .collect();
        let mut owned = std::collections::HashSet::new();
        for row in tx.query(&sql, &values)? {
            owned.insert(row.get::<String>(0)?);
        }
        if let Some(other) = ids.iter().find(|id| !owned.contains(*id)) {
            return Err(not_found(kind, other));
        }
    }
    Ok(())
}
