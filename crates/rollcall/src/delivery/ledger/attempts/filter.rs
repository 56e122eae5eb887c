//! Attempts by what came of them, when, and whom or what they carried: page by page, newest first.

use rollcall_db::{DbError, Tx, Value, params};

use super::search::{Search, first_since};
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

impl Filter {
    fn is_nothing(&self) -> bool {
        let Self {
            outcome,
            event_type,
            subject,
            since,
            until,
        } = self;
        *outcome == Outcome::Any
            && event_type.is_none()
            && subject.is_none()
            && since.is_none()
            && until.is_none()
    }
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
    if filter.is_nothing() {
        return unfiltered(tx, application_id, before, limit);
    }
    let times = [
        filter.since.unwrap_or(Millis::MIN),
        filter.until.unwrap_or(Millis::MAX),
    ];
    let (first, end) = first_since(tx, &times)?;
    let (begin, to) = (first[0], first[1].min(before.unwrap_or(end)));
    let looked = search.take(to - begin);
    let from = to - looked;
    let (sql, values) = statement(application_id, filter, (from, to), limit);
    let found = tx
        .query(&sql, &values)?
        .iter()
        .map(from_row)
        .collect::<Result<Vec<_>, _>>()?;
    let last = found.last().map(|(number, _)| *number);
    let next = if found.len() == limit { last } else { Some(from) };
    if found.len() < limit && from > begin {
        search.cut();
    }
    Ok(Page {
        found,
        before: next.filter(|next| *next > begin),
    })
}

/// All attempts of an application before a number, along their chain: however many others have, no more are read than
/// the page has.
fn unfiltered(
    tx: &mut Tx<'_>,
    application_id: &str,
    before: Option<i64>,
    limit: usize,
) -> Result<Page, DbError> {
    let (begin, mut values) = match before {
        None => (
            "SELECT last_attempt AS id FROM deliveries WHERE application_id = $1",
            vec![Value::from(application_id)],
        ),
        Some(before) => (
            "SELECT previous AS id FROM attempts WHERE application_id = $1 AND id = $2",
            vec![Value::from(application_id), Value::from(before)],
        ),
    };
    values.push(Value::from(
        i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
    ));
    let mut found = tx
        .query(
            &format!(
                "WITH RECURSIVE chain (id, place) AS (
                     SELECT id, CAST(1 AS BIGINT) FROM ({begin}) AS newest WHERE id IS NOT NULL
                     UNION ALL
                     SELECT a.previous, place + 1 FROM chain JOIN attempts a ON a.id = chain.id
                     WHERE a.previous IS NOT NULL AND place < ${})
                 SELECT {COLUMNS} FROM attempts WHERE id IN (SELECT id FROM chain) ORDER BY id DESC",
                values.len()
            ),
            &values,
        )?
        .iter()
        .map(from_row)
        .collect::<Result<Vec<_>, _>>()?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().map(|(number, _)| *number);
    Ok(Page {
        before: last.filter(|_| has_more),
        found,
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
