//! The audit log: what was done, by whom, when, from where, and what was there before and after.
//!
//! It rests in two places, and [`list`] shows them as one:
//!
//! - **Changes of the directory** are in the change log already, with who made them and from where, the
//!   whole record and the fields' earlier values. Writing a second row for each would double the work of
//!   the hub's most frequent write and say nothing new, so the change log *is* their audit record.
//!   Departures and arrivals are consequences of such a change and are not shown.
//! - **Everything else** has a row in `audit_entries`: applications with their settings, scopes,
//!   subscriptions and keys, what is done to deliveries, imports (one row each, with the counts), erasures, accounts
//!   and tokens, and who signed in.
//!   [`record`] appends it in the transaction of what it tells of, so that neither stands without the other.
//!
//! Secrets are masked before they are stored: values under names such as `password` or `encryptionKey`, and
//! the values in the query of an address. Entries hold no personal data: a user is named by its id alone
//! ([`Target::user`]), so that erasing somebody leaves nothing here either. Entries are kept for a year
//! unless it is set otherwise ([`trim`]), changes as long as the change log keeps them.

use rollcall_db::{DbError, Row, Tx, Value, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::access::Context;
use crate::change::{Seq, name_in, placeholders};
use crate::clock::Millis;

/// What something was done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    kind: &'static str,
    id: &'a str,
    name: &'a str,
}

impl<'a> Target<'a> {
    /// An application, by its id and name.
    pub fn application(id: &'a str, name: &'a str) -> Self {
        let kind = "application";
        Self { kind, id, name }
    }

    /// A user, by its id alone.
    pub fn user(id: &'a str) -> Self {
        Self {
            kind: "user",
            id,
            name: "",
        }
    }

    /// An account, by its id and the name under which somebody signs in.
    pub fn account(id: &'a str, name: &'a str) -> Self {
        let kind = "account";
        Self { kind, id, name }
    }

    /// A token, by its id and what it is for.
    pub fn token(id: &'a str, name: &'a str) -> Self {
        let kind = "token";
        Self { kind, id, name }
    }

    /// A connection, by its id and name.
    pub fn connection(id: &'a str, name: &'a str) -> Self {
        let kind = "connection";
        Self { kind, id, name }
    }

    /// A file that was imported, by its name.
    pub fn import(name: &'a str) -> Self {
        Self {
            kind: "import",
            id: name,
            name,
        }
    }
}

/// Appends an entry. `before` and `after` hold what is different, as JSON; `None` where there was or is
/// nothing.
///
/// # Errors
/// What the database reports.
pub fn record(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    action: &str,
    target: &Target<'_>,
    before: Option<&Json>,
    after: Option<&Json>,
) -> Result<(), DbError> {
    let text = |value: Option<&Json>| value.map(|value| masked(value).to_string());
    tx.execute(
        "INSERT INTO audit_entries (time, actor, origin, action, target_kind, target_id, target_name, before,
                                    after)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        params![
            ctx.now,
            ctx.caller.principal.to_string(),
            ctx.caller.origin.text(),
            action,
            target.kind,
            target.id,
            target.name,
            text(before),
            text(after)
        ],
    )?;
    Ok(())
}

