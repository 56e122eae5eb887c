//! The records inside events: users, organizational units, groups (wire contract, section 4).
//!
//! Two generations of field names are in use. Writing sends both; reading accepts either, and takes
//! numbers and booleans also where they are spelled as strings. Only the id is required: a delete
//! carries nothing else on the real wire. A field without a value is left out, since receivers read
//! numbers strictly and stumble over empty strings.

mod inventory;
mod json;

use serde_json::{Map, Value};
use zeroize::Zeroize;

pub use inventory::{InventoryKind, InventoryPayload};
use json::{Reader, Writer, shorten};

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Not JSON, or not an object.
    #[error("the record is not a JSON object: {0}")]
    NotAnObject(String),
    /// Without its id.
    #[error("the record has no {0}")]
    Missing(&'static str),
    /// A field of another type.
    #[error("the record's {field} cannot be read: {value}")]
    Unreadable {
        /// The field's name.
        field: String,
        /// What it holds.
        value: String,
    },
}

/// A password on its way. It cannot be printed, and its memory is overwritten.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Whether a user may sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserStatus {
    /// Yes.
    Enabled,
    /// No.
    Disabled,
}

impl UserStatus {
    /// `enabled` or `disabled`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }

    /// Reads what [`UserStatus::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Enabled, Self::Disabled]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

/// An organizational unit that a user belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitMembership {
    /// The unit's id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Whether it is the user's primary one.
    pub primary: bool,
}

/// A user. Times are milliseconds since the Unix epoch; -1 means never.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the wire contract, section 4")]
pub struct UserPayload {
    pub user_id: String,
    pub username: Option<String>,
    pub display_name: Option<String>,
    pub password_set: Option<bool>,
    pub phone_number: Option<String>,
    pub phone_region: Option<String>,
    pub phone_verified: Option<bool>,
    pub email: Option<String>,
    pub email_verified: Option<bool>,
    pub status: Option<UserStatus>,
    pub account_expire_time: Option<i64>,
    pub register_time: Option<i64>,
    pub lock_expire_time: Option<i64>,
    pub create_time: Option<i64>,
    pub update_time: Option<i64>,
    pub description: Option<String>,
    pub password: Option<Password>,
    pub source_type: Option<String>,
    pub source_id: Option<String>,
    pub external_id: Option<String>,
    pub units: Vec<UnitMembership>,
    pub primary_unit_id: Option<String>,
    /// Sent as `customFields`, an array of `{fieldName, fieldValue}`; left out if empty.
    pub custom_fields: Option<Map<String, Value>>,
}

/// An organizational unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the wire contract, section 4")]
pub struct UnitPayload {
    pub unit_id: String,
    pub name: Option<String>,
    pub parent_id: Option<String>,
    pub external_id: Option<String>,
    pub source_type: Option<String>,
    pub source_id: Option<String>,
    pub description: Option<String>,
    pub create_time: Option<i64>,
    pub update_time: Option<i64>,
}

/// A group; in events of membership with the users concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the wire contract, section 4")]
pub struct GroupPayload {
    pub group_id: String,
    pub name: Option<String>,
    pub external_id: Option<String>,
    pub source_type: Option<String>,
    pub source_id: Option<String>,
    pub description: Option<String>,
    pub create_time: Option<i64>,
    pub update_time: Option<i64>,
    pub user_ids: Option<Vec<String>>,
}

impl UserPayload {
    /// Writes the record with both generations of names.
    pub fn to_json(&self) -> String {
        // Every field is named, so that a new one is written.
        let Self {
            user_id,
            username,
            display_name,
            password_set,
            phone_number,
            phone_region,
            phone_verified,
            email,
            email_verified,
            status,
            account_expire_time,
            register_time,
            lock_expire_time,
            create_time,
            update_time,
            description,
            password,
            source_type,
            source_id,
            external_id,
            units,
            primary_unit_id,
            custom_fields,
        } = self;
        let mut out = Writer::default();
        out.text("userId", Some(user_id));
        out.text("username", username.as_ref());
        out.text("displayName", display_name.as_ref());
        out.flag("passwordSet", *password_set);
        out.text("phoneNumber", phone_number.as_ref());
        out.text("phoneRegion", phone_region.as_ref());
        out.flag("phoneVerified", *phone_verified);
        out.text("email", email.as_ref());
        out.flag("emailVerified", *email_verified);
        out.str("status", status.map(UserStatus::as_str));
        out.time("accountExpireTime", *account_expire_time);
        out.time("registerTime", *register_time);
        out.time("lockExpireTime", *lock_expire_time);
        out.time("createTime", *create_time);
        out.text("description", description.as_ref());
        out.str("password", password.as_ref().map(Password::expose));
        for (older, newer, value) in [
            ("sourceType", "userSourceType", source_type),
            ("sourceId", "userSourceId", source_id),
            ("externalId", "userExternalId", external_id),
        ] {
            out.text(older, value.as_ref());
            out.text(newer, value.as_ref());
        }
        out.time("lastUpdatedTime", *update_time);
        out.time("updateTime", *update_time);
        for (list, name_key) in [
            ("organizationalUnits", "name"),
            ("userOrganizationalUnits", "organizationalUnitName"),
        ] {
            let units: Vec<String> = units
                .iter()
                .map(|unit| {
                    let mut inner = Writer::default();
                    inner.text("organizationalUnitId", Some(&unit.id));
                    inner.text(name_key, unit.name.as_ref());
                    inner.flag("primary", Some(unit.primary));
                    inner.finish()
                })
                .collect();
            out.json(list, &format!("[{}]", units.join(",")));
        }
        out.text("primaryOrganizationalUnitId", primary_unit_id.as_ref());
        if let Some(fields) = custom_fields.as_ref().filter(|fields| !fields.is_empty()) {
            let list: Vec<Value> = fields
                .iter()
                .map(|(name, value)| serde_json::json!({ "fieldName": name, "fieldValue": value }))
                .collect();
            out.json("customFields", &Value::Array(list).to_string());
        }
        out.finish()
    }

