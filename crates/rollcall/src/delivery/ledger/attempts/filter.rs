//! Attempts by what came of them, when, and whom or what they carried: page by page, newest first.

use rollcall_db::{DbError, Tx, Value, params};

use super::search::{Search, begin, end, first_since};
use super::{COLUMNS, from_row};
use crate::clock::Millis;
use crate::delivery::model::Attempt;

/// What came of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Anything.
    #[default]
    Any,
    /// The application took all of it.
    Accepted,
    /// It failed, or the application did not simply take all of it.
    Troubled,
    /// This outcome, such as `timed_out`.
    Code(String),
}

/// Which attempts are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// By what came of them.
    pub outcome: Outcome,
    /// Only those that carried, or covered, an event of this short type, such as `ud:user:create`.
    pub event_type: Option<String>,
    /// Only those that carried, or covered, an event of the subject with this id.
    pub subject: Option<String>,
    /// Only those that began at this time or later.
    pub since: Option<Millis>,
    /// Only those that began before this time.
    pub until: Option<Millis>,
}

/// A page of attempts.
#[derive(Debug)]
pub struct Page {
    /// Each with its number, newest first.
    pub found: Vec<(i64, Attempt)>,
    /// The number before which the next page begins; `None` if there is nothing more.
    pub before: Option<i64>,
}

/// Attempts of an application before a number that pass a filter, newest first.
///
/// # Errors
/// What the database reports.
pub fn page(
    tx: &mut Tx<'_>,
    search: &mut Search,
    application_id: &str,
    filter: &Filter,
    before: Option<i64>,
    limit: usize,
) -> Result<Page, DbError> {
    let begin = match filter.since {
        Some(since) => first_since(tx, since)?,
        None => begin(tx)?,
    };
    let mut to = match filter.until {
        Some(until) => first_since(tx, until)?,
        None => end(tx)?,
    };
    to = to.min(before.unwrap_or(i64::MAX));
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(portion) = search.next(to - begin)
    {
        let (sql, values) = statement(application_id, filter, (to - portion, to), limit - found.len());
        for row in &tx.query(&sql, &values)? {
            found.push(from_row(row)?);
        }
        to -= portion;
    }
    let last = found.last().map(|(number, _)| *number);
    let next = if found.len() == limit { last } else { Some(to) };
    Ok(Page {
        found,
        before: next.filter(|next| *next > begin),
    })
}

fn statement<'a>(
    application_id: &'a str,
    filter: &'a Filter,
    (from, to): (i64, i64),
    limit: usize,
) -> (String, Vec<Value<'a>>) {
    let mut values = vec![
        Value::from(application_id),
        Value::from(from),
        Value::from(to),
        Value::from(i64::try_from(limit).unwrap_or(i64::MAX)),
    ];
    let mut conditions = String::new();
    let mut with = |condition: &str, value: Value<'a>| {
        values.push(value);
        conditions.push_str(" AND ");
        conditions.push_str(&condition.replace('?', &format!("${}", values.len())));
    };
    match &filter.outcome {
        Outcome::Any => {}
        Outcome::Accepted => with("outcome = ? AND exceptions IS NULL", Value::from("delivered")),
        Outcome::Troubled => with(
            "(outcome <> ? OR exceptions IS NOT NULL)",
            Value::from("delivered"),
        ),
        Outcome::Code(code) => with("outcome = ?", Value::from(code.as_str())),
    }
    // What a request carried from the log stands in the log; of everything else, what was not simply accepted is
    // named by the attempt.
    if let Some(kind) = &filter.event_type {
        with(
            "(exceptions LIKE '%\"' || ? || '\"%' OR carried LIKE '%\"' || ? || '\"%' OR EXISTS
                 (SELECT 1 FROM changes c WHERE c.seq BETWEEN from_seq AND to_seq AND c.kind = ?))",
            Value::from(kind.as_str()),
        );
    }
    if let Some(subject) = &filter.subject {
        with(
            "(exceptions LIKE '%\"' || ? || '\"%' OR carried LIKE '%\"' || ? || '\"%' OR EXISTS
                 (SELECT 1 FROM changes c WHERE c.subject_id = ? AND c.seq BETWEEN from_seq AND to_seq))",
            Value::from(subject.as_str()),
        );
    }
    if let Some(since) = filter.since {
        with("started_at >= ?", Value::from(since));
    }
    if let Some(until) = filter.until {
        with("started_at < ?", Value::from(until));
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM attempts
         WHERE application_id = $1 AND id >= $2 AND id < $3 {conditions}
         ORDER BY id DESC LIMIT $4"
    );
    (sql, values)
}

/// One attempt of an application, by its number.
///
/// # Errors
/// What the database reports.
pub fn load(tx: &mut Tx<'_>, application_id: &str, number: i64) -> Result<Option<Attempt>, DbError> {
    let row = tx.query_opt(
        &format!("SELECT {COLUMNS} FROM attempts WHERE id = $1 AND application_id = $2"),
        params![number, application_id],
    )?;
    Ok(row
        .as_ref()
        .map(from_row)
        .transpose()?
        .map(|(_, attempt)| attempt))
}
