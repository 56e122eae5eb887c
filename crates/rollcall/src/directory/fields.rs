//! Limits of fields (wire contract, section 8), and what several records have in common.
//!
//! Names, usernames and email addresses are what people tell subjects apart by. So they hold no character that
//! cannot be seen ([`name`]), and two that look alike to Unicode are one ([`fold`]). What was stored before that was
//! a rule stays as it is, and stays readable: only what changes is checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use super::DirectoryError;
use crate::clock::Millis;

/// Where a record comes from. External ids are unique within one source.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// `build_in` for what is made by hand, `import` …
    pub source_type: String,
    /// Which one.
    pub source_id: String,
}

/// The source of what is made in the hub itself.
const BUILD_IN: &str = "build_in";

impl Source {
    /// Whether it is the hub itself.
    pub fn is_build_in(&self) -> bool {
        self.source_type == BUILD_IN
    }

    /// Whether it can be a source: a type of 1 to 64 characters of `A-Za-z0-9_.-`, an id of 1 to 128 characters
    /// that can be seen.
    ///
    /// # Errors
    /// [`DirectoryError::InvalidField`].
    pub(super) fn check(&self) -> Result<(), DirectoryError> {
        let Self {
            source_type,
            source_id,
        } = self;
        text("sourceType", source_type, 64)?;
        if let Some(c) = source_type
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || "_.-".contains(*c)))
        {
            let reason = format!("must not contain {}; allowed are A-Z a-z 0-9 _ . -", shown(c));
            return Err(invalid("sourceType", reason));
        }
        name("sourceId", source_id, 128)
    }

    /// `sourceType`, `sourceId` and `externalId` as they go on the wire. What is made in the hub itself
    /// has the instance as its source, and there its own id unless it was given another (wire contract,
    /// section 4).
    pub(crate) fn on_the_wire(
        &self,
        external_id: Option<&String>,
        id: &str,
        instance_id: &str,
    ) -> [Option<String>; 3] {
        let build_in = self.is_build_in();
        let source_id = if build_in { instance_id } else { &self.source_id };
        [
            Some(self.source_type.clone()),
            Some(source_id.to_owned()),
            external_id.cloned().or_else(|| build_in.then(|| id.to_owned())),
        ]
    }
}

impl Source {
    /// The source that is named so on the wire, where the hub itself bears the instance's id.
    pub(crate) fn from_the_wire(
        source_type: Option<String>,
        source_id: Option<String>,
        instance_id: &str,
    ) -> Self {
        let itself = Self::default();
        let source_type = source_type.unwrap_or(itself.source_type);
        let source_id = source_id.filter(|id| source_type != BUILD_IN || id != instance_id);
        Self {
            source_id: source_id.unwrap_or_else(|| match source_type.as_str() {
                BUILD_IN => itself.source_id,
                _ => String::new(),
            }),
            source_type,
        }
    }
}

/// When a lock ends that ends only when somebody unlocks the user: 9999-12-31T00:00:00Z, in
/// milliseconds. On the wire -1 means that there is no lock (wire contract, section 4).
pub const LOCKED_UNTIL_UNLOCKED: Millis = 253_402_214_400_000;

impl Default for Source {
    fn default() -> Self {
        Self {
            source_type: BUILD_IN.to_owned(),
            source_id: BUILD_IN.to_owned(),
        }
    }
}

impl std::str::FromStr for Source {
    type Err = String;

    /// Reads `TYPE:ID`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((kind, id)) if !kind.is_empty() && !id.is_empty() => {
                let source = Self {
                    source_type: kind.to_owned(),
                    source_id: id.to_owned(),
                };
                source.check().map_err(|error| error.to_string())?;
                Ok(source)
            }
            _ => Err(format!(
                "{text:?} is not of the form TYPE:ID, such as ldap:example"
            )),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.source_type, self.source_id)
    }
}

