//! The change log: every change of the directory, in the order in which it was committed.
//!
//! The log is append-only. Its sequence is gapless and in commit order, because the transactions that append
//! to it are serial, also those of several processes (`rollcall_db::Lane::Log`), and each counts on from the
//! one row of `change_head`. A database sequence would not do: two transactions could commit in the other
//! order than they drew their numbers, and a reader that had passed the later one would skip the earlier for
//! ever. What all closures of one commit append is gathered in memory and written with few statements.
//!
//! A change is self-contained. It carries the full record of its subject as it goes on the wire, what
//! the subject was before, and where the subject stood before and after, so that delivering it needs
//! no look-up of the present directory. That is also what makes it possible to judge, long afterwards,
//! whether an application was entitled to it.
//!
//! Two kinds of change carry no event of their own: [`ChangeKind::Departure`] and
//! [`ChangeKind::Arrival`]. Where moving one subject changes the placement of others (a unit with all
//! that is below it, or a member of a group), each of those gets them. An application whose scope a
//! subject leaves learns of it from the departure, one whose scope it enters from the arrival.
//! They are two, and all departures (deepest first) stand before all arrivals (parents first), since
//! one linear log must serve applications that lose the subtree as well as those that gain it.
//!
//! Times never run backwards along the log, even if the machine's clock does: receivers compare event
//! times to recognise what is stale.

mod erased;
mod since;
mod withheld;

use std::sync::Arc;

use rollcall_db::{DbError, Gathered, Row, Tx, Value, params};
use rollcall_protocol::{EventType, Random, SubjectKind};
use serde_json::{Map, Value as Json};

use crate::access::Caller;
use crate::clock::Millis;
use crate::id;
pub use crate::placement::Placement;
pub use erased::{erase_records, erase_secrets, has_record, has_secrets};
pub use since::{News, since};
pub use withheld::{concerns, withhold};

/// A position in the log. Zero is before the first change.
pub type Seq = i64;

/// What happened to the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// Something that has an event type of its own (wire contract, section 5).
    Event(EventType),
    /// The subject's placement changes with somebody else's; deliver only to whom it leaves.
    Departure,
    /// The subject's placement changed with somebody else's; deliver only to whom it enters.
    Arrival,
}

impl ChangeKind {
    /// The name under which the kind is stored: the event type without its prefix, or a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event(event) => event.short(),
            Self::Departure => "departure",
            Self::Arrival => "arrival",
        }
    }

    /// Reads what [`ChangeKind::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "departure" => Some(Self::Departure),
            "arrival" => Some(Self::Arrival),
            other => EventType::parse(other).map(Self::Event),
        }
    }
}

/// A change that is about to be appended.
#[derive(Clone, Debug)]
pub struct NewChange {
    /// What happens.
    pub kind: ChangeKind,
    /// Whether the subject is a user, a unit or a group.
    pub subject_kind: SubjectKind,
    /// The subject's id.
    pub subject_id: String,
    /// The subject's full record as it goes on the wire (`bizData`): JSON text of an object.
    pub record: String,
    /// The fields that are different now, with the values they had: JSON text of an object.
    pub previous: Option<String>,
    /// Where the subject stood; `None` if it did not exist.
    pub before: Option<Arc<Placement>>,
    /// Where the subject stands; `None` if it exists no more.
    pub after: Option<Arc<Placement>>,
    /// A password to be synchronized, sealed under the master key.
    pub secret: Option<Vec<u8>>,
}

/// A change in the log.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its position.
    pub seq: Seq,
    /// The id that its event bears in every application, at every try.
    pub event_id: String,
    /// What happened.
    pub kind: ChangeKind,
    /// Whether the subject is a user, a unit or a group.
    pub subject_kind: SubjectKind,
    /// The subject's id.
    pub subject_id: String,
    /// When; never less than the time of the change before.
    pub time: Millis,
    /// Who did it: the text of a [`crate::access::Principal`], such as `import:people.csv`.
    pub actor: String,
    /// The full record as it goes on the wire; empty once the subject was erased.
    pub record: String,
    /// The fields that changed, with their earlier values.
    pub previous: Option<String>,
    /// Where the subject stood; `None` if it did not exist.
    pub before: Option<Arc<Placement>>,
    /// Where the subject stands; `None` if it exists no more.
    pub after: Option<Arc<Placement>>,
    /// A sealed password, until it is erased.
    pub secret: Option<Vec<u8>>,
    /// The application that wrote it and is not told of it again ([`withhold`]).
    pub withheld_from: Option<String>,
}

impl Change {
    /// Whether the subject was erased, and with it the record.
    pub fn is_erased(&self) -> bool {
        self.record.is_empty()
    }

