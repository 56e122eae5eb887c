//! From wishes to events.

use rollcall_protocol::{Event, EventType as T, SubjectKind};
use serde_json::Value;
use strum::IntoEnumIterator as _;

use crate::clock::Millis;
use crate::sender::names::{Names, narrowed};
use crate::sender::{Cast, Samples, Sender};

/// What stands in the ids of all that is made.
const TAG: &str = "trigger";

/// A story of several events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumIter)]
pub enum Scenario {
    /// Somebody joins the company.
    Joiner,
    /// Somebody moves to another unit.
    Mover,
    /// Somebody leaves.
    Leaver,
    /// Units are made, renamed, moved and removed.
    Reorganization,
    /// The signing key changes in between.
    Rotation,
}

impl Scenario {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Joiner => "joiner",
            Self::Mover => "mover",
            Self::Leaver => "leaver",
            Self::Reorganization => "reorganization",
            Self::Rotation => "rotation",
        }
    }

    /// What happens, in a sentence.
    pub fn story(self) -> &'static str {
        match self {
            Self::Joiner => "a unit, a user in it, and a group that the user joins",
            Self::Mover => "a new unit, the user's move to it, and the group that the user leaves",
            Self::Leaver => "the user is disabled, leaves the group, and is deleted",
            Self::Reorganization => {
                "a unit is made, renamed and moved, a user moves to it and back, and it is removed"
            }
            Self::Rotation => {
                "a user is made; then the signing key changes, a connection test follows, and an update"
            }
        }
    }

    fn acts(self) -> &'static [Act] {
        use Act::{Event, Home, Rotate};
        match self {
            Self::Joiner => &[
                Home(T::UnitCreate),
                Event(T::UserCreate),
                Event(T::GroupCreate),
                Event(T::GroupAddUser),
            ],
            Self::Mover => &[
                Event(T::UnitCreate),
                Event(T::UserUpdatePrimaryOu),
                Event(T::GroupRemoveUser),
            ],
            Self::Leaver => &[
                Event(T::UserDisable),
                Event(T::GroupRemoveUser),
                Event(T::UserDelete),
            ],
            Self::Reorganization => &[
                Home(T::UnitCreate),
                Event(T::UnitCreate),
                Event(T::UnitUpdate),
                Event(T::UnitUpdateParent),
                Event(T::UserUpdatePrimaryOu),
                Event(T::UserUpdateInfo),
                Event(T::UnitDelete),
            ],
            Self::Rotation => &[
                Event(T::UserCreate),
                Rotate,
                Event(T::Test),
                Event(T::UserUpdateInfo),
            ],
        }
    }
}

/// A part of a scenario.
#[derive(Clone, Copy, Debug)]
enum Act {
    Event(T),
    /// The same of the unit that users stand in at first.
    Home(T),
    Rotate,
}

/// What somebody wishes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// An event of this type.
    Event(T),
    /// A story.
    Scenario(Scenario),
}

impl Wish {
    /// Reads the name of a scenario, or of a type: whole, without its prefix, or without `ud:` (`user:create`). `unit` is
    /// short for `organizational_unit`.
    ///
    /// # Errors
    /// What can be written.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(scenario) = Scenario::iter().find(|scenario| scenario.name() == text) {
            return Ok(Self::Scenario(scenario));
        }
        let long = match text.strip_prefix("unit:") {
            Some(rest) => format!("organizational_unit:{rest}"),
            None => text.to_owned(),
        };
        let spellings = [text.to_owned(), format!("ud:{long}"), format!("common:{long}")];
        spellings
            .iter()
            .find_map(|spelling| T::parse(spelling))
            .map(Self::Event)
            .ok_or_else(|| "there is no such type or scenario; rollcall trigger --list shows them".to_owned())
    }

    fn acts(self) -> Vec<Act> {
        match self {
            Self::Event(kind) => vec![Act::Event(kind)],
            Self::Scenario(scenario) => scenario.acts().to_vec(),
        }
    }
}

/// A field of records that is set: `displayName=Ada`.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    field: String,
    value: Value,
}

