//! Carrying a plan out, step by step.
//!
//! Users are written in portions, each while the next one is still planned. A plan was made for the directory as
//! it was; where somebody else changed it meanwhile, a step may fail. It is then reported and taken out of the
//! counts, and the next import finds the difference.

use std::collections::BTreeMap;
use std::pin::Pin;

use super::ImportError;
use super::report::{Kind, Remark, Writer};
use super::step::{Index, Joining, Step, UnitEdit, UserEdit, UserRef, Users};
use crate::access::Caller;
use crate::directory::{Cascade, Command, DirectoryError, NewUser, query};
use crate::hub::Hub;

/// Members that one command adds or removes.
const MEMBERS: usize = 1_000;
/// Deletions that are queued at once.
const DELETIONS: usize = 256;

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Creations = Result<Vec<Result<String, DirectoryError>>, DirectoryError>;

/// A user that is being changed: the line, the username, and what comes of it.
type Changing = (u64, String, Later<Result<String, DirectoryError>>);

/// A portion that is being written.
struct Writing {
    made: Vec<(u64, String)>,
    making: Later<Creations>,
    changing: Vec<Changing>,
    joining: BTreeMap<Index, Joining>,
}

pub(super) struct Executor {
    hub: Hub,
    caller: Caller,
    units: Vec<Option<String>>,
    groups: Vec<Option<String>>,
    writing: Option<Writing>,
}

fn put(ids: &mut Vec<Option<String>>, index: Index, id: String) {
    if ids.len() <= index {
        ids.resize(index + 1, None);
    }
    ids[index] = Some(id);
}

fn get(ids: &[Option<String>], index: Index) -> Option<String> {
    ids.get(index).cloned().flatten()
}

impl Executor {
    /// `units` and `groups` are the ids of those that are there.
    pub(super) fn new(
        hub: &Hub,
        caller: Caller,
        units: Vec<Option<String>>,
        groups: Vec<Option<String>>,
    ) -> Self {
        Self {
            hub: hub.clone(),
            caller,
            units,
            groups,
            writing: None,
        }
    }

    /// Carries a step out. A portion of users may still be under way afterwards.
    pub(super) async fn run(&mut self, step: Step, report: &mut Writer) -> Result<(), ImportError> {
        match step {
            Step::MakeUnit {
                unit,
                parent,
                line,
                path,
                mut new,
            } => {
                let Some(parent) = get(&self.units, parent) else {
                    // Why the one above is not there is reported already.
                    report.report.organizational_units.created -= 1;
                    return Ok(());
                };
                new.parent_id = parent;
                match self.queue(vec![Command::CreateUnit(new)]).await {
                    Ok(id) => put(&mut self.units, unit, id),
                    Err(error) => {
                        report.report.organizational_units.created -= 1;
                        failed(report, Kind::Unit, line, &path, error)?;
                    }
                }
            }
            Step::ChangeUnit {
                unit,
                line,
                path,
                edits,
            } => {
                let commands = self.unit_commands(unit, edits);
                if let Err(error) = self.queue(commands).await {
                    report.report.organizational_units.updated -= 1;
                    failed(report, Kind::Unit, line, &path, error)?;
                }
            }
            Step::MakeGroup { group, line, new } => {
                let name = new.name.clone();
                match self.queue(vec![Command::CreateGroup(new)]).await {
                    Ok(id) => put(&mut self.groups, group, id),
                    Err(error) => {
                        report.report.groups.created -= 1;
                        failed(report, Kind::Group, line, &name, error)?;
                    }
                }
            }
            Step::ChangeGroup {
                group,
                line,
                name,
                changes,
            } => {
                let id = get(&self.groups, group).unwrap_or_default();
                if let Err(error) = self.queue(vec![Command::UpdateGroup { id, changes }]).await {
                    report.report.groups.updated -= 1;
                    failed(report, Kind::Group, line, &name, error)?;
                }
            }
            Step::Users(users) => {
                let next = self.begin(users);
                if let Some(before) = self.writing.replace(next) {
                    self.settle(before, report).await?;
                }
            }
            Step::Members {
                group,
                line,
                name,
                joining,
                leaving,
            } => {
                self.finish(report).await?;
                self.members(group, line, &name, joining, leaving, report).await?;
            }
            Step::Delete { kind, subjects } => {
                self.finish(report).await?;
                // Units are taken apart one by one, those below first.
                let portion = if kind == Kind::Unit { 1 } else { DELETIONS };
                for portion in subjects.chunks(portion) {
                    self.delete(kind, portion, report).await?;
                }
            }
        }
        Ok(())
    }

