//! Looking for attempts by other things than their number.
//!
//! There is no index for that: every request of every application would have to write it. Attempts are numbered in
//! about the order of their times, so what is looked for is looked for in ranges of numbers, from where it can
//! be. A hub may keep millions of them, so a question looks at so many at most, and whoever asks says if that was
//! not all. Where each range begins is found by bisection within the database, and all ranges of a question are read by
//! one statement.

use std::collections::HashMap;

use rollcall_db::{DbError, Row, Tx, Value, params};

use super::{COLUMNS, from_row};
use crate::change::Seq;
use crate::clock::Millis;
use crate::delivery::model::Attempt;

/// How many attempts a question looks at, of all applications together.
pub const LOOKED_AT: i64 = 200_000;

/// How many are looked at for one change at first.
const PORTION: i64 = 2_000;

/// How much more is looked at each time that something was not found, so that a few statements look at everything.
const GROWTH: i64 = 8;

/// For clocks of several nodes.
pub(super) const SKEW: Millis = 60_000;

/// A question, which may have several parts, and how much it may still look at.
#[derive(Debug)]
pub struct Search {
    left: i64,
    cut_short: bool,
}

impl Default for Search {
    fn default() -> Self {
        Self::of(LOOKED_AT)
    }
}

impl Search {
    /// One that looks at so many attempts at most.
    pub fn of(attempts: i64) -> Self {
        Self {
            left: attempts,
            cut_short: false,
        }
    }

    /// Whether there was more to look at.
    pub fn was_cut_short(&self) -> bool {
        self.cut_short
    }

    /// How many of so many attempts are looked at.
    pub(super) fn take(&mut self, there: i64) -> i64 {
        let taken = there.clamp(0, self.left);
        self.left -= taken;
        taken
    }

    /// Notes that there was more to look at.
    pub(super) fn cut(&mut self) {
        self.cut_short = true;
    }

    /// The ranges that are looked at of some, the last ones first.
    fn ranges(&mut self, mut wanted: Vec<(i64, i64)>) -> Ranges {
        wanted.sort_unstable();
        let mut ranges: Vec<(i64, i64)> = Vec::with_capacity(wanted.len());
        for (from, to) in wanted {
            match ranges.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(*end),
                _ => ranges.push((from, to)),
            }
        }
        ranges.reverse();
        for (from, to) in &mut ranges {
            let there = *to - *from;
            let looked = self.take(there);
            self.cut_short |= looked < there;
            *from = *to - looked;
        }
        ranges.retain(|(from, to)| from < to);
        Ranges(ranges)
    }
}

/// Ranges of numbers that do not overlap, the last ones first.
struct Ranges(Vec<(i64, i64)>);

impl Ranges {
    /// The attempts of an application in these ranges that meet a condition, by number; the condition has the
    /// parameters from `$2` on.
    fn read(
        &self,
        tx: &mut Tx<'_>,
        application_id: &str,
        condition: &str,
        values: Vec<Value<'_>>,
    ) -> Result<Vec<Row>, DbError> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let mut all = vec![Value::from(application_id)];
        all.extend(values);
        let within: Vec<String> = self
            .0
            .iter()
            .map(|(from, to)| {
                all.extend([Value::from(*from), Value::from(*to)]);
                format!("(id >= ${} AND id < ${})", all.len() - 1, all.len())
            })
            .collect();
        tx.query(
            &format!(
                "SELECT {COLUMNS} FROM attempts
                 WHERE application_id = $1 {condition} AND ({}) ORDER BY id",
                within.join(" OR ")
            ),
            &all,
        )
    }

    fn holds(&self, id: i64) -> bool {
        self.0.iter().any(|(from, to)| (*from..*to).contains(&id))
    }
}

/// A change whose attempts are looked for.
struct Wanted {
    seq: Seq,
    /// From which number on they are looked for next.
    from: i64,
    /// The number after the last one.
    end: i64,
    found: Vec<Attempt>,
    is_done: bool,
}

