//! The roles of accounts and tokens.

use std::borrow::Cow;
use std::collections::BTreeSet;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use strum::{EnumString, IntoStaticStr};

/// What a role is called, without what it is bound to.
#[derive(
    Clone,
    Copy,
    Debug,
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
pub enum RoleName {
    /// May do everything.
    Administrator,
    /// Sees directory and applications; tests, synchronizes, resends and skips.
    Operator,
    /// Sees everything, the audit log too, and changes nothing.
    Auditor,
    /// Sees, tests and repairs some applications, and of the directory what is in their scopes.
    ApplicationOwner,
}

impl RoleName {
    /// As it is stored, written in the API and typed.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What somebody may do: see [`Role::may`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// May do everything.
    Administrator,
    /// Sees directory and applications; tests, synchronizes, resends and skips.
    Operator,
    /// Sees everything and changes nothing.
    Auditor,
    /// The same as an operator for the applications with these ids, and nothing beyond them. Applications that are
    /// deleted fall away; whoever has none left sees nothing.
    ApplicationOwner(BTreeSet<String>),
}

impl Role {
    /// The role of this name; of the applications only that of their owner takes notice.
    pub fn of(name: RoleName, applications: BTreeSet<String>) -> Self {
        match name {
            RoleName::Administrator => Self::Administrator,
            RoleName::Operator => Self::Operator,
            RoleName::Auditor => Self::Auditor,
            RoleName::ApplicationOwner => Self::ApplicationOwner(applications),
        }
    }

    /// What it is called.
    pub fn name(&self) -> RoleName {
        match self {
            Self::Administrator => RoleName::Administrator,
            Self::Operator => RoleName::Operator,
            Self::Auditor => RoleName::Auditor,
            Self::ApplicationOwner(_) => RoleName::ApplicationOwner,
        }
    }

    /// The only applications that it reaches; `None` if it reaches all.
    pub fn applications(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::ApplicationOwner(applications) => Some(applications),
            Self::Administrator | Self::Operator | Self::Auditor => None,
        }
    }

    /// Whether an application exists for it.
    pub fn reaches(&self, application_id: &str) -> bool {
        self.applications()
            .is_none_or(|applications| applications.contains(application_id))
    }
}

/// A role as it is written.
#[derive(Serialize, JsonSchema)]
struct Shown<'a> {
    /// What it is called.
    role: RoleName,
    /// The ids of the applications that an application owner has.
    #[serde(skip_serializing_if = "Option::is_none")]
    applications: Option<&'a BTreeSet<String>>,
}

impl JsonSchema for Role {
    fn schema_name() -> Cow<'static, str> {
        "Role".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Shown::json_schema(generator)
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = Shown {
            role: self.name(),
            applications: self.applications(),
        };
        shown.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Written {
            role: RoleName,
            #[serde(default)]
            applications: BTreeSet<String>,
        }

        let Written { role, applications } = Written::deserialize(deserializer)?;
        Ok(Self::of(role, applications))
    }
}
