//! Users of an import, portion by portion.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rollcall_db::DbError;

use super::entry::{Path, Reference, UserEntry, fingerprint};
use super::reader::File;
use super::{Applied, Deed, Import, ImportError, Later};
use crate::directory::{self, Command, DirectoryError, NewUser, User, fields::fold, path, query};

/// Users that are compared, and made in one transaction.
const PORTION: usize = 500;

/// Which user a reference of the file means: its id, or its username in a dry run.
pub(super) type Known = HashMap<Reference, String>;

/// The primary unit and the further ones, as far as they are there.
type UnitIds = (Option<String>, Vec<Option<String>>);

/// A portion that is being written while the next one is read.
struct Writing {
    created: Vec<UserEntry>,
    making: Later<Result<Vec<Result<String, DirectoryError>>, DirectoryError>>,
    changing: Vec<Changing>,
}

/// An entry, the id of its user, and what becomes of the commands.
type Changing = (UserEntry, String, Later<Result<Applied, DirectoryError>>);

impl<P: FnMut(&'static str, u64)> Import<'_, P> {
    /// Imports the users; returns who the file's references mean.
    pub(super) async fn import_users(&mut self, file: &File<'_>) -> Result<Known, ImportError> {
        let mut entries = file.users()?;
        let mut known = Known::new();
        let mut usernames = HashSet::new();
        let mut writing: Option<Writing> = None;
        let mut done = 0;
        loop {
            let mut portion = Vec::with_capacity(PORTION);
            while portion.len() < PORTION
                && let Some(read) = entries.next()
            {
                let Some(entry) = self.take(read)? else { continue };
                if usernames.insert(fingerprint(&fold(&entry.username))) {
                    portion.push(entry);
                } else {
                    self.refuse(
                        entry.line,
                        format!("{} is named before in this file", entry.username),
                    );
                }
            }
            let ended = portion.len() < PORTION;
            done += portion.len() as u64;
            let next = self.begin(portion, &mut known).await?;
            if let Some(before) = writing.replace(next) {
                self.settle(before, &mut known).await?;
            }
            (self.progress)("users", done);
            if ended {
                break;
            }
        }
        if let Some(last) = writing {
            self.settle(last, &mut known).await?;
        }
        Ok(known)
    }

    /// Compares a portion with the directory and queues what is to be done.
    async fn begin(&mut self, portion: Vec<UserEntry>, known: &mut Known) -> Result<Writing, ImportError> {
        let compared = self.compare(portion).await?;
        let paths: Vec<Path> = compared
            .iter()
            .flat_map(|(entry, _)| std::iter::once(&entry.path).chain(entry.further_paths.iter().flatten()))
            .cloned()
            .collect();
        self.ensure_units(paths.iter()).await?;
        self.names_units(paths.iter());
        let mut created = Vec::new();
        let mut new = Vec::new();
        let mut changing = Vec::new();
        for (entry, user) in compared {
            let units = match self.unit_ids(&entry) {
                Ok(units) => units,
                Err(reason) => {
                    self.refuse(entry.line, reason);
                    continue;
                }
            };
            match user {
                None => {
                    let source = self.source_of(entry.source.as_ref());
                    let (primary, further) = units;
                    self.sample(Deed::Create, "user", || {
                        format!("{} ({})", entry.username, path::join(&entry.path))
                    });
                    new.push(entry.new_user(
                        &source,
                        primary.unwrap_or_default(),
                        further.into_iter().flatten().collect(),
                    ));
                    created.push(entry);
                }
                Some(user) => {
                    self.seen.insert(fingerprint(&user.id));
                    if let Some(reference) = entry.reference {
                        known.insert(reference, user.id.clone());
                    }
                    if let Some(change) = self.change(entry, &user, units) {
                        changing.push(change);
                    }
                }
            }
        }
        if self.options.dry_run {
            self.report.users.created += created.len() as u64;
            for entry in created.drain(..) {
                self.planned.insert(fingerprint(&fold(&entry.username)));
                if let Some(reference) = entry.reference {
                    known.insert(reference, entry.username);
                }
            }
            new.clear();
        }
        Ok(Writing {
            created,
            making: self.make(new),
            changing,
        })
    }

    /// Finds who is there already, and refuses who cannot be made or must not be touched.
    async fn compare(
        &mut self,
        portion: Vec<UserEntry>,
    ) -> Result<Vec<(UserEntry, Option<Arc<User>>)>, ImportError> {
        let source = self.source_of(None);
        let wanted: Vec<_> = portion
            .iter()
            .map(|entry| (entry.username.clone(), entry.external_id.clone().flatten()))
            .collect();
        let new: Vec<NewUser> = portion
            .iter()
            .map(|entry| {
                let source = self.source_of(entry.source.as_ref());
                entry.new_user(&source, String::new(), Vec::new())
            })
            .collect();
        let (found, verdicts) = self
            .hub
            .db
            .read(move |tx| {
                let found = query::match_users(tx, &source, &wanted)?;
                let new: Vec<NewUser> = new
                    .iter()
                    .zip(&found)
                    .filter(|(_, found)| found.is_none())
                    .map(|(new, _)| new.clone())
                    .collect();
                let verdicts = directory::check_users(tx, &new)?;
                Ok::<_, DbError>((found, verdicts))
            })
            .await?;
        let mut verdicts = verdicts.into_iter();
        let mut compared = Vec::with_capacity(portion.len());
        for (entry, user) in portion.into_iter().zip(found) {
            let refused = match &user {
                None => verdicts.next().flatten().map(|error| error.to_string()),
                Some(user) => self.may_touch(&user.source).err(),
            };
            match refused {
                Some(reason) => {
                    // It is in the file, and so it is not missing.
                    if let Some(user) = user {
                        self.seen.insert(fingerprint(&user.id));
                    }
                    self.refuse(entry.line, format!("{}: {reason}", entry.username));
                }
                None => compared.push((entry, user)),
            }
        }
        Ok(compared)
    }

    fn unit_ids(&self, entry: &UserEntry) -> Result<UnitIds, String> {
        let id = |path: &Path| self.units.at(path).map(|id| id.map(str::to_owned));
        let further = entry
            .further_paths
            .iter()
            .flatten()
            .map(id)
            .collect::<Result<_, _>>()?;
        Ok((id(&entry.path)?, further))
    }

    /// Queues what changes of a user that is there, if anything does.
    fn change(&mut self, entry: UserEntry, user: &User, (primary, further): UnitIds) -> Option<Changing> {
        let id = user.id.clone();
        let mut commands = Vec::new();
        let mut said = Vec::new();
        let adopted = self.may_touch(&user.source).ok().flatten();
        if let Some((changes, text)) = entry.changes(user, adopted.as_ref()) {
            said.push(text);
            commands.push(Command::UpdateUser {
                id: id.clone(),
                changes,
            });
        }
        let present = user.unit_ids();
        let further = match &entry.further_paths {
            Some(_) => further,
            None => present.iter().skip(1).cloned().map(Some).collect(),
        };
        let wanted: HashSet<Option<&str>> = std::iter::once(primary.as_deref())
            .chain(further.iter().map(Option::as_deref))
            .collect();
        let stands: HashSet<Option<&str>> = present.iter().map(|id| Some(id.as_str())).collect();
        if wanted != stands || primary.as_deref() != present.first().map(String::as_str) {
            said.push(format!("moved to {}", path::join(&entry.path)));
            commands.push(Command::SetUnits {
                id: id.clone(),
                primary: primary.unwrap_or_default(),
                further: further.into_iter().flatten().collect(),
            });
        }
        if let Some(enabled) = entry.enabled.filter(|enabled| *enabled != user.enabled) {
            said.push(if enabled { "enabled" } else { "disabled" }.to_owned());
            let id = id.clone();
            commands.push(match enabled {
                true => Command::EnableUser { id },
                false => Command::DisableUser { id },
            });
        }
        if commands.is_empty() && entry.groups.is_empty() {
            self.report.users.unchanged += 1;
            return None;
        }
        if self.options.dry_run {
            match commands.is_empty() {
                true => self.report.users.unchanged += 1,
                false => {
                    self.report.users.updated += 1;
                    self.sample(Deed::Update, "user", || {
                        format!("{}: {}", user.username, said.join("; "))
                    });
                }
            }
            return None;
        }
        let changing: Later<_> = if commands.is_empty() {
            Box::pin(std::future::ready(Ok(Applied::default())))
        } else {
            self.queue(commands)
        };
        Some((entry, id, changing))
    }

    fn make(&self, new: Vec<NewUser>) -> Later<Result<Vec<Result<String, DirectoryError>>, DirectoryError>> {
        if new.is_empty() {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        let (hub, actor) = (self.hub.clone(), self.actor.clone());
        Box::pin(self.hub.db.write(move |tx| hub.create_users_in(tx, &actor, &new)))
    }

    /// Waits for a portion to be written, and adds its users to the groups that they name.
    async fn settle(&mut self, writing: Writing, known: &mut Known) -> Result<(), ImportError> {
        let mut joining: BTreeMap<String, Vec<String>> = BTreeMap::new();
        match writing.making.await {
            Ok(made) => {
                for (entry, made) in writing.created.into_iter().zip(made) {
                    match made {
                        Ok(id) => {
                            self.report.users.created += 1;
                            self.seen.insert(fingerprint(&id));
                            for group in entry.groups {
                                joining.entry(group).or_default().push(id.clone());
                            }
                            if let Some(reference) = entry.reference {
                                known.insert(reference, id);
                            }
                        }
                        Err(error) => self.refuse(entry.line, format!("{}: {error}", entry.username)),
                    }
                }
            }
            Err(DirectoryError::Database(error)) => return Err(error.into()),
            // Another process made one of them meanwhile. It is found by the next import.
            Err(error) => {
                for entry in writing.created {
                    self.refuse(entry.line, format!("{}: {error}", entry.username));
                }
            }
        }
        for (entry, id, changing) in writing.changing {
            match changing.await {
                Ok(applied) => {
                    match applied.changes {
                        0 => self.report.users.unchanged += 1,
                        _ => self.report.users.updated += 1,
                    }
                    for group in entry.groups {
                        joining.entry(group).or_default().push(id.clone());
                    }
                }
                Err(DirectoryError::Database(error)) => return Err(error.into()),
                Err(error) => self.refuse(entry.line, format!("{}: {error}", entry.username)),
            }
        }
        self.join_groups(joining).await
    }
}