impl Wanted {
    /// Takes notice of an attempt: it may cover the change, or show that the position has passed it.
    fn look_at(&mut self, attempt: &Attempt) {
        match (attempt.from_seq, attempt.to_seq) {
            _ if self.is_done => {}
            (Some(first), Some(last)) if first <= self.seq && self.seq <= last => {
                self.found.push(attempt.clone())
            }
            (Some(first), _) if first > self.seq => self.is_done = !self.found.is_empty(),
            _ => {}
        }
    }
}

/// From one moment to another, both of them within.
pub type Span = (Millis, Millis);

/// Between which numbers the attempts stand that were begun in some spans of time.
pub struct Located(HashMap<Span, (i64, i64)>);

impl Located {
    /// Finds them, for all spans with one statement.
    ///
    /// # Errors
    /// What the database reports.
    pub fn find(tx: &mut Tx<'_>, spans: &[Span]) -> Result<Self, DbError> {
        if spans.is_empty() {
            return Ok(Self(HashMap::new()));
        }
        let widened = |(since, until): &Span| [since.saturating_sub(SKEW), until.saturating_add(SKEW)];
        let times: Vec<Millis> = spans.iter().flat_map(widened).collect();
        let (first, _) = first_since(tx, &times)?;
        let ranges = first.chunks_exact(2).map(|range| (range[0], range[1]));
        Ok(Self(spans.iter().copied().zip(ranges).collect()))
    }

    fn of(&self, span: Span) -> (i64, i64) {
        self.0.get(&span).copied().unwrap_or_default()
    }
}

/// The span in which the attempts were begun that cover a change which was made at a time.
pub fn since(time: Millis) -> Span {
    (time, Millis::MAX)
}

/// The attempts of an application that cover each of these positions of the log, oldest first, up to the first that
/// was received by each lane. Each change is named with the time at which it was made; the span [`since`] then has been
/// located.
///
/// # Errors
/// What the database reports.
pub fn covering(
    tx: &mut Tx<'_>,
    search: &mut Search,
    located: &Located,
    application_id: &str,
    changes: &[(Seq, Millis)],
) -> Result<HashMap<Seq, Vec<Attempt>>, DbError> {
    let mut wanted: Vec<Wanted> = changes
        .iter()
        .map(|(seq, time)| {
            let (from, end) = located.of(since(*time));
            Wanted {
                seq: *seq,
                from,
                end,
                found: Vec::new(),
                is_done: false,
            }
        })
        .collect();
    let mut portion = PORTION;
    loop {
        let of = |it: &Wanted| (it.from, it.end.min(it.from + portion));
        let open = wanted.iter().filter(|it| !it.is_done && it.from < it.end);
        let ranges = search.ranges(open.map(of).collect());
        if ranges.0.is_empty() {
            break;
        }
        for row in ranges.read(tx, application_id, "", Vec::new())? {
            let (id, attempt) = from_row(&row)?;
            let of_it = |it: &&mut Wanted| (it.from..it.from + portion).contains(&id);
            wanted
                .iter_mut()
                .filter(of_it)
                .for_each(|it| it.look_at(&attempt));
        }
        for it in &mut wanted {
            // What was not looked at is not looked at later either: the question has come to its end.
            it.is_done |= !ranges.holds(it.from);
            it.from += portion;
        }
        portion *= GROWTH;
    }
    Ok(wanted.into_iter().map(|it| (it.seq, it.found)).collect())
}

