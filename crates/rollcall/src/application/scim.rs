//! What pushing by SCIM needs (wire contract, section 7): where the service provider is, how the hub proves who it is
//! there, what is done, and what a user of the directory is to it.
//!
//! `delivery::route::scim` pushes by them. Only the door sets them: neither the API nor the command line does yet.

use reqwest::Url;
use rollcall_scim::client::{Managed, Preset, Profile};
use rollcall_scim::mapping::{MappingError, Outward, USER_OUT};
use rollcall_scim::schema;
use serde::{Deserialize, Serialize};

use super::settings::parse_url;

/// The parameters of pushing by SCIM. The secret is stored apart from them, sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scim {
    /// Where `Users` and `Groups` are.
    pub base_url: String,
    /// How the hub proves who it is.
    pub authentication: Authentication,
    /// What is done.
    #[serde(default)]
    pub actions: Actions,
    /// Whether groups are told too.
    #[serde(default)]
    pub groups: bool,
    /// What becomes of those who are deleted or leave the scope.
    #[serde(default)]
    pub leavers: Leavers,
    /// What a user is there. None: [`user_rules`] of the standard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<Rule>>,
    /// How the service provider wants to be spoken to.
    #[serde(default)]
    pub profile: Profile,
}

/// How the hub proves who it is. What is secret in it, the token or the client's secret, is stored apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Authentication {
    /// A token that an administrator of the application has made.
    BearerToken,
    /// Tokens that the hub gets for itself (OAuth 2.0, client credentials; RFC 6749, section 4.4).
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretIn {
    /// `client_secret_basic`: into the header `Authorization`.
    #[default]
    Header,
    /// `client_secret_post`: into the body.
    Body,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Actions {
    /// Whoever is not there is made. Otherwise only those who are there are kept up to date.
    pub create: bool,
    /// What changes is told.
    pub update: bool,
    /// Those who leave are dealt with as [`Scim::leavers`] says. Otherwise they are left as they are.
    pub delete: bool,
}

impl Default for Actions {
    fn default() -> Self {
        Self {
            create: true,
            update: true,
            delete: true,
        }
    }
}

/// What becomes of those who are deleted or leave the scope. Groups cannot be disabled: they are deleted instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leavers {
    /// They stay, and are not active any more.
    #[default]
    Disable,
    /// They are deleted.
    Delete,
    /// They stay as they are, and the hub has nothing more to do with them.
    Release,
}

/// An attribute of the service provider and what comes there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The path of the attribute.
    pub target: String,
    /// An expression on the fields of a user ([`USER_FIELDS`]).
    pub value: String,
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

/// What a user is at a service provider, if nobody says otherwise.
pub fn user_rules(preset: Preset) -> Vec<Rule> {
    let rule = |(target, value): &(&str, &str)| Rule {
        target: (*target).to_owned(),
        value: (*value).to_owned(),
    };
    let department = format!("{}:department", schema::ENTERPRISE_USER);
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
    let unit = (department.as_str(), "primaryUnit");
    let rules = USER_OUT.iter().chain(more).map(rule);
    rules.chain([rule(&unit)]).collect()
}