    /// Waits for what is under way.
    pub(super) async fn finish(&mut self, report: &mut Writer) -> Result<(), ImportError> {
        match self.writing.take() {
            Some(writing) => self.settle(writing, report).await,
            None => Ok(()),
        }
    }

    fn unit_commands(&self, unit: Index, edits: Vec<UnitEdit>) -> Vec<Command> {
        let id = get(&self.units, unit).unwrap_or_default();
        edits
            .into_iter()
            .map(|edit| match edit {
                UnitEdit::Fields(changes) => Command::UpdateUnit {
                    id: id.clone(),
                    changes,
                },
                UnitEdit::Move(parent) => Command::MoveUnit {
                    id: id.clone(),
                    parent_id: get(&self.units, parent).unwrap_or_default(),
                },
            })
            .collect()
    }

    /// Queues commands as one transaction; the id is that of the last one's subject.
    fn queue(&self, commands: Vec<Command>) -> Later<Result<String, DirectoryError>> {
        let (hub, caller) = (self.hub.clone(), self.caller.clone());
        Box::pin(self.hub.db.write(move |tx| {
            let mut id = String::new();
            for command in &commands {
                id = hub.apply_in(tx, &caller, command)?.id;
            }
            Ok(id)
        }))
    }

    fn unit_ids(&self, units: &[Index]) -> Vec<String> {
        units
            .iter()
            .map(|unit| get(&self.units, *unit).unwrap_or_default())
            .collect()
    }

    fn begin(&self, users: Users) -> Writing {
        let Users {
            made,
            changed,
            joining,
        } = users;
        let mut names = Vec::with_capacity(made.len());
        let mut new = Vec::with_capacity(made.len());
        for one in made {
            names.push((one.line, one.new.username.clone()));
            new.push(NewUser {
                primary_organizational_unit_id: get(&self.units, one.primary).unwrap_or_default(),
                organizational_unit_ids: self.unit_ids(&one.further),
                ..one.new
            });
        }
        let making: Later<Creations> = if new.is_empty() {
            Box::pin(std::future::ready(Ok(Vec::new())))
        } else {
            let (hub, caller) = (self.hub.clone(), self.caller.clone());
            Box::pin(
                self.hub
                    .db
                    .write(move |tx| hub.create_users_in(tx, &caller, &new)),
            )
        };
        let changing = changed
            .into_iter()
            .map(|one| {
                let id = one.id;
                let commands = one.edits.into_iter().map(|edit| match edit {
                    UserEdit::Fields(changes) => Command::UpdateUser {
                        id: id.clone(),
                        changes: *changes,
                    },
                    UserEdit::Units { primary, further } => Command::SetUnits {
                        id: id.clone(),
                        primary: get(&self.units, primary).unwrap_or_default(),
                        further: self.unit_ids(&further),
                    },
                    UserEdit::Enabled(true) => Command::EnableUser { id: id.clone() },
                    UserEdit::Enabled(false) => Command::DisableUser { id: id.clone() },
                });
                (one.line, one.username, self.queue(commands.collect()))
            })
            .collect();
        Writing {
            made: names,
            making,
            changing,
            joining,
        }
    }

