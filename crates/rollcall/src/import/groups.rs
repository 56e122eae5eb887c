//! Groups of an import: those that a file lists with all their members, and those that users name.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::entry::{GroupEntry, fingerprint};
use super::reader::File;
use super::users::Known;
use super::{Deed, Import, ImportError};
use crate::directory::{Command, DirectoryError, Group, GroupChanges, NewGroup, Source, fields::fold, query};

/// Members that one command adds or removes.
const PORTION: usize = 1_000;

/// The groups by name and by external id.
#[derive(Default)]
struct Groups {
    by_name: HashMap<String, Group>,
    by_external_id: HashMap<(Source, String), String>,
}

impl<P: FnMut(&'static str, u64)> Import<'_, P> {
    /// Adds users to groups by name, and makes the groups that are missing. Other memberships stay.
    pub(super) async fn join_groups(
        &mut self,
        joining: BTreeMap<String, Vec<String>>,
    ) -> Result<(), ImportError> {
        for (name, user_ids) in joining {
            let wanted = name.clone();
            let found = self.hub.db.read(move |tx| query::find_group(tx, &wanted)).await?;
            let group_id = match found {
                Some(group) => group.id,
                None => {
                    let new = NewGroup {
                        name: name.clone(),
                        source: self.source_of(None),
                        ..NewGroup::default()
                    };
                    match self.queue(vec![Command::CreateGroup(new)]).await {
                        Ok(made) => {
                            self.report.groups.created += 1;
                            made.id
                        }
                        Err(DirectoryError::Database(error)) => return Err(error.into()),
                        Err(error) => {
                            self.refuse(0, format!("group {name}: {error}"));
                            continue;
                        }
                    }
                }
            };
            self.seen.insert(fingerprint(&group_id));
            self.add_members(0, &name, &group_id, &user_ids).await?;
        }
        Ok(())
    }

    /// Lets users join a group, or leave it.
    async fn move_members(
        &mut self,
        line: u64,
        name: &str,
        user_ids: &[String],
        command: impl Fn(Vec<String>) -> Command,
    ) -> Result<u64, ImportError> {
        let mut moved = 0;
        for portion in user_ids.chunks(PORTION) {
            match self.queue(vec![command(portion.to_vec())]).await {
                // One change is the group's own; the others are those of the members.
                Ok(applied) => moved += applied.changes.saturating_sub(1) as u64,
                Err(DirectoryError::Database(error)) => return Err(error.into()),
                Err(error) => self.refuse(line, format!("group {name}: {error}")),
            }
        }
        Ok(moved)
    }

    async fn add_members(
        &mut self,
        line: u64,
        name: &str,
        group_id: &str,
        user_ids: &[String],
    ) -> Result<(), ImportError> {
        let command = |user_ids| Command::AddMembers {
            group_id: group_id.to_owned(),
            user_ids,
        };
        self.report.members_added += self.move_members(line, name, user_ids, command).await?;
        Ok(())
    }

    async fn remove_members(
        &mut self,
        line: u64,
        name: &str,
        group_id: &str,
        user_ids: &[String],
    ) -> Result<(), ImportError> {
        let command = |user_ids| Command::RemoveMembers {
            group_id: group_id.to_owned(),
            user_ids,
        };
        self.report.members_removed += self.move_members(line, name, user_ids, command).await?;
        Ok(())
    }

    /// Makes and changes the groups that the file lists, and gives them the members that it lists.
    pub(super) async fn import_groups(&mut self, file: &File<'_>, known: &Known) -> Result<(), ImportError> {
        let mut groups = Groups::default();
        for group in self.hub.db.read(query::list_groups).await? {
            if let Some(external_id) = &group.external_id {
                groups
                    .by_external_id
                    .insert((group.source.clone(), external_id.clone()), fold(&group.name));
            }
            groups.by_name.insert(fold(&group.name), group);
        }
        let mut done = 0;
        for read in file.groups()? {
            let Some(entry) = self.take(read)? else { continue };
            if let Some(id) = self.import_group(&groups, &entry).await? {
                self.import_members(&entry, id.as_deref(), known).await?;
            }
            done += 1;
            (self.progress)("groups", done);
        }
        Ok(())
    }

    /// Makes or changes a group. Returns its id, or `Some(None)` if a dry run would make it.
    async fn import_group(
        &mut self,
        groups: &Groups,
        entry: &GroupEntry,
    ) -> Result<Option<Option<String>>, ImportError> {
        let source = self.source_of(entry.source.as_ref());
        let external_id = entry.external_id.clone().flatten();
        let key = external_id
            .clone()
            .and_then(|id| groups.by_external_id.get(&(source.clone(), id)).cloned())
            .unwrap_or_else(|| fold(&entry.name));
        let command = match groups.by_name.get(&key) {
            None => {
                self.report.groups.created += 1;
                self.sample(Deed::Create, "group", || entry.name.clone());
                if self.options.dry_run {
                    return Ok(Some(None));
                }
                Command::CreateGroup(NewGroup {
                    name: entry.name.clone(),
                    description: entry.description.clone().flatten(),
                    external_id,
                    source,
                })
            }
            Some(group) => {
                self.seen.insert(fingerprint(&group.id));
                let adopted = match self.may_touch(&group.source) {
                    Ok(adopted) => adopted,
                    Err(reason) => {
                        self.refuse(entry.line, format!("group {}: {reason}", entry.name));
                        return Ok(None);
                    }
                };
                let differs = |said: &Option<Option<String>>, is: &Option<String>| {
                    said.clone().filter(|said| said != is)
                };
                let changes = GroupChanges {
                    name: Some(entry.name.clone()).filter(|name| *name != group.name),
                    description: differs(&entry.description, &group.description),
                    external_id: differs(&entry.external_id, &group.external_id),
                    source: adopted.filter(|source| *source != group.source),
                };
                let GroupChanges {
                    name,
                    description,
                    external_id,
                    source,
                } = &changes;
                if name.is_none() && description.is_none() && external_id.is_none() && source.is_none() {
                    self.report.groups.unchanged += 1;
                    return Ok(Some(Some(group.id.clone())));
                }
                self.report.groups.updated += 1;
                self.sample(Deed::Update, "group", || entry.name.clone());
                if self.options.dry_run {
                    return Ok(Some(Some(group.id.clone())));
                }
                Command::UpdateGroup {
                    id: group.id.clone(),
                    changes,
                }
            }
        };
        let creates = matches!(command, Command::CreateGroup(_));
        match self.queue(vec![command]).await {
            Ok(applied) => {
                self.seen.insert(fingerprint(&applied.id));
                Ok(Some(Some(applied.id)))
            }
            Err(DirectoryError::Database(error)) => Err(error.into()),
            Err(error) => {
                match creates {
                    true => self.report.groups.created -= 1,
                    false => self.report.groups.updated -= 1,
                }
                self.refuse(entry.line, format!("group {}: {error}", entry.name));
                Ok(None)
            }
        }
    }

    /// Gives a group the members that the file lists.
    async fn import_members(
        &mut self,
        entry: &GroupEntry,
        group_id: Option<&str>,
        known: &Known,
    ) -> Result<(), ImportError> {
        let mut wanted: HashSet<String> = HashSet::new();
        let mut unknown = 0;
        for reference in &entry.member_references {
            match known.get(reference) {
                Some(id) => drop(wanted.insert(id.clone())),
                None => unknown += 1,
            }
        }
        let usernames = entry.members.clone();
        let found = self
            .hub
            .db
            .read(move |tx| query::user_ids_by_username(tx, &usernames))
            .await?;
        unknown += entry.members.len() - found.len();
        wanted.extend(found);
        if self.options.dry_run {
            let planned = |name: &&String| self.planned.contains(&fingerprint(&fold(name)));
            wanted.extend(entry.members.iter().filter(planned).cloned());
        }
        if unknown > 0 && !self.options.dry_run {
            self.note(
                entry.line,
                format!(
                    "group {}: {unknown} members are not users of this directory",
                    entry.name
                ),
            );
        }
        let present: HashSet<String> = match group_id.map(str::to_owned) {
            None => HashSet::new(),
            Some(id) => {
                let members = self.hub.db.read(move |tx| query::group_members(tx, &id)).await;
                members.map_err(ImportError::Database)?.into_iter().collect()
            }
        };
        let sorted = |ids: std::collections::hash_set::Difference<'_, String, _>| {
            let mut ids: Vec<String> = ids.cloned().collect();
            ids.sort_unstable();
            ids
        };
        let joining = sorted(wanted.difference(&present));
        let leaving = sorted(present.difference(&wanted));
        if let (Some(id), false) = (group_id, self.options.dry_run) {
            self.add_members(entry.line, &entry.name, id, &joining).await?;
            self.remove_members(entry.line, &entry.name, id, &leaving).await
        } else {
            self.report.members_added += joining.len() as u64;
            self.report.members_removed += leaving.len() as u64;
            Ok(())
        }
    }
}
