//! Groups of an import: those that a file lists with all their members, and those that users name.

mod members;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::entry::GroupEntry;
use super::execute::subject;
use super::reader::File;
use super::report::{Deed, Kind, Remark};
use super::step::{Index, Step, UserRef};
use super::{Import, ImportError, Stop};
use crate::directory::{Group, GroupChanges, NewGroup, Source, fields::fold, query};
use crate::hub::Hub;

/// A group as the plan makes it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) group: Group,
    /// `None` for one that the plan makes.
    pub(super) id: Option<String>,
    /// To whom it belongs before the import.
    pub(super) owner: Source,
    /// Whether the file names it.
    pub(super) seen: bool,
    /// The line of the entry that means it.
    line: Option<u64>,
}

/// A group that the file lists.
#[derive(Debug)]
struct Listed {
    /// Without its members, which are read again when users are planned.
    entry: GroupEntry,
    state: State,
    /// Users of the file that name it.
    named_by: Vec<UserRef>,
}

#[derive(Debug)]
enum State {
    /// Not planned; with what is in its way, once that is known.
    Waiting(String),
    Planned(Index),
    Refused,
}

/// The groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) nodes: Vec<Node>,
    by_id: HashMap<String, Index>,
    by_name: HashMap<String, Index>,
    by_external_id: HashMap<(Source, String), Index>,
    listed: Vec<Listed>,
    listed_by_name: HashMap<String, usize>,
    listed_by_line: HashMap<u64, usize>,
    /// The lines of those by external id.
    listed_by_external_id: HashMap<(Source, String), u64>,
    /// Users that name a group which is to get another name, by that name, with the line of the first.
    late: BTreeMap<String, (u64, BTreeSet<UserRef>)>,
}

impl Groups {
    pub(super) async fn load(hub: &Hub) -> Result<Self, ImportError> {
        let mut groups = Self::default();
        for group in hub.db.read(query::list_groups).await? {
            let id = Some(group.id.clone());
            groups.insert(group, id);
        }
        Ok(groups)
    }

    pub(super) fn ids(&self) -> Vec<Option<String>> {
        self.nodes.iter().map(|node| node.id.clone()).collect()
    }

    fn insert(&mut self, group: Group, id: Option<String>) -> Index {
        let index = self.nodes.len();
        if let Some(id) = &id {
            self.by_id.insert(id.clone(), index);
        }
        self.nodes.push(Node {
            owner: group.source.clone(),
            group,
            id,
            seen: false,
            line: None,
        });
        self.index(index);
        index
    }

    fn index(&mut self, index: Index) {
        let group = &self.nodes[index].group;
        self.by_name.insert(fold(&group.name), index);
        if let Some(external_id) = &group.external_id {
            self.by_external_id
                .insert((group.source.clone(), external_id.clone()), index);
        }
    }

    /// Whether an entry means this group that is not planned yet.
    fn is_waiting(&self, index: Index) -> bool {
        let place = self.nodes[index]
            .line
            .and_then(|line| self.listed_by_line.get(&line));
        place.is_some_and(|place| matches!(self.listed[*place].state, State::Waiting(_)))
    }

    /// Takes a group's name and external id from it.
    pub(super) fn unindex(&mut self, index: Index) {
        let group = &self.nodes[index].group;
        self.by_name.remove(&fold(&group.name));
        if let Some(external_id) = &group.external_id {
            self.by_external_id
                .remove(&(group.source.clone(), external_id.clone()));
        }
    }
}

/// Why an entry is not planned now.
enum Not {
    Refused(String),
    Yet(String),
}

