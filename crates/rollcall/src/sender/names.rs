//! The two generations of names in records (wire contract, section 4): the hub sends both, older senders the one and
//! newer ones the other.

use serde_json::{Map, Value};

/// Which generations of names a record has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Names {
    /// The older names alone.
    Older,
    /// The newer names alone.
    Newer,
    /// Both, as the hub sends them.
    #[default]
    Both,
}

/// The pairs, of users and organizational units: older, newer. Groups have one generation of names.
const PAIRS: [(&str, &str); 10] = [
    ("sourceType", "userSourceType"),
    ("sourceId", "userSourceId"),
    ("externalId", "userExternalId"),
    ("lastUpdatedTime", "updateTime"),
    ("organizationalUnits", "userOrganizationalUnits"),
    ("name", "organizationalUnitName"),
    ("externalId", "organizationalUnitExternalId"),
    ("sourceType", "organizationalUnitSourceType"),
    ("sourceId", "organizationalUnitSourceId"),
    // The older generation has no such name.
    ("", "primaryOrganizationalUnitId"),
];

/// Leaves one generation of names in a record. A name that has no counterpart in the record stays.
pub fn narrow(record: &mut Map<String, Value>, names: Names) {
    for (older, newer) in PAIRS {
        let both = record.contains_key(older) && record.contains_key(newer);
        match names {
            Names::Both => {}
            Names::Older if both => drop(record.remove(newer)),
            Names::Older if older.is_empty() => drop(record.remove(newer)),
            Names::Newer if both => drop(record.remove(older)),
            Names::Older | Names::Newer => {}
        }
    }
}

/// The same of a record that is JSON text; what is no object stays as it is.
pub fn narrowed(record: &str, names: Names) -> String {
    match serde_json::from_str::<Value>(record) {
        Ok(Value::Object(mut object)) if names != Names::Both => {
            narrow(&mut object, names);
            Value::Object(object).to_string()
        }
        _ => record.to_owned(),
    }
}

/// Writes the times of a record, which are strings of digits, as numbers.
pub fn with_numbers(record: &str) -> String {
    match serde_json::from_str::<Value>(record) {
        Ok(Value::Object(mut object)) => {
            for (name, value) in &mut object {
                if name.ends_with("Time")
                    && let Some(number) = value.as_str().and_then(|text| text.parse::<i64>().ok())
                {
                    *value = number.into();
                }
            }
            Value::Object(object).to_string()
        }
        _ => record.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rollcall_protocol::{UnitMembership, UnitPayload, UserPayload};

    use super::*;

    #[test]
    fn one_generation_says_what_both_say() {
        let user = UserPayload {
            user_id: "user_1".to_owned(),
            external_id: Some("e".to_owned()),
            source_type: Some("s".to_owned()),
            source_id: Some("i".to_owned()),
            update_time: Some(5),
            primary_unit_id: Some("ou_1".to_owned()),
            units: vec![UnitMembership {
                id: "ou_1".to_owned(),
                name: Some("One".to_owned()),
                primary: true,
            }],
            ..UserPayload::default()
        };
        let unit = UnitPayload {
            unit_id: "ou_1".to_owned(),
            name: Some("One".to_owned()),
            external_id: Some("e".to_owned()),
            ..UnitPayload::default()
        };
        for (names, gone, kept) in [
            (Names::Older, "userExternalId", "externalId"),
            (Names::Newer, "externalId", "userExternalId"),
        ] {
            let text = narrowed(&user.to_json(), names);
            assert!(
                !text.contains(&format!("\"{gone}\"")) && text.contains(&format!("\"{kept}\"")),
                "{text}"
            );
            assert_eq!(UserPayload::from_json(&text).unwrap(), user);
            let text = narrowed(&unit.to_json(), names);
            assert_eq!(text.contains("\"name\""), names == Names::Older, "{text}");
            assert_eq!(UnitPayload::from_json(&text).unwrap(), unit);
        }
        let text = with_numbers(&user.to_json());
        assert!(text.contains("\"updateTime\":5"), "{text}");
        assert_eq!(UserPayload::from_json(&text).unwrap(), user);
    }
}
