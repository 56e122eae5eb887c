//! Changes of the parameters of SCIM that name what they change, and leave the rest as it is.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_scim::Removal;
use rollcall_scim::client::{GroupUpdate, Preset, Profile, Rate, Update};
use serde::{Deserialize, Serialize};

use super::{Action, Authentication, Leavers, Scim, Thresholds};

/// Changes of what pushing by SCIM needs; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ScimPatch {
    /// How the hub proves who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// All that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actions: Option<BTreeSet<Action>>,
    /// Whether groups are told too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<bool>,
    /// What becomes of those who are deleted or leave the scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leavers: Option<Leavers>,
    /// Whose ways are followed: the usual mapping becomes that of the preset, and so does the profile, before it is
    /// changed as `profile` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Expressions by the attributes that they set. An empty one sets nothing; null goes back to the usual one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mapping: BTreeMap<String, Option<String>>,
    /// How the service provider wants to be spoken to.
    #[serde(skip_serializing_if = "ProfilePatch::is_empty")]
    pub profile: ProfilePatch,
    /// What a repair takes away without a confirmation.
    #[serde(skip_serializing_if = "ThresholdsPatch::is_empty")]
    pub thresholds: ThresholdsPatch,
}

/// Changes of thresholds; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are those of thresholds")]
#[schemars(rename = "ScimThresholdsPatch")]
pub struct ThresholdsPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaving: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaving_percent: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_removals: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emptied_groups: Option<u32>,
}

impl ThresholdsPatch {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn apply_to(self, thresholds: &mut Thresholds) {
        let Self {
            leaving,
            leaving_percent,
            member_removals,
            emptied_groups,
        } = self;
        set(&mut thresholds.leaving, leaving);
        set(&mut thresholds.leaving_percent, leaving_percent);
        set(&mut thresholds.member_removals, member_removals);
        set(&mut thresholds.emptied_groups, emptied_groups);
    }
}

/// Changes of a profile; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are those of a profile")]
#[schemars(rename = "ScimProfilePatch")]
pub struct ProfilePatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Update>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupUpdate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removal: Option<Removal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members_at_once: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finds_external_ids: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etags: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_size: Option<u32>,
    /// No requests end the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

impl ScimPatch {
    /// Changes parameters by it.
    pub fn apply_to(&self, scim: &mut Scim) {
        let Self {
            authentication,
            actions,
            groups,
            leavers,
            preset,
            mapping,
            profile,
            thresholds,
        } = self;
        if let Some(authentication) = authentication {
            scim.authentication = authentication.clone();
        }
        if let Some(actions) = actions {
            scim.actions = actions.clone();
        }
        set(&mut scim.groups, *groups);
        set(&mut scim.leavers, *leavers);
        if let Some(preset) = preset {
            scim.preset = *preset;
            scim.profile = preset.profile();
        }
        for (target, expression) in mapping {
            scim.mapping
                .retain(|given, _| !given.eq_ignore_ascii_case(target));
            if let Some(expression) = expression {
                scim.mapping.insert(target.clone(), expression.clone());
            }
        }
        profile.apply_to(&mut scim.profile);
        thresholds.apply_to(&mut scim.thresholds);
    }
}

impl ProfilePatch {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The change after which a profile is this one.
    pub fn to(profile: &Profile) -> Self {
        let Profile {
            users,
            groups,
            removal,
            paths,
            members_at_once,
            finds_external_ids,
            etags,
            page_size,
            rate,
        } = profile;
        Self {
            users: Some(*users),
            groups: Some(*groups),
            removal: Some(*removal),
            paths: Some(*paths),
            members_at_once: Some(*members_at_once),
            finds_external_ids: Some(*finds_external_ids),
            etags: Some(*etags),
            page_size: Some(*page_size),
            rate: Some(rate.unwrap_or(Rate {
                requests: 0,
                seconds: 1,
            })),
        }
    }

    fn apply_to(&self, profile: &mut Profile) {
        let Self {
            users,
            groups,
            removal,
            paths,
            members_at_once,
            finds_external_ids,
            etags,
            page_size,
            rate,
        } = self;
        set(&mut profile.users, *users);
        set(&mut profile.groups, *groups);
        set(&mut profile.removal, *removal);
        set(&mut profile.paths, *paths);
        set(&mut profile.members_at_once, *members_at_once);
        set(&mut profile.finds_external_ids, *finds_external_ids);
        set(&mut profile.etags, *etags);
        set(&mut profile.page_size, *page_size);
        if let Some(rate) = rate {
            profile.rate = Some(*rate).filter(|rate| rate.requests > 0);
        }
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}