impl<P: FnMut(&'static str, u64)> Import<'_, P> {
    /// Reads which groups the file lists.
    pub(super) fn read_groups(&mut self, file: &File<'_>) -> Result<(), ImportError> {
        let mut entries = Vec::new();
        for read in file.groups()? {
            if let Some(entry) = self.take(read)? {
                entries.push(GroupEntry {
                    members: Vec::new(),
                    member_references: Vec::new(),
                    ..entry
                });
            }
        }
        for entry in entries {
            let place = self.groups.listed.len();
            let external_id = entry.external_id.clone().flatten();
            let key = external_id.map(|id| (self.source_of(entry.source.as_ref()), id));
            let same_id = key
                .as_ref()
                .and_then(|key| self.groups.listed_by_external_id.get(key).copied());
            let same_name = self.groups.listed_by_name.get(&fold(&entry.name));
            let other = match (same_name, same_id) {
                (Some(first), _) => Some((self.groups.listed[*first].entry.line, "name")),
                (None, Some(line)) => Some((line, "external id")),
                (None, None) => None,
            };
            let state = match other {
                None => {
                    self.groups.listed_by_name.insert(fold(&entry.name), place);
                    self.groups
                        .listed_by_external_id
                        .extend(key.map(|key| (key, entry.line)));
                    State::Waiting(String::new())
                }
                Some((line, what)) => {
                    let reason = format!("the group of line {line} has the same {what}; change one of them");
                    self.refuse_group(&entry, reason);
                    // It is in the file, and so it is not missing.
                    if let Some(index) = self.identified_group(&entry) {
                        self.groups.nodes[index].seen = true;
                    }
                    State::Refused
                }
            };
            self.groups.listed_by_line.insert(entry.line, place);
            self.groups.listed.push(Listed {
                entry,
                state,
                named_by: Vec::new(),
            });
        }
        Ok(())
    }

    fn refuse_group(&mut self, entry: &GroupEntry, reason: String) {
        self.report
            .refuse(Remark::new(entry.line, subject(Kind::Group, &entry.name), reason));
    }

    /// The group whose external id, or id, an entry has.
    fn identified_group(&self, entry: &GroupEntry) -> Option<Index> {
        let source = self.source_of(entry.source.as_ref());
        let external_id = entry.external_id.clone().flatten();
        external_id
            .and_then(|id| self.groups.by_external_id.get(&(source, id)).copied())
            .or_else(|| self.groups.by_id.get(entry.id.as_deref()?).copied())
    }

    /// Plans the groups that the file lists, as far as nothing is in their way.
    pub(super) async fn plan_groups(&mut self) -> Result<(), Stop> {
        let mut progress = true;
        while progress {
            progress = false;
            for place in 0..self.groups.listed.len() {
                self.go_on()?;
                let State::Waiting(_) = self.groups.listed[place].state else {
                    continue;
                };
                let entry = self.groups.listed[place].entry.clone();
                self.groups.listed[place].state = match self.plan_group(&entry).await? {
                    Ok(group) => {
                        progress = true;
                        State::Planned(group)
                    }
                    Err(Not::Refused(reason)) => {
                        self.refuse_group(&entry, reason);
                        State::Refused
                    }
                    Err(Not::Yet(reason)) => State::Waiting(reason),
                };
            }
        }
        Ok(())
    }

    /// Refuses the groups that still have something in their way.
    pub(super) fn refuse_waiting_groups(&mut self) {
        for place in 0..self.groups.listed.len() {
            let listed = &mut self.groups.listed[place];
            if let State::Waiting(reason) = &mut listed.state {
                let reason = std::mem::take(reason);
                let entry = listed.entry.clone();
                listed.state = State::Refused;
                self.refuse_group(&entry, reason);
            }
        }
    }

    async fn plan_group(&mut self, entry: &GroupEntry) -> Result<Result<Index, Not>, Stop> {
        let source = self.source_of(entry.source.as_ref());
        let mut entry = entry.clone();
        let by_name = self
            .groups
            .by_name
            .get(&fold(&entry.name))
            .copied()
            .filter(|index| {
                // External ids of one owner that differ are different groups.
                let group = &self.groups.nodes[*index].group;
                let said = entry.external_id.clone().flatten();
                group.source != source
                    || said.is_none()
                    || group.external_id.is_none()
                    || group.external_id == said
            });
        let Some(index) = self.identified_group(&entry).or(by_name) else {
            if let Some(holder) = self.groups.by_name.get(&fold(&entry.name)) {
                return Ok(Err(Not::Yet(self.holder(*holder))));
            }
            let new = NewGroup {
                name: entry.name.clone(),
                description: entry.description.clone().flatten(),
                external_id: entry.external_id.clone().flatten(),
                source,
            };
            return Ok(self.make_group(entry.line, new).await?.map_err(Not::Refused));
        };
        let node = &mut self.groups.nodes[index];
        node.seen = true;
        match node.line {
            Some(line) if line != entry.line => {
                return Ok(Err(Not::Yet(format!("is the same group as on line {line}"))));
            }
            _ => node.line = Some(entry.line),
        }
        let before = node.group.clone();
        if node.id.is_some() && node.id == entry.id {
            // It says its id here, and so nothing of an external one.
            entry.external_id = None;
        }
        let adopted = match self.may_touch(&before.source, entry.source.as_ref()) {
            Ok(adopted) => adopted,
            Err(reason) => return Ok(Err(Not::Refused(reason))),
        };
        if adopted.is_none() && before.source != source {
            // An external id means something to the owner only.
            entry.external_id = None;
        }
        let differs =
            |said: &Option<Option<String>>, is: &Option<String>| said.clone().filter(|said| said != is);
        let changes = GroupChanges {
            name: Some(entry.name.clone()).filter(|name| *name != before.name),
            description: differs(&entry.description, &before.description),
            external_id: differs(&entry.external_id, &before.external_id),
            source: adopted.filter(|source| *source != before.source),
        };
        let after = changes.applied_to(&before);
        if let Err(error) = after.check_limits(Some(&before)) {
            return Ok(Err(Not::Refused(error.to_string())));
        }
        if let Some(id) = &after.external_id
            && let Some(line) = self
                .groups
                .listed_by_external_id
                .get(&(after.source.clone(), id.clone()))
            && *line != entry.line
        {
            // Whoever is taken over takes an external id along.
            let reason = format!("has the external id {id:?}, which is that of the group of line {line}");
            return Ok(Err(Not::Refused(reason)));
        }
        let holders = [
            self.groups.by_name.get(&fold(&after.name)),
            after.external_id.as_ref().and_then(|id| {
                self.groups
                    .by_external_id
                    .get(&(after.source.clone(), id.clone()))
            }),
        ];
        if let Some(holder) = holders.into_iter().flatten().find(|holder| **holder != index) {
            return Ok(Err(Not::Yet(self.holder(*holder))));
        }
        if after == before {
            self.report.report.groups.unchanged += 1;
            return Ok(Ok(index));
        }
        self.groups.unindex(index);
        self.groups.nodes[index].group = after;
        self.groups.index(index);
        self.report.report.groups.updated += 1;
        self.report
            .sample(Deed::Update, Kind::Group, || entry.name.clone());
        self.step(Step::ChangeGroup {
            group: index,
            line: entry.line,
            name: entry.name,
            changes,
        })
        .await?;
        Ok(Ok(index))
    }

    /// Who has the name or external id that an entry wants, for people.
    fn holder(&self, index: Index) -> String {
        let node = &self.groups.nodes[index];
        let who = match node.line {
            Some(line) => format!("the group of line {line}"),
            None => format!("the group {:?}", node.group.name),
        };
        match &node.group.external_id {
            Some(id) => format!(
                "its name or external id is taken by {who}, whose external id is {id:?}; rename or delete that one first"
            ),
            None => format!("its name or external id is taken by {who}; rename or delete that one first"),
        }
    }

    /// Makes a group whose name nobody has.
    async fn make_group(&mut self, line: u64, new: NewGroup) -> Result<Result<Index, String>, Stop> {
        let group = Group {
            id: String::new(),
            name: new.name.clone(),
            description: new.description.clone(),
            source: new.source.clone(),
            external_id: new.external_id.clone(),
            create_time: 0,
            update_time: 0,
        };
        if let Err(error) = group.check_limits(None) {
            return Ok(Err(error.to_string()));
        }
        let index = self.groups.insert(group, None);
        self.groups.nodes[index].seen = true;
        self.groups.nodes[index].line = (line > 0).then_some(line);
        self.report.report.groups.created += 1;
        self.report.sample(Deed::Create, Kind::Group, || new.name.clone());
        self.step(Step::MakeGroup {
            group: index,
            line,
            new,
        })
        .await?;
        Ok(Ok(index))
    }
}
