//! Where the page of a list by number begins, and how long the list is, without counting through it.
//!
//! A database finds the user after an id at once, but the hundred-thousandth one only by passing all before. The ladder
//! keeps the id at every so many users, and how many there are from each step to the next. The step of a page is found
//! by adding those up; from there at most one step's users are passed, wherever the page is.
//!
//! It lives in memory and is made at the first page that is asked for. From then on the change log keeps it right: what
//! was made and deleted since is counted, in the snapshot in which the page is read. So it is exact, also about what
//! other processes have written. Where the log does not tell any more (retention), or tells too much, it is made anew.

use std::sync::{Mutex, PoisonError};

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::EventType;

use crate::change::{self, ChangeKind, News, Seq};

/// How many users there usually are from one step to the next when it is made. One that grows to more than twice as many
/// is divided.
const STEP: u64 = 500;

/// If more has changed, it is made anew.
const MOST_NEWS: i64 = 20_000;

/// The ladder of all users by id.
#[derive(Debug)]
pub struct Ladder {
    step: u64,
    steps: Mutex<Option<Steps>>,
}

impl Default for Ladder {
    fn default() -> Self {
        Self::with_steps_of(STEP)
    }
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The page begins at or after this id.
    pub from: String,
    /// How many users from there on stand before the page.
    pub skip: u64,
    /// How many users there are.
    pub total: u64,
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

impl Ladder {
    /// One whose steps are so many users wide, one at least.
    pub fn with_steps_of(step: u64) -> Self {
        Self {
            step: step.max(1),
            steps: Mutex::new(None),
        }
    }

    /// Where the page after so many users begins; `None` if others have read later snapshots than this one, so that
    /// there is no telling.
    ///
    /// # Errors
    /// What the database reports.
    pub fn place(&self, tx: &mut Tx<'_>, offset: u64) -> Result<Option<Place>, DbError> {
        let head = change::head(tx)?.seq;
        let mut kept = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|steps| steps.seq > head) {
            return Ok(None);
        }
        // What fails on the way must not be kept half done.
        let mut steps = match kept.take() {
            Some(steps) if steps.seq == head => steps,
            Some(steps) => steps.follow(tx, head)?,
            None => Steps::make(tx, head, self.step)?,
        };
        steps.divide(tx)?;
        Ok(Some(kept.insert(steps).place(offset)))
    }
}

impl Steps {
    fn make(tx: &mut Tx<'_>, seq: Seq, width: u64) -> Result<Self, DbError> {
        let rows = tx.query(
            "SELECT id, place FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY id) - 1 AS place FROM users) AS placed
             WHERE place % $1 = 0 ORDER BY place",
            params![i64::try_from(width).unwrap_or(i64::MAX)],
        )?;
        let total: i64 = tx.query_one("SELECT COUNT(*) FROM users", params![])?.get(0)?;
        let mut left = total.unsigned_abs();
        let mut steps = Vec::with_capacity(rows.len() + 1);
        for row in &rows {
            let count = left.min(width);
            left -= count;
            steps.push(Step {
                from: row.get(0)?,
                count,
            });
        }
        if steps.is_empty() {
            let from = String::new();
            steps.push(Step { from, count: 0 });
        }
        Ok(Self { seq, width, steps })
    }

    /// Counts what was made and deleted since, or begins anew.
    fn follow(mut self, tx: &mut Tx<'_>, head: Seq) -> Result<Self, DbError> {
        let Some(news) = change::since(tx, self.seq, head, MOST_NEWS)? else {
            return Self::make(tx, head, self.width);
        };
        let (made, deleted) = (EventType::UserCreate, EventType::UserDelete);
        for News { kind, subject_id, .. } in news {
            if kind != ChangeKind::Event(made) && kind != ChangeKind::Event(deleted) {
                continue;
            }
            let after = self.steps.partition_point(|step| step.from <= subject_id);
            let step = &mut self.steps[after.saturating_sub(1)];
            step.count = match kind == ChangeKind::Event(made) {
                true => step.count + 1,
                // Nobody is deleted who was not there: that the ladder knows less can only be its own mistake.
                false if step.count == 0 => return Self::make(tx, head, self.width),
                false => step.count - 1,
            };
        }
        self.seq = head;
        Ok(self)
    }

    /// Divides the steps that have become too wide.
    fn divide(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let mut index = 0;
        while let Some(step) = self.steps.get_mut(index) {
            if step.count > 2 * self.width {
                let row = tx.query_opt(
                    "SELECT id FROM users WHERE id >= $1 ORDER BY id LIMIT 1 OFFSET $2",
                    params![
                        if index == 0 { "" } else { step.from.as_str() },
                        i64::try_from(self.width).unwrap_or(i64::MAX)
                    ],
                )?;
                if let Some(row) = row {
                    let (from, count) = (row.get(0)?, step.count - self.width);
                    step.count = self.width;
                    self.steps.insert(index + 1, Step { from, count });
                }
            }
            index += 1;
        }
        Ok(())
    }

    fn place(&self, offset: u64) -> Place {
        let total = self.steps.iter().map(|step| step.count).sum();
        let mut skip = offset;
        let mut from = "";
        for (index, step) in self.steps.iter().enumerate() {
            from = if index == 0 { "" } else { &step.from };
            if skip < step.count {
                break;
            }
            // Behind the end there is nothing, however far.
            if index + 1 < self.steps.len() {
                skip -= step.count;
            }
        }
        Place {
            from: from.to_owned(),
            skip: skip.min(total),
            total,
        }
    }
}
