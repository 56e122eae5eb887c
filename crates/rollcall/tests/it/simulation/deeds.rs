//! What administrators do. What the database refuses for the moment, or the hub for good, is simply not done.

mod applications;
mod upkeep;

use std::sync::OnceLock;

use rollcall::directory::{Cascade, Command, GroupChanges, NewGroup, NewPassword, NewUnit, UnitChanges};
use rollcall::id::ROOT_UNIT;

pub(super) use applications::{cancel, synchronize};
pub(super) use upkeep::Backup;

use super::chance::Dice;
use super::known::{pick, word};
use super::plan::{Deed, Step};
use super::world::{World, caller};
use crate::world::{described, new_user, renamed};

/// The one password that everybody has.
pub(super) const PASSWORD: &str = "correct horse battery staple";

fn password() -> NewPassword {
    // It is slow to make one.
    static MADE: OnceLock<NewPassword> = OnceLock::new();
    let made = || NewPassword::prepare(PASSWORD.to_owned().into(), &Dice::new(1)).unwrap();
    MADE.get_or_init(made).clone()
}

fn told<T: std::fmt::Debug, E: std::fmt::Display>(result: Result<T, E>) -> String {
    match result {
        Ok(done) => format!("{done:?}").chars().take(60).collect(),
        Err(error) => error.to_string(),
    }
}

/// The deeds by which a command to the directory comes about: whoever adds a command finds that it needs one.
fn deeds_of(command: &Command) -> &'static [Deed] {
    match command {
        Command::CreateUnit(_) => &[Deed::CreateUnit],
        Command::UpdateUnit { .. } => &[Deed::UpdateUnit],
        Command::MoveUnit { .. } => &[Deed::MoveUnit, Deed::MoveUnitIntoScope, Deed::MoveUnitOutOfScope],
        Command::DeleteUnit { .. } => &[Deed::DeleteUnit],
        Command::CreateUser(_) => &[Deed::CreateUser],
        Command::UpdateUser { .. } => &[Deed::DescribeUser, Deed::RenameUser],
        Command::SetPassword { .. } => &[Deed::SetPassword],
        Command::EnableUser { .. } => &[Deed::EnableUser],
        Command::DisableUser { .. } => &[Deed::DisableUser],
        Command::LockUser { .. } => &[Deed::LockUser],
        Command::UnlockUser { .. } => &[Deed::UnlockUser],
        Command::SetUnits { .. } => &[Deed::SetUnits],
        Command::DeleteUser { .. } => &[Deed::DeleteUser],
        Command::CreateGroup(_) => &[Deed::CreateGroup],
        Command::UpdateGroup { .. } => &[Deed::UpdateGroup],
        Command::DeleteGroup { .. } => &[Deed::DeleteGroup],
        Command::AddMembers { .. } => &[Deed::AddMembers],
        Command::RemoveMembers { .. } => &[Deed::RemoveMembers],
        Command::ExpireDue => &[Deed::ExpireDue],
    }
}

impl World {
    /// Does what is neither the matter of nodes nor of chance.
    pub(super) fn deed(&mut self, step: &Step) {
        if let Some(command) = self.directory_command(step) {
            self.change_directory(step, command);
        } else {
            match step.deed {
                Deed::EraseUser => self.erase_user(step),
                Deed::Trim => self.trim(step),
                Deed::BackUp => self.back_up(step),
                Deed::Restore => self.restore(step),
                _ => self.operate(step),
            }
        }
    }

