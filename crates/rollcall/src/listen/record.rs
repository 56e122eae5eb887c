//! What an event says, in words and as JSON, without its secrets.

use rollcall_protocol::{
    Event, EventType, GroupPayload, InventoryKind, InventoryPayload, PayloadError, UnitPayload, UserPayload,
};
use serde_json::Value;

use crate::clock::shown as time;
use crate::directory::fields::visible;

/// What stands in the place of a secret.
const A_PASSWORD: &str = "(a password)";

/// How many ids of members are listed.
const MEMBERS: usize = 5;

/// An event in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Described {
    /// Whom or what it is about.
    pub(super) about: String,
    /// What it says, one thing each.
    pub(super) says: Vec<String>,
}

/// The record of an event, whichever it has.
enum Record {
    Test,
    User(Box<UserPayload>),
    Unit(UnitPayload),
    Group(GroupPayload),
    Inventory(InventoryPayload),
    Unknown,
}

impl Record {
    fn read(event: &Event) -> Result<Self, PayloadError> {
        use EventType as T;
        let data = &event.biz_data;
        let Some(kind) = event.kind() else {
            return Ok(Self::Unknown);
        };
        Ok(match kind {
            T::Test => Self::Test,
            T::UserCreate
            | T::UserDelete
            | T::UserUpdateInfo
            | T::UserUpdatePassword
            | T::UserDisable
            | T::UserEnable
            | T::UserLock
            | T::UserUnlock
            | T::UserUpdatePrimaryOu
            | T::UserPush => Self::User(Box::new(UserPayload::from_json(data)?)),
            T::UnitCreate
            | T::UnitDelete
            | T::UnitUpdate
            | T::UnitUpdateParent
            | T::UnitAddUser
            | T::UnitRemoveUser
            | T::UnitPush => Self::Unit(UnitPayload::from_json(data)?),
            T::GroupCreate | T::GroupUpdate | T::GroupDelete | T::GroupAddUser | T::GroupRemoveUser => {
                Self::Group(GroupPayload::from_json(data)?)
            }
            T::Inventory => Self::Inventory(InventoryPayload::from_json(data)?),
        })
    }
}

/// Whether an event is of a type that is known, and its record can be read.
///
/// # Errors
/// What is wrong with the record.
pub(super) fn is_known(event: &Event) -> Result<bool, PayloadError> {
    Record::read(event).map(|record| !matches!(record, Record::Unknown))
}

/// An event in words.
pub(super) fn describe(event: &Event) -> Described {
    let subject = || visible(&event.biz_id);
    match Record::read(event) {
        Err(error) => Described {
            about: subject(),
            says: vec![format!("UNREADABLE: {}", explained(&error))],
        },
        Ok(Record::Test) => Described {
            about: "connection test".to_owned(),
            says: Vec::new(),
        },
        Ok(Record::Unknown) => Described {
            about: subject(),
            says: vec!["a type that is not known here".to_owned()],
        },
        Ok(Record::User(user)) => of_user(&user),
        Ok(Record::Unit(unit)) => of_unit(&unit),
        Ok(Record::Group(group)) => of_group(&group),
        Ok(Record::Inventory(inventory)) => of_inventory(&inventory),
    }
}

/// What is wrong with a record, without what a field of a secret holds.
pub(super) fn explained(error: &PayloadError) -> String {
    match error {
        PayloadError::Unreadable { field, .. } if is_secret(field) => {
            format!("the record's {} cannot be read", visible(field))
        }
        error => visible(&error.to_string()),
    }
}

/// `Ada Lovelace (ada)`, or what there is of it.
fn named(name: Option<&String>, other: Option<&String>, id: &str) -> String {
    match (name, other) {
        (Some(name), Some(other)) if !name.is_empty() => format!("{} ({})", visible(name), visible(other)),
        (Some(one), _) | (None, Some(one)) if !one.is_empty() => visible(one),
        _ => visible(id),
    }
}

fn of_user(user: &UserPayload) -> Described {
    let about = named(user.display_name.as_ref(), user.username.as_ref(), &user.user_id);
    let mut says = vec![visible(&user.user_id)];
    says.extend(user.status.map(|status| status.as_str().to_owned()));
    says.extend(
        user.email
            .as_ref()
            .map(|email| format!("email {}", visible(email))),
    );
    says.extend(user.phone_number.as_ref().map(|number| {
        let region = user.phone_region.as_deref().unwrap_or_default();
        match region {
            "" => format!("phone {}", visible(number)),
            region => format!("phone +{} {}", visible(region), visible(number)),
        }
    }));
    if !user.units.is_empty() {
        let units: Vec<String> = user
            .units
            .iter()
            .map(|unit| {
                let name = visible(unit.name.as_ref().unwrap_or(&unit.id));
                match unit.primary && user.units.len() > 1 {
                    true => format!("{name} (primary)"),
                    false => name,
                }
            })
            .collect();
        says.push(format!("in {}", units.join(", ")));
    }
    for (what, until) in [
        ("locked until", user.lock_expire_time),
        ("expires", user.account_expire_time),
    ] {
        says.extend(
            until
                .filter(|until| *until >= 0)
                .map(|until| format!("{what} {}", time(until))),
        );
    }
    for (name, value) in user.custom_fields.iter().flatten() {
        let value = match value {
            _ if is_secret(name) => A_PASSWORD.to_owned(),
            Value::String(text) => visible(text),
            other => visible(&other.to_string()),
        };
        says.push(format!("{}={value}", visible(name)));
    }
    says.extend(described(user.description.as_ref()));
    if user.password.is_some() {
        says.push(format!("password {A_PASSWORD}"));
    }
    Described { about, says }
}

