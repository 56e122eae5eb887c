//! Where subjects stand in the tree of organizational units.

use std::collections::HashMap;
use std::sync::Arc;

use rollcall_db::{DbError, Tx, Value, params};

use super::Unit;
use crate::change::{Placement, placeholders};

/// Units, each with its parent: the whole tree, or what stands above some of them. Read once for work on many
/// subjects.
#[derive(Debug, Default)]
pub(super) struct Tree(HashMap<String, Option<String>>);

impl Tree {
    /// Reads the whole tree.
    ///
    /// # Errors
    /// What the database reports.
    pub(super) fn load(tx: &mut Tx<'_>) -> Result<Self, DbError> {
        let mut tree = HashMap::new();
        for row in tx.query("SELECT id, parent_id FROM organizational_units", params![])? {
            tree.insert(row.get(0)?, row.get(1)?);
        }
        Ok(Self(tree))
    }

    /// The tree of all units.
    pub(super) fn of(units: &[Unit]) -> Self {
        let units = units.iter();
        Self(
            units
                .map(|unit| (unit.id.clone(), unit.parent_id.clone()))
                .collect(),
        )
    }

    /// Reads these units and all that contain them.
    ///
    /// # Errors
    /// What the database reports.
    pub(super) fn above(tx: &mut Tx<'_>, units: &[String]) -> Result<Self, DbError> {
        let mut tree = HashMap::new();
        for units in units.chunks(500) {
            let sql = format!(
                "WITH RECURSIVE up (id, parent_id) AS (
                     SELECT id, parent_id FROM organizational_units WHERE id IN {}
                     UNION
                     SELECT u.id, u.parent_id FROM organizational_units u JOIN up ON u.id = up.parent_id)
                 SELECT id, parent_id FROM up",
                placeholders(1, units.len())
            );
            let values: Vec<Value<'_>> = units.iter().map(|unit| Value::from(unit.as_str())).collect();
            for row in tx.query(&sql, &values)? {
                tree.insert(row.get(0)?, row.get(1)?);
            }
        }
        Ok(Self(tree))
    }

    /// Puts a unit below another parent.
    pub(super) fn move_unit(&mut self, unit: &str, parent: &str) {
        self.0.insert(unit.to_owned(), Some(parent.to_owned()));
    }

    /// The placement of something that stands in these units.
    pub(super) fn placement(&self, units: &[String], groups: Vec<String>) -> Arc<Placement> {
        let mut all: Vec<String> = Vec::new();
        for unit in units {
            let mut next = Some(unit);
            while let Some(unit) = next {
                if all.contains(unit) {
                    break;
                }
                all.push(unit.clone());
                next = self.0.get(unit).and_then(Option::as_ref);
            }
        }
        Arc::new(Placement { units: all, groups })
    }

    /// How deep a unit is: zero for the root.
    pub(super) fn depth(&self, unit: &str) -> usize {
        std::iter::successors(self.0.get(unit).and_then(Option::as_ref), |unit| {
            self.0.get(*unit).and_then(Option::as_ref)
        })
        .count()
    }

    /// A unit and everything below it, parents first.
    pub(super) fn subtree(&self, root: &str) -> Vec<String> {
        let mut children: HashMap<&str, Vec<&String>> = HashMap::new();
        for (unit, parent) in &self.0 {
            if let Some(parent) = parent {
                children.entry(parent).or_default().push(unit);
            }
        }
        let mut all = vec![root.to_owned()];
        let mut next = 0;
        while next < all.len() {
            let mut below: Vec<String> = children
                .get(all[next].as_str())
                .into_iter()
                .flatten()
                .map(|unit| (*unit).clone())
                .collect();
            below.sort_unstable();
            all.append(&mut below);
            next += 1;
        }
        all
    }
}

/// The placement of something that stands in these units and groups, for work on one subject.
pub(super) fn placement(
    tx: &mut Tx<'_>,
    units: &[String],
    groups: Vec<String>,
) -> Result<Arc<Placement>, DbError> {
    let sql = format!(
        "WITH RECURSIVE up (id) AS (
             SELECT id FROM organizational_units WHERE id IN {}
             UNION
             SELECT u.parent_id FROM organizational_units u JOIN up ON u.id = up.id
             WHERE u.parent_id IS NOT NULL)
         SELECT id FROM up",
        placeholders(1, units.len())
    );
    let values: Vec<Value<'_>> = units.iter().map(|unit| Value::from(unit.as_str())).collect();
    let units = tx
        .query(&sql, &values)?
        .iter()
        .map(|row| row.get(0))
        .collect::<Result<_, _>>()?;
    Ok(Arc::new(Placement { units, groups }))
}