/// Why parameters are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScimError {
    /// Not a usable address.
    #[error("the {what} {url:?} cannot be used: {reason}")]
    Url {
        /// `base URL` or `token URL`.
        what: &'static str,
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A secret would travel in the clear.
    #[error("the {what} must begin with https://: otherwise the secret would travel in the clear")]
    InTheClear {
        /// `base URL` or `token URL`.
        what: &'static str,
    },
    /// No name for the client.
    #[error("the client id is missing")]
    NoClientId,
    /// The mapping cannot be used.
    #[error("the mapping of users: {0}")]
    Mapping(#[from] MappingError),
    /// The mapping leaves out what every user needs.
    #[error("the mapping of users must say what `{0}` is")]
    Unmapped(&'static str),
    /// A number outside its range.
    #[error("{name} must be between {least} and {most}, not {given}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// The least value.
        least: u32,
        /// The greatest value.
        most: u32,
        /// What was given.
        given: u32,
    },
}

/// Parameters that were checked.
#[derive(Debug)]
pub struct Checked {
    /// Where `Users` and `Groups` are; its path ends with a slash.
    pub base_url: Url,
    /// Where tokens are given, if the hub gets them for itself.
    pub token_url: Option<Url>,
    /// What a user is there.
    pub users: Outward,
    /// The attributes of users that the mapping sets.
    pub managed: Managed,
}

impl Scim {
    /// Parameters for a service provider whose ways are known, with defaults for everything else.
    pub fn preset(preset: Preset, base_url: impl Into<String>, authentication: Authentication) -> Self {
        Self {
            base_url: base_url.into(),
            authentication,
            actions: Actions::default(),
            groups: true,
            leavers: Leavers::default(),
            users: Some(user_rules(preset)),
            profile: preset.profile(),
        }
    }

    /// Checks everything that can be checked without asking the service provider.
    ///
    /// # Errors
    /// The first [`ScimError`] found.
    pub fn check(&self) -> Result<Checked, ScimError> {
        let mut base_url = url("base URL", &self.base_url)?;
        if base_url.query().is_some() {
            return Err(ScimError::Url {
                what: "base URL",
                url: self.base_url.clone(),
                reason: "requests have queries of their own".to_owned(),
            });
        }
        if !base_url.path().ends_with('/') {
            let path = format!("{}/", base_url.path());
            base_url.set_path(&path);
        }
        let token_url = match &self.authentication {
            Authentication::BearerToken => None,
            Authentication::ClientCredentials { client_id, .. } if client_id.is_empty() => {
                return Err(ScimError::NoClientId);
            }
            Authentication::ClientCredentials { token_url, .. } => Some(url("token URL", token_url)?),
        };
        self.check_profile()?;
        let standard;
        let rules = match &self.users {
            Some(rules) => rules,
            None => {
                standard = user_rules(Preset::Standard);
                &standard
            }
        };
        for target in ["userName", "externalId"] {
            if !rules.iter().any(|rule| rule.target.eq_ignore_ascii_case(target)) {
                return Err(ScimError::Unmapped(target));
            }
        }
        let is_known = |name: &str| USER_FIELDS.contains(&name) || name.starts_with(CUSTOM_FIELDS);
        let pairs = rules
            .iter()
            .map(|rule| (rule.target.as_str(), rule.value.as_str()));
        let users = Outward::parse(pairs, schema::user(), is_known)?;
        Ok(Checked {
            base_url,
            token_url,
            managed: Managed::of(users.targets(), schema::user()),
            users,
        })
    }

    fn check_profile(&self) -> Result<(), ScimError> {
        let Profile {
            members_at_once,
            page_size,
            rate,
            ..
        } = &self.profile;
        let range = |name, given, least, most| match (least..=most).contains(&given) {
            true => Ok(()),
            false => Err(ScimError::OutOfRange {
                name,
                least,
                most,
                given,
            }),
        };
        range("members at once", *members_at_once, 1, 10_000)?;
        range("page size", *page_size, 1, 10_000)?;
        if let Some(rate) = rate {
            range("the requests of the rate", rate.requests, 1, 1_000_000)?;
            range("the seconds of the rate", rate.seconds, 1, 86_400)?;
        }
        Ok(())
    }
}

fn url(what: &'static str, text: &str) -> Result<Url, ScimError> {
    let url = parse_url(text).map_err(|reason| ScimError::Url {
        what,
        url: text.to_owned(),
        reason,
    })?;
    // What does not leave the machine cannot be read on the way.
    let stays = match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host
            .parse()
            .is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback()),
        None => false,
    };
    match url.scheme() == "https" || stays {
        true => Ok(url),
        false => Err(ScimError::InTheClear { what }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scim(base_url: &str) -> Scim {
        Scim::preset(Preset::Standard, base_url, Authentication::BearerToken)
    }

    #[test]
    fn a_base_url_ends_with_a_slash_and_hides_its_secret() {
        for (given, used) in [
            ("https://app.example/scim/v2", "https://app.example/scim/v2/"),
            ("https://app.example/scim/v2/", "https://app.example/scim/v2/"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("http://[::1]:8080/x", "http://[::1]:8080/x/"),
        ] {
            assert_eq!(scim(given).check().unwrap().base_url.as_str(), used);
        }
        for (given, said) in [
            ("http://app.example/scim", "in the clear"),
            ("http://127.0.0.1.example/scim", "in the clear"),
            ("https://app.example/scim?tenant=1", "queries of their own"),
            ("https://u:p@app.example/scim", "password"),
            ("app.example", "begin with http"),
        ] {
            let error = scim(given).check().unwrap_err().to_string();
            assert!(error.contains(said), "{given}: {error}");
        }
    }

    #[test]
    fn every_preset_can_be_used_and_stored() {
        for preset in Preset::ALL {
            let scim = Scim::preset(preset, "https://app.example", Authentication::BearerToken);
            scim.check().unwrap();
            let stored = serde_json::to_string(&scim).unwrap();
            assert_eq!(serde_json::from_str::<Scim>(&stored).unwrap(), scim);
        }
    }

    #[test]
    fn little_has_to_be_said() {
        let scim: Scim = serde_json::from_str(
            r#"{"baseUrl": "https://app.example", "authentication": {"type": "client_credentials",
                "tokenUrl": "https://app.example/token", "clientId": "hub"}}"#,
        )
        .unwrap();
        assert_eq!((scim.leavers, scim.groups), (Leavers::Disable, false));
        assert_eq!(
            scim.check().unwrap().token_url.unwrap().as_str(),
            "https://app.example/token"
        );
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let with = |change: &dyn Fn(&mut Scim)| {
            let mut scim = scim("https://app.example");
            change(&mut scim);
            scim.check().unwrap_err().to_string()
        };
        let rules = |rules: &[(&str, &str)]| {
            let rules = rules.iter().map(|(target, value)| Rule {
                target: (*target).to_owned(),
                value: (*value).to_owned(),
            });
            Some(rules.collect::<Vec<_>>())
        };
        let needed = [("userName", "username"), ("externalId", "id")];
        let and = |more: (&'static str, &'static str)| rules(&[needed[0], needed[1], more]);
        assert!(with(&|scim| scim.users = rules(&needed[..1])).contains("`externalId`"));
        assert!(with(&|scim| scim.users = rules(&needed[1..])).contains("`userName`"));
        assert!(with(&|scim| scim.users = and(("title", "nickname"))).contains("title"));
        assert!(with(&|scim| scim.users = and(("id", "id"))).contains("cannot be set"));
        assert!(with(&|scim| scim.profile.members_at_once = 0).contains("members at once"));
        assert!(
            with(&|scim| {
                scim.authentication = Authentication::ClientCredentials {
                    token_url: "http://app.example/token".to_owned(),
                    client_id: "hub".to_owned(),
                    method: SecretIn::Header,
                    scope: None,
                };
            })
            .contains("token URL")
        );
        let custom = Scim {
            users: and(("title", "customFields.title")),
            ..scim("https://app.example")
        };
        assert!(custom.check().is_ok());
    }
}