    async fn settle(&mut self, writing: Writing, report: &mut Writer) -> Result<(), ImportError> {
        let mut ids: Vec<Option<String>> = Vec::with_capacity(writing.made.len());
        match writing.making.await {
            Ok(made) => {
                for ((line, username), made) in writing.made.into_iter().zip(made) {
                    match made {
                        Ok(id) => ids.push(Some(id)),
                        Err(error) => {
                            ids.push(None);
                            report.report.users.created -= 1;
                            failed(report, Kind::User, line, &username, error)?;
                        }
                    }
                }
            }
            Err(DirectoryError::Database(error)) => return Err(error.into()),
            // Another process made one of them meanwhile. It is found by the next import.
            Err(error) => {
                let reason = error.to_string();
                for (line, username) in writing.made {
                    report.report.users.created -= 1;
                    report.refuse(Remark::new(line, username, reason.clone()));
                }
            }
        }
        for (line, username, changing) in writing.changing {
            if let Err(error) = changing.await {
                report.report.users.updated -= 1;
                failed(report, Kind::User, line, &username, error)?;
            }
        }
        for (group, joining) in writing.joining {
            let planned = joining.ids.len() + joining.made.len();
            let made = joining
                .made
                .iter()
                .filter_map(|index| ids.get(*index).cloned().flatten());
            let joining_ids: Vec<String> = joining.ids.iter().cloned().chain(made).collect();
            report.report.members_added -= (planned - joining_ids.len()) as u64;
            let group_id = get(&self.groups, group).unwrap_or_default();
            self.join(0, &joining.name, &group_id, &joining_ids, report)
                .await?;
        }
        Ok(())
    }

    async fn members(
        &mut self,
        group: Index,
        line: u64,
        name: &str,
        joining: Vec<UserRef>,
        leaving: Vec<String>,
        report: &mut Writer,
    ) -> Result<(), ImportError> {
        let mut ids = Vec::with_capacity(joining.len());
        let mut made = Vec::new();
        for user in joining {
            match user {
                UserRef::Id(id) => ids.push(id),
                UserRef::Made(username) => made.push(username),
            }
        }
        let wanted = made.len();
        let found = self
            .hub
            .db
            .read(move |tx| query::user_ids_by_username(tx, &made))
            .await?;
        // Who could not be made after all is reported already.
        report.report.members_added -= (wanted - found.len()) as u64;
        ids.extend(found.into_values());
        ids.sort_unstable();
        let group_id = get(&self.groups, group).unwrap_or_default();
        self.join(line, name, &group_id, &ids, report).await?;
        for portion in leaving.chunks(MEMBERS) {
            let command = Command::RemoveMembers {
                group_id: group_id.clone(),
                user_ids: portion.to_vec(),
            };
            if let Err(error) = self.queue(vec![command]).await {
                report.report.members_removed -= portion.len() as u64;
                failed(report, Kind::Group, line, name, error)?;
            }
        }
        Ok(())
    }

    async fn join(
        &mut self,
        line: u64,
        name: &str,
        group_id: &str,
        user_ids: &[String],
        report: &mut Writer,
    ) -> Result<(), ImportError> {
        for portion in user_ids.chunks(MEMBERS) {
            let command = Command::AddMembers {
                group_id: group_id.to_owned(),
                user_ids: portion.to_vec(),
            };
            if let Err(error) = self.queue(vec![command]).await {
                report.report.members_added -= portion.len() as u64;
                failed(report, Kind::Group, line, name, error)?;
            }
        }
        Ok(())
    }

    async fn delete(
        &mut self,
        kind: Kind,
        portion: &[(String, String)],
        report: &mut Writer,
    ) -> Result<(), ImportError> {
        let deleting: Vec<_> = portion
            .iter()
            .map(|(id, name)| {
                let id = id.clone();
                let command = match kind {
                    Kind::User => Command::DeleteUser { id },
                    Kind::Group => Command::DeleteGroup { id },
                    Kind::Unit => Command::DeleteUnit {
                        id,
                        cascade: Cascade::No,
                    },
                };
                (name, self.queue(vec![command]))
            })
            .collect();
        for (name, deletion) in deleting {
            if let Err(error) = deletion.await {
                report.report.counts(kind).deleted -= 1;
                failed(report, kind, 0, name, error)?;
            }
        }
        Ok(())
    }
}

/// Reports a step that failed; a database that fails ends the import.
fn failed(
    report: &mut Writer,
    kind: Kind,
    line: u64,
    name: &str,
    error: DirectoryError,
) -> Result<(), ImportError> {
    match error {
        DirectoryError::Database(error) => Err(error.into()),
        error => {
            report.refuse(Remark::new(line, subject(kind, name), error.to_string()));
            Ok(())
        }
    }
}

/// What people call an entry.
pub(super) fn subject(kind: Kind, name: &str) -> String {
    match kind {
        Kind::User => name.to_owned(),
        Kind::Unit | Kind::Group => format!("{} {name}", kind.word()),
    }
}
