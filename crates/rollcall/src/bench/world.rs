//! A hub with an invented directory and applications, and the endpoint's process.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use rollcall_protocol::{EncryptionKey, SigningKey, SystemRandom};
use tempfile::TempDir;

use super::Player;
use super::database::{Database, Kind};
use super::endpoint::Keys;
use crate::access::Caller;
use crate::application::keys::{self, NewKey};
use crate::application::{
    self, Application, Encryption, Limits, NewApplication, Scope, Settings, SettingsPatch, Subscription,
};
use crate::clock::Clock;
use crate::delivery::egress::{AddressPolicy, Egress, EgressOptions};
use crate::delivery::{Delivery, Options};
use crate::directory::{Command, NewUser, UserChanges};
use crate::hub::{Hub, HubParts};
use crate::id::{self, ROOT_UNIT};
use crate::secret::MasterKey;

/// How many commands are on their way at once.
const CALLERS: usize = 64;

/// Everything that a section works with.
pub(super) struct World {
    pub(super) hub: Hub,
    endpoint: Player,
    pub(super) keys: PathBuf,
    // After the hub, which has it open.
    pub(super) database: Database,
    pub(super) folder: TempDir,
}

impl World {
    /// A hub on SQLite in a folder of its own.
    pub(super) async fn new() -> Result<Self> {
        Self::on(&Kind::Sqlite).await
    }

    /// A hub on a database of its own.
    pub(super) async fn on(kind: &Kind) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let keys = folder.path().join("keys");
        std::fs::create_dir(&keys)?;
        let database = Database::make(kind, folder.path())?;
        Ok(Self {
            hub: open(database.url()).await?,
            endpoint: Player::start(&["--endpoint".as_ref(), keys.as_os_str()])?,
            keys,
            database,
            folder,
        })
    }

    /// Makes applications that want everything, encrypted. `manner` says of each how its endpoint behaves.
    pub(super) async fn applications(
        &self,
        count: usize,
        limits: Limits,
        manner: impl Fn(usize) -> &'static str,
    ) -> Result<Vec<Application>> {
        // Making an RSA key takes a hundred times as long as using it, so the applications share one.
        let der = SigningKey::generate("shared")?.pkcs8_der()?;
        let mut applications = Vec::with_capacity(count);
        for number in 0..count {
            let encryption_key = EncryptionKey::generate(&SystemRandom);
            let hex = encryption_key.to_hex().to_string();
            let kid = id::make("KEY", self.hub.clock.now(), &SystemRandom).replace('_', "");
            let key = SigningKey::from_pkcs8(&kid, &der)?;
            let mut settings = Settings::event_callback("http://127.0.0.1/", Encryption::Required);
            settings.limits = limits;
            let new = application::Command::Create(Box::new(NewApplication {
                name: format!("application {number:04}"),
                settings,
                encryption_key: Some(encryption_key),
                secret: None,
                scope: Scope::everything(),
                subscription: Subscription::everything(),
                signing_key: NewKey::of(&key, &SystemRandom, &self.hub.master)?,
            }));
            let (hub, now) = (self.hub.clone(), self.hub.clock.now());
            let url = format!("http://127.0.0.1:{}/{}", self.endpoint.ready, manner(number));
            let (application, jwks) = self
                .hub
                .db
                .write(move |tx| {
                    let caller = Caller::system("bench");
                    let context = hub.context(&caller);
                    let id = application::apply(tx, &context, &new)?.application.id;
                    let settings = SettingsPatch {
                        url: Some(format!("{url}/{id}")),
                        ..SettingsPatch::default()
                    };
                    let renamed = application::Command::Update {
                        id,
                        name: None,
                        secret: None,
                        settings,
                    };
                    let application = application::apply(tx, &context, &renamed)?.application;
                    let jwks = keys::jwks(tx, &application.id, now)?;
                    Ok::<_, application::ApplicationError>((application, jwks))
                })
                .await?;
            let keys = Keys {
                jwks: serde_json::to_string(&jwks)?,
                encryption_key: Some(hex),
            };
            std::fs::write(self.keys.join(&application.id), serde_json::to_string(&keys)?)?;
            applications.push(application);
        }
        Ok(applications)
    }

    /// Starts to deliver.
    pub(super) async fn deliver(&self) -> Result<Delivery> {
        Ok(Delivery::start(self.hub.clone(), egress()?, Options::default()).await?)
    }

    /// Makes users and returns their ids.
    pub(super) async fn users(&self, count: usize) -> Result<Vec<String>> {
        let mut ids = Vec::with_capacity(count);
        for start in (0..count).step_by(500) {
            let new: Vec<NewUser> = (start..count.min(start + 500)).map(new_user).collect();
            let hub = self.hub.clone();
            let made = self
                .hub
                .db
                .write(move |tx| hub.create_users_in(tx, &Caller::system("bench"), &new))
                .await?;
            for id in made {
                ids.push(id?);
            }
        }
        Ok(ids)
    }

    /// Makes that many changes of these users, from many callers at once.
    pub(super) async fn changes(&self, users: &[String], count: usize) -> Result<()> {
        let mut waiting = std::collections::VecDeque::with_capacity(CALLERS);
        for number in 0..count {
            if waiting.len() == CALLERS
                && let Some(oldest) = waiting.pop_front()
            {
                oldest.await?;
            }
            waiting.push_back(change(&self.hub, users, number));
        }
        for change in waiting {
            change.await?;
        }
        Ok(())
    }

    /// One change of one of these users.
    pub(super) async fn change(&self, users: &[String], number: usize) -> Result<()> {
        change(&self.hub, users, number).await
    }
}

/// A hub on this database, with the key that all of the benchmark's hubs have.
pub(super) async fn open(database: String) -> Result<Hub> {
    let parts = HubParts {
        database,
        clock: Clock::system(),
        random: Arc::new(SystemRandom),
        master: MasterKey::from_bytes(&[7; 32]),
        ali_uid: 1,
        root_name: "Benchmark".to_owned(),
    };
    Ok(Hub::open(parts).await?)
}

/// The way to the endpoint.
pub(super) fn egress() -> Result<Egress> {
    let policy = AddressPolicy {
        allowed: vec!["127.0.0.0/8".parse()?],
    };
    let options = EgressOptions {
        policy,
        ..EgressOptions::default()
    };
    Ok(Egress::new(&options, Clock::system())?)
}

/// One change of one of these users.
pub(super) fn change(
    hub: &Hub,
    users: &[String],
    number: usize,
) -> impl Future<Output = Result<()>> + Send + use<> {
    let command = Command::UpdateUser {
        id: users[number % users.len()].clone(),
        changes: UserChanges {
            description: Some(Some(format!("change {number} of the benchmark"))),
            ..UserChanges::default()
        },
    };
    // It is queued by this call, not when it is waited for.
    let queued = hub.apply(Caller::system("bench"), command);
    async move {
        queued.await?;
        Ok(())
    }
}

/// An ordinary user: all fields of a directory that is kept well.
pub(super) fn new_user(number: usize) -> NewUser {
    NewUser {
        username: format!("user{number:06}"),
        display_name: format!("Given{} Family{}", number % 977, number % 1_999),
        primary_organizational_unit_id: ROOT_UNIT.to_owned(),
        email: Some(format!("user{number:06}@example.org")),
        phone_region: Some("49".to_owned()),
        phone_number: Some(format!("170{number:07}")),
        external_id: Some(format!("employee-{number:06}")),
        description: Some("somebody who works here".to_owned()),
        ..NewUser::default()
    }
}
