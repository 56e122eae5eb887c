//! The client's side: which requests make a service provider's resource what it has to be, and what the
//! answers mean.
//!
//! Nothing here sends. A [`Provision`] is one resource on its way: [`Provision::step`] says which request
//! comes next, [`Provision::answer`] takes what came back, until it is over. [`Membership`] does the same
//! for the members of a group, in portions. Both are made of what is wanted, of what is [`Known`] of the
//! resource, and of the [`Profile`] of the service provider; the same answers lead to the same requests.
//!
//! What holds:
//! * **Nothing is made twice.** Whoever is not known is looked for by `externalId`, which is the client's own
//!   id for the resource, before it is made. If the name is taken, whoever has it is looked at.
//! * **The fewest requests.** What was told last is not told again, a change names what differs, and
//!   a resource that is found as it has to be is left alone.
//! * **What is not known is read.** Where it is not known what was told last, the resource is read and only
//!   what differs is changed.
//! * **Only what is managed is touched.** Attributes that the mapping does not name are neither compared
//!   nor changed by PATCH. PUT, by its nature, replaces all.
//! * **Nobody else's is taken.** A resource that is found by its name alone is taken over only if the
//!   client keeps it for nobody else ([`Step::Claim`]).

mod call;
mod difference;
mod managed;
mod membership;
mod profile;
mod provision;

pub use call::{Call, Method, Outcome, Refusal, Reply, Step};
pub use difference::Difference;
pub use managed::Managed;
pub use membership::{MemberChange, Membership};
pub use profile::{GroupUpdate, Preset, Profile, Rate, Update};
pub use provision::{Goal, Known, Provision};
