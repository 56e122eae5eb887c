//! Where a page of a list begins and how long the list is, without counting through it.
//!
//! A database finds the user after an id at once, but the hundred-thousandth one only by passing all before. A ladder
//! keeps the id at every so many subjects of a list, and how many there are from each step to the next. The step of a
//! page is found by adding those up; from there at most one step's subjects are passed, wherever the page is.
//!
//! Ladders live in memory, one for each list that somebody pages through, those that were asked for last. A ladder is
//! made at the first page. From then on the change log says who may have come or gone since: the steps in which those
//! stand are counted again, in the snapshot in which the page is read. So it is exact, also about what other processes
//! have written. Where the log does not tell any more (retention), or tells too much, it is made anew.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use rollcall_db::{DbError, Tx};
use rollcall_protocol::EventType;

use super::listed::{List, Range};
use crate::change::{self, ChangeKind, Seq};

/// How many subjects there usually are from one step to the next when it is made. One that grows to more than twice as
/// many is divided.
const STEP: u64 = 500;

/// How many times closer the steps of a narrowed list are: to pass one of its subjects, others are passed as well.
const CLOSER: u64 = 5;

/// By what somebody comes into a list of all, or goes from it.
const COMES_OR_GOES: [ChangeKind; 4] = [
    ChangeKind::Event(EventType::UserCreate),
    ChangeKind::Event(EventType::UserDelete),
    ChangeKind::Event(EventType::GroupCreate),
    ChangeKind::Event(EventType::GroupDelete),
];

/// If more has changed, it is made anew.
const MOST_NEWS: i64 = 20_000;

/// For how many lists there are ladders.
const MOST_LISTS: usize = 64;

/// A ladder, and the list that it is of.
type Kept = (List, Arc<Mutex<Option<Steps>>>);

/// The ladders of the lists that were asked for last.
#[derive(Debug)]
pub struct Ladders {
    step: u64,
    /// The one that was asked for last is the last.
    kept: Mutex<Vec<Kept>>,
}

impl Default for Ladders {
    fn default() -> Self {
        Self::with_steps_of(STEP)
    }
}

/// Where a page is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The page is in this part of the list.
    pub range: Range,
    /// How many subjects of that part stand before the page.
    pub skip: u64,
    /// How many subjects the list has.
    pub total: u64,
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// After so many subjects.
    Place(usize),
    /// After this id.
    After(String),
}

#[derive(Debug)]
struct Step {
    /// The first id that belongs to it; the first step has all that come before as well.
    from: String,
    count: u64,
}

#[derive(Debug)]
struct Steps {
    /// What the log tells up to here is counted.
    seq: Seq,
    /// How wide a step is when it is made.
    width: u64,
    steps: Vec<Step>,
}

impl Ladders {
    /// Ladders whose steps are so many subjects wide, one at least.
    pub fn with_steps_of(step: u64) -> Self {
        Self {
            step: step.max(1),
            kept: Mutex::default(),
        }
    }

    /// How many bytes the steps take, about.
    pub fn bytes(&self) -> usize {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |ladder: &Mutex<Option<Steps>>| {
            let ladder = ladder.lock().unwrap_or_else(PoisonError::into_inner);
            let steps = ladder.iter().flat_map(|steps| &steps.steps);
            steps
                .map(|step| size_of::<Step>() + step.from.capacity())
                .sum::<usize>()
        };
        kept.iter().map(|(_, ladder)| of(ladder)).sum()
    }

    /// The ladder of a list, which was asked for last from now on.
    fn of(&self, list: &List) -> Arc<Mutex<Option<Steps>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let one = match kept.iter().position(|(known, _)| known == list) {
            Some(place) => kept.remove(place),
            None => (list.clone(), Arc::default()),
        };
        if kept.len() >= MOST_LISTS {
            kept.remove(0);
        }
        let ladder = Arc::clone(&one.1);
        kept.push(one);
        ladder
    }

    /// Where a page of so many subjects is; `None` if others have read later snapshots than this one, so that there is
    /// no telling.
    ///
    /// # Errors
    /// What the database reports.
    pub(super) fn place(
        &self,
        tx: &mut Tx<'_>,
        list: &List,
        begin: &Begin,
        limit: usize,
    ) -> Result<Option<Place>, DbError> {
        let head = change::head(tx)?.seq;
        let ladder = self.of(list);
        let mut kept = ladder.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|steps| steps.seq > head) {
            return Ok(None);
        }
        // What fails on the way must not be kept half done.
        let mut steps = match kept.take() {
            Some(steps) if steps.seq == head => steps,
            Some(steps) => steps.follow(tx, list, head)?,
            None => {
                let width = match list.only.is_nothing() {
                    true => self.step,
                    false => self.step.div_ceil(CLOSER),
                };
                Steps::make(tx, list, head, width)?
            }
        };
        steps.divide(tx, list)?;
        let steps = kept.insert(steps);
        Ok(Some(match begin {
            Begin::Place(offset) => steps.place(*offset as u64, limit as u64),
            Begin::After(id) => steps.after(id, limit as u64),
        }))
    }
}

