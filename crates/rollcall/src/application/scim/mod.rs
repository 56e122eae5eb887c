//! What pushing by SCIM needs (wire contract, section 7): where the service provider is, how the hub proves who it is
//! there, what is done, and what a user of the directory is to it.
//!
//! `delivery::route::scim` pushes by them. The secret, a token or the client's secret, is stored apart, sealed, and is
//! shown to nobody.

mod check;
mod edit;

use std::collections::{BTreeMap, BTreeSet};

use rollcall_scim::client::{Preset, Profile};
use rollcall_scim::mapping::USER_OUT;
use rollcall_scim::schema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

pub use self::check::{Checked, ScimError, TOKEN_URL};
pub use self::edit::{ProfilePatch, ScimPatch, ThresholdsPatch};

/// The parameters of pushing by SCIM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scim {
    /// Where `Users` and `Groups` are.
    pub base_url: String,
    /// How the hub proves who it is.
    #[serde(default)]
    pub authentication: Authentication,
    /// What is done. What is not named is left undone.
    #[serde(default = "Action::all")]
    pub actions: BTreeSet<Action>,
    /// Whether groups are told too.
    #[serde(default = "yes")]
    pub groups: bool,
    /// What becomes of those who are deleted or leave the scope.
    #[serde(default)]
    pub leavers: Leavers,
    /// Whose ways the profile and the usual mapping are those of.
    #[serde(default)]
    pub preset: Preset,
    /// What differs from the usual mapping: expressions by the attributes of SCIM that they set; an empty one sets
    /// nothing.
    #[serde(default)]
    pub mapping: BTreeMap<String, String>,
    /// How the service provider wants to be spoken to.
    #[serde(default)]
    pub profile: Profile,
    /// What a repair takes away without a confirmation.
    #[serde(default)]
    pub thresholds: Thresholds,
}

/// What a repair takes away without a confirmation: so many, and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "ScimThresholds")]
pub struct Thresholds {
    /// Users and groups that are disabled or deleted.
    pub leaving: u32,
    /// The same, in percent of the users whom the application has of the hub's.
    pub leaving_percent: u32,
    /// Users who are taken out of groups.
    pub member_removals: u32,
    /// Groups that nobody is left in.
    pub emptied_groups: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            leaving: 10,
            leaving_percent: 5,
            member_removals: 100,
            emptied_groups: 0,
        }
    }
}

fn yes() -> bool {
    true
}

/// How the hub proves who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
#[schemars(rename = "ScimAuthentication")]
pub enum Authentication {
    /// By a token that an administrator of the application has made: the secret.
    #[default]
    BearerToken,
    /// By tokens that the hub gets for itself (OAuth 2.0, client credentials; RFC 6749, section 4.4). The secret is the
    /// client's.
    ClientCredentials {
        /// Where tokens are given.
        token_url: String,
        /// Who the hub is there.
        client_id: String,
        /// Where the secret goes.
        #[serde(default)]
        method: SecretIn,
        /// What the token is for, if that has to be said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<String>,
    },
}

/// Where a client's secret goes.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    IntoStaticStr,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[value(rename_all = "snake_case")]
#[schemars(rename = "ScimSecretIn")]
pub enum SecretIn {
    /// `client_secret_basic`: into the header `Authorization`.
    #[default]
    Header,
    /// `client_secret_post`: into the body.
    Body,
}

/// Something that is done at the service provider.
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
    IntoStaticStr,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[value(rename_all = "snake_case")]
#[schemars(rename = "ScimAction")]
pub enum Action {
    /// Whoever is not there is made. Otherwise only those who are there are kept up to date.
    Create,
    /// What changes is told.
    Update,
    /// Those who leave are dealt with as `leavers` says. Otherwise they are left as they are.
    Delete,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Delete];

    /// All of them, as a set.
    pub fn all() -> BTreeSet<Self> {
        Self::ALL.into()
    }
}

/// What becomes of those who are deleted or leave the scope. Groups cannot be disabled: they are deleted instead.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    IntoStaticStr,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[value(rename_all = "snake_case")]
#[schemars(rename = "ScimLeavers")]
pub enum Leavers {
    /// They stay, and are not active any more.
    #[default]
    Disable,
    /// They are deleted.
    Delete,
    /// They stay as they are, and the hub has nothing more to do with them.
    Release,
}

/// The fields of a user that expressions may name, besides `customFields.…`.
pub const USER_FIELDS: &[&str] = &[
    "id",
    "username",
    "displayName",
    "email",
    "emailVerified",
    "phoneRegion",
    "phoneNumber",
    "phoneVerified",
    "enabled",
    "description",
    "sourceType",
    "externalId",
    "primaryUnitId",
    "primaryUnit",
];

/// What every name of a custom field begins with.
pub const CUSTOM_FIELDS: &str = "customFields.";

/// The attribute of a user into which the name of its unit goes, if nobody says otherwise.
fn department() -> String {
    format!("{}:department", schema::ENTERPRISE_USER)
}

/// What a user is at a service provider if nobody says otherwise: attributes, with the expressions for them.
pub fn usual_mapping(preset: Preset) -> Vec<(String, &'static str)> {
    let more: &[(&str, &str)] = match preset {
        // It requires both names, and the directory has one.
        Preset::AwsIdentityCenter => &[
            ("name.givenName", r#"before(displayName, " ")"#),
            (
                "name.familyName",
                r#"first(after(displayName, " "), displayName)"#,
            ),
        ],
        Preset::Standard | Preset::EntraGallery | Preset::Slack | Preset::GitHub | Preset::CloudSso => &[],
    };
    let all = USER_OUT.iter().chain(more);
    let all = all.map(|(target, expression)| ((*target).to_owned(), *expression));
    all.chain([(department(), "primaryUnit")]).collect()
}

/// The name that one of a few ways has where it is stored.
pub fn stored_name(way: &impl Serialize) -> String {
    let stored = serde_json::to_value(way).unwrap_or_default();
    stored.as_str().unwrap_or_default().to_owned()
}

impl Scim {
    /// Parameters for a service provider whose ways are known, with defaults for everything else.
    pub fn preset(preset: Preset, base_url: impl Into<String>, authentication: Authentication) -> Self {
        Self {
            base_url: base_url.into(),
            authentication,
            actions: Action::all(),
            groups: true,
            leavers: Leavers::default(),
            preset,
            mapping: BTreeMap::new(),
            profile: preset.profile(),
            thresholds: Thresholds::default(),
        }
    }

    /// Whether something is done.
    pub fn does(&self, action: Action) -> bool {
        self.actions.contains(&action)
    }

    /// The usual mapping with what differs from it.
    pub fn effective_mapping(&self) -> Vec<(String, String)> {
        let differs = |target: &str| {
            let mut given = self.mapping.iter();
            given.find(|(given, _)| given.eq_ignore_ascii_case(target))
        };
        let usual = usual_mapping(self.preset);
        let is_usual = |target: &String| usual.iter().any(|(it, _)| it.eq_ignore_ascii_case(target));
        let further = self.mapping.iter().filter(|(target, _)| !is_usual(target));
        let further = further.map(|(target, expression)| (target.clone(), expression.trim().to_owned()));
        let usual = usual.iter().map(|(target, expression)| {
            let expression = differs(target).map_or(*expression, |(_, given)| given.trim());
            (target.clone(), expression.to_owned())
        });
        usual
            .chain(further)
            .filter(|(_, expression)| !expression.is_empty())
            .collect()
    }
}