/// The requests that name a subject, oldest first, of these spans, which have been located: those that carried parked
/// events of it, and those of jobs of which the application did not simply take its event.
///
/// # Errors
/// What the database reports.
pub fn about(
    tx: &mut Tx<'_>,
    search: &mut Search,
    located: &Located,
    application_id: &str,
    subject_id: &str,
    spans: &[Span],
) -> Result<Vec<Attempt>, DbError> {
    let ranges = search.ranges(spans.iter().map(|span| located.of(*span)).collect());
    let rows = ranges.read(
        tx,
        application_id,
        "AND (source = 'parked' AND carried LIKE $2 OR source = 'job' AND exceptions LIKE $2)",
        vec![Value::from(format!("%{subject_id}%"))],
    )?;
    rows.iter().map(|row| Ok(from_row(row)?.1)).collect()
}

/// As [`newest`](super::newest), but only those that did not simply succeed.
///
/// # Errors
/// What the database reports.
pub fn newest_failed(
    tx: &mut Tx<'_>,
    search: &mut Search,
    application_id: &str,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, Attempt)>, DbError> {
    let (begin, end) = bounds(tx)?;
    let there = end - begin.max(after + 1);
    let looked = search.take(there);
    let found = tx
        .query(
            &format!(
                "SELECT {COLUMNS} FROM attempts
                 WHERE application_id = $1 AND id >= $2 AND id < $3
                       AND (outcome <> 'delivered' OR exceptions IS NOT NULL)
                 ORDER BY id DESC LIMIT $4"
            ),
            params![
                application_id,
                end - looked,
                end,
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
        )?
        .iter()
        .map(from_row)
        .collect::<Result<Vec<_>, _>>()?;
    if found.len() < limit && looked < there {
        search.cut();
    }
    Ok(found)
}

/// The numbers of the first attempt that is kept, and that after the last one.
pub(super) fn bounds(tx: &mut Tx<'_>) -> Result<(i64, i64), DbError> {
    let row = tx.query_one(
        "SELECT (SELECT COALESCE(MIN(id), 1) FROM attempts), (SELECT COALESCE(MAX(id), 0) + 1 FROM attempts)",
        params![],
    )?;
    Ok((row.get(0)?, row.get(1)?))
}

/// The numbers of the first attempts that were begun at each of these times or later, and the number after that of the
/// last attempt of all.
pub(super) fn first_since(tx: &mut Tx<'_>, times: &[Millis]) -> Result<(Vec<i64>, i64), DbError> {
    let listed: Vec<String> = (1..=times.len())
        .map(|number| format!("(CAST(${number} AS BIGINT))"))
        .collect();
    // The attempt in the middle of what is left, and whether it was begun too early.
    let middle = "(b.low + (b.high - b.low) / 2)";
    let is_early = format!(
        "COALESCE((SELECT a.started_at FROM attempts a WHERE a.id >= {middle} ORDER BY a.id LIMIT 1) < b.since, FALSE)"
    );
    let sql = format!(
        "WITH RECURSIVE wanted (since) AS (VALUES {}),
         bounds (lowest, beyond) AS (
             SELECT (SELECT COALESCE(MIN(id), 1) FROM attempts), (SELECT COALESCE(MAX(id), 0) + 1 FROM attempts)),
         bisected (since, low, high) AS (
             SELECT since, lowest, beyond FROM wanted CROSS JOIN bounds
             UNION
             SELECT b.since, CASE WHEN {is_early} THEN {middle} + 1 ELSE b.low END,
                    CASE WHEN {is_early} THEN b.high ELSE {middle} END
             FROM bisected b WHERE b.low < b.high)
         SELECT since, low, beyond FROM bisected CROSS JOIN bounds WHERE low >= high",
        listed.join(", ")
    );
    let values: Vec<Value<'_>> = times.iter().map(|time| Value::from(*time)).collect();
    let mut found = HashMap::with_capacity(times.len());
    let mut end = 1;
    for row in tx.query(&sql, &values)? {
        found.insert(row.get::<Millis>(0)?, row.get::<i64>(1)?);
        end = row.get(2)?;
    }
    let first = times.iter().map(|time| found.get(time).copied().unwrap_or(end));
    Ok((first.collect(), end))
}
