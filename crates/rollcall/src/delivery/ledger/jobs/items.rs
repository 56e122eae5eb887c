//! The lists from which some jobs work.

use rollcall_db::{DbError, Tx, Value, params};
use rollcall_protocol::SubjectKind;
use strum::{EnumString, IntoStaticStr};

use crate::change;

/// What a job does with an entry of its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(in crate::delivery) enum Action {
    /// A unit of a full synchronization is pushed.
    Push,
    /// Somebody enters the scope.
    Enter,
    /// Somebody leaves it.
    Leave,
    /// What is true of somebody is told anew, whatever that is by then.
    Repair,
    /// The users of a unit are told anew, since it has another name.
    UnitNames,
}

impl Action {
    /// The name under which it is stored and shown.
    pub(in crate::delivery) fn as_str(self) -> &'static str {
        self.into()
    }
}

/// An entry of a job's list.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct Item {
    /// What is done.
    pub(in crate::delivery) action: Action,
    /// Whether it is a user, a unit or a group.
    pub(in crate::delivery) kind: SubjectKind,
    /// Whose.
    pub(in crate::delivery) subject_id: String,
    /// The record to send, if it is fixed.
    pub(in crate::delivery) record: Option<String>,
}

/// The position in a job's list before what is left of it: its entries stay until the job ends, so that is the
/// end of the list for a job that has none.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn items_left(tx: &mut Tx<'_>, job_id: &str) -> Result<i64, DbError> {
    tx.query_one(
        "SELECT COALESCE(MIN(ordinal) - 1, 0) FROM job_items WHERE job_id = $1",
        params![job_id],
    )?
    .get(0)
}

/// Whether something is left of a change of scope after a position of a job's list.
pub(super) fn has_scope_items(tx: &mut Tx<'_>, job_id: &str, done: i64) -> Result<bool, DbError> {
    let found = tx.query_opt(
        "SELECT 1 FROM job_items WHERE job_id = $1 AND ordinal > $2 AND action NOT IN ($3, $4) LIMIT 1",
        params![job_id, done, Action::Push.as_str(), Action::UnitNames.as_str()],
    )?;
    Ok(found.is_some())
}

/// Entries that one statement writes.
const AT_ONCE: usize = 100;
/// Writes entries at these places of a job's list, many with each statement.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn write_items<'a>(
    tx: &mut Tx<'_>,
    job_id: &str,
    items: impl IntoIterator<Item = (i64, &'a Item)>,
) -> Result<(), DbError> {
    let mut values: Vec<Value<'_>> = Vec::with_capacity(AT_ONCE * 6);
    let mut flush = |values: &mut Vec<Value<'_>>| {
        if values.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "INSERT INTO job_items (job_id, ordinal, action, subject_kind, subject_id, record) VALUES {}",
            change::placeholders(values.len() / 6, 6)
        );
        tx.execute(&sql, values)?;
        values.clear();
        Ok::<_, DbError>(())
    };
    for (ordinal, item) in items {
        values.extend([
            Value::from(job_id),
            Value::from(ordinal),
            Value::from(item.action.as_str()),
            Value::from(item.kind.as_str()),
            Value::from(item.subject_id.as_str()),
            Value::from(item.record.as_deref()),
        ]);
        if values.len() == AT_ONCE * 6 {
            flush(&mut values)?;
        }
    }
    flush(&mut values)
}

/// Appends to a job's list.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn append_items(
    tx: &mut Tx<'_>,
    job_id: &str,
    items: &[Item],
) -> Result<(), DbError> {
    let last: i64 = tx
        .query_one(
            "SELECT COALESCE(MAX(ordinal), 0) FROM job_items WHERE job_id = $1",
            params![job_id],
        )?
        .get(0)?;
    write_items(tx, job_id, (last + 1..).zip(items))
}

/// Takes an entry out of a list.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn remove_item(tx: &mut Tx<'_>, job_id: &str, ordinal: i64) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM job_items WHERE job_id = $1 AND ordinal = $2",
        params![job_id, ordinal],
    )?;
    Ok(())
}

/// The entries of a job's list that come after one of them.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn items_after(
    tx: &mut Tx<'_>,
    job_id: &str,
    done: i64,
    limit: usize,
) -> Result<Vec<(i64, Item)>, DbError> {
    let unreadable =
        |what: &str| DbError::Other(format!("an entry of a job's list has an unreadable {what}"));
    tx.query(
        "SELECT ordinal, action, subject_kind, subject_id, record FROM job_items
         WHERE job_id = $1 AND ordinal > $2 ORDER BY ordinal LIMIT $3",
        params![job_id, done, i64::try_from(limit).unwrap_or(i64::MAX)],
    )?
    .iter()
    .map(|row| {
        let item = Item {
            action: row.get::<String>(1)?.parse().map_err(|_| unreadable("action"))?,
            kind: SubjectKind::parse(&row.get::<String>(2)?).ok_or_else(|| unreadable("kind"))?,
            subject_id: row.get(3)?,
            record: row.get(4)?,
        };
        Ok((row.get(0)?, item))
    })
    .collect()
}

/// Puts another record into the place of those that lists hold of a subject.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery::ledger) fn replace_records(
    tx: &mut Tx<'_>,
    subject_id: &str,
    record: &str,
) -> Result<(), DbError> {
    tx.execute(
        "UPDATE job_items SET record = $2 WHERE subject_id = $1 AND record IS NOT NULL",
        params![subject_id, record],
    )?;
    Ok(())
}
