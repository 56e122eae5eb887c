//! What an application may do through the developer API, and the secrets by which it proves there who it is.
//!
//! The API reaches as far as the application's synchronization scope. What it may do there is granted resource by
//! resource. It is off until an administrator turns it on, and turning it off leaves the grants as they are.

pub mod secrets;

use rollcall_db::{Tx, params};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::command::{Applied, close, open};
use super::settings::{SettingsError, within};
use super::store::{self, ApplicationError};
use crate::access::Context;

/// What an application may do through the developer API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeveloperApi {
    /// Whether it may call it at all.
    pub enabled: bool,
    /// What it may do with users.
    pub users: Grant,
    /// What it may do with organizational units.
    pub organizational_units: Grant,
    /// What it may do with groups and who is in them.
    pub groups: Grant,
    /// Whether it may set passwords.
    pub passwords: bool,
    /// Whether what it writes is pushed to it as well, as to every other application (`developer::echo`).
    pub echo: bool,
    /// How many calls it may make a second in the long run, 1 to 10,000; twice as many at once. It holds for the access
    /// tokens that are given from now on.
    pub requests_per_second: u32,
}

/// How many calls an application may make a second if nobody says.
const USUAL_RATE: u32 = 500;

/// How many it may make at most.
pub const MOST_RATE: u32 = 10_000;

impl Default for DeveloperApi {
    fn default() -> Self {
        Self {
            enabled: false,
            users: Grant::Read,
            organizational_units: Grant::Read,
            groups: Grant::Read,
            passwords: false,
            echo: true,
            requests_per_second: USUAL_RATE,
        }
    }
}

/// What an application may do with one kind of resource.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[value(rename_all = "snake_case")]
#[schemars(rename = "DeveloperGrant")]
pub enum Grant {
    /// Nothing.
    None,
    /// Look at them.
    Read,
    /// Look at them and change them.
    Write,
}

impl Grant {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What becomes of a [`DeveloperApi`]; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeveloperApiPatch {
    /// Whether the application may call it at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// What it may do with users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Grant>,
    /// What it may do with organizational units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organizational_units: Option<Grant>,
    /// What it may do with groups and who is in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Grant>,
    /// Whether it may set passwords.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passwords: Option<bool>,
    /// Whether what the application writes is pushed to it as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<bool>,
    /// How many calls it may make a second, 1 to 10,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
}

impl DeveloperApiPatch {
    /// What there is, changed so.
    #[must_use]
    pub fn applied_to(self, before: DeveloperApi) -> DeveloperApi {
        DeveloperApi {
            enabled: self.enabled.unwrap_or(before.enabled),
            users: self.users.unwrap_or(before.users),
            organizational_units: self.organizational_units.unwrap_or(before.organizational_units),
            groups: self.groups.unwrap_or(before.groups),
            passwords: self.passwords.unwrap_or(before.passwords),
            echo: self.echo.unwrap_or(before.echo),
            requests_per_second: self.requests_per_second.unwrap_or(before.requests_per_second),
        }
    }
}

pub(super) fn set(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    patch: DeveloperApiPatch,
) -> Result<Applied, ApplicationError> {
    let before = open(tx, ctx, id)?;
    let after = patch.applied_to(before.developer_api);
    if after == before.developer_api {
        return Ok(Applied::of(before, false));
    }
    within("requestsPerSecond", after.requests_per_second, 1, MOST_RATE).map_err(SettingsError::from)?;
    tx.execute(
        "UPDATE applications SET developer_api = $2 WHERE id = $1",
        params![id, store::to_json(&after)?],
    )?;
    let was = json!({ "developerApi": before.developer_api });
    let is = json!({ "developerApi": after });
    close(tx, ctx, &before, "set_developer_api", Some(was), Some(is))
}
