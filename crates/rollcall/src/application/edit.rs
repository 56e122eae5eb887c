//! Changes of push parameters and scopes that name what they change, and leave the rest as it is.

use std::collections::BTreeSet;

use rollcall_scim::client::Profile;
use serde::{Deserialize, Serialize};

use super::entitlement::Scope;
use super::scim::{Authentication, Checked, ProfilePatch, ScimPatch};
use super::settings::{Encryption, Mode, ModeName, Settings, SettingsError};

/// Changes of the push parameters; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SettingsPatch {
    /// Another mode, which needs another URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ModeName>,
    /// Another receiving URL; in the SCIM mode, another base URL.
    pub url: Option<String>,
    /// Whether the events are encrypted.
    pub encryption: Option<Encryption>,
    /// Whether new passwords are sent along.
    pub password_synchronization: Option<bool>,
    /// Events in one request.
    pub max_events: Option<u32>,
    /// Bytes of event data in one request.
    pub max_bytes: Option<u32>,
    /// Requests in flight at once.
    pub lanes: Option<u32>,
    /// Requests per second, at most; zero ends the limit.
    pub requests_per_second: Option<u32>,
    /// What pushing by SCIM needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scim: Option<ScimPatch>,
}

impl SettingsPatch {
    /// The change after which an application that takes SCIM is spoken to in these ways.
    pub fn of_profile(profile: &Profile) -> Self {
        let scim = ScimPatch {
            profile: ProfilePatch::to(profile),
            ..ScimPatch::default()
        };
        Self {
            scim: Some(scim),
            ..Self::default()
        }
    }

    /// The parameters of SCIM as they would be after these changes, checked.
    ///
    /// # Errors
    /// If they do not hold together, or the mode is not SCIM.
    pub fn tried_on(&self, settings: &Settings) -> Result<Checked, SettingsError> {
        let mut settings = settings.clone();
        self.apply_to(&mut settings)?;
        let scim = settings.scim();
        let scim = scim.ok_or(SettingsError::ScimOnly("a mapping of users"))?;
        Ok(scim.check()?)
    }

    /// The addresses that are set.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let authentication = self.scim.as_ref().and_then(|scim| scim.authentication.as_ref());
        let token_url = authentication.and_then(|it| match it {
            Authentication::ClientCredentials { token_url, .. } => Some(token_url.as_str()),
            Authentication::BearerToken => None,
        });
        self.url.as_deref().into_iter().chain(token_url)
    }

    /// The settings that a new application has by it: callbacks are encrypted if there is a key.
    ///
    /// # Errors
    /// If there is no URL, or the mode does not have what is set.
    pub fn made(&self, has_encryption_key: bool) -> Result<Settings, SettingsError> {
        let url = self.url.as_deref().ok_or(SettingsError::NoUrl)?;
        let mut settings = match (self.mode, has_encryption_key) {
            (Some(ModeName::Scim), true) => {
                return Err(SettingsError::CallbacksOnly("an encryption of events"));
            }
            (Some(ModeName::Scim), false) => Settings::scim_at(url),
            (Some(ModeName::EventCallback) | None, true) => {
                Settings::event_callback(url, Encryption::Required)
            }
            (Some(ModeName::EventCallback) | None, false) => Settings::event_callback(url, Encryption::Off),
        };
        self.apply_to(&mut settings)?;
        Ok(settings)
    }

    /// Changes settings by it.
    ///
    /// # Errors
    /// If the mode does not have what is changed.
    pub fn apply_to(&self, settings: &mut Settings) -> Result<(), SettingsError> {
        let Self {
            mode,
            url,
            encryption,
            password_synchronization,
            max_events,
            max_bytes,
            lanes,
            requests_per_second,
            scim,
        } = self;
        if let Some(mode) = mode {
            settings.set_mode(*mode, url.as_deref())?;
        }
        if let Some(url) = url {
            settings.set_url(url);
        }
        let set = |field: &mut u32, value: &Option<u32>| *field = value.unwrap_or(*field);
        set(&mut settings.limits.max_events, max_events);
        set(&mut settings.limits.max_bytes, max_bytes);
        set(&mut settings.limits.lanes, lanes);
        if let Some(rate) = requests_per_second {
            settings.limits.requests_per_second = Some(*rate).filter(|rate| *rate > 0);
        }
        if let Some(encryption) = encryption {
            settings.set_encryption(*encryption)?;
        }
        if let Some(wanted) = password_synchronization {
            settings.password_synchronization = *wanted;
        }
        if let Some(patch) = scim {
            match &mut settings.mode {
                Mode::Scim(scim) => patch.apply_to(scim),
                Mode::EventCallback(_) => return Err(SettingsError::ScimOnly("parameters of SCIM")),
            }
        }
        Ok(())
    }
}

/// A change of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit<T> {
    /// It becomes this.
    Set(BTreeSet<T>),
    /// These come in and those go out; the rest stays.
    Change {
        /// What comes in.
        add: BTreeSet<T>,
        /// What goes out.
        remove: BTreeSet<T>,
    },
}

impl<T> Default for Edit<T> {
    /// Everything stays.
    fn default() -> Self {
        Self::Change {
            add: BTreeSet::new(),
            remove: BTreeSet::new(),
        }
    }
}

impl<T: Ord + Clone> Edit<T> {
    /// The set after the change.
    pub fn applied_to(&self, set: &BTreeSet<T>) -> BTreeSet<T> {
        match self {
            Self::Set(to) => to.clone(),
            Self::Change { add, remove } => set
                .union(add)
                .filter(|it| !remove.contains(it))
                .cloned()
                .collect(),
        }
    }
}

/// A change of a scope; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeEdit {
    /// Of its organizational units, by id.
    pub units: Edit<String>,
    /// Of its groups, by id.
    pub groups: Edit<String>,
}

impl ScopeEdit {
    /// The change after which a scope is this one.
    pub fn to(scope: &Scope) -> Self {
        Self {
            units: Edit::Set(scope.organizational_unit_ids.clone()),
            groups: Edit::Set(scope.group_ids.clone()),
        }
    }

    /// The scope after the change.
    pub fn applied_to(&self, scope: &Scope) -> Scope {
        Scope {
            organizational_unit_ids: self.units.applied_to(&scope.organizational_unit_ids),
            group_ids: self.groups.applied_to(&scope.group_ids),
        }
    }
}
