//! The ledger: what is true about delivery, and the only place that writes it.
//!
//! For each application there is one small row: its position in the log, the revision of that row, the
//! epoch of its lease, and its suspension. [`settle`] is the one way in which delivery goes on. It is one
//! transaction that begins with a compare-and-set of that row:
//!
//! - The **revision** must be the one that the settlement was made from. Settlements are queued without
//!   waiting for one another; if one fails, none of those behind it can pass it, and what it was to park is
//!   not lost. What an administrator does to delivery ([`operate`]) raises the revision as well, by more than
//!   settlements can be queued: not only the settlement of the request that was in flight meanwhile fails, but
//!   every one that is queued behind it, and the worker loads the application again.
//! - The **epoch** must be the one of the lease ([`leases`]). A process that was paused longer than its
//!   lease, or a second one that was started by mistake, can settle nothing.
//!
//! A settlement that fails leaves everything as it was: the same events are sent again, with the same ids.
//!
//! Settlements have a lane of their own in the database (`rollcall_db::Lane::Settlement`): on PostgreSQL they
//! wait neither for the writers of the log nor for its lock, and run beside them. The row in `deliveries` is
//! what the two meet at. Whatever reads or writes what belongs to an application's delivery writes that row
//! first, and thereby holds it until its commit: settlements by the compare-and-set, an administrator's acts
//! by [`operate::interfere`], the deletion of an application by deleting it, and the steps of a rotation of keys by
//! writing it as it is. On SQLite there is one lane, and
//! settlements of many applications share a commit with whatever else is queued.

pub mod attempts;
pub mod erase;
pub mod jobs;
pub mod leases;
pub mod operate;
pub mod overview;
pub mod parked;
pub mod remote;
pub mod trim;

use rollcall_db::{DbError, Tx, params};

use super::model::job::{JobPosition, Renamed};
use super::model::{Attempt, Remembered, Suspension};
use crate::application::keys::rotation;
use crate::change::Seq;
use crate::clock::Millis;
use parked::Parked;

/// The right to deliver to an application, and the last settlement that it builds upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The application.
    pub application_id: String,
    /// The epoch of the lease.
    pub epoch: i64,
    /// The revision of the ledger that is built upon.
    pub revision: i64,
}

impl Fence {
    /// The fence of the settlement that follows.
    pub fn next(&self) -> Self {
        Self {
            revision: self.revision + 1,
            ..self.clone()
        }
    }
}

/// What a settlement makes of a suspension.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SuspensionChange {
    /// It stays as it is.
    #[default]
    Keep,
    /// The application answers again.
    Lift,
    /// The application does not answer.
    Set(Suspension),
}

/// What is true once a round was answered.
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// The requests that were sent.
    pub attempts: Vec<Attempt>,
    /// Parked events that are done with.
    pub unpark: Vec<String>,
    /// Events that are parked, or whose state has changed, in their order.
    pub park: Vec<Parked>,
    /// How far the job is.
    pub job: Option<JobPosition>,
    /// The position, if it moves.
    pub position: Option<Seq>,
    /// What becomes of the suspension.
    pub suspension: SuspensionChange,
    /// The trial of a new signing key that was held.
    pub trial: Option<rotation::Held>,
    /// What was learned of objects at the application, in the order in which it was.
    pub remembered: Vec<Remembered>,
    /// Organizational units whose users have to be told anew.
    pub renamed: Option<Renamed>,
}

/// Why a settlement was refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// Somebody else has written since: the application must be loaded again.
    #[error("the application was settled, changed or taken over by somebody else")]
    Fenced,
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Where delivery to an application stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The last change that is done with.
    pub position: Seq,
    /// Grows with every settlement.
    pub revision: i64,
    /// The epoch of the lease.
    pub epoch: i64,
}

/// Reads where delivery to an application stands; `None` if there is no such application.
///
/// # Errors
/// What the database reports.
pub fn standing(tx: &mut Tx<'_>, application_id: &str) -> Result<Option<Standing>, DbError> {
    tx.query_opt(
        "SELECT position, revision, epoch FROM deliveries WHERE application_id = $1",
        params![application_id],
    )?
    .map(|row| {
        Ok(Standing {
            position: row.get(0)?,
            revision: row.get(1)?,
            epoch: row.get(2)?,
        })
    })
    .transpose()
}

/// Takes over what a round brought, if nobody has written since the settlement before it.
///
/// # Errors
/// [`LedgerError::Fenced`], or what the database reports; nothing is changed then.
pub fn settle(
    tx: &mut Tx<'_>,
    fence: &Fence,
    settlement: &Settlement,
    now: Millis,
) -> Result<(), LedgerError> {
    let Settlement {
        attempts,
        unpark,
        park,
        job,
        position,
        suspension,
        trial,
        remembered,
        renamed,
    } = settlement;
    let id = fence.application_id.as_str();
    let stored = match suspension {
        SuspensionChange::Keep | SuspensionChange::Lift => None,
        SuspensionChange::Set(suspension) => {
            Some(serde_json::to_string(suspension).map_err(|error| DbError::Other(error.to_string()))?)
        }
    };
    let moved = match suspension {
        SuspensionChange::Keep => tx.execute(
            "UPDATE deliveries SET revision = revision + 1, position = COALESCE($4, position)
             WHERE application_id = $1 AND epoch = $2 AND revision = $3",
            params![id, fence.epoch, fence.revision, *position],
        )?,
        SuspensionChange::Lift | SuspensionChange::Set(_) => tx.execute(
            "UPDATE deliveries SET revision = revision + 1, position = COALESCE($4, position), suspended = $5
             WHERE application_id = $1 AND epoch = $2 AND revision = $3",
            params![id, fence.epoch, fence.revision, *position, stored.as_deref()],
        )?,
    };
    if moved == 0 {
        return Err(LedgerError::Fenced);
    }
    for attempt in attempts {
        attempts::store(tx, id, attempt)?;
    }
    for event_id in unpark {
        parked::remove(tx, id, event_id)?;
    }
    for parked in park {
        parked::store(tx, id, parked)?;
    }
    for remembered in remembered {
        remote::store(tx, id, remembered)?;
    }
    if let Some(job) = job {
        jobs::store(tx, job, now)?;
    }
    if let Some(renamed) = renamed {
        jobs::tell_again(tx, id, renamed, now)?;
    }
    if let Some(held) = trial {
        rotation::conclude(tx, id, held, now)?;
    }
    Ok(())
}

/// Notes a try that failed, while the lease is held. It decides nothing. If the application has another version than
/// the one that was read before the try, somebody may have been erased meanwhile, and what the application said is
/// not stored.
///
/// # Errors
/// [`LedgerError::Fenced`] if the lease is lost, or what the database reports.
pub fn note(tx: &mut Tx<'_>, fence: &Fence, version: i64, mut attempt: Attempt) -> Result<(), LedgerError> {
    // Written so that nobody else can, until this is committed; what is read then is the last that was.
    let held = tx.execute(
        "UPDATE deliveries SET epoch = epoch WHERE application_id = $1 AND epoch = $2",
        params![fence.application_id.as_str(), fence.epoch],
    )?;
    if held == 0 {
        return Err(LedgerError::Fenced);
    }
    let row = tx.query_one(
        "SELECT version FROM applications WHERE id = $1",
        params![fence.application_id.as_str()],
    )?;
    if row.get::<i64>(0)? != version {
        attempt.forget_what_was_said();
    }
    Ok(attempts::store(tx, &fence.application_id, &attempt)?)
}
