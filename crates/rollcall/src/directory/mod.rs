//! The directory: organizational units, users and groups, and the one door through which they change.
//!
//! Whatever wants to change something says so as a [`Command`]. [`apply`] checks it, writes the rows,
//! and appends to the change log what happened, in the caller's transaction: either all of it or
//! nothing. A command that would change nothing appends nothing, so repeating one does no harm.
//!
//! Where a command changes where *other* subjects stand (moving a unit, adding members to a group),
//! each of those gets its own change, in an order that is right for applications that lose them as
//! well as for those that gain them; see [`crate::change`].

mod authority;
mod deletion;
pub mod earlier;
mod error;
pub mod extent;
pub mod fields;
mod find;
mod group;
mod inside;
mod ladder;
mod listed;
pub mod lists;
mod owned;
mod password;
pub mod path;
mod placement;
pub mod query;
mod refold;
pub mod search;
mod sight;
mod standing;
mod unit;
mod user;
pub mod view;

use std::collections::BTreeMap;

use rollcall_db::Tx;
use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::access::Context;
use crate::clock::Millis;

pub use deletion::{DeletionPlan, Named, plan_deletion};
pub use error::DirectoryError;
pub use fields::{CustomChanges, CustomFields, LOCKED_UNTIL_UNLOCKED, Source};
pub use find::Written;
pub use group::{Group, GroupChanges, MEMBERS_PER_EVENT, NewGroup};
pub use password::{NewPassword, verify_password};
pub(crate) use refold::refold;
pub use sight::Sight;
pub use unit::{NewUnit, Unit, UnitChanges, children};
pub use user::{Held, NewUser, UniqueValue, User, UserChanges, UserUnit};

impl Context<'_> {
    fn seal(&self, password: &NewPassword, user_id: &str) -> Option<Vec<u8>> {
        self.keep_passwords.then(|| {
            let belongs_to = format!("password/{user_id}");
            self.master.seal(password.expose(), &belongs_to, self.random)
        })
    }
}

/// A change that somebody wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", rename_all_fields = "camelCase")]
#[expect(missing_docs, reason = "the fields name what the variant says")]
pub enum Command {
    /// Makes an organizational unit.
    CreateUnit(NewUnit),
    /// Changes a unit's fields.
    UpdateUnit { id: String, changes: UnitChanges },
    /// Puts a unit with everything below it under another parent.
    MoveUnit { id: String, parent_id: String },
    /// Deletes a unit.
    DeleteUnit { id: String, cascade: Cascade },
    /// Makes a user.
    CreateUser(NewUser),
    /// Changes a user's fields.
    UpdateUser { id: String, changes: UserChanges },
    /// Sets a user's password.
    #[serde(skip)]
    SetPassword { id: String, password: NewPassword },
    /// Lets a user sign in.
    EnableUser { id: String },
    /// Keeps a user from signing in.
    DisableUser { id: String },
    /// Locks a user, until a time or until unlocked.
    LockUser { id: String, until: Option<Millis> },
    /// Unlocks a user.
    UnlockUser { id: String },
    /// Puts a user into units.
    SetUnits {
        id: String,
        primary: String,
        further: Vec<String>,
    },
    /// Deletes a user.
    DeleteUser { id: String },
    /// Makes a group.
    CreateGroup(NewGroup),
    /// Changes a group's fields.
    UpdateGroup { id: String, changes: GroupChanges },
    /// Deletes a group; its members stay.
    DeleteGroup { id: String },
    /// Adds users to a group.
    AddMembers { group_id: String, user_ids: Vec<String> },
    /// Removes users from a group.
    RemoveMembers { group_id: String, user_ids: Vec<String> },
    /// Ends accounts and locks whose time has come.
    ExpireDue,
}

/// What the deletion of a unit does with what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cascade {
    /// A unit in which or below which something is stays.
    No,
    /// Everything below it goes too, and the users whose primary unit goes.
    Yes,
    /// The same, if it still is what the plan with this token has shown ([`plan_deletion`]).
    Confirmed(String),
}

impl Command {
    /// The user that the command changes; `None` if it makes one, or changes something else.
    pub fn user_id(&self) -> Option<&str> {
        match self {
            Self::UpdateUser { id, .. }
            | Self::SetPassword { id, .. }
            | Self::EnableUser { id }
            | Self::DisableUser { id }
            | Self::LockUser { id, .. }
            | Self::UnlockUser { id }
            | Self::SetUnits { id, .. }
            | Self::DeleteUser { id } => Some(id),
            Self::CreateUnit(_)
            | Self::UpdateUnit { .. }
            | Self::MoveUnit { .. }
            | Self::DeleteUnit { .. }
            | Self::CreateUser(_)
            | Self::CreateGroup(_)
            | Self::UpdateGroup { .. }
            | Self::DeleteGroup { .. }
            | Self::AddMembers { .. }
            | Self::RemoveMembers { .. }
            | Self::ExpireDue => None,
        }
    }

    /// Whether the command carries a password that applications may want.
    pub fn carries_password(&self) -> bool {
        match self {
            Self::SetPassword { .. } => true,
            Self::CreateUser(new) => new.password.is_some(),
            _ => false,
        }
    }
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The subject's id.
    pub id: String,
    /// How many changes that is to people: subjects that were made, changed or deleted, users that joined or left a
    /// group. What moves along with them does not count. Zero if everything was so already.
    pub changes: usize,
}

/// Makes the root unit at the first start.
///
/// # Errors
/// [`DirectoryError`].
pub fn initialize(tx: &mut Tx<'_>, ctx: &Context<'_>, root_name: &str) -> Result<(), DirectoryError> {
    unit::make_root(tx, ctx, root_name)
}

