//! Events that stand outside the position of their application.

use rollcall_protocol::EventType;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::change::Seq;
use crate::clock::Millis;

/// Why an event is parked.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ParkedState {
    /// The application asked for it again.
    Retrying,
    /// It waits behind another event of its subject, or of somebody whom it adds to a group.
    Held,
    /// It is set aside until somebody sends it again.
    Failed,
}

impl ParkedState {
    /// The name under which it is stored and shown.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A parked event.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Parked {
    /// The event's id.
    pub event_id: String,
    /// Its type.
    #[serde(serialize_with = "as_short", deserialize_with = "from_short")]
    #[schemars(with = "String")]
    pub event_type: EventType,
    /// Whom it concerns.
    pub subject_id: String,
    /// The change that it comes from; `None` for an event of a synchronization job.
    pub seq: Option<Seq>,
    /// The event's time.
    pub event_time: Millis,
    /// The record of an event that comes from a job.
    #[serde(skip)]
    pub record: Option<String>,
    /// Why it is parked.
    pub state: ParkedState,
    /// How often it was sent.
    pub attempts: u32,
    /// How often the application wanted it again although it took other events meanwhile.
    pub strikes: u32,
    /// When it is sent again; of one that is set aside, when that was.
    pub next_try: Millis,
    /// What the application answered.
    pub code: Option<String>,
    /// What the application said about it.
    pub message: Option<String>,
}

fn as_short<S: serde::Serializer>(event: &EventType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(event.short())
}

fn from_short<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<EventType, D::Error> {
    let name = String::deserialize(deserializer)?;
    EventType::parse(&name).ok_or_else(|| D::Error::custom(format!("{name:?} is no type of event")))
}
