//! How delivery stands, read from the database at one moment.

use rollcall_db::{DbError, Tx};

use super::ledger::overview::{self, Standing};
use super::ledger::{jobs, parked};
use super::model::job::JobPosition;
use crate::application::{Application, keys::rotation, store};
use crate::change::{self, Seq};
use crate::clock::Millis;
use crate::directory::query;

/// How an application stands.
#[derive(Clone, Debug)]
pub struct ApplicationStatus {
    /// The application.
    pub application: Application,
    /// Changes after its position.
    pub lag: Seq,
    /// The time of the oldest of them.
    pub oldest: Option<Millis>,
    /// Parked events, by [`parked::ParkedState::VARIANTS`].
    pub parked: [u64; 3],
    /// Whether it refuses the signing key that is to take over.
    pub refuses_key: bool,
    /// The synchronization that is under way.
    pub job: Option<JobPosition>,
    /// When everything was last pushed to it; `None` if that was never done.
    pub synchronized_at: Option<Millis>,
    /// Whether there was ever a synchronization, however it ended.
    pub ever_synchronized: bool,
}

/// How everything stands.
#[derive(Clone, Debug)]
pub struct Status {
    /// The log's end.
    pub head: Seq,
    /// The oldest position that the log holds.
    pub oldest: Option<Seq>,
    /// The applications, by name.
    pub applications: Vec<ApplicationStatus>,
    /// Users, organizational units, groups.
    pub subjects: (i64, i64, i64),
}

/// Reads it.
///
/// # Errors
/// What the database reports.
pub fn read(tx: &mut Tx<'_>) -> Result<Status, DbError> {
    let (head, applications) = applications(tx)?;
    Ok(Status {
        head,
        oldest: change::oldest(tx)?,
        applications,
        subjects: query::counts(tx)?,
    })
}

/// Reads the log's end, and how the applications stand, by name: with as many statements for many as for one.
///
/// # Errors
/// What the database reports.
pub fn applications(tx: &mut Tx<'_>) -> Result<(Seq, Vec<ApplicationStatus>), DbError> {
    let head = change::head(tx)?.seq;
    let mut counts = parked::counts(tx)?;
    let refusing = rotation::refusing(tx)?;
    let oldest = overview::oldest_waiting(tx, head)?;
    let mut jobs = overview::open_jobs(tx)?;
    let synchronized = overview::synchronized(tx)?;
    let standing = store::list(tx)?.into_iter().map(|application| ApplicationStatus {
        lag: (head - application.position).max(0),
        oldest: oldest.get(&application.id).copied(),
        parked: counts.remove(&application.id).unwrap_or_default(),
        refuses_key: refusing.contains(&application.id),
        job: jobs.remove(&application.id),
        synchronized_at: synchronized.get(&application.id).copied().flatten(),
        ever_synchronized: synchronized.contains_key(&application.id),
        application,
    });
    Ok((head, standing.collect()))
}

/// Reads how one application stands.
///
/// # Errors
/// What the database reports.
pub fn of(tx: &mut Tx<'_>, application: Application) -> Result<ApplicationStatus, DbError> {
    let id = application.id.as_str();
    let Standing {
        head,
        oldest,
        synchronized_at,
        ever_synchronized,
    } = overview::standing(tx, id, application.position)?;
    Ok(ApplicationStatus {
        lag: (head - application.position).max(0),
        oldest,
        parked: parked::counts_of(tx, id)?,
        refuses_key: rotation::refusing(tx)?.iter().any(|refusing| refusing == id),
        job: jobs::open_job(tx, id)?,
        synchronized_at,
        ever_synchronized,
        application,
    })
}
