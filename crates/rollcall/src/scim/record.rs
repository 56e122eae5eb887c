//! From what a connection says of a user to the fields of the directory.

use rollcall_scim::{Error, Object, ScimType, schema};
use serde_json::{Map, Value};

use super::ScimError;
use crate::connection::{CUSTOM, Connection, source};
use crate::directory::{NewUser, UserChanges};

/// What the mapping makes of a resource: the fields that it says something of.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record(Map<String, Value>);

impl Record {
    /// What the mapping of a connection makes of a resource.
    pub(super) fn of(connection: &Connection, resource: &Object) -> Result<Self, ScimError> {
        let mut record = connection.rules()?.record(resource, schema::user())?;
        // An empty text says nothing, as a text that is not there.
        record.retain(|_, value| value.as_str() != Some(""));
        if let Some((target, _)) = record
            .iter()
            .find(|(_, value)| value.is_array() || value.is_object())
        {
            let detail =
                format!("the mapping of this connection: `{target}`: it comes to more than one value");
            return Err(Error::of(ScimType::InvalidValue, detail).into());
        }
        Ok(Self(record))
    }

    fn text(&self, target: &str) -> Option<String> {
        match self.0.get(target)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }

    /// The username; there must be one.
    pub(super) fn username(&self) -> Result<String, ScimError> {
        self.text("username").ok_or_else(|| {
            let detail = "the mapping of this connection makes no username of it";
            Error::of(ScimType::InvalidValue, detail).into()
        })
    }

    /// The email address.
    pub(super) fn email(&self) -> Option<String> {
        self.text("email")
    }

    /// Whether the user may sign in, if that is said.
    pub(super) fn enabled(&self) -> Result<Option<bool>, ScimError> {
        match self.0.get("enabled") {
            None => Ok(None),
            Some(Value::Bool(enabled)) => Ok(Some(*enabled)),
            Some(_) => {
                let detail = "the mapping of this connection: `enabled`: it must come to true or false";
                Err(Error::of(ScimType::InvalidValue, detail).into())
            }
        }
    }

    fn custom(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.keys().filter_map(|target| {
            let name = target.strip_prefix(CUSTOM)?;
            Some((name, self.text(target)?))
        })
    }

    /// The user that is to be made.
    pub(super) fn new_user(&self, connection: &Connection) -> Result<NewUser, ScimError> {
        let username = self.username()?;
        Ok(NewUser {
            display_name: self.text("displayName").unwrap_or_else(|| username.clone()),
            username,
            primary_organizational_unit_id: connection.organizational_unit_id.clone(),
            email: self.email(),
            phone_region: self.text("phoneRegion"),
            phone_number: self.text("phoneNumber"),
            description: self.text("description"),
            external_id: self.text("externalId"),
            source: source(&connection.id),
            custom_fields: self
                .custom()
                .map(|(name, text)| (name.to_owned(), text))
                .collect(),
            disabled: self.enabled()? == Some(false),
            ..NewUser::default()
        })
    }

    /// What becomes of a user of whom this is said now, and something else was before. Fields that are said to be as
    /// they were are left as they are in the directory, unless `all` of them count: whoever sends a whole resource means
    /// each of them.
    pub(super) fn changes(&self, before: &Self, all: bool) -> UserChanges {
        let is_meant = |target: &str| all || self.0.get(target) != before.0.get(target);
        let text = |target: &str| self.text(target).filter(|_| is_meant(target));
        let optional = |target: &str| match (self.text(target), before.text(target)) {
            (Some(text), _) if is_meant(target) => Some(Some(text)),
            (None, Some(_)) => Some(None),
            _ => None,
        };
        let gone = before
            .custom()
            .filter(|(name, _)| !self.0.contains_key(&format!("{CUSTOM}{name}")))
            .map(|(name, _)| (name.to_owned(), None));
        let said = self
            .custom()
            .filter(|(name, _)| is_meant(&format!("{CUSTOM}{name}")))
            .map(|(name, text)| (name.to_owned(), Some(text)));
        UserChanges {
            username: text("username"),
            display_name: text("displayName"),
            email: optional("email"),
            phone_region: optional("phoneRegion"),
            phone_number: optional("phoneNumber"),
            description: optional("description"),
            external_id: optional("externalId"),
            custom_fields: gone.chain(said).collect(),
            ..UserChanges::default()
        }
    }
}
