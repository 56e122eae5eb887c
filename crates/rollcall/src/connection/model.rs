//! What a connection is.

use std::collections::BTreeMap;

use rollcall_scim::mapping::{Inward, MappingError, USER_IN};
use rollcall_scim::{Strictness, schema};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

use super::ConnectionError;
use super::tokens::ConnectionToken;
use crate::access::RateLimit;
use crate::clock::Millis;

/// How many requests a second a connection may send if nobody says.
const REQUESTS_PER_SECOND: u32 = 50;

/// The most that may be said.
const MOST_REQUESTS_PER_SECOND: u32 = 10_000;

/// How many seconds' worth of requests may be sent at once.
const SECONDS_AT_ONCE: u32 = 5;

/// The fields of a user that a mapping may set, besides `customFields.NAME`.
pub const TARGETS: [&str; 8] = [
    "username",
    "displayName",
    "email",
    "phoneRegion",
    "phoneNumber",
    "description",
    "externalId",
    "enabled",
];

/// How targets begin that are custom fields.
pub(crate) const CUSTOM: &str = "customFields.";

/// Which of the users who are there already a connection makes its own when it is to make one like them. Those of another
/// connection are never taken.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum TakesOver {
    /// None: whoever is there already is in the way.
    #[default]
    Never,
    /// Whoever has the same username.
    Username,
    /// Whoever has the same email address.
    Email,
}

impl TakesOver {
    /// As it is stored, written in the API and typed.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// `conn_…`; a part of the address at which its other end asks.
    pub id: String,
    /// Unique without regard to case.
    pub name: String,
    /// The unit in which new users come to stand.
    pub organizational_unit_id: String,
    /// Which users it makes its own that are there already.
    pub takes_over: TakesOver,
    /// Whether it is held to the standard, and may not differ from it as large identity providers do.
    pub strict: bool,
    /// Whether it may not ask for anything.
    pub disabled: bool,
    /// How many requests a second it may send in the long run.
    pub requests_per_second: u32,
    /// What differs from the usual mapping: expressions by the fields that they set; an empty one sets nothing.
    pub mapping: BTreeMap<String, String>,
    /// When it was made.
    pub create_time: Millis,
    /// When it was last changed: its version (see [`crate::access`]).
    pub update_time: Millis,
    /// Its tokens, without what is shown once.
    pub tokens: Vec<ConnectionToken>,
}

/// A new connection.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of a connection")]
pub struct NewConnection {
    pub name: String,
    /// The id of the unit, or its path.
    pub organizational_unit_id: String,
    #[serde(default)]
    pub takes_over: TakesOver,
    #[serde(default)]
    pub strict: bool,
    #[serde(default = "usual_rate")]
    pub requests_per_second: u32,
    #[serde(default)]
    pub mapping: BTreeMap<String, String>,
}

/// How many requests a second a connection may send if nobody says.
pub(crate) fn usual_rate() -> u32 {
    REQUESTS_PER_SECOND
}

/// What changes of a connection; what is absent stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are those of a connection")]
pub struct ConnectionChanges {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The id of the unit, or its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organizational_unit_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takes_over: Option<TakesOver>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// All that is to differ from the usual mapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<BTreeMap<String, String>>,
}

impl Connection {
    /// Whether its other end is held to the standard.
    pub fn strictness(&self) -> Strictness {
        match self.strict {
            true => Strictness::Strict,
            false => Strictness::Lenient,
        }
    }

    /// How many requests it may send.
    pub fn rate_limit(&self) -> RateLimit {
        RateLimit {
            per_second: self.requests_per_second,
            burst: self.requests_per_second.saturating_mul(SECONDS_AT_ONCE),
        }
    }

    /// The rules by which its users become users of the directory.
    ///
    /// # Errors
    /// [`ConnectionError::InvalidField`] if one of them cannot be used.
    pub fn rules(&self) -> Result<Inward, ConnectionError> {
        rules(&self.mapping)
    }

    /// The expression of a target, if it has one.
    pub fn expression(&self, target: &str) -> Option<&str> {
        expressions(&self.mapping).remove(target)
    }
}

/// The usual mapping with what differs from it: the expression of each field that is set.
pub(crate) fn expressions(mapping: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let mut all: BTreeMap<&str, &str> = USER_IN.iter().copied().collect();
    for (target, expression) in mapping {
        match expression.trim() {
            "" => all.remove(target.as_str()),
            expression => all.insert(target, expression),
        };
    }
    all
}

/// What of a whole mapping differs from the usual one: expressions by their fields, empty where nothing is to be set.
pub(crate) fn differing(mut all: BTreeMap<String, String>) -> BTreeMap<String, String> {
    for (target, _) in USER_IN {
        all.entry((*target).to_owned()).or_default();
    }
    let usual = |target: &str| USER_IN.iter().find(|(known, _)| *known == target);
    all.retain(|target, expression| usual(target).map_or("", |(_, usual)| usual) != expression.trim());
    all
}

/// What is wrong with an expression; `None` if it can be used.
pub(crate) fn mistake(target: &str, expression: &str) -> Option<MappingError> {
    Inward::parse([(target, expression)], schema::user()).err()
}

fn rules(mapping: &BTreeMap<String, String>) -> Result<Inward, ConnectionError> {
    Inward::parse(expressions(mapping), schema::user())
        .map_err(|error| ConnectionError::invalid("mapping", error.to_string()))
}

/// Refuses a mapping that cannot be used.
pub(super) fn check_mapping(mapping: &BTreeMap<String, String>) -> Result<(), ConnectionError> {
    let is_known = |target: &str| {
        TARGETS.contains(&target) || target.strip_prefix(CUSTOM).is_some_and(|name| !name.is_empty())
    };
    if let Some(unknown) = mapping.keys().find(|target| !is_known(target)) {
        let known = TARGETS.join(", ");
        let reason = format!("`{unknown}`: there are {known} and {CUSTOM}NAME");
        return Err(ConnectionError::invalid("mapping", reason));
    }
    let all = expressions(mapping);
    if let Some(missing) = ["username", "displayName"]
        .into_iter()
        .find(|target| !all.contains_key(target))
    {
        let reason = format!("`{missing}`: every user needs one, so it must have an expression");
        return Err(ConnectionError::invalid("mapping", reason));
    }
    rules(mapping).map(drop)
}

/// Refuses a rate that is none.
pub(super) fn check_rate(requests_per_second: u32) -> Result<(), ConnectionError> {
    if (1..=MOST_REQUESTS_PER_SECOND).contains(&requests_per_second) {
        return Ok(());
    }
    let reason = format!("must be between 1 and {MOST_REQUESTS_PER_SECOND}");
    Err(ConnectionError::invalid("requestsPerSecond", reason))
}