/// Fields of an administrator's own, by name.
pub type CustomFields = BTreeMap<String, String>;

/// What changes of custom fields, by name: those become so, and those that are null go. Others stay.
pub type CustomChanges = BTreeMap<String, Option<String>>;

/// Tells a field that is absent (`None`) from one that is null (`Some(None)`).
pub(crate) fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// The form in which names are compared: without regard to case, to the way in which a character is composed, and
/// to its compatible forms (Unicode's NFKC: a full-width A is an A), and without the joiners that only shape
/// what is beside them.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let lower = text
        .nfkc()
        .filter(|c| !is_joiner(*c))
        .flat_map(char::to_lowercase)
        // The two small sigmas are one letter.
        .map(|c| if c == 'ς' { 'σ' } else { c });
    lower.nfkc().collect()
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// What a character is that cannot be seen, or that turns the direction of what is beside it; `None` for all others.
fn unseen(c: char) -> Option<&'static str> {
    match c {
        '\u{ad}' => Some("soft hyphen"),
        '\u{61c}' | '\u{200e}' | '\u{200f}' => Some("direction mark"),
        '\u{180e}' => Some("vowel separator"),
        '\u{200b}' => Some("zero width space"),
        '\u{2028}' | '\u{2029}' => Some("line separator"),
        '\u{202a}' | '\u{202b}' | '\u{202c}' => Some("direction embedding"),
        '\u{202d}' | '\u{202e}' => Some("direction override"),
        '\u{2060}' => Some("word joiner"),
        '\u{2061}'..='\u{2064}' => Some("invisible operator"),
        '\u{2066}'..='\u{2069}' => Some("direction isolate"),
        '\u{206a}'..='\u{206f}' => Some("invisible format character"),
        '\u{feff}' => Some("zero width no-break space, also known as byte-order mark"),
        '\u{fff9}'..='\u{fffb}' => Some("annotation mark"),
        _ => None,
    }
}

/// A text of others as a terminal may show it: what moves the cursor, cannot be seen or turns the direction of writing
/// is written as its number.
pub fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() || unseen(c).is_some() {
            true => visible.extend(c.escape_unicode()),
            false => visible.push(c),
        }
    }
    visible
}

/// A character for people, who may not be able to see it.
fn shown(c: char) -> String {
    match unseen(c) {
        Some(what) => format!("U+{:04X} ({what})", u32::from(c)),
        None if c.is_control() || is_joiner(c) => format!("U+{:04X}", u32::from(c)),
        None => format!("{c:?}"),
    }
}

/// Checks a text that people tell subjects apart by: one to `most` characters, all of which can be seen. Joiners may
/// stand inside, since some scripts and emoji need them.
pub(crate) fn name(field: &'static str, value: &str, most: usize) -> Result<(), DirectoryError> {
    text(field, value, most)?;
    let at_an_end = value.starts_with(is_joiner) || value.ends_with(is_joiner);
    let unseen = value
        .chars()
        .find(|c| unseen(*c).is_some() || at_an_end && is_joiner(*c));
    match unseen {
        Some(c) => Err(invalid(
            field,
            format!("must not contain {}, which cannot be seen: remove it", shown(c)),
        )),
        None => Ok(()),
    }
}

fn invalid(field: &'static str, reason: impl Into<String>) -> DirectoryError {
    DirectoryError::InvalidField {
        field,
        reason: reason.into(),
    }
}

/// A text of one to `most` characters without control characters.
pub(crate) fn text(field: &'static str, value: &str, most: usize) -> Result<(), DirectoryError> {
    if value.trim().is_empty() {
        return Err(invalid(field, "must not be empty"));
    }
    optional_text(field, Some(value), most)
}

