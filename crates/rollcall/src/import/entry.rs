//! What an import file says, whatever its format: units, users and groups in one form.
//!
//! A field that a file says nothing about is `None` and stays as it is; a field that it says is empty is
//! `Some(None)`. The same form, as JSON, is a line of a JSON lines file, which is why it can be read and
//! written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::directory::fields::{CustomChanges, Source, present};
use crate::directory::{NewUser, User, UserChanges};

/// The names of an organizational unit and of those above it, from below the root.
pub type Path = Vec<String>;

/// How the groups of a file refer to its users: a fingerprint of a distinguished name.
pub type Reference = u128;

/// One thing that a file names, as a line of JSON lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// An organizational unit.
    OrganizationalUnit(UnitEntry),
    /// A user.
    User(Box<UserEntry>),
    /// A group.
    Group(GroupEntry),
}

/// An organizational unit of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of a unit")]
pub struct UnitEntry {
    #[serde(skip)]
    pub line: u64,
    /// Its id here, if the file comes from here.
    #[serde(skip)]
    pub id: Option<String>,
    pub path: Path,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub description: Option<Option<String>>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub external_id: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// A user of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of a user")]
pub struct UserEntry {
    #[serde(skip)]
    pub line: u64,
    /// Its id here, if the file comes from here.
    #[serde(skip)]
    pub id: Option<String>,
    /// How the file's groups refer to it.
    #[serde(skip)]
    pub reference: Option<Reference>,
    pub username: String,
    pub display_name: String,
    /// The primary unit.
    pub path: Path,
    /// All further units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub further_paths: Option<Vec<Path>>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub email: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub phone_region: Option<Option<String>>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub phone_number: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone_verified: Option<bool>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub description: Option<Option<String>>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub external_id: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub account_expire_time: Option<Option<Millis>>,
    /// Those that are named; others stay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_fields: CustomChanges,
    /// Groups that the user belongs to; other memberships stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// A group of a file, with all of its members.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of a group")]
pub struct GroupEntry {
    #[serde(skip)]
    pub line: u64,
    /// Its id here, if the file comes from here.
    #[serde(skip)]
    pub id: Option<String>,
    pub name: String,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub description: Option<Option<String>>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub external_id: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Members by username.
    #[serde(default)]
    pub members: Vec<String>,
    /// Members by reference.
    #[serde(skip)]
    pub member_references: Vec<Reference>,
}

/// 128 bits that stand for a text. Two texts never share them in practice.
pub fn fingerprint(text: &str) -> u128 {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    u128::from_be_bytes(bytes)
}

impl UserEntry {
    /// The user that is made of it, in units that are known by now.
    pub(super) fn new_user(&self, source: &Source, primary: String, further: Vec<String>) -> NewUser {
        let Self {
            line: _,
            id: _,
            reference: _,
            path: _,
            further_paths: _,
            username,
            display_name,
            email,
            email_verified,
            phone_region,
            phone_number,
            phone_verified,
            description,
            external_id,
            enabled,
            account_expire_time,
            custom_fields,
            groups: _,
            source: _,
        } = self;
        NewUser {
            username: username.clone(),
            display_name: display_name.clone(),
            primary_organizational_unit_id: primary,
            organizational_unit_ids: further,
            email: email.clone().flatten(),
            email_verified: email_verified.unwrap_or_default(),
            phone_region: phone_region.clone().flatten(),
            phone_number: phone_number.clone().flatten(),
            phone_verified: phone_verified.unwrap_or_default(),
            description: description.clone().flatten(),
            external_id: external_id.clone().flatten(),
            source: source.clone(),
            account_expire_time: account_expire_time.flatten(),
            custom_fields: custom_fields
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
                .collect(),
            disabled: *enabled == Some(false),
            password: None,
        }
    }

    /// What it says differently from what a user is, and a line of it for people; `None` if nothing.
    pub(super) fn changes(&self, user: &User, adopted: Option<&Source>) -> Option<(UserChanges, String)> {
        let Self {
            line: _,
            id: _,
            reference: _,
            path: _,
            further_paths: _,
            username,
            display_name,
            email,
            email_verified,
            phone_region,
            phone_number,
            phone_verified,
            description,
            external_id,
            enabled: _,
            account_expire_time,
            custom_fields,
            groups: _,
            source: _,
        } = self;
        let mut said = Vec::new();
        let mut field = |name: &str, from: &str, to: &str| said.push(format!("{name} {from:?} → {to:?}"));
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut changes = UserChanges::default();
        if *username != user.username {
            field("username", &user.username, username);
            changes.username = Some(username.clone());
        }
        if *display_name != user.display_name {
            field("display name", &user.display_name, display_name);
            changes.display_name = Some(display_name.clone());
        }
        for (name, said, present, change) in [
            ("email", email, &user.email, &mut changes.email),
            (
                "phone region",
                phone_region,
                &user.phone_region,
                &mut changes.phone_region,
            ),
            (
                "phone number",
                phone_number,
                &user.phone_number,
                &mut changes.phone_number,
            ),
            (
                "description",
                description,
                &user.description,
                &mut changes.description,
            ),
            (
                "external id",
                external_id,
                &user.external_id,
                &mut changes.external_id,
            ),
        ] {
            if let Some(value) = said.as_ref().filter(|value| *value != present) {
                field(name, &text(present), &text(value));
                *change = Some(value.clone());
            }
        }
        for (name, said, present, change) in [
            (
                "email verified",
                *email_verified,
                user.email_verified,
                &mut changes.email_verified,
            ),
            (
                "phone verified",
                *phone_verified,
                user.phone_verified,
                &mut changes.phone_verified,
            ),
        ] {
            if let Some(value) = said.filter(|value| *value != present) {
                field(name, &present.to_string(), &value.to_string());
                *change = Some(value);
            }
        }
        if let Some(time) = account_expire_time.filter(|time| *time != user.account_expire_time) {
            let shown =
                |time: Option<Millis>| time.map_or_else(|| "never".to_owned(), |time| time.to_string());
            field("expires", &shown(user.account_expire_time), &shown(time));
            changes.account_expire_time = Some(time);
        }
        for (name, value) in custom_fields {
            let present = user.custom_fields.get(name);
            if present != value.as_ref() {
                field(&format!("custom.{name}"), &text(&present.cloned()), &text(value));
                changes.custom_fields.insert(name.clone(), value.clone());
            }
        }
        if let Some(source) = adopted.filter(|source| **source != user.source) {
            field("owner", &user.source.to_string(), &source.to_string());
            changes.source = Some(source.clone());
        }
        (!said.is_empty()).then(|| (changes, said.join(", ")))
    }
}