/// How many subjects of a list are in a part of it.
///
/// # Errors
/// What the database reports.
pub(super) fn count(tx: &mut Tx<'_>, list: &List, range: &Range) -> Result<u64, DbError> {
    let (ids, values) = list.ids(range);
    let sql = format!("SELECT COUNT(*) FROM ({ids}) AS listed");
    Ok(tx.query_one(&sql, &values)?.get::<i64>(0)?.unsigned_abs())
}

/// The ids of a part of a list, in their order, so many after so many.
///
/// # Errors
/// What the database reports.
pub(super) fn ids(
    tx: &mut Tx<'_>,
    list: &List,
    range: &Range,
    (skip, limit): (u64, u64),
) -> Result<Vec<String>, DbError> {
    let (ids, values) = list.ids(range);
    let sql = format!("{ids} ORDER BY 1 LIMIT {limit} OFFSET {skip}");
    tx.query(&sql, &values)?.iter().map(|row| row.get(0)).collect()
}

impl Steps {
    fn make(tx: &mut Tx<'_>, list: &List, seq: Seq, width: u64) -> Result<Self, DbError> {
        let all = Range::default();
        let (ids, values) = list.ids(&all);
        let rows = tx.query(
            &format!(
                "SELECT id FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY id) - 1 AS place FROM ({ids}) AS listed) AS placed
                 WHERE place % {width} = 0 ORDER BY place"
            ),
            &values,
        )?;
        let mut steps = Vec::with_capacity(rows.len() + 1);
        for row in &rows {
            steps.push(Step {
                from: row.get(0)?,
                count: width,
            });
        }
        if steps.is_empty() {
            let from = String::new();
            steps.push(Step { from, count: 0 });
        }
        let mut made = Self { seq, width, steps };
        // All are as wide, but for the last one.
        made.recount(tx, list, made.steps.len() - 1)?;
        Ok(made)
    }

    /// The part of the list that belongs to some steps, one after the other.
    fn range(&self, first: usize, last: usize) -> Range {
        Range {
            from: match first {
                0 => String::new(),
                _ => self.steps[first].from.clone(),
            },
            is_after: false,
            to: self.steps.get(last + 1).map(|next| next.from.clone()),
        }
    }

    fn recount(&mut self, tx: &mut Tx<'_>, list: &List, index: usize) -> Result<(), DbError> {
        self.steps[index].count = count(tx, list, &self.range(index, index))?;
        Ok(())
    }

    /// The step to which an id belongs.
    fn step_of(&self, id: &str) -> usize {
        let after = self.steps.partition_point(|step| step.from.as_str() <= id);
        after.saturating_sub(1)
    }

    /// Counts anew where somebody may have come or gone since, or begins anew.
    fn follow(mut self, tx: &mut Tx<'_>, list: &List, head: Seq) -> Result<Self, DbError> {
        let Some(news) = change::since(tx, self.seq, head, MOST_NEWS)? else {
            return Self::make(tx, list, head, self.width);
        };
        let mut touched = BTreeSet::new();
        for news in news.iter().filter(|news| news.subject_kind == list.kind()) {
            if !list.is_whole() || COMES_OR_GOES.contains(&news.kind) {
                touched.insert(self.step_of(&news.subject_id));
            }
        }
        for index in touched {
            self.recount(tx, list, index)?;
        }
        let total: u64 = self.steps.iter().map(|step| step.count).sum();
        // Steps that have become narrow are many for what they are good for.
        if self.steps.len() as u64 > 16 + 4 * total.div_ceil(self.width) {
            return Self::make(tx, list, head, self.width);
        }
        self.seq = head;
        Ok(self)
    }

    /// Divides the steps that have become too wide.
    fn divide(&mut self, tx: &mut Tx<'_>, list: &List) -> Result<(), DbError> {
        let mut index = 0;
        while let Some(step) = self.steps.get(index) {
            if step.count > 2 * self.width {
                let count = step.count - self.width;
                let range = self.range(index, index);
                if let Some(from) = ids(tx, list, &range, (self.width, 1))?.pop() {
                    self.steps[index].count = self.width;
                    self.steps.insert(index + 1, Step { from, count });
                }
            }
            index += 1;
        }
        Ok(())
    }

    fn total(&self) -> u64 {
        self.steps.iter().map(|step| step.count).sum()
    }

    /// The last of the steps from one on that hold so many subjects together.
    fn end(&self, first: usize, mut wanted: u64) -> usize {
        let mut last = first;
        while last + 1 < self.steps.len() && wanted > self.steps[last].count {
            wanted -= self.steps[last].count;
            last += 1;
        }
        last
    }

    /// The page after so many.
    fn place(&self, offset: u64, limit: u64) -> Place {
        let total = self.total();
        let mut skip = offset.min(total);
        let mut first = 0;
        while first + 1 < self.steps.len() && skip >= self.steps[first].count {
            skip -= self.steps[first].count;
            first += 1;
        }
        let range = self.range(first, self.end(first, skip + limit));
        Place { range, skip, total }
    }

    /// The page after an id.
    fn after(&self, id: &str, limit: u64) -> Place {
        let first = self.step_of(id);
        // Nobody knows how much of the first step stands before the id.
        let last = match first + 1 < self.steps.len() {
            true => self.end(first + 1, limit),
            false => first,
        };
        let range = Range {
            from: id.to_owned(),
            is_after: true,
            to: self.range(first, last).to,
        };
        Place {
            range,
            skip: 0,
            total: self.total(),
        }
    }
}
