//! Whether parameters of SCIM hold together.

use reqwest::Url;
use rollcall_scim::client::{Managed, Profile};
use rollcall_scim::mapping::{MappingError, Outward};
use rollcall_scim::schema;

use super::{Authentication, CUSTOM_FIELDS, Scim, USER_FIELDS};
use crate::application::settings::{OutOfRange, parse_url, within};
use crate::secret::{ExposeSecret as _, SecretString};

/// What errors call the address at which tokens are given.
pub const TOKEN_URL: &str = "token URL";

/// How many attributes a mapping sets at most.
const MOST_ATTRIBUTES: usize = 100;

/// How long a secret may be, in characters. Tokens that hold claims are some thousands long.
const MOST_SECRET: usize = 16_384;

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
    Mapping(MappingError),
    /// The mapping leaves out what every user needs.
    #[error("the mapping of users must say what `{0}` is")]
    Unmapped(&'static str),
    /// More than anybody needs.
    #[error("the mapping of users sets more than {MOST_ATTRIBUTES} attributes")]
    TooManyAttributes,
    /// There is no secret.
    #[error("the secret is missing: enter the token, or the client's secret")]
    NoSecret,
    /// The secret cannot be sent.
    #[error(
        "the secret cannot be sent: it must be 1 to {MOST_SECRET} characters that can be seen, all of them ASCII, without spaces"
    )]
    Secret,
    /// The secret would go to somebody else than the one whom it was entered for.
    #[error("the secret was entered for another address: enter the secret for the new one too")]
    SecretForAnother,
    /// A number outside its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
}