    /// Whether an organizational unit got another name.
    pub fn renames_unit(&self) -> bool {
        let had_another = |previous: &str| {
            let fields = serde_json::from_str::<Map<String, Json>>(previous);
            fields.is_ok_and(|fields| fields.contains_key("organizationalUnitName"))
        };
        let previous = self.previous.as_deref();
        self.kind == ChangeKind::Event(EventType::UnitUpdate) && previous.is_some_and(had_another)
    }
}

/// The log's end: the last position and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The last position; zero while the log is empty.
    pub seq: Seq,
    /// The time of the last change.
    pub time: Millis,
}

/// Columns of a change.
const WIDTH: usize = 13;

/// Rows that one INSERT takes at most: their parameters stay far below what either database allows. An INSERT
/// takes a power of two of them, so that there are few texts of statements to be prepared.
const ROWS_PER_INSERT: usize = 64;

/// Stands in `placed_before` where the placement did not change.
const UNCHANGED: &str = "=";

/// What the closures of one commit append to the log: the head, read once, and the rows, written with it before
/// the commit, or before a statement that looks at the log.
#[derive(Default)]
struct Tail {
    head: Option<Head>,
    /// [`WIDTH`] values for each change.
    values: Vec<Value<'static>>,
}

impl Gathered for Tail {
    fn concerns(&self, sql: &str) -> bool {
        // `changes` and `change_head`.
        sql.contains("change")
    }

    fn write(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let Some(head) = self.head else { return Ok(()) };
        tx.execute_later(
            "UPDATE change_head SET seq = $1, time = $2 WHERE id = 1",
            params![head.seq, head.time],
        )?;
        let mut values = self.values.as_slice();
        while !values.is_empty() {
            let left = values.len() / WIDTH;
            let rows = ROWS_PER_INSERT.min(1 << left.ilog2());
            let (now, later) = values.split_at(rows * WIDTH);
            let sql = format!(
                "INSERT INTO changes (seq, event_id, kind, subject_kind, subject_id, time, actor, record,
                                      previous, placed_before, placed_after, secret, origin) VALUES {}",
                placeholders(rows, WIDTH)
            );
            tx.execute_later(&sql, now)?;
            values = later;
        }
        Ok(())
    }
}

/// Appends changes, in their order, and wakes whoever waits for the log once they are committed.
///
/// Returns the head after the last of them.
///
/// # Errors
/// What the database reports.
pub fn append(
    tx: &mut Tx<'_>,
    now: Millis,
    caller: &Caller,
    random: &dyn Random,
    changes: &[NewChange],
) -> Result<Head, DbError> {
    let before = head(tx)?;
    if changes.is_empty() {
        return Ok(before);
    }
    let mut head = Head {
        seq: before.seq,
        time: before.time.max(now),
    };
    let (actor, origin) = (caller.principal.to_string(), caller.origin.text());
    let tail: &mut Tail = tx.gather()?;
    for change in changes {
        head.seq += 1;
        let after = change.after.as_deref().map(to_json);
        let before = match (&change.before, &change.after) {
            (Some(before), Some(after)) if before == after => Some(UNCHANGED.to_owned()),
            (before, _) => before.as_deref().map(to_json),
        };
        tail.values.extend([
            Value::from(head.seq),
            Value::from(id::make("evnt", head.time, random)),
            Value::from(change.kind.as_str()),
            Value::from(change.subject_kind.as_str()),
            Value::from(change.subject_id.clone()),
            Value::from(head.time),
            Value::from(actor.clone()),
            Value::from(change.record.clone()),
            Value::from(change.previous.clone()),
            Value::from(before),
            Value::from(after),
            Value::from(change.secret.clone()),
            Value::from(origin.clone()),
        ]);
    }
    tail.head = Some(head);
    tx.announce();
    Ok(head)
}

/// The name of a subject in its record, or in a part of one.
pub fn name_in(record: &Map<String, Json>) -> Option<&str> {
    ["username", "organizationalUnitName", "groupName"]
        .iter()
        .find_map(|name| record.get(*name).and_then(Json::as_str))
}

/// Columns, each with the name of its table before it.
pub fn columns_of(table: &str, columns: &str) -> String {
    let columns = columns
        .split(',')
        .map(|column| format!("{table}.{}", column.trim()));
    columns.collect::<Vec<_>>().join(", ")
}

/// Spells a list of parameters from one of them on: `($3, $4)` for two of them from the third.
pub fn listed(first: usize, count: usize) -> String {
    let numbers: Vec<String> = (first..first + count)
        .map(|number| format!("${number}"))
        .collect();
    format!("({})", numbers.join(", "))
}

