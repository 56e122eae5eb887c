//! Organizational units of an import: those that a file lists, and those that paths name.

use std::collections::{HashMap, HashSet};

use super::entry::{Path, UnitEntry};
use super::execute::subject;
use super::reader::File;
use super::report::{Deed, Kind, Remark};
use super::step::{Index, Step, UnitEdit};
use super::tree::{ROOT, key};
use super::{Import, Stop};
use crate::directory::{NewUnit, Source, Unit, UnitChanges, fields::fold, path};
use crate::id::ROOT_UNIT;

/// Why an entry is not planned now.
enum Not {
    /// It never will be.
    Refused(String),
    /// Something is in its way that may go.
    Yet(String),
}

/// What the listed units have come to.
#[derive(Default)]
struct Listed {
    /// The units that entries of these paths mean by their ids, wherever those stand yet.
    meant: HashMap<String, Index>,
    /// Those of them that stand elsewhere so far: their places become free.
    leaving: HashSet<Index>,
    /// The paths of entries that are not planned yet.
    waiting: HashSet<String>,
    /// The paths of entries that were refused, with their lines.
    refused: HashMap<String, u64>,
    /// The lines of all entries by their external ids.
    external_ids: HashMap<(Source, String), u64>,
}

impl<P: FnMut(&'static str, u64)> Import<'_, P> {
    /// Plans the units that the file lists, those above first.
    pub(super) async fn plan_units(&mut self, file: &File<'_>) -> Result<(), Stop> {
        let mut entries = Vec::new();
        for read in file.units()? {
            if let Some(entry) = self.take(read)?
                // The root is the hub's own.
                && !entry.path.is_empty()
            {
                entries.push(entry);
            }
        }
        let paths: Vec<Path> = entries.iter().map(|entry| entry.path.clone()).collect();
        self.plan_listed_units(entries).await?;
        // What they name is told where all of them have their places.
        for path in &paths {
            self.units.see(path);
        }
        Ok(())
    }

    async fn plan_listed_units(&mut self, mut entries: Vec<UnitEntry>) -> Result<(), Stop> {
        entries.sort_by_key(|entry| entry.path.len());
        let mut listed = Listed::default();
        let mut entries = self.first_units(entries, &mut listed);
        let mut done = 0;
        loop {
            let before = entries.len();
            let mut waiting = Vec::new();
            for entry in entries {
                self.go_on()?;
                let planned = self.plan_unit(&entry, &listed).await?;
                let path = key(&entry.path);
                if let (Ok(()) | Err(Not::Refused(_)), Some(unit)) = (&planned, listed.meant.get(&path)) {
                    listed.leaving.remove(unit);
                }
                match planned {
                    Ok(()) => drop(listed.waiting.remove(&path)),
                    Err(Not::Refused(reason)) => {
                        listed.waiting.remove(&path);
                        listed.meant.remove(&path);
                        listed.refused.insert(path, entry.line);
                        self.refuse_unit(&entry, reason);
                    }
                    Err(Not::Yet(reason)) => {
                        waiting.push((entry, reason));
                        continue;
                    }
                }
                done += 1;
                (self.progress)("organizational units", done);
            }
            if waiting.is_empty() {
                return Ok(());
            }
            if waiting.len() == before {
                for (entry, reason) in waiting {
                    self.refuse_unit(&entry, reason);
                }
                return Ok(());
            }
            entries = waiting.into_iter().map(|(entry, _)| entry).collect();
        }
    }

    /// The entries without those whose path or external id an earlier one has.
    fn first_units(&mut self, entries: Vec<UnitEntry>, listed: &mut Listed) -> Vec<UnitEntry> {
        let mut lines: HashMap<String, u64> = HashMap::new();
        let mut first = Vec::with_capacity(entries.len());
        for entry in entries {
            let path = key(&entry.path);
            let external_id = entry.external_id.clone().flatten();
            let by_id = external_id.map(|id| (self.source_of(entry.source.as_ref()), id));
            let same_id = by_id.as_ref().and_then(|id| listed.external_ids.get(id));
            if let Some(line) = lines.get(&path) {
                let reason = format!("the unit of line {line} has the same path");
                self.refuse_unit(&entry, reason);
                continue;
            }
            if let Some(line) = same_id {
                let reason = format!("the unit of line {line} has the same external id");
                self.refuse_unit(&entry, reason);
                continue;
            }
            lines.insert(path.clone(), entry.line);
            listed.external_ids.extend(by_id.map(|id| (id, entry.line)));
            if let Some(unit) = self.identified(&entry) {
                self.units.nodes[unit].seen = true;
                listed.meant.insert(path.clone(), unit);
                if self.units.at(&entry.path) != Some(unit) {
                    listed.leaving.insert(unit);
                }
            }
            listed.waiting.insert(path);
            first.push(entry);
        }
        first
    }

    fn refuse_unit(&mut self, entry: &UnitEntry, reason: String) {
        let subject = subject(Kind::Unit, &path::join(&entry.path));
        self.report.refuse(Remark::new(entry.line, subject, reason));
    }

    /// The unit whose external id, or id, an entry has.
    fn identified(&self, entry: &UnitEntry) -> Option<Index> {
        let source = self.source_of(entry.source.as_ref());
        let external_id = entry.external_id.clone().flatten();
        external_id
            .and_then(|id| self.units.by_external_id.get(&(source, id)).copied())
            .or_else(|| self.units.of_id(entry.id.as_deref()?))
    }

    async fn plan_unit(&mut self, entry: &UnitEntry, listed: &Listed) -> Result<Result<(), Not>, Stop> {
        let Some((name, above)) = entry.path.split_last() else {
            return Ok(Ok(()));
        };
        for depth in 1..=above.len() {
            let path = key(&above[..depth]);
            if let Some(line) = listed.refused.get(&path) {
                return Ok(Err(Not::Refused(format!(
                    "the unit above it (line {line}) is refused"
                ))));
            }
            // One that is there can be moved later, with what is put below it now.
            if listed.waiting.contains(&path) && !listed.meant.contains_key(&path) {
                return Ok(Err(Not::Yet("the unit above it has to wait for another".into())));
            }
        }
        for depth in 1..=entry.path.len() {
            let path = &entry.path[..depth];
            if !listed.meant.contains_key(&key(path))
                && let Some(unit) = self.units.locate(path, &listed.meant)
                && listed.leaving.contains(&unit)
            {
                return Ok(Err(Not::Yet(format!(
                    "the unit at {} is to leave it, and cannot",
                    path::join(path)
                ))));
            }
        }
        let source = self.source_of(entry.source.as_ref());
        let mut entry = entry.clone();
        let identified = self.identified(&entry);
        if identified.is_some_and(|unit| self.units.nodes[unit].id == entry.id && entry.id.is_some()) {
            // It says its id here, and so nothing of an external one.
            entry.external_id = None;
        }
        let at_path = match self.units.locate(above, &listed.meant) {
            Some(parent) => self.units.children.get(&(parent, fold(name))).copied(),
            None => None,
        };
        let unit = match (identified, at_path) {
            (Some(unit), _) => Some(unit),
            (None, Some(unit)) => {
                if let Some(line) = self.units.nodes[unit].line {
                    return Ok(Err(Not::Yet(format!("is the same path as on line {line}"))));
                }
                match self.foreign_external_id(&entry, unit) {
                    Some(theirs)
                        if listed
                            .external_ids
                            .contains_key(&(source.clone(), theirs.clone())) =>
                    {
                        return Ok(Err(Not::Yet(
                            "another unit of the file stands there, and does not leave".into(),
                        )));
                    }
                    Some(theirs) => {
                        // A unit is a place: it stays the same one if the other directory made it anew.
                        self.report.note(Remark::new(
                            entry.line,
                            subject(Kind::Unit, &path::join(&entry.path)),
                            format!("keeps its external id {theirs:?}; the file has another one"),
                        ));
                        entry.external_id = None;
                    }
                    None => {}
                }
                Some(unit)
            }
            (None, None) => None,
        };
        match unit {
            Some(unit) => self.change_unit(entry, unit, listed).await,
            None => {
                let new = NewUnit {
                    name: name.clone(),
                    parent_id: String::new(),
                    description: entry.description.clone().flatten(),
                    external_id: entry.external_id.clone().flatten(),
                    source,
                };
                let made = self
                    .make_units(entry.line, &entry.path, Some(new), &listed.meant)
                    .await?;
                Ok(made.map(drop).map_err(Not::Refused))
            }
        }
    }

    /// The external id of a unit, if it is another one of the same owner than an entry's.
    fn foreign_external_id(&self, entry: &UnitEntry, unit: Index) -> Option<String> {
        let unit = &self.units.nodes[unit].unit;
        let said = entry.external_id.clone().flatten()?;
        let own = unit.external_id.clone()?;
        (own != said && unit.source == self.source_of(entry.source.as_ref())).then_some(own)
    }

    async fn change_unit(
        &mut self,
        mut entry: UnitEntry,
        index: Index,
        listed: &Listed,
    ) -> Result<Result<(), Not>, Stop> {
        let node = &mut self.units.nodes[index];
        node.seen = true;
        match node.line {
            Some(line) if line != entry.line => {
                return Ok(Err(Not::Yet(format!("is the same unit as on line {line}"))));
            }
            _ => node.line = Some(entry.line),
        }
        let before = node.unit.clone();
        let old_parent = node.parent;
        let adopted = match self.may_touch(&before.source, entry.source.as_ref()) {
            Ok(adopted) => adopted,
            Err(reason) => return Ok(Err(Not::Refused(reason))),
        };
        if adopted.is_none() && before.source != self.source_of(entry.source.as_ref()) {
            // An external id means something to the owner only.
            entry.external_id = None;
        }
        let Some((name, above)) = entry.path.split_last() else {
            return Ok(Ok(()));
        };
        if old_parent.is_none() {
            return Ok(Err(Not::Refused("is the root here".into())));
        }
        let parent = match self.units.locate(above, &listed.meant) {
            Some(parent) => parent,
            None => match self.make_units(0, above, None, &listed.meant).await? {
                Ok(parent) => parent,
                Err(reason) => return Ok(Err(Not::Refused(reason))),
            },
        };
        let differs =
            |said: &Option<Option<String>>, is: &Option<String>| said.clone().filter(|said| said != is);
        let changes = UnitChanges {
            name: Some(name.clone()).filter(|name| *name != before.name),
            description: differs(&entry.description, &before.description),
            external_id: differs(&entry.external_id, &before.external_id),
            source: adopted.filter(|source| *source != before.source),
        };
        let after = changes.applied_to(&before);
        if let Err(error) = after.check_limits(Some(&before)) {
            return Ok(Err(Not::Refused(error.to_string())));
        }
        if let Some(id) = &after.external_id
            && let Some(line) = listed.external_ids.get(&(after.source.clone(), id.clone()))
            && *line != entry.line
        {
            // Whoever is taken over takes an external id along.
            let reason = format!("has the external id {id:?}, which is that of the unit of line {line}");
            return Ok(Err(Not::Refused(reason)));
        }
        let moves = old_parent != Some(parent);
        if moves && self.units.is_within(parent, index) {
            return Ok(Err(Not::Yet("cannot be moved below itself".into())));
        }
        let taken = |place: Index, name: &str| {
            self.units
                .children
                .get(&(place, fold(name)))
                .copied()
                .filter(|holder| *holder != index)
        };
        let taken_by = |holder: Index| match self.units.nodes[holder].line {
            Some(line) => format!("the unit of line {line} has this path"),
            None => "another unit has this path, and the file does not move it".to_owned(),
        };
        if let Some(holder) = taken(parent, name) {
            return Ok(Err(Not::Yet(taken_by(holder))));
        }
        if let Some(id) = &after.external_id
            && let Some(holder) = self.units.by_external_id.get(&(after.source.clone(), id.clone()))
            && *holder != index
        {
            return Ok(Err(Not::Yet(self.units.external_id_taken(*holder, id))));
        }
        let renames = changes.name.is_some();
        let UnitChanges {
            name: _,
            description,
            external_id,
            source,
        } = &changes;
        let mut edits = Vec::new();
        if renames || description.is_some() || external_id.is_some() || source.is_some() {
            edits.push(UnitEdit::Fields(changes));
        }
        if moves {
            // Whoever has the new name beside it, or the old one where it goes, must not be met on the way.
            let rename_first = !renames || old_parent.is_none_or(|old| taken(old, name).is_none());
            let move_first = taken(parent, &before.name).is_none();
            match (rename_first, move_first) {
                (true, _) => edits.push(UnitEdit::Move(parent)),
                (false, true) => edits.insert(0, UnitEdit::Move(parent)),
                (false, false) => {
                    // Under a name of its own nobody is in the way.
                    let passing = UnitChanges {
                        name: Some(before.id.clone()),
                        ..UnitChanges::default()
                    };
                    edits.splice(0..0, [UnitEdit::Fields(passing), UnitEdit::Move(parent)]);
                }
            }
        }
        self.units.replace(index, after, Some(parent));
        if edits.is_empty() {
            self.report.report.organizational_units.unchanged += 1;
            return Ok(Ok(()));
        }
        let path = path::join(&entry.path);
        self.report.report.organizational_units.updated += 1;
        self.report.sample(Deed::Update, Kind::Unit, || path.clone());
        self.step(Step::ChangeUnit {
            unit: index,
            line: entry.line,
            path,
            edits,
        })
        .await?;
        Ok(Ok(()))
    }

    /// The units at paths, made as far as they are not there, with all above them; nothing is made if one of them
    /// cannot be.
    pub(super) async fn places(&mut self, paths: &[&Path]) -> Result<Result<Vec<Index>, String>, Stop> {
        for path in paths {
            if let Err(reason) = self.check_path(path, &HashMap::new()) {
                return Ok(Err(reason));
            }
        }
        let mut places = Vec::with_capacity(paths.len());
        for path in paths {
            match self.make_units(0, path, None, &HashMap::new()).await? {
                Ok(place) => {
                    self.units.see(path);
                    places.push(place);
                }
                Err(reason) => return Ok(Err(reason)),
            }
        }
        Ok(Ok(places))
    }

    /// Whether the units on a path that are not there can be made.
    fn check_path(&self, path: &[String], meant: &HashMap<String, Index>) -> Result<(), String> {
        if self.units.locate(path, meant).is_some() {
            return Ok(());
        }
        for depth in 1..=path.len() {
            if self.units.locate(&path[..depth], meant).is_none() {
                let unit = unit_of(NewUnit {
                    name: path[depth - 1].clone(),
                    ..NewUnit::default()
                });
                unit.check_limits(None).map_err(|error| {
                    format!("organizational unit {}: {error}", path::join(&path[..depth]))
                })?;
            }
        }
        Ok(())
    }

    /// Makes the unit at a path, with all above it. What is there already is returned as it is.
    async fn make_units(
        &mut self,
        line: u64,
        path: &[String],
        last: Option<NewUnit>,
        meant: &HashMap<String, Index>,
    ) -> Result<Result<Index, String>, Stop> {
        if let Some(unit) = self.units.locate(path, meant) {
            return Ok(Ok(unit));
        }
        if let Err(reason) = self.check_path(path, meant) {
            return Ok(Err(reason));
        }
        if let Some(last) = &last {
            if let Err(error) = unit_of(last.clone()).check_limits(None) {
                return Ok(Err(error.to_string()));
            }
            if let Some(id) = &last.external_id
                && let Some(holder) = self.units.by_external_id.get(&(last.source.clone(), id.clone()))
            {
                return Ok(Err(self.units.external_id_taken(*holder, id)));
            }
        }
        let mut parent = ROOT;
        let whole = path.len();
        for depth in 1..=whole {
            let path = &path[..depth];
            if let Some(unit) = self.units.locate(path, meant) {
                parent = unit;
                continue;
            }
            let listed = last.clone().filter(|_| depth == whole);
            let own_line = if listed.is_some() { line } else { 0 };
            let new = listed.unwrap_or_else(|| NewUnit {
                name: path[depth - 1].clone(),
                source: self.source_of(None),
                ..NewUnit::default()
            });
            let unit = self.units.insert(unit_of(new.clone()), None, Some(parent));
            self.units.nodes[unit].seen = true;
            self.units.nodes[unit].line = (own_line > 0).then_some(own_line);
            let text = path::join(path);
            self.report.report.organizational_units.created += 1;
            self.report.sample(Deed::Create, Kind::Unit, || text.clone());
            self.step(Step::MakeUnit {
                unit,
                parent,
                line: own_line,
                path: text,
                new,
            })
            .await?;
            parent = unit;
        }
        Ok(Ok(parent))
    }
}

/// The unit that comes of a new one, as far as a plan needs it.
fn unit_of(new: NewUnit) -> Unit {
    Unit {
        id: String::new(),
        parent_id: Some(ROOT_UNIT.to_owned()),
        name: new.name,
        description: new.description,
        source: new.source,
        external_id: new.external_id,
        create_time: 0,
        update_time: 0,
    }
}