impl From<MappingError> for ScimError {
    fn from(error: MappingError) -> Self {
        Self::Mapping(error)
    }
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
            Authentication::ClientCredentials { token_url, .. } => Some(url(TOKEN_URL, token_url)?),
        };
        self.check_profile()?;
        let mapping = self.effective_mapping();
        if mapping.len() > MOST_ATTRIBUTES {
            return Err(ScimError::TooManyAttributes);
        }
        for needed in ["userName", "externalId"] {
            if !mapping
                .iter()
                .any(|(target, _)| target.eq_ignore_ascii_case(needed))
            {
                return Err(ScimError::Unmapped(needed));
            }
        }
        let is_known = |name: &str| USER_FIELDS.contains(&name) || name.starts_with(CUSTOM_FIELDS);
        let pairs = mapping
            .iter()
            .map(|(target, expression)| (target.as_str(), expression.as_str()));
        let users = Outward::parse(pairs, schema::user(), is_known)?;
        Ok(Checked {
            base_url,
            token_url,
            managed: Managed::of(users.targets(), schema::user()),
            users,
        })
    }

    /// To whom the secret is given, and what it is: if that changes, it is another secret.
    fn entrusted(checked: &Checked) -> (String, Option<String>) {
        let origin = |url: &Url| url.origin().ascii_serialization();
        (origin(&checked.base_url), checked.token_url.as_ref().map(origin))
    }

    /// Checks the secret with which these parameters are to be used after `before`: a new one, or the one that is
    /// stored.
    ///
    /// # Errors
    /// [`ScimError`] if there is none, or if the one that is stored was entered for somebody else.
    pub fn check_secret(
        &self,
        new: Option<&SecretString>,
        stored: bool,
        before: Option<&Self>,
    ) -> Result<(), ScimError> {
        if let Some(secret) = new {
            let text = secret.expose_secret();
            let can_be_sent = text.bytes().all(|byte| byte.is_ascii_graphic());
            return match can_be_sent && (1..=MOST_SECRET).contains(&text.len()) {
                true => Ok(()),
                false => Err(ScimError::Secret),
            };
        }
        let Some(before) = before.filter(|_| stored) else {
            return Err(ScimError::NoSecret);
        };
        let checked = self.check()?;
        let before = before.check().ok();
        match before.is_some_and(|before| Self::entrusted(&before) == Self::entrusted(&checked)) {
            true => Ok(()),
            false => Err(ScimError::SecretForAnother),
        }
    }

    fn check_profile(&self) -> Result<(), ScimError> {
        let Profile {
            members_at_once,
            page_size,
            rate,
            ..
        } = &self.profile;
        within("members at once", *members_at_once, 1, 10_000)?;
        within("page size", *page_size, 1, 10_000)?;
        if let Some(rate) = rate {
            within("the requests of the rate", rate.requests, 1, 1_000_000)?;
            within("the seconds of the rate", rate.seconds, 1, 86_400)?;
        }
        within(
            "the percentage of those who leave",
            self.thresholds.leaving_percent,
            0,
            100,
        )?;
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
    use rollcall_scim::client::Preset;

    use super::super::{Leavers, SecretIn};
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
        assert_eq!((scim.leavers, scim.groups), (Leavers::Disable, true));
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
        let map = |target: &str, expression: &str| {
            with(&|scim| {
                scim.mapping.insert(target.to_owned(), expression.to_owned());
            })
        };
        assert!(map("externalId", " ").contains("must say what `externalId`"));
        assert!(map("USERNAME", "").contains("must say what `userName`"));
        assert!(map("title", "nickname").contains("title"));
        assert!(map("id", "id").contains("cannot be set"));
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
            .contains(TOKEN_URL)
        );
        let mut custom = scim("https://app.example");
        let title = ("title".to_owned(), "customFields.title".to_owned());
        custom.mapping.extend([title]);
        assert!(custom.check().is_ok());
    }

    #[test]
    fn a_mapping_says_what_differs_from_the_usual_one() {
        let mut scim = scim("https://app.example");
        let usual = scim.effective_mapping();
        let of = |scim: &Scim, target: &str| {
            let mapping = scim.effective_mapping();
            let found = mapping.into_iter().find(|(it, _)| it == target);
            found.map(|(_, expression)| expression)
        };
        let patch = |text: &str| serde_json::from_str::<super::super::ScimPatch>(text).unwrap();
        patch(r#"{"mapping": {"displayname": "username", "title": "description", "active": ""}}"#)
            .apply_to(&mut scim);
        assert_eq!(of(&scim, "displayName").unwrap(), "username");
        assert_eq!(of(&scim, "title").unwrap(), "description");
        assert_eq!(of(&scim, "active"), None);
        assert_eq!(of(&scim, "userName").unwrap(), "username");
        // The same attribute in other letters is the same attribute.
        patch(r#"{"mapping": {"displayName": null, "TITLE": null, "Active": null}}"#).apply_to(&mut scim);
        assert_eq!(scim.effective_mapping(), usual);
        assert!(scim.mapping.is_empty());
    }

    #[test]
    fn a_preset_comes_before_what_is_changed_of_it() {
        let mut scim = scim("https://app.example");
        let patch: super::super::ScimPatch = serde_json::from_str(
            r#"{"preset": "slack", "profile": {"users": "put", "rate": {"requests": 0, "seconds": 1}}}"#,
        )
        .unwrap();
        patch.apply_to(&mut scim);
        assert_eq!((scim.preset, scim.profile.rate), (Preset::Slack, None));
        assert_eq!(serde_json::to_value(scim.profile.users).unwrap(), "put");
        super::super::ScimPatch {
            preset: Some(Preset::Slack),
            ..Default::default()
        }
        .apply_to(&mut scim);
        assert_eq!(scim.profile, Preset::Slack.profile());
    }

    #[test]
    fn a_secret_is_never_sent_to_somebody_else() {
        let here = scim("https://app.example/a");
        let secret = SecretString::from("t0ken");
        assert_eq!(here.check_secret(None, false, None), Err(ScimError::NoSecret));
        assert_eq!(here.check_secret(Some(&secret), false, None), Ok(()));
        assert_eq!(here.check_secret(None, true, Some(&here)), Ok(()));
        // Another path is the same host, which has the secret anyway.
        let moved = scim("https://app.example/b");
        assert_eq!(moved.check_secret(None, true, Some(&here)), Ok(()));
        let with_client = |token_url: &str| {
            let mut scim = scim("https://app.example/a");
            scim.authentication = Authentication::ClientCredentials {
                token_url: token_url.to_owned(),
                client_id: "hub".to_owned(),
                method: SecretIn::Header,
                scope: None,
            };
            scim
        };
        let (own, other) = (
            with_client("https://app.example/t"),
            with_client("https://login.example/t"),
        );
        for (after, before) in [
            (&scim("https://app.example:444/a"), &here),
            (&scim("https://evil.example/a"), &here),
            (&own, &here),
            (&here, &own),
            (&other, &own),
        ] {
            assert_eq!(
                after.check_secret(None, true, Some(before)),
                Err(ScimError::SecretForAnother)
            );
            assert_eq!(after.check_secret(Some(&secret), true, Some(before)), Ok(()));
        }
        for text in ["", "two words", "line\n", "sch\u{fc}ssel"] {
            let secret = SecretString::from(text);
            assert_eq!(
                here.check_secret(Some(&secret), true, Some(&here)),
                Err(ScimError::Secret),
                "{text:?}"
            );
        }
    }
}
