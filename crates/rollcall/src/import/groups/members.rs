//! Who is in the groups of an import.

use std::collections::{BTreeSet, HashSet};

use super::State;
use crate::directory::{NewGroup, fields::fold, query};
use crate::import::entry::GroupEntry;
use crate::import::execute::subject;
use crate::import::reader::File;
use crate::import::report::{Kind, Remark};
use crate::import::step::{Index, Step, UserRef};
use crate::import::users::username_identity;
use crate::import::{Import, Stop, Trouble};

impl<P: FnMut(&'static str, u64)> Import<'_, P> {
    /// The group that a user of the file names, made if it is not there. `None` if the file lists it: then the user
    /// joins with its other members.
    pub(in crate::import) async fn named_group(
        &mut self,
        line: u64,
        name: &str,
        user: &UserRef,
    ) -> Result<Option<Index>, Stop> {
        let folded = fold(name);
        if let Some(place) = self.groups.listed_by_name.get(&folded) {
            self.groups.listed[*place].named_by.push(user.clone());
            return Ok(None);
        }
        if let Some(index) = self.groups.by_name.get(&folded).copied() {
            self.groups.nodes[index].seen = true;
            if self.groups.is_waiting(index) {
                // Whether the group keeps this name is not known yet.
                let (_, users) = self
                    .groups
                    .late
                    .entry(name.to_owned())
                    .or_insert_with(|| (line, BTreeSet::new()));
                users.insert(user.clone());
                return Ok(None);
            }
            return Ok(Some(index));
        }
        let new = NewGroup {
            name: name.to_owned(),
            source: self.source_of(None),
            ..NewGroup::default()
        };
        match self.make_group(0, new).await? {
            Ok(index) => Ok(Some(index)),
            Err(reason) => {
                self.report
                    .refuse(Remark::new(line, subject(Kind::Group, name), reason));
                Ok(None)
            }
        }
    }

    /// Plans who joins groups of which it was not known what they would be called.
    async fn plan_late_members(&mut self) -> Result<(), Stop> {
        for (name, (line, users)) in std::mem::take(&mut self.groups.late) {
            let Some(user) = users.first() else { continue };
            let Some(group) = self.named_group(line, &name, user).await? else {
                continue;
            };
            let present = self.present_members(group).await?;
            let joining: Vec<UserRef> = users.difference(&present).cloned().collect();
            self.report.report.members_added += joining.len() as u64;
            self.step(Step::Members {
                group,
                line: 0,
                name,
                joining,
                leaving: Vec::new(),
            })
            .await?;
        }
        Ok(())
    }

    /// The members that a group has, without those who are deleted.
    async fn present_members(&self, group: Index) -> Result<BTreeSet<UserRef>, Stop> {
        let Some(id) = self.groups.nodes[group].id.clone() else {
            return Ok(BTreeSet::new());
        };
        let members = self.hub.db.read(move |tx| query::group_members(tx, &id)).await?;
        let present = members.into_iter().filter(|id| !self.claims.is_deleted(id));
        Ok(present.map(UserRef::Id).collect())
    }

    /// Plans who joins and leaves the groups that the file lists.
    pub(in crate::import) async fn plan_members(&mut self, file: &File<'_>) -> Result<(), Stop> {
        self.plan_late_members().await?;
        let mut done = 0;
        for read in file.groups()? {
            self.go_on()?;
            let entry = match read {
                Ok(entry) => entry,
                Err(Trouble::File(error)) => return Err(error.into()),
                // It was reported when the groups were read first.
                Err(_) => continue,
            };
            let Some(place) = self.groups.listed_by_line.get(&entry.line) else {
                continue;
            };
            let listed = &self.groups.listed[*place];
            if let State::Planned(group) = listed.state {
                let named_by = listed.named_by.clone();
                self.plan_members_of(&entry, group, named_by).await?;
            }
            done += 1;
            (self.progress)("groups", done);
        }
        Ok(())
    }

    async fn plan_members_of(
        &mut self,
        entry: &GroupEntry,
        group: Index,
        named_by: Vec<UserRef>,
    ) -> Result<(), Stop> {
        let mut wanted: BTreeSet<UserRef> = named_by.into_iter().collect();
        let mut unknown = 0;
        for reference in &entry.member_references {
            match self.known.get(reference) {
                Some(user) => drop(wanted.insert(user.clone())),
                None => unknown += 1,
            }
        }
        let mut names = Vec::new();
        for username in &entry.members {
            if let Some(id) = self.claims.renamed_to(username) {
                wanted.insert(UserRef::Id(id.to_owned()));
            } else if self.claims.is_made(username) {
                wanted.insert(UserRef::Made(fold(username)));
            } else {
                names.push(username.clone());
            }
        }
        let asked: HashSet<String> = names.iter().map(|name| fold(name)).collect();
        let found = self
            .hub
            .db
            .read(move |tx| query::user_ids_by_username(tx, &names))
            .await?;
        for name in &asked {
            // Whoever had this name may have another one now.
            let freed = self.claims.is_freed(&username_identity(name));
            match found.get(name).filter(|id| !freed && !self.claims.is_deleted(id)) {
                Some(id) => drop(wanted.insert(UserRef::Id(id.clone()))),
                None => unknown += 1,
            }
        }
        wanted.retain(|user| !matches!(user, UserRef::Id(id) if self.claims.is_deleted(id)));
        if unknown > 0 {
            self.report.note(Remark::new(
                entry.line,
                subject(Kind::Group, &format!("{} ({unknown})", entry.name)),
                "some members are not users of this directory",
            ));
        }
        let present = self.present_members(group).await?;
        let joining: Vec<UserRef> = wanted.difference(&present).cloned().collect();
        let leaving: Vec<String> = present
            .difference(&wanted)
            .filter_map(|user| match user {
                UserRef::Id(id) => Some(id.clone()),
                UserRef::Made(_) => None,
            })
            .collect();
        if joining.is_empty() && leaving.is_empty() {
            return Ok(());
        }
        self.report.report.members_added += joining.len() as u64;
        self.report.report.members_removed += leaving.len() as u64;
        self.step(Step::Members {
            group,
            line: entry.line,
            name: entry.name.clone(),
            joining,
            leaving,
        })
        .await
    }
}