/// Spells the VALUES of a multi-row statement: `($1, $2), ($3, $4)` for two rows of two columns.
pub fn placeholders(rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 5);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            if column > 0 {
                text.push(',');
            }
            text.push('$');
            text.push_str(&(row * columns + column + 1).to_string());
        }
        text.push(')');
    }
    text
}

/// The log's end.
///
/// # Errors
/// What the database reports.
pub fn head(tx: &mut Tx<'_>) -> Result<Head, DbError> {
    if let Some(head) = tx.gathered::<Tail>().and_then(|tail| tail.head) {
        return Ok(head);
    }
    let row = tx.query_one("SELECT seq, time FROM change_head WHERE id = 1", params![])?;
    Ok(Head {
        seq: row.get(0)?,
        time: row.get(1)?,
    })
}

/// Sees to it that whatever is appended from now on is later than `time`, and than all that the log holds.
///
/// # Errors
/// What the database reports.
pub fn advance(tx: &mut Tx<'_>, time: Millis) -> Result<(), DbError> {
    let later = head(tx)?.time.max(time).saturating_add(1);
    tx.execute("UPDATE change_head SET time = $1 WHERE id = 1", params![later])?;
    Ok(())
}

/// The columns of a change, for statements that read something beside it: `seq` is the first one.
pub(crate) const COLUMNS: &str = "seq, event_id, kind, subject_kind, subject_id, time, actor, record, previous, \
                       placed_before, placed_after, secret, withheld_from";

/// How many columns those are.
pub(crate) const COLUMN_COUNT: usize = 13;

/// Reads up to `limit` changes that stand after a position, in order.
///
/// # Errors
/// What the database reports.
pub fn read_after(tx: &mut Tx<'_>, after: Seq, limit: usize) -> Result<Vec<Change>, DbError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    tx.query(
        &format!("SELECT {COLUMNS} FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2"),
        params![after, limit],
    )?
    .iter()
    .map(from_row)
    .collect()
}

/// Which changes are read, and in which order.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Only those after this position.
    pub after: Seq,
    /// Only those before this position.
    pub before: Seq,
    /// Only those of the subject with this id.
    pub subject: Option<String>,
    /// The newest first.
    pub newest_first: bool,
}

/// Reads up to `limit` of the changes that are wanted.
///
/// # Errors
/// What the database reports.
pub fn page(tx: &mut Tx<'_>, wanted: &Wanted, limit: usize) -> Result<Vec<Change>, DbError> {
    let order = if wanted.newest_first { "DESC" } else { "ASC" };
    let mut values = vec![
        Value::from(wanted.after),
        Value::from(wanted.before),
        Value::from(i64::try_from(limit).unwrap_or(i64::MAX)),
    ];
    let mut of_subject = "";
    if let Some(subject) = &wanted.subject {
        of_subject = "AND subject_id = $4";
        values.push(Value::from(subject.as_str()));
    }
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM changes WHERE seq > $1 AND seq < $2 {of_subject} ORDER BY seq {order} LIMIT $3"
        ),
        &values,
    )?
    .iter()
    .map(from_row)
    .collect()
}

/// Reads up to `limit` of what an actor did between two positions, the newest first; not what happened to others through
/// it.
///
/// # Errors
/// What the database reports.
pub fn of_actor(
    tx: &mut Tx<'_>,
    actor: &str,
    (after, before): (Seq, Seq),
    limit: usize,
) -> Result<Vec<Change>, DbError> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM changes
             WHERE seq > $1 AND seq < $2 AND actor = $3 AND kind NOT IN ('departure', 'arrival')
             ORDER BY seq DESC LIMIT $4"
        ),
        params![after, before, actor, i64::try_from(limit).unwrap_or(i64::MAX)],
    )?
    .iter()
    .map(from_row)
    .collect()
}

/// Reads the changes that stand after a position and not after another one, in order.
///
/// # Errors
/// What the database reports.
pub fn read_between(tx: &mut Tx<'_>, after: Seq, to: Seq) -> Result<Vec<Change>, DbError> {
    tx.query(
        &format!("SELECT {COLUMNS} FROM changes WHERE seq > $1 AND seq <= $2 ORDER BY seq"),
        params![after, to],
    )?
    .iter()
    .map(from_row)
    .collect()
}

/// Reads one change.
///
/// # Errors
/// What the database reports.
pub fn read(tx: &mut Tx<'_>, seq: Seq) -> Result<Option<Change>, DbError> {
    tx.query_opt(
        &format!("SELECT {COLUMNS} FROM changes WHERE seq = $1"),
        params![seq],
    )?
    .as_ref()
    .map(from_row)
    .transpose()
}