fn of_unit(unit: &UnitPayload) -> Described {
    let mut says = vec![visible(&unit.unit_id)];
    says.extend(
        unit.parent_id
            .as_ref()
            .map(|parent| format!("below {}", visible(parent))),
    );
    says.extend(described(unit.description.as_ref()));
    Described {
        about: named(unit.name.as_ref(), None, &unit.unit_id),
        says,
    }
}

fn of_group(group: &GroupPayload) -> Described {
    let mut says = vec![visible(&group.group_id)];
    says.extend(described(group.description.as_ref()));
    says.extend(group.user_ids.as_ref().map(|ids| {
        let first: Vec<String> = ids.iter().take(MEMBERS).map(|id| visible(id)).collect();
        let more = if ids.len() > MEMBERS { ", …" } else { "" };
        let users = if ids.len() == 1 { "user" } else { "users" };
        format!("{} {users}: {}{more}", ids.len(), first.join(", "))
    }));
    Described {
        about: named(group.name.as_ref(), None, &group.group_id),
        says,
    }
}

fn of_inventory(inventory: &InventoryPayload) -> Described {
    let what = match inventory.kind {
        InventoryKind::User => "users",
        InventoryKind::Unit => "organizational units",
        InventoryKind::Group => "groups",
        InventoryKind::GroupMember => "members of a group",
    };
    let mut says = Vec::new();
    says.extend(inventory.group_id.as_ref().map(|id| visible(id)));
    says.push(match inventory.after.as_str() {
        "" => "from the first id".to_owned(),
        after => format!("after {}", visible(after)),
    });
    says.push(match &inventory.through {
        None => "to the last".to_owned(),
        Some(through) => format!("through {}", visible(through)),
    });
    Described {
        about: format!("all that there are of {what}: {}", inventory.ids.len()),
        says,
    }
}

fn described(text: Option<&String>) -> Option<String> {
    let text = text.filter(|text| !text.is_empty())?;
    Some(format!("description {:?}", visible(text)))
}

/// Whether what has this name may be a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "passwd", "secret"]
        .iter()
        .any(|word| name.contains(word))
}

/// A record as JSON, with what may be a password replaced.
pub(super) fn without_secrets(data: &str) -> Value {
    match serde_json::from_str(data) {
        Ok(mut value) => {
            redact(&mut value);
            value
        }
        // Nobody knows where in it a password stands.
        Err(_) => Value::Null,
    }
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let named_as_secret =
                |name: &str| members.get(name).and_then(Value::as_str).is_some_and(is_secret);
            let field_is_secret = named_as_secret("fieldName");
            for (name, value) in members {
                let hides = is_secret(name) || field_is_secret && name == "fieldValue";
                // This says whether there is one.
                match hides && name != "passwordSet" {
                    true => *value = A_PASSWORD.into(),
                    false => redact(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(redact),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event_type: EventType, data: &str) -> Event {
        Event {
            event_id: "e1".to_owned(),
            event_type: event_type.urn().to_owned(),
            event_time: 0,
            biz_id: "user_1".to_owned(),
            biz_data: data.to_owned(),
        }
    }

    #[test]
    fn no_form_of_a_password_is_shown() {
        let data = r#"{"userId":"user_1","password":"p4ss","passwordSet":"true",
            "customFields":[{"fieldName":"wifiPassword","fieldValue":"p4ss"}],"x":{"Password":{"hash":"p4ss"}}}"#;
        let shown = without_secrets(data);
        assert!(!shown.to_string().contains("p4ss"), "{shown}");
        assert_eq!(
            (&shown["password"], &shown["passwordSet"]),
            (&A_PASSWORD.into(), &"true".into())
        );
        let words = format!("{:?}", describe(&event(EventType::UserCreate, data)));
        assert!(words.contains(A_PASSWORD) && !words.contains("p4ss"), "{words}");
        for unreadable in [
            r#"{"userId":"user_1","password":["p4ss"]}"#,
            r#"{"password":"p4ss""#,
        ] {
            let event = event(EventType::UserCreate, unreadable);
            let words = format!("{:?} {}", describe(&event), without_secrets(unreadable));
            assert!(!words.contains("p4ss"), "{words}");
        }
    }

    #[test]
    fn a_name_moves_no_cursor() {
        let data = r#"{"userId":"user_1","displayName":"A\u001b[2Jda\u202e","username":"ada"}"#;
        let described = describe(&event(EventType::UserCreate, data));
        assert_eq!(described.about, "A\\u{1b}[2Jda\\u{202e} (ada)");
    }
}