/// Applies a command, if the caller may: what is outside of its authority does not exist for it.
///
/// # Errors
/// [`DirectoryError`]; the caller's transaction must then be undone.
pub fn apply(tx: &mut Tx<'_>, ctx: &Context<'_>, command: &Command) -> Result<Applied, DirectoryError> {
    authority::check(tx, ctx, command)?;
    dispatch(tx, ctx, command).map_err(|error| discreet(ctx, error))
}

/// Who holds what is taken may be somebody whom the caller must not know of.
fn discreet(ctx: &Context<'_>, error: DirectoryError) -> DirectoryError {
    match error {
        DirectoryError::Taken { what, value, .. } if !ctx.caller.authority.is_everything() => {
            let holder = "somebody else".to_owned();
            DirectoryError::Taken { what, value, holder }
        }
        error => error,
    }
}

fn dispatch(tx: &mut Tx<'_>, ctx: &Context<'_>, command: &Command) -> Result<Applied, DirectoryError> {
    let (id, changes) = match command {
        Command::CreateUnit(new) => unit::create(tx, ctx, new)?,
        Command::CreateUser(new) => user::create(tx, ctx, new)?,
        Command::CreateGroup(new) => group::create(tx, ctx, new)?,
        Command::UpdateUnit { id, changes } => (id.clone(), unit::update(tx, ctx, id, changes)?),
        Command::MoveUnit { id, parent_id } => (id.clone(), unit::move_below(tx, ctx, id, parent_id)?),
        Command::DeleteUnit { id, cascade } => (id.clone(), unit::delete(tx, ctx, id, cascade)?),
        Command::UpdateUser { id, changes } => (id.clone(), user::update(tx, ctx, id, changes)?),
        Command::SetPassword { id, password } => (id.clone(), user::set_password(tx, ctx, id, password)?),
        Command::EnableUser { id } => (id.clone(), user::set_enabled(tx, ctx, id, true)?),
        Command::DisableUser { id } => (id.clone(), user::set_enabled(tx, ctx, id, false)?),
        Command::LockUser { id, until } => (
            id.clone(),
            user::set_lock(tx, ctx, id, Some(until.unwrap_or(LOCKED_UNTIL_UNLOCKED)))?,
        ),
        Command::UnlockUser { id } => (id.clone(), user::set_lock(tx, ctx, id, None)?),
        Command::SetUnits { id, primary, further } => {
            (id.clone(), user::set_units(tx, ctx, id, primary, further)?)
        }
        Command::DeleteUser { id } => (id.clone(), user::delete(tx, ctx, id)?),
        Command::UpdateGroup { id, changes } => (id.clone(), group::update(tx, ctx, id, changes)?),
        Command::DeleteGroup { id } => (id.clone(), group::delete(tx, ctx, id)?),
        Command::AddMembers { group_id, user_ids } => {
            (group_id.clone(), group::add_members(tx, ctx, group_id, user_ids)?)
        }
        Command::RemoveMembers { group_id, user_ids } => (
            group_id.clone(),
            group::remove_members(tx, ctx, group_id, user_ids)?,
        ),
        Command::ExpireDue => (String::new(), user::expire_due(tx, ctx)?),
    };
    Ok(Applied { id, changes })
}

/// Makes many users with few statements, and says of each its id, or why it was refused; the others are
/// made all the same. It is [`Command::CreateUser`] for imports.
///
/// # Errors
/// What the database reports; the caller's transaction must then be undone.
pub fn create_users(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    new: &[NewUser],
) -> Result<Vec<Result<String, DirectoryError>>, DirectoryError> {
    let made = user::create_many(tx, ctx, new)?;
    Ok(made
        .into_iter()
        .map(|one| one.map_err(|error| discreet(ctx, error)))
        .collect())
}

/// Reads what the commands of one commit are about ([`Command::user_id`]), for
/// [`Options::read_ahead`](rollcall_db::Options::read_ahead).
///
/// # Errors
/// What the database reports.
pub fn read_ahead(tx: &mut Tx<'_>, user_ids: &[&str]) -> Result<(), rollcall_db::DbError> {
    user::read_ahead(tx, user_ids)
}

/// Says of each of these users, as they are to be, which of their unique values other stored users have.
///
/// # Errors
/// What the database reports.
pub fn held(tx: &mut Tx<'_>, users: &[User]) -> Result<Vec<Vec<Held>>, rollcall_db::DbError> {
    user::held(tx, users)
}

/// The error for something that was looked for by name and not found.
pub fn not_found(kind: SubjectKind, id: &str) -> DirectoryError {
    DirectoryError::NotFound {
        kind,
        id: id.to_owned(),
    }
}

/// The fields of a record that are different now, with the values they had; `None` if none is.
fn previous(before: &str, after: &str) -> Option<String> {
    // Both texts were written by the same code, so equal values are equal texts.
    let (before, after) = (fields_of(before), fields_of(after));
    let mut changed: BTreeMap<&str, &RawValue> = before
        .iter()
        .filter(|(key, value)| after.get(*key).map(|value| value.get()) != Some(value.get()))
        .map(|(key, value)| (*key, *value))
        .collect();
    for key in after.keys().filter(|key| !before.contains_key(*key)) {
        changed.insert(key, RawValue::NULL);
    }
    // Both generations of names say the same, and that the time of the change differs says nothing.
    for twin in [
        "updateTime",
        "lastUpdatedTime",
        "organizationalUnits",
        "userSourceType",
        "userSourceId",
        "userExternalId",
    ] {
        changed.remove(twin);
    }
    (!changed.is_empty()).then(|| serde_json::to_string(&changed).unwrap_or_default())
}

/// The fields of a record, unread.
fn fields_of(record: &str) -> BTreeMap<&str, &RawValue> {
    serde_json::from_str(record).unwrap_or_default()
}