/// Of which kind a subject is, if the log knows it.
///
/// # Errors
/// What the database reports.
pub fn kind_of(tx: &mut Tx<'_>, subject_id: &str) -> Result<Option<SubjectKind>, DbError> {
    let row = tx.query_opt(
        "SELECT subject_kind FROM changes WHERE subject_id = $1 LIMIT 1",
        params![subject_id],
    )?;
    let Some(row) = row else { return Ok(None) };
    let kind: String = row.get(0)?;
    SubjectKind::parse(&kind)
        .map(Some)
        .ok_or_else(|| corrupt("subject kind", &kind))
}

/// Reads the changes of one subject, oldest first.
///
/// # Errors
/// What the database reports.
pub fn of_subject(tx: &mut Tx<'_>, subject_id: &str) -> Result<Vec<Change>, DbError> {
    tx.query(
        &format!("SELECT {COLUMNS} FROM changes WHERE subject_id = $1 ORDER BY seq"),
        params![subject_id],
    )?
    .iter()
    .map(from_row)
    .collect()
}

/// Reads so many of the changes of one subject, newest first.
///
/// # Errors
/// What the database reports.
pub fn newest_of_subject(tx: &mut Tx<'_>, subject_id: &str, limit: usize) -> Result<Vec<Change>, DbError> {
    tx.query(
        &format!("SELECT {COLUMNS} FROM changes WHERE subject_id = $1 ORDER BY seq DESC LIMIT $2"),
        params![subject_id, i64::try_from(limit).unwrap_or(i64::MAX)],
    )?
    .iter()
    .map(from_row)
    .collect()
}

/// The last name that the log knows of a subject.
///
/// # Errors
/// What the database reports.
pub fn last_name(tx: &mut Tx<'_>, subject_id: &str) -> Result<Option<String>, DbError> {
    let row = tx.query_opt(
        "SELECT record FROM changes WHERE subject_id = $1 AND record <> '' ORDER BY seq DESC LIMIT 1",
        params![subject_id],
    )?;
    let Some(row) = row else { return Ok(None) };
    let record: Map<String, Json> = serde_json::from_str(&row.get::<String>(0)?).unwrap_or_default();
    Ok(name_in(&record).map(str::to_owned))
}

/// The time of the first change after a position.
///
/// # Errors
/// What the database reports.
pub fn time_after(tx: &mut Tx<'_>, position: Seq) -> Result<Option<Millis>, DbError> {
    tx.query_opt(
        "SELECT time FROM changes WHERE seq > $1 ORDER BY seq LIMIT 1",
        params![position],
    )?
    .map(|row| row.get(0))
    .transpose()
}

/// The oldest position that the log still holds; `None` if it holds none.
///
/// # Errors
/// What the database reports.
pub fn oldest(tx: &mut Tx<'_>) -> Result<Option<Seq>, DbError> {
    tx.query_one("SELECT MIN(seq) FROM changes", params![])?.get(0)
}

/// Reads a change from its columns, which come first.
///
/// # Errors
/// What the database reports, or if there is something else in it.
pub(crate) fn from_row(row: &Row) -> Result<Change, DbError> {
    let kind: String = row.get(2)?;
    let subject_kind: String = row.get(3)?;
    let before: Option<String> = row.get(9)?;
    let after = row
        .get::<Option<String>>(10)?
        .as_deref()
        .map(from_json)
        .transpose()?;
    let before = match before.as_deref() {
        Some(UNCHANGED) => after.clone(),
        Some(text) => Some(from_json(text)?),
        None => None,
    };
    Ok(Change {
        seq: row.get(0)?,
        event_id: row.get(1)?,
        kind: ChangeKind::parse(&kind).ok_or_else(|| corrupt("kind", &kind))?,
        subject_kind: SubjectKind::parse(&subject_kind)
            .ok_or_else(|| corrupt("subject kind", &subject_kind))?,
        subject_id: row.get(4)?,
        time: row.get(5)?,
        actor: row.get(6)?,
        record: row.get(7)?,
        previous: row.get(8)?,
        before,
        after,
        secret: row.get(11)?,
        withheld_from: row.get(12)?,
    })
}

fn to_json(placement: &Placement) -> String {
    // Two lists of strings always serialize.
    serde_json::to_string(placement).unwrap_or_default()
}

fn from_json(text: &str) -> Result<Arc<Placement>, DbError> {
    serde_json::from_str(text)
        .map(Arc::new)
        .map_err(|_| corrupt("placement", text))
}

fn corrupt(what: &str, text: &str) -> DbError {
    DbError::Other(format!("the change log holds an unreadable {what}: {text:?}"))
}