impl Setting {
    /// Reads `field=value`. A value that is JSON is taken as such; everything else is a text.
    ///
    /// # Errors
    /// How it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((field, value)) if !field.is_empty() => Ok(Self {
                field: field.to_owned(),
                value: serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)),
            }),
            _ => Err("write field=value, such as displayName=Ada".to_owned()),
        }
    }
}

/// What happens next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// These events go in one request.
    Send(Vec<Event>),
    /// The key changes.
    Rotate,
}

/// What is sent, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Its steps.
    pub steps: Vec<Step>,
}

impl Plan {
    /// All events that stand between two changes of the key in one request.
    #[must_use]
    pub fn in_batches(self) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        for step in self.steps {
            match (steps.last_mut(), step) {
                (Some(Step::Send(batch)), Step::Send(events)) => batch.extend(events),
                (_, step) => steps.push(step),
            }
        }
        Self { steps }
    }

    /// The number of its events.
    pub fn events(&self) -> usize {
        let count = |step: &Step| match step {
            Step::Send(events) => events.len(),
            Step::Rotate => 0,
        };
        self.steps.iter().map(count).sum()
    }
}

/// Makes the events of wishes, `count` times, each time about others; each event in a request of its own.
pub fn plan(sender: &Sender, wishes: &[Wish], count: usize, names: Names, settings: &[Setting]) -> Plan {
    let now = sender.clock.now();
    let mut samples = Samples::new(TAG, sender.instance_id.clone());
    let home = samples.home(now);
    let mut plan = Plan::default();
    for number in 0..count {
        // Three are made for each: what is about the first user stays about the first user, however many there are.
        samples.go_on_with(10 * (number + 1));
        let cast = Cast::new(&mut samples, &home, now);
        let at_home = Cast {
            unit: home.clone(),
            ..cast.clone()
        };
        for act in wishes.iter().flat_map(|wish| wish.acts()) {
            let (kind, cast) = match act {
                Act::Rotate => {
                    plan.steps.push(Step::Rotate);
                    continue;
                }
                Act::Event(kind) => (kind, &cast),
                Act::Home(kind) => (kind, &at_home),
            };
            let time = samples.time(now);
            let event = event(sender, cast, kind, time, names, settings);
            plan.steps.push(Step::Send(vec![event]));
        }
    }
    plan
}

fn event(sender: &Sender, cast: &Cast, kind: T, time: Millis, names: Names, settings: &[Setting]) -> Event {
    let (mut biz_id, record) = cast.record(kind, &sender.instance_id);
    let mut record = narrowed(&record, names);
    if !settings.is_empty()
        && let Ok(Value::Object(mut object)) = serde_json::from_str(&record)
    {
        for setting in settings {
            object.insert(setting.field.clone(), setting.value.clone());
            // Whoever sets the id means somebody else.
            if let Some(id) = setting.value.as_str()
                && id_field(kind) == Some(setting.field.as_str())
            {
                id.clone_into(&mut biz_id);
            }
        }
        record = Value::Object(object).to_string();
    }
    sender.event(kind, time, &biz_id, record)
}

fn id_field(kind: T) -> Option<&'static str> {
    kind.subject_kind().map(|kind| match kind {
        SubjectKind::User => "userId",
        SubjectKind::Unit => "organizationalUnitId",
        SubjectKind::Group => "groupId",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_in_every_spelling() {
        for text in [
            "user:create",
            "ud:user:create",
            "urn:alibaba:idaas:app:event:ud:user:create",
        ] {
            assert_eq!(Wish::parse(text), Ok(Wish::Event(T::UserCreate)), "{text}");
        }
        for (text, kind) in [
            ("test", T::Test),
            ("unit:update", T::UnitUpdate),
            ("organizational_unit:update", T::UnitUpdate),
            ("inventory", T::Inventory),
        ] {
            assert_eq!(Wish::parse(text), Ok(Wish::Event(kind)), "{text}");
        }
        assert_eq!(Wish::parse("mover"), Ok(Wish::Scenario(Scenario::Mover)));
        assert!(Wish::parse("user:fly").is_err());
    }
}
