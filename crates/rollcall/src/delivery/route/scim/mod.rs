//! The SCIM mode: from the events of a request to the fewest requests of SCIM, and from their answers to verdicts.
//!
//! A full synchronization reads everybody in scope there and sets right what differs; it does not list who is there
//! besides. That is done by [`crate::delivery::comparison`].
//!
//! # Where it stands
//!
//! To plan, ledger and worker, a request is a batch of events, and its answer is a verdict on each of them. That
//! stays so. One request of theirs becomes as many HTTP requests here as it takes:
//!
//! 1. [`work::Work::of`] folds the events of each object into one piece of work: it is there, so; or it
//!    leaves; and for each group, who joins and who leaves. Ten changes of a user that wait together are one
//!    PATCH.
//! 2. [`carry::Carrier`] carries the pieces in their order. Each is a small machine of `rollcall_scim::client` that is
//!    asked for its next request and given the answer: look-up, creation, change, portions of members.
//! 3. What comes of a piece is said of its events: taken; refused (the last of them, for which the earlier ones are
//!    passed over as overtaken); wanted again, where a name is taken by somebody who may have another one soon.
//!
//! An answer that is not about the object (401, 403, 429, 5xx, none at all) breaks the request off. The events up to
//! the first that is undecided are answered; the rest is tried again, by the same rules as any request: pauses,
//! `Retry-After`, connection test, halving, suspension. A request that made progress begins its tries anew. So an
//! event at which an application fails is found by halving and set aside, and an outage costs no event anything,
//! without a line about SCIM in `plan` and `ledger`.
//!
//! A user's unit is a mapped text. No change of a user tells that the unit has another name, so a job does
//! ([`crate::delivery::job`], `renamed`).
//!
//! # What is remembered
//!
//! Of each user and each group that the application has, one row: the application's id for it, a digest of
//! what it was told last, its version if versions are used, and whether it was disabled for having left. That is
//! inherent: the application's ids have to be known. It grows with the application's scope, not with its changes;
//! members are not remembered. Of a group that is repaired, it says besides that its members are in doubt: then they are
//! read, and made those who are in the group, when it is told next.
//!
//! A digest, not the representation: a change carries what its subject was before, and if that has the digest that
//! is remembered, the difference is known and PATCH names no more. If it has not (an earlier change was
//! refused, the mapping was edited, a backup was restored), the object is read and compared. So it is if the
//! changes that are folded went there and back, since each may have been carried out before, with the answer lost; and
//! if something is told without a change, as by a full synchronization. Nothing of a person is
//! stored a second time for each application, and nothing has to be erased there.
//!
//! The rows are written by the settlement of the request that learned them, in its transaction and behind its
//! compare-and-set. A request does not wait for the settlement before it, so [`memory::Memory`] keeps what is
//! not known to be stored.
//!
//! # What may happen
//!
//! * **An answer is lost, or the process dies before the commit.** The events go out again. Nothing is
//!   remembered of the object, so it is looked for by `externalId`, which is our id, before it is made: it is
//!   found, compared and left as it is. Therefore nobody is made without having been looked for, which costs
//!   one request for each new object and asks nothing of when a process may die.
//! * **Two nodes, a hub that stops, an application that is changed, somebody who is erased.** All of that is looked at
//!   before every HTTP request, not once for the batch. The one that may be
//!   in flight when a lease ends is over before another node begins.
//! * **A settlement is fenced.** What was learned with it is thrown away with the memory; see the first case.
//! * **The object was deleted or changed there.** 404 leads to looking for it again and making it; a group that
//!   is made so gets all its present members. 412 leads to reading it again. A change that nothing tells of stays
//!   until the next change or a comparison.
//! * **A backup is restored.** It restores ids, and no digests: they tell of what the application was told before
//!   the backup, not of what it was told since. So everything is compared when it is told next.
//! * **A group's members fail in the middle.** Those told so far are known, the events whose users are all told are
//!   decided, the others are told again, which changes nothing for whoever is a member already.
//! * **A member is not there.** The hub knows, and joins the others alone; or the portion is halved until whoever is at
//!   fault stands alone. The event that named them is refused with their ids, everybody else joins.
//! * **Somebody leaves, and stays as a disabled account.** It is taken out of the groups ([`leaving`]).
//! * **Several have one name.** Whoever is found by name alone is taken over unless the hub keeps that account for
//!   somebody else; then the event is wanted again, since the other may be about to be renamed. An account of somebody
//!   who has left is kept for nobody.
//!
//! # What it cannot do
//!
//! An application that does not find by `externalId` may be given an object twice if the answer to its creation is
//! lost and it is renamed before it is told again.

pub mod carry;
pub mod client;
mod leaving;
mod members;
pub mod memory;
pub mod preview;
mod provider;
mod record;
pub mod token;
pub mod work;

pub use members::{is_group, users_in};
pub use provider::Provider;
pub(super) use provider::Stop;
pub use record::{managed_of_groups, resource, user_fields};

#[cfg(test)]
mod tests;
