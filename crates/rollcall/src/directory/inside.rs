//! Who stands inside of a part of the directory, as a statement finds out: without reading everybody.
//!
//! The units come first in each join, and `CROSS JOIN` holds SQLite to that order: it takes them for many, and would
//! look at all members of all units to find those whose unit is one of them.

use std::collections::BTreeSet;

use rollcall_db::{DbError, Tx, Value};

use crate::change::listed;

/// Up to how many placements inside it is quicker to read all of them than to look for them among everybody.
const FEW: i64 = 5_000;

/// Some units with all below them, and some groups. Their parameters are the first ones of a statement.
#[derive(Clone, Debug)]
pub(super) struct Inside {
    units: Vec<String>,
    groups: Vec<String>,
}

impl Inside {
    pub(super) fn new(units: &BTreeSet<String>, groups: &BTreeSet<String>) -> Self {
        // A list must not be empty, and nothing has an empty id.
        let list = |ids: &BTreeSet<String>| match ids.is_empty() {
            true => vec![String::new()],
            false => ids.iter().cloned().collect(),
        };
        Self {
            units: list(units),
            groups: list(groups),
        }
    }

    /// The parameters.
    pub(super) fn values(&self) -> Vec<Value<'_>> {
        let ids = self.units.iter().chain(&self.groups);
        ids.map(|id| Value::from(id.as_str())).collect()
    }

    /// The units and the groups.
    pub(super) fn parts(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let set = |ids: &[String]| ids.iter().cloned().collect();
        (set(&self.units), set(&self.groups))
    }

    /// The parameters, which live on by themselves.
    pub(super) fn owned_values(&self) -> Vec<Value<'static>> {
        let ids = self.units.iter().chain(&self.groups);
        ids.map(|id| Value::from(id.clone())).collect()
    }

    /// The ids of those who are inside, each once. Conditions on their ids in `p`, who are in units, and in `g`, who are
    /// in groups, begin with `AND`.
    pub(super) fn ids(&self, (in_units, in_groups): (&str, &str)) -> String {
        format!(
            "{} SELECT p.user_id AS id FROM inside i CROSS JOIN unit_members p WHERE p.unit_id = i.id{in_units}
             UNION SELECT g.user_id FROM group_members g WHERE g.group_id IN {}{in_groups}",
            self.units(),
            self.groups()
        )
    }

    /// What a statement begins with: the units as `inside`. Their ids are its first parameters.
    pub(super) fn units(&self) -> String {
        format!(
            "WITH RECURSIVE inside (id) AS (
                 SELECT id FROM organizational_units WHERE id IN {}
                 UNION
                 SELECT o.id FROM organizational_units o JOIN inside i ON o.parent_id = i.id)",
            listed(1, self.units.len())
        )
    }

    fn groups(&self) -> String {
        listed(1 + self.units.len(), self.groups.len())
    }

    /// Columns of users `u` who are inside, of those whose ids and names another statement reads; that can be read as
    /// `looked`. Nothing else is read of anybody who is outside. The empty texts have the few units and groups of a user
    /// compared with those that are inside; otherwise SQLite would look into an index for each of the latter.
    pub(super) fn among(&self, columns: &str, looked: &str) -> String {
        format!(
            "{}, looked (id, name) AS ({looked})
             SELECT {columns} FROM looked l CROSS JOIN users u
             WHERE u.id = l.id
               AND (EXISTS (SELECT 1 FROM unit_members p
                            WHERE p.user_id = l.id AND p.unit_id || '' IN (SELECT id FROM inside))
                    OR EXISTS (SELECT 1 FROM group_members g WHERE g.user_id = l.id AND g.group_id || '' IN {}))",
            self.units(),
            self.groups()
        )
    }

    /// Columns of users `u`, of all who are inside, with the condition `u.id = m.user_id`. They are found first: among many
    /// others, SQLite would look at everybody in the order of names, because that saves it to sort the few.
    pub(super) fn only(&self, columns: &str) -> String {
        format!(
            "{} SELECT {columns} FROM (
                 SELECT p.user_id FROM inside i CROSS JOIN unit_members p WHERE p.unit_id = i.id
                 UNION SELECT g.user_id FROM group_members g WHERE g.group_id IN {}) m CROSS JOIN users u",
            self.units(),
            self.groups()
        )
    }

    /// How many users are inside. Nearly everybody is there by a primary unit, of which there is one: only the others have
    /// to be told apart.
    pub(super) fn count(&self) -> String {
        format!(
            "{} SELECT
                 (SELECT COUNT(*) FROM inside i CROSS JOIN unit_members p WHERE p.unit_id = i.id AND p.is_primary)
                 + (SELECT COUNT(*) FROM (
                     SELECT p.user_id FROM inside i CROSS JOIN unit_members p
                     WHERE p.unit_id = i.id AND NOT p.is_primary
                     UNION SELECT g.user_id FROM group_members g WHERE g.group_id IN {}) AS further
                    WHERE NOT EXISTS (SELECT 1 FROM unit_members p
                                      WHERE p.user_id = further.user_id AND p.is_primary
                                        AND p.unit_id IN (SELECT id FROM inside)))",
            self.units(),
            self.groups()
        )
    }

    /// Whether few are inside.
    ///
    /// # Errors
    /// What the database reports.
    pub(super) fn is_small(&self, tx: &mut Tx<'_>) -> Result<bool, DbError> {
        let sql = format!(
            "{} SELECT COUNT(*) FROM (
                 SELECT 1 FROM inside i CROSS JOIN unit_members p WHERE p.unit_id = i.id
                 UNION ALL SELECT 1 FROM group_members g WHERE g.group_id IN {}
                 LIMIT {}) AS few",
            self.units(),
            self.groups(),
            FEW + 1
        );
        Ok(tx.query_one(&sql, &self.values())?.get::<i64>(0)? <= FEW)
    }
}
