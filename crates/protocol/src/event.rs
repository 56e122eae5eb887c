//! Events, their types, and the batch in which they travel (wire contract, sections 4 and 5).

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// A user.
    User,
    /// An organizational unit.
    Unit,
    /// A group.
    Group,
}

impl SubjectKind {
    /// `user`, `organizational_unit` or `group`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Unit => "organizational_unit",
            Self::Group => "group",
        }
    }

    /// Reads what [`SubjectKind::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::User, Self::Unit, Self::Group]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

macro_rules! event_types {
    ($($prefix:literal { $($(#[$doc:meta])* $name:ident = $short:literal,)+ })+) => {
        /// The type of an event (wire contract, section 5).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventType {
            $($($(#[$doc])* $name,)+)+
        }

        impl EventType {
            /// Every type, in the order of the wire contract.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)+)+];

            /// The whole name, as it stands on the wire.
            pub fn urn(self) -> &'static str {
                match self {
                    $($(Self::$name => concat!($prefix, $short),)+)+
                }
            }

            /// The name without the prefix: `ud:user:create`.
            pub fn short(self) -> &'static str {
                match self {
                    $($(Self::$name => $short,)+)+
                }
            }
        }
    };
}

event_types! {
    "urn:alibaba:idaas:app:event:" {
        /// The connection test.
        Test = "common:test",
        /// A user was created, or entered the scope.
        UserCreate = "ud:user:create",
        /// A user was deleted, or left the scope.
        UserDelete = "ud:user:delete",
        /// A user's record changed.
        UserUpdateInfo = "ud:user:update_info",
        /// A user's password changed.
        UserUpdatePassword = "ud:user:update_password",
        /// A user was disabled.
        UserDisable = "ud:user:disable",
        /// A user was enabled.
        UserEnable = "ud:user:enable",
        /// A user was locked.
        UserLock = "ud:user:lock",
        /// A user was unlocked.
        UserUnlock = "ud:user:unlock",
        /// A user's primary organizational unit changed.
        UserUpdatePrimaryOu = "ud:user:update_primary_ou",
        /// An organizational unit was created, or entered the scope.
        UnitCreate = "ud:organizational_unit:create",
        /// An organizational unit was deleted, or left the scope.
        UnitDelete = "ud:organizational_unit:delete",
        /// An organizational unit's record changed.
        UnitUpdate = "ud:organizational_unit:update",
        /// An organizational unit was moved.
        UnitUpdateParent = "ud:organizational_unit:update_parent_organizational_unit",
        /// Users were added to an organizational unit. Known to receivers; the hub sends users instead.
        UnitAddUser = "ud:organizational_unit:add_user",
        /// Users were removed from an organizational unit. Known to receivers; the hub sends users instead.
        UnitRemoveUser = "ud:organizational_unit:remove_user",
        /// A group was created.
        GroupCreate = "ud:group:create",
        /// A group's record changed.
        GroupUpdate = "ud:group:update",
        /// A group was deleted.
        GroupDelete = "ud:group:delete",
        /// Users were added to a group.
        GroupAddUser = "ud:group:add_user",
        /// Users were removed from a group.
        GroupRemoveUser = "ud:group:remove_user",
        /// An organizational unit in a full synchronization.
        UnitPush = "ud:organizational_unit:push",
        /// A user in a full synchronization.
        UserPush = "ud:user:push",
    }
    "urn:rollcall:app:event:" {
        /// What the application should have, in a range of ids: closes a full synchronization. An
        /// extension, in a namespace of its own; receivers that do not know it skip it.
        Inventory = "inventory",
    }
}

impl EventType {
    /// Reads a type, with or without its prefix; `None` if it is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|event| event.urn() == text || event.short() == text)
    }

    /// What events of this type are about; `None` for the connection test and the inventory.
    pub fn subject_kind(self) -> Option<SubjectKind> {
        // Every type is named, here and below, so that the compiler asks about a new one.
        match self {
            Self::UserCreate
            | Self::UserDelete
            | Self::UserUpdateInfo
            | Self::UserUpdatePassword
            | Self::UserDisable
            | Self::UserEnable
            | Self::UserLock
            | Self::UserUnlock
            | Self::UserUpdatePrimaryOu
            | Self::UserPush => Some(SubjectKind::User),
            Self::UnitCreate
            | Self::UnitDelete
            | Self::UnitUpdate
            | Self::UnitUpdateParent
            | Self::UnitAddUser
            | Self::UnitRemoveUser
            | Self::UnitPush => Some(SubjectKind::Unit),
            Self::GroupCreate
            | Self::GroupUpdate
            | Self::GroupDelete
            | Self::GroupAddUser
            | Self::GroupRemoveUser => Some(SubjectKind::Group),
            Self::Test | Self::Inventory => None,
        }
    }

    /// Whether the type tells of a single change, as opposed to a test or what a full synchronization
    /// sends.
    pub fn is_incremental(self) -> bool {
        match self {
            Self::Test | Self::UnitPush | Self::UserPush | Self::Inventory => false,
            Self::UserCreate
            | Self::UserDelete
            | Self::UserUpdateInfo
            | Self::UserUpdatePassword
            | Self::UserDisable
            | Self::UserEnable
            | Self::UserLock
            | Self::UserUnlock
            | Self::UserUpdatePrimaryOu
            | Self::UnitCreate
            | Self::UnitDelete
            | Self::UnitUpdate
            | Self::UnitUpdateParent
            | Self::UnitAddUser
            | Self::UnitRemoveUser
            | Self::GroupCreate
            | Self::GroupUpdate
            | Self::GroupDelete
            | Self::GroupAddUser
            | Self::GroupRemoveUser => true,
        }
    }

    /// Whether an application chooses if it gets events of this type. A test is sent when an
    /// administrator asks for it, and an inventory belongs to every full synchronization.
    pub fn is_subscribable(self) -> bool {
        !matches!(self, Self::Test | Self::Inventory)
    }
}

/// One event (wire contract, section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Unique for each event; the same at every try.
    pub event_id: String,
    /// The type's whole name as it stands on the wire; types unknown here survive.
    pub event_type: String,
    /// When it happened, in milliseconds since the Unix epoch.
    pub event_time: i64,
    /// The id of what it is about.
    pub biz_id: String,
    /// The record: JSON text of an object.
    pub biz_data: String,
}

impl Event {
    /// The type, if it is known.
    pub fn kind(&self) -> Option<EventType> {
        EventType::parse(&self.event_type)
    }
}

/// Events that travel together, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventBatch {
    /// `idaas_…`.
    pub instance_id: String,
    /// `V1.0`.
    pub event_version: String,
    /// A string of digits.
    pub ali_uid: String,
    /// The events, in order.
    pub events: Vec<Event>,
}

impl EventBatch {
    /// Writes the inner payload: strings in strings, as section 4 has it.
    pub fn to_json(&self) -> String {
        let size: usize = self.events.iter().map(|event| event.biz_data.len() + 220).sum();
        // Written by hand, inside out, because each level is a string in the level above: building
        // values first would copy every record four times.
        let mut data = String::with_capacity(size + size / 4);
        data.push('[');
        for (index, event) in self.events.iter().enumerate() {
            if index > 0 {
                data.push(',');
            }
            data.push_str("{\"eventId\":");
            quote(&mut data, &event.event_id);
            data.push_str(",\"eventType\":");
            quote(&mut data, &event.event_type);
            data.push_str(",\"eventTime\":\"");
            data.push_str(&event.event_time.to_string());
            data.push_str("\",\"bizId\":");
            quote(&mut data, &event.biz_id);
            data.push_str(",\"bizData\":");
            quote(&mut data, &event.biz_data);
            data.push('}');
        }
        data.push(']');
        let mut json = String::with_capacity(data.len() + data.len() / 2 + 160);
        json.push_str("{\"instanceId\":");
        quote(&mut json, &self.instance_id);
        json.push_str(",\"eventVersion\":");
        quote(&mut json, &self.event_version);
        json.push_str(",\"aliUid\":");
        quote(&mut json, &self.ali_uid);
        json.push_str(",\"eventData\":");
        quote(&mut json, &data);
        json.push('}');
        json
    }

    /// Reads the inner payload. Numbers may be strings or numbers, and what is a string that holds
    /// JSON may be that JSON itself.
    ///
    /// # Errors
    /// What is malformed, in words.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let wire: WireBatch = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let events = match wire.event_data {
            Value::String(text) => serde_json::from_str::<Vec<WireEvent>>(&text),
            other => serde_json::from_value(other),
        }
        .map_err(|error| format!("eventData: {error}"))?;
        Ok(Self {
            instance_id: wire.instance_id,
            event_version: wire.event_version,
            ali_uid: wire.ali_uid,
            events: events
                .into_iter()
                .map(|event| Event {
                    event_id: event.event_id,
                    event_type: event.event_type,
                    event_time: event.event_time,
                    biz_id: event.biz_id,
                    biz_data: event.biz_data,
                })
                .collect(),
        })
    }
}

/// Appends a text as a JSON string.
pub(crate) fn quote(out: &mut String, text: &str) {
    // Most of what is quoted has nothing to escape but quotation marks; runs are copied whole.
    out.push('"');
    let mut start = 0;
    for (index, byte) in text.bytes().enumerate() {
        let escape: &str = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0x00..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[start..index]);
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
        start = index + 1;
    }
    out.push_str(&text[start..]);
    out.push('"');
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBatch {
    instance_id: String,
    #[serde(default)]
    event_version: String,
    #[serde(default, deserialize_with = "text")]
    ali_uid: String,
    event_data: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEvent {
    event_id: String,
    event_type: String,
    #[serde(deserialize_with = "number")]
    event_time: i64,
    #[serde(default)]
    biz_id: String,
    #[serde(default = "empty_object", deserialize_with = "text")]
    biz_data: String,
}

fn empty_object() -> String {
    "{}".to_owned()
}

/// A string, or anything else as JSON text.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    })
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    read_number(&Value::deserialize(deserializer)?)
        .ok_or_else(|| D::Error::custom("neither a number nor a string of digits"))
}

/// A whole number, or a string that spells one.
pub(crate) fn read_number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}
