//! Deleting what belongs to the import's owner and is no longer in the file.

use rollcall_db::DbError;

use super::entry::fingerprint;
use super::{Deed, DeletionLimit, Import, ImportError, Withheld};
use crate::directory::{Command, DirectoryError, query};

/// Users that are looked through at once.
const PAGE: usize = 2_000;
/// Deletions that are queued at once.
const AT_ONCE: usize = 256;

/// What is missing of each kind: ids with names for people.
#[derive(Default)]
struct Missing {
    groups: Vec<(String, String)>,
    users: Vec<(String, String)>,
    /// Those below before those above.
    units: Vec<(String, String)>,
    owned: u64,
}

impl<P: FnMut(&'static str, u64)> Import<'_, P> {
    pub(super) async fn delete_missing(&mut self, limit: DeletionLimit) -> Result<(), ImportError> {
        let missing = self.find_missing().await?;
        let deletions = (missing.groups.len() + missing.users.len() + missing.units.len()) as u64;
        if !limit.allows(deletions, missing.owned) {
            self.report.withheld = Some(Withheld {
                deletions,
                owned: missing.owned,
                limit: limit.to_string(),
            });
            return Ok(());
        }
        // Groups before their members and users before their units, as a directory is taken apart.
        for (kind, subjects) in [
            ("group", missing.groups),
            ("user", missing.users),
            ("organizational unit", missing.units),
        ] {
            for portion in subjects.chunks(if kind == "organizational unit" { 1 } else { AT_ONCE }) {
                self.delete(kind, portion).await?;
            }
        }
        Ok(())
    }

    async fn find_missing(&self) -> Result<Missing, ImportError> {
        let Some(owner) = self.options.owner.clone() else {
            return Err(ImportError::NoOwner);
        };
        let mut missing = Missing::default();
        let mut after = String::new();
        loop {
            let (source, from) = (owner.clone(), after.clone());
            let page = self
                .hub
                .db
                .read(move |tx| query::owned_users(tx, &source, &from, PAGE))
                .await?;
            let Some((last, _)) = page.last() else { break };
            after.clone_from(last);
            missing.owned += page.len() as u64;
            missing.users.extend(
                page.into_iter()
                    .filter(|(id, _)| !self.seen.contains(&fingerprint(id))),
            );
        }
        let (groups, units) = self
            .hub
            .db
            .read(|tx| Ok::<_, DbError>((query::list_groups(tx)?, query::all_units(tx)?)))
            .await?;
        for group in groups.into_iter().filter(|group| group.source == owner) {
            missing.owned += 1;
            if !self.seen.contains(&fingerprint(&group.id)) {
                missing.groups.push((group.id, group.name));
            }
        }
        for unit in units.into_iter().rev().filter(|unit| unit.source == owner) {
            missing.owned += 1;
            if !self.seen.contains(&fingerprint(&unit.id)) {
                missing.units.push((unit.id, unit.name));
            }
        }
        Ok(missing)
    }

    async fn delete(&mut self, kind: &'static str, portion: &[(String, String)]) -> Result<(), ImportError> {
        let mut deleting = Vec::with_capacity(portion.len());
        for (id, name) in portion {
            self.sample(Deed::Delete, kind, || name.clone());
            let id = id.clone();
            let command = match kind {
                "user" => Command::DeleteUser { id },
                "group" => Command::DeleteGroup { id },
                _ => Command::DeleteUnit { id, cascade: false },
            };
            let deletion = (!self.options.dry_run).then(|| self.queue(vec![command]));
            deleting.push((name, deletion));
        }
        for (name, deletion) in deleting {
            let done = match deletion {
                Some(deletion) => deletion.await.map(drop),
                None => Ok(()),
            };
            match done {
                Ok(()) => {
                    let counts = match kind {
                        "user" => &mut self.report.users,
                        "group" => &mut self.report.groups,
                        _ => &mut self.report.organizational_units,
                    };
                    counts.deleted += 1;
                }
                Err(DirectoryError::Database(error)) => return Err(error.into()),
                Err(error) => self.refuse(0, format!("{kind} {name} is not deleted: {error}")),
            }
        }
        Ok(())
    }
}
