//! Comparisons: what an application that takes SCIM has, against what it should have; and the repair of what differs.
//!
//! A comparison reads. It lists the application's users and groups page by page, finds out for whom each of them stands,
//! and writes down what differs. It is *repaired* by a job that tells anew of those who are selected: what is true of
//! them by then, on the way of every other event. So a report that is old does no harm, and nobody writes to the
//! application but the worker that holds its lease.
//!
//! A full synchronization ends with one, since what an application has too much nobody tells it.
//!
//! # For whom an object stands
//!
//! In this order: the one whose application's id is remembered; whose id it bears as `externalId`; who has its name.
//! Where several objects stand for one subject, the surest counts. The others are *foreign*, as is everything that stands
//! for nobody: the hub neither made it nor has ever had anything to do with it, so it is named, and left alone.
//!
//! # What holds
//!
//! * **Memory is bounded.** A page, or one group with its members, is there at a time; everything else is in tables.
//! * **What is under way is no difference.** A subject of which the log has something that the application has not been
//!   told, or of whom an event waits, is counted apart.
//! * **A run ends.** It gives a sign of life all the time. If that stops, because the hub was killed, it counts as
//!   interrupted; another one can begin.
//! * **What may be deleted is confirmed.** A repair that disables, deletes or removes more than the thresholds of the
//!   application say does nothing until its plan is confirmed by its token, which is made of its counts.

mod judge;
mod listing;
mod members;
mod model;
mod repair;
mod run;
mod store;

pub use model::{
    Comparison, ComparisonError, Counts, Details, Difference, Differs, Kind, Memberships, Status, Subject,
    Tally,
};
pub use repair::{RepairPlan, Selection, Threshold, plan, repair};
pub(super) use run::begin_after;
pub use run::{begin, cancel, run};
pub use store::{differences, forget_all, newest, trim};
