//! Signing in at a provider (OpenID Connect), as it is configured.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Url;
use serde::Deserialize;

use super::{Config, comma_separated, policy};
use crate::access::RoleName;
use crate::clock::{Clock, Millis};
use crate::delivery::egress::{ANSWER_WITHIN, Egress, EgressOptions};
use crate::private;
use crate::signin::oidc::{self, Grant, Provider};

/// Signing in to the console at a provider (OpenID Connect). It is off unless an issuer is named.
#[derive(Clone, Debug, confique::Config)]
pub struct OidcConfig {
    /// The provider, exactly as it writes itself in its document `/.well-known/openid-configuration`: an address that
    /// begins with https://, or http:// on this machine.
    #[config(env = "ROLLCALL_ACCESS_OIDC_ISSUER")]
    pub issuer: Option<String>,

    /// What the hub is called at the provider.
    #[config(env = "ROLLCALL_ACCESS_OIDC_CLIENT_ID")]
    pub client_id: Option<String>,

    /// A file that holds the secret that the provider gave the hub. Left out: none, as public clients have it.
    #[config(env = "ROLLCALL_ACCESS_OIDC_CLIENT_SECRET_FILE")]
    pub client_secret_file: Option<PathBuf>,

    /// What the provider is asked for. In the variable, commas stand between several.
    #[config(
        env = "ROLLCALL_ACCESS_OIDC_SCOPES",
        parse_env = comma_separated,
        default = ["openid", "profile", "email"]
    )]
    pub scopes: Vec<String>,

    /// The address under which people reach the console, without /console. The provider has to be told of it with
    /// /console/sign-in/return behind it. Left out: public_url.
    #[config(env = "ROLLCALL_ACCESS_OIDC_CONSOLE_URL")]
    pub console_url: Option<String>,

    /// The claim of the ID token that holds what somebody is: a text or several. Dots lead into what is nested, as in
    /// `realm_access.roles`. Left out: `roles`, or `groups` where there is none.
    #[config(env = "ROLLCALL_ACCESS_OIDC_ROLES_CLAIM")]
    pub roles_claim: Option<String>,

    /// The claim by which a new account is called.
    #[config(env = "ROLLCALL_ACCESS_OIDC_NAME_CLAIM", default = "preferred_username")]
    pub name_claim: String,

    /// What stands on the button of the page for signing in.
    #[config(env = "ROLLCALL_ACCESS_OIDC_LABEL")]
    pub label: Option<String>,

    /// Whom somebody is to ask who is refused, such as an address; the page says it.
    #[config(env = "ROLLCALL_ACCESS_OIDC_CONTACT")]
    pub contact: Option<String>,

    /// Hours after which somebody has to come back to the provider, which says anew what they may do, 1 to 720. No
    /// session lives longer than access.session_lifetime.
    #[config(env = "ROLLCALL_ACCESS_OIDC_SESSION_LIFETIME", default = 8)]
    pub session_lifetime: u32,

    /// Whether people may sign in with passwords as well. The token of the machine is good in any case.
    #[config(env = "ROLLCALL_ACCESS_OIDC_PASSWORD_SIGN_IN", default = true)]
    pub password_sign_in: bool,

    /// What the values of the claim permit: a role, or certain applications, by their names or ids. Of several, the
    /// first counts among administrator, operator, auditor and application_owner; who has none is refused.
    ///
    /// `[access.oidc.roles]`,
    /// `hub-admins = "administrator"`,
    /// `wiki-team = { role = "application_owner", applications = ["Wiki"] }`. In the variable, the same as JSON.
    #[config(env = "ROLLCALL_ACCESS_OIDC_ROLES", parse_env = of_json)]
    pub roles: Option<BTreeMap<String, Granted>>,
}

/// What a value of the claim permits, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a value of the claim permits a role, or { role = \"application_owner\", applications = [\"…\"] }"
)]
pub enum Granted {
    /// A role.
    Role(RoleName),
    /// A role with its applications.
    Owned(Owned),
}

/// A role with its applications.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owned {
    /// The role: `application_owner`.
    pub role: RoleName,
    /// The applications, by their names or ids.
    pub applications: Vec<String>,
}

