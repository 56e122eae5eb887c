//! How service providers want to be spoken to.

use serde::{Deserialize, Serialize};

use crate::patch::Removal;

/// How one service provider wants to be spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schemars",
    derive(schemars::JsonSchema),
    schemars(rename = "ScimProfile")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Profile {
    /// How users are changed.
    pub users: Update,
    /// How groups are changed.
    pub groups: GroupUpdate,
    /// How the removal of members is written.
    pub removal: Removal,
    /// Whether operations of PATCH name by a path what they are about; otherwise the value does, wherever the
    /// standard lets it.
    pub paths: bool,
    /// How many members one request names at most.
    pub members_at_once: u32,
    /// Whether resources can be looked for by `externalId`. Where they cannot, they are found by name alone, and
    /// one that was made, whose answer was lost, and that got another name since, is made again.
    pub finds_external_ids: bool,
    /// Whether changes name the version that they change.
    pub etags: bool,
    /// How many resources a page of a list has.
    pub page_size: u32,
    /// How many requests it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// How users are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schemars",
    derive(schemars::JsonSchema),
    schemars(rename = "ScimUpdate")
)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// By PATCH, with what differs.
    #[default]
    Patch,
    /// By PUT, as a whole. What is not mapped is lost, as the standard has it.
    Put,
}

/// How groups are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schemars",
    derive(schemars::JsonSchema),
    schemars(rename = "ScimGroupUpdate")
)]
#[serde(rename_all = "snake_case")]
pub enum GroupUpdate {
    /// By PATCH that adds and removes members.
    #[default]
    Change,
    /// By PATCH that replaces all members.
    Replace,
    /// By PUT of the group with all members.
    Put,
}

/// So many requests in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schemars",
    derive(schemars::JsonSchema),
    schemars(rename = "ScimRate")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rate {
    /// Requests, at least one.
    pub requests: u32,
    /// Seconds, at least one.
    pub seconds: u32,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            users: Update::Patch,
            groups: GroupUpdate::Change,
            removal: Removal::ByFilter,
            paths: true,
            members_at_once: 100,
            finds_external_ids: true,
            etags: false,
            page_size: 100,
            rate: None,
        }
    }
}

/// Service providers whose ways are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schemars",
    derive(schemars::JsonSchema),
    schemars(rename = "ScimPreset")
)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// What the standard says.
    #[default]
    Standard,
    /// Applications of the gallery of Microsoft Entra ID, which are made for its client: that names those who leave a
    /// group in a list. (A service provider that keeps to the standard takes such a list for all members.)
    EntraGallery,
    /// Slack: 180 requests a minute for users.
    Slack,
    /// GitHub, with managed users: 1,000 users an hour.
    #[serde(rename = "github")]
    GitHub,
    /// AWS IAM Identity Center: at most 100 members in a request, and members are never replaced as a whole.
    AwsIdentityCenter,
    /// Alibaba Cloud CloudSSO: pages of 100.
    CloudSso,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Standard,
        Self::EntraGallery,
        Self::Slack,
        Self::GitHub,
        Self::AwsIdentityCenter,
        Self::CloudSso,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::EntraGallery => "entra_gallery",
            Self::Slack => "slack",
            Self::GitHub => "github",
            Self::AwsIdentityCenter => "aws_identity_center",
            Self::CloudSso => "cloud_sso",
        }
    }

    /// The profile.
    pub fn profile(self) -> Profile {
        let standard = Profile::default();
        let rate = |requests, seconds| Some(Rate { requests, seconds });
        match self {
            Self::Standard | Self::AwsIdentityCenter | Self::CloudSso => standard,
            Self::EntraGallery => Profile {
                removal: Removal::ByList,
                ..standard
            },
            Self::Slack => Profile {
                rate: rate(180, 60),
                ..standard
            },
            Self::GitHub => Profile {
                rate: rate(1_000, 3_600),
                ..standard
            },
        }
    }
}
