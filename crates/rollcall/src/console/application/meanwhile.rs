//! What others have changed of an application while somebody had a form open.

use std::collections::BTreeSet;

use rollcall_db::DbError;
use serde_json::Value;

use crate::access::Version;
use crate::accounts;
use crate::audit::{self, Entry, Filter, Position};
use crate::clock::Millis;
use crate::console::error::Failure;
use crate::console::page::View;

/// How many changes are told at most, the newest.
const TOLD: usize = 10;

/// A change that somebody else has made.
pub(super) struct Meanwhile {
    pub(super) who: String,
    pub(super) at: Millis,
    /// What it changed: the name of the parameter, what it was and what it is. Both are empty where that is a list.
    pub(super) what: Vec<(String, String, String)>,
}

/// The key of the text that names what an entry of the audit log calls so.
fn named(field: &str) -> &'static str {
    match field {
        "name" => "application-name",
        "url" => "param-url",
        "encryption" | "hasEncryptionKey" => "param-encryption",
        "passwordSynchronization" => "param-passwords",
        "maxEvents" => "limit-events",
        "maxBytes" => "limit-bytes",
        "lanes" => "limit-lanes",
        "requestsPerSecond" => "limit-rate",
        "scope" => "param-scope",
        "subscription" => "events-title",
        "synchronize" => "param-synchronize",
        "kid" | "trialAt" => "tab-keys",
        _ => "something-else",
    }
}

/// A value in words; nothing for a list.
fn words(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(is)) => is.to_string(),
        _ => String::new(),
    }
}

/// The members of a record; those of what is nested stand beside the others.
fn members(value: Option<&Value>) -> Vec<(&String, &Value)> {
    let mut found = Vec::new();
    for (name, value) in value.and_then(Value::as_object).into_iter().flatten() {
        match value {
            Value::Object(_) if name == "limits" => found.extend(members(Some(value))),
            _ => found.push((name, value)),
        }
    }
    found
}

fn what(entry: &Entry, view: &View) -> Vec<(String, String, String)> {
    let (before, after) = (members(entry.before.as_ref()), members(entry.after.as_ref()));
    let of = |side: &[(&String, &Value)], wanted: &str| {
        let found = side.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| (*value).clone())
    };
    let names: BTreeSet<&String> = before.iter().chain(&after).map(|(name, _)| *name).collect();
    let mut told: Vec<(String, String, String)> = Vec::new();
    for name in names {
        let (was, is) = (of(&before, name), of(&after, name));
        let label = view.page.t(named(name));
        if was != is && !told.iter().any(|(known, ..)| *known == label) {
            told.push((label, words(was.as_ref()), words(is.as_ref())));
        }
    }
    told
}

/// What was changed after a version, the newest first.
pub(super) async fn meanwhile(
    view: &View,
    application_id: &str,
    version: Version,
) -> Result<Vec<Meanwhile>, Failure> {
    let filter = Filter {
        targets: vec![application_id.to_owned()],
        since: Some(version),
        ..Filter::default()
    };
    let (page, names) = view
        .console
        .db()
        .read(move |tx| {
            let page = audit::page(tx, &filter, Position::default(), TOLD)?;
            Ok::<_, DbError>((page, accounts::names(tx)?))
        })
        .await?;
    let entries = page.entries.into_iter().filter(|entry| entry.time > version);
    let told = entries.map(|entry| {
        let name = entry.actor.strip_prefix("account:").and_then(|id| names.get(id));
        Meanwhile {
            who: name.unwrap_or(&entry.actor).clone(),
            at: entry.time,
            what: what(&entry, view),
        }
    });
    Ok(told.filter(|change| !change.what.is_empty()).collect())
}
