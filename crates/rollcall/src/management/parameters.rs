//! The parameters of a call, which its client has made flat: `CustomFields.1.FieldName` is the field `fieldName` of the
//! first of the list `customFields`. And the other way: answers, whose names begin with a capital letter here.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::developer::{Given, Refusal};

/// How many parameters a call may have.
const MOST: usize = 5_000;

/// How deep they may stand.
const DEEPEST: usize = 5;

/// Those that say whether something is so; everything is a text otherwise.
const TRUTHS: [&str; 4] = [
    "emailVerified",
    "phoneNumberVerified",
    "encryptRequired",
    "provisionPassword",
];

/// A parameter, or what stands below its name.
#[derive(Debug)]
enum Node {
    Text(String),
    Below(BTreeMap<String, Node>),
}

impl Node {
    fn put(&mut self, path: &[&str], value: &str) -> Option<()> {
        let Self::Below(below) = self else { return None };
        let (first, rest) = path.split_first()?;
        if rest.is_empty() {
            let before = below.insert((*first).to_owned(), Self::Text(value.to_owned()));
            return before.is_none().then_some(());
        }
        let next = below
            .entry((*first).to_owned())
            .or_insert_with(|| Self::Below(BTreeMap::new()));
        next.put(rest, value)
    }

    fn value(self, name: &str) -> Value {
        match self {
            Self::Text(text) if TRUTHS.contains(&name) => match text.to_ascii_lowercase().as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => Value::String(text),
            },
            Self::Text(text) => Value::String(text),
            Self::Below(below) => {
                let numbers: Option<BTreeMap<u32, ()>> = below
                    .keys()
                    .map(|key| Some((key.parse::<u32>().ok()?, ())))
                    .collect();
                match numbers.filter(|numbers| !numbers.is_empty()) {
                    Some(_) => {
                        let mut list: Vec<(u32, Self)> = below
                            .into_iter()
                            .map(|(key, node)| (key.parse().unwrap_or(u32::MAX), node))
                            .collect();
                        list.sort_by_key(|(number, _)| *number);
                        list.into_iter().map(|(_, node)| node.value(name)).collect()
                    }
                    None => Value::Object(object(below)),
                }
            }
        }
    }
}

fn object(below: BTreeMap<String, Node>) -> Map<String, Value> {
    let named = below.into_iter().map(|(name, node)| {
        let name = with_first(&name, u8::to_ascii_lowercase);
        let value = node.value(&name);
        (name, value)
    });
    named.collect()
}

/// A name whose first letter is another one.
fn with_first(name: &str, change: impl Fn(&u8) -> u8) -> String {
    let mut bytes = name.as_bytes().to_vec();
    if let Some(first) = bytes.first_mut().filter(|first| first.is_ascii()) {
        *first = change(first);
    }
    String::from_utf8(bytes).unwrap_or_else(|_| name.to_owned())
}

/// Reads parameters.
///
/// # Errors
/// [`Refusal::body`] if they contradict each other or are too many.
pub fn read(pairs: &[(String, String)]) -> Result<Given, Refusal> {
    if pairs.len() > MOST {
        return Err(Refusal::body(format!("a call may have {MOST} parameters")));
    }
    let mut all = Node::Below(BTreeMap::new());
    for (name, value) in pairs {
        let path: Vec<&str> = name.split('.').collect();
        if path.len() > DEEPEST || all.put(&path, value).is_none() {
            return Err(Refusal::body(format!("the parameter {name:?} cannot be read")));
        }
    }
    match all {
        Node::Below(below) => Ok(Given::from(object(below))),
        Node::Text(_) => Ok(Given::default()),
    }
}

/// Names as answers of the management API have them. What is null is left out.
pub fn capitalized(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let named = fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (with_first(&name, u8::to_ascii_uppercase), capitalized(value)));
            Value::Object(named.collect())
        }
        Value::Array(all) => all.into_iter().map(capitalized).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_was_made_flat_is_read_as_it_was() {
        let given = read(&pairs(&[
            ("Username", "ada"),
            ("EmailVerified", "True"),
            ("CustomFields.2.FieldName", "b"),
            ("CustomFields.1.FieldName", "a"),
            ("CustomFields.1.FieldValue", "1"),
            ("UserIds.10", "j"),
            ("UserIds.2", "b"),
            ("Config.Url", "x"),
        ]))
        .unwrap();
        assert_eq!(given.needed("username").unwrap(), "ada");
        assert_eq!(given.truth("emailVerified").unwrap(), Some(true));
        assert_eq!(given.ids("userIds", 9).unwrap(), ["b", "j"]);
        let fields = given.objects("customFields").unwrap();
        assert_eq!(fields.len(), 2);
        assert_eq!(fields[0].needed("fieldValue").unwrap(), "1");
        assert_eq!(
            given.object("config").unwrap().unwrap().needed("url").unwrap(),
            "x"
        );
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for wrong in [
            &[("A", "1"), ("A", "2")][..],
            &[("A", "1"), ("A.B", "2")],
            &[("A.B", "1"), ("A", "2")],
            &[("A.B.C.D.E.F", "1")],
        ] {
            assert!(read(&pairs(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn answers_begin_with_capitals_and_name_nothing_that_is_not_there() {
        let answer = json!({ "user": { "userId": "u", "email": null, "groups": [{ "groupId": "g" }] } });
        assert_eq!(
            capitalized(answer),
            json!({ "User": { "UserId": "u", "Groups": [{ "GroupId": "g" }] } })
        );
    }
}
