//! All units as the tree that the plan makes of them: a unit that is moved takes what is below it along, and later
//! entries find it there.

use std::collections::HashMap;

use super::ImportError;
use super::step::Index;
use crate::directory::{Source, Unit, fields::fold, query};
use crate::hub::Hub;

/// A unit as the plan makes it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) unit: Unit,
    /// `None` for one that the plan makes.
    pub(super) id: Option<String>,
    pub(super) parent: Option<Index>,
    /// To whom it belongs before the import.
    pub(super) owner: Source,
    /// Whether the file names it.
    pub(super) seen: bool,
    /// The line of the entry that means it.
    pub(super) line: Option<u64>,
    pub(super) deleted: bool,
}

/// The units.
#[derive(Debug, Default)]
pub(super) struct Units {
    pub(super) nodes: Vec<Node>,
    pub(super) children: HashMap<(Index, String), Index>,
    by_id: HashMap<String, Index>,
    pub(super) by_external_id: HashMap<(Source, String), Index>,
    /// How many users stand in each unit; counted only where units may be deleted.
    pub(super) users: HashMap<Index, u64>,
}

pub(super) const ROOT: Index = 0;

impl Units {
    /// Says to people who has an external id.
    pub(super) fn external_id_taken(&self, holder: Index, external_id: &str) -> String {
        let node = &self.nodes[holder];
        let who = match node.line {
            Some(line) => format!("the unit of line {line}"),
            None => format!("the unit {:?}", node.unit.name),
        };
        format!("external id {external_id:?} is taken by {who}")
    }

    pub(super) async fn load(hub: &Hub, with_users: bool) -> Result<Self, ImportError> {
        let mut units = Self::default();
        for unit in hub.db.read(query::all_units).await? {
            let parent = unit
                .parent_id
                .as_ref()
                .and_then(|id| units.by_id.get(id))
                .copied();
            let id = Some(unit.id.clone());
            units.insert(unit, id, parent);
        }
        if with_users {
            for (id, users) in hub.db.read(query::users_by_unit).await? {
                if let Some(index) = units.by_id.get(&id) {
                    units.users.insert(*index, users);
                }
            }
        }
        Ok(units)
    }

    pub(super) fn ids(&self) -> Vec<Option<String>> {
        self.nodes.iter().map(|node| node.id.clone()).collect()
    }

    pub(super) fn of_id(&self, id: &str) -> Option<Index> {
        self.by_id.get(id).copied()
    }

    pub(super) fn insert(&mut self, unit: Unit, id: Option<String>, parent: Option<Index>) -> Index {
        let index = self.nodes.len();
        if let Some(parent) = parent {
            self.children.insert((parent, fold(&unit.name)), index);
        }
        if let Some(id) = &id {
            self.by_id.insert(id.clone(), index);
        }
        if let Some(external_id) = &unit.external_id {
            self.by_external_id
                .insert((unit.source.clone(), external_id.clone()), index);
        }
        self.nodes.push(Node {
            owner: unit.source.clone(),
            unit,
            id,
            parent,
            seen: false,
            line: None,
            deleted: false,
        });
        index
    }

    /// The unit at a path.
    pub(super) fn at(&self, path: &[String]) -> Option<Index> {
        path.iter().try_fold(ROOT, |index, name| {
            self.children.get(&(index, fold(name))).copied()
        })
    }

    /// The unit that will be at a path, once those that the file means by their ids are where it wants them.
    pub(super) fn locate(&self, path: &[String], meant: &HashMap<String, Index>) -> Option<Index> {
        (1..=path.len()).try_fold(ROOT, |above, depth| {
            let named = || self.children.get(&(above, fold(&path[depth - 1]))).copied();
            let meant = if meant.is_empty() {
                None
            } else {
                meant.get(&key(&path[..depth])).copied()
            };
            meant.or_else(named)
        })
    }

    /// Whether one unit is another or stands below it.
    pub(super) fn is_within(&self, mut unit: Index, above: Index) -> bool {
        loop {
            if unit == above {
                return true;
            }
            match self.nodes[unit].parent {
                Some(parent) => unit = parent,
                None => return false,
            }
        }
    }

    pub(super) fn has_children(&self, unit: Index) -> bool {
        self.nodes
            .iter()
            .any(|node| node.parent == Some(unit) && !node.deleted)
    }

    /// Notes that the file names the units on a path, so that they are not missing.
    pub(super) fn see(&mut self, path: &[String]) {
        let mut index = ROOT;
        for name in path {
            match self.children.get(&(index, fold(name))) {
                Some(child) => index = *child,
                None => return,
            }
            self.nodes[index].seen = true;
        }
    }

    pub(super) fn depth(&self, unit: Index) -> usize {
        self.nodes[unit].parent.map_or(0, |parent| 1 + self.depth(parent))
    }

    /// Replaces what a unit is and where it stands.
    pub(super) fn replace(&mut self, index: Index, unit: Unit, parent: Option<Index>) {
        let node = &self.nodes[index];
        if let Some(parent) = node.parent {
            self.children.remove(&(parent, fold(&node.unit.name)));
        }
        if let Some(external_id) = &node.unit.external_id {
            self.by_external_id
                .remove(&(node.unit.source.clone(), external_id.clone()));
        }
        if let Some(parent) = parent {
            self.children.insert((parent, fold(&unit.name)), index);
        }
        if let Some(external_id) = &unit.external_id {
            self.by_external_id
                .insert((unit.source.clone(), external_id.clone()), index);
        }
        self.nodes[index].unit = unit;
        self.nodes[index].parent = parent;
    }
}

/// A path as text, to be compared.
pub(super) fn key(path: &[String]) -> String {
    let folded: Vec<String> = path.iter().map(|name| fold(name)).collect();
    folded.join("\u{1f}")
}