/// What is different of two records, on both sides.
pub fn different(
    before: &Map<String, Json>,
    after: &Map<String, Json>,
) -> (Map<String, Json>, Map<String, Json>) {
    let own = |own: &Map<String, Json>, other: &Map<String, Json>| -> Map<String, Json> {
        let different = own.iter().filter(|(key, value)| other.get(*key) != Some(value));
        different
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    (own(before, after), own(after, before))
}

/// Takes from all entries about somebody what may be personal.
///
/// # Errors
/// What the database reports.
pub fn erase(tx: &mut Tx<'_>, target_id: &str) -> Result<u64, DbError> {
    tx.execute(
        "UPDATE audit_entries SET target_name = '', before = NULL, after = NULL WHERE target_id = $1",
        params![target_id],
    )
}

/// Removes up to `limit` entries that are older than a time. Returns how many.
///
/// # Errors
/// What the database reports.
pub fn trim(tx: &mut Tx<'_>, oldest: Millis, limit: i64) -> Result<u64, DbError> {
    tx.execute(
        "DELETE FROM audit_entries WHERE id IN
             (SELECT id FROM (SELECT id, time FROM audit_entries ORDER BY id LIMIT $2) AS first WHERE time < $1)",
        params![oldest, limit],
    )
}

/// An entry as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "AuditEntry")]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When.
    pub time: Millis,
    /// Who: the text of a [`crate::access::Principal`].
    pub actor: String,
    /// From where: the text of a [`crate::access::Origin`].
    pub origin: Option<String>,
    /// What was done.
    pub action: String,
    /// To what kind of thing.
    pub target_kind: String,
    /// Its id.
    pub target_id: String,
    /// Its name at that time; empty if it has none, or was erased.
    pub target_name: String,
    /// The position in the change log, if that is where the entry comes from.
    pub seq: Option<Seq>,
    /// What was there before.
    pub before: Option<Json>,
    /// What is there after it.
    pub after: Option<Json>,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only by actors whose text contains this.
    pub who: Option<String>,
    /// Only from origins whose text contains this, such as an address.
    pub origin: Option<String>,
    /// Only actions whose name contains this, such as `delete`.
    pub action: Option<String>,
    /// Only about targets with one of these ids; empty for all.
    pub targets: Vec<String>,
    /// Only from this time on.
    pub since: Option<Millis>,
    /// Only before this time.
    pub until: Option<Millis>,
}

impl Filter {
    fn passes(&self, entry: &Entry) -> bool {
        self.who
            .as_ref()
            .is_none_or(|who| entry.actor.contains(who.as_str()))
            && self.origin.as_ref().is_none_or(|origin| {
                let from = entry.origin.as_deref().unwrap_or_default();
                from.contains(origin.as_str())
            })
            && self
                .action
                .as_ref()
                .is_none_or(|action| entry.action.contains(action.as_str()))
            && (self.targets.is_empty() || self.targets.contains(&entry.target_id))
            && self.until.is_none_or(|until| entry.time < until)
    }
}

/// The newest entries that pass, newest first.
///
/// # Errors
/// What the database reports.
pub fn list(tx: &mut Tx<'_>, filter: &Filter, limit: usize) -> Result<Vec<Entry>, DbError> {
    let everything = Reach {
        portions: usize::MAX,
        limit,
    };
    let mut all = Vec::new();
    for source in [&ENTRIES, &CHANGES] {
        let looked = look(tx, filter, source, i64::MAX, &everything)?;
        all.extend(looked.found.into_iter().map(|(_, entry)| entry));
    }
    all.sort_by_key(|entry| std::cmp::Reverse((entry.time, entry.seq)));
    all.truncate(limit);
    Ok(all)
}

/// Where a page begins: before these rows of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// A change.
    pub change: Seq,
    /// An entry of anything else.
    pub entry: i64,
}

impl Default for Position {
    /// At the newest.
    fn default() -> Self {
        Self {
            change: Seq::MAX,
            entry: i64::MAX,
        }
    }
}

/// A page of entries.
#[derive(Debug)]
pub struct Page {
    /// The entries, newest first.
    pub entries: Vec<Entry>,
    /// Where the next page begins; `None` if there is none. There may be one although this one is not full: a page
    /// looks at so many rows at most.
    pub next: Option<Position>,
}

/// How many portions of each table are looked at for one page.
const PORTIONS: usize = 4;

