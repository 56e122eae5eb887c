//! What others have changed of an application while somebody had a form open.

use std::collections::{BTreeSet, HashMap};

use rollcall_db::DbError;
use serde_json::Value;

use crate::access::Version;
use crate::accounts;
use crate::audit::{self, Entry, Filter, Position};
use crate::clock::Millis;
use crate::console::error::Failure;
use crate::console::page::View;
use crate::directory::view;

/// How many changes are told at most, the newest.
const TOLD: usize = 10;

/// A change that somebody else has made.
pub(super) struct Meanwhile {
    pub(super) who: String,
    pub(super) at: Millis,
    /// What it changed: the name of the parameter, what it was and what it is. Of a list, that is what went out of it
    /// and what came into it.
    pub(super) what: Vec<(String, String, String)>,
}

/// The key of the text that names what an entry of the audit log calls so.
fn named(field: &str) -> &'static str {
    match field {
        "name" => "application-name",
        "url" => "param-url",
        "mode" => "param-mode",
        "authentication" => "scim-authentication",
        "actions" => "scim-actions",
        "groups" => "scim-groups",
        "leavers" => "scim-leavers",
        "preset" => "scim-preset",
        "mapping" => "scim-mapping",
        "profile" => "scim-profile",
        "secret" => "scim-secret",
        "encryption" | "hasEncryptionKey" => "param-encryption",
        "passwordSynchronization" => "param-passwords",
        "maxEvents" => "limit-events",
        "maxBytes" => "limit-bytes",
        "lanes" => "limit-lanes",
        "requestsPerSecond" => "limit-rate",
        "scope" => "param-scope",
        "subscription" => "events-title",
        "synchronize" => "param-synchronize",
        "developerApi" => "tab-developer",
        _ => "something-else",
    }
}

/// The key of the text that names a step of a rotation.
fn step(action: &str) -> Option<&'static str> {
    Some(match action {
        "publish_signing_key" => "step-publish",
        "try_signing_key" => "step-try",
        "withdraw_signing_key" => "step-withdraw",
        "revert_signing_key" => "step-revert",
        "replace_signing_key" => "step-replace",
        _ => return None,
    })
}

/// How many members of a list are named.
const NAMED: usize = 20;

/// The members of a list, or of the lists of a scope.
fn listed(value: Option<&Value>) -> BTreeSet<&str> {
    let lists: Vec<&Value> = match value {
        Some(Value::Object(scope)) => scope.values().collect(),
        Some(list) => vec![list],
        None => Vec::new(),
    };
    let members = lists.into_iter().filter_map(Value::as_array).flatten();
    members.filter_map(Value::as_str).collect()
}

/// What a value was and what it is in words: of a list, what is different.
fn words(
    view: &View,
    names: &HashMap<String, String>,
    was: Option<&Value>,
    is: Option<&Value>,
) -> (String, String) {
    let plain = |value: Option<&Value>| match value {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(Value::Bool(true)) => Some(view.page.t("yes")),
        Some(Value::Bool(false)) => Some(view.page.t("no")),
        Some(Value::Null) | None => Some(String::new()),
        Some(Value::Array(_) | Value::Object(_)) => None,
    };
    if let (Some(was), Some(is)) = (plain(was), plain(is)) {
        return (was, is);
    }
    let (was, is) = (listed(was), listed(is));
    let named = |ids: &mut dyn Iterator<Item = &&str>| {
        let mut named: Vec<&str> = ids.map(|id| names.get(*id).map_or(*id, String::as_str)).collect();
        named.sort_unstable();
        let more = if named.len() > NAMED { ", …" } else { "" };
        named.truncate(NAMED);
        format!("{}{more}", named.join(", "))
    };
    (named(&mut was.difference(&is)), named(&mut is.difference(&was)))
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

/// What stands in an entry that is no parameter: the job that tells of a change of scope.
const BESIDES: &str = "job";

fn what(entry: &Entry, view: &View, named_ids: &HashMap<String, String>) -> Vec<(String, String, String)> {
    if let Some(step) = step(&entry.action) {
        let key = |side: &Option<Value>| {
            let kid = side.as_ref().and_then(|side| side.get("kid")?.as_str());
            kid.unwrap_or_default().to_owned()
        };
        let (was, is) = match step {
            "step-withdraw" => (key(&entry.after), String::new()),
            _ => (key(&entry.before), key(&entry.after)),
        };
        return vec![(view.page.t(step), was, is)];
    }
    let (before, after) = (members(entry.before.as_ref()), members(entry.after.as_ref()));
    let of = |side: &[(&String, &Value)], wanted: &str| {
        let found = side.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| (*value).clone())
    };
    let names: BTreeSet<&String> = before.iter().chain(&after).map(|(name, _)| *name).collect();
    let mut told: Vec<(String, String, String)> = Vec::new();
    for name in names.into_iter().filter(|name| *name != BESIDES) {
        let (was, is) = (of(&before, name), of(&after, name));
        let label = view.page.t(named(name));
        if was != is && !told.iter().any(|(known, ..)| *known == label) {
            let (was, is) = words(view, named_ids, was.as_ref(), is.as_ref());
            told.push((label, was, is));
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
    let (page, names, named_ids) = view
        .console
        .db()
        .read(move |tx| {
            let page = audit::page(tx, &filter, Position::default(), TOLD)?;
            let sides = page
                .entries
                .iter()
                .flat_map(|entry| [&entry.before, &entry.after]);
            let scopes = sides.filter_map(|side| side.as_ref()?.get("scope"));
            let ids: BTreeSet<&str> = scopes.flat_map(|scope| listed(Some(scope))).collect();
            let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
            let mut named_ids = view::names(tx, &ids)?;
            let paths = view::unit_paths(tx, &ids)?;
            named_ids.extend(paths.into_iter().map(|(id, path)| (id, format!("/{path}"))));
            Ok::<_, DbError>((page, accounts::names(tx)?, named_ids))
        })
        .await?;
    let entries = page.entries.into_iter().filter(|entry| entry.time > version);
    let told = entries.map(|entry| Meanwhile {
        who: accounts::called(&entry.actor, &names).to_owned(),
        at: entry.time,
        what: what(&entry, view, &named_ids),
    });
    Ok(told.filter(|change| !change.what.is_empty()).collect())
}
