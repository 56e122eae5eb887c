//! How delivery stands, read from the database at one moment.

use rollcall_db::{DbError, Tx};

use super::ledger::{jobs, parked};
use super::model::job::JobPosition;
use crate::application::{keys::rotation, store};
use crate::change::{self, Seq};
use crate::clock::Millis;
use crate::directory::query;

/// How an application stands.
#[derive(Clone, Debug)]
pub struct ApplicationStatus {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `active`, `suspended` or `paused`.
    pub state: &'static str,
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
    let head = change::head(tx)?.seq;
    let mut counts = parked::counts(tx)?;
    let refusing = rotation::refusing(tx)?;
    let mut applications = Vec::new();
    for application in store::list(tx)? {
        let oldest = if application.position < head {
            change::time_after(tx, application.position)?
        } else {
            None
        };
        applications.push(ApplicationStatus {
            state: application.state(),
            lag: head - application.position,
            oldest,
            parked: counts.remove(&application.id).unwrap_or_default(),
            refuses_key: refusing.contains(&application.id),
            job: jobs::open_job(tx, &application.id)?,
            id: application.id,
            name: application.name,
        });
    }
    Ok(Status {
        head,
        oldest: change::oldest(tx)?,
        applications,
        subjects: query::counts(tx)?,
    })
}
