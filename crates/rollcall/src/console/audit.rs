//! The audit log: who did what, when, from where, and what was there before and after.

use std::collections::HashMap;

use askama::Template;
use axum::body::Body;
use axum::extract::Query;
use axum::http::header;
use axum::response::IntoResponse;
use futures_util::{StreamExt as _, stream};
use rollcall_db::DbError;
use serde::Deserialize;
use serde_json::Value;

use super::error::Failure;
use super::page::{Answer, Page, Section, View, address, pretty, show};
use crate::access::Permission;
use crate::accounts;
use crate::audit::{Entry, Position};
use crate::clock::shown;
use crate::connection;
use crate::listing::Audited;

/// How many entries a page has.
const ON_A_PAGE: usize = 50;
/// How many entries are written to a file at once.
const AT_ONCE: usize = 500;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    who: String,
    #[serde(default)]
    origin: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    target: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
    /// Where the page begins.
    change: Option<i64>,
    entry: Option<i64>,
}

fn given(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

impl Wanted {
    fn asked(&self, page: &Page, limit: usize) -> Audited {
        let time = |text: &str| given(text).and_then(|text| page.read_field(&text));
        Audited {
            who: given(&self.who),
            origin: given(&self.origin),
            action: given(&self.action),
            target: given(&self.target),
            since: time(&self.since),
            until: time(&self.until),
            limit,
        }
    }

    fn from(&self) -> Position {
        let newest = Position::default();
        Position {
            change: self.change.unwrap_or(newest.change),
            entry: self.entry.unwrap_or(newest.entry),
        }
    }

    fn address(&self, path: &str, from: Option<Position>) -> String {
        let [change, entry] = match from {
            Some(from) => [from.change.to_string(), from.entry.to_string()],
            None => Default::default(),
        };
        let query = [
            ("who", self.who.as_str()),
            ("origin", &self.origin),
            ("action", &self.action),
            ("target", &self.target),
            ("since", &self.since),
            ("until", &self.until),
            ("change", &change),
            ("entry", &entry),
        ];
        address(path, &query)
    }
}

/// An entry as it is shown.
struct ShownEntry {
    entry: Entry,
    /// Who, by name if that is known.
    actor: String,
    before: Option<String>,
    after: Option<String>,
    link: Option<String>,
}

impl ShownEntry {
    fn of(entry: Entry, names: &HashMap<String, String>) -> Self {
        let named = entry.actor.split_once(':').and_then(|(_, id)| names.get(id));
        let actor = named.unwrap_or(&entry.actor).clone();
        let pretty = |value: &Option<Value>| value.as_ref().map(pretty);
        let link = match entry.target_kind.as_str() {
            "application" => Some(format!("/console/applications/{}", entry.target_id)),
            "user" => Some(format!("/console/users/{}", entry.target_id)),
            "connection" => Some(format!("/console/connections/{}", entry.target_id)),
            "group" => Some(format!("/console/groups/{}", entry.target_id)),
            "organizational_unit" | "unit" => Some(format!("/console/directory?unit={}", entry.target_id)),
            _ => None,
        };
        Self {
            actor,
            before: pretty(&entry.before),
            after: pretty(&entry.after),
            link,
            entry,
        }
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    page: Page,
    wanted: Wanted,
    entries: Vec<ShownEntry>,
    file: String,
    is_first: bool,
    next: Option<String>,
}

pub(super) async fn audit(view: View, Query(wanted): Query<Wanted>) -> Answer {
    let view = view.within(Section::Audit);
    view.needs(Permission::ReadAudit)?;
    let asked = wanted.asked(&view.page, ON_A_PAGE);
    let found = asked.page(view.console.db(), wanted.from()).await?;
    let names = view.console.db().read(|tx| {
        let mut names = accounts::names(tx)?;
        names.extend(connection::names(tx)?);
        Ok::<_, DbError>(names)
    });
    let names = names.await?;
    let entries = found.entries.into_iter();
    let entries = entries.map(|entry| ShownEntry::of(entry, &names));
    let next = found
        .next
        .map(|next| wanted.address("/console/audit", Some(next)));
    show(&AuditPage {
        file: wanted.address("/console/audit.csv", None),
        is_first: wanted.change.is_none(),
        next,
        entries: entries.collect(),
        wanted,
        page: view.page,
    })
}

/// The same as a file for a spreadsheet, the newest first: all entries, however many, read while they are sent.
pub(super) async fn audit_csv(view: View, Query(wanted): Query<Wanted>) -> Answer {
    view.needs(Permission::ReadAudit)?;
    let asked = wanted.asked(&view.page, AT_ONCE);
    let first = asked.clone().page(view.console.db(), Position::default()).await?;
    let begun = lines(Some(COLUMNS), first.entries).map_err(|error| Failure::Internal(error.to_string()))?;
    let db = view.console.db().clone();
    let rest = stream::try_unfold(first.next, move |from| {
        let (db, asked) = (db.clone(), asked.clone());
        async move {
            let Some(from) = from else { return Ok(None) };
            let page = asked.page(&db, from).await.map_err(std::io::Error::other)?;
            let portion = lines(None, page.entries).map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(Some((portion, page.next)))
        }
    });
    let all = stream::once(async { Ok(begun) }).chain(rest);
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"rollcall-audit.csv\"",
        ),
    ];
    Ok((headers, Body::from_stream(all)).into_response())
}

/// The columns of the file.
const COLUMNS: [&str; 9] = [
    "time",
    "actor",
    "origin",
    "action",
    "target_kind",
    "target_id",
    "target_name",
    "before",
    "after",
];

/// Entries as lines of the file, beneath the names of its columns where it begins.
fn lines(head: Option<[&str; 9]>, entries: Vec<Entry>) -> Result<Vec<u8>, csv::Error> {
    let mut file = csv::Writer::from_writer(Vec::new());
    if let Some(head) = head {
        file.write_record(head)?;
    }
    let text = |value: Option<Value>| value.map(|value| value.to_string()).unwrap_or_default();
    for entry in entries {
        let fields = [
            shown(entry.time),
            entry.actor,
            entry.origin.unwrap_or_default(),
            entry.action,
            entry.target_kind,
            entry.target_id,
            entry.target_name,
            text(entry.before),
            text(entry.after),
        ];
        file.write_record(fields.map(|field| harmless(&field)))?;
    }
    file.into_inner().map_err(|error| error.into_error().into())
}

/// The same text, so that no spreadsheet takes it for a formula.
fn harmless(field: &str) -> String {
    match field.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{field}"),
        false => field.to_owned(),
    }
}
