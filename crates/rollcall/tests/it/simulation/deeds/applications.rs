//! What is done to applications and to their delivery.

use std::collections::BTreeSet;
use std::time::Duration;

use rollcall::application::{
    ApplicationError, Applied, Command, Edit, Encryption, RotationStep, Scope, ScopeEdit, SettingsPatch,
};
use rollcall::delivery::job::{self, JobError};
use rollcall::delivery::ledger::operate::{self, OperateError};
use rollcall::hub::Hub;
use rollcall_protocol::{EncryptionKey, EventType};

use super::super::keys::new_key;
use super::super::known::pick;
use super::super::plan::{Deed, Step};
use super::super::tenants::{EVENTS, Manner, callback, new_application};
use super::super::world::{World, caller};
use super::told;

/// The deeds by which a command to an application comes about: whoever adds a command finds that it needs one.
fn deeds_of(command: &Command) -> &'static [Deed] {
    match command {
        Command::Create(_) => &[Deed::CreateApplication],
        Command::Update { .. } => &[Deed::UpdateApplication],
        Command::SetScope { .. } => &[Deed::ChangeScope],
        Command::SetSubscription { .. } => &[Deed::ChangeSubscription],
        Command::SetEncryptionKey { .. } => &[Deed::SetEncryptionKey],
        // No application of the simulation takes SCIM.
        Command::GenerateEncryptionKey { .. } => &[Deed::GenerateEncryptionKey],
        Command::RotateSigningKey { step, .. } => match step {
            RotationStep::Publish { .. } => &[Deed::PublishKey],
            RotationStep::TryNow => &[Deed::TryKey],
            RotationStep::Withdraw => &[Deed::WithdrawKey],
            RotationStep::Revert => &[Deed::RevertKey],
            RotationStep::Replace { .. } => &[Deed::ReplaceKey],
        },
        // The developer API has no part in delivery.
        Command::SetDeveloperApi { .. }
        | Command::CreateClientSecret(_)
        | Command::RevokeClientSecret { .. } => &[],
        Command::EnableSynchronization { .. } => &[Deed::Resume],
        Command::DisableSynchronization { .. } => &[Deed::Pause],
        Command::Delete { .. } => &[Deed::DeleteApplication],
    }
}

pub(in super::super) async fn synchronize(hub: &Hub, id: &str) -> Result<String, JobError> {
    let id = id.to_owned();
    hub.write_as(caller(), move |tx, ctx| job::request_full(tx, ctx, &id))
        .await
}

pub(in super::super) async fn cancel(hub: &Hub, id: &str) -> Result<String, JobError> {
    let id = id.to_owned();
    hub.write_as(caller(), move |tx, ctx| job::cancel(tx, ctx, &id))
        .await
}

impl World {
    /// Does what is done to an application or to its delivery.
    pub(super) fn operate(&mut self, step: &Step) {
        match step.deed {
            Deed::CreateApplication => return self.create_application(step),
            Deed::DeleteApplication => return self.delete_application(step),
            Deed::SetEncryptionKey | Deed::GenerateEncryptionKey => return self.change_encryption_key(step),
            Deed::TestConnectivity => return self.test_connectivity(step),
            Deed::ChangeScope => return self.change_scope(step),
            _ => {}
        }
        let index = self.tenant(step);
        if step.deed == Deed::RestartReceiver {
            return self.restart_receiver(index);
        }
        let id = self.tenants[index].application.id.clone();
        let user = pick(&self.known.users, step.what);
        self.given_up |= step.deed.gives_up();
        if matches!(step.deed, Deed::Resend | Deed::Skip | Deed::Dismiss) {
            self.network
                .wanted(&self.tenants[index].application.name)
                .forget();
        }
        let done = self.on_hub(async |hub| match step.deed {
            Deed::Synchronize => Some(told(synchronize(hub, &id).await)),
            Deed::Cancel => Some(told(cancel(hub, &id).await)),
            Deed::Push | Deed::Resend | Deed::Skip | Deed::Dismiss | Deed::EndSuspension => {
                Some(told(at_the_ledger(hub, step.deed, id, user).await))
            }
            _ => {
                let command = command(hub, step, id)?;
                Some(told(
                    apply(hub, step, command).await.map(|applied| applied.changed),
                ))
            }
        });
        // The others are about the directory, in which nobody is whom they could be about.
        if let Some(Some(done)) = done {
            self.note(step, Some(done));
        }
    }

    fn note(&self, step: &Step, done: Option<String>) {
        let done = done.unwrap_or_else(|| "no node is there".to_owned());
        self.history.note(format_args!("{:?}: {done}", step.deed));
    }

    /// The application that a step is about.
    fn tenant(&self, step: &Step) -> usize {
        let count = u64::try_from(self.tenants.len()).unwrap();
        usize::try_from(step.whom % count).unwrap()
    }