/// A text of at most `most` characters without control characters, or none.
pub(crate) fn optional_text(
    field: &'static str,
    value: Option<&str>,
    most: usize,
) -> Result<(), DirectoryError> {
    let Some(value) = value else { return Ok(()) };
    let length = value.chars().count();
    if length > most {
        return Err(invalid(
            field,
            format!("has {length} characters; at most {most} are allowed"),
        ));
    }
    if value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err(invalid(field, "must not contain control characters"));
    }
    Ok(())
}

/// The fields with limits that organizational units and groups have in common, under the names that they bear on the
/// wire.
pub(super) struct Named<'a> {
    /// The name's field, and the name.
    pub(super) name: (&'static str, &'a str),
    /// For people.
    pub(super) description: Option<&'a str>,
    /// The external id's field, and the external id.
    pub(super) external_id: (&'static str, Option<&'a str>),
    /// Where it comes from.
    pub(super) source: &'a Source,
}

impl Named<'_> {
    /// Whether the fields keep their limits: all, or those that are different from what they were.
    ///
    /// # Errors
    /// [`DirectoryError::InvalidField`].
    pub(super) fn check(&self, before: Option<&Self>) -> Result<(), DirectoryError> {
        if before.is_none_or(|before| before.name != self.name) {
            name(self.name.0, self.name.1, 128)?;
        }
        if before.is_none_or(|before| before.description != self.description) {
            optional_text("description", self.description, 256)?;
        }
        if before.is_none_or(|before| before.external_id != self.external_id) {
            optional_text(self.external_id.0, self.external_id.1, 128)?;
        }
        if before.is_none_or(|before| before.source != self.source) {
            self.source.check()?;
        }
        Ok(())
    }
}

/// A username: 1 to 256 characters of `A-Za-z0-9_.@-`.
pub(super) fn username(value: &str) -> Result<(), DirectoryError> {
    text("username", value, 256)?;
    match value
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || "_.@-".contains(*c)))
    {
        Some(c) => Err(invalid(
            "username",
            format!("must not contain {}; allowed are A-Z a-z 0-9 _ . @ -", shown(c)),
        )),
        None => Ok(()),
    }
}

/// An email address of at most 128 characters.
pub(crate) fn email(value: Option<&str>) -> Result<(), DirectoryError> {
    let Some(value) = value else { return Ok(()) };
    name("email", value, 128)?;
    if let Some(c) = value.chars().find(|c| is_joiner(*c)) {
        let reason = format!("must not contain {}, which cannot be seen: remove it", shown(c));
        return Err(invalid("email", reason));
    }
    let sound = value
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if !sound || value.chars().any(char::is_whitespace) {
        return Err(invalid("email", format!("{value:?} is not an email address")));
    }
    Ok(())
}

/// A phone number of 6 to 15 digits with a region of digits; both or neither.
pub(crate) fn phone(region: Option<&str>, number: Option<&str>) -> Result<(), DirectoryError> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match (region, number) {
        (None, None) => Ok(()),
        (Some(region), Some(number)) => {
            if !digits(number) || !(6..=15).contains(&number.len()) {
                return Err(invalid(
                    "phoneNumber",
                    "must have 6 to 15 digits and nothing else",
                ));
            }
            if !digits(region) || region.starts_with("00") || region.len() > 6 {
                return Err(invalid(
                    "phoneRegion",
                    "must be the country's digits, without + or 00, such as 86",
                ));
            }
            Ok(())
        }
        _ => Err(invalid(
            "phoneNumber",
            "phoneNumber and phoneRegion go together: give both or neither",
        )),
    }
}

/// Custom fields: at most 100, names of 1 to 64 characters, values of at most 1,024.
pub(super) fn custom(fields: &CustomFields) -> Result<(), DirectoryError> {
    if fields.len() > 100 {
        return Err(invalid(
            "customFields",
            format!("has {} fields; at most 100 are allowed", fields.len()),
        ));
    }
    for (field, value) in fields {
        name("customFields", field, 64)?;
        optional_text("customFields", Some(value), 1_024)?;
    }
    Ok(())
}
