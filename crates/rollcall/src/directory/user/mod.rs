//! Users: what they are ([`User`]), how they rest in the database (`rows`, `ahead`), what they must not be
//! (`check`), and what can be done with them (`create`, `commands`).

mod ahead;
mod check;
mod commands;
mod create;
mod rows;

use rollcall_protocol::{SubjectKind, UnitMembership, UserPayload, UserStatus};
use serde::{Deserialize, Serialize};

use super::Context;
use super::fields::{CustomChanges, CustomFields, Source, present};
use super::password::NewPassword;
use crate::change::{ChangeKind, NewChange};
use crate::clock::Millis;

pub(super) use ahead::read as read_ahead;
pub(super) use check::held;
pub use check::{Held, UniqueValue};
pub(super) use commands::{delete, expire_due, set_enabled, set_lock, set_password, set_units, update};
pub(super) use create::{create, create_many};
pub(super) use rows::{Found, get, in_units, load_many, owned_after, page, standing, standing_written};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// `user_…`.
    pub id: String,
    /// Unique without regard to case.
    pub username: String,
    /// For people.
    pub display_name: String,
    /// Unique without regard to case.
    pub email: Option<String>,
    /// Whether the address was proven.
    pub email_verified: bool,
    /// The country's digits.
    pub phone_region: Option<String>,
    /// The number's digits; unique with the region.
    pub phone_number: Option<String>,
    /// Whether the number was proven.
    pub phone_verified: bool,
    /// Whether a password is set.
    pub password_set: bool,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// When the account ends by itself.
    pub account_expire_time: Option<Millis>,
    /// While set, the account is locked until this time;
    /// [`LOCKED_UNTIL_UNLOCKED`](crate::directory::LOCKED_UNTIL_UNLOCKED) if somebody has to unlock it.
    pub lock_expire_time: Option<Millis>,
    /// When the user was registered.
    pub register_time: Millis,
    /// For people.
    pub description: Option<String>,
    /// Fields of an administrator's own.
    pub custom_fields: CustomFields,
    /// Where it comes from.
    #[serde(flatten)]
    pub source: Source,
    /// Its id there.
    pub external_id: Option<String>,
    /// When it was made.
    pub create_time: Millis,
    /// When it last changed.
    pub update_time: Millis,
    /// Its units, the primary one first.
    pub units: Vec<UserUnit>,
    /// The ids of its groups.
    pub groups: Vec<String>,
}

/// A unit of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserUnit {
    /// The unit.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is the primary one.
    pub primary: bool,
}

/// A new user.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of a user")]
pub struct NewUser {
    pub username: String,
    pub display_name: String,
    pub primary_organizational_unit_id: String,
    #[serde(default)]
    pub organizational_unit_ids: Vec<String>,
    #[serde(default)]
    pub email: Option<String>,
    #[serde(default)]
    pub email_verified: bool,
    #[serde(default)]
    pub phone_region: Option<String>,
    #[serde(default)]
    pub phone_number: Option<String>,
    #[serde(default)]
    pub phone_verified: bool,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub external_id: Option<String>,
    #[serde(default)]
    pub source: Source,
    #[serde(default)]
    pub account_expire_time: Option<Millis>,
    #[serde(default)]
    pub custom_fields: CustomFields,
    #[serde(default)]
    pub disabled: bool,
    /// Prepared apart, because hashing takes long.
    #[serde(skip)]
    pub password: Option<NewPassword>,
}

/// What changes of a user; what is absent stays, what is null is emptied.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are those of a user")]
pub struct UserChanges {
    pub username: Option<String>,
    pub display_name: Option<String>,
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub email: Option<Option<String>>,
    pub email_verified: Option<bool>,
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub phone_region: Option<Option<String>>,
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<Option<String>>,
    pub phone_verified: Option<bool>,
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub description: Option<Option<String>>,
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Option<String>>,
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub account_expire_time: Option<Option<Millis>>,
    pub custom_fields: CustomChanges,
    pub source: Option<Source>,
}

impl User {
    /// Its units, the primary one first.
    pub fn unit_ids(&self) -> Vec<String> {
        self.units.iter().map(|unit| unit.id.clone()).collect()
    }

    /// Its primary unit.
    pub fn primary_unit_id(&self) -> String {
        self.units.first().map(|unit| unit.id.clone()).unwrap_or_default()
    }

    /// The record as it goes on the wire, without a password. Empty texts are sent as such, so that
    /// receivers which ignore absent fields clear them.
    pub fn record(&self, instance_id: &str) -> String {
        // Every field is named, so that a new one is sent, or left out on purpose.
        let Self {
            id,
            username,
            display_name,
            email,
            email_verified,
            phone_region,
            phone_number,
            phone_verified,
            password_set,
            enabled,
            account_expire_time,
            lock_expire_time,
            register_time,
            description,
            custom_fields,
            source,
            external_id,
            create_time,
            update_time,
            units,
            groups: _,
        } = self;
        let [source_type, source_id, external_id] = source.on_the_wire(external_id.as_ref(), id, instance_id);
        UserPayload {
            user_id: id.clone(),
            username: Some(username.clone()),
            display_name: Some(display_name.clone()),
            password_set: Some(*password_set),
            phone_number: phone_number.clone(),
            phone_region: Some(phone_region.clone().unwrap_or_default()),
            phone_verified: Some(*phone_verified),
            email: email.clone(),
            email_verified: Some(*email_verified),
            status: Some(if *enabled {
                UserStatus::Enabled
            } else {
                UserStatus::Disabled
            }),
            account_expire_time: Some(account_expire_time.unwrap_or(-1)),
            register_time: Some(*register_time),
            lock_expire_time: Some(lock_expire_time.unwrap_or(-1)),
            create_time: Some(*create_time),
            update_time: Some(*update_time),
            description: Some(description.clone().unwrap_or_default()),
            password: None,
            source_type,
            source_id,
            external_id,
            primary_unit_id: Some(self.primary_unit_id()),
            units: units
                .iter()
                .map(|unit| UnitMembership {
                    id: unit.id.clone(),
                    name: Some(unit.name.clone()),
                    primary: unit.primary,
                })
                .collect(),
            custom_fields: Some(
                custom_fields
                    .iter()
                    .map(|(k, v)| (k.clone(), v.as_str().into()))
                    .collect(),
            ),
        }
        .to_json()
    }

    pub(super) fn change(&self, ctx: &Context<'_>, kind: ChangeKind) -> NewChange {
        NewChange {
            kind,
            subject_kind: SubjectKind::User,
            subject_id: self.id.clone(),
            record: self.record(ctx.instance_id),
            previous: None,
            before: None,
            after: None,
            secret: None,
        }
    }
}
