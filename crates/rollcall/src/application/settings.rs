//! The push parameters of an application (wire contract, section 7), checked when they are set.

use reqwest::Url;
use rollcall_scim::client::Preset;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::scim::{Authentication, Scim, ScimError};
use crate::secret::SecretString;

/// How an application receives changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The mode, with what that mode needs.
    pub mode: Mode,
    /// Whether new passwords are sent along. Requires encryption or HTTPS.
    #[serde(default)]
    pub password_synchronization: bool,
    /// How much is sent at once.
    #[serde(default)]
    pub limits: Limits,
}

/// The protocol of the push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Mode {
    /// Signed events, POSTed to the receiving URL (`idaas_callback`).
    EventCallback(EventCallback),
    /// Requests of SCIM 2.0 (`scim2`).
    Scim(Box<Scim>),
}

/// The name of a [`Mode`].
#[derive(
    Clone,
    Copy,
    Debug,
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
pub enum ModeName {
    /// Signed events, POSTed to the receiving URL.
    EventCallback,
    /// Requests of SCIM 2.0 to the base URL.
    Scim,
}

impl ModeName {
    /// Whether what is sent is signed, so that the application needs the hub's public keys.
    pub fn is_signed(self) -> bool {
        match self {
            Self::EventCallback => true,
            Self::Scim => false,
        }
    }
}

impl Mode {
    /// Its name.
    pub fn name(&self) -> ModeName {
        match self {
            Self::EventCallback(_) => ModeName::EventCallback,
            Self::Scim(_) => ModeName::Scim,
        }
    }
}

/// What the event callback mode needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventCallback {
    /// The receiving URL.
    pub url: String,
    /// Whether the events are encrypted inside the signature.
    pub encryption: Encryption,
}

/// Encryption of the events. The key itself is stored apart from the settings, sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// Events are signed only.
    Off,
    /// Events are encrypted with the application's key (AES-256-GCM).
    Required,
}

/// How much goes to an application at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Events in one request, 1 to 500.
    pub max_events: u32,
    /// Bytes of event data in one request, from [`Limits::LEAST_BYTES`] to [`Limits::MOST_BYTES`]. A single larger
    /// event is sent alone.
    pub max_bytes: u32,
    /// Requests in flight at once, 1 to 32. User events are spread over them by user; events of units
    /// and groups wait for all of them.
    pub lanes: u32,
    /// Requests per second, at most; none means as fast as the application answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
}

impl Limits {
    /// The least that [`Limits::max_bytes`] may be.
    pub const LEAST_BYTES: u32 = 16 << 10;
    /// The most that it may be. Sealed, event data becomes about three times as long (quotation marks are escaped
    /// twice, and base64 is applied twice), which is still less than receivers accept
    /// ([`REQUEST_LIMIT`](rollcall_protocol::REQUEST_LIMIT)).
    pub const MOST_BYTES: u32 = 2 << 20;

    /// The same within its bounds: an earlier version stored more bytes than receivers accept. What is stored is
    /// brought down whenever it is read, so that a backup of that version may be restored too.
    #[must_use]
    pub fn within_bounds(self) -> Self {
        Self {
            max_bytes: self.max_bytes.min(Self::MOST_BYTES),
            ..self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_events: 100,
            max_bytes: 1 << 20,
            lanes: 1,
            requests_per_second: None,
        }
    }
}

/// A number outside its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} must be between {least} and {most}, not {given}")]
pub struct OutOfRange {
    /// The setting.
    pub name: &'static str,
    /// The least value.
    pub least: u32,
    /// The greatest value.
    pub most: u32,
    /// What was given.
    pub given: u32,
}

/// Refuses a number that is not between these two.
pub(super) fn within(name: &'static str, given: u32, least: u32, most: u32) -> Result<(), OutOfRange> {
    match (least..=most).contains(&given) {
        true => Ok(()),
        false => Err(OutOfRange {
            name,
            least,
            most,
            given,
        }),
    }
}

