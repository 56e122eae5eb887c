//! Synchronization jobs: the full synchronization, and the run of a confirmed change of scope.
//!
//! A job is pinned to a position of the log. Delivery first goes on to that position; then the cursor
//! stands still while the job sends what it has to, and afterwards the log goes on from there. The
//! directory changes meanwhile, which does no harm: a record is sent with the time of the log's end in
//! the snapshot that it was read from, so that a receiver recognises the changes that it includes
//! already as stale, and those that it does not include as news.
//!
//! A full synchronization pushes units top-down, from a list that is fixed when it begins (units may be moved
//! meanwhile, and no order that could be read page by page would survive that); then users and groups with
//! their members, page by page in the order of their ids. The wire has no push type for groups; they go as
//! `group:create` and `group:add_user`, in portions that are named by their content. It ends with a closing
//! inventory for applications that understand it: after a backup was restored, an application may have what
//! the hub knows nothing of.
//!
//! A change of scope works from a list that was fixed when it was confirmed: who leaves (children
//! first, with the records of that moment), then who enters (parents first).
//!
//! A job may also be begun by a change: see [`renamed`].
//!
//! Progress is stored with every settled round, so a job that is interrupted continues; an event that
//! is sent twice then bears the same id.

mod census;
mod closing;
pub(super) mod list;
mod renamed;
mod request;
mod rounds;
mod scope;
mod steps;

use rollcall_db::DbError;

use crate::application::ApplicationError;

pub use super::ledger::jobs::{
    JobsWanted, application_of, ids_of, load, load_many, newest, of_application, open_job, page, store,
};
pub use super::model::job::{
    Inventory, JobKind, JobPosition, JobStatus, Listed, Phase, Statistics, Tally, Trigger,
};
pub use census::scan;
pub(super) use census::start;
pub use list::discard_left_behind;
pub(super) use renamed::renamed;
pub use request::{after_restore, cancel, repin, request_full};
pub(super) use rounds::{Context, ReadAhead, next_round, settle};
pub use scope::{Counts, Plan, Side, change_scope, plan};

/// How many rows one read takes.
const PAGE: usize = 500;

/// Why a job cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Another one is not finished.
    #[error("the application has an unfinished synchronization job ({0}); wait for it or cancel it")]
    Busy(String),
    /// The application is switched off.
    #[error("synchronization is switched off for {0}; `rollcall app resume` switches it on")]
    SwitchedOff(String),
    /// There is nothing to cancel.
    #[error("the application has no synchronization job that could be cancelled")]
    NothingToCancel,
    /// The application.
    #[error(transparent)]
    Application(#[from] ApplicationError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl JobError {
    /// A short name for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Busy(_) | Self::SwitchedOff(_) | Self::NothingToCancel => "job",
            Self::Application(error) => error.code(),
            Self::Database(error) => error.class().code(),
        }
    }
}
