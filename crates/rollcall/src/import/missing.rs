//! Deleting what belongs to the import's owner and is no longer in the file.

use super::execute::subject;
use super::report::{Deed, Kind, Remark, Withheld};
use super::step::Step;
use super::{DeletionLimit, Import, ImportError, Stop};
use crate::directory::{Source, query};

/// Users that are looked through at once.
const PAGE: usize = 2_000;

/// What is missing of a kind: ids with names for people.
type Subjects = Vec<(String, String)>;

/// The users that the owner has without the import.
struct Owned {
    /// Those that the file does not name.
    missing: Subjects,
    owned: u64,
}

impl<P: FnMut(&'static str, u64)> Import<'_, P> {
    /// Plans the deletion of users and groups that are missing. Returns whether units may be deleted too, once it
    /// is planned who stands in them.
    pub(super) async fn plan_deletions(&mut self, limit: DeletionLimit) -> Result<bool, Stop> {
        let Some(owner) = self.options.owner.clone() else {
            return Err(ImportError::NoOwner.into());
        };
        let users = self.missing_users(&owner).await?;
        let groups: Vec<usize> = (0..self.groups.nodes.len())
            .filter(|index| {
                let node = &self.groups.nodes[*index];
                node.id.is_some() && node.owner == owner && !node.seen
            })
            .collect();
        let units = self.units.nodes.iter();
        let missing_units = units
            .clone()
            .filter(|node| node.id.is_some() && node.owner == owner && !node.seen)
            .count();
        let deletions = (users.missing.len() + groups.len() + missing_units) as u64;
        // The share is one of what the owner has with what the file brings: the same at the next import.
        let owned = users.owned
            + self.report.report.users.created
            + self.claims.adoptions()
            + self
                .groups
                .nodes
                .iter()
                .filter(|node| node.group.source == owner)
                .count() as u64
            + units.filter(|node| node.unit.source == owner).count() as u64;
        if !limit.allows(deletions, owned) {
            self.report.report.withheld = Some(Withheld {
                deletions,
                owned,
                limit: limit.to_string(),
            });
            return Ok(false);
        }
        // Groups before their members and users before their units, as a directory is taken apart.
        let mut subjects = Subjects::new();
        for index in groups {
            self.groups.unindex(index);
            let node = &self.groups.nodes[index];
            subjects.push((node.id.clone().unwrap_or_default(), node.group.name.clone()));
        }
        self.delete(Kind::Group, subjects).await?;
        for portion in users.missing.chunks(PAGE) {
            let ids: Vec<String> = portion.iter().map(|(id, _)| id.clone()).collect();
            for user in self.hub.db.read(move |tx| query::users_of(tx, &ids)).await? {
                for value in user.unique_values() {
                    self.claims.free(&value.identity);
                }
                for unit in user.unit_ids() {
                    if let Some(unit) = self.units.of_id(&unit) {
                        let users = self.units.users.entry(unit).or_default();
                        *users = users.saturating_sub(1);
                    }
                }
                self.claims.delete(&user.id);
            }
            self.delete(Kind::User, portion.to_vec()).await?;
        }
        Ok(true)
    }

    async fn missing_users(&self, owner: &Source) -> Result<Owned, Stop> {
        let mut missing = Subjects::new();
        let mut owned = 0;
        let mut after = String::new();
        loop {
            let (source, from) = (owner.clone(), after.clone());
            let page = self
                .hub
                .db
                .read(move |tx| query::owned_users(tx, &source, &from, PAGE))
                .await?;
            let Some((last, _)) = page.last() else {
                return Ok(Owned { missing, owned });
            };
            after.clone_from(last);
            for (id, username) in page {
                // Whom this import has taken over, or made, was not the owner's before.
                let is_meant = self.claims.meant_by(&id).is_some();
                if self.claims.is_adopted(&id) || (!is_meant && self.claims.is_made(&username)) {
                    continue;
                }
                owned += 1;
                if !is_meant {
                    missing.push((id, username));
                }
            }
        }
    }

    /// Plans the deletion of the units that are missing and, by then, empty: those below before those above.
    pub(super) async fn plan_unit_deletions(&mut self) -> Result<(), Stop> {
        let owner = self.options.owner.clone();
        let mut missing: Vec<usize> = (0..self.units.nodes.len())
            .filter(|index| {
                let node = &self.units.nodes[*index];
                node.id.is_some() && !node.seen && Some(&node.owner) == owner.as_ref()
            })
            .collect();
        missing.sort_by_cached_key(|index| std::cmp::Reverse(self.units.depth(*index)));
        let mut subjects = Subjects::new();
        for index in missing {
            let node = &self.units.nodes[index];
            let name = node.unit.name.clone();
            let users = self.units.users.get(&index).copied().unwrap_or_default();
            if users > 0 || self.units.has_children(index) {
                let reason =
                    "is not in the file, but not deleted either: it still has users or units that stay";
                self.report
                    .refuse(Remark::new(0, subject(Kind::Unit, &name), reason));
                continue;
            }
            subjects.push((node.id.clone().unwrap_or_default(), name));
            self.units.nodes[index].deleted = true;
        }
        self.delete(Kind::Unit, subjects).await
    }

    async fn delete(&mut self, kind: Kind, subjects: Subjects) -> Result<(), Stop> {
        if subjects.is_empty() {
            return Ok(());
        }
        self.report.report.counts(kind).deleted += subjects.len() as u64;
        for (_, name) in &subjects {
            self.report.sample(Deed::Delete, kind, || name.clone());
        }
        self.step(Step::Delete { kind, subjects }).await
    }
}
