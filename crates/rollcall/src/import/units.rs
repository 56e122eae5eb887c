//! Organizational units of an import: those that a file lists, and those that paths name.

use std::collections::{BTreeMap, HashMap};

use super::entry::{Path, UnitEntry, fingerprint};
use super::reader::File;
use super::{Deed, Import, ImportError};
use crate::directory::{Command, NewUnit, Source, Unit, UnitChanges, fields::fold, path, query};
use crate::hub::Hub;
use crate::id::ROOT_UNIT;

/// What became of a path.
#[derive(Clone, Debug)]
enum Place {
    /// The unit is there.
    Is(String),
    /// A dry run would make it.
    WouldBe,
    /// It cannot be made.
    Refused(String),
}

/// The units by path, kept up with what the import does.
#[derive(Debug, Default)]
pub(super) struct Units {
    places: HashMap<String, Place>,
    by_external_id: HashMap<(Source, String), String>,
    units: HashMap<String, Unit>,
}

fn key<S: AsRef<str>>(path: &[S]) -> String {
    let folded: Vec<String> = path.iter().map(|name| fold(name.as_ref())).collect();
    folded.join("\u{1f}")
}

impl Units {
    pub(super) async fn load(hub: &Hub) -> Result<Self, ImportError> {
        let mut units = Self::default();
        let mut paths: HashMap<String, String> = HashMap::new();
        for unit in hub.db.read(query::all_units).await? {
            let path = match unit.parent_id.as_ref().and_then(|parent| paths.get(parent)) {
                None => String::new(),
                Some(above) if above.is_empty() => fold(&unit.name),
                Some(above) => format!("{above}\u{1f}{}", fold(&unit.name)),
            };
            units.places.insert(path.clone(), Place::Is(unit.id.clone()));
            paths.insert(unit.id.clone(), path);
            if let Some(external_id) = &unit.external_id {
                units
                    .by_external_id
                    .insert((unit.source.clone(), external_id.clone()), unit.id.clone());
            }
            units.units.insert(unit.id.clone(), unit);
        }
        Ok(units)
    }

    /// The id of the unit at a path: `Ok(None)` if only a dry run lacks it.
    pub(super) fn at(&self, path: &[String]) -> Result<Option<&str>, String> {
        match self.places.get(&key(path)) {
            Some(Place::Is(id)) => Ok(Some(id)),
            Some(Place::WouldBe) => Ok(None),
            Some(Place::Refused(reason)) => Err(reason.clone()),
            None => Err(format!(
                "the organizational unit {} is not there",
                path::join(path)
            )),
        }
    }
}