fn of_json(text: &str) -> Result<BTreeMap<String, Granted>, serde_json::Error> {
    serde_json::from_str(text)
}

impl Granted {
    fn grant(&self) -> Grant {
        match self.clone() {
            Self::Role(role) => Grant {
                role,
                applications: Vec::new(),
            },
            Self::Owned(Owned { role, applications }) => Grant { role, applications },
        }
    }
}

impl OidcConfig {
    /// Refuses what cannot be used. `public_url` stands in for the console's address.
    pub(super) fn validate(&self, public_url: Option<&str>) -> Result<()> {
        let Some(issuer) = &self.issuer else {
            ensure!(
                self.password_sign_in,
                "access.oidc.password_sign_in: without access.oidc.issuer, nobody could sign in"
            );
            return Ok(());
        };
        let url = Url::parse(issuer).with_context(|| format!("access.oidc.issuer {issuer:?}"))?;
        ensure!(
            oidc::is_private(&url) && url.query().is_none() && url.fragment().is_none(),
            "access.oidc.issuer {issuer:?} must begin with https:// (http:// on this machine alone), and have neither ? \
             nor #"
        );
        ensure!(
            self.client_id.as_deref().is_some_and(|id| !id.is_empty()),
            "access.oidc.client_id: name what the hub is called at the provider"
        );
        ensure!(
            self.scopes.iter().any(|scope| scope == "openid"),
            "access.oidc.scopes: openid must be among them"
        );
        let console = self.console_url.as_deref().or(public_url);
        let console = console
            .context("access.oidc.console_url: name the address under which people reach the console")?;
        let parsed = Url::parse(console).with_context(|| format!("access.oidc.console_url {console:?}"))?;
        ensure!(
            matches!(parsed.scheme(), "http" | "https") && parsed.has_host(),
            "access.oidc.console_url {console:?} must begin with http:// or https://"
        );
        let roles = self.roles.iter().flatten();
        for (value, granted) in roles {
            let Grant { role, applications } = granted.grant();
            if (role == RoleName::ApplicationOwner) == applications.is_empty() {
                bail!(
                    "access.oidc.roles: {value:?}: application_owner has applications, and no other role has any"
                );
            }
        }
        ensure!(
            self.roles.as_ref().is_some_and(|roles| !roles.is_empty()),
            "access.oidc.roles: say which values of the claim permit what; nobody could sign in"
        );
        Ok(())
    }
}

impl Config {
    /// The provider that people may sign in at, if one is configured. Nothing is asked of it yet.
    ///
    /// # Errors
    /// If the file of the secret cannot be read, or no client can be built.
    pub fn provider(&self, clock: Clock) -> Result<Option<Provider>> {
        let OidcConfig {
            issuer,
            client_id,
            client_secret_file,
            scopes,
            console_url,
            roles_claim,
            name_claim,
            label,
            contact,
            session_lifetime,
            password_sign_in,
            roles,
        } = self.access.oidc.clone();
        let (Some(issuer), Some(client_id)) = (issuer, client_id) else {
            return Ok(None);
        };
        let secret = client_secret_file.map(|file| {
            let text = private::read_text(&file).context("access.oidc.client_secret_file")?;
            anyhow::Ok(text.as_str().to_owned().into())
        });
        // Where the provider is was decided by whoever configured it: that may be in a private network.
        let egress = EgressOptions {
            policy: policy(&["0.0.0.0/0".to_owned(), "::/0".to_owned()])?,
            ..self.egress()?
        };
        let console_url = console_url
            .or_else(|| self.public_url.clone())
            .unwrap_or_default();
        let roles = roles.unwrap_or_default();
        let options = oidc::Options {
            issuer,
            client_id,
            client_secret: secret.transpose()?,
            scopes,
            console_url: console_url.trim_end_matches('/').to_owned(),
            roles_claim,
            roles: roles
                .into_iter()
                .map(|(value, granted)| (value, granted.grant()))
                .collect(),
            name_claim,
            label,
            contact,
            session: Millis::from(session_lifetime) * 3_600_000,
            passwords: password_sign_in,
            patience: ANSWER_WITHIN,
        };
        let egress = Egress::new(&egress, clock.clone())?;
        Ok(Some(Provider::new(options, egress, clock)))
    }
}
