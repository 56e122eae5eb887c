//! The applications, and their receivers.

use std::collections::BTreeSet;

use rollcall::application::{
    Application, Command as AppCommand, Encryption, Mode, NewApplication, Scope, Settings, SettingsPatch,
    Subscription, store,
};
use rollcall::hub::Hub;
use rollcall_protocol::EncryptionKey;

use super::keys::new_key;
use super::world::{World, caller};

/// A kind of application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// The mirror of the kit.
    Kit,
    /// The inbox of the kit, with an application behind it.
    Inbox,
    /// One that applies whatever comes, and keeps no memory of what it has seen.
    Plain,
    /// One on the official SDK: as the plain one, and it knows nothing of groups. Its requests are encrypted, and it
    /// is told passwords.
    Sdk,
    /// A service provider of SCIM.
    Scim,
}

pub(super) struct Tenant {
    pub(super) application: Application,
    pub(super) manner: Manner,
    pub(super) key: Option<EncryptionKey>,
    /// Whether it was made in the course of a run, and may be deleted again.
    pub(super) is_guest: bool,
    /// Whether nobody has heard yet that it is pushed everything that was there before it.
    pub(super) awaits_everything: bool,
}

/// How many events a request of an application may carry. With few of them there is a round that was made ahead, and
/// much that a node does not come to before something happens to it.
pub(super) const EVENTS: [u32; 4] = [1, 2, 5, 100];

/// Settings of an application that takes events.
pub(super) fn callback(name: &str, encryption: Encryption) -> Settings {
    Settings::event_callback(format!("http://{name}/events"), encryption)
}

/// The command that makes an application.
pub(super) fn new_application(
    hub: &Hub,
    name: &str,
    settings: Settings,
    key: Option<EncryptionKey>,
    scope: Scope,
) -> AppCommand {
    let is_scim = matches!(settings.mode, Mode::Scim(_));
    AppCommand::Create(Box::new(NewApplication {
        name: name.to_owned(),
        settings,
        encryption_key: key,
        secret: is_scim.then(|| "token".into()),
        scope,
        subscription: Subscription::everything(),
        signing_key: new_key(hub),
    }))
}

impl World {
    /// Makes the applications that are there all the time; the last of them sees one unit.
    pub(super) fn make_applications(&mut self, unit: String) {
        let narrow = Scope {
            organizational_unit_ids: [unit].into(),
            group_ids: BTreeSet::new(),
        };
        let part = narrow.clone();
        self.join("kit", Scope::everything(), Manner::Kit);
        self.join("inbox", Scope::everything(), Manner::Inbox);
        self.join("plain", Scope::everything(), Manner::Plain);
        self.join("sdk", Scope::everything(), Manner::Sdk);
        self.join("narrow", narrow, Manner::Plain);
        let scope = if self.dice.one_in(2) {
            part
        } else {
            Scope::everything()
        };
        self.join("scim", scope, Manner::Scim);
    }

    fn join(&mut self, name: &str, scope: Scope, manner: Manner) {
        let key = (manner == Manner::Sdk).then(|| EncryptionKey::generate(&self.dice));
        let too = key.clone();
        let way = match manner {
            Manner::Scim => super::scim::dialect(name, &self.dice),
            Manner::Sdk => callback(name, Encryption::Required),
            Manner::Kit | Manner::Inbox | Manner::Plain => callback(name, Encryption::Off),
        };
        let settings = SettingsPatch {
            password_synchronization: (manner == Manner::Sdk).then_some(true),
            max_events: self.dice.pick(&EVENTS).copied(),
            lanes: self.dice.pick(&[1, 1, 3]).copied(),
            ..SettingsPatch::default()
        };
        let application = self
            .on_hub(async |hub| {
                let create = new_application(hub, name, way, too, scope);
                let application = hub.apply_application(caller(), create).await.unwrap().application;
                let update = AppCommand::Update {
                    id: application.id.clone(),
                    name: None,
                    secret: None,
                    settings,
                };
                hub.apply_application(caller(), update).await.unwrap();
                super::deeds::synchronize(hub, &application.id).await.unwrap();
                application
            })
            .unwrap();
        self.take_in(Tenant {
            application,
            manner,
            key,
            is_guest: false,
            awaits_everything: false,
        });
    }

    fn take_in(&mut self, tenant: Tenant) {
        if let Some(copy) = self.receiver(&tenant, None) {
            self.network.connect(&tenant.application.name, copy);
            self.tenants.push(tenant);
        }
    }

    /// Takes in the guests that are there and unknown, and sees off those that are gone. Nobody may have heard of
    /// either.
    pub(super) fn meet_guests(&mut self) {
        let Some(Ok(there)) = self.on_hub(async |hub| hub.db.read(store::list).await) else {
            return;
        };
        self.tenants.retain(|tenant| {
            there
                .iter()
                .any(|application| application.id == tenant.application.id)
        });
        for application in there {
            if self
                .tenants
                .iter()
                .any(|tenant| tenant.application.id == application.id)
            {
                continue;
            }
            self.take_in(Tenant {
                application,
                manner: Manner::Kit,
                key: None,
                is_guest: true,
                awaits_everything: true,
            });
        }
        for index in 0..self.tenants.len() {
            let tenant = &self.tenants[index];
            if !tenant.awaits_everything {
                continue;
            }
            let (id, name) = (tenant.application.id.clone(), tenant.application.name.clone());
            let asked = self.on_hub(async |hub| super::deeds::synchronize(hub, &id).await);
            self.tenants[index].awaits_everything = !matches!(asked, Some(Ok(_)));
            self.history
                .note(format_args!("{name} is a guest, synchronized: {asked:?}"));
        }
    }

    pub(super) fn id_of(&self, name: &str) -> String {
        let tenant = self.tenants.iter().find(|tenant| tenant.application.name == name);
        tenant.unwrap().application.id.clone()
    }
}
