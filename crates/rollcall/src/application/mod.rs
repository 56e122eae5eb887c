//! Applications: who receives the directory's changes, which of them, and how.
//!
//! An application is its push parameters ([`Settings`]), what it is entitled to ([`Entitlement`]: a
//! scope and a subscription, each version valid from a position in the change log on), its signing
//! keys ([`keys`]), and what it may do by itself ([`developer`]). Where its delivery stands is the ledger's (`delivery::ledger`).
//!
//! Everything that an administrator changes goes through one door, [`apply`] with a [`Command`]. It ends
//! by raising the application's version and waking the delivery, which then loads the application afresh.
//! That holds across processes: a command line that changes an application reaches a running hub through
//! the database alone.

pub mod command;
pub mod developer;
mod edit;
pub mod entitlement;
mod error;
pub mod keys;
pub mod scim;
pub mod settings;
pub mod store;
pub mod written;

pub use command::{Applied, Command, NewApplication, Rotated, RotationStep, apply};
pub use developer::{DeveloperApi, DeveloperApiPatch, Grant};
pub use edit::{Edit, ScopeEdit, SettingsPatch};
pub use entitlement::{Entitlement, Entitlements, Scope, Subscription};
pub use settings::{Encryption, EventCallback, Limits, Mode, ModeName, OutOfRange, Settings, SettingsError};
pub use store::{Application, ApplicationError, Suspension};