    /// Reads a record of either generation.
    ///
    /// # Errors
    /// [`PayloadError`].
    pub fn from_json(text: &str) -> Result<Self, PayloadError> {
        let object = Reader::parse(text)?;
        let units = object.units()?;
        let primary = units.iter().find(|unit| unit.primary).map(|unit| unit.id.clone());
        Ok(Self {
            user_id: object.id("userId")?,
            username: object.text(&["username"])?,
            display_name: object.text(&["displayName"])?,
            password_set: object.flag("passwordSet")?,
            phone_number: object.text(&["phoneNumber"])?,
            phone_region: object.text(&["phoneRegion"])?,
            phone_verified: object.flag("phoneVerified")?,
            email: object.text(&["email"])?,
            email_verified: object.flag("emailVerified")?,
            status: match object.text(&["status"])? {
                None => None,
                Some(text) => Some(UserStatus::parse(&text).ok_or(PayloadError::Unreadable {
                    field: "status".to_owned(),
                    value: text,
                })?),
            },
            account_expire_time: object.time(&["accountExpireTime"])?,
            register_time: object.time(&["registerTime"])?,
            lock_expire_time: object.time(&["lockExpireTime"])?,
            create_time: object.time(&["createTime"])?,
            update_time: object.time(&["updateTime", "lastUpdatedTime"])?,
            description: object.text(&["description"])?,
            password: object.text(&["password"])?.map(Password::from),
            source_type: object.text(&["userSourceType", "sourceType"])?,
            source_id: object.text(&["userSourceId", "sourceId"])?,
            external_id: object.text(&["userExternalId", "externalId"])?,
            primary_unit_id: object.text(&["primaryOrganizationalUnitId"])?.or(primary),
            units,
            custom_fields: object.custom_fields(),
        })
    }
}

impl UnitPayload {
    /// Writes the record with both generations of names.
    pub fn to_json(&self) -> String {
        // Every field is named, so that a new one is written.
        let Self {
            unit_id,
            name,
            parent_id,
            external_id,
            source_type,
            source_id,
            description,
            create_time,
            update_time,
        } = self;
        let mut out = Writer::default();
        out.text("organizationalUnitId", Some(unit_id));
        out.text("parentId", parent_id.as_ref());
        out.time("createTime", *create_time);
        out.text("description", description.as_ref());
        for (older, newer, value) in [
            ("name", "organizationalUnitName", name),
            ("externalId", "organizationalUnitExternalId", external_id),
            ("sourceType", "organizationalUnitSourceType", source_type),
            ("sourceId", "organizationalUnitSourceId", source_id),
        ] {
            out.text(older, value.as_ref());
            out.text(newer, value.as_ref());
        }
        out.time("lastUpdatedTime", *update_time);
        out.time("updateTime", *update_time);
        out.finish()
    }

    /// Reads a record of either generation.
    ///
    /// # Errors
    /// [`PayloadError`].
    pub fn from_json(text: &str) -> Result<Self, PayloadError> {
        let object = Reader::parse(text)?;
        Ok(Self {
            unit_id: object.id("organizationalUnitId")?,
            name: object.text(&["organizationalUnitName", "name"])?,
            parent_id: object.text(&["parentId"])?,
            external_id: object.text(&["organizationalUnitExternalId", "externalId"])?,
            source_type: object.text(&["organizationalUnitSourceType", "sourceType"])?,
            source_id: object.text(&["organizationalUnitSourceId", "sourceId"])?,
            description: object.text(&["description"])?,
            create_time: object.time(&["createTime"])?,
            update_time: object.time(&["updateTime", "lastUpdatedTime"])?,
        })
    }
}

impl GroupPayload {
    /// Writes the record.
    pub fn to_json(&self) -> String {
        // Every field is named, so that a new one is written.
        let Self {
            group_id,
            name,
            external_id,
            source_type,
            source_id,
            description,
            create_time,
            update_time,
            user_ids,
        } = self;
        let mut out = Writer::default();
        out.text("groupId", Some(group_id));
        out.text("groupName", name.as_ref());
        out.text("groupExternalId", external_id.as_ref());
        out.text("groupSourceType", source_type.as_ref());
        out.text("groupSourceId", source_id.as_ref());
        out.text("description", description.as_ref());
        out.time("createTime", *create_time);
        out.time("updateTime", *update_time);
        if let Some(users) = user_ids {
            out.texts("userIds", users);
        }
        out.finish()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`PayloadError`].
    pub fn from_json(text: &str) -> Result<Self, PayloadError> {
        let object = Reader::parse(text)?;
        Ok(Self {
            group_id: object.id("groupId")?,
            name: object.text(&["groupName", "name"])?,
            external_id: object.text(&["groupExternalId", "externalId"])?,
            source_type: object.text(&["groupSourceType", "sourceType"])?,
            source_id: object.text(&["groupSourceId", "sourceId"])?,
            description: object.text(&["description"])?,
            create_time: object.time(&["createTime"])?,
            update_time: object.time(&["updateTime", "lastUpdatedTime"])?,
            user_ids: object.list("userIds")?,
        })
    }
}
