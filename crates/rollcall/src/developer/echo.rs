//! The echo: what an application writes is pushed to it as well, as to every other one, unless that is off.
//!
//! Without its echo the application itself has to bring its copy up to date, at the latest before its next call about the
//! same subject. Then nobody tells it in which order that stood to what others did. So an echo is withheld only where
//! there is nothing that it could be confused with. At the commit of the write the application must have answered for
//! everything earlier of the subject, and of the members of a group whom the change names:
//! - no change of theirs stands after its position in the log, but for such as are withheld from it too;
//! - no event of theirs is parked, whatever its state: one that was set aside may be sent again by hand;
//! - no job is open, whose events tell what was true before.
//!
//! Otherwise an event that was on its way would arrive after the write, and turn the application's copy back for good.
//! The position and the parked events are looked at in the transaction that writes, and were settled after the answers
//! that they tell of, so what they say of the application was true before the write. Whatever comes later is in the log
//! behind it.
//!
//! By SCIM nothing is withheld: the hub remembers there what the application was told, and under which id.

use rollcall_db::{DbError, Tx};
use rollcall_protocol::{GroupPayload, SubjectKind};

use crate::application::{Application, ApplicationError, Mode, store};
use crate::change::{self, Change, ChangeKind, Seq};
use crate::delivery::ledger::{jobs, parked};

/// Withholds from an application what it has written itself after a position, as far as that may be.
///
/// # Errors
/// What the database reports, or that the application is gone.
pub(super) fn withhold(tx: &mut Tx<'_>, application_id: &str, before: Seq) -> Result<(), ApplicationError> {
    let head = change::head(tx)?.seq;
    if head == before {
        return Ok(());
    }
    let Application {
        settings, position, ..
    } = store::load(tx, application_id)?;
    if matches!(settings.mode, Mode::Scim(_)) || jobs::open_job(tx, application_id)?.is_some() {
        return Ok(());
    }
    for written in change::read_between(tx, before, head)? {
        if matches!(written.kind, ChangeKind::Event(_))
            && is_up_to_date(tx, application_id, (position, before), &written)?
        {
            change::withhold(tx, written.seq, application_id)?;
        }
    }
    Ok(())
}

/// Whether an application has answered for everything up to a position that concerns whom a change names.
fn is_up_to_date(
    tx: &mut Tx<'_>,
    application_id: &str,
    span: (Seq, Seq),
    written: &Change,
) -> Result<bool, DbError> {
    let mut subjects = vec![written.subject_id.clone()];
    if written.subject_kind == SubjectKind::Group {
        let group = GroupPayload::from_json(&written.record).ok();
        subjects.extend(group.and_then(|group| group.user_ids).unwrap_or_default());
    }
    let is_late = parked::any_of(tx, application_id, &subjects)?
        || change::concerns(tx, application_id, &subjects, span)?;
    Ok(!is_late)
}
