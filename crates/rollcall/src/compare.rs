//! What an application's copy should be, taken from the directory itself.

use rollcall_db::{DbError, Tx};
use rollcall_protocol::{GroupPayload, PayloadError, SubjectKind, UnitPayload, UserPayload};
use rollcall_receiver::Snapshot;

use crate::application::Scope;
use crate::delivery::job;
use crate::directory::query;

/// Everything that a scope covers, in the form in which a mirror shows what it holds.
///
/// # Errors
/// What the database reports.
pub fn in_scope(tx: &mut Tx<'_>, scope: &Scope) -> Result<Snapshot, DbError> {
    let mut snapshot = Snapshot::default();
    let mut groups = Vec::new();
    job::scan(tx, |kind, row| {
        if scope.covers(kind, &row.placement) {
            match kind {
                SubjectKind::Unit => {
                    snapshot.add_unit(UnitPayload::from_json(&row.record).map_err(unreadable)?)
                }
                SubjectKind::User => {
                    snapshot.add_user(UserPayload::from_json(&row.record).map_err(unreadable)?)
                }
                SubjectKind::Group => groups.push(row),
            }
        }
        Ok::<_, DbError>(())
    })?;
    for group in groups {
        let members = query::group_members(tx, &group.id)?;
        snapshot.add_group(
            GroupPayload::from_json(&group.record).map_err(unreadable)?,
            members,
        );
    }
    Ok(snapshot)
}

fn unreadable(error: PayloadError) -> DbError {
    DbError::Other(format!("a record of the directory: {error}"))
}