/// The entries from a position on that pass, newest first, looking at no more than a few thousand rows.
///
/// # Errors
/// What the database reports.
pub fn page(tx: &mut Tx<'_>, filter: &Filter, from: Position, limit: usize) -> Result<Page, DbError> {
    let reach = Reach {
        portions: PORTIONS,
        limit: limit + 1,
    };
    let begins = [from.entry, from.change];
    let mut looked = Vec::with_capacity(2);
    for (source, before) in [&ENTRIES, &CHANGES].into_iter().zip(begins) {
        looked.push(look(tx, filter, source, before, &reach)?);
    }
    // Where one table was not looked at any further, older entries of the other have to wait.
    let floor = looked.iter().filter_map(|it| Some(it.reached?.1)).max();
    let mut all: Vec<(usize, i64, Entry)> = Vec::new();
    let mut ends = [0; 2];
    for (table, it) in looked.into_iter().enumerate() {
        ends[table] = it.reached.map_or(0, |(number, _)| number);
        all.extend(it.found.into_iter().map(|(number, entry)| (table, number, entry)));
    }
    all.sort_by_key(|(_, _, entry)| std::cmp::Reverse((entry.time, entry.seq)));
    let within = all
        .iter()
        .take_while(|(.., entry)| floor.is_none_or(|floor| entry.time >= floor));
    let rest = all.split_off(within.count().min(limit));
    for (table, number, _) in &rest {
        ends[*table] = ends[*table].max(number + 1);
    }
    let next = Position {
        entry: ends[0],
        change: ends[1],
    };
    Ok(Page {
        entries: all.into_iter().map(|(.., entry)| entry).collect(),
        next: Some(next).filter(|next| next.entry > 0 || next.change > 0),
    })
}

/// A table in which entries rest.
struct Source {
    table: &'static str,
    /// The first numbers the rows, the second is the time.
    columns: &'static str,
    target: &'static str,
    condition: &'static str,
    entry: fn(&Row) -> Result<Entry, DbError>,
}

const ENTRIES: Source = Source {
    table: "audit_entries",
    columns: "id, time, actor, origin, action, target_kind, target_id, target_name, before, after",
    target: "target_id",
    condition: "1 = 1",
    entry: from_entry,
};

const CHANGES: Source = Source {
    table: "changes",
    columns: "seq, time, actor, origin, kind, subject_kind, subject_id, record, previous",
    target: "subject_id",
    condition: "kind NOT IN ('departure', 'arrival')",
    entry: from_change,
};

/// How far one look goes.
struct Reach {
    /// Portions that are read at most.
    portions: usize,
    /// Entries that are wanted at most.
    limit: usize,
}

/// What one look at a table found.
struct Looked {
    /// The entries with their numbers, newest first.
    found: Vec<(i64, Entry)>,
    /// The number and the time of the last row that was looked at; `None` if there is nothing more to look at.
    reached: Option<(i64, Millis)>,
}

/// Rows that one statement reads.
const PAGE: i64 = 500;
/// Ids that one statement names.
const MOST_TARGETS: usize = 500;

fn look(
    tx: &mut Tx<'_>,
    filter: &Filter,
    source: &Source,
    mut before: i64,
    reach: &Reach,
) -> Result<Looked, DbError> {
    let Source {
        table,
        columns,
        target,
        condition,
        entry,
    } = source;
    let number = columns.split(',').next().unwrap_or(columns);
    let targets = &filter.targets[..filter.targets.len().min(MOST_TARGETS)];
    let of_targets = if targets.is_empty() {
        String::new()
    } else {
        format!("AND {target} IN {}", placeholders(1, targets.len()))
    };
    let count = targets.len();
    let sql = format!(
        "SELECT {columns} FROM {table} WHERE {condition} {of_targets} AND {number} < ${}
         ORDER BY {number} DESC LIMIT ${}",
        count + 1,
        count + 2
    );
    let mut found = Vec::new();
    let mut reached = None;
    // Both tables are in the order of their times, or nearly: page by page backwards, until there are enough.
    for _ in 0..reach.portions {
        let mut values: Vec<Value<'_>> = targets.iter().map(|id| Value::from(id.as_str())).collect();
        values.extend([Value::from(before), Value::from(PAGE)]);
        let rows = tx.query(&sql, &values)?;
        for row in &rows {
            let entry = entry(row)?;
            before = row.get(0)?;
            reached = Some((before, entry.time));
            if filter.since.is_some_and(|since| entry.time < since) {
                return Ok(Looked { found, reached: None });
            }
            if filter.passes(&entry) {
                found.push((before, entry));
                if found.len() == reach.limit {
                    return Ok(Looked { found, reached });
                }
            }
        }
        if rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
            return Ok(Looked { found, reached: None });
        }
    }
    Ok(Looked { found, reached })
}

