//! What it means that organizational units got other names, to an application whose users bear them.
//!
//! By the events of the wire, an application is told of the unit, and nothing of the unit's users has changed. Where the
//! name is an attribute of each user, as SCIM's `department` usually is, they have to be told anew, and no change in the
//! log does that. So the settlement that passes the unit's change hands the unit to a job, in the same
//! transaction: to the unfinished one of the application, or to one of its own that begins right there. The
//! job's list names the unit, not its users, whoever they are by then.

use rollcall_db::{DbError, Tx};
use rollcall_protocol::SubjectKind;

use super::PAGE;
use crate::application::Scope;
use crate::delivery::model::Round;
use crate::delivery::model::job::Renamed;
use crate::delivery::route::Target;
use crate::directory::query;
use crate::hub::Hub;
use crate::id;

/// What a round of the log leaves to a job; `None` if no user in scope bears a name that has changed in it.
pub(in crate::delivery) async fn renamed(
    hub: &Hub,
    target: &Target,
    round: &Round,
) -> Result<Option<Renamed>, DbError> {
    if round.renamed.is_empty() {
        return Ok(None);
    }
    let scope = target.entitlements.current().scope.clone();
    let units = round.renamed.clone();
    let counted = hub.db.read(move |tx| {
        let mut counted = Vec::with_capacity(units.len());
        for unit in &units {
            let users = count(tx, &scope, unit)?;
            counted.push((unit.clone(), users));
        }
        Ok::<_, DbError>(counted)
    });
    let (units, users): (Vec<String>, Vec<u64>) =
        counted.await?.into_iter().filter(|(_, users)| *users > 0).unzip();
    let time = hub.clock.now();
    Ok((!units.is_empty()).then(|| Renamed {
        job_id: id::make("job", time, &*hub.random),
        units,
        users: users.iter().sum(),
        position: round.after.cursor,
        time,
    }))
}

/// How many users of a unit are in scope.
fn count(tx: &mut Tx<'_>, scope: &Scope, unit: &str) -> Result<u64, DbError> {
    if scope.is_everything() {
        return query::count_of_unit(tx, unit);
    }
    let (mut count, mut after) = (0, None);
    loop {
        let page = query::users_of_unit(tx, unit, after.as_deref(), PAGE, true)?;
        let Some(last) = page.last() else { return Ok(count) };
        let covered = page
            .iter()
            .filter(|row| scope.covers(SubjectKind::User, &row.placement));
        count += covered.count() as u64;
        after = Some(last.id.clone());
    }
}