    /// The command to the directory; `None` if the deed is none, or nobody is there whom it could be about.
    fn directory_command(&self, step: &Step) -> Option<Command> {
        let number = step.number;
        let unit = |number| pick(&self.known.units, number).unwrap_or_else(|| ROOT_UNIT.to_owned());
        let user = || pick(&self.known.users, step.whom);
        let group = || pick(&self.known.groups, step.what);
        Some(match step.deed {
            Deed::CreateUser => Command::CreateUser(new_user(&word("user", number), &unit(step.what))),
            Deed::DescribeUser => described(&user()?, &word("text", number)),
            Deed::RenameUser => renamed(&user()?, &word("renamed", number)),
            Deed::SetPassword => Command::SetPassword {
                id: user()?,
                password: password(),
            },
            Deed::DisableUser => Command::DisableUser { id: user()? },
            Deed::EnableUser => Command::EnableUser { id: user()? },
            Deed::LockUser => Command::LockUser {
                id: user()?,
                until: step
                    .what
                    .is_multiple_of(2)
                    .then(|| self.now() + i64::try_from(step.what % 100_000).unwrap()),
            },
            Deed::UnlockUser => Command::UnlockUser { id: user()? },
            Deed::SetUnits => Command::SetUnits {
                id: user()?,
                primary: unit(step.what),
                further: if step.what.is_multiple_of(3) {
                    vec![unit(step.what / 3)]
                } else {
                    Vec::new()
                },
            },
            Deed::DeleteUser => Command::DeleteUser { id: user()? },
            Deed::CreateUnit => Command::CreateUnit(NewUnit {
                name: format!("unit{number}"),
                parent_id: unit(step.what),
                ..NewUnit::default()
            }),
            Deed::UpdateUnit => Command::UpdateUnit {
                id: unit(step.whom),
                changes: UnitChanges {
                    name: Some(format!("unit named {number}")),
                    ..UnitChanges::default()
                },
            },
            Deed::MoveUnit => Command::MoveUnit {
                id: unit(step.whom),
                parent_id: unit(step.what),
            },
            Deed::MoveUnitIntoScope => Command::MoveUnit {
                id: unit(step.whom),
                parent_id: unit(0),
            },
            Deed::MoveUnitOutOfScope => Command::MoveUnit {
                id: unit(step.whom),
                parent_id: ROOT_UNIT.to_owned(),
            },
            Deed::DeleteUnit => Command::DeleteUnit {
                id: unit(step.whom),
                cascade: if step.what.is_multiple_of(2) {
                    Cascade::Yes
                } else {
                    Cascade::No
                },
            },
            Deed::CreateGroup => Command::CreateGroup(NewGroup {
                name: format!("group{number}"),
                ..NewGroup::default()
            }),
            Deed::UpdateGroup => Command::UpdateGroup {
                id: group()?,
                changes: GroupChanges {
                    name: Some(format!("group named {number}")),
                    ..GroupChanges::default()
                },
            },
            Deed::AddMembers => Command::AddMembers {
                group_id: group()?,
                user_ids: vec![user()?],
            },
            Deed::RemoveMembers => Command::RemoveMembers {
                group_id: group()?,
                user_ids: vec![user()?],
            },
            Deed::DeleteGroup => Command::DeleteGroup { id: group()? },
            Deed::ExpireDue => Command::ExpireDue,
            _ => return None,
        })
    }

    fn change_directory(&mut self, step: &Step, command: Command) {
        assert!(
            deeds_of(&command).contains(&step.deed),
            "{command:?} is no {:?}",
            step.deed
        );
        let told = format!("{command:?}");
        self.known.hear(&command);
        let done = self.on_hub(async |hub| {
            let applied = hub.apply(caller(), command).await?;
            Ok::<_, rollcall::directory::DirectoryError>((applied, super::invariants::head(hub).await))
        });
        self.history.note(format_args!("{told}: {done:?}"));
        let Some(Ok((applied, head))) = done else {
            return;
        };
        self.acknowledged = self.acknowledged.max(head.unwrap_or_default());
        match step.deed {
            Deed::CreateUser => self.known.add_user(applied.id, word("user", step.number)),
            Deed::CreateUnit => self.known.units.push(applied.id),
            Deed::CreateGroup => self.known.groups.push(applied.id),
            _ => {}
        }
    }
}
