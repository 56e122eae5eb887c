//! By which requests many applications got what they were told of a subject.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rollcall_db::{DbError, Tx, Value};

use super::search::{SKEW, first_since};
use super::{COLUMN_COUNT, COLUMNS, from_row};
use crate::change::{Seq, listed};
use crate::clock::Millis;
use crate::delivery::model::{Attempt, Source};

/// How many attempts are looked at, of all applications together.
const LOOKED_AT: i64 = 20_000;

/// How many are looked at for one change at first.
const PORTION: i64 = 1_000;

/// How much more is looked at each time that something was not found, so that there are few statements.
const GROWTH: i64 = 8;

/// A change that some applications got.
struct Wanted<'a> {
    seq: Seq,
    /// The number from which on its requests are looked for at first.
    begins: i64,
    /// The number from which on they are looked for next.
    from: i64,
    /// Those of which it is not known yet how they got it.
    applications: BTreeSet<&'a str>,
}

/// The first requests that cover some changes.
#[derive(Debug, Default)]
pub struct Firsts {
    /// The requests with their numbers, by application and change.
    found: HashMap<(String, Seq), (i64, Attempt)>,
    /// Those of which no such request was found, with the number from which on it was looked for.
    unfound: BTreeMap<String, i64>,
    /// The number behind the last attempt that there was.
    end: i64,
}

impl Firsts {
    /// The request by which an application got a change.
    pub fn of(&self, application: &str, seq: Seq) -> Option<&Attempt> {
        let found = self.found.get(&(application.to_owned(), seq));
        found.map(|(_, attempt)| attempt)
    }

    /// The requests after these that carried parked events, oldest first, each with its application: of the requests
    /// that `is_open` wants to know more of, and of applications of which none was found, since an event whose requests
    /// all failed is parked too. One statement at most, and so many attempts are looked at as for [`first_of_each`].
    ///
    /// # Errors
    /// What the database reports.
    pub fn parked_after(
        &self,
        tx: &mut Tx<'_>,
        is_open: impl Fn(Seq, &Attempt) -> bool,
    ) -> Result<ParkedAfter, DbError> {
        let mut applications: BTreeSet<&str> = self.unfound.keys().map(String::as_str).collect();
        let mut after = self
            .unfound
            .values()
            .fold(self.end, |after, from| after.min(from - 1));
        for ((application, seq), (number, attempt)) in &self.found {
            if is_open(*seq, attempt) {
                applications.insert(application);
                after = after.min(*number);
            }
        }
        if applications.is_empty() {
            return Ok(ParkedAfter::default());
        }
        let end = self.end.min(after + LOOKED_AT);
        let sql = format!(
            "SELECT {COLUMNS}, application_id FROM attempts
             WHERE id > $1 AND id < $2 AND source = $3 AND application_id IN {} ORDER BY id",
            listed(4, applications.len())
        );
        let mut values: Vec<Value<'_>> = vec![after.into(), end.into(), Source::Parked.as_str().into()];
        values.extend(applications.into_iter().map(Value::from));
        let rows = tx.query(&sql, &values)?;
        let requests = rows
            .iter()
            .map(|row| Ok((row.get(COLUMN_COUNT)?, from_row(row)?.1)));
        Ok(ParkedAfter {
            requests: requests.collect::<Result<_, DbError>>()?,
            is_cut: end < self.end,
        })
    }
}

/// Requests that carried parked events.
#[derive(Debug, Default)]
pub struct ParkedAfter {
    /// The requests with their applications, oldest first.
    pub requests: Vec<(String, Attempt)>,
    /// Whether there are attempts that were not looked at.
    pub is_cut: bool,
}

/// The first requests that cover a change and are of the right kind. Each application is named with the position of a
/// change, and with the time at which that was made. There are as many statements for many applications and changes as
/// for one. What was not found among the attempts that are looked at, or is not kept any more, is left out.
///
/// # Errors
/// What the database reports.
pub fn first_of_each(
    tx: &mut Tx<'_>,
    told: &[(&str, Seq, Millis)],
    is_right: impl Fn(Seq, &Attempt) -> bool,
) -> Result<Firsts, DbError> {
    if told.is_empty() {
        return Ok(Firsts::default());
    }
    let mut found = HashMap::new();
    let mut changes: BTreeMap<(Seq, Millis), BTreeSet<&str>> = BTreeMap::new();
    for (application, seq, time) in told {
        changes.entry((*seq, *time)).or_default().insert(application);
    }
    // The newest come first: what is found of them is near.
    let times: Vec<Millis> = changes.keys().rev().map(|(_, time)| time - SKEW).collect();
    let (first, end) = first_since(tx, &times)?;
    let mut wanted: Vec<Wanted<'_>> = changes
        .into_iter()
        .rev()
        .zip(first)
        .map(|(((seq, _), applications), from)| Wanted {
            seq,
            begins: from,
            from,
            applications,
        })
        .collect();
    let (mut left, mut portion) = (LOOKED_AT, PORTION);
    loop {
        let (sql, values) = statement(&mut wanted, end, portion, &mut left);
        if values.is_empty() {
            let mut unfound = BTreeMap::new();
            for change in &wanted {
                for application in &change.applications {
                    let begins = unfound.entry((*application).to_owned()).or_insert(change.begins);
                    *begins = change.begins.min(*begins);
                }
            }
            return Ok(Firsts { found, unfound, end });
        }
        for row in tx.query(&sql, &values)? {
            let (number, attempt) = from_row(&row)?;
            let application: String = row.get(COLUMN_COUNT)?;
            for change in &mut wanted {
                let seq = Some(change.seq);
                let covers = attempt.from_seq <= seq && seq <= attempt.to_seq;
                if covers
                    && is_right(change.seq, &attempt)
                    && change.applications.remove(application.as_str())
                {
                    found.insert((application.clone(), change.seq), (number, attempt.clone()));
                }
            }
        }
        portion *= GROWTH;
    }
}

/// Looks further for all that was not found yet; without values if there is nothing to look at any more.
fn statement(
    wanted: &mut [Wanted<'_>],
    end: i64,
    portion: i64,
    left: &mut i64,
) -> (String, Vec<Value<'static>>) {
    let mut values: Vec<Value<'static>> = Vec::new();
    let mut number = |value: Value<'static>| {
        values.push(value);
        format!("${}", values.len())
    };
    let mut ranges = Vec::new();
    for change in wanted.iter_mut().filter(|it| !it.applications.is_empty()) {
        let looked = (end - change.from).min(portion).min(*left);
        if looked <= 0 {
            continue;
        }
        *left -= looked;
        let to = change.from + looked;
        let (from, to) = (number(change.from.into()), number(to.into()));
        let seq = number(change.seq.into());
        let ids = change.applications.iter();
        let ids: Vec<String> = ids.map(|id| number((*id).to_owned().into())).collect();
        ranges.push(format!(
            "(id >= {from} AND id < {to} AND from_seq <= {seq} AND to_seq >= {seq} AND application_id IN ({}))",
            ids.join(", ")
        ));
        change.from += looked;
    }
    let sql = format!(
        "SELECT {COLUMNS}, application_id FROM attempts WHERE {} ORDER BY id",
        ranges.join(" OR ")
    );
    (sql, values)
}
