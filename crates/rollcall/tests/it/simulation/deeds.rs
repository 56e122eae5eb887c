//! What administrators do. What the database refuses for the moment, or the hub for good, is simply not done.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use rollcall::application::keys::NewKey;
use rollcall::application::{ApplicationError, Command as AppCommand, Edit, RotationStep, Scope, ScopeEdit};
use rollcall::delivery::job::{self, JobError};
use rollcall::delivery::ledger::operate::{self, OperateError};
use rollcall::directory::{Cascade, Command, GroupChanges, NewGroup, NewPassword, NewUnit, UnitChanges};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall_protocol::EventType;

use super::chance::Dice;
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

fn pick(list: &[String], number: u64) -> Option<String> {
    let count = u64::try_from(list.len()).unwrap();
    (count > 0).then(|| list[usize::try_from(number % count).unwrap()].clone())
}

pub(super) async fn synchronize(hub: &Hub, id: &str) -> Result<String, JobError> {
    let id = id.to_owned();
    hub.write_as(caller(), move |tx, ctx| job::request_full(tx, ctx, &id))
        .await
}

pub(super) async fn cancel(hub: &Hub, id: &str) -> Result<String, JobError> {
    let id = id.to_owned();
    hub.write_as(caller(), move |tx, ctx| job::cancel(tx, ctx, &id))
        .await
}

impl World {
    /// Does what is neither the matter of nodes nor of chance.
    pub(super) fn deed(&mut self, step: &Step) {
        if let Some(command) = self.directory_command(step) {
            self.change_directory(step, command);
        } else {
            self.operate(step);
        }
    }

    /// The command to the directory; `None` if the deed is none, or nobody is there whom it could be about.
    fn directory_command(&self, step: &Step) -> Option<Command> {
        let number = step.number;
        let unit = |number| pick(&self.known.units, number).unwrap_or_else(|| ROOT_UNIT.to_owned());
        let user = || pick(&self.known.users, step.whom);
        let group = || pick(&self.known.groups, step.what);
        Some(match step.deed {
            Deed::CreateUser => Command::CreateUser(new_user(&format!("user{number}"), &unit(step.what))),
            Deed::DescribeUser => described(&user()?, &format!("text {number}")),
            Deed::RenameUser => renamed(&user()?, &format!("renamed{number}")),
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
        let told = format!("{command:?}");
        let done = self.on_hub(async |hub| {
            let applied = hub.apply(caller(), command).await?;
            Ok::<_, rollcall::directory::DirectoryError>((applied, super::invariants::head(hub).await))
        });
        self.history.note(format_args!("{told}: {done:?}"));
        let Some(Ok((applied, head))) = done else {
            return;
        };
        self.acknowledged = self.acknowledged.max(head);
        let list = match step.deed {
            Deed::CreateUser => &mut self.known.users,
            Deed::CreateUnit => &mut self.known.units,
            Deed::CreateGroup => &mut self.known.groups,
            _ => return,
        };
        list.push(applied.id);
    }

    fn operate(&mut self, step: &Step) {
        let index = usize::try_from(step.whom % 4).unwrap();
        if step.deed == Deed::RestartReceiver {
            return self.restart_receiver(index);
        }
        let id = self.tenants[index].application.id.clone();
        let user = pick(&self.known.users, step.what);
        let units: BTreeSet<String> = [step.what, step.what / 7]
            .into_iter()
            .filter_map(|number| pick(&self.known.units, number))
            .collect();
        let groups = pick(&self.known.groups, step.what).into_iter().collect();
        let narrow = self.tenants[3].application.id.clone();
        self.given_up |= step.deed.gives_up();
        let done = self.on_hub(async |hub| match step.deed {
            Deed::Synchronize => told(synchronize(hub, &id).await),
            Deed::Cancel => told(cancel(hub, &id).await),
            Deed::ChangeScope => {
                let scope = Scope {
                    organizational_unit_ids: units,
                    group_ids: groups,
                };
                let edit = ScopeEdit::to(&scope);
                let changed = job::change_scope(hub, caller(), &narrow, edit, None).await;
                told(changed.map(|(_, job)| job))
            }
            Deed::Push | Deed::Resend | Deed::Skip | Deed::Dismiss => {
                told(at_the_ledger(hub, step.deed, id, user).await)
            }
            _ => told(rule(hub, step, id).await),
        });
        self.history.note(format_args!("{:?}: {done:?}", step.deed));
    }
}

fn told<T: std::fmt::Debug, E: std::fmt::Display>(result: Result<T, E>) -> String {
    match result {
        Ok(done) => format!("{done:?}").chars().take(60).collect(),
        Err(error) => error.to_string(),
    }
}

async fn at_the_ledger(
    hub: &Hub,
    deed: Deed,
    id: String,
    user: Option<String>,
) -> Result<String, OperateError> {
    hub.write_as(caller(), move |tx, ctx| {
        Ok(match deed {
            Deed::Push => match &user {
                Some(user) => format!("{:?}", operate::push(tx, ctx, &id, user)?),
                None => "nobody is there".to_owned(),
            },
            Deed::Skip => operate::skip(tx, ctx, &id, None)?,
            Deed::Dismiss => operate::dismiss(tx, ctx, &id, None)?.to_string(),
            _ => format!("{:?}", operate::resend(tx, ctx, &id, None)?),
        })
    })
    .await
}

/// Applies a command to an application.
async fn rule(hub: &Hub, step: &Step, id: String) -> Result<bool, ApplicationError> {
    let key = || NewKey::generate(hub.clock.now(), &*hub.random, &hub.master).unwrap();
    let rotate = |step| AppCommand::RotateSigningKey { id: id.clone(), step };
    let command = match step.deed {
        Deed::ChangeSubscription => {
            let all = EventType::ALL;
            let count = u64::try_from(all.len()).unwrap();
            let one = all[usize::try_from(step.what % count).unwrap()];
            AppCommand::SetSubscription {
                id: id.clone(),
                events: Edit::Change {
                    add: BTreeSet::new(),
                    remove: [one].into(),
                },
                confirmed: None,
            }
        }
        Deed::Pause => AppCommand::DisableSynchronization { id },
        Deed::PublishKey => rotate(RotationStep::Publish {
            key: key(),
            delay: Duration::from_millis(step.what % 100_000),
        }),
        Deed::TryKey => rotate(RotationStep::TryNow),
        Deed::WithdrawKey => rotate(RotationStep::Withdraw),
        Deed::RevertKey => rotate(RotationStep::Revert),
        Deed::ReplaceKey => rotate(RotationStep::Replace { key: key() }),
        _ => AppCommand::EnableSynchronization { id },
    };
    Ok(hub.apply_application(caller(), command).await?.changed)
}
