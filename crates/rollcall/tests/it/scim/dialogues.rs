//! What Okta and Entra ID send, as their documentation has it: it is replayed, and every answer has what they look for.
//!
//! A dialogue is a file of steps. A step sends a request, in which `{name}` stands for what an earlier step has kept;
//! it says the status of the answer and what has to be in it, and may keep something of it by a JSON pointer.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::End;
use crate::access::on_each;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// What the client does.
    does: String,
    method: String,
    path: String,
    #[serde(default)]
    body: Value,
    status: u16,
    /// What has to be in the answer; there may be more.
    #[serde(default)]
    answer: Value,
    /// What must not be in the answer, by JSON pointers.
    #[serde(default)]
    without: Vec<String>,
    /// What is kept, by JSON pointers.
    #[serde(default)]
    keep: BTreeMap<String, String>,
}

fn filled(text: &str, kept: &BTreeMap<String, String>) -> String {
    let fill = |text: String, (name, value): (&String, &String)| text.replace(&format!("{{{name}}}"), value);
    kept.iter().fold(text.to_owned(), fill)
}

/// Whether an answer has what it has to.
fn has(answer: &Value, expected: &Value) -> bool {
    match (answer, expected) {
        (Value::Object(answer), Value::Object(expected)) => expected
            .iter()
            .all(|(name, value)| answer.get(name).is_some_and(|found| has(found, value))),
        (Value::Array(answer), Value::Array(expected)) => {
            answer.len() == expected.len()
                && answer
                    .iter()
                    .zip(expected)
                    .all(|(found, value)| has(found, value))
        }
        (answer, expected) => answer == expected,
    }
}

async fn replay(end: &End<'_>, file: &str) {
    let steps: Vec<Step> = serde_json::from_str(file).unwrap();
    let mut kept = BTreeMap::from([("connection".to_owned(), end.connection.id.clone())]);
    for step in steps {
        let path = filled(&step.path, &kept);
        let body: Value = serde_json::from_str(&filled(&step.body.to_string(), &kept)).unwrap();
        let expected: Value = serde_json::from_str(&filled(&step.answer.to_string(), &kept)).unwrap();
        let said = end.ask(&step.method, &path, body).await;
        let what = format!("{}: {} {path}: {}", step.does, step.method, said.body);
        assert_eq!(said.status, step.status, "{what}");
        assert!(
            expected.is_null() || has(&said.body, &expected),
            "{what}\nhas not {expected}"
        );
        for pointer in &step.without {
            assert!(said.body.pointer(pointer).is_none(), "{what}\nhas {pointer}");
        }
        for (name, pointer) in step.keep {
            let found = said.body.pointer(&pointer).and_then(Value::as_str);
            kept.insert(
                name,
                found
                    .unwrap_or_else(|| panic!("{what}\nhas no {pointer}"))
                    .to_owned(),
            );
        }
    }
}

#[test]
fn okta_provisions() {
    on_each("scim_okta", |site| async move {
        let end = End::of(&site, "Okta", Value::Null).await;
        replay(&end, include_str!("../data/scim/okta.json")).await;
    });
}

#[test]
fn entra_id_provisions() {
    on_each("scim_entra", |site| async move {
        let end = End::of(&site, "Entra", Value::Null).await;
        replay(&end, include_str!("../data/scim/entra.json")).await;
    });
}