impl<P: FnMut(&'static str, u64)> Import<'_, P> {
    /// Makes and changes the units that the file lists, those above first.
    pub(super) async fn import_units(&mut self, file: &File<'_>) -> Result<(), ImportError> {
        let mut levels: BTreeMap<usize, Vec<UnitEntry>> = BTreeMap::new();
        for read in file.units()? {
            if let Some(unit) = self.take(read)? {
                levels.entry(unit.path.len()).or_default().push(unit);
            }
        }
        let mut done = 0;
        for (depth, entries) in levels {
            if depth == 0 {
                // The root is the hub's own.
                continue;
            }
            // A parent that the file does not list is made from the path alone.
            let parents: Vec<Path> = entries
                .iter()
                .map(|entry| entry.path[..depth - 1].to_vec())
                .collect();
            self.ensure_units(parents.iter()).await?;
            for entry in entries {
                self.import_unit(&entry).await?;
                done += 1;
                (self.progress)("organizational units", done);
            }
        }
        Ok(())
    }

    async fn import_unit(&mut self, entry: &UnitEntry) -> Result<(), ImportError> {
        let source = self.source_of(entry.source.as_ref());
        let external_id = entry.external_id.clone().flatten();
        let by_id = external_id
            .clone()
            .and_then(|id| self.units.by_external_id.get(&(source.clone(), id)).cloned());
        let place = self.units.places.get(&key(&entry.path)).cloned();
        let known = by_id.or(match place {
            Some(Place::Is(id)) => Some(id),
            _ => None,
        });
        let (Some(name), Ok(parent)) = (
            entry.path.last(),
            self.units
                .at(&entry.path[..entry.path.len() - 1])
                .map(|id| id.map(str::to_owned)),
        ) else {
            self.refuse(entry.line, "the organizational unit above it could not be made");
            return Ok(());
        };
        match known.and_then(|id| self.units.units.get(&id).cloned()) {
            Some(unit) => self.update_unit(entry, &unit, name, parent).await,
            None => {
                let new = NewUnit {
                    name: name.clone(),
                    parent_id: parent.unwrap_or_default(),
                    description: entry.description.clone().flatten(),
                    external_id,
                    source,
                };
                self.make_unit(entry.line, &entry.path, new).await
            }
        }
    }

    async fn make_unit(&mut self, line: u64, path: &[String], new: NewUnit) -> Result<(), ImportError> {
        self.report.organizational_units.created += 1;
        self.sample(Deed::Create, "organizational unit", || path::join(path));
        let place = if self.options.dry_run {
            Place::WouldBe
        } else {
            match self.queue(vec![Command::CreateUnit(new)]).await {
                Ok(made) => {
                    self.seen.insert(fingerprint(&made.id));
                    Place::Is(made.id)
                }
                Err(error) => {
                    self.report.organizational_units.created -= 1;
                    let reason = format!("organizational unit {}: {error}", path::join(path));
                    if line > 0 {
                        self.refuse(line, reason.clone());
                    }
                    Place::Refused(reason)
                }
            }
        };
        self.units.places.insert(key(path), place);
        Ok(())
    }

    async fn update_unit(
        &mut self,
        entry: &UnitEntry,
        unit: &Unit,
        name: &str,
        parent: Option<String>,
    ) -> Result<(), ImportError> {
        self.seen.insert(fingerprint(&unit.id));
        let adopted = match self.may_touch(&unit.source) {
            Ok(adopted) => adopted,
            Err(reason) => {
                self.refuse(
                    entry.line,
                    format!("organizational unit {}: {reason}", path::join(&entry.path)),
                );
                return Ok(());
            }
        };
        let mut changes = UnitChanges {
            source: adopted.filter(|source| *source != unit.source),
            ..UnitChanges::default()
        };
        if unit.name != name {
            changes.name = Some(name.to_owned());
        }
        if let Some(text) = entry
            .description
            .as_ref()
            .filter(|text| **text != unit.description)
        {
            changes.description = Some(text.clone());
        }
        if let Some(id) = entry.external_id.as_ref().filter(|id| **id != unit.external_id) {
            changes.external_id = Some(id.clone());
        }
        let id = unit.id.clone();
        let mut commands = Vec::new();
        if let Some(parent_id) = parent.filter(|parent| unit.parent_id.as_ref() != Some(parent)) {
            commands.push(Command::MoveUnit {
                id: id.clone(),
                parent_id,
            });
        }
        let UnitChanges {
            name: renamed,
            description,
            external_id,
            source,
        } = &changes;
        if renamed.is_some() || description.is_some() || external_id.is_some() || source.is_some() {
            commands.push(Command::UpdateUnit {
                id: id.clone(),
                changes,
            });
        }
        self.units.places.insert(key(&entry.path), Place::Is(id));
        if commands.is_empty() {
            self.report.organizational_units.unchanged += 1;
            return Ok(());
        }
        self.sample(Deed::Update, "organizational unit", || path::join(&entry.path));
        if !self.options.dry_run
            && let Err(error) = self.queue(commands).await
        {
            self.refuse(
                entry.line,
                format!("organizational unit {}: {error}", path::join(&entry.path)),
            );
            return Ok(());
        }
        self.report.organizational_units.updated += 1;
        Ok(())
    }

    /// Makes the units that paths name, with all above them, as far as they are not there.
    pub(super) async fn ensure_units(
        &mut self,
        paths: impl Iterator<Item = &Path>,
    ) -> Result<(), ImportError> {
        for path in paths {
            for depth in 1..=path.len() {
                let path = &path[..depth];
                if self.units.places.contains_key(&key(path)) {
                    continue;
                }
                let parent = match self.units.at(&path[..depth - 1]) {
                    Ok(id) => id.map(str::to_owned),
                    Err(reason) => {
                        self.units.places.insert(key(path), Place::Refused(reason));
                        continue;
                    }
                };
                let new = NewUnit {
                    name: path[depth - 1].clone(),
                    parent_id: parent.unwrap_or_else(|| ROOT_UNIT.to_owned()),
                    source: self.source_of(None),
                    ..NewUnit::default()
                };
                self.make_unit(0, path, new).await?;
            }
        }
        Ok(())
    }

    /// Notes that the file names the units at these paths, so that they are not missing.
    pub(super) fn names_units<'p>(&mut self, paths: impl Iterator<Item = &'p Path>) {
        for path in paths {
            for depth in 1..=path.len() {
                if let Ok(Some(id)) = self.units.at(&path[..depth]) {
                    let print = fingerprint(id);
                    self.seen.insert(print);
                }
            }
        }
    }
}