fn from_entry(row: &Row) -> Result<Entry, DbError> {
    let json = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
    Ok(Entry {
        time: row.get(1)?,
        actor: row.get(2)?,
        origin: row.get(3)?,
        action: row.get(4)?,
        target_kind: row.get(5)?,
        target_id: row.get(6)?,
        target_name: row.get(7)?,
        seq: None,
        before: json(row.get(8)?),
        after: json(row.get(9)?),
    })
}

fn from_change(row: &Row) -> Result<Entry, DbError> {
    let object = |text: &str| serde_json::from_str::<Map<String, Json>>(text).ok();
    let record = object(&row.get::<String>(7)?);
    let previous = row.get::<Option<String>>(8)?.as_deref().and_then(object);
    let action: String = row.get(4)?;
    let target_name = record.as_ref().and_then(name_in).unwrap_or_default().to_owned();
    let (before, after) = match (record, previous) {
        // Only what is different, on both sides.
        (Some(record), Some(previous)) => {
            let after = previous
                .keys()
                .map(|key| (key.clone(), record.get(key).cloned().unwrap_or(Json::Null)))
                .collect();
            (Some(Json::Object(previous)), Some(Json::Object(after)))
        }
        (Some(record), None) if action.ends_with(":delete") => (Some(Json::Object(record)), None),
        (record, _) => (None, record.map(Json::Object)),
    };
    Ok(Entry {
        time: row.get(1)?,
        actor: row.get(2)?,
        origin: row.get(3)?,
        action,
        target_kind: row.get(5)?,
        target_id: row.get(6)?,
        target_name,
        seq: Some(row.get(0)?),
        before,
        after,
    })
}

/// Stands where a secret stood.
const MASK: &str = "***";

/// The same value without secrets.
pub fn masked(value: &Json) -> Json {
    match value {
        Json::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    Json::String(_) | Json::Number(_) if is_secret(name) => Json::from(MASK),
                    Json::String(text) if name.to_lowercase().ends_with("url") => {
                        Json::from(without_query_values(text))
                    }
                    value => masked(value),
                };
                (name.clone(), value)
            })
            .collect(),
        Json::Array(values) => values.iter().map(masked).collect(),
        plain => plain.clone(),
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    ["password", "secret", "token", "privatekey", "encryptionkey"]
        .iter()
        .any(|word| name.contains(word))
}

fn without_query_values(address: &str) -> String {
    let Some((path, query)) = address.split_once('?') else {
        return address.to_owned();
    };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) => format!("{name}={MASK}"),
            None => MASK.to_owned(),
        })
        .collect();
    format!("{path}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let value = json!({
            "callback": {"url": "https://app.example/in?tenant=a&key=hush", "encryptionKey": "00ff"},
            "tokens": [{"accessToken": "hush"}], "passwordSynchronization": true, "name": "Wiki",
        });
        let shown = masked(&value);
        assert!(!shown.to_string().contains("hush") && !shown.to_string().contains("00ff"));
        assert_eq!(
            shown["callback"]["url"],
            "https://app.example/in?tenant=***&key=***"
        );
        assert_eq!(shown["passwordSynchronization"], true);
        assert_eq!(shown["name"], "Wiki");
    }
}
