//! From why the door refuses a command to what the form says that asked for it.

use crate::application::scim::{ScimError, TOKEN_URL};
use crate::application::{ApplicationError, Limits, SettingsError};
use crate::console::error::Failure;
use crate::console::form::Filled;
use crate::console::mistakes;
use crate::console::page::Page;

/// The bounds of a number.
pub(super) struct Bounds {
    /// Its field in forms.
    pub(super) field: &'static str,
    /// What [`SettingsError::OutOfRange`] calls it.
    setting: &'static str,
    pub(super) least: u32,
    pub(super) most: u32,
    /// Whether there may be none.
    pub(super) may_be_empty: bool,
}

impl Bounds {
    const fn of(field: &'static str, setting: &'static str, least: u32, most: u32) -> Self {
        Self {
            field,
            setting,
            least,
            most,
            may_be_empty: false,
        }
    }

    /// What a form says beside a number that is out of them.
    pub(super) fn words(&self, page: &Page) -> String {
        page.t2("limit-between", "least", self.least, "most", self.most)
    }
}

/// The numbers among the push parameters. The door holds the same bounds; here they are for a text that is no number.
pub(super) const LIMITS: [Bounds; 12] = [
    Bounds::of("maxEvents", "max events", 1, 500),
    Bounds::of("maxBytes", "max bytes", Limits::LEAST_BYTES, Limits::MOST_BYTES),
    Bounds::of("lanes", "lanes", 1, 32),
    Bounds {
        may_be_empty: true,
        ..Bounds::of("rate", "requests per second", 1, 100_000)
    },
    Bounds::of("membersAtOnce", "members at once", 1, 10_000),
    Bounds::of("pageSize", "page size", 1, 10_000),
    Bounds {
        may_be_empty: true,
        ..Bounds::of("rateRequests", "the requests of the rate", 1, 1_000_000)
    },
    Bounds::of("rateSeconds", "the seconds of the rate", 1, 86_400),
    Bounds::of("leaving", "those who leave", 0, u32::MAX),
    Bounds::of("leavingPercent", "the percentage of those who leave", 0, 100),
    Bounds::of("memberRemovals", "member removals", 0, u32::MAX),
    Bounds::of("emptiedGroups", "emptied groups", 0, u32::MAX),
];

/// Says in a form why its command was refused. What a form cannot mend is given back.
pub(super) fn explain(form: &mut Filled, page: &Page, error: ApplicationError) -> Result<(), Failure> {
    match error {
        ApplicationError::NameTaken(_) => form.refuse("name", page.t("application-name-taken")),
        ApplicationError::Name(_) => form.refuse("name", page.t("application-name-rule")),
        ApplicationError::Settings(error) => explain_settings(form, page, &error),
        other => return Err(other.into()),
    }
    Ok(())
}

fn explain_settings(form: &mut Filled, page: &Page, error: &SettingsError) {
    match error {
        SettingsError::Url { .. } => form.refuse("url", page.t("application-url-rule")),
        SettingsError::OutOfRange(range) | SettingsError::Scim(ScimError::OutOfRange(range)) => {
            let limit = LIMITS.iter().find(|limit| limit.setting == range.name);
            let field = limit.map_or("rate", |limit| limit.field);
            let words = page.t2("limit-between", "least", range.least, "most", range.most);
            form.refuse(field, words);
        }
        SettingsError::Scim(error) => explain_scim(form, page, error),
        SettingsError::Bytes { .. } => {
            let (least, most) = (Limits::LEAST_BYTES, Limits::MOST_BYTES);
            form.refuse("maxBytes", page.t2("limit-between", "least", least, "most", most));
        }
        SettingsError::PasswordsInTheClear => form.refuse("passwords", page.t("passwords-in-the-clear")),
        SettingsError::NoEncryptionKey => form.refuse("encryption", page.t("encryption-needs-key")),
        // The form is one of event callbacks, so that these are about its address, if about anything in it.
        SettingsError::CallbacksOnly(_) => form.refuse("passwords", page.t("passwords-in-the-clear")),
        SettingsError::ScimOnly(_) | SettingsError::ModeWithoutUrl | SettingsError::NoUrl => {
            form.refuse("url", page.t("application-url-rule"));
        }
        SettingsError::KeySize(_) => form.refuse("key", page.t("encryption-key-rule")),
    }
}

fn explain_scim(form: &mut Filled, page: &Page, error: &ScimError) {
    let (field, words) = match error {
        ScimError::Url { what, .. } | ScimError::InTheClear { what } => {
            let field = if *what == TOKEN_URL { "tokenUrl" } else { "url" };
            (field, page.t("scim-url-rule"))
        }
        ScimError::NoClientId => ("clientId", page.t("scim-client-id-missing")),
        ScimError::Mapping(error) => {
            let why = mistakes::of_rule(page, error);
            ("mapping", page.t1("scim-mapping-wrong", "why", why))
        }
        ScimError::Unmapped(name) => ("mapping", page.t1("mistake-unmapped", "name", *name)),
        ScimError::TooManyAttributes => ("mapping", page.t("mistake-too-many")),
        ScimError::NoSecret => ("secret", page.t("scim-secret-missing")),
        ScimError::Secret => ("secret", page.t("scim-secret-unusable")),
        ScimError::SecretForAnother => ("secret", page.t("scim-secret-for-another")),
        // It is explained beside its field.
        ScimError::OutOfRange(_) => return,
    };
    form.refuse(field, words);
}