    /// Changes the scope of the application that sees a part; half of the time beside everything else, so that others
    /// change the directory while it is found out who enters and who leaves.
    fn change_scope(&mut self, step: &Step) {
        let units: BTreeSet<String> = [step.what, step.what / 7]
            .into_iter()
            .filter_map(|number| pick(&self.known.units, number))
            .collect();
        let scope = Scope {
            organizational_unit_ids: units,
            group_ids: pick(&self.known.groups, step.what).into_iter().collect(),
        };
        let narrow = self.id_of("narrow");
        // Two that come true within one pass would leave nobody the time to see whom the first one covered.
        let Some(turn) = self.scope_turns.take() else {
            return self.note(step, Some("another one is under way".to_owned()));
        };
        let change = async move |hub: &Hub| {
            let changed = job::change_scope(hub, caller(), &narrow, ScopeEdit::to(&scope), None).await;
            told(changed.map(|(_, job)| job))
        };
        if step.what.is_multiple_of(2) {
            let done = self.on_hub(change);
            return self.note(step, done);
        }
        self.slow_commit(step.number % 3);
        let history = std::sync::Arc::clone(&self.history);
        self.beside_delivery(async move |shared| {
            let _turn = turn;
            let told = change(&shared.hub).await;
            history.note(format_args!("ChangeScope: {told}"));
        });
    }

    fn create_application(&mut self, step: &Step) {
        let name = format!("guest{}", step.number);
        let done = self.on_hub(async |hub| {
            let way = callback(&name, Encryption::Off);
            let command = new_application(hub, &name, way, None, Scope::everything());
            told(
                apply(hub, step, command)
                    .await
                    .map(|applied| applied.application.id),
            )
        });
        self.note(step, done);
        self.meet_guests();
    }

    fn delete_application(&mut self, step: &Step) {
        // The others stay, so that there is somebody to be told.
        let guests: Vec<_> = self.tenants.iter().filter(|tenant| tenant.is_guest).collect();
        let Some(guest) = self.dice.pick(&guests) else {
            return;
        };
        let id = guest.application.id.clone();
        let done = self.on_hub(async |hub| told(apply(hub, step, Command::Delete { id }).await));
        self.note(step, done);
        self.meet_guests();
    }

    /// Gives the application that wants encryption another key. If nobody hears that it was stored, the application
    /// keeps the key that it had, and takes nothing any more until it gets another one.
    fn change_encryption_key(&mut self, step: &Step) {
        let sealed = self
            .tenants
            .iter()
            .position(|tenant| tenant.manner == Manner::Sdk);
        let index = sealed.unwrap();
        let id = self.tenants[index].application.id.clone();
        let key = EncryptionKey::generate(&self.dice);
        let generate = step.deed == Deed::GenerateEncryptionKey;
        let command = if generate {
            Command::GenerateEncryptionKey { id }
        } else {
            Command::SetEncryptionKey { id, key: key.clone() }
        };
        let done = self.on_hub(async |hub| apply(hub, step, command).await);
        self.note(
            step,
            Some(told(done.as_ref().map_or(Ok(()), |done| done.as_ref().map(drop)))),
        );
        if let Some(Ok(applied)) = done {
            let shown = applied.encryption_key.filter(|_| generate);
            self.tenants[index].key = Some(shown.unwrap_or(key));
            self.restart_receiver(index);
        }
    }

    /// Tests the connection beside everything else.
    fn test_connectivity(&mut self, step: &Step) {
        let id = self.tenants[self.tenant(step)].application.id.clone();
        let history = std::sync::Arc::clone(&self.history);
        self.beside_delivery(async move |shared| {
            let report = rollcall::delivery::connectivity::test(&shared, &id).await;
            let told = told(report.map(|report| report.passed));
            history.note(format_args!("TestConnectivity: {told}"));
        });
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
            Deed::EndSuspension => operate::resume(tx, ctx, &id)?.id,
            _ => format!("{:?}", operate::resend(tx, ctx, &id, None)?),
        })
    })
    .await
}

/// The command to an application that a deed is.
fn command(hub: &Hub, step: &Step, id: String) -> Option<Command> {
    let key = || new_key(hub);
    let rotate = |step| Command::RotateSigningKey { id: id.clone(), step };
    Some(match step.deed {
        Deed::UpdateApplication => Command::Update {
            id,
            name: None,
            secret: None,
            settings: SettingsPatch {
                max_events: Some(EVENTS[usize::try_from(step.what % 4).unwrap()]),
                lanes: Some(u32::try_from(step.number % 4).unwrap() + 1),
                ..SettingsPatch::default()
            },
        },
        Deed::ChangeSubscription => {
            let all = EventType::ALL;
            let count = u64::try_from(all.len()).unwrap();
            let one = all[usize::try_from(step.what % count).unwrap()];
            Command::SetSubscription {
                id: id.clone(),
                events: Edit::Change {
                    add: BTreeSet::new(),
                    remove: [one].into(),
                },
                confirmed: None,
            }
        }
        Deed::Pause => Command::DisableSynchronization { id },
        Deed::PublishKey => rotate(RotationStep::Publish {
            key: key(),
            delay: Duration::from_millis(step.what % 100_000),
        }),
        Deed::TryKey => rotate(RotationStep::TryNow),
        Deed::WithdrawKey => rotate(RotationStep::Withdraw),
        Deed::RevertKey => rotate(RotationStep::Revert),
        Deed::ReplaceKey => rotate(RotationStep::Replace { key: key() }),
        Deed::Resume => Command::EnableSynchronization { id },
        _ => return None,
    })
}

async fn apply(hub: &Hub, step: &Step, command: Command) -> Result<Applied, ApplicationError> {
    assert!(
        deeds_of(&command).contains(&step.deed),
        "{command:?} is no {:?}",
        step.deed
    );
    hub.apply_application(caller(), command).await
}