/// Why push parameters are refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// Not a usable address.
    #[error("the receiving URL {url:?} cannot be used: {reason}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A number outside its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// More than receivers accept.
    #[error(
        "max bytes must be between {least} and {most}, not {given}: event data grows when it is sealed, and receivers refuse requests of more than {limit} bytes",
        least = Limits::LEAST_BYTES,
        most = Limits::MOST_BYTES,
        limit = rollcall_protocol::REQUEST_LIMIT,
    )]
    Bytes {
        /// What was given.
        given: u32,
    },
    /// Passwords would travel in the clear.
    #[error(
        "password synchronization needs encryption or an https receiving URL: otherwise passwords would travel in the clear"
    )]
    PasswordsInTheClear,
    /// Encryption without a key.
    #[error("encryption is required, but the application has no encryption key: generate or enter one")]
    NoEncryptionKey,
    /// What only one mode has.
    #[error("only applications that take event callbacks have {0}")]
    CallbacksOnly(&'static str),
    /// The same of the other mode.
    #[error("only applications that take SCIM have {0}")]
    ScimOnly(&'static str),
    /// No address.
    #[error("the URL is missing")]
    NoUrl,
    /// Another mode, and the address of the one before.
    #[error("another mode needs another URL: write the one that is right for it too")]
    ModeWithoutUrl,
    /// What SCIM needs does not hold together.
    #[error(transparent)]
    Scim(#[from] ScimError),
    /// A key of another size than the hub encrypts with.
    #[error("the encryption key must be 64 hexadecimal digits (AES-256), not {0}")]
    KeySize(usize),
}

impl Settings {
    /// Settings for the event callback mode with defaults for everything else.
    pub fn event_callback(url: impl Into<String>, encryption: Encryption) -> Self {
        Self {
            mode: Mode::EventCallback(EventCallback {
                url: url.into(),
                encryption,
            }),
            password_synchronization: false,
            limits: Limits::default(),
        }
    }

    /// Settings for the SCIM mode with defaults for everything else.
    pub fn scim_at(url: impl Into<String>) -> Self {
        let scim = Scim::preset(Preset::default(), url, Authentication::default());
        Self {
            mode: Mode::Scim(Box::new(scim)),
            password_synchronization: false,
            limits: Limits::default(),
        }
    }

    /// The receiving URL, or the base URL of SCIM.
    pub fn url(&self) -> &str {
        match &self.mode {
            Mode::EventCallback(callback) => &callback.url,
            Mode::Scim(scim) => &scim.base_url,
        }
    }

    /// Sets the same.
    pub fn set_url(&mut self, url: &str) {
        let own = match &mut self.mode {
            Mode::EventCallback(callback) => &mut callback.url,
            Mode::Scim(scim) => &mut scim.base_url,
        };
        url.clone_into(own);
    }

    /// Whether events are encrypted inside of what carries them.
    pub fn encryption(&self) -> Encryption {
        match &self.mode {
            Mode::EventCallback(callback) => callback.encryption,
            Mode::Scim(_) => Encryption::Off,
        }
    }

    /// Sets the same.
    ///
    /// # Errors
    /// If the mode does not encrypt.
    pub fn set_encryption(&mut self, encryption: Encryption) -> Result<(), SettingsError> {
        match &mut self.mode {
            Mode::EventCallback(callback) => callback.encryption = encryption,
            Mode::Scim(_) if encryption == Encryption::Off => {}
            Mode::Scim(_) => return Err(SettingsError::CallbacksOnly("an encryption of events")),
        }
        Ok(())
    }

    /// Sets the mode, and the address that goes with another one. What only the mode before had is gone.
    ///
    /// # Errors
    /// If the mode is another one, and no address is given.
    pub fn set_mode(&mut self, mode: ModeName, url: Option<&str>) -> Result<(), SettingsError> {
        if mode == self.mode.name() {
            return Ok(());
        }
        let url = url.ok_or(SettingsError::ModeWithoutUrl)?;
        let fresh = match mode {
            ModeName::EventCallback => Self::event_callback(url, Encryption::Off),
            ModeName::Scim => Self::scim_at(url),
        };
        self.mode = fresh.mode;
        self.password_synchronization = false;
        Ok(())
    }

    /// The parameters of SCIM, if that is the mode.
    pub fn scim(&self) -> Option<&Scim> {
        match &self.mode {
            Mode::EventCallback(_) => None,
            Mode::Scim(scim) => Some(scim),
        }
    }

    /// Where the service provider is whose objects are remembered; none in the other mode.
    pub fn provider(&self) -> Option<Url> {
        let checked = self.scim()?.check().ok()?;
        Some(checked.base_url)
    }

    /// Checks the secret that is given with these settings, or that was stored with the ones before.
    ///
    /// # Errors
    /// If the mode has none or there is none, or if the one that is stored is somebody else's.
    pub fn check_secret(
        &self,
        given: Option<&SecretString>,
        is_stored: bool,
        before: Option<&Self>,
    ) -> Result<(), SettingsError> {
        match self.scim() {
            Some(scim) => Ok(scim.check_secret(given, is_stored, before.and_then(Self::scim))?),
            None if given.is_some() => Err(SettingsError::ScimOnly("a secret of their own")),
            None => Ok(()),
        }
    }

    /// Checks everything that can be checked without asking the application.
    ///
    /// # Errors
    /// The first [`SettingsError`] found.
    pub fn validate(&self, has_encryption_key: bool) -> Result<Url, SettingsError> {
        let parsed = match &self.mode {
            Mode::EventCallback(EventCallback { url, .. }) => {
                parse_url(url).map_err(|reason| SettingsError::Url {
                    url: url.clone(),
                    reason,
                })?
            }
            Mode::Scim(scim) => {
                if self.password_synchronization {
                    return Err(SettingsError::CallbacksOnly("a synchronization of passwords"));
                }
                scim.check()?.base_url
            }
        };
        within("max events", self.limits.max_events, 1, 500)?;
        let given = self.limits.max_bytes;
        if !(Limits::LEAST_BYTES..=Limits::MOST_BYTES).contains(&given) {
            return Err(SettingsError::Bytes { given });
        }
        within("lanes", self.limits.lanes, 1, 32)?;
        if let Some(rate) = self.limits.requests_per_second {
            within("requests per second", rate, 1, 100_000)?;
        }
        let encrypted = self.encryption() == Encryption::Required;
        if encrypted && !has_encryption_key {
            return Err(SettingsError::NoEncryptionKey);
        }
        if self.password_synchronization && !encrypted && parsed.scheme() != "https" {
            return Err(SettingsError::PasswordsInTheClear);
        }
        Ok(parsed)
    }
}

/// An address that the hub may call, or why it is none.
pub(super) fn parse_url(text: &str) -> Result<Url, String> {
    let refuse = |reason: &str| reason.to_owned();
    // Without the slashes, what stands before a port would be read as a scheme.
    let begins = |scheme: &str| {
        text.get(..scheme.len())
            .is_some_and(|it| it.eq_ignore_ascii_case(scheme))
    };
    if !begins("http://") && !begins("https://") {
        return Err(refuse("it must begin with http:// or https://"));
    }
    let url = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(refuse("it names no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse(
            "it must not hold a user name or a password; the hub proves who it is in other ways",
        ));
    }
    if url.port() == Some(0) {
        return Err(refuse("nobody can listen on port 0"));
    }
    if url.fragment().is_some() {
        return Err(refuse("a fragment (#…) is never sent"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_cannot_be_pushed_to_are_refused() {
        for (url, reason) in [
            ("ftp://a/", "begin with http"),
            ("no", "begin with http"),
            ("host:1/x", "begin with http"),
            ("https:host/x", "begin with http"),
            ("http://host:0/x", "port 0"),
            ("http://host:99999/x", "port"),
            ("http://u:p@a/", "password"),
            ("https://a/#x", "fragment"),
            ("http://", "host"),
        ] {
            let settings = Settings::event_callback(url, Encryption::Off);
            match settings.validate(true) {
                Err(SettingsError::Url { reason: said, .. }) => {
                    assert!(said.contains(reason), "{url}: {said}")
                }
                other => panic!("{url}: {other:?}"),
            }
        }
        assert!(
            Settings::event_callback("https://a/b?c=d", Encryption::Off)
                .validate(false)
                .is_ok()
        );
    }

    #[test]
    fn passwords_never_travel_in_the_clear() {
        let mut settings = Settings::event_callback("http://app.example/", Encryption::Off);
        settings.password_synchronization = true;
        assert_eq!(settings.validate(true), Err(SettingsError::PasswordsInTheClear));
        settings.set_encryption(Encryption::Required).unwrap();
        assert!(settings.validate(true).is_ok());
        assert_eq!(settings.validate(false), Err(SettingsError::NoEncryptionKey));
    }
}
