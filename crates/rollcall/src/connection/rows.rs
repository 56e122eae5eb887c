//! Reading what a connection has, users and groups alike.

use rollcall_db::{DbError, Row, Tx, Value, params};

use crate::change::listed;
use crate::directory::fields::fold;

/// Ids that one statement names.
pub(super) const AT_ONCE: usize = 500;

/// By what something is looked up that an index finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub(super) column: &'static str,
    pub(super) value: String,
}

/// An attribute by which something is looked up.
pub(super) struct Attribute {
    /// As SCIM calls it.
    pub(super) name: &'static str,
    pub(super) column: &'static str,
    /// Whether the column holds it without regard to case, which is more loosely than SCIM compares it.
    pub(super) is_folded: bool,
}

/// Which of the things that a connection has.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// Those with a key, by id. Names are compared more loosely than SCIM does, so not all of them need be meant.
    With(&'a Key),
    /// Those after an id, by id: so many at most.
    After(&'a str, usize),
    /// Those from a place on, by id: so many at most. The place is found in an index alone.
    From(u64, usize),
    /// Those with these ids, in no order; others are left out.
    Ids(&'a [String]),
}

/// How the things of one kind are read.
pub struct Rows<T> {
    /// All of a connection, whose id is the first parameter; their ids are in the first column.
    pub(super) select: &'static str,
    /// The table and the condition that say which those are, without what is joined to read them.
    pub(super) all: &'static str,
    /// The column of the id.
    pub(super) id: &'static str,
    pub(super) attributes: [Attribute; 3],
    pub(super) from_row: fn(&Row) -> Result<T, DbError>,
}

impl<T> Rows<T> {
    /// The key of an attribute's value; `None` if no index finds it.
    pub fn key(&self, attribute: &str, value: &str) -> Option<Key> {
        let found = self.attributes.iter().find(|known| known.name == attribute)?;
        Some(Key {
            column: found.column,
            value: match found.is_folded {
                true => fold(value),
                false => value.to_owned(),
            },
        })
    }

    /// Reads some of them.
    ///
    /// # Errors
    /// What the database reports.
    pub fn read(&self, tx: &mut Tx<'_>, connection_id: &str, which: Which<'_>) -> Result<Vec<T>, DbError> {
        let Self { all, id, .. } = self;
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        match which {
            // They are ordered here: told to do it, SQLite goes through all that the connection has in that order,
            // instead of finding the key.
            Which::With(Key { column, value }) => {
                let sql = format!("{} AND {column} = $2", self.select);
                let mut rows = Vec::new();
                for row in tx.query(&sql, params![connection_id, value.as_str()])? {
                    rows.push((row.get::<String>(0)?, (self.from_row)(&row)?));
                }
                rows.sort_by(|(one, _), (other, _)| one.cmp(other));
                Ok(rows.into_iter().map(|(_, row)| row).collect())
            }
            Which::After(after, limit) => self.select(
                tx,
                &format!("AND {id} > $2 ORDER BY {id} LIMIT $3"),
                params![connection_id, after, number(limit)],
            ),
            Which::From(place, limit) => self.select(
                tx,
                &format!(
                    "AND {id} >= (SELECT {id} FROM {all} ORDER BY {id} LIMIT 1 OFFSET $2) ORDER BY {id} LIMIT $3"
                ),
                params![
                    connection_id,
                    i64::try_from(place).unwrap_or(i64::MAX),
                    number(limit)
                ],
            ),
            Which::Ids(ids) => {
                let mut found = Vec::with_capacity(ids.len());
                for ids in ids.chunks(AT_ONCE) {
                    let rest = format!("AND {id} IN {}", listed(2, ids.len()));
                    found.extend(self.select(tx, &rest, &values(connection_id, ids))?);
                }
                Ok(found)
            }
        }
    }

    fn select(&self, tx: &mut Tx<'_>, rest: &str, values: &[Value<'_>]) -> Result<Vec<T>, DbError> {
        let rows = tx.query(&format!("{} {rest}", self.select), values)?;
        rows.iter().map(self.from_row).collect()
    }

    /// The one with an id; `None` if there is none, or it is not the connection's own.
    ///
    /// # Errors
    /// What the database reports.
    pub fn get(&self, tx: &mut Tx<'_>, connection_id: &str, id: &str) -> Result<Option<T>, DbError> {
        Ok(self.read(tx, connection_id, Which::Ids(&[id.to_owned()]))?.pop())
    }

    /// How many there are.
    ///
    /// # Errors
    /// What the database reports.
    pub fn count(&self, tx: &mut Tx<'_>, connection_id: &str) -> Result<u64, DbError> {
        let sql = format!("SELECT COUNT(*) FROM {}", self.all);
        let count: i64 = tx.query_one(&sql, params![connection_id])?.get(0)?;
        Ok(count.unsigned_abs())
    }
}

/// A connection's id, and ids behind it.
pub(super) fn values<'a>(connection_id: &'a str, ids: &'a [String]) -> Vec<Value<'a>> {
    std::iter::once(connection_id)
        .chain(ids.iter().map(String::as_str))
        .map(Value::from)
        .collect()
}
